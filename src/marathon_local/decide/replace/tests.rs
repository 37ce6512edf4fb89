//! How a replacement begins, how it goes on, and that it comes to an end whatever fails on the way.

use proptest::prelude::*;

use super::super::tests::{goal, good, new, old, told_to_end};
use super::*;
use crate::marathon_local::decide::Standing;
use crate::marathon_local::profile::Profile;

/// The cases of `RestartStrategyTest.scala`: instances, the strategy, whether tasks own volumes, how many are healthy
/// and how many are there; what goes at once and how many may exist.
#[test]
fn it_begins_as_marathon_does() {
    let resident = |goal| Goal { resident: true, ..goal };
    for (goal, healthy, present, kill, maximum) in [
        (resident(goal(1, 0.5, 0.0)), 1, 1, 1, 1),
        (resident(goal(1, 0.5, 0.0)), 0, 1, 0, 1),
        (resident(goal(5, 0.5, 0.0)), 5, 5, 2, 5),
        (resident(goal(5, 1.0, 0.0)), 7, 7, 3, 5),
        (resident(goal(5, 1.0, 0.0)), 3, 5, 0, 5),
        (resident(goal(5, 1.0, 0.0)), 5, 5, 1, 5),
        (goal(1, 0.5, 0.0), 1, 1, 0, 2),
        (goal(1, 0.5, 0.0), 0, 0, 0, 1),
        (goal(2, 0.5, 0.0), 2, 2, 1, 2),
        (goal(10, 0.1, 0.0), 1, 1, 0, 10),
        (goal(10, 0.1, 1.0), 10, 10, 9, 20),
        (goal(10, 1.0, 1.0), 10, 10, 0, 20),
        (goal(10, 0.5, 0.5), 10, 10, 5, 15),
        (goal(10, 1.0, 0.0), 10, 10, 0, 11),
        (goal(10, 1.0, 0.0), 0, 10, 0, 10),
        (goal(1, 1.0, 1.0), 2, 3, 2, 2),
    ] {
        assert_eq!(Start::new(&goal, healthy, present), Start { kill, maximum }, "{goal:?} {healthy}");
    }
}

#[test]
fn older_versions_count_what_is_there_and_not_what_is_healthy() {
    let sick = |id| TaskView { healthy: false, ..old(id) };
    let at_once = |goal: Goal| {
        let tasks = [old("a"), sick("b")];
        Replacement::begin(&goal, &tasks).next(&goal, &tasks).kill
    };
    assert_eq!(at_once(goal(2, 0.5, 0.0)), Vec::<usize>::new());
    assert_eq!(at_once(Goal { profile: Profile::V1_8, ..goal(2, 0.5, 0.0) }), [0]);
}

#[test]
fn an_old_one_goes_for_each_new_one_that_is_good() {
    let goal = goal(2, 1.0, 1.0);
    let mut replacement = Replacement::begin(&goal, &[old("a"), old("b")]);
    let first = replacement.next(&goal, &[old("a"), old("b")]);
    assert_eq!(first, Decision { launch: 2, kill: vec![], done: false });
    let both = [old("a"), old("b"), new("c"), new("d")];
    assert_eq!(replacement.next(&goal, &both), Decision::default());
    let one = [old("a"), old("b"), good(new("c")), new("d")];
    assert_eq!(replacement.next(&goal, &one).kill, [0]);
    let waiting = [told_to_end(old("a")), old("b"), good(new("c")), new("d")];
    assert_eq!(replacement.next(&goal, &waiting), Decision::default());
    let all = [old("b"), good(new("c")), good(new("d"))];
    assert_eq!(replacement.next(&goal, &all), Decision { launch: 0, kill: vec![0], done: false });
    assert!(!replacement.next(&goal, &[told_to_end(old("b")), good(new("c")), good(new("d"))]).done);
    assert!(replacement.next(&goal, &[good(new("c")), good(new("d"))]).done);
    // What was good once counts, whatever it is now.
    let later = TaskView { healthy: false, ..good(new("d")) };
    assert!(replacement.next(&goal, &[good(new("c")), later]).done);
}

#[test]
fn those_that_are_not_healthy_are_the_first_in_turn() {
    let goal = goal(2, 1.0, 0.5);
    let tasks = [old("a"), TaskView { healthy: false, ..old("b") }];
    let mut replacement = Replacement::begin(&goal, &tasks);
    assert_eq!(replacement.next(&goal, &tasks), Decision { launch: 1, kill: vec![], done: false });
    let passed = [tasks[0], tasks[1], good(new("c"))];
    assert_eq!(replacement.next(&goal, &passed).kill, [1]);
}

#[test]
fn where_no_health_is_known_and_no_room_is_left_nothing_moves() {
    let sick = |id| TaskView { healthy: false, ..old(id) };
    let (goal, tasks) = (goal(2, 0.5, 0.0), [sick("a"), sick("b")]);
    let mut replacement = Replacement::begin(&goal, &tasks);
    assert_eq!(replacement.next(&goal, &tasks), Decision::default());
    // One that fails makes the room.
    assert_eq!(replacement.next(&goal, &tasks[..1]), Decision { launch: 1, kill: vec![], done: false });
    assert_eq!(replacement.next(&goal, &[tasks[0], good(new("c"))]).kill, [0], "the place of b came first");
}

#[test]
fn single_tasks_stop_before_others_start() {
    let (goal, tasks) = (goal(1, 0.0, 0.0), [old("a")]);
    let mut replacement = Replacement::begin(&goal, &tasks);
    assert_eq!(replacement.next(&goal, &tasks), Decision { launch: 0, kill: vec![0], done: false });
    assert_eq!(replacement.next(&goal, &[told_to_end(old("a"))]).launch, 0);
    assert_eq!(replacement.next(&goal, &[]).launch, 1);
}

#[test]
fn another_leader_counts_what_is_there_already() {
    let goal = goal(2, 0.5, 0.5);
    let tasks = [old("a"), good(new("c")), new("d")];
    let mut replacement = Replacement::begin(&goal, &tasks);
    // Two are healthy, one has to be.
    assert_eq!(replacement.next(&goal, &tasks), Decision { launch: 0, kill: vec![0], done: false });
    assert!(!replacement.next(&goal, &tasks[1..]).done);
    assert!(replacement.next(&goal, &[good(new("c")), good(new("d"))]).done);
    // Nothing is asked of them: they count as soon as they are there.
    let unchecked = Goal { unchecked: true, ..goal };
    assert!(
        Replacement::begin(&unchecked, &[new("c"), new("d")]).next(&unchecked, &[new("c"), new("d")]).done
    );
}

#[test]
fn old_ones_of_which_nothing_is_heard_are_not_waited_for() {
    let (goal, lost) = (goal(1, 1.0, 0.0), TaskView { stage: Stage::Unreachable, ..old("a") });
    let mut replacement = Replacement::begin(&goal, &[old("a")]);
    assert_eq!(replacement.next(&goal, &[lost, good(new("b"))]).kill, [0]);
    assert!(replacement.next(&goal, &[told_to_end(lost), good(new("b"))]).done);
}

#[test]
fn lost_ones_of_before_go_in_their_turn() {
    let goal = goal(2, 1.0, 0.0);
    let inactive = TaskView { stage: Stage::Inactive, healthy: false, ..old("a") };
    let tasks = [inactive, old("b"), old("c")];
    let mut replacement = Replacement::begin(&goal, &tasks);
    // Three are there and two are wanted: the one that is not healthy goes.
    let first = replacement.next(&goal, &tasks);
    assert_eq!((first.kill, first.launch), (vec![0], 0));
    let second = replacement.next(&goal, &tasks[1..]);
    assert_eq!(second, Decision { launch: 1, kill: vec![], done: false });
    let unreachable = TaskView { stage: Stage::Unreachable, healthy: false, ..old("a") };
    let tasks = [unreachable, old("b")];
    let mut replacement = Replacement::begin(&goal, &tasks);
    assert_eq!(replacement.next(&goal, &tasks), Decision::default(), "no word of it comes, and no room");
}

#[test]
fn nothing_takes_the_place_of_a_new_one_that_is_given_up() {
    for (profile, launched) in [(Profile::V1_7, 1), (Profile::V1_8, 0), (Profile::V1_11, 0)] {
        let goal = Goal { profile, ..goal(2, 0.5, 0.0) };
        let lost = TaskView { stage: Stage::Inactive, ..new("d") };
        let tasks = [good(new("c")), lost];
        let mut replacement = Replacement::begin(&goal, &tasks);
        assert_eq!(replacement.next(&goal, &tasks).launch, launched, "{profile}");
    }
    let goal = goal(2, 0.5, 0.0);
    let mut replacement = Replacement::begin(&goal, &[good(new("c")), new("d")]);
    replacement.lost_for_good();
    assert_eq!(replacement.next(&goal, &[good(new("c"))]), Decision::default(), "it waits for ever");
}

/// A task of the world below.
#[derive(Debug, Clone)]
struct Task {
    id: String,
    current: bool,
    stage: Stage,
    sentenced: bool,
}

impl Task {
    fn view(&self) -> TaskView<'_> {
        let runs = self.stage == Stage::Running;
        let view = TaskView { current: self.current, stage: self.stage, ..old(&self.id) };
        let standing = if self.sentenced { Standing::Sentenced } else { Standing::Stays };
        TaskView { standing, passed: runs || self.sentenced, healthy: runs, ..view }
    }
}

#[derive(Debug)]
struct World {
    goal: Goal,
    tasks: Vec<Task>,
    replacement: Replacement,
    launched: usize,
}

impl World {
    fn new(goal: Goal, old: usize, started: usize) -> Self {
        let task = |i: usize| {
            let current = i >= old;
            Task { id: i.to_string(), current, stage: Stage::Running, sentenced: false }
        };
        let tasks: Vec<_> = (0..old + started).map(task).collect();
        let views: Vec<_> = tasks.iter().map(Task::view).collect();
        let replacement = Replacement::begin(&goal, &views);
        Self { goal, launched: tasks.len(), tasks, replacement }
    }

    /// Decides, checks the promises, and carries it out. Returns whether all is done.
    fn look(&mut self, most: usize) -> bool {
        let views: Vec<_> = self.tasks.iter().map(Task::view).collect();
        let decision = self.replacement.next(&self.goal, &views);
        for &victim in &decision.kill {
            assert!(!self.tasks[victim].sentenced, "killed twice");
            assert!(!self.tasks[victim].current, "a new one is killed");
            (self.tasks[victim].stage, self.tasks[victim].sentenced) = (Stage::Killing, true);
        }
        for _ in 0..decision.launch {
            let id = self.launched.to_string();
            self.launched += 1;
            self.tasks.push(Task { id, current: true, stage: Stage::Staging, sentenced: false });
        }
        assert!(self.tasks.len() <= most, "above the maximum");
        assert!(self.tasks.iter().filter(|t| t.current).count() <= self.goal.instances, "too many new ones");
        decision.done
    }

    /// A task comes further, or ends.
    fn happen(&mut self, at: usize, fails: bool) {
        if self.tasks.is_empty() {
            return;
        }
        let at = at % self.tasks.len();
        match self.tasks[at].stage {
            Stage::Killing => drop(self.tasks.remove(at)),
            _ if fails => drop(self.tasks.remove(at)),
            Stage::Staging => self.tasks[at].stage = Stage::Starting,
            _ => self.tasks[at].stage = Stage::Running,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn replacement_keeps_its_bounds_and_comes_to_an_end(
        instances in 1_usize..8,
        minimum in 0.0_f64..=1.0,
        over in 0.0_f64..=1.0,
        resident: bool,
        profile in proptest::sample::select(vec![Profile::V1_7, Profile::V1_8, Profile::V1_11]),
        old in 0_usize..10,
        started in 0_usize..8,
        events in proptest::collection::vec((any::<bool>(), 0_usize..16), 0..200),
    ) {
        let goal = Goal { resident, profile, ..goal(instances, minimum, over) };
        let mut world = World::new(goal, old, started.min(instances));
        let began_with = world.tasks.len();
        let most = world.replacement.maximum.max(began_with);
        let least = scaled(instances, minimum, f64::ceil);
        world.look(most);
        let left = world.tasks.iter().filter(|t| !t.sentenced).count();
        let one_less = usize::from(resident);
        prop_assert!(left + one_less >= least.min(began_with), "too many go at once");
        for (fails, at) in events {
            world.happen(at, fails);
            world.look(most);
        }
        // From here on nothing fails any more: it must come to its end.
        let mut done = false;
        for round in 0..2_000_usize {
            done = world.look(most);
            if done { break; }
            world.happen(round, false);
        }
        prop_assert!(done, "stuck at {world:?}");
        let all_new = world.tasks.iter().all(|t| t.current);
        prop_assert!(world.tasks.len() == instances && all_new);
    }
}
