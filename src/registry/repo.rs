//! The repository document that Cosmos reads (`GET /repo`).
//!
//! Cosmos fetches it whole, every minute and per user, takes nothing but 200, and drops a cluster's whole
//! catalog when one entry is wrong (`UniverseClient.scala`). So it is built once per change of the catalog from
//! definitions that were validated when they were published, and kept packed; the plain form is unpacked
//! while it is sent.
//!
//! It is built by a worker, so that what was read is not lost with the request that asked for it. While the store
//! does not answer, the last whole document is given out, and said to be an old one.

mod document;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::join_all;
use serde_json::Value;
use tokio::sync::watch;

use document::Packer;
pub use document::RepoDocument;

use super::RegistryError;
use crate::clock::Clock;
use crate::model::resolve_references;
use crate::storage::catalog::PackageEntry;
use crate::storage::reading::ReadError;
use crate::storage::{Storage, StorageError};
use crate::telemetry::chain;
use crate::universe::{PackageDefinition, RepoFormat, ascii_json};
use crate::workers::Workers;

/// How long a request waits for a new document where an older one can be given instead.
const PATIENCE: Duration = Duration::from_secs(3);

/// How long it waits for the first one.
const FIRST: Duration = Duration::from_secs(20);

/// How many definitions are read at a time.
const READS: usize = 16;

/// Picks the format from an `Accept` header: the highest of the versions named; v5 where none is.
///
/// This is the negotiation of the public Universe server
/// (`docker/server/nginx/…/universe.marathon.mesos.conf` of mesosphere/universe).
#[must_use]
pub fn negotiate(accept: Option<&str>) -> RepoFormat {
    let named = |version: &str| {
        let ranges = accept.unwrap_or_default().split(',');
        let mut of_repo = ranges.filter(|range| range.contains("application/vnd.dcos.universe.repo+json"));
        of_repo.any(|range| range.split(';').any(|parameter| parameter.trim() == version))
    };
    if named("version=v5") {
        RepoFormat::V5
    } else if named("version=v4") {
        RepoFormat::V4
    } else if named("version=v3") {
        RepoFormat::V3
    } else {
        RepoFormat::V5
    }
}

/// The media type of a format, spelled as Cosmos compares it.
#[must_use]
pub fn media_type(format: RepoFormat) -> &'static str {
    match format {
        RepoFormat::V3 => "application/vnd.dcos.universe.repo+json;charset=utf-8;version=v3",
        RepoFormat::V4 => "application/vnd.dcos.universe.repo+json;charset=utf-8;version=v4",
        RepoFormat::V5 => "application/vnd.dcos.universe.repo+json;charset=utf-8;version=v5",
    }
}

/// A document, and whether it is what the catalog says now.
#[derive(Debug, Clone)]
pub struct Served {
    /// The document.
    pub document: RepoDocument,
    /// Whether it lacks something, because the store did not bring it.
    pub stale: bool,
}

/// What a worker built.
#[derive(Debug, Clone)]
struct Built {
    /// The catalog has been read at least so far.
    seq: u64,
    document: RepoDocument,
    /// Whether every definition that can be had is in it.
    whole: bool,
}

/// What came of a worker; none while it works.
type Outcome = Option<Result<Built, Arc<std::io::Error>>>;

/// One format: the last whole document, a later one that lacks something, and the worker that builds the next.
#[derive(Default)]
struct Slot {
    whole: Option<Built>,
    partial: Option<Built>,
    building: Option<watch::Receiver<Outcome>>,
}

impl Slot {
    fn has_any(&self) -> bool {
        self.whole.is_some() || self.partial.is_some()
    }

    fn put(&mut self, built: Built) {
        if built.whole {
            (self.whole, self.partial) = (Some(built), None);
        } else {
            self.partial = Some(built);
        }
    }
}

/// The repository documents of one registry, built when they are asked for and the catalog has moved.
#[derive(Clone)]
pub struct Repo(Arc<Inner>);

struct Inner {
    storage: Arc<Storage>,
    public_url: String,
    clock: Clock,
    workers: Workers,
    slots: [Mutex<Slot>; 3],
}

impl Repo {
    /// The documents of a storage, with URIs below the public URL (no slash at its end).
    #[must_use]
    pub fn new(storage: Arc<Storage>, public_url: &str, clock: Clock, workers: Workers) -> Self {
        let public_url = public_url.to_owned();
        Self(Arc::new(Inner { storage, public_url, clock, workers, slots: Default::default() }))
    }

    /// The document in one format, as of now. `fresh` says whether the store brought the newest state of the catalog
    /// just now: if so, a definition that it does not bring is missing alone, and the document is given without it;
    /// if not, the last whole document is better.
    ///
    /// # Errors
    /// When there is no document, and the store does not answer soon; or when none can be packed.
    pub async fn document(&self, format: RepoFormat, fresh: bool) -> Result<Served, RegistryError> {
        let patience = if self.0.slot(format).has_any() { PATIENCE } else { FIRST };
        let now = match self.0.clock.timeout(patience, self.current(format)).await {
            Ok(built) => {
                let Built { document, whole, .. } = built?;
                if whole {
                    return Ok(Served { document, stale: false });
                }
                Ok(document)
            }
            Err(passed) => Err(RegistryError::NotBuilt(passed)),
        };
        let slot = self.0.slot(format);
        let Slot { whole, partial, .. } = &*slot;
        let chosen =
            if fresh { partial.as_ref().or(whole.as_ref()) } else { whole.as_ref().or(partial.as_ref()) };
        let document = chosen.map_or(now, |built| Ok(built.document.clone()))?;
        Ok(Served { document, stale: true })
    }

    /// Waits for a document that is no older than this call.
    async fn current(&self, format: RepoFormat) -> Result<Built, RegistryError> {
        let wanted = self.0.storage.catalog.seq();
        loop {
            let mut building = {
                let mut slot = self.0.slot(format);
                match &slot.whole {
                    Some(built) if built.seq >= wanted => return Ok(built.clone()),
                    // What lacks something is tried again by whoever comes.
                    _ => self.building(format, &mut slot),
                }
            };
            let Ok(outcome) = building.wait_for(Option::is_some).await.map(|outcome| outcome.clone()) else {
                // The process is about to end.
                return std::future::pending().await;
            };
            match outcome.transpose().map_err(RegistryError::Pack)? {
                Some(built) if built.seq >= wanted => return Ok(built),
                // It was begun before this call.
                _ => {}
            }
        }
    }

    /// The worker that builds the document; one is begun unless it is under way.
    fn building(&self, format: RepoFormat, slot: &mut Slot) -> watch::Receiver<Outcome> {
        let running = |building: &&watch::Receiver<Outcome>| {
            building.borrow().is_none() && building.has_changed().is_ok()
        };
        if let Some(building) = slot.building.as_ref().filter(running) {
            return building.clone();
        }
        let (done, building) = watch::channel(None);
        slot.building = Some(building.clone());
        let (inner, stop) = (Arc::clone(&self.0), self.0.workers.stop_signal());
        self.0.workers.spawn("repo", async move {
            let built = tokio::select! {
                () = stop.cancelled() => return,
                built = inner.build(format) => built,
            };
            if let Ok(built) = &built {
                inner.slot(format).put(built.clone());
            }
            done.send_replace(Some(built.map_err(Arc::new)));
        });
        building
    }
}

impl Inner {
    fn slot(&self, format: RepoFormat) -> MutexGuard<'_, Slot> {
        let slot = match format {
            RepoFormat::V3 => &self.slots[0],
            RepoFormat::V4 => &self.slots[1],
            RepoFormat::V5 => &self.slots[2],
        };
        slot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Builds a document. A damaged definition is left out and reported: with an error Cosmos would drop all packages
    /// of the cluster, and not this one only.
    async fn build(&self, format: RepoFormat) -> std::io::Result<Built> {
        let mut packer = Packer::new();
        packer.write("{\"packages\":[")?;
        let (mut first, mut whole) = (true, true);
        let (seq, state) = (self.storage.catalog.seq(), self.storage.catalog.state());
        let mut left_out = LeftOut::default();
        let entries: Vec<_> = state.packages().collect();
        for entries in entries.chunks(READS) {
            let read = join_all(entries.iter().map(|entry| self.entry(entry, format))).await;
            for (entry, read) in entries.iter().zip(read) {
                match read {
                    Ok(None) => {}
                    Ok(Some(json)) => {
                        packer.write(if std::mem::take(&mut first) { "" } else { "," })?;
                        packer.write(&ascii_json(&json))?;
                    }
                    // Taken away meanwhile; the next document is built without it anyway.
                    Err(_) if self.storage.catalog.state().entry(&entry.coordinate).is_none() => {}
                    Err(error) => {
                        whole &= is_damage(&error);
                        left_out.add(error);
                    }
                }
            }
            // Packing takes long, and what is held in memory is there at once.
            tokio::task::yield_now().await;
        }
        left_out.report();
        packer.write("]}")?;
        Ok(Built { seq, document: packer.finish()?, whole })
    }

    async fn entry(&self, entry: &PackageEntry, format: RepoFormat) -> Result<Option<Value>, RegistryError> {
        let coordinate = &entry.coordinate;
        let missing = || RegistryError::Missing { coordinate: coordinate.clone() };
        let metadata = self.storage.document(coordinate).await?.ok_or_else(missing)?;
        let metadata = resolve_references(&metadata, coordinate, &self.public_url);
        let definition = PackageDefinition::from_metadata(&metadata, Some(entry.release_version))
            .map_err(|source| RegistryError::Document { coordinate: coordinate.clone(), source })?;
        Ok(definition.repo_entry(format))
    }
}

/// The definitions that are not in a document, reported together: in an outage that may be all of them.
#[derive(Default)]
struct LeftOut {
    first: Option<RegistryError>,
    count: u64,
}

impl LeftOut {
    fn add(&mut self, error: RegistryError) {
        self.first.get_or_insert(error);
        self.count += 1;
    }

    fn report(&self) {
        if let Some(first) = &self.first {
            let (count, first) = (self.count, chain(first));
            tracing::error!(count, first, "packages are left out of the repository document");
        }
    }
}

/// Whether an error stays until the catalog changes: a new copy of what is damaged comes with a record.
fn is_damage(error: &RegistryError) -> bool {
    let RegistryError::Storage(error) = error else { return true };
    let source = match error.as_ref() {
        StorageError::Document { source, .. } => source,
        StorageError::NotJson { .. } => return true,
        _ => return false,
    };
    matches!(source, ReadError::Damaged { .. })
}

#[cfg(test)]
mod tests;
