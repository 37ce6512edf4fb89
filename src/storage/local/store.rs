//! The object store of a directory. Files that are written in parts go to the disk while they grow, so that the flush
//! in the end, which decides that they are durable, finds little left to do.
//!
//! That begins earlier and changes nothing else: the store below still flushes the whole file before it gives it its
//! name. An error of an early flush ends the upload: kernels before 4.13 tell an error of writing back to one of those
//! who flush and not to the others.

use std::fmt;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::PathBuf;

use async_trait::async_trait;
use bytes::Bytes;
use futures::FutureExt as _;
use futures::stream::BoxStream;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, UploadPart,
};
use tokio::task::{JoinError, JoinHandle};

/// As the store's trait has it.
type Result<T, E = Error> = std::result::Result<T, E>;

/// How much of a file grows before it is flushed, in bytes. Tests flush often.
const STRIDE: usize = if cfg!(test) { 64 * 1024 } else { 32 * 1024 * 1024 };

/// The store.
#[derive(Debug)]
pub struct LocalStore(pub(super) LocalFileSystem);

impl fmt::Display for LocalStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[async_trait]
impl ObjectStore for LocalStore {
    async fn put_opts(&self, key: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.0.put_opts(key, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        key: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let upload = self.0.put_multipart_opts(key, options).await?;
        // That is how the store names what grows.
        let mut path = self.0.path_to_filesystem(key)?.into_os_string();
        path.push("#1");
        Ok(Box::new(Growing { upload, path: path.into(), grown: 0, flushing: None, failure: None }))
    }

    async fn get_opts(&self, key: &Path, options: GetOptions) -> Result<GetResult> {
        self.0.get_opts(key, options).await
    }

    async fn get_ranges(&self, key: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.0.get_ranges(key, ranges).await
    }

    fn delete_stream(&self, keys: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.0.delete_stream(keys)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.0.list(prefix)
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        self.0.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.0.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.0.copy_opts(from, to, options).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.0.rename_opts(from, to, options).await
    }
}

/// A file that grows.
#[derive(Debug)]
struct Growing {
    upload: Box<dyn MultipartUpload>,
    path: PathBuf,
    /// The bytes since the last flush began.
    grown: usize,
    flushing: Option<JoinHandle<io::Result<()>>>,
    /// The first error of a flush.
    failure: Option<io::Error>,
}

impl Growing {
    /// Flushes what is there on a blocking thread, unless that still goes on. Nobody waits for it before the end.
    fn flush(&mut self) {
        if let Some(flushing) = &mut self.flushing {
            let Some(ended) = flushing.now_or_never() else { return };
            self.note(ended);
        }
        self.grown = 0;
        let path = self.path.clone();
        self.flushing = Some(tokio::task::spawn_blocking(move || match File::open(&path) {
            Ok(file) => file.sync_data(),
            Err(error) => {
                tracing::debug!(file = %path.display(), %error, "a growing file is not flushed early");
                Ok(())
            }
        }));
    }

    fn note(&mut self, ended: Result<io::Result<()>, JoinError>) {
        self.flushing = None;
        if let Err(error) = ended.unwrap_or_else(|error| Err(io::Error::other(error))) {
            self.failure.get_or_insert(error);
        }
    }
}

#[async_trait]
impl MultipartUpload for Growing {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.grown += data.content_length();
        if self.grown >= STRIDE {
            self.flush();
        }
        self.upload.put_part(data)
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let completed = self.upload.complete().await?;
        if let Some(flushing) = self.flushing.take() {
            self.note(flushing.await);
        }
        match self.failure.take() {
            None => Ok(completed),
            Some(error) => Err(Error::Generic { store: "directory", source: error.into() }),
        }
    }

    async fn abort(&mut self) -> Result<()> {
        self.upload.abort().await
    }
}

#[cfg(test)]
mod tests {
    use object_store::ObjectStoreExt as _;

    use super::*;

    fn store(directory: &std::path::Path) -> LocalStore {
        LocalStore(LocalFileSystem::new_with_prefix(directory).unwrap().with_fsync(true))
    }

    #[tokio::test]
    async fn what_grows_lies_where_it_is_flushed() {
        let directory = tempfile::tempdir().unwrap();
        let (store, key) = (store(directory.path()), Path::from("a/b"));
        let mut upload = store.put_multipart(&key).await.unwrap();
        let piece = Bytes::from(vec![7; STRIDE]);
        for _ in 0..2 {
            upload.put_part(piece.clone().into()).await.unwrap();
            assert!(directory.path().join("a/b#1").exists(), "the store below names it otherwise");
        }
        upload.complete().await.unwrap();
        assert!(!directory.path().join("a/b#1").exists());
        assert!(store.get(&key).await.unwrap().bytes().await.unwrap() == [&piece[..], &piece].concat());
    }

    #[tokio::test]
    async fn an_early_flush_that_fails_ends_the_upload_whenever_it_ends() {
        let directory = tempfile::tempdir().unwrap();
        let store = store(directory.path());
        for (name, flushes_again) in [("at the end", false), ("on the way", true)] {
            let upload = store.0.put_multipart(&Path::from(name)).await.unwrap();
            let failing = tokio::task::spawn_blocking(|| Err(io::Error::other("the disk is broken")));
            while !failing.is_finished() {
                tokio::task::yield_now().await;
            }
            let path = directory.path().join("elsewhere");
            let mut growing = Growing { upload, path, grown: 0, flushing: Some(failing), failure: None };
            if flushes_again {
                growing.flush();
            }
            growing.put_part("x".into()).await.unwrap();
            let error = growing.complete().await.unwrap_err();
            assert!(format!("{error:?}").contains("the disk is broken"), "{name}: {error:?}");
        }
    }
}
