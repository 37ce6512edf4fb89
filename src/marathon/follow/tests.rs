//! A table of everything that can be seen after a change, and laws that hold for all of it.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::marathon::model::Deployment;
use crate::marathon::normalize::normalize;

const BEFORE: &str = "2026-01-01T00:00:00.000Z";
const OURS: &str = "2026-01-02T00:00:00.000Z";
const LATER: &str = "2026-01-03T00:00:00.000Z";

fn definition(command: &str) -> App {
    let app = json!({"id": "/a", "cmd": command, "instances": 2, "user": if command == "old" { "root" } else { "" }});
    let mut app = App::from_value(app).unwrap();
    app.0.retain(|key, value| key != "user" || *value != json!(""));
    normalize(&app).unwrap().into_app()
}

fn task(version: &str) -> Value {
    json!({"version": version, "state": "TASK_RUNNING", "host": "h"})
}

/// The app as it is seen: with that definition, of that version, held by these, with these tasks.
fn seen(command: &str, version: &str, deployments: &[&str], tasks: &[&str]) -> App {
    let mut app = definition(command);
    let deployments: Vec<_> = deployments.iter().map(|id| json!({"id": id})).collect();
    let tasks: Vec<_> = tasks.iter().map(|version| task(version)).collect();
    let status = json!({
        "version": version, "versionInfo": {"lastConfigChangeAt": version}, "deployments": deployments,
        "tasks": tasks,
    });
    app.0.extend(status.as_object().unwrap().clone());
    app
}

struct Case {
    wanted: App,
    old: App,
    created: bool,
    forced: bool,
    age: u64,
}

impl Case {
    fn new() -> Self {
        Self { wanted: definition("new"), old: definition("old"), created: false, forced: false, age: 10 }
    }

    fn follow(&self, app: Option<&App>, listed: &[&str], earlier: Option<Verdict>) -> Followup {
        let deployments: Vec<_> =
            listed.iter().map(|id| Deployment { id: (*id).into(), ..Deployment::default() }).collect();
        let before = Before { version: BEFORE, app: Some(&self.old) };
        let change = Followed {
            deployment: Some("ours"),
            version: OURS,
            wanted: &self.wanted,
            ignore: &[],
            before: (!self.created).then_some(before),
            forced: self.forced,
            age: Duration::from_secs(self.age),
            deadline: Duration::from_secs(60),
            now: LATER.parse().unwrap(),
        };
        follow(&change, app, &Evidence { deployments: &deployments, ..Evidence::default() }, earlier)
    }

    fn verdict(&self, app: &App, listed: &[&str]) -> Verdict {
        self.follow(Some(app), listed, None).verdict
    }
}

const WAITS: Verdict = Verdict::UnderWay { seems: None };

fn ended(ending: Ending) -> Verdict {
    Verdict::Ended(ending)
}

fn seems(ending: Ending) -> Verdict {
    Verdict::UnderWay { seems: Some(ending) }
}

#[test]
fn one_look_at_a_change_that_was_not_forced() {
    let case = Case::new();
    let table = [
        ("it runs", seen("new", OURS, &["ours"], &[BEFORE, OURS]), vec!["ours"], WAITS),
        ("the app names it, the list does not", seen("new", OURS, &["ours"], &[OURS, OURS]), vec![], WAITS),
        ("the list names it, the app does not", seen("new", OURS, &[], &[OURS, OURS]), vec!["ours"], WAITS),
        ("all new", seen("new", OURS, &[], &[OURS, OURS]), vec![], ended(Ending::Done)),
        ("others deploy others", seen("new", OURS, &[], &[OURS, OURS]), vec!["x"], ended(Ending::Done)),
        ("a stranger holds it", seen("new", OURS, &["x"], &[OURS, OURS]), vec!["x"], WAITS),
        ("one is missing", seen("new", OURS, &[], &[OURS]), vec![], WAITS),
        ("an old one ends", seen("new", OURS, &[], &[OURS, OURS, BEFORE]), vec![], WAITS),
        ("old and new", seen("new", OURS, &[], &[OURS, BEFORE]), vec![], seems(Ending::Halted)),
        ("without effect", seen("new", BEFORE, &[], &[BEFORE, BEFORE]), vec![], ended(Ending::Done)),
        ("restarted by others", seen("new", LATER, &[], &[LATER, LATER]), vec![], ended(Ending::Done)),
        ("somebody else's", seen("other", LATER, &[], &[LATER, LATER]), vec![], ended(Ending::Superseded)),
        ("and held", seen("other", LATER, &["x"], &[OURS]), vec!["x"], ended(Ending::Superseded)),
        ("undone", seen("old", LATER, &["x"], &[OURS]), vec!["x"], ended(Ending::RolledBack)),
        ("never begun", seen("old", BEFORE, &[], &[BEFORE, BEFORE]), vec![], ended(Ending::RolledBack)),
        ("older than ours", seen("other", BEFORE, &[], &[BEFORE]), vec![], ended(Ending::RolledBack)),
    ];
    for (what, app, listed, expected) in table {
        let followup = case.follow(Some(&app), &listed, None);
        assert_eq!(followup.verdict, expected, "{what}: {}", followup.reason);
    }
    assert_eq!(case.follow(None, &[], None).verdict, ended(Ending::Removed));
    let created = Case { created: true, ..Case::new() };
    assert_eq!(created.follow(None, &[], None).verdict, ended(Ending::RolledBack));
    assert_eq!(created.verdict(&seen("other", LATER, &[], &[]), &[]), ended(Ending::Superseded));
}

#[test]
fn one_good_moment_of_what_fails_again_and_again_is_no_success() {
    let failing = |at: &str| {
        let mut app = seen("new", OURS, &[], &[OURS, OURS]);
        app.0.insert("lastTaskFailure".into(), json!({"timestamp": at, "version": OURS}));
        app
    };
    // Our clock shows midnight of the third.
    let case = Case::new();
    let followup = case.follow(Some(&failing("2026-01-02T23:59:30.000Z")), &[], None);
    assert_eq!(followup.verdict, seems(Ending::Done), "{}", followup.reason);
    assert!(followup.reason.contains("it has run for 30 s only"), "{}", followup.reason);
    let again = case.follow(Some(&failing("2026-01-02T23:59:30.000Z")), &[], Some(seems(Ending::Done)));
    assert_eq!(again.verdict, seems(Ending::Done), "seen twice is not long");
    assert_eq!(case.verdict(&failing("2026-01-02T23:59:00.000Z"), &[]), ended(Ending::Done));
    // At the deadline the next moment decides.
    let late = Case { age: 61, ..Case::new() };
    assert_eq!(late.verdict(&failing("2026-01-02T23:59:30.000Z"), &[]), seems(Ending::Done));
    assert_eq!(late.verdict(&seen("new", OURS, &[], &[OURS]), &[]), Verdict::Stuck);
}

#[test]
fn a_field_that_was_taken_away_and_is_still_there_is_not_done() {
    // Only `user` differs then, which the new definition leaves open.
    let mut app = seen("new", LATER, &[], &[LATER, LATER]);
    app.0.insert("user".into(), "root".into());
    let followup = Case::new().follow(Some(&app), &[], None);
    assert_eq!(followup.verdict, ended(Ending::Superseded));
    assert!(followup.reason.ends_with("with another /user"), "{}", followup.reason);
}

#[test]
fn after_force_everything_is_seen_twice() {
    let case = Case { forced: true, ..Case::new() };
    let table = [
        (Some(seen("new", OURS, &[], &[OURS, OURS])), Ending::Done),
        (Some(seen("other", LATER, &[], &[LATER])), Ending::Superseded),
        (Some(seen("old", BEFORE, &[], &[BEFORE])), Ending::RolledBack),
        (Some(seen("new", OURS, &[], &[OURS, BEFORE])), Ending::Halted),
        (None, Ending::Removed),
    ];
    for (app, ending) in &table {
        let look = |earlier| case.follow(app.as_ref(), &[], earlier).verdict;
        assert_eq!(look(None), seems(*ending));
        assert_eq!(look(Some(WAITS)), seems(*ending));
        assert_eq!(look(Some(seems(*ending))), ended(*ending));
        assert_eq!(look(Some(ended(*ending))), ended(*ending));
        let another = if *ending == Ending::Done { Ending::Halted } else { Ending::Done };
        assert_eq!(look(Some(seems(another))), seems(*ending), "two looks that differ");
    }
    // A halt is seen twice in any case: a task may have ended between two looks.
    let case = Case::new();
    let halted = seen("new", OURS, &[], &[OURS, BEFORE]);
    assert_eq!(case.follow(Some(&halted), &[], Some(seems(Ending::Halted))).verdict, ended(Ending::Halted));
}

#[test]
fn time_is_ours_to_keep_and_what_is_known_is_told() {
    let late = Case { age: 61, ..Case::new() };
    let mut app = seen("new", OURS, &["ours"], &[BEFORE]);
    let failure = json!({"host": "h1", "timestamp": LATER, "state": "TASK_FAILED", "message": "exit 1"});
    app.0.insert("lastTaskFailure".into(), failure);
    let followup = late.follow(Some(&app), &["ours"], None);
    assert_eq!(followup.verdict, Verdict::Stuck);
    let told = &followup.reason;
    assert!(told.starts_with("not done within 60 s: deployment under way"), "{told}");
    assert!(told.ends_with("last failure on h1 at 2026-01-03T00:00:00.000Z: TASK_FAILED exit 1"), "{told}");
    assert_eq!(Case { age: 60, ..Case::new() }.verdict(&app, &["ours"]), WAITS);
    // What is done late is done.
    assert_eq!(late.verdict(&seen("new", OURS, &[], &[OURS, OURS]), &[]), ended(Ending::Done));
    // What has to be seen once more is not stuck, and not for ever: the next look decides.
    let forced = Case { forced: true, age: 61, ..Case::new() };
    assert_eq!(forced.verdict(&seen("new", OURS, &[], &[OURS, OURS]), &[]), seems(Ending::Done));
    let counts = {
        let mut app = seen("new", OURS, &[], &[]);
        app.0.remove("tasks");
        app
    };
    assert_eq!(late.verdict(&counts, &[]), Verdict::Stuck, "an answer that does not tell is no success");
}

#[test]
fn the_last_good_definition_is_put_back_only_where_asked_for_and_over_nobody() {
    let ours = |id: &str| id.starts_with("ours");
    let free = seen("new", OURS, &[], &[OURS]);
    let held = seen("new", OURS, &["ours", "ours-2"], &[OURS]);
    let foreign = seen("new", OURS, &["ours", "x"], &[OURS]);
    let of = |verdict, good, app: Option<&App>| remedy(verdict, good, app, ours);
    let stuck = Verdict::Stuck;
    assert_eq!(of(stuck, true, Some(&free)), Remedy::Restore { force: false });
    assert_eq!(of(stuck, true, Some(&held)), Remedy::Restore { force: true });
    let halted = ended(Ending::Halted);
    assert_eq!(of(halted, true, Some(&free)), Remedy::Restore { force: false });
    let refused = "deployment x holds the app and is not ours";
    assert_eq!(of(stuck, true, Some(&foreign)), Remedy::Refused(refused.into()));
    assert!(matches!(of(stuck, false, Some(&free)), Remedy::Refused(_)));
    assert_eq!(of(stuck, true, None), Remedy::None);
    let others = [Ending::Done, Ending::Superseded, Ending::RolledBack, Ending::Removed].map(ended);
    for verdict in others.into_iter().chain([WAITS, seems(Ending::Halted)]) {
        assert_eq!(of(verdict, true, Some(&free)), Remedy::None, "{verdict:?}");
    }
}

fn verdicts() -> impl Strategy<Value = Option<Verdict>> {
    let endings = [Ending::Done, Ending::Superseded, Ending::RolledBack, Ending::Halted, Ending::Removed];
    let all = endings.into_iter().flat_map(|ending| [seems(ending), ended(ending)]);
    let all: Vec<_> = all.chain([WAITS, Verdict::Stuck]).map(Some).chain([None]).collect();
    proptest::sample::select(all)
}

fn apps() -> impl Strategy<Value = App> {
    let version = || proptest::sample::select(vec![BEFORE, OURS, LATER]);
    let command = proptest::sample::select(vec!["new", "old", "other"]);
    let held = proptest::sample::subsequence(vec!["ours", "x"], 0..=2);
    (command, version(), held, proptest::collection::vec(version(), 0..4))
        .prop_map(|(command, version, held, tasks)| seen(command, version, &held, &tasks))
}

proptest! {
    #[test]
    fn success_is_never_told_of_what_is_not(
        app in apps(), forced: bool, created: bool, age in 0u64..120, earlier in verdicts(),
        listed in proptest::sample::subsequence(vec!["ours", "x"], 0..=2),
    ) {
        let case = Case { created, forced, age, ..Case::new() };
        let Followup { verdict, .. } = case.follow(Some(&app), &listed, earlier);
        let tasks = app.get("tasks").and_then(Value::as_array).unwrap();
        let current = tasks.iter().filter(|task| task["version"].as_str().unwrap() >= app.version()).count();
        if verdict == ended(Ending::Done) {
            prop_assert_eq!(app.get("cmd"), Some(&json!("new")));
            prop_assert_eq!(app.deployments().count(), 0);
            prop_assert!(!listed.contains(&"ours"));
            prop_assert_eq!((current, tasks.len()), (2, 2));
        }
        if verdict == Verdict::Stuck {
            prop_assert!(age > 60);
        }
        if listed.contains(&"ours") || app.deployments().any(|id| id == "ours") {
            let open = [WAITS, Verdict::Stuck];
            prop_assert!(open.contains(&verdict), "{:?} while it runs", verdict);
        }
        if forced && !matches!(earlier, Some(Verdict::UnderWay { seems: Some(_) } | Verdict::Ended(_))) {
            prop_assert!(!matches!(verdict, Verdict::Ended(_)), "{:?} at the first look", verdict);
        }
        let remedy = remedy(verdict, true, Some(&app), |id| id == "ours");
        if app.deployments().any(|id| id == "x") {
            prop_assert!(!matches!(remedy, Remedy::Restore { .. }), "over a stranger");
        }
    }

    #[test]
    fn two_looks_at_the_same_end_in_the_same(app in apps(), forced: bool) {
        let case = Case { forced, ..Case::new() };
        let first = case.follow(Some(&app), &[], None).verdict;
        let second = case.follow(Some(&app), &[], Some(first)).verdict;
        let third = case.follow(Some(&app), &[], Some(second)).verdict;
        prop_assert_eq!(second, third);
        if let Verdict::UnderWay { seems: Some(ending) } = first {
            prop_assert_eq!(second, ended(ending));
        }
    }
}
