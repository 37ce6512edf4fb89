//! Reading ranges: whole chunks are read and verified, only the asked bytes are handed out.
//!
//! Files are read in large pieces on blocking threads: the store's own stream reads 8 KiB per hop and is
//! about twenty times slower. What was verified before and lies in the kernel's memory is read without the hop to
//! another thread, which costs more than the reading. A stream over a network that breaks, stalls or brings
//! wrong bytes is opened again at the last verified chunk. The first piece is verified before the stream is
//! returned, so that a caller can still answer with an error.

use std::fs::File;
use std::io::IoSliceMut;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt as _, TryStreamExt as _};
use object_store::{GetOptions, GetRange, GetResult, GetResultPayload};
use rustix::io::ReadWriteFlags;

use super::buffers::Buffers;
use super::verified::Identity;
use super::{Blob, BlobError, Blobs, CHUNK, DIGEST_LENGTH, delays, may_pass};
use crate::model::Digest;
use crate::storage::calls::CallError;

/// How many bytes of a file are read, verified and handed out at a time; the memory of one reader. A multiple
/// of [`CHUNK`].
const FILE_PIECE: u64 = CHUNK;

/// After how many pieces that were read without waiting others get their turn.
const TURN: u32 = 16;

/// The same of a stream, which is being filled while the piece before is still on its way out.
const STREAM_PIECE: u64 = CHUNK;

/// How long one piece may take.
const PIECE_LIMIT: Duration = Duration::from_secs(15);

/// How often wrong bytes are fetched again; they may have been altered on the way.
const DAMAGES: u32 = 1;

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
        Ok(Reader {
            blobs: self.clone(),
            blob,
            chunks,
            wanted,
            left: aligned,
            source: None,
            buffers: Buffers::new(to_usize(FILE_PIECE.min(blob.size))),
            turn: 0,
            failures: 0,
            damages: 0,
        })
    }

    async fn source(&self, blob: &Blob, range: Range<u64>) -> Result<Source, BlobError> {
        let options = GetOptions { range: Some(GetRange::Bounded(range)), ..GetOptions::default() };
        let result = self.calls.get(&blob.path(), options).await.map_err(BlobError::Read)?;
        if result.meta.size != blob.size {
            let what = format!("{} bytes are there instead of {}", result.meta.size, blob.size);
            return Err(BlobError::Damaged { digest: blob.digest, what });
        }
        Ok(Source::new(result))
    }

    /// The digests of all chunks, verified against the catalog.
    pub(in crate::storage) async fn chunks(&self, blob: &Blob) -> Result<Chunks, BlobError> {
        let digest = blob.digest;
        let Some(expected) = blob.chunks else {
            return Ok(Chunks { digest, list: Bytes::copy_from_slice(digest.as_bytes()) });
        };
        let limit = blob.size.div_ceil(CHUNK) * DIGEST_LENGTH;
        let path = blob.chunks_path();
        let read = self.persist(|| self.calls.read_data(&path, limit)).await.map_err(BlobError::Read)?;
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
pub(in crate::storage) struct Chunks {
    digest: Digest,
    list: Bytes,
}

impl Chunks {
    /// Compares whole chunks, the first of which begins at `offset`.
    pub(super) fn verify(&self, offset: u64, bytes: &[u8]) -> Result<(), BlobError> {
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
    blobs: Blobs,
    blob: Blob,
    chunks: Chunks,
    wanted: Range<u64>,
    left: Range<u64>,
    /// None before the first piece and after a failure.
    source: Option<Source>,
    /// Of files' pieces.
    buffers: Buffers,
    /// How many pieces were read without waiting since others had their turn.
    turn: u32,
    /// Since the last verified piece.
    failures: u32,
    damages: u32,
}

impl Reader {
    /// The next verified piece, cut to what is wanted.
    async fn next(mut self) -> Result<Option<(Bytes, Self)>, BlobError> {
        if self.left.is_empty() {
            return Ok(None);
        }
        let mut delays = delays(&self.blobs.entropy);
        let piece = loop {
            match self.piece().await {
                Ok(piece) => break piece,
                Err(error) if self.may_go_on(&error) => {
                    tracing::debug!(blob = %self.blob.digest, at = self.left.start, %error, "reading again");
                    self.source = None;
                    self.blobs.calls.clock.sleep(delays.next_delay()).await;
                }
                Err(error) => return Err(error),
            }
        };
        self.failures = 0;
        let (offset, length) = (self.left.start, piece.len());
        self.left.start += length as u64;
        let cut = |at: u64| usize::try_from(at.saturating_sub(offset)).unwrap_or(usize::MAX).min(length);
        let wanted = piece.slice(cut(self.wanted.start)..cut(self.wanted.end));
        Ok(Some((wanted, self)))
    }

    /// Counts a failure and says whether it is worth another try.
    fn may_go_on(&mut self, error: &BlobError) -> bool {
        let count = match error {
            BlobError::Read(error) if may_pass(error) => &mut self.failures,
            // Files are read as they are; what came over a network may be right in the store.
            BlobError::Damaged { .. } if matches!(self.source, Some(Source::Stream(..))) => &mut self.damages,
            _ => return false,
        };
        *count += 1;
        let most = if matches!(error, BlobError::Damaged { .. }) { DAMAGES } else { u32::MAX };
        *count <= most.min(self.blobs.tries() - 1)
    }

    async fn piece(&mut self) -> Result<Bytes, BlobError> {
        if let Some(piece) = self.piece_at_hand() {
            self.turn += 1;
            if self.turn >= TURN {
                self.turn = 0;
                tokio::task::yield_now().await;
            }
            return Ok(piece);
        }
        let source = match &mut self.source {
            Some(source) => source,
            closed => closed.insert(self.blobs.source(&self.blob, self.left.clone()).await?),
        };
        let next = source.next(&self.blobs, &self.blob, &self.chunks, self.left.clone(), &self.buffers);
        match self.blobs.calls.clock.timeout(PIECE_LIMIT, next).await {
            Ok(piece) => piece,
            Err(source) => {
                let key = self.blob.path().to_string();
                Err(BlobError::Read(CallError::Late { action: "read", key, source }))
            }
        }
    }
}

impl Reader {
    /// The next piece, where it was verified before and can be read without waiting for any disk. File systems over a
    /// network do not offer that.
    fn piece_at_hand(&self) -> Option<Bytes> {
        let Some(Source::File(file)) = &self.source else { return None };
        let length = to_usize((self.left.end - self.left.start).min(FILE_PIECE));
        let known = self.blobs.verified.whose(
            &self.blob,
            indexes(self.left.start, length),
            &self.blobs.calls.clock,
        )?;
        let mut buffer = self.buffers.take();
        let mut into = [IoSliceMut::new(buffer.first(length))];
        let read = rustix::io::preadv2(file, &mut into, self.left.start, ReadWriteFlags::NOWAIT).ok()?;
        // Whoever is the same after the reading was so during it.
        (read == length && Identity::of(file).ok()? == known).then(|| buffer.freeze(length))
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

    /// Reads and verifies whole chunks from the beginning of what is left.
    async fn next(
        &mut self,
        blobs: &Blobs,
        blob: &Blob,
        chunks: &Chunks,
        left: Range<u64>,
        buffers: &Buffers,
    ) -> Result<Bytes, BlobError> {
        let of = |piece: u64| to_usize((left.end - left.start).min(piece));
        match self {
            Self::File(file) => {
                let (file, blobs, blob, chunks) = (Arc::clone(file), blobs.clone(), *blob, chunks.clone());
                let (length, buffers) = (of(FILE_PIECE), buffers.clone());
                let read = tokio::task::spawn_blocking(move || {
                    read_file(&file, &blobs, &blob, &chunks, left.start, length, &buffers)
                });
                read.await.map_err(BlobError::Interrupted)?
            }
            Self::Stream(stream, held) => {
                let length = of(STREAM_PIECE);
                while held.len() < length {
                    let Some(more) = stream.next().await else {
                        let what = format!("it ends at byte {}", left.start + held.len() as u64);
                        return Err(BlobError::Damaged { digest: blob.digest, what });
                    };
                    let key = || blob.path().to_string();
                    held.extend_from_slice(&more.map_err(|source| {
                        BlobError::Read(CallError::Failed { action: "read", key: key(), source })
                    })?);
                }
                let piece = held.split_to(length).freeze();
                chunks.verify(left.start, &piece)?;
                Ok(piece)
            }
        }
    }
}

/// Reads chunks of a file, and verifies them unless that was done lately and the file is still the same.
fn read_file(
    file: &File,
    blobs: &Blobs,
    blob: &Blob,
    chunks: &Chunks,
    offset: u64,
    length: usize,
    buffers: &Buffers,
) -> Result<Bytes, BlobError> {
    let (verified, clock) = (&blobs.verified, &blobs.calls.clock);
    let indexes = indexes(offset, length);
    let before = Identity::of(file).map_err(BlobError::ReadFile)?;
    let known = verified.has(blob, before, indexes.clone(), clock);
    let mut buffer = buffers.take();
    let piece = buffer.first(length);
    file.read_exact_at(piece, offset).map_err(BlobError::ReadFile)?;
    if known && Identity::of(file).is_ok_and(|after| after == before) {
        return Ok(buffer.freeze(length));
    }
    chunks.verify(offset, piece)?;
    verified.note(blob, before, indexes, clock);
    Ok(buffer.freeze(length))
}

/// The numbers of the chunks of which a piece holds something.
fn indexes(offset: u64, length: usize) -> Range<u64> {
    offset / CHUNK..(offset + length as u64).div_ceil(CHUNK)
}

fn to_usize(length: u64) -> usize {
    usize::try_from(length).unwrap_or(usize::MAX)
}
