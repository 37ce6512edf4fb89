//! The controller's books: what it owns, what it was about to do, and the manifests that it accepted.

use super::packages::{Transfer, transfer};
use super::{CopyError, Work};
use crate::model::{AppId, Epoch, Intent, SourceName};
use crate::storage::Storage;
use crate::storage::control::{ControlOperation, ControlState};
use crate::storage::records::RECORD_LIMIT;
use crate::telemetry::chain;

/// How often the original's books are read anew because a manifest went while it was copied.
const ROUNDS: u32 = 4;

/// What makes the copy's books say what the original's do; the manifests come without their bytes.
pub(super) fn difference(from: &Storage, to: Option<&Storage>) -> Vec<ControlOperation> {
    let target = to.map(|to| to.control.state()).unwrap_or_default();
    let source = from.control.state();
    let mut operations = apps(&source, &target, Epoch::default());
    operations.extend(
        source.inventory.accepted.iter().filter(|(name, _)| !same(&source, &target, name)).map(
            |(name, revision)| {
                let (source, revision) = (name.clone(), revision.clone());
                ControlOperation::SnapshotAccepted { source, revision, snapshot: None }
            },
        ),
    );
    operations
}

/// Whether the books say the same of a source's accepted manifest; the copy has its bytes under another key.
fn same(source: &ControlState, target: &ControlState, name: &SourceName) -> bool {
    let digest = |state: &ControlState| state.snapshots.get(name).map(|blob| blob.digest);
    source.inventory.accepted.get(name) == target.inventory.accepted.get(name)
        && digest(source) == digest(target)
}

fn apps(source: &ControlState, target: &ControlState, epoch: Epoch) -> Vec<ControlOperation> {
    let (source, target) = (&source.inventory, &target.inventory);
    let mut operations = Vec::new();
    for (app_id, owned) in &source.apps {
        // Adopting settles an intent, so what is the same already is not said again.
        if target.apps.get(app_id) != Some(owned) {
            operations.push(ControlOperation::Adopted { app_id: app_id.clone(), owned: owned.clone() });
        }
    }
    for app_id in target.apps.keys().filter(|app_id| !source.apps.contains_key(*app_id)) {
        operations.push(ControlOperation::Forgotten { app_id: app_id.clone() });
    }
    let settled = operations.len();
    let is_settled = |app_id: &AppId, operations: &[ControlOperation]| {
        operations.iter().take(settled).any(|operation| {
            matches!(operation, ControlOperation::Adopted { app_id: of, .. }
                | ControlOperation::Forgotten { app_id: of } if of == app_id)
        })
    };
    for (app_id, intent) in &source.intents {
        let known = target
            .intents
            .get(app_id)
            .is_some_and(|known| Intent { epoch: intent.epoch, ..known.clone() } == *intent);
        if !known || is_settled(app_id, &operations) {
            let intent = Intent { epoch, ..intent.clone() };
            operations.push(ControlOperation::Intent { app_id: app_id.clone(), intent });
        }
    }
    for app_id in target.intents.keys().filter(|app_id| !source.intents.contains_key(*app_id)) {
        if !is_settled(app_id, &operations) {
            operations.push(ControlOperation::Abandoned { app_id: app_id.clone() });
        }
    }
    operations
}

impl Work<'_> {
    /// Makes the copy's books say what the original's do.
    pub(super) async fn books(&mut self) -> Result<(), CopyError> {
        super::relation::follow_original(self.from).await?;
        self.manifests().await?;
        let (source, target) = (self.from.control.state(), self.to.control.state());
        let operations = apps(&source, &target, self.tenure.epoch());
        self.report.books += operations.len() as u64;
        let mut record = Vec::new();
        let mut room = RECORD_LIMIT / 2;
        for operation in operations {
            let size = serde_json::to_vec(&operation).map_or(RECORD_LIMIT, |text| text.len());
            if size > room && !record.is_empty() {
                self.commit_control(std::mem::take(&mut record)).await?;
                room = RECORD_LIMIT / 2;
            }
            room = room.saturating_sub(size);
            record.push(operation);
        }
        if !record.is_empty() {
            self.commit_control(record).await?;
        }
        Ok(())
    }

    /// Carries over the accepted manifests with their bytes. Nobody collects meanwhile: that is for who holds the
    /// lease.
    async fn manifests(&mut self) -> Result<(), CopyError> {
        self.report.snapshots_lost.clear();
        let names: Vec<_> = self.from.control.state().inventory.accepted.keys().cloned().collect();
        for name in names {
            if let Some(accepted) = self.manifest(&name).await? {
                self.commit_control(vec![accepted]).await?;
                self.report.books += 1;
            }
        }
        Ok(())
    }

    /// What the copy's books are to say of a source's manifest, whose bytes are in the copy then; none where they say
    /// so already.
    async fn manifest(&mut self, name: &SourceName) -> Result<Option<ControlOperation>, CopyError> {
        let mut rounds = 0;
        loop {
            let state = self.from.control.state();
            let Some(revision) = state.inventory.accepted.get(name).cloned() else { return Ok(None) };
            if same(&state, &self.to.control.state(), name) {
                return Ok(None);
            }
            let said = |snapshot| {
                let source = name.clone();
                Ok(Some(ControlOperation::SnapshotAccepted { source, revision, snapshot }))
            };
            let Some(blob) = state.snapshots.get(name) else { return said(None) };
            let error = match transfer(self.from, self.to, blob, self.to.catalog.seq()).await {
                Ok(copy) => return said(Some(copy)),
                Err(Transfer::Failed(error)) => return Err(error),
                Err(Transfer::Damaged(error)) => error,
            };
            // The leader of the original accepts a new one and deletes the old.
            super::relation::follow_original(self.from).await?;
            rounds += 1;
            if self.from.control.state().snapshots.get(name) == Some(blob) || rounds == ROUNDS {
                tracing::warn!(source = %name, error = chain(&error), "an accepted manifest is left out");
                self.report.snapshots_lost.push(name.to_string());
                return said(None);
            }
        }
    }
}
