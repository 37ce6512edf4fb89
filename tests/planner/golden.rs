//! Golden cases: `tests/plans/<case>/` holds `before/` (manifests that are in force; may be missing), `world.json`
//! (what somebody did since; may be missing), `after/` (the manifests now), and the plan that must come out, as
//! text and as JSON.

use std::path::Path;

use dcos_registry::controller::report;
use dcos_registry::controller::stage::accept;
use dcos_registry::model::Plan;
use serde_json::Value;

use crate::world::{World, accepted, snapshot_of};

fn plan_of(case: &Path) -> Plan {
    let mut world = World::new();
    let before = case.join("before");
    let good = before.is_dir().then(|| accepted(&before));
    if let Some(good) = &good {
        world.converge(good);
    }
    if let Ok(events) = std::fs::read(case.join("world.json")) {
        world.disturb(&serde_json::from_slice(&events).unwrap());
    }
    match accept(&snapshot_of(&case.join("after"))) {
        Ok(now) => world.plan(&now),
        Err(problems) => {
            let plan = good.map(|good| world.plan(&good)).unwrap_or_default();
            Plan { problems, ..plan }
        }
    }
}

/// Long texts, such as the label that holds the whole package, by their length: nobody reviews base64.
fn shortened(value: Value) -> Value {
    match value {
        Value::String(text) if text.len() > 200 => format!("<{} bytes>", text.len()).into(),
        Value::Array(items) => items.into_iter().map(shortened).collect(),
        Value::Object(map) => map.into_iter().map(|(key, value)| (key, shortened(value))).collect(),
        value => value,
    }
}

#[test]
fn every_case_gives_its_plan() {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/plans");
    let mut count = 0;
    for entry in std::fs::read_dir(&cases).unwrap() {
        let case = entry.unwrap().path();
        if !case.is_dir() {
            continue;
        }
        count += 1;
        let plan = plan_of(&case);
        let mut settings = insta::Settings::clone_current();
        settings.set_snapshot_path(&case);
        settings.set_prepend_module_to_snapshot(false);
        settings.set_omit_expression(true);
        settings.bind(|| {
            insta::assert_snapshot!("plan.txt", report::plan_text(&plan));
            insta::assert_json_snapshot!("plan.json", shortened(serde_json::to_value(&plan).unwrap()));
        });
    }
    assert!(count >= 10, "only {count} cases were found");
}
