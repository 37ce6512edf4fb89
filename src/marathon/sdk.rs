//! Services of the DC/OS SDK: a scheduler that Marathon runs, and tasks of its own that Marathon knows nothing of.
//!
//! Deleting the scheduler's app leaves those tasks and their reserved disks behind. So a removal has two writes. The
//! first sets `SDK_UNINSTALL` in the scheduler's environment; the scheduler that starts with it ends its tasks, gives
//! back what is reserved and leaves Mesos. When its plan `deploy` is complete the second write deletes the app. There is
//! no way back from the first one. How far a removal is stands in the app and in the plan, so that every look finds
//! out anew: nothing has to be remembered.
//!
//! Cosmos compares the ids of the framework, too. Its watch goes on in memory though the app may have been made anew
//! meanwhile; here the app itself says that it uninstalls, and must be at the version that was looked at. Nor could the ids
//! tell the end: Cosmos takes those that cannot be read for the same ones, as it must.
//!
//! Pure. Sources: `handler/UninstallHandler.scala`, `service/ServiceUninstaller.scala` and `AdminRouterClient.scala` of
//! dcos/cosmos; `http/queries/PlansQueries.java`, `http/types/*Info.java`, `scheduler/SchedulerConfig.java` and
//! `scheduler/plan/Status.java` of mesosphere/dcos-commons.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::model::{App, AppId, PlanElement, PlanProgress, SchedulerPlan};

/// The label that says how to uninstall; its value means nothing to Cosmos, and nothing to us.
pub const UNINSTALL_LABEL: &str = "DCOS_COMMONS_UNINSTALL";

/// The label with the version of the scheduler's HTTP API.
pub const API_VERSION_LABEL: &str = "DCOS_COMMONS_API_VERSION";

/// The variable with which a scheduler uninstalls. The scheduler asks whether it is set, not to what.
pub const UNINSTALL_VARIABLE: &str = "SDK_UNINSTALL";

/// The most of a name, a status or an error that gets into a message, in characters.
const LONGEST_WORD: usize = 200;

/// The most errors of a plan that are told.
const MOST_ERRORS: usize = 5;

/// An app that is the scheduler of an SDK service.
#[derive(Debug, Clone, Copy)]
pub struct SdkService<'a> {
    app: &'a App,
}

/// What comes next of the removal of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Removal {
    /// Put it into uninstall mode.
    Begin,
    /// Look again later; why.
    Wait(String),
    /// Its scheduler has nothing left to do: delete the app.
    Delete,
}

impl<'a> SdkService<'a> {
    /// The service whose scheduler the app is; none for all other apps.
    #[must_use]
    pub fn of(app: &'a App) -> Option<Self> {
        app.label(UNINSTALL_LABEL).map(|_| Self { app })
    }

    /// Whether its scheduler is told to uninstall.
    #[must_use]
    pub fn is_uninstalling(self) -> bool {
        self.app.get("env").and_then(|env| env.get(UNINSTALL_VARIABLE)).is_some()
    }

    /// The path of its deploy plan below Admin Router. The slashes inside the id stay, as Cosmos has it.
    #[must_use]
    pub fn plan_path(self, id: &AppId) -> String {
        format!("/service{id}/{}/plans/deploy", self.api_version())
    }

    /// The version of its HTTP API: `v1` where the label is missing or holds what can be none.
    #[must_use]
    pub fn api_version(self) -> &'a str {
        let is_version = |text: &&str| {
            !text.is_empty() && text.len() <= 16 && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
        };
        self.app.label(API_VERSION_LABEL).filter(is_version).unwrap_or("v1")
    }

    /// The app that puts it into uninstall mode: as it was observed, with the variable set. Whoever was scaled to 0
    /// gets an instance, because nobody else could uninstall.
    #[must_use]
    pub fn to_uninstall(self) -> App {
        let mut app = super::normalize::strip_status(self.app);
        // The old way to write `fetch`; both together are refused.
        if app.get("fetch").is_some() {
            app.0.remove("uris");
        }
        if app.instances() == 0 {
            app.0.insert("instances".into(), 1.into());
        }
        match app.0.get_mut("env") {
            Some(Value::Object(env)) => drop(env.insert(UNINSTALL_VARIABLE.into(), "true".into())),
            _ => drop(app.0.insert("env".into(), json!({UNINSTALL_VARIABLE: "true"}))),
        }
        app
    }

    /// What comes next of its removal, by the plan as it was read after the app. The plan counts only while the
    /// scheduler of the present configuration is the only one: the one before it says of its own plan that it is
    /// complete, too.
    #[must_use]
    pub fn removal(self, plan: Option<&SchedulerPlan>) -> Removal {
        if !self.is_uninstalling() {
            return Removal::Begin;
        }
        if let Some(why) = self.not_settled() {
            return Removal::Wait(why);
        }
        let why = match plan {
            Some(SchedulerPlan::Complete) => return Removal::Delete,
            Some(SchedulerPlan::InProgress(progress) | SchedulerPlan::Failed(progress)) => {
                progress.to_string()
            }
            Some(SchedulerPlan::NotThere) => "Admin Router knows no such plan yet".to_owned(),
            Some(SchedulerPlan::Unreadable(why)) => format!("its plan cannot be read: {why}"),
            None => "its plan was not read".to_owned(),
        };
        Removal::Wait(format!("its scheduler uninstalls: {why}"))
    }

    /// Why the scheduler that answers may not be the one that uninstalls.
    fn not_settled(self) -> Option<String> {
        if !self.app.get("deployments").is_some_and(Value::is_array) {
            return Some("Marathon does not tell whether a deployment holds it".to_owned());
        }
        if let Some(deployment) = self.app.deployments().next() {
            return Some(format!("its scheduler starts in uninstall mode (deployment {deployment})"));
        }
        if self.app.instances() == 0 {
            return Some("its scheduler is scaled to 0; scale it to 1, or it never uninstalls".to_owned());
        }
        let running = self.app.get("tasksRunning").and_then(Value::as_u64).unwrap_or_default();
        if running == 0 {
            return Some("its scheduler does not run".to_owned());
        }
        self.has_old_tasks().then(|| "a scheduler that does not uninstall still runs beside it".to_owned())
    }

    /// Whether tasks are there that are older than the last change of the configuration (`state/VersionInfo.scala` of
    /// mesosphere/marathon), as after a deployment that somebody cancelled by force.
    fn has_old_tasks(self) -> bool {
        let time = |value: Option<&Value>| value.and_then(Value::as_str)?.parse::<Timestamp>().ok();
        let changed = time(self.app.get("versionInfo").and_then(|info| info.get("lastConfigChangeAt")));
        let tasks = self.app.get("tasks").and_then(Value::as_array);
        tasks.into_iter().flatten().any(|task| time(task.get("version")) < changed)
    }
}

#[derive(Deserialize)]
struct PlanText {
    status: String,
    #[serde(default)]
    phases: Vec<PhaseText>,
    #[serde(default)]
    errors: Vec<String>,
}

#[derive(Deserialize)]
struct PhaseText {
    #[serde(default)]
    name: String,
    status: String,
    #[serde(default)]
    steps: Vec<StepText>,
}

#[derive(Deserialize)]
struct StepText {
    #[serde(default)]
    name: String,
    status: String,
}

/// Reads the answer to the question for a plan. Complete is only what a scheduler calls so by its status and by its
/// words: whatever else answers with 200, such as a page to log in, is not a scheduler.
#[must_use]
pub fn read_plan(status: u16, body: &[u8]) -> SchedulerPlan {
    let plan: Option<PlanText> = serde_json::from_slice(body).ok();
    match (status, plan) {
        (404, _) => SchedulerPlan::NotThere,
        (200, Some(plan)) if plan.status == COMPLETE && plan.errors.is_empty() => SchedulerPlan::Complete,
        (200 | 202, Some(plan)) if plan.errors.is_empty() => SchedulerPlan::InProgress(progress(&plan)),
        (200 | 202 | 417, Some(plan)) => SchedulerPlan::Failed(progress(&plan)),
        (200 | 202 | 417, None) => SchedulerPlan::Unreadable(format!("status {status} and no plan")),
        _ => {
            let text = String::from_utf8_lossy(&body[..body.len().min(4 * LONGEST_WORD)]);
            let words: Vec<_> = text.split_whitespace().collect();
            SchedulerPlan::Unreadable(format!("status {status}: {}", short(&words.join(" "))))
        }
    }
}

/// What elements that are done are called.
const COMPLETE: &str = "COMPLETE";

fn progress(plan: &PlanText) -> PlanProgress {
    let element = |name: &str, status: &str| PlanElement { name: short(name), status: short(status) };
    let phase = plan.phases.iter().find(|phase| phase.status != COMPLETE);
    let step = phase.and_then(|phase| phase.steps.iter().find(|step| step.status != COMPLETE));
    let steps = || plan.phases.iter().flat_map(|phase| &phase.steps);
    PlanProgress {
        status: short(&plan.status),
        phase: phase.map(|phase| element(&phase.name, &phase.status)),
        step: step.map(|step| element(&step.name, &step.status)),
        done: steps().filter(|step| step.status == COMPLETE).count(),
        total: steps().count(),
        errors: plan.errors.iter().take(MOST_ERRORS).map(|error| short(error)).collect(),
    }
}

fn short(text: &str) -> String {
    text.chars().take(LONGEST_WORD).collect()
}

#[cfg(test)]
mod tests;
