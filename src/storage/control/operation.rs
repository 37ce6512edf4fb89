//! What a control record may say.

use serde::{Deserialize, Serialize};

use crate::model::{AppId, Epoch, Intent, Owned, Revision, SourceName};
use crate::storage::blobs::Blob;

/// What a control record may say.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum ControlOperation {
    /// An instance took the lease.
    Acquired {
        /// The lease's number, one more than the last.
        epoch: Epoch,
        /// The instance's id.
        holder: String,
        /// The last sign of life of the holder before: he must have given none since.
        after: u64,
    },
    /// The holder is alive.
    Renewed {
        /// The lease's number.
        epoch: Epoch,
    },
    /// The holder gave the lease back.
    Released {
        /// The lease's number.
        epoch: Epoch,
    },
    /// A state of a manifest is in force.
    SnapshotAccepted {
        /// Which source.
        source: SourceName,
        /// Which state of it.
        revision: Revision,
        /// Where its content is kept; none where it is too long for that.
        snapshot: Option<Blob>,
    },
    /// A write to an app is about to be sent.
    Intent {
        /// Which app.
        app_id: AppId,
        /// Which write.
        intent: Intent,
    },
    /// A create or update was acknowledged; the intent is settled.
    Done {
        /// Which app.
        app_id: AppId,
        /// What we own now.
        owned: Owned,
    },
    /// An app as it stands is ours from now on; an intent for it is settled.
    Adopted {
        /// Which app.
        app_id: AppId,
        /// What we own now.
        owned: Owned,
    },
    /// The change of an app of ours that was under way ended as it should.
    Confirmed {
        /// Which app.
        app_id: AppId,
    },
    /// A delete was acknowledged; the app is no longer ours and the intent is settled.
    Deleted {
        /// Which app.
        app_id: AppId,
    },
    /// An intent was not carried out.
    Abandoned {
        /// Which app.
        app_id: AppId,
    },
    /// An app that is gone is no longer ours; nothing was written to Marathon.
    Forgotten {
        /// Which app.
        app_id: AppId,
    },
    /// Somebody wants something of whoever leads. Any instance may say this, under no lease.
    Requested {
        /// A name for it, of the asker's making.
        id: String,
        /// What.
        request: Request,
    },
    /// A request was carried out or refused.
    Answered {
        /// The request's name.
        id: String,
        /// How it ended.
        answer: Answer,
    },
    /// The controller does nothing until it is resumed.
    Suspended {
        /// Who wanted it, and why, for people.
        reason: String,
    },
    /// The controller acts again.
    Resumed,
}

/// What an operator may want of whoever leads.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum Request {
    /// Look at everything now.
    Reconcile,
    /// Do nothing until resumed.
    Suspend {
        /// Why, for people.
        reason: String,
    },
    /// Act again.
    Resume,
    /// Collect what nothing references.
    Collect {
        /// Only say what would be deleted.
        dry_run: bool,
        /// Delete even if it is this many copies, beyond the share that is thought plausible.
        allow: Option<u64>,
    },
}

/// How a request ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Answer {
    /// Whether what was wanted was done.
    pub done: bool,
    /// The outcome in words.
    pub message: String,
    /// The outcome in data, where there is more to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<serde_json::Value>,
}
