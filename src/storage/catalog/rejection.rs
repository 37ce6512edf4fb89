//! Why a catalog record is refused.

use crate::model::{Coordinate, Digest, Epoch, ErrorClass};
use crate::storage::blobs::BlobKey;
use crate::storage::records::Rejection;

/// Why a catalog record was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CatalogRejection {
    /// The same package is there; nothing needs to be done.
    #[error("{coordinate} is already published with this content")]
    AlreadyPublished {
        /// Which package.
        coordinate: Coordinate,
        /// The release version that it has.
        release_version: u64,
    },
    /// Another package stands under that name and version.
    #[error("{coordinate} is already published with other content ({published}); raise the version")]
    VersionImmutable {
        /// Which package.
        coordinate: Coordinate,
        /// The package digest that is published.
        published: Digest,
    },
    /// Another version of that name has the release version.
    #[error("release version {release_version} is that of {holder}")]
    ReleaseVersionTaken {
        /// The number.
        release_version: u64,
        /// Who has it.
        holder: Coordinate,
    },
    /// There is no such package.
    #[error("{coordinate} is not published")]
    NotPublished {
        /// Which package.
        coordinate: Coordinate,
    },
    /// A digest has no blob.
    #[error("{digest} is neither in the catalog nor part of the publication")]
    UnknownBlob {
        /// The digest.
        digest: Digest,
    },
    /// The only copy of a digest is damaged, and no new one comes with the publication.
    #[error("the stored copy of {digest} is damaged; publish the package again with its files")]
    Damaged {
        /// The digest.
        digest: Digest,
    },
    /// A file's length is not that of its blob.
    #[error("the blob {digest} has {size} bytes, the package says otherwise")]
    SizeDiffers {
        /// The digest.
        digest: Digest,
        /// The blob's length in bytes.
        size: u64,
    },
    /// Two copies of one digest in one record.
    #[error("{digest} comes twice in one record")]
    NamedTwice {
        /// The digest.
        digest: Digest,
    },
    /// A blob key names a record that does not exist yet.
    #[error("the blob key {key} is newer than record {seq}")]
    KeyFromTheFuture {
        /// The key.
        key: BlobKey,
        /// The last record.
        seq: u64,
    },
    /// Whoever stored the blob took so long that it may have been collected.
    #[error("{key} was stored before record {watermark} and may be deleted by now; send the bytes again")]
    SessionExpired {
        /// The key.
        key: BlobKey,
        /// The watermark.
        watermark: u64,
    },
    /// The copy was condemned before.
    #[error("the copy {key} of {digest} is condemned; send the bytes again")]
    CopyCondemned {
        /// The digest.
        digest: Digest,
        /// The copy.
        key: BlobKey,
    },
    /// A copy that is in use, or is not there, cannot be condemned.
    #[error("the copy {key} of {digest} is not retired")]
    NotRetired {
        /// The digest.
        digest: Digest,
        /// The copy.
        key: BlobKey,
    },
    /// A copy that is not condemned, or not for long enough, cannot be purged.
    #[error("the copy {key} of {digest} is not condemned, or its session may still be running")]
    NotCondemned {
        /// The digest.
        digest: Digest,
        /// The copy.
        key: BlobKey,
    },
    /// Another copy is in use by now, or is marked already.
    #[error("the copy {key} of {digest} is not in use, or is marked so already")]
    NotInUse {
        /// The digest.
        digest: Digest,
        /// The copy.
        key: BlobKey,
    },
    /// A watermark only rises, and not above the newest record.
    #[error("the watermark cannot become {seq}, the newest record is {newest}")]
    Watermark {
        /// The wanted watermark.
        seq: u64,
        /// The newest record.
        newest: u64,
    },
    /// The writer is not, or no longer, the leader.
    #[error("lease {held} may not decide here, the newest that may is {fence}")]
    Fenced {
        /// The writer's lease.
        held: Epoch,
        /// The newest lease that was fenced.
        fence: Epoch,
    },
    /// Only an empty registry becomes a copy.
    #[error("this registry is not empty or was copied from another one before; copy to an empty place")]
    NotEmpty,
    /// Only a copy takes over, and once.
    #[error("this registry is no copy that could take over")]
    NotACopy,
    /// What is in a copy comes from its original.
    #[error(
        "this registry is a copy of registry {of}; write there, or let the copy take over with `storage copy --cutover`"
    )]
    IsCopy {
        /// The original.
        of: String,
    },
    /// The registry lives elsewhere.
    #[error("this registry was moved to {to} and only reads; write there")]
    Moved {
        /// Where.
        to: String,
    },
}

impl CatalogRejection {
    /// Whether somebody else's record came between, so that the same work begun anew may succeed.
    #[must_use]
    pub fn is_race(&self) -> bool {
        matches!(
            self,
            Self::UnknownBlob { .. }
                | Self::Damaged { .. }
                | Self::SessionExpired { .. }
                | Self::CopyCondemned { .. }
        )
    }
}

impl Rejection for CatalogRejection {
    fn class(&self) -> ErrorClass {
        match self {
            Self::ReleaseVersionTaken { .. } | Self::SessionExpired { .. } | Self::CopyCondemned { .. } => {
                ErrorClass::Retry
            }
            Self::Fenced { .. } => ErrorClass::Wait,
            _ => ErrorClass::Stall,
        }
    }

    fn label(&self) -> &'static str {
        match self {
            Self::AlreadyPublished { .. } => "AlreadyPublished",
            Self::VersionImmutable { .. } => "VersionImmutable",
            Self::ReleaseVersionTaken { .. } => "ReleaseVersionTaken",
            Self::NotPublished { .. } => "NotPublished",
            Self::UnknownBlob { .. } => "UnknownBlob",
            Self::Damaged { .. } => "BlobDamaged",
            Self::SizeDiffers { .. } => "SizeDiffers",
            Self::NamedTwice { .. } => "NamedTwice",
            Self::KeyFromTheFuture { .. } => "KeyFromTheFuture",
            Self::SessionExpired { .. } => "SessionExpired",
            Self::CopyCondemned { .. } => "CopyCondemned",
            Self::NotRetired { .. } => "NotRetired",
            Self::NotCondemned { .. } => "NotCondemned",
            Self::NotInUse { .. } => "NotInUse",
            Self::Watermark { .. } => "Watermark",
            Self::Fenced { .. } => "Fenced",
            Self::NotEmpty => "RegistryNotEmpty",
            Self::NotACopy => "NotACopy",
            Self::IsCopy { .. } => "RegistryIsCopy",
            Self::Moved { .. } => "RegistryMoved",
        }
    }
}
