//! Numbered create-once records: the only kind of state that is written, and the one protocol for it.
//!
//! A log is a folder of objects named by 20 digits. Record N+1 names the digest of record N; whoever
//! creates it first has it, and the store decides who was first (`PutMode::Create`, the one condition that
//! every back end keeps). The state is what the operations of all records make of an empty one.
//!
//! This module knows nothing of packages: what an operation means and which are refused is said by a
//! [`State`]. Nothing is ever overwritten or deleted here.

mod log;
mod place;
mod record;

#[cfg(test)]
mod tests;

pub(super) use log::Site;
pub use log::{Access, Committed, Log};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::calls::CallError;
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
    Replay(#[source] LogError),
    /// It was sent, and neither its success nor its failure could be found out. Sending the same
    /// operations again is safe as far as their validation makes it so.
    #[error("it is not known whether record {seq} was written")]
    OutcomeUnknown {
        /// The record's number.
        seq: u64,
        /// The last error met.
        #[source]
        source: CallError,
    },
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
            Self::OutcomeUnknown { .. } | Self::Contended { .. } => ErrorClass::Retry,
            Self::TooLarge { .. } | Self::Encode(_) | Self::ReadOnly => ErrorClass::Stall,
            Self::Newer(_) => ErrorClass::Fatal,
        }
    }

    /// A stable word for labels.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::Rejected(rejection) => rejection.label(),
            Self::Replay(error) => error.label(),
            Self::OutcomeUnknown { .. } => "OutcomeUnknown",
            Self::Contended { .. } => "Contended",
            Self::TooLarge { .. } => "RecordTooLarge",
            Self::Encode(_) => "NotEncodable",
            Self::Newer(_) => "NewerFormat",
            Self::ReadOnly => "ReadOnly",
        }
    }
}
