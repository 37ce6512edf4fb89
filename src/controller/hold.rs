//! Remembers what failed, so that it is not tried again at once.
//!
//! An action that Marathon refused for good is not sent again until it would send something else; one that may
//! work later is tried again after a growing delay. Meanwhile its unit keeps saying why.
//!
//! All this is kept in memory and goes with the process or its lease: after a restart, or under another leader, everything
//! is tried at once and pauses begin with the shortest. That costs a few tries; and whoever repaired something can
//! have it tried again by a restart.

mod contention;

use std::collections::BTreeMap;
use std::time::Duration;

use crate::clock::{Clock, Entropy};
use crate::model::{Action, AppId, Digest, ErrorClass, Outcome, OutcomeResult, UnitId};
use crate::retry::Delays;
use contention::Contentions;

const FIRST_DELAY: Duration = Duration::from_millis(750);
const LONGEST_DELAY: Duration = Duration::from_secs(60);
/// What waits for somebody else is looked at more often; but every try writes records, so not all the time.
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// Even a refusal is tried again after this long: the server may have been changed.
const STALL_DELAY: Duration = Duration::from_secs(600);

/// The label of what may be a refusal for good and may pass by itself: not to be let in.
const UNAUTHORIZED: &str = "Unauthorized";

/// What failed lately.
pub struct Holds {
    entropy: Entropy,
    clock: Clock,
    held: BTreeMap<Key, Held>,
    contentions: Contentions,
}

/// A unit and the app in question: a unit that moved has an old app to remove, too.
type Key = (UnitId, Option<AppId>);

struct Held {
    operation: Digest,
    result: OutcomeResult,
    delays: Delays,
    not_before: Duration,
}

impl Holds {
    /// Nothing failed yet. The clock is for what is told of times; what is decided goes by the time that comes with each
    /// question.
    #[must_use]
    pub fn new(entropy: Entropy, clock: Clock) -> Self {
        Self { entropy, clock, held: BTreeMap::new(), contentions: Contentions::default() }
    }

    /// How the last try of the action failed, where it is too early for another.
    #[must_use]
    pub fn held(&self, action: &Action, now: Duration) -> Option<OutcomeResult> {
        if let Some(message) = self.contentions.reason(action, now) {
            return Some(OutcomeResult::Held { class: ErrorClass::Wait, reason: "Contended", message });
        }
        let held = self.held.get(&key_of(action))?;
        (held.operation == digest_of(action) && now < held.not_before).then(|| held.result.clone())
    }

    /// Takes note of how an action ended.
    pub fn note(&mut self, action: &Action, outcome: &Outcome, now: Duration) {
        match &outcome.result {
            OutcomeResult::Done => {
                self.held.remove(&key_of(action));
                self.contentions.done(action, now, &self.clock);
            }
            OutcomeResult::Skipped(_) | OutcomeResult::Held { .. } => {}
            OutcomeResult::Failed { class, reason, message } => {
                let (class, reason, message) = (*class, *reason, message.clone());
                self.hold(action, OutcomeResult::Held { class, reason, message }, now);
            }
        }
    }

    fn hold(&mut self, action: &Action, result: OutcomeResult, now: Duration) {
        // What nobody tries any more is forgotten.
        self.held.retain(|_, held| now < held.not_before + STALL_DELAY);
        let operation = digest_of(action);
        let mut delays = match self.held.remove(&key_of(action)) {
            Some(held) if held.operation == operation => held.delays,
            _ => Delays::new(FIRST_DELAY, LONGEST_DELAY, self.entropy.clone()),
        };
        let delay = match result {
            OutcomeResult::Held { class: ErrorClass::Stall | ErrorClass::Fatal, .. } => STALL_DELAY,
            OutcomeResult::Held { class: ErrorClass::Wait, .. } => delays.next_delay().min(LONGEST_WAIT),
            OutcomeResult::Held { reason: UNAUTHORIZED, .. } => delays.next_delay_up_to(STALL_DELAY),
            _ => delays.next_delay_up_to(LONGEST_DELAY),
        };
        let not_before = now + delay;
        self.held.insert(key_of(action), Held { operation, result, delays, not_before });
    }
}

fn key_of(action: &Action) -> Key {
    (action.unit.clone(), action.operation.app_id().cloned())
}

fn digest_of(action: &Action) -> Digest {
    // An operation is plain data; were it ever not writable, all such would count as the same one.
    Digest::of(&serde_json::to_vec(&action.operation).unwrap_or_default())
}

#[cfg(test)]
mod tests;
