//! Calls to the object store, each with a deadline and a bounded answer.
//!
//! Nothing is tried again here: what a failed call means is known to the protocol above only (a create
//! that failed may have happened).

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    Error, GetOptions, GetResult, ObjectMeta, ObjectStore, ObjectStoreExt as _, PutMode, PutOptions,
};

use crate::clock::{Clock, DeadlinePassed};
use crate::model::ErrorClass;

/// How long a call for a small object may take on a local back end.
const SMALL: Duration = Duration::from_secs(10);

/// How long one page of a listing may take.
const LISTING: Duration = Duration::from_secs(20);

/// How long a call for an object of many megabytes may take.
const BULK: Duration = Duration::from_secs(60);

/// A call to the store that did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The store answered with an error.
    #[error("cannot {action} {key}")]
    Failed {
        /// `read`, `write`, ...
        action: &'static str,
        /// The object.
        key: String,
        /// The store's words.
        #[source]
        source: Error,
    },
    /// The store did not answer in time.
    #[error("cannot {action} {key}")]
    Late {
        /// `read`, `write`, ...
        action: &'static str,
        /// The object.
        key: String,
        /// The limit.
        #[source]
        source: DeadlinePassed,
    },
    /// An object is longer than anything that we would have written there.
    #[error("{key} holds {size} bytes where at most {limit} belong")]
    TooLarge {
        /// The object.
        key: String,
        /// Its length in bytes.
        size: u64,
        /// The most that we write there.
        limit: u64,
    },
}

impl CallError {
    /// What to do about it.
    #[must_use]
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Failed { source, .. } => match source {
                Error::NotSupported { .. }
                | Error::NotImplemented { .. }
                | Error::PermissionDenied { .. }
                | Error::Unauthenticated { .. } => ErrorClass::Stall,
                _ => ErrorClass::Retry,
            },
            Self::Late { .. } => ErrorClass::Retry,
            Self::TooLarge { .. } => ErrorClass::Stall,
        }
    }

    /// A stable word for labels.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::Failed { .. } => "StoreFailed",
            Self::Late { .. } => "StoreLate",
            Self::TooLarge { .. } => "ObjectTooLarge",
        }
    }

    /// Whether the store said that there is no such object.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Failed { source: Error::NotFound { .. }, .. })
    }
}

/// A store and the clock that its calls are measured with. Cheap to clone.
#[derive(Clone)]
pub(super) struct Calls {
    /// For records and other small objects.
    pub(super) store: Arc<dyn ObjectStore>,
    /// For the bytes of blobs.
    pub(super) data: Arc<dyn ObjectStore>,
    /// How long a call for a small object may take.
    pub(super) limit: Duration,
    pub(super) clock: Clock,
}

impl Calls {
    /// Calls to a store that serves small and large objects alike.
    pub(super) fn new(store: Arc<dyn ObjectStore>, clock: Clock) -> Self {
        Self { data: Arc::clone(&store), store, limit: SMALL, clock }
    }

    /// The same for small calls that carry many bytes.
    pub(super) fn bulk(&self) -> Self {
        Self { store: Arc::clone(&self.data), limit: BULK, ..self.clone() }
    }

    /// Runs one call with a deadline and names it in its error.
    pub(super) async fn within<T>(
        &self,
        limit: Duration,
        action: &'static str,
        key: &Path,
        call: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, CallError> {
        match self.clock.timeout(limit, call).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(source)) => Err(CallError::Failed { action, key: key.to_string(), source }),
            Err(source) => Err(CallError::Late { action, key: key.to_string(), source }),
        }
    }

    /// Opens an object for reading.
    pub(super) async fn get(&self, key: &Path, options: GetOptions) -> Result<GetResult, CallError> {
        self.within(self.limit, "read", key, self.store.get_opts(key, options)).await
    }

    /// Reads a whole small object; none where there is none.
    pub(super) async fn read_small(&self, key: &Path, limit: u64) -> Result<Option<Bytes>, CallError> {
        let result = match self.get(key, GetOptions::default()).await {
            Err(error) if error.is_missing() => return Ok(None),
            other => other?,
        };
        let size = result.meta.size;
        if size > limit {
            return Err(CallError::TooLarge { key: key.to_string(), size, limit });
        }
        self.within(self.limit, "read", key, result.bytes()).await.map(Some)
    }

    /// Writes a small object under a key that must not exist yet.
    pub(super) async fn create(&self, key: &Path, bytes: Bytes) -> Result<(), CallError> {
        self.put(self.limit, key, bytes, PutMode::Create).await
    }

    /// Writes an object under a key that nobody else uses.
    pub(super) async fn put(
        &self,
        limit: Duration,
        key: &Path,
        bytes: Bytes,
        mode: PutMode,
    ) -> Result<(), CallError> {
        let put = self.store.put_opts(key, bytes.into(), PutOptions::from(mode));
        self.within(limit, "write", key, put).await.map(drop)
    }

    /// Writes a small object whether or not there is one.
    pub(super) async fn overwrite(&self, key: &Path, bytes: Bytes) -> Result<(), CallError> {
        self.put(self.limit, key, bytes, PutMode::Overwrite).await
    }

    /// What the store says of an object; none where there is none.
    pub(super) async fn head(&self, key: &Path) -> Result<Option<ObjectMeta>, CallError> {
        let options = GetOptions { head: true, ..GetOptions::default() };
        match self.get(key, options).await {
            Ok(found) => Ok(Some(found.meta)),
            Err(error) if error.is_missing() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Deletes an object; one that is not there is no error.
    pub(super) async fn delete(&self, key: &Path) -> Result<(), CallError> {
        match self.within(self.limit, "delete", key, self.store.delete(key)).await {
            Err(error) if error.is_missing() => Ok(()),
            other => other,
        }
    }

    /// Lists what lies below a folder, beyond `offset` where one is given; in no order. Each page has its
    /// deadline.
    pub(super) fn list(
        &self,
        folder: &Path,
        offset: Option<&Path>,
    ) -> BoxStream<'static, Result<ObjectMeta, CallError>> {
        let listed = match offset {
            Some(offset) => self.data.list_with_offset(Some(folder), offset),
            None => self.data.list(Some(folder)),
        };
        let (calls, folder) = (self.clone(), folder.clone());
        futures::stream::try_unfold(listed, move |mut listed| {
            let (calls, folder) = (calls.clone(), folder.clone());
            async move {
                let next = async { listed.next().await.transpose() };
                let next = calls.within(LISTING, "list", &folder, next).await?;
                Ok(next.map(|meta| (meta, listed)))
            }
        })
        .boxed()
    }
}
