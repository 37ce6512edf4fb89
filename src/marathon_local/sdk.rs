//! What the scheduler of an SDK service answers, where tasks are simulated. Pure: all of it follows from the definition
//! that its task runs, and from how long it has run.
//!
//! A real scheduler deploys or uninstalls tasks of its own; this one has a plan whose steps take a fixed time each. One
//! that starts again begins again, though a real one would find that it has nothing to do. Shapes:
//! `http/types/{Plan,Phase,Step}Info.java`, `http/queries/{Plans,State}Queries.java` and
//! `scheduler/uninstall/UninstallPlanFactory.java` of mesosphere/dcos-commons; the answers of Admin Router,
//! `lib/service.lua` of dcos/dcos.

use std::time::Duration;

use serde_json::{Value, json};

use crate::marathon::sdk::SdkService;
use crate::model::{App, AppId, Digest};

/// How long each step takes.
pub const STEP_TIME: Duration = Duration::from_secs(10);

/// The phases of a deployment, with their steps.
const DEPLOY: &[(&str, &[&str])] =
    &[("node", &["node-0:[server]", "node-1:[server]"]), ("sidecar", &["sidecar-0:[agent]"])];

/// The phases of an uninstallation.
const UNINSTALL: &[(&str, &[&str])] = &[
    ("kill-tasks", &["kill-task-node-0", "kill-task-node-1"]),
    ("unreserve-resources-local", &["unreserve-node-0", "unreserve-node-1"]),
    ("deregister-service", &["deregister"]),
];

/// What is asked of a scheduler.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    /// `plans/deploy`.
    DeployPlan,
    /// `state/frameworkId`.
    FrameworkId,
    /// Anything else below the version of the API.
    Other,
}

/// Takes a path below `/service/` apart: the app, the version of the API, and what is asked.
pub fn asked(path: &str) -> Option<(AppId, &str, Question)> {
    let (rest, question) = match (path.strip_suffix("/plans/deploy"), path.strip_suffix("/state/frameworkId"))
    {
        (Some(rest), _) => (rest, Question::DeployPlan),
        (_, Some(rest)) => (rest, Question::FrameworkId),
        _ => (path, Question::Other),
    };
    let (id, version) = rest.rsplit_once('/')?;
    Some((AppId::absolute(id).ok()?, version, question))
}

/// The answer of Admin Router where nothing of that name is known.
pub fn no_such_service() -> (u16, Value) {
    (404, "404 Not Found: service not found.\n".into())
}

/// The answer of Admin Router where the service does not answer.
pub fn not_running() -> (u16, Value) {
    (503, "503 Service Unavailable\n".into())
}

/// The answer of a scheduler whose task has run that definition for a while.
pub fn answer(app: &App, question: Question, (marathon, id): (&str, &AppId), ran: Duration) -> (u16, Value) {
    let uninstalls = SdkService::of(app).is_some_and(SdkService::is_uninstalling);
    let phases = if uninstalls { UNINSTALL } else { DEPLOY };
    let steps: usize = phases.iter().map(|(_, steps)| steps.len()).sum();
    let done = usize::try_from(ran.as_secs() / STEP_TIME.as_secs()).unwrap_or(steps).min(steps);
    match question {
        Question::DeployPlan if done == steps => (200, plan(phases, done)),
        Question::DeployPlan => (202, plan(phases, done)),
        // It has left Mesos by then.
        Question::FrameworkId if uninstalls && done == steps => (404, "Framework ID not found\n".into()),
        Question::FrameworkId => {
            let own: String = Digest::of(id.as_str().as_bytes()).hex().chars().take(8).collect();
            (200, json!([format!("{marathon}-{own}")]))
        }
        Question::Other => (404, "404 Not Found\n".into()),
    }
}

fn plan(phases: &[(&str, &[&str])], done: usize) -> Value {
    let mut before = 0;
    let mut shown = Vec::new();
    for (name, steps) in phases {
        let of_phase = done.saturating_sub(before).min(steps.len());
        let status = |number: usize| match number {
            _ if number < of_phase => "COMPLETE",
            _ if before + number == done => "STARTING",
            _ => "PENDING",
        };
        let steps: Vec<_> = steps.iter().enumerate().map(|(n, step)| element(step, status(n))).collect();
        before += steps.len();
        let mut phase = element(name, word(of_phase, steps.len()));
        (phase["strategy"], phase["steps"]) = ("serial".into(), steps.into());
        shown.push(phase);
    }
    json!({"phases": shown, "errors": [], "strategy": "serial", "status": word(done, before)})
}

/// How a phase or a plan is called of which so many steps are done.
fn word(done: usize, steps: usize) -> &'static str {
    match done {
        _ if done == steps => "COMPLETE",
        0 => "PENDING",
        _ => "IN_PROGRESS",
    }
}

fn element(name: &str, status: &str) -> Value {
    let hex = Digest::of(name.as_bytes()).hex();
    let part = |range: std::ops::Range<usize>| hex.get(range).unwrap_or_default();
    let id = format!("{}-{}-{}-{}-{}", part(0..8), part(8..12), part(12..16), part(16..20), part(20..32));
    json!({"id": id, "name": name, "status": status, "message": format!("{name} has status {status}")})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::marathon::sdk::{UNINSTALL_LABEL, UNINSTALL_VARIABLE, read_plan};
    use crate::model::SchedulerPlan;

    fn app(env: &Value) -> App {
        App::from_value(json!({"id": "/g/s", "labels": {UNINSTALL_LABEL: "true"}, "env": env})).unwrap()
    }

    fn told(app: &App, question: Question, seconds: u64) -> (u16, Value) {
        answer(app, question, ("f", &AppId::new("/g/s").unwrap()), Duration::from_secs(seconds))
    }

    #[test]
    fn paths_name_the_app_with_its_slashes() {
        let id = AppId::new("/g/s").unwrap();
        assert_eq!(asked("g/s/v1/plans/deploy"), Some((id.clone(), "v1", Question::DeployPlan)));
        assert_eq!(asked("g/s/v2/state/frameworkId"), Some((id.clone(), "v2", Question::FrameworkId)));
        assert_eq!(asked("g/s/v1"), Some((id, "v1", Question::Other)));
        for bad in ["", "v1/plans/deploy", "G/v1/plans/deploy"] {
            assert_eq!(asked(bad), None, "{bad}");
        }
    }

    #[test]
    fn plans_go_step_by_step_and_our_client_reads_them() {
        for (env, steps) in [(json!({}), 3), (json!({UNINSTALL_VARIABLE: "true"}), 5)] {
            let app = app(&env);
            for second in 0..STEP_TIME.as_secs() * (steps + 1) {
                let (status, plan) = told(&app, Question::DeployPlan, second);
                let done = second / STEP_TIME.as_secs();
                match read_plan(status, plan.to_string().as_bytes()) {
                    SchedulerPlan::Complete => assert!(done >= steps, "{second}"),
                    SchedulerPlan::InProgress(progress) => {
                        assert_eq!((progress.done as u64, progress.total as u64), (done, steps));
                        assert_eq!(progress.step.unwrap().status, "STARTING");
                        assert_eq!(progress.status, if done == 0 { "PENDING" } else { "IN_PROGRESS" });
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
    }

    #[test]
    fn a_framework_has_an_id_until_it_left() {
        let deployed = told(&app(&json!({})), Question::FrameworkId, 1_000);
        let leaving = app(&json!({UNINSTALL_VARIABLE: "true"}));
        assert_eq!((deployed.0, &deployed), (200, &told(&leaving, Question::FrameworkId, 1)));
        assert_eq!(told(&leaving, Question::FrameworkId, 1_000).0, 404);
        assert_eq!(told(&leaving, Question::Other, 1).0, 404);
    }
}
