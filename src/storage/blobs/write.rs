//! Storing a stream: hashed on the way, completed only when digest and length are those announced.
//!
//! What fits into one part is one object put at once; what does not is an upload in parts ([`super::parts`]).
//! Every way out but success aborts what was begun; a future that is dropped leaves at most a staging file or
//! an unfinished upload, which nothing can address (a bucket's lifecycle rule removes those).

use bytes::{Bytes, BytesMut};
use object_store::PutMode;
use tokio::io::{AsyncRead, AsyncReadExt as _};

use super::parts::COMPLETE_LIMIT;
use super::{Blob, BlobError, BlobKey, Blobs, CHUNK, not_written};
use crate::model::{Digest, DigestHasher};
use crate::storage::calls::Reach;

const MIB: u64 = 1024 * 1024;

/// The length of parts, which is a multiple of [`CHUNK`], so that no chunk lies in two parts. On a bucket it
/// is above the 5 MiB that S3 wants, equal for all parts but the last (R2 wants that), and such that 10,000 parts
/// are enough. On a disk, parts are small, so that one is still in the processor's cache when it is hashed
/// and written. Tests use small ones, to have several cheaply.
fn part_length(reach: Reach, size: u64) -> u64 {
    match reach {
        _ if cfg!(test) && size < 4 * MIB => 2 * CHUNK,
        Reach::Near => 2 * MIB,
        Reach::Far if size < 4096 * MIB => 8 * MIB,
        Reach::Far => size.div_ceil(10_000).next_multiple_of(MIB).max(16 * MIB),
    }
}

impl Blobs {
    /// Stores what the reader gives. `start` is the last catalog record when the caller's session began.
    /// The reader's own delays are the caller's to bound, and it should be a file or memory: a part that is
    /// being read holds its place in the memory of all uploads.
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
        let part = part_length(self.calls.reach, size);
        let mut intake = Intake { reader, digest, size, taken: 0, part };
        let blob = Blob { digest, key, size, chunks: None };
        if size > part {
            return self.put_parts(&mut intake, blob).await;
        }
        let part = self.next_part(&mut intake).await?;
        intake.expect_end().await?;
        let mut hashes = Hashes::default();
        hashes.add(&part.bytes).await?;
        let blob = self.seal(hashes, blob).await?;
        self.put_object(&blob.path(), &part.bytes).await?;
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

    /// Checks that the bytes taken in are the ones announced, and stores their list of chunk digests.
    pub(super) async fn seal(&self, hashes: Hashes, blob: Blob) -> Result<Blob, BlobError> {
        let found = hashes.whole.finish();
        if found != blob.digest {
            return Err(BlobError::WrongDigest { expected: blob.digest, found });
        }
        if blob.size <= CHUNK {
            return Ok(blob);
        }
        let list = Bytes::from(hashes.chunks);
        let blob = Blob { chunks: Some(Digest::of(&list)), ..blob };
        self.put_object(&blob.chunks_path(), &list).await?;
        Ok(blob)
    }

    /// Writes a whole object. Its key is nobody else's, so it may be written twice.
    async fn put_object(&self, path: &object_store::path::Path, bytes: &Bytes) -> Result<(), BlobError> {
        let put = || self.calls.put(COMPLETE_LIMIT, path, bytes.clone(), PutMode::Overwrite);
        self.persist(put).await.map_err(not_written)
    }
}

/// The bytes on their way in.
pub(super) struct Intake<'a> {
    reader: &'a mut (dyn AsyncRead + Send + Unpin),
    digest: Digest,
    size: u64,
    taken: u64,
    part: u64,
}

impl Intake<'_> {
    /// Whether announced bytes are still to come.
    pub(super) fn is_open(&self) -> bool {
        self.taken < self.size
    }

    /// The length of the next part.
    pub(super) fn next_length(&self) -> u64 {
        (self.size - self.taken).min(self.part)
    }

    /// The next part, full or the last; empty when all announced bytes have come.
    pub(super) async fn part(&mut self) -> Result<Bytes, BlobError> {
        let length = usize::try_from(self.next_length()).unwrap_or(usize::MAX);
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
    pub(super) async fn expect_end(&mut self) -> Result<(), BlobError> {
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
pub(super) struct Hashes {
    whole: DigestHasher,
    chunks: Vec<u8>,
}

impl Hashes {
    /// Adds a part, on two blocking threads, so that the two passes over it run side by side.
    pub(super) async fn add(&mut self, part: &Bytes) -> Result<(), BlobError> {
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
