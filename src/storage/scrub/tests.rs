//! Scrubbing finds every damage, marks it, and touches nothing else.

use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _};

use super::*;
use crate::clock::Clock;
use crate::storage::faults::{Fault, FaultStore};
use crate::storage::progress::Unwatched;
use crate::storage::publish::unpublish;
use crate::storage::tests::{Sample, open};

async fn registry() -> (Arc<dyn ObjectStore>, Storage, Sample) {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let storage = open(Arc::clone(&store), 1).await.unwrap();
    let sample = Sample::new("hello", "1", 1);
    sample.publish(&storage).await.unwrap();
    (store, storage, sample)
}

async fn run(storage: &Storage, options: &ScrubOptions) -> ScrubReport {
    scrub(storage, options, &Entropy::seeded(1), &Unwatched).await.unwrap()
}

async fn flip(store: &Arc<dyn ObjectStore>, key: &Path, at: usize) {
    let mut bytes = store.get(key).await.unwrap().bytes().await.unwrap().to_vec();
    bytes[at] ^= 1;
    store.put(key, bytes.into()).await.unwrap();
}

#[tokio::test]
async fn everything_that_is_whole_is_read_and_nothing_is_written() {
    let (store, storage, sample) = registry().await;
    let other = Sample::new("retired", "1", 2);
    other.publish(&storage).await.unwrap();
    unpublish(&storage, &other.content.coordinate).await.unwrap();
    storage.blobs.put_bytes(b"named by nothing", 0).await.unwrap();
    let seq = storage.catalog.seq();
    let report = run(&storage, &ScrubOptions::FAST).await;
    assert!(report.is_clean() && report.findings.is_empty(), "{report}");
    assert_eq!(report.checked.count, storage.catalog.state().blob_count() as u64);
    assert_eq!(report.checked.bytes, storage.catalog.state().total_bytes());
    // Of the ten objects of each package the empty member is shared, and two have lists.
    assert_eq!((report.live.count, report.retired.count, report.unnamed.count), (7, 6, 1));
    assert_eq!(report.stored.count, 14);
    assert_eq!(storage.catalog.seq(), seq);
    sample.check(&storage).await;
    drop(store);
}

#[tokio::test]
async fn every_altered_byte_and_every_missing_object_is_found() {
    let members = Sample::new("hello", "1", 1).content.members;
    for (which, member) in members.iter().take(4).enumerate() {
        let size = usize::try_from(member.size).unwrap();
        let harms = [0, size / 2, size.saturating_sub(1)].map(Some).into_iter().chain([None]);
        for (list, harm) in harms.flat_map(|harm| [(false, harm), (true, harm)]) {
            let (store, storage, sample) = registry().await;
            let blob = storage.whole(&member.digest).unwrap();
            if (list && blob.chunks.is_none()) || (harm.is_some() && size == 0) {
                continue;
            }
            let key = if list { blob.chunks_path() } else { blob.path() };
            match harm {
                Some(at) => flip(&store, &key, at % if list { 32 } else { usize::MAX }).await,
                None => store.delete(&key).await.unwrap(),
            }
            let dry = run(&storage, &ScrubOptions { dry_run: true, ..ScrubOptions::FAST }).await;
            assert_eq!(dry.damaged.count, 1, "{which} {list} {harm:?}");
            assert!(!storage.catalog.state().is_damaged(&member.digest));
            let report = run(&storage, &ScrubOptions::FAST).await;
            assert_eq!((report.damaged.count, report.unreadable.count), (1, 0), "{which} {list} {harm:?}");
            let [finding] = &report.findings[..] else { panic!("{report}") };
            assert!(finding.marked && finding.digest == member.digest);
            assert_eq!(finding.packages, ["hello 1"]);
            assert!(report.to_string().contains("needed by hello 1; publish it again"), "{report}");
            assert!(storage.catalog.state().is_damaged(&member.digest));
            sample.publish(&storage).await.unwrap();
            assert!(run(&storage, &ScrubOptions::FAST).await.is_clean());
            sample.check(&storage).await;
        }
    }
}

#[tokio::test]
async fn a_copy_of_another_length_is_found() {
    for which in 0..4 {
        let (store, storage, sample) = registry().await;
        let blob = storage.whole(&sample.content.members[which].digest).unwrap();
        let mut longer = store.get(&blob.path()).await.unwrap().bytes().await.unwrap().to_vec();
        longer.push(0);
        store.put(&blob.path(), longer.into()).await.unwrap();
        assert_eq!(run(&storage, &ScrubOptions::FAST).await.damaged.count, 1, "{which}");
    }
}

#[tokio::test]
async fn a_copy_that_is_whole_again_is_cleared() {
    let (store, storage, sample) = registry().await;
    let blob = storage.whole(&sample.content.members[2].digest).unwrap();
    flip(&store, &blob.path(), 7).await;
    assert_eq!(run(&storage, &ScrubOptions::FAST).await.damaged.count, 1);
    let again = run(&storage, &ScrubOptions::FAST).await;
    assert!(again.damaged.count == 1 && again.findings[0].marked, "it stays marked");
    flip(&store, &blob.path(), 7).await;
    let dry = run(&storage, &ScrubOptions { dry_run: true, ..ScrubOptions::FAST }).await;
    assert!(dry.cleared.count == 1 && storage.whole(&blob.digest).is_err());
    assert_eq!(run(&storage, &ScrubOptions::FAST).await.cleared.count, 1);
    sample.check(&storage).await;
}

/// One fault may hide a copy or a byte; only what fails twice is believed.
#[tokio::test(start_paused = true)]
async fn a_store_that_fails_once_makes_no_copy_damaged() {
    let inner: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let store = FaultStore::new(Arc::clone(&inner));
    let storage = open(Arc::new(store.clone()), 1).await.unwrap();
    let sample = Sample::new("hello", "1", 1);
    sample.publish(&storage).await.unwrap();
    store.hurt([]);
    run(&storage, &ScrubOptions::FAST).await;
    let steps = store.steps().len();
    for step in 0..steps {
        for fault in Fault::SURVIVED {
            store.hurt([(step, fault)]);
            if let Ok(report) = scrub(&storage, &ScrubOptions::FAST, &Entropy::seeded(1), &Unwatched).await {
                assert!(report.is_clean(), "{fault:?} at {step}: {report}");
            }
        }
    }
    // A store that does not answer at all damages nothing either.
    store.hurt((1..500).map(|step| (step, Fault::Refused)));
    let _ = scrub(&storage, &ScrubOptions::FAST, &Entropy::seeded(1), &Unwatched).await;
    store.hurt([]);
    let next = open(inner, 2).await.unwrap();
    assert_eq!(next.catalog.state().blobs().filter(|(_, entry)| entry.damaged).count(), 0);
    println!("scrub: {steps} steps, 4 faults at each");
}

#[tokio::test(start_paused = true)]
async fn a_rate_and_a_share_bound_what_is_read() {
    let (_, storage, _) = registry().await;
    let clock = Clock::system();
    let total = storage.catalog.state().total_bytes();
    let slow = ScrubOptions { rate: Some(total / 10), ..ScrubOptions::FAST };
    // In paused time only the waiting takes time.
    let limit = |seconds| Box::pin(clock.timeout(Duration::from_secs(seconds), run(&storage, &slow)));
    assert!(limit(5).await.is_err());
    assert!(limit(11).await.is_ok());
    for n in 0..200 {
        let name = format!("small-{n}");
        let mut sample = Sample::new(&name, "1", n);
        sample.content.members.truncate(2);
        sample.bytes.truncate(2);
        sample.publish(&storage).await.unwrap();
    }
    let tenth = run(&storage, &ScrubOptions { fraction: 0.1, ..ScrubOptions::FAST }).await;
    let all = storage.catalog.state().blob_count() as u64;
    assert!((all / 30..all / 4).contains(&tenth.checked.count), "{} of {all}", tenth.checked.count);
}
