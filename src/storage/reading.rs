//! Reading what the catalog names, and what happens when it is not what was stored.
//!
//! A copy that is missing or damaged may be one that was replaced meanwhile: the catalog is read to its end and the
//! copy that is in use by then is tried, once. If that fails too, a record says that it is damaged. From then on
//! nobody tries it, every instance says so, and the next publication of those bytes brings a new copy.

use std::io::ErrorKind;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{Future, StreamExt as _};

use super::Storage;
use super::blobs::{Blob, BlobError};
use super::catalog::{CatalogOperation, Copy};
use super::records::LogError;
use crate::model::{Digest, ErrorClass};
use crate::telemetry::chain;

/// How long marking a copy as damaged may keep a reader waiting.
const MARK_LIMIT: Duration = Duration::from_secs(5);

/// Bytes that cannot be handed out.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The stored copy is not what was stored. Nothing of it was handed out.
    #[error(
        "the stored copy of {digest} is damaged or missing; publish a package that contains it again, \
         which brings a new copy"
    )]
    Damaged {
        /// The digest.
        digest: Digest,
        /// What was found; none where that was found out before.
        #[source]
        source: Option<Box<BlobError>>,
    },
    /// The catalog does not name it (any more).
    #[error("{digest} is not in the catalog")]
    Unknown {
        /// The digest.
        digest: Digest,
    },
    /// It cannot be read now.
    #[error(transparent)]
    Blob(BlobError),
    /// A copy is missing or damaged, and whether there is another by now is not known.
    #[error("cannot read the catalog to find another copy of {digest}")]
    Follow {
        /// The digest.
        digest: Digest,
        /// Why not.
        #[source]
        source: Box<LogError>,
    },
}

impl ReadError {
    /// What to do about it.
    #[must_use]
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Damaged { .. } | Self::Unknown { .. } => ErrorClass::Stall,
            Self::Blob(error) => error.class(),
            Self::Follow { source, .. } => source.class(),
        }
    }

    /// A stable word for labels.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::Damaged { .. } => "BlobDamaged",
            Self::Unknown { .. } => "UnknownBlob",
            Self::Blob(error) => error.label(),
            Self::Follow { source, .. } => source.label(),
        }
    }
}

/// Whether an error means that a copy is not what was stored, and not only that it cannot be read now.
pub(super) fn is_damage(error: &BlobError) -> bool {
    match error {
        BlobError::Damaged { .. } => true,
        BlobError::Read(error) => error.is_missing(),
        BlobError::ReadFile(error) => error.kind() == ErrorKind::UnexpectedEof,
        _ => false,
    }
}

impl Storage {
    /// Where the bytes of a digest lie. Whoever hands them out has found the digest under a package before.
    ///
    /// # Errors
    /// [`ReadError::Unknown`], or [`ReadError::Damaged`] where the copy was found damaged before.
    pub fn whole(&self, digest: &Digest) -> Result<Blob, ReadError> {
        let state = self.catalog.state();
        if state.is_damaged(digest) {
            return Err(ReadError::Damaged { digest: *digest, source: None });
        }
        state.blob(digest).ok_or(ReadError::Unknown { digest: *digest })
    }

    /// Reads a range of the bytes of a digest; what lies beyond their end is left out. The first piece is verified
    /// when this returns; the stream ends with the first error.
    ///
    /// # Errors
    /// When they cannot be read or are damaged.
    pub async fn read(
        self: &Arc<Self>,
        digest: &Digest,
        range: Range<u64>,
    ) -> Result<BoxStream<'static, Result<Bytes, ReadError>>, ReadError> {
        let begin = |blob: Blob| {
            let (blobs, range) = (self.blobs.clone(), range.clone());
            async move { blobs.read(&blob, range).await }
        };
        let (blob, pieces) = self.try_copies(digest, begin).await?;
        let pieces = Some((Arc::clone(self), pieces.boxed()));
        let watched = stream::unfold(pieces, move |pieces| async move {
            let (storage, mut pieces) = pieces?;
            match pieces.next().await? {
                Ok(piece) => Some((Ok(piece), Some((storage, pieces)))),
                Err(error) => Some((Err(storage.distrust(&blob, error).await), None)),
            }
        });
        Ok(watched.boxed())
    }

    /// Reads all bytes of a digest into memory.
    ///
    /// # Errors
    /// As [`Storage::read`], and when they are more than `limit`.
    pub async fn read_all(&self, digest: &Digest, limit: u64) -> Result<Bytes, ReadError> {
        let all = |blob: Blob| {
            let blobs = self.blobs.clone();
            async move { blobs.read_all(&blob, limit).await }
        };
        self.try_copies(digest, all).await.map(|(_, bytes)| bytes)
    }

    /// Reads the copy that is in use; where it is missing or damaged, the one that is in use by then.
    async fn try_copies<T, F>(
        &self,
        digest: &Digest,
        read: impl Fn(Blob) -> F,
    ) -> Result<(Blob, T), ReadError>
    where
        F: Future<Output = Result<T, BlobError>>,
    {
        let blob = self.whole(digest)?;
        match read(blob).await {
            Ok(found) => return Ok((blob, found)),
            Err(error) if is_damage(&error) => {
                tracing::warn!(%digest, key = %blob.key, error = chain(&error), "looking for another copy");
            }
            Err(error) => return Err(ReadError::Blob(error)),
        }
        // Seldom gone, so that what everybody waits for stays small.
        Box::pin(self.try_newest(digest, read)).await
    }

    async fn try_newest<T, F>(
        &self,
        digest: &Digest,
        read: impl Fn(Blob) -> F,
    ) -> Result<(Blob, T), ReadError>
    where
        F: Future<Output = Result<T, BlobError>>,
    {
        let followed = self.catalog.follow().await;
        followed.map_err(|source| ReadError::Follow { digest: *digest, source: source.into() })?;
        let blob = self.whole(digest)?;
        match read(blob).await {
            Ok(found) => Ok((blob, found)),
            Err(error) => Err(self.distrust(&blob, error).await),
        }
    }

    /// What a failed read means to whoever reads; a damaged copy is marked on the way.
    async fn distrust(&self, blob: &Blob, error: BlobError) -> ReadError {
        if !is_damage(&error) {
            return ReadError::Blob(error);
        }
        self.quarantine(blob).await;
        ReadError::Damaged { digest: blob.digest, source: Some(error.into()) }
    }

    /// Says in the catalog that a copy is damaged, as well as that goes within a short time. True where the catalog
    /// says so now.
    pub(super) async fn quarantine(&self, blob: &Blob) -> bool {
        let (digest, key) = (blob.digest, blob.key);
        let says_so = || {
            let state = self.catalog.state();
            state.is_damaged(&digest) && state.blob(&digest).is_some_and(|live| live.key == key)
        };
        // In a directory that was taken away everything seems to be missing.
        if says_so() || self.check().is_err() {
            return says_so();
        }
        let operation = CatalogOperation::Quarantined { blob: Copy { digest, key } };
        match self.calls.clock.timeout(MARK_LIMIT, self.catalog.commit(operation)).await {
            Ok(Ok(_)) => {
                tracing::error!(%digest, %key, "a stored copy is damaged and is not served any more");
            }
            Ok(Err(error)) => {
                tracing::warn!(%digest, %key, error = chain(&error), "a copy is not marked as damaged");
            }
            Err(error) => tracing::warn!(%digest, %key, %error, "a copy is not marked as damaged"),
        }
        says_so()
    }
}

#[cfg(test)]
mod tests;
