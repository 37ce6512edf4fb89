//! What the parties to one log know.

use super::store::{Digest, Record, Store};

/// A moment, by the boot clock of the instance that remembers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Mark {
    /// The last record at that moment, which nobody knows.
    pub since: usize,
    /// Whether less than half the retention has passed.
    pub fresh: bool,
}

impl Mark {
    /// This moment.
    pub fn now(store: &Store) -> Self {
        Self { since: store.tail(), fresh: true }
    }
}

/// The record that was the last one at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Anchor {
    /// Its number.
    pub seq: usize,
    /// Its digest.
    pub digest: Digest,
    /// The moment.
    pub mark: Mark,
}

/// Where an instance stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// It has no view.
    Opening,
    /// It reads on from a snapshot.
    Loading {
        /// The snapshot.
        base: usize,
        /// How often it has listed.
        pass: u8,
        /// Where it was when it listed last.
        listed: usize,
    },
    /// It has found no next record and lists.
    Listing {
        /// The snapshot.
        base: usize,
        /// How often it has listed.
        pass: u8,
    },
    /// It reads on.
    Reading {
        /// Whether it has looked for its anchor.
        vouched: bool,
    },
    /// It looks for its anchor; after reading it knows whether the chain is broken.
    Vouching {
        /// None before reading.
        broken: Option<bool>,
    },
    /// It believes its view.
    Ready,
    /// It is about to create.
    Sending(Record),
    /// It does not know whether it created.
    Settling(Record),
    /// Its record stands there.
    Checking(Record),
}

/// An instance. Everything here is lost in a crash but `done`, which keeps operations apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Writer {
    /// Where it stands.
    pub phase: Phase,
    /// The last record of its view.
    pub seq: usize,
    /// That record's digest.
    pub digest: Digest,
    /// Where the log is known to have been whole.
    pub anchor: Option<Anchor>,
    /// When the look or the send that is under way began.
    pub begun: Option<Mark>,
    /// How many operations have come to an end, known or not.
    pub done: u8,
    /// Whether the operation at hand lost against another.
    pub lost: bool,
}

impl Writer {
    /// One that knows nothing.
    pub fn new() -> Self {
        let (phase, anchor, begun) = (Phase::Opening, None, None);
        Self { phase, seq: 0, digest: 0, anchor, begun, done: 0, lost: false }
    }

    /// Whether its place may have been trimmed, as far as it knows.
    pub fn in_doubt(&self) -> bool {
        !self.anchor.is_some_and(|anchor| anchor.mark.fresh)
    }

    /// The last record of its view was the last one then.
    pub fn anchor_here(&mut self, mark: Mark) {
        let mark = if mark.fresh { mark } else { Mark { since: 0, fresh: false } };
        self.anchor = Some(Anchor { seq: self.seq, digest: self.digest, mark });
    }

    /// The operation at hand has come to an end.
    pub fn end(&mut self) {
        self.done += 1;
        self.lost = false;
        self.begun = None;
        self.phase = Phase::Ready;
    }

    /// The outcome is unknown, and so is its place.
    pub fn stall(&mut self) {
        self.end();
        self.anchor = None;
    }

    /// Whatever it knows of the log is forgotten.
    pub fn reopen(&mut self) {
        (self.phase, self.seq, self.digest) = (Phase::Opening, 0, 0);
        (self.anchor, self.begun) = (None, None);
    }

    /// Whether there is a moment that it thinks of as near.
    pub fn may_age(&self) -> bool {
        !self.in_doubt() || self.begun.is_some_and(|mark| mark.fresh)
    }

    /// The oldest of those moments is near no more.
    pub fn age(&mut self) {
        match (&mut self.anchor, &mut self.begun) {
            (Some(Anchor { mark, .. }), _) if mark.fresh => *mark = Mark { since: 0, fresh: false },
            (_, Some(mark)) => mark.fresh = false,
            _ => {}
        }
    }

    /// Where an anchor in doubt is of no use, it and what was begun under it are forgotten: nothing comes of them.
    pub fn forget(&mut self) {
        if !self.in_doubt() {
            return;
        }
        self.anchor = None;
        if matches!(self.phase, Phase::Reading { .. }) {
            self.reopen();
        } else if matches!(self.phase, Phase::Sending(_) | Phase::Settling(_)) {
            self.begun = None;
        }
    }

    /// Whether a moment that it thinks of as near keeps that record from being trimmed.
    pub fn remembers(&self, seq: usize) -> bool {
        let anchor = self.anchor.map(|anchor| anchor.mark);
        [anchor, self.begun].into_iter().flatten().any(|mark| mark.fresh && mark.since <= seq)
    }

    /// Whether it has something under way.
    pub fn at_work(&self) -> bool {
        matches!(self.phase, Phase::Sending(_) | Phase::Settling(_) | Phase::Checking(_))
    }
}

/// Everything there is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct State {
    /// The store.
    pub store: Store,
    /// The instances.
    pub writers: Vec<Writer>,
    /// Answers that may still be lost.
    pub unheard: u8,
    /// Creates that may still stay in flight.
    pub late: u8,
    /// Crashes that may still come.
    pub crashes: u8,
    /// Operations, as bits, that were reported as not written.
    pub denied: u8,
    /// A record was reported committed that is not in the chain.
    pub lied: bool,
    /// Somebody took for the end what was not when it looked.
    pub missed: bool,
    /// A whole chain was called broken.
    pub alarm: bool,
}

impl State {
    /// Whether those who believe their view have one of the chain.
    pub fn observes_the_chain(&self) -> bool {
        self.writers
            .iter()
            .filter(|writer| writer.phase == Phase::Ready || writer.at_work())
            .all(|writer| self.store.chain[writer.seq].is_some_and(|record| record.digest() == writer.digest))
    }

    /// Whether each record follows the one before it.
    pub fn chain_is_whole(&self) -> bool {
        self.store.chain.windows(2).all(|pair| match (pair[0], pair[1]) {
            (_, None) => true,
            (before, Some(after)) => before.is_some_and(|before| before.digest() == after.previous),
        })
    }

    fn times(&self, operation: u8) -> usize {
        self.store.chain.iter().flatten().filter(|record| record.operation == operation).count()
    }

    /// Whether no operation stands in two records.
    pub fn each_at_most_once(&self) -> bool {
        self.store.chain.iter().flatten().skip(1).all(|record| self.times(record.operation) == 1)
    }

    /// Whether nothing that was reported as not written is in the chain.
    pub fn denied_are_absent(&self) -> bool {
        (0..8).all(|operation| self.denied & 1 << operation == 0 || self.times(operation) == 0)
    }

    /// Whether every anchor is there that its instance does not doubt.
    pub fn anchors_stand(&self) -> bool {
        let anchors = self.writers.iter().filter_map(|writer| writer.anchor);
        anchors.filter(|anchor| anchor.mark.fresh).all(|anchor| anchor.stands(&self.store))
    }
}
