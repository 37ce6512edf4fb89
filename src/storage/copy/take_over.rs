//! The copy takes the original's place. Each step looks at what stands in the logs and is left out where it was done
//! before; see [`super`] for their order.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::relation::{self, Relation};
use super::{CopyError, CutOver, Work, candidate, commit};
use crate::storage::Storage;
use crate::storage::catalog::{CatalogOperation, CatalogRejection};
use crate::storage::control::{Answer, ControlOperation, Request};
use crate::storage::lease::{LeaseTimes, Tenure};
use crate::storage::records::CommitError;

/// How long a leader may take to end a pass, beside the time that its silence must last. One write to Marathon after
/// the other can take long, and nothing is lost by waiting.
const LONGEST_PASS: Duration = Duration::from_secs(120);

/// How often its state is looked at, in memory.
const LOOK: Duration = Duration::from_millis(100);

/// Why the original's controller does nothing any more, for people; the same text each time it is tried.
fn reason(to: &str) -> String {
    format!("this registry was moved to {to}")
}

impl Work<'_> {
    pub(super) async fn cut_over(&mut self, relation: Relation) -> Result<(), CopyError> {
        if relation != Relation::TookOver {
            self.require_complete()?;
            // Where only the leader writes, we must be it before we write that the original moved.
            let held = if self.from.is_shared_on_trust() {
                Some(super::lease(self.from, self.options.times).await?)
            } else {
                None
            };
            self.move_original().await?;
            let to = self.from.catalog.state().moved().unwrap_or_default().to_owned();
            silence(self.from, held, &reason(&to), self.options.times).await?;
            self.catch_up().await?;
            self.books().await?;
            self.require_complete()?;
            self.report.cut_over = CutOver::Now;
        }
        let (from, to) = (self.from, self.to);
        // An operator may have suspended the original for reasons that hold for the copy too.
        let ours = from.catalog.state().moved().map(reason);
        let suspended = from.control.state().suspended.as_ref().map(|suspension| suspension.reason.clone());
        let keep = suspended.filter(|reason| Some(reason) != ours.as_ref());
        finish(to, self.tenure, from.catalog.registry(), keep).await
    }

    fn require_complete(&self) -> Result<(), CopyError> {
        let lost = self.report.lost.len() as u64;
        if lost == 0 || lost == self.options.leave_out { Ok(()) } else { Err(CopyError::Incomplete { lost }) }
    }

    /// From here on the original only reads, and a pass of its controller that begins now does nothing.
    async fn move_original(&self) -> Result<(), CopyError> {
        let (to, registry) = (self.options.to.clone(), self.to.catalog.registry().to_owned());
        if self.from.catalog.state().successor().is_some() {
            return Ok(());
        }
        match self.from.catalog.commit(CatalogOperation::Moved { to, registry }).await {
            Ok(_) => Ok(()),
            // Ours, of which we heard nothing, or that of another copy.
            Err(CommitError::Rejected(CatalogRejection::Moved { .. })) => {
                relation::relation(self.from, Some(self.to), true).map(drop)
            }
            Err(error) => Err(CopyError::Move(error.into())),
        }
    }
}

/// The last steps, in the copy alone: it becomes a registry like any other, and then it acts, unless it is to stay
/// suspended for the reason given.
pub(super) async fn finish(
    to: &Storage,
    tenure: &Tenure,
    original: &str,
    keep: Option<String>,
) -> Result<(), CopyError> {
    if to.catalog.state().copy_of().is_some() {
        let epoch = tenure.epoch();
        let mut operations = vec![CatalogOperation::TookOver];
        if to.catalog.state().fence() != epoch {
            operations.insert(0, CatalogOperation::Fence { epoch });
        }
        commit(to, tenure, operations).await?;
    }
    let state = to.control.state();
    if state.suspended.as_ref().is_none_or(|suspension| suspension.reason != relation::reason(original)) {
        // Suspended for another reason since, or resumed.
        return Ok(());
    }
    let operation = match keep {
        Some(reason) => ControlOperation::Suspended { reason },
        None => ControlOperation::Resumed,
    };
    tenure.commit(vec![operation]).await.map(drop).map_err(|error| CopyError::Control(error.into()))
}

/// Waits until no pass of the original's controller that began before this acts any more: its leader says so in the
/// log, between two passes; or there is none, and we say so under its lease.
async fn silence(
    from: &Arc<Storage>,
    held: Option<Tenure>,
    reason: &str,
    times: LeaseTimes,
) -> Result<(), CopyError> {
    relation::follow_original(from).await?;
    let state = from.control.state();
    if state.suspended.is_some() {
        return Ok(());
    }
    let id = from.entropy.nonce();
    if let Some(tenure) = held {
        return suspend(from, &tenure, &id, reason).await;
    }
    if !from.is_exclusive() {
        let request = Request::Suspend { reason: reason.to_owned() };
        from.control.request(&id, request).await.map_err(|error| CopyError::Silence(error.into()))?;
    }
    let patience = 3 * times.ttl + LONGEST_PASS;
    let silent = from.clock.timeout(patience, Box::pin(fall_silent(from, &id, reason, times))).await;
    silent.unwrap_or_else(|_| {
        let holder = from.control.state().holder.clone().unwrap_or_default();
        Err(CopyError::OriginalBusy { holder })
    })
}

async fn fall_silent(
    from: &Arc<Storage>,
    id: &str,
    reason: &str,
    times: LeaseTimes,
) -> Result<(), CopyError> {
    let (candidate, stop) = (candidate(from, times), CancellationToken::new());
    let said = async {
        while from.control.state().suspended.is_none() {
            from.clock.sleep(LOOK).await;
        }
    };
    // The candidate reads along, so that both see what the leader says.
    let tenure = tokio::select! {
        biased;
        () = said => return Ok(()),
        tenure = candidate.campaign(&stop) => tenure.map_err(|error| CopyError::Silence(error.into()))?,
    };
    let Some(tenure) = tenure else { return Err(CopyError::LeaseLost) };
    suspend(from, &tenure, id, reason).await
}

/// Suspends the original under its lease, which is ours.
async fn suspend(from: &Storage, tenure: &Tenure, id: &str, reason: &str) -> Result<(), CopyError> {
    let mut operations = vec![ControlOperation::Suspended { reason: reason.to_owned() }];
    if from.control.state().requests.iter().any(|pending| pending.id == id) {
        let answer = Answer { done: true, message: format!("suspended: {reason}"), detail: None };
        operations.push(ControlOperation::Answered { id: id.to_owned(), answer });
    }
    let committed = tenure.commit(operations).await;
    if let Err(error) = tenure.release().await {
        tracing::warn!(
            error = crate::telemetry::chain(&error),
            "the lease of the original was not given back"
        );
    }
    committed.map(drop).map_err(|error| CopyError::Silence(error.into()))
}
