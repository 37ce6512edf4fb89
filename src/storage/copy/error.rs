//! Why a registry was not copied.

use crate::model::{Digest, ErrorClass};
use crate::storage::blobs::BlobError;
use crate::storage::catalog::CatalogRejection;
use crate::storage::control::ControlRejection;
use crate::storage::records::{CommitError, LogError, Newer};

/// A copy that was not made, or not to its end. What is there stays, and copying again goes on.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// Source and target are one.
    #[error("both are registry {registry}; name another place to copy to")]
    Same {
        /// Its id.
        registry: String,
    },
    /// The target holds something else.
    #[error(
        "what is at the target is no copy of this registry: {what}; choose an empty place, nothing was changed"
    )]
    Foreign {
        /// What is there.
        what: String,
    },
    /// The copy has taken the original's place before.
    #[error("this copy took over before and is a registry of its own; nothing is copied into it any more")]
    TookOver,
    /// It is no copy.
    #[error("this registry is no copy; there is nothing that it could take over")]
    NoCopy,
    /// The original lives elsewhere.
    #[error(
        "the original was moved to {to}, which is another registry; let that one go on, or copy from there"
    )]
    MovedElsewhere {
        /// Where.
        to: String,
    },
    /// A copy that has not taken over cannot give anything away.
    #[error("the original is itself a copy of registry {of} that has not taken over; cut over to it first")]
    OfCopy {
        /// Its original.
        of: String,
    },
    /// A newer program has written things that would be left out.
    #[error("a newer version wrote to the {which}; use that version to copy it ({newer})")]
    Newer {
        /// `original` or `copy`.
        which: &'static str,
        /// What it wrote.
        newer: Newer,
    },
    /// What is there is not known to its end.
    #[error("cannot read the logs of the {which}")]
    Follow {
        /// `original` or `copy`.
        which: &'static str,
        /// Why not.
        #[source]
        source: Box<LogError>,
    },
    /// Somebody else holds the lease.
    #[error("an instance runs on the copy and holds its lease ({holder}); stop it and copy again")]
    InUse {
        /// Who.
        holder: String,
    },
    /// The lease of the copy went to somebody else, or could not be renewed.
    #[error("the lease of the copy was lost; stop what else runs there and copy again")]
    LeaseLost,
    /// The leader of the original does not answer.
    #[error(
        "the leader of the original ({holder}) has not said that it stands still, so the copy does not take over; stop \
         it, or wait until it is idle, and run this again"
    )]
    OriginalBusy {
        /// Who.
        holder: String,
    },
    /// Bytes cannot be read now.
    #[error("cannot read {digest} from the original")]
    Read {
        /// Which.
        digest: Digest,
        /// Why not.
        #[source]
        source: Box<BlobError>,
    },
    /// Bytes were not stored.
    #[error("cannot store {digest} in the copy")]
    Store {
        /// Which.
        digest: Digest,
        /// Why not.
        #[source]
        source: Box<BlobError>,
    },
    /// The copy lacks what is damaged in the original.
    #[error(
        "{lost} package versions are damaged in the original and missing in the copy, so it does not take over; \
         publish them again at the original, or leave out exactly {lost}"
    )]
    Incomplete {
        /// How many.
        lost: u64,
    },
    /// The original changes faster than it is copied.
    #[error("the original changed again and again while it was copied; copy again when less is published")]
    Unsettled,
    /// A catalog takes no record.
    #[error("the catalog of the copy takes no record of it")]
    Catalog(#[source] Box<CommitError<CatalogRejection>>),
    /// The original does not take the record that it moved.
    #[error("the original takes no record that it moved")]
    Move(#[source] Box<CommitError<CatalogRejection>>),
    /// The control log of the copy takes no record.
    #[error("the control log of the copy takes no record of it")]
    Control(#[source] Box<CommitError<ControlRejection>>),
    /// The control log of the original takes no record.
    #[error("the original cannot be made to stand still")]
    Silence(#[source] Box<CommitError<ControlRejection>>),
}

impl CopyError {
    /// What to do about it.
    #[must_use]
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Same { .. }
            | Self::Foreign { .. }
            | Self::TookOver
            | Self::NoCopy
            | Self::MovedElsewhere { .. }
            | Self::OfCopy { .. }
            | Self::Incomplete { .. } => ErrorClass::Stall,
            Self::Newer { .. } => ErrorClass::Fatal,
            Self::Follow { source, .. } => source.class(),
            Self::InUse { .. } | Self::OriginalBusy { .. } => ErrorClass::Wait,
            Self::LeaseLost | Self::Unsettled => ErrorClass::Retry,
            Self::Read { source, .. } | Self::Store { source, .. } => source.class(),
            Self::Catalog(error) | Self::Move(error) => error.class(),
            Self::Control(error) | Self::Silence(error) => error.class(),
        }
    }

    /// A stable word for labels.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::Same { .. } => "SameRegistry",
            Self::Foreign { .. } => "ForeignRegistry",
            Self::TookOver => "CopyTookOver",
            Self::NoCopy => "NotACopy",
            Self::MovedElsewhere { .. } => "MovedElsewhere",
            Self::OfCopy { .. } => "CopyOfCopy",
            Self::Incomplete { .. } => "CopyIncomplete",
            Self::Newer { .. } => "NewerFormat",
            Self::Follow { source, .. } => source.label(),
            Self::InUse { .. } => "CopyInUse",
            Self::OriginalBusy { .. } => "OriginalBusy",
            Self::LeaseLost => "LeaseLost",
            Self::Unsettled => "OriginalUnsettled",
            Self::Read { source, .. } | Self::Store { source, .. } => source.label(),
            Self::Catalog(error) | Self::Move(error) => error.label(),
            Self::Control(error) | Self::Silence(error) => error.label(),
        }
    }
}
