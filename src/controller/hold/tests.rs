//! Delays of what failed, and who gives in to another writer.

use super::*;
use crate::model::{App, BookEntry, Cause, Operation, SourceName, UnitKind, UnitName};

fn new() -> Holds {
    Holds::new(Entropy::seeded(1), Clock::fixed(0))
}

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
    let mut holds = new();
    let (one, two) = (action("/one"), action("/two"));
    holds.note(&one, &failed(&one, ErrorClass::Stall), Duration::ZERO);
    let held = holds.held(&one, Duration::from_secs(60));
    assert!(matches!(held, Some(OutcomeResult::Held { reason: "Test", .. })), "{held:?}");
    assert!(holds.held(&two, Duration::from_secs(60)).is_none());
    assert!(holds.held(&one, STALL_DELAY).is_none());
}

/// An action that puts an app right, as the manifest wants it.
fn correction(wish: &str) -> Action {
    let book = BookEntry {
        inputs: None,
        applied: App::default(),
        applied_digest: Digest::of(wish.as_bytes()),
        protect: false,
        failed: None,
    };
    let operation = Operation::CreateApp { app_id: AppId::new("/one").unwrap(), app: App::default(), book };
    Action { operation, cause: Cause::Drifted, ..action("/one") }
}

/// Somebody who changes an app whenever it was put right, and the time.
struct Fight {
    holds: Holds,
    clock: Clock,
    action: Action,
}

impl Fight {
    fn new() -> Self {
        let clock = Clock::fixed(0);
        let holds = Holds::new(Entropy::seeded(1), clock.clone());
        Self { holds, clock, action: correction("wish") }
    }

    fn done(&mut self, action: &Action) {
        let done = Outcome { action: action.clone(), result: OutcomeResult::Done };
        self.holds.note(action, &done, self.clock.boot());
    }

    /// Puts the app right once a minute until that is held, and says how often it was.
    fn rounds(&mut self) -> usize {
        let mut rounds = 0;
        while self.message().is_none() {
            self.done(&self.action.clone());
            rounds += 1;
            self.clock.advance(Duration::from_secs(60));
        }
        rounds
    }

    /// Why the app is left alone.
    fn message(&self) -> Option<String> {
        match self.holds.held(&self.action, self.clock.boot()) {
            Some(OutcomeResult::Held { class: ErrorClass::Wait, reason: "Contended", message }) => {
                Some(message)
            }
            None => None,
            other => panic!("{other:?}"),
        }
    }

    /// Waits in minutes until the app is not left alone any more, and says how long that was.
    fn pause(&mut self) -> u64 {
        let mut minutes = 0;
        while self.message().is_some() {
            self.clock.advance(Duration::from_secs(60));
            minutes += 1;
        }
        minutes
    }
}

#[test]
fn what_is_changed_again_and_again_is_left_alone_ever_longer() {
    let mut fight = Fight::new();
    // The first minute of each pause is over when it is found.
    for minutes in [10, 20, 40, 80, 160, 320, 640, 1280, 1440, 1440] {
        assert_eq!(fight.rounds(), 5);
        assert_eq!(fight.pause(), minutes - 1);
    }
}

#[test]
fn it_is_said_until_when_and_what_ends_it_and_always_the_same() {
    let mut fight = Fight::new();
    fight.rounds();
    let message = fight.message().unwrap();
    let begin = "put right 5 times within 10 min, and somebody changed it again; it is left alone until \
                 1970-01-01T00:14:00Z: ";
    assert!(message.starts_with(begin) && message.contains("A change of the unit ends that"), "{message}");
    fight.clock.advance(Duration::from_millis(60_017));
    assert_eq!(fight.message().unwrap(), message);
}

#[test]
fn a_pause_ends_with_another_wish_and_begins_anew_after_a_quiet_time() {
    let mut fight = Fight::new();
    for _ in 0..2 {
        assert_eq!(fight.rounds(), 5);
        fight.pause();
    }
    // Quiet for less than the last pause, and then for as long.
    fight.clock.advance(Duration::from_secs(19 * 60));
    assert_eq!((fight.rounds(), fight.pause()), (5, 39));
    fight.clock.advance(Duration::from_secs(40 * 60));
    assert_eq!((fight.rounds(), fight.pause()), (5, 9));

    // What is only written down, or resumed, wants the same.
    fight.rounds();
    for cause in [Cause::Changed, Cause::Resumed] {
        let confirmed = Operation::Confirm { app_id: AppId::new("/one").unwrap() };
        for operation in [confirmed, fight.action.operation.clone()] {
            fight.done(&Action { operation, cause, ..fight.action.clone() });
            assert!(fight.message().is_some());
        }
    }
    let changed = Action { cause: Cause::Changed, ..correction("another wish") };
    assert!(fight.holds.held(&changed, fight.clock.boot()).is_none(), "a new manifest is followed at once");
    fight.done(&changed);
    assert!(fight.message().is_none());
    fight.action = correction("another wish");
    assert_eq!((fight.rounds(), fight.pause()), (5, 9));
}

#[test]
fn two_apps_of_one_unit_are_held_each_by_itself() {
    let mut holds = new();
    let (old, older) = (action("/old"), action("/older"));
    for action in [&old, &older] {
        holds.note(action, &failed(action, ErrorClass::Stall), Duration::ZERO);
    }
    let now = Duration::from_secs(60);
    assert!(holds.held(&old, now).is_some() && holds.held(&older, now).is_some());
}

#[test]
fn who_waits_for_somebody_else_looks_again_ever_more_seldom_but_soon() {
    let mut holds = new();
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
    let mut holds = new();
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

#[test]
fn who_is_not_let_in_tries_ever_more_seldom_up_to_a_stall() {
    let longest = |reason: &'static str| {
        let (mut holds, one, mut delays) = (new(), action("/one"), Vec::new());
        let mut now = Duration::ZERO;
        for _ in 0..25 {
            let result = OutcomeResult::Failed { class: ErrorClass::Retry, reason, message: "no".to_owned() };
            holds.note(&one, &Outcome { action: one.clone(), result }, now);
            let begun = now;
            while holds.held(&one, now).is_some() {
                now += Duration::from_secs(1);
            }
            delays.push(now.saturating_sub(begun).as_secs());
        }
        assert!(delays[0] <= 2 && delays[4] <= 6, "{delays:?}");
        delays.pop().unwrap()
    };
    assert!((600..=750).contains(&longest("Unauthorized")));
    assert!((60..=75).contains(&longest("Timeout")));
}
