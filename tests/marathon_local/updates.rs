//! Changes of running apps: rolling replacement, scaling, nothing, force, rollback, versions.

use serde_json::{Value, json};

use super::harness::Local;

fn task_ids(app: &Value) -> Vec<String> {
    let mut ids: Vec<_> =
        app["tasks"].as_array().unwrap().iter().map(|t| t["id"].as_str().unwrap().to_owned()).collect();
    ids.sort();
    ids
}

/// An app whose tasks need a moment to become healthy.
fn slow(cmd: &str) -> Value {
    json!({
        "id": "/slow", "instances": 3, "cmd": format!("sleep 0.3; touch ready; {cmd}; exec sleep 1000"),
        "upgradeStrategy": {"minimumHealthCapacity": 0.6, "maximumOverCapacity": 0.4},
        "healthChecks": [{"protocol": "COMMAND", "command": {"value": "test -f ready"}, "delaySeconds": 0,
            "intervalSeconds": 0, "gracePeriodSeconds": 60}],
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_update_stays_within_its_bounds() {
    let local = Local::start().await;
    let before = local.run(slow("true")).await;
    assert_eq!(before["tasksHealthy"], 3);
    let put = local.expect(200, "PUT", "/v2/apps/slow?partialUpdate=false", &slow("echo second")).await;
    let after = local
        .until("/slow", |app| {
            let (healthy, tasks) =
                (app["tasksHealthy"].as_u64().unwrap(), app["tasks"].as_array().unwrap().len());
            assert!(healthy >= 2, "ceil(3 x 0.6) must stay healthy: {app}");
            assert!(tasks <= 4, "floor(3 x 1.4) may exist: {app}");
            app["deployments"] == json!([])
        })
        .await;
    assert_eq!(after["version"], put["version"]);
    assert_eq!((&after["tasksHealthy"], after["tasks"].as_array().unwrap().len()), (&json!(3), 3));
    assert!(after["tasks"].as_array().unwrap().iter().all(|t| t["version"] == put["version"]));
    assert_eq!(after["portDefinitions"], before["portDefinitions"], "zero ports are used again");
    local.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_must_restart_does() {
    let local = Local::start().await;
    let definition = json!({"id": "/app", "cmd": "exec sleep 1000", "env": {"A": "1", "B": "2"}});
    let first = local.run(definition.clone()).await;

    // The same again: 200, a new deployment id that nobody ever sees, and nothing happens.
    let noop = local.expect(200, "PUT", "/v2/apps/app?partialUpdate=false", &definition).await;
    assert!(noop["deploymentId"].is_string() && noop["version"].as_str() > first["version"].as_str());
    assert_eq!(local.get("/v2/deployments").await.body, json!([]));
    assert_eq!(local.app("/app").await["version"], first["version"]);
    // A definition that comes from a GET is accepted, unknown fields are ignored.
    let mut observed = first.clone();
    observed["nonsense"] = json!(1);
    local.expect(200, "PUT", "/v2/apps/app?partialUpdate=false", &observed).await;
    assert_eq!(local.app("/app").await["version"], first["version"]);

    // Scaling keeps the tasks that run.
    local.expect(200, "PUT", "/v2/apps/app", &json!({"instances": 2})).await;
    let scaled = local.deployed("/app").await;
    assert!(task_ids(&scaled).contains(&task_ids(&first)[0]) && task_ids(&scaled).len() == 2);
    assert_eq!(scaled["versionInfo"]["lastScalingAt"], scaled["version"]);
    assert_eq!(scaled["versionInfo"]["lastConfigChangeAt"], first["version"]);
    assert_eq!(scaled["env"], json!({"A": "1", "B": "2"}), "a partial update keeps the rest");

    // A label restarts them; a map is replaced as a whole; what a full update leaves out is gone.
    local.expect(200, "PUT", "/v2/apps/app", &json!({"labels": {"x": "y"}, "env": {"A": "3"}})).await;
    let labelled = local.deployed("/app").await;
    assert!(task_ids(&labelled).iter().all(|id| !task_ids(&scaled).contains(id)));
    assert_eq!(labelled["env"], json!({"A": "3"}));
    let full = json!({"cmd": "exec sleep 1000", "instances": 1});
    local.expect(200, "PUT", "/v2/apps/app?partialUpdate=false", &full).await;
    let bare = local.deployed("/app").await;
    assert_eq!((&bare["env"], &bare["labels"], &bare["id"]), (&json!(null), &json!({}), &json!("/app")));

    // A restart replaces tasks and changes nothing else.
    local.expect(200, "POST", "/v2/apps/app/restart", &json!(null)).await;
    let restarted = local.deployed("/app").await;
    assert_ne!(task_ids(&restarted), task_ids(&bare));
    assert_eq!(restarted["versionInfo"]["lastScalingAt"], bare["versionInfo"]["lastScalingAt"]);
    assert_eq!(restarted["versionInfo"]["lastConfigChangeAt"], restarted["version"]);

    let versions = local.get("/v2/apps/app/versions").await.body;
    assert_eq!(versions["versions"].as_array().unwrap().len(), 5, "{versions}");
    let path = format!("/v2/apps/app/versions/{}", first["version"].as_str().unwrap());
    assert_eq!(local.get(&path).await.body["env"], json!({"A": "1", "B": "2"}));
    local.expect(200, "PUT", "/v2/apps/app", &json!({"version": first["version"]})).await;
    let back = local.deployed("/app").await;
    assert_eq!(back["env"], json!({"A": "1", "B": "2"}));
    assert!(back["version"].as_str() > restarted["version"].as_str());
    local.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deployments_lock_and_are_forced_undone_or_cut_off() {
    let local = Local::start().await;
    let good = local.run(json!({"id": "/app", "cmd": "exec sleep 1000"})).await;
    let stuck = json!({"cmd": "exec sleep 1001", "healthChecks":
        [{"protocol": "COMMAND", "command": {"value": "false"}, "delaySeconds": 0, "gracePeriodSeconds": 600}]});
    let first = local.expect(200, "PUT", "/v2/apps/app?partialUpdate=false", &stuck).await;
    let deployments = local.get("/v2/deployments").await.body;
    assert_eq!(deployments[0]["id"], first["deploymentId"]);
    assert_eq!(deployments[0]["affectedApps"], json!(["/app"]));
    assert_eq!(
        deployments[0]["steps"],
        json!([{"actions": [{"action": "RestartApplication", "app": "/app"}]}])
    );
    assert_eq!(deployments[0]["currentActions"][0]["action"], "RestartApplication");
    assert_eq!((&deployments[0]["currentStep"], &deployments[0]["totalSteps"]), (&json!(1), &json!(1)));
    local.until("/app", |app| app["tasksRunning"] == 2).await;

    let change = json!({"instances": 3});
    let locked = local.expect(409, "PUT", "/v2/apps/app", &change).await;
    assert_eq!(locked["deployments"], json!([{"id": first["deploymentId"]}]));
    assert!(locked["message"].as_str().unwrap().starts_with("App is locked by one or more deployments"));
    for (method, path) in [("POST", "/v2/apps/app/restart"), ("DELETE", "/v2/apps/app?force=false")] {
        let locked = local.expect(409, method, path, &json!(null)).await;
        assert_eq!(locked["deployments"], json!([{"id": first["deploymentId"]}]));
    }
    local.expect(200, "PUT", "/v2/apps/app?partialUpdate=false", &stuck).await; // changes nothing: not locked

    // Undone: the good definition and only it, under a new version.
    let path = format!("/v2/deployments/{}", first["deploymentId"].as_str().unwrap());
    let undone = local.expect(200, "DELETE", &path, &json!(null)).await;
    let back = local.deployed("/app").await;
    assert_eq!(
        (&back["cmd"], &back["version"], &back["tasksRunning"]),
        (&good["cmd"], &undone["version"], &json!(1))
    );

    // Forced over, and cut off where it is.
    local.expect(200, "PUT", "/v2/apps/app?partialUpdate=false", &stuck).await;
    local.until("/app", |app| app["tasksRunning"] == 2).await;
    let forced = local.expect(200, "PUT", "/v2/apps/app?force=true", &json!({"env": {"X": "1"}})).await;
    let deployments = local.get("/v2/deployments").await.body;
    assert_eq!((&deployments[0]["id"], deployments.as_array().unwrap().len()), (&forced["deploymentId"], 1));
    let path = format!("/v2/deployments/{}?force=true", forced["deploymentId"].as_str().unwrap());
    let cut = local.send("DELETE", &path, "").await;
    assert_eq!((cut.status, cut.body), (202, Value::Null));
    // What runs stays, also a new one beside the old.
    let left = local.deployed("/app").await;
    assert_ne!(left["tasksRunning"], 0, "{left}");
    assert_eq!((&left["version"], &left["env"]), (&forced["version"], &json!({"X": "1"})));

    // Undoing a creation removes the app; a deletion forces by default.
    let created = local.expect(201, "PUT", "/v2/apps/new", &stuck).await;
    let path = format!("/v2/deployments/{}", created["deploymentId"].as_str().unwrap());
    local.expect(200, "DELETE", &path, &json!(null)).await;
    assert_eq!(local.get("/v2/apps/new").await.status, 404);
    local.expect(200, "PUT", "/v2/apps/app?partialUpdate=false", &stuck).await;
    local.expect(200, "DELETE", "/v2/apps/app", &json!(null)).await;
    local.stop().await;
}
