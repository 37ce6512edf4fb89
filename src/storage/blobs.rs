//! Immutable bytes under keys that are made of digests and numbers only and never used twice.
//!
//! A blob is written under its final key at once; it becomes visible when a catalog record names it, so an
//! unreferenced key is the staging area, and nothing is renamed or copied. The key carries the number of
//! the catalog record that was the last when its writer began, for collection without clocks.
//!
//! Bytes are verified twice: digest and length before a write is completed, and every 256 KiB chunk before
//! it is handed out. From a bucket that is done on every read; from a file again when it changed or after a
//! day ([`verified`]). Small ones that were verified may be handed out from memory for as long. Blobs above one
//! chunk have a list of their chunks' digests beside them, whose own digest stands in the catalog: whoever alters
//! blob and list together is found out too.

mod arriving;
mod buffers;
mod hashes;
mod parts;
mod read;
mod verified;
mod verify;
mod write;

#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use object_store::path::Path;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use super::calls::{CallError, Calls, Reach};
use crate::clock::{DeadlinePassed, Entropy};
use crate::model::{Digest, ErrorClass};
use crate::retry::Delays;

pub use arriving::Arriving;
use verified::Verified;

/// The length of a chunk in bytes; the last one of a blob may be shorter.
pub const CHUNK: u64 = 256 * 1024;

const DIGEST_LENGTH: u64 = 32;

/// How often a call over a network is tried.
const TRIES: u32 = 4;

/// What all uploads together may hold in memory, in KiB.
const ROOM: u32 = 64 * 1024;

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
    /// The disk is full; everything stored before can still be read.
    #[error("a blob was not stored because the disk is full; free some space or enlarge the volume")]
    DiskFull(#[source] CallError),
    /// Other uploads use all the memory there is for them.
    #[error("too many uploads at a time; try again later")]
    Crowded(#[source] DeadlinePassed),
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
            Self::Source { .. } | Self::ReadFile(_) | Self::Crowded(_) | Self::Interrupted(_) => {
                ErrorClass::Retry
            }
            Self::Write(error) | Self::DiskFull(error) | Self::Read(error) => error.class(),
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
            Self::DiskFull(_) => "DiskFull",
            Self::Crowded(_) => "UploadsCrowded",
            Self::Read(_) | Self::ReadFile(_) => "BlobUnreadable",
            Self::Damaged { .. } => "BlobDamaged",
            Self::TooLarge { .. } => "BlobTooLarge",
            Self::Interrupted(_) => "Interrupted",
        }
    }
}

/// The blobs of one registry. Cheap to clone; clones share the memory of uploads and of what was verified.
#[derive(Clone)]
pub struct Blobs {
    calls: Calls,
    entropy: Entropy,
    room: Arc<Semaphore>,
    verified: Arc<Verified>,
}

impl Blobs {
    pub(super) fn new(calls: Calls, entropy: Entropy) -> Self {
        let room = Arc::new(Semaphore::new(ROOM.try_into().unwrap_or(usize::MAX)));
        Self { calls, entropy, room, verified: Arc::default() }
    }

    /// Makes a call that may be made twice, as often as makes sense.
    async fn persist<T, F>(&self, mut call: impl FnMut() -> F) -> Result<T, CallError>
    where
        F: Future<Output = Result<T, CallError>>,
    {
        let mut delays = delays(&self.entropy);
        let mut tries = 1;
        loop {
            match call().await {
                Err(error) if tries < self.tries() && may_pass(&error) => {
                    tracing::debug!(%error, tries, "trying again");
                    tries += 1;
                    self.calls.clock.sleep(delays.next_delay()).await;
                }
                other => return other,
            }
        }
    }

    fn tries(&self) -> u32 {
        if self.calls.reach == Reach::Far { TRIES } else { 1 }
    }
}

/// The waits between tries over a network.
fn delays(entropy: &Entropy) -> Delays {
    Delays::new(Duration::from_millis(200), Duration::from_secs(3), entropy.clone())
}

/// Whether a call that failed like this may succeed when it is made again.
fn may_pass(error: &CallError) -> bool {
    error.class() == ErrorClass::Retry && !error.is_missing() && !error.is_disk_full()
}

/// What a call that writes ended with.
fn not_written(error: CallError) -> BlobError {
    if error.is_disk_full() { BlobError::DiskFull(error) } else { BlobError::Write(error) }
}
