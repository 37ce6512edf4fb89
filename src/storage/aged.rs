//! A store for tests whose objects are as old as a script says.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use async_trait::async_trait;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

use crate::clock::Clock;

/// The wrapper. What was put in one call bears the time of its clock. Clones share everything.
#[derive(Clone)]
pub(crate) struct AgedStore {
    inner: Arc<dyn ObjectStore>,
    clock: Clock,
    written: Arc<Mutex<BTreeMap<Path, Duration>>>,
}

impl AgedStore {
    pub(crate) fn new(inner: Arc<dyn ObjectStore>, clock: Clock) -> Self {
        Self { inner, clock, written: Arc::default() }
    }

    fn date(written: &Mutex<BTreeMap<Path, Duration>>, meta: &mut ObjectMeta) {
        if let Some(written) = written.lock().unwrap().get(&meta.location) {
            meta.last_modified = (UNIX_EPOCH + *written).into();
        }
    }
}

#[async_trait]
impl ObjectStore for AgedStore {
    async fn put_opts(&self, key: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let put = self.inner.put_opts(key, payload, options).await?;
        self.written.lock().unwrap().insert(key.clone(), self.clock.boot());
        Ok(put)
    }

    async fn put_multipart_opts(
        &self,
        key: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(key, options).await
    }

    async fn get_opts(&self, key: &Path, options: GetOptions) -> Result<GetResult> {
        let mut result = self.inner.get_opts(key, options).await?;
        Self::date(&self.written, &mut result.meta);
        Ok(result)
    }

    fn delete_stream(&self, keys: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(keys)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let written = Arc::clone(&self.written);
        let dated = move |mut meta: ObjectMeta| {
            Self::date(&written, &mut meta);
            meta
        };
        self.inner.list(prefix).map(move |meta| meta.map(&dated)).boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

impl fmt::Debug for AgedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AgedStore")
    }
}

impl fmt::Display for AgedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AgedStore")
    }
}
