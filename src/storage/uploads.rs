//! Uploads that come in piece by piece, through any instance, and survive all of them.
//!
//! ```text
//! v1/uploads/<start>-<random>/info           announced length and metadata
//!                             <20 digits>    a piece: its SHA-256 (32 bytes), then its bytes; named by its offset
//!                             length         the length, where it was announced later
//!                             outcome        how it ended
//! ```
//!
//! Everything is created once and never changed, so the store decides between writers. An upload's offset is the
//! end of the pieces that join up from 0 on, found by listing its folder: no instance remembers anything. A piece
//! begins where another ends, so of two writers at one offset one wins; who brought the same bytes has
//! succeeded too, also where his first answer was lost.
//!
//! A complete upload without an outcome is finished by whoever sees it (`registry::intake`), as often as need be:
//! publishing is repeatable, and the first outcome stands. Its pieces are deleted then. An upload that began before
//! the catalog's watermark has expired, and collection deletes all of its folder.
//!
//! The same mechanism serves all back ends. The pieces are staged bytes only: nothing refers to them.

mod append;
mod error;
mod folder;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::PutMode;
use object_store::path::Path;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::Storage;
use super::blobs::{BlobKey, InvalidBlobKey};
use super::calls::{CallError, Reach};
use super::spool::SpoolFile;
use crate::model::{Coordinate, Digest, ErrorClass};
use crate::retry::Delays;

pub use error::UploadError;

use folder::Folder;

/// The most bytes of one piece. Each upload that is being written to holds one in memory.
const PIECE: u64 = if cfg!(test) { 1_000 } else { 4 * 1024 * 1024 };

/// The length of the digest before a piece's bytes.
const HEADER: u64 = 32;

/// The longest `info`, `length` and `outcome`, in bytes.
const SMALL_LIMIT: u64 = 64 * 1024;

/// The most that the metadata of an upload may take, in bytes of keys and values.
const METADATA_LIMIT: usize = 8 * 1024;

/// How often a call is tried.
const TRIES: u32 = 4;

/// How long writing one piece may take.
const PIECE_LIMIT: Duration = Duration::from_secs(60);

/// The format of `info` that is written and read.
const FORMAT: u32 = 1;

/// The folder of all uploads.
const ALL: &str = "v1/uploads";

/// The name of an upload. It holds no secret: who may use it is decided elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct UploadId(BlobKey);

impl fmt::Display for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for UploadId {
    type Err = InvalidBlobKey;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

impl UploadId {
    fn folder(self) -> Path {
        Path::from(format!("{ALL}/{self}"))
    }

    fn object(self, name: &str) -> Path {
        Path::from(format!("{ALL}/{self}/{name}"))
    }

    fn piece(self, offset: u64) -> Path {
        self.object(&format!("{offset:020}"))
    }
}

/// What uploads may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UploadLimits {
    /// How many may be under way at a time.
    pub open: usize,
    /// The length of one, in bytes.
    pub size: u64,
    /// The pieces of one.
    pub pieces: usize,
}

impl Default for UploadLimits {
    /// 1,000 uploads, 64 GiB, and twice the pieces that 64 GiB need.
    fn default() -> Self {
        Self { open: 1_000, size: 64 << 30, pieces: 32_768 }
    }
}

/// How an upload ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "result")]
pub enum Outcome {
    /// The package is in the catalog.
    Published {
        /// Name and version.
        coordinate: Coordinate,
        /// The package digest.
        digest: Digest,
        /// The release version.
        release_version: u64,
        /// Whether it had been there before.
        already: bool,
    },
    /// It is no package that can be published; the same bytes will be refused again.
    Refused {
        /// A stable word.
        kind: String,
        /// The reason, in a sentence.
        message: String,
    },
    /// Its sender gave it up.
    Aborted,
}

/// Where an upload stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadStatus {
    /// How many bytes are there.
    pub offset: u64,
    /// The announced length in bytes; none as long as the sender does not know.
    pub length: Option<u64>,
    /// What the sender said of it.
    pub metadata: BTreeMap<String, String>,
    /// How it ended.
    pub outcome: Option<Outcome>,
}

impl UploadStatus {
    /// Whether all bytes are there.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.length == Some(self.offset)
    }
}

#[derive(Serialize, Deserialize)]
struct Info {
    format: u32,
    length: Option<u64>,
    metadata: BTreeMap<String, String>,
}

#[derive(Serialize, Deserialize)]
struct Length {
    length: u64,
}

/// The uploads of one registry.
pub struct Uploads {
    storage: Arc<Storage>,
    limits: UploadLimits,
}

impl Uploads {
    /// The uploads of a storage.
    #[must_use]
    pub fn new(storage: Arc<Storage>, limits: UploadLimits) -> Self {
        Self { storage, limits }
    }

    /// Begins an upload, of a length in bytes or of one that is not known yet.
    ///
    /// # Errors
    /// When too many are open, it is too long, or it could not be written down.
    pub async fn begin(
        &self,
        length: Option<u64>,
        metadata: BTreeMap<String, String>,
    ) -> Result<UploadId, UploadError> {
        self.check_length(length)?;
        let size: usize = metadata.iter().map(|(key, value)| key.len() + value.len()).sum();
        if size > METADATA_LIMIT {
            return Err(UploadError::MetadataTooLarge { size });
        }
        let start = self.storage.catalog.follow().await.map_err(UploadError::Follow)?;
        self.writable().await?;
        self.check_open().await?;
        let id = UploadId(BlobKey { start, random: self.storage.entropy.next() });
        let info = Info { format: FORMAT, length, metadata };
        self.create(&id.object("info"), &info).await?;
        Ok(id)
    }

    /// Says how long an upload is that began without a length.
    ///
    /// # Errors
    /// When it has another length already, or more bytes than that.
    pub async fn declare_length(&self, id: UploadId, length: u64) -> Result<(), UploadError> {
        self.check_length(Some(length))?;
        self.writable().await?;
        let status = self.status(id).await?;
        let known = match status.length {
            Some(known) => known,
            None if length < status.offset => return Err(UploadError::TooLong { length }),
            None => self.create(&id.object("length"), &Length { length }).await?.length,
        };
        if known == length { Ok(()) } else { Err(UploadError::LengthKnown { length: known }) }
    }

    /// Where an upload stands, as the store has it now.
    ///
    /// # Errors
    /// [`UploadError::Unknown`], [`UploadError::Expired`], or when it cannot be read.
    pub async fn status(&self, id: UploadId) -> Result<UploadStatus, UploadError> {
        self.look(id).await.map(|(status, _)| status)
    }

    async fn look(&self, id: UploadId) -> Result<(UploadStatus, Folder), UploadError> {
        self.check_alive(id)?;
        let folder = self.find(id).await?;
        let info: Info = self.read_listed(&id.object("info")).await?;
        if info.format != FORMAT {
            return Err(UploadError::Newer { format: info.format });
        }
        let mut length = info.length;
        if length.is_none() && folder.has_length {
            let later: Length = self.read_listed(&id.object("length")).await?;
            length = Some(later.length);
        }
        let outcome =
            if folder.has_outcome { Some(self.read_listed(&id.object("outcome")).await?) } else { None };
        // The pieces of one that ended are being deleted.
        let offset = if outcome.is_some() { length.unwrap_or_default() } else { folder.offset() };
        Ok((UploadStatus { offset, length, metadata: info.metadata, outcome }, folder))
    }

    /// How an upload ended; none where it did not.
    ///
    /// # Errors
    /// When that cannot be read.
    pub async fn outcome(&self, id: UploadId) -> Result<Option<Outcome>, UploadError> {
        self.read(&id.object("outcome")).await
    }

    /// Writes all bytes of a complete upload into a file, each piece checked.
    ///
    /// # Errors
    /// When it is not complete, a piece cannot be read or is damaged, or the file cannot be written.
    pub async fn assemble(&self, id: UploadId, file: &mut SpoolFile) -> Result<(), UploadError> {
        let (status, folder) = self.look(id).await?;
        if !status.is_complete() || status.outcome.is_some() {
            return Err(UploadError::Incomplete { offset: status.offset, length: status.length });
        }
        let mut at = 0;
        while at < status.offset {
            let length = folder.piece(at).ok_or(UploadError::PieceMissing { offset: at })?;
            let mut bytes = self.read_piece(id, at, length).await?;
            for piece in std::iter::from_fn(|| {
                (!bytes.is_empty()).then(|| bytes.split_to(bytes.len().min(256 * 1024)))
            }) {
                file.write(piece).await.map_err(UploadError::Spool)?;
            }
            at += length;
        }
        Ok(())
    }

    /// Writes down how an upload ended, and deletes its pieces. Returns the outcome that stands: that of whoever
    /// was first.
    ///
    /// # Errors
    /// When it could not be written down. The same again is safe.
    pub async fn conclude(&self, id: UploadId, outcome: &Outcome) -> Result<Outcome, UploadError> {
        self.writable().await?;
        let stands = self.create(&id.object("outcome"), outcome).await?;
        self.tidy(id).await;
        Ok(stands)
    }

    /// Gives an upload up, unless it ended before. Returns how it ended.
    ///
    /// # Errors
    /// As [`Uploads::status`] and [`Uploads::conclude`].
    pub async fn abort(&self, id: UploadId) -> Result<Outcome, UploadError> {
        match self.status(id).await?.outcome {
            Some(outcome) => {
                self.tidy(id).await;
                Ok(outcome)
            }
            None => self.conclude(id, &Outcome::Aborted).await,
        }
    }

    /// Deletes the pieces of an upload that ended. What stays is collected later.
    async fn tidy(&self, id: UploadId) {
        let folder = match self.list(id).await {
            Ok(folder) => folder,
            Err(error) => return tracing::debug!(%id, %error, "the pieces of an upload stay for now"),
        };
        let deletions = futures::stream::iter(folder.pieces().map(|offset| id.piece(offset)));
        let calls = &self.storage.calls;
        let mut deletions = deletions
            .map(|key| async move { calls.delete(&key).await })
            .buffer_unordered(if calls.reach == Reach::Far { 8 } else { 1 });
        while let Some(deleted) = deletions.next().await {
            if let Err(error) = deleted {
                tracing::debug!(%id, %error, "a piece of an upload stays for now");
            }
        }
    }

    async fn writable(&self) -> Result<(), UploadError> {
        self.storage.catalog.writable().await.map_err(|source| UploadError::NotWritable(source.into()))
    }

    fn check_length(&self, length: Option<u64>) -> Result<(), UploadError> {
        match length {
            Some(length) if length > self.limits.size => {
                Err(UploadError::TooLarge { length, limit: self.limits.size })
            }
            _ => Ok(()),
        }
    }

    fn check_alive(&self, id: UploadId) -> Result<(), UploadError> {
        let state = self.storage.catalog.state();
        if id.0.start < state.watermark() { Err(UploadError::Expired) } else { Ok(()) }
    }

    /// Refuses when too many uploads are open. Folders are counted first, which is cheap; only when they are too
    /// many it is looked which of them have ended.
    async fn check_open(&self) -> Result<(), UploadError> {
        let (limit, watermark) = (self.limits.open, self.storage.catalog.state().watermark());
        let alive = |name: &str| name.parse::<UploadId>().is_ok_and(|id| id.0.start >= watermark);
        let calls = &self.storage.calls;
        let all = Path::from(ALL);
        let listed = calls.data.list_with_delimiter(Some(&all));
        let listed = calls.within(PIECE_LIMIT, "list", &all, listed).await.map_err(UploadError::Read)?;
        let folders = listed.common_prefixes.iter().filter_map(Path::filename);
        if folders.filter(|name| alive(name)).count() < limit {
            return Ok(());
        }
        let mut open = BTreeMap::new();
        let mut objects = std::pin::pin!(calls.list(&all, None));
        while let Some(object) = objects.try_next().await.map_err(UploadError::Read)? {
            let Some(parts) = object.key.as_ref().strip_prefix("v1/uploads/") else { continue };
            let Some((folder, name)) = parts.split_once('/') else { continue };
            if alive(folder) {
                *open.entry(folder.to_owned()).or_insert(true) &= name != "outcome";
            }
        }
        let open = open.values().filter(|open| **open).count();
        if open < limit { Ok(()) } else { Err(UploadError::TooMany { open, limit }) }
    }

    fn delays(&self) -> Delays {
        Delays::new(Duration::from_millis(200), Duration::from_secs(3), self.storage.entropy.clone())
    }

    /// Reads a small object, a few times where a network is in between; none where there is none.
    async fn read<T: DeserializeOwned>(&self, key: &Path) -> Result<Option<T>, UploadError> {
        let Some(bytes) = self.read_bytes(key, SMALL_LIMIT).await.map_err(UploadError::Read)? else {
            return Ok(None);
        };
        let parsed = serde_json::from_slice(&bytes);
        parsed.map(Some).map_err(|source| UploadError::NotJson { key: key.to_string(), source })
    }

    /// Reads a small object that was listed.
    async fn read_listed<T: DeserializeOwned>(&self, key: &Path) -> Result<T, UploadError> {
        let (mut delays, mut tries) = (self.delays(), 1);
        loop {
            match self.read(key).await? {
                Some(value) => return Ok(value),
                // It may have been deleted, or the store answers from an old copy.
                None if tries >= TRIES => return Err(UploadError::Unknown),
                None => tries += 1,
            }
            self.storage.calls.clock.sleep(delays.next_delay()).await;
        }
    }

    async fn read_bytes(&self, key: &Path, limit: u64) -> Result<Option<Bytes>, CallError> {
        let calls = &self.storage.calls;
        let (mut delays, mut tries) = (self.delays(), 1);
        loop {
            match calls.read_data(key, limit).await {
                Err(error) if tries < TRIES && error.class() == ErrorClass::Retry => {
                    tracing::debug!(%error, tries, "trying again");
                    tries += 1;
                    calls.clock.sleep(delays.next_delay()).await;
                }
                other => return other,
            }
        }
    }

    /// Creates a small object; returns what stands there then, ours or what somebody else created first.
    async fn create<T: Serialize + DeserializeOwned>(&self, key: &Path, value: &T) -> Result<T, UploadError> {
        let encode = |source| UploadError::NotJson { key: key.to_string(), source };
        let bytes = Bytes::from(serde_json::to_vec(value).map_err(encode)?);
        let there = self.create_bytes(key, bytes, SMALL_LIMIT).await?;
        serde_json::from_slice(&there).map_err(encode)
    }

    /// Creates an object; returns what stands there then. Whatever a call answers, what counts is what can be
    /// read there.
    async fn create_bytes(&self, key: &Path, bytes: Bytes, limit: u64) -> Result<Bytes, UploadError> {
        let calls = &self.storage.calls;
        let (mut delays, mut tries) = (self.delays(), 1);
        loop {
            let Err(error) = calls.put(PIECE_LIMIT, key, bytes.clone(), PutMode::Create).await else {
                return Ok(bytes);
            };
            if error.is_disk_full() {
                return Err(UploadError::DiskFull(error));
            }
            if let Ok(Some(there)) = self.read_bytes(key, limit).await {
                return Ok(there);
            }
            if tries >= TRIES || error.class() != ErrorClass::Retry {
                return Err(UploadError::Write(error));
            }
            tracing::debug!(%error, tries, "trying again");
            tries += 1;
            calls.clock.sleep(delays.next_delay()).await;
        }
    }
}
