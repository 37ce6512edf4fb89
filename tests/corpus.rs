//! The whole public Universe as a test: every package is read, kept and rendered.
//!
//! The archives lie outside the repository (`../shared/corpus`, see its README). `rendered-with-defaults.jsonl` in
//! them was made by the engine that Cosmos uses. Without the archives the tests say so and pass.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, in its helpers too")]

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::sync::OnceLock;

use dcos_registry::marathon::labels::decoded;
use dcos_registry::model::{
    Completeness, PackageVersion, Revision, Snapshot, SnapshotFile, SnapshotPath, SourceName,
};
use dcos_registry::render::{RenderError, RenderRequest, defaults, render, render_template, validate};
use dcos_registry::universe::{
    PackageDefinition, PackagingVersion, RepoFormat, ascii_json, read_directory, select_version,
};
use serde_json::{Map, Value, json};

const SHARED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared");

struct Corpus {
    snapshot: Snapshot,
    directories: Vec<SnapshotPath>,
    /// Expected results by `<name>/<releaseVersion>`.
    expected: BTreeMap<String, Value>,
}

/// The unpacked archive, once per process; none where it is absent.
fn corpus() -> Option<&'static Corpus> {
    static CORPUS: OnceLock<Option<Corpus>> = OnceLock::new();
    CORPUS.get_or_init(|| unpack("universe-3.x")).as_ref()
}

fn unpack(name: &str) -> Option<Corpus> {
    let Ok(file) = File::open(format!("{SHARED}/corpus/{name}.tar.xz")) else {
        println!("skipped: {SHARED}/corpus/{name}.tar.xz is absent");
        return None;
    };
    let mut archive = tar::Archive::new(lzma_rust2::XzReader::new(file, true));
    let mut files = BTreeMap::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        if entry.header().entry_type().is_file() {
            let path = SnapshotPath::root().join(entry.path().unwrap().to_str().unwrap()).unwrap();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            files.insert(path, SnapshotFile::inline(&bytes));
        }
    }
    let lines = SnapshotPath::root().join("rendered-with-defaults.jsonl").unwrap();
    let lines = files.remove(&lines).map_or_else(Vec::new, |file| file.bytes().unwrap().to_vec());
    let lines = String::from_utf8(lines).unwrap();
    let expected = lines
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .map(|line| (line["id"].as_str().unwrap().to_owned(), line))
        .collect();
    let directories =
        files.keys().filter(|path| path.file_name() == "package.json").map(SnapshotPath::parent).collect();
    let snapshot = Snapshot {
        source: SourceName::new("corpus").unwrap(),
        revision: Revision("corpus".into()),
        completeness: Completeness::Complete,
        manifests: SnapshotPath::root(),
        files,
    };
    Some(Corpus { snapshot, directories, expected })
}

/// All packages of the 3.x archive by `<name>/<releaseVersion>`, read once.
fn packages(corpus: &Corpus) -> &'static BTreeMap<String, PackageDefinition> {
    static PACKAGES: OnceLock<BTreeMap<String, PackageDefinition>> = OnceLock::new();
    PACKAGES.get_or_init(|| read(corpus))
}

fn read(corpus: &Corpus) -> BTreeMap<String, PackageDefinition> {
    let read = corpus.directories.iter().map(|dir| match read_directory(&corpus.snapshot, dir) {
        Ok(package) => (format!("{}/{}", package.name, package.release_version.unwrap()), package),
        Err(problems) => panic!("{problems:#?}"),
    });
    read.collect()
}

#[test]
fn every_package_is_read_and_kept() {
    let Some(corpus) = corpus() else { return };
    let packages = packages(corpus);
    assert_eq!(packages.len(), 652);
    let mut by_version: BTreeMap<_, usize> = BTreeMap::new();
    let mut bytes = 0;
    for (id, package) in packages {
        *by_version.entry(package.packaging_version.as_str()).or_default() += 1;
        let metadata = package.metadata();
        assert!(metadata.get("releaseVersion").is_none() && metadata.get("selected").is_none(), "{id}");
        let again = PackageDefinition::from_metadata(&metadata, package.release_version);
        assert_eq!(again.as_ref(), Ok(package), "{id}");
        for format in [RepoFormat::V3, RepoFormat::V4, RepoFormat::V5] {
            let entry = package.repo_entry(format);
            let carried = package.packaging_version < PackagingVersion::V5 || format == RepoFormat::V5;
            assert_eq!(entry.is_some(), carried, "{id} {format:?}");
            let Some(entry) = entry else { continue };
            let text = ascii_json(&entry);
            assert!(text.is_ascii(), "{id}");
            bytes += text.len();
            if format == RepoFormat::V3 {
                assert!(entry.get("upgradesFrom").is_none() && entry["packagingVersion"] != "4.0", "{id}");
            }
        }
    }
    println!(
        "{} packages read: {by_version:?}; their repo entries in three formats: {bytes} bytes",
        packages.len()
    );
}

/// The public schema of one entry of a repository document.
fn entry_schema(corpus: &Corpus, packages: &[&str]) -> Value {
    let mut schema = public_schema(corpus, "vX-repo-definitions.json");
    schema["oneOf"] = packages.iter().map(|name| json!({"$ref": format!("#/{name}")})).collect();
    schema
}

fn public_schema(corpus: &Corpus, name: &str) -> Value {
    let path = SnapshotPath::root().join(&format!("repo/meta/schema/{name}")).unwrap();
    serde_json::from_slice(corpus.snapshot.files[&path].bytes().unwrap()).unwrap()
}

#[test]
fn documents_satisfy_the_public_schemas() {
    let Some(corpus) = corpus() else { return };
    let all = ["v20Package", "v30Package", "v40Package", "v50Package"];
    let formats = [(RepoFormat::V3, 2), (RepoFormat::V4, 3), (RepoFormat::V5, 4)];
    let metadata = jsonschema::draft4::new(&public_schema(corpus, "metadata-schema.json")).unwrap();
    let formats = formats.map(|(format, known)| {
        (format, jsonschema::draft4::new(&entry_schema(corpus, &all[..known])).unwrap())
    });
    let mut checked = 0;
    for (id, package) in packages(corpus) {
        for (format, schema) in &formats {
            if let Some(entry) = package.repo_entry(*format) {
                assert!(schema.is_valid(&entry), "{id} {format:?}");
                checked += 1;
            }
        }
        if package.packaging_version > PackagingVersion::V2 {
            assert!(metadata.is_valid(&package.metadata()), "{id}");
            checked += 1;
        }
    }
    println!("{checked} documents satisfy the public schemas");
}

#[test]
fn every_template_renders_as_the_real_engine_does() {
    let Some(corpus) = corpus() else { return };
    let packages = packages(corpus);
    let (mut equal, mut invalid, mut wrong) = (0, 0, Vec::new());
    let templates: Vec<_> = packages.iter().filter(|(_, package)| package.template.is_some()).collect();
    assert_eq!(templates.len(), corpus.expected.len(), "one expectation for each template");
    for (id, package) in templates {
        let expected = &corpus.expected[id];
        match (render_template(package, &Map::new(), false), expected.get("json")) {
            (Ok(app), Some(json)) if app == *json => equal += 1,
            (Err(RenderError::NotJson(error)), None) => {
                invalid += 1;
                println!("{id}: {error}");
                let text = expected["invalid"].as_str().unwrap();
                let solid = |text: &str| text.split_whitespace().collect::<String>();
                assert!(
                    solid(text).contains(&solid(&error.excerpt)),
                    "{id}: not the real engine's text: {text}"
                );
            }
            (other, _) => wrong.push(format!("{id}: {other:?}")),
        }
    }
    println!(
        "{equal} templates render the expected app, {invalid} render no JSON, {} are wrong",
        wrong.len()
    );
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!((equal, invalid), (605, 10));
}

#[test]
fn schemas_are_usable_and_some_demand_options() {
    let Some(corpus) = corpus() else { return };
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    let (mut schemas, mut failing) = (0, 0);
    for (id, package) in packages(corpus) {
        let Some(config) = &package.config else { continue };
        schemas += 1;
        let options = defaults(Some(config));
        if options.is_empty() {
            continue;
        }
        let violations = validate(config, &options);
        failing += usize::from(!violations.is_empty());
        for violation in violations {
            assert_ne!(violation.keyword, "schema", "{id}: {violation}");
            *kinds.entry(violation.keyword).or_default() += 1;
        }
    }
    println!("{schemas} schemas; the defaults of {failing} do not satisfy them: {kinds:?}");
    // Counted once with another draft-04 validator, too: the same 60 packages, the same kinds.
    assert_eq!((schemas, failing), (615, 60));
}

#[test]
fn labels_tell_the_package_and_the_options() {
    let Some(corpus) = corpus() else { return };
    for (id, package) in packages(corpus).iter().filter(|(_, package)| package.template.is_some()).step_by(10)
    {
        let options = Map::new();
        let request = RenderRequest {
            definition: package,
            release_version: package.release_version.unwrap(),
            options: &options,
            app_id: None,
            repository: "https://dcos-registry.marathon.l4lb.thisdcos.directory/repo",
            validate: false,
        };
        let Ok(app) = render(&request) else { continue };
        assert_eq!(app.label("DCOS_PACKAGE_NAME"), Some(package.name.as_str()), "{id}");
        assert_eq!(
            decoded("DCOS_PACKAGE_OPTIONS", app.label("DCOS_PACKAGE_OPTIONS").unwrap()),
            Some(Value::Object(Map::new()))
        );
        let label = app.label("DCOS_PACKAGE_DEFINITION").unwrap();
        let definition = decoded("DCOS_PACKAGE_DEFINITION", label).unwrap()["data"].clone();
        assert_eq!(definition["releaseVersion"].as_u64(), package.release_version, "{id}");
        let again = PackageDefinition::from_metadata(&definition, package.release_version);
        assert_eq!(again.as_ref(), Ok(package), "{id}");
    }
}

#[test]
fn the_universe_of_2016_is_read() {
    let Some(corpus) = unpack("universe-2.x") else { return };
    let packages = read(&corpus);
    println!("{} packages of the 2.x branch read", packages.len());
    assert_eq!(packages.len(), 82);
}

#[test]
fn versions_are_found_in_their_folders() {
    let Some(corpus) = corpus() else { return };
    let folder = SnapshotPath::root().join("repo/packages/M/marathon").unwrap();
    let newest = select_version(&corpus.snapshot, &folder, None).unwrap();
    let highest = corpus.directories.iter().filter_map(|dir| dir.below(&folder)?.parse::<u64>().ok()).max();
    assert_eq!(newest.file_name().parse().ok(), highest);
    for dir in corpus.directories.iter().filter(|dir| dir.below(&folder).is_some()) {
        let package = read_directory(&corpus.snapshot, dir).unwrap();
        let chosen = select_version(&corpus.snapshot, &folder, Some(&package.version)).unwrap();
        let chosen = read_directory(&corpus.snapshot, &chosen).unwrap();
        assert_eq!(chosen.version, package.version);
        assert!(chosen.release_version >= package.release_version);
    }
    let absent = PackageVersion::new("0.0.0-none").unwrap();
    let problems = select_version(&corpus.snapshot, &folder, Some(&absent)).unwrap_err();
    assert!(problems[0].suggestion.starts_with("it holds "), "{}", problems[0]);
}
