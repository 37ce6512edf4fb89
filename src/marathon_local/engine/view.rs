//! The engine's state as JSON in the shapes of Marathon's API.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Cause, Context, Engine};
use crate::marathon_local::health::Health;
use crate::marathon_local::ports;
use crate::marathon_local::ports::SERVICE_PORTS;
use crate::marathon_local::state::{AppRecord, Deployment, StepAction};
use crate::marathon_local::task::{Task, TaskState};
use crate::marathon_local::update::ROLE;
use crate::model::AppId;

/// The Mesos agent that we would be.
pub(in crate::marathon_local) const AGENT: &str = "local-S0";

/// The version of Marathon whose behaviour this is.
const MARATHON_VERSION: &str = "1.11.24";

/// What else than the definition an app is answered with. Counts and deployments always are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Embed {
    /// Its tasks.
    pub tasks: bool,
    /// The last failure of a task.
    pub last_failure: bool,
}

impl Embed {
    /// As an app that was asked for by its id.
    pub const ALL: Self = Self { tasks: true, last_failure: true };
}

/// A time as Marathon writes it: UTC with milliseconds.
pub(super) fn time(time: Timestamp) -> String {
    format!("{time:.3}")
}

impl Engine {
    pub(super) fn app_json(&self, id: &AppId, record: &AppRecord, embed: Embed) -> Value {
        let tasks = || self.tasks.get(id).into_iter().flatten();
        let running = || tasks().filter(|t| t.state == TaskState::Running);
        let checked = || running().filter(|t| !t.health.is_empty());
        let mut app = record.app.0.clone();
        let mut put = |key: &str, value: Value| drop(app.insert(key.to_owned(), value));
        let staged = tasks().filter(|t| matches!(t.state, TaskState::Staging | TaskState::Starting));
        put("tasksStaged", staged.count().into());
        put("tasksRunning", running().count().into());
        put("tasksHealthy", checked().filter(|t| t.is_healthy()).count().into());
        put("tasksUnhealthy", checked().filter(|t| t.is_unhealthy()).count().into());
        put("deployments", self.locks(id).into_iter().map(|id| json!({"id": id})).collect());
        if embed.tasks {
            put("tasks", tasks().map(task_json).collect());
        }
        if let Some(failure) = record.last_failure.as_ref().filter(|_| embed.last_failure) {
            put("lastTaskFailure", failure.clone());
        }
        Value::Object(app)
    }

    pub(super) fn tasks_json(&self, app: Option<&AppId>) -> Value {
        let tasks = self.tasks.iter().filter(|(id, _)| app.is_none_or(|app| app == *id)).flat_map(|(_, t)| t);
        json!({"tasks": tasks.map(task_json).collect::<Vec<_>>()})
    }

    pub(super) fn deployments_json(&self) -> Value {
        self.state.deployments.iter().map(deployment_json).collect()
    }

    pub(super) fn queue_json(&self) -> Value {
        let now = self.context.clock.boot();
        let items = self.withheld.iter().filter_map(|(id, withheld)| {
            let left = self.delays.left(id, now);
            let (reason, declined) = match withheld.cause {
                Cause::Backoff => ("InsufficientPorts", 0),
                Cause::Ports => ("InsufficientPorts", 1),
                Cause::Room => ("InsufficientCpus", 1),
            };
            Some(json!({
                "app": self.state.apps.get(id)?.app,
                "count": withheld.count,
                "delay": {"timeLeftSeconds": left.as_secs(), "overdue": left.is_zero()},
                "since": time(withheld.since),
                "role": ROLE,
                "processedOffersSummary": {
                    "processedOffersCount": declined,
                    "unusedOffersCount": declined,
                    "rejectSummaryLastOffers":
                        [{"reason": reason, "declined": declined, "processed": declined}],
                },
            }))
        });
        json!({"queue": items.collect::<Vec<_>>()})
    }

    pub(super) fn info_json(&self) -> Value {
        let Context { address, .. } = &self.context;
        json!({
            "name": "marathon",
            "version": MARATHON_VERSION,
            "buildref": "dcos-registry-local",
            "elected": true,
            "leader": address.to_string(),
            "frameworkId": self.state.framework_id,
            "marathon_config": {
                "features": [],
                "framework_name": "marathon",
                "hostname": address.ip().to_string(),
                "http_port": address.port(),
                "local_port_min": SERVICE_PORTS.start,
                "local_port_max": SERVICE_PORTS.end,
                "mesos_role": ROLE,
            },
            "zookeeper_config": {},
            "http_config": {"http_port": address.port()},
        })
    }
}

fn task_json(task: &Task) -> Value {
    let spec = &task.spec;
    let mut json = json!({
        "id": spec.id,
        "appId": spec.app_id,
        "host": spec.host.to_string(),
        "ipAddresses": [{"ipAddress": spec.host.to_string(), "protocol": if spec.host.is_ipv4() { "IPv4" } else { "IPv6" }}],
        "ports": spec.ports,
        "servicePorts": ports::numbers(&spec.app),
        "slaveId": AGENT,
        "stagedAt": time(task.staged_at),
        "state": task.state.name(),
        "version": spec.app.version(),
        "role": ROLE,
        "localVolumes": [],
    });
    if let Some((since, _)) = task.running_since {
        json["startedAt"] = Value::from(time(since));
    }
    let known: Vec<_> =
        task.health.iter().filter(|(_, h)| h.is_known()).map(|(_, h)| health_json(task, h)).collect();
    if !known.is_empty() {
        json["healthCheckResults"] = Value::Array(known);
    }
    json
}

fn health_json(task: &Task, health: &Health) -> Value {
    let when = |at: Option<Timestamp>| at.map_or(Value::Null, |at| time(at).into());
    // The instance is what stands before the container's name in a task's id.
    let instance = task.spec.id.split("._app").next().unwrap_or_default();
    json!({
        "alive": health.alive(),
        "consecutiveFailures": health.consecutive_failures,
        "firstSuccess": when(health.first_success),
        "lastSuccess": when(health.last_success),
        "lastFailure": when(health.last_failure.as_ref().map(|(at, _)| *at)),
        "lastFailureCause": health.last_failure.as_ref().map(|(_, cause)| cause),
        "taskId": task.spec.id,
        "instanceId": instance,
    })
}

fn deployment_json(deployment: &Deployment) -> Value {
    let action = |a: &StepAction| json!({"action": a.action, "app": a.app});
    let current = deployment
        .current_actions()
        .iter()
        .map(|a| json!({"action": a.action, "app": a.app, "readinessCheckResults": []}));
    json!({
        "id": deployment.id,
        "version": deployment.version,
        "affectedApps": deployment.originals.keys().collect::<Vec<_>>(),
        "affectedPods": [],
        "steps": deployment.steps.iter()
            .map(|s| json!({"actions": s.actions.iter().map(action).collect::<Vec<_>>()}))
            .collect::<Vec<_>>(),
        "currentActions": current.collect::<Vec<_>>(),
        "currentStep": deployment.current + 1,
        "totalSteps": deployment.steps.len(),
    })
}

/// Whether a definition's command contains the text, whatever the case.
pub(super) fn runs(record: &AppRecord, text: &str) -> bool {
    let command = record.app.get("cmd").and_then(Value::as_str).unwrap_or_default();
    command.to_lowercase().contains(&text.to_lowercase())
}
