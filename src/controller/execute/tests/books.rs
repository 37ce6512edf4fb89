//! The executor and its books: what it does when they cannot be written.

use serde_json::json;

use super::cluster::Fault;
use super::rig::{Rig, id, manifest};
use super::{app, reason, results};
use crate::model::ErrorClass;
use crate::storage::faults::Fault as StoreFault;

/// Which steps of the store fail after a write to Marathon, and what the outcome is called. The first step is a
/// create, then what stands there, or before it, is read.
fn breakdowns() -> Vec<(Vec<(usize, StoreFault)>, &'static str)> {
    let refused = |from: usize| (from..40).map(|n| (n, StoreFault::Refused));
    vec![
        (refused(0).collect(), "OutcomeUnknown"),
        (refused(1).collect(), "OutcomeUnknown"),
        (refused(1).chain([(0, StoreFault::LostReply)]).collect(), "OutcomeUnknown"),
    ]
}

#[tokio::test]
async fn writes_that_the_books_could_not_take_are_found_out_by_looking() {
    let stages = [manifest(&[app("a", "run a")]), manifest(&[app("a", "run better")])];
    for (faults, label) in breakdowns() {
        let mut rig = Rig::new(&[]).await;
        for accepted in &stages {
            let (store, faults) = (rig.store.clone(), faults.clone());
            rig.cluster.with(|inner| inner.after_write = Some(Box::new(move || store.hurt(faults.clone()))));
            let (_, outcomes) = rig.pass(accepted).await;
            assert_eq!(reason(&outcomes[0]), (label, ErrorClass::Retry));
            assert!(rig.inventory().intents.contains_key(&id("/t/a")));
            assert_eq!(rig.writes().len(), 1);
            rig.cluster.with(|inner| inner.after_write = None);
            rig.store.hurt([]);
            rig.converge(accepted).await.unwrap();
            assert_eq!(rig.writes().len(), 0);
            let (inventory, there) =
                (rig.inventory(), rig.cluster.with(|inner| inner.apps[&id("/t/a")].clone()));
            assert!(inventory.intents.is_empty());
            assert_eq!(inventory.apps[&id("/t/a")].version, there.version);
        }
    }
}

#[tokio::test]
async fn what_cannot_be_announced_is_not_written() {
    let accepted = manifest(&[app("a", "run a"), app("b", "run b")]);
    for (faults, label) in breakdowns() {
        let mut rig = Rig::new(&[]).await;
        let plan = rig.plan(&accepted).await;
        rig.store.hurt(faults);
        let outcomes = rig.execute(&plan).await;
        assert_eq!(reason(&outcomes[0]), (label, ErrorClass::Retry));
        assert_eq!(reason(&outcomes[1]), (label, ErrorClass::Retry));
        assert_eq!(rig.writes().len(), 0);
        rig.store.hurt([]);
        rig.converge(&accepted).await.unwrap();
        assert!(rig.inventory().intents.is_empty());
    }
}

#[tokio::test]
async fn without_the_lease_nothing_is_written() {
    let mut rig = Rig::new(&[]).await;
    let accepted = manifest(&[app("a", "run a")]);
    let plan = rig.plan(&accepted).await;
    rig.executor.storage.control.acquire().await.unwrap();
    let outcomes = rig.execute(&plan).await;
    assert_eq!((reason(&outcomes[0]), rig.writes().len()), (("LeaseLost", ErrorClass::Wait), 0));
}

#[tokio::test]
async fn a_write_that_lands_late_is_ours_even_if_the_next_try_meets_it() {
    for late in 1..6 {
        let mut rig = Rig::new(&[]).await;
        let accepted = manifest(&[app("a", "run a")]);
        rig.hurt("POST", Fault::Late(late));
        rig.converge(&accepted).await.unwrap_or_else(|why| panic!("{late} requests late: {why}"));
        assert!(rig.inventory().apps.contains_key(&id("/t/a")), "{late} requests late");
        assert!(rig.inventory().intents.is_empty(), "{late} requests late");
        assert_eq!(rig.cluster.with(|inner| inner.created[&id("/t/a")]), 1);
    }
}

#[tokio::test]
async fn more_actions_than_a_record_holds_go_into_several() {
    let mut rig = Rig::new(&[]).await;
    let wide: String = "w".repeat(200);
    let env: serde_json::Map<_, _> = (0..10).map(|n| (format!("V{n}"), wide.clone().into())).collect();
    let many: Vec<_> =
        (0..150).map(|n| json!({"id": format!("/t/a{n}"), "cmd": "run", "env": env})).collect();
    let accepted = manifest(&many);
    let plan = rig.plan(&accepted).await;
    let outcomes = rig.execute(&plan).await;
    assert_eq!(results(&outcomes), ["done"; 150], "{:?}", outcomes.first());
    assert_eq!((rig.inventory().apps.len(), rig.inventory().intents.len()), (150, 0));
}

#[tokio::test]
async fn an_app_too_large_for_a_record_fails_alone() {
    let mut rig = Rig::new(&[]).await;
    let huge: serde_json::Map<_, _> = (0..3000).map(|n| (format!("V{n}"), "w".repeat(100).into())).collect();
    let apps = [app("a", "run a"), json!({"id": "/t/b", "cmd": "run b", "env": huge}), app("c", "run c")];
    let plan = rig.plan(&manifest(&apps)).await;
    let outcomes = rig.execute(&plan).await;
    assert_eq!(results(&outcomes), ["done", "failed", "done"]);
    assert_eq!(reason(&outcomes[1]), ("RecordTooLarge", ErrorClass::Stall));
}
