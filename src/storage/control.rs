//! The control log: who may act, what we own in the cluster, and what we were about to do.
//!
//! One use of the record log. Every operation here needs the lease: it stands in a record of the newest
//! epoch or is refused. On a local directory the file lock already excludes a second daemon, so its holder
//! acquires the next epoch at once.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::blobs::Blob;
use super::records::{CommitError, Committed, Log, LogError, Newer, Rejection, Site, State};
use crate::model::{AppId, Epoch, ErrorClass, Intent, Inventory, Owned, Revision, SourceName};

const FOLDER: &str = "v1/control/log";

/// How often taking over is tried while others take over too.
const ACQUIRE_TRIES: u32 = 8;

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
}

/// What the controller knows about itself.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ControlState {
    /// The newest lease.
    pub epoch: Epoch,
    /// The instance that holds it; none before the first and after a release.
    pub holder: Option<String>,
    /// Where the content of each source's accepted state is kept.
    pub snapshots: BTreeMap<SourceName, Blob>,
    /// Apps that are ours and writes without a known end.
    pub inventory: Inventory,
}

impl ControlState {
    fn settle(&mut self, app_id: &AppId, owned: Option<&Owned>) {
        self.inventory.intents.remove(app_id);
        match owned {
            Some(owned) => self.inventory.apps.insert(app_id.clone(), owned.clone()),
            None => self.inventory.apps.remove(app_id),
        };
    }
}

impl State for ControlState {
    type Operation = ControlOperation;
    type Rejection = ControlRejection;

    fn validate(&self, operation: &ControlOperation, epoch: Epoch) -> Result<(), ControlRejection> {
        if let ControlOperation::Acquired { epoch: wanted, .. } = operation {
            let next = Epoch(self.epoch.0 + 1);
            return if *wanted == next && epoch == next {
                Ok(())
            } else {
                Err(ControlRejection::EpochTaken { wanted: *wanted, newest: self.epoch })
            };
        }
        if epoch != self.epoch || self.holder.is_none() {
            return Err(ControlRejection::LeaseLost { held: epoch, newest: self.epoch });
        }
        match operation {
            ControlOperation::Released { epoch: named } if *named != epoch => {
                Err(ControlRejection::LeaseLost { held: *named, newest: self.epoch })
            }
            ControlOperation::Intent { intent, .. } if intent.epoch != epoch => {
                Err(ControlRejection::LeaseLost { held: intent.epoch, newest: self.epoch })
            }
            _ => Ok(()),
        }
    }

    fn apply(&mut self, _seq: u64, operation: &ControlOperation) {
        match operation {
            ControlOperation::Acquired { epoch, holder } => {
                self.epoch = *epoch;
                self.holder = Some(holder.clone());
            }
            ControlOperation::Released { .. } => self.holder = None,
            ControlOperation::SnapshotAccepted { source, revision, snapshot } => {
                self.inventory.accepted.insert(source.clone(), revision.clone());
                match snapshot {
                    Some(blob) => self.snapshots.insert(source.clone(), *blob),
                    None => self.snapshots.remove(source),
                };
            }
            ControlOperation::Intent { app_id, intent } => {
                self.inventory.intents.insert(app_id.clone(), intent.clone());
            }
            ControlOperation::Done { app_id, owned } | ControlOperation::Adopted { app_id, owned } => {
                self.settle(app_id, Some(owned));
            }
            ControlOperation::Deleted { app_id } | ControlOperation::Forgotten { app_id } => {
                self.settle(app_id, None);
            }
            ControlOperation::Abandoned { app_id } => {
                self.inventory.intents.remove(app_id);
            }
        }
    }
}

/// Why a control record was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ControlRejection {
    /// The writer does not hold the newest lease.
    #[error("lease {held} is no longer in force, the newest is {newest}")]
    LeaseLost {
        /// The lease that the writer believes to hold.
        held: Epoch,
        /// The newest one.
        newest: Epoch,
    },
    /// Somebody else took the lease of that number.
    #[error("lease {wanted} cannot be taken, the newest is {newest}")]
    EpochTaken {
        /// The number wanted.
        wanted: Epoch,
        /// The newest one.
        newest: Epoch,
    },
}

impl Rejection for ControlRejection {
    fn class(&self) -> ErrorClass {
        ErrorClass::Wait
    }

    fn label(&self) -> &'static str {
        match self {
            Self::LeaseLost { .. } => "LeaseLost",
            Self::EpochTaken { .. } => "EpochTaken",
        }
    }
}

/// The control log of one registry.
pub struct Control {
    log: Log<ControlState>,
    holder: String,
}

impl Control {
    pub(super) async fn open(site: Site, registry: &str) -> Result<Self, LogError> {
        let holder = site.author.clone();
        let log = Log::open(site, FOLDER, Some(registry)).await?;
        Ok(Self { log, holder })
    }

    /// The state as this instance knows it; [`Control::follow`] learns what others wrote.
    pub fn state(&self) -> Arc<ControlState> {
        self.log.state()
    }

    /// The number of the last record known.
    pub fn seq(&self) -> u64 {
        self.log.seq()
    }

    /// The record of a newer program that keeps this one from writing, if there is one.
    pub fn newer(&self) -> Option<Newer> {
        self.log.newer()
    }

    /// Reads what others wrote since; returns the number of the last record.
    ///
    /// # Errors
    /// When a record cannot be read or the chain is broken; the state stays where it was.
    pub async fn follow(&self) -> Result<u64, LogError> {
        self.log.follow().await
    }

    /// Takes the lease at once, from whoever holds it. Only the holder of a local directory's lock may.
    ///
    /// # Errors
    /// See [`Log::commit`].
    pub async fn acquire(&self) -> Result<Epoch, CommitError<ControlRejection>> {
        for _ in 0..ACQUIRE_TRIES {
            let epoch = Epoch(self.state().epoch.0 + 1);
            let operation = ControlOperation::Acquired { epoch, holder: self.holder.clone() };
            match self.log.commit(epoch, vec![operation]).await {
                // The refusal came with the newest state, so the next number is the right one.
                Err(CommitError::Rejected(ControlRejection::EpochTaken { .. })) => {}
                other => return other.map(|_| epoch),
            }
        }
        Err(CommitError::Contended { losses: ACQUIRE_TRIES })
    }

    /// Gives the lease back, so that the next holder need not wait.
    ///
    /// # Errors
    /// See [`Log::commit`].
    pub async fn release(&self, epoch: Epoch) -> Result<Committed, CommitError<ControlRejection>> {
        self.log.commit(epoch, vec![ControlOperation::Released { epoch }]).await
    }

    /// Writes operations under a lease as one record, all or none.
    ///
    /// # Errors
    /// See [`Log::commit`]; [`ControlRejection::LeaseLost`] when the lease is not the newest.
    pub async fn commit(
        &self,
        epoch: Epoch,
        operations: Vec<ControlOperation>,
    ) -> Result<Committed, CommitError<ControlRejection>> {
        self.log.commit(epoch, operations).await
    }
}

#[cfg(test)]
mod tests;
