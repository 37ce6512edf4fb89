//! Storing a stream: hashed on the way, completed only when digest and length are those announced.
//!
//! The memory of one write is one part. Every way out but success aborts what was begun; a future that is
//! dropped leaves at most a staging file or an unfinished upload, which nothing can address.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use object_store::{MultipartUpload, PutMode, PutMultipartOptions};
use tokio::io::{AsyncRead, AsyncReadExt as _};

use super::{Blob, BlobError, BlobKey, Blobs, CHUNK};
use crate::model::{Digest, DigestHasher};

/// The length of a part in bytes; what is longer goes up in several. A multiple of [`CHUNK`], so that no
/// chunk lies in two parts, and above the 5 MiB that S3 wants. Tests use small ones, to have several cheaply.
const PART: usize = if cfg!(test) { 512 * 1024 } else { 8 * 1024 * 1024 };

/// How long storing one part may take.
const PART_LIMIT: Duration = Duration::from_secs(60);

/// How long completing may take: a local disk flushes the whole file then.
const COMPLETE_LIMIT: Duration = Duration::from_secs(600);

impl Blobs {
    /// Stores what the reader gives. `start` is the last catalog record when the caller's session began.
    /// The reader's own delays are the caller's to bound.
    ///
    /// # Errors
    /// When the bytes are not those announced, or could not be read or stored. Nothing is visible then.
    pub async fn put(
        &self,
        reader: &mut (dyn AsyncRead + Send + Unpin),
        digest: Digest,
        size: u64,
        start: u64,
    ) -> Result<Blob, BlobError> {
        let key = BlobKey { start, random: self.entropy.next() };
        let mut intake = Intake { reader, digest, size, taken: 0, hashes: Hashes::default() };
        let blob = Blob { digest, key, size, chunks: None };
        if size > PART as u64 {
            return self.put_parts(&mut intake, blob).await;
        }
        let bytes = intake.part().await?;
        intake.hashes.add(&bytes).await?;
        let blob = self.seal(&mut intake, blob).await?;
        let put = self.calls.put(COMPLETE_LIMIT, &blob.path(), bytes, PutMode::Overwrite).await;
        put.map_err(BlobError::Write)?;
        Ok(blob)
    }

    /// Stores bytes that are in memory.
    ///
    /// # Errors
    /// When they could not be stored.
    pub async fn put_bytes(&self, bytes: &[u8], start: u64) -> Result<Blob, BlobError> {
        let mut reader = bytes;
        self.put(&mut reader, Digest::of(bytes), bytes.len() as u64, start).await
    }

    async fn put_parts(&self, intake: &mut Intake<'_>, blob: Blob) -> Result<Blob, BlobError> {
        let path = blob.path();
        let upload = self.calls.store.put_multipart_opts(&path, PutMultipartOptions::default());
        let upload = self.calls.within(PART_LIMIT, "begin", &path, upload).await;
        let mut upload = upload.map_err(BlobError::Write)?;
        let filled = self.fill(&mut *upload, intake, blob).await;
        if filled.is_err() {
            // What failed is worth more than how the cleaning went.
            if let Err(error) = self.calls.within(PART_LIMIT, "abort", &path, upload.abort()).await {
                tracing::debug!(key = %path, %error, "an upload could not be aborted");
            }
        }
        filled
    }

    async fn fill(
        &self,
        upload: &mut dyn MultipartUpload,
        intake: &mut Intake<'_>,
        blob: Blob,
    ) -> Result<Blob, BlobError> {
        let path = blob.path();
        loop {
            let part = intake.part().await?;
            if part.is_empty() {
                break;
            }
            let stored = upload.put_part(part.clone().into());
            let stored = self.calls.within(PART_LIMIT, "write a part of", &path, stored);
            let (stored, hashed) = futures::join!(stored, intake.hashes.add(&part));
            stored.map_err(BlobError::Write)?;
            hashed?;
        }
        let blob = self.seal(intake, blob).await?;
        let completed = self.calls.within(COMPLETE_LIMIT, "complete", &path, upload.complete()).await;
        completed.map_err(BlobError::Write)?;
        Ok(blob)
    }

    /// Checks that the bytes taken in are the ones announced, and stores their list of chunk digests.
    async fn seal(&self, intake: &mut Intake<'_>, blob: Blob) -> Result<Blob, BlobError> {
        intake.expect_end().await?;
        let hashes = std::mem::take(&mut intake.hashes);
        let found = hashes.whole.finish();
        if found != blob.digest {
            return Err(BlobError::WrongDigest { expected: blob.digest, found });
        }
        if blob.size <= CHUNK {
            return Ok(blob);
        }
        let list = Bytes::from(hashes.chunks);
        let blob = Blob { chunks: Some(Digest::of(&list)), ..blob };
        let put = self.calls.put(PART_LIMIT, &blob.chunks_path(), list, PutMode::Overwrite).await;
        put.map_err(BlobError::Write)?;
        Ok(blob)
    }
}

/// The bytes on their way in.
struct Intake<'a> {
    reader: &'a mut (dyn AsyncRead + Send + Unpin),
    digest: Digest,
    size: u64,
    taken: u64,
    hashes: Hashes,
}

impl Intake<'_> {
    /// The next part, full or the last; empty when all announced bytes have come.
    async fn part(&mut self) -> Result<Bytes, BlobError> {
        let length = usize::try_from(self.size - self.taken).unwrap_or(PART).min(PART);
        let mut part = BytesMut::with_capacity(length);
        let mut limited = (&mut *self.reader).take(length as u64);
        while part.len() < length {
            let read = limited.read_buf(&mut part).await;
            let read = read.map_err(|source| BlobError::Source { digest: self.digest, source })?;
            self.taken += read as u64;
            if read == 0 {
                return Err(self.wrong_length());
            }
        }
        Ok(part.freeze())
    }

    /// Fails when more bytes come than announced.
    async fn expect_end(&mut self) -> Result<(), BlobError> {
        let read = self.reader.read(&mut [0]).await;
        let read = read.map_err(|source| BlobError::Source { digest: self.digest, source })?;
        self.taken += read as u64;
        if read == 0 { Ok(()) } else { Err(self.wrong_length()) }
    }

    fn wrong_length(&self) -> BlobError {
        BlobError::WrongLength { digest: self.digest, expected: self.size, found: self.taken }
    }
}

/// The digest of all bytes and those of the chunks.
#[derive(Default)]
struct Hashes {
    whole: DigestHasher,
    chunks: Vec<u8>,
}

impl Hashes {
    /// Adds a part, on two blocking threads, so that the two passes over it run side by side.
    async fn add(&mut self, part: &Bytes) -> Result<(), BlobError> {
        if part.len() as u64 <= CHUNK {
            self.whole.update(part);
            self.chunks.extend(chunk_digests(part));
            return Ok(());
        }
        let (whole, parts) = (std::mem::take(&mut self.whole), (part.clone(), part.clone()));
        let whole = tokio::task::spawn_blocking(move || {
            let mut whole = whole;
            whole.update(&parts.0);
            whole
        });
        let chunks = tokio::task::spawn_blocking(move || chunk_digests(&parts.1));
        let (whole, chunks) = futures::join!(whole, chunks);
        self.whole = whole.map_err(BlobError::Interrupted)?;
        self.chunks.extend(chunks.map_err(BlobError::Interrupted)?);
        Ok(())
    }
}

/// The digests of the chunks, one after the other.
fn chunk_digests(bytes: &[u8]) -> Vec<u8> {
    let chunks = bytes.chunks(usize::try_from(CHUNK).unwrap_or(usize::MAX));
    chunks.flat_map(|chunk| *Digest::of(chunk).as_bytes()).collect()
}
