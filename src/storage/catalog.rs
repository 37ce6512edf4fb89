//! The catalog: which package versions there are and where their bytes lie. One use of the record log, and never
//! trimmed: it is the audit trail, and what everything else can be rebuilt from.
//!
//! A package becomes visible by one record and by nothing else. The state is small: documents and files
//! are blobs, named here by digest, length and key. No lease is needed to publish; any instance may. What deletes
//! needs the lease, and a fence that tells the catalog which one is the newest.

mod compact;
mod members;
mod operation;
mod rejection;
mod rules;
mod shards;
mod state;

use std::sync::Arc;

pub use members::{MemberRef, Members};
pub use operation::{CatalogOperation, Copy, NewBlob, Publication};
pub use rejection::CatalogRejection;
pub use state::{BlobEntry, CatalogState, Moved, Origin, PackageEntry};

use super::records::{CommitError, Committed, Log, LogError, Names, Newer, Site};
use crate::model::{Coordinate, Epoch};

pub(super) const NAMES: Names =
    Names { log: "v1/catalog/log", snap: "v1/catalog/snap", hint: "v1/catalog/hint", retention: None };

type CommitResult = Result<Committed, CommitError<CatalogRejection>>;

/// The catalog of one registry.
pub struct Catalog(Log<CatalogState>);

impl Catalog {
    pub(super) async fn open(site: Site, registry: Option<&str>) -> Result<Self, LogError> {
        Log::open(site, NAMES, registry).await.map(Self)
    }

    /// The state as this instance knows it; [`Catalog::follow`] learns what others wrote.
    pub fn state(&self) -> Arc<CatalogState> {
        self.0.state()
    }

    /// The number of the last record known.
    pub fn seq(&self) -> u64 {
        self.0.seq()
    }

    /// The id of the registry, made when its storage was first used.
    pub fn registry(&self) -> &str {
        self.0.registry()
    }

    /// The record of a newer program that keeps this one from writing, if there is one.
    pub fn newer(&self) -> Option<Newer> {
        self.0.newer()
    }

    /// Reads what others wrote since; returns the number of the last record.
    ///
    /// # Errors
    /// When a record cannot be read or the chain is broken; the state stays where it was.
    pub async fn follow(&self) -> Result<u64, LogError> {
        self.0.follow().await
    }

    /// Whether publishing is possible at all, as far as is known without reading on.
    ///
    /// # Errors
    /// [`CommitError::ReadOnly`] or [`CommitError::Newer`].
    pub async fn writable(&self) -> Result<(), CommitError<CatalogRejection>> {
        self.0.writable().await
    }

    /// Makes a package version visible. Its blobs must have been put.
    ///
    /// # Errors
    /// See [`Log::commit`] and [`CatalogRejection`].
    pub async fn publish(&self, publication: Publication) -> CommitResult {
        self.commit(CatalogOperation::Published(publication)).await
    }

    /// Takes a package version away. Its bytes stay until they are collected.
    ///
    /// # Errors
    /// See [`Log::commit`] and [`CatalogRejection`].
    pub async fn unpublish(&self, coordinate: Coordinate) -> CommitResult {
        self.commit(CatalogOperation::Unpublished { coordinate }).await
    }

    /// Says something that any instance may say.
    ///
    /// # Errors
    /// See [`Log::commit`] and [`CatalogRejection`].
    pub async fn commit(&self, operation: CatalogOperation) -> CommitResult {
        self.0.commit(Epoch::default(), vec![operation]).await
    }

    /// Says what only the leader may say.
    ///
    /// # Errors
    /// See [`Log::commit`]; [`CatalogRejection::Fenced`] under any other lease than the one fenced last.
    pub async fn commit_as_leader(&self, epoch: Epoch, operations: Vec<CatalogOperation>) -> CommitResult {
        self.0.commit(epoch, operations).await
    }

    /// When a record was written; see [`Log::written_at`].
    pub(super) async fn written_at(&self, seq: u64) -> Result<i64, LogError> {
        self.0.written_at(seq).await
    }

    /// Writes snapshot and hint where they are due; see [`Log::tend`].
    ///
    /// # Errors
    /// When something could not be written; nothing depends on it.
    pub async fn tend(&self) -> Result<(), LogError> {
        self.0.tend().await
    }

    /// Writes a snapshot of the newest state; see [`Log::snapshot_now`].
    ///
    /// # Errors
    /// When it could not be written.
    pub async fn snapshot_now(&self) -> Result<u64, LogError> {
        self.0.snapshot_now().await
    }
}

#[cfg(test)]
mod tests;
