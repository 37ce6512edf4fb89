//! Reads the world: one listing of Marathon, what else it tells of apps of ours that do not run, the catalog, and the
//! metadata of the packages that matter.
//!
//! A part that cannot be read makes the observation incomplete; it never looks like an empty part.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;
use tracing::{debug, warn};

use crate::controller::desired::{Desired, Goal};
use crate::controller::followup::{self, Followups, Now};
use crate::marathon::{Client, MarathonError};
use crate::model::{App, AppId, Completeness, Inventory, Observation, ObservedPackage};
use crate::storage::Storage;
use crate::telemetry::chain;

/// Looks at everything. `now` is our wall clock before the look: no task is taken for older than it is.
pub async fn observe(
    marathon: &Client,
    storage: &Storage,
    desired: Option<&Desired>,
    now: Timestamp,
) -> Observation {
    let mut observation = Observation { looked_at: Some(now), ..Observation::default() };
    read_marathon(marathon, storage, &mut observation).await;
    read_registry(storage, desired, &mut observation).await;
    observation
}

async fn read_marathon(marathon: &Client, storage: &Storage, observation: &mut Observation) {
    let apps = match marathon.apps().await {
        Ok(apps) => apps,
        Err(error) => {
            observation.marathon = Completeness::Partial(chain(&error));
            return;
        }
    };
    observation.marathon = Completeness::Complete;
    let mut by_id = BTreeMap::new();
    for app in apps {
        if let Some(Ok(id)) = app.id().map(AppId::new) {
            by_id.insert(id, app);
        } else {
            // Older Marathons allowed ids that today's refuse; such an app cannot be ours.
            warn!(id = app.id(), "an app with an id that is none is left alone");
        }
    }
    observation.apps = by_id;
    if let Some(told) = marathon.told().await {
        observation.service_ports = told.marathon_config.service_ports();
        observation.marathon_version = Some(told.version);
    }
    let inventory = storage.control.state().inventory.clone();
    read_evidence(marathon, &inventory, observation).await;
    read_schedulers(marathon, &inventory, observation).await;
}

/// Asks the schedulers of SDK services of ours how far they are, after the apps were listed: what they say is never older
/// than what it is held against. While a deployment holds an app another scheduler may answer than is meant.
async fn read_schedulers(marathon: &Client, inventory: &Inventory, observation: &mut Observation) {
    observation.admin_router = marathon.knows_admin_router();
    let ours = inventory.apps.keys().filter_map(|id| Some((id, observation.apps.get(id)?)));
    let runs = |app: &App| app.get("tasksRunning").and_then(Value::as_u64).is_some_and(|running| running > 0);
    let settled = ours.filter(|(_, app)| app.deployments().next().is_none() && runs(app));
    observation.scheduler_plans = marathon.sdk_plans(settled).await;
}

/// Reads what tells why apps of ours do not run: two more calls, and only where there is something to tell. None of
/// it decides what is done, so its absence is no failure.
async fn read_evidence(marathon: &Client, inventory: &Inventory, observation: &mut Observation) {
    let ours = || inventory.apps.keys().filter_map(|id| observation.apps.get(id));
    let held = ours().any(|app| app.deployments().next().is_some());
    let missing = ours().any(|app| {
        app.get("tasksRunning").and_then(Value::as_u64).is_some_and(|running| running < app.instances())
    });
    let (deployments, queue) =
        futures::join!(async { if held { marathon.deployments().await } else { Ok(Vec::new()) } }, async {
            if missing { marathon.queue().await } else { Ok(Vec::new()) }
        },);
    observation.deployments = told("deployments", deployments);
    observation.queue = told("queue", queue);
}

fn told<T>(what: &'static str, read: Result<Vec<T>, MarathonError>) -> Vec<T> {
    read.unwrap_or_else(|error| {
        debug!(what, error = chain(&error), "why apps do not run is not told");
        Vec::new()
    })
}

/// Judges the changes under way by what was observed, and reads what is needed to take back those that failed.
pub async fn follow_up(
    marathon: &Client,
    desired: &Desired,
    inventory: &Inventory,
    earlier: &Followups,
    now: Now<'_>,
    observation: &mut Observation,
) -> Followups {
    let followups = followup::follow_up(desired, observation, inventory, earlier, now);
    // The client bounds how many calls are under way.
    let versions = followup::to_restore(desired, inventory, &followups).into_iter();
    let reads = versions.map(|(app_id, version)| async move {
        let read = marathon.app_at(&app_id, &version).await;
        (app_id, read.map_err(|error| chain(&error)))
    });
    observation.former = futures::future::join_all(reads).await.into_iter().collect();
    followups
}

/// Reads the catalog as this process has it, and the metadata of every coordinate that a unit names.
pub async fn read_registry(storage: &Storage, desired: Option<&Desired>, observation: &mut Observation) {
    if let Err(error) = storage.catalog.follow().await {
        observation.registry = Completeness::Partial(chain(&error));
        return;
    }
    observation.registry = Completeness::Complete;
    let state = storage.catalog.state();
    let entries = state.packages().map(|entry| {
        let (digest, release_version) = (entry.digest, entry.release_version);
        (entry.coordinate.clone(), ObservedPackage { digest, release_version, metadata: None })
    });
    observation.packages = entries.collect();
    let goals = desired.into_iter().flat_map(|desired| desired.units.values()).map(|unit| &unit.goal);
    for goal in goals {
        let Goal::Package { content, .. } = goal else { continue };
        let Some(package) = observation.packages.get_mut(&content.coordinate) else { continue };
        match storage.document(&content.coordinate).await {
            Ok(metadata) => package.metadata = metadata,
            Err(error) => observation.registry = Completeness::Partial(chain(&error)),
        }
    }
}
