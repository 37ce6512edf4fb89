//! Reading a package directory of a snapshot: `package.json`, `resource.json`, `config.json`, `command.json` and
//! `marathon.json.mustache`.
//!
//! Other files in the directory are accepted, as the Universe has some. Two equal keys in one object are accepted
//! and the last counts, as it did for Cosmos; 13 files of the Universe have such.

use serde_json::{Map, Value};

use super::check::{Fault, kind};
use super::lines::Lines;
use super::rules::{Document, check};
use super::{PackageDefinition, PackagingVersion, non_empty};
use crate::model::{PackageName, PackageVersion, Problem, Snapshot, SnapshotPath};

const PACKAGE: &str = "package.json";
const RESOURCE: &str = "resource.json";
const CONFIG: &str = "config.json";
const COMMAND: &str = "command.json";
const TEMPLATE: &str = "marathon.json.mustache";

/// Reads and checks a package directory. The directory's own name, where it is a whole number, is the release
/// version.
///
/// # Errors
/// All faults of all files, in the order of files and lines.
pub fn read_directory(snapshot: &Snapshot, dir: &SnapshotPath) -> Result<PackageDefinition, Vec<Problem>> {
    let mut reader = Reader { snapshot, dir, problems: Vec::new() };
    let parts = reader.parts();
    let Reader { mut problems, .. } = reader;
    match parts {
        Some(definition) if problems.is_empty() => Ok(definition),
        _ => {
            problems.sort();
            Err(problems)
        }
    }
}

/// The `version` that a package directory states, without checking anything else.
pub(super) fn stated_version(snapshot: &Snapshot, dir: &SnapshotPath) -> Option<PackageVersion> {
    let bytes = snapshot.files.get(&dir.join(PACKAGE)?)?.bytes()?;
    let package: Value = serde_json::from_slice(bytes).ok()?;
    PackageVersion::new(package.get("version")?.as_str()?).ok()
}

/// Whether the folder is a package directory.
pub(super) fn is_package_directory(snapshot: &Snapshot, dir: &SnapshotPath) -> bool {
    dir.join(PACKAGE).is_some_and(|path| snapshot.files.contains_key(&path))
}

/// The release version that a directory's name states.
pub(super) fn release_version(dir: &SnapshotPath) -> Option<u64> {
    let name = dir.file_name();
    if name.bytes().all(|b| b.is_ascii_digit()) { name.parse().ok() } else { None }
}

struct Reader<'a> {
    snapshot: &'a Snapshot,
    dir: &'a SnapshotPath,
    problems: Vec<Problem>,
}

/// A JSON object and the text it came from.
struct JsonFile {
    path: SnapshotPath,
    text: String,
    map: Map<String, Value>,
}

impl Reader<'_> {
    /// None where `package.json` cannot be used at all.
    fn parts(&mut self) -> Option<PackageDefinition> {
        let Some(package) = self.json(PACKAGE) else {
            if self.problems.is_empty() {
                let problem = Problem::of_file(self.dir, "is no package directory: package.json is missing");
                self.problems.push(problem);
            }
            // The other files are read all the same, so that their syntax errors show in the same report.
            for name in [RESOURCE, CONFIG, COMMAND] {
                self.json(name);
            }
            return None;
        };
        let stated = package.map.get("packagingVersion").and_then(Value::as_str);
        let known = stated.and_then(PackagingVersion::parse);
        let version = known.unwrap_or(PackagingVersion::V5);
        self.faults(&package, check(Document::Package, &package.map, version, true));
        let resource = self.checked(RESOURCE, Document::Resource, version);
        let command = self.checked(COMMAND, Document::Command, version);
        let config = self.config();
        let template = self.template();
        self.combination(version, template.is_some());
        let name = package.map.get("name")?.as_str()?;
        let package_version = package.map.get("version")?.as_str()?;
        Some(PackageDefinition {
            packaging_version: known?,
            name: PackageName::new(name).ok()?,
            version: PackageVersion::new(package_version).ok()?,
            release_version: release_version(self.dir),
            fields: fields(package.map),
            resource,
            config,
            template,
            command,
        })
    }

    fn checked(&mut self, name: &str, document: Document, version: PackagingVersion) -> Option<Value> {
        let file = self.json(name)?;
        self.faults(&file, check(document, &file.map, version, true));
        non_empty(Value::Object(file.map))
    }

    /// `config.json` must be a draft-04 schema; what it demands of options is not looked at here.
    fn config(&mut self) -> Option<Value> {
        let file = self.json(CONFIG)?;
        let value = Value::Object(file.map.clone());
        let faults = config_faults(&value);
        self.faults(&file, faults);
        non_empty(value)
    }

    fn template(&mut self) -> Option<String> {
        let path = self.dir.join(TEMPLATE)?;
        let bytes = self.bytes(&path)?;
        match String::from_utf8(bytes) {
            Ok(text) if text.trim().is_empty() => {
                self.problems
                    .push(Problem::of_file(&path, "is empty").suggest("write an app, or remove the file"));
                None
            }
            Ok(text) => Some(text),
            Err(error) => {
                let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
                let line = String::from_utf8_lossy(good).matches('\n').count() + 1;
                self.problems.push(Problem::of_file(&path, "is not UTF-8 text").at_line(line));
                None
            }
        }
    }

    /// Which files a packaging version demands and forbids.
    fn combination(&mut self, version: PackagingVersion, template: bool) {
        let has = |name| self.dir.join(name).is_some_and(|path| self.snapshot.files.contains_key(&path));
        let mut found = Vec::new();
        if version == PackagingVersion::V2 && !template && !has(TEMPLATE) {
            found.push((TEMPLATE, "is missing: packaging version 2.0 demands it", ""));
        }
        if has("marathon.json") && !has(TEMPLATE) {
            found.push((
                "marathon.json",
                "belongs to packaging format 1.x",
                "rename it to marathon.json.mustache",
            ));
        }
        if version >= PackagingVersion::V4 && has(COMMAND) {
            let advice = "remove it; a CLI is a binary in resource.json since packaging version 3.0";
            found.push((COMMAND, "is not allowed since packaging version 4.0", advice));
        }
        for (name, message, suggestion) in found {
            if let Some(path) = self.dir.join(name) {
                self.problems.push(Problem::of_file(&path, message).suggest(suggestion));
            }
        }
    }

    fn bytes(&mut self, path: &SnapshotPath) -> Option<Vec<u8>> {
        let file = self.snapshot.files.get(path)?;
        if let Some(bytes) = file.bytes() {
            return Some(bytes.to_vec());
        }
        let message =
            format!("is too large for a package document ({} bytes; the limit is 1 MiB)", file.size);
        self.problems.push(Problem::of_file(path, message));
        None
    }

    fn json(&mut self, name: &str) -> Option<JsonFile> {
        let path = self.dir.join(name)?;
        let bytes = self.bytes(&path)?;
        let problem = match serde_json::from_slice(&bytes) {
            Ok(Value::Object(map)) => {
                // serde_json accepts UTF-8 only, so nothing is replaced here.
                let text = String::from_utf8_lossy(&bytes).into_owned();
                return Some(JsonFile { path, text, map });
            }
            Ok(other) => Problem::of_file(&path, format!("is {} but must be an object", kind(&other))),
            Err(error) => {
                let line = error.line();
                let problem = Problem::of_file(&path, format!("is not JSON: {error}"));
                if line > 0 { problem.at_line(line) } else { problem }
            }
        };
        self.problems.push(problem);
        None
    }

    fn faults(&mut self, file: &JsonFile, faults: Vec<Fault>) {
        if faults.is_empty() {
            return;
        }
        let lines = Lines::of(&file.text);
        for fault in faults {
            let line = lines.line(&fault.path);
            let problem =
                Problem::of_file(&file.path, fault.message).at_path(fault.path).suggest(fault.suggestion);
            self.problems.push(match line {
                Some(line) => problem.at_line(line),
                None => problem,
            });
        }
    }
}

/// The fields that a definition keeps.
pub(super) fn fields(mut package: Map<String, Value>) -> Map<String, Value> {
    package.remove("selected");
    package.remove("releaseVersion");
    package
}

/// What keeps a `config` from being a draft-04 schema; what it demands of options is not looked at.
#[must_use]
pub fn config_faults(config: &Value) -> Vec<Fault> {
    jsonschema::draft4::meta::validator()
        .iter_errors(config)
        .take(20)
        .map(|error| schema_fault(&error))
        .collect()
}

fn schema_fault(error: &jsonschema::ValidationError<'_>) -> Fault {
    let pointer = error.instance_path().as_str();
    let mut path = String::new();
    for segment in pointer.split('/').skip(1) {
        let segment = segment.replace("~1", "/").replace("~0", "~");
        if segment.bytes().all(|b| b.is_ascii_digit()) && !segment.is_empty() {
            path = format!("{path}[{segment}]");
        } else {
            if !path.is_empty() {
                path.push('.');
            }
            path.push_str(&segment);
        }
    }
    let message: String = error.to_string().chars().take(300).collect();
    let advice = if pointer.ends_with("/required") {
        "draft 4 lists the required names in the object around them: \"required\": [\"name\"]"
    } else {
        "config.json must be a JSON Schema of draft 4"
    };
    Fault::new(&path, message, advice)
}
