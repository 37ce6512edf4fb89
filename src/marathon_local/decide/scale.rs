//! Reaching the number of tasks of an app.
//!
//! The rules are those of `DeploymentActor.scala`, `ScalingProposition.scala` and `TaskStartActor.scala` of
//! mesosphere/marathon: what is too many ends first; then what is missing is launched, and only that has to become
//! healthy and ready. How the others are does not matter.

use std::collections::BTreeSet;

use super::{Decision, Goal, Standing, TaskView, counted, ending, order_of_killing};

/// How far it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scaling {
    /// Those that are to go and have not ended.
    victims: BTreeSet<String>,
    /// How many places there are without them.
    kept: usize,
    /// How many tasks this brings.
    brings: usize,
}

impl Scaling {
    /// Chooses those that go.
    ///
    /// Launches that are due have a place like a task, and are the last to lose it.
    pub(super) fn begin(goal: &Goal, tasks: &[TaskView<'_>], scheduled: usize) -> Self {
        let mut victims = counted(tasks);
        let is_named = |i: &&usize| tasks.get(**i).is_some_and(|task| task.standing == Standing::Named);
        let named = victims.iter().filter(is_named).count();
        let places = victims.len() + scheduled;
        let surplus = places.saturating_sub(goal.instances).max(named);
        order_of_killing(goal, tasks, &mut victims);
        victims.truncate(surplus);
        let kept = places - surplus;
        Self {
            victims: victims.iter().filter_map(|&i| Some(tasks.get(i)?.id.to_owned())).collect(),
            kept,
            brings: goal.instances.saturating_sub(kept + ending(goal, tasks)),
        }
    }

    pub(super) fn next(&mut self, goal: &Goal, tasks: &[TaskView<'_>]) -> Decision {
        self.victims.retain(|victim| tasks.iter().any(|task| task.id == victim && !task.is_given_up()));
        let kill = tasks.iter().enumerate();
        let kill = kill.filter(|(_, task)| !task.is_sentenced() && self.victims.contains(task.id));
        let kill: Vec<_> = kill.map(|(i, _)| i).collect();
        let stays = |task: &&TaskView<'_>| task.is_counted() && !self.victims.contains(task.id);
        let staying = tasks.iter().filter(stays).count();
        // What ended before this began is not waited for, but launched for only when it is gone.
        let places = if self.victims.is_empty() {
            goal.instances.saturating_sub(ending(goal, tasks))
        } else {
            self.kept
        };
        let passed = tasks.iter().filter(|task| task.current && task.passed && task.is_counted()).count();
        Decision {
            launch: places.saturating_sub(staying),
            kill,
            done: self.victims.is_empty() && passed >= self.brings,
        }
    }
}
