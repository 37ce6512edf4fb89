//! Archives of every kind, and hostile ones.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;

use super::*;

/// Name, kind, and content or where the link leads.
type Entry = (&'static str, tar::EntryType, &'static str);

/// A tar archive whose headers are written as they come, checks of the writer bypassed.
fn tar_of(entries: &[Entry]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, kind, content) in entries {
        let mut header = tar::Header::new_ustar();
        header.as_ustar_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(*kind);
        header.set_mode(0o755);
        let is_link = matches!(kind, tar::EntryType::Symlink | tar::EntryType::Link);
        if is_link {
            header.as_ustar_mut().unwrap().linkname[..content.len()].copy_from_slice(content.as_bytes());
        }
        let data = if is_link { "" } else { content };
        header.set_size(data.len() as u64);
        header.set_cksum();
        builder.append(&header, data.as_bytes()).unwrap();
    }
    builder.into_inner().unwrap()
}

fn zip_of(entries: &[(&str, &str)]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(io::Cursor::new(Vec::new()));
    for (name, content) in entries {
        let options = zip::write::SimpleFileOptions::default().unix_permissions(0o755);
        writer.start_file(*name, options).unwrap();
        writer.write_all(content.as_bytes()).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

/// Unpacks into `<folder>/sandbox`; returns the folder, too.
fn unpack(name: &str, bytes: &[u8]) -> (tempfile::TempDir, Result<(), String>) {
    unpack_into(Room::measured(SIZE_LIMIT, || None), name, bytes)
}

fn unpack_into(room: Room, name: &str, bytes: &[u8]) -> (tempfile::TempDir, Result<(), String>) {
    let folder = tempfile::tempdir().unwrap();
    let (archive, sandbox) = (folder.path().join(name), folder.path().join("sandbox"));
    fs::write(&archive, bytes).unwrap();
    fs::create_dir(&sandbox).unwrap();
    let kind = Kind::of(&archive).unwrap();
    let result = extract(kind, &archive, &sandbox, room, &CancellationToken::new());
    (folder, result)
}

const FILE: tar::EntryType = tar::EntryType::Regular;
const LINK: tar::EntryType = tar::EntryType::Symlink;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn names_without_end_are_not_taken_into_memory() {
    let named = |length: usize| {
        let name = format!("d/{}", "n".repeat(100)).repeat(length / 102);
        tar_of(&[("././@LongLink", tar::EntryType::GNULongName, &*name.leak()), ("short", FILE, "content")])
    };
    let (folder, result) = unpack("long.tgz", &gzip(&named(204)));
    result.unwrap();
    assert!(!folder.path().join("sandbox/short").exists());
    for kind in [tar::EntryType::GNULongName, tar::EntryType::GNULongLink, tar::EntryType::XHeader] {
        let long: &'static str = "n".repeat(64 << 20).leak();
        let bytes = gzip(&tar_of(&[("././@LongLink", kind, long), ("short", FILE, "content")]));
        assert!(bytes.len() < 2 << 20);
        let (_folder, result) = unpack("bomb.tgz", &bytes);
        assert!(result.unwrap_err().contains("more than 1048576 bytes"), "{kind:?}");
    }
}

/// `d/run.sh` with the content `hello`, packed by liblzma: our own crate is built without its encoder.
const TAR_XZ: &str = "/Td6WFoAAATm1rRGAgAhARYAAAB0L+Wj4Cf/AF9dADILykeT5jGu0QsVK3xdxs7UJu6D8HvFD8rswXbwdpNm3NGUZkDvAI6Y\
    jQdioWQVBnYv5SZEG+9NLgkBOxae0YS2spVzD9M84KmIDUG1JLGOZDvHUKI49JqTnmyG2EAAAAAKGLjjMeu00gABe4BQAAAA\
    75Zb2LHEZ/sCAAAAAARZWg==";

#[test]
fn every_kind_is_unpacked() {
    let tar = tar_of(&[("d/run.sh", FILE, "hello"), ("d/link", LINK, "run.sh")]);
    let mut bz = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    bz.write_all(&tar).unwrap();
    let xz = data_encoding::BASE64.decode(TAR_XZ.as_bytes()).unwrap();
    for (name, bytes) in [
        ("a.tar", tar.clone()),
        ("a.tgz", gzip(&tar)),
        ("a.tar.gz", gzip(&tar)),
        ("a.tar.bz2", bz.finish().unwrap()),
        ("a.txz", xz),
        ("a.zip", zip_of(&[("d/run.sh", "hello")])),
    ] {
        let (folder, result) = unpack(name, &bytes);
        result.unwrap_or_else(|e| panic!("{name}: {e}"));
        let path = folder.path().join("sandbox/d/run.sh");
        assert_eq!(fs::read_to_string(&path).unwrap(), "hello", "{name}");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o755, "{name}");
    }
    let (folder, result) = unpack("words.gz", &gzip(b"hello"));
    result.unwrap();
    assert_eq!(fs::read_to_string(folder.path().join("sandbox/words")).unwrap(), "hello");
    assert_eq!(Kind::of(Path::new("a.jar")), None);
}

#[test]
fn nothing_leaves_the_sandbox() {
    let cases: &[(&str, &[Entry])] = &[
        ("parent", &[("../evil", FILE, "x")]),
        ("absolute", &[("/tmp/dcos-registry-evil", FILE, "x")]),
        ("inner parent", &[("a/../../evil", FILE, "x")]),
        ("link to absolute", &[("l", LINK, "/etc")]),
        ("link to parent", &[("l", LINK, "..")]),
        ("link to parent, deep", &[("a/l", LINK, "../../x")]),
        ("parent after a segment", &[("a/b/c", LINK, "../.."), ("y", LINK, "a/b/c/../x")]),
        ("through a link", &[("d/f", FILE, "x"), ("l", LINK, "d"), ("l/evil", FILE, "x")]),
        ("hard link out", &[("h", tar::EntryType::Link, "../a.tar")]),
        (
            "hard link through a link",
            &[("d/f", FILE, "x"), ("l", LINK, "d"), ("h", tar::EntryType::Link, "l/f")],
        ),
        ("device", &[("null", tar::EntryType::Char, "")]),
        ("no name", &[(".", FILE, "x")]),
        ("over a directory", &[("d/f", FILE, "x"), ("d", FILE, "x")]),
    ];
    for (name, entries) in cases {
        let (folder, result) = unpack("a.tar", &tar_of(entries));
        assert!(result.is_err(), "{name}");
        let names: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names.len(), 2, "{name}: {names:?}");
    }
    assert!(!Path::new("/tmp/dcos-registry-evil").exists());
    let (_folder, result) = unpack("a.zip", &zip_of(&[("../evil", "x")]));
    assert!(result.is_err());
}

#[test]
fn links_inside_and_repeated_names_are_fine() {
    let entries = [
        ("d/f", FILE, "one"),
        ("d/l", LINK, "../d/f"),
        ("h", tar::EntryType::Link, "d/f"),
        ("d/l", FILE, "two"),
        ("./e/", tar::EntryType::Directory, ""),
    ];
    let (folder, result) = unpack("a.tar", &tar_of(&entries));
    result.unwrap();
    let read = |name: &str| fs::read_to_string(folder.path().join("sandbox").join(name)).unwrap();
    assert_eq!((read("d/f"), read("d/l"), read("h")), ("one".into(), "two".into(), "one".into()));
}

#[test]
fn broken_archives_say_so() {
    for name in ["a.tar", "a.tgz", "a.tar.bz2", "a.txz", "a.gz", "a.zip"] {
        let (_folder, result) = unpack(name, &[7; 2000]);
        assert!(result.is_err(), "{name}");
    }
    let whole = gzip(&tar_of(&[("f", FILE, include_str!("tests.rs"))]));
    let (_folder, result) = unpack("a.tgz", &whole[..whole.len() / 2]);
    assert!(result.is_err(), "cut off");
}

#[test]
fn an_archive_gets_no_larger_than_there_is_room() {
    let zeros = "\0".repeat(8 << 20);
    let bomb = gzip(zeros.as_bytes());
    assert!(bomb.len() < 100_000, "small as a file");
    let free = || Room::measured(SIZE_LIMIT, || Some(4 << 20));
    for (name, bytes) in [("zeros.gz", bomb), ("a.zip", zip_of(&[("zeros", &zeros)]))] {
        let (folder, result) = unpack_into(free(), name, &bytes);
        let expected = "zeros: unpacked, the archive has more than 2 MiB, half of what was free on the disk; make room there";
        assert_eq!(result.unwrap_err(), expected);
        assert!(fs::metadata(folder.path().join("sandbox/zeros")).unwrap().len() <= 2 << 20);
    }
    let (_folder, result) =
        unpack_into(Room::measured(1 << 20, || None), "zeros.gz", &gzip(zeros.as_bytes()));
    assert_eq!(
        result.unwrap_err(),
        "zeros: unpacked, the archive has more than 1 MiB, the most that is taken"
    );
    // Entries without content take room as well.
    let many: Vec<Entry> = (0..2_000).map(|_| ("d", tar::EntryType::Directory, "")).collect();
    let (_folder, result) = unpack_into(free(), "a.tar", &tar_of(&many));
    assert!(result.unwrap_err().contains("half of what was free"));
}
