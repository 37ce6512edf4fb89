//! When an app that runs is ready: not in the moment between two failures.

use std::collections::BTreeMap;

use dcos_registry::controller::followup::Followups;
use dcos_registry::controller::plan::plan;
use dcos_registry::controller::stage::Accepted;
use dcos_registry::marathon::follow::{Ending, Followup, Verdict};
use dcos_registry::model::{Plan, UnitState, WaitingReason};
use jiff::Timestamp;
use serde_json::json;

use crate::removals;
use crate::world::{World, app_id};

/// When the app's configuration changed last, in seconds since 1970; the world's clock is at its first tick.
const CHANGED: i64 = 1_767_225_600;

fn at(second: i64) -> String {
    format!("{:.3}", Timestamp::from_second(CHANGED + second).unwrap())
}

/// An app without health checks, and one that comes after it.
fn manifest(second: &str) -> Accepted {
    let app = json!({"cmd": "sleep 2; exit 1"});
    let after = json!({"app": app, "dependsOn": ["App/a"]});
    removals::manifest(&[("a", "/t/a", json!({"app": app})), ("b", second, after)])
}

/// A world in which that app runs one task.
fn running(accepted: &Accepted) -> World {
    let mut world = World::new();
    world.converge(accepted);
    let apps = world.observation.apps.values_mut();
    apps.for_each(|app| {
        let task = json!({"state": "TASK_RUNNING", "version": at(1), "startedAt": at(100)});
        app.0.insert("tasks".to_owned(), json!([task]));
    });
    world
}

fn look(world: &mut World, accepted: &Accepted, second: i64, followups: &Followups) -> Plan {
    world.observation.looked_at = Some(Timestamp::from_second(CHANGED + second).unwrap());
    plan(&accepted.desired, &world.observation, &world.inventory, followups, &world.settings)
}

/// Why the first app is not ready; none where it is.
fn not_ready(plan: &Plan) -> Option<&str> {
    match &plan.units[0].state {
        UnitState::Ready { .. } => None,
        UnitState::Progressing { reason, message } => {
            assert_eq!(reason, WaitingReason::NotHealthy.as_str());
            Some(message)
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_task_that_began_just_now_makes_nothing_ready_and_lets_nothing_start() {
    let before = manifest("/t/b");
    let mut world = running(&before);
    let quiet = Followups::new();
    let plan = look(&mut world, &before, 101, &quiet);
    assert_eq!(not_ready(&plan), Some("1 of 1 running, but it has run for 1 s only, and nothing checks it"));
    assert_eq!(not_ready(&look(&mut world, &before, 110, &quiet)), None);
    // A task of this configuration has failed: nothing but time tells whether the next one will.
    let app = world.observation.apps.get_mut(&app_id("/t/a")).unwrap();
    app.0.insert("lastTaskFailure".to_owned(), json!({"version": at(1), "timestamp": at(95)}));
    let plan = look(&mut world, &before, 159, &quiet);
    let expected = "1 of 1 running, but it has run for 59 s only, after a task of it failed";
    assert_eq!(not_ready(&plan), Some(expected));
    assert_eq!(not_ready(&look(&mut world, &before, 160, &quiet)), None);

    let after = manifest("/t/c");
    let plan = look(&mut world, &after, 159, &quiet);
    assert!(plan.actions.is_empty(), "what comes after it must wait: {plan:?}");
    assert!(!look(&mut world, &after, 160, &quiet).actions.is_empty());
}

#[test]
fn what_has_not_ended_is_not_ready() {
    let accepted = manifest("/t/b");
    let mut world = running(&accepted);
    let mut with = |verdict| {
        let followup = Followup { verdict, reason: "the change".to_owned() };
        let followups = BTreeMap::from([(app_id("/t/a"), followup)]);
        not_ready(&look(&mut world, &accepted, 3600, &followups)).map(str::to_owned)
    };
    for seems in [None, Some(Ending::Done)] {
        assert_eq!(with(Verdict::UnderWay { seems }), Some("the change".to_owned()));
    }
    assert_eq!(with(Verdict::Ended(Ending::Done)), None);
}
