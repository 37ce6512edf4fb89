//! Tasks of whose agents nothing is heard.
//!
//! Source: `docs/docs/unreachable.md` and `core/task/jobs/impl/ExpungeOverdueLostTasksActor.scala` of mesosphere/marathon.
//! After a first time another task is started, after a second one the old one is given up; who comes back in between
//! is one too many and goes first.

use std::time::Duration;

use super::Engine;
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
                // Its place is taken.
                task.doomed = task.inactive;
                task.inactive = false;
            }
            _ => return,
        }
        let state = task.state.name();
        let message = if reachable { "" } else { "the agent cannot be reached" };
        if let Some(task) = self.tasks.get(app).and_then(|tasks| tasks.get(position)) {
            self.announce_task(task, state, message);
        }
    }

    /// The boot time at which something is due for an unreachable task.
    pub(super) fn next_given_up(&self) -> Option<Duration> {
        self.tasks.values().flatten().filter_map(due).min()
    }

    /// Starts others in the place of unreachable tasks and gives up those that are gone for too long.
    pub(super) fn give_up_unreachable(&mut self) {
        let now = self.context.clock.boot();
        for (app, tasks) in &mut self.tasks {
            let due: Vec<_> = tasks.iter().map(|task| due(task).is_some_and(|at| at <= now)).collect();
            if !due.contains(&true) {
                continue;
            }
            self.touched.insert(app.clone());
            let mut due = due.into_iter();
            tasks.retain_mut(|task| {
                if !due.next().unwrap_or(false) {
                    return true;
                }
                if !task.inactive {
                    task.inactive = true;
                    return true;
                }
                tracing::info!(task = task.spec.id, "an unreachable task is given up");
                self.given_up.insert(task.spec.id.clone(), (task.instance().to_owned(), app.clone()));
                // Dropping it kills it: should it come back, nobody wants it.
                false
            });
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
