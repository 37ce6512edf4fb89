//! Bundles whose zip is wrong: each is refused with its own label.

use super::super::format::{END, LOCATOR};
use super::super::{BundleLimits, FIXED_ENTRIES};
use super::zip::{Ends, Item, Parts, Zip, crc, deflate, zip64};
use super::*;

type Change = fn(&mut Zip);

fn refused(cases: &[(&str, &str, Change)]) {
    for (name, label, change) in cases {
        let mut zip = Parts::good().zip();
        change(&mut zip);
        check_refused(name, label, &zip.build());
    }
}

fn check_refused(name: &str, label: &str, bytes: &[u8]) {
    let error = open(bytes).map(|bundle| bundle.content).expect_err(name);
    assert_eq!(error.label(), label, "{name}: {error}");
    assert!(error.to_string().chars().all(|c| !c.is_control()), "{name}: {error}");
}

/// Adds an entry whose name is not plain.
fn named(zip: &mut Zip, name: &[u8]) {
    let mut item = Item::new("x", b"x");
    item.rename(name);
    zip.items.push(item);
}

#[test]
fn names() {
    refused(&[
        ("up", "UnsafeName", |zip| named(zip, b"../metadata.json")),
        ("up in the middle", "UnsafeName", |zip| named(zip, b"blobs/../../etc/passwd")),
        ("dot", "UnsafeName", |zip| named(zip, b".")),
        ("dots", "UnsafeName", |zip| named(zip, b"..")),
        ("dot segment", "UnsafeName", |zip| named(zip, b"./metadata.json")),
        ("absolute", "UnsafeName", |zip| named(zip, b"/etc/passwd")),
        ("empty segment", "UnsafeName", |zip| named(zip, b"blobs//x")),
        ("empty", "UnsafeName", |zip| named(zip, b"")),
        ("slash", "UnsafeName", |zip| named(zip, b"/")),
        ("backslash", "UnsafeName", |zip| named(zip, b"..\\x")),
        ("drive", "UnsafeName", |zip| named(zip, b"C:x")),
        ("network", "UnsafeName", |zip| named(zip, b"\\\\host\\x")),
        ("nul", "UnsafeName", |zip| named(zip, b"metadata.json\0.txt")),
        ("line feed", "UnsafeName", |zip| named(zip, b"a\nb")),
        ("escape", "UnsafeName", |zip| named(zip, b"\x1b[2J")),
        ("space", "UnsafeName", |zip| named(zip, b"metadata.json ")),
        ("CP437", "UnsafeName", |zip| named(zip, b"metad\x84ta.json")),
        ("NFC", "UnsafeName", |zip| named(zip, "bl\u{f6}b".as_bytes())),
        ("NFD", "UnsafeName", |zip| named(zip, "blo\u{308}b".as_bytes())),
        ("full width", "UnsafeName", |zip| named(zip, "\u{ff0e}\u{ff0e}/x".as_bytes())),
        ("device of Windows", "UnknownEntry", |zip| named(zip, b"CON")),
        ("long", "UnknownEntry", |zip| named(zip, &vec![b'a'; 60_000])),
        ("unknown", "UnknownEntry", |zip| named(zip, b"signature.json")),
        ("nested", "UnknownEntry", |zip| named(zip, b"inner.dcos")),
        ("short digest", "UnknownEntry", |zip| named(zip, b"blobs/sha256/00")),
        ("upper-case digest", "UnknownEntry", |zip| {
            let name = String::from_utf8(zip.blob().local.name.clone()).unwrap();
            zip.blob().rename(name.to_uppercase().replace("BLOBS/SHA256", "blobs/sha256").as_bytes());
        }),
        ("another algorithm", "UnknownEntry", |zip| named(zip, b"blobs/sha512/00")),
        ("twice", "DuplicateEntry", |zip| zip.items.push(Item::new("metadata.json", b"{}"))),
        ("twice, equal", "DuplicateEntry", |zip| zip.items.push(zip.items[1].clone())),
        ("twice, a blob", "DuplicateEntry", |zip| zip.items.push(zip.items[2].clone())),
        ("twice, but for case", "DuplicateEntry", |zip| zip.items.push(Item::new("Metadata.JSON", b"{}"))),
        ("other case", "UnknownEntry", |zip| zip.items[0].rename(b"METADATA.JSON")),
    ]);
}

#[test]
fn kinds_and_packing() {
    refused(&[
        ("directory", "NotAFile", |zip| zip.items.push(Item::new("blobs/", b""))),
        ("directory of MS-DOS", "NotAFile", |zip| zip.blob().attributes = 0x10),
        ("volume label", "NotAFile", |zip| zip.blob().attributes = 0x08),
        ("directory by mode", "NotAFile", |zip| zip.blob().attributes = 0o040_755 << 16),
        ("symbolic link", "NotAFile", |zip| zip.blob().attributes = 0o120_777 << 16),
        ("character device", "NotAFile", |zip| zip.blob().attributes = 0o020_644 << 16),
        ("block device", "NotAFile", |zip| zip.blob().attributes = 0o060_644 << 16),
        ("fifo", "NotAFile", |zip| zip.blob().attributes = 0o010_644 << 16),
        ("socket", "NotAFile", |zip| zip.blob().attributes = 0o140_644 << 16),
        ("encrypted", "Encrypted", |zip| {
            zip.blob().both(|head| head.flags |= 1);
        }),
        ("strongly encrypted", "Encrypted", |zip| {
            zip.blob().both(|head| head.flags |= 1 << 6);
        }),
        ("masked", "Encrypted", |zip| {
            zip.blob().both(|head| head.flags |= 1 << 13);
        }),
        ("patched", "UnknownFlags", |zip| {
            zip.blob().both(|head| head.flags |= 1 << 5);
        }),
        ("enhanced deflate", "UnknownFlags", |zip| {
            zip.blob().both(|head| head.flags |= 1 << 4);
        }),
        ("deflate64", "UnknownMethod", |zip| {
            zip.blob().both(|head| head.method = 9);
        }),
        ("bzip2", "UnknownMethod", |zip| {
            zip.blob().both(|head| head.method = 12);
        }),
        ("AES", "UnknownMethod", |zip| {
            zip.blob().both(|head| head.method = 99);
        }),
        ("stored with two sizes", "StoredSize", |zip| {
            zip.blob().both(|head| head.size += 1);
        }),
        ("another disk", "Split", |zip| zip.blob().disk = 1),
        ("Unicode name", "BadExtraField", |zip| {
            let extra = [&b"up\x0a\0\x01\0\0\0\0"[..], b"../x!"].concat();
            zip.blob().central.extra = extra;
        }),
        ("Unicode name, local", "BadExtraField", |zip| {
            zip.blob().local.extra = [&b"up\x0a\0\x01\0\0\0\0"[..], b"../x!"].concat();
        }),
        ("AES field", "BadExtraField", |zip| zip.blob().central.extra = b"\x01\x99\0\0".to_vec()),
        ("extra field cut off", "BadExtraField", |zip| zip.blob().central.extra = b"UT\x09\0abc".to_vec()),
        ("local extra field cut off", "BadExtraField", |zip| zip.blob().local.extra = b"UT\x09".to_vec()),
    ]);
}

#[test]
fn headers_that_contradict_each_other() {
    refused(&[
        ("name", "HeaderMismatch", |zip| zip.item("metadata.json").local.name = b"metadata.jsom".to_vec()),
        ("length of the name", "HeaderMismatch", |zip| zip.blob().local.name.push(b'/')),
        ("no name", "HeaderMismatch", |zip| zip.blob().local.name.clear()),
        ("method", "HeaderMismatch", |zip| zip.blob().local.method = 8),
        ("flags", "HeaderMismatch", |zip| zip.blob().local.flags = 1 << 11),
        ("encrypted in one", "HeaderMismatch", |zip| zip.blob().local.flags = 1),
        ("checksum", "HeaderMismatch", |zip| zip.blob().local.crc ^= 1),
        ("no checksum", "HeaderMismatch", |zip| zip.blob().local.crc = 0),
        ("packed size", "HeaderMismatch", |zip| zip.blob().local.packed -= 1),
        ("size", "HeaderMismatch", |zip| zip.blob().local.size += 1),
        ("no sizes", "HeaderMismatch", |zip| {
            let blob = zip.blob();
            (blob.local.packed, blob.local.size) = (0, 0);
        }),
        ("full size without zip64", "HeaderMismatch", |zip| zip.blob().local.size = u32::MAX),
        ("header inside another entry", "Overlap", |zip| zip.item("manifest.json").offset = Some(5)),
        ("descriptor: checksum", "BadDescriptor", |zip| {
            zip.blob().described(true, false).descriptor[4] ^= 1;
        }),
        ("descriptor: packed size", "BadDescriptor", |zip| {
            zip.blob().described(false, false).descriptor[4] ^= 1;
        }),
        ("descriptor: size", "BadDescriptor", |zip| zip.blob().described(true, true).descriptor[16] ^= 1),
        ("descriptor: signature", "BadDescriptor", |zip| {
            zip.blob().described(true, false).descriptor[0] = b'Q';
        }),
        ("descriptor: none", "BadDescriptor", |zip| zip.blob().described(false, false).descriptor.clear()),
        ("descriptor: cut off", "BadDescriptor", |zip| {
            zip.blob().described(true, true).descriptor.truncate(18);
        }),
        ("descriptor: too long", "BadDescriptor", |zip| {
            zip.blob().described(true, true).descriptor.push(0);
        }),
        ("descriptor: none announced", "Gap", |zip| {
            zip.blob().described(true, false).both(|head| head.flags = 0);
            let (crc, packed, size) =
                (zip.blob().central.crc, zip.blob().central.packed, zip.blob().central.size);
            (zip.blob().local.crc, zip.blob().local.packed, zip.blob().local.size) = (crc, packed, size);
        }),
        ("descriptor: another checksum before", "HeaderMismatch", |zip| {
            zip.blob().described(true, false).local.crc = 1;
        }),
        ("zip64: none", "Zip64", |zip| zip.blob().central.size = u32::MAX),
        ("zip64: one of two", "Zip64", |zip| zip.blob().long().central.extra = zip64(&[10])),
        ("zip64: three of two", "Zip64", |zip| zip.blob().long().central.extra = zip64(&[10, 10, 0])),
        ("zip64: not asked for", "Zip64", |zip| zip.blob().central.extra = zip64(&[10, 10])),
        ("zip64: empty", "Zip64", |zip| zip.blob().central.extra = zip64(&[])),
        ("zip64: twice", "BadExtraField", |zip| {
            zip.blob().long().central.extra = [zip64(&[10, 10]), zip64(&[10, 10])].concat();
        }),
        ("zip64: local is another", "HeaderMismatch", |zip| zip.blob().long().local.extra = zip64(&[10, 9])),
        ("zip64: local with one", "Zip64", |zip| zip.blob().long().local.extra = zip64(&[10])),
        ("zip64: local beside sizes", "Zip64", |zip| zip.blob().local.extra = zip64(&[10, 10])),
        ("zip64: endless", "Overlap", |zip| {
            let extra = zip64(&[u64::MAX >> 40, u64::MAX >> 40]);
            zip.blob().long().both(|head| head.extra.clone_from(&extra));
        }),
        ("zip64: wraps around", "TooLarge", |zip| {
            let extra = zip64(&[u64::MAX, u64::MAX]);
            zip.blob().long().both(|head| head.extra.clone_from(&extra));
        }),
        ("zip64: offset far away", "Gap", |zip| {
            zip.blob().offset = Some(u32::MAX);
            zip.blob().central.extra = zip64(&[u64::MAX]);
        }),
    ]);
}

#[test]
fn bytes_that_belong_to_none_or_to_two() {
    refused(&[
        ("before the first", "Gap", |zip| zip.items[0].before = b"#!/bin/sh\n".to_vec()),
        ("between entries", "Gap", |zip| zip.items[2].before = b"x".to_vec()),
        ("hidden entry", "Gap", |zip| {
            let hidden = Zip { items: vec![Item::new("metadata.json", b"{}")], ..Zip::default() };
            zip.items[2].before = hidden.build();
        }),
        ("before the directory", "Gap", |zip| zip.before_directory = b"signing block".to_vec()),
        ("behind the directory", "Gap", |zip| zip.behind_directory = b"x".to_vec()),
        ("comment", "TrailingData", |zip| zip.comment = b"hello".to_vec()),
        ("behind the end", "TrailingData", |zip| zip.tail = b"x".to_vec()),
        ("far behind the end", "TrailingData", |zip| zip.tail = vec![0; 60_000]),
        ("two entries with the same bytes", "Overlap", |zip| {
            let mut twin = zip.items[3].clone();
            let start: usize = zip.items[..3].iter().map(|i| 30 + i.local.name.len() + i.data.len()).sum();
            (twin.ghost, twin.offset) = (true, Some(u32::try_from(start).unwrap()));
            twin.rename(format!("blobs/sha256/{}", "0".repeat(64)).as_bytes());
            zip.items.push(twin);
        }),
        ("entry inside another", "Overlap", |zip| {
            // A whole entry stored as the data of another one, and listed as well.
            let name = format!("blobs/sha256/{}", "0".repeat(64));
            let inner = Zip { items: vec![Item::new(&name, b"inner")], ..Zip::default() };
            let inner_bytes = inner.build()[..30 + name.len() + 5].to_vec();
            let mut ghost = inner.items[0].clone();
            let start: usize = zip.items[..2].iter().map(|i| 30 + i.local.name.len() + i.data.len()).sum();
            let outer = Item::new(&format!("blobs/sha256/{}", "1".repeat(64)), &inner_bytes);
            let offset = start + 30 + outer.local.name.len();
            (ghost.ghost, ghost.offset) = (true, Some(u32::try_from(offset).unwrap()));
            zip.items.insert(2, outer);
            zip.items.insert(3, ghost);
        }),
        ("data reaches into the next", "Overlap", |zip| {
            zip.blob().both(|head| (head.packed, head.size) = (40, 40));
        }),
        ("data reaches into the directory", "Overlap", |zip| {
            zip.item("oci-layout").both(|head| (head.packed, head.size) = (90, 90));
        }),
        ("data ends early", "Gap", |zip| {
            zip.blob().both(|head| (head.packed, head.size) = (9, 9));
        }),
        ("offset beyond the end", "Gap", |zip| zip.item("oci-layout").offset = Some(1 << 30)),
        ("offset in the directory", "Gap", |zip| {
            let length = zip.build().len();
            zip.item("oci-layout").offset = Some(u32::try_from(length - 30).unwrap());
        }),
    ]);
}

#[test]
fn ends_that_lie() {
    type Lie = fn(&mut Ends);
    let cases: [(&str, &str, bool, Lie); 22] = [
        ("disk", "Split", false, |end| end.disks[0] = 1),
        ("disk of the directory", "Split", false, |end| end.disks[1] = 1),
        ("entries on this disk", "Split", false, |end| end.counts[0] -= 1),
        ("too few", "BadDirectory", false, |end| end.counts = [5; 2]),
        ("too many", "BadDirectory", false, |end| end.counts = [7; 2]),
        ("none", "BadDirectory", false, |end| end.counts = [0; 2]),
        ("65,534", "TooManyEntries", false, |end| end.counts = [65_534; 2]),
        ("65,535", "Zip64", false, |end| end.counts = [65_535; 2]),
        ("size smaller", "Gap", false, |end| end.size -= 1),
        ("size larger", "Overlap", false, |end| end.size += 1),
        ("size full", "Zip64", false, |end| end.size = u32::MAX),
        ("offset smaller", "Gap", false, |end| end.offset -= 1),
        ("offset larger", "Overlap", false, |end| end.offset += 1),
        ("directory earlier, but as long", "BadDirectory", false, |end| {
            (end.size, end.offset) = (end.size + 1, end.offset - 1);
        }),
        ("zip64: no locator", "Zip64", true, |end| (end.locator, end.counts) = (false, [u16::MAX; 2])),
        ("zip64: record longer", "Zip64", true, |end| end.long.as_mut().unwrap()[0] += 1),
        ("zip64: entries here", "Split", true, |end| end.long.as_mut().unwrap()[1] += 1),
        ("zip64: another count", "Zip64", true, |end| {
            let long = end.long.as_mut().unwrap();
            (long[1], long[2]) = (5, 5);
        }),
        ("zip64: a count of billions", "TooManyEntries", true, |end| {
            end.counts = [u16::MAX; 2];
            let long = end.long.as_mut().unwrap();
            (long[1], long[2]) = (u64::MAX, u64::MAX);
        }),
        ("zip64: an endless directory", "Overlap", true, |end| {
            (end.size, end.long.as_mut().unwrap()[3]) = (u32::MAX, u64::MAX);
        }),
        ("zip64: locator leads elsewhere", "Zip64", true, |end| end.long.as_mut().unwrap()[5] -= 1),
        ("zip64: two disks", "Split", true, |end| end.long.as_mut().unwrap()[6] = 2),
    ];
    for (name, label, long, lie) in cases {
        let zip = Zip { long, ..Parts::good().zip() };
        check_refused(name, label, &zip.build_with(lie));
    }
}

#[test]
fn what_is_no_zip_or_only_a_part_of_one() {
    let good = Parts::good().zip().build();
    check_refused("empty", "NotZip", b"");
    check_refused("text", "NotZip", &[b'x'; 100]);
    check_refused("gzip", "NotZip", b"\x1f\x8b\x08\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
    check_refused("no entries", "MissingEntry", &Zip::default().build());
    check_refused("no beginning", "Overlap", &good[1..]);
    let unsigned = [&b"QK"[..], &good[2..]].concat();
    check_refused("no header where one should be", "HeaderMismatch", &unsigned);
    check_refused("two in a row", "Gap", &[&good[..], &good].concat());
    for length in 4..good.len() {
        check_refused(&format!("{length} bytes of it"), "Truncated", &good[..length]);
    }
    // The comment is announced, but not there.
    let mut cut = good.clone();
    let at = cut.len() - 2;
    cut[at] = 1;
    check_refused("comment cut off", "Truncated", &cut);
    // A signature at the end of the directory that looks like a locator.
    let mut zip = Parts::good().zip();
    let last = zip.items.last_mut().unwrap();
    last.comment = [&LOCATOR.to_le_bytes()[..], &[0; 12], &[1, 0, 0, 0]].concat();
    check_refused("locator in a comment", "Zip64", &zip.build());
    // An end record inside a blob is data.
    let mut parts = Parts::good();
    parts.blobs[0] = [&END.to_le_bytes()[..], &[0; 18]].concat();
    check_refused("end record as data", "OrphanBlob", &{
        let mut zip = parts.zip();
        zip.items.remove(3);
        zip.items.push(Parts::good().zip().items[2].clone());
        zip.items.push(Parts::good().zip().items[3].clone());
        zip.build()
    });
}

#[test]
fn bombs() {
    let zeros = vec![0; 1 << 20];
    let bomb = |item: &mut Item| {
        let data = deflate(&zeros);
        let (packed, size) = (u32::try_from(data.len()).unwrap(), 1 << 20);
        let sum = crc(&zeros);
        item.data = data;
        item.both(|head| (head.method, head.crc, head.packed, head.size) = (8, sum, packed, size));
    };
    let mut zip = Parts::good().zip();
    bomb(zip.blob());
    check_refused("ratio", "Ratio", &zip.build());
    let mut zip = Parts::good().zip();
    bomb(zip.item("metadata.json"));
    check_refused("ratio of the metadata", "Ratio", &zip.build());
    // The ratio is hidden: the size is announced as small.
    let mut zip = Parts::good().zip();
    bomb(zip.item("metadata.json"));
    zip.item("metadata.json").both(|head| head.size = 1_000);
    check_refused("more than announced", "Damaged", &zip.build());
    let mut zip = Parts::good().zip();
    zip.blob().both(|head| (head.method, head.packed, head.size) = (8, 0, 10)).data.clear();
    check_refused("something from nothing", "Ratio", &zip.build());
    let mut zip = Parts::good().zip();
    zip.item("oci-layout").comment = vec![b'x'; 60_000];
    zip.items.extend((0..200).map(|n| {
        let mut item = Item::new(&format!("blobs/sha256/{n:064x}"), b"");
        item.comment = vec![b'x'; 60_000];
        item
    }));
    check_refused("a large directory", "DirectoryTooLarge", &zip.build());
    let mut zip = Parts::good().zip();
    let most = u32::try_from(BundleLimits::default().members + FIXED_ENTRIES).unwrap();
    zip.items.extend((0..most - 5).map(|n| Item::new(&format!("blobs/sha256/{n:064x}"), b"")));
    check_refused("too many entries", "TooManyEntries", &zip.build());
    zip.items.pop();
    check_refused("as many entries as may be", "OrphanBlob", &zip.build());
}

#[test]
fn the_limits_are_met_exactly() {
    let bytes = Parts::good().zip().build();
    let total: u64 = Parts::good().zip().items.iter().map(|item| u64::from(item.local.size)).sum();
    let open = |limits: BundleLimits| {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&bytes).unwrap();
        BundleFile::open(file, &limits).map(|_| ()).map_err(|error| error.label())
    };
    let limits = BundleLimits { members: 3, ratio: 1, unpacked: total };
    assert_eq!(open(limits), Ok(()));
    assert_eq!(open(BundleLimits { members: 2, ..limits }), Err("TooManyEntries"));
    assert_eq!(open(BundleLimits { members: 1, ..limits }), Err("TooManyEntries"));
    assert_eq!(open(BundleLimits { unpacked: total - 1, ..limits }), Err("TooLarge"));
}
