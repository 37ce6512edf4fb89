//! A folder on this machine as a source.
//!
//! Read are the manifests folder and the directories that its documents refer to, nothing else: the root
//! may be somebody's home. A changed state counts once two scans, a moment apart, have seen the same:
//! editors and scripts truncate a file before they write it again, and a manifest that is half written
//! may be valid and mean "remove the other half". Links are followed while they stay below the root.
//!
//! Files are found by asking again, not by watching; the caller decides how often.

mod read;
mod walk;

use std::collections::BTreeSet;
use std::io;
use std::mem;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;

use super::{Source, SourceError};
use crate::clock::Clock;
use crate::manifest;
use crate::model::{Completeness, DigestHasher, Revision, Snapshot, SnapshotPath, SourceName};
use read::{Cache, Reader};
use walk::Walk;

/// How far two scans that agree lie apart.
const SETTLE: Duration = Duration::from_millis(100);
/// How many scans are made for two that agree.
const SCANS: usize = 6;

/// What a source may hold.
#[derive(Clone, Copy)]
struct Bounds {
    /// How many files and folders.
    entries: usize,
    /// How many bytes of files are held in memory. Other files than documents may take half of it; those that
    /// do not fit stay on disk.
    inline: u64,
}

const BOUNDS: Bounds = Bounds { entries: 10_000, inline: 64 << 20 };

/// What is read.
#[derive(Clone)]
struct Folder {
    name: SourceName,
    root: PathBuf,
    manifests: SnapshotPath,
    bounds: Bounds,
}

/// A folder on this machine.
pub struct DirectorySource {
    folder: Folder,
    clock: Clock,
    cache: Cache,
    last: Option<Arc<Snapshot>>,
}

impl DirectorySource {
    /// A source whose documents may refer to anything below `root`, and whose documents lie in the folder
    /// `manifests` below it. Nothing is read yet.
    #[must_use]
    pub fn new(name: SourceName, root: PathBuf, manifests: SnapshotPath, clock: Clock) -> Self {
        let folder = Folder { name, root, manifests, bounds: BOUNDS };
        Self { folder, clock, cache: Cache::default(), last: None }
    }

    /// A source of the documents in a folder; they may refer to anything in the folder above it.
    ///
    /// # Errors
    /// When the folder is not there or cannot be read.
    pub fn of_folder(name: SourceName, folder: &Path, clock: Clock) -> Result<Self, SourceError> {
        let found = folder.canonicalize().map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => SourceError::Missing { path: folder.to_owned() },
            _ => SourceError::Read { path: folder.to_owned(), source },
        })?;
        let (root, last) = match (found.parent(), found.file_name()) {
            (Some(parent), Some(last)) => (parent.to_owned(), last.to_str()),
            _ => (found.clone(), Some("")),
        };
        let manifests = last.and_then(|last| SnapshotPath::root().join(last));
        let manifests = manifests.ok_or(SourceError::NotUnicode { path: found })?;
        Ok(Self::new(name, root, manifests, clock))
    }

    /// Reads everything once, on a thread that may block.
    async fn scan(&mut self) -> Result<Snapshot, SourceError> {
        let (folder, now, mut cache) = (self.folder.clone(), self.clock.boot(), mem::take(&mut self.cache));
        let work = move || (folder.scan(&mut cache, now), cache);
        let done = tokio::task::spawn_blocking(work).await;
        let interrupted = |_| SourceError::Interrupted { root: self.folder.root.clone() };
        let (snapshot, cache) = done.map_err(interrupted)?;
        self.cache = cache;
        snapshot
    }

    async fn settled(&mut self) -> Result<Arc<Snapshot>, SourceError> {
        let mut before = None;
        for attempt in 0..SCANS {
            if attempt > 0 {
                self.clock.sleep(SETTLE).await;
            }
            let seen = match self.scan().await {
                Ok(seen) => seen,
                Err(error) if passes(&error) && attempt + 1 < SCANS => continue,
                Err(error) => return Err(error),
            };
            if let Some(last) = self.last.as_ref().filter(|last| last.revision == seen.revision) {
                return Ok(Arc::clone(last));
            }
            if before.as_ref() == Some(&seen.revision) {
                let seen = Arc::new(seen);
                self.last = Some(Arc::clone(&seen));
                return Ok(seen);
            }
            before = Some(seen.revision);
        }
        Err(SourceError::Unsettled { root: self.folder.root.clone() })
    }
}

/// Whether an error may come from somebody who is writing at this moment.
fn passes(error: &SourceError) -> bool {
    match error {
        SourceError::Changing { .. } => true,
        SourceError::Read { source, .. } => source.kind() == io::ErrorKind::NotFound,
        _ => false,
    }
}

impl Source for DirectorySource {
    fn name(&self) -> &SourceName {
        &self.folder.name
    }

    fn snapshot(&mut self) -> BoxFuture<'_, Result<Arc<Snapshot>, SourceError>> {
        Box::pin(self.settled())
    }
}

impl Folder {
    /// One reading: the manifests first, then what they refer to.
    fn scan(&self, cache: &mut Cache, now: Duration) -> Result<Snapshot, SourceError> {
        let Self { root, manifests, bounds, .. } = self;
        let mut walk = Walk::new(root, bounds.entries)?;
        if !walk.enter(manifests)? {
            return Err(SourceError::Missing { path: root.join(manifests.as_str()) });
        }
        let mut reader = Reader::new(root, bounds.inline, cache, now);
        let mut files = reader.read(walk.take_files())?;
        let referenced: BTreeSet<SnapshotPath> = manifest::referenced_paths(&files, manifests);
        for path in &referenced {
            walk.enter(path)?;
        }
        let more = walk.take_files().into_iter().filter(|(path, _)| !files.contains_key(path)).collect();
        files.extend(reader.read(more)?);
        reader.forget_others();
        let mut hasher = DigestHasher::default();
        for (path, file) in &files {
            // Line breaks in a path are escaped, so that two different lists never look the same.
            hasher.update(format!("{path:?} {}\n", file.digest).as_bytes());
        }
        Ok(Snapshot {
            source: self.name.clone(),
            revision: Revision(hasher.finish().to_string()),
            completeness: Completeness::Complete,
            manifests: manifests.clone(),
            files,
        })
    }
}

#[cfg(test)]
mod tests;
