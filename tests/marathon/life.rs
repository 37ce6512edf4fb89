//! A controller's life: the real planner, executor and client against the local Marathon, in virtual time.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use dcos_registry::clock::Entropy;
use dcos_registry::config::MarathonSettings;
use dcos_registry::controller::execute::Executor;
use dcos_registry::controller::followup::{Followups, Known, Now};
use dcos_registry::controller::guard::Limits;
use dcos_registry::controller::hold::Holds;
use dcos_registry::controller::observe::{follow_up, observe};
use dcos_registry::controller::plan::{PlanSettings, plan};
use dcos_registry::controller::report;
use dcos_registry::controller::stage::{Accepted, accept};
use dcos_registry::marathon::{Client, Timeouts};
use dcos_registry::model::{
    AppId, Completeness, Outcome, OutcomeResult, Plan, Revision, Snapshot, SnapshotFile, SnapshotPath,
    SourceName, UnitState,
};
use dcos_registry::storage::Storage;
use dcos_registry::storage::lease::{Candidate, LeaseTimes};
use dcos_registry::telemetry::Metrics;
use object_store::ObjectStore;
use object_store::memory::InMemory;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::trial::at_once;
use crate::world::World;

/// Between two passes.
const PAUSE: Duration = Duration::from_secs(4);

/// How many passes a change may take.
pub const MOST_PASSES: usize = 60;

/// A manifest of these specs, each named after its app.
pub fn manifest_of(specs: &[Value]) -> Accepted {
    let mut text = String::new();
    for spec in specs {
        let name = spec["app"]["id"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
        let unit = json!({
            "apiVersion": "dcos-registry/v1", "kind": "App", "metadata": {"name": name}, "spec": spec,
        });
        let _ = writeln!(text, "---\n{unit}");
    }
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

/// What outlives the controller.
pub struct Cluster {
    pub world: World,
    /// The app that plans are looked through for.
    id: &'static str,
    disk: Arc<dyn ObjectStore>,
}

/// One controller from its start to its death. All that it knows of the cluster beforehand stands in the storage.
pub struct Life<'a> {
    pub world: &'a World,
    pub executor: Executor,
    id: &'static str,
    holds: Holds,
    known: std::sync::Mutex<Known>,
    /// The plans that it made, as far as they say anything about the app.
    pub said: Vec<String>,
}

impl Cluster {
    pub async fn start(id: &'static str) -> Self {
        Self { world: World::start(7).await, id, disk: Arc::new(InMemory::new()) }
    }

    /// Starts a controller, which waits until the one before it is held for dead, and lets it work.
    pub async fn live<T>(&self, number: u64, work: impl AsyncFnOnce(&mut Life<'_>) -> T) -> T {
        let (clock, entropy) = (self.world.clock.clone(), Entropy::seeded(number));
        let storage = Storage::open(Arc::clone(&self.disk), clock.clone(), entropy.clone()).await.unwrap();
        let storage = Arc::new(storage);
        let url = format!("http://{}", self.world.marathon.address());
        let settings = MarathonSettings { admin_router: Some(url.clone()), ..MarathonSettings::plain(&url) };
        let parts = (clock.clone(), entropy.clone());
        let timeouts = Timeouts { read_tries: 1, ..Timeouts::default() };
        let marathon = Client::connect(&settings, timeouts, parts, Metrics::new().unwrap()).unwrap();
        let (times, stop) = (LeaseTimes::default(), CancellationToken::new());
        let candidate = Candidate {
            storage: Arc::clone(&storage),
            times,
            clock: clock.clone(),
            entropy: entropy.clone(),
        };
        let tenure = candidate.campaign(&stop).await.unwrap().unwrap();
        let write_limit = Duration::from_secs(3);
        let holds = Holds::new(entropy, clock.clone());
        let executor = Executor { marathon, storage, tenure: tenure.clone(), write_limit, stop, clock };
        let known = std::sync::Mutex::default();
        let mut life = Life { world: &self.world, id: self.id, executor, holds, known, said: Vec::new() };
        tokio::select! {
            biased;
            () = tenure.keep() => panic!("the lease is lost"),
            result = Box::pin(work(&mut life)) => result,
        }
    }
}

impl Life<'_> {
    async fn look(&self, accepted: &Accepted) -> Plan {
        let (marathon, storage) = (&self.executor.marathon, &self.executor.storage);
        let (desired, control) = (&accepted.desired, storage.control.state());
        let (inventory, clock) = (&control.inventory, &self.executor.clock);
        let mut known = self.known.lock().unwrap().clone();
        known.note(inventory, clock.boot());
        self.known.lock().unwrap().clone_from(&known);
        let now = Now { wall: clock.wall(), boot: clock.boot(), known: &known };
        let looked = Box::pin(async {
            let mut observation = observe(marathon, storage, Some(desired), now.wall).await;
            // No write is forced, so that one look decides.
            let earlier = Followups::new();
            let followups = follow_up(marathon, desired, inventory, &earlier, now, &mut observation).await;
            (observation, followups)
        });
        let (observation, followups) = at_once(looked).await;
        let settings = PlanSettings {
            public_url: "http://registry.test".to_owned(),
            limits: Limits { prune: true, ..Limits::default() },
            own_app: None,
        };
        plan(desired, &observation, inventory, &followups, &settings)
    }

    /// One pass; everything that is due is done.
    pub async fn pass(&mut self, accepted: &Accepted) -> Plan {
        let (plan, outcomes) = self.try_to_pass(accepted).await;
        for outcome in &outcomes {
            assert_eq!(outcome.result, OutcomeResult::Done, "{}", report::plan_text(&plan));
        }
        plan
    }

    /// One pass, whatever comes of it.
    pub async fn try_to_pass(&mut self, accepted: &Accepted) -> (Plan, Vec<Outcome>) {
        let plan = self.look(accepted).await;
        let none = BTreeMap::new();
        let executed = Box::pin(self.executor.execute(&plan, &none, &mut self.holds));
        let outcomes = at_once(executed).await;
        let of_app = |id: Option<&AppId>| id.is_some_and(|id| id.as_str() == self.id);
        let actions = plan.actions.iter().filter(|action| of_app(action.operation.app_id()));
        self.said.extend(actions.map(|action| action.operation.label().to_owned()));
        let waiting = plan.waiting.iter().filter(|waiting| waiting.target == self.id);
        self.said.extend(waiting.map(|waiting| format!("{}: {}", waiting.reason.as_str(), waiting.message)));
        self.world.pass(PAUSE).await;
        (plan, outcomes)
    }

    /// Passes until a plan is as it shall be. Returns what was said until then, each thing once.
    pub async fn until(&mut self, accepted: &Accepted, reached: impl Fn(&Plan) -> bool) -> Vec<String> {
        for _ in 0..MOST_PASSES {
            let plan = self.pass(accepted).await;
            if reached(&plan) {
                let mut said = std::mem::take(&mut self.said);
                said.dedup();
                return said;
            }
        }
        panic!("it does not come to that: {:#?}", self.said);
    }

    pub async fn until_ready(&mut self, accepted: &Accepted) -> Vec<String> {
        let ready = |plan: &Plan| plan.units.iter().all(|unit| matches!(unit.state, UnitState::Ready { .. }));
        self.until(accepted, ready).await
    }
}

/// Whether all the words are said, in that order.
pub fn in_order(said: &[String], words: &[&str]) -> bool {
    let mut rest = said.iter();
    words.iter().all(|word| rest.any(|line| line.contains(word)))
}
