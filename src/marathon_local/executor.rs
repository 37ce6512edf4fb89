//! What runs tasks: the joint between deciding and doing.
//!
//! The engine knows apps, versions and deployments and nothing of processes; an executor knows one task at
//! a time. `process` runs real programs. Another one may run tasks in virtual time, which is why health
//! checks are an executor's business, too.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::sync::{mpsc, watch};

use super::definition::{HealthCheck, ReadinessCheck};
use super::placement::Placement;
use crate::model::{App, AppId};

/// Why offers are declined, in the order in which it is asked (`NoOfferMatchReason.scala`).
pub const REASONS: &[&str] = &[
    "UnfulfilledRole",
    "UnfulfilledConstraint",
    "NoCorrespondingReservationFound",
    "AgentMaintenance",
    "InsufficientCpus",
    "InsufficientMemory",
    "InsufficientDisk",
    "InsufficientGpus",
    "InsufficientPorts",
    "DeclinedScarceResources",
];

/// A task to run. Everything is fixed at its launch.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskSpec {
    /// The task's id, unique for ever and fit to be a file name.
    pub id: String,
    /// The app that it belongs to.
    pub app_id: AppId,
    /// The definition that it runs.
    pub app: App,
    /// The address under which it is reached.
    pub host: IpAddr,
    /// Its ports on that host, in the order of the definition.
    pub ports: Vec<u16>,
}

impl TaskSpec {
    /// The id of its instance: what stands before the container's name in its own.
    pub fn instance(&self) -> &str {
        let end = self.id.rmatch_indices('.').nth(1).map_or(self.id.len(), |(position, _)| position);
        self.id.get(..end).unwrap_or(&self.id)
    }
}

/// How far a task is, before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// All is prepared, the program is about to start.
    Starting,
    /// The program runs.
    Running,
    /// Nothing is heard of its agent any more.
    Lost,
    /// Its agent is heard of again.
    Found,
}

/// What a task answered to its readiness check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadinessAnswer {
    /// The HTTP status.
    pub status: u16,
    /// Of what kind the body says to be.
    pub content_type: String,
    /// The beginning of the body.
    pub body: String,
}

/// How a task ended, with a sentence on why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TaskEnd {
    /// By itself and well.
    Finished(String),
    /// By itself and badly, or it never came to run.
    Failed(String),
    /// Because it was told to.
    Killed(String),
}

/// What the engine hears of a task.
#[derive(Debug)]
pub struct TaskEvent {
    /// Which task.
    pub task: Arc<TaskSpec>,
    /// What happened.
    pub what: Happening,
}

/// What may happen to a task.
#[derive(Debug)]
pub enum Happening {
    /// It came further.
    Progress(Progress),
    /// A health check was done.
    Checked {
        /// Its position in the definition.
        check: usize,
        /// Why the task is not healthy.
        result: Result<(), String>,
    },
    /// A readiness check was done.
    Asked(Option<ReadinessAnswer>),
    /// Its last process is gone.
    Ended(TaskEnd),
}

/// Tells how far the task is.
#[derive(Clone)]
pub struct ProgressSink {
    task: Arc<TaskSpec>,
    events: mpsc::Sender<TaskEvent>,
}

impl ProgressSink {
    /// A sink for one task.
    pub fn new(task: Arc<TaskSpec>, events: mpsc::Sender<TaskEvent>) -> Self {
        Self { task, events }
    }

    /// Tells it. If nobody listens any more, the task is about to be killed anyway.
    pub async fn tell(&self, progress: Progress) {
        let what = Happening::Progress(progress);
        let _ = self.events.send(TaskEvent { task: Arc::clone(&self.task), what }).await;
    }
}

/// The engine's end: kills the task, with a grace period when told so, at once when it is dropped.
#[derive(Debug)]
pub struct KillSwitch(watch::Sender<Option<Duration>>);

/// The executor's end.
#[derive(Debug, Clone)]
pub struct KillSignal(watch::Receiver<Option<Duration>>);

/// Both ends.
pub fn kill_switch() -> (KillSwitch, KillSignal) {
    let (sender, receiver) = watch::channel(None);
    (KillSwitch(sender), KillSignal(receiver))
}

impl KillSwitch {
    /// SIGTERM now, SIGKILL after the grace period.
    pub fn kill(&self, grace: Duration) {
        self.0.send_replace(Some(grace));
    }
}

impl KillSignal {
    /// Waits until the task is to end. The grace period; none when the engine is gone and nobody can want
    /// the task any more. Safe to cancel; not to be called again after none.
    pub async fn next(&mut self) -> Option<Duration> {
        self.0.changed().await.ok()?;
        Some(self.0.borrow_and_update().unwrap_or_default())
    }
}

/// Runs tasks.
pub trait Executor: Send + Sync + 'static {
    /// Runs one task from its preparation to its end, and cleans up behind it. The future never ends
    /// before the task's last process does. Dropping it kills the task at once.
    fn run(
        self: Arc<Self>,
        task: Arc<TaskSpec>,
        kill: KillSignal,
        progress: ProgressSink,
    ) -> BoxFuture<'static, TaskEnd>;

    /// Does one health check of a running task, within the check's time limit.
    ///
    /// # Errors
    /// Why the task is not healthy.
    fn probe<'a>(&'a self, task: &'a TaskSpec, check: &'a HealthCheck) -> BoxFuture<'a, Result<(), String>>;

    /// Asks a task whether it is ready; none when it does not answer within the check's time limit.
    fn ready<'a>(
        &'a self,
        task: &'a TaskSpec,
        check: &'a ReadinessCheck,
    ) -> BoxFuture<'a, Option<ReadinessAnswer>>;

    /// Why no offer fits a task, in Marathon's word for it; none where one does.
    fn declines(&self, task: &Placement<'_>) -> Option<&'static str>;

    /// Whether tasks use the ports of this machine.
    fn uses_ports(&self) -> bool {
        true
    }

    /// How many tasks it can run at the same time.
    fn capacity(&self) -> usize;

    /// What it keeps for an app that is gone, such as volumes, goes, too.
    fn forget(&self, app: &AppId) {
        let _ = app;
    }

    /// What it keeps for a task that ends goes with it.
    fn wipe(&self, task: &TaskSpec) {
        let _ = task;
    }
}
