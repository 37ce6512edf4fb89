//! One task as the engine knows it.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::decide::{Stage, Standing, TaskView};
use super::definition::{self, HealthCheck};
use super::executor::{KillSwitch, ReadinessAnswer, TaskSpec};
use super::health::Health;

/// How far a task is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskState {
    /// It is prepared: its files are fetched.
    Staging,
    /// Its program starts.
    Starting,
    /// Its program runs.
    Running,
    /// Nothing is heard of its agent.
    Unreachable,
    /// It was told to end.
    Killing,
}

impl TaskState {
    /// The state's name in Marathon's API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Staging => "TASK_STAGING",
            Self::Starting => "TASK_STARTING",
            Self::Running => "TASK_RUNNING",
            Self::Unreachable => "TASK_UNREACHABLE",
            Self::Killing => "TASK_KILLING",
        }
    }
}

/// What its readiness check told of a task.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Readiness {
    /// Whether it passed.
    pub ready: bool,
    /// The last answer: status, content type, body.
    pub last: Option<ReadinessAnswer>,
}

/// A task that has not ended.
#[derive(Debug)]
pub struct Task {
    /// What runs.
    pub spec: Arc<TaskSpec>,
    /// How far it is.
    pub state: TaskState,
    /// When it was launched.
    pub staged_at: Timestamp,
    /// Since when its program runs: for people, and on the boot clock.
    pub running_since: Option<(Timestamp, Duration)>,
    /// Its health checks with their results.
    pub health: Vec<(HealthCheck, Health)>,
    /// What its readiness check told; none where it is not asked.
    pub readiness: Option<Readiness>,
    /// Since when nothing is heard of it, on the boot clock.
    pub unreachable_since: Option<Duration>,
    /// Whether another one runs in its place already.
    pub inactive: bool,
    /// The deployment that is to end it first where there are too many.
    named_by: Option<String>,
    /// Whether nobody is to take its place when it has ended.
    sentenced: bool,
    /// Whether all its checks succeeded at one time, as far as this leader knows.
    was_healthy: bool,
    /// The last news that nobody reported.
    told: Option<TaskState>,
    kill: KillSwitch,
    /// Ends its health checks when the task is gone.
    checks: CancellationToken,
    _checks_end: DropGuard,
}

impl Task {
    /// A task that was just launched.
    pub fn new(spec: Arc<TaskSpec>, kill: KillSwitch, now: Timestamp) -> Self {
        let checks = CancellationToken::new();
        let health =
            definition::health_checks(&spec.app).into_iter().map(|c| (c, Health::default())).collect();
        Self {
            spec,
            state: TaskState::Staging,
            staged_at: now,
            running_since: None,
            health,
            readiness: None,
            unreachable_since: None,
            inactive: false,
            named_by: None,
            sentenced: false,
            was_healthy: false,
            told: None,
            kill,
            _checks_end: checks.clone().drop_guard(),
            checks,
        }
    }

    /// The signal that ends its health checks.
    pub fn checks_end(&self) -> CancellationToken {
        self.checks.clone()
    }

    /// Tells it to end, for nobody to take its place. It hears of that only where something is heard of it.
    pub fn sentence(&mut self) {
        self.sentenced = true;
        if self.state != TaskState::Unreachable {
            self.kill();
        }
    }

    /// Whether nobody is to take its place when it has ended.
    pub fn is_sentenced(&self) -> bool {
        self.sentenced
    }

    /// Notes that a deployment ends it first where there are too many.
    pub fn name_for(&mut self, deployment: &str) {
        self.named_by = Some(deployment.to_owned());
    }

    /// Tells it to end; once is enough.
    pub fn kill(&mut self) {
        if self.state != TaskState::Killing {
            self.state = TaskState::Killing;
            self.checks.cancel();
            self.kill.kill(definition::kill_grace(&self.spec.app));
        }
    }

    /// Whether all its checks succeeded the last time; true without checks.
    pub fn is_healthy(&self) -> bool {
        self.health.iter().all(|(_, health)| health.alive())
    }

    /// The results of its checks that Marathon has. Its own ones of an inactive task it forgets.
    pub fn results(&self) -> impl Iterator<Item = &Health> {
        let counts = |check: &HealthCheck| check.of_mesos || !self.inactive;
        self.health.iter().filter(move |(check, health)| counts(check) && health.is_known()).map(|(_, h)| h)
    }

    /// Whether it is counted as healthy (`TaskForStatistics.scala`): by the results that there are.
    pub fn counts_as_healthy(&self) -> bool {
        self.results().next().is_some() && !self.is_unhealthy()
    }

    /// Whether one of its checks failed the last time.
    pub fn is_unhealthy(&self) -> bool {
        self.results().any(|health| !health.alive())
    }

    /// What Mesos told last of its health.
    pub fn mesos_health(&self) -> Option<bool> {
        let told = self.health.iter().filter(|(check, health)| check.of_mesos && health.is_known());
        told.map(|(_, health)| health.alive()).reduce(|all, alive| all && alive)
    }

    /// The state that it came to since the last time it was asked for, where that is no answer to what its executor told.
    pub fn news(&mut self) -> Option<TaskState> {
        let waits = |strategy: definition::UnreachableStrategy| !strategy.inactive_after.is_zero();
        let now = match self.state {
            // Only who runs can tell that it is about to end.
            TaskState::Killing if self.running_since.is_some() && self.unreachable_since.is_none() => {
                Some(TaskState::Killing)
            }
            TaskState::Unreachable if self.inactive => {
                definition::unreachable_strategy(&self.spec.app).filter(|s| waits(*s)).map(|_| self.state)
            }
            _ => None,
        };
        let before = std::mem::replace(&mut self.told, now);
        now.filter(|_| before != now)
    }

    /// Notes that all its checks succeed, if they do.
    pub fn note_health(&mut self) {
        self.was_healthy |= self.state == TaskState::Running && self.is_healthy();
    }

    /// Another one leads, who knows of its checks only what Mesos tells, and not that it was named. Returns whether it
    /// has to be asked anew if it is ready.
    pub fn forget_checks(&mut self) -> bool {
        for (_, health) in self.health.iter_mut().filter(|(check, _)| !check.of_mesos) {
            *health = Health::default();
        }
        (self.was_healthy, self.named_by) = (false, None);
        self.note_health();
        let was_ready = self.readiness.as_ref().is_some_and(|readiness| readiness.ready);
        self.readiness = self.readiness.as_ref().map(|_| Readiness::default());
        was_ready && self.state == TaskState::Running
    }

    /// Whether it runs the configuration of that version or a later one.
    pub fn is_since(&self, version: &str) -> bool {
        // Versions are timestamps of one form, so that their order is that of their texts.
        self.spec.app.version() >= version
    }

    /// The task as the decision of a deployment sees it, or as that without one.
    ///
    /// * `version` - since which tasks are current
    pub fn view(&self, version: &str, deployment: Option<&str>) -> TaskView<'_> {
        let stage = match self.state {
            TaskState::Staging => Stage::Staging,
            TaskState::Starting => Stage::Starting,
            TaskState::Running => Stage::Running,
            TaskState::Unreachable if self.inactive => Stage::Inactive,
            TaskState::Unreachable => Stage::Unreachable,
            TaskState::Killing => Stage::Killing,
        };
        TaskView {
            id: &self.spec.id,
            current: self.is_since(version),
            stage,
            passed: self.was_healthy && self.is_ready(),
            healthy: self.is_healthy_to_mesos(),
            standing: match deployment {
                _ if self.sentenced => Standing::Sentenced,
                Some(id) if self.named_by.as_deref() == Some(id) => Standing::Named,
                _ => Standing::Stays,
            },
        }
    }

    /// Whether Mesos calls it healthy, or nothing is asked of it (`Instance.consideredHealthy`).
    fn is_healthy_to_mesos(&self) -> bool {
        let mut told = self.health.iter().filter(|(check, _)| check.of_mesos).peekable();
        let alive = self.state == TaskState::Running && told.peek().is_some();
        !definition::has_checks(&self.spec.app) || alive && told.all(|(_, health)| health.alive())
    }

    /// The id of its instance.
    pub fn instance(&self) -> &str {
        self.spec.instance()
    }

    fn is_ready(&self) -> bool {
        self.readiness.as_ref().is_none_or(|readiness| readiness.ready)
    }
}
