//! Tasks that somebody wants to be killed (`api/TaskKiller.scala` of mesosphere/marathon).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::Engine;
use super::changes::{Change, Update, unversioned};
use super::requests::{Answer, accepted, found};
use super::view;
use crate::marathon_local::refusal::Refusal;
use crate::marathon_local::task::{Task, TaskState};
use crate::marathon_local::{definition, pod};
use crate::model::AppId;

/// Which tasks are to be killed, and how.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Kill {
    /// Only on this host; `*` and none: on all.
    pub host: Option<String>,
    /// Only these, by their ids; none: all of the app.
    pub tasks: Option<BTreeSet<String>>,
    /// Whether as many fewer are to run afterwards.
    pub scale: bool,
    /// Whether deployments in the way are cancelled.
    pub force: bool,
    /// Whether volumes go, too.
    pub wipe: bool,
}

impl Kill {
    fn strikes(&self, task: &Task) -> bool {
        let host = self.host.as_deref().filter(|host| *host != "*");
        let by_id = |ids: &BTreeSet<String>| ids.contains(&task.spec.id) || ids.contains(task.instance());
        host.is_none_or(|host| task.spec.host.to_string() == host) && self.tasks.as_ref().is_none_or(by_id)
    }
}

impl Engine {
    /// Kills tasks of an app.
    pub(super) fn kill_of(
        &mut self,
        app: &AppId,
        kill: &Kill,
        single: Option<&str>,
    ) -> Result<Answer, Refusal> {
        if !self.state.apps.contains_key(app) {
            return Err(Refusal::NoApp(app.to_string()));
        }
        if kill.scale {
            if !self.tasks.contains_key(app) && !self.withheld.contains_key(app) {
                return Err(Refusal::NoApp(app.to_string()));
            }
            return self.kill_and_scale(kill, Some(app));
        }
        let mut killed = self.kill_tasks(kill, Some(app));
        match single {
            None => Ok(found(json!({"tasks": killed}))),
            Some(_) if !killed.is_empty() => Ok(found(json!({"task": killed.remove(0)}))),
            Some(task) => Err(Refusal::NoTask(task.to_owned())),
        }
    }

    /// Kills tasks of any app.
    pub(super) fn kill_any(&mut self, kill: &Kill) -> Result<Answer, Refusal> {
        if kill.scale {
            return self.kill_and_scale(kill, None);
        }
        let killed = self.kill_tasks(kill, None);
        Ok(found(json!({"tasks": killed})))
    }

    /// Kills instances of a pod.
    pub(super) fn kill_pods(
        &mut self,
        id: &AppId,
        kill: &Kill,
        single: Option<&str>,
    ) -> Result<Answer, Refusal> {
        if !self.state.apps.get(id).is_some_and(|record| pod::is_pod(&record.app)) {
            return Err(Refusal::NoApp(id.to_string()));
        }
        let instances: Vec<Value> = self
            .tasks
            .get(id)
            .into_iter()
            .flatten()
            .filter(|task| kill.strikes(task))
            .map(view::instance_json)
            .collect();
        self.kill_tasks(kill, Some(id));
        match (single, instances.into_iter().next()) {
            (Some(instance), None) => Err(Refusal::NoTask(instance.to_owned())),
            (Some(_), Some(instance)) => Ok(found(instance)),
            (None, first) => Ok(found(first.into_iter().collect())),
        }
    }

    /// Tells tasks to end; others take their place. Those that it struck.
    fn kill_tasks(&mut self, kill: &Kill, only: Option<&AppId>) -> Vec<Value> {
        let mut killed = Vec::new();
        let (profile, executor) = (self.context.installation.profile, self.context.executor.clone());
        let outlives = profile.instances_outlive_tasks();
        for (app, tasks) in self.tasks.iter_mut().filter(|(app, _)| only.is_none_or(|only| only == *app)) {
            for task in tasks.iter_mut().filter(|task| kill.strikes(task)) {
                killed.push(view::task_json(task, profile));
                if kill.wipe {
                    executor.wipe(&task.spec);
                    task.sentence();
                    // Nobody waits to hear of one that is wiped.
                    task.kill();
                } else if task.state == TaskState::Unreachable && outlives {
                    // It cannot be told; of one with volumes no other would be the same (`KillAction.scala`).
                    if !definition::is_resident(&task.spec.app) {
                        task.sentence();
                    }
                } else {
                    task.kill();
                }
                self.touched.insert(app.clone());
            }
        }
        killed
    }

    fn kill_and_scale(&mut self, kill: &Kill, only: Option<&AppId>) -> Result<Answer, Refusal> {
        let mut struck: BTreeMap<&AppId, Vec<&Task>> = BTreeMap::new();
        for (app, tasks) in self.tasks.iter().filter(|(app, _)| only.is_none_or(|only| only == *app)) {
            let is_active = |task: &&Task| task.state != TaskState::Killing && !task.inactive;
            let tasks = tasks.iter().filter(|task| kill.strikes(task)).filter(is_active);
            struck.entry(app).or_default().extend(tasks);
        }
        let mut update = Update::default();
        for (id, tasks) in struck {
            let Some(record) = self.state.apps.get(id).filter(|record| !pod::is_pod(&record.app)) else {
                continue;
            };
            let mut app = unversioned(record.app.clone());
            let left = app.instances().saturating_sub(tasks.len() as u64);
            app.0.insert("instances".to_owned(), left.into());
            update.specs.insert(id.clone(), Change::Put(app));
            update.kill.extend(tasks.iter().map(|task| task.spec.id.clone()));
        }
        self.change(update, kill.force).map(accepted)
    }

    /// Notes which tasks a deployment ends first.
    pub(super) fn name_tasks(&mut self, tasks: &BTreeSet<String>, deployment: &str) {
        if tasks.is_empty() {
            return;
        }
        for task in self.tasks.values_mut().flatten() {
            if tasks.contains(&task.spec.id) {
                task.name_for(deployment);
            }
        }
    }
}
