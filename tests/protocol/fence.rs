//! The fence: a leader that lost its lease while it slept must not write into the catalog after its successor.
//!
//! Every leader there ever was may be awake, in any order, for any time: what the lease and the deadline forbid
//! besides is not counted on. A record is prepared for one number, validated against what its writer knew then,
//! and lands there whenever it does, or never; the answer is heard or not.

use stateright::{Model, Property};

use crate::catalog::{Catalog, Operation, Rules};
use crate::run::{breaks, full, holds_everywhere};

/// The bounds.
#[derive(Debug, Clone, Copy)]
struct Fence {
    rules: Rules,
    leaders: u8,
    records: usize,
}

/// An instance that was made leader; its epoch is its index + 1.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
struct Leader {
    /// The records it has read.
    catalog: Catalog,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct State {
    /// Records: what they say and under which epoch.
    log: Vec<(Operation, u8)>,
    /// Records on their way: their number and the same.
    flying: Vec<(usize, Operation, u8)>,
    leaders: Vec<Leader>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Action {
    /// Reads the next record.
    Read(usize),
    /// Sends a record for the next number. What it hears is what it reads later.
    Send(usize, Operation),
    /// A record lands, if its number is free.
    Land(usize),
}

impl Fence {
    fn small(rules: Rules) -> Self {
        Self { rules, leaders: 2, records: 5 }
    }

    /// A publish by anybody stands for all that needs no lease; a watermark for all that does.
    fn offers(&self, leader: &Leader, epoch: u8) -> Vec<Operation> {
        let catalog = &leader.catalog;
        let fenced = catalog.fence == epoch || !self.rules.fences_first;
        let mut offers = vec![Operation::Fence];
        if fenced {
            offers.push(Operation::Watermark(catalog.watermark + 1));
        }
        offers.retain(|operation| catalog.validate(self.rules, &[], *operation, epoch));
        offers
    }
}

impl Model for Fence {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let leaders = vec![Leader::default(); self.leaders.into()];
        // A watermark names a record, so there must be one.
        vec![State { log: vec![(Operation::Unpublish(0), 0)], flying: Vec::new(), leaders }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        for (index, leader) in state.leaders.iter().enumerate() {
            let seen = usize::from(leader.catalog.seq);
            let epoch = epoch(index);
            if seen < state.log.len() {
                actions.push(Action::Read(index));
            }
            let busy = state.flying.iter().any(|(seq, _, author)| *seq == seen && *author == epoch);
            if seen < self.records && !busy {
                let offers = self.offers(leader, epoch).into_iter();
                actions.extend(offers.map(|operation| Action::Send(index, operation)));
            }
        }
        actions.extend((0..state.flying.len()).map(Action::Land));
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let mut next = state.clone();
        match action {
            Action::Read(index) => {
                let catalog = &mut next.leaders[index].catalog;
                let (operation, epoch) = next.log[usize::from(catalog.seq)];
                catalog.apply(operation, epoch);
            }
            Action::Send(index, operation) => {
                let seq = next.leaders[index].catalog.seq.into();
                next.flying.push((seq, operation, epoch(index)));
                next.flying.sort_unstable();
            }
            Action::Land(index) => {
                let (seq, operation, epoch) = next.flying.remove(index);
                if seq == next.log.len() {
                    next.log.push((operation, epoch));
                }
            }
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        fn epochs(state: &State) -> Vec<u8> {
            let leaders_only =
                |(operation, _): &&(Operation, u8)| matches!(operation, Operation::Watermark(_));
            state.log.iter().filter(leaders_only).map(|(_, epoch)| *epoch).collect()
        }
        vec![
            Property::always("epochs never go back", |_, s: &State| epochs(s).is_sorted()),
            Property::sometimes("two leaders write", |_, s: &State| {
                epochs(s).first() == Some(&1) && epochs(s).last() == Some(&2)
            }),
        ]
    }
}

fn epoch(index: usize) -> u8 {
    u8::try_from(index + 1).unwrap_or(u8::MAX)
}

const FORWARD: &str = "epochs never go back";

#[test]
fn a_deposed_leader_writes_nothing_after_its_successor() {
    let exactly = Fence::small(Rules::right());
    holds_everywhere("fence", exactly);
    let at_least = Rules { fence_exactly: false, ..Rules::right() };
    holds_everywhere("fence, at least", Fence::small(at_least));
    if full() {
        holds_everywhere("fence, full", Fence { leaders: 3, ..exactly });
    }
}

/// The validation alone is enough then; nobody has to remember to commit the fence first.
#[test]
fn an_exact_fence_cannot_be_forgotten() {
    let rules = Rules { fences_first: false, ..Rules::right() };
    holds_everywhere("fence, by validation alone", Fence::small(rules));
}

#[test]
fn without_a_fence_epochs_go_back() {
    let rules = Rules { fenced: false, fences_first: false, ..Rules::right() };
    breaks("no fence", Fence::small(rules), FORWARD);
}

#[test]
fn a_fence_that_is_committed_late_lets_epochs_go_back() {
    let rules = Rules { fences_first: false, fence_exactly: false, ..Rules::right() };
    breaks("fence not first", Fence::small(rules), FORWARD);
}
