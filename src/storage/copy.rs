//! Copying a registry to another back end, and letting the copy take the original's place.
//!
//! The copy is a registry of its own: its own id, its own logs, its own keys. Everything that the original's catalog
//! names is read from there with its chunk digests verified, and stored here with its digest and length known. The
//! controller's books come along. Whoever copies holds the copy's lease; under it he suspends the copy's controller,
//! and into the copy only he puts anything, so that it is what the original is. Copying again catches up: what is
//! there already is not read again. The original may be in use all the time.
//!
//! Taking over is a row of records, each of which is written once, so that who was interrupted begins again and goes
//! on where he was ([`take_over`]):
//!
//! ```text
//!   original: moved       its catalog takes nothing any more, and no pass that begins now acts
//!   original: suspended   by its own leader between two passes, or by us once its lease is ours:
//!                         no pass that began before acts any more
//!   copy: catches up      with what stands still now
//!   copy: took over       it is a registry like any other
//!   copy: resumed         it acts
//! ```
//!
//! Up to the last step only the original may act, and after the second it does not. Whether a controller may act is
//! asked of [`Storage::standstill`] in every pass, after the catalog was read to its end.

mod books;
mod error;
mod packages;
mod relation;
mod report;
mod take_over;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Storage;
use super::catalog::{CatalogOperation, CatalogState};
use super::control::ControlOperation;
use super::lease::{Candidate, LeaseTimes, Tenure};
use super::progress::Progress;

pub use error::CopyError;
pub use report::{CopyReport, CutOver, Lost};

use relation::Relation;

/// How a copy is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyOptions {
    /// Whether the copy takes the original's place.
    pub cutover: bool,
    /// Where the copy is, as the original will say to people once it has moved.
    pub to: String,
    /// How many package versions the copy may lack when it takes over, because their bytes are damaged in the
    /// original: exactly so many, or none.
    pub leave_out: u64,
    /// The times of the leases.
    pub times: LeaseTimes,
}

/// Says what [`copy`] would do now, and changes nothing. Where there is no copy yet, `to` is none.
///
/// # Errors
/// When the original cannot be read, or the other one cannot become a copy of it.
pub async fn would_copy(
    from: &Storage,
    to: Option<&Storage>,
    options: &CopyOptions,
) -> Result<CopyReport, CopyError> {
    relation::follow_original(from).await?;
    if let Some(to) = to {
        relation::follow_copy(to).await?;
    }
    let relation = relation::relation(from, to, options.cutover)?;
    let mut report = CopyReport { dry_run: true, ..CopyReport::new(from, to) };
    if relation != Relation::TookOver {
        packages::forecast(from, to, &mut report);
        report.books = books::difference(from, to).len() as u64;
    }
    Ok(report)
}

/// Copies what the copy does not have yet, and lets it take over if that is wanted.
///
/// # Errors
/// [`CopyError`]. What was copied stays, and copying again goes on from there.
pub async fn copy(
    from: &Arc<Storage>,
    to: &Arc<Storage>,
    options: &CopyOptions,
    progress: &dyn Progress,
) -> Result<CopyReport, CopyError> {
    relation::follow_original(from).await?;
    relation::follow_copy(to).await?;
    relation::relation(from, Some(to), options.cutover)?;
    let tenure = lease(to, options.times).await?;
    let (report, before) = (CopyReport::new(from, Some(to)), to.catalog.state());
    let mut work = Work { from, to, options, progress, tenure: &tenure, before, report };
    let done = tokio::select! {
        biased;
        () = tenure.keep() => Err(CopyError::LeaseLost),
        done = Box::pin(work.run()) => done,
    };
    let report = work.report;
    if let Err(error) = tenure.release().await {
        tracing::warn!(error = crate::telemetry::chain(&error), "the lease of the copy was not given back");
    }
    done.map(|()| report)
}

/// Lets a copy take over whose original is lost: nothing is read or written there. Should the original still be in
/// use, both will act.
///
/// # Errors
/// When it is no copy. Where it took over before, nothing is done.
pub async fn promote(copy: &Arc<Storage>, times: LeaseTimes) -> Result<(), CopyError> {
    relation::follow_copy(copy).await?;
    let original = copy.catalog.state().origin().cloned().ok_or(CopyError::NoCopy)?;
    let tenure = lease(copy, times).await?;
    let done = take_over::finish(copy, &tenure, &original.registry, None).await;
    if let Err(error) = tenure.release().await {
        tracing::warn!(error = crate::telemetry::chain(&error), "the lease of the copy was not given back");
    }
    done
}

/// Takes the lease of a registry, which nobody else may hold for long.
async fn lease(storage: &Arc<Storage>, times: LeaseTimes) -> Result<Tenure, CopyError> {
    let patience = 3 * times.ttl + Duration::from_secs(5);
    let candidate = candidate(storage, times);
    let stop = CancellationToken::new();
    let campaign = storage.clock.timeout(patience, candidate.campaign(&stop)).await;
    match campaign {
        Ok(Ok(Some(tenure))) => Ok(tenure),
        Ok(Ok(None)) => Err(CopyError::LeaseLost),
        Ok(Err(error)) => Err(CopyError::Control(error.into())),
        Err(_) => {
            let holder = storage.control.state().holder.clone().unwrap_or_default();
            Err(CopyError::InUse { holder })
        }
    }
}

fn candidate(storage: &Arc<Storage>, times: LeaseTimes) -> Candidate {
    let (clock, entropy) = (storage.clock.clone(), storage.entropy.clone());
    Candidate { storage: Arc::clone(storage), times, clock, entropy }
}

/// One copy that is being made, under the copy's lease.
struct Work<'a> {
    from: &'a Arc<Storage>,
    to: &'a Arc<Storage>,
    options: &'a CopyOptions,
    progress: &'a dyn Progress,
    tenure: &'a Tenure,
    /// What the copy had.
    before: Arc<CatalogState>,
    report: CopyReport,
}

impl Work<'_> {
    async fn run(&mut self) -> Result<(), CopyError> {
        // Somebody may have written there while we waited for the lease.
        relation::follow_copy(self.to).await?;
        let relation = relation::relation(self.from, Some(self.to), self.options.cutover)?;
        if relation == Relation::TookOver {
            self.report.cut_over = CutOver::Before;
        } else {
            if self.to.control.state().suspended.is_none() {
                self.suspend().await?;
            }
            self.begin(relation).await?;
            self.catch_up().await?;
            self.books().await?;
        }
        if self.options.cutover {
            self.cut_over(relation).await?;
        }
        for snapshot in [self.to.catalog.snapshot_now().await, self.to.control.snapshot_now().await] {
            if let Err(error) = snapshot {
                tracing::warn!(
                    error = crate::telemetry::chain(&error),
                    "the copy starts slowly the first time"
                );
            }
        }
        self.report.count(self.to);
        Ok(())
    }

    /// The copy's controller does nothing; before it is a copy, so that it never acts as one.
    async fn suspend(&mut self) -> Result<(), CopyError> {
        let reason = relation::reason(self.from.catalog.registry());
        self.commit_control(vec![ControlOperation::Suspended { reason }]).await
    }

    /// From now on only we put anything into the copy.
    async fn begin(&mut self, relation: Relation) -> Result<(), CopyError> {
        let epoch = self.tenure.epoch();
        let mut operations = vec![CatalogOperation::Fence { epoch }];
        if relation == Relation::New {
            let registry = self.from.catalog.registry().to_owned();
            operations.push(CatalogOperation::CopiedFrom { registry });
        }
        self.commit(operations).await
    }

    async fn commit(&self, operations: Vec<CatalogOperation>) -> Result<(), CopyError> {
        commit(self.to, self.tenure, operations).await
    }

    async fn commit_control(&self, operations: Vec<ControlOperation>) -> Result<(), CopyError> {
        let committed = self.tenure.commit(operations).await;
        committed.map(drop).map_err(|error| CopyError::Control(error.into()))
    }
}

async fn commit(to: &Storage, tenure: &Tenure, operations: Vec<CatalogOperation>) -> Result<(), CopyError> {
    tenure.check(Duration::ZERO).map_err(|_| CopyError::LeaseLost)?;
    let committed = to.catalog.commit_as_leader(tenure.epoch(), operations).await;
    committed.map(drop).map_err(|error| CopyError::Catalog(error.into()))
}

impl Storage {
    /// Why the controller must do nothing; none where it may act. What others wrote counts as far as it was read:
    /// whoever is about to act reads the catalog to its end before.
    #[must_use]
    pub fn standstill(&self) -> Option<String> {
        let catalog = self.catalog.state();
        if let Some(to) = catalog.moved() {
            return Some(format!("this registry was moved to {to}"));
        }
        if let Some(of) = catalog.copy_of() {
            return Some(relation::reason(of));
        }
        self.control.state().suspended.as_ref().map(|suspension| suspension.reason.clone())
    }

    /// Whether what the controller accepts is still to be remembered here.
    #[must_use]
    pub fn keeps_books(&self) -> bool {
        let catalog = self.catalog.state();
        catalog.moved().is_none() && catalog.copy_of().is_none()
    }
}
