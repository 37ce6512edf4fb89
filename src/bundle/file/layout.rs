//! Local headers, and that every byte of the zip belongs to exactly one thing.
//!
//! Entries must lie one behind the other from the first byte to the directory. So none can overlap (which is
//! how small zips become huge), none can hide, and a reader that goes by local headers sees what one sees that
//! goes by the directory.

use super::BundleFileError as Error;
use super::directory::{Entry, zip64_field};
use super::format::{DESCRIPTOR, FLAG_DESCRIPTOR, FULL, Fields, LOCAL, LOCAL_LENGTH};
use super::read::Source;

/// Reads all local headers, compares them with the directory, and fills in where the data starts.
///
/// # Errors
/// The first fault, in the order of the file.
pub fn place(source: &Source, entries: &mut [Entry], directory: u64) -> Result<(), Error> {
    entries.sort_by_key(|entry| entry.header);
    let starts: Vec<u64> = entries.iter().map(|entry| entry.header).skip(1).chain([directory]).collect();
    match entries.first().map_or(directory, |entry| entry.header) {
        0 => {}
        count => {
            let before = entries.first().map_or("the zip's directory", |entry| &entry.name).to_owned();
            return Err(Error::Gap { before, count });
        }
    }
    for (entry, next) in entries.iter_mut().zip(starts) {
        entry.data = data_start(source, entry, next)?;
        let overlap = || Error::Overlap { name: entry.name.clone() };
        let end = entry.data.checked_add(entry.packed).ok_or_else(overlap)?;
        let behind = next.checked_sub(end).ok_or_else(overlap)?;
        if entry.flags & FLAG_DESCRIPTOR != 0 {
            check_descriptor(source, entry, end, behind)?;
        } else if behind > 0 {
            return Err(Error::Gap { before: format!("what follows {}", entry.name), count: behind });
        }
    }
    Ok(())
}

/// Compares a local header with the directory and says where it ends.
fn data_start(source: &Source, entry: &Entry, next: u64) -> Result<u64, Error> {
    let differ = |what| Error::HeaderMismatch { name: entry.name.clone(), what };
    let overlap = || Error::Overlap { name: entry.name.clone() };
    let names = entry.header.checked_add(LOCAL_LENGTH).filter(|end| *end <= next).ok_or_else(overlap)?;
    let bytes = source.bytes(entry.header, LOCAL_LENGTH)?;
    let mut fields = Fields(&bytes);
    if fields.u32() != Some(LOCAL) {
        return Err(differ("their signature"));
    }
    fields.bytes(2); // which version is needed
    if fields.u16() != Some(entry.flags) {
        return Err(differ("flags"));
    }
    if fields.u16() != Some(entry.method) {
        return Err(differ("method"));
    }
    fields.bytes(4); // time and date
    let sums = (fields.u32(), fields.u32(), fields.u32());
    let lengths = (fields.u16(), fields.u16());
    let ((Some(crc), Some(packed), Some(size)), (Some(name_length), Some(extra_length))) = (sums, lengths)
    else {
        return Err(overlap());
    };
    let length = u64::from(name_length) + u64::from(extra_length);
    let data = names.checked_add(length).filter(|end| *end <= next).ok_or_else(overlap)?;
    let bytes = source.bytes(names, length)?;
    let Some((name, extra)) = bytes.split_at_checked(usize::from(name_length)) else {
        return Err(overlap());
    };
    if name != entry.name.as_bytes() {
        return Err(differ("name"));
    }
    check_sums(entry, crc, packed, size, zip64_field(extra, &entry.name)?)?;
    Ok(data)
}

/// Checksum and sizes. Before a data descriptor each may also be zero, since the packer did not know it yet.
fn check_sums(entry: &Entry, crc: u32, packed: u32, size: u32, zip64: Option<&[u8]>) -> Result<(), Error> {
    let later = entry.flags & FLAG_DESCRIPTOR != 0;
    let same = |local: u64, central: u64| local == central || later && local == 0;
    let (long_packed, long_size) = match zip64 {
        None => (u64::from(packed), u64::from(size)),
        Some(field) => long_sizes(entry, packed, size, field)?,
    };
    let differ = |what| Err(Error::HeaderMismatch { name: entry.name.clone(), what });
    if !same(u64::from(crc), u64::from(entry.crc)) {
        return differ("checksum");
    }
    if !same(long_packed, entry.packed) {
        return differ("packed size");
    }
    if same(long_size, entry.size) { Ok(()) } else { differ("size") }
}

/// The packed size and the size in a local zip64 field, which must hold both (APPNOTE 4.5.3), while the header
/// itself is full, or has zeros before a data descriptor.
fn long_sizes(entry: &Entry, packed: u32, size: u32, field: &[u8]) -> Result<(u64, u64), Error> {
    let wrong = |what| Error::Zip64 { name: entry.name.clone(), what };
    let mut fields = Fields(field);
    let (Some(long_size), Some(long_packed), true) = (fields.u64(), fields.u64(), fields.0.is_empty()) else {
        return Err(wrong("the local field must hold two sizes"));
    };
    let unknown = entry.flags & FLAG_DESCRIPTOR != 0 && (packed, size) == (0, 0);
    if (packed, size) == (FULL, FULL) || unknown {
        Ok((long_packed, long_size))
    } else {
        Err(wrong("the local header has sizes of its own"))
    }
}

/// Checks the data descriptor: checksum and sizes, of 4 or 8 bytes each, with or without a signature. It must
/// fill the place between the data and what comes next, so its length says which of the four it is.
fn check_descriptor(source: &Source, entry: &Entry, start: u64, length: u64) -> Result<(), Error> {
    let bad = || Error::BadDescriptor { name: entry.name.clone() };
    let (signed, long) = match length {
        12 => (false, false),
        16 => (true, false),
        20 => (false, true),
        24 => (true, true),
        _ => return Err(bad()),
    };
    let bytes = source.bytes(start, length)?;
    let mut fields = Fields(&bytes);
    if signed && fields.u32() != Some(DESCRIPTOR) {
        return Err(bad());
    }
    let crc = fields.u32();
    let mut size = || if long { fields.u64() } else { fields.u32().map(u64::from) };
    let sizes = (size(), size());
    if crc == Some(entry.crc) && sizes == (Some(entry.packed), Some(entry.size)) {
        Ok(())
    } else {
        Err(bad())
    }
}
