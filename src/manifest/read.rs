//! From a document's tree to a unit: the parts that all kinds share.

use std::str::FromStr;

use super::document::{Place, Spec, UnitDocument};
use super::fields::{Faults, Fields, Located};
use super::lines::Lines;
use super::tree::{self, Document};
use super::{app, files, package, spelling};
use crate::model::{Problem, SnapshotFile, SnapshotPath, SourceName, UnitId, UnitKind, UnitName};

const API_VERSION: &str = "dcos-registry/v1";
/// With so many problems nothing more is read: a flood of faulty documents must not fill the memory.
const ENOUGH_PROBLEMS: usize = 1_000;
const KINDS: [&str; 3] = ["Package", "Service", "App"];

/// What the files of a snapshot hold, faults included.
#[derive(Default)]
pub struct Gathered {
    /// Every document whose key could be read.
    pub drafts: Vec<Draft>,
    /// What is wrong so far.
    pub problems: Vec<Problem>,
    /// Whether documents may exist whose key could not be read.
    pub some_unread: bool,
}

/// A document whose key is known.
pub struct Draft {
    /// Its key.
    pub id: UnitId,
    /// Where it stands.
    pub place: Place,
    /// The unit; none where its spec has a fault.
    pub unit: Option<UnitDocument>,
    /// What it refers to.
    pub references: Vec<Reference>,
}

/// A unit named by another.
pub struct Reference {
    /// Which unit is named.
    pub unit: UnitId,
    /// Where: `spec.package` or `spec.dependsOn[0]`.
    pub path: String,
    /// On which line.
    pub line: usize,
}

impl Gathered {
    /// Reads one file.
    pub fn read_file(&mut self, source: &SourceName, path: &SnapshotPath, file: &SnapshotFile) {
        if self.problems.len() >= ENOUGH_PROBLEMS {
            self.some_unread = true;
            return;
        }
        let text = match files::text(path, file) {
            Ok(text) => text,
            Err(problem) => {
                self.some_unread = true;
                return self.problems.push(problem);
            }
        };
        let loaded = tree::load(path, text);
        self.some_unread |= loaded.cut_short;
        self.problems.extend(loaded.problems);
        for document in &loaded.documents {
            if self.problems.len() >= ENOUGH_PROBLEMS {
                self.some_unread = true;
                return;
            }
            let mut faults = Faults { file: path, problems: Vec::new() };
            match read_document(source, document, &mut faults) {
                Some(draft) => self.drafts.push(draft),
                None => self.some_unread = true,
            }
            self.problems.extend(faults.problems);
        }
    }
}

fn read_document(source: &SourceName, document: &Document, faults: &mut Faults<'_>) -> Option<Draft> {
    let root = Located::root(&document.root);
    if document.root.get("apiVersion").is_none() && document.root.get("kind").is_none() {
        let suggestion = format!(
            "write apiVersion: {API_VERSION}, kind, metadata and spec; a file of a package needs a package.json beside it"
        );
        root.fault(faults, "not a manifest document: apiVersion and kind are missing", suggestion);
        return None;
    }
    let root = root.fields(&["apiVersion", "kind", "metadata", "spec"], faults)?;
    read_api_version(&root, faults);
    let kind = read_kind(&root, faults);
    let name = read_name(&root, faults);
    let spec = root.required("spec", "and what is desired below it", faults);
    let id = UnitId { source: source.clone(), kind: kind?, name: name? };
    let place = Place { file: faults.file.clone(), line: document.root.line, document: document.index };
    let mut references = Vec::new();
    let found = spec.and_then(|spec| read_spec(&id, spec, &mut references, faults));
    let mut depends_on: Vec<UnitId> = references.iter().map(|reference| reference.unit.clone()).collect();
    depends_on.sort();
    depends_on.dedup();
    let unit = found.map(|spec| UnitDocument {
        id: id.clone(),
        place: place.clone(),
        spec,
        depends_on,
        lines: Lines::of(&document.root),
    });
    Some(Draft { id, place, unit, references })
}

fn read_spec(
    id: &UnitId,
    spec: Located<'_>,
    references: &mut Vec<Reference>,
    faults: &mut Faults<'_>,
) -> Option<Spec> {
    match id.kind {
        UnitKind::Package => package::read(id, spec, references, faults).map(Spec::Package),
        UnitKind::Service => app::read_service(id, spec, references, faults).map(Spec::Service),
        UnitKind::App => app::read_app(id, spec, references, faults).map(Spec::App),
    }
}

fn read_api_version(root: &Fields<'_>, faults: &mut Faults<'_>) {
    if let Some(version) = root.required("apiVersion", API_VERSION, faults)
        && let Some(text) = version.text(faults)
        && text != API_VERSION
    {
        let shown: String = text.chars().take(40).collect();
        version.fault(faults, format!("{shown:?} is not known"), format!("write {API_VERSION}"));
    }
}

fn read_kind(root: &Fields<'_>, faults: &mut Faults<'_>) -> Option<UnitKind> {
    let kind = root.required("kind", "Package, Service or App", faults)?;
    let text = kind.text(faults)?;
    let found = kind_of(text);
    if text == "Rename" {
        kind.fault(faults, "Rename is not supported yet", "remove the document");
    } else if found.is_none() {
        let shown: String = text.chars().take(40).collect();
        kind.fault(faults, format!("unknown kind {shown:?}"), spelling::suggest(text, &KINDS));
    }
    found
}

fn kind_of(text: &str) -> Option<UnitKind> {
    UnitKind::ALL.into_iter().find(|kind| kind.as_str() == text)
}

fn read_name(root: &Fields<'_>, faults: &mut Faults<'_>) -> Option<UnitName> {
    let metadata = root.required("metadata", "{name: hello}", faults)?.fields(&["name"], faults)?;
    metadata.required("name", "hello", faults)?.name(faults)
}

/// Reads `spec.dependsOn`: a list of `Kind/name`.
pub fn read_depends_on(
    id: &UnitId,
    spec: &Fields<'_>,
    references: &mut Vec<Reference>,
    faults: &mut Faults<'_>,
) {
    let Some(list) = spec.optional("dependsOn") else { return };
    for item in list.items(faults) {
        let Some(text) = item.text(faults) else { continue };
        let parts = text
            .split_once('/')
            .and_then(|(kind, name)| Some((kind_of(kind)?, UnitName::from_str(name).ok()?)));
        if let Some((kind, name)) = parts {
            let unit = UnitId { source: id.source.clone(), kind, name };
            references.push(Reference { unit, path: item.path, line: item.line });
        } else {
            let shown: String = text.chars().take(80).collect();
            let suggestion = "write Kind/name, such as Service/database; kinds: Package, Service, App";
            item.fault(faults, format!("{shown:?} names no unit"), suggestion);
        }
    }
}
