//! The end of a zip: where its directory is and how many entries it has.
//!
//! The end record must be the very last thing in the file, with no comment, so that there is one way to find
//! it. Where a zip64 record stands before it, both must say the same.

use super::BundleFileError as Error;
use super::format::{END, END_LENGTH, END64, END64_LENGTH, FULL, Fields, LOCATOR, LOCATOR_LENGTH};
use super::read::Source;

/// The longest comment that a zip can have, in bytes.
const LONGEST_COMMENT: u64 = 0xffff;

/// What the end records say.
#[derive(Debug, PartialEq, Eq)]
pub struct End {
    /// The number of entries.
    pub count: u64,
    /// The length of the directory in bytes.
    pub size: u64,
    /// Where the directory starts.
    pub offset: u64,
    /// Where the first end record starts, which is where the directory must end.
    pub start: u64,
}

/// The fields of the end record that a zip64 record may replace.
struct Short {
    count: u16,
    size: u32,
    offset: u32,
}

impl Short {
    fn parse(bytes: &[u8]) -> Result<Option<Self>, Error> {
        let mut fields = Fields(bytes);
        if fields.u32() != Some(END) {
            return Ok(None);
        }
        let disks = (fields.u16(), fields.u16());
        let counts = (fields.u16(), fields.u16());
        let (Some(size), Some(offset), Some(comment)) = (fields.u32(), fields.u32(), fields.u16()) else {
            return Ok(None);
        };
        if comment != 0 {
            return Err(Error::Truncated { what: "the end of its comment".into() });
        }
        match (disks, counts) {
            ((Some(0), Some(0)), (Some(here), Some(count))) if here == count => {
                Ok(Some(Self { count, size, offset }))
            }
            _ => Err(Error::Split),
        }
    }

    /// Whether a field is full, so that its value must stand in a zip64 record.
    fn needs_zip64(&self) -> bool {
        self.count == u16::MAX || self.size == FULL || self.offset == FULL
    }

    /// Whether a zip64 record may stand beside this one.
    fn agrees(&self, end: &End) -> bool {
        (self.count == u16::MAX || u64::from(self.count) == end.count)
            && (self.size == FULL || u64::from(self.size) == end.size)
            && (self.offset == FULL || u64::from(self.offset) == end.offset)
    }
}

/// Finds and reads the end records.
///
/// # Errors
/// When they are missing, not at the end, or contradict each other.
pub fn find(source: &Source) -> Result<End, Error> {
    let Some(at) = source.length.checked_sub(END_LENGTH) else {
        return Err(missing(source)?);
    };
    let Some(short) = Short::parse(&source.bytes(at, END_LENGTH)?)? else {
        return Err(missing(source)?);
    };
    let end = match locator(source, at)? {
        Some((offset, locator)) => {
            let end = long(source, offset, locator)?;
            if !short.agrees(&end) {
                return Err(wrong("the two end records differ"));
            }
            end
        }
        None if short.needs_zip64() => return Err(wrong("the locator is missing")),
        None => End {
            count: u64::from(short.count),
            size: u64::from(short.size),
            offset: u64::from(short.offset),
            start: at,
        },
    };
    match end.offset.checked_add(end.size) {
        Some(stop) if stop == end.start => Ok(end),
        Some(stop) if stop < end.start => {
            Err(Error::Gap { before: "the zip's end record".into(), count: end.start - stop })
        }
        _ => Err(Error::Overlap { name: "the zip's directory".into() }),
    }
}

fn wrong(what: &'static str) -> Error {
    Error::Zip64 { name: "the end record".into(), what }
}

/// Where the zip64 end record is said to be, and where the locator that says so is.
fn locator(source: &Source, end: u64) -> Result<Option<(u64, u64)>, Error> {
    let Some(at) = end.checked_sub(LOCATOR_LENGTH) else { return Ok(None) };
    let bytes = source.bytes(at, LOCATOR_LENGTH)?;
    let mut fields = Fields(&bytes);
    if fields.u32() != Some(LOCATOR) {
        return Ok(None);
    }
    match (fields.u32(), fields.u64(), fields.u32()) {
        (Some(0), Some(offset), Some(1)) => Ok(Some((offset, at))),
        _ => Err(Error::Split),
    }
}

/// Reads the zip64 end record, which must end where its locator starts.
fn long(source: &Source, offset: u64, locator: u64) -> Result<End, Error> {
    if offset.checked_add(END64_LENGTH) != Some(locator) {
        return Err(wrong("the locator does not lead to the record before it"));
    }
    let bytes = source.bytes(offset, END64_LENGTH)?;
    let mut fields = Fields(&bytes);
    if fields.u32() != Some(END64) || fields.u64() != Some(END64_LENGTH - 12) {
        return Err(wrong("there is no record of the usual length"));
    }
    fields.bytes(4); // by which version it was made, and which one it needs
    let disks = (fields.u32(), fields.u32());
    let counts = (fields.u64(), fields.u64());
    match (disks, counts, fields.u64(), fields.u64()) {
        ((Some(0), Some(0)), (Some(here), Some(count)), Some(size), Some(directory)) if here == count => {
            Ok(End { count, size, offset: directory, start: offset })
        }
        _ => Err(Error::Split),
    }
}

/// What to say where the end record is not the last thing in the file.
fn missing(source: &Source) -> Result<Error, Error> {
    let from = source.length.saturating_sub(END_LENGTH + LONGEST_COMMENT);
    let tail = source.bytes(from, source.length - from)?;
    let found = tail.windows(4).rposition(|window| window == END.to_le_bytes());
    if let Some(rest) = found.and_then(|at| tail.get(at..)?.get(22..)) {
        return Ok(Error::TrailingData { count: rest.len() as u64 });
    }
    let first = source.bytes(0, source.length.min(4))?;
    if first.starts_with(b"PK") {
        return Ok(Error::Truncated { what: "the zip's end record".into() });
    }
    Ok(Error::NotZip)
}
