//! Bundles sent to the running program: beside what the manifest wants, and to a disk that is full.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::path::Path;

use dcos_registry::bundle::MemberReader;
use dcos_registry::bundle::file::write;
use dcos_registry::clock::Entropy;
use dcos_registry::model::{Coordinate, Digest, Member, PackageContent};
use futures::future::BoxFuture;
use serde_json::{Value, json};

use crate::daemon::{DEADLINE, Daemon, Place, request};

/// A package with one file of that length, as a bundle.
fn bundle(name: &str, length: usize) -> Vec<u8> {
    let entropy = Entropy::seeded(length as u64);
    let file: Vec<u8> =
        (0..length.div_ceil(8)).flat_map(|_| entropy.next().to_le_bytes()).take(length).collect();
    let (digest, size) = (Digest::of(&file), length as u64);
    let uris = BTreeMap::from([("data", format!("{digest}/data.tgz"))]);
    let metadata = json!({
        "packagingVersion": "4.0", "name": name, "version": "1", "maintainer": "a@b.example",
        "description": "x", "tags": [], "marathon": {"v2AppMustacheTemplate": "e30="},
        "resource": {"assets": {"uris": uris}},
    });
    let (role, file_name) = ("asset/data".to_owned(), "data.tgz".to_owned());
    let member = Member { role, name: file_name, digest, size, media_type: "application/gzip".into() };
    let coordinate = Coordinate::new(name.parse().unwrap(), "1".parse().unwrap());
    let content = PackageContent { coordinate, release_version: None, metadata, members: vec![member] };
    let open = |_: &Member| -> BoxFuture<'_, std::io::Result<MemberReader>> {
        let file = file.clone();
        Box::pin(async move { Ok(Box::new(Cursor::new(file)) as MemberReader) })
    };
    let mut out = Cursor::new(Vec::new());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(write(&content, open, &mut out)).unwrap();
    out.into_inner()
}

/// Sends a bundle, with its length or in chunks.
fn upload(daemon: &Daemon, bytes: Vec<u8>, in_chunks: bool) -> (u16, Value) {
    dcos_registry::marathon::install_tls_provider();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let client = reqwest::Client::builder().no_proxy().timeout(DEADLINE).build().unwrap();
        let body = if in_chunks {
            let chunks: Vec<_> =
                bytes.chunks(100_000).map(|chunk| Ok::<_, std::io::Error>(chunk.to_vec())).collect();
            reqwest::Body::wrap_stream(futures::stream::iter(chunks))
        } else {
            bytes.into()
        };
        let url = format!("{}/api/v1/packages", daemon.registry);
        let response = client.post(url).body(body).send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap())
    })
}

fn delete(daemon: &Daemon, package: &str) -> u16 {
    request("DELETE", &format!("{}/api/v1/packages/{package}", daemon.registry), None).unwrap().0
}

fn published(daemon: &Daemon) -> Vec<String> {
    let repo = daemon.get("/repo").unwrap();
    let packages = repo["packages"].as_array().unwrap();
    packages.iter().map(|package| package["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn uploads_stand_beside_what_the_manifest_wants_and_that_cannot_be_taken_away() {
    let place = Place::new();
    let daemon = Daemon::start(&place);
    daemon.wait_until_ready();
    let (status, body) = upload(&daemon, bundle("extra", 3_000_000), true);
    assert_eq!((status, &body["already"]), (201, &json!(false)), "{body}");
    assert_eq!(published(&daemon), ["extra", "hello"]);
    let url = format!("{}/api/v1/packages/hello/0.1.0", daemon.registry);
    let (status, body) = request("DELETE", &url, None).unwrap();
    assert!(status == 409 && body.contains("PackageWanted") && body.contains("hello"), "{status} {body}");
    assert_eq!(delete(&daemon, "extra/1"), 204);
    assert_eq!(delete(&daemon, "extra/1"), 404);
    assert_eq!(published(&daemon), ["hello"]);
    assert!(daemon.interrupt().success());
}

/// A small file system at a path, which goes with its value; none where mounting is not allowed.
struct Volume<'a>(&'a Path);

impl<'a> Volume<'a> {
    fn mount(path: &'a Path, size: &str) -> Option<Self> {
        std::fs::create_dir_all(path).unwrap();
        let options = format!("size={size},mode=0700");
        let mounted = mount("mount", &["-t", "tmpfs", "-o", &options, "dcos-registry-test"], path);
        if !mounted {
            eprintln!("skipped: a tmpfs cannot be mounted here");
        }
        mounted.then_some(Self(path))
    }
}

impl Drop for Volume<'_> {
    fn drop(&mut self) {
        if !mount("umount", &["--lazy"], self.0) {
            eprintln!("{} stays mounted", self.0.display());
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "mounting is a program's work")]
fn mount(program: &str, arguments: &[&str], path: &Path) -> bool {
    let output = std::process::Command::new(program).args(arguments).arg(path).output();
    output.is_ok_and(|output| output.status.success())
}

#[test]
fn a_full_disk_takes_nothing_more_and_serves_what_it_has() {
    let place = Place::new();
    let dir = place.dir();
    let Some(_volume) = Volume::mount(&dir, "32m") else { return };
    let daemon = Daemon::start(&place);
    daemon.wait_until_ready();
    let (status, body) = upload(&daemon, bundle("small", 1_000_000), false);
    assert_eq!(status, 201, "{body}");
    for in_chunks in [false, true] {
        let (status, body) = upload(&daemon, bundle("large", 24_000_000), in_chunks);
        assert_eq!((status, &body["type"]), (507, &json!("DiskFull")), "{body}");
        assert!(body["message"].as_str().unwrap().contains("free some space"), "{body}");
    }
    assert_eq!(published(&daemon), ["hello", "small"]);
    // Somebody else fills what is left: not even the reserve is there any more.
    let filler = dir.join("marathon/filler");
    let mut file = std::fs::File::create(&filler).unwrap();
    while std::io::Write::write_all(&mut file, &[1; 4_096]).is_ok() {}
    drop(file);
    let (status, body) = upload(&daemon, bundle("tiny", 100_000), false);
    assert_eq!((status, &body["type"]), (507, &json!("DiskFull")), "{body}");
    assert_eq!(published(&daemon), ["hello", "small"]);
    let shown = daemon.get("/api/v1/packages/small/1").unwrap();
    let url = format!("{}{}", daemon.registry, shown["members"][0]["path"].as_str().unwrap());
    let answer = crate::daemon::exchange("GET", &url, &[], None).unwrap();
    assert_eq!((answer.status, answer.body.len()), (200, 1_000_000));
    assert_eq!(json!(Digest::of(&answer.body)), shown["members"][0]["digest"]);
    std::fs::remove_file(&filler).unwrap();
    let (status, body) = upload(&daemon, bundle("tiny", 100_000), false);
    assert_eq!(status, 201, "{body}");
    drop(daemon);
}
