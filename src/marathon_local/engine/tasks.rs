//! Launching tasks, and what happens to them afterwards.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{Cause, Engine, LAUNCH_RETRY, Vacancy, Withheld, uuid};
use crate::clock::Clock;
use crate::marathon_local::definition::{self, HealthCheck, ReadinessCheck};
use crate::marathon_local::executor::{
    Executor, Happening, Progress, ProgressSink, ReadinessAnswer, TaskEnd, TaskEvent, TaskSpec, kill_switch,
};
use crate::marathon_local::placement::Placement;
use crate::marathon_local::pod;
use crate::marathon_local::ports;
use crate::marathon_local::state::last_config_change;
use crate::marathon_local::task::{Readiness, Task, TaskState};
use crate::model::{App, AppId};

/// The shortest time between two health checks: an interval of 0 must not become a busy loop.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(100);

impl Engine {
    /// Launches tasks of the app, or notes that they are due.
    pub(super) fn launch(&mut self, app: &AppId, count: usize) {
        self.keep_vacant(app, count);
        let wait = self.delays.left(app, self.config_to_launch(app), self.context.clock.boot());
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
        let now = self.context.clock.wall();
        let before = self.withheld.get(app);
        let since = before.map_or(now, |w| w.since);
        let (mut declined, mut last_declined) = before.map_or((0, None), |w| (w.declined, w.last_declined));
        if cause != Cause::Backoff {
            declined += 1;
            last_declined = Some(now);
        }
        let pause = if cause == Cause::Backoff { wait } else { LAUNCH_RETRY };
        let retry_at = self.context.clock.boot() + pause;
        let withheld = Withheld { count: missing, since, retry_at, cause, declined, last_declined };
        self.withheld.insert(app.clone(), withheld);
    }

    fn launch_one(&mut self, app_id: &AppId) -> Result<(), Cause> {
        let Some(definition) = self.definition_to_launch(app_id) else { return Ok(()) };
        let vacancy = self.vacant.get(app_id).and_then(|vacant| vacant.first()).cloned();
        let since = last_config_change(definition);
        let present = self.tasks.get(app_id).into_iter().flatten();
        let context = &self.context;
        let placement = Placement {
            app: app_id,
            definition,
            profile: context.installation.profile,
            host: context.host,
            placed: present.filter(|task| task.is_since(since)).count() as u64,
        };
        if self.tasks.values().map(Vec::len).sum::<usize>() >= context.executor.capacity() {
            return Err(Cause::Room);
        }
        if let Some(reason) = context.executor.declines(&placement) {
            return Err(Cause::Offers(reason));
        }
        let host = Some(context.host).filter(|_| context.executor.uses_ports());
        // Where tasks are simulated each has an agent of its own.
        let others = self.tasks.values().flatten().filter(|_| host.is_some());
        let taken = others.flat_map(|task| task.spec.ports.iter().copied()).collect();
        let Some(ports) = ports::allocate(definition, host, &taken, &context.entropy) else {
            return Err(Cause::Ports);
        };
        let spec = Arc::new(TaskSpec {
            id: vacancy
                .as_ref()
                .map_or_else(|| task_id(app_id, &uuid(&context.entropy), definition), Vacancy::next_id),
            app_id: app_id.clone(),
            app: definition.clone(),
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
        self.announce_launch(&task);
        self.came_on(&task.spec);
        self.tasks.entry(app_id.clone()).or_default().push(task);
        if vacancy.is_some()
            && let Some(vacant) = self.vacant.get_mut(app_id)
        {
            vacant.remove(0);
        }
        Ok(())
    }

    /// The definition that an app's next task has: that of its instance; of a new one until a deployment comes to the app,
    /// the one before.
    fn definition_to_launch(&self, app: &AppId) -> Option<&App> {
        let of_instance = self.vacant.get(app).and_then(|vacant| Some(&vacant.first()?.last.app));
        let original = || self.before_its_turn(app).and_then(|d| d.originals.get(app)?.as_ref());
        of_instance.or_else(original).or_else(|| self.state.apps.get(app).map(|record| &record.app))
    }

    /// The configuration that an app's next task has.
    pub(super) fn config_to_launch(&self, app: &AppId) -> &str {
        self.definition_to_launch(app).map(last_config_change).unwrap_or_default()
    }

    /// A task came further: others of its configuration wait anew where they have to (`NotifyRateLimiterStepImpl.scala`).
    fn came_on(&mut self, spec: &TaskSpec) {
        let config = last_config_change(&spec.app);
        self.delays.came_further(&spec.app_id, config, self.context.clock.boot());
    }

    /// Takes note of what happened to a task.
    pub(super) fn happened(&mut self, event: TaskEvent) {
        let app = event.task.app_id.clone();
        let tasks = self.tasks.get_mut(&app);
        let position = tasks.and_then(|tasks| tasks.iter().position(|t| t.spec.id == event.task.id));
        let Some(position) = position else {
            if let (Happening::Ended(_), Some((instance, app))) =
                (&event.what, self.given_up.remove(&event.task.id))
            {
                self.announce_unknown(&instance, &app);
            }
            return;
        };
        match event.what {
            Happening::Ended(end) => {
                let Some(tasks) = self.tasks.get_mut(&app) else { return };
                let task = tasks.remove(position);
                if tasks.is_empty() {
                    self.tasks.remove(&app);
                }
                self.to_check.insert(app.clone());
                self.vacate(&task, &end);
                self.ended(&task, &end);
            }
            Happening::Progress(Progress::Lost) => self.reachability(&app, position, false),
            Happening::Progress(Progress::Found) => self.reachability(&app, position, true),
            Happening::Progress(progress) => self.progressed(&app, position, progress),
            Happening::Checked { check, result } => self.checked(&app, position, check, result),
            Happening::Asked(answer) => self.asked(&app, position, answer),
        }
        self.touched.insert(app);
    }

    fn task(&mut self, app: &AppId, position: usize) -> Option<&mut Task> {
        let quiet = |state: TaskState| matches!(state, TaskState::Killing | TaskState::Unreachable);
        self.tasks.get_mut(app)?.get_mut(position).filter(|t| !quiet(t.state))
    }

    fn progressed(&mut self, app: &AppId, position: usize, progress: Progress) {
        let now = (self.context.clock.wall(), self.context.clock.boot());
        let deployed = self.state.deployments.iter().any(|d| d.current_action(app).is_some());
        let Some(task) = self.task(app, position) else { return };
        let state = if progress == Progress::Starting { TaskState::Starting } else { TaskState::Running };
        task.state = state;
        if state == TaskState::Running {
            task.running_since = Some(now);
            // Such checks are made while a deployment runs, and at no other time.
            let readiness = definition::readiness_check(&task.spec.app).filter(|_| deployed);
            task.readiness = readiness.as_ref().map(|_| Readiness::default());
            task.note_health();
            let (spec, end) = (Arc::clone(&task.spec), task.checks_end());
            let checks: Vec<_> = task.health.iter().map(|(check, _)| check.clone()).collect();
            self.begin_checks(&spec, checks, readiness, end);
        }
        if let Some(task) = self.tasks.get(app).and_then(|tasks| tasks.get(position)) {
            self.announce_task(task, state.name(), "");
            self.came_on(&Arc::clone(&task.spec));
        }
    }

    fn begin_checks(
        &self,
        spec: &Arc<TaskSpec>,
        checks: Vec<HealthCheck>,
        readiness: Option<ReadinessCheck>,
        end: CancellationToken,
    ) {
        let rounds = || Rounds {
            spec: Arc::clone(spec),
            executor: Arc::clone(&self.context.executor),
            clock: self.context.clock.clone(),
            events: self.events.clone(),
        };
        if !checks.is_empty() {
            let (rounds, end) = (rounds(), end.clone());
            self.context.workers.spawn("marathon-health", async move {
                let all = checks.iter().enumerate().map(|(index, check)| rounds.check(index, check));
                end.run_until_cancelled(join_all(all)).await;
            });
        }
        if let Some(check) = readiness {
            let rounds = rounds();
            self.context.workers.spawn("marathon-readiness", async move {
                end.run_until_cancelled(rounds.ask(&check)).await;
            });
        }
    }

    /// What only the leader knew of checks is gone; who has to be asked whether it is ready is asked again.
    pub(super) fn forget_checks(&mut self) {
        let mut again = Vec::new();
        for task in self.tasks.values_mut().flatten() {
            if task.forget_checks() {
                again.push((Arc::clone(&task.spec), task.checks_end()));
            }
        }
        for (spec, end) in again {
            self.begin_checks(&spec, Vec::new(), definition::readiness_check(&spec.app), end);
        }
    }

    fn asked(&mut self, app: &AppId, position: usize, answer: Option<ReadinessAnswer>) {
        let Some(task) = self.task(app, position) else { return };
        let check = definition::readiness_check(&task.spec.app);
        if let (Some(readiness), Some(check)) = (&mut task.readiness, check) {
            readiness.ready |= answer.as_ref().is_some_and(|answer| check.ready.contains(&answer.status));
            readiness.last = answer;
        }
    }

    fn checked(&mut self, app: &AppId, position: usize, check: usize, result: Result<(), String>) {
        let (wall, boot) = (self.context.clock.wall(), self.context.clock.boot());
        let Some(task) = self.task(app, position) else { return };
        let running_for = task.running_since.map_or(Duration::ZERO, |(_, since)| boot.saturating_sub(since));
        let (reason, before) = (result.clone().err(), task.mesos_health());
        let Some((definition, health)) = task.health.get_mut(check) else { return };
        let (was_alive, of_mesos) = (health.alive(), definition.of_mesos);
        // Marathon names the failure before that one, the last that it knows when it decides.
        let known = health.last_failure.clone().or_else(|| Some((wall, reason.clone()?)));
        let verdict = health.record(definition, result, running_for, wall);
        let alive = health.alive();
        task.note_health();
        if verdict.kill {
            tracing::info!(task = task.spec.id, reason, "a task is unhealthy and is replaced");
            task.kill();
        }
        let Some(task) = self.tasks.get(app).and_then(|tasks| tasks.get(position)) else { return };
        if verdict.told && of_mesos {
            self.announce_status(task, TaskState::Running.name(), "");
            if before != task.mesos_health() {
                self.announce_instance_health(task, task.mesos_health());
            }
        }
        // Marathon itself makes and hears of no checks of pods.
        if verdict.told && !pod::is_pod(&task.spec.app) {
            if reason.is_some() {
                self.announce_failed_check(task, check);
            }
            if was_alive != alive {
                self.announce_health(task, alive);
            }
        }
        // Mesos kills whom it finds unhealthy, and to Marathon that is a task that was killed.
        if let (true, false, Some((at, reason))) = (verdict.kill, of_mesos, known) {
            self.announce_unhealthy(task, &reason);
            let message = format!("Task was killed since health check failed. Reason: {reason}");
            let failure = failure(task, "TASK_KILLED", &message, &super::view::time(at));
            self.note_failure(app, failure);
        }
    }

    /// Notes a failure, and when the next task may start.
    fn ended(&mut self, task: &Task, end: &TaskEnd) {
        let app = &task.spec.app_id;
        let told = task.state == TaskState::Killing;
        let (state, message) = match end {
            TaskEnd::Failed(message) if !told => ("TASK_FAILED", message),
            TaskEnd::Finished(message) if !told => ("TASK_FINISHED", message),
            TaskEnd::Killed(message) | TaskEnd::Failed(message) | TaskEnd::Finished(message) => {
                return self.announce_task(task, "TASK_KILLED", message);
            }
        };
        self.announce_task(task, state, message);
        if task.mesos_health().is_some() {
            self.announce_instance_health(task, None);
        }
        tracing::info!(task = task.spec.id, state, message, "a task ended");
        // Only what the task itself did wrong delays the next one of the same configuration, if there will be one.
        if self.state.apps.contains_key(app) {
            let definition = &task.spec.app;
            let (config, backoff) = (last_config_change(definition), definition::backoff(definition));
            self.delays.failed(app, config, &backoff, self.context.clock.boot());
        }
        if state != "TASK_FINISHED" {
            let timestamp = super::view::time(self.context.clock.wall());
            self.note_failure(app, failure(task, state, message, &timestamp));
        }
    }

    fn note_failure(&mut self, app: &AppId, failure: Value) {
        let Some(record) = self.state.apps.get_mut(app) else { return };
        record.last_failure = Some(failure);
        self.came_further();
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

    /// Asks whether the task is ready until it is.
    async fn ask(&self, check: &ReadinessCheck) {
        loop {
            let answer = self.executor.ready(&self.spec, check).await;
            let ready = answer.as_ref().is_some_and(|answer| check.ready.contains(&answer.status));
            let what = Happening::Asked(answer);
            if self.events.send(TaskEvent { task: Arc::clone(&self.spec), what }).await.is_err() || ready {
                return;
            }
            self.clock.sleep(check.interval.max(SHORTEST_INTERVAL)).await;
        }
    }
}

/// A task's id in the form that Marathon 1.8 gives it.
fn task_id(id: &AppId, uuid: &str, definition: &App) -> String {
    let name = id.as_str().trim_start_matches('/').replace('/', "_");
    // A pod has a task for each container there; here one stands for all.
    let container = if pod::is_pod(definition) { "pod" } else { "_app" };
    format!("{name}.instance-{uuid}.{container}.1")
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
