//! What is said where an app stands at the id of a unit and is not its own: who obeys must lose nothing.

use dcos_registry::model::{BlockedReason, Intent, IntentVerb, Plan, SourceName, UnitId, UnitKind, UnitName};
use serde_json::json;

use crate::removals::manifest;
use crate::world::{World, announced as write_of, app_id};

const ID: &str = "/t/web";

fn one() -> dcos_registry::controller::stage::Accepted {
    manifest(&[("web", ID, json!({}))])
}

fn unit_of(source: &str) -> UnitId {
    let source = SourceName::new(source).unwrap();
    UnitId { source, kind: UnitKind::App, name: UnitName::new("web").unwrap() }
}

fn message(plan: &Plan) -> &str {
    assert_eq!((plan.actions.len(), plan.blocked.len()), (0, 1), "{plan:?}");
    assert_eq!(plan.blocked[0].reason, BlockedReason::NotOwned);
    &plan.blocked[0].message
}

/// A world in which the create of the app was announced for that source, and its end is not known.
fn announced(source: &str) -> World {
    let mut world = World::new();
    world.converge(&one());
    let owned = world.inventory.apps.remove(&app_id(ID)).unwrap();
    let intent = Intent { unit: unit_of(source), ..write_of(&owned, IntentVerb::Create) };
    world.inventory.intents.insert(app_id(ID), intent);
    world
}

#[test]
fn an_app_of_another_source_of_ours_is_not_to_be_removed_first() {
    let mut world = World::new();
    world.converge(&one());
    world.inventory.apps.get_mut(&app_id(ID)).unwrap().unit = unit_of("platform");
    for state in ["present", "absent"] {
        let plan = world.plan(&manifest(&[("web", ID, json!({"state": state}))]));
        assert_eq!(
            message(&plan),
            "the app /t/web is that of App/web of the source platform; if that source is called test now, give it its old \
             name back in the configuration; if both are meant, choose another appId, or remove the unit there first, \
             which stops the app"
        );
    }
}

#[test]
fn an_app_that_was_announced_and_is_another_by_now_is_told_with_what_is_known() {
    let mut world = announced("test");
    world.disturb(&json!({"change": {(ID): {"cmd": "theirs", "mem": 99}}}));
    let plan = world.plan(&one());
    assert_eq!(
        message(&plan),
        "a write of /t/web for App/web was announced and its end is not known, but the app that stands there differs in \
         /cmd, /mem from what was announced; if it was changed since, take that change back, and the app is taken into \
         the books; if it is somebody else's, choose another appId"
    );
    // Whoever does as the message says gets what it promises.
    for state in ["present", "absent"] {
        let mut world = announced("test");
        let now = manifest(&[("web", ID, json!({"state": state}))]);
        let plan = world.plan(&now);
        assert_eq!(plan.actions[0].operation.label(), "adopt", "{plan:?}");
        world.converge(&now);
        assert_eq!(world.observation.apps.contains_key(&app_id(ID)), state == "present");
    }
}

#[test]
fn what_another_source_announced_is_not_taken_over() {
    let plan = announced("platform").plan(&one());
    assert!(message(&plan).contains("of the source platform; if that source is called test now"), "{plan:?}");
}

#[test]
fn a_strangers_app_is_not_to_be_removed_first() {
    let mut world = World::new();
    world.disturb(&json!({"add": {(ID): {"cmd": "theirs"}}}));
    let plan = world.plan(&one());
    assert_eq!(
        message(&plan),
        "an app /t/web exists that is not in the books of this controller; choose another appId, or, only if nobody needs \
         that app, remove it"
    );
}
