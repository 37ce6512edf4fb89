//! Tests of describing packages and opening their members.

mod quickstart;

use serde_json::json;
use tokio::io::AsyncReadExt as _;

use super::*;
use crate::manifest::{self, Spec};
use crate::model::{Completeness, Revision, SourceName, resolve_references};

fn path(text: &str) -> SnapshotPath {
    SnapshotPath::root().join(text).unwrap()
}

fn package_json(version: &str) -> String {
    json!({
        "packagingVersion": "4.0", "name": "hello", "version": version, "maintainer": "a@b.example",
        "description": "x", "tags": [],
    })
    .to_string()
}

const UNIT: &str = "\
apiVersion: dcos-registry/v1
kind: Package
metadata: {name: hello}
spec:
  version: 0.1.0
  source: {directory: p}
";

struct Fixture {
    snapshot: Snapshot,
    unit: String,
}

impl Fixture {
    /// A unit of version 0.1.0 and a folder with two versions; the second has this `resource.json`.
    fn new(resource: &str) -> Self {
        let snapshot = Snapshot {
            source: SourceName::new("test").unwrap(),
            revision: Revision("r".into()),
            completeness: Completeness::Complete,
            manifests: path("m"),
            files: BTreeMap::new(),
        };
        let fixture = Self { snapshot, unit: UNIT.into() };
        fixture
            .with("m/p/0/package.json", package_json("0.0.9").as_bytes())
            .with("m/p/7/package.json", package_json("0.1.0").as_bytes())
            .with("m/p/7/marathon.json.mustache", b"{}")
            .with("m/p/7/resource.json", resource.as_bytes())
            .with("m/p/7/run.sh", b"#!/bin/sh\n")
            .with("m/p/7/bin/run.sh", b"other")
            .with("m/p/7/icon.png", b"png")
            .with("m/p/7/a b.sh", b"x")
    }

    fn with(mut self, file: &str, bytes: &[u8]) -> Self {
        self.snapshot.files.insert(path(file), SnapshotFile::inline(bytes));
        self
    }

    fn describe(mut self) -> Result<DescribedPackage, Vec<Problem>> {
        self.snapshot.files.insert(path("m/a.yaml"), SnapshotFile::inline(self.unit.as_bytes()));
        let manifest = manifest::parse(&self.snapshot).unwrap();
        let unit = &manifest.units[0];
        let Spec::Package(package) = &unit.spec else { panic!() };
        describe(&self.snapshot, unit, package)
    }

    fn faults(self) -> Vec<String> {
        self.describe().expect_err("no problem was found").iter().map(ToString::to_string).collect()
    }
}

#[test]
fn local_files_become_members() {
    let resource = json!({
        "assets": {"uris": {"run": "run.sh", "again": "./bin/../run.sh", "other": "bin/run.sh"}},
        "images": {"icon-small": "icon.png", "screenshots": ["icon.png"]},
        "cli": {"binaries": {"linux": {"x86-64": {"kind": "executable", "url": "bin/run.sh",
            "contentHash": [{"algo": "sha256", "value": Digest::of(b"other").hex().to_uppercase()}]}}}},
    });
    let described = Fixture::new(&resource.to_string()).describe().unwrap();
    let content = &described.content;
    assert_eq!(content.coordinate.to_string(), "hello 0.1.0");
    assert_eq!(content.release_version, Some(7));
    let members: Vec<_> = content
        .members
        .iter()
        .map(|m| (m.role.as_str(), m.name.as_str(), m.size, m.media_type.as_str()))
        .collect();
    assert_eq!(
        members,
        [
            ("asset/again", "run.sh", 10, "application/x-sh"),
            ("asset/other", "run.sh", 5, "application/x-sh"),
            ("asset/run", "run.sh", 10, "application/x-sh"),
            ("cli/linux/x86-64", "run.sh", 5, "application/x-sh"),
            ("image/icon-small", "icon.png", 3, "image/png"),
            ("image/screenshots/0", "icon.png", 3, "image/png"),
        ]
    );
    let reference = format!("{}/run.sh", Digest::of(b"#!/bin/sh\n"));
    assert_eq!(content.metadata["resource"]["assets"]["uris"]["run"], json!(reference));
    assert_eq!(described.files.len(), 3);

    let resolved = resolve_references(&content.metadata, &content.coordinate, "http://r");
    let url = format!("http://r/resource/{}/{reference}", content.coordinate.encode());
    assert_eq!(resolved["resource"]["assets"]["uris"]["again"], json!(url));
}

#[test]
fn the_package_digest_moves_with_a_members_bytes() {
    let resource = r#"{"assets": {"uris": {"run": "run.sh"}}}"#;
    let first = Fixture::new(resource).describe().unwrap();
    let same = Fixture::new(resource).with("m/p/7/README.md", b"unused").describe().unwrap();
    let other = Fixture::new(resource).with("m/p/7/run.sh", b"#!/bin/sh -e\n").describe().unwrap();
    assert_eq!(first.content.digest(), same.content.digest());
    assert_ne!(first.content.digest(), other.content.digest());
}

#[test]
fn every_uri_that_is_no_file_is_named_with_its_line() {
    let resource = r#"{
  "assets": {
    "uris": {
      "far": "https://downloads.example/x.tgz",
      "gone": "nope.sh",
      "odd": "a b.sh",
      "out": "../../../../x",
      "abs": "/etc/passwd",
      "ftp": "ftp://h/x"
    },
    "container": {"docker": {
      "image": "nginx:1"
    }}
  },
  "cli": {"binaries": {"linux": {"x86-64": {
    "kind": "executable",
    "url": "run.sh",
    "contentHash": [{"algo": "sha256",
      "value": "00"}]
  }}}}
}"#;
    let file = "m/p/7/resource.json";
    let put = "put the file beside package.json and write its path";
    let hash = Digest::of(b"#!/bin/sh\n").hex();
    assert_eq!(
        Fixture::new(resource).faults(),
        [
            format!(
                "{file}:4: assets.uris.far: https://downloads.example/x.tgz: fetching from downloads.example is not allowed for this source ({put})"
            ),
            format!(
                "{file}:5: assets.uris.gone: there is no file m/p/7/nope.sh in the source (add it, or correct the path)"
            ),
            format!(
                "{file}:6: assets.uris.odd: the file name \"a b.sh\" cannot be part of a URL as it stands (rename the file: letters, digits, '.', '_' and '-')"
            ),
            format!(
                "{file}:7: assets.uris.out: ../../../../x leaves the source's root folder (keep the file in the package directory)"
            ),
            format!(
                "{file}:8: assets.uris.abs: \"/etc/passwd\" is no path of a file (write a path relative to package.json)"
            ),
            format!("{file}:9: assets.uris.ftp: ftp://h/x: files cannot be fetched by ftp ({put})"),
            format!(
                "{file}:12: assets.container.docker.image: nginx:1: Docker images cannot be embedded yet (leave the image out of resource.json and name it in the template)"
            ),
            format!(
                "{file}:19: cli.binaries.linux.x86-64.contentHash[0].value: the file's SHA-256 is {hash} (correct the value, or put the right file there)"
            ),
        ]
    );
}

#[test]
fn a_version_or_name_that_is_not_there_is_shown_at_the_unit() {
    let mut fixture = Fixture::new("{}");
    fixture.unit = UNIT.replace("0.1.0", "0.3.0");
    assert_eq!(
        fixture.faults(),
        ["m/a.yaml:5: spec.version: m/p does not hold version 0.3.0 (it holds 0.0.9, 0.1.0)"]
    );
    let mut fixture = Fixture::new("{}");
    fixture.unit = UNIT.replace("{name: hello}", "{name: world}");
    assert_eq!(
        fixture.faults(),
        ["m/a.yaml:4: spec.name: the package in m/p/7 is named hello, not world (write spec: {name: hello})"]
    );
}

#[test]
fn a_broken_package_file_is_shown_though_its_version_cannot_be_read() {
    let faults = Fixture::new("{}").with("m/p/7/package.json", b"{\n  \"version\": \"0.1.0\",\n").faults();
    assert_eq!(faults.len(), 2, "{faults:?}");
    assert!(faults[0].starts_with("m/a.yaml:5: spec.version: m/p does not hold version 0.1.0"), "{faults:?}");
    assert!(faults[1].starts_with("m/p/7/package.json:3: is not JSON"), "{faults:?}");
}

#[tokio::test]
async fn members_are_opened_from_memory_and_from_disk() {
    let resource = r#"{"assets": {"uris": {"run": "run.sh"}}}"#;
    let mut described = Fixture::new(resource).describe().unwrap();
    let member = described.content.members[0].clone();
    let mut bytes = Vec::new();
    open_member(&described, &member).await.unwrap().read_to_end(&mut bytes).await.unwrap();
    assert_eq!(bytes, b"#!/bin/sh\n");

    let dir = tempfile::tempdir().unwrap();
    let real = dir.path().join("run.sh");
    std::fs::write(&real, b"#!/bin/sh\n").unwrap();
    described.files.get_mut(&member.digest).unwrap().content = FileContent::OnDisk(real.clone());
    bytes.clear();
    open_member(&described, &member).await.unwrap().read_to_end(&mut bytes).await.unwrap();
    assert_eq!(bytes, b"#!/bin/sh\n");

    std::fs::write(&real, b"longer than before").unwrap();
    let error = open_member(&described, &member).await.err().unwrap();
    assert_eq!((error.label(), error.class()), ("Changed", ErrorClass::Wait));
    std::fs::remove_file(&real).unwrap();
    assert_eq!(open_member(&described, &member).await.err().unwrap().class(), ErrorClass::Retry);
    let stranger = Member { digest: Digest::of(b"no"), ..member };
    assert_eq!(open_member(&described, &stranger).await.err().unwrap().label(), "NoSuchMember");
}
