//! What the engine tells the event stream (`core/event/Events.scala` of mesosphere/marathon).

use serde_json::{Value, json};

use super::{Engine, view};
use crate::marathon_local::group::GroupId;
use crate::marathon_local::pod;
use crate::marathon_local::profile::Profile;
use crate::marathon_local::refusal::Refusal;
use crate::marathon_local::state::{Deployment, Step};
use crate::marathon_local::task::{Task, TaskState};
use crate::model::{App, AppId};

impl Engine {
    fn publish(&self, kind: &'static str, fields: Value) {
        self.context.events.publish(kind, fields);
    }

    /// The group that changed, in which something changed, or none for the root.
    pub(super) fn announce_group_change(&self, about: Option<&GroupId>, version: &str) {
        self.publish("group_change_success", json!({"groupId": group(about), "version": version}));
    }

    /// A change that was refused.
    pub(super) fn announce_refused(&self, about: Option<&GroupId>, refusal: &Refusal) {
        let version = view::time(self.context.clock.wall());
        let (group, reason) = (group(about), refusal.to_string());
        self.publish("group_change_failed", json!({"groupId": group, "version": version, "reason": reason}));
    }

    /// A change that a deployment in the way forbids has a plan all the same.
    pub(super) fn announce_refused_plan(&self, id: &str, steps: &[Step], refusal: &Refusal) {
        let version = view::time(self.context.clock.wall());
        let (plan, reason) = (view::plan_json(id, &version, steps), refusal.to_string());
        self.publish("deployment_failed", json!({"id": id, "plan": plan, "reason": reason}));
    }

    pub(super) fn announce_step(&self, deployment: &Deployment) {
        self.publish("deployment_info", step(deployment));
    }

    pub(super) fn announce_step_done(&self, deployment: &Deployment) {
        self.publish("deployment_step_success", step(deployment));
    }

    pub(super) fn announce_success(&self, id: &str, version: &str, steps: &[Step]) {
        self.publish("deployment_success", json!({"id": id, "plan": view::plan_json(id, version, steps)}));
    }

    pub(super) fn announce_cancelled(&self, deployment: &Deployment) {
        let plan = view::plan_json(&deployment.id, &deployment.version, &deployment.steps);
        let reason = "The upgrade has been cancelled";
        self.publish("deployment_failed", json!({"id": deployment.id, "plan": plan, "reason": reason}));
    }

    /// All tasks of an app that goes have ended.
    pub(super) fn announce_gone(&self, app: &AppId) {
        self.publish("app_terminated_event", json!({"appId": app}));
    }

    /// Somebody wrote a definition.
    pub(super) fn announce_write(&self, id: &AppId, pods: Option<&'static str>) {
        let client = self.context.host.to_string();
        match (pods, self.state.apps.get(id)) {
            (Some(kind), _) => {
                self.publish(kind, json!({"clientIp": client, "uri": format!("/v2/pods{id}")}));
            }
            (None, Some(record)) => {
                let uri = format!("/v2/apps{id}");
                let app = json!({"clientIp": client, "uri": uri, "appDefinition": record.app});
                self.publish("api_post_event", app);
            }
            (None, None) => {}
        }
    }

    pub(super) fn announce_checks_added(&self, id: &AppId) {
        let Some(record) = self.state.apps.get(id).filter(|record| !pod::is_pod(&record.app)) else { return };
        let checks = record.app.get("healthChecks").and_then(Value::as_array);
        for check in checks.into_iter().flatten() {
            let fields = json!({"appId": id, "version": record.app.version(), "healthCheck": check});
            self.publish("add_health_check_event", fields);
        }
    }

    pub(super) fn announce_checks_removed(&self, id: &AppId, app: Option<&App>) {
        let checks = app.and_then(|app| app.get("healthChecks")).and_then(Value::as_array);
        for _ in checks.into_iter().flatten() {
            self.publish("remove_health_check_event", json!({"appId": id}));
        }
    }

    /// A task came to another state, as Mesos tells.
    pub(super) fn announce_task(&self, task: &Task, state: &str, message: &str) {
        self.announce_status(task, state, message);
        self.announce_condition(task, condition(task, state));
    }

    /// A task is launched. Mesos tells nothing of that (`InstanceUpdateOpResolver.scala`).
    pub(super) fn announce_launch(&self, task: &Task) {
        if self.context.installation.profile == Profile::V1_7 {
            return self.announce_condition(task, "Created");
        }
        // Nothing is known of an agent before.
        let mut scheduled = instance(task, "Scheduled");
        (scheduled["agentId"], scheduled["host"]) = (Value::Null, Value::Null);
        self.publish("instance_changed_event", scheduled);
        self.announce_condition(task, "Provisioned");
    }

    /// What became of tasks of an app by what was done to them.
    pub(super) fn announce_news(&mut self, app: &AppId) {
        let tasks = self.tasks.get_mut(app).into_iter().flatten().enumerate();
        let news: Vec<_> = tasks.filter_map(|(position, task)| Some((position, task.news()?))).collect();
        for (position, state) in news {
            let Some(task) = self.tasks.get(app).and_then(|tasks| tasks.get(position)) else { continue };
            let message = if state == TaskState::Unreachable { view::LOST } else { "" };
            self.announce_task(task, state.name(), message);
            if state == TaskState::Killing && task.mesos_health().is_some() {
                self.announce_instance_health(task, None);
            }
        }
    }

    /// Mesos tells the state of a task, changed or not.
    pub(super) fn announce_status(&self, task: &Task, state: &str, message: &str) {
        let spec = &task.spec;
        self.publish(
            "status_update_event",
            json!({
                "slaveId": view::AGENT,
                "taskId": spec.id,
                "taskStatus": state,
                "message": message,
                "appId": spec.app_id,
                "host": spec.host.to_string(),
                "ipAddresses": [{"ipAddress": spec.host.to_string(), "protocol": view::protocol(spec.host)}],
                "ports": spec.ports,
                "version": spec.app.version(),
            }),
        );
    }

    /// An instance is in another condition.
    pub(super) fn announce_condition(&self, task: &Task, condition: &str) {
        self.publish("instance_changed_event", instance(task, condition));
    }

    /// A task was given up before its end was heard of, and now it was.
    pub(super) fn announce_unknown(&self, instance: &str, app: &AppId) {
        self.publish(
            "unknown_instance_terminated_event",
            json!({"instanceId": instance, "runSpecId": app, "condition": "Killed"}),
        );
    }

    /// The results of a health check say something else than before.
    pub(super) fn announce_health(&self, task: &Task, alive: bool) {
        let (app, version, instance) = (&task.spec.app_id, task.spec.app.version(), task.instance());
        self.publish(
            "health_status_changed_event",
            json!({"appId": app, "instanceId": instance, "version": version, "alive": alive}),
        );
    }

    /// Mesos tells of other health than before, or none any more (`PostToEventStreamStepImpl.scala`).
    pub(super) fn announce_instance_health(&self, task: &Task, healthy: Option<bool>) {
        let (app, version, instance) = (&task.spec.app_id, task.spec.app.version(), task.instance());
        self.publish(
            "instance_health_changed_event",
            json!({"instanceId": instance, "runSpecId": app, "healthy": healthy, "runSpecVersion": version}),
        );
    }

    pub(super) fn announce_failed_check(&self, task: &Task, check: usize) {
        let definition = task.spec.app.get("healthChecks").and_then(|checks| checks.get(check));
        self.publish(
            "failed_health_check_event",
            json!({"appId": task.spec.app_id, "taskId": task.instance(), "healthCheck": definition}),
        );
    }

    pub(super) fn announce_unhealthy(&self, task: &Task, reason: &str) {
        self.publish(
            "unhealthy_instance_kill_event",
            json!({
                "appId": task.spec.app_id,
                "taskId": task.spec.id,
                "instanceId": task.instance(),
                "version": task.spec.app.version(),
                "reason": reason,
                "host": task.spec.host.to_string(),
                "slaveId": view::AGENT,
            }),
        );
    }
}

fn group(about: Option<&GroupId>) -> GroupId {
    about.cloned().unwrap_or_else(GroupId::root)
}

fn step(deployment: &Deployment) -> Value {
    let plan = view::plan_json(&deployment.id, &deployment.version, &deployment.steps);
    let actions: Vec<_> = deployment.current_actions().iter().map(view::action_json).collect();
    json!({"plan": plan, "currentStep": {"actions": actions}})
}

/// A task as its instance, in some condition.
fn instance(task: &Task, condition: &str) -> Value {
    json!({
        "instanceId": task.instance(),
        "condition": condition,
        "runSpecId": task.spec.app_id,
        "agentId": view::AGENT,
        "host": task.spec.host.to_string(),
        "runSpecVersion": task.spec.app.version(),
    })
}

/// The condition of a task that Mesos gives that state.
fn condition(task: &Task, state: &str) -> &'static str {
    match state {
        "TASK_STARTING" => "Starting",
        "TASK_RUNNING" => "Running",
        "TASK_KILLING" => "Killing",
        "TASK_KILLED" => "Killed",
        "TASK_FINISHED" => "Finished",
        "TASK_UNREACHABLE" if task.inactive => "UnreachableInactive",
        "TASK_UNREACHABLE" => "Unreachable",
        _ => "Failed",
    }
}
