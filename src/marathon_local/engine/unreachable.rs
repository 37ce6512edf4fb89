//! Tasks of whose agents nothing is heard.
//!
//! Source: `docs/docs/unreachable.md` and `core/task/jobs/impl/ExpungeOverdueLostTasksActor.scala` of mesosphere/marathon.
//! After a first time another task is started, after a second one the old one is given up; when it comes back in between
//! there is one too many.

use std::time::Duration;

use super::{Engine, view};
use crate::marathon_local::definition;
use crate::marathon_local::refusal::Refusal;
use crate::marathon_local::task::{Task, TaskState};
use crate::model::AppId;

/// How often Marathon looks for tasks to give up (`task_lost_expunge_interval`).
const LOOK_INTERVAL: Duration = Duration::from_secs(30);

impl Engine {
    /// Nothing is heard of a task any more, or something is again.
    pub(super) fn set_reachable(&mut self, task: &str, reachable: bool) -> Result<(), Refusal> {
        let found = self
            .tasks
            .iter()
            .find_map(|(app, tasks)| Some((app.clone(), tasks.iter().position(|t| t.spec.id == task)?)));
        let Some((app, position)) = found else { return Err(Refusal::NoTask(task.to_owned())) };
        self.reachability(&app, position, reachable);
        self.touched.insert(app);
        Ok(())
    }

    pub(super) fn reachability(&mut self, app: &AppId, position: usize, reachable: bool) {
        let now = self.context.clock.boot();
        let Some(task) = self.tasks.get_mut(app).and_then(|tasks| tasks.get_mut(position)) else { return };
        match (task.state, reachable) {
            (TaskState::Running, false) => {
                task.state = TaskState::Unreachable;
                task.unreachable_since = Some(now);
                task.inactive = strategy(task).is_some_and(|s| s.inactive_after.is_zero());
            }
            (TaskState::Unreachable, true) => {
                task.state = TaskState::Running;
                task.unreachable_since = None;
                task.inactive = false;
            }
            _ => return,
        }
        task.note_health();
        let at_once = !reachable && strategy(task).is_some_and(|s| s.expunge_after.is_zero());
        let state = task.state.name();
        let message = if reachable { "" } else { view::LOST };
        if let Some(task) = self.tasks.get(app).and_then(|tasks| tasks.get(position)) {
            self.announce_task(task, state, message);
        }
        let returned = self.tasks.get_mut(app).and_then(|tasks| tasks.get_mut(position));
        if let Some(task) = returned.filter(|task| task.is_sentenced()) {
            task.sentence();
        }
        // Who is given up with the first word of it is not listed any more (`InstanceUpdater.scala`).
        if at_once && let Some(tasks) = self.tasks.get_mut(app) {
            let task = tasks.remove(position);
            self.tasks.retain(|_, tasks| !tasks.is_empty());
            self.give_up(&task);
        }
    }

    /// Notes who is given up, so that its end can be told.
    fn give_up(&mut self, task: &Task) {
        tracing::info!(task = task.spec.id, "an unreachable task is given up");
        let (instance, app) = (task.instance().to_owned(), task.spec.app_id.clone());
        let current = self.state.apps.get(&app).is_some_and(|r| task.is_since(r.last_config_change()));
        if let Some(course) = self.courses.get_mut(&app).filter(|_| current) {
            course.lost_for_good();
        }
        self.to_check.insert(app.clone());
        self.given_up.insert(task.spec.id.clone(), (instance, app));
    }

    /// The boot time at which something is due for an unreachable task.
    pub(super) fn next_given_up(&self) -> Option<Duration> {
        self.tasks.values().flatten().filter_map(due).min()
    }

    /// Starts others in the place of unreachable tasks and gives up those that are gone for too long.
    pub(super) fn give_up_unreachable(&mut self) {
        let now = self.context.clock.boot();
        let is_due = |task: &Task| due(task).is_some_and(|at| at <= now);
        let mut gone = Vec::new();
        for (app, tasks) in &mut self.tasks {
            if !tasks.iter().any(is_due) {
                continue;
            }
            self.touched.insert(app.clone());
            self.to_check.insert(app.clone());
            gone.extend(tasks.extract_if(.., |task| is_due(task) && task.inactive));
            for task in tasks.iter_mut().filter(|task| is_due(task)) {
                task.inactive = true;
            }
        }
        // Dropping them kills them: should they come back, nobody wants them.
        for task in gone {
            self.announce_condition(&task, "Killed");
            self.give_up(&task);
        }
        self.tasks.retain(|_, tasks| !tasks.is_empty());
    }
}

fn strategy(task: &Task) -> Option<definition::UnreachableStrategy> {
    definition::unreachable_strategy(&task.spec.app)
}

/// When something is due for a task: another one in its place, or its end.
fn due(task: &Task) -> Option<Duration> {
    let (since, strategy) = (task.unreachable_since?, strategy(task)?);
    let after =
        if task.inactive { strategy.expunge_after.max(LOOK_INTERVAL) } else { strategy.inactive_after };
    Some(since + after)
}
