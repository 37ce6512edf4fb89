//! Snapshots, trimming and taking over: each stopped at every step, and the next process finds everything.

use std::time::Duration;

use object_store::ObjectStoreExt as _;
use object_store::path::Path;

use super::*;
use crate::storage::aged::AgedStore;
use crate::storage::lease::Candidate;

/// All that can happen at a step.
fn faults() -> impl Iterator<Item = Fault> {
    [Fault::DiesBefore, Fault::DiesAfter].into_iter().chain(Fault::SURVIVED)
}

/// What the records alone add up to: the same objects without snapshots and hints.
async fn replayed(memory: &InMemory) -> Storage {
    use futures::TryStreamExt as _;
    let bare: Arc<dyn ObjectStore> = Arc::new(memory.fork());
    let listed: Vec<_> = bare.list(None).try_collect().await.unwrap();
    for meta in listed.iter().filter(|meta| {
        let path = meta.location.as_ref();
        path.contains("/snap/") || path.ends_with("/hint")
    }) {
        bare.delete(&meta.location).await.unwrap();
    }
    open(bare, 9).await.unwrap()
}

/// Publishes versions that share blobs, so that records are cheap.
async fn records(storage: &Storage, names: std::ops::Range<u8>) {
    for name in names {
        let publication = publication(name, 1, name % 5, storage.catalog.seq());
        storage.catalog.publish(publication).await.unwrap();
    }
}

/// Tends the log with faults at these steps; returns the steps.
async fn tend_through(memory: &InMemory, faults: &[(usize, Fault)]) -> Vec<String> {
    let memory = Arc::new(memory.fork());
    let inner: Arc<dyn ObjectStore> = Arc::clone(&memory) as _;
    let store = FaultStore::new(Arc::clone(&inner));
    let storage = open(Arc::new(store.clone()), 2).await.unwrap();
    // The record at a multiple of sixteen makes a snapshot due; three are there, so one is removed.
    records(&storage, 63..64).await;
    store.hurt(faults.iter().copied());
    let tended = storage.catalog.tend().await;
    let steps = store.steps();
    store.hurt([]);
    assert!(tended.is_ok() || !faults.is_empty());
    drop(storage);
    let next = open(Arc::clone(&inner), 3).await.unwrap();
    assert_eq!(next.catalog.state(), replayed(&memory).await.catalog.state(), "{faults:?}");
    assert_eq!((next.catalog.seq(), gapless(&inner, "v1/catalog/log").await), (64, 65), "{faults:?}");
    records(&next, 64..80).await;
    next.catalog.tend().await.unwrap();
    let again = open(Arc::clone(&inner), 4).await.unwrap();
    assert_eq!(again.catalog.state(), next.catalog.state(), "{faults:?}");
    let snapshots = memory.list_with_delimiter(Some(&Path::from("v1/catalog/snap"))).await.unwrap().objects;
    assert!((1..=3).contains(&snapshots.len()), "{faults:?}: {snapshots:?}");
    steps
}

#[tokio::test(start_paused = true)]
async fn every_step_of_writing_a_snapshot_can_fail_or_be_the_last() {
    let memory = InMemory::new();
    let memory = Arc::new(memory);
    let storage = open(Arc::clone(&memory) as _, 1).await.unwrap();
    for name in 0..63 {
        records(&storage, name..name + 1).await;
        storage.catalog.tend().await.unwrap();
    }
    let steps = tend_through(&memory, &[]).await;
    assert!(["put", "list", "delete"].iter().all(|kind| steps.iter().any(|step| step.starts_with(kind))));
    for step in 0..steps.len() {
        for fault in faults() {
            tend_through(&memory, &[(step, fault)]).await;
        }
    }
    println!("snapshot: {} steps, 2 deaths and 4 faults at each: {steps:?}", steps.len());
}

/// A control log of sixty records, one an hour, with snapshots; and its clock.
async fn old_log() -> (Arc<InMemory>, AgedStore, Clock) {
    let (memory, clock) = (Arc::new(InMemory::new()), Clock::fixed(1_000_000_000_000));
    let aged = AgedStore::new(Arc::clone(&memory) as _, clock.clone());
    let storage = Arc::new(open(Arc::new(aged.clone()), 1).await.unwrap());
    let tenure = Candidate::seize(&storage, &Clock::system()).await;
    for n in 0..60_u8 {
        clock.advance(Duration::from_secs(3_600));
        let owned = ControlOperation::Adopted { app_id: app_id(n), owned: owned(n) };
        tenure.commit(vec![owned]).await.unwrap();
        storage.control.tend().await.unwrap();
    }
    (memory, aged, clock)
}

#[tokio::test(start_paused = true)]
async fn every_step_of_trimming_can_fail_or_be_the_last() {
    let mut steps = 0;
    let mut step = None;
    loop {
        for fault in faults() {
            let (_memory, aged, _clock) = old_log().await;
            let inner: Arc<dyn ObjectStore> = Arc::new(aged);
            let store = FaultStore::new(Arc::clone(&inner));
            let storage = open(Arc::new(store.clone()), 2).await.unwrap();
            let (state, seq) = (storage.control.state(), storage.control.seq());
            store.hurt(step.map(|step| (step, fault)));
            let trimmed = storage.control.trim().await;
            let when = format!("{fault:?} at {step:?}");
            if step.is_none() {
                steps = store.steps().len();
                assert!(trimmed.as_ref().unwrap().deleted > 10);
            }
            store.hurt([]);
            drop(storage);
            let next = open(Arc::clone(&inner), 3).await.unwrap();
            assert_eq!((next.control.state(), next.control.seq()), (state, seq), "{when}");
            next.control.trim().await.unwrap();
            assert_eq!(next.control.trim().await.unwrap().deleted, 0, "{when}: something was left");
            assert_eq!(next.control.acquire().await.unwrap(), Epoch(2), "{when}");
            let again = open(Arc::clone(&inner), 4).await.unwrap();
            assert_eq!(again.control.state(), next.control.state(), "{when}");
            if step.is_none() {
                break;
            }
        }
        let next = step.map_or(0, |step| step + 1);
        if next >= steps {
            break;
        }
        step = Some(next);
    }
    println!("trimming: {steps} steps, 2 deaths and 4 faults at each");
}

#[tokio::test(start_paused = true)]
async fn every_step_of_taking_over_can_fail_or_be_the_last() {
    let memory = Arc::new(InMemory::new());
    let first = Arc::new(open(Arc::clone(&memory) as _, 1).await.unwrap());
    let tenure = Candidate::seize(&first, &Clock::system()).await;
    let adopted = ControlOperation::Adopted { app_id: app_id(1), owned: owned(1) };
    tenure.commit(vec![adopted]).await.unwrap();
    // The old holder goes on writing, so that whoever takes over loses a number first.
    let mut most = 0;
    for step in 0..16 {
        for fault in faults() {
            let memory = Arc::new(memory.fork());
            let inner: Arc<dyn ObjectStore> = Arc::clone(&memory) as _;
            let store = FaultStore::new(Arc::clone(&inner));
            let second = open(Arc::new(store.clone()), 2).await.unwrap();
            let old = open(Arc::clone(&inner), 1).await.unwrap();
            let renewed = ControlOperation::Renewed { epoch: Epoch(1) };
            old.control.commit(Epoch(1), vec![renewed.clone()]).await.unwrap();
            store.hurt([(step, fault)]);
            let taken = second.control.acquire().await;
            most = most.max(store.steps().len());
            let when = format!("{fault:?} at {step}");
            let third = open(Arc::clone(&inner), 3).await.unwrap();
            let state = third.control.state();
            if let Ok(epoch) = taken {
                assert_eq!(
                    (state.epoch, state.holder.as_deref()),
                    (epoch, Some(second.control.holder())),
                    "{when}"
                );
                let late = old.control.commit(Epoch(1), vec![renewed]).await.unwrap_err();
                assert_eq!(late.label(), "LeaseLost", "{when}");
            }
            let next = third.control.acquire().await.unwrap();
            assert_eq!(next, Epoch(state.epoch.0 + 1), "{when}");
            assert_eq!(third.control.state().inventory, first.control.state().inventory, "{when}");
            gapless(&inner, "v1/control/log").await;
        }
    }
    assert!(most < 16, "not all steps were tried: {most}");
    println!("taking over: {most} steps at most, 2 deaths and 4 faults at each");
}
