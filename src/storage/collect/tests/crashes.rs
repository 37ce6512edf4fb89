//! A collection that fails or dies at every single step.

use super::*;
use crate::storage::faults::{Fault, FaultStore};
use crate::storage::tests::gapless;

/// A registry in which there is everything that is collected, and what must stay.
async fn full() -> (InMemory, Sample) {
    let memory = Arc::new(InMemory::new());
    let store: Arc<dyn ObjectStore> = Arc::clone(&memory) as _;
    let storage = Arc::new(open(Arc::clone(&store), 1).await.unwrap());
    let tenure = Candidate::seize(&storage, &Clock::system()).await;
    let (stays, goes) = (Sample::new("stays", "1", 1), Sample::new("goes", "1", 2));
    for revision in ["r1", "r2"] {
        accept(&storage, &tenure, revision).await;
    }
    let orphan = crate::storage::tests::noise(300_000, 9);
    storage.blobs.put_bytes(&orphan, storage.catalog.seq()).await.unwrap();
    let piece = Path::from(format!("v1/uploads/{:020}-00000000000000ff/{:020}", 0, 0));
    store.put(&piece, "piece".into()).await.unwrap();
    stays.publish(&storage).await.unwrap();
    goes.publish(&storage).await.unwrap();
    unpublish(&storage, &goes.content.coordinate).await.unwrap();
    (memory.fork(), stays)
}

/// Collects with faults at these steps; then the next process must find everything that must be there, and leave
/// nothing else.
async fn collect_through(memory: &InMemory, stays: &Sample, faults: &[(usize, Fault)]) -> Vec<String> {
    let inner: Arc<dyn ObjectStore> = Arc::new(memory.fork());
    let store = FaultStore::new(Arc::clone(&inner));
    let storage = Arc::new(open(Arc::new(store.clone()), 2).await.unwrap());
    let tenure = Candidate::seize(&storage, &Clock::system()).await;
    store.hurt(faults.iter().copied());
    let outcome = collect(&storage, &tenure, &AT_ONCE, &Unwatched).await;
    let steps = store.steps();
    store.hurt([]);
    if faults.is_empty() {
        assert_eq!(outcome.unwrap().condemned.count, 4);
    }
    drop(storage);
    let next = Arc::new(open(Arc::clone(&inner), 3).await.unwrap());
    stays.check(&next).await;
    assert_eq!(next.last_snapshot(&source()).await.unwrap(), Some(snapshot("r2")), "{faults:?}");
    let objects_now = objects(&inner).await;
    assert!(objects_now.is_superset(&named(&next)) || !next.catalog.state().condemned().is_empty());
    let tenure = Candidate::seize(&next, &Clock::system()).await;
    collect(&next, &tenure, &AT_ONCE, &Unwatched).await.unwrap();
    assert_eq!(objects(&inner).await, named(&next), "{faults:?}: something is left or lost");
    assert!(next.catalog.state().condemned().is_empty(), "{faults:?}");
    stays.check(&next).await;
    gapless(&inner, "v1/catalog/log").await;
    gapless(&inner, "v1/control/log").await;
    steps
}

#[tokio::test(start_paused = true)]
async fn every_step_of_collecting_can_fail_or_be_the_last() {
    let (memory, stays) = full().await;
    let steps = collect_through(&memory, &stays, &[]).await;
    let deaths = [Fault::DiesBefore, Fault::DiesAfter];
    for step in 0..steps.len() {
        for fault in deaths.into_iter().chain(Fault::SURVIVED) {
            collect_through(&memory, &stays, &[(step, fault)]).await;
        }
    }
    println!("collect: {} steps, 2 deaths and 4 faults at each: {steps:#?}", steps.len());
}
