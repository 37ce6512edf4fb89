//! Reading a copy only to see whether it is whole: one pass, nothing is kept, nothing is believed from earlier.
//!
//! The chunks' digests are compared with the list, the list with its own digest, which stands in the catalog; the
//! digest of the whole follows from that and is not computed a second time.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::time::Duration;

use bytes::BytesMut;
use futures::StreamExt as _;
use object_store::{GetOptions, GetRange, GetResultPayload};

use super::read::Chunks;
use super::{Blob, BlobError, Blobs, CHUNK};
use crate::storage::calls::CallError;

/// How long one span may take.
const SPAN_LIMIT: Duration = Duration::from_secs(300);

impl Blobs {
    /// Verifies a span of a copy. The span must begin at a chunk and end at one or at the end of the blob.
    ///
    /// # Errors
    /// When it is missing, cannot be read, or is not what was stored.
    pub(in crate::storage) async fn verify(
        &self,
        blob: &Blob,
        chunks: &Chunks,
        span: Range<u64>,
    ) -> Result<(), BlobError> {
        let work = self.verify_span(blob, chunks, span);
        match self.calls.clock.timeout(SPAN_LIMIT, work).await {
            Ok(verified) => verified,
            Err(source) => {
                let key = blob.path().to_string();
                Err(BlobError::Read(CallError::Late { action: "read", key, source }))
            }
        }
    }

    async fn verify_span(&self, blob: &Blob, chunks: &Chunks, span: Range<u64>) -> Result<(), BlobError> {
        // A store refuses an empty range; what has no bytes must be there all the same.
        let (range, head) =
            if span.is_empty() { (None, true) } else { (Some(GetRange::Bounded(span.clone())), false) };
        let options = GetOptions { range, head, ..GetOptions::default() };
        let result = self.calls.get(&blob.path(), options).await.map_err(BlobError::Read)?;
        if result.meta.size != blob.size {
            let what = format!("{} bytes are there instead of {}", result.meta.size, blob.size);
            return Err(BlobError::Damaged { digest: blob.digest, what });
        }
        if span.is_empty() {
            return Ok(());
        }
        match result.payload {
            GetResultPayload::File(file, _) => {
                let chunks = chunks.clone();
                let read = tokio::task::spawn_blocking(move || verify_file(&file, &chunks, span));
                read.await.map_err(BlobError::Interrupted)?
            }
            GetResultPayload::Stream(mut stream) => {
                let mut got = BytesMut::new();
                let mut offset = span.start;
                while offset < span.end {
                    let length = to_usize((span.end - offset).min(CHUNK));
                    while got.len() < length {
                        let Some(more) = stream.next().await else {
                            let what = format!("it ends at byte {}", offset + got.len() as u64);
                            return Err(BlobError::Damaged { digest: blob.digest, what });
                        };
                        let key = || blob.path().to_string();
                        got.extend_from_slice(&more.map_err(|source| {
                            BlobError::Read(CallError::Failed { action: "read", key: key(), source })
                        })?);
                    }
                    let (piece, chunks) = (got.split_to(length).freeze(), chunks.clone());
                    let verified = tokio::task::spawn_blocking(move || chunks.verify(offset, &piece));
                    verified.await.map_err(BlobError::Interrupted)??;
                    offset += length as u64;
                }
                Ok(())
            }
        }
    }
}

fn verify_file(file: &File, chunks: &Chunks, span: Range<u64>) -> Result<(), BlobError> {
    let mut piece = vec![0; to_usize(CHUNK)];
    let mut offset = span.start;
    while offset < span.end {
        let length = to_usize((span.end - offset).min(CHUNK));
        let Some(piece) = piece.get_mut(..length) else { break };
        file.read_exact_at(piece, offset).map_err(BlobError::ReadFile)?;
        chunks.verify(offset, piece)?;
        offset += length as u64;
    }
    Ok(())
}

fn to_usize(length: u64) -> usize {
    usize::try_from(length).unwrap_or(usize::MAX)
}
