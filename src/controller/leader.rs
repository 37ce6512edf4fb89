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
use crate::storage::collect::{CollectError, CollectOptions, collect, would_collect};
use crate::storage::control::{Answer, ControlOperation, ControlRejection, Request};
use crate::storage::lease::{Candidate, LeaseTimes, Tenure};
use crate::storage::progress::Unwatched;
use crate::storage::records::CommitError;
use crate::storage::scrub::{ScrubOptions, scrub};
use crate::telemetry::{Metrics, chain};

/// How often a leader at rest looks whether somebody asked for something; in memory.
const REQUEST_POLL: Duration = Duration::from_millis(250);

/// How often what is no longer needed of the control log is looked for.
const TRIM_PAUSE: Duration = Duration::from_secs(3600);

/// How often what nothing references is collected.
const COLLECT_PAUSE: Duration = Duration::from_secs(24 * 3600);

/// How long after taking the lead everything is read again for the first time.
const SCRUB_DELAY: Duration = Duration::from_secs(600);

/// How long lies between two readings of everything.
const SCRUB_PAUSE: Duration = Duration::from_secs(24 * 3600);

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
        let work = async {
            futures::join!(
                self.control(tenure, stop),
                self.upkeep(tenure, stop),
                self.scrub(stop),
                self.listen(stop)
            )
        };
        tokio::select! {
            biased;
            () = tenure.keep() => warn!(epoch = %tenure.epoch(), "the lease is lost; this instance acts no more"),
            _ = work => {}
        }
        self.leading.store(false, Ordering::SeqCst);
        self.metrics.set_leader(false);
        if let Err(error) = tenure.release().await {
            warn!(error = chain(&error), "the lease was not given back; the next leader waits for its end");
        }
    }

    /// Only who leads listens: the others have nothing to do about what they hear.
    async fn listen(&self, stop: &CancellationToken) {
        if let Some(controller) = &self.controller {
            controller.listen(stop).await;
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

    /// What the storage needs of its leader now and then: trimming, collecting, reading everything again.
    async fn upkeep(&self, tenure: &Tenure, stop: &CancellationToken) {
        let clock = &self.candidate.clock;
        let begun = clock.boot();
        let (mut trim_at, mut collect_at) = (begun, begun + COLLECT_PAUSE);
        while !stop.is_cancelled() {
            if clock.boot() >= trim_at {
                self.trim().await;
                trim_at = clock.boot() + TRIM_PAUSE;
            }
            self.collect_as_asked(tenure).await;
            if clock.boot() >= collect_at {
                match collect(&self.candidate.storage, tenure, &CollectOptions::default(), &Unwatched).await {
                    Ok(report) => info!(%report, "collected"),
                    Err(error) => warn!(error = chain(&error), "nothing more was collected"),
                }
                collect_at = clock.boot() + COLLECT_PAUSE;
            }
            self.pause(REQUEST_POLL, stop).await;
        }
    }

    /// Reads everything again, slowly, and again.
    async fn scrub(&self, stop: &CancellationToken) {
        let Candidate { storage, entropy, .. } = &self.candidate;
        self.pause(SCRUB_DELAY, stop).await;
        while !stop.is_cancelled() {
            match scrub(storage, &ScrubOptions::BACKGROUND, entropy, &Unwatched).await {
                Ok(report) => info!(%report, "everything was read again"),
                Err(error) => warn!(error = chain(&error), "not everything was read again"),
            }
            self.pause(SCRUB_PAUSE, stop).await;
        }
    }

    async fn trim(&self) {
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
    }

    async fn collect_as_asked(&self, tenure: &Tenure) {
        let storage = &self.candidate.storage;
        for pending in storage.control.state().requests.clone() {
            let Request::Collect { dry_run, allow } = pending.request else { continue };
            let options = CollectOptions { allow, ..CollectOptions::default() };
            let collected = if dry_run {
                would_collect(storage, &options, &Unwatched).await
            } else {
                collect(storage, tenure, &options, &Unwatched).await
            };
            let answer = match collected {
                Ok(report) => Answer {
                    done: true,
                    message: report.to_string(),
                    detail: serde_json::to_value(&report).ok(),
                },
                Err(error) => {
                    let detail = match &error {
                        CollectError::TooMany { going, .. } => Some(serde_json::json!({"needsAllow": going})),
                        _ => None,
                    };
                    Answer { done: false, message: chain(&error), detail }
                }
            };
            requests::record(tenure, vec![ControlOperation::Answered { id: pending.id, answer }]).await;
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
