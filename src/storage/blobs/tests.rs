//! Blobs: what goes in comes out, in any range, and nothing else does.

use std::path::PathBuf;
use std::sync::Arc;

use futures::{StreamExt as _, TryStreamExt as _};
use object_store::ObjectStore;
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;

use super::*;
use crate::clock::Clock;
use crate::storage::faults::{Fault, FaultStore};
use crate::storage::tests::noise;

fn blobs(store: Arc<dyn ObjectStore>) -> Blobs {
    Blobs::new(Calls::new(store, Clock::system()), Entropy::seeded(1))
}

fn in_directory() -> (tempfile::TempDir, Blobs) {
    let directory = tempfile::tempdir().unwrap();
    let store = LocalFileSystem::new_with_prefix(&directory).unwrap().with_fsync(true);
    (directory, blobs(Arc::new(store)))
}

async fn range(blobs: &Blobs, blob: &Blob, range: std::ops::Range<u64>) -> Result<Vec<u8>, BlobError> {
    let pieces: Vec<_> = blobs.read(blob, range).await?.try_collect().await?;
    Ok(pieces.concat())
}

#[tokio::test]
async fn every_range_of_every_length_is_what_was_put() {
    let chunk = usize::try_from(CHUNK).unwrap();
    let (_directory, local) = in_directory();
    for blobs in [local, blobs(Arc::new(InMemory::new()))] {
        for length in [0, 1, chunk - 1, chunk, chunk + 1, 2 * chunk, 2 * chunk + 1, 5 * chunk + 77] {
            let bytes = noise(length, length as u64);
            let blob = blobs.put_bytes(&bytes, 3).await.unwrap();
            assert_eq!(blob.chunks.is_some(), length > chunk);
            assert_eq!(blobs.read_all(&blob, u64::MAX).await.unwrap(), bytes);
            let edges =
                [0, 1, chunk - 1, chunk, chunk + 1, 3 * chunk, length.saturating_sub(1), length, length + 9];
            for start in edges {
                for end in edges {
                    let expected = bytes.get(start..end.min(length)).unwrap_or_default();
                    let found = range(&blobs, &blob, start as u64..end as u64).await.unwrap();
                    assert!(found == expected, "{length}: {start}..{end}");
                }
            }
        }
    }
}

#[tokio::test]
async fn what_is_held_in_memory_is_bounded() {
    let blobs = blobs(Arc::new(InMemory::new()));
    let blob = blobs.put_bytes(&noise(1_000_000, 1), 0).await.unwrap();
    assert!(matches!(blobs.read_all(&blob, 999_999).await, Err(BlobError::TooLarge { .. })));
    let mut pieces = blobs.read(&blob, 0..u64::MAX).await.unwrap();
    while let Some(piece) = pieces.next().await {
        assert!(piece.unwrap().len() <= 512 * 1024);
    }
}

#[tokio::test]
async fn the_same_bytes_put_twice_lie_under_two_keys() {
    let blobs = blobs(Arc::new(InMemory::new()));
    let (a, b) = (blobs.put_bytes(b"x", 1).await.unwrap(), blobs.put_bytes(b"x", 1).await.unwrap());
    assert_ne!(a.path(), b.path());
    let hex = Digest::of(b"x").hex();
    assert!(a.path().to_string().starts_with(&format!("v1/blobs/sha256/{}/{hex}/{:020}-", &hex[..2], 1)));
}

#[tokio::test]
async fn a_reader_that_fails_leaves_nothing() {
    let (directory, blobs) = in_directory();
    for good in [0, 100, 600_000] {
        let head = noise(good, 1);
        let failing = futures::stream::iter([
            Ok(bytes::Bytes::from(head)),
            Err(std::io::Error::other("the cable was cut")),
        ]);
        let mut reader = tokio_util::io::StreamReader::new(failing);
        let put = blobs.put(&mut reader, Digest::of(b""), 700_000, 0).await;
        assert!(matches!(put, Err(BlobError::Source { .. })));
    }
    assert_eq!(files(directory.path()), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn an_upload_in_parts_that_goes_wrong_is_aborted() {
    let good = noise(700_000, 1);
    for (announced, length, fault) in [
        (Digest::of(b"other"), 700_000, None),
        (Digest::of(&good), 700_001, None),
        (Digest::of(&good), 699_999, None),
        (Digest::of(&good), 700_000, Some((2, Fault::Refused))),
        (Digest::of(&good), 700_000, Some((4, Fault::Refused))),
    ] {
        let store = FaultStore::new(Arc::new(InMemory::new()));
        store.hurt(fault);
        let put = blobs(Arc::new(store.clone())).put(&mut good.as_slice(), announced, length, 0).await;
        let steps = store.steps();
        assert!(put.is_err() && steps.last().unwrap().starts_with("abort"), "{steps:?}");
    }
}

fn files(folder: &std::path::Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// Five chunks on disk, the path of their file and that of their list.
async fn on_disk() -> (tempfile::TempDir, Blobs, Blob, [PathBuf; 2]) {
    let (directory, blobs) = in_directory();
    let blob = blobs.put_bytes(&noise(1_300_000, 5), 0).await.unwrap();
    let paths = [blob.path(), blob.chunks_path()].map(|key| directory.path().join(key.to_string()));
    (directory, blobs, blob, paths)
}

fn flip(path: &std::path::Path, at: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[at] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

#[tokio::test]
async fn an_altered_chunk_is_never_handed_out() {
    let (_directory, blobs, blob, [file, _]) = on_disk().await;
    flip(&file, 800_000);
    let mut pieces = blobs.read(&blob, 0..blob.size).await.unwrap();
    let mut sent = 0;
    let error = loop {
        match pieces.next().await.unwrap() {
            Ok(piece) => sent += piece.len() as u64,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, BlobError::Damaged { .. }), "{error}");
    assert!(sent <= 3 * CHUNK && sent > 0, "{sent}");
    assert!(pieces.next().await.is_none());
    let altered = range(&blobs, &blob, 3 * CHUNK + 1..3 * CHUNK + 2).await;
    assert!(matches!(altered, Err(BlobError::Damaged { .. })), "a whole chunk counts, not the asked byte");
    assert!(range(&blobs, &blob, 4 * CHUNK..blob.size).await.is_ok(), "the rest can still be read");
}

#[tokio::test]
async fn an_altered_or_missing_list_of_chunks_is_found_out() {
    let (_directory, blobs, blob, [_, list]) = on_disk().await;
    flip(&list, 40);
    assert!(matches!(blobs.read(&blob, 0..1).await.err(), Some(BlobError::Damaged { .. })));
    std::fs::remove_file(&list).unwrap();
    assert!(matches!(blobs.read(&blob, 0..1).await.err(), Some(BlobError::Damaged { .. })));
}

#[tokio::test]
async fn another_blob_with_its_own_list_in_the_place_of_this_one_is_found_out() {
    let (directory, blobs, blob, paths) = on_disk().await;
    let other = blobs.put_bytes(&noise(1_300_000, 6), 0).await.unwrap();
    for (key, path) in [other.path(), other.chunks_path()].iter().zip(&paths) {
        std::fs::copy(directory.path().join(key.to_string()), path).unwrap();
    }
    assert!(matches!(blobs.read(&blob, 0..1).await.err(), Some(BlobError::Damaged { .. })));
}

#[tokio::test]
async fn a_file_of_another_length_is_found_out() {
    for length in [0, 600_000, 1_300_001] {
        let (_directory, blobs, blob, [file, _]) = on_disk().await;
        std::fs::File::options().write(true).open(file).unwrap().set_len(length).unwrap();
        assert!(blobs.read(&blob, 0..1).await.is_err(), "{length}");
        assert!(blobs.read(&blob, 1_200_000..1_200_001).await.is_err(), "{length}");
    }
    let (directory, blobs) = in_directory();
    let small = blobs.put_bytes(b"hello", 0).await.unwrap();
    flip(&directory.path().join(small.path().to_string()), 0);
    assert!(matches!(blobs.read_all(&small, 10).await, Err(BlobError::Damaged { .. })));
}

#[test]
fn only_the_one_spelling_of_a_key_is_read() {
    let key = BlobKey { start: 12, random: 0xab };
    assert_eq!(key.to_string(), "00000000000000000012-00000000000000ab");
    assert_eq!(key.to_string().parse(), Ok(key));
    for bad in [
        "",
        "12-ab",
        "00000000000000000012-00000000000000AB",
        "00000000000000000012-00000000000000ab/x",
        "../x",
    ] {
        assert!(bad.parse::<BlobKey>().is_err(), "{bad}");
    }
}
