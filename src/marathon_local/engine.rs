//! The heart of the local Marathon: one worker that owns all state.
//!
//! Requests and what happens to tasks come in through bounded channels. After each batch the engine looks
//! at every app that was touched, asks [`decide`] what to do, and does it; then it stores what changed;
//! then the requests of the batch are answered. So an answered change survives a kill, and many changes at
//! once share one write. There is no other memory: the same look is taken after a start, with no tasks.

mod changes;
mod requests;
mod tasks;
mod view;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::decide::{self, Decision, Goal, Phase};
use super::delays::Delays;
use super::executor::{Executor, TaskEvent};
use super::refusal::Refusal;
use super::state::{ActionKind, State, StepAction};
use super::store::{self, Store};
use super::task::Task;
use crate::clock::{Clock, Entropy};
use crate::model::AppId;
use crate::workers::Workers;

pub use requests::{Answer, Request, Selection};
pub use view::Embed;

/// How many requests or events one batch may hold.
const BATCH: usize = 256;

/// How long to wait before looking again for the ports of a task, or for room for it.
const LAUNCH_RETRY: Duration = Duration::from_secs(1);

/// How many tasks may exist: each is at least two processes.
const MOST_TASKS: usize = 4_000;

/// How late the progress of deployments is stored. What is lost by a kill is done again under the same id.
const PROGRESS_DELAY: Duration = Duration::from_millis(500);

/// How a request ended.
pub type Answered = Result<Answer, Refusal>;

/// A request and where its answer goes.
pub struct Call {
    /// What is asked.
    pub request: Request,
    /// Where the answer goes.
    pub reply: oneshot::Sender<Answered>,
}

/// What the engine works with.
pub struct Context {
    /// Where the state is kept.
    pub store: Arc<Store>,
    /// What runs the tasks.
    pub executor: Arc<dyn Executor>,
    /// Time.
    pub clock: Clock,
    /// Randomness.
    pub entropy: Entropy,
    /// Where background work is started.
    pub workers: Workers,
    /// Counts the workers that run tasks.
    pub running: TaskTracker,
    /// The address under which tasks are reached.
    pub host: IpAddr,
    /// The address of the API.
    pub address: SocketAddr,
}

/// Launches that are due and cannot be done yet.
#[derive(Debug)]
struct Withheld {
    count: usize,
    since: Timestamp,
    /// Boot time of the next try.
    retry_at: Duration,
    cause: Cause,
}

/// Why launches are withheld.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    /// Tasks failed, and the next one is delayed.
    Backoff,
    /// Its ports are not free.
    Ports,
    /// There are too many tasks already.
    Room,
}

/// The state and everything that runs.
pub struct Engine {
    context: Context,
    state: State,
    unsaved: Unsaved,
    /// The tasks of each app in the order of their launch.
    tasks: BTreeMap<AppId, Vec<Task>>,
    delays: Delays,
    withheld: BTreeMap<AppId, Withheld>,
    /// Apps that something happened to since the last look.
    touched: BTreeSet<AppId>,
    events: mpsc::Sender<TaskEvent>,
    stopping: bool,
}

impl Engine {
    /// An engine that goes on from a stored state. Returns the channel on which its tasks report, too.
    pub fn new(context: Context, mut state: State) -> (Self, mpsc::Receiver<TaskEvent>) {
        let (events, receiver) = mpsc::channel(BATCH);
        let mut unsaved = Unsaved::Nothing;
        if state.framework_id.is_empty() {
            state.framework_id = format!("{}-0000", uuid(&context.entropy));
            unsaved = Unsaved::Change;
        }
        let deployed = state.deployments.iter().flat_map(|d| d.originals.keys());
        let touched = state.apps.keys().chain(deployed).cloned().collect();
        let engine = Self {
            context,
            state,
            unsaved,
            tasks: BTreeMap::new(),
            delays: Delays::default(),
            withheld: BTreeMap::new(),
            touched,
            events,
            stopping: false,
        };
        (engine, receiver)
    }

    /// Works until it is told to stop and all tasks have ended, or until it is told to drop everything.
    pub async fn run(
        mut self,
        mut calls: mpsc::Receiver<Call>,
        mut events: mpsc::Receiver<TaskEvent>,
        stop: CancellationToken,
        drop_all: CancellationToken,
    ) {
        let mut answers = Answers::default();
        loop {
            self.settle();
            self.save(&mut answers).await;
            if self.stopping && self.tasks.is_empty() {
                return;
            }
            let wake = self.next_wake();
            tokio::select! {
                Some(call) = calls.recv() => self.take(call, &mut answers),
                Some(event) = events.recv() => self.happened(event),
                () = self.context.clock.sleep(wake.unwrap_or_default()), if wake.is_some() => self.retry(),
                () = stop.cancelled(), if !self.stopping => self.begin_to_stop(),
                () = drop_all.cancelled() => return,
            }
            for _ in 0..BATCH {
                match (calls.try_recv(), events.try_recv()) {
                    (Err(_), Err(_)) => break,
                    (call, event) => {
                        if let Ok(call) = call {
                            self.take(call, &mut answers);
                        }
                        if let Ok(event) = event {
                            self.happened(event);
                        }
                    }
                }
            }
        }
    }

    fn take(&mut self, call: Call, answers: &mut Answers) {
        let answer = if self.stopping && call.request.changes() {
            Err(Refusal::Unavailable)
        } else {
            self.handle(call.request)
        };
        answers.0.push((call.reply, answer));
    }

    /// Looks at all touched apps, and at those that a finished step of a deployment touches, until all is calm.
    fn settle(&mut self) {
        while !self.stopping && !self.touched.is_empty() {
            for app in std::mem::take(&mut self.touched) {
                let decision = self.decision(&app);
                self.carry_out(&app, &decision);
            }
            self.advance_deployments();
        }
    }

    /// What is to be done about an app now.
    fn decision(&self, app: &AppId) -> Decision {
        let record = self.state.apps.get(app);
        let changed = record.map(super::state::AppRecord::last_config_change).unwrap_or_default();
        let tasks: Vec<_> = self.tasks.get(app).into_iter().flatten().map(|t| t.view(changed)).collect();
        let goal = record.map(|r| Goal::of(&r.app)).unwrap_or_default();
        decide::decide(self.phase(app), &goal, &tasks)
    }

    fn phase(&self, app: &AppId) -> Phase {
        let action = self.state.deployments.iter().find_map(|d| d.current_action(app));
        match action {
            _ if !self.state.apps.contains_key(app) => Phase::Stop,
            Some(ActionKind::RestartApplication) => Phase::Replace,
            Some(ActionKind::ScaleApplication) => Phase::Scale,
            Some(ActionKind::StopApplication) => Phase::Stop,
            Some(ActionKind::StartApplication) | None => Phase::Steady,
        }
    }

    fn carry_out(&mut self, app: &AppId, decision: &Decision) {
        let tasks = self.tasks.entry(app.clone()).or_default();
        for position in &decision.kill {
            if let Some(task) = tasks.get_mut(*position) {
                tracing::debug!(task = task.spec.id, "killing a task");
                task.kill();
            }
        }
        if tasks.is_empty() {
            self.tasks.remove(app);
        }
        // A new app begins with nothing: its launches belong to the next step.
        let starting = self
            .state
            .deployments
            .iter()
            .any(|d| d.current_action(app) == Some(ActionKind::StartApplication));
        self.launch(app, if starting { 0 } else { decision.launch });
    }

    fn advance_deployments(&mut self) {
        for position in (0..self.state.deployments.len()).rev() {
            let Some(deployment) = self.state.deployments.get(position) else { continue };
            if !deployment.current_actions().iter().all(|action| self.is_done(action)) {
                continue;
            }
            let apps: Vec<_> = deployment.originals.keys().cloned().collect();
            if let Some(deployment) = self.state.deployments.get_mut(position) {
                deployment.current += 1;
                if deployment.current >= deployment.steps.len() {
                    tracing::debug!(deployment = deployment.id, "deployment done");
                    self.state.deployments.remove(position);
                }
            }
            if self.unsaved == Unsaved::Nothing {
                self.unsaved = Unsaved::Progress { due: self.context.clock.boot() + PROGRESS_DELAY };
            }
            self.touched.extend(apps);
        }
    }

    fn is_done(&self, action: &StepAction) -> bool {
        action.action == ActionKind::StartApplication || self.decision(&action.app).done
    }

    /// Stores what changed, then gives the answers that waited for it.
    async fn save(&mut self, answers: &mut Answers) {
        let now = self.context.clock.boot();
        let saved = match self.unsaved {
            Unsaved::Progress { due } if due > now && !self.stopping => Ok(()),
            Unsaved::Nothing => Ok(()),
            Unsaved::Progress { .. } | Unsaved::Change => self.save_now().await,
        };
        for (reply, answer) in answers.0.drain(..) {
            let answer = answer.and_then(|answer| match &saved {
                Err(error) if answer.deployment.is_some() => Err(Refusal::NotStored(error.clone())),
                _ => Ok(answer),
            });
            // Who asked may have gone away.
            let _ = reply.send(answer);
        }
    }

    async fn save_now(&mut self) -> Result<(), String> {
        let saved = self.write().await;
        self.unsaved = match &saved {
            Ok(()) => Unsaved::Nothing,
            Err(error) => {
                tracing::error!(error, "cannot store the state of the local Marathon");
                Unsaved::Progress { due: self.context.clock.boot() + PROGRESS_DELAY }
            }
        };
        saved
    }

    async fn write(&self) -> Result<(), String> {
        let bytes = store::encode(&self.state).map_err(|e| e.to_string())?;
        let store = Arc::clone(&self.context.store);
        let written = tokio::task::spawn_blocking(move || store.save(&bytes)).await;
        written.map_err(|e| e.to_string())?.map_err(|e| crate::telemetry::chain(&e))
    }

    /// How long until the next withheld launch may be tried, or progress is to be stored.
    fn next_wake(&self) -> Option<Duration> {
        let launches = self.withheld.values().map(|w| w.retry_at).filter(|_| !self.stopping);
        let save = match self.unsaved {
            Unsaved::Progress { due } => Some(due),
            Unsaved::Nothing | Unsaved::Change => None,
        };
        Some(launches.chain(save).min()?.saturating_sub(self.context.clock.boot()))
    }

    fn retry(&mut self) {
        let now = self.context.clock.boot();
        let due = self.withheld.iter().filter(|(_, w)| w.retry_at <= now).map(|(app, _)| app.clone());
        self.touched.extend(due);
    }

    fn begin_to_stop(&mut self) {
        self.stopping = true;
        for task in self.tasks.values_mut().flatten() {
            task.kill();
        }
    }
}

/// Whether the state differs from what is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unsaved {
    /// It does not.
    Nothing,
    /// Only by the progress of deployments, which may wait until that boot time.
    Progress {
        /// Boot time.
        due: Duration,
    },
    /// By a change that somebody waits for.
    Change,
}

/// The answers of a batch, given after it was stored.
#[derive(Default)]
struct Answers(Vec<(oneshot::Sender<Answered>, Answered)>);

/// A random id in the form of a UUID.
fn uuid(entropy: &Entropy) -> String {
    let hex = entropy.nonce();
    let part = |range: std::ops::Range<usize>| hex.get(range).unwrap_or_default();
    format!("{}-{}-{}-{}-{}", part(0..8), part(8..12), part(12..16), part(16..20), part(20..32))
}
