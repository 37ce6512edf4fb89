//! The typed units of a manifest.

use std::fmt;
use std::time::Duration;

use serde_json::{Map, Value};

use super::graph::dependencies_first;
use super::lines::Lines;
use super::path::pointer_path;
use crate::model::{
    App, AppId, Digest, PackageName, PackageVersion, Problem, SnapshotPath, UnitId, UnitName,
};

/// All units of one snapshot: names unique, references resolved, free of cycles.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Manifest {
    /// The units, sorted by their keys.
    pub units: Vec<UnitDocument>,
}

impl Manifest {
    pub(super) fn new(mut units: Vec<UnitDocument>) -> Self {
        units.sort_by(|a, b| a.id.cmp(&b.id));
        Self { units }
    }

    /// The unit with that key.
    #[must_use]
    pub fn unit(&self, id: &UnitId) -> Option<&UnitDocument> {
        let index = self.units.binary_search_by(|unit| unit.id.cmp(id)).ok()?;
        self.units.get(index)
    }

    /// The units in an order in which each comes after those it depends on; the same for the same units.
    #[must_use]
    pub fn in_order(&self) -> Vec<&UnitDocument> {
        let edges = self.units.iter().map(|unit| (&unit.id, unit.depends_on.iter().collect())).collect();
        // A manifest with a cycle is never built.
        let order = dependencies_first(&edges).unwrap_or_default();
        order.into_iter().filter_map(|id| self.unit(id)).collect()
    }
}

/// Where a document stands.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The file, from the source's root.
    pub file: SnapshotPath,
    /// The line where the document begins, counted from 1.
    pub line: usize,
    /// Which document of the file, counted from 0.
    pub document: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// One document: a unit of the desired state.
#[derive(Debug, Clone, PartialEq)]
pub struct UnitDocument {
    /// Its key.
    pub id: UnitId,
    /// Where it stands.
    pub place: Place,
    /// What is desired.
    pub spec: Spec,
    pub(super) depends_on: Vec<UnitId>,
    pub(super) lines: Lines,
}

impl UnitDocument {
    /// The units that must be ready before this one, sorted: those of `dependsOn`, and a Service's Package.
    #[must_use]
    pub fn depends_on(&self) -> &[UnitId] {
        &self.depends_on
    }

    /// The line of a place such as `spec.options.cpus`, or of the nearest thing around it that is written
    /// in the document; none where not even the first word is.
    #[must_use]
    pub fn place_of(&self, path: &str) -> Option<usize> {
        self.lines.nearest(path)
    }

    /// A problem of this document: its file, and the line of the place.
    #[must_use]
    pub fn problem(&self, path: &str, message: impl Into<String>) -> Problem {
        let line = self.place_of(path).unwrap_or(self.place.line);
        Problem::of_file(&self.place.file, message).at_line(line).at_path(path)
    }

    /// A problem of an option, which is named by a JSON pointer into `spec.options` (empty: all of them).
    #[must_use]
    pub fn option_problem(&self, pointer: &str, message: impl Into<String>) -> Problem {
        self.problem(&pointer_path("spec.options", pointer), message)
    }
}

/// What a unit desires.
#[derive(Debug, Clone, PartialEq)]
pub enum Spec {
    /// A package version that the registry shall hold.
    Package(PackageSpec),
    /// An app rendered from a package.
    Service(ServiceSpec),
    /// A Marathon app written out.
    App(AppSpec),
}

impl Spec {
    /// How the app is looked after; none for packages.
    #[must_use]
    pub fn upkeep(&self) -> Option<&Upkeep> {
        match self {
            Self::Package(_) => None,
            Self::Service(service) => Some(&service.upkeep),
            Self::App(app) => Some(&app.upkeep),
        }
    }
}

/// `kind: Package`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageSpec {
    /// The package's name; `metadata.name` where `spec.name` is absent.
    pub name: PackageName,
    /// Its exact version.
    pub version: PackageVersion,
    /// The package directory, or a folder of release version folders, from the source's root. It is in
    /// the snapshot.
    pub directory: SnapshotPath,
    /// The package digest that must come out, if it is pinned.
    pub digest: Option<Digest>,
}

/// `kind: Service`.
#[derive(Debug, Clone, PartialEq)]
pub struct ServiceSpec {
    /// The Package unit (of the same source) whose version is followed.
    pub package: UnitName,
    /// The app's id; what the template says where it is absent.
    pub app_id: Option<AppId>,
    /// The options that differ from the package's defaults.
    pub options: Map<String, Value>,
    /// How the app is looked after.
    pub upkeep: Upkeep,
}

/// `kind: App`.
#[derive(Debug, Clone, PartialEq)]
pub struct AppSpec {
    /// The app's id.
    pub app_id: AppId,
    /// The Marathon app as written.
    pub app: App,
    /// How the app is looked after.
    pub upkeep: Upkeep,
}

/// How an app is looked after; the fields that Service and App share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upkeep {
    /// What to do when somebody else changes the app.
    pub drift: DriftPolicy,
    /// JSON pointers into the app that the manifest does not own.
    pub ignore: Vec<String>,
    /// Whether the app is never removed; remembered after the document is gone.
    pub protect: bool,
    /// How long the app may take to become healthy before it counts as stalled.
    pub wait: Duration,
    /// What to do when it does not become healthy in that time.
    pub on_failure: OnFailure,
    /// What to do when a deployment of somebody else holds the app.
    pub foreign_deployments: ForeignDeployments,
    /// Whether the app may be deleted with its volumes where a change cannot be made otherwise.
    pub recreate: Recreate,
    /// Whether the app shall be there.
    pub state: Presence,
}

/// What to do about drift.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DriftPolicy {
    /// Put it right.
    Enforce,
    /// Say so.
    Warn,
    /// Nothing.
    Off,
}

/// What to do about a change that does not come to run well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFailure {
    /// Leave it as it is, and say so.
    Hold,
    /// Put the last definition back that ran well.
    Rollback,
}

/// What to do when a deployment that we did not start holds an app that is to be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForeignDeployments {
    /// Wait until it is over.
    Wait,
    /// Cancel it by force. What it was doing stays half done, to other apps, too.
    Cancel,
}

/// What to do about a change that Marathon refuses because the app has persistent volumes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recreate {
    /// Not make it, and say so.
    Never,
    /// Delete the app, which destroys its volumes, and create it anew.
    Allowed,
}

/// Whether a thing shall be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// It shall be there.
    Present,
    /// It shall not be there.
    Absent,
}
