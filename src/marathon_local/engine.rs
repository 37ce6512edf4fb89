//! The heart of the local Marathon: one worker that owns all state.
//!
//! Requests and what happens to tasks come in through bounded channels. After each batch the engine looks
//! at every app that was touched, asks [`decide`] what to do, and does it; then it stores what changed;
//! then the requests of the batch are answered. So an answered change survives a kill, and many changes at
//! once share one write. There is no other memory: the same look is taken after a start, with no tasks.

mod announce;
mod apps;
mod changes;
mod courses;
mod groups;
mod kill;
mod pods;
mod requests;
mod tasks;
mod unreachable;
mod vacancies;
mod view;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::delays::Delays;
use super::events::Hub;
use super::executor::{Executor, TaskEvent};
use super::faults::Faults;
use super::group::GroupId;
use super::profile::Installation;
use super::refusal::Refusal;
use super::saver::Saver;
use super::state::{ActionKind, Deployment, State};
use super::store;
use super::task::Task;
use crate::clock::{Clock, Entropy};
use crate::model::AppId;
use crate::workers::Workers;

use courses::InCourse;
use vacancies::Vacancy;

pub use requests::{Answer, Embed, GroupEmbed, Kill, Request, Selection};

/// How many requests or events one batch may hold.
const BATCH: usize = 256;

/// How long to wait before looking again for the ports of a task, or for room for it.
const LAUNCH_RETRY: Duration = Duration::from_secs(1);

/// How often Marathon looks whether apps have the right number of tasks (`--scale_apps_interval`).
const CHECK_INTERVAL: Duration = Duration::from_secs(300);

/// How late the progress of deployments and the last failures of tasks are stored. What a kill loses of deployments is
/// done again under the same id.
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
    pub saver: Saver,
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
    /// How it was started.
    pub installation: Installation,
    /// Who is told what happens.
    pub events: Arc<Hub>,
    /// What is to go wrong.
    pub faults: Faults,
}

/// Launches that are due and cannot be done yet.
#[derive(Debug)]
struct Withheld {
    count: usize,
    since: Timestamp,
    /// Boot time of the next try.
    retry_at: Duration,
    cause: Cause,
    /// How many offers did not fit, and when the last one did not.
    declined: u64,
    last_declined: Option<Timestamp>,
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
    /// No offer fits, for this reason.
    Offers(&'static str),
}

/// The state and everything that runs.
pub struct Engine {
    context: Context,
    state: State,
    unsaved: Unsaved,
    /// The tasks of each app in the order of their launch.
    tasks: BTreeMap<AppId, Vec<Task>>,
    /// How far the current actions of deployments came with each app.
    courses: BTreeMap<AppId, InCourse>,
    /// Apps whose number of tasks is looked at by itself with the next look: a task has ended or was given up.
    to_check: BTreeSet<AppId>,
    /// Apps with more tasks than they should have, for the next check of all.
    surplus: BTreeSet<AppId>,
    /// The boot time of that.
    next_check: Duration,
    delays: Delays,
    withheld: BTreeMap<AppId, Withheld>,
    /// The instances of each app that wait for their next task.
    vacant: BTreeMap<AppId, Vec<Vacancy>>,
    /// Apps that something happened to since the last look.
    touched: BTreeSet<AppId>,
    /// Deployments that cannot be seen yet, with the boot time from which on they can.
    hidden: BTreeMap<String, Duration>,
    /// Apps whose end was told, by the deployment that stops them.
    stopped: BTreeSet<(String, AppId)>,
    /// Tasks that were given up before their end: the instance and the app by the task.
    given_up: BTreeMap<String, (String, AppId)>,
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
        add_parents(&mut state);
        let deployed = state.deployments.iter().flat_map(|d| d.originals.keys());
        let touched = state.apps.keys().chain(deployed).cloned().collect();
        let next_check = context.clock.boot() + CHECK_INTERVAL;
        let engine = Self {
            context,
            state,
            unsaved,
            tasks: BTreeMap::new(),
            courses: BTreeMap::new(),
            to_check: BTreeSet::new(),
            surplus: BTreeSet::new(),
            next_check,
            delays: Delays::default(),
            withheld: BTreeMap::new(),
            vacant: BTreeMap::new(),
            touched,
            hidden: BTreeMap::new(),
            stopped: BTreeSet::new(),
            given_up: BTreeMap::new(),
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
        let changes = call.request.changes();
        let answer =
            if self.stopping && changes { Err(Refusal::Unavailable) } else { self.handle(call.request) };
        let to_be_stored = changes && self.unsaved == Unsaved::Change;
        answers.0.push((call.reply, answer, to_be_stored));
    }

    /// Looks at all touched apps, and at those that a finished step of a deployment touches, until all is calm.
    fn settle(&mut self) {
        while !self.stopping && !self.touched.is_empty() {
            for app in std::mem::take(&mut self.touched) {
                if self.is_stuck(&app) {
                    self.put_off(&app);
                } else {
                    self.look(&app);
                    self.announce_news(&app);
                }
            }
            self.advance_deployments();
        }
    }

    /// Whether a fault holds up the deployment of the app.
    fn is_stuck(&self, app: &AppId) -> bool {
        let deployed = || self.state.deployments.iter().any(|d| d.current_action(app).is_some());
        self.context.faults.is_stuck(app) && deployed()
    }

    /// Launches of the app are not tried for a while.
    fn put_off(&mut self, app: &AppId) {
        let later = self.context.clock.boot() + LAUNCH_RETRY;
        if let Some(withheld) = self.withheld.get_mut(app) {
            withheld.retry_at = withheld.retry_at.max(later);
        }
    }

    fn advance_deployments(&mut self) {
        for position in (0..self.state.deployments.len()).rev() {
            self.announce_stopped(position);
            let Some(deployment) = self.state.deployments.get(position) else { continue };
            if !deployment.current_actions().iter().all(|action| self.is_done(deployment, action)) {
                continue;
            }
            self.announce_step_done(deployment);
            let apps: Vec<_> = deployment.originals.keys().cloned().collect();
            if let Some(deployment) = self.state.deployments.get_mut(position) {
                deployment.current += 1;
            }
            if let Some(deployment) = self.state.deployments.get(position) {
                if deployment.current < deployment.steps.len() {
                    self.announce_step(deployment);
                } else {
                    tracing::debug!(deployment = deployment.id, "deployment done");
                    self.announce_success(&deployment.id, &deployment.version, &deployment.steps);
                    let done = self.state.deployments.remove(position);
                    self.hidden.remove(&done.id);
                    let deployments = &self.state.deployments;
                    self.stopped.retain(|(id, _)| deployments.iter().any(|deployment| deployment.id == *id));
                }
            }
            self.came_further();
            self.touched.extend(apps);
        }
    }

    /// Tells of each app of a step whose tasks have ended, and forgets what is kept for it.
    fn announce_stopped(&mut self, position: usize) {
        let Some(deployment) = self.state.deployments.get(position) else { return };
        let stops = deployment.current_actions().iter().filter(|a| a.action == ActionKind::StopApplication);
        let stopped: Vec<_> = stops
            .filter(|action| self.is_done(deployment, action))
            .map(|action| (deployment.id.clone(), action.app.clone()))
            .filter(|stopped| !self.stopped.contains(stopped))
            .collect();
        for stopped in stopped {
            self.announce_gone(&stopped.1);
            self.context.executor.forget(&stopped.1);
            self.stopped.insert(stopped);
        }
    }

    /// Something changed that nobody waits for: it is stored soon.
    fn came_further(&mut self) {
        if self.unsaved == Unsaved::Nothing {
            self.unsaved = Unsaved::Progress { due: self.context.clock.boot() + PROGRESS_DELAY };
        }
    }

    /// A deployment that was begun by force is not to be seen before those in its way are gone.
    fn hide_for_a_while(&mut self, deployment: &str, force: bool) {
        let gap = self.context.faults.gap();
        if force && !gap.is_zero() {
            self.hidden.insert(deployment.to_owned(), self.context.clock.boot() + gap);
        }
    }

    fn is_visible(&self, deployment: &Deployment) -> bool {
        self.hidden.get(&deployment.id).is_none_or(|until| *until <= self.context.clock.boot())
    }

    /// Somebody else leads: what was only in the old leader's memory is gone, and each deployment begins anew.
    fn new_leader(&mut self) {
        for deployment in &mut self.state.deployments {
            deployment.current = 0;
            self.touched.extend(deployment.originals.keys().cloned());
        }
        self.courses.clear();
        self.stopped.clear();
        self.forget_checks();
        self.delays = Delays::default();
        self.look_at_all();
    }

    /// Looks at all apps again, because something outside changed.
    fn look_at_all(&mut self) {
        let deployed = self.state.deployments.iter().flat_map(|d| d.originals.keys());
        self.touched.extend(self.state.apps.keys().chain(deployed).cloned());
    }

    /// Stores what changed, then gives the answers that waited for it.
    async fn save(&mut self, answers: &mut Answers) {
        let now = self.context.clock.boot();
        let saved = match self.unsaved {
            Unsaved::Progress { due } if due > now && !self.stopping => Ok(()),
            Unsaved::Nothing => Ok(()),
            Unsaved::Progress { .. } | Unsaved::Change => self.save_now().await,
        };
        for (reply, answer, to_be_stored) in answers.0.drain(..) {
            let answer = answer.and_then(|answer| match &saved {
                Err(error) if to_be_stored => Err(Refusal::NotStored(error.clone())),
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
        if !self.context.saver.keeps() {
            return Ok(());
        }
        let bytes = store::encode(&self.state).map_err(|e| e.to_string())?;
        self.context.saver.save(bytes).await
    }

    /// How long until the next withheld launch may be tried, or progress is to be stored.
    fn next_wake(&self) -> Option<Duration> {
        let launches = self.withheld.values().map(|w| w.retry_at).filter(|_| !self.stopping);
        let save = match self.unsaved {
            Unsaved::Progress { due } => Some(due),
            Unsaved::Nothing | Unsaved::Change => None,
        };
        let unreachable = self.next_given_up().filter(|_| !self.stopping);
        let check = (!self.surplus.is_empty() && !self.stopping).then_some(self.next_check);
        Some(
            launches
                .chain(save)
                .chain(unreachable)
                .chain(check)
                .min()?
                .saturating_sub(self.context.clock.boot()),
        )
    }

    fn retry(&mut self) {
        let now = self.context.clock.boot();
        let due = self.withheld.iter().filter(|(_, w)| w.retry_at <= now).map(|(app, _)| app.clone());
        self.touched.extend(due);
        self.give_up_unreachable();
        if self.next_check <= now {
            let surplus = std::mem::take(&mut self.surplus);
            self.to_check.extend(surplus.iter().cloned());
            self.touched.extend(surplus);
            self.next_check += CHECK_INTERVAL;
        }
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
    /// Only by what nobody waits for, the progress of deployments and failures: it may wait until that boot time.
    Progress {
        /// Boot time.
        due: Duration,
    },
    /// By a change that somebody waits for.
    Change,
}

/// The answers of a batch, given after it was stored; and whether each of them says that something was changed.
#[derive(Default)]
struct Answers(Vec<(oneshot::Sender<Answered>, Answered, bool)>);

/// A state of an older program knows no groups: those that its apps lie in are there.
fn add_parents(state: &mut State) {
    let parents = state.apps.keys().flat_map(|id| GroupId::ancestors_of(id.as_str()));
    for parent in parents.filter(|group| !group.is_root()).collect::<BTreeSet<_>>() {
        state.groups.entry(parent).or_default();
    }
}

/// A random id in the form of a UUID.
fn uuid(entropy: &Entropy) -> String {
    let hex = entropy.nonce();
    let part = |range: std::ops::Range<usize>| hex.get(range).unwrap_or_default();
    format!("{}-{}-{}-{}-{}", part(0..8), part(8..12), part(12..16), part(16..20), part(20..32))
}
