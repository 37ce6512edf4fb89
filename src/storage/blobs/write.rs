//! Storing a stream: hashed on the way, completed only when digest and length are those announced.
//!
//! What fits into one part is one object put at once; what does not is an upload in parts ([`super::parts`]).
//! Every way out but success aborts what was begun; a future that is dropped leaves at most a staging file or
//! an unfinished upload, which nothing can address (a bucket's lifecycle rule removes those).

use bytes::{Bytes, BytesMut};
use object_store::PutMode;
use tokio::io::{AsyncRead, AsyncReadExt as _};

use super::hashes::Hashes;
use super::parts::COMPLETE_LIMIT;
use super::{Blob, BlobError, BlobKey, Blobs, CHUNK, not_written};
use crate::model::Digest;
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
        let hashes = Hashes::default().add(vec![part.bytes.clone()]).await?;
        let (blob, list) = sealed(hashes, blob)?;
        self.put_list(&blob, list).await?;
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

    /// Stores the list of chunk digests, where there is one.
    pub(super) async fn put_list(&self, blob: &Blob, list: Option<Bytes>) -> Result<(), BlobError> {
        match list {
            Some(list) => self.put_object(&blob.chunks_path(), &list).await,
            None => Ok(()),
        }
    }

    /// Writes a whole object. Its key is nobody else's, so it may be written twice.
    async fn put_object(&self, path: &object_store::path::Path, bytes: &Bytes) -> Result<(), BlobError> {
        let put = || self.calls.put(COMPLETE_LIMIT, path, bytes.clone(), PutMode::Overwrite);
        self.persist(put).await.map_err(not_written)
    }
}

/// Checks that the bytes taken in are the ones announced. Gives the blob with the digest of its list of chunk digests,
/// and that list, where one chunk does not hold it all.
pub(super) fn sealed(hashes: Hashes, blob: Blob) -> Result<(Blob, Option<Bytes>), BlobError> {
    let (found, chunks) = hashes.finish();
    if found != blob.digest {
        return Err(BlobError::WrongDigest { expected: blob.digest, found });
    }
    if blob.size <= CHUNK {
        return Ok((blob, None));
    }
    let list = Bytes::from(chunks);
    Ok((Blob { chunks: Some(Digest::of(&list)), ..blob }, Some(list)))
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
