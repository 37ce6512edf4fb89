//! Bundles that are good: written, read, published. The others are in the files below.

mod archives;
mod contents;
mod flips;
pub(crate) mod zip;

use std::io::{Cursor, Write as _};
use std::sync::Arc;

use object_store::memory::InMemory;
use serde_json::json;
use tokio::io::AsyncReadExt as _;

use super::write::write_with;
use super::*;
use crate::clock::{Clock, Entropy};
use crate::storage::Storage;
use crate::storage::publish::{PublishError, ReleaseVersion, publish};
use zip::{Parts, Zip};

pub fn open(bytes: &[u8]) -> Result<BundleFile, BundleFileError> {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    BundleFile::open(file, &BundleLimits::default())
}

async fn read(bundle: &BundleFile, member: &Member) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    bundle.open_member(member).await?.read_to_end(&mut bytes).await?;
    Ok(bytes)
}

/// The bytes of all members; they must be what their digests say.
async fn check(bundle: &BundleFile) {
    for member in &bundle.content().members {
        let bytes = read(bundle, member).await.unwrap();
        assert_eq!((bytes.len() as u64, Digest::of(&bytes)), (member.size, member.digest));
    }
}

/// Writes what a bundle holds as a bundle.
async fn rewrite(bundle: &BundleFile, full_from: u64) -> Vec<u8> {
    let mut out = Cursor::new(Vec::new());
    let open = |member: &Member| bundle.open_member(member);
    let length = write_with(bundle.content(), open, &mut out, full_from).await.unwrap();
    assert_eq!(length, out.get_ref().len() as u64);
    out.into_inner()
}

async fn storage() -> Storage {
    Storage::open(Arc::new(InMemory::new()), Clock::system(), Entropy::seeded(1)).await.unwrap()
}

async fn put(storage: &Storage, bundle: &BundleFile) -> Result<Digest, PublishError> {
    let open = |member: &Member| bundle.open_member(member);
    publish(storage, bundle.content(), open, ReleaseVersion::Exactly(7))
        .await
        .map(|published| published.digest)
}

/// A package with empty, small, large and equal members.
fn large() -> Parts {
    let mut parts = Parts::good();
    let lengths = [0_usize, 1, 256 << 10, (256 << 10) + 1, 3 << 20, 3 << 20];
    for (n, length) in lengths.into_iter().enumerate() {
        let entropy = Entropy::seeded(length as u64);
        let bytes: Vec<u8> =
            (0..length.div_ceil(8)).flat_map(|_| entropy.next().to_le_bytes()).take(length).collect();
        let digest = Digest::of(&bytes);
        parts.metadata["resource"]["assets"]["uris"][n.to_string()] = format!("{digest}/{n}.tgz").into();
        let member = json!({
            "role": format!("asset/{n}"), "name": format!("{n}.tgz"), "digest": digest, "size": length,
            "mediaType": "application/gzip",
        });
        parts.manifest["members"].as_array_mut().unwrap().push(member);
        if !parts.blobs.contains(&bytes) {
            parts.blobs.push(bytes);
        }
    }
    parts
}

#[tokio::test]
async fn a_bundle_is_published_and_every_member_comes_back() {
    let bundle = open(&large().zip().build()).unwrap();
    let storage = storage().await;
    let content = bundle.content();
    assert_eq!(put(&storage, &bundle).await.unwrap(), content.digest());
    assert_eq!(*storage.document(&content.coordinate).await.unwrap().unwrap(), content.metadata);
    assert_eq!(content.members.len(), 9);
    for member in &content.members {
        let state = storage.catalog.state();
        let (found, blob) = state.member(&content.coordinate, &member.digest).unwrap();
        assert_eq!(found.digest, member.digest);
        assert_eq!(
            storage.blobs.read_all(&blob, 4 << 20).await.unwrap(),
            read(&bundle, member).await.unwrap(),
            "{}",
            member.role
        );
    }
    assert_eq!(put(&storage, &bundle).await.unwrap(), content.digest(), "the same again");
}

#[tokio::test]
async fn the_same_package_gives_the_same_bytes() {
    let first = open(&large().zip().build()).unwrap();
    let written = rewrite(&first, u64::from(u32::MAX)).await;
    let second = open(&written).unwrap();
    assert_eq!(second.content(), first.content());
    check(&second).await;
    assert_eq!(rewrite(&second, u64::from(u32::MAX)).await, written);
    // Another order of the members is the same package.
    let mut content = first.content().clone();
    content.members.reverse();
    let mut out = Cursor::new(Vec::new());
    write(&content, |member: &Member| first.open_member(member), &mut out).await.unwrap();
    assert!(out.into_inner() == written);
    let header = b"PK\x03\x04";
    let names = written.windows(60).filter(|w| w.starts_with(header)).map(|w| w[30..43].to_vec());
    let expected: Vec<_> = std::iter::once(b"metadata.json")
        .chain([b"manifest.json"])
        .chain([b"blobs/sha256/"; 7])
        .map(|name| name.to_vec())
        .collect();
    assert_eq!(names.take(9).collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn zip64_is_written_and_read() {
    let bundle = open(&large().zip().build()).unwrap();
    for full_from in [0, 1, 11, 300_000, 1 << 20] {
        let again = open(&rewrite(&bundle, full_from).await).unwrap();
        assert_eq!(again.content(), bundle.content());
        check(&again).await;
    }
}

#[tokio::test]
async fn what_common_tools_write_is_read() {
    type Change = fn(&mut Zip);
    let changes: [(&str, Change); 13] = [
        ("nothing", |_| {}),
        ("deflated", |zip| {
            zip.items.iter_mut().for_each(|item| {
                item.deflated();
            });
        }),
        ("descriptor", |zip| {
            zip.blob().described(false, false);
        }),
        ("signed descriptor", |zip| {
            zip.item("metadata.json").deflated().described(true, false);
        }),
        ("long descriptor", |zip| {
            zip.blob().deflated().described(false, true);
        }),
        ("long signed descriptor", |zip| {
            zip.blob().described(true, true);
        }),
        ("long sizes", |zip| {
            zip.blob().long();
        }),
        ("long records", |zip| zip.long = true),
        ("any order", |zip| zip.items.reverse()),
        ("another order in the directory", |zip| {
            // Equal lengths, so that the two can change places.
            let item = zip.items.remove(4);
            zip.items.insert(0, item);
        }),
        ("times", |zip| {
            zip.blob().both(|head| head.extra = b"UT\x05\0\x03abcd".to_vec());
        }),
        ("comment of an entry", |zip| zip.blob().comment = b"hello".to_vec()),
        ("no attributes", |zip| zip.blob().attributes = 0),
    ];
    for (name, change) in changes {
        let mut zip = Parts::good().zip();
        change(&mut zip);
        let bundle = open(&zip.build()).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(bundle.content(), open(&Parts::good().zip().build()).unwrap().content(), "{name}");
        check(&bundle).await;
    }
}

#[tokio::test]
async fn members_are_read_many_times_at_once() {
    let bundle = open(&large().zip().build()).unwrap();
    let members = &bundle.content().members;
    let reads = (0..4).flat_map(|_| members).map(|member| read(&bundle, member));
    let all = futures::future::try_join_all(reads).await.unwrap();
    for (bytes, member) in all.iter().zip((0..4).flat_map(|_| members)) {
        assert_eq!(Digest::of(bytes), member.digest);
    }
}

#[tokio::test]
async fn wrong_bytes_are_not_published() {
    // Of the right length, and with a right checksum.
    let mut zip = Parts::good().zip();
    let other = zip::Item::new("x", b"#!/bin/rm\n");
    (zip.blob().data, zip.blob().central.crc, zip.blob().local.crc) =
        (other.data, other.central.crc, other.local.crc);
    let bundle = open(&zip.build()).unwrap();
    let error = put(&storage().await, &bundle).await.unwrap_err();
    assert_eq!(error.label(), "WrongDigest");
    // Deflated data that is too short, too long, broken, or has something behind it.
    let changes: [fn(&mut Vec<u8>); 4] = [
        |data| *data = zip::deflate(b"#!/bin/sh"),
        |data| *data = zip::deflate(b"#!/bin/sh\n\n"),
        |data| data[0] = 0xff,
        |data| data.push(0),
    ];
    for change in changes {
        let mut zip = Parts::good().zip();
        let blob = zip.blob().deflated();
        change(&mut blob.data);
        let length = u32::try_from(blob.data.len()).unwrap();
        blob.both(|head| head.packed = length);
        let bundle = open(&zip.build()).unwrap();
        let storage = storage().await;
        let error = put(&storage, &bundle).await.unwrap_err();
        assert_eq!(error.label(), "SourceDamaged");
        let state = storage.catalog.state();
        assert!(state.entry(&bundle.content().coordinate).is_none());
        let member = &bundle.content().members[0];
        let error = read(&bundle, member).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
}

#[tokio::test]
async fn a_member_that_changes_while_it_is_written_ends_the_writing() {
    let bundle = open(&Parts::good().zip().build()).unwrap();
    // Another byte, one less, one more.
    let changes: [fn(&mut Vec<u8>); 3] =
        [|bytes| bytes[0] ^= 1, |bytes| bytes.truncate(bytes.len() - 1), |bytes| bytes.push(0)];
    for change in changes {
        let open = |member: &Member| {
            let mut bytes = Parts::good().blobs.into_iter().find(|b| Digest::of(b) == member.digest).unwrap();
            change(&mut bytes);
            let reader: MemberReader = Box::new(Cursor::new(bytes));
            Box::pin(std::future::ready(Ok(reader))) as BoxFuture<'_, _>
        };
        let error = write(bundle.content(), open, &mut Cursor::new(Vec::new())).await.unwrap_err();
        assert!(matches!(error, WriteBundleError::Changed { .. }), "{error}");
    }
}

#[tokio::test]
async fn the_form_of_dcos_1_9_is_read_where_its_resources_are_urls() {
    let mut parts = Parts::good();
    parts.blobs.clear();
    parts.manifest = json!({"built-by": "dcoscli.version=0.4.15"});
    let url = "https://example.com/run.sh?raw=true";
    parts.metadata["resource"] =
        json!({"assets": {"uris": {"script": url}, "container": {"docker": {"image": "nginx:1"}}}});
    let mut zip = parts.zip();
    zip.items.truncate(2);
    for item in &mut zip.items {
        item.deflated();
    }
    let bundle = open(&zip.build()).unwrap();
    assert_eq!(bundle.content().metadata["resource"]["assets"]["uris"]["script"], url);
    assert!(bundle.content().members.is_empty());
    put(&storage().await, &bundle).await.unwrap();
    for uri in ["run.sh", "file:///etc/passwd", &format!("{}/x", Digest::of(b"x"))] {
        parts.metadata["resource"]["assets"]["uris"]["script"] = uri.into();
        let mut zip = parts.zip();
        zip.items.truncate(2);
        assert_eq!(open(&zip.build()).unwrap_err().label(), "NotEmbedded", "{uri}");
    }
}

#[test]
fn the_release_version_is_taken_from_the_metadata() {
    let mut parts = Parts::good();
    parts.metadata["releaseVersion"] = 12.into();
    let bundle = open(&parts.zip().build()).unwrap();
    assert_eq!(bundle.content().release_version, Some(12));
    assert_eq!(bundle.content().digest(), open(&Parts::good().zip().build()).unwrap().content().digest());
}
