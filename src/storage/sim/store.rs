//! The shared store as one instance sees it through its own way.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    Attributes, CopyOptions, Error, GetOptions, GetRange, GetResult, GetResultPayload, ListResult,
    MultipartUpload, ObjectMeta, ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload,
    PutResult, Result,
};

use super::world::{Applied, Deed, Object, Reply, Sent, World};

/// The way of one instance. Cheap to clone.
#[derive(Clone)]
pub(super) struct SimStore {
    pub(super) world: Arc<World>,
    pub(super) who: usize,
}

impl SimStore {
    async fn call(&self, what: &'static str, key: &str, deed: Deed) -> Result<Applied> {
        let Sent { reply_at, reply, outcome } = self.world.send(self.who, what, key, &deed);
        self.world.until(reply_at).await;
        drop(self.world.inner());
        match (reply, outcome.get()) {
            (Reply::Truth, Some(applied)) => Ok(applied.clone()),
            (Reply::Conflict, _) => Ok(Applied::Exists),
            _ => Err(failed()),
        }
    }
}

fn failed() -> Error {
    Error::Generic { store: "sim", source: "as the seed says".into() }
}

#[expect(clippy::default_trait_access, reason = "the type is one of a crate that is not ours")]
fn meta(key: &str, object: &Object) -> ObjectMeta {
    let mut meta = ObjectMeta {
        location: Path::from(key),
        last_modified: Default::default(),
        size: object.bytes.len() as u64,
        e_tag: None,
        version: None,
    };
    meta.last_modified += object.at;
    meta
}

fn cut(bytes: &Bytes, range: Option<GetRange>) -> std::ops::Range<u64> {
    let all = bytes.len() as u64;
    match range {
        None => 0..all,
        Some(GetRange::Bounded(range)) => range.start.min(all)..range.end.min(all),
        Some(GetRange::Offset(from)) => from.min(all)..all,
        Some(GetRange::Suffix(last)) => all.saturating_sub(last)..all,
    }
}

#[async_trait]
impl ObjectStore for SimStore {
    async fn put_opts(&self, key: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let bytes = Bytes::from(payload);
        let (what, deed) = match options.mode {
            PutMode::Create => ("create", Deed::Create(bytes)),
            PutMode::Overwrite => ("put", Deed::Overwrite(bytes)),
            PutMode::Update(_) => {
                return Err(Error::NotImplemented { operation: "update".into(), implementer: "sim".into() });
            }
        };
        match self.call(what, key.as_ref(), deed).await? {
            Applied::Exists => Err(Error::AlreadyExists { path: key.to_string(), source: "exists".into() }),
            _ => {
                Ok(PutResult { e_tag: None, version: None, extensions: object_store::Extensions::default() })
            }
        }
    }

    async fn put_multipart_opts(&self, _: &Path, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        Err(Error::NotImplemented { operation: "multipart".into(), implementer: "sim".into() })
    }

    async fn get_opts(&self, key: &Path, options: GetOptions) -> Result<GetResult> {
        let Applied::Found(object) = self.call("get", key.as_ref(), Deed::Look).await? else {
            return Err(Error::NotFound { path: key.to_string(), source: "absent".into() });
        };
        let range = cut(&object.bytes, options.range);
        let (from, to) = (usize::try_from(range.start).unwrap(), usize::try_from(range.end).unwrap());
        let bytes = if options.head { Bytes::new() } else { object.bytes.slice(from..to) };
        Ok(GetResult {
            payload: GetResultPayload::Stream(futures::stream::once(async move { Ok(bytes) }).boxed()),
            meta: meta(key.as_ref(), &object),
            range,
            attributes: Attributes::default(),
            extensions: object_store::Extensions::default(),
        })
    }

    fn delete_stream(&self, keys: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let store = self.clone();
        keys.then(move |key| {
            let store = store.clone();
            async move {
                let key = key?;
                store.call("delete", key.as_ref(), Deed::Delete).await.map(|_| key)
            }
        })
        .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (store, folder) = (self.clone(), format!("{}/", prefix.cloned().unwrap_or_default()));
        let listed = async move {
            let found: Vec<_> = match store.call("list", &folder, Deed::List).await {
                Ok(Applied::Listed(found)) => {
                    found.iter().map(|(key, object)| Ok(meta(key, object))).collect()
                }
                Ok(_) => vec![],
                Err(error) => vec![Err(error)],
            };
            futures::stream::iter(found)
        };
        futures::stream::once(listed).flatten().boxed()
    }

    async fn list_with_delimiter(&self, _: Option<&Path>) -> Result<ListResult> {
        Err(Error::NotImplemented { operation: "list with delimiter".into(), implementer: "sim".into() })
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<()> {
        Err(Error::NotImplemented { operation: "copy".into(), implementer: "sim".into() })
    }
}

impl fmt::Debug for SimStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SimStore")
    }
}

impl fmt::Display for SimStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SimStore")
    }
}
