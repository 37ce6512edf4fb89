//! What to do about the tasks of one app: how many to launch, which to kill, whether a deployment's action
//! is done. Pure.
//!
//! An action remembers how it began and how far it came ([`Course`]), as the actors of mesosphere/marathon do, and as
//! there that is forgotten when another one leads. Without a deployment there is nothing to remember: only the number
//! of tasks is kept.

mod replace;
mod scale;

use replace::Replacement;
use scale::Scaling;

use super::definition::{self, KillSelection, UpgradeStrategy};
use super::profile::Profile;
use crate::model::App;

/// What the decision needs to know of the definition.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Goal {
    /// How many tasks there should be.
    pub instances: usize,
    /// How they may be replaced.
    pub strategy: UpgradeStrategy,
    /// Whether tasks own volumes, so that no more than `instances` can exist.
    pub resident: bool,
    /// Which go first when there are too many.
    pub select: KillSelection,
    /// Whether nothing but that they run is asked of tasks.
    pub unchecked: bool,
    /// The version of Marathon.
    pub profile: Profile,
}

/// How far a task is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Nothing is heard of it, and it is waited for.
    Unreachable,
    /// Its files are fetched.
    Staging,
    /// Its program starts.
    Starting,
    /// Running.
    Running,
    /// Told to end, and not gone yet.
    Killing,
    /// Nothing is heard of it, and another one takes its place.
    Inactive,
}

/// What the decision needs to know of a task. Tasks are given in the order of their launch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TaskView<'a> {
    /// Its id.
    pub id: &'a str,
    /// Whether it belongs to the version in force: a replacement asks for its configuration, scaling for all of it.
    pub current: bool,
    /// How far it is.
    pub stage: Stage,
    /// Whether it once was healthy and ready, as far as that is asked for.
    pub passed: bool,
    /// Whether Mesos says that it is healthy, or nothing is asked of it.
    pub healthy: bool,
    /// Whether it is to stay.
    pub standing: Standing,
}

/// Whether a task is to stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// It goes first where there are too many: somebody named it.
    Named,
    /// It stays; should it end, another one takes its place.
    Stays,
    /// It was told to end, and nobody takes its place.
    Sentenced,
}

/// What is to be done now.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Decision {
    /// How many tasks to launch.
    pub launch: usize,
    /// Which tasks to kill so that nobody takes their place, as positions in the list.
    pub kill: Vec<usize>,
    /// Whether nothing is left to do or to wait for.
    pub done: bool,
}

/// What an action of a deployment does to the tasks of an app, and how far it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Course {
    /// The number of tasks is reached.
    Scale(Scaling),
    /// All that are not of the current version are replaced.
    Replace(Replacement),
    /// All end.
    Stop,
}

impl Goal {
    /// The goal that a definition states.
    pub fn of(app: &App, profile: Profile) -> Self {
        Self {
            instances: usize::try_from(definition::instances(app)).unwrap_or(usize::MAX),
            strategy: definition::upgrade_strategy(app),
            resident: definition::is_resident(app),
            select: definition::kill_selection(app),
            unchecked: !definition::has_checks(app),
            profile,
        }
    }
}

impl TaskView<'_> {
    /// Whether it has its place among the instances: another one takes it only when it has ended.
    fn is_counted(&self) -> bool {
        !self.is_sentenced() && self.stage != Stage::Inactive
    }

    fn is_sentenced(&self) -> bool {
        self.standing == Standing::Sentenced
    }

    fn is_lost(&self) -> bool {
        matches!(self.stage, Stage::Unreachable | Stage::Inactive)
    }

    /// Whether nothing is to be waited for: it was told to end and cannot hear it.
    fn is_given_up(&self) -> bool {
        self.is_sentenced() && self.is_lost()
    }
}

impl Course {
    /// Begins to reach the number.
    ///
    /// * `scheduled` - how many launches are due already
    pub fn scale(goal: &Goal, tasks: &[TaskView<'_>], scheduled: usize) -> Self {
        Self::Scale(Scaling::begin(goal, tasks, scheduled))
    }

    /// Begins to replace.
    pub fn replace(goal: &Goal, tasks: &[TaskView<'_>]) -> Self {
        Self::Replace(Replacement::begin(goal, tasks))
    }

    /// A task of the current version was given up.
    pub fn lost_for_good(&mut self) {
        if let Self::Replace(replacement) = self {
            replacement.lost_for_good();
        }
    }

    /// What to do now.
    pub fn next(&mut self, goal: &Goal, tasks: &[TaskView<'_>]) -> Decision {
        match self {
            Self::Scale(scaling) => scaling.next(goal, tasks),
            Self::Replace(replacement) => replacement.next(goal, tasks),
            Self::Stop => stop(tasks),
        }
    }
}

/// What to do about an app that no deployment is at: its number is kept, of whatever version they are. Those that end
/// have their places until they have ended, and what is too many stays until it is looked for; that is then not done.
///
/// * `check` - whether the number is looked at by itself (`SchedulerActions.scale` of mesosphere/marathon)
pub fn steady(goal: &Goal, tasks: &[TaskView<'_>], check: bool) -> Decision {
    let mut victims = counted(tasks);
    let ending = if check { 0 } else { ending(goal, tasks) };
    let launch = goal.instances.saturating_sub(victims.len() + ending);
    let surplus = victims.len().saturating_sub(goal.instances);
    let is_right = surplus == 0 && victims.len() + launch >= goal.instances;
    order_of_killing(goal, tasks, &mut victims);
    victims.truncate(if check { surplus } else { 0 });
    Decision { launch, kill: victims, done: check || is_right }
}

/// What to do about an app that a deployment holds and has not come to: what is there stays, and what is due is launched.
///
/// * `scheduled` - how many launches are due already
pub fn wait(goal: &Goal, tasks: &[TaskView<'_>], scheduled: usize) -> Decision {
    let launch = goal.instances.saturating_sub(counted(tasks).len()).max(scheduled);
    Decision { launch, kill: Vec::new(), done: true }
}

/// What to do about an app that is gone.
pub fn stop(tasks: &[TaskView<'_>]) -> Decision {
    let left = tasks.iter().enumerate().filter(|(_, task)| !task.is_sentenced());
    let done = tasks.iter().all(TaskView::is_given_up);
    Decision { launch: 0, kill: left.map(|(i, _)| i).collect(), done }
}

/// How many tasks end for good; since 1.8 they have a place until they have ended (`TaskStartActor.scala`).
fn ending(goal: &Goal, tasks: &[TaskView<'_>]) -> usize {
    let ending = tasks.iter().filter(|task| task.is_sentenced() && task.stage != Stage::Inactive).count();
    if goal.profile.instances_outlive_tasks() { ending } else { 0 }
}

/// The positions of the tasks that have a place.
fn counted(tasks: &[TaskView<'_>]) -> Vec<usize> {
    let counted = tasks.iter().enumerate().filter(|(_, task)| task.is_counted());
    counted.map(|(i, _)| i).collect()
}

/// Those that were named first, then by how far they are, among equals by the app's selection; their health does not
/// matter (`ScalingProposition.scala` of mesosphere/marathon).
fn order_of_killing(goal: &Goal, tasks: &[TaskView<'_>], victims: &mut [usize]) {
    if goal.select == KillSelection::YoungestFirst {
        victims.reverse();
    }
    victims.sort_by_key(|&i| tasks.get(i).map(|task| (task.standing, task.stage)));
}

#[cfg(test)]
mod tests;
