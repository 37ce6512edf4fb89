//! Uploads through several instances, with stores that fail or die at every step.

use object_store::memory::InMemory;
use object_store::{ObjectStore, ObjectStoreExt as _};

use super::*;
use crate::clock::Clock;
use crate::model::Epoch;
use crate::storage::catalog::CatalogOperation;
use crate::storage::faults::{Fault, FaultStore};
use crate::storage::spool::Spool;
use crate::storage::tests::{noise, open};

fn limits() -> UploadLimits {
    UploadLimits { open: 3, size: 10_000, pieces: 12 }
}

async fn instance(store: Arc<dyn ObjectStore>, seed: u64) -> Uploads {
    Uploads::new(Arc::new(open(store, seed).await.unwrap()), limits())
}

fn memory() -> Arc<dyn ObjectStore> {
    Arc::new(InMemory::new())
}

async fn begin(uploads: &Uploads, length: Option<u64>) -> UploadId {
    uploads.begin(length, BTreeMap::from([("filename".into(), "a.dcos".into())])).await.unwrap()
}

async fn append(uploads: &Uploads, id: UploadId, at: usize, bytes: &[u8]) -> Result<u64, UploadError> {
    let mut reader = bytes;
    uploads.append(id, at as u64, &mut reader).await
}

/// What an upload's pieces come to.
async fn assembled(uploads: &Uploads, id: UploadId) -> Result<Vec<u8>, UploadError> {
    let directory = tempfile::tempdir().unwrap();
    let spool = Spool::open(directory.path(), None, Clock::system()).await.unwrap();
    let mut file = spool.begin(None).await.unwrap();
    uploads.assemble(id, &mut file).await?;
    let file = file.finish().await.unwrap();
    let mut bytes = Vec::new();
    std::io::Seek::rewind(&mut &file).unwrap();
    std::io::Read::read_to_end(&mut &file, &mut bytes).unwrap();
    Ok(bytes)
}

#[tokio::test]
async fn two_instances_take_turns() {
    let store = memory();
    let (a, b) = (instance(Arc::clone(&store), 1).await, instance(store, 2).await);
    let bytes = noise(4_321, 1);
    let id = begin(&a, Some(4_321)).await;
    assert_eq!(id.to_string().parse(), Ok(id));
    let mut at = 0;
    for (n, length) in [700, 1_000, 1, 2_500, 120].into_iter().enumerate() {
        let one = [&a, &b][n % 2];
        let status = one.status(id).await.unwrap();
        assert_eq!((status.offset, status.is_complete()), (at as u64, false));
        assert!(matches!(assembled(one, id).await, Err(UploadError::Incomplete { .. })));
        assert_eq!(append(one, id, at, &bytes[at..at + length]).await.unwrap(), (at + length) as u64);
        at += length;
    }
    let status = b.status(id).await.unwrap();
    assert!(status.is_complete() && status.outcome.is_none());
    assert_eq!(status.metadata["filename"], "a.dcos");
    assert_eq!(assembled(&a, id).await.unwrap(), bytes);
    assert_eq!(append(&b, id, at, b"").await.unwrap(), 4_321, "nothing more is no mistake");
    assert!(matches!(append(&b, id, at, b"x").await, Err(UploadError::TooLong { length: 4_321 })));
    assert_eq!(assembled(&b, id).await.unwrap(), bytes);
}

#[tokio::test]
async fn who_stands_elsewhere_hears_where_to_go_on() {
    let uploads = instance(memory(), 1).await;
    let id = begin(&uploads, Some(3_000)).await;
    append(&uploads, id, 0, &[1; 1_500]).await.unwrap();
    for at in [0, 1_499, 1_501] {
        let error = append(&uploads, id, at, b"x").await.unwrap_err();
        assert!(matches!(error, UploadError::WrongOffset { expected: 1_500, .. }), "{error:?}");
        assert!(error.to_string().contains("stands at 1500"), "{error}");
    }
}

#[tokio::test]
async fn of_two_writers_at_one_offset_one_wins_and_equal_bytes_are_success() {
    for (other, same) in [(noise(2_500, 1), true), (noise(2_500, 2), false)] {
        let store = memory();
        let slow = FaultStore::new(Arc::clone(&store));
        let (a, b) = (instance(Arc::new(slow), 1).await, instance(store, 2).await);
        let bytes = noise(2_500, 1);
        let id = begin(&a, Some(2_500)).await;
        let (first, second) = tokio::join!(append(&a, id, 0, &bytes), append(&b, id, 0, &other));
        assert_eq!((first.is_ok() && second.is_ok(), first.is_ok() || second.is_ok()), (same, true));
        let winner = if first.is_ok() { &bytes } else { &other };
        assert_eq!(&assembled(&a, id).await.unwrap(), winner);
    }
}

#[tokio::test]
async fn who_lost_to_a_shorter_piece_goes_on_behind_it() {
    let store = memory();
    let uploads = instance(Arc::clone(&store), 1).await;
    let id = begin(&uploads, Some(2_500)).await;
    let bytes = noise(2_500, 1);
    let mut pieces = 0;
    // Both began at 0; the other's piece is there when ours comes.
    append(&uploads, id, 0, &bytes[..300]).await.unwrap();
    let at = uploads.put(id, 0, Bytes::copy_from_slice(&bytes[..1_000]), &mut pieces).await.unwrap();
    assert_eq!((at, pieces), (1_000, 2));
    append(&uploads, id, 1_000, &bytes[1_000..]).await.unwrap();
    assert_eq!(assembled(&uploads, id).await.unwrap(), bytes);
    let shorter = uploads.put(id, 0, Bytes::copy_from_slice(&bytes[..10]), &mut pieces).await;
    assert!(matches!(shorter, Err(UploadError::WrongOffset { expected: 300, .. })), "{shorter:?}");
}

/// A body that breaks off.
struct Breaks<'a>(&'a [u8]);

impl tokio::io::AsyncRead for Breaks<'_> {
    fn poll_read(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
        into: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        if self.0.is_empty() {
            return std::task::Poll::Ready(Err(std::io::ErrorKind::ConnectionReset.into()));
        }
        let length = self.0.len().min(into.remaining()).min(333);
        into.put_slice(&self.0[..length]);
        self.0 = &self.0[length..];
        std::task::Poll::Ready(Ok(()))
    }
}

#[tokio::test]
async fn what_came_before_a_body_broke_off_is_kept() {
    let uploads = instance(memory(), 1).await;
    let bytes = noise(2_500, 1);
    let id = begin(&uploads, Some(2_500)).await;
    let error = uploads.append(id, 0, &mut Breaks(&bytes[..1_234])).await.unwrap_err();
    assert!(matches!(error, UploadError::Source { offset: 1_234, .. }), "{error:?}");
    assert_eq!(error.class(), ErrorClass::Retry);
    assert_eq!(append(&uploads, id, 1_234, &bytes[1_234..]).await.unwrap(), 2_500);
    assert_eq!(assembled(&uploads, id).await.unwrap(), bytes);
}

#[tokio::test(start_paused = true)]
async fn appending_can_fail_or_die_at_every_step() {
    let bytes = noise(2_500, 1);
    let count = FaultStore::new(memory());
    let uploads = instance(Arc::new(count.clone()), 1).await;
    let id = begin(&uploads, Some(2_500)).await;
    append(&uploads, id, 0, &bytes[..500]).await.unwrap();
    count.hurt([]);
    append(&uploads, id, 500, &bytes[500..]).await.unwrap();
    let steps = count.steps();
    assert!(steps.len() >= 4, "{steps:?}");
    let deaths = [Fault::DiesBefore, Fault::DiesAfter];
    for (step, name) in steps.iter().enumerate() {
        for fault in deaths.into_iter().chain(Fault::SURVIVED) {
            let (inner, when) = (memory(), format!("{fault:?} at {step}: {name}"));
            let store = FaultStore::new(Arc::clone(&inner));
            let uploads = instance(Arc::new(store.clone()), 1).await;
            let id = begin(&uploads, Some(2_500)).await;
            append(&uploads, id, 0, &bytes[..500]).await.unwrap();
            store.hurt([(step, fault)]);
            let appended = append(&uploads, id, 500, &bytes[500..]).await;
            let next = instance(inner, 2).await;
            let at = next.status(id).await.unwrap().offset;
            assert!([500, 1_500, 2_500].contains(&at), "{when}: {at}");
            match appended {
                Ok(acknowledged) => assert_eq!((acknowledged, at), (2_500, 2_500), "{when}"),
                Err(_) if deaths.contains(&fault) => {}
                Err(error) => panic!("{when}: one fault is lived through: {error:?}"),
            }
            let at = usize::try_from(at).unwrap();
            append(&next, id, at, &bytes[at..]).await.unwrap();
            assert_eq!(assembled(&next, id).await.unwrap(), bytes, "{when}");
        }
    }
    println!("append: {} steps, 2 deaths and 4 faults at each", steps.len());
}

#[tokio::test(start_paused = true)]
async fn random_faults_never_mix_bytes() {
    let bytes = noise(6_000, 1);
    for seed in 0..40 {
        let inner = memory();
        let store = FaultStore::new(Arc::clone(&inner));
        let id = begin(&instance(Arc::clone(&inner), 1).await, Some(6_000)).await;
        let a = instance(Arc::new(store.clone()), 2).await;
        let b = instance(Arc::new(store.clone()), 3).await;
        store.hurt_at_random(seed, 4);
        for round in 0..200 {
            let Ok(status) = [&a, &b][round % 2].status(id).await else { continue };
            let at = usize::try_from(status.offset).unwrap();
            let end = bytes.len().min(at + 700);
            let _ = tokio::join!(append(&a, id, at, &bytes[at..end]), append(&b, id, at, &bytes[at..]));
            if status.is_complete() {
                break;
            }
        }
        let whole = instance(inner, 4).await;
        assert_eq!(assembled(&whole, id).await.unwrap(), bytes, "seed {seed}");
    }
}

#[tokio::test]
async fn a_length_may_come_later_and_once() {
    let uploads = instance(memory(), 1).await;
    let id = begin(&uploads, None).await;
    append(&uploads, id, 0, &[1; 1_500]).await.unwrap();
    assert!(!uploads.status(id).await.unwrap().is_complete());
    let error = uploads.declare_length(id, 1_499).await.unwrap_err();
    assert_eq!(error.label(), "UploadTooLong");
    for _ in 0..2 {
        uploads.declare_length(id, 1_500).await.unwrap();
    }
    let error = uploads.declare_length(id, 1_501).await.unwrap_err();
    assert!(matches!(error, UploadError::LengthKnown { length: 1_500 }), "{error:?}");
    assert!(uploads.status(id).await.unwrap().is_complete());
}

#[tokio::test]
async fn limits_hold() {
    let uploads = instance(memory(), 1).await;
    let none = BTreeMap::new;
    assert_eq!(uploads.begin(Some(10_001), none()).await.unwrap_err().label(), "UploadTooLarge");
    let large = BTreeMap::from([("a".into(), "b".repeat(METADATA_LIMIT))]);
    assert_eq!(uploads.begin(None, large).await.unwrap_err().label(), "UploadMetadataTooLarge");
    let id = begin(&uploads, None).await;
    assert_eq!(append(&uploads, id, 0, &[1; 10_001]).await.unwrap_err().label(), "UploadTooLong");
    let small = begin(&uploads, None).await;
    for at in 0..12 {
        append(&uploads, small, at, b"x").await.unwrap();
    }
    assert_eq!(append(&uploads, small, 12, b"x").await.unwrap_err().label(), "TooManyPieces");
    begin(&uploads, None).await;
    let error = uploads.begin(None, none()).await.unwrap_err();
    assert_eq!((error.label(), error.class()), ("UploadsCrowded", ErrorClass::Retry));
    assert_eq!(uploads.abort(id).await.unwrap(), Outcome::Aborted);
    begin(&uploads, None).await;
}

#[tokio::test]
async fn what_ended_stays_ended_and_leaves_no_pieces() {
    let store = memory();
    let (a, b) = (instance(Arc::clone(&store), 1).await, instance(Arc::clone(&store), 2).await);
    let id = begin(&a, Some(1_500)).await;
    append(&a, id, 0, &[1; 1_500]).await.unwrap();
    let refused = Outcome::Refused { kind: "NotZip".into(), message: "no".into() };
    let (first, second) = tokio::join!(a.conclude(id, &refused), b.conclude(id, &Outcome::Aborted));
    let (first, second) = (first.unwrap(), second.unwrap());
    assert_eq!(first, second, "the first outcome stands");
    assert_eq!(a.list(id).await.unwrap().pieces().len(), 0);
    assert_eq!(b.abort(id).await.unwrap(), first);
    assert_eq!(a.status(id).await.unwrap().outcome, Some(first));
    assert!(matches!(append(&b, id, 1_500, b"").await, Err(UploadError::Over { .. })));
}

#[tokio::test]
async fn an_upload_from_before_the_watermark_has_expired() {
    let store = memory();
    let uploads = instance(Arc::clone(&store), 1).await;
    let id = begin(&uploads, Some(2_000)).await;
    append(&uploads, id, 0, &[1; 500]).await.unwrap();
    let catalog = &uploads.storage.catalog;
    let epoch = Epoch(1);
    catalog.commit_as_leader(epoch, vec![CatalogOperation::Fence { epoch }]).await.unwrap();
    let seq = catalog.seq();
    catalog.commit_as_leader(epoch, vec![CatalogOperation::Watermark { seq }]).await.unwrap();
    for ended in [
        uploads.status(id).await.err(),
        append(&uploads, id, 500, b"x").await.err(),
        uploads.abort(id).await.err(),
        assembled(&uploads, id).await.err(),
    ] {
        assert!(matches!(ended, Some(UploadError::Expired)), "{ended:?}");
    }
    assert!(uploads.status(begin(&uploads, None).await).await.is_ok());
}

#[tokio::test]
async fn what_is_unknown_or_damaged_is_said_to_be() {
    let store = memory();
    let uploads = instance(Arc::clone(&store), 1).await;
    let none = UploadId(BlobKey { start: 0, random: 7 });
    assert!(matches!(uploads.status(none).await, Err(UploadError::Unknown)));
    let id = begin(&uploads, Some(1_500)).await;
    append(&uploads, id, 0, &[1; 1_500]).await.unwrap();
    let key = id.piece(1_000);
    let mut piece = store.get(&key).await.unwrap().bytes().await.unwrap().to_vec();
    piece[40] ^= 1;
    store.put(&key, piece.into()).await.unwrap();
    let error = assembled(&uploads, id).await.unwrap_err();
    assert!(matches!(error, UploadError::PieceDamaged { offset: 1_000 }), "{error:?}");
}
