//! What becomes of conditions from pass to pass.

use jiff::SignedDuration;
use serde_json::json;

use super::*;
use crate::controller::desired::{DesiredUnit, Goal};
use crate::manifest::{DriftPolicy, ForeignDeployments, OnFailure, Recreate};
use crate::marathon::normalize::normalize_observed;
use crate::model::{App, AppId, Cause, Coordinate, Digest, Operation, SourceName, UnitKind};

fn unit(name: &str) -> UnitId {
    let source = SourceName::new("test").unwrap();
    UnitId { source, kind: UnitKind::App, name: name.parse().unwrap() }
}

/// The book with one unit `a`, which may take ten minutes, and one unit `slow`, which may take for ever.
struct Desk {
    book: StatusBook,
    desired: Desired,
    revision: &'static str,
    /// What every unit warns of.
    warnings: Vec<Warning>,
}

impl Desk {
    fn new() -> Self {
        let of = |name: &str, timeout| {
            let app = App::from_value(json!({"id": format!("/{name}")})).unwrap();
            let unit_of = DesiredUnit {
                goal: Goal::App { app: normalize_observed(&app), written: app },
                app_id: AppId::new(&format!("/{name}")).ok(),
                depends_on: Vec::new(),
                drift: DriftPolicy::Enforce,
                ignore: Vec::new(),
                protect: false,
                absent: false,
                timeout,
                on_failure: OnFailure::Hold,
                foreign_deployments: ForeignDeployments::Wait,
                recreate: Recreate::Never,
            };
            (unit(name), unit_of)
        };
        let units = BTreeMap::from([of("a", Some(Duration::from_secs(600))), of("slow", None)]);
        let order = units.keys().cloned().collect();
        let source = SourceName::new("test").unwrap();
        let desired = Desired { source, revision: Revision("r1".into()), units, order };
        Self { book: StatusBook::default(), desired, revision: "r1", warnings: Vec::new() }
    }

    /// One pass in which these units stand like this. Returns the names of those that are news.
    fn pass(&mut self, minute: i64, states: &[(&str, UnitState)], outcomes: &[Outcome]) -> Vec<String> {
        let units = states.iter().map(|(name, state)| UnitPlan {
            unit: unit(name),
            target: format!("/{name}"),
            state: state.clone(),
            warnings: self.warnings.clone(),
        });
        let revision = Some(Revision(self.revision.into()));
        let plan = Plan { revision, units: units.collect(), ..Plan::default() };
        let news = self.book.merge(&self.desired, &plan, outcomes, at(minute));
        news.iter().map(|status| status.unit.name.to_string()).collect()
    }

    fn one(&mut self, minute: i64, state: UnitState) -> Vec<String> {
        self.pass(minute, &[("a", state)], &[])
    }

    /// The first unit's conditions as `kind status reason since`, the last in minutes.
    fn conditions(&self) -> Vec<String> {
        let units = self.book.units();
        let one = |c: &Condition| {
            let since = c.since.duration_since(at(0)).as_secs() / 60;
            format!("{} {:?} {} {since}", c.kind, c.status, c.reason)
        };
        units[0].conditions.iter().map(one).collect()
    }

    fn message(&self) -> String {
        self.book.units()[0].condition("Ready").unwrap().message.clone()
    }
}

fn at(minute: i64) -> Timestamp {
    let begin: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    begin + SignedDuration::from_mins(minute)
}

fn ready() -> UnitState {
    UnitState::Ready { message: "1 of 1 running".into() }
}

fn moving(reason: &str) -> UnitState {
    UnitState::Progressing { reason: reason.into(), message: format!("message of {reason}") }
}

fn stuck(reason: &str) -> UnitState {
    UnitState::Stalled { reason: reason.into(), message: "see the manual".into() }
}

fn unknown() -> UnitState {
    UnitState::Unknown { reason: "NotObserved".into(), message: "Marathon: no answer".into() }
}

fn ended(name: &str, result: OutcomeResult) -> Outcome {
    let operation = Operation::Forget { app_id: AppId::new(&format!("/{name}")).unwrap() };
    let action =
        Action { unit: unit(name), operation, cause: Cause::New, changes: Vec::new(), after: Vec::new() };
    Outcome { action, result }
}

fn failed(name: &str, class: ErrorClass, reason: &'static str) -> Outcome {
    ended(name, OutcomeResult::Failed { class, reason, message: format!("message of {reason}") })
}

#[test]
fn since_moves_with_the_status_only() {
    let mut desk = Desk::new();
    desk.one(0, moving("create"));
    assert_eq!(desk.conditions(), ["Ready False create 0", "Reconciling True create 0"]);
    desk.one(1, moving("NotHealthy"));
    assert_eq!(desk.conditions(), ["Ready False NotHealthy 0", "Reconciling True NotHealthy 0"]);
    desk.one(2, ready());
    desk.one(3, ready());
    assert_eq!(desk.conditions(), ["Ready True Ready 2"]);
    desk.one(4, unknown());
    assert_eq!(desk.conditions(), ["Ready Unknown NotObserved 4", "Reconciling True NotObserved 4"]);
    desk.one(5, moving("update"));
    assert_eq!(desk.conditions(), ["Ready False update 5", "Reconciling True update 4"]);
    desk.one(6, stuck("NotOwned"));
    desk.one(7, stuck("Protected"));
    assert_eq!(desk.conditions(), ["Ready False Protected 5", "Stalled True Protected 6"]);
    desk.one(8, moving("create"));
    assert_eq!(desk.conditions(), ["Ready False create 5", "Reconciling True create 8"]);
    assert!(!desk.book.units()[0].is_ready());
}

#[test]
fn what_takes_longer_than_it_may_is_stalled_and_still_tried() {
    let mut desk = Desk::new();
    desk.one(0, ready());
    desk.one(5, moving("update"));
    desk.one(15, moving("NotHealthy"));
    assert_eq!(desk.conditions(), ["Ready False NotHealthy 5", "Reconciling True NotHealthy 5"]);
    assert_eq!(desk.one(16, moving("NotHealthy")), ["a"]);
    let late = ["Ready False NotReadyInTime 5", "Reconciling True NotReadyInTime 5"];
    assert_eq!(desk.conditions()[..2], late);
    assert_eq!(desk.conditions()[2..], ["Stalled True NotReadyInTime 16"]);
    assert_eq!(desk.message(), "not ready within 10 min (NotHealthy): message of NotHealthy");
    assert_eq!(desk.one(20, moving("NotHealthy")), Vec::<String>::new());
    assert_eq!(desk.conditions()[2..], ["Stalled True NotReadyInTime 16"]);
    desk.one(21, ready());
    assert_eq!(desk.conditions(), ["Ready True Ready 21"]);
}

#[test]
fn the_time_allowed_starts_anew_with_a_new_manifest_only() {
    let mut desk = Desk::new();
    desk.one(0, moving("create"));
    desk.revision = "r2";
    desk.one(9, moving("update"));
    assert_eq!(desk.conditions(), ["Ready False update 0", "Reconciling True update 9"]);
    desk.one(18, moving("NotHealthy"));
    assert_eq!(desk.conditions().len(), 2);
    desk.one(20, moving("update"));
    assert_eq!(desk.conditions()[2..], ["Stalled True NotReadyInTime 20"]);
}

#[test]
fn a_clock_that_is_put_back_makes_nothing_late() {
    let mut desk = Desk::new();
    desk.one(60, moving("create"));
    desk.one(0, moving("create"));
    assert_eq!(desk.conditions(), ["Ready False create 60", "Reconciling True create 60"]);
}

#[test]
fn what_has_no_time_limit_is_never_late() {
    let mut desk = Desk::new();
    for minute in [0, 100_000] {
        desk.pass(minute, &[("slow", moving("publish"))], &[]);
    }
    assert_eq!(desk.conditions(), ["Ready False publish 0", "Reconciling True publish 0"]);
}

#[test]
fn the_class_of_a_failure_decides_whether_it_is_tried_on() {
    for (class, kind) in [
        (ErrorClass::Retry, "Reconciling"),
        (ErrorClass::Wait, "Reconciling"),
        (ErrorClass::Stall, "Stalled"),
        (ErrorClass::Fatal, "Stalled"),
    ] {
        let mut desk = Desk::new();
        desk.one(0, ready());
        desk.pass(1, &[("a", moving("update"))], &[failed("a", class, "Test")]);
        assert_eq!(desk.conditions(), ["Ready False Test 1".to_owned(), format!("{kind} True Test 1")]);
        assert_eq!(desk.message(), "message of Test");
        desk.one(2, ready());
        assert_eq!(desk.conditions(), ["Ready True Ready 2"]);
    }
}

#[test]
fn only_the_last_failure_of_the_unit_itself_counts() {
    let mut desk = Desk::new();
    let skipped = ended("a", OutcomeResult::Skipped("it is gone by now".into()));
    desk.pass(0, &[("a", moving("update"))], &[failed("slow", ErrorClass::Stall, "Other"), skipped]);
    assert_eq!(desk.conditions(), ["Ready False update 0", "Reconciling True update 0"]);
    let two = [failed("a", ErrorClass::Stall, "First"), failed("a", ErrorClass::Retry, "Second")];
    desk.pass(1, &[("a", moving("update"))], &two);
    assert_eq!(desk.conditions(), ["Ready False Second 0", "Reconciling True Second 0"]);
}

#[test]
fn what_was_done_just_now_is_said() {
    let mut desk = Desk::new();
    desk.pass(0, &[("a", moving("create"))], &[ended("a", OutcomeResult::Done)]);
    assert_eq!(desk.conditions(), ["Ready False forget 0", "Reconciling True forget 0"]);
    let mut deleted = ended("a", OutcomeResult::Done);
    deleted.action.operation = Operation::DeleteApp {
        app_id: AppId::new("/a").unwrap(),
        observed_version: "v".into(),
        cancels: Vec::new(),
        recreation: None,
    };
    for (cause, message) in [
        (Cause::Removed, "removed; its tasks are stopping"),
        (Cause::Changed, "deleted with its volumes; it is created anew when it is gone"),
    ] {
        deleted.action.cause = cause;
        desk.pass(0, &[("a", moving("delete"))], std::slice::from_ref(&deleted));
        assert_eq!(desk.message(), message);
    }
    let mut published = ended("slow", OutcomeResult::Done);
    published.action.operation = Operation::Publish {
        coordinate: Coordinate::new("slow".parse().unwrap(), "1".parse().unwrap()),
        digest: Digest::of(b""),
        release_version: 7,
    };
    desk.pass(1, &[("slow", moving("publish"))], &[published]);
    assert_eq!(
        (desk.conditions(), desk.message()),
        (vec!["Ready True Ready 1".into()], "published as release 7".into())
    );
}

#[test]
fn what_a_unit_left_behind_when_it_moved_does_not_make_it_unready() {
    let mut desk = Desk::new();
    let mut old = ended("a", OutcomeResult::Done);
    old.action.operation = Operation::Forget { app_id: AppId::new("/before").unwrap() };
    desk.pass(0, &[("a", ready())], &[old.clone()]);
    assert_eq!(desk.conditions(), ["Ready True Ready 0"]);
    // That it cannot be removed must be seen somewhere.
    old.result = failed("a", ErrorClass::Stall, "Forbidden").result;
    desk.pass(1, &[("a", ready())], &[old]);
    assert_eq!(desk.conditions(), ["Ready False Forbidden 1", "Stalled True Forbidden 1"]);
}

#[test]
fn a_failure_that_goes_on_too_long_is_late_like_anything_else() {
    let mut desk = Desk::new();
    for minute in [0, 11] {
        desk.pass(minute, &[("a", moving("create"))], &[failed("a", ErrorClass::Retry, "Timeout")]);
    }
    assert_eq!(desk.conditions()[2..], ["Stalled True NotReadyInTime 11"]);
    assert_eq!(desk.message(), "not ready within 10 min (Timeout): message of Timeout");
}

#[test]
fn only_news_is_told() {
    let mut desk = Desk::new();
    let nothing = Vec::<String>::new();
    assert_eq!(desk.pass(0, &[("a", ready()), ("slow", ready())], &[]), ["a", "slow"]);
    assert_eq!(desk.pass(1, &[("a", ready()), ("slow", ready())], &[]), nothing);
    // Another number in the message, another revision: kept, and no news.
    let more = UnitState::Ready { message: "2 of 2 running".into() };
    desk.revision = "r2";
    assert_eq!(desk.pass(2, &[("a", more), ("slow", ready())], &[]), nothing);
    assert_eq!(desk.message(), "2 of 2 running");
    assert_eq!(desk.book.units()[0].observed_revision, Some(Revision("r2".into())));
    assert_eq!(desk.book.revision(), Some(&Revision("r2".into())));
    // Another reason is news, and so is a unit that comes; one that goes is gone.
    assert_eq!(desk.pass(3, &[("a", moving("update"))], &[]), ["a"]);
    assert_eq!(desk.book.units().len(), 1);
    assert_eq!(desk.pass(4, &[("a", moving("NotHealthy")), ("slow", ready())], &[]), ["a", "slow"]);
}

#[test]
fn warnings_change_no_condition_and_are_told_once_for_each_change() {
    let warning = |path: &str| vec![Warning { path: path.into(), message: "dropped".into() }];
    let mut desk = Desk::new();
    desk.one(0, ready());
    let told = |desk: &mut Desk, state: UnitState| {
        let before = desk.book.units();
        assert_eq!(desk.one(1, state), Vec::<String>::new(), "it is no other state");
        let after = desk.book.units();
        newly_warned(&before, &after).map(|unit| unit.warnings[0].path.clone()).collect::<Vec<_>>()
    };
    desk.warnings = warning("/one");
    assert_eq!(told(&mut desk, ready()), ["/one"]);
    assert_eq!(told(&mut desk, ready()), [""; 0]);
    desk.warnings = warning("/two");
    assert_eq!(told(&mut desk, ready()), ["/two"]);
    assert_eq!(desk.conditions(), ["Ready True Ready 0"]);
    // What the registry or Marathon does not tell for a while is not forgotten, nor told anew afterwards.
    desk.one(2, unknown());
    desk.warnings.clear();
    assert_eq!(told(&mut desk, unknown()), [""; 0]);
    assert_eq!(desk.book.units()[0].warnings, warning("/two"));
    desk.one(3, ready());
    assert_eq!((desk.book.units()[0].warnings.len(), told(&mut desk, ready())), (0, vec![]));
}
