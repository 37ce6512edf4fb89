//! Requests that are refused: codes and bodies as the real Marathon has them.

use serde_json::{Value, json};

use super::harness::Local;

#[tokio::test(flavor = "multi_thread")]
async fn refusals_are_those_of_marathon() {
    let local = Local::start().await;
    local.run(json!({"id": "/there", "cmd": "exec sleep 1000"})).await;
    let no_app = |id: &str| json!({"message": format!("App '{id}' does not exist")});
    for (method, path, body, status, expected) in [
        ("GET", "/v2/apps/missing", "", 404, no_app("/missing")),
        ("GET", "/v2/apps/a/b/missing", "", 404, no_app("/a/b/missing")),
        ("GET", "/v2/apps/NoId", "", 404, no_app("/NoId")),
        ("GET", "/v2/apps/missing/versions", "", 404, no_app("/missing")),
        ("GET", "/v2/apps/missing/tasks", "", 404, no_app("/missing")),
        ("DELETE", "/v2/apps/missing", "", 404, no_app("/missing")),
        ("DELETE", "/v2/apps/there/restart", "", 404, no_app("/there/restart")),
        ("POST", "/v2/apps/missing/restart", "", 404, no_app("/missing")),
        (
            "GET",
            "/v2/apps/there/versions/2001-01-01T00:00:00.000Z",
            "",
            404,
            json!({"message": "App '/there' does not exist in version 2001-01-01T00:00:00.000Z"}),
        ),
        ("DELETE", "/v2/deployments/d", "", 404, json!({"message": "DeploymentPlan d does not exist"})),
        (
            "DELETE",
            "/v2/queue/there/delay",
            "",
            404,
            json!({"message": "Application /there not found in tasks queue."}),
        ),
        (
            "POST",
            "/v2/apps",
            r#"{"id":"/there","cmd":"sleep 1"}"#,
            409,
            json!({"message": "An app with id [/there] already exists."}),
        ),
        ("GET", "/v2/nonsense", "", 500, json!({"message": "URI not found"})),
        ("GET", "/", "", 500, json!({"message": "URI not found"})),
        ("PATCH", "/v2/info", "", 405, json!({"message": "Method Not Allowed"})),
        (
            "PUT",
            "/v2/apps/there",
            r#"{"version":"2001-01-01T00:00:00.000Z","cmd":"x"}"#,
            422,
            json!({
                "message": "Object is not valid",
                "details": [{
                    "path": "/",
                    "errors": ["The 'version' field may only be combined with the 'id' field."],
                }],
            }),
        ),
        (
            "GET",
            "/v2/apps?label=a%20b",
            "",
            422,
            json!({"message": "Can not parse label selector a b. Reason: 'in' or 'notin' expected but \"b\" found"}),
        ),
    ] {
        let reply = local.send(method, path, body).await;
        assert_eq!((reply.status, &reply.body), (status, &expected), "{method} {path} {body}");
    }
    local.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_pods_and_tasks_are_refused_as_by_marathon() {
    let local = Local::start().await;
    local.run(json!({"id": "/there", "cmd": "exec sleep 1000"})).await;
    let no_app = |id: &str| json!({"message": format!("App '{id}' does not exist")});
    let no_group = json!({"message": "Group '/missing' does not exist"});
    let no_pod = |id: &str| json!({"message": format!("Pod '{id}' does not exist")});
    for (method, path, body, status, expected) in [
        ("GET", "/v2/groups/missing", "", 404, no_group.clone()),
        (
            "GET",
            "/v2/groups/missing/versions",
            "",
            404,
            json!({"message": "Group '/missing' does not exist"}),
        ),
        ("DELETE", "/v2/groups/missing", "", 404, no_group.clone()),
        ("GET", "/v2/apps/missing/*", "", 404, no_group.clone()),
        ("GET", "/v2/pods/missing", "", 404, no_pod("/missing")),
        ("GET", "/v2/pods/missing::status", "", 404, no_pod("/missing")),
        ("DELETE", "/v2/pods/there", "", 404, no_pod("/there")),
        ("PATCH", "/v2/apps/missing", "{}", 404, no_app("/missing")),
        ("PATCH", "/v2/apps", r#"[{"id":"/missing"}]"#, 404, no_app("/missing")),
        ("DELETE", "/v2/apps/missing/tasks", "", 404, no_app("/missing")),
        (
            "DELETE",
            "/v2/apps/there/tasks/there.instance-x._app.1",
            "",
            404,
            json!({"message": "Task 'there.instance-x._app.1' does not exist"}),
        ),
        (
            "DELETE",
            "/v2/apps/there/tasks?scale=true&wipe=true",
            "",
            400,
            json!({"message": "You cannot use scale and wipe at the same time."}),
        ),
        (
            "POST",
            "/v2/groups",
            r#"{"id":"/there"}"#,
            409,
            json!({"message": "An app with the path /there already exists."}),
        ),
        (
            "PUT",
            "/v2/groups",
            r#"{"id":"/g","version":"2001-01-01T00:00:00.000Z"}"#,
            422,
            json!({"message": "Group /g not available in version 2001-01-01T00:00:00.000Z"}),
        ),
        ("PUT", "/v2/leader", "{}", 405, json!({"message": "Method Not Allowed"})),
        ("GET", "/v2/events", "", 405, json!({"message": "Method Not Allowed"})),
        ("GET", "/local/faults", "", 500, json!({"message": "URI not found"})),
    ] {
        let reply = local.send(method, path, body).await;
        assert_eq!((reply.status, &reply.body), (status, &expected), "{method} {path} {body}");
    }
    local.stop().await;
}

/// A small valid app with some fields replaced, as JSON.
fn app(fields: &Value) -> String {
    let mut app = json!({"id": "/new", "cmd": "sleep 1"});
    app.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    app.to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn definitions_are_refused_as_by_marathon() {
    let local = Local::start().await;
    // A string here, a list there.
    let reply = local.send("POST", "/v2/apps", "{\"id\":").await;
    assert_eq!((reply.status, &reply.body["message"]), (400, &json!("Invalid JSON")));
    assert!(reply.body["details"].is_string(), "{}", reply.body);
    let reply = local.send("PUT", "/v2/apps/there", "").await;
    assert_eq!(reply.status, 400);
    let (unread, invalid) = ("Invalid JSON", "Object is not valid");
    for (body, message, path) in [
        (app(&json!({"instances": "two"})), unread, "/instances"),
        (app(&json!({"healthChecks": [{"protocol": "PIGEON"}]})), invalid, "/healthChecks(0)/protocol"),
        (
            app(&json!({"upgradeStrategy": {"minimumHealthCapacity": 3, "maximumOverCapacity": 0}})),
            invalid,
            "/upgradeStrategy/minimumHealthCapacity",
        ),
        (app(&json!({"id": "/Not/An/Id"})), invalid, "/id"),
        (app(&json!({"role": "somebody"})), invalid, "/role"),
        (app(&json!({"acceptedResourceRoles": ["public"]})), invalid, "/acceptedResourceRoles"),
        (app(&json!({"secrets": {"k": {"source": "s"}}})), invalid, "/secrets"),
        (app(&json!({"dependencies": ["/new"]})), invalid, "/"),
        (app(&json!({"cmd": null})), invalid, "/"),
        (app(&json!({"cmd": "x"})), invalid, "/cmd"),
        (app(&json!({"args": ["x"]})), invalid, "/"),
        (json!({"cmd": "sleep 1"}).to_string(), unread, "/id"),
        ("[]".to_owned(), unread, "/"),
    ] {
        let reply = local.send("POST", "/v2/apps", &body).await;
        assert_eq!((reply.status, &reply.body["message"]), (422, &json!(message)), "{body}");
        let details = reply.body["details"].as_array().unwrap();
        let detail = details.iter().find(|d| d["path"] == path);
        assert!(detail.is_some_and(|d| d["errors"][0].is_string()), "{path} in {}", reply.body);
    }
    assert_eq!(local.get("/v2/apps/new").await.status, 404, "nothing of all this was created");
    let reply = local.send("POST", "/v2/apps", &app(&json!({}))).await;
    assert_eq!(reply.status, 201, "{}", reply.body);
    let huge = app(&json!({"cmd": "x".repeat(5 * 1024 * 1024)}));
    // The answer comes before the body is read, so that the connection may break while it is sent; hence the last
    // request on it.
    let reply = local.try_to_send("POST", "/v2/apps", &huge).await;
    assert!(reply.map_or_else(|e| e.is_request(), |reply| reply.status == 413));
    local.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn other_forms_and_foreign_pages_are_refused() {
    let local = Local::start().await;
    let url = format!("http://{}/v2/apps", local.marathon.address());
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let app = json!({"id": "/evil", "cmd": "sleep 1"}).to_string();
    for (header, value, status) in [
        ("content-type", "text/plain", 415),
        ("content-type", "application/x-www-form-urlencoded", 415),
        ("origin", "https://evil.example", 403),
        ("host", "evil.example", 403),
    ] {
        let request = http.post(&url).header(header, value).body(app.clone()).send().await.unwrap();
        assert_eq!(request.status().as_u16(), status, "{header}: {value}");
    }
    assert_eq!(local.get("/v2/apps").await.body, json!({"apps": []}));
    local.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn there_is_a_limit_to_running_deployments() {
    let local = Local::start().await;
    // Nothing is ever launched: the port is taken.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let app = json!({"cmd": "sleep 1000", "requirePorts": true, "portDefinitions": [{"port": port}]});
    for number in 0..100 {
        local.expect(201, "PUT", &format!("/v2/apps/app-{number}"), &app).await;
    }
    for path in ["/v2/apps/one-more", "/v2/apps/one-more?force=true"] {
        let refused = local.expect(403, "PUT", path, &app).await;
        assert!(refused["message"].as_str().unwrap().starts_with("Max number (100) of running deployments"));
    }
    // It is looked at before anything else: what would change nothing, or is not there, is refused, too.
    for (method, path) in [
        ("PUT", "/v2/apps/app-1"),
        ("PATCH", "/v2/apps/unknown"),
        ("DELETE", "/v2/apps/unknown"),
        ("POST", "/v2/apps/unknown/restart"),
        ("DELETE", "/v2/groups/unknown"),
    ] {
        let refused = local.expect(403, method, path, &app).await;
        assert!(refused["message"].as_str().unwrap().starts_with("Max number"), "{method} {path}");
    }
    local.expect(403, "POST", "/v2/apps", &json!({"id": "/app-1", "cmd": "sleep 1"})).await;
    let id = local.get("/v2/deployments").await.body[0]["id"].as_str().unwrap().to_owned();
    local.expect(403, "DELETE", &format!("/v2/deployments/{id}"), &json!(null)).await;
    let cut = local.send("DELETE", &format!("/v2/deployments/{id}?force=true"), "").await;
    assert_eq!(cut.status, 202);
    local.expect(201, "PUT", "/v2/apps/one-more", &app).await;
    local.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_tells_about_itself() {
    let local = Local::start().await;
    let info = local.get("/v2/info").await.body;
    assert_eq!((&info["name"], &info["elected"]), (&json!("marathon"), &json!(true)));
    assert!(info["version"].as_str().unwrap().starts_with("1.11."));
    assert!(info["frameworkId"].as_str().unwrap().ends_with("-0000"));
    assert_eq!(info["marathon_config"]["local_port_min"], 10_000);
    let address = local.marathon.address().to_string();
    assert_eq!(local.get("/v2/leader").await.body, json!({"leader": address}));
    let ping = local.get("/ping").await;
    assert_eq!(ping.status, 200);
    let list = local.get("/v2/apps").await;
    assert_eq!(list.headers["cache-control"], "no-cache, no-store, must-revalidate");
    assert_eq!(list.headers["content-type"], "application/json");
    local.stop().await;
}
