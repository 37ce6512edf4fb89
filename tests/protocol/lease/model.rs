//! The instances that share one lease.

use stateright::{Model, Property};

/// The protocol, and the ways to get it wrong.
#[derive(Debug, Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "each rule of the protocol can be broken alone")]
pub struct Rules {
    /// Whether the deadline runs from before the first send of the record, not from the answer.
    pub from_first_send: bool,
    /// Whether a take-over says which sign of life was the last one heard, and falls with the next.
    pub bound: bool,
    /// Whether whatever is written under a lease is a sign of life, not just its renewal.
    pub all_are_signs: bool,
    /// Whether a leader ceases to act before it sends its release.
    pub stops_first: bool,
    /// Whether a renewal is refused where the newest epoch is another's.
    pub validates: bool,
    /// Whether a record has a nonce by which its writer knows it again.
    pub nonce: bool,
}

impl Rules {
    /// The protocol.
    pub fn right() -> Self {
        Self {
            from_first_send: true,
            bound: true,
            all_are_signs: true,
            stops_first: true,
            validates: true,
            nonce: true,
        }
    }
}

/// Bounds in ticks of real time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// A holder is inside no longer than this after it began to send.
    pub hold: u8,
    /// An observer waits no shorter than this after it received a sign of life.
    pub ttl: u8,
}

impl Times {
    /// 8 s on a clock that is slow by the ratio 1.4, and 12 s.
    pub const DESIGNED: Self = Self { hold: 14, ttl: 15 };
    /// The same order in small numbers.
    pub const SMALL: Self = Self { hold: 2, ttl: 3 };
}

/// The bounds.
#[derive(Debug, Clone, Copy)]
pub struct Lease {
    /// What everybody abides by.
    pub rules: Rules,
    /// How long things last.
    pub times: Times,
    /// How many instances there are.
    pub instances: usize,
    /// How many records fit.
    pub records: usize,
    /// How many answers are lost while the call was carried out.
    pub unheard: u8,
    /// How many creates stay in flight.
    pub late: u8,
    /// How many outcomes are left unknown.
    pub unknown: u8,
    /// How many requests there are.
    pub requests: u8,
    /// Whether leaders write anything but renewals.
    pub books: bool,
    /// How many crashes there are.
    pub crashes: u8,
}

impl Lease {
    /// For every test run.
    pub fn small() -> Self {
        let (rules, times) = (Rules::right(), Times::SMALL);
        Self {
            rules,
            times,
            instances: 2,
            records: 3,
            unheard: 1,
            late: 0,
            unknown: 0,
            requests: 0,
            books: false,
            crashes: 0,
        }
    }
}

/// What a record says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// The lease was taken.
    Acquired,
    /// It was renewed.
    Renewed,
    /// Something else was written under it, which renews it.
    Booked,
    /// It was given back.
    Released,
    /// Somebody asked for something; no sign of life.
    Requested,
}

/// A record, and who wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Entry {
    kind: Kind,
    epoch: u8,
    author: usize,
    nonce: u8,
    /// For whoever takes the lease: the record before which he heard the last sign of life, counted from 1.
    after: usize,
}

/// What becomes of a create.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fate {
    /// It is carried out and answered.
    Answered,
    /// It is carried out, the answer is lost.
    Unheard,
    /// There is no answer, and it is still in flight.
    Late,
}

/// What an instance has under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Nothing.
    Watching,
    /// A create at the number that it knows to be next, not sent or not known to have been carried out.
    Sending(Sent),
    /// The same, to be read back.
    Settling(Sent),
}

/// A create under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Sent {
    entry: Entry,
    /// Ticks since before the first send.
    age: u8,
}

/// An instance; a crash leaves nothing of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Instance {
    /// How many records it has read.
    seen: usize,
    /// The newest epoch it knows of.
    epoch: u8,
    /// Whether that lease was given back.
    released: bool,
    /// The last sign of life among the records it has read, counted from 1.
    signed: usize,
    /// Ticks since it received that.
    silence: u8,
    /// Told apart from what it may have sent before, although a crash leaves nothing else.
    nonce: u8,
    /// Its own lease, if it has one: the epoch, and ticks since its newest deadline began to run.
    lease: Option<(u8, u8)>,
    phase: Phase,
}

/// Everything there is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct State {
    log: Vec<Entry>,
    /// Creates that may still land, with their number.
    flying: Vec<(usize, Entry)>,
    instances: Vec<Instance>,
    unheard: u8,
    late: u8,
    unknown: u8,
    requests: u8,
    crashes: u8,
}

/// One step of one party.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// Time goes by.
    Tick,
    /// Reads the next record.
    Read(usize),
    /// Decides to write.
    Decide(usize, Kind),
    /// Creates.
    Create(usize, Fate),
    /// Reads back.
    ReadBack(usize),
    /// Leaves the outcome unknown.
    GiveUp(usize),
    /// Loses all it knows.
    Crash(usize),
    /// A create that was in flight lands.
    Land(usize),
}

impl Lease {
    /// The epoch under which an instance may act now.
    pub fn epoch_inside(&self, state: &State, index: usize) -> Option<u8> {
        let lease = state.instances[index].lease.filter(|(_, age)| *age <= self.times.hold);
        lease.map(|(epoch, _)| epoch)
    }

    fn inside(&self, instance: &Instance) -> bool {
        instance.lease.is_some_and(|(_, age)| age <= self.times.hold)
    }

    fn may_take_over(&self, instance: &Instance) -> bool {
        let silent = instance.silence >= self.times.ttl;
        instance.epoch == 0 || instance.released || silent
    }

    fn instance_actions(&self, state: &State, index: usize, actions: &mut Vec<Action>) {
        let instance = &state.instances[index];
        match instance.phase {
            Phase::Watching => {
                if instance.seen < state.log.len() {
                    actions.push(Action::Read(index));
                }
                self.decisions(state, index, actions);
            }
            Phase::Sending(_) => {
                actions.push(Action::Create(index, Fate::Answered));
                if state.unheard > 0 {
                    actions.push(Action::Create(index, Fate::Unheard));
                }
                if state.late > 0 {
                    actions.push(Action::Create(index, Fate::Late));
                }
            }
            Phase::Settling(_) => {
                actions.push(Action::ReadBack(index));
                if state.unknown > 0 {
                    actions.push(Action::GiveUp(index));
                }
            }
        }
        if state.crashes > 0 && (instance.seen > 0 || instance.phase != Phase::Watching) {
            actions.push(Action::Crash(index));
        }
    }

    fn decisions(&self, state: &State, index: usize, actions: &mut Vec<Action>) {
        let instance = &state.instances[index];
        if instance.seen == self.records {
            return;
        }
        let leads = instance.lease.is_some_and(|(epoch, _)| epoch == instance.epoch && !instance.released);
        if leads {
            actions.push(Action::Decide(index, Kind::Renewed));
            if self.books {
                actions.push(Action::Decide(index, Kind::Booked));
            }
            actions.push(Action::Decide(index, Kind::Released));
        } else {
            if state.requests > 0 {
                actions.push(Action::Decide(index, Kind::Requested));
            }
            if self.may_take_over(instance) {
                actions.push(Action::Decide(index, Kind::Acquired));
            }
        }
    }

    fn step(&self, state: &mut State, action: Action) {
        match action {
            Action::Tick => self.tick(state),
            Action::Read(index) => {
                let entry = state.log[state.instances[index].seen];
                state.instances[index].take_in(self.rules, entry);
            }
            Action::Decide(index, kind) => {
                state.requests -= u8::from(kind == Kind::Requested);
                self.decide(&mut state.instances[index], index, kind);
            }
            Action::Create(index, fate) => self.create(state, index, fate),
            Action::ReadBack(index) => self.read_back(state, index),
            Action::GiveUp(index) => {
                state.unknown -= 1;
                let instance = &mut state.instances[index];
                instance.phase = Phase::Watching;
                instance.nonce += u8::from(self.rules.nonce);
            }
            Action::Crash(index) => {
                state.crashes -= 1;
                let nonce = state.instances[index].nonce + u8::from(self.rules.nonce);
                state.instances[index] = Instance { nonce, ..Instance::new() };
            }
            Action::Land(index) => {
                let (seq, entry) = state.flying.remove(index);
                state.place(seq, entry);
            }
        }
    }

    fn tick(&self, state: &mut State) {
        let Times { hold, ttl } = self.times;
        for instance in &mut state.instances {
            instance.silence = (instance.silence + 1).min(ttl);
            if let Some((_, age)) = &mut instance.lease {
                *age = (*age + 1).min(hold + 1);
            }
            if let Phase::Sending(sent) | Phase::Settling(sent) = &mut instance.phase {
                sent.age = (sent.age + 1).min(hold + 1);
            }
        }
    }

    fn decide(&self, instance: &mut Instance, index: usize, kind: Kind) {
        let epoch = match kind {
            Kind::Acquired => instance.epoch + 1,
            Kind::Requested => 0,
            Kind::Renewed | Kind::Booked | Kind::Released => instance.epoch,
        };
        let after = if kind == Kind::Acquired { instance.signed } else { 0 };
        if kind == Kind::Released && self.rules.stops_first {
            instance.lease = None;
        }
        let entry = Entry { kind, epoch, author: index, nonce: instance.nonce, after };
        instance.phase = Phase::Sending(Sent { entry, age: 0 });
    }

    fn create(&self, state: &mut State, index: usize, fate: Fate) {
        let Phase::Sending(sent) = state.instances[index].phase else { return };
        let seq = state.instances[index].seen;
        state.unheard -= u8::from(fate == Fate::Unheard);
        if fate == Fate::Late {
            state.late -= 1;
            state.flying.push((seq, sent.entry));
            state.flying.sort_unstable();
        }
        let created = fate != Fate::Late && state.place(seq, sent.entry);
        if created && fate == Fate::Answered {
            self.succeed(&mut state.instances[index], sent);
        } else {
            state.instances[index].phase = Phase::Settling(sent);
        }
    }

    fn read_back(&self, state: &mut State, index: usize) {
        let instance = &mut state.instances[index];
        let Phase::Settling(sent) = instance.phase else { return };
        match state.log.get(instance.seen) {
            Some(found) if *found == sent.entry => self.succeed(instance, sent),
            Some(found) => {
                instance.take_in(self.rules, *found);
                if self.stands(instance, sent.entry) && instance.seen < self.records {
                    instance.phase = Phase::Sending(sent);
                }
            }
            None => instance.phase = Phase::Sending(sent),
        }
    }

    /// Whether what lost its number to another record is tried at the next one.
    fn stands(&self, instance: &Instance, entry: Entry) -> bool {
        match entry.kind {
            Kind::Acquired => {
                let unheard = entry.after == instance.signed || !self.rules.bound;
                entry.epoch == instance.epoch + 1 && unheard
            }
            Kind::Requested => true,
            Kind::Renewed | Kind::Booked | Kind::Released => {
                !self.rules.validates || entry.epoch == instance.epoch && !instance.released
            }
        }
    }

    fn succeed(&self, instance: &mut Instance, sent: Sent) {
        instance.take_in(self.rules, sent.entry);
        let age = if self.rules.from_first_send { sent.age } else { 0 };
        match sent.entry.kind {
            Kind::Acquired | Kind::Renewed | Kind::Booked => instance.lease = Some((sent.entry.epoch, age)),
            Kind::Released => instance.lease = None,
            Kind::Requested => {}
        }
    }
}

impl Instance {
    fn new() -> Self {
        Self {
            seen: 0,
            epoch: 0,
            released: false,
            signed: 0,
            silence: 0,
            nonce: 0,
            lease: None,
            phase: Phase::Watching,
        }
    }

    /// Takes in the next record.
    fn take_in(&mut self, rules: Rules, entry: Entry) {
        self.seen += 1;
        self.phase = Phase::Watching;
        let sign = match entry.kind {
            Kind::Requested => false,
            Kind::Booked => rules.all_are_signs,
            Kind::Acquired | Kind::Renewed | Kind::Released => true,
        };
        if sign {
            (self.signed, self.silence) = (self.seen, 0);
        }
        match entry.kind {
            Kind::Acquired => (self.epoch, self.released) = (entry.epoch, false),
            Kind::Released => self.released = true,
            _ => {}
        }
        // Whoever sees a newer epoch than its own is no leader any more.
        self.lease = self.lease.filter(|(epoch, _)| *epoch == self.epoch);
    }
}

impl State {
    fn place(&mut self, seq: usize, entry: Entry) -> bool {
        let free = seq == self.log.len();
        if free {
            self.log.push(entry);
        }
        free
    }

    fn epochs_grow(&self) -> bool {
        let epochs = self.log.iter().filter(|entry| entry.kind != Kind::Requested).map(|entry| entry.epoch);
        epochs.is_sorted()
    }

    fn epochs_are_taken_once(&self) -> bool {
        let taken = self.log.iter().filter(|entry| entry.kind == Kind::Acquired).map(|entry| entry.epoch);
        taken.is_sorted_by(|before, after| before < after)
    }

    fn newest_epoch(&self) -> u8 {
        self.log.iter().map(|entry| entry.epoch).max().unwrap_or(0)
    }
}

impl Model for Lease {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            log: Vec::new(),
            flying: Vec::new(),
            instances: vec![Instance::new(); self.instances],
            unheard: self.unheard,
            late: self.late,
            unknown: self.unknown,
            requests: self.requests,
            crashes: self.crashes,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        actions.push(Action::Tick);
        for index in 0..state.instances.len() {
            self.instance_actions(state, index, actions);
        }
        actions.extend((0..state.flying.len()).map(Action::Land));
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let mut next = state.clone();
        self.step(&mut next, action);
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        fn inside(lease: &Lease, state: &State) -> usize {
            state.instances.iter().filter(|instance| lease.inside(instance)).count()
        }
        vec![
            Property::always("no two are inside", |lease: &Self, s: &State| inside(lease, s) < 2),
            Property::always("nobody is inside under an old epoch", |lease: &Self, s: &State| {
                let newest = s.newest_epoch();
                let mut leases = s.instances.iter().filter(|instance| lease.inside(instance));
                leases.all(|instance| instance.lease.is_some_and(|(epoch, _)| epoch == newest))
            }),
            Property::always("epochs only grow", |_, s: &State| s.epochs_grow()),
            Property::always("an epoch is taken once", |_, s: &State| s.epochs_are_taken_once()),
            Property::sometimes("a silent leader is taken over from", |lease: &Self, s: &State| {
                inside(lease, s) == 1
                    && s.newest_epoch() == 2
                    && s.log.iter().all(|e| e.kind != Kind::Released)
            }),
            Property::sometimes("a lease is given back and taken", |lease: &Self, s: &State| {
                inside(lease, s) == 1
                    && s.newest_epoch() == 2
                    && s.log.iter().any(|e| e.kind == Kind::Released)
            }),
            Property::sometimes("a lease is taken in spite of a request", |lease: &Self, s: &State| {
                let taken = |pair: &[Entry]| pair[1].kind == Kind::Acquired && pair[1].after > 0;
                let mut pairs = s.log.windows(2);
                lease.requests == 0 || pairs.any(|pair| pair[0].kind == Kind::Requested && taken(pair))
            }),
            Property::sometimes("a lease is renewed", |lease: &Self, s: &State| {
                inside(lease, s) == 1 && s.log.iter().any(|e| e.kind == Kind::Renewed)
            }),
        ]
    }
}
