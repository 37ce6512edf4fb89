//! The control log: who may act, what we own in the cluster, and what we were about to do.
//!
//! One use of the record log, and the one that is trimmed. The lease *is* this log ([`super::lease`]): to take it,
//! to renew it and to act under it compete for the same next number, so the store orders them. Everything but
//! taking it and asking for something stands in a record of the newest epoch or is refused.

mod operation;
mod rejection;
mod state;

use std::sync::Arc;
use std::time::Duration;

pub use operation::{Answer, ControlOperation, Request};
pub use rejection::ControlRejection;
pub use state::{ControlState, Suspension};

use super::records::{CommitError, Committed, Log, LogError, Names, Newer, Site, Trimmed};
use crate::model::Epoch;

/// How long a record is kept at least once a snapshot has taken its place.
pub(super) const RETENTION: Duration = Duration::from_secs(24 * 3600);

pub(super) const NAMES: Names = Names {
    log: "v1/control/log",
    snap: "v1/control/snap",
    hint: "v1/control/hint",
    retention: Some(RETENTION),
};

/// How often taking over is tried while others take over too.
#[cfg(test)]
const ACQUIRE_TRIES: u32 = 8;

/// The control log of one registry.
pub struct Control {
    log: Log<ControlState>,
    holder: String,
}

impl Control {
    pub(super) async fn open(site: Site, registry: &str, retention: Duration) -> Result<Self, LogError> {
        let holder = site.author.clone();
        let names = Names { retention: Some(retention), ..NAMES };
        let log = Log::open(site, names, Some(registry)).await?;
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

    /// This instance's id.
    pub fn holder(&self) -> &str {
        &self.holder
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

    /// Takes the lease at once, from whoever holds it.
    #[cfg(test)]
    pub(crate) async fn acquire(&self) -> Result<Epoch, CommitError<ControlRejection>> {
        for _ in 0..ACQUIRE_TRIES {
            let state = self.state();
            match self.acquire_after(state.epoch, state.signed).await {
                // The refusal came with the newest state, so the next number is the right one.
                Err(CommitError::Rejected(
                    ControlRejection::EpochTaken { .. } | ControlRejection::HolderAlive { .. },
                )) => {}
                other => return other.map(|acquired| acquired.epoch),
            }
        }
        Err(CommitError::Contended { losses: ACQUIRE_TRIES })
    }

    /// Takes the lease after that of number `last`, whose holder was last heard of in record `signed`. That he was
    /// silent since is part of what is written: without it he could renew just before, and both would act.
    ///
    /// # Errors
    /// See [`Log::commit`]; [`ControlRejection::EpochTaken`] when somebody was faster,
    /// [`ControlRejection::HolderAlive`] when the holder was.
    pub async fn acquire_after(
        &self,
        last: Epoch,
        signed: u64,
    ) -> Result<Acquired, CommitError<ControlRejection>> {
        let epoch = Epoch(last.0 + 1);
        let operation = ControlOperation::Acquired { epoch, holder: self.holder.clone(), after: signed };
        let committed = self.log.commit(epoch, vec![operation]).await?;
        Ok(Acquired { epoch, begun: committed.begun })
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

    /// Asks whoever leads for something; any instance may. The answer comes as a record.
    ///
    /// # Errors
    /// See [`Log::commit`]; [`ControlRejection::TooManyRequests`].
    pub async fn request(
        &self,
        id: &str,
        request: Request,
    ) -> Result<Committed, CommitError<ControlRejection>> {
        let operation = ControlOperation::Requested { id: id.to_owned(), request };
        self.log.commit(Epoch::default(), vec![operation]).await
    }

    /// When a record was written; see [`Log::written_at`].
    pub(super) async fn written_at(&self, seq: u64) -> Result<i64, LogError> {
        self.log.written_at(seq).await
    }

    /// Writes snapshot and hint where they are due; see [`Log::tend`].
    ///
    /// # Errors
    /// When something could not be written; nothing depends on it.
    pub async fn tend(&self) -> Result<(), LogError> {
        self.log.tend().await
    }

    /// Writes a snapshot of the newest state; see [`Log::snapshot_now`].
    ///
    /// # Errors
    /// When it could not be written.
    pub async fn snapshot_now(&self) -> Result<u64, LogError> {
        self.log.snapshot_now().await
    }

    /// Deletes records that are old enough; see [`Log::trim`].
    ///
    /// # Errors
    /// When the store cannot be listed or a record not be deleted.
    pub async fn trim(&self) -> Result<Trimmed, LogError> {
        self.log.trim().await
    }
}

/// A lease that was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Acquired {
    /// Its number.
    pub epoch: Epoch,
    /// The boot clock before the record was first sent.
    pub begun: Duration,
}

#[cfg(test)]
mod tests;
