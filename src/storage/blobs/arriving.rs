//! Storing bytes while they arrive, on a disk of this machine: hashed and written while the next ones come, read
//! back never.
//!
//! As with every other way in, the key is final, nothing stands under it before digest and length were found to be
//! those announced, and what is dropped on the way leaves at most a staging file. On a bucket this is not done: a
//! part of a slow sender would keep its place in the memory of all uploads for long.

use std::task::Poll;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt as _, poll};
use object_store::{MultipartUpload, PutPayload};

use super::hashes::Hashes;
use super::parts::PART_LIMIT;
use super::write::sealed;
use super::{Blob, BlobError, BlobKey, Blobs, not_written};
use crate::model::Digest;
use crate::storage::calls::Reach;

/// How much is hashed and written at a time, in bytes. As much again comes in meanwhile.
const BATCH: usize = 512 * 1024;

/// The most pieces that are taken at a time: tiny ones cost more than their bytes.
const MOST_PIECES: usize = 512;

/// A blob whose bytes are arriving.
pub struct Arriving {
    blobs: Blobs,
    blob: Blob,
    upload: Box<dyn MultipartUpload>,
    pending: Vec<Bytes>,
    size: usize,
    taken: u64,
    /// The batch before, on its way; none when it arrived.
    working: Option<BoxFuture<'static, Result<Hashes, BlobError>>>,
    hashes: Hashes,
}

impl Blobs {
    /// Begins to store what will arrive; none where that is not the way to store it. `start` is the last catalog
    /// record when the caller's session began.
    ///
    /// # Errors
    /// When nothing can be written.
    pub async fn arrive(&self, digest: Digest, size: u64, start: u64) -> Result<Option<Arriving>, BlobError> {
        if self.calls.reach != Reach::Near {
            return Ok(None);
        }
        let key = BlobKey { start, random: self.entropy.next() };
        let blob = Blob { digest, key, size, chunks: None };
        let upload = self.begin(&blob.path()).await?;
        let (pending, working, hashes) = (Vec::new(), None, Hashes::default());
        Ok(Some(Arriving { blobs: self.clone(), blob, upload, pending, size: 0, taken: 0, working, hashes }))
    }
}

impl Arriving {
    /// What they are said to be.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.blob.digest
    }

    /// How many they are said to be.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.blob.size
    }

    /// Adds bytes. They may be written later.
    ///
    /// # Errors
    /// When earlier bytes could not be written.
    pub async fn write(&mut self, piece: Bytes) -> Result<(), BlobError> {
        self.size += piece.len();
        self.taken += piece.len() as u64;
        self.pending.push(piece);
        if self.size >= BATCH || self.pending.len() >= MOST_PIECES { self.flush().await } else { Ok(()) }
    }

    /// Makes them durable under their key.
    ///
    /// # Errors
    /// When they are not those announced, or could not be stored. Nothing is visible then.
    pub async fn finish(mut self) -> Result<Blob, BlobError> {
        self.flush().await?;
        self.settle().await?;
        let Blob { digest, size: expected, .. } = self.blob;
        if self.taken != expected {
            return Err(BlobError::WrongLength { digest, expected, found: self.taken });
        }
        let (blob, list) = sealed(self.hashes, self.blob)?;
        self.blobs.put_list(&blob, list).await?;
        self.blobs.complete(&mut *self.upload, &blob).await?;
        Ok(blob)
    }

    /// Begins to hash and write what is pending, once the batch before is done.
    async fn flush(&mut self) -> Result<(), BlobError> {
        self.settle().await?;
        let pieces = std::mem::take(&mut self.pending);
        self.size = 0;
        let payload: PutPayload = pieces.iter().cloned().collect();
        let (blobs, path) = (self.blobs.clone(), self.blob.path());
        let (sent, hashing) = (self.upload.put_part(payload), std::mem::take(&mut self.hashes).add(pieces));
        let mut working = async move {
            let stored = blobs.calls.within(PART_LIMIT, "write a part of", &path, sent);
            let (stored, hashes) = futures::join!(stored, hashing);
            stored.map_err(not_written)?;
            hashes
        }
        .boxed();
        // Both begin when they are first asked how far they are, and go on without being asked.
        match poll!(&mut working) {
            Poll::Ready(hashes) => self.hashes = hashes?,
            Poll::Pending => self.working = Some(working),
        }
        Ok(())
    }

    async fn settle(&mut self) -> Result<(), BlobError> {
        if let Some(working) = self.working.take() {
            self.hashes = working.await?;
        }
        Ok(())
    }
}
