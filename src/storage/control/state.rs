//! What the records of the control log add up to, and which may follow.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use super::operation::{Answer, ControlOperation, Request};
use super::rejection::ControlRejection;
use crate::model::{AppId, Epoch, Inventory, Owned, SourceName};
use crate::storage::blobs::Blob;
use crate::storage::records::State;

/// How many requests may wait for whoever leads.
const MOST_REQUESTS: usize = 64;

/// How many answers are remembered.
const MOST_ANSWERS: usize = 64;

/// What the controller knows about itself.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ControlState {
    /// The newest lease.
    pub epoch: Epoch,
    /// The last record that stands under a lease: its holder's newest sign of life.
    pub signed: u64,
    /// The instance that holds it; none before the first and after a release.
    pub holder: Option<String>,
    /// Where the content of each source's accepted state is kept.
    pub snapshots: BTreeMap<SourceName, Blob>,
    /// Apps that are ours and writes without a known end.
    pub inventory: Inventory,
    /// Whether the controller must do nothing, and why.
    pub suspended: Option<Suspension>,
    /// What was asked for and not answered yet, oldest first.
    pub requests: VecDeque<Pending>,
    /// The last answers, oldest first.
    pub answers: VecDeque<(String, Answer)>,
}

/// Why the controller does nothing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Suspension {
    /// In words.
    pub reason: String,
    /// The record that said so.
    pub seq: u64,
}

/// A request without an answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Pending {
    /// Its name.
    pub id: String,
    /// What is wanted.
    pub request: Request,
}

impl ControlState {
    /// How a request ended, where it did and that is remembered.
    #[must_use]
    pub fn answer(&self, id: &str) -> Option<&Answer> {
        self.answers.iter().rev().find(|(of, _)| of == id).map(|(_, answer)| answer)
    }

    fn requested(&self, id: &str) -> Result<(), ControlRejection> {
        if self.requests.len() >= MOST_REQUESTS {
            return Err(ControlRejection::TooManyRequests { waiting: self.requests.len() });
        }
        let known = self.requests.iter().any(|pending| pending.id == id) || self.answer(id).is_some();
        if known { Err(ControlRejection::AskedBefore { id: id.to_owned() }) } else { Ok(()) }
    }

    fn answered(&mut self, id: &str, answer: &Answer) {
        self.requests.retain(|pending| pending.id != id);
        self.answers.push_back((id.to_owned(), answer.clone()));
        if self.answers.len() > MOST_ANSWERS {
            self.answers.pop_front();
        }
    }

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
        if let ControlOperation::Acquired { epoch: wanted, after, .. } = operation {
            let next = Epoch(self.epoch.0 + 1);
            return if *wanted != next || epoch != next {
                Err(ControlRejection::EpochTaken { wanted: *wanted, newest: self.epoch })
            } else if *after != self.signed {
                Err(ControlRejection::HolderAlive { after: *after, signed: self.signed })
            } else {
                Ok(())
            };
        }
        if let ControlOperation::Requested { id, .. } = operation {
            return self.requested(id);
        }
        if epoch != self.epoch || self.holder.is_none() {
            return Err(ControlRejection::LeaseLost { held: epoch, newest: self.epoch });
        }
        match operation {
            ControlOperation::Released { epoch: named } | ControlOperation::Renewed { epoch: named }
                if *named != epoch =>
            {
                Err(ControlRejection::LeaseLost { held: *named, newest: self.epoch })
            }
            ControlOperation::Intent { intent, .. } if intent.epoch != epoch => {
                Err(ControlRejection::LeaseLost { held: intent.epoch, newest: self.epoch })
            }
            _ => Ok(()),
        }
    }

    fn apply(&mut self, seq: u64, operation: &ControlOperation) {
        if !matches!(operation, ControlOperation::Requested { .. }) {
            self.signed = seq;
        }
        match operation {
            ControlOperation::Acquired { epoch, holder, .. } => {
                self.epoch = *epoch;
                self.holder = Some(holder.clone());
            }
            ControlOperation::Renewed { .. } => {}
            ControlOperation::Released { .. } => self.holder = None,
            ControlOperation::Requested { id, request } => {
                let pending = Pending { id: id.clone(), request: request.clone() };
                self.requests.push_back(pending);
            }
            ControlOperation::Answered { id, answer } => self.answered(id, answer),
            ControlOperation::Suspended { reason } => {
                self.suspended = Some(Suspension { reason: reason.clone(), seq });
            }
            ControlOperation::Resumed => self.suspended = None,
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
            ControlOperation::Confirmed { app_id } => {
                if let Some(owned) = self.inventory.apps.get_mut(app_id) {
                    owned.rollout = None;
                }
            }
            ControlOperation::Deleted { app_id } | ControlOperation::Forgotten { app_id } => {
                self.settle(app_id, None);
            }
            ControlOperation::Abandoned { app_id } => {
                self.inventory.intents.remove(app_id);
            }
        }
    }

    fn save(&self) -> Result<Vec<u8>, String> {
        serde_json::to_vec(self).map_err(|error| error.to_string())
    }

    fn load(bytes: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(bytes).map_err(|error| error.to_string())
    }
}
