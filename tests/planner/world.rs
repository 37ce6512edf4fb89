//! A cluster and a registry as plain values, which carry a plan out at once and without fail.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use dcos_registry::controller::followup::Followups;
use dcos_registry::controller::guard::Limits;
use dcos_registry::controller::plan::{PlanSettings, plan};
use dcos_registry::controller::stage::{Accepted, accept};
use dcos_registry::marathon::normalize::normalize_observed;
use dcos_registry::model::{
    App, AppId, BookEntry, Completeness, Epoch, Intent, IntentVerb, Inventory, Observation, ObservedPackage,
    Operation, Owned, Plan, Revision, Snapshot, SnapshotFile, SnapshotPath, SourceName, UnitId,
};
use serde_json::{Value, json};

/// Reads a folder of files as the snapshot of a source whose manifests are the whole of it.
pub fn snapshot_of(folder: &Path) -> Snapshot {
    let mut files = BTreeMap::new();
    collect(folder, folder, &mut files);
    snapshot(files)
}

/// A snapshot of these files.
pub fn snapshot(files: BTreeMap<SnapshotPath, SnapshotFile>) -> Snapshot {
    Snapshot {
        source: SourceName::new("test").unwrap(),
        revision: Revision("r1".to_owned()),
        completeness: Completeness::Complete,
        manifests: SnapshotPath::root(),
        files,
    }
}

fn collect(root: &Path, folder: &Path, files: &mut BTreeMap<SnapshotPath, SnapshotFile>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(root, &path, files);
        } else {
            let name = path.strip_prefix(root).unwrap().to_string_lossy().into_owned();
            let bytes = std::fs::read(&path).unwrap();
            files.insert(SnapshotPath::root().join(&name).unwrap(), SnapshotFile::inline(&bytes));
        }
    }
}

/// Everything outside the manifest.
#[derive(Clone)]
pub struct World {
    pub observation: Observation,
    pub inventory: Inventory,
    pub settings: PlanSettings,
    clock: u64,
}

impl World {
    /// An empty cluster and an empty registry, both read in full; pruning is on.
    pub fn new() -> Self {
        let observation = Observation {
            marathon: Completeness::Complete,
            registry: Completeness::Complete,
            ..Observation::default()
        };
        let settings = PlanSettings {
            public_url: "http://registry.test".to_owned(),
            limits: Limits { prune: true, ..Limits::default() },
            own_app: None,
        };
        Self { observation, inventory: Inventory::default(), settings, clock: 0 }
    }

    pub fn plan(&self, accepted: &Accepted) -> Plan {
        plan(&accepted.desired, &self.observation, &self.inventory, &Followups::new(), &self.settings)
    }

    /// Plans and applies until nothing is left to do. Panics where that takes suspiciously long.
    pub fn converge(&mut self, accepted: &Accepted) {
        for _ in 0..20 {
            let plan = self.plan(accepted);
            if plan.actions.is_empty() {
                return;
            }
            self.apply(&plan, accepted);
        }
        panic!("it does not converge");
    }

    pub fn apply(&mut self, plan: &Plan, accepted: &Accepted) {
        for action in &plan.actions {
            self.carry_out(&action.unit, &action.operation, accepted);
        }
    }

    fn carry_out(&mut self, unit: &UnitId, operation: &Operation, accepted: &Accepted) {
        match operation {
            Operation::Publish { coordinate, digest, release_version } => {
                let metadata = accepted.packages[coordinate].content.metadata.clone();
                let package = ObservedPackage {
                    digest: *digest,
                    release_version: *release_version,
                    metadata: Some(Arc::new(metadata)),
                };
                self.observation.packages.insert(coordinate.clone(), package);
            }
            Operation::CreateApp { app_id, app, book } | Operation::UpdateApp { app_id, app, book, .. } => {
                self.clock += 1;
                let seen = running(app, app_id, self.clock);
                self.own(unit, app_id, book, seen.version());
                self.observation.apps.insert(app_id.clone(), seen);
            }
            Operation::UninstallApp { app_id, app, .. } => {
                self.clock += 1;
                self.announce(unit, app_id, IntentVerb::Uninstall);
                self.observation.apps.insert(app_id.clone(), running(app, app_id, self.clock));
            }
            Operation::DeleteApp { app_id, .. } => {
                self.announce(unit, app_id, IntentVerb::Delete);
                self.observation.apps.remove(app_id);
            }
            Operation::Adopt { app_id, book, observed_version, .. } => {
                self.own(unit, app_id, book, observed_version);
            }
            Operation::Confirm { app_id } => {
                self.inventory.apps.get_mut(app_id).unwrap().rollout = None;
            }
            Operation::Forget { app_id } => {
                self.inventory.apps.remove(app_id);
                self.inventory.intents.remove(app_id);
            }
        }
    }

    /// What stays in the books until the app is seen to be gone.
    fn announce(&mut self, unit: &UnitId, app_id: &AppId, verb: IntentVerb) {
        let intent = Intent { unit: unit.clone(), ..announced(&self.inventory.apps[app_id], verb) };
        self.inventory.intents.insert(app_id.clone(), intent);
    }

    fn own(&mut self, unit: &UnitId, app_id: &AppId, book: &BookEntry, version: &str) {
        let owned = Owned {
            inputs: book.inputs,
            unit: unit.clone(),
            applied: book.applied.clone(),
            applied_digest: book.applied_digest,
            version: version.to_owned(),
            deployment: None,
            unchanged_puts: 0,
            protect: book.protect,
            rollout: None,
            failed: book.failed.clone(),
        };
        self.inventory.intents.remove(app_id);
        self.inventory.apps.insert(app_id.clone(), owned);
    }

    /// Makes the world what a case's `world.json` says happened behind the controller's back.
    pub fn disturb(&mut self, events: &Value) {
        if let Some(reason) = events.get("marathonUnreadable").and_then(Value::as_str) {
            self.observation.marathon = Completeness::Partial(reason.to_owned());
            self.observation.apps.clear();
        }
        for id in events.get("remove").and_then(Value::as_array).into_iter().flatten() {
            self.observation.apps.remove(&app_id(id.as_str().unwrap()));
        }
        for (id, fields) in events.get("change").and_then(Value::as_object).into_iter().flatten() {
            let app = self.observation.apps.get_mut(&app_id(id)).unwrap();
            app.0.extend(fields.as_object().unwrap().clone());
        }
        for (id, app) in events.get("add").and_then(Value::as_object).into_iter().flatten() {
            let (id, app) = (app_id(id), App(app.as_object().unwrap().clone()));
            let seen = running(&app, &id, 0);
            self.observation.apps.insert(id, seen);
        }
        if let Some(prune) = events.get("prune").and_then(Value::as_bool) {
            self.settings.limits.prune = prune;
        }
    }
}

pub fn app_id(text: &str) -> AppId {
    AppId::new(text).unwrap()
}

/// The app as a Marathon shows it once all its tasks are healthy.
fn running(app: &App, id: &AppId, clock: u64) -> App {
    let mut seen = normalize_observed(app).into_app();
    let instances = seen.instances();
    let version = format!("2026-01-01T00:00:00.{clock:03}Z");
    let status = json!({
        "id": id, "version": version, "deployments": [], "tasksStaged": 0, "tasksRunning": instances,
        "tasksHealthy": instances, "tasksUnhealthy": 0,
        "versionInfo": {"lastScalingAt": version, "lastConfigChangeAt": version},
    });
    seen.0.extend(status.as_object().unwrap().clone());
    seen
}

/// Reads a folder of manifests that must be good.
pub fn accepted(folder: &Path) -> Accepted {
    accept(&snapshot_of(folder)).unwrap_or_else(|problems| {
        let lines: Vec<_> = problems.iter().map(ToString::to_string).collect();
        panic!("{}: {}", folder.display(), lines.join("\n"))
    })
}

/// A write to an app of ours that was announced and not yet reported done.
pub fn announced(owned: &Owned, verb: IntentVerb) -> Intent {
    let observed_version = if verb == IntentVerb::Create { String::new() } else { owned.version.clone() };
    Intent {
        unit: owned.unit.clone(),
        verb,
        body: owned.applied_digest,
        applied: owned.applied.clone(),
        observed_version,
        inputs: None,
        failed: None,
        replaced: None,
        epoch: Epoch(1),
    }
}
