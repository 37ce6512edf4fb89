//! The central directory of a zip, held to what a bundle needs.

use std::collections::BTreeSet;

use super::BundleFileError as Error;
use super::end::End;
use super::error::shown;
use super::format::{
    CENTRAL, DEFLATED, EXTRA_ZIP64, EXTRAS_REFUSED, FLAG_DESCRIPTOR, FLAG_ENCRYPTED, FLAGS_HARMLESS,
    FLAGS_STRONG, FULL, Fields, STORED,
};
use super::names::{self, Kind};
use super::read::Source;
use super::{BundleLimits, FIXED_ENTRIES};

/// The longest directory that is read, in bytes; 10,000 entries of ours take 1.3 MB.
const DIRECTORY_LIMIT: u64 = 8 << 20;

/// One entry. Sizes and offsets are those of the directory; the local headers are compared with them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub name: String,
    pub kind: Kind,
    pub flags: u16,
    pub method: u16,
    pub crc: u32,
    /// Length in the zip.
    pub packed: u64,
    /// Length of the file.
    pub size: u64,
    /// Where its local header starts.
    pub header: u64,
    /// Where its data starts; known once the local header is read.
    pub data: u64,
}

/// Reads and checks all entries.
///
/// # Errors
/// The first fault, in the order of the directory.
pub fn read(source: &Source, end: &End, limits: &BundleLimits) -> Result<Vec<Entry>, Error> {
    let limit = limits.members.saturating_add(FIXED_ENTRIES);
    if end.count > limit {
        return Err(Error::TooManyEntries { count: end.count, limit });
    }
    if end.size > DIRECTORY_LIMIT {
        return Err(Error::DirectoryTooLarge { size: end.size, limit: DIRECTORY_LIMIT });
    }
    let bytes = source.bytes(end.offset, end.size)?;
    let mut fields = Fields(&bytes);
    let mut entries = Vec::new();
    let mut seen = BTreeSet::new();
    let mut left = limits.unpacked;
    for index in 0..end.count {
        let entry = entry(&mut fields, index, &mut seen)?;
        check_sizes(&entry, limits.ratio)?;
        left = left.checked_sub(entry.size).ok_or(Error::TooLarge { limit: limits.unpacked })?;
        entries.push(entry);
    }
    if fields.0.is_empty() {
        Ok(entries)
    } else {
        Err(Error::BadDirectory { index: end.count, what: "it goes on behind the last entry" })
    }
}

/// A central header as it stands.
struct Header {
    flags: u16,
    method: u16,
    crc: u32,
    packed: u32,
    size: u32,
    name_length: u16,
    extra_length: u16,
    comment_length: u16,
    disk: u16,
    attributes: u32,
    offset: u32,
}

impl Header {
    fn parse(fields: &mut Fields<'_>) -> Option<Self> {
        fields.bytes(4)?; // by which version it was made, and which one it needs
        let (flags, method) = (fields.u16()?, fields.u16()?);
        fields.bytes(4)?; // time and date
        let (crc, packed, size) = (fields.u32()?, fields.u32()?, fields.u32()?);
        let (name_length, extra_length, comment_length) = (fields.u16()?, fields.u16()?, fields.u16()?);
        let (disk, _internal, attributes, offset) =
            (fields.u16()?, fields.u16()?, fields.u32()?, fields.u32()?);
        Some(Self {
            flags,
            method,
            crc,
            packed,
            size,
            name_length,
            extra_length,
            comment_length,
            disk,
            attributes,
            offset,
        })
    }
}

fn entry(fields: &mut Fields<'_>, index: u64, seen: &mut BTreeSet<String>) -> Result<Entry, Error> {
    let bad = |what| Error::BadDirectory { index, what };
    if fields.u32() != Some(CENTRAL) {
        return Err(bad("no header starts there"));
    }
    let header = Header::parse(fields).ok_or_else(|| bad("its header is cut off"))?;
    let cut = || bad("it reaches beyond the directory");
    let name = fields.bytes(usize::from(header.name_length)).ok_or_else(cut)?;
    let extra = fields.bytes(usize::from(header.extra_length)).ok_or_else(cut)?;
    fields.bytes(usize::from(header.comment_length)).ok_or_else(cut)?;
    let name = names::safe(name)?;
    if !seen.insert(name.to_ascii_lowercase()) {
        return Err(Error::DuplicateEntry { name: shown(name) });
    }
    check_header(&header, name)?;
    let kind = names::kind(name)?;
    let (size, packed, offset) = sizes(&header, extra, name)?;
    Ok(Entry {
        name: name.to_owned(),
        kind,
        flags: header.flags,
        method: header.method,
        crc: header.crc,
        packed,
        size,
        header: offset,
        data: offset,
    })
}

/// The kind of file, encryption, flags and method.
fn check_header(header: &Header, name: &str) -> Result<(), Error> {
    let owned = || shown(name);
    // Unix packers put the mode into the upper half, MS-DOS ones mark directories and labels in the lower.
    let file_type = header.attributes >> 16 & 0o170_000;
    if name.ends_with('/') || !matches!(file_type, 0 | 0o100_000) || header.attributes & 0x18 != 0 {
        return Err(Error::NotAFile { name: owned() });
    }
    if header.flags & (FLAG_ENCRYPTED | FLAGS_STRONG) != 0 {
        return Err(Error::Encrypted { name: owned() });
    }
    if header.flags & !(FLAG_DESCRIPTOR | FLAGS_HARMLESS) != 0 {
        return Err(Error::UnknownFlags { name: owned(), flags: header.flags });
    }
    if !matches!(header.method, STORED | DEFLATED) {
        return Err(Error::UnknownMethod { name: owned(), method: header.method });
    }
    if header.disk == 0 { Ok(()) } else { Err(Error::Split) }
}

/// Size, packed size and offset: from the header, or where that is full from the zip64 field, which must hold
/// these values and no others.
fn sizes(header: &Header, extra: &[u8], name: &str) -> Result<(u64, u64, u64), Error> {
    let wrong = |what| Error::Zip64 { name: shown(name), what };
    let field = zip64_field(extra, name)?;
    let mut long = Fields(field.unwrap_or_default());
    let mut value = |short: u32| {
        if short != FULL {
            return Ok(u64::from(short));
        }
        long.u64().ok_or_else(|| wrong("a value is missing"))
    };
    let found = (value(header.size)?, value(header.packed)?, value(header.offset)?);
    if !long.0.is_empty() || field.is_some_and(<[u8]>::is_empty) {
        return Err(wrong("it has a value that is not asked for"));
    }
    Ok(found)
}

/// The zip64 field among the extra fields. All of them are looked at.
///
/// # Errors
/// For fields that are cut off, stand twice, or give the entry another meaning.
pub fn zip64_field<'a>(extra: &'a [u8], name: &str) -> Result<Option<&'a [u8]>, Error> {
    let bad = |what| Error::BadExtraField { name: shown(name), what };
    let mut fields = Fields(extra);
    let mut found = None;
    while !fields.0.is_empty() {
        let (Some(id), Some(length)) = (fields.u16(), fields.u16()) else { return Err(bad("cut off")) };
        let value = fields.bytes(usize::from(length)).ok_or_else(|| bad("cut off"))?;
        if EXTRAS_REFUSED.contains(&id) {
            return Err(bad("another name, or encryption"));
        }
        if id == EXTRA_ZIP64 && found.replace(value).is_some() {
            return Err(bad("zip64 stands twice"));
        }
    }
    Ok(found)
}

fn check_sizes(entry: &Entry, ratio: u64) -> Result<(), Error> {
    let Entry { packed, size, .. } = *entry;
    let name = || entry.name.clone();
    if entry.method == STORED && packed != size {
        return Err(Error::StoredSize { name: name(), packed, size });
    }
    if size > packed.saturating_mul(ratio) {
        return Err(Error::Ratio { name: name(), limit: ratio });
    }
    Ok(())
}
