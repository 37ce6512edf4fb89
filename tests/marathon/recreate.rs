//! An app with volumes whose change Marathon does not make in place: it is deleted and created anew, and comes back as it
//! was where it is refused.

use dcos_registry::controller::report;
use dcos_registry::controller::stage::Accepted;
use dcos_registry::model::{BlockedReason, OutcomeResult};
use serde_json::{Value, json};

use crate::life::{Cluster, Life, MOST_PASSES, manifest_of};
use crate::world::in_virtual_time;

const ID: &str = "/data/db";

fn resident(cpus: f64, size: u32) -> Accepted {
    let volumes = json!([{"containerPath": "data", "mode": "RW", "persistent": {"size": size}}]);
    let app = json!({
        "id": ID, "role": "data", "cmd": "sleep 1000", "instances": 1, "cpus": cpus, "portDefinitions": [],
        "container": {"type": "MESOS", "volumes": volumes},
    });
    manifest_of(&[json!({"app": app, "recreate": "allowed"})])
}

/// The version, the cpus and the size of the volume of the app; none where it is not there.
async fn there(life: &Life<'_>) -> Option<(String, f64, u64)> {
    let (status, body) = life.world.send("GET", &format!("/v2/apps{ID}"), &Value::Null).await;
    if status == 404 {
        return None;
    }
    let app = &body["app"];
    let size = app["container"]["volumes"][0]["persistent"]["size"].as_u64().unwrap();
    Some((app["version"].as_str().unwrap().to_owned(), app["cpus"].as_f64().unwrap(), size))
}

/// Passes until the app is gone.
async fn until_gone(life: &mut Life<'_>, accepted: &Accepted) {
    for _ in 0..MOST_PASSES {
        life.pass(accepted).await;
        if there(life).await.is_none() {
            return;
        }
    }
    panic!("it is not deleted: {:#?}", life.said);
}

#[test]
fn it_is_deleted_and_created_anew_though_another_controller_goes_on_in_the_middle() {
    in_virtual_time(async {
        let cluster = Cluster::start(ID).await;
        let (first, second) = (resident(0.5, 64), resident(0.7, 128));
        let before = cluster
            .live(1, async |life| {
                life.until_ready(&first).await;
                let before = there(life).await.unwrap();
                life.said.clear();
                until_gone(life, &second).await;
                assert_eq!(life.said, ["delete"]);
                before
            })
            .await;
        cluster
            .live(2, async |life| {
                let said = life.until_ready(&second).await;
                assert_eq!(said.first().map(String::as_str), Some("create"), "{said:#?}");
                let (version, cpus, size) = there(life).await.unwrap();
                assert!(version > before.0 && (cpus, size) == (0.7, 128), "{version} {cpus} {size}");
                let inventory = life.executor.storage.control.state().inventory.clone();
                assert!(inventory.intents.is_empty(), "{inventory:?}");
                let plan = life.pass(&second).await;
                assert!(plan.actions.is_empty(), "{}", report::plan_text(&plan));
            })
            .await;
        cluster.world.stop().await;
    });
}

/// From now on no app may be created there, so many times; null: never again.
async fn forbid_creation(life: &Life<'_>, times: Value) {
    let fault = json!({"kind": "refuse", "with": "forbidden", "methods": ["POST"], "times": times});
    let (status, answer) = life.world.send("POST", "/local/faults", &fault).await;
    assert_eq!(status, 201, "{answer}");
}

#[test]
fn what_is_refused_once_it_is_gone_comes_back_as_it_was() {
    in_virtual_time(async {
        let cluster = Cluster::start(ID).await;
        let (first, second) = (resident(0.5, 64), resident(0.5, 128));
        cluster
            .live(1, async |life| {
                life.until_ready(&first).await;
                until_gone(life, &second).await;
                forbid_creation(life, json!(1)).await;
                let (plan, outcomes) = life.try_to_pass(&second).await;
                let refused = matches!(outcomes[0].result, OutcomeResult::Failed { reason: "Forbidden", .. });
                assert!(refused, "{} {outcomes:?}", report::plan_text(&plan));
            })
            .await;
        cluster
            .live(2, async |life| {
                life.until(&second, |plan| !plan.blocked.is_empty()).await;
                let (_, cpus, size) = there(life).await.unwrap();
                assert_eq!((cpus, size), (0.5, 64));
                let plan = life.pass(&second).await;
                let text = report::plan_text(&plan);
                assert!(plan.actions.iter().all(|action| action.operation.is_bookkeeping()), "{text}");
                assert_eq!(plan.blocked[0].reason, BlockedReason::RolledBack, "{text}");
                assert!(plan.blocked[0].message.contains("the data of its volumes is gone"), "{text}");
            })
            .await;
        cluster.world.stop().await;
    });
}

/// Nobody may create apps there any more, and Marathon says so before anything is deleted.
#[test]
fn what_is_refused_while_it_is_there_destroys_nothing() {
    in_virtual_time(async {
        let cluster = Cluster::start(ID).await;
        let (first, second) = (resident(0.5, 64), resident(0.5, 128));
        cluster
            .live(1, async |life| {
                life.until_ready(&first).await;
                let before = there(life).await;
                forbid_creation(life, Value::Null).await;
                for _ in 0..3 {
                    let (plan, outcomes) = life.try_to_pass(&second).await;
                    assert_eq!(plan.actions[0].operation.label(), "delete");
                    assert_ne!(outcomes[0].result, OutcomeResult::Done);
                }
                assert_eq!(there(life).await, before);
            })
            .await;
        cluster.world.stop().await;
    });
}
