//! What is done about an app, and how far the actions of deployments came.

use super::{CHECK_INTERVAL, Engine};
use crate::marathon_local::decide::{self, Course, Decision, Goal};
use crate::marathon_local::state::{ActionKind, Deployment, StepAction};
use crate::marathon_local::task::TaskState;
use crate::model::AppId;

/// An action of a deployment as this leader carries it out.
#[derive(Debug)]
pub(super) struct InCourse {
    /// The deployment and its step.
    step: Option<(String, usize)>,
    course: Course,
    /// Whether nothing was left to do at some look: what happens to its tasks later is not the deployment's.
    done: bool,
}

impl InCourse {
    /// Whether tasks are replaced.
    pub(super) fn replaces(&self) -> bool {
        matches!(self.course, Course::Replace(_)) && !self.done
    }

    /// A task of the current version was given up.
    pub(super) fn lost_for_good(&mut self) {
        self.course.lost_for_good();
    }
}

impl Engine {
    /// Decides what is to be done about an app now, and does it.
    pub(super) fn look(&mut self, app: &AppId) {
        let (profile, record) = (self.context.installation.profile, self.state.apps.get(app));
        // Until a deployment comes to an app, it is as it was before: nothing where it is new.
        let waiting = self.before_its_turn(app);
        let definition = match waiting {
            Some(deployment) => deployment.originals.get(app).and_then(Option::as_ref),
            None => record.map(|r| &r.app),
        };
        let is_waiting = waiting.is_some();
        let goal = definition.map(|app| Goal::of(app, profile)).unwrap_or_default();
        let begun = self.state.deployments.iter().find_map(|d| Some((d, d.current_action(app)?)));
        let action = begun.map(|(_, action)| action).filter(|_| record.is_some());
        let version = match (record, action) {
            (None, _) => "",
            (Some(record), Some(ActionKind::ScaleApplication)) => record.app.version(),
            (Some(record), _) => record.last_config_change(),
        };
        let tasks = self.tasks.get(app).into_iter().flatten();
        let deployment = begun.map(|(deployment, _)| deployment.id.as_str());
        let tasks: Vec<_> = tasks.map(|task| task.view(version, deployment)).collect();
        let scheduled = self.withheld.get(app).map_or(0, |withheld| withheld.count);
        let course = || match action {
            Some(ActionKind::RestartApplication) => Some(Course::replace(&goal, &tasks)),
            Some(ActionKind::ScaleApplication) => Some(Course::scale(&goal, &tasks, scheduled)),
            Some(ActionKind::StopApplication) => Some(Course::Stop),
            Some(ActionKind::StartApplication) => None,
            None => record.is_none().then_some(Course::Stop),
        };
        let step = begun.map(|(deployment, _)| (deployment.id.clone(), deployment.current));
        let kept = self.courses.remove(app).filter(|kept| kept.step == step);
        let begins_to_replace = kept.is_none() && action == Some(ActionKind::RestartApplication);
        let was_done = kept.as_ref().is_some_and(|kept| kept.done);
        let mut course = kept.map(|kept| kept.course).or_else(course);
        let decision = match &mut course {
            Some(course) => course.next(&goal, &tasks),
            None if is_waiting => decide::wait(&goal, &tasks, scheduled),
            None => {
                let locked = self.state.deployments.iter().any(|deployment| deployment.affects(app));
                let decision = decide::steady(&goal, &tasks, !locked && self.to_check.contains(app));
                if !decision.done {
                    self.check_later(app);
                }
                decision
            }
        };
        self.to_check.remove(app);
        if let (Some(course), true) = (course, step.is_some()) {
            let done = was_done || decision.done;
            self.courses.insert(app.clone(), InCourse { step, course, done });
        }
        if begins_to_replace {
            self.forget_old_vacancies(app);
        }
        self.carry_out(app, &decision);
    }

    /// Leaves what an app has too much to the next check of all.
    fn check_later(&mut self, app: &AppId) {
        let now = self.context.clock.boot();
        if self.surplus.is_empty() && self.next_check <= now {
            let missed = now.saturating_sub(self.next_check).as_secs() / CHECK_INTERVAL.as_secs();
            self.next_check += CHECK_INTERVAL.saturating_mul(u32::try_from(missed).unwrap_or(u32::MAX) + 1);
        }
        self.surplus.insert(app.clone());
    }

    /// The deployment that will come to an app later.
    pub(super) fn before_its_turn(&self, app: &AppId) -> Option<&Deployment> {
        self.state.deployments.iter().find(|d| d.is_waiting(app))
    }

    fn carry_out(&mut self, app: &AppId, decision: &Decision) {
        let tasks = self.tasks.entry(app.clone()).or_default();
        for position in &decision.kill {
            if let Some(task) = tasks.get_mut(*position) {
                tracing::debug!(task = task.spec.id, "killing a task");
                task.sentence();
                // Of what cannot hear that, nothing will be told.
                if task.state == TaskState::Unreachable {
                    self.touched.insert(app.clone());
                }
            }
        }
        if tasks.is_empty() {
            self.tasks.remove(app);
        }
        self.launch(app, decision.launch);
    }

    /// Whether an action of the current step of a deployment is done.
    pub(super) fn is_done(&self, deployment: &Deployment, action: &StepAction) -> bool {
        let is_of = |course: &InCourse| {
            course.step.as_ref().is_some_and(|(id, step)| *id == deployment.id && *step == deployment.current)
        };
        let reached = || self.courses.get(&action.app).is_some_and(|course| is_of(course) && course.done);
        let done = action.action == ActionKind::StartApplication || reached();
        !self.context.faults.is_stuck(&action.app) && done
    }
}
