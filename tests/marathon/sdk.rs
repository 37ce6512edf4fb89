//! A service of the DC/OS SDK from its creation to its removal, carried by the real planner, executor and client against
//! the local Marathon, in virtual time; and what the local Marathon answers in place of its scheduler.

use std::time::Duration;

use dcos_registry::controller::report;
use dcos_registry::controller::stage::Accepted;
use dcos_registry::marathon::sdk::{UNINSTALL_LABEL, UNINSTALL_VARIABLE};
use dcos_registry::model::{Plan, WaitingReason};
use serde_json::{Value, json};

use crate::life::{Cluster, MOST_PASSES, in_order, manifest_of};
use crate::world::{World, in_virtual_time};

const ID: &str = "/data/kafka";
const PLAN: &str = "/service/data/kafka/v1/plans/deploy";

/// A manifest of this app, where there is one, and another.
fn manifest(env: Option<&Value>) -> Accepted {
    let scheduler = env.map(|env| {
        json!({"id": ID, "cmd": "./scheduler", "instances": 1, "env": env, "labels": {UNINSTALL_LABEL: "true"},
            "upgradeStrategy": {"minimumHealthCapacity": 0, "maximumOverCapacity": 0}})
    });
    let other = json!({"id": "/t/other", "cmd": "sleep 60", "instances": 1});
    let specs: Vec<_> = scheduler.into_iter().chain([other]).map(|app| json!({"app": app})).collect();
    manifest_of(&specs)
}

fn waits(plan: &Plan, word: &str) -> bool {
    let uninstalls = plan.waiting.iter().filter(|waiting| waiting.reason == WaitingReason::Uninstalling);
    uninstalls.clone().any(|waiting| waiting.message.contains(word))
}

#[test]
fn a_service_is_deployed_updated_and_uninstalled_and_a_new_controller_goes_on_in_the_middle() {
    in_virtual_time(async {
        let cluster = Cluster::start(ID).await;
        let (first, second, gone) =
            (manifest(Some(&json!({"A": "1"}))), manifest(Some(&json!({"A": "2"}))), manifest(None));
        cluster
            .live(1, async |life| {
                for (accepted, verb) in [(&first, "create"), (&second, "update")] {
                    let said = life.until_ready(accepted).await;
                    let words = [verb, "NotHealthy", "phase node is", "phase sidecar is PENDING"];
                    assert!(in_order(&said, &words), "{said:#?}");
                    assert_eq!(life.world.send("GET", PLAN, &Value::Null).await.0, 200);
                }
                let said = life.until(&gone, |plan| waits(plan, "phase kill-tasks")).await;
                assert!(in_order(&said, &["uninstall", "Uninstalling"]), "{said:#?}");
                assert!(!said.iter().any(|line| line == "delete"), "{said:#?}");
            })
            .await;
        assert_eq!(cluster.world.app(ID).await.get("env").unwrap()[UNINSTALL_VARIABLE], "true");
        // The first one is dead, and left nothing but what is in the storage and in Marathon.
        cluster
            .live(2, async |life| {
                let said =
                    life.until(&gone, |plan| plan.actions.iter().any(|a| a.operation.label() == "delete"));
                let said = said.await;
                assert!(in_order(&said, &["phase unreserve-resources-local", "delete"]), "{said:#?}");
                assert!(!said.iter().any(|line| line == "uninstall"), "it was begun before: {said:#?}");
                let said = life.until(&gone, |plan| plan.actions.is_empty() && plan.waiting.is_empty()).await;
                assert_eq!(said, ["forget"]);
                let inventory = life.executor.storage.control.state().inventory.clone();
                assert!(inventory.intents.is_empty(), "{inventory:?}");
                assert_eq!(inventory.apps.keys().map(ToString::to_string).collect::<Vec<_>>(), ["/t/other"]);
            })
            .await;
        assert_eq!(cluster.world.send("GET", PLAN, &Value::Null).await.0, 404);
        cluster.world.stop().await;
    });
}

#[test]
fn a_service_that_is_desired_again_while_it_uninstalls_is_made_anew() {
    in_virtual_time(async {
        let cluster = Cluster::start(ID).await;
        let (there, gone) = (manifest(Some(&json!({"A": "x"}))), manifest(None));
        cluster
            .live(1, async |life| {
                life.until_ready(&there).await;
                life.until(&gone, |plan| waits(plan, "phase kill-tasks")).await;
                let plan = life.pass(&there).await;
                assert_eq!(plan.blocked[0].reason.as_str(), "Uninstalling", "{}", report::plan_text(&plan));
                life.said.clear();
                let said = life.until_ready(&there).await;
                assert!(in_order(&said, &["delete", "create", "phase node is"]), "{said:#?}");
            })
            .await;
        assert_eq!(cluster.world.app(ID).await.get("env"), Some(&json!({"A": "x"})));
        cluster.world.stop().await;
    });
}

/// A scheduler that cannot be asked is no scheduler that is done.
#[test]
fn a_service_that_does_not_answer_is_not_deleted() {
    in_virtual_time(async {
        let cluster = Cluster::start(ID).await;
        let (there, gone) = (manifest(Some(&json!({}))), manifest(None));
        cluster
            .live(1, async |life| {
                life.until_ready(&there).await;
                life.world.outcome(ID, &json!({"outcome": "neverStarts"})).await;
                life.pass(&gone).await;
                for _ in 0..MOST_PASSES {
                    let plan = life.pass(&gone).await;
                    assert!(plan.actions.is_empty() && waits(&plan, ""), "{}", report::plan_text(&plan));
                }
            })
            .await;
        cluster.world.stop().await;
    });
}

#[test]
fn the_local_marathon_answers_as_admin_router_does() {
    in_virtual_time(async {
        let world = World::start(1).await;
        let get = async |path: &str| world.send("GET", path, &Value::Null).await.0;
        assert_eq!(get(PLAN).await, 404, "there is no such app");
        let other = json!({"id": "/other", "cmd": "sleep 1"});
        assert_eq!(world.send("POST", "/v2/apps", &other).await.0, 201);
        world.outcome(ID, &json!({"startup": 30})).await;
        let labels = json!({UNINSTALL_LABEL: "true", "DCOS_COMMONS_API_VERSION": "v1"});
        let app = json!({"id": ID, "cmd": "./scheduler", "labels": labels});
        assert_eq!(world.send("POST", "/v2/apps", &app).await.0, 201);
        world.pass(Duration::from_secs(5)).await;
        assert_eq!(get("/service/other/v1/plans/deploy").await, 404, "it is no scheduler");
        assert_eq!(get(PLAN).await, 503, "it does not run yet");
        world.pass(Duration::from_secs(30)).await;
        let (status, plan) = world.send("GET", PLAN, &Value::Null).await;
        assert_eq!((status, &plan["status"], &plan["strategy"]), (202, &json!("PENDING"), &json!("serial")));
        assert_eq!(plan["phases"][0]["steps"][0]["status"], "STARTING");
        world.pass(Duration::from_secs(30)).await;
        let (status, plan) = world.send("GET", PLAN, &Value::Null).await;
        assert_eq!((status, &plan["status"]), (200, &json!("COMPLETE")));
        let ids = world.get("/service/data/kafka/v1/state/frameworkId").await;
        assert_eq!(ids.as_array().map(Vec::len), Some(1));
        assert_eq!(get("/service/data/kafka/v2/plans/deploy").await, 404);
        assert_eq!(get("/service/data/kafka/v1/plans/recovery").await, 404);
        world.stop().await;
    });
}
