//! Calls to the object store, each with a deadline and a bounded answer.
//!
//! Nothing is tried again here: what a failed call means is known to the protocol above only (a create
//! that failed may have happened).

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use object_store::path::Path;
use object_store::{Error, GetOptions, GetResult, ObjectStore, PutMode, PutOptions};

use crate::clock::{Clock, DeadlinePassed};
use crate::model::ErrorClass;

/// How long a call for a small object may take. The store's own client has shorter limits where it has any.
const SMALL: Duration = Duration::from_secs(10);

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
    pub(super) store: Arc<dyn ObjectStore>,
    pub(super) clock: Clock,
}

impl Calls {
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
        self.within(SMALL, "read", key, self.store.get_opts(key, options)).await
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
        self.within(SMALL, "read", key, result.bytes()).await.map(Some)
    }

    /// Writes a small object under a key that must not exist yet.
    pub(super) async fn create(&self, key: &Path, bytes: Bytes) -> Result<(), CallError> {
        self.put(SMALL, key, bytes, PutMode::Create).await
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
}
