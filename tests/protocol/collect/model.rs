//! Publishers and collectors of one digest.

use stateright::{Model, Property};

use crate::catalog::{Catalog, Key, Operation, Rules};

/// The bounds.
#[derive(Debug, Clone, Copy)]
pub struct Collect {
    /// What everybody abides by.
    pub rules: Rules,
    /// How many instances publish; each has a package of its own.
    pub publishers: u8,
    /// How many copies are uploaded.
    pub keys: usize,
    /// How many records there are.
    pub records: u8,
    /// How many commits are not heard of by their writer.
    pub unheard: u8,
    /// How many uploads are repeated by the network.
    pub echoes: u8,
    /// How many copies are found damaged.
    pub damages: u8,
    /// How many leaders there are, one after the other or not.
    pub leaders: u8,
    /// How often the controller keeps a copy that its books alone name.
    pub books: u8,
}

impl Collect {
    /// For every test run.
    pub fn small() -> Self {
        let rules = Rules::right();
        Self {
            rules,
            publishers: 2,
            keys: 1,
            records: 6,
            unheard: 1,
            echoes: 0,
            damages: 0,
            leaders: 1,
            books: 0,
        }
    }
}

/// Where the session of a publisher stands; it ends with a crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Session {
    /// There is none.
    Idle,
    /// It began when that was the last record.
    Begun(u8),
    /// It has uploaded a copy.
    Uploaded(Key),
}

/// What the controller has under way for its books; it has the turn meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Books {
    /// Nothing.
    Closed,
    /// It began when that was the last record.
    Open(u8),
    /// It has put a copy, and its record is under way.
    Put(Key),
}

/// Everything there is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct State {
    catalog: Catalog,
    /// The number in each key.
    starts: Vec<u8>,
    /// The copies that are in the store, as bits.
    present: u8,
    /// The copies that a DELETE was decided for, as bits.
    doomed: u8,
    /// What an older list of the store held and the state did not know, as bits.
    listed: u8,
    sessions: Vec<Session>,
    unheard: u8,
    echoes: u8,
    damages: u8,
    books: Books,
    /// How often they may still be opened.
    entries: u8,
    /// The copy that the newest record of the controller names.
    kept: Option<Key>,
    /// Whether a copy was collected to the end.
    purged: bool,
}

/// One step of one party.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// A publisher begins a session.
    Begin(usize),
    /// It uploads a copy.
    Upload(usize),
    /// It uploads a copy and does not hear of it.
    UploadUnheard(usize),
    /// A publisher commits, with the copy it uploaded or with the one that the catalog has; and hears of it, or not.
    Publish(usize, Operation, bool),
    /// A publisher dies or gives up.
    Abandon(usize),
    /// Something else is committed, under that epoch.
    Commit(Operation, u8),
    /// A collector decides to delete a copy.
    Doom(Key),
    /// A DELETE is carried out.
    Delete(Key),
    /// A collector lists the store and notes what the state does not know.
    List,
    /// An upload is repeated by the network.
    Echo(Key),
    /// The controller takes the turn.
    OpenBooks,
    /// It puts a copy.
    PutBooks,
    /// Its record names that copy.
    NameBooks,
    /// It dies or gives up, and no record of it comes.
    CloseBooks,
}

impl Collect {
    fn session_actions(&self, state: &State, index: usize, actions: &mut Vec<Action>) {
        let package = u8::try_from(index).unwrap_or(u8::MAX);
        let key = match state.sessions[index] {
            Session::Idle => {
                actions.push(Action::Begin(index));
                return;
            }
            Session::Begun(_) => {
                if state.starts.len() < self.keys {
                    actions.push(Action::Upload(index));
                    if state.unheard > 0 {
                        actions.push(Action::UploadUnheard(index));
                    }
                }
                None
            }
            Session::Uploaded(key) => Some(key),
        };
        actions.push(Action::Abandon(index));
        let replaces = key.map(Operation::Replace).filter(|operation| self.allowed(state, *operation, 0));
        actions.extend(replaces.map(|operation| Action::Publish(index, operation, true)));
        let operation = Operation::Publish(package, key);
        if self.allowed(state, operation, 0) {
            actions.push(Action::Publish(index, operation, true));
            if state.unheard > 0 {
                actions.push(Action::Publish(index, operation, false));
            }
        }
    }

    /// Whether that record may follow.
    pub fn allowed(&self, state: &State, operation: Operation, epoch: u8) -> bool {
        let room = state.catalog.seq < self.records;
        room && state.catalog.validate(self.rules, &state.starts, operation, epoch)
    }

    /// What is committed without a session.
    fn operations(&self, state: &State) -> Vec<(Operation, u8)> {
        let mut operations: Vec<_> = (0..self.publishers).map(|p| (Operation::Unpublish(p), 0)).collect();
        if state.damages > 0 {
            operations.extend((0..state.starts.len()).map(|key| (Operation::Quarantine(key), 0)));
        }
        operations.extend((0..state.starts.len()).map(|key| (Operation::Clear(key), 0)));
        operations.retain(|(operation, epoch)| self.allowed(state, *operation, *epoch));
        for epoch in 1..=self.leaders {
            let leaders = self.leaders_operations(state, epoch).into_iter();
            operations.extend(leaders.map(|operation| (operation, epoch)));
        }
        operations
    }

    /// What the leader of that epoch may commit now.
    pub fn leaders_operations(&self, state: &State, epoch: u8) -> Vec<Operation> {
        let mut operations = vec![Operation::Fence];
        operations.extend((1..=state.catalog.seq).map(Operation::Watermark));
        for key in 0..state.starts.len() {
            operations.push(Operation::Condemn(key));
            let gone = state.doomed & !state.present & 1 << key != 0;
            if gone {
                operations.push(Operation::Purge(key));
            }
        }
        operations.retain(|operation| self.allowed(state, *operation, epoch));
        operations
    }

    /// The copies that a collector may newly decide to delete.
    pub fn decisions(&self, state: &State) -> Vec<Key> {
        let open = (0..state.starts.len()).filter(|key| state.doomed & 1 << key == 0);
        open.filter(|key| self.may_doom(state, *key)).collect()
    }

    /// Whether a collector may decide now that the copy can go. A decision that was made on an older state is one
    /// that was made then, and carried out late.
    fn may_doom(&self, state: &State, key: Key) -> bool {
        let catalog = &state.catalog;
        let condemned = catalog.condemned & 1 << key != 0;
        let dead = state.starts[key] < catalog.watermark;
        let turn = state.books == Books::Closed || !self.rules.takes_turns;
        let unnamed = !catalog.knows(key) && state.kept != Some(key) && turn;
        let unknown = if self.rules.lists_after { unnamed } else { state.listed & 1 << key != 0 };
        let retired = !self.rules.condemns && catalog.expendable(self.rules, key);
        condemned || dead && unknown || retired
    }

    fn step(state: &mut State, action: Action) {
        match action {
            Action::Begin(index) => state.sessions[index] = Session::Begun(state.catalog.seq),
            Action::Upload(index) => {
                let key = state.upload(index);
                state.sessions[index] = Session::Uploaded(key);
            }
            Action::UploadUnheard(index) => {
                state.unheard -= 1;
                state.upload(index);
            }
            Action::Publish(index, operation, heard) => {
                state.catalog.apply(operation, 0);
                if heard {
                    state.sessions[index] = Session::Idle;
                } else {
                    state.unheard -= 1;
                }
            }
            Action::Abandon(index) => state.sessions[index] = Session::Idle,
            Action::Commit(operation, epoch) => {
                state.damages -= u8::from(matches!(operation, Operation::Quarantine(_)));
                state.purged |= matches!(operation, Operation::Purge(_));
                state.catalog.apply(operation, epoch);
            }
            Action::Doom(key) => state.doomed |= 1 << key,
            Action::Delete(key) => state.present &= !(1 << key),
            Action::List => {
                let unknown = (0..state.starts.len()).filter(|key| !state.catalog.knows(*key));
                state.listed = unknown.fold(0, |bits, key| bits | 1 << key);
            }
            Action::Echo(key) => {
                state.echoes -= 1;
                state.present |= 1 << key;
            }
            Action::OpenBooks => {
                state.entries -= 1;
                state.books = Books::Open(state.catalog.seq);
            }
            Action::PutBooks => {
                let Books::Open(start) = state.books else { return };
                state.books = Books::Put(state.put(start));
            }
            Action::NameBooks => {
                let Books::Put(key) = state.books else { return };
                (state.kept, state.books) = (Some(key), Books::Closed);
            }
            Action::CloseBooks => state.books = Books::Closed,
        }
    }
}

impl State {
    fn upload(&mut self, index: usize) -> Key {
        let Session::Begun(start) = self.sessions[index] else { return 0 };
        self.put(start)
    }

    fn put(&mut self, start: u8) -> Key {
        let key = self.starts.len();
        self.starts.push(start);
        self.present |= 1 << key;
        key
    }

    /// The newest epoch under which a leader wrote.
    pub fn newest_epoch(&self) -> u8 {
        self.catalog.epoch
    }

    /// Whether a leader wrote after a newer one.
    pub fn went_back(&self) -> bool {
        self.catalog.went_back
    }

    /// Whether the copy that packages mean, or may be taken to mean again, is in the store, and that of the books.
    pub fn is_there(&self) -> bool {
        let mut named = self.catalog.live.into_iter().chain(self.kept);
        named.all(|key| self.present & 1 << key != 0)
    }
}

impl Model for Collect {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            catalog: Catalog::default(),
            starts: Vec::new(),
            present: 0,
            doomed: 0,
            listed: 0,
            sessions: vec![Session::Idle; self.publishers.into()],
            unheard: self.unheard,
            echoes: self.echoes,
            damages: self.damages,
            books: Books::Closed,
            entries: self.books,
            kept: None,
            purged: false,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        for index in 0..state.sessions.len() {
            self.session_actions(state, index, actions);
        }
        actions.extend(self.operations(state).into_iter().map(|(o, epoch)| Action::Commit(o, epoch)));
        actions.extend(self.decisions(state).into_iter().map(Action::Doom));
        for key in 0..state.starts.len() {
            let there = state.present & 1 << key != 0;
            let doomed = state.doomed & 1 << key != 0;
            if doomed && there {
                actions.push(Action::Delete(key));
            }
            if !there && state.echoes > 0 {
                actions.push(Action::Echo(key));
            }
        }
        match state.books {
            Books::Closed if state.entries > 0 => actions.push(Action::OpenBooks),
            Books::Closed => {}
            Books::Open(_) if state.starts.len() < self.keys => actions.push(Action::PutBooks),
            Books::Open(_) => actions.push(Action::CloseBooks),
            Books::Put(_) => actions.extend([Action::NameBooks, Action::CloseBooks]),
        }
        if !self.rules.lists_after {
            actions.push(Action::List);
        }
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let mut next = state.clone();
        Self::step(&mut next, action);
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("no referenced copy is deleted", |_, s: &State| s.is_there()),
            Property::always("what is published can be read", |_, s: &State| {
                s.catalog.packages == 0 || s.catalog.live.is_some()
            }),
            Property::always("epochs never go back", |_, s: &State| !s.catalog.went_back),
            Property::sometimes("a copy is collected to the end", |_, s: &State| s.purged),
            Property::sometimes("a dead session's copy is deleted", |_, s: &State| {
                let dead = |key: Key| s.starts[key] < s.catalog.watermark && !s.catalog.knows(key);
                !s.purged && (0..s.starts.len()).any(|key| dead(key) && s.present & 1 << key == 0)
            }),
            Property::sometimes("a retired copy is taken back", |_, s: &State| {
                s.catalog.packages == 2
                    && s.catalog.live == Some(0)
                    && s.starts.len() == 1
                    && s.catalog.seq == 3
            }),
        ]
    }
}
