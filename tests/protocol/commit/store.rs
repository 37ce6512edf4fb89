//! What the store holds, what is on its way to it, and what can be asked of it.

use std::hash::{DefaultHasher, Hash, Hasher};

/// How many numbers there are; record 0 is there from the beginning.
pub const LENGTH: usize = 5;

/// The digest of a record.
pub type Digest = u64;

/// A record. Its number is part of its place and of its digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Record {
    /// The number.
    pub seq: usize,
    /// What it says: the one operation that it holds, by number.
    pub operation: u8,
    /// The nonce: it tells apart records that say the same.
    pub nonce: u8,
    /// The digest of the record before it.
    pub previous: Digest,
}

impl Record {
    /// Record 0.
    pub const FIRST: Self = Self { seq: 0, operation: u8::MAX, nonce: 0, previous: 0 };

    /// Its digest.
    pub fn digest(&self) -> Digest {
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        hasher.finish()
    }
}

/// What becomes of a create.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fate {
    /// It is carried out and answered.
    Answered,
    /// It is carried out, the answer is lost.
    Unheard,
    /// It is carried out and answered, and a copy of it is still in flight.
    Doubled,
    /// There is no answer, and it is still in flight.
    Late,
}

/// A create that may still land.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Flying {
    record: Record,
    /// The last record at the time it was sent, if that matters: it dies before half the retention is over.
    since: usize,
}

/// A linearizable map with create-if-absent, get, list and delete, for one log; and its past, which nobody can ask
/// for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Store {
    /// What stands at each number.
    log: [Option<Record>; LENGTH],
    /// The first record that ever stood there: the one chain.
    pub chain: [Option<Record>; LENGTH],
    /// The records that were deleted, as bits.
    deleted: u8,
    /// Creates that may still land.
    flying: Vec<Flying>,
}

impl Store {
    /// A log that holds record 0 only.
    pub fn new() -> Self {
        let mut log = [None; LENGTH];
        log[0] = Some(Record::FIRST);
        Self { log, chain: log, deleted: 0, flying: Vec::new() }
    }

    /// GET of a record.
    pub fn get(&self, seq: usize) -> Option<Record> {
        self.log.get(seq).copied().flatten()
    }

    /// LIST of the records after that one.
    pub fn any_after(&self, seq: usize) -> bool {
        self.log.iter().skip(seq + 1).any(Option::is_some)
    }

    /// The last record that there is.
    pub fn tail(&self) -> usize {
        self.chain.iter().flatten().count() - 1
    }

    /// A create with that fate, of which a copy in flight dies of age or not; what the writer hears, if anything.
    pub fn create(&mut self, record: Record, fate: Fate, dies: bool) -> Option<bool> {
        if matches!(fate, Fate::Doubled | Fate::Late) {
            let since = if dies { self.tail() } else { LENGTH };
            self.flying.push(Flying { record, since });
            self.flying.sort_unstable();
        }
        let created = fate != Fate::Late && self.place(record);
        matches!(fate, Fate::Answered | Fate::Doubled).then_some(created)
    }

    /// How many creates may still land.
    pub fn flying(&self) -> usize {
        self.flying.len()
    }

    /// A create that was in flight lands.
    pub fn land(&mut self, index: usize) {
        let flying = self.flying.remove(index);
        self.place(flying.record);
    }

    /// A create that was in flight is refused for its age.
    pub fn expire(&mut self, index: usize) {
        self.flying.remove(index);
    }

    fn place(&mut self, record: Record) -> bool {
        let free = self.log[record.seq].is_none();
        if free {
            self.log[record.seq] = Some(record);
            self.chain[record.seq].get_or_insert(record);
        }
        free
    }

    /// The digest of the record at which the state of a snapshot was taken; there may be one of each record.
    pub fn snapshot(&self, seq: usize) -> Option<Digest> {
        self.chain[seq].map(|record| record.digest())
    }

    /// Whether the trimmer may delete that record now for the first time, ages left out: it goes upwards, and the
    /// record is not the newest; record 0 stays.
    pub fn may_trim(&self, seq: usize, ascending: bool, spares_the_last: bool) -> bool {
        let before = (1 << seq) - 2;
        let next = !ascending || self.deleted & before == before;
        let last = spares_the_last && seq >= self.tail();
        seq > 0 && self.deleted & 1 << seq == 0 && self.get(seq).is_some() && next && !last
    }

    /// Whether a create in flight was sent when that record was the last one, or before.
    pub fn outlives(&self, seq: usize) -> bool {
        self.flying.iter().any(|flying| flying.since <= seq)
    }

    /// A DELETE.
    pub fn delete(&mut self, seq: usize) {
        self.log[seq] = None;
        self.deleted |= 1 << seq;
    }

    /// Whether something stands where the chain's record was deleted.
    pub fn ghost(&self, seq: usize) -> bool {
        self.deleted & 1 << seq != 0 && self.get(seq).is_some()
    }
}
