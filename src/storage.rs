//! The registry's memory: packages and the controller's books, kept in an object store.
//!
//! ```text
//! v1/catalog/log/<20 digits>    records: which package versions there are       (catalog)
//! v1/control/log/<20 digits>    records: lease, accepted manifests, inventory   (control)
//! v1/blobs/sha256/<2 hex>/<64 hex>/<start>-<random>[.chunks]    the bytes        (blobs)
//! v1/uploads/<start>-<random>/{info,<20 digits>,outcome}    what comes in piece by piece    (uploads)
//! ```
//!
//! Both logs are uses of one protocol ([`records`]), which needs nothing of a store but create-if-absent.
//! What a local directory needs besides is in [`local`]. Nothing is visible before it is whole
//! ([`publish`]), and nothing is handed out that was not verified ([`blobs`]).

pub mod backend;
pub mod blobs;
pub mod catalog;
pub mod collect;
pub mod control;
pub mod copy;
pub mod directory;
pub mod gate;
pub mod lease;
pub mod local;
pub mod probe;
pub mod progress;
pub mod publish;
pub mod reading;
pub mod rebuild;
pub mod records;
pub mod scrub;
mod snapshots;
pub mod space;
pub mod spool;
pub mod uploads;

mod calls;
mod documents;
mod open;

mod listing;

#[cfg(test)]
mod aged;
#[cfg(test)]
pub(crate) mod faults;
#[cfg(test)]
mod sim;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use object_store::ObjectStore;
use object_store::memory::InMemory;
use serde_json::Value;
use tokio::sync::{Mutex, MutexGuard};

use crate::clock::{Clock, Entropy};
use crate::model::{Coordinate, ErrorClass};

pub use calls::CallError;
pub use open::Opening;

use backend::BackendError;
use blobs::{BlobError, Blobs};
use calls::Calls;
use catalog::Catalog;
use control::Control;
use documents::Documents;
use gate::Gate;
use local::{DirectoryLock, LocalError};
use open::Admission;
use probe::ProbeError;
use reading::ReadError;
use records::{Access, LogError, Site};

/// The storage of one registry.
pub struct Storage {
    /// The bytes.
    pub blobs: Blobs,
    /// The packages.
    pub catalog: Catalog,
    /// The controller's books.
    pub control: Control,
    documents: Documents,
    gate: Gate,
    admission: Option<Admission>,
    directory: Option<PathBuf>,
    clock: Clock,
    entropy: Entropy,
    calls: Calls,
    /// Held while a blob is put that only a control record will name, until that record stands; and while blobs
    /// that nobody names are deleted.
    accepting: Mutex<()>,
    /// Held for as long as this storage may write.
    lock: Option<DirectoryLock>,
}

/// Storage that cannot be used, or a document that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The directory cannot be used.
    #[error(transparent)]
    Local(#[from] LocalError),
    /// The bucket cannot be used.
    #[error(transparent)]
    Bucket(Box<BackendError>),
    /// Whether the bucket can be used could not be found out.
    #[error("cannot find out whether the bucket can be used")]
    Probe(#[source] ProbeError),
    /// The bucket does not keep what is needed.
    #[error(
        "this bucket cannot be used as storage: {reason}; use another server, or promise with unsafeSingleWriter \
         that only one instance runs"
    )]
    Unfit {
        /// What it does not keep.
        reason: String,
    },
    /// A log cannot be used.
    #[error("cannot open the storage")]
    Open(#[source] LogError),
    /// The bytes of a document cannot be read.
    #[error("cannot read the metadata of {coordinate}")]
    Document {
        /// Which package.
        coordinate: Coordinate,
        /// Why not.
        #[source]
        source: ReadError,
    },
    /// An accepted snapshot was not kept.
    #[error("the accepted manifest was not kept")]
    SnapshotNotKept(#[source] BlobError),
    /// The catalog could not be read.
    #[error("cannot read the catalog")]
    Follow(#[source] LogError),
    /// The bytes of an accepted snapshot cannot be read.
    #[error("cannot read the last accepted manifest")]
    Snapshot(#[source] BlobError),
    /// An accepted snapshot is not what was stored.
    #[error("the last accepted manifest cannot be understood")]
    SnapshotNotJson(#[source] serde_json::Error),
    /// A document is not JSON, though its bytes are those that were stored.
    #[error("the metadata of {coordinate} is not JSON")]
    NotJson {
        /// Which package.
        coordinate: Coordinate,
        /// Where.
        #[source]
        source: serde_json::Error,
    },
}

impl From<BackendError> for StorageError {
    fn from(error: BackendError) -> Self {
        Self::Bucket(Box::new(error))
    }
}

impl StorageError {
    /// What to do about it.
    #[must_use]
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Local(error) => error.class(),
            Self::Bucket(error) => error.class(),
            Self::Probe(error) => error.class(),
            Self::Unfit { .. } => ErrorClass::Fatal,
            Self::Open(error) | Self::Follow(error) => error.class(),
            Self::Document { source, .. } => source.class(),
            Self::Snapshot(source) | Self::SnapshotNotKept(source) => source.class(),
            Self::NotJson { .. } | Self::SnapshotNotJson(_) => ErrorClass::Stall,
        }
    }

    /// A stable word for labels.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::Local(error) => error.label(),
            Self::Bucket(error) => error.label(),
            Self::Probe(error) => error.label(),
            Self::Unfit { .. } => "StoreUnfit",
            Self::Open(error) | Self::Follow(error) => error.label(),
            Self::Document { source, .. } => source.label(),
            Self::Snapshot(source) | Self::SnapshotNotKept(source) => source.label(),
            Self::NotJson { .. } => "DocumentNotJson",
            Self::SnapshotNotJson(_) => "SnapshotNotJson",
        }
    }
}

impl Storage {
    /// Opens a directory for writing, creating it where there is none. Waits at most `lock_wait` for another
    /// process to end.
    ///
    /// # Errors
    /// When the directory cannot be used (nothing in it was changed) or its logs cannot be read.
    pub async fn open_local(
        directory: &Path,
        lock_wait: Duration,
        clock: Clock,
        entropy: Entropy,
    ) -> Result<Self, StorageError> {
        let (store, lock) = local::open(directory, lock_wait, &clock).await?;
        Self::join(Arc::new(store), Access::ReadWrite, Some(lock), clock, entropy).await
    }

    /// Opens a directory for reading, beside whoever writes to it. Commits and publishing are refused.
    ///
    /// # Errors
    /// When there is no storage, or it cannot be read.
    pub async fn open_local_read_only(
        directory: &Path,
        clock: Clock,
        entropy: Entropy,
    ) -> Result<Self, StorageError> {
        let store = local::open_read_only(directory).await?;
        Self::join(Arc::new(store), Access::ReadOnly, None, clock, entropy).await
    }

    /// Opens storage for writing in any store; what excludes other writers is the caller's concern.
    ///
    /// # Errors
    /// When the logs cannot be read or begun.
    pub async fn open(
        store: Arc<dyn ObjectStore>,
        clock: Clock,
        entropy: Entropy,
    ) -> Result<Self, StorageError> {
        Self::join(store, Access::ReadWrite, None, clock, entropy).await
    }

    /// Opens storage in memory, which is gone with the process: for tests of what stands above it.
    ///
    /// # Errors
    /// As [`Storage::open`].
    pub async fn in_memory(clock: Clock, entropy: Entropy) -> Result<Self, StorageError> {
        Self::open(Arc::new(InMemory::new()), clock, entropy).await
    }

    async fn join(
        store: Arc<dyn ObjectStore>,
        access: Access,
        lock: Option<DirectoryLock>,
        clock: Clock,
        entropy: Entropy,
    ) -> Result<Self, StorageError> {
        let (lock_wait, call_timeout) = (Duration::ZERO, Duration::ZERO);
        let calls = Calls::new(store, clock.clone());
        let opening = Opening { instance: entropy.nonce(), lock_wait, call_timeout, clock, entropy };
        let mut storage = Self::assemble(calls, access, Gate::default(), &opening).await?;
        storage.lock = lock;
        Ok(storage)
    }

    async fn assemble(
        calls: Calls,
        access: Access,
        gate: Gate,
        opening: &Opening,
    ) -> Result<Self, StorageError> {
        Self::assemble_kept(calls, access, gate, opening, control::RETENTION).await
    }

    /// The same where records of the control log are kept for another time.
    async fn assemble_kept(
        calls: Calls,
        access: Access,
        gate: Gate,
        opening: &Opening,
        retention: Duration,
    ) -> Result<Self, StorageError> {
        let Opening { instance, clock, entropy, .. } = opening.clone();
        let (author, by_leader_only) = (instance, true);
        let site =
            Site { calls: calls.clone(), entropy: entropy.clone(), author, access, gate, by_leader_only };
        let catalog = Catalog::open(site.clone(), None).await.map_err(StorageError::Open)?;
        let control = Site { by_leader_only: false, ..site.clone() };
        let control = Control::open(control, catalog.registry(), retention).await;
        let control = control.map_err(StorageError::Open)?;
        let blobs = Blobs::new(calls.clone(), entropy.clone());
        let documents = Documents::default();
        let (admission, directory, lock, accepting) = (None, None, None, Mutex::default());
        Ok(Self {
            blobs,
            catalog,
            control,
            documents,
            gate: site.gate,
            admission,
            directory,
            clock,
            entropy,
            calls,
            accepting,
            lock,
        })
    }

    /// Whether nobody else can write here for as long as this process lives.
    #[must_use]
    pub fn is_exclusive(&self) -> bool {
        self.lock.is_some()
    }

    /// Whether the operator's word stands in for a store that orders writers.
    fn is_shared_on_trust(&self) -> bool {
        matches!(self.writing(), gate::Writing::SingleWriter { .. })
    }

    /// Whether what is written now lies where it is found again. Whoever is about to act asks this first.
    ///
    /// # Errors
    /// [`LocalError::Gone`].
    pub fn check(&self) -> Result<(), LocalError> {
        self.lock.as_ref().map_or(Ok(()), DirectoryLock::check)
    }

    /// Removes what a crash of an earlier process left half written among the blobs of a directory; a bucket has no
    /// such things. May be dropped at any time.
    ///
    /// # Errors
    /// When something cannot be looked at or removed, or a link lies there.
    pub async fn sweep(&self) -> Result<(), LocalError> {
        match &self.lock {
            Some(lock) => lock.sweep().await,
            None => Ok(()),
        }
    }

    /// Waits for the turn to put a blob that only a control record will name. To be held until that record stands,
    /// because collection knows such a blob by that record.
    pub async fn accepting(&self) -> MutexGuard<'_, ()> {
        self.accepting.lock().await
    }

    /// The metadata document of a package; none where the package is not published. Documents read lately
    /// are held in memory.
    ///
    /// # Errors
    /// When its bytes cannot be read or are damaged.
    pub async fn document(&self, coordinate: &Coordinate) -> Result<Option<Arc<Value>>, StorageError> {
        let state = self.catalog.state();
        let Some(entry) = state.entry(coordinate) else { return Ok(None) };
        if let Some(document) = self.documents.get(&entry.document) {
            return Ok(Some(document));
        }
        let read = self.read_all(&entry.document, publish::DOCUMENT_LIMIT).await;
        let bytes =
            read.map_err(|source| StorageError::Document { coordinate: coordinate.clone(), source })?;
        let document: Arc<Value> = serde_json::from_slice(&bytes)
            .map(Arc::new)
            .map_err(|source| StorageError::NotJson { coordinate: coordinate.clone(), source })?;
        self.documents.insert(entry.document, bytes.len() as u64, Arc::clone(&document));
        Ok(Some(document))
    }
}
