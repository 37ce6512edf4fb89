//! The digest of all bytes of a blob and those of its chunks, in one pass.

use bytes::Bytes;

use super::{BlobError, CHUNK};
use crate::model::{Digest, DigestHasher};

/// What both digests take in turns, in bytes: two blocks of SHA-256. Each digest is one long chain in which every
/// step waits for the one before; two chains that do not wait for each other go through a processor nearly as fast
/// as one, if their steps are close enough for it to see both.
const TURN: usize = 128;

/// The length of a block of SHA-256. Hashers copy what is no whole block.
const BLOCK: usize = 64;

/// The length of a chunk as a length in memory.
const CHUNK_LENGTH: usize = {
    let length: usize = 256 * 1024;
    assert!(length as u64 == CHUNK);
    length
};

/// The digest of all bytes and those of the chunks.
#[derive(Default)]
pub(super) struct Hashes {
    whole: DigestHasher,
    chunks: Chunks,
}

/// The digests of the chunks.
#[derive(Default)]
struct Chunks {
    current: DigestHasher,
    /// The bytes in the chunk that is not full yet.
    filled: usize,
    list: Vec<u8>,
}

impl Chunks {
    /// Adds bytes that reach no further than the end of the chunk.
    fn update(&mut self, bytes: &[u8]) {
        self.current.update(bytes);
        self.filled += bytes.len();
        if self.filled == CHUNK_LENGTH {
            self.end();
        }
    }

    fn end(&mut self) {
        self.list.extend(std::mem::take(&mut self.current).finish().as_bytes());
        self.filled = 0;
    }

    fn update_all(&mut self, pieces: &[Bytes]) {
        for mut bytes in pieces.iter().map(Bytes::as_ref) {
            while !bytes.is_empty() {
                let (now, rest) = bytes.split_at((CHUNK_LENGTH - self.filled).min(bytes.len()));
                self.update(now);
                bytes = rest;
            }
        }
    }
}

/// Whether the processor has instructions for this hash. Without them two chains in turn take as long as one after the
/// other, and two threads are faster.
fn has_instructions() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::is_x86_feature_detected!("sha");
    #[cfg(target_arch = "aarch64")]
    return std::arch::is_aarch64_feature_detected!("sha2");
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    return false;
}

impl Hashes {
    /// Adds the pieces, on blocking threads where they are many bytes.
    pub(super) async fn add(self, pieces: Vec<Bytes>) -> Result<Self, BlobError> {
        let mut hashes = self;
        if pieces.iter().map(Bytes::len).sum::<usize>() <= CHUNK_LENGTH {
            hashes.update_all(&pieces);
            return Ok(hashes);
        }
        if !has_instructions() {
            return hashes.add_side_by_side(pieces).await;
        }
        let added = tokio::task::spawn_blocking(move || {
            hashes.update_all(&pieces);
            hashes
        });
        added.await.map_err(BlobError::Interrupted)
    }

    async fn add_side_by_side(self, pieces: Vec<Bytes>) -> Result<Self, BlobError> {
        let (Self { mut whole, mut chunks }, same) = (self, pieces.clone());
        let whole = tokio::task::spawn_blocking(move || {
            for piece in &pieces {
                whole.update(piece);
            }
            whole
        });
        let chunks = tokio::task::spawn_blocking(move || {
            chunks.update_all(&same);
            chunks
        });
        let (whole, chunks) = futures::try_join!(whole, chunks).map_err(BlobError::Interrupted)?;
        Ok(Self { whole, chunks })
    }

    fn update_all(&mut self, pieces: &[Bytes]) {
        for piece in pieces {
            self.update(piece);
        }
    }

    /// Adds bytes. Takes half a millisecond for a MiB.
    pub(super) fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            // First to the end of a block, so that all others are whole.
            let turn = match self.chunks.filled % BLOCK {
                0 => TURN,
                begun => BLOCK - begun,
            };
            let turn = turn.min(CHUNK_LENGTH - self.chunks.filled).min(bytes.len());
            let (now, rest) = bytes.split_at(turn);
            self.whole.update(now);
            self.chunks.update(now);
            bytes = rest;
        }
    }

    /// The digest of all, and the list of the chunks' digests, one after the other.
    pub(super) fn finish(mut self) -> (Digest, Vec<u8>) {
        if self.chunks.filled > 0 {
            self.chunks.end();
        }
        (self.whole.finish(), self.chunks.list)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn both_digests_are_those_of_the_bytes_however_they_come() {
        for (length, piece) in [(0, 1), (1, 1), (64, 64), (CHUNK_LENGTH, 1000), (3 * CHUNK_LENGTH + 77, 4099)]
        {
            let bytes: Vec<u8> = (0..length).map(|n| u8::try_from(n * 31 % 251).unwrap()).collect();
            let pieces: Vec<Bytes> = bytes.chunks(piece).map(Bytes::copy_from_slice).collect();
            let expected: Vec<u8> =
                bytes.chunks(CHUNK_LENGTH).flat_map(|chunk| *Digest::of(chunk).as_bytes()).collect();
            let both = [
                Hashes::default().add(pieces.clone()).await.unwrap(),
                Hashes::default().add_side_by_side(pieces).await.unwrap(),
            ];
            for hashes in both {
                let (whole, chunks) = hashes.finish();
                assert_eq!((whole, chunks == expected), (Digest::of(&bytes), true), "{length}");
            }
        }
    }
}
