//! Reading bytes of the spooled file: structures as a whole, entries piece by piece.
//!
//! All reads name their place, so that any number of readers share one open file.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use bytes::Bytes;
use flate2::bufread::DeflateDecoder;
use futures::stream::try_unfold;
use tokio_util::io::StreamReader;

use super::BundleFileError as Error;
use super::directory::Entry;
use super::format::DEFLATED;
use crate::bundle::MemberReader;

/// How much is read at a time, in bytes.
const PIECE: usize = 256 * 1024;

/// The spooled file.
#[derive(Debug, Clone)]
pub struct Source {
    file: Arc<File>,
    /// Its length in bytes when it was opened.
    pub length: u64,
}

impl Source {
    /// Takes an open file.
    pub fn new(file: File) -> Result<Self, Error> {
        let length = file.metadata().map_err(Error::Read)?.len();
        Ok(Self { file: Arc::new(file), length })
    }

    /// A structure, as a whole. The caller bounds its length.
    pub fn bytes(&self, offset: u64, length: u64) -> Result<Vec<u8>, Error> {
        let cut = || Error::Truncated { what: format!("byte {}", offset.saturating_add(length)) };
        if offset.checked_add(length).is_none_or(|end| end > self.length) {
            return Err(cut());
        }
        let mut bytes = vec![0; usize::try_from(length).map_err(|_| cut())?];
        self.file.read_exact_at(&mut bytes, offset).map_err(Error::Read)?;
        Ok(bytes)
    }

    /// A file of the bundle as a whole, with its checksum checked.
    pub fn whole(&self, entry: &Entry, limit: u64) -> Result<Vec<u8>, Error> {
        let name = || entry.name.clone();
        if entry.size > limit {
            return Err(Error::EntryTooLarge { name: name(), size: entry.size, limit });
        }
        let mut unpacked = Unpacked::new(self, entry);
        let mut bytes = Vec::new();
        loop {
            let piece = unpacked.piece().map_err(explain)?;
            if piece.is_empty() {
                break;
            }
            bytes.extend_from_slice(&piece);
        }
        let mut crc = flate2::Crc::new();
        crc.update(&bytes);
        if crc.sum() == entry.crc {
            Ok(bytes)
        } else {
            Err(Error::Damaged { name: name(), what: "its checksum is another" })
        }
    }

    /// A file of the bundle as a stream.
    pub fn stream(&self, entry: &Entry) -> MemberReader {
        let pieces = try_unfold(Unpacked::new(self, entry), |mut unpacked| async {
            let read = tokio::task::spawn_blocking(move || {
                let piece = unpacked.piece()?;
                Ok::<_, io::Error>((!piece.is_empty()).then_some((piece, unpacked)))
            });
            read.await.map_err(io::Error::other)?
        });
        Box::new(StreamReader::new(Box::pin(pieces)))
    }
}

/// The packed bytes of an entry.
struct Packed {
    file: Arc<File>,
    at: u64,
    left: u64,
}

impl Read for Packed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let Some(buffer) = buffer.get_mut(..length).filter(|b| !b.is_empty()) else { return Ok(0) };
        let read = self.file.read_at(buffer, self.at)?;
        if read == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the bundle's file became shorter"));
        }
        self.at += read as u64;
        self.left -= read as u64;
        Ok(read)
    }
}

enum Method {
    Stored(Packed),
    Deflated(DeflateDecoder<BufReader<Packed>>),
}

/// The bytes of an entry's file, exactly as many as announced.
struct Unpacked {
    method: Method,
    name: String,
    packed: u64,
    left: u64,
}

impl Unpacked {
    fn new(source: &Source, entry: &Entry) -> Self {
        let packed = Packed { file: Arc::clone(&source.file), at: entry.data, left: entry.packed };
        let method = if entry.method == DEFLATED {
            let buffered = BufReader::with_capacity(PIECE, packed);
            Method::Deflated(DeflateDecoder::new(buffered))
        } else {
            Method::Stored(packed)
        };
        Self { method, name: entry.name.clone(), packed: entry.packed, left: entry.size }
    }

    /// The next bytes: a full piece, or the last ones, or none at the end.
    fn piece(&mut self) -> io::Result<Bytes> {
        let length = usize::try_from(self.left).unwrap_or(PIECE).min(PIECE);
        let mut piece = vec![0; length];
        let mut filled = 0;
        while let Some(rest) = piece.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            let read = match self.read(rest) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                read => read?,
            };
            if read == 0 {
                return Err(self.damaged("it ends too early"));
            }
            filled += read;
        }
        self.left -= filled as u64;
        if self.left == 0 {
            self.expect_end()?;
        }
        Ok(piece.into())
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.method {
            Method::Stored(packed) => packed.read(buffer),
            Method::Deflated(decoder) => decoder.read(buffer).map_err(|error| match error.kind() {
                // That is how the decoder says that the data is no deflate stream.
                io::ErrorKind::InvalidInput => damaged(&self.name, "it is no deflate stream"),
                _ => error,
            }),
        }
    }

    /// Fails where the data goes on behind the announced end.
    fn expect_end(&mut self) -> io::Result<()> {
        if self.read(&mut [0])? > 0 {
            return Err(self.damaged("it is longer than announced"));
        }
        match &self.method {
            Method::Deflated(decoder) if decoder.total_in() != self.packed => {
                Err(self.damaged("something stands behind its deflate stream"))
            }
            _ => Ok(()),
        }
    }

    fn damaged(&self, what: &'static str) -> io::Error {
        damaged(&self.name, what)
    }
}

/// Data that is not what its headers say, as an I/O error that carries [`Error::Damaged`].
fn damaged(name: &str, what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, Error::Damaged { name: name.to_owned(), what })
}

/// The typed error inside an I/O error.
fn explain(error: io::Error) -> Error {
    error.downcast::<Error>().unwrap_or_else(Error::Read)
}
