//! What real tasks find: volumes, secrets, names under which they are reached; and agents that go away.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::http::StatusCode;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::harness::Local;

#[tokio::test(flavor = "multi_thread")]
async fn volumes_outlive_tasks_and_secrets_are_read() {
    let dir = Arc::new(TempDir::new().unwrap());
    std::fs::create_dir(dir.path().join("secrets")).unwrap();
    std::fs::write(dir.path().join("secrets/db"), "s3cret").unwrap();
    let local = Local::with_secrets(dir).await;
    let app = local
        .run(json!({
            "id": "/data/log", "role": "data", "cmd": "echo x >> disk/log; cat etc/key > seen; echo \" $PASSWORD\" >> seen; exec sleep 1000",
            "secrets": {"k": {"source": "db"}}, "env": {"PASSWORD": {"secret": "k"}},
            "container": {"type": "MESOS", "volumes": [
                {"containerPath": "disk", "mode": "RW", "persistent": {"size": 1}},
                {"containerPath": "etc/key", "secret": "k"},
            ]},
        }))
        .await;
    assert_eq!(app["env"]["PASSWORD"], json!({"secret": "k"}), "the API never shows what is in it");
    assert_eq!(local.file(&app["tasks"][0], "seen").await, "s3cret s3cret\n");
    assert_eq!(local.file(&app["tasks"][0], "disk/log").await, "x\n");
    local.expect(200, "POST", "/v2/apps/data/log/restart", &json!(null)).await;
    let again = local.deployed("/data/log").await;
    assert_ne!(again["tasks"][0]["id"], app["tasks"][0]["id"]);
    local.file(&again["tasks"][0], "seen").await;
    assert_eq!(
        local.file(&again["tasks"][0], "disk/log").await,
        "x\nx\n",
        "the new task finds the old one's volume"
    );
    let refused = local.expect(422, "PUT", "/v2/apps/data/log", &json!({"mem": 64})).await;
    assert_eq!(refused["details"][0]["path"], "/mem");
    local.expect(200, "DELETE", "/v2/apps/data/log", &json!(null)).await;
    local.calm().await;
    let volumes = local.dir.path().join("marathon/volumes");
    assert_eq!(std::fs::read_dir(volumes).unwrap().count(), 0, "volumes go with their app");

    let missing = json!({"id": "/missing", "cmd": "sleep 1000", "secrets": {"k": {"source": "none"}},
        "env": {"P": {"secret": "k"}}});
    local.expect(201, "POST", "/v2/apps", &missing).await;
    let app = local.until("/missing", |app| !app["lastTaskFailure"].is_null()).await;
    let message = app["lastTaskFailure"]["message"].as_str().unwrap();
    assert!(message.contains("cannot read the secret none"), "{message}");
    local.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_lead_to_ports_and_two_that_want_one_name_are_told() {
    let local = Local::start().await;
    let announcing = |id: &str, instances: u64| {
        json!({"id": id, "cmd": "exec sleep 1000", "instances": instances,
            "portDefinitions": [{"port": 0, "labels": {"VIP_0": "/registry:443"}}]})
    };
    let app = local.run(announcing("/one", 2)).await;
    let name = "registry.marathon.l4lb.thisdcos.directory:443";
    let list = local.get("/local/vips").await.body;
    let port = |index: usize| format!("127.0.0.1:{}", app["tasks"][index]["ports"][0]);
    assert_eq!(list["vips"][name], json!({"apps": ["/one"], "backends": [port(0), port(1)]}));
    assert_eq!(list["conflicts"], json!([]));
    local.run(announcing("/two", 1)).await;
    let list = local.get("/local/vips").await.body;
    assert_eq!(list["vips"][name]["apps"], json!(["/one", "/two"]));
    assert_eq!(list["conflicts"][0]["address"], name);
    local.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_goes_away_on_demand() {
    let local = Local::with_secrets(Arc::new(TempDir::new().unwrap())).await;
    let strategy = json!({"inactiveAfterSeconds": 0, "expungeAfterSeconds": 600});
    let definition = json!({"id": "/a", "cmd": "exec sleep 1000", "unreachableStrategy": strategy});
    let app = local.run(definition).await;
    let id = app["tasks"][0]["id"].as_str().unwrap().to_owned();
    local.expect(404, "PUT", "/local/tasks/nobody/unreachable", &json!(null)).await;
    local.expect(204, "PUT", &format!("/local/tasks/{id}/unreachable"), &json!(null)).await;
    let app = local.until("/a", |app| app["tasksRunning"] == 1).await;
    let state = |app: &Value, id: &str| {
        let tasks = app["tasks"].as_array().unwrap();
        tasks.iter().find(|task| task["id"] == id).map(|task| task["state"].as_str().unwrap().to_owned())
    };
    assert_eq!(state(&app, &id).as_deref(), Some("TASK_UNREACHABLE"));
    local.expect(204, "DELETE", &format!("/local/tasks/{id}/unreachable"), &json!(null)).await;
    let app = local.until("/a", |app| app["tasksRunning"] == 2).await;
    assert_eq!(
        state(&app, &id).as_deref(),
        Some("TASK_RUNNING"),
        "the one too many goes with the next check"
    );
    local.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn readiness_is_asked_of_real_tasks() {
    let local = Local::start().await;
    let open = Arc::new(AtomicBool::new(false));
    let is_open = Arc::clone(&open);
    let answer = async move || {
        let code =
            if is_open.load(Ordering::Relaxed) { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        (code, "not yet")
    };
    let server = axum::Router::new().route("/", axum::routing::get(answer));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    // Nobody listens on the port until later, so that the deployment waits.
    drop(listener);
    let app = json!({"id": "/ready", "cmd": "exec sleep 1000", "requirePorts": true,
        "portDefinitions": [{"port": port, "name": "api"}],
        "readinessChecks": [{"portName": "api", "intervalSeconds": 2, "timeoutSeconds": 1, "preserveLastResponse": true}]});
    local.expect(201, "POST", "/v2/apps", &app).await;
    local
        .wait("a first result", async || {
            let deployments = local.get("/v2/deployments").await.body;
            let result = deployments[0]["currentActions"][0]["readinessCheckResults"][0].clone();
            if result["ready"] == false { Ok(()) } else { Err(deployments.to_string()) }
        })
        .await;
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    let running = tokio::task::JoinSet::from_iter([async move { axum::serve(listener, server).await }]);
    local
        .wait("an answer", async || {
            let app = local.get("/v2/apps/ready?embed=apps.readiness").await.body["app"].clone();
            let result = app["readinessCheckResults"][0].clone();
            if result["lastResponse"]["body"] == "not yet" { Ok(()) } else { Err(app.to_string()) }
        })
        .await;
    open.store(true, Ordering::Relaxed);
    local.deployed("/ready").await;
    let app = local.get("/v2/apps/ready?embed=apps.readiness").await.body["app"].clone();
    assert_eq!(app["readinessCheckResults"], json!([]), "results belong to deployments");
    drop(running);
    local.stop().await;
}
