//! Faults on demand, seen by a client.

use dcos_registry::marathon_local::Profile;
use serde_json::{Value, json};

use super::events::Stream;
use super::harness::Local;

fn sleeper(id: &str) -> Value {
    json!({"id": id, "cmd": "sleep 1000"})
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_refused_as_often_as_asked() {
    let local = Local::simulated(Profile::V1_11).await;
    for (fault, status, word) in [
        (json!({"with": "locked"}), 409, "App is locked"),
        (json!({"with": "exists"}), 409, "already exists"),
        (json!({"with": "tooMany"}), 403, "Max number (100) of running deployments"),
        (json!({"with": "forbidden"}), 403, "Not Authorized"),
        (json!({"with": "json", "status": 500}), 500, "fault"),
        (json!({"with": "leaderless"}), 503, "leader"),
    ] {
        let mut fault = fault;
        (fault["kind"], fault["times"]) = (json!("refuse"), json!(1));
        local.fault(fault).await;
        let refused = local.expect(status, "PUT", "/v2/apps/a", &sleeper("/a")).await;
        assert!(refused["message"].as_str().unwrap().contains(word), "{refused}");
        assert_eq!(refused.get("deployments").is_some(), word == "App is locked");
        local.no_faults().await;
    }
    local.fault(json!({"kind": "refuse", "with": "html", "status": 502, "methods": ["GET"]})).await;
    let (status, page) = local.text("/v2/apps", "application/json").await;
    assert!(status == 502 && page.starts_with("<html>"), "{page}");
    let listed = local.get("/local/faults").await.body;
    assert_eq!((&listed["faults"][0]["struck"], &listed["faults"][0]["with"]), (&json!(1), &json!("html")));
    local.no_faults().await;
    assert_eq!(local.get("/v2/apps").await.body, json!({"apps": []}), "nothing of all this was carried out");
    let wrong = local.expect(422, "POST", "/local/faults", &json!({"kind": "nonsense"})).await;
    assert!(wrong["message"].as_str().unwrap().contains("cutAfterWrite"), "{wrong}");
    local.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_is_cut_after_the_write_was_stored() {
    let local = Local::simulated(Profile::V1_11).await;
    local.fault(json!({"kind": "cutAfterWrite", "times": 1})).await;
    let cut = local.try_to_send("POST", "/v2/apps", &sleeper("/a").to_string()).await;
    assert!(cut.is_err_and(|e| e.is_request()), "there is no answer");
    assert_eq!(local.get("/v2/apps/a").await.status, 200, "and yet it is there");
    local.expect(409, "POST", "/v2/apps", &sleeper("/a")).await;
    local.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_leader_changes_in_the_middle_of_a_request() {
    let local = Local::simulated(Profile::V1_11).await;
    local.outcome("/a", json!({"outcome": "neverStarts"})).await;
    local.expect(201, "POST", "/v2/apps", &sleeper("/a")).await;
    let mut stream = Stream::open(&local, "?event_type=none").await;
    local.fault(json!({"kind": "leaderChange", "milliseconds": 300, "times": 1})).await;
    let cut = local.try_to_send("PUT", "/v2/apps/b", &sleeper("/b").to_string()).await;
    assert!(cut.is_err());
    assert_eq!(local.get("/v2/apps").await.status, 502);
    assert!(stream.next(&local).await.is_none(), "streams end with the leadership");
    local
        .wait("a new leader", async || {
            let reply = local.get("/v2/apps/b").await;
            if reply.status == 200 { Ok(()) } else { Err(reply.status.to_string()) }
        })
        .await;
    local.expect(204, "DELETE", "/local/outcomes", &json!(null)).await;
    local.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deployments_get_stuck_and_come_free() {
    let local = Local::simulated(Profile::V1_11).await;
    local.run(sleeper("/a")).await;
    local.fault(json!({"kind": "stuck", "apps": ["/a"]})).await;
    let put = local.expect(200, "PUT", "/v2/apps/a", &json!({"cmd": "sleep 2000"})).await;
    local.run(sleeper("/b")).await;
    let app = local.app("/a").await;
    assert_eq!(app["deployments"][0]["id"], put["deploymentId"], "others come further, this one does not");
    assert_ne!(app["tasks"][0]["version"], app["version"]);
    local.no_faults().await;
    let app = local.deployed("/a").await;
    assert_eq!(app["tasks"][0]["version"], app["version"]);
    local.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forced_deployment_is_not_seen_at_once() {
    let local = Local::simulated(Profile::V1_11).await;
    local.outcome("/a", json!({"outcome": "neverStarts"})).await;
    local.expect(201, "POST", "/v2/apps", &sleeper("/a")).await;
    local.fault(json!({"kind": "gap", "milliseconds": 400})).await;
    let put = local.expect(200, "PUT", "/v2/apps/a?force=true", &json!({"cmd": "sleep 2000"})).await;
    assert_eq!(local.get("/v2/deployments").await.body, json!([]), "neither the old one nor the new one");
    assert_eq!(local.app("/a").await["deployments"], json!([]));
    local
        .wait("the deployment", async || {
            let deployments = local.get("/v2/deployments").await.body;
            if deployments[0]["id"] == put["deploymentId"] { Ok(()) } else { Err(deployments.to_string()) }
        })
        .await;
    local.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn listings_may_be_filtered() {
    let local = Local::simulated(Profile::V1_11).await;
    local.run(sleeper("/g/a")).await;
    local.run(sleeper("/b")).await;
    local.fault(json!({"kind": "hide", "apps": ["/g"]})).await;
    let list = local.get("/v2/apps").await.body;
    assert_eq!((list["apps"].as_array().unwrap().len(), &list["apps"][0]["id"]), (1, &json!("/b")));
    assert_eq!(local.get("/v2/apps/g/a").await.status, 403, "it is there, and not to be seen");
    assert_eq!(local.get("/v2/apps/g/c").await.status, 404);
    assert_eq!(local.get("/v2/tasks").await.body["tasks"].as_array().unwrap().len(), 1);
    assert_eq!(local.get("/v2/groups/g").await.body["apps"], json!([]));
    local.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_expire() {
    let local = Local::simulated(Profile::V1_11).await;
    local.fault(json!({"kind": "expireTokens", "uses": 2})).await;
    assert_eq!(local.get("/v2/apps").await.status, 401);
    let login = local.expect(200, "POST", "/acs/api/v1/auth/login", &json!({"uid": "u", "token": "t"})).await;
    let token = login["token"].as_str().unwrap();
    let statuses =
        [local.with_token(token).await, local.with_token(token).await, local.with_token(token).await];
    assert_eq!(statuses, [200, 200, 401]);
    local.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_else_writes_right_afterwards() {
    let local = Local::simulated(Profile::V1_11).await;
    local.run(sleeper("/a")).await;
    local
        .fault(
            json!({"kind": "secondWriter", "apps": ["/a"], "patch": {"env": {"WHO": "other"}}, "times": 1}),
        )
        .await;
    let put = local.expect(200, "PUT", "/v2/apps/a", &json!({"env": {"WHO": "us"}})).await;
    let app = local.deployed("/a").await;
    assert_eq!(app["env"], json!({"WHO": "other"}));
    assert!(app["version"].as_str() > put["version"].as_str(), "a newer version than ours");
    local.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_lie_and_lose() {
    let local = Local::simulated(Profile::V1_11).await;
    local.outcome("/a", json!({"outcome": "neverStarts"})).await;
    let mut stream = Stream::open(&local, "?event_type=deployment_info&event_type=deployment_success").await;
    local.fault(json!({"kind": "events", "stream": "lying", "times": 1})).await;
    let created = local.expect(201, "POST", "/v2/apps", &sleeper("/a")).await;
    let (kind, lie) = stream.next(&local).await.unwrap();
    assert_eq!((kind.as_str(), &lie["id"]), ("deployment_success", &created["deployments"][0]["id"]));
    assert_eq!(local.app("/a").await["tasksRunning"], 0, "it is not true");
    assert_eq!(stream.next(&local).await.unwrap().0, "deployment_info");
    local.no_faults().await;
    local.fault(json!({"kind": "events", "stream": "cut"})).await;
    local.expect(200, "DELETE", "/v2/apps/a", &json!(null)).await;
    while stream.next(&local).await.is_some() {}
    local.stop().await;
}
