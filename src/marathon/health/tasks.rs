//! What the tasks of an app do.
//!
//! States: `core/condition/Condition.scala` and `raml/TaskConversion.scala` of mesosphere/marathon. A task that is not
//! active has no `version`; what Mesos has no word for is given as `TASK_STAGING`.

use jiff::Timestamp;
use serde_json::Value;

use crate::model::App;

/// What the tasks do.
#[derive(Debug, Default)]
pub(super) struct Tasks {
    /// Running tasks of the present configuration.
    pub(super) running: u64,
    /// Running tasks that all checks found alive.
    pub(super) alive: u64,
    /// Running tasks that some check found dead.
    pub(super) dead: u64,
    /// Tasks that are on their way.
    pub(super) starting: u64,
    /// Tasks that are being killed.
    pub(super) stopping: u64,
    /// Tasks of an older configuration.
    pub(super) old: u64,
    /// The hosts of tasks of which Mesos has not heard for a while.
    pub(super) unreachable: Vec<String>,
    /// The hosts with volumes whose task does not run.
    pub(super) parked: Vec<String>,
    /// Why a check found a task dead.
    pub(super) dead_because: Option<String>,
}

impl Tasks {
    /// Counts by tasks where they are embedded, else by the server's own counts; none where there are neither.
    pub(super) fn of(app: &App) -> Option<Self> {
        let Some(tasks) = app.get("tasks").and_then(Value::as_array) else { return Self::counted(app) };
        let since = config_change(app);
        let mut all = Self::default();
        for task in tasks {
            all.add(task, app, since);
        }
        Some(all)
    }

    fn counted(app: &App) -> Option<Self> {
        let number = |key: &str| app.get(key).and_then(Value::as_u64);
        Some(Self {
            running: number("tasksRunning")?,
            alive: number("tasksHealthy")?,
            dead: number("tasksUnhealthy")?,
            starting: number("tasksStaged").unwrap_or_default(),
            ..Self::default()
        })
    }

    fn add(&mut self, task: &Value, app: &App, since: Option<Timestamp>) {
        let text = |key: &str| task.get(key).and_then(Value::as_str).unwrap_or_default();
        let version = time(task.get("version"));
        let host = || if text("host").is_empty() { "an unknown host" } else { text("host") }.to_owned();
        let has_volume = || task.get("localVolumes").and_then(Value::as_array).is_some_and(|v| !v.is_empty());
        match text("state") {
            "TASK_KILLING" => self.stopping += 1,
            _ if version.is_some_and(|version| since.is_some_and(|since| version < since)) => self.old += 1,
            "TASK_RUNNING" => {
                self.running += 1;
                match is_alive(task, app) {
                    Some(true) => self.alive += 1,
                    Some(false) => {
                        self.dead += 1;
                        self.dead_because = self.dead_because.take().or_else(|| why_dead(task));
                    }
                    None => {}
                }
            }
            "TASK_UNREACHABLE" | "TASK_LOST" => self.unreachable.push(host()),
            _ if version.is_none() && has_volume() => self.parked.push(host()),
            "TASK_STAGING" | "TASK_STARTING" => self.starting += 1,
            _ => {}
        }
    }

    /// How far the app is, in words.
    pub(super) fn progress(&self, app: &App, wanted: u64) -> String {
        let mut parts = vec![format!("{} of {wanted} running", self.running)];
        if has_checks(app) {
            parts.push(format!("{} healthy", self.alive));
        }
        let unchecked = if has_checks(app) { self.running.saturating_sub(self.alive + self.dead) } else { 0 };
        let more = [
            (unchecked, "not checked yet"),
            (self.starting, "starting"),
            (self.stopping, "stopping"),
            (self.old, "of an older configuration"),
            (self.unreachable.len() as u64, "unreachable"),
        ];
        parts.extend(
            more.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")),
        );
        parts.join(", ")
    }
}

/// Whether the app has health checks at all.
pub(super) fn has_checks(app: &App) -> bool {
    app.get("healthChecks").and_then(Value::as_array).is_some_and(|checks| !checks.is_empty())
}

/// Whether all checks found the task alive; none while results are missing, as after an election.
fn is_alive(task: &Value, app: &App) -> Option<bool> {
    let results = task.get("healthCheckResults")?.as_array()?;
    // Of its own checks Marathon shows failures in the grace period as well, where they do not count
    // (`HealthCheckActor.scala`, `updateInstanceHealth`).
    let results: Vec<_> = results.iter().filter(|result| !is_excused(result)).collect();
    let alive = |result: &Value| result.get("alive").and_then(Value::as_bool);
    if results.iter().any(|result| alive(result) == Some(false)) {
        return Some(false);
    }
    let checks = app.get("healthChecks").and_then(Value::as_array).map_or(0, Vec::len);
    (!results.is_empty() && results.len() >= checks).then_some(true)
}

/// Whether a result is that of a failure which does not count.
fn is_excused(result: &Value) -> bool {
    result.get("alive").is_some_and(|alive| alive == false)
        && result.get("consecutiveFailures").is_some_and(|failures| failures == 0)
}

/// What the check that found the task dead said, and where. Checks of Mesos say nothing.
fn why_dead(task: &Value) -> Option<String> {
    let results = task.get("healthCheckResults")?.as_array()?;
    let cause = results.iter().find_map(|result| result.get("lastFailureCause")?.as_str())?;
    let host = task.get("host").and_then(Value::as_str).unwrap_or("an unknown host");
    if cause.is_empty() {
        return Some(format!("on {host}"));
    }
    Some(format!("on {host}: {}", super::short(cause)))
}

/// When the configuration changed last.
pub(super) fn config_change(app: &App) -> Option<Timestamp> {
    time(app.get("versionInfo").and_then(|info| info.get("lastConfigChangeAt")))
}

pub(super) fn time(value: Option<&Value>) -> Option<Timestamp> {
    value?.as_str()?.parse().ok()
}
