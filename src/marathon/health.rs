//! How an app fares, read from the app and from what else is known of it.
//!
//! Pure. That no deployment is listed says nothing: deployments end by success, failure, cancellation or
//! because another one came. So an app is healthy only if nothing holds it and every instance of the present
//! configuration runs and, where there are health checks, is known to be alive. A task belongs to the
//! present configuration if its `version` is not older than `versionInfo.lastConfigChangeAt`
//! (`state/VersionInfo.scala` of mesosphere/marathon); scaling does not outdate tasks.
//!
//! A deployment never fails by itself. While one runs the verdict is Progressing, and the reason says what is in its
//! way; whether it takes too long is decided by those who know when it began.

mod offers;
mod steady;
mod tasks;

use jiff::Timestamp;
use serde_json::Value;

use super::model::{Deployment, QueueItem, ReadinessResult, TaskFailure};
use super::room;
use crate::model::App;
use tasks::{Tasks, config_change, has_checks};

/// The health of an app.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub enum Health {
    /// All instances of the present configuration run and are alive; nothing is under way.
    Healthy,
    /// It is on its way: a deployment runs, tasks start, or results are still missing.
    Progressing,
    /// It is not on its way: tasks fail, are unhealthy or cannot be placed.
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

/// The main reason of a verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub enum Cause {
    /// All run, and all checks found them alive.
    Alive,
    /// All run; there are no checks that could tell more.
    NoChecks,
    /// A deployment runs, and nothing is known to be in its way.
    Deploying,
    /// Tasks are starting.
    Starting,
    /// Tasks run that no check has judged yet.
    NotChecked,
    /// Tasks of an older configuration have not ended yet.
    OldTasks,
    /// More tasks run than are wanted.
    Surplus,
    /// Launches wait for offers, and none has been declined.
    WaitsForOffers,
    /// Offers come, and none fits.
    NoOffers,
    /// No offer holds the reservation of the app's volume.
    WaitsForVolume,
    /// Launches are held back after failures.
    Backoff,
    /// Marathon never begins to replace its tasks.
    NoRoom,
    /// A readiness check says no.
    NotReady,
    /// Tasks end.
    Failing,
    /// Tasks run and are found dead.
    Unhealthy,
    /// Mesos has not heard of tasks for a while.
    Unreachable,
    /// A deployment ended half-way: old and new tasks run side by side.
    Mixed,
    /// It is scaled to 0.
    ScaledToZero,
    /// There is no such app.
    NotThere,
    /// Counts or deployments are missing in the answer.
    NotTold,
}

impl Cause {
    /// The cause as a word for labels.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Alive => "Alive",
            Self::NoChecks => "NoChecks",
            Self::Deploying => "Deploying",
            Self::Starting => "Starting",
            Self::NotChecked => "NotChecked",
            Self::OldTasks => "OldTasks",
            Self::Surplus => "Surplus",
            Self::WaitsForOffers => "WaitsForOffers",
            Self::NoOffers => "NoOffers",
            Self::WaitsForVolume => "WaitsForVolume",
            Self::Backoff => "Backoff",
            Self::NoRoom => "NoRoom",
            Self::NotReady => "NotReady",
            Self::Failing => "Failing",
            Self::Unhealthy => "Unhealthy",
            Self::Unreachable => "Unreachable",
            Self::Mixed => "Mixed",
            Self::ScaledToZero => "ScaledToZero",
            Self::NotThere => "NotThere",
            Self::NotTold => "NotTold",
        }
    }
}

/// The health with what a person needs to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthReport {
    /// The verdict.
    pub health: Health,
    /// Its main reason.
    pub cause: Cause,
    /// All reasons, in words.
    pub reason: String,
}

/// What is known beside the app. All of it may be empty; then less can be told.
#[derive(Debug, Clone, Copy, Default)]
pub struct Evidence<'a> {
    /// The deployments that are under way, of this app and of others.
    pub deployments: &'a [Deployment],
    /// The launch queue.
    pub queue: &'a [QueueItem],
    /// The last failure, where the app does not have it embedded.
    pub last_failure: Option<&'a TaskFailure>,
}

/// Something that keeps an app from its instances.
struct Obstacle {
    cause: Cause,
    words: String,
    /// Whether waiting alone is not expected to help.
    grave: bool,
}

impl Obstacle {
    fn grave(cause: Cause, words: String) -> Self {
        Self { cause, words, grave: true }
    }
}

/// Judges an app as `GET /v2/apps` gives it, with counts and deployments; better with tasks and the last
/// failure.
#[must_use]
pub fn health(app: Option<&App>) -> HealthReport {
    judge(app, &Evidence::default())
}

/// Judges an app by itself and by what else is known.
#[must_use]
pub fn judge(app: Option<&App>, evidence: &Evidence<'_>) -> HealthReport {
    let report = |health, cause, reason: String| HealthReport { health, cause, reason };
    let Some(app) = app else {
        return report(Health::Missing, Cause::NotThere, "the app does not exist".into());
    };
    let Some(tasks) = Tasks::of(app).filter(|_| app.get("deployments").is_some_and(Value::is_array)) else {
        let reason = "the answer holds no counts or no deployments".into();
        return report(Health::Unknown, Cause::NotTold, reason);
    };
    let wanted = app.instances();
    let obstacles = obstacles(app, &tasks, evidence);
    let first = |otherwise| obstacles.first().map_or(otherwise, |obstacle| obstacle.cause);
    let told =
        |begin: String| if obstacles.is_empty() { begin } else { format!("{begin}; {}", words(&obstacles)) };
    let progress = tasks.progress(app, wanted);
    if let Some(deployment) = deployment(app, evidence) {
        let reason = told(format!("{deployment}: {progress}"));
        return report(Health::Progressing, first(Cause::Deploying), reason);
    }
    if wanted == 0 && tasks.running == 0 {
        return report(Health::Suspended, Cause::ScaledToZero, "scaled to 0 instances".into());
    }
    if tasks.dead > 0 {
        return report(Health::Degraded, Cause::Unhealthy, words(&obstacles));
    }
    if tasks.running < wanted {
        // Without a deployment nobody waits for the missing ones: they died or cannot start.
        if obstacles.iter().any(|obstacle| obstacle.grave) {
            return report(Health::Degraded, first(Cause::Failing), told(progress));
        }
        if tasks.old > 0 {
            let reason = told(format!("{progress}; no deployment replaces the old ones"));
            return report(Health::Degraded, Cause::Mixed, reason);
        }
        return report(Health::Progressing, first(Cause::Starting), told(progress));
    }
    let (health, cause) = settled(app, &tasks, wanted);
    report(health, cause, progress)
}

fn words(obstacles: &[Obstacle]) -> String {
    let words: Vec<_> = obstacles.iter().map(|obstacle| obstacle.words.as_str()).collect();
    words.join("; ")
}

/// The verdict where enough run and nothing is under way.
fn settled(app: &App, tasks: &Tasks, wanted: u64) -> (Health, Cause) {
    if tasks.running > wanted {
        (Health::Progressing, Cause::Surplus)
    } else if tasks.old > 0 {
        (Health::Progressing, Cause::OldTasks)
    } else if !has_checks(app) {
        (Health::Healthy, Cause::NoChecks)
    } else if tasks.alive < tasks.running {
        (Health::Progressing, Cause::NotChecked)
    } else {
        (Health::Healthy, Cause::Alive)
    }
}

/// Why it is too early to say that an app that is healthy runs well; none where it is not.
pub(crate) fn too_early(app: &App, now: Timestamp) -> Option<String> {
    steady::too_early(app, has_checks(app), now)
}

/// What holds the app, in words. After a forced change the app may not name its deployment yet while the list
/// does.
fn deployment(app: &App, evidence: &Evidence<'_>) -> Option<String> {
    let id = app.id().unwrap_or_default();
    let of_app = |deployment: &&Deployment| deployment.affected_apps.iter().any(|affected| affected == id);
    let listed = evidence.deployments.iter().find(of_app);
    if listed.is_none() && app.deployments().next().is_none() {
        return None;
    }
    let detail = listed.map(|deployment| {
        let mut actions =
            deployment.current_actions.iter().filter(|action| action.app.as_deref() == Some(id));
        let action = actions.next().map_or("other apps first", |action| action.action.as_str());
        format!(" ({action}, step {} of {})", deployment.current_step, deployment.total_steps)
    });
    Some(format!("deployment under way{}", detail.unwrap_or_default()))
}

/// Everything that keeps the app from its instances, the most telling first.
fn obstacles(app: &App, tasks: &Tasks, evidence: &Evidence<'_>) -> Vec<Obstacle> {
    let id = app.id().unwrap_or_default();
    let item = evidence.queue.iter().find(|item| item.app.as_ref().is_some_and(|spec| spec.id == id));
    let missing = tasks.running < app.instances();
    let mut found = Vec::new();
    found.extend(unhealthy(app, tasks));
    if missing {
        found.extend(unreachable(app, tasks));
        found.extend(item.and_then(|item| offers::obstacle(app, item)));
        found.extend(parked(tasks).filter(|_| item.is_none()));
    }
    found.extend(no_room(app, tasks, evidence).filter(|_| item.is_none()));
    found.extend(not_ready(app, evidence));
    found.extend(failure(app, evidence));
    found
}

/// A replacement that has brought nothing and never will, where no launch is due. That the old tasks were checked as the
/// present app is can only be supposed, so that this is not told of an app of which a new task was seen.
fn no_room(app: &App, tasks: &Tasks, evidence: &Evidence<'_>) -> Option<Obstacle> {
    let mut actions = evidence.deployments.iter().flat_map(|deployment| &deployment.current_actions);
    let replaced = actions.any(|a| a.app.as_deref() == app.id() && a.action == "RestartApplication");
    let nothing_moves = tasks.old >= app.instances() && tasks.running + tasks.starting + tasks.stopping == 0;
    let stuck = replaced && nothing_moves && room::is_missing(app, app);
    stuck.then(|| Obstacle::grave(Cause::NoRoom, room::ADVICE.to_owned()))
}

fn unhealthy(app: &App, tasks: &Tasks) -> Option<Obstacle> {
    let because = tasks.dead_because.as_ref().map(|why| format!(", {why}")).unwrap_or_default();
    let words = format!("{} of {} unhealthy{because}", tasks.dead, app.instances());
    (tasks.dead > 0).then(|| Obstacle::grave(Cause::Unhealthy, words))
}

fn unreachable(app: &App, tasks: &Tasks) -> Option<Obstacle> {
    let first = tasks.unreachable.first()?;
    let more = tasks.unreachable.len() - 1;
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let consequence = if is_resident(app) {
        ", where its volume is; it is not started elsewhere"
    } else if app.get("unreachableStrategy").and_then(Value::as_str) == Some("disabled") {
        "; it is not replaced until the agent is back"
    } else {
        ""
    };
    Some(Obstacle::grave(Cause::Unreachable, format!("no word from {first}{more}{consequence}")))
}

fn parked(tasks: &Tasks) -> Option<Obstacle> {
    let host = tasks.parked.first()?;
    let words = format!("waits for resources on {host}, where its volume is");
    Some(Obstacle::grave(Cause::WaitsForVolume, words))
}

fn is_resident(app: &App) -> bool {
    let volumes = app.get("container").and_then(|container| container.get("volumes"));
    let mut volumes = volumes.and_then(Value::as_array).into_iter().flatten();
    volumes.any(|volume| volume.get("persistent").is_some_and(|persistent| !persistent.is_null()))
}

fn not_ready(app: &App, evidence: &Evidence<'_>) -> Option<Obstacle> {
    let actions = evidence.deployments.iter().flat_map(|deployment| &deployment.current_actions);
    let mut actions = actions.filter(|action| action.app.as_deref() == app.id());
    let results = actions.find_map(|action| {
        let waiting: Vec<_> = action.readiness_check_results.iter().filter(|result| !result.ready).collect();
        (!waiting.is_empty()).then_some(waiting)
    })?;
    let ReadinessResult { name, task_id, last_response, .. } = results.first()?;
    let answer = last_response.as_ref().map(|response| {
        let body = short(&response.body);
        format!(
            ", which answers {}{}",
            response.status,
            if body.is_empty() { body } else { format!(" {body:?}") }
        )
    });
    let words = format!(
        "{} not ready by check {name}, such as {task_id}{}",
        results.len(),
        answer.unwrap_or_default()
    );
    // It is the business of readiness to be late.
    Some(Obstacle { cause: Cause::NotReady, words, grave: false })
}

/// The last failure, if it is one of the present configuration.
fn failure(app: &App, evidence: &Evidence<'_>) -> Option<Obstacle> {
    let failure = TaskFailure::of(app).or_else(|| evidence.last_failure.cloned())?;
    // The version tells better than the time: old tasks may fail after the change.
    if failure.version.or(failure.timestamp) < config_change(app) {
        return None;
    }
    let known = |text: String| if text.is_empty() { "?".to_owned() } else { text };
    let at = failure.timestamp.map(|at| format!("{at:.3}")).unwrap_or_default();
    let (host, at, state) = (known(failure.host), known(at), known(failure.state));
    let words = format!("last failure on {host} at {at}: {state} {}", short(&failure.message));
    Some(Obstacle::grave(Cause::Failing, words.trim_end().to_owned()))
}

/// A stranger's text, cut and on one line.
fn short(text: &str) -> String {
    let words: Vec<_> = text.split_whitespace().collect();
    words.join(" ").chars().take(300).collect()
}

#[cfg(test)]
mod tests;
