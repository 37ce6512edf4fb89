//! An app whose change destroys its volumes is deleted once and created once, whatever goes wrong between.

use serde_json::json;

use super::cluster::Fault;
use super::rig::{Rig, id, manifest_of};
use crate::controller::stage::Accepted;

fn resident(cpus: u8) -> Accepted {
    let volumes = json!([{"containerPath": "data", "mode": "RW", "persistent": {"size": 10}}]);
    let app = json!({
        "id": "/t/a", "cmd": "run", "cpus": cpus, "portDefinitions": [],
        "container": {"type": "MESOS", "volumes": volumes},
    });
    manifest_of(&[app], &json!({"recreate": "allowed"}))
}

#[tokio::test]
async fn it_comes_to_its_end_whoever_dies_and_whatever_fails_meanwhile() {
    for fault in [
        None,
        Some(("DELETE", Fault::DroppedBefore)),
        Some(("DELETE", Fault::DroppedAfter)),
        Some(("DELETE", Fault::Locked)),
        Some(("DELETE", Fault::DiesBefore)),
        Some(("DELETE", Fault::DiesAfter)),
        Some(("POST", Fault::DroppedAfter)),
        // The deployment that stops its tasks still runs.
        Some(("POST", Fault::Locked)),
        Some(("POST", Fault::DiesBefore)),
        Some(("POST", Fault::DiesAfter)),
    ] {
        let mut rig = Rig::new(&[]).await;
        rig.converge(&resident(1)).await.unwrap();
        if let Some((verb, fault)) = fault {
            rig.hurt(verb, fault);
        }
        rig.converge(&resident(2)).await.unwrap_or_else(|why| panic!("{fault:?}: {why}"));
        let (cpus, created) = rig.cluster.with(|inner| {
            let app = &inner.apps[&id("/t/a")];
            (app.definition.get("cpus").cloned(), inner.created[&id("/t/a")])
        });
        assert_eq!((cpus, created), (Some(json!(2)), 2), "{fault:?}");
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
    assert_eq!(rig.writes(), ["DELETE /t/a?force=false"]);
    rig.cluster.with(|inner| inner.slow = false);
    rig.converge(&resident(2)).await.unwrap();
    let writes = rig.writes();
    assert!(writes.len() == 1 && writes[0].starts_with("POST"), "{writes:?}");
}
