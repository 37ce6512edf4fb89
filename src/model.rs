//! Checked newtypes and the values that pass between stages. No I/O, no time, no randomness.
//!
//! Everything that crosses the border of two modules is defined here, so that a stage can be read,
//! tested and replaced by its types alone.

mod app;
mod app_id;
mod completeness;
mod condition;
mod content;
mod coordinate;
mod digest;
mod inventory;
pub mod marathon;
mod name;
mod observation;
mod outcome;
mod plan;
mod problem;
mod revision;
mod scheduler;
mod secret;
mod snapshot;
mod spelling;
mod unit;

pub use app::App;
pub use app_id::AppId;
pub use completeness::Completeness;
pub use condition::{Condition, ConditionStatus, UnitStatus};
pub use content::{
    Member, PackageContent, RESOURCE_REFERENCE, ResourceUri, resolve_references, resource_uris,
};
pub use coordinate::Coordinate;
pub use digest::{Digest, DigestHasher};
pub use inventory::{Failed, Good, Intent, IntentVerb, Inventory, Owned, Replaced, Rollout};
pub use name::{InvalidName, PackageName, PackageVersion, SourceName, UnitName};
pub use observation::{Observation, ObservedPackage};
pub use outcome::{ErrorClass, Outcome, OutcomeResult};
pub use plan::{
    Action, Blocked, BlockedReason, BookEntry, Cause, Change, Drift, Effect, Operation, Plan, Recreation,
    UnitPlan, UnitState, Waiting, WaitingReason, Warning,
};
pub use problem::Problem;
pub use revision::{Epoch, Revision};
pub use scheduler::{PlanElement, PlanProgress, SchedulerPlan};
pub use secret::Secret;
pub use snapshot::{FileContent, Snapshot, SnapshotFile, SnapshotPath};
pub use spelling::nearest;
pub use unit::{UnitId, UnitKind};
