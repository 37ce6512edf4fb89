//! Copies that are lost or altered: found out, marked, healed, and never handed out.

use bytes::Bytes;
use futures::TryStreamExt as _;
use object_store::memory::InMemory;
use object_store::{ObjectStore, ObjectStoreExt as _};

use super::*;
use crate::clock::{Clock, Entropy};
use crate::storage::publish::ReleaseVersion;
use crate::storage::tests::{Sample, open};

/// What may happen to an object.
#[derive(Debug, Clone, Copy)]
enum Harm {
    Gone,
    Flipped,
    Cut,
}

impl Harm {
    const ALL: [Self; 3] = [Self::Gone, Self::Flipped, Self::Cut];

    async fn to(self, store: &Arc<dyn ObjectStore>, blob: &Blob) {
        let key = blob.path();
        let bytes = store.get(&key).await.unwrap().bytes().await.unwrap();
        let altered = match self {
            Self::Gone => return store.delete(&key).await.unwrap(),
            Self::Cut => bytes.slice(..bytes.len() / 2),
            Self::Flipped => {
                let mut bytes = bytes.to_vec();
                *bytes.last_mut().unwrap() ^= 1;
                bytes.into()
            }
        };
        store.put(&key, altered.into()).await.unwrap();
    }
}

/// A registry with one package, and another instance of it.
async fn registry() -> (Arc<dyn ObjectStore>, Arc<Storage>, Arc<Storage>, Sample) {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let storage = Arc::new(open(Arc::clone(&store), 1).await.unwrap());
    let sample = Sample::new("hello", "1", 1);
    sample.publish(&storage).await.unwrap();
    let other = Arc::new(open(Arc::clone(&store), 2).await.unwrap());
    (store, storage, other, sample)
}

async fn all(storage: &Arc<Storage>, digest: &Digest) -> Result<Vec<u8>, ReadError> {
    let pieces: Vec<Bytes> = storage.read(digest, 0..u64::MAX).await?.try_collect().await?;
    Ok(pieces.concat())
}

#[tokio::test]
async fn a_copy_that_is_not_what_was_stored_is_marked_and_healed_by_publishing_again() {
    for harm in Harm::ALL {
        // A document, a small member, one of several chunks that is harmed in the first, and in the last piece.
        for which in 0..4 {
            let (store, storage, other, sample) = registry().await;
            let entry = storage.catalog.state().entry(&sample.content.coordinate).unwrap().clone();
            let digest = match which {
                0 => entry.document,
                n => entry.members.unpack()[n].digest,
            };
            let blob = storage.whole(&digest).unwrap();
            harm.to(&store, &blob).await;
            let error = all(&storage, &digest).await.unwrap_err();
            assert!(
                matches!(error, ReadError::Damaged { source: Some(_), .. }),
                "{harm:?} {which}: {error:?}"
            );
            assert!(storage.catalog.state().is_damaged(&digest));
            other.catalog.follow().await.unwrap();
            let elsewhere = all(&other, &digest).await.unwrap_err();
            assert_eq!((elsewhere.label(), elsewhere.class()), ("BlobDamaged", ErrorClass::Stall));
            assert!(
                elsewhere.to_string().contains("publish a package that contains it again"),
                "{elsewhere}"
            );
            let healed = sample.publish(&other).await.unwrap();
            assert_eq!((healed.already, healed.healed), (true, 1));
            // The first instance does not know yet of the new copy, and finds it.
            storage.catalog.follow().await.unwrap();
            sample.check(&storage).await;
            assert_ne!(storage.whole(&digest).unwrap().key, blob.key);
            assert_eq!(sample.publish(&storage).await.unwrap().healed, 0);
        }
    }
}

#[tokio::test]
async fn a_copy_that_was_replaced_meanwhile_is_found_by_reading_on() {
    let (store, storage, other, sample) = registry().await;
    let member = sample.content.members[1].clone();
    let old = storage.whole(&member.digest).unwrap();
    other.quarantine(&old).await;
    sample.publish(&other).await.unwrap();
    store.delete(&old.path()).await.unwrap();
    assert_eq!(storage.whole(&member.digest).unwrap(), old, "it has not read on yet");
    assert_eq!(all(&storage, &member.digest).await.unwrap(), sample.bytes[1]);
    assert!(!storage.catalog.state().is_damaged(&member.digest));
}

#[tokio::test]
async fn damaged_bytes_are_brought_again_by_another_package_too() {
    let (store, storage, _, sample) = registry().await;
    let digest = sample.content.members[1].digest;
    Harm::Gone.to(&store, &storage.whole(&digest).unwrap()).await;
    all(&storage, &digest).await.unwrap_err();
    let mut next = sample.clone();
    next.content.coordinate.version = "2".parse().unwrap();
    let published = next.publish_as(&storage, ReleaseVersion::NextFree).await.unwrap();
    assert_eq!((published.already, published.release_version), (false, 1));
    sample.check(&storage).await;
    next.check(&storage).await;
}

#[tokio::test]
async fn who_may_only_read_marks_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let clock = Clock::system();
    let writer =
        Storage::open_local(directory.path(), Duration::ZERO, clock.clone(), Entropy::seeded(1)).await;
    let writer = writer.unwrap();
    let sample = Sample::new("hello", "1", 1);
    sample.publish(&writer).await.unwrap();
    let reader = Storage::open_local_read_only(directory.path(), clock, Entropy::seeded(2)).await.unwrap();
    let reader = Arc::new(reader);
    let digest = sample.content.members[1].digest;
    let blob = reader.whole(&digest).unwrap();
    std::fs::remove_file(directory.path().join(blob.path().to_string())).unwrap();
    let before = writer.catalog.seq();
    assert!(matches!(all(&reader, &digest).await, Err(ReadError::Damaged { .. })));
    assert_eq!(writer.catalog.follow().await.unwrap(), before);
}

#[tokio::test]
async fn a_directory_that_was_taken_away_damages_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("storage");
    let opened = Storage::open_local(&place, Duration::ZERO, Clock::system(), Entropy::seeded(1)).await;
    let storage = Arc::new(opened.unwrap());
    let sample = Sample::new("hello", "1", 1);
    sample.publish(&storage).await.unwrap();
    std::fs::rename(&place, directory.path().join("elsewhere")).unwrap();
    let digest = sample.content.members[1].digest;
    assert!(all(&storage, &digest).await.is_err());
    assert!(!storage.catalog.state().is_damaged(&digest));
    assert!(!place.exists(), "nothing is written to where it was");
}
