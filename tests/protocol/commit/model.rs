//! The writers and the trimmer of one log.

use stateright::{Model, Property};

use super::store::{Check, Digest, Fate, LENGTH, Record, Store};

/// The protocol, and the ways to get it wrong.
#[derive(Debug, Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "each rule of the protocol can be broken alone")]
pub struct Rules {
    /// How a ghost is told from a record.
    pub check: Check,
    /// Whether "somebody else was faster" is believed only after that check.
    pub doubts: bool,
    /// Whether records are ever deleted.
    pub trims: bool,
    /// Whether the trimmer spares the newest record.
    pub spares_the_last: bool,
    /// Whether the trimmer goes in ascending order.
    pub ascending: bool,
    /// Whether after an unknown outcome the same bytes are sent again, not others that say the same.
    pub same_bytes: bool,
}

impl Rules {
    /// The protocol.
    pub fn right() -> Self {
        Self {
            check: Check::Mark,
            doubts: true,
            trims: true,
            spares_the_last: true,
            ascending: true,
            same_bytes: true,
        }
    }
}

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
        Self { rules: Rules::right(), operations: &[2, 1], unheard: 0, late: 1, crashes: 0 }
    }

    /// For CI.
    pub fn full() -> Self {
        Self { operations: &[2, 2], unheard: 1, ..Self::small() }
    }

    /// For CI.
    pub fn three() -> Self {
        Self { operations: &[2, 1, 0], crashes: 1, ..Self::small() }
    }
}

/// Where an instance stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// It has no view.
    Opening,
    /// It reads on; what it has read may be a ghost.
    Reading,
    /// It found no next record.
    AtEnd,
    /// It found a next record that does not follow its own.
    Astray,
    /// Its view is verified.
    Ready,
    /// It is about to create.
    Sending(Record),
    /// It does not know whether it created.
    Settling(Record),
    /// Its record stands there; it may be a ghost.
    Checking(Record),
    /// Another record stands there; it may be a ghost in the place of its own.
    Doubting(Record),
}

/// An instance. Everything here is lost in a crash but `done`, which keeps operations apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Writer {
    phase: Phase,
    seq: usize,
    digest: Digest,
    /// How many operations have come to an end, known or not.
    done: u8,
    /// Whether the operation at hand lost against another.
    lost: bool,
}

/// Everything there is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct State {
    store: Store,
    writers: Vec<Writer>,
    unheard: u8,
    late: u8,
    crashes: u8,
    /// Operations, as bits, that were reported committed.
    reported: u8,
    /// Operations, as bits, that were reported as not written.
    denied: u8,
    /// A record was reported committed that is not in the chain.
    lied: bool,
    /// A whole chain was called broken.
    alarm: bool,
}

/// One step of one party.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// Begins with a snapshot.
    Open(usize, usize),
    /// Reads the next record.
    Read(usize),
    /// Makes sure that the end is one, or that the chain is broken.
    Verify(usize),
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
    /// Makes sure that what stands in the place of its record is no ghost.
    Check(usize),
    /// Takes a snapshot.
    Snapshot(usize),
    /// Loses all it knows.
    Crash(usize),
    /// A create that was in flight lands.
    Land(usize),
    /// The trimmer marks the next block.
    Mark,
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
                let snapshots = (0..LENGTH).filter(|seq| state.store.snapshots[*seq].is_some());
                actions.extend(snapshots.map(|seq| Action::Open(index, seq)));
            }
            Phase::Reading => actions.push(Action::Read(index)),
            Phase::AtEnd | Phase::Astray => actions.push(Action::Verify(index)),
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
            Phase::Checking(_) | Phase::Doubting(_) => actions.push(Action::Check(index)),
        }
        if state.crashes > 0 && writer.phase != Phase::Opening {
            actions.push(Action::Crash(index));
        }
    }

    fn ready_actions(&self, state: &State, index: usize, actions: &mut Vec<Action>) {
        let writer = state.writers[index];
        actions.push(Action::Follow(index));
        if writer.done < self.operations[index] && writer.seq + 1 < LENGTH {
            actions.push(Action::Prepare(index));
        }
        if writer.lost {
            actions.push(Action::Deny(index));
        }
        if self.rules.trims && state.store.snapshots[writer.seq].is_none() {
            actions.push(Action::Snapshot(index));
        }
    }

    fn trimmer_actions(&self, state: &State, actions: &mut Vec<Action>) {
        if !self.rules.trims {
            return;
        }
        let Rules { check, spares_the_last, ascending, .. } = self.rules;
        if check == Check::Mark && state.store.clone().mark(spares_the_last) {
            actions.push(Action::Mark);
        }
        for seq in 1..LENGTH {
            // Record 0 is never deleted.
            let before_it = (1 << seq) - 2;
            let next = !ascending || state.store.deleted & before_it == before_it;
            let first = next && state.store.may_trim(seq, check, spares_the_last);
            if first || state.store.ghost(seq) {
                actions.push(Action::Delete(seq));
            }
        }
    }

    fn step(&self, state: &mut State, action: Action) {
        match action {
            Action::Open(index, seq) => {
                let digest = state.store.snapshots[seq].unwrap_or_default();
                let writer = &mut state.writers[index];
                (writer.seq, writer.digest, writer.phase) = (seq, digest, Phase::Reading);
            }
            Action::Read(index) => self.read(state, index),
            Action::Verify(index) => Self::verify(state, index),
            Action::Follow(index) => state.writers[index].phase = Phase::Reading,
            Action::Prepare(index) => self.prepare(state, index),
            Action::Create(index, fate) => Self::create(state, index, fate),
            Action::ReadBack(index) => self.read_back(state, index),
            Action::GiveUp(index) => state.writers[index].end(Phase::Reading),
            Action::Deny(index) => {
                state.denied |= 1 << self.operation(index, state.writers[index].done);
                state.writers[index].end(Phase::Ready);
            }
            Action::Check(index) => self.check(state, index),
            Action::Snapshot(index) => {
                let Writer { seq, digest, .. } = state.writers[index];
                state.store.snapshots[seq] = Some(digest);
            }
            Action::Crash(index) => {
                state.crashes -= 1;
                let writer = &mut state.writers[index];
                if writer.at_work() || writer.lost {
                    writer.end(Phase::Opening);
                }
                writer.reopen();
            }
            Action::Land(index) => state.store.land(index),
            Action::Mark => _ = state.store.mark(self.rules.spares_the_last),
            Action::Delete(seq) => state.store.delete(seq),
        }
    }

    fn read(&self, state: &mut State, index: usize) {
        let writer = &mut state.writers[index];
        match state.store.get(writer.seq + 1) {
            Some(record) if record.previous == writer.digest => writer.take_in(record),
            Some(_) if self.rules.check == Check::Mark => writer.phase = Phase::Astray,
            Some(_) => writer.reopen(),
            None if self.rules.check == Check::Mark => writer.phase = Phase::AtEnd,
            None => writer.phase = Phase::Ready,
        }
    }

    /// The end of the log is one, and the chain is broken, only where nothing was trimmed.
    fn verify(state: &mut State, index: usize) {
        let writer = &mut state.writers[index];
        let astray = writer.phase == Phase::Astray;
        let asked = if astray { writer.seq.max(1) } else { writer.seq + 1 };
        if state.store.marked(asked) {
            writer.reopen();
        } else if astray {
            state.alarm = true;
        } else {
            writer.phase = Phase::Ready;
        }
    }

    fn prepare(&self, state: &mut State, index: usize) {
        let operation = self.operation(index, state.writers[index].done);
        let writer = &mut state.writers[index];
        let record = Record { seq: writer.seq + 1, operation, nonce: 0, previous: writer.digest };
        writer.phase = Phase::Sending(record);
    }

    fn create(state: &mut State, index: usize, fate: Fate) {
        let Phase::Sending(record) = state.writers[index].phase else { return };
        state.unheard -= u8::from(fate == Fate::Unheard);
        state.late -= u8::from(matches!(fate, Fate::Doubled | Fate::Late));
        state.writers[index].phase = match state.store.create(record, fate) {
            Some(true) => Phase::Checking(record),
            Some(false) | None => Phase::Settling(record),
        };
    }

    fn read_back(&self, state: &mut State, index: usize) {
        let Phase::Settling(record) = state.writers[index].phase else { return };
        let writer = &mut state.writers[index];
        match state.store.get(record.seq) {
            Some(found) if found == record => writer.phase = Phase::Checking(record),
            Some(_) if self.rules.doubts => writer.phase = Phase::Doubting(record),
            Some(_) => writer.lose(),
            None if self.rules.same_bytes => writer.phase = Phase::Sending(record),
            None => writer.phase = Phase::Sending(Record { nonce: 1, ..record }),
        }
    }

    fn check(&self, state: &mut State, index: usize) {
        match state.writers[index].phase {
            Phase::Checking(record) if self.genuine(&state.store, record) => {
                state.lied |= state.store.chain[record.seq] != Some(record);
                state.reported |= 1 << record.operation;
                let writer = &mut state.writers[index];
                (writer.seq, writer.digest) = (record.seq, record.digest());
                writer.end(Phase::Ready);
            }
            Phase::Doubting(record) if self.genuine(&state.store, record) => state.writers[index].lose(),
            // The outcome is reported as unknown.
            _ => {
                state.writers[index].end(Phase::Opening);
                state.writers[index].reopen();
            }
        }
    }

    /// Whether what stands in the place of that record is taken for the first that ever stood there.
    fn genuine(&self, store: &Store, record: Record) -> bool {
        let followed = |record: Record| {
            store.get(record.seq - 1).is_some_and(|before| before.digest() == record.previous)
        };
        match self.rules.check {
            Check::Nothing => true,
            Check::Predecessor => followed(record),
            Check::LaterPredecessor => followed(record) && (record.seq > 1 || store.deleted == 0),
            Check::Mark => !store.marked(record.seq),
        }
    }
}

impl Writer {
    fn new() -> Self {
        let digest = Record::FIRST.digest();
        Self { phase: Phase::Reading, seq: 0, digest, done: 0, lost: false }
    }

    fn take_in(&mut self, record: Record) {
        (self.seq, self.digest, self.phase) = (record.seq, record.digest(), Phase::Reading);
    }

    /// The operation at hand has come to an end.
    fn end(&mut self, phase: Phase) {
        self.done += 1;
        self.lost = false;
        self.phase = phase;
    }

    /// Another record is where its own should have been; the next number is tried.
    fn lose(&mut self) {
        self.lost = true;
        self.phase = Phase::Reading;
    }

    fn reopen(&mut self) {
        (self.phase, self.seq, self.digest) = (Phase::Opening, 0, 0);
    }

    /// Whether it has something under way.
    fn at_work(&self) -> bool {
        !matches!(self.phase, Phase::Opening | Phase::Reading | Phase::AtEnd | Phase::Astray | Phase::Ready)
    }

    /// Whether it relies on its view.
    fn relies(&self) -> bool {
        self.phase == Phase::Ready || self.at_work()
    }
}

impl State {
    fn observes_the_chain(&self) -> bool {
        self.writers
            .iter()
            .filter(|writer| writer.relies())
            .all(|writer| self.store.chain[writer.seq].is_some_and(|record| record.digest() == writer.digest))
    }

    fn chain_is_whole(&self) -> bool {
        self.store.chain.windows(2).all(|pair| match (pair[0], pair[1]) {
            (_, None) => true,
            (before, Some(after)) => before.is_some_and(|before| before.digest() == after.previous),
        })
    }

    fn times(&self, operation: u8) -> usize {
        self.store.chain.iter().flatten().filter(|record| record.operation == operation).count()
    }

    fn each_at_most_once(&self) -> bool {
        self.store.chain.iter().flatten().skip(1).all(|record| self.times(record.operation) == 1)
    }

    fn denied_are_absent(&self) -> bool {
        (0..8).all(|operation| self.denied & 1 << operation == 0 || self.times(operation) == 0)
    }
}

impl Model for Log {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            store: Store::new(),
            writers: vec![Writer::new(); self.operations.len()],
            unheard: self.unheard,
            late: self.late,
            crashes: self.crashes,
            reported: 0,
            denied: 0,
            lied: false,
            alarm: false,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        for index in 0..state.writers.len() {
            self.writer_actions(state, index, actions);
        }
        actions.extend((0..state.store.flying()).map(Action::Land));
        self.trimmer_actions(state, actions);
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let mut next = state.clone();
        self.step(&mut next, action);
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = vec![
            Property::always("one record per number is observed", |_, s: &State| s.observes_the_chain()),
            Property::always("what is reported committed is in the chain", |_, s: &State| !s.lied),
            Property::always("the chain is whole", |_, s: &State| s.chain_is_whole()),
            Property::always("nothing is committed twice", |_, s: &State| s.each_at_most_once()),
            Property::always("what is reported as not written is not", |_, s: &State| s.denied_are_absent()),
            Property::always("a whole chain is not called broken", |_, s: &State| !s.alarm),
            Property::sometimes("all is committed", |log: &Log, s: &State| {
                s.reported.count_ones() == u32::from(log.operations.iter().sum::<u8>())
            }),
        ];
        if self.rules.trims {
            properties.push(Property::sometimes("a ghost stands", |_, s: &State| {
                (1..LENGTH).any(|seq| s.store.ghost(seq))
            }));
        }
        properties
    }
}
