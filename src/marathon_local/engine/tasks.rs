//! Launching tasks, and what happens to them afterwards.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::{Cause, Engine, LAUNCH_RETRY, MOST_TASKS, Withheld, uuid};
use crate::clock::Clock;
use crate::marathon_local::definition::{self, HealthCheck};
use crate::marathon_local::executor::{
    Executor, Happening, Progress, ProgressSink, TaskEnd, TaskEvent, TaskSpec, kill_switch,
};
use crate::marathon_local::ports;
use crate::marathon_local::task::{Task, TaskState};
use crate::model::AppId;

/// The shortest time between two health checks: an interval of 0 must not become a busy loop.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(100);

impl Engine {
    /// Launches tasks of the app, or notes that they are due.
    pub(super) fn launch(&mut self, app: &AppId, count: usize) {
        let wait = self.delays.left(app, self.context.clock.boot());
        let mut missing = count;
        let mut cause = Cause::Backoff;
        while missing > 0 && wait.is_zero() {
            if let Err(reason) = self.launch_one(app) {
                cause = reason;
                break;
            }
            missing -= 1;
        }
        if missing == 0 {
            self.withheld.remove(app);
            return;
        }
        let since = self.withheld.get(app).map_or_else(|| self.context.clock.wall(), |w| w.since);
        let pause = if cause == Cause::Backoff { wait } else { LAUNCH_RETRY };
        let retry_at = self.context.clock.boot() + pause;
        self.withheld.insert(app.clone(), Withheld { count: missing, since, retry_at, cause });
    }

    fn launch_one(&mut self, app_id: &AppId) -> Result<(), Cause> {
        let Some(record) = self.state.apps.get(app_id) else { return Ok(()) };
        if self.tasks.values().map(Vec::len).sum::<usize>() >= MOST_TASKS {
            return Err(Cause::Room);
        }
        let context = &self.context;
        let taken = self.tasks.values().flatten().flat_map(|t| t.spec.ports.iter().copied()).collect();
        let Some(ports) = ports::allocate(&record.app, context.host, &taken, &context.entropy) else {
            return Err(Cause::Ports);
        };
        let spec = Arc::new(TaskSpec {
            id: task_id(app_id, &uuid(&context.entropy)),
            app_id: app_id.clone(),
            app: record.app.clone(),
            host: context.host,
            ports,
        });
        let (kill, signal) = kill_switch();
        let executor = Arc::clone(&context.executor);
        let (events, task, counted) = (self.events.clone(), Arc::clone(&spec), context.running.token());
        tracing::debug!(task = spec.id, "launching a task");
        context.workers.spawn("marathon-task", async move {
            let progress = ProgressSink::new(Arc::clone(&task), events.clone());
            let end = executor.run(Arc::clone(&task), signal, progress).await;
            // Without an engine nobody needs to know.
            let _ = events.send(TaskEvent { task, what: Happening::Ended(end) }).await;
            drop(counted);
        });
        let task = Task::new(spec, kill, context.clock.wall());
        self.tasks.entry(app_id.clone()).or_default().push(task);
        Ok(())
    }

    /// Takes note of what happened to a task.
    pub(super) fn happened(&mut self, event: TaskEvent) {
        let app = event.task.app_id.clone();
        let Some(tasks) = self.tasks.get_mut(&app) else { return };
        let Some(position) = tasks.iter().position(|t| t.spec.id == event.task.id) else { return };
        match event.what {
            Happening::Ended(end) => {
                let task = tasks.remove(position);
                if tasks.is_empty() {
                    self.tasks.remove(&app);
                }
                self.ended(&task, &end);
            }
            Happening::Progress(progress) => self.progressed(&app, position, progress),
            Happening::Checked { check, result } => self.checked(&app, position, check, result),
        }
        self.touched.insert(app);
    }

    fn task(&mut self, app: &AppId, position: usize) -> Option<&mut Task> {
        self.tasks.get_mut(app)?.get_mut(position).filter(|t| t.state != TaskState::Killing)
    }

    fn progressed(&mut self, app: &AppId, position: usize, progress: Progress) {
        let now = (self.context.clock.wall(), self.context.clock.boot());
        let Some(task) = self.task(app, position) else { return };
        match progress {
            Progress::Starting => task.state = TaskState::Starting,
            Progress::Running => {
                task.state = TaskState::Running;
                task.running_since = Some(now);
                let (spec, end) = (Arc::clone(&task.spec), task.checks_end());
                let checks: Vec<_> = task.health.iter().map(|(check, _)| check.clone()).collect();
                if !checks.is_empty() {
                    let rounds = Rounds {
                        spec,
                        executor: Arc::clone(&self.context.executor),
                        clock: self.context.clock.clone(),
                        events: self.events.clone(),
                    };
                    self.context.workers.spawn("marathon-health", async move {
                        let all = checks.iter().enumerate().map(|(index, check)| rounds.check(index, check));
                        end.run_until_cancelled(join_all(all)).await;
                    });
                }
            }
        }
    }

    fn checked(&mut self, app: &AppId, position: usize, check: usize, result: Result<(), String>) {
        let (wall, boot) = (self.context.clock.wall(), self.context.clock.boot());
        let Some(task) = self.task(app, position) else { return };
        let running_for = task.running_since.map_or(Duration::ZERO, |(_, since)| boot.saturating_sub(since));
        let Some((check, health)) = task.health.get_mut(check) else { return };
        if let Some(reason) = health.record(check, result, running_for, wall) {
            tracing::info!(task = task.spec.id, reason, "a task is unhealthy and is replaced");
            task.unhealthy = Some(reason);
            task.kill();
        }
    }

    /// Notes a failure, and when the next task may start.
    fn ended(&mut self, task: &Task, end: &TaskEnd) {
        let app = &task.spec.app_id;
        let told = task.state == TaskState::Killing;
        let (state, message) = match (end, &task.unhealthy) {
            (_, Some(reason)) => {
                ("TASK_KILLED", format!("Task was killed since health check failed. Reason: {reason}"))
            }
            (TaskEnd::Failed(message), None) if !told => ("TASK_FAILED", message.clone()),
            (TaskEnd::Finished(message), None) if !told => ("TASK_FINISHED", message.clone()),
            _ => return,
        };
        let timestamp = super::view::time(self.context.clock.wall());
        tracing::info!(task = task.spec.id, state, message, "a task ended");
        let Some(record) = self.state.apps.get_mut(app) else { return };
        let current = task.view(record.last_config_change()).current;
        if state != "TASK_FINISHED" {
            record.last_failure = Some(failure(task, state, &message, &timestamp));
        }
        // Only what the task itself did wrong delays the next one of the same configuration.
        if current && task.unhealthy.is_none() {
            let backoff = definition::backoff(&record.app);
            self.delays.failed(app, &backoff, self.context.clock.boot());
        }
    }
}

/// The health checks of one task, again and again.
struct Rounds {
    spec: Arc<TaskSpec>,
    executor: Arc<dyn Executor>,
    clock: Clock,
    events: mpsc::Sender<TaskEvent>,
}

impl Rounds {
    async fn check(&self, index: usize, check: &HealthCheck) {
        self.clock.sleep(check.delay).await;
        loop {
            let result = self.executor.probe(&self.spec, check).await;
            let what = Happening::Checked { check: index, result };
            if self.events.send(TaskEvent { task: Arc::clone(&self.spec), what }).await.is_err() {
                return;
            }
            self.clock.sleep(check.interval.max(SHORTEST_INTERVAL)).await;
        }
    }
}

/// A task's id in the form that Marathon 1.8 gives it.
fn task_id(app: &AppId, uuid: &str) -> String {
    let app = app.as_str().trim_start_matches('/').replace('/', "_");
    format!("{app}.instance-{uuid}._app.1")
}

fn failure(task: &Task, state: &str, message: &str, timestamp: &str) -> Value {
    json!({
        "appId": task.spec.app_id,
        "host": task.spec.host.to_string(),
        "message": message,
        "slaveId": super::view::AGENT,
        "state": state,
        "taskId": task.spec.id,
        "timestamp": timestamp,
        "version": task.spec.app.version(),
    })
}
