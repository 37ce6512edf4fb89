//! The controller's inner loop on a desk: look, plan, execute, against a scripted Marathon and a store in
//! memory, with a clock that moves only when told.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use object_store::ObjectStore;
use object_store::memory::InMemory;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::cluster::{Asked, Cluster, Fault};
use crate::clock::{Clock, Entropy};
use crate::controller::execute::Executor;
use crate::controller::followup::{Followups, Known, Now};
use crate::controller::guard::Limits;
use crate::controller::hold::Holds;
use crate::controller::observe::{follow_up, observe};
use crate::controller::plan::{PlanSettings, plan};
use crate::controller::stage::{Accepted, accept};
use crate::marathon::Client;
use crate::model::{
    AppId, Completeness, ErrorClass, Inventory, Outcome, OutcomeResult, Plan, Revision, Snapshot,
    SnapshotFile, SnapshotPath, SourceName,
};
use crate::storage::Storage;
use crate::storage::faults::FaultStore;
use crate::storage::lease::Candidate;

pub(super) fn id(text: &str) -> AppId {
    AppId::new(text).unwrap()
}

/// A manifest of App units, each named like the last word of its app's id.
pub(super) fn manifest(apps: &[Value]) -> Accepted {
    manifest_of(apps, &json!({}))
}

/// As [`manifest`], with these fields beside each app.
pub(super) fn manifest_of(apps: &[Value], upkeep: &Value) -> Accepted {
    let documents = apps.iter().map(|app| {
        let name = app["id"].as_str().unwrap().rsplit('/').next().unwrap();
        let mut spec = upkeep.clone();
        spec["app"] = app.clone();
        let unit = json!({
            "apiVersion": "dcos-registry/v1", "kind": "App", "metadata": {"name": name}, "spec": spec,
        });
        format!("---\n{unit}\n")
    });
    let text: String = documents.collect();
    let path = SnapshotPath::root().join("all.yaml").unwrap();
    let snapshot = Snapshot {
        source: SourceName::new("test").unwrap(),
        revision: Revision(text.clone()),
        completeness: Completeness::Complete,
        manifests: SnapshotPath::root(),
        files: BTreeMap::from([(path, SnapshotFile::inline(text.as_bytes()))]),
    };
    accept(&Arc::new(snapshot)).unwrap_or_else(|problems| panic!("{problems:?}"))
}

/// All parts of the loop.
pub(super) struct Rig {
    pub(super) cluster: Cluster,
    pub(super) store: FaultStore,
    pub(super) executor: Executor,
    pub(super) holds: Holds,
    followups: Followups,
    known: std::sync::Mutex<Known>,
    pub(super) clock: Clock,
    pub(super) stop: CancellationToken,
    settings: PlanSettings,
    /// What survives a death.
    disk: Arc<dyn ObjectStore>,
    deaths: u64,
}

impl Rig {
    pub(super) async fn new(faults: &[(usize, Fault)]) -> Self {
        let cluster = Cluster::default();
        let marathon = cluster.serve().await;
        Self::over(cluster, marathon, faults).await
    }

    /// Takes over a server that was used before, which is quicker than to start one.
    pub(super) async fn over(cluster: Cluster, marathon: Client, faults: &[(usize, Fault)]) -> Self {
        let disk: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let store = FaultStore::new(Arc::clone(&disk));
        let clock = Clock::fixed(1_000_000);
        let open = |store, seed| Storage::open(store, clock.clone(), Entropy::seeded(seed));
        let storage = Arc::new(open(Arc::new(store.clone()), 1).await.unwrap());
        cluster.reset(open(Arc::clone(&disk), 2).await.unwrap(), faults);
        let tenure = Candidate::seize(&storage, &clock).await;
        let stop = CancellationToken::new();
        let write_limit = Duration::from_secs(3);
        let executor =
            Executor { marathon, storage, tenure, write_limit, stop: stop.clone(), clock: clock.clone() };
        let settings = PlanSettings {
            public_url: "http://registry.test".to_owned(),
            limits: Limits { prune: true, ..Limits::default() },
            own_app: None,
        };
        let holds = Holds::new(Entropy::seeded(3), clock.clone());
        let followups = Followups::new();
        let known = std::sync::Mutex::default();
        Self { cluster, store, executor, holds, followups, known, clock, stop, settings, disk, deaths: 0 }
    }

    /// Looks and plans.
    pub(super) async fn plan(&self, accepted: &Accepted) -> Plan {
        self.look(accepted).await.0
    }

    async fn look(&self, accepted: &Accepted) -> (Plan, Followups) {
        let (marathon, desired, inventory) = (&self.executor.marathon, &accepted.desired, &self.inventory());
        let wall = self.clock.wall();
        let mut observation = observe(marathon, &self.executor.storage, Some(desired), wall).await;
        let (earlier, boot) = (&self.followups, self.clock.boot());
        let known = {
            let mut known = self.known.lock().unwrap();
            known.note(inventory, boot);
            known.clone()
        };
        let now = Now { wall, boot, known: &known };
        let followups = follow_up(marathon, desired, inventory, earlier, now, &mut observation).await;
        (plan(desired, &observation, inventory, &followups, &self.settings), followups)
    }

    pub(super) async fn execute(&mut self, plan: &Plan) -> Vec<Outcome> {
        self.executor.execute(plan, &BTreeMap::new(), &mut self.holds).await
    }

    /// One pass, after which the clock moves on as far as the next try needs. Who dies in it starts anew.
    pub(super) async fn pass(&mut self, accepted: &Accepted) -> (Plan, Vec<Outcome>) {
        let death = self.cluster.with(|inner| inner.death.clone());
        let ended = tokio::select! {
            ended = self.live(accepted) => Some(ended),
            () = death.cancelled() => None,
        };
        match ended {
            Some(ended) if !self.store.is_dead() => ended,
            _ => {
                self.restart().await;
                self.live(accepted).await
            }
        }
    }

    /// What the next process does first.
    async fn restart(&mut self) {
        self.deaths += 1;
        self.cluster.with(|inner| inner.death = CancellationToken::new());
        self.store = FaultStore::new(Arc::clone(&self.disk));
        let (store, entropy) = (Arc::new(self.store.clone()), Entropy::seeded(10 + self.deaths));
        let storage = Storage::open(store, self.clock.clone(), entropy).await.unwrap();
        self.executor.storage = Arc::new(storage);
        self.executor.tenure = Candidate::seize(&self.executor.storage, &self.clock).await;
        self.holds = Holds::new(Entropy::seeded(3), self.clock.clone());
        self.followups.clear();
        self.known = std::sync::Mutex::default();
    }

    async fn live(&mut self, accepted: &Accepted) -> (Plan, Vec<Outcome>) {
        let (plan, followups) = self.look(accepted).await;
        self.followups = followups;
        let outcomes = self.execute(&plan).await;
        let refused = |o: &Outcome| {
            matches!(o.result, OutcomeResult::Failed { class: ErrorClass::Stall | ErrorClass::Fatal, .. })
        };
        let pause = if outcomes.iter().any(refused) { 601 } else { 2 };
        self.clock.advance(Duration::from_secs(pause));
        (plan, outcomes)
    }

    /// Passes until nothing is left to do and nothing moves. Returns how many that took.
    pub(super) async fn converge(&mut self, accepted: &Accepted) -> Result<usize, String> {
        let mut last = None;
        for passes in 0..16 {
            let (plan, outcomes) = self.pass(accepted).await;
            if plan.actions.is_empty() && plan.waiting.is_empty() && plan.blocked.is_empty() {
                return Ok(passes);
            }
            last = Some((plan, outcomes));
        }
        let (plan, outcomes) = last.unwrap();
        let plan = crate::controller::report::plan_text(&plan);
        Err(format!("it does not converge; the last plan was\n{plan}\n{outcomes:?}"))
    }

    /// The writes that came since the last call, each as `VERB /app?query`.
    pub(super) fn writes(&self) -> Vec<String> {
        let asked = self.cluster.with(|inner| std::mem::take(&mut inner.asked));
        asked.iter().filter(|asked| asked.is_write()).map(Asked::line).collect()
    }

    /// Hurts the next request of that kind that is about an app.
    pub(super) fn hurt(&self, verb: &'static str, fault: Fault) {
        self.cluster.with(|inner| inner.next_of = Some((verb, fault)));
    }

    pub(super) fn inventory(&self) -> Inventory {
        self.executor.storage.control.state().inventory.clone()
    }
}
