//! The engine's state as JSON in the shapes of Marathon's API.

use std::net::IpAddr;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Cause, Context, Engine, Withheld};
use crate::marathon_local::definition;
use crate::marathon_local::executor::{REASONS, TaskSpec};
use crate::marathon_local::health::Health;
use crate::marathon_local::pod;
use crate::marathon_local::ports::{self, SERVICE_PORTS};
use crate::marathon_local::profile::{Installation, Profile};
use crate::marathon_local::refusal::Refusal;
use crate::marathon_local::state::{ActionKind, AppRecord, Deployment, Step, StepAction};
use crate::marathon_local::stats;
use crate::marathon_local::task::{Task, TaskState};
pub(super) use crate::marathon_local::time;

use crate::marathon_local::vips::{self, Vip};
use crate::model::{App, AppId};

/// The Mesos agent that we would be.
pub(in crate::marathon_local) const AGENT: &str = "local-S0";

/// What is told of an unreachable task.
pub(super) const LOST: &str = "the agent cannot be reached";

/// The version that a text stands for, which may write the time in any way that ISO 8601 allows with an offset.
pub(super) fn version(text: &str) -> Result<String, Refusal> {
    let read: Result<Timestamp, _> = text.parse();
    read.map(time).map_err(|_| Refusal::NoTime(text.to_owned()))
}

/// What else than the definition an app is answered with. Counts and deployments always are, asked for or not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a parameter of its own")]
pub struct Embed {
    /// Its tasks.
    pub tasks: bool,
    /// The last failure of a task.
    pub last_failure: bool,
    /// What readiness checks told.
    pub readiness: bool,
    /// Statistics of its tasks.
    pub stats: bool,
}

/// What of a group is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GroupEmbed {
    /// The groups in it.
    pub groups: bool,
    /// The apps in it.
    pub apps: bool,
    /// The pods in it.
    pub pods: bool,
    /// And with each app.
    pub app: Embed,
}

/// A definition as it is answered.
pub(super) fn definition_json(app: &App) -> Value {
    let mut app = app.clone();
    if pod::is_pod(&app) {
        app.0.remove("versionInfo");
    }
    app.into_value()
}

impl Engine {
    pub(super) fn app_json(&self, id: &AppId, record: &AppRecord, embed: Embed) -> Value {
        let tasks = || self.tasks.get(id).into_iter().flatten();
        let counts = stats::Counts::of(tasks());
        let mut app = record.app.0.clone();
        let mut put = |key: &str, value: Value| drop(app.insert(key.to_owned(), value));
        put("tasksStaged", counts.staged.into());
        put("tasksRunning", counts.running.into());
        put("tasksHealthy", counts.healthy.into());
        put("tasksUnhealthy", counts.unhealthy.into());
        put("deployments", self.locks(id).into_iter().map(|id| json!({"id": id})).collect());
        if embed.tasks {
            let profile = self.context.installation.profile;
            let ended = self.vacant.get(id).into_iter().flatten().map(|vacancy| vacancy.json(profile));
            put("tasks", tasks().map(|task| task_json(task, profile)).chain(ended).collect());
        }
        if let Some(failure) = record.last_failure.as_ref().filter(|_| embed.last_failure) {
            put("lastTaskFailure", failure.clone());
        }
        if embed.readiness {
            put("readinessCheckResults", self.readiness_json(id));
        }
        if embed.stats {
            let list: Vec<_> = tasks().collect();
            put("taskStats", stats::json(&list, &record.app, self.context.clock.wall()));
        }
        Value::Object(app)
    }

    /// Tasks of apps, of an app or those below a group, in some states or in all.
    pub(super) fn tasks_json(&self, of: Option<&str>, states: &[String]) -> Value {
        let profile = self.context.installation.profile;
        let is_asked = |id: &AppId| {
            let is_app = self.state.apps.get(id).is_some_and(|record| !pod::is_pod(&record.app));
            let is_of = of.is_none_or(|of| id.as_str() == of || id.is_below(of));
            is_app && is_of && !self.context.faults.hides(id)
        };
        let state = |task: &&Task| states.is_empty() || states.iter().any(|s| s == state_word(task.state));
        let tasks = self.tasks.iter().filter(|(id, _)| is_asked(id)).flat_map(|(_, tasks)| tasks);
        let ended = self.vacant.iter().filter(|(id, _)| states.is_empty() && is_asked(id));
        let ended = ended.flat_map(|(_, vacant)| vacant).map(|vacancy| vacancy.json(profile));
        let tasks = tasks.filter(state).map(|task| task_json(task, profile));
        json!({"tasks": tasks.chain(ended).collect::<Vec<_>>()})
    }

    /// A line for each service port of each app, with the places where it is served (until 1.9).
    pub(super) fn tasks_text(&self, of: Option<&AppId>) -> String {
        let mut text = String::new();
        for (id, record) in self.visible_apps().filter(|(id, _)| of.is_none_or(|of| of == *id)) {
            let name = id.as_str().trim_start_matches('/').replace('/', "_");
            let running =
                || self.tasks.get(id).into_iter().flatten().filter(|t| t.state == TaskState::Running);
            let service_ports = ports::numbers(&record.app);
            for (index, service_port) in service_ports.iter().enumerate() {
                let places =
                    running().filter_map(|task| Some((task.spec.host, *task.spec.ports.get(index)?)));
                let places: Vec<_> = places.map(|(host, port)| format!("{host}:{port}")).collect();
                text.extend([&name, "\t", &service_port.to_string(), "\t", &places.join("\t"), "\t\n"]);
            }
            if service_ports.is_empty() {
                let hosts: Vec<_> = running().map(|task| task.spec.host.to_string()).collect();
                text.extend([&name, "\t \t", &hosts.join("\t"), "\t\n"]);
            }
        }
        text
    }

    pub(super) fn deployments_json(&self) -> Value {
        let shown = |deployment: &&Deployment| {
            let may_be_seen = deployment.originals.keys().any(|id| !self.context.faults.hides(id));
            self.is_visible(deployment) && (may_be_seen || deployment.originals.is_empty())
        };
        self.state
            .deployments
            .iter()
            .filter(shown)
            .map(|deployment| self.deployment_json(deployment))
            .collect()
    }

    /// What readiness checks told of the tasks that the running deployment of an app brings. What they told in
    /// earlier ones is over (`DeploymentManagerActor.scala`).
    fn readiness_json(&self, app: &AppId) -> Value {
        let deployed = self.state.deployments.iter().any(|d| d.current_action(app).is_some());
        let changed = self.state.apps.get(app).map(AppRecord::last_config_change).unwrap_or_default();
        let tasks = self.tasks.get(app).into_iter().flatten();
        let current = tasks.filter(|task| deployed && task.is_since(changed));
        current.filter_map(readiness_json).collect()
    }

    fn deployment_json(&self, deployment: &Deployment) -> Value {
        let current = deployment.current_actions().iter().map(|action| {
            let mut json = action_json(action);
            json["readinessCheckResults"] = self.readiness_json(&action.app);
            json
        });
        json!({
            "id": deployment.id,
            "version": deployment.version,
            "affectedApps": deployment.affected(false),
            "affectedPods": deployment.affected(true),
            "steps": deployment.steps.iter().map(step_json).collect::<Vec<_>>(),
            "currentActions": current.collect::<Vec<_>>(),
            "currentStep": deployment.current + 1,
            "totalSteps": deployment.steps.len(),
        })
    }

    pub(super) fn queue_json(&self, with_offers: bool) -> Value {
        let items = self.withheld.iter().filter(|(id, _)| !self.context.faults.hides(id));
        let items = items.filter_map(|(id, withheld)| {
            let record = self.state.apps.get(id)?;
            let left = self.delays.left(id, self.config_to_launch(id), self.context.clock.boot());
            let key = if pod::is_pod(&record.app) { "pod" } else { "app" };
            let mut item = json!({
                key: definition_json(&record.app),
                "count": withheld.count,
                "delay": {"timeLeftSeconds": left.as_secs(), "overdue": left.is_zero()},
                "since": time(withheld.since),
                "processedOffersSummary": offers_json(withheld),
            });
            if self.context.installation.profile.has_roles() {
                item["role"] = record.app.get("role").cloned().unwrap_or_default();
            }
            if with_offers {
                item["lastUnusedOffers"] = self.unused_offers(withheld);
            }
            Some(item)
        });
        json!({"queue": items.collect::<Vec<_>>()})
    }

    /// The last offer that did not fit, in the shape of a real one.
    fn unused_offers(&self, withheld: &Withheld) -> Value {
        let (Some(reason), Some(at)) = (withheld.cause.reason(), withheld.last_declined) else {
            return json!([]);
        };
        json!([{
            "offer": {"id": format!("{AGENT}-O{}", withheld.declined), "hostname": self.context.host.to_string(),
                "agentId": AGENT, "resources": [], "attributes": []},
            "reason": [reason],
            "timestamp": time(at),
        }])
    }

    pub(super) fn info_json(&self) -> Value {
        let Context { address, installation, .. } = &self.context;
        let Installation { profile, secrets, role, network, new_groups_enforce } = installation;
        let mut info = json!({
            "name": "marathon",
            "version": profile.version(),
            "buildref": "dcos-registry-local",
            "elected": true,
            "leader": address.to_string(),
            "frameworkId": self.state.framework_id,
            "marathon_config": {
                "checkpoint": true,
                "default_network_name": network,
                "executor": "//cmd",
                "failover_timeout": 604_800,
                // On DC/OS `task_killing` is enabled, and with it tasks are shown as TASK_KILLING.
                "features": if *secrets { json!(["task_killing", "secrets"]) } else { json!(["task_killing"]) },
                "framework_name": "marathon",
                "ha": true,
                "hostname": address.ip().to_string(),
                "launch_token": 100,
                "launch_token_refresh_interval": 30_000,
                "leader_proxy_connection_timeout_ms": 5_000,
                "leader_proxy_read_timeout_ms": 10_000,
                "local_port_min": SERVICE_PORTS.start(),
                "local_port_max": SERVICE_PORTS.end(),
                "master": "local",
                "max_instances_per_offer": 100,
                "mesos_bridge_name": "mesos-bridge",
                "mesos_leader_ui_url": null,
                "mesos_role": role,
                "mesos_user": "root",
                "min_revive_offers_interval": 5_000,
                "offer_matching_timeout": 3_000,
                "reconciliation_initial_delay": 15_000,
                "reconciliation_interval": 600_000,
                "scale_apps_initial_delay": 15_000,
                "scale_apps_interval": 300_000,
                "store_cache": true,
                "task_launch_confirm_timeout": 300_000,
                "task_launch_timeout": 300_000,
                "task_lost_expunge_initial_delay": 300_000,
                "task_lost_expunge_interval": 30_000,
                "task_reservation_timeout": 20_000,
                "webui_url": null,
            },
            "zookeeper_config": {"zk": "local", "zk_max_versions": profile.versions_kept(), "zk_session_timeout": 10_000,
                "zk_timeout": 10_000},
            "http_config": {"http_port": address.port(), "https_port": 8443},
        });
        if profile.has_roles() {
            info["marathon_config"]["new_group_enforce_role"] =
                if *new_groups_enforce { "top" } else { "off" }.into();
        }
        info
    }

    /// Numbers in the shape of Marathon's; only those that there is something behind.
    pub(super) fn metrics_json(&self) -> Value {
        let gauge = |value: usize| json!({"value": value});
        let tasks = |state: TaskState| self.tasks.values().flatten().filter(|t| t.state == state).count();
        let pods = self.state.apps.values().filter(|record| pod::is_pod(&record.app)).count();
        json!({
            "version": "4.0.0",
            "gauges": {
                "marathon.apps.active.gauge": gauge(self.state.apps.len() - pods),
                "marathon.deployments.active.gauge": gauge(self.state.deployments.len()),
                "marathon.groups.active.gauge": gauge(self.state.groups.len() + 1),
                "marathon.instances.running.gauge": gauge(tasks(TaskState::Running)),
                "marathon.instances.staged.gauge": gauge(tasks(TaskState::Staging)),
                "marathon.pods.active.gauge": gauge(pods),
            },
            "counters": {},
            "histograms": {},
            "meters": {},
            "timers": {},
        })
    }

    pub(super) fn announced_vips(&self) -> Vec<Vip> {
        let all = self.state.apps.iter().filter(|(_, record)| !pod::is_pod(&record.app));
        let vips = all.flat_map(|(id, record)| {
            vips::announced(&record.app).into_iter().map(move |(port, address)| Vip {
                address,
                app: id.to_string(),
                port,
                backends: self.backends(id, port),
            })
        });
        vips.collect()
    }

    /// Where a port of an app is served: by tasks that run, and are healthy as far as that is known.
    fn backends(&self, id: &AppId, port: usize) -> Vec<String> {
        let tasks = self.tasks.get(id).into_iter().flatten();
        let serving = tasks.filter(|task| task.state == TaskState::Running && !task.is_unhealthy());
        let ports = serving.filter_map(|task| Some((task.spec.host, *task.spec.ports.get(port)?)));
        ports.map(|(host, port)| std::net::SocketAddr::new(host, port).to_string()).collect()
    }
}

impl Cause {
    /// Why offers do not fit; none while none are looked at.
    fn reason(self) -> Option<&'static str> {
        match self {
            Self::Backoff => None,
            Self::Ports => Some("InsufficientPorts"),
            Self::Room => Some("InsufficientCpus"),
            Self::Offers(reason) => Some(reason),
        }
    }
}

fn offers_json(withheld: &Withheld) -> Value {
    let reason = withheld.cause.reason();
    // All offers are of one agent, so that the last one of each is one.
    let funnel = |declined: u64| {
        let mut processed = declined;
        let steps = REASONS.iter().map(|step| {
            let here = if Some(*step) == reason { processed } else { 0 };
            let json = json!({"reason": step, "declined": here, "processed": processed});
            processed -= here;
            json
        });
        steps.collect::<Vec<_>>()
    };
    let mut json = json!({
        "processedOffersCount": withheld.declined,
        "unusedOffersCount": withheld.declined,
        "rejectSummaryLastOffers": funnel(withheld.declined.min(1)),
        "rejectSummaryLaunchAttempt": funnel(withheld.declined),
    });
    if let Some(at) = withheld.last_declined {
        json["lastUnusedOfferAt"] = time(at).into();
    }
    json
}

/// The light form of a plan, as events carry it.
pub(super) fn plan_json(id: &str, version: &str, steps: &[Step]) -> Value {
    json!({"id": id, "steps": steps.iter().map(step_json).collect::<Vec<_>>(), "version": version})
}

pub(super) fn step_json(step: &Step) -> Value {
    json!({"actions": step.actions.iter().map(action_json).collect::<Vec<_>>()})
}

pub(super) fn action_json(action: &StepAction) -> Value {
    let key = if action.pod { "pod" } else { "app" };
    json!({"action": action_name(action), key: action.app})
}

/// What an action is called (`DeploymentPlan.scala`, `actionName`).
fn action_name(action: &StepAction) -> &'static str {
    match (action.action, action.pod) {
        (ActionKind::StartApplication, false) => "StartApplication",
        (ActionKind::ScaleApplication, false) => "ScaleApplication",
        (ActionKind::RestartApplication, false) => "RestartApplication",
        (ActionKind::StopApplication, false) => "StopApplication",
        (ActionKind::StartApplication, true) => "StartPod",
        (ActionKind::ScaleApplication, true) => "ScalePod",
        (ActionKind::RestartApplication, true) => "RestartPod",
        (ActionKind::StopApplication, true) => "StopPod",
    }
}

pub(super) fn protocol(host: IpAddr) -> &'static str {
    if host.is_ipv4() { "IPv4" } else { "IPv6" }
}

/// What the parameter `status` of the list of tasks calls a state.
fn state_word(state: TaskState) -> &'static str {
    match state {
        TaskState::Running => "running",
        TaskState::Staging => "staging",
        _ => "",
    }
}

fn readiness_json(task: &Task) -> Option<Value> {
    let readiness = task.readiness.as_ref()?;
    let check = crate::marathon_local::definition::readiness_check(&task.spec.app)?;
    let mut json = json!({"name": check.name, "taskId": task.spec.id, "ready": readiness.ready});
    if let Some(answer) = readiness.last.as_ref().filter(|_| check.keeps_response) {
        json["lastResponse"] =
            json!({"status": answer.status, "contentType": answer.content_type, "body": answer.body});
    }
    Some(json)
}

/// An instance as the API of pods answers it when it was killed (`types/instance.raml`).
pub(super) fn instance_json(task: &Task) -> Value {
    json!({
        "instanceId": {"idString": task.instance()},
        "state": {"condition": {"str": task.state.name()}, "since": time(task.staged_at), "goal": "Running"},
        "agentInfo": {"host": task.spec.host.to_string(), "agentId": AGENT, "attributes": []},
        "runSpecVersion": task.spec.app.version(),
    })
}

/// A task as it is shown whether it is active or not: without version, ports and times.
pub(super) fn ended_json(spec: &TaskSpec, state: &str, profile: Profile) -> Value {
    let mut json = json!({
        "id": spec.id,
        "appId": spec.app_id,
        "host": spec.host.to_string(),
        "ipAddresses": [{"ipAddress": spec.host.to_string(), "protocol": protocol(spec.host)}],
        "ports": [],
        "servicePorts": ports::numbers(&spec.app),
        "slaveId": AGENT,
        "state": state,
        "localVolumes": local_volumes(spec),
    });
    if profile.has_roles() {
        json["role"] = spec.app.get("role").cloned().unwrap_or_default();
    }
    json
}

/// The persistent volumes of an instance (`core/instance/LocalVolume.scala`). Each has the id of its instance for its own.
pub(super) fn local_volumes(spec: &TaskSpec) -> Value {
    let persistent = definition::volumes(&spec.app).filter(|volume| volume.get("persistent").is_some());
    let names = persistent.filter_map(|volume| {
        let name = volume.get("name").or_else(|| volume.get("containerPath"));
        name.and_then(Value::as_str)
    });
    let app = spec.app_id.as_str().trim_start_matches('/').replace('/', "_");
    let uuid = spec.instance().split_once(".instance-").map_or("", |(_, uuid)| uuid);
    let volumes = names.map(|name| {
        json!({"runSpecId": spec.app_id, "containerPath": name, "uuid": uuid,
            "persistenceId": format!("{app}#{name}#{uuid}")})
    });
    volumes.collect()
}

pub(super) fn task_json(task: &Task, profile: Profile) -> Value {
    let spec = &task.spec;
    let mut json = ended_json(spec, task.state.name(), profile);
    json["ports"] = json!(spec.ports);
    json["version"] = spec.app.version().into();
    json["stagedAt"] = time(task.staged_at).into();
    if let Some((since, _)) = task.running_since {
        json["startedAt"] = Value::from(time(since));
    }
    let known: Vec<_> = task.results().map(|health| health_json(task, health)).collect();
    if !known.is_empty() {
        json["healthCheckResults"] = Value::Array(known);
    }
    json
}

fn health_json(task: &Task, health: &Health) -> Value {
    let when = |at: Option<Timestamp>| at.map_or(Value::Null, |at| time(at).into());
    json!({
        "alive": health.alive(),
        "consecutiveFailures": health.consecutive_failures,
        "firstSuccess": when(health.first_success),
        "lastSuccess": when(health.last_success),
        "lastFailure": when(health.last_failure.as_ref().map(|(at, _)| *at)),
        "lastFailureCause": health.last_failure.as_ref().map(|(_, cause)| cause),
        "taskId": task.spec.id,
        "instanceId": task.instance(),
    })
}
