//! Numbered create-once records: the only kind of state that is written, and the one protocol for it.
//!
//! A log is a folder of objects named by 20 digits. Record N+1 names the digest of record N; whoever
//! creates it first has it, and the store decides who was first (`PutMode::Create`, the one condition that
//! every back end keeps). The state is what the operations of all records make of an empty one.
//!
//! ```text
//! <name>/log/<20 digits>     the records; they alone count
//! <name>/snap/<20 digits>    the state after a record, so that nobody need read all of them   (snapshot)
//! <name>/hint                where the tail was lately; never trusted                         (hint)
//! ```
//!
//! Snapshots and the hint are derived: one that is missing, damaged or wrong makes a start slower and nothing
//! else. Writers of one process share records: while one is under way, what comes meanwhile goes into the next
//! ([`queue`]). Only a log that says so is ever trimmed ([`trim`]).
//!
//! This module knows nothing of packages: what an operation means and which are refused is said by a
//! [`State`].

mod audit;
mod hint;
mod load;
mod log;
mod place;
mod queue;
mod record;
mod snapshot;
mod tend;
mod trim;

#[cfg(test)]
mod tests;

pub(super) use audit::{Audit, audit};
pub use log::{Access, Committed, Log};
pub(super) use log::{Names, Site};
pub use trim::Trimmed;

use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::calls::CallError;
use super::gate::Shut;
use crate::model::{Epoch, ErrorClass};

/// The most that one record may hold, in bytes.
pub const RECORD_LIMIT: usize = 256 * 1024;

/// The format that this program writes; it reads no newer one.
pub const FORMAT: u32 = 1;

/// What the operations of a log add up to.
pub trait State: Default + Clone + Send + Sync + 'static {
    /// What a record may say. An operation that does not deserialise is one of a newer program.
    type Operation: Serialize + DeserializeOwned + Send + Sync;
    /// Why an operation may not be said now.
    type Rejection: Rejection;

    /// Whether the operation may follow this state in a record of that epoch.
    ///
    /// # Errors
    /// The reason why not.
    fn validate(&self, operation: &Self::Operation, epoch: Epoch) -> Result<(), Self::Rejection>;

    /// Takes in an operation of record `seq`. It was validated before it was written, and must not fail.
    fn apply(&mut self, seq: u64, operation: &Self::Operation);

    /// The state as bytes, for a snapshot: equal states give equal bytes.
    ///
    /// # Errors
    /// In words, when it has no such form.
    fn save(&self) -> Result<Vec<u8>, String>;

    /// Reads what [`State::save`] wrote.
    ///
    /// # Errors
    /// In words, when it cannot be read; the records are read instead then.
    fn load(bytes: &[u8]) -> Result<Self, String>;
}

/// A reason to refuse an operation.
pub trait Rejection: std::error::Error + Send + Sync + 'static {
    /// What to do about it.
    fn class(&self) -> ErrorClass;
    /// A stable word for labels.
    fn label(&self) -> &'static str;
}

/// A record that only a newer program understands. What came before it can be read; nothing may be written
/// after it, because nobody here knows what it forbids.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "record {seq} was written by a newer version ({what}); what came before it is readable, \
     writing needs that version"
)]
pub struct Newer {
    /// The first record that is not understood.
    pub seq: u64,
    /// What is new in it.
    pub what: String,
}

/// A log that cannot be read as it is.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// A record could not be read.
    #[error("the log cannot be read")]
    Read(#[source] CallError),
    /// The first record could not be written.
    #[error("the log cannot be begun")]
    Begin(#[source] CallError),
    /// The first record has no JSON form.
    #[error("the first record cannot be written as JSON")]
    Encode(#[source] serde_json::Error),
    /// There is no log.
    #[error("there is no {folder}; start the daemon on this storage once")]
    Absent {
        /// The folder of the log.
        folder: &'static str,
    },
    /// A record does not continue the one before it, or is no record.
    #[error(
        "the chain of {folder} is broken at record {seq}: {what}; restore that object from a backup, \
         nothing was changed"
    )]
    Broken {
        /// The folder of the log.
        folder: &'static str,
        /// The record.
        seq: u64,
        /// What is wrong with it.
        what: String,
    },
    /// The log belongs to another registry than the rest of the storage.
    #[error("{folder} belongs to registry {found}, the rest of this storage to {expected}")]
    Foreign {
        /// The folder of the log.
        folder: &'static str,
        /// The registry's id in the log.
        found: String,
        /// The registry's id elsewhere.
        expected: String,
    },
    /// Records are there that cannot be reached, because one before them is gone.
    #[error(
        "record {missing} of {folder} is gone and record {later} is there; restore the missing records from a \
         backup, nothing was changed"
    )]
    Gap {
        /// The folder of the log.
        folder: &'static str,
        /// The record that is missing.
        missing: u64,
        /// A later one.
        later: u64,
    },
    /// Not even the first record is understood.
    #[error(transparent)]
    Newer(Newer),
}

impl LogError {
    /// What to do about it.
    #[must_use]
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Read(error) | Self::Begin(error) => error.class(),
            Self::Encode(_)
            | Self::Absent { .. }
            | Self::Broken { .. }
            | Self::Foreign { .. }
            | Self::Gap { .. }
            | Self::Newer(_) => ErrorClass::Fatal,
        }
    }

    /// A stable word for labels.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::Read(_) => "LogUnreadable",
            Self::Begin(_) => "LogNotBegun",
            Self::Encode(_) => "NotEncodable",
            Self::Absent { .. } => "LogAbsent",
            Self::Broken { .. } => "ChainBroken",
            Self::Foreign { .. } => "ForeignLog",
            Self::Gap { .. } => "LogGap",
            Self::Newer(_) => "NewerFormat",
        }
    }
}

/// Operations that were not committed, or not known to be.
#[derive(Debug, thiserror::Error)]
pub enum CommitError<R: Rejection> {
    /// They may not follow the newest state. Nothing was written.
    #[error(transparent)]
    Rejected(R),
    /// The newest state could not be read. Nothing was written.
    #[error("nothing was written")]
    Replay(#[source] Arc<LogError>),
    /// It was sent, and neither its success nor its failure could be found out. Sending the same
    /// operations again is safe as far as their validation makes it so.
    #[error("it is not known whether record {seq} was written")]
    OutcomeUnknown {
        /// The record's number.
        seq: u64,
        /// The last error met.
        #[source]
        source: Arc<CallError>,
    },
    /// Record `seq` was created where older records were trimmed away: the writer had been stalled for so long
    /// that the number may have been given before. What it wrote counts for nobody.
    #[error(
        "it is not known whether record {seq} counts: the writer was stalled for longer than records are kept"
    )]
    Stalled {
        /// The record's number.
        seq: u64,
    },
    /// Whoever wrote for several was interrupted while it did.
    #[error("the write was interrupted; it is not known whether it came to stand")]
    Interrupted,
    /// Others were faster each time. Nothing was written.
    #[error("others wrote first {losses} times in a row; nothing was written")]
    Contended {
        /// How often.
        losses: u32,
    },
    /// The operations do not fit into one record. Nothing was written.
    #[error("the operations take {size} bytes, a record holds at most {RECORD_LIMIT}; split them")]
    TooLarge {
        /// What they take, in bytes.
        size: usize,
    },
    /// The operations have no JSON form. Nothing was written.
    #[error("the operations cannot be written as JSON")]
    Encode(#[source] serde_json::Error),
    /// The log holds records of a newer program. Nothing was written.
    #[error(transparent)]
    Newer(Newer),
    /// The store must not be written to. Nothing was written.
    #[error(transparent)]
    Shut(Shut),
    /// The storage was opened for reading. Nothing was written.
    #[error("the storage was opened for reading only")]
    ReadOnly,
}

impl<R: Rejection> CommitError<R> {
    /// What to do about it.
    #[must_use]
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Rejected(rejection) => rejection.class(),
            Self::Replay(error) => error.class(),
            Self::OutcomeUnknown { .. }
            | Self::Stalled { .. }
            | Self::Interrupted
            | Self::Contended { .. } => ErrorClass::Retry,
            Self::TooLarge { .. }
            | Self::Encode(_)
            | Self::ReadOnly
            | Self::Shut(Shut::Refused(_) | Shut::ReadOnly(_)) => ErrorClass::Stall,
            Self::Shut(Shut::Unproven | Shut::NotLeading) => ErrorClass::Wait,
            Self::Newer(_) => ErrorClass::Fatal,
        }
    }

    /// Whether it would have been written if there were room.
    #[must_use]
    pub fn is_disk_full(&self) -> bool {
        matches!(self, Self::OutcomeUnknown { source, .. } if source.is_disk_full())
    }

    /// A stable word for labels.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::Rejected(rejection) => rejection.label(),
            Self::Replay(error) => error.label(),
            Self::OutcomeUnknown { .. } | Self::Stalled { .. } | Self::Interrupted => "OutcomeUnknown",
            Self::Contended { .. } => "Contended",
            Self::TooLarge { .. } => "RecordTooLarge",
            Self::Encode(_) => "NotEncodable",
            Self::Newer(_) => "NewerFormat",
            Self::ReadOnly => "ReadOnly",
            Self::Shut(_) => "WriteRefused",
        }
    }
}
