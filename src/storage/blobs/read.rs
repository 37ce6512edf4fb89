//! Reading ranges: whole chunks are read and verified, only the asked bytes are handed out.
//!
//! Files are read in large pieces on blocking threads: the store's own stream reads 8 KiB per hop and is
//! about twenty times slower. The first piece is verified before the stream is returned, so that a caller
//! can still answer with an error.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt as _, TryStreamExt as _};
use object_store::{GetOptions, GetRange, GetResult, GetResultPayload};

use super::{Blob, BlobError, Blobs, CHUNK, DIGEST_LENGTH};
use crate::model::Digest;
use crate::storage::calls::{CallError, Calls};

/// How many bytes are read, verified and handed out at a time; the memory of one reader. A multiple of
/// [`CHUNK`].
const PIECE: u64 = 2 * CHUNK;

/// How long one piece may take.
const PIECE_LIMIT: Duration = Duration::from_secs(30);

impl Blobs {
    /// Reads a range of a blob; what lies beyond its end is left out. The stream ends with the first error.
    ///
    /// # Errors
    /// When the blob is missing, or its first piece cannot be read or is damaged.
    pub async fn read(
        &self,
        blob: &Blob,
        range: Range<u64>,
    ) -> Result<impl Stream<Item = Result<Bytes, BlobError>> + Send + use<>, BlobError> {
        let wanted = range.start..range.end.min(blob.size);
        if wanted.is_empty() {
            return Ok(stream::empty().boxed());
        }
        let reader = self.open(*blob, wanted).await?;
        let mut pieces = stream::try_unfold(reader, Reader::next).boxed();
        let first = pieces.next().await.transpose()?;
        Ok(stream::iter(first.map(Ok)).chain(pieces).boxed())
    }

    /// Reads a whole blob into memory.
    ///
    /// # Errors
    /// As [`Blobs::read`], and when it is longer than `limit` bytes.
    pub async fn read_all(&self, blob: &Blob, limit: u64) -> Result<Bytes, BlobError> {
        let Blob { digest, size, .. } = *blob;
        if size > limit {
            return Err(BlobError::TooLarge { digest, size, limit });
        }
        let pieces: Vec<Bytes> = self.read(blob, 0..size).await?.try_collect().await?;
        let mut all = BytesMut::new();
        for piece in pieces {
            all.extend_from_slice(&piece);
        }
        Ok(all.freeze())
    }

    async fn open(&self, blob: Blob, wanted: Range<u64>) -> Result<Reader, BlobError> {
        let chunks = self.chunks(&blob).await?;
        let aligned = wanted.start / CHUNK * CHUNK..wanted.end.next_multiple_of(CHUNK).min(blob.size);
        let options = GetOptions { range: Some(GetRange::Bounded(aligned.clone())), ..GetOptions::default() };
        let result = self.calls.get(&blob.path(), options).await.map_err(BlobError::Read)?;
        if result.meta.size != blob.size {
            let what = format!("{} bytes are there instead of {}", result.meta.size, blob.size);
            return Err(BlobError::Damaged { digest: blob.digest, what });
        }
        let calls = self.calls.clone();
        Ok(Reader { calls, blob, chunks, wanted, left: aligned, bytes: Source::new(result) })
    }

    /// The digests of all chunks, verified against the catalog.
    async fn chunks(&self, blob: &Blob) -> Result<Chunks, BlobError> {
        let digest = blob.digest;
        let Some(expected) = blob.chunks else {
            return Ok(Chunks { digest, list: Bytes::copy_from_slice(digest.as_bytes()) });
        };
        let limit = blob.size.div_ceil(CHUNK) * DIGEST_LENGTH;
        let read = self.calls.read_small(&blob.chunks_path(), limit).await.map_err(BlobError::Read)?;
        let what = match read {
            Some(list) if Digest::of(&list) == expected => return Ok(Chunks { digest, list }),
            Some(_) => "its list of chunk digests was altered",
            None => "its list of chunk digests is missing",
        };
        Err(BlobError::Damaged { digest, what: what.into() })
    }
}

/// The digests of a blob's chunks, one after the other.
#[derive(Clone)]
struct Chunks {
    digest: Digest,
    list: Bytes,
}

impl Chunks {
    /// Compares whole chunks, the first of which begins at `offset`.
    fn verify(&self, offset: u64, bytes: &[u8]) -> Result<(), BlobError> {
        let chunk = usize::try_from(CHUNK).unwrap_or(usize::MAX);
        let length = usize::try_from(DIGEST_LENGTH).unwrap_or(usize::MAX);
        let first = usize::try_from(offset / CHUNK).unwrap_or(usize::MAX);
        for (index, bytes) in bytes.chunks(chunk).enumerate() {
            let at = first.saturating_add(index).saturating_mul(length);
            let expected = self.list.get(at..at.saturating_add(length));
            if expected != Some(Digest::of(bytes).as_bytes().as_slice()) {
                let what = format!("the chunk at byte {} was altered", offset + (index * chunk) as u64);
                return Err(BlobError::Damaged { digest: self.digest, what });
            }
        }
        Ok(())
    }
}

/// Where a reader stands.
struct Reader {
    calls: Calls,
    blob: Blob,
    chunks: Chunks,
    wanted: Range<u64>,
    left: Range<u64>,
    bytes: Source,
}

impl Reader {
    /// The next verified piece, cut to what is wanted.
    async fn next(mut self) -> Result<Option<(Bytes, Self)>, BlobError> {
        if self.left.is_empty() {
            return Ok(None);
        }
        let offset = self.left.start;
        let length = usize::try_from((self.left.end - offset).min(PIECE)).unwrap_or(usize::MAX);
        let (calls, chunks) = (self.calls.clone(), self.chunks.clone());
        let next = self.bytes.next(&self.blob, chunks, offset, length);
        let piece = match calls.clock.timeout(PIECE_LIMIT, next).await {
            Ok(piece) => piece?,
            Err(source) => {
                let key = self.blob.path().to_string();
                return Err(BlobError::Read(CallError::Late { action: "read", key, source }));
            }
        };
        self.left.start += length as u64;
        let cut = |at: u64| usize::try_from(at.saturating_sub(offset)).unwrap_or(usize::MAX).min(length);
        let wanted = piece.slice(cut(self.wanted.start)..cut(self.wanted.end));
        Ok(Some((wanted, self)))
    }
}

/// Where the bytes come from.
enum Source {
    File(Arc<File>),
    Stream(BoxStream<'static, object_store::Result<Bytes>>, BytesMut),
}

impl Source {
    fn new(result: GetResult) -> Self {
        match result.payload {
            GetResultPayload::File(file, _) => Self::File(Arc::new(file)),
            GetResultPayload::Stream(stream) => Self::Stream(stream, BytesMut::new()),
        }
    }

    /// Reads and verifies whole chunks.
    async fn next(
        &mut self,
        blob: &Blob,
        chunks: Chunks,
        offset: u64,
        length: usize,
    ) -> Result<Bytes, BlobError> {
        match self {
            Self::File(file) => {
                let file = Arc::clone(file);
                let read = tokio::task::spawn_blocking(move || read_file(&file, &chunks, offset, length));
                read.await.map_err(BlobError::Interrupted)?
            }
            Self::Stream(stream, held) => {
                while held.len() < length {
                    let Some(more) = stream.next().await else {
                        let what = format!("it ends at byte {}", offset + held.len() as u64);
                        return Err(BlobError::Damaged { digest: blob.digest, what });
                    };
                    let key = || blob.path().to_string();
                    held.extend_from_slice(&more.map_err(|source| {
                        BlobError::Read(CallError::Failed { action: "read", key: key(), source })
                    })?);
                }
                let piece = held.split_to(length).freeze();
                chunks.verify(offset, &piece)?;
                Ok(piece)
            }
        }
    }
}

fn read_file(file: &File, chunks: &Chunks, offset: u64, length: usize) -> Result<Bytes, BlobError> {
    let mut piece = vec![0; length];
    file.read_exact_at(&mut piece, offset).map_err(BlobError::ReadFile)?;
    chunks.verify(offset, &piece)?;
    Ok(piece.into())
}
