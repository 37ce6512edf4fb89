//! Replacing the tasks of an app by those of another version.
//!
//! The rules are those of `TaskReplaceActor.scala` and `ReadinessBehavior.scala` of mesosphere/marathon. At first as
//! many old tasks go as `ceil(instances x minimumHealthCapacity)` leaves to spare; then one goes for each new task
//! that becomes healthy and ready; at most `floor(instances x (1 + maximumOverCapacity))` exist. Where the two are
//! equal nothing could ever move, so one more may exist, or, where tasks own volumes, one more goes at first.
//!
//! Since 1.10 only what Mesos says of an old task's health counts in that. An app whose checks Marathon makes itself
//! has none that it calls healthy: nothing goes at first, and with no room beside the old ones nothing ever moves.

use std::collections::{BTreeSet, VecDeque};

use super::{Decision, Goal, Stage, TaskView};

/// How far it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replacement {
    /// How many tasks may exist.
    maximum: usize,
    /// Old tasks in the order in which they go.
    queue: VecDeque<String>,
    /// How many of them may go now.
    due: usize,
    /// Old tasks that have not ended.
    old: BTreeSet<String>,
    /// Old tasks of which nothing was heard from the beginning: they go in their turn.
    lost: BTreeSet<String>,
    /// New tasks that were healthy and ready, and have not ended.
    passed: BTreeSet<String>,
    /// New tasks that were given up. Since 1.8 nothing takes their place.
    given_up: usize,
}

/// How a replacement begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Start {
    /// How many old tasks go at once.
    kill: usize,
    /// How many tasks may exist.
    maximum: usize,
}

impl Start {
    /// * `healthy` - how many tasks are called healthy
    /// * `present` - how many there are
    fn new(goal: &Goal, healthy: usize, present: usize) -> Self {
        let minimum = scaled(goal.instances, goal.strategy.minimum_health_capacity, f64::ceil);
        let mut maximum = scaled(goal.instances, 1.0 + goal.strategy.maximum_over_capacity, f64::floor);
        let mut kill = healthy.saturating_sub(minimum);
        if minimum == maximum && maximum <= healthy {
            if goal.resident {
                kill += 1;
            } else {
                maximum += 1;
            }
        }
        if goal.profile.heeds_health() {
            kill = kill.max(present.saturating_sub(goal.instances));
        }
        Self { kill, maximum }
    }
}

impl Replacement {
    pub(super) fn begin(goal: &Goal, tasks: &[TaskView<'_>]) -> Self {
        let outlives = goal.profile.instances_outlive_tasks();
        let is_found = |t: &&TaskView<'_>| !t.is_sentenced() && (outlives || t.stage != Stage::Inactive);
        let found = || tasks.iter().filter(is_found);
        let healthy = found().filter(|task| !goal.profile.heeds_health() || task.healthy).count();
        let start = Start::new(goal, healthy, tasks.len());
        let mut old: Vec<_> = found().filter(|task| !task.current).collect();
        if goal.profile.heeds_health() {
            old.sort_by_key(|task| task.healthy);
        }
        let passes = |task: &&TaskView<'_>| task.current && (goal.unchecked || task.passed);
        let id = |task: &TaskView<'_>| task.id.to_owned();
        Self {
            maximum: start.maximum,
            queue: old.iter().map(|task| id(task)).collect(),
            due: start.kill,
            old: old.iter().map(|task| id(task)).collect(),
            lost: old.iter().filter(|task| task.is_lost()).map(|task| id(task)).collect(),
            passed: found().filter(passes).map(id).collect(),
            given_up: 0,
        }
    }

    /// A new task was given up.
    pub(super) fn lost_for_good(&mut self) {
        self.given_up += 1;
    }

    pub(super) fn next(&mut self, goal: &Goal, tasks: &[TaskView<'_>]) -> Decision {
        // Nothing is to run, so that there is nothing to replace.
        if goal.instances == 0 {
            return Decision { done: true, ..super::steady(goal, tasks, true) };
        }
        let mut kill = self.give_up_lost(tasks);
        self.count_passed(tasks);
        while self.due > 0 {
            self.due -= 1;
            // One that has ended meanwhile was due all the same.
            let Some(id) = self.queue.pop_front() else { continue };
            let there = self.old.contains(&id).then_some(id);
            kill.extend(
                tasks.iter().position(|task| there.as_deref() == Some(task.id) && !task.is_sentenced()),
            );
        }
        let started = if goal.profile.instances_outlive_tasks() {
            let is_started = |task: &&TaskView<'_>| task.current && !task.is_sentenced();
            tasks.iter().filter(is_started).count() + self.given_up
        } else {
            tasks.iter().filter(|task| task.current && !task.is_sentenced() && !task.is_lost()).count()
        };
        let room = goal.instances.min(self.maximum.saturating_sub(self.old.len()));
        Decision {
            launch: room.saturating_sub(started),
            kill,
            done: self.old.is_empty() && self.passed.len() >= goal.instances,
        }
    }

    /// Forgets old tasks that have ended, or of which nothing is heard any more. Where those are that have not been told
    /// to end.
    fn give_up_lost(&mut self, tasks: &[TaskView<'_>]) -> Vec<usize> {
        self.lost.retain(|id| tasks.iter().any(|task| task.id == id && task.is_lost()));
        let is_news = |task: &TaskView<'_>| task.is_lost() && !self.lost.contains(task.id);
        let given_up = |(_, task): &(usize, &TaskView<'_>)| {
            !task.is_sentenced() && is_news(task) && self.old.contains(task.id)
        };
        let kill = tasks.iter().enumerate().filter(given_up).map(|(i, _)| i).collect();
        let is_over = |task: &TaskView<'_>| is_news(task) || task.is_given_up();
        self.old.retain(|id| tasks.iter().any(|task| task.id == id && !is_over(task)));
        kill
    }

    /// Lets an old task go for each new one that is good now and was not before.
    fn count_passed(&mut self, tasks: &[TaskView<'_>]) {
        let is_gone = |task: &TaskView<'_>| task.is_sentenced() || task.is_lost();
        self.passed.retain(|id| tasks.iter().any(|task| task.id == id && !is_gone(task)));
        for task in tasks.iter().filter(|task| task.current && task.passed && !is_gone(task)) {
            if self.passed.insert(task.id.to_owned()) {
                self.due += 1;
            }
        }
    }
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
