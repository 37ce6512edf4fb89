//! Package directories and metadata, good and bad.

use std::collections::BTreeMap;

use serde_json::json;

use super::*;
use crate::model::{Completeness, Problem, Revision, Snapshot, SnapshotFile, SnapshotPath, SourceName};

const PACKAGE: &str = r#"{
  "packagingVersion": "4.0",
  "name": "hello",
  "version": "0.1.0",
  "maintainer": "someone@example.com",
  "description": "Says hello.",
  "tags": ["hello"],
  "selected": true
}"#;

fn path(text: &str) -> SnapshotPath {
    SnapshotPath::root().join(text).unwrap()
}

fn snapshot(files: &[(&str, &[u8])]) -> Snapshot {
    let files: BTreeMap<_, _> =
        files.iter().map(|(name, bytes)| (path(name), SnapshotFile::inline(bytes))).collect();
    Snapshot {
        source: SourceName::new("test").unwrap(),
        revision: Revision("1".into()),
        completeness: Completeness::Complete,
        manifests: SnapshotPath::root(),
        files,
    }
}

/// Reads `p/3` with a package.json and other files.
fn read(package: &str, others: &[(&str, &[u8])]) -> Result<PackageDefinition, Vec<Problem>> {
    let mut files = vec![("p/3/package.json".to_owned(), package.as_bytes())];
    files.extend(others.iter().map(|(name, bytes)| (format!("p/3/{name}"), *bytes)));
    let files: Vec<_> = files.iter().map(|(name, bytes)| (name.as_str(), *bytes)).collect();
    read_directory(&snapshot(&files), &path("p/3"))
}

fn problems(package: &str, others: &[(&str, &[u8])]) -> Vec<String> {
    let problems = read(package, others).unwrap_err();
    problems.iter().map(|p| p.to_string().trim_start_matches("p/3/").to_owned()).collect()
}

/// package.json with some text replaced.
fn with(from: &str, to: &str) -> String {
    assert!(PACKAGE.contains(from), "{from}");
    PACKAGE.replace(from, to)
}

#[test]
fn a_good_directory_becomes_a_definition() {
    let package = read(
        PACKAGE,
        &[
            ("config.json", br#"{"properties": {"cpus": {"type": "number", "default": 1}}}"#),
            ("resource.json", br#"{"assets": {"uris": {"a": "files/a.tar.gz", "none": ""}}}"#),
            ("marathon.json.mustache", b"{\"cpus\": {{cpus}}}\r\n"),
            ("README.md", b"other files are accepted"),
        ],
    )
    .unwrap();
    assert_eq!(package.release_version, Some(3));
    assert_eq!((package.name.as_str(), package.version.as_str()), ("hello", "0.1.0"));
    assert!(!package.fields.contains_key("selected"));
    let metadata = package.metadata();
    let template = data_encoding::BASE64.encode(b"{\"cpus\": {{cpus}}}\r\n");
    assert_eq!(metadata["marathon"], json!({"v2AppMustacheTemplate": template}), "bytes are kept");
    assert_eq!(PackageDefinition::from_metadata(&metadata, Some(3)), Ok(package));
}

#[test]
fn empty_parts_count_as_absent() {
    let package = read(PACKAGE, &[("config.json", b"{}"), ("resource.json", b"{}")]).unwrap();
    assert_eq!((&package.config, &package.resource), (&None, &None));
    assert_eq!(package.metadata().as_object().unwrap().len(), 6);
}

#[test]
fn of_equal_keys_the_last_counts() {
    let text = with("\"tags\": [\"hello\"]", "\"tags\": 5, \"tags\": [\"x\"]");
    assert_eq!(read(&text, &[]).unwrap().fields["tags"], json!(["x"]));
}

#[test]
fn all_problems_of_all_files_come_at_once() {
    let package =
        with("\"version\": \"0.1.0\"", "\"versoin\": \"0.1.0\"").replace("\"hello\"]", "\"hello\", 1]");
    let found = problems(
        &package,
        &[
            ("config.json", b"{\n \"properties\": {\n  \"a\": {\"type\": \"strin\"}}}"),
            ("resource.json", b"{\n \"assets\": {\"uri\": {}}\n}"),
            ("command.json", b"{\"pip\": []}"),
            ("marathon.json.mustache", b"{\n\xff}"),
        ],
    );
    let expected = [
        "command.json: is not allowed since packaging version 4.0",
        "config.json:3: properties.a.type: ",
        "marathon.json.mustache:2: is not UTF-8 text",
        "package.json: version: is missing",
        "package.json:4: versoin: unknown key (did you mean version?)",
        "package.json:7: tags[1]: is a number but must be a string",
        "resource.json:2: assets.uri: unknown key (did you mean uris?)",
    ];
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.starts_with(expected), "{found} should start with {expected}");
    }
}

#[test]
fn broken_json_is_told_with_its_line() {
    let found =
        problems("{\n \"name\": }", &[("config.json", b"[1]"), ("resource.json", b"{\"a\":\n\"\xff\"}")]);
    assert_eq!(found.len(), 3, "{found:#?}");
    assert!(found[0].starts_with("config.json: is an array but must be an object"), "{}", found[0]);
    assert!(found[1].starts_with("package.json:2: is not JSON: expected value"), "{}", found[1]);
    assert!(found[2].starts_with("resource.json:2: is not JSON: invalid unicode"), "{}", found[2]);
    let deep = "[".repeat(10_000);
    assert!(problems(&deep, &[])[0].contains("recursion limit"));
    assert_eq!(
        problems("", &[]),
        ["package.json:1: is not JSON: EOF while parsing a value at line 1 column 0"]
    );
}

#[test]
fn a_directory_without_a_package_is_none() {
    let problems = read_directory(&snapshot(&[("p/x", b"")]), &path("p")).unwrap_err();
    assert_eq!(problems[0].to_string(), "p: is no package directory: package.json is missing");
}

#[test]
fn fields_obey_their_rules() {
    for (from, to, expected) in [
        ("\"hello\",", "\"Hello\",", "package.json:3: name: \"Hello\" is not allowed (lower-case"),
        ("0.1.0", "0_1", "package.json:4: version: \"0_1\" is not allowed (letters, digits"),
        ("[\"hello\"]", "[\"a b\"]", "package.json:7: tags[0]: \"a b\" is not allowed (a tag is one word"),
        ("[\"hello\"]", "\"hello\"", "package.json:7: tags: is a string but must be an array"),
        (
            "4.0",
            "6.0",
            "package.json:2: packagingVersion: \"6.0\" is not allowed (write one of 2.0, 3.0, 4.0, 5.0)",
        ),
        ("\"4.0\"", "4.0", "package.json:2: packagingVersion: is a number but must be a string"),
        (
            "\"selected\": true",
            "\"selected\": 1",
            "package.json:8: selected: is a number but must be true or false",
        ),
        ("\"selected\": true", "\"lastUpdated\": 1.5", "package.json:8: lastUpdated: 1.5 is no whole number"),
        (
            "\"selected\": true",
            "\"minDcosReleaseVersion\": \"1.13-beta\"",
            "package.json:8: minDcosReleaseVersion: ",
        ),
        (
            "\"selected\": true",
            "\"minDcosReleaseVersion\": \"01.1\"",
            "package.json:8: minDcosReleaseVersion: ",
        ),
        (
            "\"selected\": true",
            "\"minDcosReleaseVersion\": \"99999999999\"",
            "package.json:8: minDcosReleaseVersion: ",
        ),
        (
            "\"selected\": true",
            "\"manager\": {\"packageName\": \"x\"}",
            "package.json:8: manager: is not known to packaging version 4.0 (remove it, or write \"packagingVersion\": \"5.0\")",
        ),
        (
            "\"selected\": true",
            "\"licenses\": [{\"name\": \"x\",\n\"url\": \"ftp://x\"}]",
            "package.json:9: licenses[0].url: \"ftp://x\" is no web address",
        ),
        (
            "\"selected\": true",
            "\"licenses\": [{\"name\": \"x\"}]",
            "package.json:8: licenses[0].url: is missing",
        ),
        (
            "\"selected\": true",
            "\"upgradesFrom\": \"*\"",
            "package.json:8: upgradesFrom: is a string but must be an array",
        ),
        (
            "\"selected\": true",
            "\"color\": 1",
            "package.json:8: color: unknown key (known are packagingVersion, name",
        ),
    ] {
        let found = problems(&with(from, to), &[]);
        assert!(found.len() == 1 && found[0].starts_with(expected), "{to}: {found:#?}");
    }
    for good in [
        "\"minDcosReleaseVersion\": \"1.9.0\"",
        "\"upgradesFrom\": [\"*\", \"\"]",
        "\"lastUpdated\": 1570000000",
    ] {
        assert!(read(&with("\"selected\": true", good), &[]).is_ok(), "{good}");
    }
}

#[test]
fn resources_obey_their_rules() {
    let cli = |binary: &str| format!("{{\"cli\": {{\"binaries\": {binary}}}}}");
    let hash = "\"contentHash\": [{\"algo\": \"sha256\", \"value\": \"0\"}]";
    for (resource, expected) in [
        (cli("{}"), "resource.json:1: cli.binaries: has no member"),
        (cli("{\"linux\": {}}"), "resource.json:1: cli.binaries.linux.x86-64: is missing"),
        (
            cli(&format!("{{\"linux\": {{\"x86-64\": {{\"url\": \"u\", \"kind\": \"tar\", {hash}}}}}}}")),
            "resource.json:1: cli.binaries.linux.x86-64.kind: \"tar\" is not allowed",
        ),
        (
            cli("{\"linux\": {\"x86-64\": {\"url\": \"u\", \"kind\": \"zip\", \"contentHash\": []}}}"),
            "resource.json:1: cli.binaries.linux.x86-64.contentHash: needs at least 1 element",
        ),
        ("{\"images\": {\"icon\": \"x\"}}".into(), "resource.json:1: images.icon: unknown key"),
        (
            "{\"assets\": {\"uris\": {\"a\": 1}}}".into(),
            "resource.json:1: assets.uris.a: is a number but must be a string",
        ),
    ] {
        let found = problems(PACKAGE, &[("resource.json", resource.as_bytes())]);
        assert!(found.len() == 1 && found[0].starts_with(expected), "{resource}: {found:#?}");
    }
}

#[test]
fn packaging_versions_demand_and_forbid_files() {
    let old = with("4.0", "2.0");
    assert!(problems(&old, &[])[0].starts_with("marathon.json.mustache: is missing"));
    assert!(
        read(&old, &[("marathon.json.mustache", b"{}"), ("command.json", b"{\"pip\": [\"x\"]}")]).is_ok()
    );
    let cli: &[(&str, &[u8])] =
        &[("marathon.json.mustache", b"{}"), ("resource.json", b"{\"cli\": {\"binaries\": {}}}")];
    assert!(
        problems(&old, cli)[0].starts_with("resource.json:1: cli: is not known to packaging version 2.0")
    );
    assert!(
        problems(PACKAGE, &[("marathon.json", b"{}")])[0].contains("rename it to marathon.json.mustache")
    );
    assert!(problems(PACKAGE, &[("marathon.json.mustache", b" \n")])[0].contains("is empty"));
}

#[test]
fn large_files_are_told_not_read() {
    let mut snapshot = snapshot(&[("p/package.json", PACKAGE.as_bytes())]);
    let file = SnapshotFile {
        size: 2 << 20,
        content: crate::model::FileContent::OnDisk("/nowhere".into()),
        ..SnapshotFile::inline(b"")
    };
    snapshot.files.insert(path("p/config.json"), file);
    let problems = read_directory(&snapshot, &path("p")).unwrap_err();
    assert!(problems[0].message.contains("1 MiB"), "{}", problems[0]);
}

#[test]
fn many_faults_are_cut() {
    let tags = vec!["1"; 50_000].join(",");
    let found = problems(&with("\"hello\"]", &format!("{tags}]")), &[]);
    assert_eq!(found.len(), 100);
}

#[test]
fn a_version_is_chosen_from_its_folders() {
    let other = with("0.1.0", "0.2.0");
    let files: Vec<(&str, &[u8])> = vec![
        ("p/2/package.json", PACKAGE.as_bytes()),
        ("p/10/package.json", PACKAGE.as_bytes()),
        ("p/9/package.json", other.as_bytes()),
        ("p/11/readme", b""),
        ("p/x/package.json", PACKAGE.as_bytes()),
        ("p/12/package.json", b"broken"),
    ];
    let snapshot = snapshot(&files);
    let choose = |dir: &str, version: Option<&str>| {
        let version = version.map(|v| PackageVersion::new(v).unwrap());
        select_version(&snapshot, &path(dir), version.as_ref()).map(|p| p.to_string())
    };
    assert_eq!(choose("p", None).unwrap(), "p/12");
    assert_eq!(choose("p", Some("0.1.0")).unwrap(), "p/10", "the highest of several, as numbers");
    assert_eq!(choose("p", Some("0.2.0")).unwrap(), "p/9");
    assert_eq!(choose("p/2", None).unwrap(), "p/2");
    assert_eq!(choose("p/2", Some("0.1.0")).unwrap(), "p/2");
    let problem = choose("p", Some("3")).unwrap_err().remove(0).to_string();
    assert_eq!(problem, "p: does not hold version 3 (it holds 0.1.0, 0.2.0)");
    let problem = choose("p/2", Some("0.2.0")).unwrap_err().remove(0).to_string();
    assert_eq!(problem, "p/2: does not hold version 0.2.0 (it holds 0.1.0)");
    assert!(choose("p/11", None).unwrap_err()[0].message.contains("neither"));
    assert!(choose("q", None).is_err());
}

#[test]
fn metadata_with_nulls_and_release_version_is_read() {
    let metadata = json!({
        "packagingVersion": "3.0", "name": "hello", "version": "1", "maintainer": "m", "description": "d", "tags": [],
        "releaseVersion": 5, "selected": null, "scm": null, "marathon": null, "command": null,
        "licenses": [{"name": "x", "url": "LICENSE"}],
        "config": {"properties": {"a": {"default": null}}},
        "resource": {"assets": null, "images": {"icon-small": "s", "screenshots": null}, "cli": null}
    });
    let package = PackageDefinition::from_metadata(&metadata, Some(9)).unwrap();
    assert_eq!(package.release_version, Some(9));
    assert_eq!(package.resource, Some(json!({"images": {"icon-small": "s"}})));
    assert_eq!(package.config, Some(metadata["config"].clone()), "nulls of a schema mean something");
    assert!(package.fields.keys().all(|key| !["releaseVersion", "selected", "scm"].contains(&key.as_str())));
}

#[test]
fn faults_of_metadata_come_at_once() {
    let metadata = json!({
        "packagingVersion": "4.0", "name": "hello", "version": "1", "maintainer": "m", "tags": [],
        "marathon": {"v2AppMustacheTemplate": "e30"}, "resource": {"x": 1}, "config": [], "command": {"pip": []}
    });
    let error = PackageDefinition::from_metadata(&metadata, None).unwrap_err();
    let text = error.to_string();
    for part in [
        "marathon.v2AppMustacheTemplate: is no base64",
        "config: is an array but must be an object",
        "description: is missing",
        "resource.x: unknown key",
        "command: is not allowed since packaging version 4.0",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert!(PackageDefinition::from_metadata(&json!([]), None).is_err());
}

#[test]
fn entries_are_made_for_each_format() {
    let text = with("\"selected\": true", "\"upgradesFrom\": [\"*\"], \"downgradesTo\": []");
    let config = br#"{"description": "\"root\"", "properties": {
        "a": {"type": "string", "default": "x\"y", "description": "say \"a\""},
        "b": {"type": "object", "properties": {"c": {"type": "string", "default": "x\"y"}}},
        "d": {"type": "integer", "default": 5, "description": "plain"}}}"#;
    let package = read(&text, &[("config.json", config)]).unwrap();
    let entry = package.repo_entry(RepoFormat::V4).unwrap();
    assert_eq!(entry["releaseVersion"], 3);
    assert_eq!(entry["upgradesFrom"], json!(["*"]));
    assert_eq!(package.repo_entry(RepoFormat::V5).as_ref(), Some(&entry));

    let old = package.repo_entry(RepoFormat::V3).unwrap();
    assert_eq!(old["packagingVersion"], "3.0");
    assert!(old.get("upgradesFrom").is_none() && old.get("downgradesTo").is_none());
    let properties = &old["config"]["properties"];
    assert_eq!(properties["a"]["default"], "x\\\"y");
    assert_eq!(properties["a"]["description"], "say \\\"a\\\"");
    assert_eq!(properties["b"]["properties"]["c"]["default"], "x\\\"y");
    assert_eq!(properties["d"]["default"], 5);
    assert_eq!(entry["config"]["properties"]["a"]["default"], "x\"y", "newer formats are left alone");

    let newest = read(&with("4.0", "5.0"), &[]).unwrap();
    assert_eq!(newest.repo_entry(RepoFormat::V4), None);
    assert!(newest.repo_entry(RepoFormat::V5).is_some());
    let unpublished = PackageDefinition { release_version: None, ..newest };
    assert_eq!(unpublished.repo_entry(RepoFormat::V5), None);
}
