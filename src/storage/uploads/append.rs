//! Taking in bytes, and reading them back.

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _};

use super::{HEADER, PIECE, TRIES, UploadError, UploadId, Uploads};
use crate::model::Digest;

#[expect(clippy::cast_possible_truncation, reason = "it is a few dozen bytes")]
const HEADER_LENGTH: usize = HEADER as usize;

impl Uploads {
    /// Takes in what the reader gives, from an offset on; returns the offset behind it. Where the reader breaks off,
    /// what came until then is kept. The reader's own delays are the caller's to bound, and how many append at a
    /// time: each holds one piece in memory.
    ///
    /// # Errors
    /// [`UploadError::WrongOffset`] where the upload stands elsewhere; it says where. Whatever happens, what was
    /// stored stays, and [`Uploads::status`] says how much that is.
    pub async fn append(
        &self,
        id: UploadId,
        offset: u64,
        reader: &mut (dyn AsyncRead + Send + Unpin),
    ) -> Result<u64, UploadError> {
        self.writable().await?;
        let (status, folder) = self.look(id).await?;
        if let Some(outcome) = status.outcome {
            return Err(UploadError::Over { outcome: outcome.into() });
        }
        if offset != status.offset {
            return Err(UploadError::WrongOffset { offset, expected: status.offset });
        }
        let end = status.length.unwrap_or(self.limits.size);
        let (mut at, mut pieces) = (offset, folder.pieces().len());
        while at < end {
            let gathered = gather(reader, (end - at).min(PIECE)).await;
            let bytes = gathered.bytes;
            let is_last = (bytes.len() as u64) < (end - at).min(PIECE);
            at = self.put(id, at, bytes, &mut pieces).await?;
            if let Some(source) = gathered.failure {
                return Err(UploadError::Source { offset: at, source });
            }
            if is_last {
                return Ok(at);
            }
        }
        match reader.read(&mut [0]).await {
            Ok(0) => Ok(at),
            Ok(_) => Err(UploadError::TooLong { length: end }),
            Err(source) => Err(UploadError::Source { offset: at, source }),
        }
    }

    /// Stores bytes from an offset on; returns the offset behind them.
    pub(super) async fn put(
        &self,
        id: UploadId,
        mut at: u64,
        mut bytes: Bytes,
        pieces: &mut usize,
    ) -> Result<u64, UploadError> {
        while !bytes.is_empty() {
            if *pieces >= self.limits.pieces {
                return Err(UploadError::TooManyPieces { limit: self.limits.pieces });
            }
            let there = self.create_bytes(&id.piece(at), frame(&bytes).await?, HEADER + PIECE).await?;
            let there = open(&there).filter(|there| !there.is_empty());
            let there = there.ok_or(UploadError::PieceDamaged { offset: at })?;
            let behind = at + there.len() as u64;
            if !bytes.starts_with(there) {
                // Somebody else was first with a longer piece, or with other bytes.
                return Err(UploadError::WrongOffset { offset: at, expected: behind });
            }
            bytes.advance(there.len());
            at = behind;
            *pieces += 1;
        }
        Ok(at)
    }

    /// Reads a piece that was listed, and checks it. What is gone or wrong is asked for again: a store may answer
    /// from an old copy, and bytes may be altered on the way.
    pub(super) async fn read_piece(
        &self,
        id: UploadId,
        offset: u64,
        length: u64,
    ) -> Result<Bytes, UploadError> {
        let (mut delays, mut tries) = (self.delays(), 1);
        loop {
            let read = self.read_bytes(&id.piece(offset), HEADER + PIECE).await.map_err(UploadError::Read)?;
            let error = match read {
                None => UploadError::PieceMissing { offset },
                Some(piece) => match unframe(piece).await? {
                    Some(bytes) if bytes.len() as u64 == length => return Ok(bytes),
                    _ => UploadError::PieceDamaged { offset },
                },
            };
            if tries >= TRIES {
                return Err(error);
            }
            tracing::debug!(%id, %error, tries, "a piece is read again");
            tries += 1;
            self.storage.calls.clock.sleep(delays.next_delay()).await;
        }
    }
}

struct Gathered {
    bytes: Bytes,
    failure: Option<std::io::Error>,
}

/// Reads so many bytes, or fewer where the reader ends or fails.
async fn gather(reader: &mut (dyn AsyncRead + Send + Unpin), length: u64) -> Gathered {
    let mut bytes = BytesMut::new();
    let mut limited = reader.take(length);
    let failure = loop {
        bytes.reserve(64 * 1024);
        match limited.read_buf(&mut bytes).await {
            Ok(0) => break None,
            Ok(_) => {}
            Err(error) => break Some(error),
        }
    };
    Gathered { bytes: bytes.freeze(), failure }
}

/// A piece as it is stored.
async fn frame(bytes: &Bytes) -> Result<Bytes, UploadError> {
    let bytes = bytes.clone();
    let framed = tokio::task::spawn_blocking(move || {
        let mut framed = Vec::with_capacity(HEADER_LENGTH + bytes.len());
        framed.extend_from_slice(Digest::of(&bytes).as_bytes());
        framed.extend_from_slice(&bytes);
        framed.into()
    });
    framed.await.map_err(UploadError::Interrupted)
}

/// The bytes of a stored piece, checked on a blocking thread.
async fn unframe(piece: Bytes) -> Result<Option<Bytes>, UploadError> {
    let checked = tokio::task::spawn_blocking(move || {
        let is_whole = open(&piece).is_some();
        is_whole.then(|| piece.slice(HEADER_LENGTH..))
    });
    checked.await.map_err(UploadError::Interrupted)
}

/// The bytes of a stored piece; none where its digest does not fit.
fn open(piece: &[u8]) -> Option<&[u8]> {
    let (digest, bytes) = piece.split_at_checked(HEADER_LENGTH)?;
    (Digest::of(bytes).as_bytes() == digest).then_some(bytes)
}
