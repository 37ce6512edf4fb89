//! Instances whose task has ended.
//!
//! Since 1.8 an instance outlives its tasks as long as nobody decides that it goes: the next task has its id and its
//! definition, also when another one is in force by then, and until it is launched the last one stays listed.
//!
//! Source: `core/instance/Instance.scala` (`isScheduled`), `core/launcher/impl/InstanceOpFactoryImpl.scala` and
//! `raml/TaskConversion.scala` of mesosphere/marathon.

use std::sync::Arc;

use serde_json::Value;

use super::{Engine, InCourse, view};
use crate::marathon_local::executor::{TaskEnd, TaskSpec};
use crate::marathon_local::profile::Profile;
use crate::marathon_local::task::{Task, TaskState};
use crate::model::AppId;

/// An instance that waits for its next task.
#[derive(Debug, Clone)]
pub(super) struct Vacancy {
    /// The task that ended.
    pub(super) last: Arc<TaskSpec>,
    state: &'static str,
}

impl Vacancy {
    /// The id of its next task.
    pub(super) fn next_id(&self) -> String {
        let (instance, number) = self.last.id.rsplit_once('.').unwrap_or((&self.last.id, "0"));
        format!("{instance}.{}", number.parse::<u64>().unwrap_or_default().saturating_add(1))
    }

    /// The task that ended, as it is shown.
    pub(super) fn json(&self, profile: Profile) -> Value {
        view::ended_json(&self.last, self.state, profile)
    }
}

impl Engine {
    /// A task has ended whose place another one is to take.
    pub(super) fn vacate(&mut self, task: &Task, end: &TaskEnd) {
        let app = &task.spec.app_id;
        let Some(record) = self.state.apps.get(app) else { return };
        // An old task that ends while it is to be replaced is not launched again.
        let is_replaced = self.courses.get(app).is_some_and(InCourse::replaces)
            && !task.is_since(record.last_config_change());
        let keeps = self.context.installation.profile.instances_outlive_tasks() && !task.is_sentenced();
        if keeps && !is_replaced {
            let state = match end {
                _ if task.state == TaskState::Killing => "TASK_KILLED",
                TaskEnd::Killed(_) => "TASK_KILLED",
                TaskEnd::Failed(_) => "TASK_FAILED",
                TaskEnd::Finished(_) => "TASK_FINISHED",
            };
            let vacancy = Vacancy { last: Arc::clone(&task.spec), state };
            self.vacant.entry(app.clone()).or_default().push(vacancy);
        }
    }

    /// Forgets instances for which no launch is due any more.
    pub(super) fn keep_vacant(&mut self, app: &AppId, launches: usize) {
        if let Some(vacant) = self.vacant.get_mut(app) {
            vacant.truncate(launches);
            if vacant.is_empty() {
                self.vacant.remove(app);
            }
        }
    }

    /// A replacement begins: instances of older versions wait for nothing any more.
    pub(super) fn forget_old_vacancies(&mut self, app: &AppId) {
        let since = self.state.apps.get(app).map(|record| record.last_config_change().to_owned());
        if let (Some(since), Some(vacant)) = (since, self.vacant.get_mut(app)) {
            vacant.retain(|vacancy| *vacancy.last.app.version() >= *since);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::App;

    #[test]
    fn tasks_of_one_instance_are_numbered() {
        let named = |id: &str| {
            let (app_id, app) = (AppId::new("/a").unwrap(), App::default());
            let last =
                TaskSpec { id: id.to_owned(), app_id, app, host: [127, 0, 0, 1].into(), ports: Vec::new() };
            Vacancy { last: Arc::new(last), state: "TASK_FAILED" }.next_id()
        };
        assert_eq!(named("a.instance-1._app.1"), "a.instance-1._app.2");
        assert_eq!(named("a.instance-1._app.9"), "a.instance-1._app.10");
    }
}
