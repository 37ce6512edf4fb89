//! Immutable bytes under keys that are made of digests and numbers only and never used twice.
//!
//! A blob is written under its final key at once; it becomes visible when a catalog record names it, so an
//! unreferenced key is the staging area, and nothing is renamed or copied. The key carries the number of
//! the catalog record that was the last when its writer began, for collection without clocks.
//!
//! Bytes are verified twice: digest and length before a write is completed, and every 256 KiB chunk before
//! it is handed out, *on every read*. That costs one pass of SHA-256 over what is sent (hardware does it at
//! 1 to 2 GB/s) and spares any memory of what was verified when. Blobs above one chunk have a list of
//! their chunks' digests beside them, whose own digest stands in the catalog: whoever alters blob and list
//! together is found out too.

mod read;
mod write;

#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;

use object_store::path::Path;
use serde::{Deserialize, Serialize};

use super::calls::{CallError, Calls};
use crate::clock::Entropy;
use crate::model::{Digest, ErrorClass};

/// The length of a chunk in bytes; the last one of a blob may be shorter.
pub const CHUNK: u64 = 256 * 1024;

const DIGEST_LENGTH: u64 = 32;

/// Which copy of a digest's bytes is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct BlobKey {
    /// The last catalog record when the writer began.
    pub start: u64,
    /// Random bits that make the key the writer's own.
    pub random: u64,
}

/// A text that is no blob key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a blob key: 20 digits, '-', 16 hex digits")]
pub struct InvalidBlobKey(String);

impl fmt::Display for BlobKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:020}-{:016x}", self.start, self.random)
    }
}

impl FromStr for BlobKey {
    type Err = InvalidBlobKey;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let (start, random) = text.split_once('-')?;
            Some(Self { start: start.parse().ok()?, random: u64::from_str_radix(random, 16).ok()? })
        };
        // Only the one spelling is read, so that two texts never mean one object.
        let key = parse().filter(|key| key.to_string() == text);
        key.ok_or_else(|| InvalidBlobKey(text.chars().take(80).collect()))
    }
}

impl TryFrom<String> for BlobKey {
    type Error = InvalidBlobKey;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<BlobKey> for String {
    fn from(key: BlobKey) -> Self {
        key.to_string()
    }
}

/// All that is needed to read bytes and to trust them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Blob {
    /// Digest of the bytes.
    pub digest: Digest,
    /// Which copy.
    pub key: BlobKey,
    /// Length in bytes.
    pub size: u64,
    /// Digest of the list of chunk digests; none where one chunk holds it all.
    pub chunks: Option<Digest>,
}

impl Blob {
    pub(super) fn path(&self) -> Path {
        let hex = self.digest.hex();
        Path::from(format!("v1/blobs/sha256/{}/{hex}/{}", &hex[..2], self.key))
    }

    pub(super) fn chunks_path(&self) -> Path {
        Path::from(format!("{}.chunks", self.path()))
    }
}

/// Bytes that were not written or not read.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// The bytes to be stored could not be read.
    #[error("cannot read the bytes of {digest}")]
    Source {
        /// What they should have been.
        digest: Digest,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The bytes to be stored have another length than announced.
    #[error("{digest} has {found} bytes, {expected} were announced")]
    WrongLength {
        /// What they should have been.
        digest: Digest,
        /// The announced length.
        expected: u64,
        /// The bytes that came, or the announced length and one where more came.
        found: u64,
    },
    /// The bytes to be stored have another digest than announced.
    #[error("the bytes have the digest {found}, {expected} was announced")]
    WrongDigest {
        /// The announced digest.
        expected: Digest,
        /// That of the bytes.
        found: Digest,
    },
    /// They could not be written.
    #[error("a blob was not stored")]
    Write(#[source] CallError),
    /// They could not be read back.
    #[error("a blob cannot be read")]
    Read(#[source] CallError),
    /// The file could not be read.
    #[error("a blob cannot be read from its file")]
    ReadFile(#[source] std::io::Error),
    /// What is stored is not what was stored; nothing of the affected chunk was handed out.
    #[error("{digest} is damaged in the storage: {what}")]
    Damaged {
        /// The blob.
        digest: Digest,
        /// What is wrong.
        what: String,
    },
    /// It is longer than the caller wants to hold in memory.
    #[error("{digest} has {size} bytes, more than {limit}")]
    TooLarge {
        /// The blob.
        digest: Digest,
        /// Its length in bytes.
        size: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// The process is ending.
    #[error("the work was interrupted")]
    Interrupted(#[source] tokio::task::JoinError),
}

impl BlobError {
    /// What to do about it.
    #[must_use]
    pub fn class(&self) -> ErrorClass {
        match self {
            // Such bytes are wrong each time that they are read.
            Self::Source { source, .. } if source.kind() == std::io::ErrorKind::InvalidData => {
                ErrorClass::Stall
            }
            Self::Source { .. } | Self::ReadFile(_) | Self::Interrupted(_) => ErrorClass::Retry,
            Self::Write(error) | Self::Read(error) => error.class(),
            Self::WrongLength { .. }
            | Self::WrongDigest { .. }
            | Self::Damaged { .. }
            | Self::TooLarge { .. } => ErrorClass::Stall,
        }
    }

    /// A stable word for labels.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::Source { source, .. } if source.kind() == std::io::ErrorKind::InvalidData => {
                "SourceDamaged"
            }
            Self::Source { .. } => "SourceUnreadable",
            Self::WrongLength { .. } => "WrongLength",
            Self::WrongDigest { .. } => "WrongDigest",
            Self::Write(_) => "BlobNotStored",
            Self::Read(_) | Self::ReadFile(_) => "BlobUnreadable",
            Self::Damaged { .. } => "BlobDamaged",
            Self::TooLarge { .. } => "BlobTooLarge",
            Self::Interrupted(_) => "Interrupted",
        }
    }
}

/// The blobs of one registry. Cheap to clone.
#[derive(Clone)]
pub struct Blobs {
    calls: Calls,
    entropy: Entropy,
}

impl Blobs {
    pub(super) fn new(calls: Calls, entropy: Entropy) -> Self {
        Self { calls, entropy }
    }
}
