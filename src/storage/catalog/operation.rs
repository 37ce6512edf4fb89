//! What a catalog record may say, and what it says of packages and blobs.

use serde::{Deserialize, Serialize};

use crate::model::{Coordinate, Digest, Epoch, Member};
use crate::storage::blobs::{Blob, BlobKey};

/// What a catalog record may say.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum CatalogOperation {
    /// A package version is there.
    Published(Publication),
    /// A package version is gone. Blobs that nothing else references are *retired* by this: a later publication
    /// may take them back until they are condemned.
    Unpublished {
        /// Which package.
        coordinate: Coordinate,
    },
    /// These retired copies will be deleted; nothing may reference them any more. For the leader only.
    Condemned {
        /// Which copies.
        blobs: Vec<Copy>,
    },
    /// These condemned copies were deleted. For the leader only.
    Purged {
        /// Which copies.
        blobs: Vec<Copy>,
    },
    /// Whoever began before that record is too late to make new keys known. For the leader only.
    Watermark {
        /// The record.
        seq: u64,
    },
    /// A copy is damaged: it is not served, and the next publication of its bytes brings a new one.
    Quarantined {
        /// Which copy.
        blob: Copy,
    },
    /// A copy that was thought damaged is whole.
    Cleared {
        /// Which copy.
        blob: Copy,
    },
    /// New copies of damaged blobs.
    Replaced {
        /// The new copies.
        blobs: Vec<NewBlob>,
    },
    /// From now on, what only the leader may say counts under this lease only.
    Fence {
        /// The lease.
        epoch: Epoch,
    },
    /// This registry becomes a copy of another one. It must be empty, and from now on packages come and go only
    /// under a lease that was fenced: that of whoever copies.
    CopiedFrom {
        /// The other registry's id.
        registry: String,
    },
    /// The copy has taken the place of its original: nothing more is copied into it, and it is a registry like any
    /// other. For the leader only.
    TookOver,
    /// This registry lives elsewhere now: nothing may follow.
    Moved {
        /// Where, for people.
        to: String,
        /// The id of the registry there.
        registry: String,
    },
}

/// A package version and the blobs that come with it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Publication {
    /// Name and version.
    pub coordinate: Coordinate,
    /// The package digest.
    pub digest: Digest,
    /// Its release version, unique per name.
    pub release_version: u64,
    /// The blob of the metadata document (JSON).
    pub document: Digest,
    /// The package's files.
    pub members: Vec<Member>,
    /// The blobs that were not in the catalog yet.
    pub blobs: Vec<NewBlob>,
}

impl Publication {
    /// The digests that it references, each once.
    pub(in crate::storage) fn references(&self) -> std::collections::BTreeSet<Digest> {
        self.members.iter().map(|member| member.digest).chain([self.document]).collect()
    }
}

/// A blob that a record makes known.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewBlob {
    /// Digest of its bytes.
    pub digest: Digest,
    /// Where it lies.
    pub key: BlobKey,
    /// Length in bytes.
    pub size: u64,
    /// Digest of its list of chunk digests; none where one chunk holds it all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chunks: Option<Digest>,
    /// Media type.
    pub media_type: Box<str>,
}

impl NewBlob {
    /// What a record says of a blob that was put.
    #[must_use]
    pub fn new(blob: &Blob, media_type: &str) -> Self {
        let Blob { digest, key, size, chunks } = *blob;
        Self { digest, key, size, chunks, media_type: media_type.into() }
    }

    /// The copy that it is.
    #[must_use]
    pub fn copy(&self) -> Copy {
        Copy { digest: self.digest, key: self.key }
    }
}

/// One stored copy of a blob.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Copy {
    /// Digest of its bytes.
    pub digest: Digest,
    /// Where it lies.
    pub key: BlobKey,
}

impl Copy {
    /// What is needed to address it; length and chunks are not known here.
    #[must_use]
    pub fn blob(&self) -> Blob {
        Blob { digest: self.digest, key: self.key, size: 0, chunks: None }
    }
}
