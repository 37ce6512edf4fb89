//! The plan: what would be done, what would not, and why. A value; nothing here decides or acts.

use std::fmt;

use serde_json::Value;

use super::{App, AppId, Coordinate, Digest, Failed, Problem, Revision, UnitId};

/// What a change of an app does to its tasks (`isUpgrade` in Marathon's `AppDefinition.scala`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Effect {
    /// No task notices.
    None,
    /// Tasks are added or removed, none is replaced.
    Scale,
    /// All tasks are replaced, by the app's upgrade strategy.
    Restart,
    /// The app would have to be deleted and created; local data is lost.
    Recreate,
}

/// One field that differs.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    /// JSON pointer into the normalised app, such as `/env/WHO`.
    pub path: String,
    /// What is; none where it is absent.
    pub from: Option<Value>,
    /// What shall be; none where it shall be absent.
    pub to: Option<Value>,
}

/// Why an action is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Cause {
    /// It is desired and was never there.
    New,
    /// The desired state changed.
    Changed,
    /// The desired state did not change; somebody changed or removed the real thing.
    Drifted,
    /// It is no longer desired.
    Removed,
    /// It was begun before a crash and must be carried to its end.
    Resumed,
    /// A change came to its end.
    Ended,
    /// A change did not come to its end, and what was good before takes its place.
    RolledBack,
}

/// What is written into the inventory when an app was put.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BookEntry {
    /// The desired app, condensed; not what was sent, which also carries what the server owns.
    pub applied: App,
    /// Digest of the desired app.
    pub applied_digest: Digest,
    /// As [`super::Owned::inputs`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inputs: Option<Digest>,
    /// Whether the unit is protected.
    pub protect: bool,
    /// What failed, where this is put back in its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<Failed>,
}

/// A change that Marathon does not make in place.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Recreation {
    /// The full definition that is wanted, as for a POST: before anything is deleted Marathon must have nothing against it
    /// but that the app exists.
    pub app: App,
    /// The same, as for a PUT: Marathon must have nothing against it but the volumes.
    pub in_place: App,
    /// The full definition that is there, as for a POST: it comes back where the other one is refused all the same.
    pub former: App,
}

/// One thing to do, with all that doing it needs.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase", tag = "verb")]
pub enum Operation {
    /// Put a package version into the registry.
    #[serde(rename_all = "camelCase")]
    Publish {
        /// Name and version.
        coordinate: Coordinate,
        /// The package digest that must come out.
        digest: Digest,
        /// The release version that it gets.
        release_version: u64,
    },
    /// POST an app.
    #[serde(rename_all = "camelCase")]
    CreateApp {
        /// Its id.
        app_id: AppId,
        /// The full definition.
        app: App,
        /// What the inventory remembers of it.
        book: BookEntry,
    },
    /// PUT a full app over an existing one.
    #[serde(rename_all = "camelCase")]
    UpdateApp {
        /// Its id.
        app_id: AppId,
        /// The full definition.
        app: App,
        /// What the inventory remembers of it.
        book: BookEntry,
        /// The version that must still be there when the write starts.
        observed_version: String,
        /// What it does to the tasks.
        effect: Effect,
        /// Whether what is there is what was put there last, and was seen to run well: then it is what is put back if this
        /// fails.
        from_good: bool,
        /// The deployments that it cancels, by force; nothing is forced where there is none.
        cancels: Vec<String>,
    },
    /// PUT the scheduler of an SDK service as it is, with the word to uninstall: the first step of its removal.
    #[serde(rename_all = "camelCase")]
    UninstallApp {
        /// Its id.
        app_id: AppId,
        /// The full definition.
        app: App,
        /// The version that must still be there when the write starts.
        observed_version: String,
        /// The deployments that it cancels, by force; nothing is forced where there is none.
        cancels: Vec<String>,
    },
    /// DELETE an app.
    #[serde(rename_all = "camelCase")]
    DeleteApp {
        /// Its id.
        app_id: AppId,
        /// The version that must still be there when the write starts.
        observed_version: String,
        /// The deployments that it cancels, by force; nothing is forced where there is none.
        cancels: Vec<String>,
        /// What takes its place, where it is deleted to be created anew.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        recreation: Option<Box<Recreation>>,
    },
    /// Write into the inventory that an app as it stands is ours (a create whose answer was lost).
    #[serde(rename_all = "camelCase")]
    Adopt {
        /// Its id.
        app_id: AppId,
        /// What the inventory remembers of it.
        book: BookEntry,
        /// The version observed.
        observed_version: String,
        /// The deployment of ours that may still hold it.
        deployment: Option<String>,
    },
    /// Write into the inventory that the change under way ended as it should.
    #[serde(rename_all = "camelCase")]
    Confirm {
        /// The app.
        app_id: AppId,
    },
    /// Strike an app from the inventory that is gone and no longer desired.
    #[serde(rename_all = "camelCase")]
    Forget {
        /// Its id.
        app_id: AppId,
    },
}

impl Operation {
    /// A stable word for labels.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::Publish { .. } => "publish",
            Self::CreateApp { .. } => "create",
            Self::UpdateApp { .. } => "update",
            Self::UninstallApp { .. } => "uninstall",
            Self::DeleteApp { .. } => "delete",
            Self::Adopt { .. } => "adopt",
            Self::Confirm { .. } => "confirm",
            Self::Forget { .. } => "forget",
        }
    }

    /// The app that it touches.
    #[must_use]
    pub fn app_id(&self) -> Option<&AppId> {
        match self {
            Self::Publish { .. } => None,
            Self::CreateApp { app_id, .. }
            | Self::UpdateApp { app_id, .. }
            | Self::UninstallApp { app_id, .. }
            | Self::DeleteApp { app_id, .. }
            | Self::Adopt { app_id, .. }
            | Self::Confirm { app_id }
            | Self::Forget { app_id } => Some(app_id),
        }
    }

    /// Whether it touches nothing but our own books.
    #[must_use]
    pub fn is_bookkeeping(&self) -> bool {
        matches!(self, Self::Adopt { .. } | Self::Confirm { .. } | Self::Forget { .. })
    }
}

/// One step of the plan.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Action {
    /// For which unit.
    pub unit: UnitId,
    /// What to do.
    #[serde(flatten)]
    pub operation: Operation,
    /// Why.
    pub cause: Cause,
    /// The fields that differ, for updates and for deletions of what is created anew.
    pub changes: Vec<Change>,
    /// Indexes of the actions of this plan that must have been done before.
    pub after: Vec<usize>,
}

/// Which guard holds something back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub enum BlockedReason {
    /// The version is published with another digest; raise the version.
    VersionImmutable,
    /// The package cannot be rendered with these options.
    RenderFailed,
    /// Something was not read in full, so nothing may be removed.
    IncompleteObservation,
    /// Pruning is off for the source.
    PruneDisabled,
    /// More removals at once than the source allows.
    TooManyDeletions,
    /// The manifest is empty though we own apps.
    EmptyManifest,
    /// The app is protected.
    Protected,
    /// The source may not touch apps of this id.
    AppIdNotAllowed,
    /// An app of this id exists and is not ours.
    NotOwned,
    /// Two units claim one app id.
    AppIdConflict,
    /// Putting the same definition twice changed nothing, and it still differs.
    NotConvergent,
    /// The change would destroy the app's volumes.
    WouldRecreate,
    /// It was put there, failed, and what was good before was put back.
    RolledBack,
    /// The unit did not change, and another version of this program, or another Marathon, makes something else of it.
    RendererChanged,
    /// An SDK service is to be removed, and it is not known where Admin Router is.
    NoAdminRouter,
    /// An SDK service is desired and already uninstalls itself.
    Uninstalling,
}

impl BlockedReason {
    /// The word for conditions and labels.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::VersionImmutable => "VersionImmutable",
            Self::RenderFailed => "RenderFailed",
            Self::IncompleteObservation => "IncompleteObservation",
            Self::PruneDisabled => "PruneDisabled",
            Self::TooManyDeletions => "TooManyDeletions",
            Self::EmptyManifest => "EmptyManifest",
            Self::Protected => "Protected",
            Self::AppIdNotAllowed => "AppIdNotAllowed",
            Self::NotOwned => "NotOwned",
            Self::AppIdConflict => "AppIdConflict",
            Self::NotConvergent => "NotConvergent",
            Self::WouldRecreate => "WouldRecreate",
            Self::RolledBack => "RolledBack",
            Self::RendererChanged => "RendererChanged",
            Self::NoAdminRouter => "NoAdminRouter",
            Self::Uninstalling => "Uninstalling",
        }
    }
}

/// Something that is due and will not be done until a person or an input changes.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Blocked {
    /// Which unit.
    pub unit: UnitId,
    /// Coordinate or app id.
    pub target: String,
    /// Which guard.
    pub reason: BlockedReason,
    /// What a person can do.
    pub message: String,
}

/// What something waits for by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub enum WaitingReason {
    /// A unit it depends on is not ready.
    DependencyNotReady,
    /// Our own deployment is running.
    DeploymentRunning,
    /// A deployment that is not ours holds the app.
    ForeignDeployment,
    /// Marathon or the registry could not be read.
    NotObserved,
    /// The tasks are there and not healthy yet.
    NotHealthy,
    /// An SDK service uninstalls itself.
    Uninstalling,
}

impl WaitingReason {
    /// The word for conditions and labels.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::DependencyNotReady => "DependencyNotReady",
            Self::DeploymentRunning => "DeploymentRunning",
            Self::ForeignDeployment => "ForeignDeployment",
            Self::NotObserved => "NotObserved",
            Self::NotHealthy => "NotHealthy",
            Self::Uninstalling => "Uninstalling",
        }
    }
}

/// Something that is due and will be done as soon as something else is.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Waiting {
    /// Which unit.
    pub unit: UnitId,
    /// Coordinate or app id.
    pub target: String,
    /// For what.
    pub reason: WaitingReason,
    /// In words.
    pub message: String,
}

/// An app that differs though its desired state did not change.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Drift {
    /// Which unit.
    pub unit: UnitId,
    /// Which app.
    pub app_id: AppId,
    /// Where it differs; empty where it is gone, which is put right in every drift mode.
    pub changes: Vec<Change>,
    /// Whether the plan puts it right.
    pub corrected: bool,
}

/// Something that a person should know about a unit, and that neither holds anything back nor causes anything.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Warning {
    /// JSON pointer into the app that the unit's template gives; empty where it is about no one place.
    pub path: String,
    /// What is wrong and what to write instead.
    pub message: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() {
            f.write_str(&self.message)
        } else {
            write!(f, "{}: {}", self.path, self.message)
        }
    }
}

/// Where a unit stands as the plan sees it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase", tag = "state")]
pub enum UnitState {
    /// As desired, and healthy.
    Ready {
        /// In words.
        message: String,
    },
    /// An action of the plan, a running deployment or a wait leads there.
    Progressing {
        /// A stable word.
        reason: String,
        /// In words.
        message: String,
    },
    /// It does not get there by itself.
    Stalled {
        /// A stable word.
        reason: String,
        /// In words.
        message: String,
    },
    /// It could not be found out.
    Unknown {
        /// A stable word.
        reason: String,
        /// In words.
        message: String,
    },
}

/// One unit in the plan.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UnitPlan {
    /// Which unit.
    pub unit: UnitId,
    /// Coordinate or app id.
    pub target: String,
    /// Where it stands.
    #[serde(flatten)]
    pub state: UnitState,
    /// What its author should know, wherever it stands; few, and left out where there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Warning>,
}

/// The plan of one pass.
#[derive(Debug, Clone, PartialEq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// The manifest revision that it is made for; none before one was accepted.
    pub revision: Option<Revision>,
    /// Why a newer manifest is not in force; empty when the newest is.
    pub problems: Vec<Problem>,
    /// What is done, in order.
    pub actions: Vec<Action>,
    /// What is due and held back.
    pub blocked: Vec<Blocked>,
    /// What is due and waits.
    pub waiting: Vec<Waiting>,
    /// What somebody changed behind our back.
    pub drift: Vec<Drift>,
    /// Apps of the cluster that no unit owns.
    pub unmanaged: Vec<AppId>,
    /// All units, in the order of their keys.
    pub units: Vec<UnitPlan>,
}

impl Plan {
    /// Whether carrying it out would change anything outside our own books.
    #[must_use]
    pub fn has_changes(&self) -> bool {
        self.actions.iter().any(|action| !action.operation.is_bookkeeping())
    }
}
