//! What is said of apps that do not run, and what other versions of Marathon make of a manifest.

use std::collections::BTreeMap;

use dcos_registry::controller::stage::{Accepted, accept};
use dcos_registry::model::{Operation, Plan, SnapshotFile, SnapshotPath, UnitState};
use serde_json::{Value, json};

use crate::world::{World, app_id, snapshot};

fn manifest(app: &Value) -> Accepted {
    let unit = json!({
        "apiVersion": "dcos-registry/v1", "kind": "App", "metadata": {"name": "a"}, "spec": {"app": app},
    });
    let path = SnapshotPath::root().join("all.yaml").unwrap();
    let files = BTreeMap::from([(path, SnapshotFile::inline(unit.to_string().as_bytes()))]);
    accept(&snapshot(files)).unwrap_or_else(|problems| panic!("{problems:?}"))
}

fn message(plan: &Plan) -> String {
    match &plan.units[0].state {
        UnitState::Ready { message }
        | UnitState::Progressing { message, .. }
        | UnitState::Stalled { message, .. }
        | UnitState::Unknown { message, .. } => message.clone(),
    }
}

#[test]
fn an_app_that_does_not_run_says_why() {
    let mut world = World::new();
    let accepted = manifest(&json!({"id": "/a", "cmd": "sleep 60", "instances": 2, "requirePorts": true,
        "portDefinitions": [{"port": 8080}]}));
    world.converge(&accepted);
    assert_eq!(message(&world.plan(&accepted)), "2 of 2 running");
    let seen = world.observation.apps.get_mut(&app_id("/a")).unwrap();
    seen.0.insert("tasksRunning".into(), 1.into());
    assert_eq!(message(&world.plan(&accepted)), "1 of 2 running");
    let queue = json!([{"app": {"id": "/a"}, "count": 1, "delay": {"timeLeftSeconds": 0, "overdue": true},
        "processedOffersSummary": {"rejectSummaryLastOffers":
            [{"reason": "InsufficientPorts", "declined": 3, "processed": 3}]}}]);
    world.observation.queue = serde_json::from_value(queue).unwrap();
    let text = message(&world.plan(&accepted));
    let expected = "1 of 2 running; no offer fits 1 to launch: 3 of 3 without its ports (8080)";
    assert_eq!(text, expected);
    world.observation.queue.clear();
    let failure = json!({"host": "h1", "timestamp": "2026-01-02T00:00:00.000Z", "state": "TASK_FAILED",
        "message": "exit 1"});
    let seen = world.observation.apps.get_mut(&app_id("/a")).unwrap();
    seen.0.insert("lastTaskFailure".into(), failure);
    let text = message(&world.plan(&accepted));
    assert!(text.ends_with("last failure on h1 at 2026-01-02T00:00:00.000Z: TASK_FAILED exit 1"), "{text}");
}

#[test]
fn a_deployment_says_what_it_waits_for() {
    let mut world = World::new();
    let accepted = manifest(&json!({"id": "/a", "cmd": "sleep 60"}));
    world.converge(&accepted);
    let seen = world.observation.apps.get_mut(&app_id("/a")).unwrap();
    seen.0.insert("deployments".into(), json!([{"id": "d"}]));
    let deployments = json!([{"id": "d", "affectedApps": ["/a"], "currentStep": 1, "totalSteps": 2, "currentActions": [
        {"action": "RestartApplication", "app": "/a", "readinessCheckResults":
            [{"name": "http-api", "taskId": "a.1", "ready": false, "lastResponse": {"status": 503, "body": "warm"}}]}]}]);
    world.observation.deployments = serde_json::from_value(deployments).unwrap();
    let text = message(&world.plan(&accepted));
    assert!(
        text.contains("1 not ready by check http-api, such as a.1, which answers 503 \"warm\""),
        "{text}"
    );
}

#[test]
fn an_older_marathon_fills_in_its_own_defaults_and_gets_no_fields_that_it_does_not_know() {
    let created = |version: Option<&str>, app: &Value| {
        let mut world = World::new();
        world.observation.marathon_version = version.map(str::to_owned);
        let plan = world.plan(&manifest(app));
        match &plan.actions.first().map(|action| &action.operation) {
            Some(Operation::CreateApp { app, .. }) => Ok(app.get("maxLaunchDelaySeconds").cloned()),
            _ => Err(message(&plan)),
        }
    };
    let plain = json!({"id": "/a", "cmd": "sleep 60"});
    for version in [None, Some("1.8.222"), Some("1.7.189")] {
        assert_eq!(created(version, &plain), Ok(None), "its default is the server's");
    }
    let told = json!({"id": "/a", "cmd": "sleep 60", "maxLaunchDelaySeconds": 300});
    assert_eq!(created(Some("1.7.189"), &told), Ok(Some(json!(300))));
    let newer = json!({"id": "/a", "cmd": "sleep 60", "resourceLimits": {"cpus": 2}});
    assert_eq!(created(Some("1.10.17"), &newer), Ok(None));
    let refused =
        "/resourceLimits: needs Marathon 1.10 or later, and the cluster has Marathon 1.8; leave it out";
    assert_eq!(created(Some("1.8.222"), &newer), Err(refused.to_owned()));
}
