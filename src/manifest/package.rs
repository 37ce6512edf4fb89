//! `kind: Package`.

use super::document::PackageSpec;
use super::fields::{Faults, Fields, Located};
use super::read::{Reference, read_depends_on};
use super::tree::Data;
use crate::model::{Digest, PackageName, PackageVersion, SnapshotPath, UnitId};

const KEYS: [&str; 7] = ["name", "version", "source", "digest", "keep", "state", "dependsOn"];

/// Reads the spec of a Package.
pub fn read(
    id: &UnitId,
    spec: Located<'_>,
    references: &mut Vec<Reference>,
    faults: &mut Faults<'_>,
) -> Option<PackageSpec> {
    let spec = spec.fields(&KEYS, faults)?;
    let before = faults.problems.len();
    read_depends_on(id, &spec, references, faults);
    let name = read_name(id, &spec, faults);
    let version = read_version(&spec, faults);
    let directory = read_source(&spec, faults);
    let digest = spec.optional("digest").and_then(|digest| read_digest(&digest, faults));
    read_keep(&spec, faults);
    if let Some(state) = spec.optional("state")
        && let Some(false) = state.word(&[("present", true), ("absent", false)], faults)
    {
        state.fault(
            faults,
            "absent is not supported yet for packages",
            "write present, or remove the document",
        );
    }
    if faults.problems.len() > before {
        return None;
    }
    Some(PackageSpec { name: name?, version: version?, directory: directory?, digest })
}

fn read_name(id: &UnitId, spec: &Fields<'_>, faults: &mut Faults<'_>) -> Option<PackageName> {
    if let Some(name) = spec.optional("name") {
        return name.name(faults);
    }
    let name = PackageName::new(id.name.as_str());
    if let Err(invalid) = &name {
        let message = format!("the unit's name {} is not a valid package name", id.name);
        spec.at.fault(faults, message, format!("write spec.name; {}", invalid.rule));
    }
    name.ok()
}

fn read_version(spec: &Fields<'_>, faults: &mut Faults<'_>) -> Option<PackageVersion> {
    let version = spec.required("version", "0.1.0", faults)?;
    if let Data::Text(text) = &version.node.data
        && text.contains(['<', '>', '=', '^', '~', '*', '|', ','])
    {
        let message = "version ranges are not supported yet for this source";
        version.fault(faults, message, "write one exact version, such as 0.1.0");
        return None;
    }
    version.name(faults)
}

/// Reads `spec.source`, and returns the directory that it names.
fn read_source(spec: &Fields<'_>, faults: &mut Faults<'_>) -> Option<SnapshotPath> {
    const KINDS: [&str; 3] = ["directory", "bundle", "universe"];
    let source = spec.required("source", "{directory: ./packages/hello}", faults)?;
    let source = source.fields(&KINDS, faults)?;
    let given: Vec<&str> = KINDS.into_iter().filter(|kind| source.optional(kind).is_some()).collect();
    match given[..] {
        ["directory"] => {}
        [other] => {
            let message = format!("{other} is not supported yet");
            source.optional(other)?.fault(faults, message, "write directory: and a package directory");
            return None;
        }
        [] => {
            source.at.fault(faults, "names no source", "write directory: ./packages/hello");
            return None;
        }
        _ => {
            let message = format!("{} are given", given.join(" and "));
            source.at.fault(faults, message, "write exactly one source");
            return None;
        }
    }
    let directory = source.optional("directory")?;
    let text = directory.text(faults)?;
    let path = faults.file.parent().join(text);
    if text.starts_with('/') {
        let suggestion = "write a path relative to this file, such as ./packages/hello";
        directory.fault(faults, "the path is absolute", suggestion);
    } else if path.is_none() {
        let suggestion = "write a path relative to this file that stays inside the source";
        directory.fault(faults, format!("{text} leaves the source's root folder"), suggestion);
    }
    path
}

fn read_digest(digest: &Located<'_>, faults: &mut Faults<'_>) -> Option<Digest> {
    let parsed = digest.text(faults)?.parse();
    if parsed.is_err() {
        digest.fault(faults, "not a digest", "write sha256: and 64 lower-case hex digits");
    }
    parsed.ok()
}

fn read_keep(spec: &Fields<'_>, faults: &mut Faults<'_>) {
    let Some(keep) = spec.optional("keep") else { return };
    if let Data::Map(_) = keep.node.data {
        let Some(fields) = keep.clone().fields(&["last"], faults) else { return };
        if fields.optional("last").is_some() {
            keep.fault(faults, "removing older versions is not supported yet", "write keep: all");
        }
    } else {
        keep.word(&[("all", ())], faults);
    }
}
