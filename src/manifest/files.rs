//! Which files of a snapshot are manifests, and what else they refer to.

use std::collections::{BTreeMap, BTreeSet};

use super::tree;
use crate::model::{Problem, SnapshotFile, SnapshotPath};

/// The largest file that is read as a manifest, in bytes.
const LARGEST: u64 = 1 << 20;

type Files = BTreeMap<SnapshotPath, SnapshotFile>;

/// The manifest files: `*.yaml`, `*.yml` and `*.json` below a folder, but not in package directories
/// (folders that hold a `package.json`) and below them.
///
/// # Errors
/// When the folder itself is a package directory, because it would then silently hold no manifest.
pub fn documents<'a>(
    files: &'a Files,
    manifests: &'a SnapshotPath,
) -> Result<impl Iterator<Item = (&'a SnapshotPath, &'a SnapshotFile)>, Problem> {
    let packages: BTreeSet<SnapshotPath> =
        files.keys().filter(|path| path.file_name() == "package.json").map(SnapshotPath::parent).collect();
    if let Some(around) = ancestors(manifests).find(|folder| packages.contains(folder)) {
        let message = "this folder is a package directory, so no manifest is read from it";
        return Err(Problem::of_file(&around, message)
            .suggest("move package.json and its files into a folder of their own"));
    }
    let in_package = move |path: &SnapshotPath| {
        ancestors(&path.parent())
            .take_while(|folder| folder != manifests)
            .any(|folder| packages.contains(&folder))
    };
    Ok(files
        .iter()
        .filter(|(path, _)| path.below(manifests).is_some() && is_document(path))
        .filter(move |(path, _)| !in_package(path)))
}

/// A folder and all folders around it, up to the root.
fn ancestors(folder: &SnapshotPath) -> impl Iterator<Item = SnapshotPath> {
    let up = |folder: &SnapshotPath| (*folder != SnapshotPath::root()).then(|| folder.parent());
    std::iter::successors(Some(folder.clone()), up)
}

fn is_document(path: &SnapshotPath) -> bool {
    let extension = path.file_name().rsplit_once('.').map(|(_, extension)| extension);
    matches!(extension, Some("yaml" | "yml" | "json"))
}

/// The text of a manifest file.
///
/// # Errors
/// A problem where it is too large or no UTF-8.
pub fn text<'a>(path: &SnapshotPath, file: &'a SnapshotFile) -> Result<&'a str, Problem> {
    let too_large = || {
        let message = format!("a manifest of {} bytes; at most {LARGEST} are read", file.size);
        Problem::of_file(path, message).suggest("split it into several files")
    };
    let bytes = file.bytes().filter(|_| file.size <= LARGEST).ok_or_else(too_large)?;
    std::str::from_utf8(bytes).map_err(|error| {
        let before = bytes.get(..error.valid_up_to()).unwrap_or_default();
        let line = 1 + before.split(|byte| *byte == b'\n').count().saturating_sub(1);
        Problem::of_file(path, "the text is not UTF-8").at_line(line).suggest("save the file as UTF-8")
    })
}

/// What the manifests refer to in the source: the directories of `spec.source.directory`. Lenient, for a
/// source that must know what to load before anything can be checked: whatever is wrong is left to
/// [`parse`](super::parse).
#[must_use]
pub fn referenced_paths(files: &Files, manifests: &SnapshotPath) -> BTreeSet<SnapshotPath> {
    let mut paths = BTreeSet::new();
    let Ok(documents) = documents(files, manifests) else { return paths };
    for (path, file) in documents {
        let Ok(text) = text(path, file) else { continue };
        for document in tree::load(path, text).documents {
            let directory = document.root.get("spec").and_then(|spec| spec.get("source"));
            let directory = directory.and_then(|source| source.get("directory")).and_then(tree::Node::text);
            paths.extend(directory.and_then(|directory| path.parent().join(directory)));
        }
    }
    paths
}
