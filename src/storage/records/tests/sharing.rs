//! Those who share a record do not hear of each other before it stands.

use super::*;

#[tokio::test(start_paused = true)]
async fn nobody_is_refused_because_of_a_record_that_does_not_stand_yet() {
    let store = FaultStore::new(memory());
    let log = open(&(Arc::new(store.clone()) as Arc<dyn ObjectStore>), 1).await.unwrap();
    // The first record is written; while it is, two callers want the same and share the second, which never comes.
    store.hurt((1..=12).map(|step| (step, Fault::Refused)));
    let commits = futures::join!(
        log.commit(Epoch(0), vec![1]),
        log.commit(Epoch(0), vec![2]),
        log.commit(Epoch(0), vec![2])
    );
    assert!(commits.0.is_ok());
    assert!(matches!(commits.1, Err(CommitError::OutcomeUnknown { seq: 2, .. })), "{:?}", commits.1);
    assert_eq!(commits.2.unwrap().seq, 2);
    store.hurt([]);
    let taken = log.commit(Epoch(0), vec![2]).await;
    assert!(matches!(taken, Err(CommitError::Rejected(Taken(2)))), "{taken:?}");
}

#[tokio::test(start_paused = true)]
async fn the_reason_of_a_refusal_is_one_that_stands() {
    let store = FaultStore::new(memory());
    let log = open(&(Arc::new(store.clone()) as Arc<dyn ObjectStore>), 1).await.unwrap();
    // The third caller may not say 1, which stands, and would be told of the 2 of the second, which never will.
    store.hurt((2..=13).map(|step| (step, Fault::Refused)));
    let commits = futures::join!(
        log.commit(Epoch(0), vec![1]),
        log.commit(Epoch(0), vec![2]),
        log.commit(Epoch(0), vec![2, 1])
    );
    assert!(commits.0.is_ok());
    assert!(matches!(commits.1, Err(CommitError::OutcomeUnknown { seq: 2, .. })), "{:?}", commits.1);
    assert!(matches!(commits.2, Err(CommitError::Rejected(Taken(1)))), "{:?}", commits.2);
}
