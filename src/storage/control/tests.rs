//! The lease and the inventory.

use std::sync::Arc;

use object_store::ObjectStore;
use object_store::memory::InMemory;

use super::*;
use crate::clock::{Clock, Entropy};
use crate::model::{ErrorClass, Revision, SourceName};
use crate::storage::Storage;
use crate::storage::faults::{Fault, FaultStore};
use crate::storage::tests::{app_id, intent, open, owned};

#[tokio::test]
async fn only_the_newest_holder_writes() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let (a, b) = (open(Arc::clone(&store), 1).await.unwrap(), open(store, 2).await.unwrap());
    let forgotten = || vec![ControlOperation::Forgotten { app_id: app_id(1) }];
    let nobody = a.control.commit(Epoch(0), forgotten()).await.unwrap_err();
    assert_eq!(nobody.label(), "LeaseLost");
    let first = a.control.acquire().await.unwrap();
    let second = b.control.acquire().await.unwrap();
    assert_eq!((first, second), (Epoch(1), Epoch(2)));
    let late = a.control.commit(first, forgotten()).await.unwrap_err();
    assert_eq!((late.label(), late.class()), ("LeaseLost", ErrorClass::Wait));
    assert_eq!(a.control.commit(Epoch(9), forgotten()).await.unwrap_err().label(), "LeaseLost");
    b.control.commit(second, forgotten()).await.unwrap();
    assert_eq!(a.control.release(first).await.unwrap_err().label(), "LeaseLost");
    b.control.release(second).await.unwrap();
    assert_eq!(b.control.commit(second, forgotten()).await.unwrap_err().label(), "LeaseLost");
    assert_eq!(b.control.state().holder, None);
    assert_eq!(a.control.acquire().await.unwrap(), Epoch(3));
}

#[tokio::test]
async fn an_intent_carries_the_lease_that_it_is_written_under() {
    let storage = Storage::in_memory(Clock::system(), Entropy::seeded(1)).await.unwrap();
    let epoch = storage.control.acquire().await.unwrap();
    let stale = ControlOperation::Intent { app_id: app_id(1), intent: intent(1, Epoch(0)) };
    assert_eq!(storage.control.commit(epoch, vec![stale]).await.unwrap_err().label(), "LeaseLost");
}

#[tokio::test]
async fn a_holder_that_renews_in_the_last_moment_keeps_the_lease() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let (a, b) = (open(Arc::clone(&store), 1).await.unwrap(), open(store, 2).await.unwrap());
    let first = a.control.acquire().await.unwrap();
    b.control.follow().await.unwrap();
    let heard = b.control.state();
    // B has heard nothing for long enough and decides; A's renewal gets there before B's record.
    a.control.commit(first, vec![ControlOperation::Renewed { epoch: first }]).await.unwrap();
    let refused = b.control.acquire_after(heard.epoch, heard.signed).await.unwrap_err();
    assert_eq!(refused.label(), "HolderAlive");
    // What anybody may say is no sign of life.
    b.control.request("r", Request::Reconcile).await.unwrap();
    let heard = b.control.state();
    a.control.request("s", Request::Reconcile).await.unwrap();
    assert_eq!(b.control.acquire_after(heard.epoch, heard.signed).await.unwrap().epoch, Epoch(2));
}

#[tokio::test]
async fn an_end_settles_the_intent() {
    let storage = Storage::in_memory(Clock::system(), Entropy::seeded(1)).await.unwrap();
    let epoch = storage.control.acquire().await.unwrap();
    let ends: [(ControlOperation, bool); 5] = [
        (ControlOperation::Done { app_id: app_id(1), owned: owned(1) }, true),
        (ControlOperation::Abandoned { app_id: app_id(1) }, true),
        (ControlOperation::Deleted { app_id: app_id(1) }, false),
        (ControlOperation::Adopted { app_id: app_id(1), owned: owned(1) }, true),
        (ControlOperation::Forgotten { app_id: app_id(1) }, false),
    ];
    for (end, ours) in ends {
        let begin = ControlOperation::Intent { app_id: app_id(1), intent: intent(1, epoch) };
        storage.control.commit(epoch, vec![begin]).await.unwrap();
        assert_eq!(storage.control.state().inventory.intents.len(), 1);
        storage.control.commit(epoch, vec![end.clone()]).await.unwrap();
        let state = storage.control.state();
        assert!(state.inventory.intents.is_empty(), "{end:?}");
        assert_eq!(state.inventory.apps.get(&app_id(1)), ours.then(|| owned(1)).as_ref(), "{end:?}");
    }
}

#[tokio::test]
async fn an_accepted_manifest_is_remembered() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let storage = open(Arc::clone(&store), 1).await.unwrap();
    let epoch = storage.control.acquire().await.unwrap();
    let source: SourceName = "here".parse().unwrap();
    let revision = Revision("sha256:1".into());
    let accepted = ControlOperation::SnapshotAccepted {
        source: source.clone(),
        revision: revision.clone(),
        snapshot: None,
    };
    storage.control.commit(epoch, vec![accepted]).await.unwrap();
    let state = open(store, 2).await.unwrap().control.state();
    assert_eq!(state.inventory.accepted.get(&source), Some(&revision));
}

/// What a controller does around one write to Marathon.
async fn act(control: &Control) -> Result<(), CommitError<ControlRejection>> {
    let epoch = control.acquire().await?;
    let intent = ControlOperation::Intent { app_id: app_id(1), intent: intent(1, epoch) };
    control.commit(epoch, vec![intent]).await?;
    let done = ControlOperation::Done { app_id: app_id(1), owned: owned(1) };
    control.commit(epoch, vec![done]).await.map(drop)
}

#[tokio::test(start_paused = true)]
async fn a_controller_can_die_or_lose_answers_at_every_step() {
    let count = FaultStore::new(Arc::new(InMemory::new()));
    let storage = open(Arc::new(count.clone()), 1).await.unwrap();
    count.hurt([]);
    act(&storage.control).await.unwrap();
    let steps = count.steps().len();
    for step in 0..steps {
        for fault in [Fault::DiesBefore, Fault::DiesAfter].into_iter().chain(Fault::SURVIVED) {
            let inner: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
            let store = FaultStore::new(Arc::clone(&inner));
            let storage = open(Arc::new(store.clone()), 1).await.unwrap();
            store.hurt([(step, fault)]);
            let outcome = act(&storage.control).await;
            let next = open(inner, 2).await.unwrap();
            let state = next.control.state();
            if outcome.is_ok() {
                assert!(state.inventory.apps.contains_key(&app_id(1)), "{fault:?} at {step}");
            }
            let (apps, intents) = (state.inventory.apps.len(), state.inventory.intents.len());
            assert!(apps + intents <= 1, "{fault:?} at {step}: {apps} apps, {intents} intents");
            assert!(next.control.acquire().await.unwrap() > state.epoch);
            assert_eq!(
                act(&storage.control).await.err().map_or("Acted", |e| e.label()),
                match fault {
                    Fault::DiesBefore | Fault::DiesAfter => "OutcomeUnknown",
                    _ => "Acted",
                }
            );
        }
    }
    println!("acquire, intent, done: {steps} steps, 2 deaths and 4 faults at each");
}
