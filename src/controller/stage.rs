//! The way from the source to an accepted desired state, and the last good one.
//!
//! A revision with any problem is rejected as a whole; what was accepted before stays in force. A source
//! that cannot be read changes nothing either.

use std::collections::BTreeMap;
use std::sync::Arc;

use tracing::warn;

use crate::bundle::{self, DescribedPackage};
use crate::controller::desired::{Desired, resolve};
use crate::manifest::{self, Manifest, Spec};
use crate::model::{
    Coordinate, PackageContent, Problem, Revision, Snapshot, SnapshotPath, SourceName, UnitId,
};
use crate::source::Source;
use crate::telemetry::chain;

/// A revision that is in force.
pub struct Accepted {
    /// The files that it was read from; their bytes are shared, so a copy costs little.
    pub snapshot: Snapshot,
    /// The desired state.
    pub desired: Desired,
    /// The packages that it was resolved with, and where their files are.
    pub packages: BTreeMap<Coordinate, Arc<DescribedPackage>>,
}

/// Reads one source and keeps the last good state.
pub struct Stage {
    source: Box<dyn Source>,
    seen: Option<Revision>,
    accepted: Option<Arc<Accepted>>,
    rejected: Vec<Problem>,
    unreadable: Option<Problem>,
}

impl Stage {
    /// A stage that has read nothing yet.
    #[must_use]
    pub fn new(source: Box<dyn Source>) -> Self {
        Self { source, seen: None, accepted: None, rejected: Vec::new(), unreadable: None }
    }

    /// Puts in force what was in force when the program last ran, until the source says something newer.
    pub fn restore(&mut self, snapshot: &Snapshot) {
        match accept(snapshot) {
            Ok(accepted) => self.accepted = Some(Arc::new(accepted)),
            Err(problems) => {
                let problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
                warn!(problems = problems.join("; "), "what was accepted before is not accepted any more");
            }
        }
    }

    /// What the source is called.
    #[must_use]
    pub fn source(&self) -> &SourceName {
        self.source.name()
    }

    /// What is in force.
    #[must_use]
    pub fn accepted(&self) -> Option<Arc<Accepted>> {
        self.accepted.clone()
    }

    /// Why something newer is not in force.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        self.unreadable.iter().chain(&self.rejected).cloned().collect()
    }

    /// Reads the source again, and accepts or rejects what is new there. Returns whether it could be read in full.
    pub async fn refresh(&mut self) -> bool {
        let snapshot = match self.source.snapshot().await {
            Ok(snapshot) => snapshot,
            Err(error) => {
                self.unreadable = Some(Problem::of_file(&SnapshotPath::root(), chain(&error)));
                return false;
            }
        };
        if let Some(reason) = snapshot.completeness.reason() {
            let message = format!("the source was not read in full: {reason}");
            self.unreadable = Some(Problem::of_file(&SnapshotPath::root(), message));
            return false;
        }
        self.unreadable = None;
        if self.seen.as_ref() == Some(&snapshot.revision) {
            return true;
        }
        match accept(&snapshot) {
            Ok(accepted) => {
                self.accepted = Some(Arc::new(accepted));
                self.rejected.clear();
            }
            Err(problems) => self.rejected = problems,
        }
        self.seen = Some(snapshot.revision.clone());
        true
    }
}

/// Parses, reads the packages, and resolves. All problems come together.
///
/// # Errors
/// Every problem found in any file.
pub fn accept(snapshot: &Snapshot) -> Result<Accepted, Vec<Problem>> {
    let (manifest, mut problems) = manifest::read(snapshot);
    let packages = describe_packages(snapshot, &manifest, &mut problems);
    let contents: BTreeMap<UnitId, Arc<PackageContent>> =
        packages.iter().map(|(id, package)| (id.clone(), Arc::new(package.content.clone()))).collect();
    let desired = resolve(&snapshot.source, &snapshot.revision, &manifest, &contents, problems)?;
    let by_coordinate = packages.into_values().map(|package| (package.content.coordinate.clone(), package));
    Ok(Accepted { snapshot: snapshot.clone(), desired, packages: by_coordinate.collect() })
}

fn describe_packages(
    snapshot: &Snapshot,
    manifest: &Manifest,
    problems: &mut Vec<Problem>,
) -> BTreeMap<UnitId, Arc<DescribedPackage>> {
    let mut packages = BTreeMap::new();
    for document in &manifest.units {
        let Spec::Package(spec) = &document.spec else { continue };
        match bundle::describe(snapshot, document, spec) {
            Ok(package) => {
                packages.insert(document.id.clone(), Arc::new(package));
            }
            Err(mut found) => problems.append(&mut found),
        }
    }
    packages
}

#[cfg(test)]
mod tests;
