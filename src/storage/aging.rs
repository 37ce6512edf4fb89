//! A store for tests whose times follow a clock that a test moves: objects get as old as the test says.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

use crate::clock::Clock;

/// The wrapper. Clones share one memory of when what was written.
#[derive(Clone)]
pub(crate) struct AgingStore {
    inner: Arc<dyn ObjectStore>,
    clock: Clock,
    written: Arc<Mutex<BTreeMap<Path, Duration>>>,
}

impl AgingStore {
    pub(crate) fn new(inner: Arc<dyn ObjectStore>, clock: Clock) -> Self {
        Self { inner, clock, written: Arc::default() }
    }

    fn note(&self, key: &Path) {
        self.written.lock().unwrap().insert(key.clone(), self.clock.boot());
    }

    /// The inner store's times are all of today; what is added makes the difference.
    fn aged(&self, mut meta: ObjectMeta) -> ObjectMeta {
        let written = self.written.lock().unwrap().get(&meta.location).copied();
        meta.last_modified += written.unwrap_or_default();
        meta
    }
}

#[async_trait]
impl ObjectStore for AgingStore {
    async fn put_opts(&self, key: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let put = self.inner.put_opts(key, payload, options).await?;
        self.note(key);
        Ok(put)
    }

    async fn put_multipart_opts(
        &self,
        key: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.note(key);
        self.inner.put_multipart_opts(key, options).await
    }

    async fn get_opts(&self, key: &Path, options: GetOptions) -> Result<GetResult> {
        let mut found = self.inner.get_opts(key, options).await?;
        found.meta = self.aged(found.meta);
        Ok(found)
    }

    fn delete_stream(&self, keys: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(keys)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let aging = self.clone();
        self.inner.list(prefix).map(move |meta| meta.map(|meta| aging.aged(meta))).boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

impl fmt::Debug for AgingStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AgingStore")
    }
}

impl fmt::Display for AgingStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AgingStore")
    }
}
