//! What may be removed and when, case by case.

use std::collections::BTreeMap;

use dcos_registry::controller::stage::{Accepted, accept};
use dcos_registry::model::{
    App, AppId, BlockedReason, IntentVerb, Operation, Plan, SnapshotFile, SnapshotPath, WaitingReason,
};
use serde_json::{Value, json};

use crate::world::{World, announced, app_id, snapshot};

/// App units: name, app id, and what else their spec says.
pub fn manifest(units: &[(&str, &str, Value)]) -> Accepted {
    let document = |(name, id, more): &(&str, &str, Value)| {
        let mut spec = more.clone();
        let mut app = json!({"id": id, "cmd": "sleep 60", "instances": 1});
        if let (Some(app), Some(more)) = (app.as_object_mut(), spec["app"].as_object()) {
            app.extend(more.clone());
        }
        spec["app"] = app;
        let unit = json!({
            "apiVersion": "dcos-registry/v1", "kind": "App", "metadata": {"name": name}, "spec": spec,
        });
        format!("---\n{unit}\n")
    };
    let text: String = units.iter().map(document).collect();
    let path = SnapshotPath::root().join("all.yaml").unwrap();
    let files = BTreeMap::from([(path, SnapshotFile::inline(text.as_bytes()))]);
    accept(&snapshot(files)).unwrap_or_else(|problems| panic!("{problems:?}"))
}

fn removed(plan: &Plan) -> Vec<(&AppId, bool)> {
    let deletes = plan.actions.iter().filter_map(|action| match &action.operation {
        Operation::DeleteApp { app_id, cancels, .. } => Some((app_id, !cancels.is_empty())),
        _ => None,
    });
    deletes.collect()
}

fn seen<'a>(world: &'a mut World, id: &str) -> &'a mut App {
    world.observation.apps.get_mut(&app_id(id)).unwrap()
}

#[test]
fn what_moves_is_no_loss_and_no_limit_keeps_the_old_apps() {
    let mut world = World::new();
    let none = || json!({});
    world.converge(&manifest(&[("a", "/old/a", none()), ("b", "/old/b", none()), ("c", "/old/c", none())]));
    world.converge(&manifest(&[("a", "/new/a", none()), ("b", "/new/b", none()), ("c", "/new/c", none())]));
    let ids: Vec<_> = world.observation.apps.keys().map(ToString::to_string).collect();
    assert_eq!(ids, ["/new/a", "/new/b", "/new/c"]);
}

#[test]
fn a_protected_app_is_not_removed_by_its_own_document_either() {
    let mut world = World::new();
    world.converge(&manifest(&[("a", "/t/a", json!({"protect": true}))]));
    let plan = world.plan(&manifest(&[("a", "/t/a", json!({"protect": true, "state": "absent"}))]));
    assert!(plan.actions.is_empty(), "{plan:?}");
    assert_eq!(plan.blocked[0].reason, BlockedReason::Protected);
    let plan = world.plan(&manifest(&[("a", "/t/a", json!({"state": "absent"}))]));
    assert_eq!(removed(&plan), [(&app_id("/t/a"), false)]);
}

/// A crash between announcing a removal and asking for it, while an older deployment of ours does not end.
#[test]
fn an_announced_removal_that_was_never_sent_is_planned_anew() {
    let mut world = World::new();
    let one = manifest(&[("a", "/t/a", json!({"state": "absent"})), ("b", "/t/b", json!({}))]);
    world.converge(&manifest(&[("a", "/t/a", json!({})), ("b", "/t/b", json!({}))]));
    let id = app_id("/t/a");
    let owned = world.inventory.apps.get_mut(&id).unwrap();
    owned.deployment = Some("ours".to_owned());
    let intent = announced(owned, IntentVerb::Delete);
    world.inventory.intents.insert(id.clone(), intent);
    seen(&mut world, "/t/a").0.insert("deployments".to_owned(), json!([{"id": "ours"}]));
    assert_eq!(removed(&world.plan(&one)), [(&id, true)]);

    // A deployment that the books do not know is that of the removal.
    seen(&mut world, "/t/a").0.insert("deployments".to_owned(), json!([{"id": "unknown"}]));
    let plan = world.plan(&one);
    assert_eq!(removed(&plan), []);
    assert_eq!(plan.waiting[0].reason, WaitingReason::DeploymentRunning);
}
