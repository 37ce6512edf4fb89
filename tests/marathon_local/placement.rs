//! Constraints and roles where tasks are processes of this machine: a cluster of one agent.

use serde_json::{Value, json};

use super::harness::Local;

/// What the queue says of an app whose launches wait: how many, and why the last offer was declined.
async fn waiting(local: &Local, id: &str) -> (Value, Vec<Value>) {
    let item = local
        .wait(&format!("{id} in the queue"), async || {
            let queue = local.get("/v2/queue?embed=lastUnusedOffers").await.body;
            let items = queue["queue"].as_array().unwrap();
            let item = items.iter().find(|item| item["app"]["id"] == id);
            let declined = item.filter(|item| item["processedOffersSummary"]["unusedOffersCount"] != 0);
            declined.cloned().ok_or(queue.to_string())
        })
        .await;
    let reasons = item["processedOffersSummary"]["rejectSummaryLastOffers"].as_array().unwrap();
    let declined =
        reasons.iter().filter(|reason| reason["declined"] != 0).map(|reason| reason["reason"].clone());
    (item["count"].clone(), declined.collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_placed_waits_and_says_why() {
    let local = Local::start().await;
    let sleeper = |id: &str, constraint: Value| json!({"id": id, "cmd": "sleep 1000", "instances": 2, "constraints": [constraint]});
    for (id, constraint, running) in [
        ("/nowhere", json!(["hostname", "LIKE", "nowhere"]), 0),
        ("/unique", json!(["hostname", "UNIQUE"]), 1),
        ("/racks", json!(["rack", "GROUP_BY"]), 0),
    ] {
        local.expect(201, "POST", "/v2/apps", &sleeper(id, constraint)).await;
        local.until(id, |app| app["tasksRunning"] == running).await;
        assert_eq!(
            waiting(&local, id).await,
            (json!(2 - running), vec![json!("UnfulfilledConstraint")]),
            "{id}"
        );
    }
    let reserved =
        json!({"id": "/dev/app", "cmd": "sleep 1000", "role": "dev", "acceptedResourceRoles": ["dev"]});
    local.expect(201, "POST", "/v2/apps", &reserved).await;
    assert_eq!(waiting(&local, "/dev/app").await, (json!(1), vec![json!("UnfulfilledRole")]));
    // What fits runs, and what is changed so that it fits runs, too.
    local.run(sleeper("/here", json!(["hostname", "IS", "127.0.0.1"]))).await;
    let free = json!({"constraints": []});
    local.expect(200, "PUT", "/v2/apps/nowhere?force=true", &free).await;
    local.until("/nowhere", |app| app["tasksRunning"] == 2 && app["deployments"] == json!([])).await;
    local.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_configuration_does_not_wait_for_the_place_of_the_old_one() {
    let local = Local::start().await;
    let app = json!({"id": "/unique", "cmd": "sleep 1000", "constraints": [["hostname", "UNIQUE"]]});
    let old = local.run(app).await["tasks"][0]["id"].clone();
    local.expect(200, "PUT", "/v2/apps/unique", &json!({"cmd": "sleep 1001"})).await;
    let app = local.until("/unique", |app| app["deployments"] == json!([])).await;
    assert_eq!(app["tasksRunning"], 1);
    assert_ne!(app["tasks"][0]["id"], old);
    local.stop().await;
}
