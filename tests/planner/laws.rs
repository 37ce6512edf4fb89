//! Laws that hold for every manifest and every world, tried on random ones.

use std::collections::{BTreeMap, BTreeSet};

use dcos_registry::controller::guard::deletions_allowed;
use dcos_registry::controller::report;
use dcos_registry::controller::stage::{Accepted, accept};
use dcos_registry::model::{Completeness, Operation, Plan, SnapshotFile, SnapshotPath, UnitId};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::world::{World, app_id, snapshot};

/// One random App unit. Units are numbered; a unit depends on lower numbers only, so there are no cycles.
#[derive(Debug, Clone)]
struct Unit {
    number: usize,
    command: u8,
    instances: u8,
    depends_on: Vec<usize>,
    protect: bool,
    absent: bool,
    drift: &'static str,
}

fn unit(number: usize) -> impl Strategy<Value = Unit> {
    let dependencies = prop::collection::vec(0..number.max(1), 0..3);
    let drift = prop::sample::select(vec!["enforce", "enforce", "enforce", "warn", "off"]);
    (0..3u8, 0..4u8, dependencies, prop::bool::weighted(0.2), prop::bool::weighted(0.15), drift).prop_map(
        move |(command, instances, mut depends_on, protect, absent, drift)| {
            depends_on.retain(|other| *other < number);
            depends_on.sort_unstable();
            depends_on.dedup();
            Unit { number, command, instances, depends_on, protect, absent, drift }
        },
    )
}

/// Up to eight units, some numbers left out; dependencies on what is left out are dropped.
fn units() -> impl Strategy<Value = Vec<Unit>> {
    let all: Vec<_> = (0..8).map(unit).collect();
    (all, prop::collection::vec(prop::bool::weighted(0.7), 8)).prop_map(|(all, kept)| {
        let mut units: Vec<Unit> =
            all.into_iter().zip(kept).filter(|(_, kept)| *kept).map(|(unit, _)| unit).collect();
        let numbers: BTreeSet<_> = units.iter().map(|unit| unit.number).collect();
        for unit in &mut units {
            unit.depends_on.retain(|number| numbers.contains(number));
        }
        units
    })
}

fn document(unit: &Unit) -> Value {
    let depends_on: Vec<_> = unit.depends_on.iter().map(|number| format!("App/u{number}")).collect();
    json!({
        "apiVersion": "dcos-registry/v1",
        "kind": "App",
        "metadata": {"name": format!("u{}", unit.number)},
        "spec": {
            "app": {
                "id": format!("/law/u{}", unit.number),
                "cmd": format!("run {}", unit.command),
                "instances": unit.instances,
            },
            "dependsOn": depends_on,
            "protect": unit.protect,
            "drift": unit.drift,
            "state": if unit.absent { "absent" } else { "present" },
        }
    })
}

/// The units as documents, spread over files as `spread` says.
fn manifest(units: &[Unit], spread: &[usize]) -> Accepted {
    let mut texts: BTreeMap<usize, String> = BTreeMap::new();
    for (index, unit) in units.iter().enumerate() {
        let file = spread.get(index).copied().unwrap_or(0);
        let text = texts.entry(file).or_default();
        text.push_str("---\n");
        text.push_str(&document(unit).to_string());
        text.push('\n');
    }
    let files = texts.into_iter().map(|(file, text)| {
        let path = SnapshotPath::root().join(&format!("f{file}.yaml")).unwrap();
        (path, SnapshotFile::inline(text.as_bytes()))
    });
    accept(&snapshot(files.collect())).unwrap_or_else(|problems| panic!("{problems:?}"))
}

/// What somebody did to the cluster.
#[derive(Debug, Clone)]
struct Mischief {
    removed: Vec<usize>,
    scaled: Vec<usize>,
    strange: Vec<usize>,
    unreadable: bool,
}

fn mischief() -> impl Strategy<Value = Mischief> {
    let some = || prop::collection::vec(0..8usize, 0..4);
    (some(), some(), some(), prop::bool::weighted(0.2))
        .prop_map(|(removed, scaled, strange, unreadable)| Mischief { removed, scaled, strange, unreadable })
}

fn id(number: usize) -> dcos_registry::model::AppId {
    app_id(&format!("/law/u{number}"))
}

/// A world that was converged on one manifest and then disturbed.
fn disturbed(units: &[Unit], mischief: &Mischief) -> World {
    let mut world = World::new();
    world.converge(&manifest(units, &[]));
    for number in &mischief.removed {
        world.observation.apps.remove(&id(*number));
    }
    for number in &mischief.scaled {
        if let Some(app) = world.observation.apps.get_mut(&id(*number)) {
            app.0.insert("instances".to_owned(), json!(9));
        }
    }
    for number in &mischief.strange {
        if !world.inventory.apps.contains_key(&id(*number)) {
            let events = json!({"add": {(id(*number).to_string()): {"cmd": "a stranger's"}}});
            world.disturb(&events);
        }
    }
    if mischief.unreadable {
        world.observation.marathon = Completeness::Partial("half of it was read".to_owned());
    }
    world
}

fn deleted(plan: &Plan) -> Vec<(&UnitId, &dcos_registry::model::AppId)> {
    let deletes = plan.actions.iter().filter_map(|action| match &action.operation {
        Operation::DeleteApp { app_id, .. } => Some((&action.unit, app_id)),
        _ => None,
    });
    deletes.collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_was_applied_needs_nothing_more(units in units(), mischief in mischief()) {
        let mut world = disturbed(&[], &mischief);
        world.observation.marathon = Completeness::Complete;
        let now = manifest(&units, &[]);
        world.converge(&now);
        prop_assert!(world.plan(&now).actions.is_empty());
    }

    #[test]
    fn incomplete_reading_neither_removes_nor_creates(before in units(), after in units(), mischief in mischief()) {
        let mischief = Mischief { unreadable: true, ..mischief };
        let plan = disturbed(&before, &mischief).plan(&manifest(&after, &[]));
        for action in &plan.actions {
            let create = matches!(action.operation, Operation::CreateApp { .. });
            prop_assert!(!create, "{}", report::plan_text(&plan));
        }
        let inferred = deleted(&plan).into_iter().filter(|(unit, _)| {
            !after.iter().any(|wanted| wanted.absent && format!("App/u{}", wanted.number) == unit.to_string())
        });
        prop_assert_eq!(inferred.count(), 0, "{}", report::plan_text(&plan));
    }

    #[test]
    fn only_ours_is_removed_and_never_more_than_the_limit(
        before in units(), after in units(), mischief in mischief()
    ) {
        let world = disturbed(&before, &mischief);
        let now = manifest(&after, &[]);
        let plan = world.plan(&now);
        let mut inferred = 0;
        for (unit, app) in deleted(&plan) {
            prop_assert!(world.inventory.apps.contains_key(app), "{app} is not ours");
            prop_assert!(!mischief.strange.iter().any(|n| id(*n) == *app && !world.inventory.apps.contains_key(app)));
            if !now.desired.units.contains_key(unit) {
                inferred += 1;
                prop_assert!(!world.inventory.apps[app].protect, "{app} is protected");
            }
        }
        prop_assert!(inferred <= deletions_allowed(&world.settings.limits, world.inventory.apps.len()));
    }

    #[test]
    fn actions_follow_the_graph_and_removals_come_last(before in units(), after in units()) {
        let world = disturbed(&before, &Mischief { removed: vec![], scaled: vec![], strange: vec![], unreadable: false });
        let now = manifest(&after, &[]);
        let plan = world.plan(&now);
        for (index, action) in plan.actions.iter().enumerate() {
            prop_assert!(action.after.iter().all(|before| *before < index));
            let writes = matches!(action.operation, Operation::CreateApp { .. } | Operation::UpdateApp { .. });
            let Some(unit) = now.desired.units.get(&action.unit).filter(|_| writes) else { continue };
            for dependency in &unit.depends_on {
                let state = plan.units.iter().find(|u| u.unit == *dependency).unwrap();
                let ready = matches!(state.state, dcos_registry::model::UnitState::Ready { .. });
                prop_assert!(ready, "{} acts before {dependency} is ready", action.unit);
            }
        }
        let last_write = plan.actions.iter().rposition(|a| now.desired.units.contains_key(&a.unit));
        let first_prune = plan.actions.iter().position(|a| !now.desired.units.contains_key(&a.unit));
        if let (Some(write), Some(prune)) = (last_write, first_prune) {
            prop_assert!(write < prune);
        }
    }

    #[test]
    fn spreading_documents_over_files_changes_nothing(
        units in units(), spread in prop::collection::vec(0..5usize, 8), mischief in mischief()
    ) {
        let world = disturbed(&units, &mischief);
        let mut reversed = units.clone();
        reversed.reverse();
        let one = world.plan(&manifest(&units, &[]));
        let other = world.plan(&manifest(&reversed, &spread));
        prop_assert_eq!(one, other);
    }

    #[test]
    fn our_own_app_is_never_touched(before in units(), after in units(), own in 0..8usize, mischief in mischief()) {
        let mut world = disturbed(&before, &mischief);
        world.settings.own_app = Some(id(own));
        let plan = world.plan(&manifest(&after, &[]));
        for action in &plan.actions {
            let bookkeeping = action.operation.is_bookkeeping();
            prop_assert!(bookkeeping || action.operation.app_id() != Some(&id(own)));
        }
    }

    #[test]
    fn every_unit_has_a_state_and_a_plan_survives_json(before in units(), after in units(), mischief in mischief()) {
        let plan = disturbed(&before, &mischief).plan(&manifest(&after, &[]));
        prop_assert_eq!(plan.units.len(), after.len());
        let json = serde_json::to_string(&plan).unwrap();
        prop_assert_eq!(serde_json::from_str::<Plan>(&json).unwrap(), plan);
    }
}
