//! Rebuilding: what is derived is written anew from the records alone, and the records are proved from the first on.
//!
//! Records are the only thing that counts and are never changed here. Where their chain is broken nothing is
//! guessed and nothing is written: the report says what is proved, what the records after the break claim, and which
//! documents of packages still lie in the store.

mod report;

#[cfg(test)]
mod tests;

use futures::TryStreamExt as _;
use serde_json::Value;

use super::calls::{CallError, Calls};
use super::catalog::{self, CatalogState};
use super::control::{self, ControlState};
use super::gate::Gate;
use super::listing::{BLOBS, BlobObject};
use super::open::reach;
use super::progress::{Progress, Unit};
use super::publish::DOCUMENT_LIMIT;
use super::records::{Access, Audit, LogError, Site, State, audit};
use super::{Opening, StorageError};
use crate::config::StorageSettings;
use crate::model::{Digest, ErrorClass};

pub use report::{FoundDocument, LogReport, RebuildReport, SnapshotReport};

/// The most blobs that are looked into for documents.
const LOOKS: usize = 2_000;

/// How a rebuild is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RebuildOptions {
    /// Only report.
    pub dry_run: bool,
    /// Report what would be left and what lost if the catalog ended before this record. Nothing is written then:
    /// records are the audit trail and are not cut off.
    pub truncate_at: Option<u64>,
}

/// A rebuild that could not be done.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    /// The back end cannot be used.
    #[error(transparent)]
    Open(#[from] StorageError),
    /// Not even the beginning of a log can be read, or the store fails.
    #[error("a log cannot be proved")]
    Log(#[from] LogError),
    /// The store could not be searched for documents.
    #[error("the store cannot be searched for documents")]
    Search(#[source] CallError),
}

impl RebuildError {
    /// What to do about it.
    #[must_use]
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Open(error) => error.class(),
            Self::Log(error) => error.class(),
            Self::Search(error) => error.class(),
        }
    }

    /// A stable word for labels.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::Open(error) => error.label(),
            Self::Log(error) => error.label(),
            Self::Search(error) => error.label(),
        }
    }
}

/// Proves both logs of a registry and writes anew what is derived from them. A directory must be in use by nobody;
/// on a bucket instances may be running meanwhile.
///
/// # Errors
/// See [`RebuildError`]. A broken chain is a result, not an error.
pub async fn rebuild(
    settings: &StorageSettings,
    opening: &Opening,
    options: &RebuildOptions,
    progress: &dyn Progress,
) -> Result<RebuildReport, RebuildError> {
    // The lock is held to the end.
    let (calls, _lock) = reach(settings, opening).await?;
    rebuild_in(calls, opening, options, progress).await
}

async fn rebuild_in(
    calls: Calls,
    opening: &Opening,
    options: &RebuildOptions,
    progress: &dyn Progress,
) -> Result<RebuildReport, RebuildError> {
    let site = Site {
        calls,
        entropy: opening.entropy.clone(),
        author: opening.instance.clone(),
        access: Access::ReadWrite,
        gate: Gate::default(),
        by_leader_only: false,
    };
    let stop = options.truncate_at;
    let catalog: Audit<CatalogState> = audit(&site, &catalog::NAMES, None, stop, progress).await?;
    let registry = Some(catalog.registry.as_str());
    let control: Audit<ControlState> = audit(&site, &control::NAMES, registry, None, progress).await?;
    let dry_run = options.dry_run || stop.is_some();
    let mut report = RebuildReport {
        dry_run,
        registry: catalog.registry.clone(),
        packages: catalog.state.version_count() as u64,
        catalog: log_report(catalog::NAMES.log, &catalog),
        control: log_report(control::NAMES.log, &control),
        documents: Vec::new(),
    };
    if !dry_run {
        if !report.catalog.is_broken() {
            catalog.rewrite(&site, &catalog::NAMES).await?;
            report.catalog.rewritten = true;
        }
        if !report.control.is_broken() {
            control.rewrite(&site, &control::NAMES).await?;
            report.control.rewritten = true;
        }
    }
    if report.catalog.broken_at.is_some() {
        report.documents = documents(&site.calls, &catalog.state, progress).await?;
    }
    Ok(report)
}

fn log_report<S: State>(folder: &str, audit: &Audit<S>) -> LogReport {
    let extent = &audit.extent;
    let snapshots = extent
        .snapshots
        .iter()
        .map(|(seq, verdict)| SnapshotReport { seq: *seq, wrong: verdict.as_ref().err().cloned() });
    let (broken_at, broken) = extent.broken.clone().unzip();
    LogReport {
        folder: folder.to_owned(),
        from: extent.from,
        proved: extent.proved,
        last: extent.last,
        broken_at,
        broken,
        newer: extent.newer.as_ref().map(ToString::to_string),
        snapshots: snapshots.collect(),
        claims: audit.claims.iter().map(|claim| report::claim(claim.seq, claim.operation.as_ref())).collect(),
        rewritten: false,
    }
}

/// Documents of packages among the blobs that the proved state does not name.
async fn documents(
    calls: &Calls,
    state: &CatalogState,
    progress: &dyn Progress,
) -> Result<Vec<FoundDocument>, RebuildError> {
    progress.begin("looking for documents", None, Unit::Objects);
    let mut listed = std::pin::pin!(calls.list(&BLOBS.into(), None));
    let mut found = Vec::new();
    let mut looks = 0;
    while let Some(meta) = listed.try_next().await.map_err(RebuildError::Search)? {
        progress.advance(1);
        let Some(object) = BlobObject::parse(&meta.key).filter(|object| !object.list) else { continue };
        if state.blob(&object.digest).is_some() || meta.size > DOCUMENT_LIMIT || looks == LOOKS {
            continue;
        }
        looks += 1;
        let read = calls.read_data(&meta.key, DOCUMENT_LIMIT).await.map_err(RebuildError::Search)?;
        found.extend(read.and_then(|bytes| document(object.digest, &bytes)));
    }
    found.sort();
    found.dedup();
    Ok(found)
}

/// A document of a package, if the bytes are one and are what their name says.
fn document(digest: Digest, bytes: &[u8]) -> Option<FoundDocument> {
    let document: Value = serde_json::from_slice(bytes).ok().filter(|_| Digest::of(bytes) == digest)?;
    let text = |field: &str| document.get(field)?.as_str().map(str::to_owned);
    Some(FoundDocument { name: text("name")?, version: text("version")?, digest })
}
