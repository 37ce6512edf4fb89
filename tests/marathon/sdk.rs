//! A service of the DC/OS SDK from its creation to its removal, carried by the real planner, executor and client against
//! the local Marathon, in virtual time; and what the local Marathon answers in place of its scheduler.

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
use dcos_registry::marathon::sdk::{UNINSTALL_LABEL, UNINSTALL_VARIABLE};
use dcos_registry::marathon::{Client, Timeouts};
use dcos_registry::model::{
    Completeness, OutcomeResult, Plan, Revision, Snapshot, SnapshotFile, SnapshotPath, SourceName, UnitState,
    WaitingReason,
};
use dcos_registry::storage::Storage;
use dcos_registry::storage::lease::{Candidate, LeaseTimes};
use dcos_registry::telemetry::Metrics;
use object_store::ObjectStore;
use object_store::memory::InMemory;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::trial::at_once;
use crate::world::{World, in_virtual_time};

const ID: &str = "/data/kafka";
const PLAN: &str = "/service/data/kafka/v1/plans/deploy";

/// Between two passes.
const PAUSE: Duration = Duration::from_secs(4);

/// How many passes a change may take.
const MOST_PASSES: usize = 60;

/// A manifest of this app, where there is one, and another.
fn manifest(env: Option<&Value>) -> Accepted {
    let scheduler = env.map(|env| {
        json!({"id": ID, "cmd": "./scheduler", "instances": 1, "env": env, "labels": {UNINSTALL_LABEL: "true"},
            "upgradeStrategy": {"minimumHealthCapacity": 0, "maximumOverCapacity": 0}})
    });
    let other = json!({"id": "/t/other", "cmd": "sleep 60", "instances": 1});
    let mut text = String::new();
    for app in scheduler.into_iter().chain([other]) {
        let name = app["id"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
        let spec = json!({"app": app});
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
struct Cluster {
    world: World,
    disk: Arc<dyn ObjectStore>,
}

/// One controller from its start to its death. All that it knows of the cluster beforehand stands in the storage.
struct Life<'a> {
    world: &'a World,
    executor: Executor,
    holds: Holds,
    known: std::sync::Mutex<Known>,
    /// The plans that it made, as far as they say anything about the service.
    said: Vec<String>,
}

impl Cluster {
    async fn start() -> Self {
        Self { world: World::start(7).await, disk: Arc::new(InMemory::new()) }
    }

    /// Starts a controller, which waits until the one before it is held for dead, and lets it work.
    async fn live<T>(&self, number: u64, work: impl AsyncFnOnce(&mut Life<'_>) -> T) -> T {
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
        let mut life = Life { world: &self.world, executor, holds, known, said: Vec::new() };
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
    async fn pass(&mut self, accepted: &Accepted) -> Plan {
        let plan = self.look(accepted).await;
        let none = BTreeMap::new();
        let executed = Box::pin(self.executor.execute(&plan, &none, &mut self.holds));
        let outcomes = at_once(executed).await;
        for outcome in &outcomes {
            assert_eq!(outcome.result, OutcomeResult::Done, "{}", report::plan_text(&plan));
        }
        let of_service = |id: Option<&dcos_registry::model::AppId>| id.is_some_and(|id| id.as_str() == ID);
        let actions = plan.actions.iter().filter(|action| of_service(action.operation.app_id()));
        self.said.extend(actions.map(|action| action.operation.label().to_owned()));
        let waiting = plan.waiting.iter().filter(|waiting| waiting.target == ID);
        self.said.extend(waiting.map(|waiting| format!("{}: {}", waiting.reason.as_str(), waiting.message)));
        self.world.pass(PAUSE).await;
        plan
    }

    /// Passes until a plan is as it shall be. Returns what was said until then, each thing once.
    async fn until(&mut self, accepted: &Accepted, reached: impl Fn(&Plan) -> bool) -> Vec<String> {
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

    async fn until_ready(&mut self, accepted: &Accepted) -> Vec<String> {
        let ready = |plan: &Plan| plan.units.iter().all(|unit| matches!(unit.state, UnitState::Ready { .. }));
        self.until(accepted, ready).await
    }
}

fn waits(plan: &Plan, word: &str) -> bool {
    let uninstalls = plan.waiting.iter().filter(|waiting| waiting.reason == WaitingReason::Uninstalling);
    uninstalls.clone().any(|waiting| waiting.message.contains(word))
}

/// Whether all the words are said, in that order.
fn in_order(said: &[String], words: &[&str]) -> bool {
    let mut rest = said.iter();
    words.iter().all(|word| rest.any(|line| line.contains(word)))
}

#[test]
fn a_service_is_deployed_updated_and_uninstalled_and_a_new_controller_goes_on_in_the_middle() {
    in_virtual_time(async {
        let cluster = Cluster::start().await;
        let (first, second, gone) =
            (manifest(Some(&json!({"A": "1"}))), manifest(Some(&json!({"A": "2"}))), manifest(None));
        cluster
            .live(1, async |life| {
                for (accepted, verb) in [(&first, "create"), (&second, "update")] {
                    let said = life.until_ready(accepted).await;
                    let words = [verb, "NotHealthy", "phase node is", "phase sidecar is PENDING"];
                    assert!(in_order(&said, &words), "{said:#?}");
                    assert_eq!(life.world.send("GET", PLAN, &Value::Null).await.0, 200);
                }
                let said = life.until(&gone, |plan| waits(plan, "phase kill-tasks")).await;
                assert!(in_order(&said, &["uninstall", "Uninstalling"]), "{said:#?}");
                assert!(!said.iter().any(|line| line == "delete"), "{said:#?}");
            })
            .await;
        assert_eq!(cluster.world.app(ID).await.get("env").unwrap()[UNINSTALL_VARIABLE], "true");
        // The first one is dead, and left nothing but what is in the storage and in Marathon.
        cluster
            .live(2, async |life| {
                let said =
                    life.until(&gone, |plan| plan.actions.iter().any(|a| a.operation.label() == "delete"));
                let said = said.await;
                assert!(in_order(&said, &["phase unreserve-resources-local", "delete"]), "{said:#?}");
                assert!(!said.iter().any(|line| line == "uninstall"), "it was begun before: {said:#?}");
                let said = life.until(&gone, |plan| plan.actions.is_empty() && plan.waiting.is_empty()).await;
                assert_eq!(said, ["forget"]);
                let inventory = life.executor.storage.control.state().inventory.clone();
                assert!(inventory.intents.is_empty(), "{inventory:?}");
                assert_eq!(inventory.apps.keys().map(ToString::to_string).collect::<Vec<_>>(), ["/t/other"]);
            })
            .await;
        assert_eq!(cluster.world.send("GET", PLAN, &Value::Null).await.0, 404);
        cluster.world.stop().await;
    });
}

#[test]
fn a_service_that_is_desired_again_while_it_uninstalls_is_made_anew() {
    in_virtual_time(async {
        let cluster = Cluster::start().await;
        let (there, gone) = (manifest(Some(&json!({"A": "x"}))), manifest(None));
        cluster
            .live(1, async |life| {
                life.until_ready(&there).await;
                life.until(&gone, |plan| waits(plan, "phase kill-tasks")).await;
                let plan = life.pass(&there).await;
                assert_eq!(plan.blocked[0].reason.as_str(), "Uninstalling", "{}", report::plan_text(&plan));
                life.said.clear();
                let said = life.until_ready(&there).await;
                assert!(in_order(&said, &["delete", "create", "phase node is"]), "{said:#?}");
            })
            .await;
        assert_eq!(cluster.world.app(ID).await.get("env"), Some(&json!({"A": "x"})));
        cluster.world.stop().await;
    });
}

/// A scheduler that cannot be asked is no scheduler that is done.
#[test]
fn a_service_that_does_not_answer_is_not_deleted() {
    in_virtual_time(async {
        let cluster = Cluster::start().await;
        let (there, gone) = (manifest(Some(&json!({}))), manifest(None));
        cluster
            .live(1, async |life| {
                life.until_ready(&there).await;
                life.world.outcome(ID, &json!({"outcome": "neverStarts"})).await;
                life.pass(&gone).await;
                for _ in 0..MOST_PASSES {
                    let plan = life.pass(&gone).await;
                    assert!(plan.actions.is_empty() && waits(&plan, ""), "{}", report::plan_text(&plan));
                }
            })
            .await;
        cluster.world.stop().await;
    });
}

#[test]
fn the_local_marathon_answers_as_admin_router_does() {
    in_virtual_time(async {
        let world = World::start(1).await;
        let get = async |path: &str| world.send("GET", path, &Value::Null).await.0;
        assert_eq!(get(PLAN).await, 404, "there is no such app");
        let other = json!({"id": "/other", "cmd": "sleep 1"});
        assert_eq!(world.send("POST", "/v2/apps", &other).await.0, 201);
        world.outcome(ID, &json!({"startup": 30})).await;
        let labels = json!({UNINSTALL_LABEL: "true", "DCOS_COMMONS_API_VERSION": "v1"});
        let app = json!({"id": ID, "cmd": "./scheduler", "labels": labels});
        assert_eq!(world.send("POST", "/v2/apps", &app).await.0, 201);
        world.pass(Duration::from_secs(5)).await;
        assert_eq!(get("/service/other/v1/plans/deploy").await, 404, "it is no scheduler");
        assert_eq!(get(PLAN).await, 503, "it does not run yet");
        world.pass(Duration::from_secs(30)).await;
        let (status, plan) = world.send("GET", PLAN, &Value::Null).await;
        assert_eq!((status, &plan["status"], &plan["strategy"]), (202, &json!("PENDING"), &json!("serial")));
        assert_eq!(plan["phases"][0]["steps"][0]["status"], "STARTING");
        world.pass(Duration::from_secs(30)).await;
        let (status, plan) = world.send("GET", PLAN, &Value::Null).await;
        assert_eq!((status, &plan["status"]), (200, &json!("COMPLETE")));
        let ids = world.get("/service/data/kafka/v1/state/frameworkId").await;
        assert_eq!(ids.as_array().map(Vec::len), Some(1));
        assert_eq!(get("/service/data/kafka/v2/plans/deploy").await, 404);
        assert_eq!(get("/service/data/kafka/v1/plans/recovery").await, 404);
        world.stop().await;
    });
}
