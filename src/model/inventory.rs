//! What the controller owns, and what it was about to do when it last wrote it down.

use std::collections::BTreeMap;

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
    /// The app version that Marathon answered.
    pub version: String,
    /// The deployment that Marathon answered.
    pub deployment: Option<String>,
    /// How often in a row the same body was put and Marathon changed nothing. Two means NotConvergent.
    pub unchanged_puts: u32,
    /// Never delete it, even after its document is gone.
    pub protect: bool,
}

/// What kind of write an intent announces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum IntentVerb {
    /// POST of a new app.
    Create,
    /// PUT over an existing one.
    Update,
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
    /// Digest of the desired app; for a delete of the last applied one.
    pub body: Digest,
    /// The desired app, condensed as in [`Owned::applied`]; for a delete what was last applied.
    pub applied: App,
    /// The app version observed before, empty for a create.
    pub observed_version: String,
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
