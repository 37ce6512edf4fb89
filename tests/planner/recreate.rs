//! Changes that destroy the volumes of an app: when they are made, and everything that holds them back.

use dcos_registry::controller::report;
use dcos_registry::controller::stage::Accepted;
use dcos_registry::marathon::sdk::UNINSTALL_LABEL;
use dcos_registry::model::{
    BlockedReason, Cause, Completeness, IntentVerb, Operation, Plan, UnitState, WaitingReason,
};
use serde_json::{Value, json};

use crate::removals;
use crate::world::{World, announced, app_id};

/// The spec of a unit whose app has a persistent volume.
fn resident(cpus: f64, more: &Value) -> Value {
    let volumes = json!([{"containerPath": "data", "mode": "RW", "persistent": {"size": 10}}]);
    let mut spec = more.clone();
    let mut app =
        json!({"cpus": cpus, "portDefinitions": [], "container": {"type": "MESOS", "volumes": volumes}});
    app.as_object_mut().unwrap().extend(more["app"].as_object().cloned().unwrap_or_default());
    spec["app"] = app;
    spec
}

fn allowed(cpus: f64) -> Value {
    resident(cpus, &json!({"recreate": "allowed"}))
}

/// A manifest of one unit of that spec.
fn one(spec: Value) -> Accepted {
    removals::manifest(&[("a", "/t/a", spec)])
}

fn converged(accepted: &Accepted) -> World {
    let mut world = World::new();
    world.converge(accepted);
    world
}

/// Labels and causes of the actions.
fn acts(plan: &Plan) -> Vec<(&'static str, Cause)> {
    plan.actions.iter().map(|action| (action.operation.label(), action.cause)).collect()
}

fn blocked(plan: &Plan) -> (BlockedReason, &str) {
    assert_eq!((plan.actions.len(), plan.blocked.len()), (0, 1), "{}", report::plan_text(plan));
    (plan.blocked[0].reason, &plan.blocked[0].message)
}

fn waits(plan: &Plan) -> WaitingReason {
    assert_eq!((plan.actions.len(), plan.waiting.len()), (0, 1), "{}", report::plan_text(plan));
    plan.waiting[0].reason
}

const DELETED: (&str, Cause) = ("delete", Cause::Changed);
const CREATED: (&str, Cause) = ("create", Cause::Changed);

#[test]
fn it_is_refused_unless_the_unit_allows_it_and_the_refusal_names_the_key() {
    let world = converged(&one(allowed(1.0)));
    for more in [json!({}), json!({"recreate": "never"})] {
        let plan = world.plan(&one(resident(2.0, &more)));
        let expected =
            "changing /cpus destroys the app's volumes; write recreate: allowed where losing them is meant";
        assert_eq!(blocked(&plan), (BlockedReason::WouldRecreate, expected));
    }
    // What can be changed in place is.
    let plan = world.plan(&one(resident(1.0, &json!({"recreate": "allowed", "app": {"cmd": "sleep 61"}}))));
    assert_eq!(acts(&plan), [("update", Cause::Changed)]);
}

#[test]
fn it_is_deleted_and_created_anew_when_it_is_gone() {
    let mut world = converged(&one(allowed(1.0)));
    let now = one(allowed(2.0));
    let plan = world.plan(&now);
    assert_eq!(acts(&plan), [DELETED]);
    let text = report::plan_text(&plan);
    assert!(text.contains("its volumes are destroyed") && text.contains("/cpus: 1 -> 2"), "{text}");
    assert!(plan.has_changes());
    assert!(
        matches!(&plan.units[0].state, UnitState::Progressing { message, .. } if message.contains("created anew")),
        "{plan:?}"
    );
    let seen = world.observation.apps[&app_id("/t/a")].clone();
    world.apply(&plan, &now);

    // While its tasks are being stopped it is left alone, and nothing is created beside it.
    let mut stopping = world.clone();
    let mut leaving = seen.clone();
    leaving.0.insert("deployments".into(), json!([{"id": "of the removal"}]));
    stopping.observation.apps.insert(app_id("/t/a"), leaving);
    assert_eq!(waits(&stopping.plan(&now)), WaitingReason::DeploymentRunning);
    // A removal that was announced and never sent is sent.
    let mut unsent = world.clone();
    unsent.observation.apps.insert(app_id("/t/a"), seen);
    assert_eq!(acts(&unsent.plan(&now)), [DELETED]);
    // What came there since is not ours to destroy.
    let mut strange = unsent.clone();
    strange.disturb(&json!({"change": {"/t/a": {"version": "2027-01-01T00:00:00.000Z"}}}));
    assert!(blocked(&strange.plan(&now)).1.contains("only a change of the unit"));
    // Who changes his mind in time keeps everything.
    assert_eq!(acts(&unsent.plan(&one(allowed(1.0)))), [("adopt", Cause::Changed)]);

    let plan = world.plan(&now);
    assert_eq!(acts(&plan), [CREATED]);
    let books = world.inventory.apps[&app_id("/t/a")].clone();
    world.apply(&plan, &now);
    assert_eq!(acts(&world.plan(&now)), []);
    // One that was created, whose answer was lost and which Marathon made something else of is not destroyed again.
    let mut altered = world.clone();
    altered.disturb(&json!({"change": {"/t/a": {"cpus": 2.5}}}));
    let created = altered.inventory.apps.insert(app_id("/t/a"), books).unwrap();
    let intent = announced(&created, IntentVerb::Create);
    altered.inventory.intents.insert(app_id("/t/a"), intent);
    assert!(blocked(&altered.plan(&now)).1.contains("only a change of the unit"));
    assert_eq!(acts(&altered.plan(&one(allowed(3.0)))), [DELETED]);
    assert_eq!(world.observation.apps[&app_id("/t/a")].get("cpus"), Some(&json!(2)));
}

/// What never comes to be as it is desired must not be destroyed again and again.
#[test]
fn drift_never_destroys_volumes() {
    let mut world = converged(&one(allowed(1.0)));
    world.disturb(&json!({"change": {"/t/a": {"cpus": 4}}}));
    let plan = world.plan(&one(allowed(1.0)));
    let (reason, message) = blocked(&plan);
    assert_eq!(reason, BlockedReason::WouldRecreate);
    assert!(message.contains("/cpus") && message.contains("only a change of the unit"), "{message}");
}

#[test]
fn every_guard_of_a_removal_is_asked() {
    let world = converged(&one(allowed(1.0)));
    let now = one(allowed(2.0));
    let protected = one(resident(2.0, &json!({"recreate": "allowed", "protect": true})));
    let plan = world.plan(&protected);
    let (reason, message) = blocked(&plan);
    assert!(reason == BlockedReason::Protected && message.contains("take protect away"), "{message}");

    let mut guarded = world.clone();
    guarded.observation.marathon = Completeness::Partial("half of it was read".to_owned());
    assert_eq!(waits(&guarded.plan(&now)), WaitingReason::NotObserved);
    let mut guarded = world.clone();
    guarded.settings.limits.allow_app_ids = vec!["/other".to_owned()];
    assert_eq!(blocked(&guarded.plan(&now)).0, BlockedReason::AppIdNotAllowed);
    let mut guarded = world.clone();
    guarded.settings.own_app = Some(app_id("/t/a"));
    assert_eq!(blocked(&guarded.plan(&now)).0, BlockedReason::AppIdNotAllowed);
    let mut guarded = world.clone();
    guarded.settings.limits.max_deletions = 0;
    let plan = guarded.plan(&now);
    assert_eq!(blocked(&plan).0, BlockedReason::TooManyDeletions);
    assert!(matches!(plan.units[0].state, UnitState::Stalled { .. }), "{plan:?}");

    let mut held = world;
    held.disturb(&json!({"change": {"/t/a": {"deployments": [{"id": "theirs"}]}}}));
    assert_eq!(waits(&held.plan(&now)), WaitingReason::ForeignDeployment);
    let told = json!({"recreate": "allowed", "foreignDeployments": "cancel"});
    let plan = held.plan(&one(resident(2.0, &told)));
    assert!(
        matches!(&plan.actions[0].operation, Operation::DeleteApp { cancels, .. } if cancels == &["theirs"]),
        "{plan:?}"
    );
}

#[test]
fn sdk_services_stay_as_they_are() {
    let scheduler = |cpus| {
        let app = json!({"labels": {UNINSTALL_LABEL: "true"}});
        one(resident(cpus, &json!({"recreate": "allowed", "app": app})))
    };
    let mut world = World::new();
    world.observation.admin_router = true;
    world.converge(&scheduler(1.0));
    let plan = world.plan(&scheduler(2.0));
    let (reason, message) = blocked(&plan);
    assert!(reason == BlockedReason::WouldRecreate && message.contains("SDK service"), "{message}");
    // Nor does one become an ordinary app that is deleted because its label goes at the same time.
    assert_eq!(blocked(&world.plan(&one(allowed(2.0)))).0, BlockedReason::WouldRecreate);
}

#[test]
fn nothing_is_deleted_before_all_that_its_creation_needs_is_there() {
    let both = |cpus, command: &str| {
        let depends = json!({"recreate": "allowed", "dependsOn": ["App/b"]});
        removals::manifest(&[
            ("a", "/t/a", resident(cpus, &depends)),
            ("b", "/t/b", json!({"app": {"cmd": command}})),
        ])
    };
    let mut world = converged(&both(1.0, "run"));
    let now = both(2.0, "run better");
    let plan = world.plan(&now);
    assert_eq!(acts(&plan), [("update", Cause::Changed)]);
    assert_eq!(plan.waiting[0].reason, WaitingReason::DependencyNotReady);
    world.apply(&plan, &now);
    assert_eq!(acts(&world.plan(&now)), [DELETED]);
}

#[test]
fn who_needs_the_app_waits_until_it_is_there_again() {
    let both = |cpus, command: &str| {
        let depends = json!({"app": {"cmd": command}, "dependsOn": ["App/a"]});
        removals::manifest(&[("a", "/t/a", allowed(cpus)), ("b", "/t/b", depends)])
    };
    let mut world = converged(&both(1.0, "run"));
    let now = both(2.0, "run better");
    for expected in [DELETED, CREATED, ("update", Cause::Changed)] {
        let plan = world.plan(&now);
        assert_eq!(acts(&plan), [expected]);
        world.apply(&plan, &now);
    }
    assert_eq!(acts(&world.plan(&now)), []);
}

/// Units `u0`, `u1`, ... with volumes, each of which may depend on the one before.
fn many(count: usize, cpus: f64, in_a_row: bool) -> Accepted {
    let texts: Vec<_> = (0..count).map(|n| (format!("u{n}"), format!("/t/u{n}"))).collect();
    let spec = |n: usize| match n.checked_sub(1).filter(|_| in_a_row) {
        Some(before) => {
            resident(cpus, &json!({"recreate": "allowed", "dependsOn": [format!("App/u{before}")]}))
        }
        None => allowed(cpus),
    };
    let units: Vec<_> =
        texts.iter().enumerate().map(|(n, (name, id))| (name.as_str(), id.as_str(), spec(n))).collect();
    removals::manifest(&units)
}

#[test]
fn more_than_the_limit_are_not_recreated_at_once_nor_one_after_another() {
    // Of ten apps two may go at once.
    let mut world = converged(&many(10, 1.0, false));
    let plan = world.plan(&many(10, 2.0, false));
    assert_eq!((acts(&plan), plan.blocked.len()), (vec![], 10), "{}", report::plan_text(&plan));
    assert!(plan.blocked.iter().all(|blocked| blocked.reason == BlockedReason::TooManyDeletions));
    assert!(plan.blocked[0].message.starts_with("10 apps would be deleted at once"), "{:?}", plan.blocked[0]);
    world.settings.limits.max_deletions_percent = 100;
    world.settings.limits.max_deletions = 10;
    assert_eq!(acts(&world.plan(&many(10, 2.0, false))), [DELETED; 10]);

    let world = converged(&many(10, 1.0, true));
    let plan = world.plan(&many(10, 2.0, true));
    assert_eq!((acts(&plan), plan.blocked.len(), plan.waiting.len()), (vec![], 1, 9));
}

#[test]
fn recreations_and_removals_share_the_limit() {
    let of = |cpus: f64, gone: usize| {
        let names: Vec<_> = (gone..5).map(|n| (format!("g{n}"), format!("/t/g{n}"))).collect();
        let mut units = vec![("a", "/t/a", allowed(cpus))];
        units.extend(names.iter().map(|(name, id)| (name.as_str(), id.as_str(), json!({}))));
        removals::manifest(&units)
    };
    // Of six apps one may go at once.
    let world = converged(&of(1.0, 0));
    assert_eq!(acts(&world.plan(&of(2.0, 0))), [DELETED]);
    assert_eq!(acts(&world.plan(&of(1.0, 1))), [("delete", Cause::Removed)]);
    let plan = world.plan(&of(2.0, 1));
    assert_eq!((acts(&plan), plan.blocked.len()), (vec![], 2), "{}", report::plan_text(&plan));
}

#[test]
fn what_was_begun_does_not_count_again() {
    let mut world = converged(&many(2, 1.0, false));
    world.settings.limits.max_deletions_percent = 50;
    let first =
        |cpus: f64| removals::manifest(&[("u0", "/t/u0", allowed(cpus)), ("u1", "/t/u1", allowed(1.0))]);
    let plan = world.plan(&first(2.0));
    assert_eq!(acts(&plan), [DELETED]);
    let seen = world.observation.apps[&app_id("/t/u0")].clone();
    world.apply(&plan, &first(2.0));
    world.observation.apps.insert(app_id("/t/u0"), seen);
    assert_eq!(acts(&world.plan(&many(2, 2.0, false))), [DELETED; 2]);
}

/// The unit moved before, and its old app waits until the new one is ready.
#[test]
fn the_old_app_of_a_unit_that_moved_stays_until_the_new_one_is_created_anew() {
    let at = |id: &'static str, cpus| removals::manifest(&[("a", id, allowed(cpus))]);
    let mut world = converged(&at("/t/old", 1.0));
    let plan = world.plan(&at("/t/new", 1.0));
    let creates = Plan {
        actions: plan.actions.into_iter().filter(|a| a.operation.label() == "create").collect(),
        ..Plan::default()
    };
    world.apply(&creates, &at("/t/new", 1.0));
    let now = at("/t/new", 2.0);
    let plan = world.plan(&now);
    assert_eq!(acts(&plan), [DELETED]);
    assert_eq!(plan.actions[0].operation.app_id(), Some(&app_id("/t/new")));
    assert!(plan.waiting[0].message.contains("runs as /t/new now"), "{:?}", plan.waiting);
    world.converge(&now);
    // It has volumes, and whoever moves a unit does not ask for their loss.
    assert!(world.observation.apps.contains_key(&app_id("/t/old")));
}
