//! What is: Marathon's apps and the registry's packages, each with how complete the reading was.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;

use super::marathon::{Deployment, QueueItem};
use super::{App, AppId, Completeness, Coordinate, Digest, SchedulerPlan};

/// A published package version.
#[derive(Debug, Clone, PartialEq)]
pub struct ObservedPackage {
    /// Its package digest.
    pub digest: Digest,
    /// Its release version, fixed in the catalog.
    pub release_version: u64,
    /// Its metadata, loaded only where the desired state mentions the coordinate.
    pub metadata: Option<Arc<Value>>,
}

/// The world as read just now.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Observation {
    /// When the look began, by our wall clock. None where nobody looked; then nothing is too young to be trusted.
    pub looked_at: Option<Timestamp>,
    /// Whether all apps of the cluster were listed.
    pub marathon: Completeness,
    /// The apps, with counts, tasks and deployments embedded where the server gives them.
    pub apps: BTreeMap<AppId, App>,
    /// The server's version, where it tells.
    pub marathon_version: Option<String>,
    /// Where the server takes service ports from, where it tells.
    pub service_ports: Option<RangeInclusive<u16>>,
    /// The deployments under way; read only while an app of ours is held by one, and empty where that failed.
    pub deployments: Vec<Deployment>,
    /// What waits to be launched; read only while tasks of an app of ours are missing, and empty where that failed.
    pub queue: Vec<QueueItem>,
    /// Apps of ours as they were at their last good version, or why that could not be read; read only where
    /// that may be put back.
    pub former: BTreeMap<AppId, Result<App, String>>,
    /// Whether it is known where Admin Router is, so that schedulers of SDK services can be asked at all.
    pub admin_router: bool,
    /// What the schedulers of SDK services of ours say; only of those that uninstall or may still deploy something, and
    /// only what was answered in time.
    pub scheduler_plans: BTreeMap<AppId, SchedulerPlan>,
    /// Whether the catalog was read to its end.
    pub registry: Completeness,
    /// The published packages.
    pub packages: BTreeMap<Coordinate, ObservedPackage>,
}
