//! Collection: what goes, what stays, and that nothing else ever does.

mod crashes;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use futures::TryStreamExt as _;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _};

use super::*;
use crate::clock::Clock;
use crate::model::{Completeness, Member, Revision, Snapshot, SnapshotFile, SnapshotPath, SourceName};
use crate::storage::aged::AgedStore;
use crate::storage::control::ControlOperation;
use crate::storage::lease::Candidate;
use crate::storage::progress::Unwatched;
use crate::storage::publish::{MemberReader, ReleaseVersion, publish, unpublish};
use crate::storage::tests::{Sample, open};

const HOUR: Duration = Duration::from_secs(3600);

/// Everything at once.
const AT_ONCE: CollectOptions =
    CollectOptions { grace: Duration::ZERO, reader_grace: Duration::ZERO, allow: None };

fn source() -> SourceName {
    SourceName::new("here").unwrap()
}

fn snapshot(revision: &str) -> Snapshot {
    let path = SnapshotPath::root().join("a.yaml").unwrap();
    Snapshot {
        source: source(),
        revision: Revision(revision.into()),
        completeness: Completeness::Complete,
        manifests: SnapshotPath::root(),
        files: BTreeMap::from([(path, SnapshotFile::inline(revision.as_bytes()))]),
    }
}

/// Keeps a snapshot as the controller does.
async fn accept(storage: &Storage, tenure: &Tenure, revision: &str) {
    let _turn = storage.accepting().await;
    let snapshot = snapshot(revision);
    let blob = storage.put_snapshot(&snapshot).await.unwrap();
    let (source, revision) = (snapshot.source, snapshot.revision);
    let accepted = ControlOperation::SnapshotAccepted { source, revision, snapshot: blob };
    tenure.commit(vec![accepted]).await.unwrap();
}

/// A registry whose objects are as old as its clock says, and who leads it.
struct Aged {
    store: Arc<dyn ObjectStore>,
    clock: Clock,
    storage: Arc<Storage>,
    tenure: Tenure,
}

impl Aged {
    async fn new() -> Self {
        let clock = Clock::fixed(1_000_000_000_000);
        let store: Arc<dyn ObjectStore> = Arc::new(AgedStore::new(Arc::new(InMemory::new()), clock.clone()));
        let storage = Arc::new(open(Arc::clone(&store), 1).await.unwrap());
        let tenure = Candidate::seize(&storage, &Clock::system()).await;
        Self { store, clock, storage, tenure }
    }

    /// Time passes, at the end of which the leader still lives.
    async fn wait(&self, time: Duration) {
        self.clock.advance(time);
        let epoch = self.tenure.epoch();
        self.tenure.commit(vec![ControlOperation::Renewed { epoch }]).await.unwrap();
    }

    async fn collect(&self, options: &CollectOptions) -> Result<CollectReport, CollectError> {
        let forecast = would_collect(&self.storage, options, &Unwatched).await.unwrap();
        let seq = self.storage.catalog.seq();
        let collected = collect(&self.storage, &self.tenure, options, &Unwatched).await;
        match &collected {
            Ok(report) => {
                let of =
                    |r: &CollectReport| (r.condemned.count, r.deleted.count, r.purged, r.orphans, r.uploads);
                assert_eq!(of(report), of(&forecast));
            }
            Err(CollectError::TooMany { going, .. }) => {
                assert_eq!(forecast.needs_allow, Some(*going));
                assert_eq!(self.storage.catalog.seq(), seq, "nothing was written");
            }
            Err(error) => panic!("{error}"),
        }
        collected
    }

    /// What lies in the store besides logs.
    async fn objects(&self) -> BTreeSet<String> {
        objects(&self.store).await
    }
}

async fn objects(store: &Arc<dyn ObjectStore>) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for folder in ["v1/blobs", "v1/uploads"] {
        let listed = store.list(Some(&Path::from(folder))).map_ok(|meta| meta.location.to_string());
        all.extend(listed.try_collect::<Vec<_>>().await.unwrap());
    }
    all
}

/// The objects of everything that the catalog and the controller's books name.
fn named(storage: &Storage) -> BTreeSet<String> {
    let state = storage.catalog.state();
    let mut blobs: Vec<_> = state.blobs().map(|(digest, _)| state.blob(digest).unwrap()).collect();
    blobs.extend(storage.control.state().snapshots.values());
    let both = |blob: &crate::storage::blobs::Blob| {
        [Some(blob.path().to_string()), blob.chunks.map(|_| blob.chunks_path().to_string())]
    };
    blobs.iter().flat_map(both).flatten().collect()
}

#[tokio::test]
async fn what_was_unpublished_goes_when_its_readers_are_gone() {
    let aged = Aged::new().await;
    let (stays, goes) = (Sample::new("stays", "1", 1), Sample::new("goes", "1", 2));
    stays.publish(&aged.storage).await.unwrap();
    goes.publish(&aged.storage).await.unwrap();
    let before = aged.objects().await;
    unpublish(&aged.storage, &goes.content.coordinate).await.unwrap();
    let options = CollectOptions::default();
    let first = aged.collect(&options).await.unwrap();
    // Both packages have an empty member, which is one blob.
    assert_eq!((first.live.count, first.retired.count, first.condemned.count), (5, 4, 4));
    assert_eq!((first.deleted.count, first.freed, first.watermark), (0, 0, 0));
    assert_eq!(aged.objects().await, before);
    aged.wait(23 * HOUR).await;
    let second = aged.collect(&options).await.unwrap();
    assert_eq!((second.retired.count, second.waiting.count, second.deleted.count), (0, 4, 0));
    aged.wait(HOUR).await;
    let third = aged.collect(&options).await.unwrap();
    assert_eq!((third.waiting.count, third.deleted.count, third.purged), (0, 4, 4));
    assert!(third.freed > 1_000_000 && third.watermark > 0, "{third}");
    assert_eq!(aged.objects().await, named(&aged.storage));
    assert!(aged.storage.catalog.state().condemned().is_empty());
    stays.check(&aged.storage).await;
    // The same package again, with new copies.
    goes.publish(&aged.storage).await.unwrap();
    goes.check(&aged.storage).await;
    assert_eq!(aged.collect(&options).await.unwrap().deleted.count, 0);
}

#[tokio::test]
async fn what_was_retired_can_be_taken_back_and_what_was_condemned_cannot() {
    let aged = Aged::new().await;
    let sample = Sample::new("hello", "1", 1);
    sample.publish(&aged.storage).await.unwrap();
    let old = aged.storage.whole(&sample.content.members[2].digest).unwrap();
    unpublish(&aged.storage, &sample.content.coordinate).await.unwrap();
    sample.publish(&aged.storage).await.unwrap();
    assert_eq!(aged.storage.whole(&old.digest).unwrap(), old, "it was taken back");
    assert_eq!(aged.collect(&AT_ONCE).await.unwrap().condemned.count, 0);
    unpublish(&aged.storage, &sample.content.coordinate).await.unwrap();
    aged.collect(&CollectOptions::default()).await.unwrap();
    sample.publish(&aged.storage).await.unwrap();
    assert_ne!(aged.storage.whole(&old.digest).unwrap().key, old.key);
    aged.wait(25 * HOUR).await;
    assert_eq!(aged.collect(&CollectOptions::default()).await.unwrap().deleted.count, 5);
    sample.check(&aged.storage).await;
}

#[tokio::test]
async fn what_nothing_names_goes_when_nothing_can_name_it_any_more() {
    let aged = Aged::new().await;
    let storage = &aged.storage;
    storage.blobs.put_bytes(&crate::storage::tests::noise(300_000, 9), storage.catalog.seq()).await.unwrap();
    let piece = |start: u64| Path::from(format!("v1/uploads/{start:020}-00000000000000ff/{:020}", 0));
    aged.store.put(&piece(0), "piece".into()).await.unwrap();
    let foreign = Path::from("v1/blobs/notes.txt");
    aged.store.put(&foreign, "mine".into()).await.unwrap();
    aged.wait(HOUR).await;
    let sample = Sample::new("hello", "1", 1);
    sample.publish(storage).await.unwrap();
    let young = aged.collect(&CollectOptions::default()).await.unwrap();
    assert_eq!((young.young.count, young.orphans.count, young.uploads.count), (3, 0, 0));
    aged.wait(24 * HOUR).await;
    let seq = storage.catalog.seq();
    aged.store.put(&piece(seq), "piece".into()).await.unwrap();
    let old = aged.collect(&CollectOptions::default()).await.unwrap();
    assert_eq!((old.orphans.count, old.uploads.count, old.skipped.count), (1, 1, 1));
    assert!(old.freed > 300_000);
    let mut expected = named(storage);
    expected.extend([foreign.to_string(), piece(seq).to_string()]);
    assert_eq!(aged.objects().await, expected);
    sample.check(storage).await;
}

#[tokio::test]
async fn of_accepted_manifests_the_newest_stays() {
    let aged = Aged::new().await;
    Sample::new("hello", "1", 1).publish(&aged.storage).await.unwrap();
    for revision in ["r1", "r2", "r3"] {
        accept(&aged.storage, &aged.tenure, revision).await;
    }
    Sample::new("hello", "2", 2).publish_as(&aged.storage, ReleaseVersion::NextFree).await.unwrap();
    let report = aged.collect(&AT_ONCE).await.unwrap();
    assert_eq!(report.orphans.count, 2);
    let kept = aged.storage.last_snapshot(&source()).await.unwrap();
    assert_eq!(kept, Some(snapshot("r3")));
    assert_eq!(aged.objects().await, named(&aged.storage));
}

#[tokio::test]
async fn a_run_that_would_take_away_too_much_stops_and_asks() {
    let aged = Aged::new().await;
    let samples: Vec<_> = (0..5).map(|n| Sample::new(&format!("p{n}"), "1", n)).collect();
    for sample in &samples {
        sample.publish(&aged.storage).await.unwrap();
    }
    for sample in &samples {
        unpublish(&aged.storage, &sample.content.coordinate).await.unwrap();
    }
    let before = aged.objects().await;
    let count = aged.storage.catalog.state().blob_count() as u64;
    for allow in [None, Some(count - 1), Some(count + 1)] {
        let error = aged.collect(&CollectOptions { allow, ..AT_ONCE }).await.unwrap_err();
        assert!(
            matches!(error, CollectError::TooMany { going, all } if (going, all) == (count, count)),
            "{error}"
        );
        assert_eq!((error.class(), error.label()), (ErrorClass::Stall, "TooManyDeletions"));
        assert_eq!(aged.objects().await, before);
    }
    let report = aged.collect(&CollectOptions { allow: Some(count), ..AT_ONCE }).await.unwrap();
    assert_eq!((report.condemned.count, report.deleted.count, report.purged), (count, count, count));
    assert_eq!(aged.objects().await, BTreeSet::new());
}

#[tokio::test]
async fn only_whoever_leads_deletes() {
    let aged = Aged::new().await;
    let sample = Sample::new("hello", "1", 1);
    sample.publish(&aged.storage).await.unwrap();
    unpublish(&aged.storage, &sample.content.coordinate).await.unwrap();
    let next = Arc::new(open(Arc::clone(&aged.store), 2).await.unwrap());
    let successor = Candidate::seize(&next, &Clock::system()).await;
    let before = aged.objects().await;
    collect(&next, &successor, &CollectOptions::default(), &Unwatched).await.unwrap();
    // The old leader does not know yet that he is not any more.
    let late = collect(&aged.storage, &aged.tenure, &AT_ONCE, &Unwatched).await.unwrap_err();
    assert_eq!((late.label(), late.class()), ("Fenced", ErrorClass::Wait));
    aged.tenure.ended().cancel();
    let ended = collect(&aged.storage, &aged.tenure, &AT_ONCE, &Unwatched).await.unwrap_err();
    assert_eq!(ended.label(), "LeaseExpired");
    assert_eq!(aged.objects().await, before);
}

#[tokio::test]
async fn what_collection_takes_from_under_a_publication_is_brought_anew() {
    for late in [false, true] {
        let aged = Aged::new().await;
        let other = Arc::new(open(Arc::clone(&aged.store), 2).await.unwrap());
        let (gone, mut sample) = (Sample::new("gone", "1", 1), Sample::new("hello", "1", 2));
        gone.publish(&other).await.unwrap();
        unpublish(&other, &gone.content.coordinate).await.unwrap();
        // One member that another package brought and took away, as the empty one; the others are its own.
        sample.content.members[1] = gone.content.members[1].clone();
        sample.bytes[1].clone_from(&gone.bytes[1]);
        sample.content.members.truncate(4);
        let asked = Mutex::new(Vec::new());
        let opener = |member: &Member| {
            let at = sample.content.members.iter().position(|m| m == member).unwrap();
            let mut asked = asked.lock().unwrap();
            asked.push(at);
            // When the last of its own is asked for, everything else was found or put.
            let now = asked.len() == 2;
            let (aged, bytes) = (&aged, sample.bytes[at].clone());
            Box::pin(async move {
                if now && late {
                    Sample::new("between", "1", 3).publish(&aged.storage).await.unwrap();
                }
                if now {
                    collect(&aged.storage, &aged.tenure, &AT_ONCE, &Unwatched).await.unwrap();
                }
                let reader: MemberReader = Box::new(std::io::Cursor::new(bytes));
                Ok(reader)
            }) as futures::future::BoxFuture<'_, _>
        };
        publish(&other, &sample.content, opener, ReleaseVersion::Exactly(0)).await.unwrap();
        // What was put counts still, unless its session is over by now. The package between brought the empty one.
        let expected: &[usize] = if late { &[2, 3, 1, 2, 3] } else { &[2, 3, 0, 1] };
        assert_eq!(*asked.lock().unwrap(), expected);
        sample.check(&other).await;
        aged.collect(&AT_ONCE).await.unwrap();
        sample.check(&aged.storage).await;
        assert_eq!(aged.objects().await, named(&aged.storage));
    }
}

#[tokio::test]
async fn beside_a_newer_program_and_after_a_move_nothing_is_deleted() {
    let aged = Aged::new().await;
    let sample = Sample::new("hello", "1", 1);
    sample.publish(&aged.storage).await.unwrap();
    unpublish(&aged.storage, &sample.content.coordinate).await.unwrap();
    let seq = aged.storage.catalog.seq();
    let key = |seq: u64| Path::from(format!("v1/catalog/log/{seq:020}"));
    let newer = aged.store.get(&key(seq)).await.unwrap().bytes().await.unwrap();
    let newer = String::from_utf8(newer.to_vec()).unwrap().replace("\"format\":1", "\"format\":2");
    aged.store.put(&key(seq + 1), newer.into()).await.unwrap();
    let error = collect(&aged.storage, &aged.tenure, &AT_ONCE, &Unwatched).await.unwrap_err();
    assert_eq!((error.label(), error.class()), ("NewerFormat", ErrorClass::Fatal));
    assert!(matches!(error, CollectError::Newer(_)), "before anything was looked at: {error}");
    aged.store.delete(&key(seq + 1)).await.unwrap();
    aged.storage.catalog.follow().await.unwrap();
    let moved =
        crate::storage::catalog::CatalogOperation::Moved { to: "elsewhere".into(), registry: "other".into() };
    aged.storage.catalog.commit(moved).await.unwrap();
    let error = would_collect(&aged.storage, &AT_ONCE, &Unwatched).await.unwrap_err();
    assert_eq!(error.label(), "RegistryMoved");
}

/// What a server and a worker need: work that may move between threads.
#[test]
fn the_long_works_can_be_moved_between_threads() {
    fn movable<T: Send>(_: T) {}
    fn uses(storage: &Arc<Storage>, tenure: &Tenure, clock: &Clock, entropy: &crate::clock::Entropy) {
        movable(collect(storage, tenure, &AT_ONCE, &Unwatched));
        movable(would_collect(storage, &AT_ONCE, &Unwatched));
        movable(crate::storage::scrub::scrub(
            storage,
            &crate::storage::scrub::ScrubOptions::FAST,
            entropy,
            &Unwatched,
        ));
        let opening = crate::storage::Opening::once(clock.clone(), entropy.clone());
        let backend = crate::config::Backend::Local { path: "x".into() };
        let settings =
            crate::config::StorageSettings { backend, unsafe_single_writer: false, spool: "x".into() };
        let options = crate::storage::rebuild::RebuildOptions::default();
        movable(crate::storage::rebuild::rebuild(&settings, &opening, &options, &Unwatched));
    }
    let _ = uses;
}

#[tokio::test]
async fn a_copy_that_is_not_there_is_counted() {
    let aged = Aged::new().await;
    let sample = Sample::new("hello", "1", 1);
    sample.publish(&aged.storage).await.unwrap();
    let blob = aged.storage.whole(&sample.content.members[1].digest).unwrap();
    aged.store.delete(&blob.path()).await.unwrap();
    let report = aged.collect(&AT_ONCE).await.unwrap();
    assert_eq!((report.missing, report.live.count), (1, 4));
    let text = report.to_string();
    assert!(text.contains("MISSING                               1  (scrub says which)"), "{text}");
    assert_eq!(serde_json::to_value(&report).unwrap()["markMilliseconds"], report.mark_milliseconds);
}
