//! What is done without a deployment, and by scaling.

use super::*;

pub(super) fn goal(instances: usize, minimum: f64, over: f64) -> Goal {
    let strategy = UpgradeStrategy { minimum_health_capacity: minimum, maximum_over_capacity: over };
    Goal { instances, strategy, ..Goal::default() }
}

/// A task of the old version that runs and is healthy.
pub(super) fn old(id: &str) -> TaskView<'_> {
    TaskView {
        id,
        current: false,
        stage: Stage::Running,
        passed: true,
        healthy: true,
        standing: Standing::Stays,
    }
}

/// A task of the current version that is being prepared.
pub(super) fn new(id: &str) -> TaskView<'_> {
    TaskView { current: true, stage: Stage::Staging, passed: false, healthy: false, ..old(id) }
}

/// The task, told to end for good.
pub(super) fn told_to_end(task: TaskView<'_>) -> TaskView<'_> {
    TaskView { stage: Stage::Killing, standing: Standing::Sentenced, ..task }
}

/// The task, being there and good.
pub(super) fn good(task: TaskView<'_>) -> TaskView<'_> {
    TaskView { stage: Stage::Running, passed: true, healthy: true, ..task }
}

#[test]
fn without_a_deployment_the_number_is_kept() {
    let goal = goal(2, 1.0, 1.0);
    let decision = steady(&goal, &[old("a"), good(new("b"))], false);
    assert_eq!(decision, Decision { launch: 0, kill: vec![], done: true });
    assert_eq!(steady(&goal, &[old("a")], false).launch, 1);
    // Whoever ends for good keeps its place until it has ended, unless somebody counts.
    assert_eq!(steady(&goal, &[old("a"), told_to_end(old("b"))], false).launch, 0);
    assert_eq!(steady(&goal, &[old("a"), told_to_end(old("b"))], true).launch, 1);
    let before = Goal { profile: Profile::V1_7, ..goal };
    assert_eq!(steady(&before, &[old("a"), told_to_end(old("b"))], false).launch, 1);
}

#[test]
fn what_is_too_many_goes_when_somebody_counts() {
    let tasks = [old("a"), old("b")];
    let later = steady(&goal(1, 1.0, 1.0), &tasks, false);
    assert_eq!(later, Decision { launch: 0, kill: vec![], done: false });
    let counted = steady(&goal(1, 1.0, 1.0), &tasks, true);
    assert_eq!(counted, Decision { launch: 0, kill: vec![1], done: true });
}

#[test]
fn another_task_takes_a_place_when_the_one_before_has_ended() {
    // Killed by a person or for its health, not by a deployment.
    let launches = |task: TaskView<'_>| steady(&goal(1, 1.0, 1.0), &[task], false).launch;
    assert_eq!(launches(TaskView { stage: Stage::Killing, ..old("a") }), 0);
    assert_eq!(launches(TaskView { stage: Stage::Inactive, ..old("a") }), 1);
    assert_eq!(launches(TaskView { stage: Stage::Unreachable, ..old("a") }), 0);
}

#[test]
fn before_its_turn_nothing_ends_and_what_is_due_stays_due() {
    assert_eq!(
        wait(&goal(1, 1.0, 1.0), &[old("a"), old("b")], 0),
        Decision { done: true, ..Decision::default() }
    );
    assert_eq!(wait(&goal(2, 1.0, 1.0), &[old("a")], 0).launch, 1);
    assert_eq!(wait(&Goal::default(), &[], 2).launch, 2);
}

#[test]
fn stopping_is_done_when_nobody_is_left() {
    assert_eq!(stop(&[old("a"), told_to_end(old("b"))]).kill, [0]);
    assert!(!stop(&[told_to_end(old("b"))]).done);
    assert!(stop(&[]).done);
    // Killed for its health before, and not to come back now.
    assert_eq!(stop(&[TaskView { stage: Stage::Killing, ..old("a") }]).kill, [0]);
}

#[test]
fn scaling_up_waits_for_what_it_brings_and_for_nothing_else() {
    let sick = TaskView { passed: false, healthy: false, ..old("sick") };
    let goal = goal(2, 1.0, 1.0);
    let mut course = Course::scale(&goal, &[sick], 0);
    assert_eq!(course.next(&goal, &[sick]), Decision { launch: 1, kill: vec![], done: false });
    assert!(!course.next(&goal, &[sick, new("b")]).done);
    assert!(course.next(&goal, &[sick, good(new("b"))]).done);
    // It was good once: later it may be as it likes.
    let later = TaskView { healthy: false, ..good(new("b")) };
    assert!(course.next(&goal, &[sick, later]).done);
    // The old one gets well: that is not what is waited for.
    assert!(!course.next(&goal, &[old("sick"), new("b")]).done);
}

#[test]
fn launches_that_are_due_are_not_waited_for() {
    let goal = goal(3, 1.0, 1.0);
    let mut course = Course::scale(&goal, &[old("a")], 1);
    assert_eq!(course.next(&goal, &[old("a")]).launch, 2);
    assert!(course.next(&goal, &[old("a"), good(new("b"))]).done);
    // A new leader finds all of them due.
    assert!(Course::scale(&goal, &[], 3).next(&goal, &[]).done);
}

#[test]
fn scaling_down_ends_what_is_too_many_before_it_is_done() {
    let goal = goal(1, 1.0, 1.0);
    let mut course = Course::scale(&goal, &[old("a"), old("b")], 0);
    assert_eq!(course.next(&goal, &[old("a"), old("b")]).kill, [1]);
    let ending = course.next(&goal, &[old("a"), told_to_end(old("b"))]);
    assert_eq!(ending, Decision { launch: 0, kill: vec![], done: false });
    assert!(course.next(&goal, &[old("a")]).done);
    // The one that stays may fail meanwhile; it gets its place again.
    assert_eq!(course.next(&goal, &[]), Decision { launch: 1, kill: vec![], done: true });
}

#[test]
fn who_is_not_up_goes_first_and_health_does_not_matter() {
    let kills = |goal: Goal, tasks: &[TaskView<'_>]| Course::scale(&goal, tasks, 0).next(&goal, tasks).kill;
    let sick = TaskView { passed: false, healthy: false, ..old("b") };
    assert_eq!(kills(goal(2, 1.0, 1.0), &[old("a"), sick, old("c")]), [2], "the youngest");
    let oldest = Goal { select: KillSelection::OldestFirst, ..goal(2, 1.0, 1.0) };
    assert_eq!(kills(oldest, &[old("a"), sick, old("c")]), [0], "the oldest");
    let staging = TaskView { stage: Stage::Staging, ..old("a") };
    let starting = TaskView { stage: Stage::Starting, ..old("b") };
    let unreachable = TaskView { stage: Stage::Unreachable, ..old("c") };
    let all = [staging, starting, unreachable, old("d")];
    assert_eq!(kills(goal(3, 1.0, 1.0), &all), [2]);
    assert_eq!(kills(goal(2, 1.0, 1.0), &all), [0, 2]);
    assert_eq!(kills(goal(1, 1.0, 1.0), &all), [0, 1, 2]);
}

#[test]
fn what_ends_already_counts_as_launched() {
    let (goal, tasks) = (goal(3, 1.0, 1.0), [old("a"), told_to_end(old("b")), told_to_end(old("c"))]);
    let mut course = Course::scale(&goal, &tasks, 0);
    assert_eq!(course.next(&goal, &tasks), Decision { launch: 0, kill: vec![], done: true });
    assert_eq!(course.next(&goal, &tasks[..2]).launch, 1);
    let before = Goal { profile: Profile::V1_7, ..goal };
    assert_eq!(Course::scale(&before, &tasks, 0).next(&before, &tasks).launch, 2);
}

#[test]
fn launches_that_are_due_are_the_last_to_go() {
    // `ScalingProposition.scala` puts what is scheduled behind all that runs.
    let goal = goal(1, 1.0, 1.0);
    let mut course = Course::scale(&goal, &[old("a")], 1);
    assert_eq!(course.next(&goal, &[old("a")]), Decision { launch: 1, kill: vec![0], done: false });
    assert_eq!(course.next(&goal, &[]), Decision { launch: 1, kill: vec![], done: true });
}

#[test]
fn those_that_were_named_go_even_if_they_are_not_too_many() {
    let named = TaskView { standing: Standing::Named, ..old("b") };
    let goal = goal(2, 1.0, 1.0);
    let mut course = Course::scale(&goal, &[old("a"), named], 0);
    assert_eq!(course.next(&goal, &[old("a"), named]), Decision { launch: 0, kill: vec![1], done: false });
    assert_eq!(course.next(&goal, &[old("a")]), Decision { launch: 1, kill: vec![], done: false });
    assert!(course.next(&goal, &[old("a"), good(new("c"))]).done);
}
