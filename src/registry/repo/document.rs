//! A packed repository document.

use std::io::{Read as _, Write as _};

use bytes::Bytes;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use futures::Stream;

use crate::model::{Digest, DigestHasher};

/// Bytes per piece when the plain form is sent.
const PIECE: usize = 64 * 1024;

/// A repository document in one format.
#[derive(Debug, Clone)]
pub struct RepoDocument {
    /// Its packed bytes.
    pub gzip: Bytes,
    /// Length of the plain form.
    pub plain_length: u64,
    /// Digest of the plain form.
    pub digest: Digest,
}

impl RepoDocument {
    /// The plain form, piece by piece.
    pub fn plain(&self) -> impl Stream<Item = std::io::Result<Bytes>> + use<> {
        let mut decoder = GzDecoder::new(std::io::Cursor::new(self.gzip.clone()));
        futures::stream::iter(std::iter::from_fn(move || {
            let mut piece = Vec::with_capacity(PIECE);
            match decoder.by_ref().take(PIECE as u64).read_to_end(&mut piece) {
                Ok(0) => None,
                Ok(_) => Some(Ok(Bytes::from(piece))),
                Err(error) => Some(Err(error)),
            }
        }))
    }
}

/// Packs and hashes the plain form as it is written.
pub(super) struct Packer {
    gzip: GzEncoder<Vec<u8>>,
    hasher: DigestHasher,
    length: u64,
}

impl Packer {
    pub(super) fn new() -> Self {
        let gzip = GzEncoder::new(Vec::new(), Compression::default());
        Self { gzip, hasher: DigestHasher::default(), length: 0 }
    }

    pub(super) fn write(&mut self, text: &str) -> std::io::Result<()> {
        self.hasher.update(text.as_bytes());
        self.length += text.len() as u64;
        self.gzip.write_all(text.as_bytes())
    }

    pub(super) fn finish(self) -> std::io::Result<RepoDocument> {
        let gzip = self.gzip.finish()?.into();
        Ok(RepoDocument { gzip, plain_length: self.length, digest: self.hasher.finish() })
    }
}
