//! The rest of the API: tasks, bulk changes, selections, deployments, the queue, the leader, versions of Marathon.

use dcos_registry::marathon_local::Profile;
use serde_json::{Value, json};

use super::harness::Local;

fn sleeper(id: &str) -> Value {
    json!({"id": id, "cmd": "sleep 1000"})
}

fn ids(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn apps_are_selected_by_label_id_and_command() {
    let local = Local::simulated(Profile::V1_11).await;
    for (id, env, cmd) in [("/a/web", "prod", "sleep 1"), ("/a/db", "test", "Serve"), ("/b", "prod", "serve")]
    {
        local.run(json!({"id": id, "cmd": cmd, "labels": {"env": env}})).await;
    }
    for (query, expected) in [
        ("label=env%3D%3Dprod", vec!["/a/web", "/b"]),
        ("label=env%20in%20(test)%2C%20env", vec!["/a/db"]),
        ("label=missing!%3Dx", vec![]),
        ("cmd=SERVE", vec!["/a/db", "/b"]),
        ("id=a/&label=env", vec!["/a/db", "/a/web"]),
    ] {
        let list = local.get(&format!("/v2/apps?{query}")).await.body;
        assert_eq!(ids(&list["apps"]), expected, "{query}");
    }
    local.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn several_apps_change_in_one_deployment() {
    let local = Local::simulated(Profile::V1_11).await;
    let bodies = json!([{"id": "/a", "cmd": "sleep 1000"}, {"id": "b", "cmd": "sleep 1000", "instances": 2}]);
    local.expect(200, "PUT", "/v2/apps?partialUpdate=false", &bodies).await;
    local.calm().await;
    let patch = json!([{"id": "/a", "env": {"A": "b"}}, {"id": "/b", "instances": 3}]);
    local.outcome("/", json!({"outcome": "neverStarts"})).await;
    let changed = local.expect(200, "PATCH", "/v2/apps", &patch).await;
    let deployments = local.get("/v2/deployments").await.body;
    assert_eq!(deployments.as_array().unwrap().len(), 1);
    assert_eq!(deployments[0]["id"], changed["deploymentId"]);
    assert_eq!(
        deployments[0]["steps"],
        json!([{"actions": [{"action": "RestartApplication", "app": "/a"},
            {"action": "ScaleApplication", "app": "/b"}]}])
    );
    let fault = local.expect(422, "PUT", "/v2/apps", &json!([{"id": "/a"}, {"cmd": "sleep 1"}])).await;
    assert_eq!(fault["details"][0]["path"], "(1)/id");
    local.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_are_listed_and_killed() {
    let local = Local::simulated(Profile::V1_11).await;
    let app = local.run(json!({"id": "/g/a", "cmd": "sleep 1000", "instances": 3})).await;
    let task = |app: &Value, index: usize| app["tasks"][index]["id"].as_str().unwrap().to_owned();
    let (first, second) = (task(&app, 0), task(&app, 1));
    assert_eq!(local.get("/v2/tasks?status=running").await.body["tasks"].as_array().unwrap().len(), 3);
    assert_eq!(local.get("/v2/tasks?status=staging").await.body["tasks"], json!([]));
    assert_eq!(local.get("/v2/apps/g/*/tasks").await.body["tasks"].as_array().unwrap().len(), 3);

    // One is killed and another takes its place.
    let killed = local.expect(200, "DELETE", &format!("/v2/apps/g/a/tasks/{first}"), &json!(null)).await;
    assert_eq!(killed["task"]["id"], json!(first));
    let app = local
        .until("/g/a", |app| app["tasksRunning"] == 3 && ids(&app["tasks"]).iter().all(|id| *id != first))
        .await;
    // One is killed and nobody takes its place.
    let scaled =
        local.expect(200, "DELETE", &format!("/v2/apps/g/a/tasks/{second}?scale=true"), &json!(null)).await;
    assert!(scaled["deploymentId"].is_string());
    let left = local.deployed("/g/a").await;
    assert_eq!((&left["instances"], ids(&left["tasks"]).contains(&second.as_str())), (&json!(2), false));
    assert_eq!(left["versionInfo"]["lastScalingAt"], scaled["version"]);
    assert_ne!(app["version"], left["version"]);
    // The same over the list of all tasks.
    let third = task(&left, 0);
    let body = json!({"ids": [third]});
    let killed = local.expect(200, "POST", "/v2/tasks/delete", &body).await;
    assert_eq!(ids(&killed["tasks"]), [third.as_str()]);
    local
        .until("/g/a", |app| app["tasksRunning"] == 2 && !ids(&app["tasks"]).contains(&third.as_str()))
        .await;
    local.expect(200, "DELETE", "/v2/apps/g/a/tasks?host=elsewhere", &json!(null)).await;
    let body = json!({"ids": [task(&local.app("/g/a").await, 1)]});
    local.expect(200, "POST", "/v2/tasks/delete?scale=true", &body).await;
    assert_eq!(local.deployed("/g/a").await["instances"], 1);
    local.expect(400, "POST", "/v2/tasks/delete", &json!({"ids": ["nonsense"]})).await;
    local.expect(400, "POST", "/v2/tasks/delete?scale=true&wipe=true", &body).await;
    local.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_is_undone_or_left_where_it_is() {
    let local = Local::simulated(Profile::V1_11).await;
    local.run(sleeper("/a")).await;
    local.outcome("/", json!({"outcome": "neverStarts"})).await;
    let bodies = json!([{"id": "/a", "cmd": "sleep 2000"}, {"id": "/g/b", "cmd": "sleep 1000"}]);
    let put = local.expect(200, "PUT", "/v2/apps", &bodies).await;
    let path = format!("/v2/deployments/{}", put["deploymentId"].as_str().unwrap());
    let undone = local.expect(200, "DELETE", &path, &json!(null)).await;
    assert_ne!(undone["deploymentId"], put["deploymentId"]);
    local.expect(204, "DELETE", "/local/outcomes", &json!(null)).await;
    local.expect(404, "DELETE", &path, &json!(null)).await;
    local.expect(200, "PUT", "/v2/apps/a?force=true", &json!({"env": {"A": "1"}})).await;
    local.calm().await;
    let app = local.app("/a").await;
    assert_eq!(
        (&app["cmd"], app["version"].as_str() > undone["version"].as_str()),
        (&json!("sleep 1000"), true)
    );
    assert_eq!(local.get("/v2/apps/g/b").await.status, 404, "what it created is gone");
    assert_eq!(local.get("/v2/groups/g").await.status, 404);

    local.outcome("/", json!({"outcome": "neverStarts"})).await;
    let put = local.expect(200, "PUT", "/v2/apps/a", &json!({"cmd": "sleep 3000"})).await;
    let path = format!("/v2/deployments/{}?force=true", put["deploymentId"].as_str().unwrap());
    let cut = local.send("DELETE", &path, "").await;
    assert_eq!((cut.status, cut.body), (202, Value::Null));
    let mixed = local.app("/a").await;
    assert_eq!((&mixed["cmd"], &mixed["deployments"]), (&json!("sleep 3000"), &json!([])));
    assert_eq!(mixed["tasks"][0]["version"], app["version"], "the old task still runs");
    local.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_that_cannot_be_undone_goes_on() {
    let local = Local::simulated(Profile::V1_11).await;
    local.outcome("/u/b", json!({"stopping": 10})).await;
    local.run(json!({"id": "/u/b", "cmd": "sleep 1000", "taskKillGracePeriodSeconds": 600})).await;
    let deleted = local.expect(200, "DELETE", "/v2/groups/u", &json!(null)).await;
    // An app takes the name of the group that is on its way out, so the group cannot come back.
    local.expect(201, "POST", "/v2/apps", &sleeper("/u")).await;
    let path = format!("/v2/deployments/{}", deleted["deploymentId"].as_str().unwrap());
    local.expect(422, "DELETE", &path, &json!(null)).await;
    let deployments = local.get("/v2/deployments").await.body;
    let listed = deployments.as_array().unwrap().iter().any(|d| d["id"] == deleted["deploymentId"]);
    assert!(listed, "{deployments}");
    local.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_are_times_in_any_notation() {
    let local = Local::simulated(Profile::V1_11).await;
    let app = local.run(sleeper("/g/a")).await;
    let version = app["version"].as_str().unwrap();
    let other = version.replace('Z', "%2B00:00");
    for path in ["/v2/apps/g/a/versions", "/v2/groups/g/versions"] {
        assert_eq!(local.get(&format!("{path}/{version}")).await.status, 200);
        assert_eq!(local.get(&format!("{path}/{other}")).await.status, 200, "{other}");
        assert_eq!(local.get(&format!("{path}/2001-01-01T00:00:00.000Z")).await.status, 404);
        let refused = local.get(&format!("{path}/xyz")).await;
        let message = "Invalid timestamp provided 'xyz'. Expecting ISO-8601 datetime string.";
        assert_eq!((refused.status, &refused.body["message"]), (422, &json!(message)));
    }
    for path in ["/v2/apps/g/a", "/v2/groups/g"] {
        let refused = local.expect(422, "PUT", path, &json!({"version": "xyz"})).await;
        assert_eq!(refused["details"][0]["path"], "/version", "{refused}");
    }
    local.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_apps_of_a_group_are_a_list() {
    let local = Local::simulated(Profile::V1_11).await;
    local.run(sleeper("/g/a")).await;
    assert_eq!(local.get("/v2/groups/g/apps").await.body[0]["id"], "/g/a");
    let none = local.get("/v2/groups/unknown/apps").await;
    assert_eq!((none.status, none.body), (200, json!([])));
    assert_eq!(local.get("/v2/apps/g/*").await.body["*"][0]["id"], "/g/a");
    assert_eq!(local.get("/v2/apps?id=G/A").await.body["apps"][0]["id"], "/g/a");
    local.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_queue_says_why_nothing_is_launched() {
    let local = Local::simulated(Profile::V1_11).await;
    local.outcome("/a", json!({"outcome": "noOffers", "reason": "UnfulfilledConstraint"})).await;
    local.expect(201, "POST", "/v2/apps", &json!({"id": "/a", "cmd": "sleep 1000", "instances": 2})).await;
    let item = local.get("/v2/queue?embed=lastUnusedOffers").await.body["queue"][0].clone();
    assert_eq!((&item["app"]["id"], &item["count"], &item["role"]), (&json!("/a"), &json!(2), &json!("*")));
    assert_eq!(item["delay"], json!({"timeLeftSeconds": 0, "overdue": true}));
    let summary = &item["processedOffersSummary"];
    assert!(summary["lastUnusedOfferAt"].is_string() && summary["processedOffersCount"] == 1);
    let steps = summary["rejectSummaryLastOffers"].as_array().unwrap();
    assert_eq!(steps[1], json!({"reason": "UnfulfilledConstraint", "declined": 1, "processed": 1}));
    assert_eq!(steps[4], json!({"reason": "InsufficientCpus", "declined": 0, "processed": 0}));
    assert_eq!(item["lastUnusedOffers"][0]["reason"], json!(["UnfulfilledConstraint"]));
    assert!(local.get("/v2/queue").await.body["queue"][0].get("lastUnusedOffers").is_none());

    local.outcome("/crash", json!({"outcome": "fails"})).await;
    local
        .expect(201, "POST", "/v2/apps", &json!({"id": "/crash", "cmd": "sleep 1", "backoffSeconds": 300}))
        .await;
    let delayed = local
        .wait("the backoff", async || {
            let queue = local.get("/v2/queue").await.body;
            let items = queue["queue"].as_array().unwrap();
            items.iter().find(|item| item["app"]["id"] == "/crash").cloned().ok_or(queue.to_string())
        })
        .await;
    assert_eq!(delayed["delay"]["overdue"], false);
    assert!(delayed["delay"]["timeLeftSeconds"].as_u64().unwrap() > 200);
    local.outcome("/crash", json!({"outcome": "runs"})).await;
    let reset = local.send("DELETE", "/v2/queue//crash/delay", "").await;
    assert_eq!((reset.status, reset.body), (204, Value::Null));
    local.deployed("/crash").await;
    local.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_may_abdicate() {
    let local = Local::simulated(Profile::V1_11).await;
    local.run(sleeper("/a")).await;
    let gone = local.expect(200, "DELETE", "/v2/leader", &json!(null)).await;
    assert_eq!(gone, json!({"message": "Leadership abdicated"}));
    let reply = local.get("/v2/apps").await;
    assert_eq!((reply.status, reply.headers.contains_key("x-marathon-leader")), (502, false));
    assert_eq!(local.get("/ping").await.status, 200, "a ping asks nobody");
    local
        .wait("a new leader", async || {
            let reply = local.get("/v2/leader").await;
            if reply.status == 200 { Ok(()) } else { Err(reply.body.to_string()) }
        })
        .await;
    assert_eq!(local.app("/a").await["tasksRunning"], 1, "tasks do not mind");
    local.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn statistics_and_numbers_are_there() {
    let local = Local::simulated(Profile::V1_11).await;
    local.run(json!({"id": "/a", "cmd": "sleep 1000", "instances": 2})).await;
    let app = local.get("/v2/apps?embed=apps.taskStats").await.body["apps"][0].clone();
    assert_eq!(app["taskStats"]["totalSummary"]["stats"]["counts"]["running"], 2);
    assert!(app.get("tasks").is_none());
    let metrics = local.get("/metrics").await.body;
    assert_eq!(metrics["gauges"]["marathon.instances.running.gauge"]["value"], 2);
    assert_eq!(local.get("/v2/apps/a/versions").await.body["versions"].as_array().unwrap().len(), 1);
    local.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn older_versions_differ() {
    for (profile, version, delay) in
        [(Profile::V1_7, "1.7.", 3600), (Profile::V1_8, "1.8.", 300), (Profile::V1_11, "1.11.", 300)]
    {
        let local = Local::simulated(profile).await;
        let (has_roles, has_text) = (profile == Profile::V1_11, profile != Profile::V1_11);
        let info = local.get("/v2/info").await.body;
        assert!(info["version"].as_str().unwrap().starts_with(version), "{info}");
        assert_eq!(info["marathon_config"].get("new_group_enforce_role").is_some(), has_roles);
        let body = json!({"id": "/g/a", "cmd": "sleep 1000", "role": "g", "resourceLimits": {"mem": "unlimited"},
            "executorResources": {"cpus": 0.2, "mem": 32, "disk": 10}});
        let app = local.run(body).await;
        assert_eq!(app["maxLaunchDelaySeconds"], delay, "{version}");
        assert!(app["executorResources"].is_object());
        for there in [&app["role"], &app["tasks"][0]["role"], &app["resourceLimits"]] {
            assert_eq!(!there.is_null(), has_roles, "{version}: {app}");
        }
        assert_eq!(!local.get("/v2/groups/g").await.body["enforceRole"].is_null(), has_roles);
        let patched = local.send("PATCH", "/v2/groups/g", "{}").await;
        assert_eq!(patched.status, if has_roles { 200 } else { 405 });
        // Roles of resources that nobody has are refused by the newest only.
        let public = json!({"id": "/p", "cmd": "sleep 1000", "acceptedResourceRoles": ["slave_public"]});
        let status = local.send("POST", "/v2/apps", &public.to_string()).await.status;
        assert_eq!(status, if has_roles { 422 } else { 201 }, "{version}");
        let text = local.text("/v2/apps/g/a/tasks", "text/plain").await;
        assert_eq!(text.0, if has_text { 200 } else { 406 }, "{version}");
        assert!(!has_text || text.1.starts_with("g_a\t1"), "{}", text.1);
        local.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ping_answers_in_many_ways() {
    let local = Local::simulated(Profile::V1_11).await;
    assert_eq!(local.text("/ping", "*/*").await, (200, "pong".to_owned()));
    assert_eq!(local.text("/ping", "application/json").await, (200, "\"pong\"".to_owned()));
    assert_eq!(local.text("/ping", "image/png").await, (204, String::new()));
    local.stop().await;
}
