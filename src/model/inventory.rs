//! What the controller owns, and what it was about to do when it last wrote it down.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{App, AppId, Digest, Epoch, Revision, UnitId};

/// An app that we created or adopted.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Owned {
    /// The unit that asked for it.
    pub unit: UnitId,
    /// What we last wanted it to be, with texts above 256 characters replaced by their digests.
    /// The third side of the comparison; never sent again.
    pub applied: App,
    /// Digest of the same, uncut.
    pub applied_digest: Digest,
    /// Digest of what the unit consists of before it is rendered. Where it stays the same, another definition is the work of
    /// another version of this program, or of another Marathon. None in books of older programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inputs: Option<Digest>,
    /// The app version that Marathon answered.
    pub version: String,
    /// The deployment that Marathon answered.
    pub deployment: Option<String>,
    /// How often in a row the same body was put and Marathon changed nothing. Two means NotConvergent.
    pub unchanged_puts: u32,
    /// Never delete it, even after its document is gone.
    pub protect: bool,
    /// The change that is under way; none once it ended well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<Rollout>,
    /// What was put there before and failed, where the last good definition was put back instead of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<Failed>,
}

impl Owned {
    /// The last definition that was seen to run well: this one, or the one that the change under way began from.
    #[must_use]
    pub fn last_good(&self) -> Option<Good> {
        let own = || Good {
            version: self.version.clone(),
            applied: self.applied.clone(),
            applied_digest: self.applied_digest,
        };
        self.rollout.as_ref().map_or_else(|| Some(own()), |rollout| rollout.good.clone())
    }
}

/// A change of an app that Marathon took and whose end is not known yet.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rollout {
    /// When it was taken.
    pub since: Timestamp,
    /// The app version before; none where the app was created.
    pub from: Option<String>,
    /// Whether it was forced over other deployments.
    pub forced: bool,
    /// The last definition that was seen to run well; none where none was.
    pub good: Option<Good>,
}

/// A definition that was seen to run well.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Good {
    /// The app version under which Marathon keeps it.
    pub version: String,
    /// As [`Owned::applied`].
    pub applied: App,
    /// As [`Owned::applied_digest`].
    pub applied_digest: Digest,
}

/// A definition that did not come to run well and was taken back.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Failed {
    /// Digest of what was desired; it is not put there again as long as it stays the same.
    pub digest: Digest,
    /// What was wrong, for people.
    pub reason: String,
    /// Whether Marathon refused it after the app was deleted for it; else it was put there and did not run well.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub refused: bool,
}

/// What an app was that is deleted to be created anew.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Replaced {
    /// The full definition, as for a POST.
    pub app: App,
    /// What Marathon refused in its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<Failed>,
}

/// What kind of write an intent announces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum IntentVerb {
    /// POST of a new app.
    Create,
    /// PUT over an existing one.
    Update,
    /// PUT that lets an SDK service uninstall itself: the beginning of its removal.
    Uninstall,
    /// DELETE.
    Delete,
}

/// A write that was announced and not yet reported done.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Intent {
    /// For which unit.
    pub unit: UnitId,
    /// What was going to be done.
    pub verb: IntentVerb,
    /// Digest of the desired app; for a removal of the last applied one.
    pub body: Digest,
    /// The desired app, condensed as in [`Owned::applied`]; for a removal what was last applied.
    pub applied: App,
    /// As [`Owned::inputs`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inputs: Option<Digest>,
    /// The app version observed before, empty for a create.
    pub observed_version: String,
    /// As [`Owned::failed`], for a write that puts the last good definition back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<Failed>,
    /// What was there, from the deletion on until something is there again; none where that is too long to be written
    /// down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaced: Option<Replaced>,
    /// Under which lease.
    pub epoch: Epoch,
}

/// The controller's memory of the cluster.
#[derive(Debug, Clone, PartialEq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Inventory {
    /// The manifest revision last accepted, per source.
    pub accepted: BTreeMap<super::SourceName, Revision>,
    /// Apps that are ours.
    pub apps: BTreeMap<AppId, Owned>,
    /// Writes without a known end.
    pub intents: BTreeMap<AppId, Intent>,
}
