//! The lines that no golden plan shows: how actions ended, what a unit's line says, plans of a restart.

use jiff::Timestamp;
use serde_json::json;

use super::*;
use crate::model::{
    App, AppId, BookEntry, Condition, Coordinate, Digest, Drift, ErrorClass, SnapshotPath, SourceName,
    UnitKind, UnitPlan, UnitState, Warning,
};

fn unit(name: &str) -> UnitId {
    let source = SourceName::new("test").unwrap();
    UnitId { source, kind: UnitKind::App, name: name.parse().unwrap() }
}

fn action(operation: Operation, cause: Cause) -> Action {
    Action { unit: unit("a"), operation, cause, changes: Vec::new(), after: Vec::new() }
}

fn app_id() -> AppId {
    AppId::new("/a").unwrap()
}

fn app() -> App {
    App::from_value(json!({"id": "/a", "instances": 2})).unwrap()
}

fn book() -> BookEntry {
    BookEntry { applied: app(), applied_digest: app().digest(), inputs: None, protect: false, failed: None }
}

fn publish() -> Operation {
    let coordinate = Coordinate::new("hello".parse().unwrap(), "1.0".parse().unwrap());
    Operation::Publish { coordinate, digest: Digest::of(b"x"), release_version: 3 }
}

fn create() -> Operation {
    Operation::CreateApp { app_id: app_id(), app: app(), book: book() }
}

fn update() -> Operation {
    let (app_id, effect) = (app_id(), Effect::Scale);
    Operation::UpdateApp {
        app_id,
        app: app(),
        book: book(),
        observed_version: "v".into(),
        effect,
        from_good: true,
        cancels: Vec::new(),
    }
}

fn delete() -> Operation {
    Operation::DeleteApp {
        app_id: app_id(),
        observed_version: "v".into(),
        cancels: Vec::new(),
        recreation: None,
    }
}

fn uninstall() -> Operation {
    Operation::UninstallApp {
        app_id: app_id(),
        app: app(),
        observed_version: "v".into(),
        cancels: Vec::new(),
    }
}

fn adopt() -> Operation {
    Operation::Adopt { app_id: app_id(), book: book(), observed_version: "v".into(), deployment: None }
}

fn bare(target: &str) -> UnitStatus {
    let (unit, target) = (unit("a"), target.to_owned());
    UnitStatus { unit, target, observed_revision: None, conditions: Vec::new(), warnings: Vec::new() }
}

fn change(path: &str, from: Value, to: Value) -> Change {
    Change {
        path: path.into(),
        from: Some(from).filter(|v| !v.is_null()),
        to: Some(to).filter(|v| !v.is_null()),
    }
}

fn done(operation: Operation, cause: Cause) -> Option<String> {
    outcome_line(&Outcome { action: action(operation, cause), result: OutcomeResult::Done })
}

#[test]
fn what_was_done_is_one_line_and_bookkeeping_none() {
    let line = |operation, cause| done(operation, cause).unwrap();
    assert_eq!(line(publish(), Cause::New), "  App/a: published hello 1.0 as release 3");
    assert_eq!(line(create(), Cause::New), "  App/a: created /a");
    assert_eq!(line(create(), Cause::Drifted), "  App/a: created /a (somebody had removed it)");
    assert_eq!(line(create(), Cause::Resumed), "  App/a: created /a (its first try had no known end)");
    assert_eq!(line(update(), Cause::Changed), "  App/a: updated /a: scaled, no task restarts");
    let drifted = "  App/a: updated /a: scaled, no task restarts (somebody had changed it)";
    assert_eq!(line(update(), Cause::Drifted), drifted);
    assert_eq!(line(delete(), Cause::Removed), "  App/a: removed /a");
    assert_eq!(line(uninstall(), Cause::Removed), "  App/a: told to uninstall itself: /a");
    let anew =
        "  App/a: removed /a with its volumes (the change cannot be made in place; it is created anew)";
    assert_eq!(line(delete(), Cause::Changed), anew);
    let anew = "  App/a: removed /a (it had uninstalled itself; it is created anew)";
    assert_eq!(line(delete(), Cause::Resumed), anew);
    assert_eq!(done(adopt(), Cause::Resumed), None);
    assert_eq!(done(Operation::Forget { app_id: app_id() }, Cause::Removed), None);
}

#[test]
fn what_was_changed_stands_below_the_line() {
    let mut action = action(update(), Cause::Changed);
    action.changes = vec![
        change("/instances", json!(1), json!(2)),
        change("/env/A", Value::Null, json!("x")),
        change("/labels/DCOS_PACKAGE_DEFINITION", json!("aGVsbG8="), json!("d29ybGQ=")),
    ];
    let line = outcome_line(&Outcome { action, result: OutcomeResult::Done }).unwrap();
    let expected = "  App/a: updated /a: scaled, no task restarts
      /instances: 1 -> 2
      /env/A: nothing -> \"x\"
      /labels/DCOS_PACKAGE_DEFINITION: the package's definition changes";
    assert_eq!(line, expected);
}

#[test]
fn a_failure_is_told_and_what_was_not_tried_is_not() {
    let ended = |result| outcome_line(&Outcome { action: action(update(), Cause::Changed), result });
    let message = "Marathon refuses the definition: Object is not valid".to_owned();
    let failed = OutcomeResult::Failed { class: ErrorClass::Stall, reason: "Invalid", message };
    let line = ended(failed).unwrap();
    assert!(
        line.starts_with("  App/a: update of /a") && line.contains(" failed: Marathon refuses"),
        "{line}"
    );
    assert_eq!(ended(OutcomeResult::Skipped("it is gone by now".into())), None);
}

#[test]
fn a_long_value_is_shown_by_its_two_ends() {
    let (long, other) = (format!("{}Ä", "ä".repeat(200)), "x".repeat(70));
    let text = change_text(&change("/cmd", json!(long), json!(other)));
    let start = format!("\"{}", "ä".repeat(35));
    let end = format!("{}Ä\"", "ä".repeat(34));
    assert_eq!(text, format!("/cmd: {start}…{end} -> \"{other}\""));
}

#[test]
fn the_end_of_problems_is_told() {
    let problem = Problem::of_file(&SnapshotPath::root().join("a.yaml").unwrap(), "is empty").at_line(2);
    let text = problems_text(&[problem]);
    assert!(text.ends_with("1 problem(s).\n  a.yaml:2: is empty"), "{text}");
    assert_eq!(problems_text(&[]), "The manifest is good again.");
}

#[test]
fn a_plan_after_a_restart_says_what_is_carried_on() {
    let mut removal = action(Operation::Forget { app_id: app_id() }, Cause::Removed);
    removal.after = vec![0, 1, 2];
    let actions =
        vec![action(create(), Cause::Resumed), action(adopt(), Cause::Resumed), removal.clone(), removal];
    let revision = Some(Revision("sha256:0123456789abcdef".into()));
    let text = plan_text(&Plan { revision, actions, ..Plan::default() });
    let expected = "Plan for revision 0123456789ab:
  + create   /a                               2 instance(s)
             App/a: begun, and its end is not known; carried to its end
  = adopt    /a                               in our books only
             App/a: begun, and its end is not known; carried to its end
  = forget   /a                               in our books only
             App/a: it is gone and no longer desired; after create of App/a and 2 more
  = forget   /a                               in our books only
             App/a: it is gone and no longer desired; after create of App/a and 2 more
0 to publish, 1 to create, 0 to update, 0 to delete; 0 blocked, 0 waiting.
";
    assert_eq!(text, expected);
}

#[test]
fn without_a_manifest_that_is_said() {
    let text = plan_text(&Plan::default());
    assert_eq!(text, "No manifest is in force; nothing is touched.\n");
}

#[test]
fn tolerated_drift_is_shown() {
    let drift = Drift {
        unit: unit("a"),
        app_id: app_id(),
        changes: vec![change("/cmd", json!("theirs"), json!("ours"))],
        corrected: false,
    };
    let state = UnitState::Ready { message: "1 of 1 running".into() };
    let units = vec![UnitPlan { unit: unit("a"), target: "/a".into(), state, warnings: vec![] }];
    let revision = Some(Revision("r1".into()));
    let text = plan_text(&Plan { revision, drift: vec![drift], units, ..Plan::default() });
    assert!(text.contains("? drift    /a") && text.contains("/cmd: \"theirs\" -> \"ours\""), "{text}");
    assert!(text.contains("1 of 1 unit(s) differ") && !text.contains("as desired"), "{text}");
}

#[test]
fn a_unit_is_one_line() {
    let line = |status| {
        let (reason, message) = ("NotHealthy".into(), "0 of 1 running".into());
        let ready = Condition { kind: "Ready".into(), status, reason, message, since: Timestamp::UNIX_EPOCH };
        let (target, conditions) = ("/a".to_owned(), vec![ready]);
        unit_line(&UnitStatus { conditions, ..bare(&target) })
    };
    let words = |text: String| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>().join(" ");
    assert_eq!(words(line(ConditionStatus::True)), "App/a Ready /a 0 of 1 running");
    assert_eq!(words(line(ConditionStatus::False)), "App/a NotReady /a 0 of 1 running");
    assert_eq!(words(line(ConditionStatus::Unknown)), "App/a Unknown /a 0 of 1 running");
    assert_eq!(words(unit_line(&bare("/a"))), "App/a Unknown /a");
}

#[test]
fn warnings_stand_below_the_unit_and_are_lines_of_their_own_in_the_log() {
    let warning = |path: &str, message: &str| Warning { path: path.into(), message: message.into() };
    let warnings = vec![warning("/typo", "dropped"), warning("", "3 more")];
    let unit = UnitStatus { warnings, ..bare("/a") };
    let text = status_text(None, std::slice::from_ref(&unit), &[]);
    assert!(text.ends_with("\n    Warning      /typo: dropped\n    Warning      3 more\n"), "{text}");
    assert_eq!(warnings_text(&unit), "  App/a: warning: /typo: dropped\n  App/a: warning: 3 more");
}
