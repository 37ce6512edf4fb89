//! Blobs: what goes in comes out, in any range, and nothing else does.

use std::path::PathBuf;
use std::sync::Arc;

use futures::{StreamExt as _, TryStreamExt as _};
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::{
    CopyOptions, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult,
};

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

/// As a bucket is used: by retries, side by side.
fn far(store: Arc<dyn ObjectStore>) -> Blobs {
    let calls = Calls::split(Arc::clone(&store), store, Duration::from_secs(5), Clock::system());
    Blobs::new(calls, Entropy::seeded(1))
}

#[tokio::test(start_paused = true)]
async fn on_a_bucket_single_failures_of_small_writes_and_of_beginnings_are_overcome() {
    for length in [100, 400_000, 1_300_000] {
        let good = noise(length, 1);
        let store = FaultStore::new(Arc::new(InMemory::new()));
        let blobs = far(Arc::new(store.clone()));
        store.hurt(None);
        blobs.put_bytes(&good, 0).await.unwrap();
        for (number, step) in store.steps().iter().enumerate() {
            for fault in [Fault::LostReply, Fault::Refused] {
                store.hurt([(number, fault)]);
                let put = blobs.put_bytes(&good, 0).await;
                // The client below sends parts again, and completes once more; here that is one failure.
                let hopeless =
                    step.starts_with("part") || step.starts_with("complete") && fault == Fault::Refused;
                if hopeless {
                    assert!(put.is_err() && store.steps().last().unwrap().starts_with("abort"), "{step}");
                } else {
                    assert_eq!(blobs.read_all(&put.unwrap(), u64::MAX).await.unwrap(), good, "{step}");
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn tries_are_bounded_and_a_file_system_gets_one() {
    for (near, tries) in [(true, 1), (false, 4)] {
        let store = FaultStore::new(Arc::new(InMemory::new()));
        let blobs = if near { blobs(Arc::new(store.clone())) } else { far(Arc::new(store.clone())) };
        store.hurt((0..9).map(|step| (step, Fault::Refused)));
        assert!(matches!(blobs.put_bytes(b"x", 0).await, Err(BlobError::Write(_))));
        assert_eq!(store.steps().len(), tries);
    }
}

/// What happens to the stream of a read.
#[derive(Debug, Clone, Copy)]
enum Trouble {
    Breaks,
    Ends,
    Stalls,
    Flips,
}

/// A store whose reads go wrong in their middle, as often as said.
#[derive(Debug)]
struct Troubled {
    inner: InMemory,
    trouble: Trouble,
    left: std::sync::Mutex<u32>,
    opened: std::sync::atomic::AtomicU32,
}

impl std::fmt::Display for Troubled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Troubled")
    }
}

impl Troubled {
    /// Gives small frames of the bytes, and trouble after 300,000 of them.
    fn spoil(
        &self,
        bytes: &bytes::Bytes,
    ) -> futures::stream::BoxStream<'static, object_store::Result<bytes::Bytes>> {
        let frame = |from: usize| bytes.slice(from..bytes.len().min(from + 10_000));
        let mut frames: Vec<_> = (0..bytes.len()).step_by(10_000).map(|from| Ok(frame(from))).collect();
        let failed = || object_store::Error::Generic { store: "troubled", source: "cut".into() };
        let mut left = self.left.lock().unwrap();
        if *left == 0 || frames.len() < 30 {
            return futures::stream::iter(frames).boxed();
        }
        *left -= 1;
        match self.trouble {
            Trouble::Flips => {
                let mut altered = frames[29].as_ref().unwrap().to_vec();
                altered[7] ^= 1;
                frames[29] = Ok(altered.into());
            }
            Trouble::Ends => frames.truncate(30),
            Trouble::Breaks => {
                frames.truncate(30);
                frames.push(Err(failed()));
            }
            Trouble::Stalls => {
                frames.truncate(30);
                return futures::stream::iter(frames).chain(futures::stream::pending()).boxed();
            }
        }
        futures::stream::iter(frames).boxed()
    }
}

#[async_trait::async_trait]
impl ObjectStore for Troubled {
    async fn put_opts(
        &self,
        key: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> object_store::Result<PutResult> {
        self.inner.put_opts(key, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        key: &Path,
        options: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(key, options).await
    }

    async fn get_opts(&self, key: &Path, options: GetOptions) -> object_store::Result<GetResult> {
        self.opened.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        let result = self.inner.get_opts(key, options).await?;
        let (meta, range, attributes, extensions) =
            (result.meta.clone(), result.range.clone(), result.attributes.clone(), result.extensions.clone());
        let payload = GetResultPayload::Stream(self.spoil(&result.bytes().await?));
        Ok(GetResult { payload, meta, range, attributes, extensions })
    }

    fn delete_stream(
        &self,
        keys: futures::stream::BoxStream<'static, object_store::Result<Path>>,
    ) -> futures::stream::BoxStream<'static, object_store::Result<Path>> {
        self.inner.delete_stream(keys)
    }

    fn list(
        &self,
        prefix: Option<&Path>,
    ) -> futures::stream::BoxStream<'static, object_store::Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> object_store::Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> object_store::Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_goes_wrong_is_taken_up_at_the_last_verified_chunk() {
    let good = noise(1_300_000, 5);
    for trouble in [Trouble::Breaks, Trouble::Ends, Trouble::Stalls, Trouble::Flips] {
        for (times, fine) in [(0, true), (1, true), (50, false)] {
            let store = Troubled { inner: InMemory::new(), trouble, left: times.into(), opened: 0.into() };
            let store = Arc::new(store);
            let blobs = far(Arc::clone(&store) as Arc<dyn ObjectStore>);
            let blob = blobs.put_bytes(&good, 0).await.unwrap();
            let mut pieces = blobs.read(&blob, 100..blob.size).await.unwrap();
            let mut read = Vec::new();
            let mut failed = false;
            while let Some(piece) = pieces.next().await {
                match piece {
                    Ok(piece) => read.extend_from_slice(&piece),
                    Err(_) => failed = true,
                }
            }
            assert!(good[100..].starts_with(&read), "{trouble:?} {times}: nothing wrong is handed out");
            // A stream that breaks goes on after each chunk that it brought.
            let goes_on = matches!(trouble, Trouble::Breaks | Trouble::Stalls);
            assert_eq!(read.len() == good.len() - 100, fine || goes_on, "{trouble:?} {times}");
            assert_eq!(failed, !(fine || goes_on), "{trouble:?} {times}");
            let opened = store.opened.load(std::sync::atomic::Ordering::SeqCst);
            assert!(opened <= 10, "{trouble:?} {times}: {opened}");
        }
    }
}

/// A full disk below a store.
#[tokio::test]
async fn a_full_disk_is_said_to_be_one_and_not_tried_again() {
    let full = || object_store::Error::Generic {
        store: "local",
        source: Box::new(std::io::Error::from(std::io::ErrorKind::StorageFull)),
    };
    let call = CallError::Failed { action: "write", key: "k".into(), source: full() };
    assert!(!may_pass(&call));
    let error = not_written(call);
    assert!(matches!(error, BlobError::DiskFull(_)) && error.label() == "DiskFull", "{error}");
}

/// Where `DCOS_REGISTRY_TEST_SMALL_DISK` names a directory on a volume of a few megabytes.
#[tokio::test]
async fn a_real_full_disk_is_said_to_be_one_and_keeps_what_it_has() {
    let Some(small) = crate::config::environment("DCOS_REGISTRY_TEST_SMALL_DISK") else { return };
    let directory = tempfile::tempdir_in(small).unwrap();
    let blobs = blobs(Arc::new(LocalFileSystem::new_with_prefix(&directory).unwrap().with_fsync(true)));
    let first = blobs.put_bytes(&noise(700_000, 1), 0).await.unwrap();
    let before = files(directory.path());
    for length in [3_900_000, 100_000_000] {
        let full = async {
            for seed in 0..100 {
                blobs.put_bytes(&noise(length, seed), 0).await?;
            }
            Ok::<_, BlobError>(())
        };
        let error = full.await.unwrap_err();
        assert_eq!((error.label(), error.class()), ("DiskFull", ErrorClass::Retry), "{error:?}");
        assert_eq!(blobs.read_all(&first, u64::MAX).await.unwrap(), noise(700_000, 1));
        for path in files(directory.path()).iter().filter(|path| !before.contains(path)) {
            assert!(!path.to_string_lossy().contains('#'), "a staging file stayed: {path:?}");
            std::fs::remove_file(path).unwrap();
        }
    }
}

#[tokio::test]
async fn a_file_that_was_verified_is_hashed_again_when_it_changed() {
    let (directory, mut blobs) = in_directory();
    // Far in the future, so that the file is an old one.
    blobs.calls.clock = Clock::fixed(4_000_000_000_000);
    let blob = blobs.put_bytes(&noise(1_300_000, 5), 0).await.unwrap();
    let path = directory.path().join(blob.path().to_string());
    let identity = || verified::Identity::of(&std::fs::File::open(&path).unwrap()).unwrap();
    let known = |chunks| blobs.verified.has(&blob, identity(), chunks, &blobs.calls.clock);
    assert!(!known(0..1));
    range(&blobs, &blob, 600_000..600_001).await.unwrap();
    assert!(known(2..3) && !known(0..2) && !known(3..4), "the chunk that was read, and no other");
    range(&blobs, &blob, 0..blob.size).await.unwrap();
    assert!(known(0..5));
    flip(&path, 600_000);
    std::fs::File::options().write(true).open(&path).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
    assert!(matches!(range(&blobs, &blob, 0..blob.size).await, Err(BlobError::Damaged { .. })));
}

#[tokio::test]
async fn a_chunk_that_is_known_is_not_hashed() {
    let (directory, mut blobs) = in_directory();
    blobs.calls.clock = Clock::fixed(4_000_000_000_000);
    let blob = blobs.put_bytes(&noise(1_300_000, 5), 0).await.unwrap();
    let path = directory.path().join(blob.path().to_string());
    flip(&path, 600_000);
    let identity = verified::Identity::of(&std::fs::File::open(&path).unwrap()).unwrap();
    blobs.verified.note(&blob, identity, 0..5, &blobs.calls.clock);
    assert!(range(&blobs, &blob, 0..blob.size).await.is_ok(), "wrong, and believed to be right");
    blobs.calls.clock.advance(Duration::from_secs(25 * 3600));
    assert!(matches!(range(&blobs, &blob, 0..blob.size).await, Err(BlobError::Damaged { .. })));
}

#[tokio::test]
async fn a_verified_file_that_changes_while_it_is_read_is_found_out() {
    let (directory, mut blobs) = in_directory();
    blobs.calls.clock = Clock::fixed(4_000_000_000_000);
    let good = noise(1_300_000, 5);
    let blob = blobs.put_bytes(&good, 0).await.unwrap();
    let path = directory.path().join(blob.path().to_string());
    range(&blobs, &blob, 0..blob.size).await.unwrap();
    for (from, to) in [(0, 1_300_000), (262_143, 262_145), (600_000, 1_299_999), (1_299_999, 1_300_000)] {
        assert_eq!(range(&blobs, &blob, from as u64..to as u64).await.unwrap(), good[from..to]);
    }
    let mut pieces = blobs.read(&blob, 0..blob.size).await.unwrap();
    let mut read = pieces.next().await.unwrap().unwrap().to_vec();
    read.extend_from_slice(&pieces.next().await.unwrap().unwrap());
    flip(&path, 1_299_000);
    std::fs::File::options().write(true).open(&path).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
    let mut ended = None;
    while let Some(piece) = pieces.next().await {
        match piece {
            Ok(piece) => read.extend_from_slice(&piece),
            Err(error) => ended = Some(error),
        }
    }
    assert!(matches!(ended, Some(BlobError::Damaged { .. })), "{ended:?}");
    assert!(read.len() > 700_000 && good.starts_with(&read), "{}", read.len());
}

#[tokio::test(start_paused = true)]
async fn many_uploads_share_little_memory_and_all_end() {
    let mut blobs = far(Arc::new(InMemory::new()));
    blobs.room = Arc::new(Semaphore::new(1200));
    let good = noise(1_300_000, 5);
    let puts = (0..16).map(|_| async {
        // Comes slowly, so that uploads meet.
        let little = futures::stream::iter(good.chunks(64 * 1024)).then(async |bytes| {
            tokio::task::yield_now().await;
            Ok::<_, std::io::Error>(bytes)
        });
        let mut reader = tokio_util::io::StreamReader::new(Box::pin(little));
        blobs.put(&mut reader, Digest::of(&good), good.len() as u64, 0).await.unwrap()
    });
    let stored = futures::future::join_all(puts).await;
    assert_eq!(stored.len(), 16);
    assert_eq!(blobs.room.available_permits(), 1200, "every place was given back");
    let place = Arc::clone(&blobs.room).acquire_many_owned(1200).await.unwrap();
    assert!(matches!(blobs.put_bytes(&good, 0).await, Err(BlobError::Crowded(_))));
    drop(place);
}

#[tokio::test]
async fn a_real_bucket_takes_and_gives_blobs() {
    let Some(settings) = crate::storage::backend::tests::real("blobs") else { return };
    let bucket =
        crate::storage::backend::Bucket::new(&settings, crate::storage::backend::Waits::default()).unwrap();
    let blobs = Blobs::new(bucket.calls(Clock::system()), Entropy::system());
    let good = noise(30_000_000, 5);
    let blob = blobs.put_bytes(&good, 0).await.unwrap();
    assert_eq!(blobs.read_all(&blob, u64::MAX).await.unwrap(), good);
    assert_eq!(range(&blobs, &blob, 9_000_000..9_000_010).await.unwrap(), good[9_000_000..9_000_010]);
    let wrong = blobs.put(&mut good.as_slice(), Digest::of(b"x"), good.len() as u64, 0).await;
    assert!(matches!(wrong, Err(BlobError::WrongDigest { .. })));
    for key in [blob.path(), blob.chunks_path()] {
        blobs.calls.delete(&key).await.unwrap();
    }
    let left = blobs.calls.page(&Path::default(), None, 10).await.unwrap();
    assert_eq!(left, [], "what is wrong leaves nothing");
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
