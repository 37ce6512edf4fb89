//! The daemon that joins the stages: look, plan, execute, report; again and again.
//!
//! Level-triggered: every pass looks at everything, so that a missed event costs time and nothing else. Only
//! [`leader::Leader::run`] acts; [`Controller::plan_now`] looks and plans with the same functions and writes
//! nothing.

pub mod desired;
pub mod execute;
pub mod followup;
pub mod guard;
pub mod hold;
pub mod leader;
mod listen;
pub mod observe;
pub mod plan;
pub mod report;
mod requests;
pub mod stage;
pub mod status;

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::sync::{Mutex, Notify, watch};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::clock::{Clock, Entropy};
use crate::marathon::Client;
use crate::model::{
    AppId, Blocked, Inventory, Observation, Outcome, OutcomeResult, Plan, Problem, Revision, SnapshotPath,
    UnitStatus,
};
use crate::retry::Delays;
use crate::source::Source;
use crate::storage::Storage;
use crate::storage::control::ControlOperation;
use crate::storage::lease::Tenure;
use crate::telemetry::{Metrics, chain};
use execute::Executor;
use followup::{Followups, Known, Now};
use hold::Holds;
use plan::PlanSettings;
use stage::{Accepted, Stage};
use status::StatusBook;

/// How long a pass waits for the next while something is moving; longer and longer while nothing new comes of it.
const BUSY_PAUSE: Duration = Duration::from_millis(300);

/// How long an instance that does not lead waits between two looks, at least.
const LOOK_ON_PAUSE: Duration = Duration::from_secs(10);

/// How often a leader at rest looks whether somebody asked for something; in memory.
const REQUEST_POLL: Duration = Duration::from_millis(250);

/// How many entries the log of a view holds.
pub const LONGEST_LOG: usize = 256;

/// What the last pass found, for everybody who asks.
#[derive(Debug, Clone, Default)]
pub struct View {
    /// How many passes there were.
    pub passes: u64,
    /// The revision in force.
    pub revision: Option<Revision>,
    /// Why a newer one is not.
    pub problems: Vec<Problem>,
    /// All units.
    pub units: Vec<UnitStatus>,
    /// What is not desired any more and is not removed, with the reason.
    pub kept: Vec<Blocked>,
    /// What happened lately, oldest first; the last [`LONGEST_LOG`] entries.
    pub log: VecDeque<LogEntry>,
}

/// One thing that happened.
#[derive(Debug, Clone)]
pub struct LogEntry {
    /// Counts up from 1, without a gap.
    pub number: u64,
    /// What, in one line or a few.
    pub text: String,
}

/// What a controller is made of.
pub struct Parts {
    /// Where manifests come from.
    pub source: Box<dyn Source>,
    /// The cluster.
    pub marathon: Client,
    /// The registry's storage and our books.
    pub storage: Arc<Storage>,
    /// Limits and names for the planner.
    pub settings: PlanSettings,
    /// How long to wait between passes when nothing moves.
    pub interval: Duration,
    /// The metrics.
    pub metrics: Metrics,
    /// Time.
    pub clock: Clock,
    /// Randomness.
    pub entropy: Entropy,
    /// How long a write to Marathon may take.
    pub write_limit: Duration,
}

/// The controller of one source and one cluster.
pub struct Controller {
    stage: Mutex<Stage>,
    /// Held by whoever has a plan made for an answer.
    asking: Mutex<()>,
    marathon: Client,
    storage: Arc<Storage>,
    settings: PlanSettings,
    interval: Duration,
    metrics: Metrics,
    clock: Clock,
    entropy: Entropy,
    view: watch::Sender<View>,
    /// What the last pass found of the changes under way.
    followups: watch::Sender<Followups>,
    /// Since when this process has known of them.
    known: std::sync::Mutex<Known>,
    nudge: Arc<Notify>,
    write_limit: Duration,
}

/// How soon to look again.
enum Pace {
    /// Something moves, and there is news.
    News,
    /// Something moves.
    Moving,
    /// Nothing moves.
    Quiet,
}

/// One look at everything.
struct Look {
    accepted: Option<Arc<Accepted>>,
    problems: Vec<Problem>,
    observation: Observation,
    followups: Followups,
}

impl Controller {
    /// Joins the parts. Nothing happens before [`leader::Leader::run`].
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        Self {
            write_limit: parts.write_limit,
            stage: Mutex::new(Stage::new(parts.source)),
            asking: Mutex::new(()),
            marathon: parts.marathon,
            storage: parts.storage,
            settings: parts.settings,
            interval: parts.interval,
            metrics: parts.metrics,
            clock: parts.clock,
            entropy: parts.entropy,
            view: watch::Sender::new(View::default()),
            followups: watch::Sender::new(Followups::new()),
            known: std::sync::Mutex::default(),
            nudge: Arc::default(),
        }
    }

    /// The results of the passes.
    #[must_use]
    pub fn view(&self) -> watch::Receiver<View> {
        self.view.subscribe()
    }

    /// What asks for a pass soon when it is notified.
    fn nudged(&self) -> Arc<Notify> {
        Arc::clone(&self.nudge)
    }

    /// Looks and plans, and writes nothing. Who asks while somebody else is answered waits: however many ask,
    /// Marathon sees one of them at a time.
    pub async fn plan_now(&self) -> Plan {
        let _turn = self.asking.lock().await;
        let look = self.look().await;
        self.plan(&look)
    }

    /// Looks and plans like a leader and does nothing, so that every instance can say what is going on.
    pub(super) async fn look_on(&self, stop: &CancellationToken) {
        let mut book = StatusBook::default();
        self.restore().await;
        while !stop.is_cancelled() {
            let look = self.look().await;
            self.followups.send_replace(look.followups.clone());
            let plan = self.plan(&look);
            let changed = match &look.accepted {
                Some(accepted) => book.merge(&accepted.desired, &plan, &[], self.clock.wall()),
                None => Vec::new(),
            };
            self.publish_view(look, &plan, &book, &changed, &[]);
            self.rest(self.interval.max(LOOK_ON_PAUSE), false, stop).await;
        }
    }

    /// Hears what happens in the cluster until told to stop, and asks for a pass when it concerns us.
    async fn listen(&self, stop: &CancellationToken) {
        let is_ours = |id: &AppId| {
            let control = self.storage.control.state();
            control.inventory.apps.contains_key(id) || control.inventory.intents.contains_key(id)
        };
        let (marathon, nudge, metrics) = (&self.marathon, &*self.nudge, &self.metrics);
        let listener =
            listen::Listener { marathon, nudge, metrics, clock: &self.clock, entropy: &self.entropy };
        listener.run(&is_ours, stop).await;
    }

    /// Pass after pass until told to stop.
    async fn work(&self, tenure: &Tenure, stop: &CancellationToken) {
        let executor = &Executor {
            marathon: self.marathon.clone(),
            storage: Arc::clone(&self.storage),
            tenure: tenure.clone(),
            write_limit: self.write_limit,
            stop: stop.child_token(),
            clock: self.clock.clone(),
        };
        self.restore().await;
        let mut holds = Holds::new(self.entropy.clone(), self.clock.clone());
        let mut book = StatusBook::default();
        let mut delays = Delays::new(BUSY_PAUSE, self.interval, self.entropy.clone());
        while !stop.is_cancelled() {
            let begun = self.clock.boot();
            requests::decide(&self.storage, tenure).await;
            let look = tokio::select! {
                look = self.look() => look,
                () = stop.cancelled() => break,
            };
            // Only passes count as looks: who just asks for a plan may ask twice in a moment.
            self.followups.send_replace(look.followups.clone());
            let pause = match self.pass(look, begun, executor, &mut holds, &mut book).await {
                Pace::News => {
                    delays.reset();
                    delays.next_delay().min(self.interval)
                }
                Pace::Moving => delays.next_delay().min(self.interval),
                Pace::Quiet => self.interval,
            };
            requests::confirm(&self.storage, tenure).await;
            self.rest(pause, true, stop).await;
        }
    }

    /// Waits until it is time for the next pass, or somebody wants one.
    async fn rest(&self, pause: Duration, leading: bool, stop: &CancellationToken) {
        let until = self.clock.boot() + pause;
        loop {
            let left = until.saturating_sub(self.clock.boot());
            // Other instances ask through the log, which is read in passing whenever the lease is renewed.
            let asked = !self.storage.control.state().requests.is_empty();
            if left.is_zero() || (asked && leading) {
                return;
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.nudge.notified() => return,
                () = self.clock.sleep(left.min(REQUEST_POLL)) => {}
            }
        }
    }

    /// One pass over what was seen.
    async fn pass(
        &self,
        mut look: Look,
        begun: Duration,
        executor: &Executor,
        holds: &mut Holds,
        book: &mut StatusBook,
    ) -> Pace {
        if let Err(message) = self.ready_to_act(&executor.tenure, look.accepted.as_deref()).await {
            look.problems.push(Problem::of_file(&SnapshotPath::root(), message));
            self.metrics.reconciled("failed", self.clock.boot().saturating_sub(begun));
            let plan = self.plan(&look);
            self.publish_view(look, &plan, book, &[], &[]);
            return Pace::Quiet;
        }
        let plan = self.plan(&look);
        let suspended = self.storage.standstill().is_some();
        let outcomes = match &look.accepted {
            Some(accepted) if !suspended => executor.execute(&plan, &accepted.packages, holds).await,
            _ => Vec::new(),
        };
        let changed = match &look.accepted {
            Some(accepted) => book.merge(&accepted.desired, &plan, &outcomes, self.clock.wall()),
            None => Vec::new(),
        };
        // What was put back in the place of what failed is under way, too, though its unit is stalled.
        let moving = book.units().iter().any(|unit| unit.condition("Reconciling").is_some())
            || outcomes.iter().any(|outcome| outcome.result == OutcomeResult::Done)
            || look.followups.values().any(|followup| followup.verdict.is_under_way());
        self.measure(&plan, &outcomes, book, self.clock.boot().saturating_sub(begun));
        self.publish_view(look, &plan, book, &changed, &outcomes);
        match (moving, changed.is_empty()) {
            (true, false) => Pace::News,
            (true, true) => Pace::Moving,
            (false, _) => Pace::Quiet,
        }
    }

    /// Puts in force what was in force when the program last ran: the source may be broken or away by now.
    async fn restore(&self) {
        let mut stage = self.stage.lock().await;
        match self.storage.last_snapshot(stage.source()).await {
            Ok(Some(snapshot)) => stage.restore(&snapshot),
            Ok(None) => {}
            Err(error) => warn!(error = chain(&error), "the last accepted manifest is not to be had"),
        }
    }

    /// Nothing is done that could not be written down.
    async fn ready_to_act(&self, tenure: &Tenure, accepted: Option<&Accepted>) -> Result<(), String> {
        self.storage.check().map_err(|error| chain(&error))?;
        // Whoever moves the registry elsewhere waits for the passes that began before, and for no other.
        self.storage.catalog.follow().await.map_err(|error| chain(&error))?;
        let Some(accepted) = accepted.filter(|_| self.storage.keeps_books()) else { return Ok(()) };
        let recorded = self.record_acceptance(tenure, accepted).await;
        recorded.map_err(|error| format!("the storage takes no record of it: {error}"))
    }

    /// Keeps what is in force and writes down which revision that is, once per revision.
    async fn record_acceptance(&self, tenure: &Tenure, accepted: &Accepted) -> Result<(), String> {
        let (source, revision) = (accepted.desired.source.clone(), accepted.desired.revision.clone());
        if self.storage.control.state().inventory.accepted.get(&source) == Some(&revision) {
            return Ok(());
        }
        let _turn = self.storage.accepting().await;
        let snapshot = self.storage.put_snapshot(&accepted.snapshot).await.map_err(|e| chain(&e))?;
        let operation = ControlOperation::SnapshotAccepted { source, revision, snapshot };
        tenure.commit(vec![operation]).await.map(|_| ()).map_err(|e| chain(&e))
    }

    async fn look(&self) -> Look {
        let mut stage = self.stage.lock().await;
        if stage.refresh().await {
            self.metrics.set_source_success(stage.source().as_str(), self.clock.wall());
        }
        let (accepted, problems) = (stage.accepted(), stage.problems());
        drop(stage);
        let desired = accepted.as_ref().map(|accepted| &accepted.desired);
        let wall = self.clock.wall();
        let mut observation = observe::observe(&self.marathon, &self.storage, desired, wall).await;
        let followups = match desired {
            Some(desired) => {
                let (control, earlier) = (self.storage.control.state(), self.followups.borrow().clone());
                let (inventory, boot) = (&control.inventory, self.clock.boot());
                let known = self.known(inventory, boot);
                let now = Now { wall, boot, known: &known };
                observe::follow_up(&self.marathon, desired, inventory, &earlier, now, &mut observation).await
            }
            None => Followups::new(),
        };
        Look { accepted, problems, observation, followups }
    }

    /// Since when the changes under way have been known.
    fn known(&self, inventory: &Inventory, boot: Duration) -> Known {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.note(inventory, boot);
        known.clone()
    }

    fn plan(&self, look: &Look) -> Plan {
        let mut plan = match &look.accepted {
            Some(accepted) => {
                let control = self.storage.control.state();
                let Look { observation, followups, .. } = look;
                plan::plan(&accepted.desired, observation, &control.inventory, followups, &self.settings)
            }
            None => Plan::default(),
        };
        plan.problems.clone_from(&look.problems);
        plan
    }

    fn publish_view(
        &self,
        look: Look,
        plan: &Plan,
        book: &StatusBook,
        changed: &[UnitStatus],
        outcomes: &[Outcome],
    ) {
        let (revision, units, kept) = (book.revision().cloned(), book.units(), kept(plan));
        self.view.send_modify(|view| {
            let mut news: Vec<String> = outcomes.iter().filter_map(report::outcome_line).collect();
            if view.problems != look.problems {
                news.push(report::problems_text(&look.problems));
            }
            news.extend(changed.iter().map(report::unit_line));
            news.extend(status::newly_warned(&view.units, &units).map(report::warnings_text));
            news.extend(kept.iter().filter(|kept| !view.kept.contains(kept)).map(report::kept_line));
            view.passes += 1;
            view.revision = revision;
            view.problems = look.problems;
            view.units = units;
            view.kept = kept;
            for text in news {
                info!(target: "dcos_registry::events", "{}", text.trim());
                let number = view.log.back().map_or(1, |last| last.number + 1);
                view.log.push_back(LogEntry { number, text });
            }
            let surplus = view.log.len().saturating_sub(LONGEST_LOG);
            view.log.drain(..surplus);
        });
    }

    fn measure(&self, plan: &Plan, outcomes: &[Outcome], book: &StatusBook, took: Duration) {
        let tried = |outcome: &&Outcome| !matches!(outcome.result, OutcomeResult::Held { .. });
        for outcome in outcomes.iter().filter(tried) {
            self.metrics.action(outcome.action.operation.label(), &outcome.result);
        }
        self.metrics.set_units(&book.units());
        self.metrics.set_plan(plan);
        let result = if execute::worst_class(outcomes).is_none() { "done" } else { "failed" };
        self.metrics.reconciled(result, took);
    }
}

/// What is blocked and is no unit's own target: removals that a guard forbids.
fn kept(plan: &Plan) -> Vec<Blocked> {
    let is_own = |blocked: &Blocked| {
        plan.units.iter().any(|unit| unit.unit == blocked.unit && unit.target == blocked.target)
    };
    plan.blocked.iter().filter(|blocked| !is_own(blocked)).cloned().collect()
}
