//! What the store holds, what is on its way to it, and what can be asked of it.

use std::hash::{DefaultHasher, Hash, Hasher};

/// How many numbers there are; record 0 is there from the beginning.
pub const LENGTH: usize = 6;

/// How many records a mark covers.
const BLOCK: usize = 2;

/// How a writer makes sure that the record it created is no ghost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// It does not.
    Nothing,
    /// It reads the record before and compares.
    Predecessor,
    /// The same, but record 0, which is never trimmed, proves nothing.
    LaterPredecessor,
    /// It looks for the mark that is created before the first record of a block is deleted, and never deleted.
    Mark,
}

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

/// A linearizable map with create-if-absent, get and delete, for one log; and its past, which nobody can ask for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Store {
    /// What stands at each number.
    log: [Option<Record>; LENGTH],
    /// The first record that ever stood there: the one chain.
    pub chain: [Option<Record>; LENGTH],
    /// The digest of the record at which a snapshot was taken.
    pub snapshots: [Option<Digest>; LENGTH],
    /// How many blocks are marked as being trimmed; they are marked in order.
    marks: usize,
    /// The records that were deleted, as bits.
    pub deleted: u8,
    /// Creates that may still land.
    flying: Vec<Record>,
}

impl Store {
    /// A log that holds record 0 only.
    pub fn new() -> Self {
        let mut log = [None; LENGTH];
        log[0] = Some(Record::FIRST);
        let mut snapshots = [None; LENGTH];
        // An instance without a snapshot begins with record 0.
        snapshots[0] = Some(Record::FIRST.digest());
        Self { log, chain: log, snapshots, marks: 0, deleted: 0, flying: Vec::new() }
    }

    /// GET of a record.
    pub fn get(&self, seq: usize) -> Option<Record> {
        self.log.get(seq).copied().flatten()
    }

    /// GET of the mark that covers a record.
    pub fn marked(&self, seq: usize) -> bool {
        seq / BLOCK < self.marks
    }

    /// A create with that fate; what the writer hears, if anything.
    pub fn create(&mut self, record: Record, fate: Fate) -> Option<bool> {
        if matches!(fate, Fate::Doubled | Fate::Late) {
            self.flying.push(record);
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
        let record = self.flying.remove(index);
        self.place(record);
    }

    fn place(&mut self, record: Record) -> bool {
        let free = self.log[record.seq].is_none();
        if free {
            self.log[record.seq] = Some(record);
            self.chain[record.seq].get_or_insert(record);
        }
        free
    }

    /// Whether records up to that one may go: there is a snapshot of the chain at it or after it, and, unless the
    /// rule is broken, the record after it is there.
    fn expendable(&self, seq: usize, with_successor: bool) -> bool {
        let covered = (seq..LENGTH)
            .any(|at| self.chain[at].is_some_and(|record| self.snapshots[at] == Some(record.digest())));
        covered && (!with_successor || self.chain.get(seq + 1).is_some_and(Option::is_some))
    }

    /// Creates the next mark, when its whole block may go.
    pub fn mark(&mut self, with_successor: bool) -> bool {
        let last = self.marks * BLOCK + BLOCK - 1;
        let allowed = last < LENGTH && self.expendable(last, with_successor);
        self.marks += usize::from(allowed);
        allowed
    }

    /// Whether the trimmer may delete that record now for the first time.
    pub fn may_trim(&self, seq: usize, check: Check, with_successor: bool) -> bool {
        let marked = check != Check::Mark || self.marked(seq);
        seq > 0 && seq < LENGTH && self.get(seq).is_some() && marked && self.expendable(seq, with_successor)
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
