//! Bundles whose zip is fine, but not what is in it.

use serde_json::{Value, json};

use super::zip::{Item, Parts};
use super::*;

type Change = fn(&mut Parts);

fn refused(cases: &[(&str, &str, Change)]) {
    for (name, label, change) in cases {
        let mut parts = Parts::good();
        change(&mut parts);
        check_refused(name, label, &parts.zip().build());
    }
}

fn check_refused(name: &str, label: &str, bytes: &[u8]) {
    let error = open(bytes).map(|bundle| bundle.content).expect_err(name);
    assert_eq!(error.label(), label, "{name}: {error}");
    assert!(error.to_string().chars().all(|c| !c.is_control()), "{name}: {error}");
}

fn member(parts: &mut Parts, index: usize) -> &mut Value {
    &mut parts.manifest["members"][index]
}

#[test]
fn metadata() {
    refused(&[
        ("no object", "InvalidMetadata", |p| p.metadata = json!([])),
        ("null", "InvalidMetadata", |p| p.metadata = Value::Null),
        ("no name", "InvalidMetadata", |p| drop(p.metadata.as_object_mut().unwrap().remove("name"))),
        ("name with dots", "InvalidMetadata", |p| p.metadata["name"] = "..".into()),
        ("name with a slash", "InvalidMetadata", |p| p.metadata["name"] = "a/b".into()),
        ("name in upper case", "InvalidMetadata", |p| p.metadata["name"] = "Hello".into()),
        ("name too long", "InvalidMetadata", |p| p.metadata["name"] = "a".repeat(129).into()),
        ("name of another type", "InvalidMetadata", |p| p.metadata["name"] = 7.into()),
        ("version that leads up", "InvalidMetadata", |p| p.metadata["version"] = "/../".into()),
        ("version of dots", "InvalidMetadata", |p| p.metadata["version"] = "..".into()),
        ("version with NUL", "InvalidMetadata", |p| p.metadata["version"] = "1\0".into()),
        ("empty version", "InvalidMetadata", |p| p.metadata["version"] = "".into()),
        ("packaging version", "InvalidMetadata", |p| p.metadata["packagingVersion"] = "9.0".into()),
        ("unknown key", "InvalidMetadata", |p| p.metadata["resources"] = json!({})),
        ("template", "InvalidMetadata", |p| p.metadata["marathon"]["v2AppMustacheTemplate"] = "?".into()),
        ("config", "InvalidMetadata", |p| p.metadata["config"]["properties"]["n"]["type"] = "int".into()),
        ("config of another type", "InvalidMetadata", |p| p.metadata["config"] = json!([1])),
        ("negative release", "InvalidMetadata", |p| p.metadata["releaseVersion"] = (-1).into()),
        ("release as text", "InvalidMetadata", |p| p.metadata["releaseVersion"] = "1".into()),
        ("images inside", "Images", |p| {
            p.metadata["resource"]["assets"]["container"] = json!({"docker": {"image": "nginx:1"}});
        }),
        ("URL", "NotEmbedded", |p| {
            p.metadata["resource"]["assets"]["uris"]["script"] = "http://169.254.169.254/".into();
        }),
        ("path", "NotEmbedded", |p| p.metadata["resource"]["images"]["icon-small"] = "../icon.png".into()),
        ("another digest", "Reference", |p| {
            let other = format!("{}/run.sh", Digest::of(b"x"));
            p.metadata["resource"]["assets"]["uris"]["script"] = other.into();
        }),
        ("the digest of another member", "Reference", |p| {
            let icon = p.metadata["resource"]["images"]["icon-small"].clone();
            p.metadata["resource"]["assets"]["uris"]["script"] = icon;
        }),
        ("another name", "Reference", |p| {
            let other = format!("{}/run.py", Digest::of(b"#!/bin/sh\n"));
            p.metadata["resource"]["assets"]["uris"]["script"] = other.into();
        }),
        ("no member for it", "Reference", |p| {
            let again = p.metadata["resource"]["assets"]["uris"]["script"].clone();
            p.metadata["resource"]["assets"]["uris"]["more"] = again;
        }),
        ("a member too much", "UnusedMember", |p| {
            drop(p.metadata["resource"].as_object_mut().unwrap().remove("images"));
        }),
        ("hash of a binary", "WrongHash", |p| {
            let binary = &mut p.metadata["resource"]["cli"]["binaries"]["linux"]["x86-64"];
            binary["contentHash"][0]["value"] = "0".repeat(64).into();
        }),
    ]);
}

#[test]
fn manifest() {
    refused(&[
        ("no object", "InvalidManifest", |p| p.manifest = json!([])),
        ("no version", "InvalidManifest", |p| p.manifest = json!({"members": []})),
        ("only a builder", "InvalidManifest", |p| p.manifest = json!({"built-by": "x"})),
        ("version 2", "FormatVersion", |p| p.manifest["formatVersion"] = 2.into()),
        ("version as text", "FormatVersion", |p| p.manifest["formatVersion"] = "1".into()),
        ("version 1.0", "FormatVersion", |p| p.manifest["formatVersion"] = 1.0.into()),
        ("unknown key", "InvalidManifest", |p| p.manifest["builtBy"] = "x".into()),
        ("no members", "InvalidManifest", |p| drop(p.manifest.as_object_mut().unwrap().remove("members"))),
        ("members of another type", "InvalidManifest", |p| p.manifest["members"] = json!({})),
        ("none", "OrphanBlob", |p| p.manifest["members"] = json!([])),
        ("unknown key of a member", "InvalidManifest", |p| member(p, 0)["path"] = "/etc/passwd".into()),
        ("no digest", "InvalidManifest", |p| member(p, 0)["digest"] = Value::Null),
        ("weak digest", "InvalidManifest", |p| member(p, 0)["digest"] = "md5:00".into()),
        ("upper-case digest", "InvalidManifest", |p| {
            let digest = format!("sha256:{}", Digest::of(b"#!/bin/sh\n").hex().to_uppercase());
            member(p, 0)["digest"] = digest.into();
        }),
        ("negative size", "InvalidManifest", |p| member(p, 0)["size"] = (-1).into()),
        ("size with a fraction", "InvalidManifest", |p| member(p, 0)["size"] = 10.5.into()),
        ("endless size", "MemberSize", |p| member(p, 0)["size"] = u64::MAX.into()),
        ("size too small", "MemberSize", |p| member(p, 0)["size"] = 9.into()),
        ("size of one of two", "MemberSize", |p| member(p, 1)["size"] = 11.into()),
        ("name that leads up", "InvalidManifest", |p| member(p, 0)["name"] = "..".into()),
        ("name with a slash", "InvalidManifest", |p| member(p, 0)["name"] = "a/run.sh".into()),
        ("name with a line feed", "InvalidManifest", |p| member(p, 0)["name"] = "a\r\nb".into()),
        ("empty name", "InvalidManifest", |p| member(p, 0)["name"] = "".into()),
        ("name too long", "InvalidManifest", |p| member(p, 0)["name"] = "a".repeat(256).into()),
        ("media type", "InvalidManifest", |p| member(p, 0)["mediaType"] = "text".into()),
        ("media type with a line feed", "InvalidManifest", |p| {
            member(p, 0)["mediaType"] = "text/plain\r\nx: y".into();
        }),
        ("another role", "Reference", |p| member(p, 0)["role"] = "asset/other".into()),
        ("role that stands twice", "InvalidManifest", |p| {
            let again = member(p, 0).clone();
            p.manifest["members"].as_array_mut().unwrap().push(again);
        }),
        ("bytes are missing", "MissingBlob", |p| drop(p.blobs.pop())),
        ("bytes without member", "OrphanBlob", |p| p.blobs.push(b"x".to_vec())),
        ("layout version", "InvalidManifest", |p| p.layout["imageLayoutVersion"] = "2.0.0".into()),
        ("layout of another type", "InvalidManifest", |p| p.layout = json!(1)),
        ("index without manifests", "InvalidManifest", |p| p.index = json!({})),
        ("index that names itself", "Images", |p| {
            p.index["manifests"] = json!([{"digest": Digest::of(b"x")}]);
        }),
    ]);
}

#[test]
fn files() {
    for name in ["metadata.json", "manifest.json", "index.json", "oci-layout"] {
        let mut zip = Parts::good().zip();
        zip.items.retain(|item| item.local.name != name.as_bytes());
        check_refused(name, "MissingEntry", &zip.build());
    }
    let mut zip = Parts::good().zip();
    zip.item("metadata.json").both(|head| head.crc ^= 1);
    check_refused("checksum of the metadata", "Damaged", &zip.build());
    let mut zip = Parts::good().zip();
    zip.item("manifest.json").deflated().data[0] = 0xff;
    check_refused("no deflate stream", "Damaged", &zip.build());
    let sizes = [("metadata.json", 4 << 20), ("manifest.json", 8 << 20), ("oci-layout", 64 << 10)];
    for (name, limit) in sizes {
        for (more, label) in [(1, "EntryTooLarge"), (0, "InvalidJson")] {
            let mut zip = Parts::good().zip();
            *zip.item(name) = Item::new(name, &vec![b' '; limit + more]);
            check_refused(name, label, &zip.build());
        }
    }
}

#[test]
fn json() {
    let metadata = Parts::good().metadata.to_string();
    let inner = metadata.trim_start_matches('{');
    let nested = |text: &str, n: usize| format!("{{\"x\":{}1{},{inner}", text.repeat(n), "}".repeat(n));
    let texts: Vec<(&str, Vec<u8>)> = vec![
        ("empty", Vec::new()),
        ("cut off", metadata.as_bytes()[..metadata.len() - 1].to_vec()),
        ("more behind it", [metadata.as_bytes(), b"x"].concat()),
        ("two equal keys", format!("{{\"name\":\"hello\",{inner}").into_bytes()),
        ("two equal keys, one escaped", format!("{{\"n\\u0061me\":\"hello\",{inner}").into_bytes()),
        ("byte order mark", [b"\xef\xbb\xbf", metadata.as_bytes()].concat()),
        ("UTF-16", metadata.encode_utf16().flat_map(u16::to_le_bytes).collect()),
        ("no UTF-8", metadata.replace("a@b", "\u{1}").into_bytes().iter().map(|b| b | 0x80).collect()),
        ("lone surrogate", metadata.replace("a@b", "\\ud800").into_bytes()),
        ("NaN", metadata.replace("\"default\":1", "\"default\":NaN").into_bytes()),
        ("too large a number", metadata.replace("\"default\":1", "\"default\":1e999").into_bytes()),
        ("comment", format!("/* x */{metadata}").into_bytes()),
        ("deep", nested("{\"x\":", 64).into_bytes()),
        ("very deep", vec![b'['; 1 << 20]),
        ("many values", format!("[{}0]", "0,".repeat(1 << 20)).into_bytes()),
        ("control character", metadata.replace("a@b", "a\u{1}b").into_bytes()),
    ];
    for (name, text) in texts {
        let mut zip = Parts::good().zip();
        *zip.item("metadata.json") = Item::new("metadata.json", &text);
        check_refused(name, "InvalidJson", &zip.build());
    }
}

#[test]
fn media_types_come_from_names() {
    let mut parts = Parts::good();
    member(&mut parts, 2)["mediaType"] = "text/html".into();
    let bundle = open(&parts.zip().build()).unwrap();
    assert_eq!(bundle.content(), open(&Parts::good().zip().build()).unwrap().content());
    assert_eq!(bundle.content().members[2].media_type, "image/png");
}
