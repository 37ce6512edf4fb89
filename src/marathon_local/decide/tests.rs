//! The rules one by one, and rolling replacement simulated to its end with random failures.

use proptest::prelude::*;

use super::*;

fn goal(instances: usize, minimum: f64, over: f64) -> Goal {
    let strategy = UpgradeStrategy { minimum_health_capacity: minimum, maximum_over_capacity: over };
    Goal { instances, strategy, resident: false, oldest_first: false }
}

fn tasks(list: &[(bool, Stage)]) -> Vec<TaskView> {
    list.iter().map(|&(current, stage)| TaskView { current, stage, doomed: false }).collect()
}

const OLD: (bool, Stage) = (false, Stage::Healthy);
const NEW: (bool, Stage) = (true, Stage::Healthy);
const NEW_STARTING: (bool, Stage) = (true, Stage::Starting);
const OLD_KILLING: (bool, Stage) = (false, Stage::Killing);

#[test]
fn bounds_follow_the_strategy() {
    for (instances, minimum, over, expected) in [
        (2, 1.0, 1.0, (2, 4)),
        (3, 0.5, 0.0, (2, 3)),
        (4, 1.0, 0.25, (4, 5)),
        (3, 1.0, 0.2, (3, 4)), // equal by rounding: one more for a while
        (1, 0.0, 0.0, (0, 1)),
        (5, 0.0, 0.5, (0, 7)),
    ] {
        assert_eq!(goal(instances, minimum, over).bounds(), expected, "{instances} {minimum} {over}");
    }
    assert_eq!(Goal { resident: true, ..goal(3, 1.0, 0.0) }.bounds(), (2, 3));
}

#[test]
fn steady_keeps_the_number_and_the_mixture() {
    let decision = decide(Phase::Steady, &goal(2, 1.0, 1.0), &tasks(&[OLD, NEW]));
    assert_eq!(decision, Decision { launch: 0, kill: vec![], done: true });
    assert_eq!(decide(Phase::Steady, &goal(3, 1.0, 1.0), &tasks(&[OLD, OLD_KILLING])).launch, 2);
}

#[test]
fn scaling_down_kills_unhealthy_ones_first_then_the_youngest() {
    let two_healthy = tasks(&[OLD, (false, Stage::Starting), OLD]);
    assert_eq!(decide(Phase::Scale, &goal(1, 1.0, 1.0), &two_healthy).kill, [1, 2]);
    let oldest = Goal { oldest_first: true, ..goal(1, 1.0, 1.0) };
    assert_eq!(decide(Phase::Scale, &oldest, &two_healthy).kill, [1, 0]);
}

#[test]
fn scaling_is_done_when_all_are_healthy_and_the_surplus_is_gone() {
    let goal = goal(1, 1.0, 1.0);
    assert!(decide(Phase::Scale, &goal, &tasks(&[OLD])).done);
    assert!(!decide(Phase::Scale, &goal, &tasks(&[OLD, OLD_KILLING])).done);
    assert!(!decide(Phase::Scale, &goal, &tasks(&[(true, Stage::Running)])).done);
    assert!(decide(Phase::Scale, &Goal { instances: 0, ..goal }, &[]).done);
}

#[test]
fn stopping_is_done_when_nobody_is_left() {
    let goal = goal(2, 1.0, 1.0);
    assert_eq!(decide(Phase::Stop, &goal, &tasks(&[OLD, OLD_KILLING])).kill, [0]);
    assert!(!decide(Phase::Stop, &goal, &tasks(&[OLD_KILLING])).done);
    assert!(decide(Phase::Stop, &goal, &[]).done);
}

#[test]
fn the_default_strategy_starts_all_new_ones_before_an_old_one_goes() {
    let goal = goal(2, 1.0, 1.0);
    let first = decide(Phase::Replace, &goal, &tasks(&[OLD, OLD]));
    assert_eq!((first.launch, first.kill), (2, vec![]));
    let waiting = decide(Phase::Replace, &goal, &tasks(&[OLD, OLD, NEW_STARTING, NEW_STARTING]));
    assert_eq!((waiting.launch, waiting.kill), (0, vec![]));
    assert_eq!(decide(Phase::Replace, &goal, &tasks(&[OLD, OLD, NEW, NEW_STARTING])).kill, [1]);
    assert!(decide(Phase::Replace, &goal, &tasks(&[NEW, NEW])).done);
    assert!(!decide(Phase::Replace, &goal, &tasks(&[NEW, NEW, OLD_KILLING])).done);
}

#[test]
fn single_instance_apps_stop_before_they_start() {
    let goal = goal(1, 0.0, 0.0);
    let first = decide(Phase::Replace, &goal, &tasks(&[OLD]));
    assert_eq!((first.launch, first.kill), (0, vec![0]));
    assert_eq!(decide(Phase::Replace, &goal, &tasks(&[OLD_KILLING])).launch, 0);
    assert_eq!(decide(Phase::Replace, &goal, &[]).launch, 1);
}

#[test]
fn lowering_the_number_ends_new_ones_too() {
    let decision = decide(Phase::Replace, &goal(1, 1.0, 1.0), &tasks(&[NEW, NEW]));
    assert_eq!(decision.kill, [1]);
    let to_zero = decide(Phase::Replace, &goal(0, 1.0, 1.0), &tasks(&[OLD, NEW]));
    assert_eq!((to_zero.launch, to_zero.kill.len()), (0, 2));
}

#[test]
fn unreachable_tasks_hold_their_place_until_they_are_inactive() {
    let scale = |stages: &[Stage]| {
        let list: Vec<_> = stages.iter().map(|stage| (true, *stage)).collect();
        decide(Phase::Scale, &goal(2, 1.0, 1.0), &tasks(&list))
    };
    let waiting = scale(&[Stage::Unreachable, Stage::Healthy]);
    assert!(waiting.launch == 0 && waiting.kill.is_empty() && !waiting.done);
    let replaced = scale(&[Stage::Inactive, Stage::Healthy]);
    assert!(replaced.launch == 1 && !replaced.done);
    assert!(scale(&[Stage::Inactive, Stage::Healthy, Stage::Healthy]).done, "nobody waits for it");
    let stopped = decide(Phase::Stop, &goal(2, 1.0, 1.0), &tasks(&[(true, Stage::Inactive)]));
    assert_eq!(stopped.kill, [0]);
}

#[test]
fn those_that_were_named_go_first() {
    let mut list = tasks(&[NEW, NEW, NEW]);
    list[1].doomed = true;
    assert_eq!(decide(Phase::Scale, &goal(2, 1.0, 1.0), &list).kill, [1]);
    assert_eq!(decide(Phase::Scale, &goal(1, 1.0, 1.0), &list).kill, [1, 2]);
}

/// One step of the world: what happens to a task between two looks.
#[derive(Debug, Clone, Copy)]
enum Event {
    Advance(usize),
    Fail(usize),
}

fn happen(world: &mut Vec<TaskView>, event: Event) {
    let (Event::Advance(at) | Event::Fail(at)) = event;
    if world.is_empty() {
        return;
    }
    let at = at % world.len();
    match (event, world[at].stage) {
        (Event::Fail(_), _) | (Event::Advance(_), Stage::Killing) => drop(world.remove(at)),
        (Event::Advance(_), Stage::Starting) => world[at].stage = Stage::Running,
        (Event::Advance(_), Stage::Unreachable | Stage::Running | Stage::Healthy) => {
            world[at].stage = Stage::Healthy;
        }
        (Event::Advance(_), Stage::Inactive) => {}
    }
}

/// Decides, checks the promises, and carries it out. Returns whether all is done.
fn look(goal: &Goal, world: &mut Vec<TaskView>, began_with: usize) -> bool {
    let decision = decide(Phase::Replace, goal, world);
    let (minimum, maximum) = goal.bounds();
    let healthy = |world: &[TaskView]| world.iter().filter(|t| t.stage == Stage::Healthy).count();
    let before = healthy(world);
    for &victim in &decision.kill {
        assert_ne!(world[victim].stage, Stage::Killing, "killed twice");
        world[victim].stage = Stage::Killing;
    }
    assert!(healthy(world) >= before.min(minimum), "below the minimum by our own doing");
    for _ in 0..decision.launch {
        world.push(TaskView { current: true, stage: Stage::Starting, doomed: false });
    }
    assert!(world.len() <= maximum.max(began_with), "above the maximum");
    let new = world.iter().filter(|t| t.current && t.stage != Stage::Killing).count();
    assert!(new <= goal.instances, "too many new ones");
    decision.done
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn replacement_keeps_its_bounds_and_comes_to_an_end(
        instances in 1_usize..8,
        minimum in 0.0_f64..=1.0,
        over in 0.0_f64..=1.0,
        resident: bool,
        old in proptest::collection::vec((any::<bool>(), 0_u8..5), 0..10),
        events in proptest::collection::vec((any::<bool>(), 0_usize..16), 0..200),
    ) {
        let goal = Goal { resident, ..goal(instances, minimum, over) };
        let stages = [Stage::Starting, Stage::Running, Stage::Healthy, Stage::Killing, Stage::Unreachable];
        let mut world: Vec<TaskView> =
            old.iter().map(|&(current, s)| TaskView { current, stage: stages[usize::from(s)], doomed: false }).collect();
        // A surplus of new ones is ended by the first look; let it not count against the look itself.
        let began_with = world.len();
        for (fails, at) in events {
            look(&goal, &mut world, began_with);
            happen(&mut world, if fails { Event::Fail(at) } else { Event::Advance(at) });
        }
        // From here on nothing fails any more: it must come to its end.
        let mut done = false;
        for round in 0..2_000_usize {
            done = look(&goal, &mut world, began_with);
            if done { break; }
            happen(&mut world, Event::Advance(round));
        }
        prop_assert!(done, "stuck at {world:?}");
        prop_assert!(world.len() == instances && world.iter().all(|t| t.current));
    }
}
