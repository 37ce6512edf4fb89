//! An app whose change destroys its volumes is deleted once and created once, whatever goes wrong between.

use serde_json::json;

use super::cluster::Fault;
use super::rig::{Rig, id, manifest_of};
use crate::controller::stage::Accepted;
use crate::model::{BlockedReason, ErrorClass, OutcomeResult};

fn resident(cpus: u8) -> Accepted {
    let volumes = json!([{"containerPath": "data", "mode": "RW", "persistent": {"size": 10}}]);
    let app = json!({
        "id": "/t/a", "cmd": "run", "cpus": cpus, "portDefinitions": [],
        "container": {"type": "MESOS", "volumes": volumes},
    });
    manifest_of(&[app], &json!({"recreate": "allowed"}))
}

/// What is sent before the app is gone: the first two are to be refused.
const ASKED_AND_DELETED: [&str; 3] =
    ["PUT /t/a?partialUpdate=false&force=false", "POST /t/a?force=false", "DELETE /t/a?force=false"];

/// The number of the app's cpus, and how often it was made.
fn there(rig: &Rig) -> (Option<u64>, usize) {
    rig.cluster.with(|inner| {
        let cpus = inner.apps.get(&id("/t/a")).and_then(|app| app.definition.get("cpus")?.as_u64());
        (cpus, inner.created[&id("/t/a")])
    })
}

#[tokio::test]
async fn it_comes_to_its_end_whoever_dies_and_whatever_fails_meanwhile() {
    for fault in [
        None,
        Some(("PUT", Fault::DroppedBefore)),
        Some(("PUT", Fault::DroppedAfter)),
        Some(("PUT", Fault::Invalid)),
        Some(("PUT", Fault::DiesAfter)),
        Some(("POST", Fault::DroppedAfter)),
        Some(("POST", Fault::Forbidden)),
        Some(("POST", Fault::DiesAfter)),
        Some(("DELETE", Fault::DroppedBefore)),
        Some(("DELETE", Fault::DroppedAfter)),
        Some(("DELETE", Fault::Locked)),
        Some(("DELETE", Fault::DiesBefore)),
        Some(("DELETE", Fault::DiesAfter)),
        Some(("CREATE", Fault::DroppedAfter)),
        // The deployment that stops its tasks still runs.
        Some(("CREATE", Fault::Locked)),
        Some(("CREATE", Fault::TooMany)),
        Some(("CREATE", Fault::Busy)),
        Some(("CREATE", Fault::DiesBefore)),
        Some(("CREATE", Fault::DiesAfter)),
    ] {
        let mut rig = Rig::new(&[]).await;
        rig.converge(&resident(1)).await.unwrap();
        if let Some((verb, fault)) = fault {
            rig.hurt(verb, fault);
        }
        rig.converge(&resident(2)).await.unwrap_or_else(|why| panic!("{fault:?}: {why}"));
        assert_eq!(there(&rig), (Some(2), 2), "{fault:?}");
        assert!(rig.inventory().intents.is_empty(), "{fault:?}");
        rig.writes();
        assert_eq!(rig.converge(&resident(2)).await, Ok(0), "{fault:?}");
        assert_eq!(rig.writes(), [""; 0], "{fault:?}");
    }
}

#[tokio::test]
async fn nothing_is_created_beside_what_still_stops() {
    let mut rig = Rig::new(&[]).await;
    rig.converge(&resident(1)).await.unwrap();
    rig.writes();
    rig.cluster.with(|inner| inner.slow = true);
    for _ in 0..4 {
        rig.pass(&resident(2)).await;
    }
    assert_eq!(rig.writes(), ASKED_AND_DELETED);
    rig.cluster.with(|inner| inner.slow = false);
    rig.converge(&resident(2)).await.unwrap();
    let writes = rig.writes();
    assert!(writes.len() == 1 && writes[0].starts_with("POST"), "{writes:?}");
}

#[tokio::test]
async fn what_marathon_refuses_before_destroys_nothing() {
    for (verb, fault, reason) in [
        ("PUT", Fault::Invalid, "Invalid"),
        ("PUT", Fault::Forbidden, "Forbidden"),
        ("POST", Fault::Invalid, "Invalid"),
        ("POST", Fault::Forbidden, "Forbidden"),
    ] {
        let mut rig = Rig::new(&[]).await;
        rig.converge(&resident(1)).await.unwrap();
        rig.writes();
        rig.hurt(verb, fault);
        let (_, outcomes) = rig.pass(&resident(2)).await;
        let OutcomeResult::Failed { class, reason: told, message } = &outcomes[0].result else { panic!() };
        assert_eq!((*class, *told), (ErrorClass::Stall, reason));
        assert!(message.ends_with("and is left as it is"), "{message}");
        assert!(!rig.writes().iter().any(|write| write.starts_with("DELETE")));
        assert_eq!(there(&rig), (Some(1), 1));
        // Whoever takes the change back has lost nothing.
        rig.converge(&resident(1)).await.unwrap();
        assert_eq!((rig.writes(), rig.inventory().intents.len()), (Vec::new(), 0));
    }
}

#[tokio::test]
async fn what_is_possible_in_place_after_all_is_not_deleted() {
    let mut rig = Rig::new(&[]).await;
    rig.converge(&resident(1)).await.unwrap();
    rig.writes();
    rig.cluster.with(|inner| inner.lenient = true);
    let (_, outcomes) = rig.pass(&resident(2)).await;
    assert!(matches!(outcomes[0].result, OutcomeResult::Skipped(_)), "nothing is said to be deleted");
    rig.converge(&resident(2)).await.unwrap();
    assert_eq!(rig.writes(), ASKED_AND_DELETED[..1]);
    assert_eq!((there(&rig), rig.inventory().intents.len()), ((Some(2), 1), 0));
}

/// Passes until the unit is held back. Returns why.
async fn held_back(rig: &mut Rig, accepted: &Accepted) -> String {
    for _ in 0..12 {
        let (plan, _) = rig.pass(accepted).await;
        if let [blocked] = plan.blocked.as_slice() {
            assert_eq!(blocked.reason, BlockedReason::RolledBack);
            return blocked.message.clone();
        }
    }
    panic!("nothing holds it back");
}

#[tokio::test]
async fn what_is_refused_after_the_deletion_comes_back_as_it_was() {
    for (refusal, then) in [
        (Fault::Invalid, None),
        (Fault::Forbidden, None),
        (Fault::Invalid, Some(Fault::DroppedBefore)),
        (Fault::Invalid, Some(Fault::DroppedAfter)),
        (Fault::Invalid, Some(Fault::Invalid)),
        (Fault::Invalid, Some(Fault::DiesBefore)),
        (Fault::Invalid, Some(Fault::DiesAfter)),
    ] {
        let mut rig = Rig::new(&[]).await;
        rig.converge(&resident(1)).await.unwrap();
        let before = rig.cluster.with(|inner| inner.apps[&id("/t/a")].definition.clone());
        rig.pass(&resident(2)).await;
        rig.hurt("CREATE", refusal);
        let (_, outcomes) = rig.pass(&resident(2)).await;
        let OutcomeResult::Failed { class, message, .. } = &outcomes[0].result else { panic!() };
        assert_eq!(*class, ErrorClass::Retry, "the app is gone, and the next pass must come soon");
        assert!(message.ends_with("is created again, without its data"), "{message}");
        assert_eq!(there(&rig), (None, 1));
        if let Some(fault) = then {
            rig.hurt("CREATE", fault);
        }
        let message = held_back(&mut rig, &resident(2)).await;
        assert!(message.contains("the data of its volumes is gone"), "{then:?}: {message}");
        assert!(message.contains(if refusal == Fault::Invalid { "as the script says" } else { "Not Auth" }));
        assert_eq!(there(&rig), (Some(1), 2), "{then:?}");
        assert_eq!(rig.cluster.with(|inner| inner.apps[&id("/t/a")].definition.clone()), before);
        rig.writes();
        for _ in 0..4 {
            held_back(&mut rig, &resident(2)).await;
        }
        assert_eq!((rig.writes(), rig.inventory().intents.len()), (Vec::new(), 0), "{then:?}");
        // Another change is tried, and so is this one after it was taken back.
        rig.converge(&resident(1)).await.unwrap();
        assert_eq!(rig.writes(), [""; 0]);
        rig.converge(&resident(2)).await.unwrap();
        assert_eq!(there(&rig), (Some(2), 3));
    }
}
