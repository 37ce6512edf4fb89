//! Lease, fence and collection together: only who is inside its deadline begins something as a leader, and what it
//! began is carried out when it is, deadline or not: the commit may read on, validate and write after a pause.
//!
//! The parts are the models of their own, so this one adds what happens between them: an instance checks its
//! deadline, decides, is paused, and its record or its DELETE arrives under its successor. It is explored as far
//! as its bound allows, not to its end.

use stateright::{Model, Property};

use crate::catalog::{Key, Operation, Rules};
use crate::collect::{self, Collect};
use crate::lease::{self, Lease, Times};
use crate::run::{breaks, full, holds, holds_everywhere};

/// The bounds are those of the parts.
#[derive(Debug, Clone, Copy)]
struct Whole {
    lease: Lease,
    collect: Collect,
}

/// What a leader decided to commit, and under which epoch.
type Decided = (Operation, u8);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct State {
    lease: lease::State,
    collect: collect::State,
    decided: Vec<Option<Decided>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Action {
    /// A step of the lease.
    Lease(lease::Action),
    /// A step of a publisher, or a DELETE that was decided.
    Collect(collect::Action),
    /// An instance that is inside decides to commit something to the catalog.
    Decide(usize, Operation),
    /// It is committed, or refused by what the catalog has become.
    Commit(usize),
    /// An instance that is inside decides to delete a copy.
    Doom(usize, Key),
}

impl Whole {
    fn small(rules: Rules) -> Self {
        let collect = Collect { rules, leaders: 0, publishers: 0, keys: 0, records: 4, ..Collect::small() };
        let times = Times { hold: 1, ttl: 2 };
        Self { lease: Lease { times, unheard: 0, records: 2, ..Lease::small() }, collect }
    }

    fn leader_actions(&self, state: &State, index: usize, epoch: u8, actions: &mut Vec<Action>) {
        let decisions = self.collect.decisions(&state.collect);
        actions.extend(decisions.into_iter().map(|key| Action::Doom(index, key)));
        if state.decided[index].is_none() {
            let operations = self.collect.leaders_operations(&state.collect, epoch).into_iter();
            actions.extend(operations.map(|operation| Action::Decide(index, operation)));
        }
    }
}

impl Model for Whole {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let leases = self.lease.init_states().into_iter();
        let both = leases.flat_map(|lease| {
            self.collect.init_states().into_iter().map(move |collect| (lease.clone(), collect))
        });
        let decided = vec![None; self.lease.instances];
        both.map(|(lease, collect)| State { lease, collect, decided: decided.clone() }).collect()
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        let mut parts = Vec::new();
        self.lease.actions(&state.lease, &mut parts);
        actions.extend(parts.into_iter().map(Action::Lease));
        let mut parts = Vec::new();
        self.collect.actions(&state.collect, &mut parts);
        let decided = parts.into_iter().filter(|part| !matches!(part, collect::Action::Doom(_)));
        actions.extend(decided.map(Action::Collect));
        for index in 0..self.lease.instances {
            if let Some(epoch) = self.lease.epoch_inside(&state.lease, index) {
                self.leader_actions(state, index, epoch, actions);
            }
            if state.decided[index].is_some() {
                actions.push(Action::Commit(index));
            }
        }
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let mut next = state.clone();
        match action {
            Action::Lease(part) => next.lease = self.lease.next_state(&next.lease, part)?,
            Action::Collect(part) => next.collect = self.collect.next_state(&next.collect, part)?,
            Action::Decide(index, operation) => {
                let epoch = self.lease.epoch_inside(&next.lease, index)?;
                next.decided[index] = Some((operation, epoch));
            }
            Action::Commit(index) => {
                let (operation, epoch) = next.decided[index].take()?;
                if self.collect.allowed(&next.collect, operation, epoch) {
                    let part = collect::Action::Commit(operation, epoch);
                    next.collect = self.collect.next_state(&next.collect, part)?;
                }
            }
            Action::Doom(_, key) => {
                next.collect = self.collect.next_state(&next.collect, collect::Action::Doom(key))?;
            }
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("no two are inside", |whole: &Self, s: &State| {
                let inside = |index: &usize| whole.lease.epoch_inside(&s.lease, *index).is_some();
                (0..whole.lease.instances).filter(inside).count() < 2
            }),
            Property::always("no referenced copy is deleted", |_, s: &State| s.collect.is_there()),
            Property::always("epochs never go back", |_, s: &State| !s.collect.went_back()),
            Property::sometimes("both write as leaders", |whole: &Self, s: &State| {
                s.collect.newest_epoch() == 1 && whole.lease.epoch_inside(&s.lease, 1) == Some(2)
            }),
        ]
    }
}

#[test]
fn the_parts_hold_together() {
    let small = Whole::small(Rules::right());
    holds_everywhere("whole", small);
    if full() {
        let collect = Collect { publishers: 1, keys: 1, records: 6, unheard: 0, ..small.collect };
        holds("whole, with a publisher", Whole { collect, ..small }, 10_000_000);
    }
}

/// The lease alone does not keep a sleeper's record out of the catalog.
#[test]
fn the_lease_does_not_replace_the_fence() {
    let rules = Rules { fenced: false, fences_first: false, ..Rules::right() };
    breaks("lease without fence", Whole::small(rules), "epochs never go back");
}
