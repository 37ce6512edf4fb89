//! The storage as a whole, and what its parts' tests share.

mod crashes;

use std::sync::Arc;

use proptest::prelude::*;
use serde_json::json;

use super::catalog::{CatalogRejection, NewBlob, Publication};
use super::control::ControlOperation;
use super::faults::{Fault, FaultStore};
use super::publish::{MemberReader, Published, ReleaseVersion, publish};
use super::records::CommitError;
use super::*;
use crate::model::{
    AppId, Digest, Epoch, Failed, Intent, IntentVerb, Member, Owned, PackageContent, Replaced, Rollout,
    UnitId, UnitKind,
};

pub(super) async fn open(store: Arc<dyn ObjectStore>, seed: u64) -> Result<Storage, StorageError> {
    Storage::open(store, Clock::system(), Entropy::seeded(seed)).await
}

pub(super) fn coordinate(name: &str, version: &str) -> Coordinate {
    Coordinate::new(name.parse().unwrap(), version.parse().unwrap())
}

/// Bytes that differ with the seed and do not repeat.
pub(super) fn noise(length: usize, seed: u64) -> Vec<u8> {
    let entropy = Entropy::seeded(seed);
    let mut bytes: Vec<u8> = (0..length.div_ceil(8)).flat_map(|_| entropy.next().to_le_bytes()).collect();
    bytes.truncate(length);
    bytes
}

fn member(role: &str, length: usize, seed: u64) -> (Member, Vec<u8>) {
    let bytes = noise(length, seed);
    let member = Member {
        role: role.into(),
        name: role.replace('/', "-"),
        digest: Digest::of(&bytes),
        size: bytes.len() as u64,
        media_type: "application/octet-stream".into(),
    };
    (member, bytes)
}

/// A package with its members' bytes.
#[derive(Clone)]
pub(super) struct Sample {
    pub(super) content: PackageContent,
    pub(super) bytes: Vec<Vec<u8>>,
}

impl Sample {
    /// A package with an empty member, a small one, one of several chunks, one of several parts, and a twin.
    pub(super) fn new(name: &str, version: &str, seed: u64) -> Self {
        let lengths = [0, 1_000, 300_000, 700_000];
        let members =
            lengths.iter().enumerate().map(|(n, l)| member(&format!("asset/{n}"), *l, seed + *l as u64));
        let (mut members, mut bytes): (Vec<_>, Vec<_>) = members.unzip();
        members.push(Member { role: "asset/twin".into(), ..members[1].clone() });
        bytes.push(bytes[1].clone());
        let metadata = json!({"name": name, "version": version, "tags": [seed]});
        let coordinate = coordinate(name, version);
        Self { content: PackageContent { coordinate, release_version: None, metadata, members }, bytes }
    }

    pub(super) async fn publish(&self, storage: &Storage) -> Result<Published, publish::PublishError> {
        self.publish_as(storage, ReleaseVersion::Exactly(0)).await
    }

    pub(super) async fn publish_as(
        &self,
        storage: &Storage,
        release_version: ReleaseVersion,
    ) -> Result<Published, publish::PublishError> {
        let open = |member: &Member| {
            let at = self.content.members.iter().position(|m| m == member).unwrap();
            let reader: MemberReader = Box::new(std::io::Cursor::new(self.bytes[at].clone()));
            Box::pin(async move { Ok(reader) }) as futures::future::BoxFuture<'_, _>
        };
        publish(storage, &self.content, open, release_version).await
    }

    /// Reads everything of the package back and compares it.
    pub(super) async fn check(&self, storage: &Storage) {
        let coordinate = &self.content.coordinate;
        let state = storage.catalog.state();
        assert_eq!(state.entry(coordinate).unwrap().digest, self.content.digest());
        let document = storage.document(coordinate).await.unwrap().unwrap();
        assert_eq!(*document, self.content.metadata);
        for (member, bytes) in self.content.members.iter().zip(&self.bytes) {
            let (found, blob) = state.member(coordinate, &member.digest).unwrap();
            assert_eq!((found.size, found.digest), (member.size, member.digest));
            assert_eq!(storage.blobs.read_all(&blob, 1 << 20).await.unwrap(), bytes);
        }
    }
}

/// Checks without our reader that a log has no gap and that each record names the one before it.
pub(super) async fn gapless(store: &Arc<dyn ObjectStore>, folder: &str) -> u64 {
    use futures::TryStreamExt as _;
    use object_store::ObjectStoreExt as _;
    let listed: Vec<_> = store.list(Some(&folder.into())).try_collect().await.unwrap();
    let mut names: Vec<_> = listed.into_iter().map(|meta| meta.location).collect();
    names.sort();
    let mut previous = None::<Digest>;
    for (seq, name) in names.iter().enumerate() {
        let bytes = store.get(name).await.unwrap().bytes().await.unwrap();
        let record: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!((&record["seq"], name.filename()), (&json!(seq), Some(format!("{seq:020}").as_str())));
        assert_eq!(record["previous"], json!(previous), "{name}");
        previous = Some(Digest::of(&bytes));
    }
    names.len() as u64
}

#[tokio::test(start_paused = true)]
async fn opening_can_die_at_every_step() {
    let count = FaultStore::new(Arc::new(InMemory::new()));
    open(Arc::new(count.clone()), 1).await.unwrap();
    let steps = count.steps().len();
    for died in [Fault::DiesBefore, Fault::DiesAfter] {
        for step in 0..steps {
            let inner: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
            let store = FaultStore::new(Arc::clone(&inner));
            store.hurt([(step, died)]);
            assert!(open(Arc::new(store), 1).await.is_err(), "step {step}");
            let storage = open(Arc::clone(&inner), 2).await.unwrap();
            let sample = Sample::new("hello", "1", 1);
            sample.publish(&storage).await.unwrap();
            sample.check(&open(inner, 3).await.unwrap()).await;
        }
    }
    println!("open: {steps} steps, died before and after each");
}

#[tokio::test]
async fn logs_of_two_registries_in_one_place_are_refused() {
    let (a, b): (Arc<dyn ObjectStore>, Arc<dyn ObjectStore>) =
        (Arc::new(InMemory::new()), Arc::new(InMemory::new()));
    open(Arc::clone(&a), 1).await.unwrap();
    open(Arc::clone(&b), 2).await.unwrap();
    let key = object_store::path::Path::from("v1/control/log/00000000000000000000");
    let foreign = b.get_opts(&key, object_store::GetOptions::default()).await.unwrap().bytes().await.unwrap();
    a.put_opts(&key, foreign.into(), object_store::PutOptions::default()).await.unwrap();
    assert!(matches!(open(a, 3).await, Err(StorageError::Open(LogError::Foreign { .. }))));
}

#[tokio::test]
async fn a_document_is_read_once_and_is_none_for_what_is_not_published() {
    let store = FaultStore::new(Arc::new(InMemory::new()));
    let storage = open(Arc::new(store.clone()), 1).await.unwrap();
    let sample = Sample::new("hello", "1", 1);
    sample.publish(&storage).await.unwrap();
    assert_eq!(storage.document(&coordinate("hello", "2")).await.unwrap(), None);
    store.hurt([]);
    for _ in 0..3 {
        let document = storage.document(&sample.content.coordinate).await.unwrap().unwrap();
        assert_eq!(*document, sample.content.metadata);
    }
    assert_eq!(store.steps().len(), 1);
}

pub(super) fn app_id(n: u8) -> AppId {
    AppId::new(&format!("/app-{n}")).unwrap()
}

pub(super) fn unit(n: u8) -> UnitId {
    let name = format!("unit-{n}").parse().unwrap();
    UnitId { source: "here".parse().unwrap(), kind: UnitKind::Service, name }
}

pub(super) fn intent(n: u8, epoch: Epoch) -> Intent {
    Intent {
        inputs: None,
        unit: unit(n),
        verb: IntentVerb::Update,
        body: Digest::of(&[n]),
        applied: owned(n).applied,
        observed_version: "v".into(),
        failed: owned(n).failed,
        replaced: n.is_multiple_of(7).then(|| Replaced { app: owned(n).applied, refused: owned(n).failed }),
        epoch,
    }
}

pub(super) fn owned(n: u8) -> Owned {
    Owned {
        inputs: None,
        unit: unit(n),
        applied: serde_json::from_value(json!({"id": app_id(n), "cpus": 0.1, "cmd": "ä\u{1}"})).unwrap(),
        applied_digest: Digest::of(&[n]),
        version: "2026-01-01T00:00:00.000Z".into(),
        deployment: n.is_multiple_of(2).then(|| "d".into()),
        unchanged_puts: 1,
        protect: true,
        rollout: n.is_multiple_of(3).then(|| Rollout {
            since: jiff::Timestamp::UNIX_EPOCH,
            from: Some("2025-01-01T00:00:00.000Z".into()),
            forced: true,
            good: None,
        }),
        failed: n.is_multiple_of(5).then(|| Failed {
            digest: Digest::of(&[n]),
            reason: "it died".into(),
            refused: n.is_multiple_of(2),
        }),
    }
}

/// An operation of some kind, valid or not.
fn control_operation(kind: u8, n: u8, epoch: Epoch) -> ControlOperation {
    let app_id = app_id(n);
    match kind {
        0 => ControlOperation::Acquired {
            epoch: Epoch(epoch.0 + 1),
            holder: format!("instance {n}"),
            after: u64::from(n),
        },
        1 => ControlOperation::Released { epoch },
        2 => ControlOperation::SnapshotAccepted {
            source: "here".parse().unwrap(),
            revision: crate::model::Revision(format!("r{n}")),
            snapshot: None,
        },
        3 => ControlOperation::Intent { app_id, intent: intent(n, epoch) },
        4 => ControlOperation::Done { app_id, owned: owned(n) },
        5 => ControlOperation::Adopted { app_id, owned: owned(n) },
        6 => ControlOperation::Deleted { app_id },
        7 => ControlOperation::Abandoned { app_id },
        8 => ControlOperation::Confirmed { app_id },
        _ => ControlOperation::Forgotten { app_id },
    }
}

/// A publication that shares blobs and sometimes clashes with others.
fn publication(name: u8, version: u8, content: u8, seq: u64) -> Publication {
    let blob = |n: u8| {
        let key = blobs::BlobKey { start: seq, random: u64::from(n) };
        let chunks = n.is_multiple_of(2).then(|| Digest::of(&[n, n]));
        let (digest, size) = (Digest::of(&[n]), u64::from(n));
        NewBlob { digest, key, size, chunks, media_type: "text/plain".into() }
    };
    let member = Member {
        role: "asset/a".into(),
        name: "a".into(),
        digest: Digest::of(&[content]),
        size: u64::from(content),
        media_type: "text/plain".into(),
    };
    Publication {
        coordinate: coordinate(&format!("name-{name}"), &format!("{version}")),
        digest: Digest::of(&[content, content]),
        release_version: u64::from(version),
        document: Digest::of(&[content + 1]),
        members: vec![member],
        blobs: vec![blob(content), blob(content + 1)],
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever is committed, a second reader finds the state that the writer holds in memory.
    #[test]
    fn replay_makes_the_state_that_is_in_memory(
        controls in prop::collection::vec((0..9_u8, 0..4_u8, 0..3_u64), 0..30),
        publications in prop::collection::vec((0..3_u8, 0..4_u8, 0..5_u8), 0..20),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.unwrap().block_on(async {
            let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
            let storage = open(Arc::clone(&store), 1).await.unwrap();
            storage.control.acquire().await.unwrap();
            for (kind, n, behind) in controls {
                let epoch = Epoch(storage.control.state().epoch.0.saturating_sub(behind / 2));
                let of = if kind == 0 { Epoch(epoch.0 + 1) } else { epoch };
                match storage.control.commit(of, vec![control_operation(kind, n, epoch)]).await {
                    Ok(_) | Err(CommitError::Rejected(_)) => {}
                    Err(error) => panic!("{error}"),
                }
            }
            for (name, version, content) in publications {
                let publication = publication(name, version, content, storage.catalog.seq());
                match storage.catalog.publish(publication).await {
                    Ok(_) | Err(CommitError::Rejected(
                        CatalogRejection::AlreadyPublished { .. } | CatalogRejection::VersionImmutable { .. },
                    )) => {}
                    Err(error) => panic!("{error}"),
                }
            }
            let again = open(store, 2).await.unwrap();
            assert_eq!(again.control.state(), storage.control.state());
            assert_eq!(again.catalog.state(), storage.catalog.state());
            let sum: u64 = again.catalog.state().blobs().map(|(_, blob)| blob.size).sum();
            assert_eq!(again.catalog.state().total_bytes(), sum);
        });
    }
}
