//! Hears Marathon's events while this instance leads, and asks for a look when something happened to an app of ours.
//!
//! A look finds out what is the case whatever was heard, and comes now and then in any case; so events that are lost,
//! late or wrong cost time and nothing else. Many events are one look: looks that events ask for are a while apart.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::clock::{Clock, Entropy};
use crate::marathon::events::Heard;
use crate::marathon::{Client, MarathonError};
use crate::model::{AppId, ErrorClass};
use crate::retry::Delays;
use crate::telemetry::{Metrics, Trouble, chain};

/// How far apart looks are that events ask for.
const GAP: Duration = Duration::from_secs(1);

/// How long to wait before the next connection, at first and at most.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// How long to wait where we are not let in, or where there is no such route.
const LONG_PAUSE: Duration = Duration::from_secs(600);

/// What listening needs.
pub(super) struct Listener<'a> {
    pub(super) marathon: &'a Client,
    /// What asks for a look.
    pub(super) nudge: &'a Notify,
    pub(super) metrics: &'a Metrics,
    pub(super) clock: &'a Clock,
    pub(super) entropy: &'a Entropy,
}

/// Looks that were asked for and not passed on yet: one, however often.
#[derive(Default)]
struct Hints {
    due: AtomicBool,
    asked: Notify,
}

impl Listener<'_> {
    /// Listens until told to stop. `is_ours` says whether an app is one that we look after.
    pub(super) async fn run(&self, is_ours: &(dyn Fn(&AppId) -> bool + Sync), stop: &CancellationToken) {
        let hints = Hints::default();
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = self.listen(&hints, is_ours) => {}
            () = self.pass_on(&hints) => {}
        }
    }

    /// Passes hints on, each a while after the one before.
    async fn pass_on(&self, hints: &Hints) {
        loop {
            hints.asked.notified().await;
            hints.due.store(false, Ordering::SeqCst);
            self.nudge.notify_one();
            self.clock.sleep(GAP).await;
        }
    }

    async fn listen(&self, hints: &Hints, is_ours: &(dyn Fn(&AppId) -> bool + Sync)) {
        let mut delays = Delays::new(PAUSES.0, PAUSES.1, self.entropy.clone());
        let mut trouble =
            Trouble::new("Marathon's events cannot be heard; everything is looked at now and then");
        loop {
            let mut opened = false;
            let error = self
                .marathon
                .listen(&mut |heard| {
                    opened |= heard == Heard::Open;
                    self.hear(&heard, hints, is_ours);
                })
                .await;
            if opened {
                // It ends where the leader changes or a proxy has had enough.
                tracing::debug!(error = chain(&error), "the stream of events ended");
                trouble.over();
                delays.reset();
            }
            self.clock.sleep(pause(&error, opened, &mut delays, &mut trouble)).await;
        }
    }

    fn hear(&self, heard: &Heard, hints: &Hints, is_ours: &(dyn Fn(&AppId) -> bool + Sync)) {
        let outcome = match heard {
            Heard::Event { app: Some(app), .. } if !is_ours(app) => "foreign",
            _ if hints.due.swap(true, Ordering::SeqCst) => "merged",
            _ => {
                hints.asked.notify_one();
                "hint"
            }
        };
        match heard {
            // What happened before is to be looked for, and is no event.
            Heard::Open => {}
            Heard::TooLong => self.metrics.marathon_event("tooLong"),
            Heard::Event { .. } => self.metrics.marathon_event(outcome),
        }
    }
}

fn pause(error: &MarathonError, opened: bool, delays: &mut Delays, trouble: &mut Trouble) -> Duration {
    let refused = matches!(error.class(), ErrorClass::Stall | ErrorClass::Fatal);
    if refused || matches!(error, MarathonError::NotFound { .. } | MarathonError::WrongPath { .. }) {
        // A right of its own, or a server without events: not worth a warning.
        tracing::info!(error = chain(error), "Marathon's events are not for us");
        return LONG_PAUSE;
    }
    if !opened {
        trouble.again(error);
    }
    delays.next_delay()
}

#[cfg(test)]
mod tests;
