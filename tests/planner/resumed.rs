//! Writes whose answers were lost, and units that move: what is taken for ours, and what stays.

use dcos_registry::model::{BlockedReason, Epoch, Intent, IntentVerb, Operation, Rollout, WaitingReason};
use serde_json::{Value, json};

use crate::removals::manifest;
use crate::world::{World, app_id};

/// A world in which an update of ours is announced and done, its answer was lost, and a deployment holds the app.
fn interrupted(version_info: &Value) -> World {
    let mut world = World::new();
    world.converge(&manifest(&[("a", "/t/a", json!({"app": {"env": {"A": "old"}}}))]));
    let id = app_id("/t/a");
    let plan = world.plan(&manifest(&[("a", "/t/a", json!({}))]));
    let Operation::UpdateApp { book, observed_version, .. } = &plan.actions[0].operation else { panic!() };
    let intent = Intent {
        unit: plan.actions[0].unit.clone(),
        verb: IntentVerb::Update,
        body: book.applied_digest,
        applied: book.applied.clone(),
        observed_version: observed_version.clone(),
        inputs: None,
        failed: None,
        replaced: None,
        epoch: Epoch(1),
    };
    world.apply(&plan, &manifest(&[("a", "/t/a", json!({}))]));
    world.inventory.intents.insert(id.clone(), intent);
    let app = world.observation.apps.get_mut(&id).unwrap();
    app.0.insert("version".to_owned(), "2026-02-02T00:00:00.000Z".into());
    app.0.insert("versionInfo".to_owned(), version_info.clone());
    app.0.insert("deployments".to_owned(), json!([{"id": "holds"}]));
    world
}

fn adopted(world: &World, spec: Value) -> Option<String> {
    let plan = world.plan(&manifest(&[("a", "/t/a", spec)]));
    let Operation::Adopt { deployment, .. } = &plan.actions[0].operation else { panic!("{plan:?}") };
    deployment.clone()
}

#[test]
fn only_the_deployment_of_the_write_is_taken_for_ours() {
    let (then, now) = ("2026-02-01T00:00:00.000Z", "2026-02-02T00:00:00.000Z");
    let info =
        |scaled: &str, configured: &str| json!({"lastScalingAt": scaled, "lastConfigChangeAt": configured});
    assert_eq!(adopted(&interrupted(&info(now, now)), json!({})).as_deref(), Some("holds"));
    // Somebody restarted it since.
    assert_eq!(adopted(&interrupted(&info(then, now)), json!({})), None);
    // A scaling is ours where the number of instances is.
    assert_eq!(adopted(&interrupted(&info(now, then)), json!({})).as_deref(), Some("holds"));
    assert_eq!(adopted(&interrupted(&info(now, then)), json!({"ignore": ["/instances"]})), None);
    // Nothing is told.
    assert_eq!(adopted(&interrupted(&json!({})), json!({})), None);
}

#[test]
fn what_only_the_old_app_has_is_not_lost_by_a_move() {
    let volume = json!({"containerPath": "data", "mode": "RW", "persistent": {"size": 10}});
    let resident = json!({"app": {"container": {"type": "MESOS", "volumes": [volume]}}});
    let service = json!({"app": {"labels": {"DCOS_COMMONS_UNINSTALL": "true"}}});
    for (spec, word) in [(resident, "its volumes"), (service, "of its service")] {
        let mut world = World::new();
        world.observation.admin_router = true;
        world.converge(&manifest(&[("a", "/old/a", spec.clone())]));
        let moved = manifest(&[("a", "/new/a", spec)]);
        world.converge(&moved);
        let plan = world.plan(&moved);
        assert_eq!((plan.actions.len(), plan.blocked.len()), (0, 1), "{plan:?}");
        assert_eq!(plan.blocked[0].reason, BlockedReason::WouldRecreate);
        assert!(plan.blocked[0].message.contains(word), "{}", plan.blocked[0].message);
        assert!(world.observation.apps.contains_key(&app_id("/old/a")));
    }
}

#[test]
fn the_old_app_stays_until_the_new_one_was_seen_to_run_well() {
    let mut world = World::new();
    world.converge(&manifest(&[("a", "/old/a", json!({}))]));
    let moved = manifest(&[("a", "/new/a", json!({}))]);
    let plan = world.plan(&moved);
    world.apply(&plan, &moved);
    let new = world.inventory.apps.get_mut(&app_id("/new/a")).unwrap();
    let since = "2026-02-02T00:00:00Z".parse().unwrap();
    new.rollout = Some(Rollout { since, from: None, forced: false, good: None });
    let plan = world.plan(&moved);
    assert_eq!(
        (plan.actions.len(), plan.waiting[0].reason),
        (0, WaitingReason::DependencyNotReady),
        "{plan:?}"
    );
    world.inventory.apps.get_mut(&app_id("/new/a")).unwrap().rollout = None;
    world.converge(&moved);
    assert!(!world.observation.apps.contains_key(&app_id("/old/a")));
}

/// An upgrade of Marathon, or that nobody tells its version any more.
#[test]
fn no_app_changes_because_marathon_is_another_one() {
    let mut world = World::new();
    world.observation.marathon_version = Some("1.7.189".to_owned());
    let wanted = manifest(&[("a", "/t/a", json!({}))]);
    world.converge(&wanted);
    let id = app_id("/t/a");
    world.observation.apps.get_mut(&id).unwrap().0.insert("maxLaunchDelaySeconds".to_owned(), 3600.into());
    for version in [None, Some("1.8.244"), Some("1.11.24")] {
        world.observation.marathon_version = version.map(str::to_owned);
        assert_eq!(world.plan(&wanted).actions, [], "{version:?}");
    }
}

#[test]
fn a_unit_that_did_not_change_is_not_put_anew_because_it_is_rendered_differently() {
    let mut world = World::new();
    let wanted = manifest(&[("a", "/t/a", json!({}))]);
    world.converge(&wanted);
    // As an older version of this program would have made and remembered it.
    let id = app_id("/t/a");
    let owned = world.inventory.apps.get_mut(&id).unwrap();
    owned.applied.0.insert("taskKillGracePeriodSeconds".to_owned(), 7.into());
    owned.applied_digest = owned.applied.digest();
    let app = world.observation.apps.get_mut(&id).unwrap();
    app.0.insert("taskKillGracePeriodSeconds".to_owned(), 7.into());
    let plan = world.plan(&wanted);
    assert_eq!((plan.actions.len(), plan.blocked.len()), (0, 1), "{plan:?}");
    assert_eq!(plan.blocked[0].reason, BlockedReason::RendererChanged);
    assert!(plan.blocked[0].message.contains("/taskKillGracePeriodSeconds"), "{}", plan.blocked[0].message);
    // Who changes the unit means it; and books of older programs do not say.
    let labelled = manifest(&[("a", "/t/a", json!({"app": {"labels": {"A": "b"}}}))]);
    assert_eq!(world.plan(&labelled).actions.len(), 1);
    world.inventory.apps.get_mut(&id).unwrap().inputs = None;
    assert_eq!(world.plan(&wanted).actions.len(), 1);
}
