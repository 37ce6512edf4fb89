//! Who of several instances acts. All of them serve; the one that holds the lease runs the controller and the
//! storage's upkeep, answers what operators asked for, and stops when the lease is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{Controller, requests};
use crate::clock::{Clock, Entropy};
use crate::storage::Storage;
use crate::storage::control::ControlRejection;
use crate::storage::lease::{Candidate, LeaseTimes, Tenure};
use crate::storage::records::CommitError;
use crate::telemetry::{Metrics, chain};

/// How often a leader at rest looks whether somebody asked for something; in memory.
const REQUEST_POLL: Duration = Duration::from_millis(250);

/// How often what is no longer needed of the control log is looked for.
const TRIM_PAUSE: Duration = Duration::from_secs(3600);

/// One candidate for the lead.
pub struct Leader {
    candidate: Candidate,
    controller: Option<Arc<Controller>>,
    metrics: Metrics,
    leading: AtomicBool,
    nudge: Arc<Notify>,
}

impl Leader {
    /// A candidate that has not run yet.
    #[must_use]
    pub fn new(
        storage: &Arc<Storage>,
        controller: Option<Arc<Controller>>,
        times: LeaseTimes,
        metrics: Metrics,
        (clock, entropy): (Clock, Entropy),
    ) -> Self {
        let nudge = controller.as_ref().map(|controller| controller.nudged()).unwrap_or_default();
        let candidate = Candidate { storage: Arc::clone(storage), times, clock, entropy };
        Self { candidate, controller, metrics, leading: AtomicBool::new(false), nudge }
    }

    /// Whether this instance acts.
    #[must_use]
    pub fn is_leading(&self) -> bool {
        self.leading.load(Ordering::SeqCst)
    }

    /// Asks for a look at everything soon, and at what was asked for.
    pub fn nudge(&self) {
        self.nudge.notify_one();
    }

    /// Works until told to stop: leads while it holds the lease, looks on while somebody else does. An action that
    /// has begun is finished, unless the lease is lost meanwhile.
    ///
    /// # Errors
    /// When the lease can never be taken, because the storage may not be written to.
    pub async fn run(&self, stop: CancellationToken) -> Result<(), CommitError<ControlRejection>> {
        while !stop.is_cancelled() {
            let tenure = tokio::select! {
                biased;
                tenure = self.candidate.campaign(&stop) => tenure?,
                () = self.look_on(&stop) => None,
            };
            let Some(tenure) = tenure else { break };
            Box::pin(self.lead(&tenure, &stop)).await;
        }
        Ok(())
    }

    async fn look_on(&self, stop: &CancellationToken) {
        match &self.controller {
            Some(controller) => controller.look_on(stop).await,
            None => stop.cancelled().await,
        }
    }

    /// Acts until told to stop or until the lease is lost.
    async fn lead(&self, tenure: &Tenure, stop: &CancellationToken) {
        info!(epoch = %tenure.epoch(), "leading");
        self.metrics.set_leader(true);
        self.leading.store(true, Ordering::SeqCst);
        let work = async { futures::join!(self.control(tenure, stop), self.upkeep(stop)) };
        tokio::select! {
            biased;
            () = tenure.keep() => warn!(epoch = %tenure.epoch(), "the lease is lost; somebody else leads"),
            _ = work => {}
        }
        self.leading.store(false, Ordering::SeqCst);
        self.metrics.set_leader(false);
        if let Err(error) = tenure.release().await {
            warn!(error = chain(&error), "the lease was not given back; the next leader waits for its end");
        }
    }

    async fn control(&self, tenure: &Tenure, stop: &CancellationToken) {
        if let Some(controller) = &self.controller {
            return controller.work(tenure, stop).await;
        }
        let storage = &self.candidate.storage;
        while !stop.is_cancelled() {
            if !storage.control.state().requests.is_empty() {
                requests::decide(storage, tenure).await;
                requests::confirm(storage, tenure).await;
            }
            self.pause(REQUEST_POLL, stop).await;
        }
    }

    /// What the storage needs of its leader now and then.
    async fn upkeep(&self, stop: &CancellationToken) {
        while !stop.is_cancelled() {
            match self.candidate.storage.control.trim().await {
                Ok(trimmed) if trimmed.deleted > 0 => {
                    info!(
                        deleted = trimmed.deleted,
                        left = trimmed.left,
                        "old records of the control log are gone"
                    );
                }
                Ok(_) => {}
                Err(error) => warn!(error = chain(&error), "the control log was not trimmed"),
            }
            self.pause(TRIM_PAUSE, stop).await;
        }
    }

    async fn pause(&self, pause: Duration, stop: &CancellationToken) {
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = self.candidate.clock.sleep(pause) => {}
        }
    }
}
