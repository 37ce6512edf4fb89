//! What is done about an app, and how far the actions of deployments came.

use super::{CHECK_INTERVAL, Engine};
use crate::marathon_local::decide::{self, Course, Decision, Goal, TaskView};
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

/// What an app is to come to now.
struct Aim {
    goal: Goal,
    /// What a deployment does to it at this moment.
    action: Option<ActionKind>,
    /// By which deployment, and in which step.
    step: Option<(String, usize)>,
    /// Since which version tasks are current; all are where it is empty.
    version: String,
    /// Whether a deployment will come to it later.
    is_waiting: bool,
    /// Whether there is no such app any more.
    is_gone: bool,
}

impl Aim {
    /// What begins with this look; none where no deployment acts on what is there.
    fn begin(&self, tasks: &[TaskView<'_>], scheduled: usize) -> Option<Course> {
        match self.action {
            _ if self.is_gone => Some(Course::Stop),
            Some(ActionKind::RestartApplication) => Some(Course::replace(&self.goal, tasks)),
            Some(ActionKind::ScaleApplication) => Some(Course::scale(&self.goal, tasks, scheduled)),
            Some(ActionKind::StopApplication) => Some(Course::Stop),
            Some(ActionKind::StartApplication) | None => None,
        }
    }
}

impl Engine {
    /// Decides what is to be done about an app now, and does it.
    pub(super) fn look(&mut self, app: &AppId) {
        let aim = self.aim(app);
        let deployment = aim.step.as_ref().map(|(id, _)| id.as_str());
        let tasks = self.tasks.get(app).into_iter().flatten();
        let tasks: Vec<_> = tasks.map(|task| task.view(&aim.version, deployment)).collect();
        let scheduled = self.withheld.get(app).map_or(0, |withheld| withheld.count);
        let kept = self.courses.remove(app).filter(|kept| kept.step == aim.step);
        let begins_to_replace = kept.is_none() && aim.action == Some(ActionKind::RestartApplication);
        let was_done = kept.as_ref().is_some_and(|kept| kept.done);
        let mut course = kept.map(|kept| kept.course).or_else(|| aim.begin(&tasks, scheduled));
        let is_to_check = self.to_check.remove(app);
        let decision = match &mut course {
            Some(course) => course.next(&aim.goal, &tasks),
            None if aim.is_waiting => decide::wait(&aim.goal, &tasks, scheduled),
            None => {
                let locked = self.state.deployments.iter().any(|deployment| deployment.affects(app));
                decide::steady(&aim.goal, &tasks, is_to_check && !locked)
            }
        };
        match (course, aim.step) {
            (Some(course), step @ Some(_)) => {
                let done = was_done || decision.done;
                self.courses.insert(app.clone(), InCourse { step, course, done });
            }
            (None, _) if !decision.done => self.check_later(app),
            _ => {}
        }
        if begins_to_replace {
            self.forget_old_vacancies(app);
        }
        self.carry_out(app, &decision);
    }

    fn aim(&self, app: &AppId) -> Aim {
        let record = self.state.apps.get(app);
        // Until a deployment comes to an app, it is as it was before: nothing where it is new.
        let waiting = self.before_its_turn(app);
        let definition = match waiting {
            Some(deployment) => deployment.originals.get(app).and_then(Option::as_ref),
            None => record.map(|r| &r.app),
        };
        let profile = self.context.installation.profile;
        let begun = self.state.deployments.iter().find_map(|d| Some((d, d.current_action(app)?)));
        let action = begun.map(|(_, action)| action).filter(|_| record.is_some());
        let version = record.map(|record| match action {
            Some(ActionKind::ScaleApplication) => record.app.version(),
            _ => record.last_config_change(),
        });
        Aim {
            goal: definition.map(|app| Goal::of(app, profile)).unwrap_or_default(),
            action,
            step: begun.map(|(deployment, _)| (deployment.id.clone(), deployment.current)),
            version: version.unwrap_or_default().to_owned(),
            is_waiting: waiting.is_some(),
            is_gone: record.is_none(),
        }
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
