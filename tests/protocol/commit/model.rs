//! The writers and the trimmer of one log.

use stateright::{Model, Property};

use super::rules::{Doubt, Return, Rules};
use super::state::{Anchor, Mark, Phase, State, Writer};
use super::store::{Fate, LENGTH, Record, Store};

/// The bounds.
#[derive(Debug, Clone, Copy)]
pub struct Log {
    /// What everybody abides by.
    pub rules: Rules,
    /// How many operations each instance has to commit.
    pub operations: &'static [u8],
    /// How many answers are lost while the call was carried out.
    pub unheard: u8,
    /// How many creates stay in flight.
    pub late: u8,
    /// How many crashes there are.
    pub crashes: u8,
}

impl Log {
    /// For every test run.
    pub fn small() -> Self {
        Self { rules: Rules::right(), operations: &[2, 1], unheard: 0, late: 0, crashes: 0 }
    }
}

/// One step of one party.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// Begins with a snapshot.
    Open(usize, usize),
    /// Reads the next record.
    Read(usize),
    /// Lists the records after those it has read.
    List(usize),
    /// Looks for its anchor.
    Vouch(usize),
    /// Reads on, to see what others wrote.
    Follow(usize),
    /// Decides to commit its next operation.
    Prepare(usize),
    /// Creates.
    Create(usize, Fate),
    /// Reads back.
    ReadBack(usize),
    /// Reports that the outcome is unknown.
    GiveUp(usize),
    /// Reports that nothing was written.
    Deny(usize),
    /// Looks for the record before its own.
    Check(usize),
    /// Half the retention has passed for it.
    Age(usize),
    /// Loses all it knows.
    Crash(usize),
    /// A create that was in flight lands.
    Land(usize),
    /// A create that was in flight has become too old.
    Expire(usize),
    /// The trimmer deletes a record, for the first time or again.
    Delete(usize),
}

impl Log {
    fn operation(&self, writer: usize, done: u8) -> u8 {
        self.operations[..writer].iter().sum::<u8>() + done
    }

    fn writer_actions(&self, state: &State, index: usize, actions: &mut Vec<Action>) {
        let writer = state.writers[index];
        match writer.phase {
            Phase::Opening => {
                let snapshots = (0..LENGTH).filter(|seq| state.store.snapshot(*seq).is_some());
                actions.extend(snapshots.map(|seq| Action::Open(index, seq)));
            }
            Phase::Loading { .. } | Phase::Reading { .. } => actions.push(Action::Read(index)),
            Phase::Listing { .. } => actions.push(Action::List(index)),
            Phase::Vouching { .. } => actions.push(Action::Vouch(index)),
            Phase::Ready => self.ready_actions(state, index, actions),
            Phase::Sending(_) => {
                actions.push(Action::Create(index, Fate::Answered));
                if state.unheard > 0 {
                    actions.push(Action::Create(index, Fate::Unheard));
                }
                if state.late > 0 {
                    actions.push(Action::Create(index, Fate::Doubled));
                    actions.push(Action::Create(index, Fate::Late));
                }
            }
            Phase::Settling(_) => actions.extend([Action::ReadBack(index), Action::GiveUp(index)]),
            Phase::Checking(_) => actions.extend([Action::Check(index), Action::GiveUp(index)]),
        }
        if self.rules.trims && writer.may_age() {
            actions.push(Action::Age(index));
        }
        if state.crashes > 0 && writer.phase != Phase::Opening {
            actions.push(Action::Crash(index));
        }
    }

    fn ready_actions(&self, state: &State, index: usize, actions: &mut Vec<Action>) {
        let writer = state.writers[index];
        actions.push(Action::Follow(index));
        let doubts = self.rules.doubt != Doubt::Never && writer.in_doubt();
        if writer.done < self.operations[index] && writer.seq + 1 < LENGTH && !doubts {
            actions.push(Action::Prepare(index));
        }
        if writer.lost {
            actions.push(Action::Deny(index));
        }
    }

    fn trimmer_actions(&self, state: &State, actions: &mut Vec<Action>) {
        let Rules { ascending, spares_the_last, retains, requests_die, .. } = self.rules;
        for seq in 1..LENGTH {
            let young = retains && state.writers.iter().any(|writer| writer.remembers(seq))
                || requests_die && state.store.outlives(seq);
            let first = !young && state.store.may_trim(seq, ascending, spares_the_last);
            if first || state.store.ghost(seq) {
                actions.push(Action::Delete(seq));
            }
        }
    }

    fn step(&self, state: &mut State, action: Action) {
        match action {
            Action::Open(index, seq) => Self::open(state, index, seq),
            Action::Read(index) => self.read(state, index),
            Action::List(index) => self.list(state, index),
            Action::Vouch(index) => self.vouch(state, index),
            Action::Follow(index) => self.follow(state, index),
            Action::Prepare(index) => self.prepare(state, index),
            Action::Create(index, fate) => self.create(state, index, fate),
            Action::ReadBack(index) => self.read_back(state, index),
            Action::GiveUp(index) => state.writers[index].end(),
            Action::Deny(index) => {
                state.denied |= 1 << self.operation(index, state.writers[index].done);
                state.writers[index].end();
            }
            Action::Check(index) => self.check(state, index),
            Action::Age(index) => {
                let writer = &mut state.writers[index];
                writer.age();
                if self.forgets() {
                    writer.forget();
                }
            }
            Action::Crash(index) => {
                state.crashes -= 1;
                let writer = &mut state.writers[index];
                let done = writer.done + u8::from(writer.at_work() || writer.lost);
                *writer = Writer { done, ..Writer::new() };
            }
            Action::Land(index) => state.store.land(index),
            Action::Expire(index) => state.store.expire(index),
            Action::Delete(seq) => state.store.delete(seq),
        }
    }

    /// Whether an anchor in doubt is of no use to anybody.
    fn forgets(&self) -> bool {
        self.rules.returns == Return::BeginsAnew && self.rules.doubt == Doubt::OfAll
    }

    fn open(state: &mut State, index: usize, seq: usize) {
        let now = Mark::now(&state.store);
        let digest = state.store.snapshot(seq).unwrap_or_default();
        let writer = &mut state.writers[index];
        writer.begun = Some(now);
        writer.anchor = None;
        (writer.seq, writer.digest) = (seq, digest);
        writer.phase = Phase::Loading { base: seq, pass: 0, listed: 0 };
    }

    fn follow(&self, state: &mut State, index: usize) {
        let now = Mark::now(&state.store);
        let writer = &mut state.writers[index];
        if writer.in_doubt() && self.rules.returns == Return::BeginsAnew {
            return writer.reopen();
        }
        writer.begun = Some(now);
        writer.phase = if writer.in_doubt() && self.rules.returns == Return::AnchorFirst {
            Phase::Vouching { broken: None }
        } else {
            Phase::Reading { vouched: false }
        };
    }

    fn read(&self, state: &mut State, index: usize) {
        let now = Mark::now(&state.store);
        let writer = &mut state.writers[index];
        let next = state.store.get(writer.seq + 1);
        let loading = matches!(writer.phase, Phase::Loading { .. });
        match next {
            Some(record) if record.previous == writer.digest => {
                (writer.seq, writer.digest) = (record.seq, record.digest());
                if !loading {
                    // The next look is a new one.
                    writer.begun = Some(now);
                }
            }
            Some(_) if loading => self.break_off(state, index),
            None if loading => self.reach_end(state, index),
            _ => self.end_reading(state, index, next.is_some()),
        }
    }

    /// The chain is broken for whoever begins with a snapshot.
    fn break_off(&self, state: &mut State, index: usize) {
        let writer = &mut state.writers[index];
        let Phase::Loading { base, .. } = writer.phase else { return };
        if writer.seq == base || self.rules.passes_over {
            writer.reopen();
        } else {
            state.alarm = true;
        }
    }

    fn reach_end(&self, state: &mut State, index: usize) {
        let writer = &mut state.writers[index];
        let Phase::Loading { base, pass, listed } = writer.phase else { return };
        let last = if self.rules.lists_to_the_end { pass > 0 } else { pass > 1 };
        if last && writer.seq == listed {
            // Something is missing.
            writer.reopen();
        } else if !self.rules.lists || last && !self.rules.lists_to_the_end {
            self.settle(state, index);
        } else {
            writer.phase = Phase::Listing { base, pass };
        }
    }

    fn list(&self, state: &mut State, index: usize) {
        let writer = &mut state.writers[index];
        let Phase::Listing { base, pass } = writer.phase else { return };
        if state.store.any_after(writer.seq) {
            let most = if self.rules.lists_to_the_end { 1 } else { 2 };
            writer.phase = Phase::Loading { base, pass: (pass + 1).min(most), listed: writer.seq };
        } else {
            self.settle(state, index);
        }
    }

    /// What was read to the end, or to a break in the chain, counts or not.
    fn end_reading(&self, state: &mut State, index: usize, broken: bool) {
        let writer = &mut state.writers[index];
        let Phase::Reading { vouched } = writer.phase else { return };
        let believed = !writer.in_doubt() || vouched || self.rules.returns == Return::ReadsOn;
        if believed {
            self.believe(state, index, broken);
        } else if self.rules.returns == Return::AnchorAfter {
            writer.phase = Phase::Vouching { broken: Some(broken) };
        } else {
            writer.reopen();
        }
    }

    fn vouch(&self, state: &mut State, index: usize) {
        let writer = &mut state.writers[index];
        let Phase::Vouching { broken } = writer.phase else { return };
        let stands = writer.anchor.is_some_and(|anchor| {
            let found = state.store.get(anchor.seq);
            let proves = anchor.seq > 0 || !self.rules.zero_proves_nothing;
            proves && found.is_some_and(|record| record.digest() == anchor.digest)
        });
        match broken {
            _ if !stands => writer.reopen(),
            Some(broken) => self.believe(state, index, broken),
            None => writer.phase = Phase::Reading { vouched: true },
        }
    }

    fn believe(&self, state: &mut State, index: usize, broken: bool) {
        if broken {
            state.alarm = true;
        } else {
            self.settle(state, index);
        }
    }

    /// The last record read was the last one when the look began.
    fn settle(&self, state: &mut State, index: usize) {
        let now = Mark::now(&state.store);
        let writer = &mut state.writers[index];
        let Some(begun) = writer.begun.take() else { return };
        state.missed |= writer.seq < begun.since;
        writer.anchor_here(if self.rules.from_before { begun } else { now });
        writer.phase = Phase::Ready;
        if self.forgets() {
            writer.forget();
        }
    }

    fn prepare(&self, state: &mut State, index: usize) {
        let operation = self.operation(index, state.writers[index].done);
        let now = Mark::now(&state.store);
        let writer = &mut state.writers[index];
        let record = Record { seq: writer.seq + 1, operation, nonce: 0, previous: writer.digest };
        writer.begun = Some(now);
        writer.phase = Phase::Sending(record);
    }

    fn create(&self, state: &mut State, index: usize, fate: Fate) {
        let Phase::Sending(record) = state.writers[index].phase else { return };
        state.unheard -= u8::from(fate == Fate::Unheard);
        state.late -= u8::from(matches!(fate, Fate::Doubled | Fate::Late));
        match state.store.create(record, fate, self.rules.requests_die) {
            Some(true) => self.own(state, index, record),
            Some(false) | None => state.writers[index].phase = Phase::Settling(record),
        }
    }

    fn read_back(&self, state: &mut State, index: usize) {
        let Phase::Settling(record) = state.writers[index].phase else { return };
        match state.store.get(record.seq) {
            Some(found) if found == record => self.own(state, index, record),
            Some(found) => self.foreign(state, index, found),
            None => {
                let nonce = u8::from(!self.rules.same_bytes);
                state.writers[index].phase = Phase::Sending(Record { nonce, ..record });
            }
        }
    }

    /// Its own record stands there now; in doubt that means nothing.
    fn own(&self, state: &mut State, index: usize, record: Record) {
        let writer = &mut state.writers[index];
        if writer.in_doubt() && matches!(self.rules.doubt, Doubt::OfSuccess | Doubt::OfAll) {
            writer.stall();
        } else {
            writer.phase = Phase::Checking(record);
            // Record 0 is always there; it is not asked for.
            if record.seq == 1 || !self.rules.predecessor {
                self.written(state, index, record);
            }
        }
    }

    /// Another record stands there now; in doubt that means nothing.
    fn foreign(&self, state: &mut State, index: usize, found: Record) {
        let now = Mark::now(&state.store);
        let writer = &mut state.writers[index];
        if writer.in_doubt() && self.rules.doubt == Doubt::OfAll {
            writer.stall();
        } else if found.previous == writer.digest {
            (writer.seq, writer.digest, writer.lost) = (found.seq, found.digest(), true);
            (writer.begun, writer.phase) = (Some(now), Phase::Reading { vouched: false });
        } else {
            state.alarm = true;
        }
    }

    fn check(&self, state: &mut State, index: usize) {
        let Phase::Checking(record) = state.writers[index].phase else { return };
        let before = state.store.get(record.seq - 1);
        if before.is_some_and(|before| before.digest() == record.previous) {
            self.written(state, index, record);
        } else {
            state.writers[index].stall();
        }
    }

    fn written(&self, state: &mut State, index: usize, record: Record) {
        state.lied |= state.store.chain[record.seq] != Some(record);
        let now = Mark::now(&state.store);
        let writer = &mut state.writers[index];
        (writer.seq, writer.digest) = (record.seq, record.digest());
        let begun = writer.begun.filter(|_| self.rules.from_before).unwrap_or(now);
        writer.anchor_here(begun);
        writer.end();
        if self.forgets() {
            writer.forget();
        }
    }
}

impl Model for Log {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let writers = vec![Writer::new(); self.operations.len()];
        vec![State {
            store: Store::new(),
            writers,
            unheard: self.unheard,
            late: self.late,
            crashes: self.crashes,
            denied: 0,
            lied: false,
            missed: false,
            alarm: false,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        for index in 0..state.writers.len() {
            self.writer_actions(state, index, actions);
        }
        for flying in 0..state.store.flying() {
            actions.push(Action::Land(flying));
            if self.rules.requests_die {
                actions.push(Action::Expire(flying));
            }
        }
        if self.rules.trims {
            self.trimmer_actions(state, actions);
        }
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let mut next = state.clone();
        self.step(&mut next, action);
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = vec![
            Property::always("one record per number is observed", |_, s: &State| s.observes_the_chain()),
            Property::always("what was there is seen", |_, s: &State| !s.missed),
            Property::always("what is reported committed is in the chain", |_, s: &State| !s.lied),
            Property::always("the chain is whole", |_, s: &State| s.chain_is_whole()),
            Property::always("nothing is committed twice", |_, s: &State| s.each_at_most_once()),
            Property::always("what is reported as not written is not", |_, s: &State| s.denied_are_absent()),
            Property::always("a whole chain is not called broken", |_, s: &State| !s.alarm),
            Property::always("an anchor without doubt stands", |log: &Log, s: &State| {
                !log.rules.retains || s.anchors_stand()
            }),
            Property::sometimes("all is committed", |log: &Log, s: &State| {
                s.store.tail() == usize::from(log.operations.iter().sum::<u8>())
            }),
        ];
        if self.rules.trims {
            properties.push(Property::sometimes("a ghost stands", |_, s: &State| {
                (1..LENGTH).any(|seq| s.store.ghost(seq))
            }));
            properties.push(Property::sometimes("one that was away is back", |_, s: &State| {
                s.writers.iter().any(|writer| {
                    writer.phase == Phase::Ready
                        && writer.seq > 1
                        && writer.anchor.is_some_and(|anchor| anchor.mark.fresh)
                        && s.store.get(writer.seq - 1).is_none()
                })
            }));
        }
        properties
    }
}

impl Anchor {
    /// Whether it is there.
    pub fn stands(&self, store: &Store) -> bool {
        store.get(self.seq).is_some_and(|record| record.digest() == self.digest)
    }
}
