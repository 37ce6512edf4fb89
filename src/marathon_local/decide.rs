//! What to do about the tasks of one app: how many to launch, which to kill, whether a deployment's action
//! is done. Pure, and without memory: it is asked again after every change.
//!
//! The rules of rolling replacement are those of `TaskReplaceActor.scala` of mesosphere/marathon: at least
//! `ceil(instances x minimumHealthCapacity)` tasks stay healthy, at most
//! `floor(instances x (1 + maximumOverCapacity))` exist. Where the two are equal nothing could ever move,
//! so one more may exist for a while, or, where tasks own volumes, one fewer need be healthy.

use super::definition::{self, UpgradeStrategy};
use crate::model::App;

/// What is to become of an app's tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// No deployment: keep their number, of whatever version they are.
    Steady,
    /// Reach the number of instances, of whatever version they are.
    Scale,
    /// Replace all that are not of the current version.
    Replace,
    /// End them all.
    Stop,
}

/// What the decision needs to know of the definition.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Goal {
    /// How many tasks there should be.
    pub instances: usize,
    /// How they may be replaced.
    pub strategy: UpgradeStrategy,
    /// Whether tasks own volumes, so that no more than `instances` can exist.
    pub resident: bool,
    /// Whether to kill the oldest first when there are too many.
    pub oldest_first: bool,
}

/// How far a task is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Nothing is heard of it, and it is waited for.
    Unreachable,
    /// Not running yet.
    Starting,
    /// Running, and not healthy (yet).
    Running,
    /// Running, and healthy where there are health checks.
    Healthy,
    /// Told to end, and not gone yet.
    Killing,
    /// Nothing is heard of it, and another one takes its place.
    Inactive,
}

/// What the decision needs to know of a task. Tasks are given in the order of their launch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TaskView {
    /// Whether it runs the current configuration.
    pub current: bool,
    /// How far it is.
    pub stage: Stage,
    /// Whether it goes first where there are too many.
    pub doomed: bool,
}

/// What is to be done now.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Decision {
    /// How many tasks to launch.
    pub launch: usize,
    /// Which tasks to kill, as positions in the list.
    pub kill: Vec<usize>,
    /// Whether nothing is left to do or to wait for.
    pub done: bool,
}

impl Goal {
    /// The goal that a definition states.
    pub fn of(app: &App) -> Self {
        Self {
            instances: usize::try_from(definition::instances(app)).unwrap_or(usize::MAX),
            strategy: definition::upgrade_strategy(app),
            resident: definition::is_resident(app),
            oldest_first: definition::kills_oldest_first(app),
        }
    }

    /// How many must stay healthy and how many may exist during a replacement.
    pub fn bounds(&self) -> (usize, usize) {
        let minimum = scaled(self.instances, self.strategy.minimum_health_capacity, f64::ceil);
        let maximum = scaled(self.instances, 1.0 + self.strategy.maximum_over_capacity, f64::floor);
        match (minimum == maximum, self.resident) {
            (true, true) => (minimum.saturating_sub(1), maximum),
            (true, false) => (minimum, maximum + 1),
            (false, _) => (minimum, maximum),
        }
    }
}

/// What to do now.
pub fn decide(phase: Phase, goal: &Goal, tasks: &[TaskView]) -> Decision {
    match phase {
        Phase::Stop => stop(tasks),
        Phase::Replace if goal.instances > 0 => replace(goal, tasks),
        Phase::Steady | Phase::Scale | Phase::Replace => scale(goal, tasks),
    }
}

fn stop(tasks: &[TaskView]) -> Decision {
    let left = tasks.iter().enumerate().filter(|(_, t)| t.stage != Stage::Killing);
    Decision { launch: 0, kill: left.map(|(i, _)| i).collect(), done: tasks.is_empty() }
}

fn scale(goal: &Goal, tasks: &[TaskView]) -> Decision {
    let mut victims: Vec<usize> = alive(tasks).collect();
    let surplus = victims.len().saturating_sub(goal.instances);
    let launch = goal.instances.saturating_sub(victims.len());
    order_of_killing(goal, tasks, &mut victims);
    victims.truncate(surplus);
    let healthy = tasks.iter().filter(|t| t.stage == Stage::Healthy).count();
    Decision {
        launch,
        kill: victims,
        done: healthy == goal.instances && present(tasks).count() == goal.instances,
    }
}

fn replace(goal: &Goal, tasks: &[TaskView]) -> Decision {
    let (minimum, maximum) = goal.bounds();
    let (mut new, mut old): (Vec<_>, Vec<_>) = alive(tasks).partition(|&i| is_current(tasks, i));
    let missing = goal.instances.saturating_sub(new.len());
    let launch = missing.min(maximum.saturating_sub(present(tasks).count()));
    // New ones too many: the number was lowered while they were started.
    order_of_killing(goal, tasks, &mut new);
    let mut kill: Vec<usize> = new.iter().copied().take(new.len().saturating_sub(goal.instances)).collect();
    // Old ones: those that serve nobody first, then as many as the minimum of healthy ones allows.
    order_of_killing(goal, tasks, &mut old);
    let healthy = alive(tasks).filter(|i| !kill.contains(i) && is_healthy(tasks, *i)).count();
    let mut spare = healthy.saturating_sub(minimum);
    for victim in old {
        if is_healthy(tasks, victim) {
            if spare == 0 {
                continue;
            }
            spare -= 1;
        }
        kill.push(victim);
    }
    let done = present(tasks).count() == goal.instances
        && present(tasks).all(|t| t.current && t.stage == Stage::Healthy);
    Decision { launch, kill, done }
}

/// Those that were named first, then those that are not healthy; among equals by the app's selection.
fn order_of_killing(goal: &Goal, tasks: &[TaskView], victims: &mut [usize]) {
    if !goal.oldest_first {
        victims.reverse();
    }
    victims.sort_by_key(|&i| tasks.get(i).map(|t| (!t.doomed, t.stage)));
}

/// The positions of the tasks that have not been told to end.
fn alive(tasks: &[TaskView]) -> impl Iterator<Item = usize> {
    let gone = |stage: Stage| matches!(stage, Stage::Killing | Stage::Inactive);
    tasks.iter().enumerate().filter(move |(_, t)| !gone(t.stage)).map(|(i, _)| i)
}

/// The tasks that take up a place.
fn present(tasks: &[TaskView]) -> impl Iterator<Item = &TaskView> {
    tasks.iter().filter(|t| t.stage != Stage::Inactive)
}

fn is_current(tasks: &[TaskView], index: usize) -> bool {
    tasks.get(index).is_some_and(|t| t.current)
}

fn is_healthy(tasks: &[TaskView], index: usize) -> bool {
    tasks.get(index).is_some_and(|t| t.stage == Stage::Healthy)
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a number of instances times a factor from 0 to 2; Marathon computes it in doubles as well"
)]
fn scaled(instances: usize, factor: f64, round: fn(f64) -> f64) -> usize {
    round(instances as f64 * factor) as usize
}

#[cfg(test)]
mod tests;
