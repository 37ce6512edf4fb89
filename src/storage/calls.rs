//! Calls to the object store, each with a deadline and a bounded answer.
//!
//! A store is reached in two ways: `store` for what the protocols wait for (records, hints, small objects),
//! with a short limit, and `data` for blobs and lists, which may take long. On a bucket these are two
//! clients with pools of their own, so that downloads cannot starve a lease; elsewhere they are the same.
//!
//! Nothing is tried again here: what a failed call means is known to the protocol above only (a create
//! that failed may have happened).

use std::collections::BTreeMap;
use std::future::Future;
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{FutureExt as _, StreamExt as _};
use jiff::Timestamp;
use object_store::path::Path;
use object_store::{Error, GetOptions, GetResult, ObjectMeta, ObjectStore, PutMode, PutOptions, PutPayload};

use crate::clock::{Clock, DeadlinePassed};
use crate::model::ErrorClass;

/// How long a call for a small object may take where nobody says.
const SMALL: Duration = Duration::from_secs(10);

/// How long one step of a list, or the headers of a data object, may take.
const STEP: Duration = Duration::from_secs(15);

/// How long a small object may take on the data way.
const DATA: Duration = Duration::from_secs(60);

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
    /// The store said that it wrote an object, and has none.
    #[error("{key} was written and is not there")]
    Vanished {
        /// The object.
        key: String,
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
            Self::Late { .. } | Self::Vanished { .. } => ErrorClass::Retry,
            Self::TooLarge { .. } => ErrorClass::Stall,
        }
    }

    /// A stable word for labels.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::Failed { .. } if self.is_disk_full() => "DiskFull",
            Self::Failed { .. } => "StoreFailed",
            Self::Late { .. } => "StoreLate",
            Self::Vanished { .. } => "ObjectVanished",
            Self::TooLarge { .. } => "ObjectTooLarge",
        }
    }

    /// Whether the store said that there is no such object.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Failed { source: Error::NotFound { .. }, .. })
    }

    /// Whether the disk or the quota below a local store is used up.
    #[must_use]
    pub fn is_disk_full(&self) -> bool {
        let kinds = |kind| matches!(kind, ErrorKind::StorageFull | ErrorKind::QuotaExceeded);
        let mut errors = causes(self).filter_map(|cause| cause.downcast_ref::<std::io::Error>());
        errors.any(|error| kinds(error.kind()))
    }
}

fn failed(action: &'static str, key: &Path, source: Error) -> CallError {
    CallError::Failed { action, key: key.to_string(), source }
}

/// An error and everything behind it.
pub(super) fn causes<'a>(
    error: &'a (dyn std::error::Error + 'static),
) -> impl Iterator<Item = &'a (dyn std::error::Error + 'static)> {
    std::iter::successors(Some(error), |error| {
        let error: &'a (dyn std::error::Error + 'static) = *error;
        error.source()
    })
}

/// What a store says of an object without its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listed {
    pub(super) key: Path,
    /// Length in bytes.
    pub(super) size: u64,
    /// When it was written, by the store's own clock.
    pub(super) modified: Timestamp,
}

impl From<ObjectMeta> for Listed {
    fn from(meta: ObjectMeta) -> Self {
        let modified = meta.last_modified;
        let nanosecond = i32::try_from(modified.timestamp_subsec_nanos()).unwrap_or_default();
        let modified = Timestamp::new(modified.timestamp(), nanosecond).unwrap_or_default();
        Self { key: meta.location, size: meta.size, modified }
    }
}

/// How a store is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// In this process or on this machine: what fails there fails again, and parts of one object take turns.
    Near,
    /// Over a network: connections break, and parts of one object go side by side.
    Far,
}

/// A store and the clock that its calls are measured with. Cheap to clone.
#[derive(Clone)]
pub(super) struct Calls {
    /// For records, hints and small objects.
    pub(super) store: Arc<dyn ObjectStore>,
    /// For blobs and lists.
    pub(super) data: Arc<dyn ObjectStore>,
    pub(super) clock: Clock,
    /// How long a call on `store` may take.
    pub(super) limit: Duration,
    pub(super) reach: Reach,
}

impl Calls {
    /// One near store for everything.
    pub(super) fn new(store: Arc<dyn ObjectStore>, clock: Clock) -> Self {
        Self { data: Arc::clone(&store), store, clock, limit: SMALL, reach: Reach::Near }
    }

    /// A far store by two clients; a call on `control` may take `limit`.
    pub(super) fn split(
        control: Arc<dyn ObjectStore>,
        data: Arc<dyn ObjectStore>,
        limit: Duration,
        clock: Clock,
    ) -> Self {
        Self { store: control, data, clock, limit, reach: Reach::Far }
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
            Ok(Err(source)) => Err(failed(action, key, source)),
            Err(source) => Err(CallError::Late { action, key: key.to_string(), source }),
        }
    }

    /// Opens a data object for reading.
    pub(super) async fn get(&self, key: &Path, options: GetOptions) -> Result<GetResult, CallError> {
        self.within(STEP, "read", key, self.data.get_opts(key, options)).await
    }

    /// Reads a whole small object; none where there is none.
    pub(super) async fn read_small(&self, key: &Path, limit: u64) -> Result<Option<Bytes>, CallError> {
        self.read_whole(&self.store, self.limit, key, limit).await
    }

    /// As [`Calls::read_small`] for an object of some megabytes that nobody waits for.
    pub(super) async fn read_data(&self, key: &Path, limit: u64) -> Result<Option<Bytes>, CallError> {
        self.read_whole(&self.data, DATA, key, limit).await
    }

    async fn read_whole(
        &self,
        store: &Arc<dyn ObjectStore>,
        time: Duration,
        key: &Path,
        limit: u64,
    ) -> Result<Option<Bytes>, CallError> {
        let got = self.within(time, "read", key, store.get_opts(key, GetOptions::default())).await;
        let result = match got {
            Err(error) if error.is_missing() => return Ok(None),
            other => other?,
        };
        let size = result.meta.size;
        if size > limit {
            return Err(CallError::TooLarge { key: key.to_string(), size, limit });
        }
        self.within(time, "read", key, result.bytes()).await.map(Some)
    }

    /// What is known of an object; none where there is none.
    pub(super) async fn head(&self, key: &Path) -> Result<Option<Listed>, CallError> {
        let options = GetOptions { head: true, ..GetOptions::default() };
        match self.within(self.limit, "look at", key, self.store.get_opts(key, options)).await {
            Ok(result) => Ok(Some(result.meta.into())),
            Err(error) if error.is_missing() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes a small object under a key that must not exist yet.
    pub(super) async fn create(&self, key: &Path, bytes: Bytes) -> Result<(), CallError> {
        self.write(&self.store, self.limit, key, bytes, PutMode::Create).await
    }

    /// Writes a small object, also over what is there.
    pub(super) async fn overwrite(&self, key: &Path, bytes: Bytes) -> Result<(), CallError> {
        self.write(&self.store, self.limit, key, bytes, PutMode::Overwrite).await
    }

    /// Writes a data object.
    pub(super) async fn put(
        &self,
        limit: Duration,
        key: &Path,
        bytes: impl Into<PutPayload>,
        mode: PutMode,
    ) -> Result<(), CallError> {
        self.write(&self.data, limit, key, bytes, mode).await
    }

    async fn write(
        &self,
        store: &Arc<dyn ObjectStore>,
        limit: Duration,
        key: &Path,
        bytes: impl Into<PutPayload>,
        mode: PutMode,
    ) -> Result<(), CallError> {
        let put = store.put_opts(key, bytes.into(), PutOptions::from(mode));
        self.within(limit, "write", key, put).await.map(drop)
    }

    /// Removes an object; where there is none, nothing is to be done.
    pub(super) async fn delete(&self, key: &Path) -> Result<(), CallError> {
        let keys = stream::iter([Ok(key.clone())]).boxed();
        let mut deleted = self.store.delete_stream(keys);
        let deletion = async { deleted.next().await.unwrap_or_else(|| Ok(key.clone())) };
        match self.within(self.limit, "delete", key, deletion).await {
            Err(error) if !error.is_missing() => Err(error),
            _ => Ok(()),
        }
    }

    /// The objects below a prefix (whole segments) whose keys come after `offset`, in no order that can be relied on. The
    /// stream ends with the first error.
    pub(super) fn list(
        &self,
        prefix: &Path,
        offset: Option<&Path>,
    ) -> BoxStream<'static, Result<Listed, CallError>> {
        let found = match offset {
            Some(offset) => self.data.list_with_offset(Some(prefix), offset),
            None => self.data.list(Some(prefix)),
        };
        let state = Some((self.clone(), prefix.clone(), found));
        stream::unfold(state, |state| async {
            let (calls, prefix, mut found) = state?;
            // Most of a page is there already. A deadline for each object of it would cost more than the object.
            let next = if let Some(next) = found.next().now_or_never() {
                next.transpose().map_err(|source| failed("list", &prefix, source))
            } else {
                let next = async { found.next().await.transpose() };
                calls.within(STEP, "list", &prefix, next).await
            };
            match next {
                Ok(None) => None,
                Ok(Some(meta)) => Some((Ok(meta.into()), Some((calls, prefix, found)))),
                Err(error) => Some((Err(error), None)),
            }
        })
        .boxed()
    }

    /// At most `most` of the objects below a prefix, the first ones in the order of keys after `offset`.
    pub(super) async fn page(
        &self,
        prefix: &Path,
        offset: Option<&Path>,
        most: usize,
    ) -> Result<Vec<Listed>, CallError> {
        let mut page = BTreeMap::new();
        let mut found = self.list(prefix, offset);
        while let Some(listed) = found.next().await {
            let listed = listed?;
            page.insert(listed.key.clone(), listed);
            // Buckets list in the order of keys; elsewhere everything has to be seen.
            if page.len() >= most && self.reach == Reach::Far {
                break;
            }
            if page.len() > most {
                page.pop_last();
            }
        }
        Ok(page.into_values().collect())
    }
}

#[cfg(test)]
mod tests {
    use object_store::local::LocalFileSystem;
    use object_store::memory::InMemory;

    use super::*;

    fn all() -> (tempfile::TempDir, Vec<Calls>) {
        let directory = tempfile::tempdir().unwrap();
        let local: Arc<dyn ObjectStore> =
            Arc::new(LocalFileSystem::new_with_prefix(directory.path()).unwrap());
        let memory: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let split = Calls::split(Arc::clone(&memory), memory, SMALL, Clock::system());
        (directory, vec![Calls::new(local, Clock::system()), split])
    }

    #[tokio::test]
    async fn objects_are_written_looked_at_listed_and_deleted() {
        let (_directory, all) = all();
        for calls in all {
            let key = |n: usize| Path::from(format!("v1/a/{n:04}"));
            for n in [3, 1, 4, 0, 2] {
                calls.overwrite(&key(n), Bytes::from(vec![0; n])).await.unwrap();
            }
            calls.overwrite(&Path::from("v1/ab/x"), Bytes::new()).await.unwrap();
            let page = calls.page(&Path::from("v1/a"), None, 3).await.unwrap();
            let keys = page.iter().map(|listed| (listed.key.clone(), listed.size)).collect::<Vec<_>>();
            assert_eq!(keys, [(key(0), 0), (key(1), 1), (key(2), 2)]);
            let rest = calls.page(&Path::from("v1/a"), Some(&key(2)), 100).await.unwrap();
            assert_eq!(rest.iter().map(|listed| listed.size).collect::<Vec<_>>(), [3, 4]);
            assert_eq!(calls.head(&key(4)).await.unwrap().unwrap(), rest[1]);
            calls.delete(&key(4)).await.unwrap();
            calls.delete(&key(4)).await.unwrap();
            assert_eq!(calls.head(&key(4)).await.unwrap(), None);
            assert_eq!(calls.read_data(&key(4), 9).await.unwrap(), None);
            assert!(matches!(calls.read_data(&key(3), 2).await, Err(CallError::TooLarge { size: 3, .. })));
            assert!(calls.create(&key(3), Bytes::new()).await.is_err());
        }
    }

    #[test]
    fn a_full_disk_is_known_by_its_cause() {
        let failed = |kind: ErrorKind| {
            let source = Error::Generic { store: "x", source: Box::new(std::io::Error::from(kind)) };
            CallError::Failed { action: "write", key: "k".into(), source }
        };
        assert_eq!(failed(ErrorKind::StorageFull).label(), "DiskFull");
        assert_eq!(failed(ErrorKind::QuotaExceeded).label(), "DiskFull");
        assert_eq!(failed(ErrorKind::PermissionDenied).label(), "StoreFailed");
    }
}
