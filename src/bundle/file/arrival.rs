//! A bundle that is arriving: which of its bytes are those of members, seen before the zip's directory is there.
//!
//! Only local headers are known by then, and nothing here is believed: [`super::BundleFile::open`] judges the whole in
//! the end. It insists that the entries fill the file from the first byte on and that both headers of each agree, so
//! what it accepts was cut here in the same places.

use bytes::Bytes;

use super::directory::zip64_field;
use super::format::{FLAG_DESCRIPTOR, FULL, Fields, LOCAL, STORED};
use super::names::{Kind, kind};
use crate::model::Digest;

/// The length of a local header without name and extra field, [`LOCAL_LENGTH`].
const FIXED: usize = 30;

/// What comes next of a bundle.
#[derive(Debug, PartialEq, Eq)]
pub enum Part {
    /// Bytes of its structure, or of an entry that is not stored as it is.
    Structure(Bytes),
    /// A member begins. Its bytes follow as they are.
    Begins(Digest, u64),
    /// Bytes of the member that began.
    Member(Bytes),
    /// The member that began is whole.
    Ends,
}

enum State {
    Header,
    /// So many bytes of an entry that is nothing for us.
    Other(u64),
    Begins(Digest, u64),
    Member(u64),
    /// Where the next header is cannot be known, or there is none.
    Rest,
}

/// Cuts a bundle that is arriving.
pub struct Arrival {
    state: State,
    head: Vec<u8>,
}

impl Default for Arrival {
    fn default() -> Self {
        Self { state: State::Header, head: Vec::new() }
    }
}

impl Arrival {
    /// Takes what comes next off the front; none when more must come first.
    pub fn next(&mut self, bytes: &mut Bytes) -> Option<Part> {
        match self.state {
            State::Begins(digest, size) => {
                self.state = State::Member(size);
                Some(Part::Begins(digest, size))
            }
            State::Member(0) => {
                self.state = State::Header;
                Some(Part::Ends)
            }
            _ if bytes.is_empty() => None,
            State::Member(left) => {
                let piece = split(bytes, left);
                self.state = State::Member(left - piece.len() as u64);
                Some(Part::Member(piece))
            }
            State::Other(0) => {
                self.state = State::Header;
                self.next(bytes)
            }
            State::Other(left) => {
                let piece = split(bytes, left);
                self.state = State::Other(left - piece.len() as u64);
                Some(Part::Structure(piece))
            }
            State::Header => Some(Part::Structure(self.header(bytes))),
            State::Rest => Some(Part::Structure(std::mem::take(bytes))),
        }
    }

    /// Takes what is missing of a local header, and acts on it when it is whole.
    fn header(&mut self, bytes: &mut Bytes) -> Bytes {
        let known = self.head.first_chunk::<FIXED>();
        let length = known.map_or(FIXED, |fixed| FIXED + names_length(fixed));
        let piece = split(bytes, (length - self.head.len()) as u64);
        self.head.extend_from_slice(&piece);
        if let Some(fixed) = self.head.first_chunk::<FIXED>()
            && self.head.len() == FIXED + names_length(fixed)
        {
            self.state = after(&self.head).unwrap_or(State::Rest);
            self.head.clear();
        }
        piece
    }
}

fn split(bytes: &mut Bytes, most: u64) -> Bytes {
    bytes.split_to(usize::try_from(most).unwrap_or(usize::MAX).min(bytes.len()))
}

/// The length of name and extra field.
fn names_length(fixed: &[u8; FIXED]) -> usize {
    let [.., name, name_high, extra, extra_high] = *fixed;
    usize::from(u16::from_le_bytes([name, name_high])) + usize::from(u16::from_le_bytes([extra, extra_high]))
}

/// What follows a local header; none where that cannot be known.
fn after(head: &[u8]) -> Option<State> {
    let mut fields = Fields(head);
    if fields.u32()? != LOCAL {
        return None;
    }
    fields.bytes(2)?; // which version is needed
    let (flags, method) = (fields.u16()?, fields.u16()?);
    fields.bytes(8)?; // time, date, checksum
    let (packed, size) = (fields.u32()?, fields.u32()?);
    let (name, extra) = (fields.u16()?, fields.u16()?);
    let (name, extra) = (fields.bytes(name.into())?, fields.bytes(extra.into())?);
    if flags & FLAG_DESCRIPTOR != 0 {
        return None;
    }
    let name = str::from_utf8(name).ok()?;
    let (packed, size) = match zip64_field(extra, name).ok()? {
        None => (packed.into(), size.into()),
        Some(field) if (packed, size) == (FULL, FULL) => {
            let (mut field, size) = (Fields(field), Fields(field).u64()?);
            field.bytes(8)?;
            (field.u64()?, size)
        }
        Some(_) => return None,
    };
    match kind(name) {
        Ok(Kind::Blob(digest)) if method == STORED && packed == size => Some(State::Begins(digest, size)),
        Ok(_) => Some(State::Other(packed)),
        Err(_) => None,
    }
}
