//! Pods: created, changed, seen (`api/v2/PodsResource.scala` and `raml/PodStatusConversion.scala` of
//! mesosphere/marathon).

use serde_json::{Value, json};

use super::Engine;
use super::changes::{Change, Update};
use super::requests::{Answer, found};
use super::view::{self, AGENT, time};
use crate::marathon_local::definition;
use crate::marathon_local::pod;
use crate::marathon_local::refusal::Refusal;
use crate::marathon_local::state::AppRecord;
use crate::marathon_local::task::{Task, TaskState};
use crate::model::{App, AppId};

impl Engine {
    fn pod_record(&self, id: &AppId) -> Result<&AppRecord, Refusal> {
        let record = self.state.apps.get(id).filter(|record| pod::is_pod(&record.app));
        let record = record.ok_or_else(|| Refusal::NoPod(id.to_string()))?;
        if self.context.faults.hides(id) { Err(Refusal::Forbidden) } else { Ok(record) }
    }

    fn pods(&self) -> impl Iterator<Item = (&AppId, &AppRecord)> {
        self.state
            .apps
            .iter()
            .filter(|(id, record)| pod::is_pod(&record.app) && !self.context.faults.hides(id))
    }

    pub(super) fn list_pods(&self) -> Answer {
        found(self.pods().map(|(_, record)| view::definition_json(&record.app)).collect())
    }

    pub(super) fn show_pod(&self, id: &AppId) -> Result<Answer, Refusal> {
        Ok(found(view::definition_json(&self.pod_record(id)?.app)))
    }

    pub(super) fn pod_statuses(&self) -> Answer {
        found(self.pods().map(|(id, record)| self.pod_status_json(id, record)).collect())
    }

    pub(super) fn pod_status(&self, id: &AppId) -> Result<Answer, Refusal> {
        Ok(found(self.pod_status_json(id, self.pod_record(id)?)))
    }

    pub(super) fn pod_versions(&self, id: &AppId) -> Result<Answer, Refusal> {
        Ok(found(self.pod_record(id)?.versions().map(|pod| Value::from(pod.version())).collect()))
    }

    pub(super) fn pod_version(&self, id: &AppId, version: &str) -> Result<Answer, Refusal> {
        let (record, version) = (self.pod_record(id)?, view::version(version)?);
        let pod = record.version(&version).ok_or_else(|| Refusal::NoPod(id.to_string()))?;
        Ok(found(view::definition_json(pod)))
    }

    pub(super) fn create_pod(&mut self, id: &AppId, body: App, force: bool) -> Result<Answer, Refusal> {
        let pod = pod::canonical(body, id, &self.rules(id))?;
        if let Some(record) = self.state.apps.get(id) {
            let is_pod = pod::is_pod(&record.app);
            let clash = Refusal::Clash("Applications and Pods may not share the same id");
            return Err(if is_pod { Refusal::PodExists(id.clone()) } else { clash });
        }
        let changed = self.change(Update::of(id, Change::Put(pod)), force)?;
        self.announce_write(id, Some("pod_created_event"));
        let body = view::definition_json(&self.pod_record(id)?.app);
        Ok(Answer {
            status: 201,
            body: Some(body),
            deployment: Some(changed.deployment),
            location: Some(id.to_string()),
        })
    }

    pub(super) fn update_pod(&mut self, id: &AppId, body: App, force: bool) -> Result<Answer, Refusal> {
        let pod = pod::canonical(body, id, &self.rules(id))?;
        self.pod_record(id)?;
        let changed = self.change(Update::of(id, Change::Put(pod)), force)?;
        self.announce_write(id, Some("pod_updated_event"));
        let body = view::definition_json(&self.pod_record(id)?.app);
        Ok(Answer { status: 200, body: Some(body), deployment: Some(changed.deployment), location: None })
    }

    pub(super) fn delete_pod(&mut self, id: &AppId, force: bool) -> Result<Answer, Refusal> {
        self.pod_record(id)?;
        let changed = self.change(Update::of(id, Change::Remove), force)?;
        self.announce_write(id, Some("pod_deleted_event"));
        let location = Some(changed.deployment.clone());
        Ok(Answer { status: 202, body: None, deployment: Some(changed.deployment), location })
    }

    pub(super) fn pod_status_json(&self, id: &AppId, record: &AppRecord) -> Value {
        let tasks = || self.tasks.get(id).into_iter().flatten();
        let instances: Vec<_> =
            tasks().map(|task| pod_instance(task, self.context.installation.profile.has_roles())).collect();
        let stable = instances.iter().filter(|instance| instance["status"] == "STABLE").count();
        let wanted = usize::try_from(definition::instances(&record.app)).unwrap_or(usize::MAX);
        let changes = tasks().map(|task| task.running_since.map_or(task.staged_at, |(at, _)| at));
        let since = changes.max().map_or_else(|| record.app.version().to_owned(), time);
        json!({
            "id": id,
            "spec": view::definition_json(&record.app),
            "status": if stable >= wanted { "STABLE" } else { "DEGRADED" },
            "statusSince": since,
            "instances": instances,
            "terminationHistory": [],
            "lastUpdated": time(self.context.clock.wall()),
            "lastChanged": since,
        })
    }
}

/// One instance, which is one task here, whatever the number of its containers.
fn pod_instance(task: &Task, has_roles: bool) -> Value {
    let since = time(task.running_since.map_or(task.staged_at, |(at, _)| at));
    let is_unhealthy = task.state == TaskState::Running && !task.is_healthy();
    let (status, message) = match task.state {
        TaskState::Staging | TaskState::Starting => ("STAGING", None),
        TaskState::Running if is_unhealthy => ("DEGRADED", Some("at least one container is not healthy")),
        TaskState::Running => ("STABLE", None),
        TaskState::Unreachable => ("DEGRADED", Some("pod instance has become unreachable")),
        TaskState::Killing => ("TERMINAL", None),
    };
    let pod = &task.spec.app;
    let mut ports = task.spec.ports.iter();
    let containers: Vec<_> =
        pod::containers(pod).map(|container| container_json(task, container, &since, &mut ports)).collect();
    let mut instance = json!({
        "id": task.instance(),
        "status": status,
        "statusSince": since,
        "agentId": AGENT,
        "agentHostname": task.spec.host.to_string(),
        "resources": resources(pod),
        "networks": [],
        "containers": containers,
        "localVolumes": view::local_volumes(&task.spec),
        "specReference": format!("/v2/pods{}::versions/{}", task.spec.app_id, pod.version()),
        "lastUpdated": since,
        "lastChanged": since,
    });
    if let Some(message) = message {
        instance["message"] = message.into();
    }
    if has_roles {
        instance["role"] = pod.get("role").cloned().unwrap_or_default();
    }
    instance
}

fn container_json<'a>(
    task: &Task,
    container: &Value,
    since: &str,
    ports: &mut impl Iterator<Item = &'a u16>,
) -> Value {
    let endpoints = container.get("endpoints").and_then(Value::as_array).into_iter().flatten();
    let endpoints = endpoints.map(|endpoint| {
        let mut json = json!({"name": endpoint.get("name")});
        if let Some(port) = endpoint.get("hostPort").filter(|port| port.is_u64()).and_then(|_| ports.next()) {
            json["allocatedHostPort"] = (*port).into();
        }
        json
    });
    let mut conditions = Vec::new();
    if container.get("healthCheck").is_some() && task.state == TaskState::Running {
        let known = task.health.iter().any(|(_, health)| health.is_known());
        let reason = if known { "health-reported-by-mesos" } else { "health-unreported-by-mesos" };
        conditions.push(json!({"name": "healthy", "value": task.is_healthy().to_string(), "reason": reason,
            "lastChanged": since, "lastUpdated": since}));
    }
    json!({
        "name": container.get("name"),
        "status": task.state.name(),
        "statusSince": since,
        "containerId": task.spec.id,
        "endpoints": endpoints.collect::<Vec<_>>(),
        "conditions": conditions,
        "resources": container.get("resources"),
        "lastUpdated": since,
        "lastChanged": since,
    })
}

/// What all containers of a pod and its executor ask for.
fn resources(pod: &App) -> Value {
    let of = |holder: Option<&Value>, key: &str| {
        holder.and_then(|h| h.get(key)).and_then(Value::as_f64).unwrap_or_default()
    };
    let sum = |key: &str| {
        let containers: f64 = pod::containers(pod).map(|c| of(c.get("resources"), key)).sum();
        containers + of(pod.get("executorResources"), key)
    };
    json!({"cpus": sum("cpus"), "mem": sum("mem"), "disk": sum("disk"), "gpus": 0})
}
