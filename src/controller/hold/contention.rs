//! Another writer: somebody who changes again and again what is put right again and again. Each round restarts tasks.
//!
//! Neither side can win, so ours gives in and says so. Every time that it comes to that again without a quiet time in
//! between, the pause is twice as long: a fight that nobody ends costs a few restarts a day. Another wish of the manifest
//! ends it at once.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use jiff::Timestamp;

use crate::clock::Clock;
use crate::model::{Action, AppId, Cause, Digest, Operation};

/// How often an app is put right within the window before it is left alone.
const MOST_CORRECTIONS: usize = 5;
const WINDOW: Duration = Duration::from_secs(600);

/// How long it is left alone, at first and at most.
const PAUSES: (Duration, Duration) = (Duration::from_secs(600), Duration::from_secs(24 * 3600));

/// The apps that were put right lately.
#[derive(Default)]
pub(super) struct Contentions(BTreeMap<AppId, Contention>);

struct Contention {
    /// What is put there.
    wanted: Option<Digest>,
    /// When that was done since the last pause began, on the boot clock.
    lately: VecDeque<Duration>,
    pause: Option<Pause>,
}

struct Pause {
    length: Duration,
    /// When it ends: on the boot clock, and for people.
    until: Duration,
    told: Timestamp,
}

impl Contentions {
    /// Why an app is not put right now, where it is not.
    pub(super) fn reason(&self, action: &Action, now: Duration) -> Option<String> {
        let contention = self.0.get(action.operation.app_id()?).filter(|_| action.cause == Cause::Drifted)?;
        let pause = contention.pause.as_ref().filter(|pause| now < pause.until)?;
        if contention.wanted != wanted(&action.operation) {
            return None;
        }
        let minutes = WINDOW.as_secs() / 60;
        Some(format!(
            "put right {MOST_CORRECTIONS} times within {minutes} min, and somebody changed it again; it is left alone until \
             {}: find out who changes it. A change of the unit ends that at once. If it goes on afterwards, it is left \
             alone twice as long, up to a day",
            pause.told
        ))
    }

    /// Takes note of an action that was done.
    pub(super) fn done(&mut self, action: &Action, now: Duration, clock: &Clock) {
        let Some(app_id) = action.operation.app_id() else { return };
        let wanted = wanted(&action.operation);
        self.0.retain(|_, contention| now < contention.forgotten_at());
        if self.0.get(app_id).is_some_and(|known| ends(action, wanted, known)) {
            self.0.remove(app_id);
        }
        if action.cause == Cause::Drifted {
            let fresh = || Contention { wanted, lately: VecDeque::new(), pause: None };
            self.0.entry(app_id.clone()).or_insert_with(fresh).corrected(now, clock);
        }
    }
}

/// Whether an action that was done shows that something else is wanted now.
fn ends(action: &Action, wanted: Option<Digest>, known: &Contention) -> bool {
    match &action.operation {
        Operation::DeleteApp { .. } | Operation::UninstallApp { .. } => true,
        _ => wanted.is_some() && wanted != known.wanted,
    }
}

/// What an action makes of its app, or knows of it.
fn wanted(operation: &Operation) -> Option<Digest> {
    match operation {
        Operation::CreateApp { book, .. }
        | Operation::UpdateApp { book, .. }
        | Operation::Adopt { book, .. } => Some(book.applied_digest),
        _ => None,
    }
}

impl Contention {
    /// When nothing counts any more: after a quiet time as long as the last pause.
    fn forgotten_at(&self) -> Duration {
        let last = self.lately.back().copied().unwrap_or_default();
        self.pause.as_ref().map_or(last + WINDOW, |pause| last.max(pause.until) + pause.length)
    }

    fn corrected(&mut self, now: Duration, clock: &Clock) {
        self.lately.retain(|at| now < *at + WINDOW);
        self.lately.push_back(now);
        if self.lately.len() < MOST_CORRECTIONS {
            return;
        }
        self.lately.clear();
        let length = self.pause.as_ref().map_or(PAUSES.0, |pause| (pause.length * 2).min(PAUSES.1));
        let seconds =
            clock.wall().as_second().saturating_add(length.as_secs().try_into().unwrap_or(i64::MAX));
        let told = Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX);
        self.pause = Some(Pause { length, until: now + length, told });
    }
}
