//! An upload in parts: reading, hashing and storing run side by side, in bounded memory.
//!
//! Each part takes its place in a memory that all uploads share before it is read, and gives it back when it
//! is hashed and stored; nobody waits for a place while something else waits for him, so a crowd of uploads
//! moves on. A part that fails on a bucket is sent again by the client below, with its number (the trait has
//! no way to say that from here). An upload whose completion ends in an error may have been completed all the
//! same: its key is nobody else's, so an object of the right length there that verifies is ours.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::FuturesUnordered;
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::path::Path;
use object_store::retry::{RetryContext, RetryFailure, RetryPolicy};
use object_store::{MultipartUpload, PutMultipartOptions};
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::mpsc::{self, Receiver, Sender};

use super::hashes::Hashes;
use super::write::{Intake, sealed};
use super::{Blob, BlobError, Blobs, TRIES, delays, not_written};
use crate::clock::{Clock, Entropy};
use crate::storage::calls::Reach;

/// How long storing one part may take, with all tries.
pub(super) const PART_LIMIT: Duration = Duration::from_secs(150);

/// How long beginning or aborting may take.
pub(super) const STEP_LIMIT: Duration = Duration::from_secs(60);

/// How long completing may take: a local disk flushes the whole file then.
pub(super) const COMPLETE_LIMIT: Duration = Duration::from_secs(600);

/// How long an upload waits for its place in memory.
const ROOM_LIMIT: Duration = Duration::from_secs(300);

/// How many parts of one upload are on their way to a bucket at a time.
const SIDE_BY_SIDE: usize = 4;

/// Bytes with their place in memory.
#[derive(Clone)]
pub(super) struct Part {
    pub(super) bytes: Bytes,
    _place: Option<Arc<OwnedSemaphorePermit>>,
}

impl Blobs {
    /// Stores what comes in as one object, in parts.
    pub(super) async fn put_parts(&self, intake: &mut Intake<'_>, blob: Blob) -> Result<Blob, BlobError> {
        let path = blob.path();
        let mut upload = self.begin(&path).await?;
        let filled = self.fill(&mut *upload, intake, blob).await;
        if filled.is_err() {
            // What failed is worth more than how the cleaning went.
            if let Err(error) = self.calls.within(STEP_LIMIT, "abort", &path, upload.abort()).await {
                tracing::debug!(key = %path, %error, "an upload could not be aborted");
            }
        }
        filled
    }

    /// Begins an upload in parts.
    pub(super) async fn begin(&self, path: &Path) -> Result<Box<dyn MultipartUpload>, BlobError> {
        let begin = || {
            let retries = PartRetries { clock: self.calls.clock.clone(), entropy: self.entropy.clone() };
            let options = PutMultipartOptions::default().with_retry_policy(Arc::new(retries));
            let upload = self.calls.data.put_multipart_opts(path, options);
            self.calls.within(STEP_LIMIT, "begin", path, upload)
        };
        self.persist(begin).await.map_err(not_written)
    }

    async fn fill(
        &self,
        upload: &mut dyn MultipartUpload,
        intake: &mut Intake<'_>,
        blob: Blob,
    ) -> Result<Blob, BlobError> {
        let ((to_hash, hashing), (to_store, storing)) = (mpsc::channel(1), mpsc::channel(1));
        let read = self.read_parts(intake, to_hash, to_store);
        let store = self.store_parts(upload, &blob, storing);
        let ((), hashes, ()) = futures::try_join!(read, hash_parts(hashing), store)?;
        let (blob, list) = sealed(hashes, blob)?;
        self.put_list(&blob, list).await?;
        self.complete(upload, &blob).await?;
        Ok(blob)
    }

    async fn read_parts(
        &self,
        intake: &mut Intake<'_>,
        to_hash: Sender<Part>,
        to_store: Sender<Part>,
    ) -> Result<(), BlobError> {
        while intake.is_open() {
            let part = self.next_part(intake).await?;
            // Who does not take it has failed and says so himself.
            if to_hash.send(part.clone()).await.is_err() || to_store.send(part).await.is_err() {
                return Ok(());
            }
        }
        intake.expect_end().await
    }

    /// The next part, with its place.
    pub(super) async fn next_part(&self, intake: &mut Intake<'_>) -> Result<Part, BlobError> {
        let room = u32::try_from(intake.next_length().div_ceil(1024)).unwrap_or(u32::MAX);
        let place = Arc::clone(&self.room).acquire_many_owned(room);
        let place = self.calls.clock.timeout(ROOM_LIMIT, place).await.map_err(BlobError::Crowded)?;
        let bytes = intake.part().await?;
        // Nobody closes the semaphore.
        Ok(Part { bytes, _place: place.ok().map(Arc::new) })
    }

    async fn store_parts(
        &self,
        upload: &mut dyn MultipartUpload,
        blob: &Blob,
        mut parts: Receiver<Part>,
    ) -> Result<(), BlobError> {
        let (path, mut open) = (blob.path(), true);
        let most = if self.calls.reach == Reach::Far { SIDE_BY_SIDE } else { 1 };
        let mut storing = FuturesUnordered::new();
        loop {
            tokio::select! {
                Some(stored) = storing.next(), if !storing.is_empty() => stored?,
                part = parts.recv(), if open && storing.len() < most => match part {
                    Some(part) => {
                        let sent = upload.put_part(part.bytes.clone().into());
                        storing.push(self.store_part(&path, part, sent));
                    }
                    None => open = false,
                },
                else => return Ok(()),
            }
        }
    }

    async fn store_part(
        &self,
        path: &Path,
        part: Part,
        sent: object_store::UploadPart,
    ) -> Result<(), BlobError> {
        let stored = self.calls.within(PART_LIMIT, "write a part of", path, sent).await;
        drop(part);
        stored.map_err(not_written)
    }

    pub(super) async fn complete(
        &self,
        upload: &mut dyn MultipartUpload,
        blob: &Blob,
    ) -> Result<(), BlobError> {
        let path = blob.path();
        let completed = self.calls.within(COMPLETE_LIMIT, "complete", &path, upload.complete()).await;
        match completed {
            Ok(_) => Ok(()),
            Err(error) if self.calls.reach == Reach::Far && self.is_stored(blob).await => {
                tracing::info!(key = %path, %error, "an upload was completed in spite of an error");
                Ok(())
            }
            Err(error) => Err(not_written(error)),
        }
    }

    /// Whether the whole blob lies in the store.
    async fn is_stored(&self, blob: &Blob) -> bool {
        let path = blob.path();
        let there = self.persist(|| self.calls.head(&path)).await;
        if !matches!(there, Ok(Some(listed)) if listed.size == blob.size) {
            return false;
        }
        let Ok(pieces) = self.read(blob, 0..blob.size).await else { return false };
        pieces.try_for_each(|_| std::future::ready(Ok(()))).await.is_ok()
    }
}

async fn hash_parts(mut parts: Receiver<Part>) -> Result<Hashes, BlobError> {
    let mut hashes = Hashes::default();
    while let Some(part) = parts.recv().await {
        hashes = hashes.add(vec![part.bytes.clone()]).await?;
    }
    Ok(hashes)
}

/// Sends parts again, a few times, with growing delays.
struct PartRetries {
    clock: Clock,
    entropy: Entropy,
}

#[async_trait]
impl RetryPolicy for PartRetries {
    async fn retry(&self, context: RetryContext) -> bool {
        let passing = match context.failure {
            RetryFailure::Status(status) => {
                status.is_success() || status.is_server_error() || matches!(status.as_u16(), 408 | 409 | 429)
            }
            _ => true,
        };
        let attempt = u32::try_from(context.attempt).unwrap_or(u32::MAX);
        if !passing || attempt >= TRIES {
            return false;
        }
        let mut delays = delays(&self.entropy);
        let delay = (0..attempt).map(|_| delays.next_delay()).last().unwrap_or_default();
        self.clock.sleep(delay).await;
        true
    }
}

impl fmt::Debug for PartRetries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PartRetries")
    }
}
