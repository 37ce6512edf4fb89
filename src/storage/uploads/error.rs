//! Why an upload does not go on.

use super::{METADATA_LIMIT, Outcome};
use crate::model::ErrorClass;
use crate::storage::calls::CallError;
use crate::storage::catalog::CatalogRejection;
use crate::storage::records::{CommitError, LogError};
use crate::storage::spool::SpoolError;

/// An upload that does not go on, or not so.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// There is none of that name.
    #[error("there is no such upload; begin a new one")]
    Unknown,
    /// It is there, and the store does not list it.
    #[error("the store does not list the upload yet; try again")]
    Unlisted,
    /// It was begun too long ago.
    #[error("the upload took too long and has expired; begin a new one")]
    Expired,
    /// It has ended.
    #[error("the upload has ended; begin a new one")]
    Over {
        /// How.
        outcome: Box<Outcome>,
    },
    /// Too many are under way.
    #[error("{open} uploads are under way, at most {limit} may be; finish or abort some")]
    TooMany {
        /// How many.
        open: usize,
        /// The limit.
        limit: usize,
    },
    /// It is too long.
    #[error("an upload may have {limit} bytes at most; this one has {length}")]
    TooLarge {
        /// The announced length.
        length: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// More bytes came than announced.
    #[error("more than the announced {length} bytes came; begin a new upload")]
    TooLong {
        /// The announced length.
        length: u64,
    },
    /// Its length was announced before.
    #[error("the upload's length is {length} already, and cannot become another")]
    LengthKnown {
        /// The length that stands.
        length: u64,
    },
    /// It came in too many small pieces.
    #[error("an upload may have {limit} pieces at most; begin a new one and send larger pieces")]
    TooManyPieces {
        /// The limit.
        limit: usize,
    },
    /// Its metadata is too long.
    #[error("the metadata of an upload may take {METADATA_LIMIT} bytes at most; this takes {size}")]
    MetadataTooLarge {
        /// What it takes, in bytes.
        size: usize,
    },
    /// It stands elsewhere.
    #[error("the upload stands at {expected}, not at {offset}; go on there")]
    WrongOffset {
        /// Where the sender wanted to go on.
        offset: u64,
        /// Where it stands.
        expected: u64,
    },
    /// The sender broke off.
    #[error("the body broke off; the upload goes on at {offset}")]
    Source {
        /// Where it stands now.
        offset: u64,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Bytes are still to come.
    #[error("the upload is not complete, {offset} bytes are there; send the rest")]
    Incomplete {
        /// How many bytes are there.
        offset: u64,
        /// The announced length.
        length: Option<u64>,
    },
    /// A piece that was there is gone.
    #[error("the piece of the upload at {offset} is gone; begin a new upload")]
    PieceMissing {
        /// Its offset.
        offset: u64,
    },
    /// A piece is not what was stored.
    #[error("the piece of the upload at {offset} is damaged in the storage; begin a new upload")]
    PieceDamaged {
        /// Its offset.
        offset: u64,
    },
    /// A newer program began it.
    #[error("the upload was begun by a newer version (format {format}); go on there")]
    Newer {
        /// Its format.
        format: u32,
    },
    /// What says something about it is no JSON.
    #[error("{key} cannot be understood; begin a new upload")]
    NotJson {
        /// The object.
        key: String,
        /// Where.
        #[source]
        source: serde_json::Error,
    },
    /// The storage is not written to.
    #[error("the upload cannot be written")]
    NotWritable(#[source] Box<CommitError<CatalogRejection>>),
    /// The catalog cannot be read.
    #[error("cannot read the catalog")]
    Follow(#[source] LogError),
    /// It cannot be read.
    #[error("the upload cannot be read")]
    Read(#[source] CallError),
    /// It cannot be written.
    #[error("the upload cannot be written")]
    Write(#[source] CallError),
    /// The disk is full.
    #[error("the upload cannot be written because the disk is full; free some space or enlarge the volume")]
    DiskFull(#[source] CallError),
    /// It could not be put together.
    #[error("the upload cannot be put together")]
    Spool(#[source] SpoolError),
    /// The process is ending.
    #[error("the work was interrupted")]
    Interrupted(#[source] tokio::task::JoinError),
}

impl UploadError {
    /// What to do about it.
    #[must_use]
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::NotWritable(error) => error.class(),
            Self::Follow(error) => error.class(),
            Self::Read(error) | Self::Write(error) | Self::DiskFull(error) => error.class(),
            Self::Spool(error) => error.class(),
            Self::Interrupted(_) | Self::TooMany { .. } | Self::Source { .. } | Self::Unlisted => {
                ErrorClass::Retry
            }
            _ => ErrorClass::Stall,
        }
    }

    /// A stable word for labels and answers.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::Unknown => "UploadUnknown",
            Self::Unlisted => "UploadUnlisted",
            Self::Expired => "UploadExpired",
            Self::Over { .. } => "UploadOver",
            Self::TooMany { .. } => "UploadsCrowded",
            Self::TooLarge { .. } => "UploadTooLarge",
            Self::TooLong { .. } => "UploadTooLong",
            Self::LengthKnown { .. } => "LengthKnown",
            Self::TooManyPieces { .. } => "TooManyPieces",
            Self::MetadataTooLarge { .. } => "UploadMetadataTooLarge",
            Self::WrongOffset { .. } => "WrongOffset",
            Self::Source { .. } => "BodyBroken",
            Self::Incomplete { .. } => "UploadIncomplete",
            Self::PieceMissing { .. } => "PieceMissing",
            Self::PieceDamaged { .. } => "PieceDamaged",
            Self::Newer { .. } => "NewerFormat",
            Self::NotJson { .. } => "UploadUnreadable",
            Self::NotWritable(error) => error.label(),
            Self::Follow(error) => error.label(),
            Self::Read(error) | Self::Write(error) => error.label(),
            Self::DiskFull(_) => "DiskFull",
            Self::Spool(error) => error.label(),
            Self::Interrupted(_) => "Interrupted",
        }
    }
}
