//! Remembers what failed, so that it is not tried again at once.
//!
//! An action that Marathon refused for good is not sent again until it would send something else; one that may
//! work later is tried again after a growing delay. Meanwhile its unit keeps saying why.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::clock::Entropy;
use crate::model::{Action, AppId, Cause, Digest, ErrorClass, Outcome, OutcomeResult, UnitId};
use crate::retry::Delays;

const FIRST_DELAY: Duration = Duration::from_millis(750);
const LONGEST_DELAY: Duration = Duration::from_secs(60);
/// What waits for somebody else is looked at more often; but every try writes records, so not all the time.
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// Even a refusal is tried again after this long: the server may have been changed.
const STALL_DELAY: Duration = Duration::from_secs(600);

/// How often an app is put right within the window before it is left alone.
const MOST_CORRECTIONS: usize = 5;
const CONTENTION_WINDOW: Duration = Duration::from_secs(600);

/// What failed lately.
pub struct Holds {
    entropy: Entropy,
    held: BTreeMap<Key, Held>,
    /// When each app was last put right.
    corrections: BTreeMap<AppId, VecDeque<Duration>>,
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
    /// Nothing failed yet.
    #[must_use]
    pub fn new(entropy: Entropy) -> Self {
        Self { entropy, held: BTreeMap::new(), corrections: BTreeMap::new() }
    }

    /// How the last try of the action failed, where it is too early for another.
    #[must_use]
    pub fn held(&self, action: &Action, now: Duration) -> Option<OutcomeResult> {
        if let Some(contended) = self.contended(action, now) {
            return Some(contended);
        }
        let held = self.held.get(&key_of(action))?;
        (held.operation == digest_of(action) && now < held.not_before).then(|| held.result.clone())
    }

    /// Takes note of how an action ended.
    pub fn note(&mut self, action: &Action, outcome: &Outcome, now: Duration) {
        match &outcome.result {
            OutcomeResult::Done => {
                self.held.remove(&key_of(action));
                self.corrected(action, now);
            }
            OutcomeResult::Skipped(_) | OutcomeResult::Held { .. } => {}
            OutcomeResult::Failed { class, reason, message } => {
                let (class, reason, message) = (*class, *reason, message.clone());
                self.hold(action, OutcomeResult::Held { class, reason, message }, class, now);
            }
        }
    }

    /// Who puts the same thing right again and again has another writer against him, and each round restarts tasks.
    fn contended(&self, action: &Action, now: Duration) -> Option<OutcomeResult> {
        let lately = self.corrections.get(action.operation.app_id()?)?;
        let count = lately.iter().filter(|at| now < **at + CONTENTION_WINDOW).count();
        if action.cause != Cause::Drifted || count < MOST_CORRECTIONS {
            return None;
        }
        let minutes = CONTENTION_WINDOW.as_secs() / 60;
        let message = format!(
            "put right {count} times within {minutes} min, and somebody changed it again; find out who, it is left alone \
             for a while"
        );
        Some(OutcomeResult::Held { class: ErrorClass::Wait, reason: "Contended", message })
    }

    fn corrected(&mut self, action: &Action, now: Duration) {
        let Some(app_id) = action.operation.app_id().filter(|_| action.cause == Cause::Drifted) else {
            return;
        };
        self.corrections.retain(|_, lately| lately.back().is_some_and(|at| now < *at + CONTENTION_WINDOW));
        let lately = self.corrections.entry(app_id.clone()).or_default();
        lately.push_back(now);
        if lately.len() > MOST_CORRECTIONS {
            lately.pop_front();
        }
    }

    fn hold(&mut self, action: &Action, result: OutcomeResult, class: ErrorClass, now: Duration) {
        // What nobody tries any more is forgotten.
        self.held.retain(|_, held| now < held.not_before + STALL_DELAY);
        let operation = digest_of(action);
        let mut delays = match self.held.remove(&key_of(action)) {
            Some(held) if held.operation == operation => held.delays,
            _ => Delays::new(FIRST_DELAY, LONGEST_DELAY, self.entropy.clone()),
        };
        let delay = match class {
            ErrorClass::Wait => delays.next_delay().min(LONGEST_WAIT),
            ErrorClass::Retry => delays.next_delay(),
            ErrorClass::Stall | ErrorClass::Fatal => STALL_DELAY,
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
mod tests {
    use super::*;
    use crate::model::{Operation, SourceName, UnitKind, UnitName};

    fn action(app: &str) -> Action {
        let unit = UnitId {
            source: SourceName::new("s").unwrap(),
            kind: UnitKind::App,
            name: UnitName::new("u").unwrap(),
        };
        let operation = Operation::Forget { app_id: AppId::new(app).unwrap() };
        Action { unit, operation, cause: Cause::Removed, changes: Vec::new(), after: Vec::new() }
    }

    fn failed(action: &Action, class: ErrorClass) -> Outcome {
        let result = OutcomeResult::Failed { class, reason: "Test", message: "no".to_owned() };
        Outcome { action: action.clone(), result }
    }

    #[test]
    fn a_refused_action_is_held_until_it_is_another_one() {
        let mut holds = Holds::new(Entropy::seeded(1));
        let (one, two) = (action("/one"), action("/two"));
        holds.note(&one, &failed(&one, ErrorClass::Stall), Duration::ZERO);
        let held = holds.held(&one, Duration::from_secs(60));
        assert!(matches!(held, Some(OutcomeResult::Held { reason: "Test", .. })), "{held:?}");
        assert!(holds.held(&two, Duration::from_secs(60)).is_none());
        assert!(holds.held(&one, STALL_DELAY).is_none());
    }

    #[test]
    fn what_is_changed_again_and_again_is_left_alone_for_a_while() {
        let mut holds = Holds::new(Entropy::seeded(1));
        let mut one = action("/one");
        one.cause = Cause::Drifted;
        let done = Outcome { action: one.clone(), result: OutcomeResult::Done };
        for minute in 0..5 {
            let now = Duration::from_secs(60 * minute);
            assert!(holds.held(&one, now).is_none(), "{minute}");
            holds.note(&one, &done, now);
        }
        let held = holds.held(&one, Duration::from_secs(300));
        assert!(matches!(held, Some(OutcomeResult::Held { reason: "Contended", .. })), "{held:?}");
        let changed = Action { cause: Cause::Changed, ..one.clone() };
        assert!(
            holds.held(&changed, Duration::from_secs(300)).is_none(),
            "a new manifest is followed at once"
        );
        assert!(holds.held(&one, Duration::from_secs(601)).is_none());
    }

    #[test]
    fn two_apps_of_one_unit_are_held_each_by_itself() {
        let mut holds = Holds::new(Entropy::seeded(1));
        let (old, older) = (action("/old"), action("/older"));
        for action in [&old, &older] {
            holds.note(action, &failed(action, ErrorClass::Stall), Duration::ZERO);
        }
        let now = Duration::from_secs(60);
        assert!(holds.held(&old, now).is_some() && holds.held(&older, now).is_some());
    }

    #[test]
    fn who_waits_for_somebody_else_looks_again_ever_more_seldom_but_soon() {
        let mut holds = Holds::new(Entropy::seeded(1));
        let one = action("/one");
        let mut now = Duration::ZERO;
        for _ in 0..20 {
            holds.note(&one, &failed(&one, ErrorClass::Wait), now);
            now += Duration::from_secs(5);
        }
        holds.note(&one, &failed(&one, ErrorClass::Wait), now);
        assert!(holds.held(&one, now + Duration::from_secs(4)).is_some());
        assert!(holds.held(&one, now + Duration::from_secs(5)).is_none());
    }

    #[test]
    fn delays_of_one_action_grow_and_success_forgets_them() {
        let mut holds = Holds::new(Entropy::seeded(1));
        let one = action("/one");
        let mut now = Duration::ZERO;
        for _ in 0..10 {
            holds.note(&one, &failed(&one, ErrorClass::Retry), now);
            now += Duration::from_secs(1);
        }
        assert!(holds.held(&one, now + Duration::from_secs(5)).is_some());
        let done = Outcome { result: OutcomeResult::Done, ..failed(&one, ErrorClass::Retry) };
        holds.note(&one, &done, now);
        assert!(holds.held(&one, now).is_none());
    }
}
