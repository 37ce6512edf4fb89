//! Bundles on their way in, whole and in pieces.

use std::collections::BTreeMap;
use std::io::Cursor;

use futures::stream;
use object_store::ObjectStore;
use object_store::memory::InMemory;
use serde_json::json;

use super::*;
use crate::bundle::file::write;
use crate::clock::Entropy;
use crate::model::{Digest, Epoch, PackageContent};
use crate::storage::catalog::CatalogOperation;
use crate::storage::faults::{Fault, FaultStore};
use crate::storage::publish::MemberReader;

/// A package `hello` of that version, with files that a seed decides, and its bundle.
pub(crate) async fn bundle(version: &str, seed: u64) -> (PackageContent, Vec<u8>) {
    let entropy = Entropy::seeded(seed);
    let mut files = BTreeMap::new();
    let mut members = Vec::new();
    for (asset, length) in [("a", 0), ("b", 300), ("c", 1_500)] {
        let bytes: Vec<u8> = (0..length).flat_map(|_| entropy.next().to_le_bytes()).collect();
        let (role, name) = (format!("asset/{asset}"), format!("{asset}.tgz"));
        let (digest, size) = (Digest::of(&bytes), bytes.len() as u64);
        members.push(Member { role, name, digest, size, media_type: "application/gzip".into() });
        files.insert(digest, bytes);
    }
    let uris: BTreeMap<_, _> =
        members.iter().map(|m| (m.role.replace("asset/", ""), format!("{}/{}", m.digest, m.name))).collect();
    let metadata = json!({
        "packagingVersion": "4.0", "name": "hello", "version": version, "maintainer": "a@b.example",
        "description": "x", "tags": [], "marathon": {"v2AppMustacheTemplate": "e30="},
        "resource": {"assets": {"uris": uris}},
    });
    let coordinate = Coordinate::new("hello".parse().unwrap(), version.parse().unwrap());
    let content = PackageContent { coordinate, release_version: None, metadata, members };
    let mut out = Cursor::new(Vec::new());
    let open = |member: &Member| -> futures::future::BoxFuture<'_, std::io::Result<MemberReader>> {
        let bytes = files[&member.digest].clone();
        Box::pin(async move { Ok(Box::new(Cursor::new(bytes)) as MemberReader) })
    };
    write(&content, open, &mut out).await.unwrap();
    (content, out.into_inner())
}

/// An instance with a spool of its own.
struct Instance {
    intake: Intake,
    storage: Arc<Storage>,
    _spool: tempfile::TempDir,
}

async fn instance(store: Arc<dyn ObjectStore>, seed: u64) -> Instance {
    let clock = Clock::system();
    let storage = Arc::new(Storage::open(store, clock.clone(), Entropy::seeded(seed)).await.unwrap());
    let directory = tempfile::tempdir().unwrap();
    let spool = Spool::open(directory.path(), None, clock.clone()).await.unwrap();
    Instance { intake: Intake::new(Arc::clone(&storage), spool, clock), storage, _spool: directory }
}

impl Instance {
    async fn receive(&self, bytes: &[u8]) -> Result<Taken, IntakeError> {
        let pieces = bytes.chunks(700).map(|piece| Ok::<_, std::io::Error>(Bytes::copy_from_slice(piece)));
        let pieces: Vec<_> = pieces.collect();
        self.intake.receive(Some(bytes.len() as u64), stream::iter(pieces)).await
    }

    /// Begins an upload and brings all bytes.
    async fn bring(&self, bytes: &[u8]) -> UploadId {
        let uploads = self.intake.uploads();
        let id = uploads.begin(Some(bytes.len() as u64), BTreeMap::new()).await.unwrap();
        let mut reader = bytes;
        uploads.append(id, 0, &mut reader).await.unwrap();
        id
    }

    /// Every byte of the package can be read.
    async fn check(&self, content: &PackageContent) {
        self.storage.catalog.follow().await.unwrap();
        let state = self.storage.catalog.state();
        assert_eq!(state.entry(&content.coordinate).unwrap().digest, content.digest());
        assert!(self.storage.document(&content.coordinate).await.unwrap().is_some());
        for member in &content.members {
            let (_, blob) = state.member(&content.coordinate, &member.digest).unwrap();
            let bytes = self.storage.blobs.read_all(&blob, 1 << 20).await.unwrap();
            assert_eq!(Digest::of(&bytes), member.digest);
        }
    }
}

fn memory() -> Arc<dyn ObjectStore> {
    Arc::new(InMemory::new())
}

fn published(outcome: &Outcome) -> Digest {
    match outcome {
        Outcome::Published { digest, .. } => *digest,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_whole_bundle_is_published_once_with_numbers_that_rise() {
    let here = instance(memory(), 1).await;
    for (n, version) in ["1", "2", "3"].into_iter().enumerate() {
        let (content, bytes) = bundle(version, n as u64).await;
        let taken = here.receive(&bytes).await.unwrap();
        assert_eq!((taken.published.release_version, taken.published.already), (n as u64, false));
        here.check(&content).await;
        let again = here.receive(&bytes).await.unwrap();
        assert_eq!((again.published.release_version, again.published.already), (n as u64, true));
    }
    let (_, other) = bundle("2", 9).await;
    let error = here.receive(&other).await.unwrap_err();
    assert!(error.is_final() && error.label() == "VersionImmutable", "{error:?}");
}

#[tokio::test]
async fn versions_that_come_at_once_through_two_instances_get_different_numbers() {
    let store = memory();
    let (a, b) = (instance(Arc::clone(&store), 1).await, instance(store, 2).await);
    let bundles =
        futures::future::join_all((0..8).map(|n| bundle(["1", "2", "3", "4", "5", "6", "7", "8"][n], 1)));
    let bundles = bundles.await;
    let taken = bundles.iter().enumerate().map(|(n, (_, bytes))| [&a, &b][n % 2].receive(bytes));
    let taken = futures::future::join_all(taken).await;
    let numbers: std::collections::BTreeSet<_> =
        taken.into_iter().map(|taken| taken.unwrap().published.release_version).collect();
    assert_eq!(numbers.len(), 8);
    for (content, _) in &bundles {
        a.check(content).await;
    }
}

#[tokio::test]
async fn a_body_that_breaks_off_leaves_nothing() {
    let here = instance(memory(), 1).await;
    let (_, bytes) = bundle("1", 1).await;
    let half = Bytes::copy_from_slice(&bytes[..bytes.len() / 2]);
    let pieces = [Ok(half), Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset))];
    let error = here.intake.receive(None, stream::iter(pieces)).await.unwrap_err();
    assert!(!error.is_final() && error.class() == ErrorClass::Retry, "{error:?}");
    assert_eq!((here.storage.catalog.seq(), here.intake.places.available_permits()), (0, PLACES));
}

/// Where a member is written that arrived: one of the sample's is long enough for it.
const ARRIVES: &str = "complete v1/blobs/";

fn arrived(steps: &[String]) -> usize {
    steps.iter().filter(|step| step.starts_with(ARRIVES)).count()
}

#[tokio::test(start_paused = true)]
async fn a_member_that_arrives_is_written_once_and_can_fail_or_die_at_every_step() {
    let (content, bytes) = bundle("1", 1).await;
    let count = FaultStore::new(memory());
    let here = instance(Arc::new(count.clone()), 1).await;
    count.hurt([]);
    here.receive(&bytes).await.unwrap();
    let steps = count.steps();
    let begun = steps.iter().filter(|step| step.starts_with("begin v1/blobs/")).count();
    assert_eq!((arrived(&steps), begun), (1, 1), "{steps:?}");
    let deaths = [Fault::DiesBefore, Fault::DiesAfter];
    for (step, name) in steps.iter().enumerate() {
        for fault in deaths.into_iter().chain(Fault::SURVIVED) {
            let (inner, when) = (memory(), format!("{fault:?} at {step}: {name}"));
            let store = FaultStore::new(Arc::clone(&inner));
            let here = instance(Arc::new(store.clone()), 1).await;
            store.hurt([(step, fault)]);
            let acknowledged = here.receive(&bytes).await.is_ok();
            let next = instance(inner, 2).await;
            let visible = next.storage.catalog.state().entry(&content.coordinate).is_some();
            assert!(visible || !acknowledged, "{when}: an acknowledged package is lost");
            if visible {
                next.check(&content).await;
            }
            assert_eq!(next.receive(&bytes).await.unwrap().published.already, visible, "{when}");
            next.check(&content).await;
        }
    }
}

#[tokio::test]
async fn what_is_there_does_not_arrive_again_and_what_is_wrong_is_refused_as_ever() {
    let store = FaultStore::new(memory());
    let here = instance(Arc::new(store.clone()), 1).await;
    let (content, bytes) = bundle("1", 1).await;
    let mut damaged = bytes.clone();
    let name = format!("blobs/sha256/{}", content.members[2].digest.hex());
    let at = bytes.windows(name.len()).position(|window| window == name.as_bytes()).unwrap();
    damaged[at + 2_000] ^= 1;
    let error = here.receive(&damaged).await.unwrap_err();
    assert!(error.is_final() && error.label() == "WrongDigest", "{error:?}");
    assert!(chain(&error).contains("asset/c"), "{error:?}");
    assert_eq!(arrived(&store.steps()), 0, "it got no name");
    here.receive(&bytes).await.unwrap();
    store.hurt([]);
    assert!(here.receive(&bytes).await.unwrap().published.already);
    assert!(!store.steps().iter().any(|step| step.starts_with("begin")), "{:?}", store.steps());
}

#[tokio::test]
async fn a_member_that_says_to_be_longer_than_its_bundle_is_for_the_judge_of_the_whole() {
    let store = FaultStore::new(memory());
    let here = instance(Arc::new(store.clone()), 1).await;
    let (content, mut bytes) = bundle("1", 1).await;
    let name = format!("blobs/sha256/{}", content.members[2].digest.hex());
    let at = bytes.windows(name.len()).position(|window| window == name.as_bytes()).unwrap();
    // Packed length and length stand 12 bytes before the name.
    bytes[at - 12..at - 4].copy_from_slice(&[[0xff, 0xff, 0xff, 0x7f]; 2].concat());
    store.hurt([]);
    let error = here.receive(&bytes).await.unwrap_err();
    assert!(matches!(error, IntakeError::Bundle(_)) && error.is_final(), "{error:?}");
    assert!(!store.steps().iter().any(|step| step.starts_with("begin")), "{:?}", store.steps());
}

#[tokio::test]
async fn who_is_late_brings_what_arrived_again() {
    let here = instance(memory(), 1).await;
    let (first, bytes) = bundle("1", 1).await;
    here.receive(&bytes).await.unwrap();
    let (content, bytes) = bundle("2", 2).await;
    let file = here.intake.spool.begin(None).await.unwrap();
    let mut gathering = Gathering::new(&here.storage, file, u64::MAX);
    gathering.write(bytes.into()).await.unwrap();
    let (file, arrived) = gathering.finish();
    assert_eq!(arrived.len(), 1);
    // A day passes.
    here.storage.catalog.unpublish(first.coordinate.clone()).await.unwrap();
    let (seq, epoch) = (here.storage.catalog.seq(), Epoch(1));
    let late = vec![CatalogOperation::Fence { epoch }, CatalogOperation::Watermark { seq }];
    here.storage.catalog.commit_as_leader(epoch, late).await.unwrap();
    here.intake.publish(file, arrived).await.unwrap();
    here.check(&content).await;
}

#[tokio::test]
async fn who_goes_away_leaves_no_file() {
    let directory = tempfile::tempdir().unwrap();
    let (clock, entropy) = (Clock::system(), Entropy::seeded(1));
    let storage =
        Storage::open_local(directory.path(), Duration::ZERO, clock.clone(), entropy).await.unwrap();
    let spool = Spool::open(&directory.path().join("spool"), None, clock.clone()).await.unwrap();
    let (_, bytes) = bundle("1", 1).await;
    let mut gathering = Gathering::new(&storage, spool.begin(None).await.unwrap(), u64::MAX);
    gathering.write(Bytes::copy_from_slice(&bytes[..bytes.len() - 3_000])).await.unwrap();
    let staging = || crate::storage::local::count_staging(directory.path()).unwrap();
    assert_eq!(staging(), 1);
    drop(gathering);
    for _ in 0..1_000 {
        if staging() == 0 {
            return;
        }
        clock.sleep(Duration::from_millis(5)).await;
    }
    panic!("the file of what arrived stays");
}

#[tokio::test(start_paused = true)]
async fn who_gets_no_place_hears_so() {
    let here = instance(memory(), 1).await;
    let all = here.intake.places.acquire_many(PLACES.try_into().unwrap()).await.unwrap();
    let error = here.receive(b"x").await.unwrap_err();
    assert_eq!((error.label(), error.class()), ("UploadsCrowded", ErrorClass::Retry));
    drop(all);
    assert_eq!(here.receive(b"x").await.unwrap_err().label(), "NotZip");
}

#[tokio::test]
async fn an_upload_is_finished_by_any_instance_any_number_of_times() {
    let store = memory();
    let (a, b) = (instance(Arc::clone(&store), 1).await, instance(store, 2).await);
    let (content, bytes) = bundle("1", 1).await;
    let id = a.intake.uploads().begin(Some(bytes.len() as u64), BTreeMap::new()).await.unwrap();
    let early = a.intake.finish(id).await.unwrap_err();
    assert_eq!(early.label(), "UploadIncomplete");
    let mut reader = bytes.as_slice();
    b.intake.uploads().append(id, 0, &mut reader).await.unwrap();
    let (first, second) = tokio::join!(a.intake.finish(id), b.intake.finish(id));
    let (first, second) = (first.unwrap(), second.unwrap());
    assert_eq!((published(&first), &second), (content.digest(), &first));
    assert_eq!(b.intake.finish(id).await.unwrap(), first);
    a.check(&content).await;
    b.check(&content).await;
    assert_eq!(b.storage.catalog.seq(), 1, "one record");
}

#[tokio::test]
async fn an_upload_that_is_no_bundle_ends_refused() {
    let here = instance(memory(), 1).await;
    let (_, mut damaged) = bundle("1", 1).await;
    let id = here.bring(b"no bundle").await;
    for _ in 0..2 {
        let outcome = here.intake.finish(id).await.unwrap();
        assert!(matches!(&outcome, Outcome::Refused { kind, .. } if kind == "NotZip"), "{outcome:?}");
    }
    let at = damaged.len() - 2_000;
    damaged[at] ^= 1;
    let id = here.bring(&damaged).await;
    let outcome = here.intake.finish(id).await.unwrap();
    assert!(matches!(&outcome, Outcome::Refused { .. }), "{outcome:?}");
    assert_eq!(here.storage.catalog.seq(), 0);
}

#[tokio::test(start_paused = true)]
async fn finishing_can_fail_or_die_at_every_step() {
    let (content, bytes) = bundle("1", 1).await;
    let count = FaultStore::new(memory());
    let here = instance(Arc::new(count.clone()), 1).await;
    let id = here.bring(&bytes).await;
    count.hurt([]);
    here.intake.finish(id).await.unwrap();
    let steps = count.steps();
    let deaths = [Fault::DiesBefore, Fault::DiesAfter];
    for (step, name) in steps.iter().enumerate() {
        for fault in deaths.into_iter().chain(Fault::SURVIVED) {
            let (inner, when) = (memory(), format!("{fault:?} at {step}: {name}"));
            let store = FaultStore::new(Arc::clone(&inner));
            let here = instance(Arc::new(store.clone()), 1).await;
            let id = here.bring(&bytes).await;
            store.hurt([(step, fault)]);
            let finished = here.intake.finish(id).await;
            let next = instance(inner, 2).await;
            let stands = match next.intake.finish(id).await {
                Ok(stands) => stands,
                Err(error) => panic!("{when}: {error:?}"),
            };
            assert_eq!(published(&stands), content.digest(), "{when}");
            if let Ok(acknowledged) = finished {
                assert_eq!(acknowledged, stands, "{when}");
            }
            next.check(&content).await;
            assert_eq!(next.storage.catalog.seq(), 1, "{when}: it was recorded twice");
        }
    }
    println!("finish: {} steps, 2 deaths and 4 faults at each", steps.len());
}
