//! What a template says and Marathon does not know: told, and otherwise as if it were not there.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use dcos_registry::controller::stage::{Accepted, accept};
use dcos_registry::model::{Plan, SnapshotFile, SnapshotPath, UnitKind, UnitPlan, UnitState};
use serde_json::{Value, json};

use crate::removals;
use crate::world::{World, snapshot};

/// A package whose template has these fields besides, and a Service of it.
fn manifest(more: &Value) -> Accepted {
    let units = "apiVersion: dcos-registry/v1\nkind: Package\nmetadata: {name: pack}\n\
                 spec: {version: 0.1.0, source: {directory: p}}\n---\n\
                 apiVersion: dcos-registry/v1\nkind: Service\nmetadata: {name: serve}\nspec: {package: pack}\n";
    let package = r#"{"packagingVersion": "4.0", "name": "pack", "version": "0.1.0", "maintainer": "a@example.org",
                      "description": "d", "tags": []}"#;
    let mut app = json!({"id": "/t/serve", "cmd": "sleep 60"});
    app.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let template = app.to_string();
    let files =
        [("all.yaml", units), ("p/package.json", package), ("p/marathon.json.mustache", template.as_str())];
    let files = files.map(|(path, text)| {
        (SnapshotPath::root().join(path).unwrap(), SnapshotFile::inline(text.as_bytes()))
    });
    accept(&snapshot(BTreeMap::from(files))).unwrap_or_else(|problems| panic!("{problems:?}"))
}

fn service(plan: &Plan) -> &UnitPlan {
    plan.units.iter().find(|unit| unit.unit.kind == UnitKind::Service).unwrap()
}

fn told(plan: &Plan) -> Vec<String> {
    service(plan).warnings.iter().map(ToString::to_string).collect()
}

#[test]
fn an_unknown_field_of_a_template_is_told_in_every_plan_and_causes_nothing() {
    let accepted = manifest(&json!({"healthCheck": [], "maxLaunchDelaySecond": 60}));
    let mut world = World::new();
    let expected = [
        "/healthCheck: dropped from the template: unknown field (did you mean healthChecks?)",
        "/maxLaunchDelaySecond: dropped from the template: unknown field (did you mean maxLaunchDelaySeconds?)",
    ];
    let first = world.plan(&accepted);
    assert!(first.has_changes());
    assert_eq!(told(&first), expected);
    world.converge(&accepted);
    let plan = world.plan(&accepted);
    assert_eq!(told(&plan), expected);
    assert!(matches!(&service(&plan).state, UnitState::Ready { .. }), "{plan:?}");
    assert!(!plan.has_changes() && plan.blocked.is_empty() && plan.waiting.is_empty(), "{plan:?}");
    let json = serde_json::to_value(&plan).unwrap();
    assert_eq!(json["units"][1]["warnings"][0]["path"], "/healthCheck");
    assert_eq!(serde_json::from_value::<Plan>(json).unwrap(), plan);

    // Without them everything is the same but for the words.
    let without = manifest(&json!({}));
    let mut other = World::new();
    other.converge(&without);
    assert_eq!(told(&other.plan(&without)), [""; 0]);
    let json = serde_json::to_value(other.plan(&without)).unwrap();
    assert_eq!(json["units"][1].get("warnings"), None);
}

#[test]
fn what_only_the_clusters_marathon_does_not_know_is_told_as_well() {
    let accepted = manifest(&json!({"role": "prod"}));
    let told_by = |version: &str| {
        let mut world = World::new();
        world.observation.marathon_version = Some(version.to_owned());
        world.converge(&accepted);
        told(&world.plan(&accepted))
    };
    assert_eq!(told_by("1.11.24"), [""; 0]);
    let expected = "/role: dropped from the template: needs Marathon 1.9 or later, and the cluster has Marathon 1.8; leave it \
                    out";
    assert_eq!(told_by("1.8.222"), [expected]);
}

#[test]
fn strangers_do_not_fill_plans_with_warnings() {
    let mut fields = json!({});
    for number in 0..40 {
        let mut name = format!("x{number:02}\n\u{1b}[31m");
        let _ = write!(name, "{}", "ä".repeat(5000));
        fields[name] = 1.into();
    }
    let told = told(&World::new().plan(&manifest(&fields)));
    assert_eq!(told.len(), 17);
    assert_eq!(told[16], "24 more fields are dropped from the template");
    for warning in &told {
        assert!(warning.chars().count() < 300 && !warning.contains(char::is_control), "{warning:?}");
    }
}

#[test]
fn a_change_that_marathon_would_never_begin_is_told_beforehand() {
    let manifest = |command: &str, over: f64| {
        let app = json!({"cmd": command, "healthChecks": [{"protocol": "HTTP"}], "portDefinitions": [{"port": 0}],
            "upgradeStrategy": {"minimumHealthCapacity": 0, "maximumOverCapacity": over}});
        removals::manifest(&[("a", "/t/a", json!({"app": app}))])
    };
    let told_by = |version: &str, over: f64| {
        let mut world = World::new();
        world.observation.marathon_version = Some(version.to_owned());
        world.converge(&manifest("one", over));
        assert_eq!(world.plan(&manifest("one", over)).units[0].warnings, [], "nothing is to be replaced");
        let plan = world.plan(&manifest("two", over));
        assert_eq!(plan.actions.len(), 1, "it is told and done");
        plan.units[0].warnings.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let told = told_by("1.11.24", 0.0);
    assert_eq!(told.len(), 1);
    assert!(
        told[0].starts_with("/upgradeStrategy/maximumOverCapacity: Marathon 1.10 and later never"),
        "{told:?}"
    );
    assert_eq!(told_by("1.8.222", 0.0), [""; 0]);
    assert_eq!(told_by("1.11.24", 1.0), [""; 0]);
}
