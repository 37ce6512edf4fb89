//! How an app fares, read from the app itself.
//!
//! Pure. That no deployment is listed says nothing: deployments end by success, failure, cancellation or
//! because another one came. So an app is healthy only if nothing holds it and every instance of the present
//! configuration runs and, where there are health checks, is known to be alive. A task belongs to the
//! present configuration if its `version` is not older than `versionInfo.lastConfigChangeAt`
//! (`state/VersionInfo.scala` of mesosphere/marathon); scaling does not outdate tasks.

use jiff::Timestamp;
use serde_json::Value;

use crate::model::App;

/// The health of an app.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub enum Health {
    /// All instances of the present configuration run and are alive; nothing is under way.
    Healthy,
    /// It is on its way: a deployment runs, tasks start, or results are still missing.
    Progressing,
    /// It is not on its way: tasks fail or are unhealthy.
    Degraded,
    /// It is scaled to 0.
    Suspended,
    /// There is no such app.
    Missing,
    /// The answer does not tell.
    Unknown,
}

impl Health {
    /// The health as a word for labels.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "Healthy",
            Self::Progressing => "Progressing",
            Self::Degraded => "Degraded",
            Self::Suspended => "Suspended",
            Self::Missing => "Missing",
            Self::Unknown => "Unknown",
        }
    }
}

/// The health with what a person needs to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthReport {
    /// The verdict.
    pub health: Health,
    /// Why, in words.
    pub reason: String,
}

/// What the tasks of the present configuration do.
struct Count {
    /// Running tasks.
    running: u64,
    /// Running tasks that all checks found alive.
    alive: u64,
    /// Running tasks that some check found dead.
    dead: u64,
    /// Tasks of an older configuration.
    old: u64,
}

/// Judges an app as `GET /v2/apps` gives it, with counts and deployments; better with tasks and the last
/// failure.
#[must_use]
pub fn health(app: Option<&App>) -> HealthReport {
    let report = |health, reason: String| HealthReport { health, reason };
    let Some(app) = app else { return report(Health::Missing, "the app does not exist".into()) };
    let Some(count) = count(app).filter(|_| app.get("deployments").is_some_and(Value::is_array)) else {
        return report(Health::Unknown, "the answer holds no counts or no deployments".into());
    };
    let wanted = app.instances();
    let progress = progress(app, &count, wanted);
    if app.deployments().next().is_some() {
        let reason = format!("deployment under way: {progress}{}", failure(app));
        return report(Health::Progressing, reason);
    }
    if wanted == 0 && count.running == 0 {
        return report(Health::Suspended, "scaled to 0 instances".into());
    }
    if count.dead > 0 {
        let reason = format!("{} of {wanted} unhealthy{}", count.dead, failure(app));
        return report(Health::Degraded, reason);
    }
    if count.running < wanted {
        // Without a deployment nobody waits for the missing ones: they died or cannot start.
        let failure = failure(app);
        let health = if failure.is_empty() { Health::Progressing } else { Health::Degraded };
        return report(health, format!("{progress}{failure}"));
    }
    let all_alive = !has_checks(app) || count.alive == count.running;
    let settled = count.running == wanted && count.old == 0;
    report(if settled && all_alive { Health::Healthy } else { Health::Progressing }, progress)
}

fn progress(app: &App, count: &Count, wanted: u64) -> String {
    let mut parts = vec![format!("{} of {wanted} running", count.running)];
    if has_checks(app) {
        parts.push(format!("{} healthy", count.alive));
        let open = count.running.saturating_sub(count.alive + count.dead);
        if open > 0 {
            parts.push(format!("{open} not checked yet"));
        }
    }
    if count.old > 0 {
        parts.push(format!("{} of an older configuration", count.old));
    }
    parts.join(", ")
}

fn has_checks(app: &App) -> bool {
    app.get("healthChecks").and_then(Value::as_array).is_some_and(|checks| !checks.is_empty())
}

/// Counts by tasks where they are embedded, else by the server's own counts.
fn count(app: &App) -> Option<Count> {
    let Some(tasks) = app.get("tasks").and_then(Value::as_array) else {
        let number = |key: &str| app.get(key).and_then(Value::as_u64);
        let (alive, dead) = (number("tasksHealthy")?, number("tasksUnhealthy")?);
        return Some(Count { running: number("tasksRunning")?, alive, dead, old: 0 });
    };
    let since = config_change(app);
    let mut count = Count { running: 0, alive: 0, dead: 0, old: 0 };
    for task in tasks {
        if time(task.get("version")).is_some_and(|version| since.is_some_and(|since| version < since)) {
            count.old += 1;
        } else if task.get("state").and_then(Value::as_str) == Some("TASK_RUNNING") {
            count.running += 1;
            match is_alive(task, app) {
                Some(true) => count.alive += 1,
                Some(false) => count.dead += 1,
                None => {}
            }
        }
    }
    Some(count)
}

/// Whether all checks found the task alive; none while results are missing, as after an election.
fn is_alive(task: &Value, app: &App) -> Option<bool> {
    let results = task.get("healthCheckResults")?.as_array()?;
    let alive = |result: &Value| result.get("alive").and_then(Value::as_bool);
    if results.iter().any(|result| alive(result) == Some(false)) {
        return Some(false);
    }
    let checks = app.get("healthChecks").and_then(Value::as_array).map_or(0, Vec::len);
    (!results.is_empty() && results.len() >= checks).then_some(true)
}

fn config_change(app: &App) -> Option<Timestamp> {
    time(app.get("versionInfo").and_then(|info| info.get("lastConfigChangeAt")))
}

fn time(value: Option<&Value>) -> Option<Timestamp> {
    value?.as_str()?.parse().ok()
}

/// The last failure of the present configuration as an appendix to a reason; empty where there is none.
fn failure(app: &App) -> String {
    let Some(failure) = app.get("lastTaskFailure").filter(|f| f.is_object()) else { return String::new() };
    let at = time(failure.get("timestamp"));
    if at < config_change(app) {
        return String::new();
    }
    let text = |key: &str| failure.get(key).and_then(Value::as_str).unwrap_or("?");
    let message: String = text("message").chars().take(300).collect();
    format!("; last failure on {} at {}: {} {message}", text("host"), text("timestamp"), text("state"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const OLD: &str = "2020-01-01T00:00:00.000Z";
    const NOW: &str = "2020-01-02T00:00:00.000Z";

    fn task(version: &str, state: &str, alive: Option<bool>) -> Value {
        let results: Vec<_> = alive.iter().map(|alive| json!({"alive": alive})).collect();
        json!({"version": version, "state": state, "healthCheckResults": results})
    }

    fn app(changes: &Value) -> App {
        let mut app = json!({
            "id": "/a", "instances": 2, "healthChecks": [{"protocol": "TCP"}], "deployments": [],
            "versionInfo": {"lastConfigChangeAt": NOW}, "tasks": [],
        });
        app.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        App::from_value(app).unwrap()
    }

    fn verdict(changes: &Value) -> (Health, String) {
        let HealthReport { health, reason } = health(Some(&app(changes)));
        (health, reason)
    }

    #[test]
    fn healthy_means_every_instance_of_the_present_configuration_is_alive() {
        let good = || task(NOW, "TASK_RUNNING", Some(true));
        let (health, reason) = verdict(&json!({"tasks": [good(), good()]}));
        assert_eq!((health, reason.as_str()), (Health::Healthy, "2 of 2 running, 2 healthy"));
        let old = verdict(&json!({"tasks": [good(), good(), task(OLD, "TASK_RUNNING", Some(true))]}));
        assert_eq!(old.0, Health::Progressing, "{}", old.1);
        let unchecked = verdict(&json!({"tasks": [good(), task(NOW, "TASK_RUNNING", None)]}));
        assert_eq!(unchecked, (Health::Progressing, "2 of 2 running, 1 healthy, 1 not checked yet".into()));
        let deploying = verdict(&json!({"tasks": [good(), good()], "deployments": [{"id": "d"}]}));
        assert_eq!(deploying.0, Health::Progressing);
        let surplus = verdict(&json!({"instances": 1, "tasks": [good(), good()]}));
        assert_eq!(surplus.0, Health::Progressing);
    }

    #[test]
    fn without_checks_running_is_enough() {
        let run = || task(NOW, "TASK_RUNNING", None);
        assert_eq!(verdict(&json!({"healthChecks": [], "tasks": [run(), run()]})).0, Health::Healthy);
    }

    #[test]
    fn dead_tasks_and_fresh_failures_degrade() {
        let bad = verdict(&json!({"tasks": [task(NOW, "TASK_RUNNING", Some(false))]}));
        assert_eq!(bad, (Health::Degraded, "1 of 2 unhealthy".into()));
        let failure =
            |at: &str| json!({"host": "h1", "timestamp": at, "state": "TASK_FAILED", "message": "exit 1"});
        let (health, reason) = verdict(&json!({"lastTaskFailure": failure(NOW)}));
        assert_eq!(health, Health::Degraded);
        assert_eq!(
            reason,
            format!("0 of 2 running, 0 healthy; last failure on h1 at {NOW}: TASK_FAILED exit 1")
        );
        assert_eq!(verdict(&json!({"lastTaskFailure": failure(OLD)})).0, Health::Progressing);
    }

    #[test]
    fn missing_suspended_and_unknown_are_told_apart() {
        assert_eq!(health(None).health, Health::Missing);
        assert_eq!(verdict(&json!({"instances": 0})).0, Health::Suspended);
        assert_eq!(verdict(&json!({"instances": 0, "deployments": [{"id": "d"}]})).0, Health::Progressing);
        assert_eq!(verdict(&json!({"tasks": null})).0, Health::Unknown);
        assert_eq!(verdict(&json!({"deployments": null})).0, Health::Unknown);
    }

    #[test]
    fn counts_serve_where_tasks_are_not_embedded() {
        let counts = |healthy: u64| json!({"tasks": null, "tasksRunning": 2, "tasksHealthy": healthy, "tasksUnhealthy": 2 - healthy});
        assert_eq!(verdict(&counts(2)).0, Health::Healthy);
        assert_eq!(verdict(&counts(1)).0, Health::Degraded);
    }
}
