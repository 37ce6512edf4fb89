//! What only all units together can show: names given twice, references to nothing, cycles.

use std::collections::{BTreeMap, BTreeSet};

use super::document::{Place, Spec};
use super::graph::dependencies_first;
use super::read::{Draft, Gathered, Reference};
use super::spelling;
use crate::model::nearest;
use crate::model::{Problem, Snapshot, SnapshotPath, UnitId, UnitKind};

/// Adds the problems of the units as a whole. What claims something that another unit has, or names a folder
/// that is not there, is no unit any more, so that later stages do not report the same again.
pub fn check(gathered: &mut Gathered, snapshot: &Snapshot) {
    let mut checks = Checks { drafts: &gathered.drafts, problems: Vec::new(), faulty: BTreeSet::new() };
    checks.unique("unit", |draft| Some((draft.id.to_string(), "metadata.name")));
    checks.unique("app id", |draft| match &draft.unit.as_ref()?.spec {
        Spec::Package(_) => None,
        Spec::Service(service) => Some((service.app_id.as_ref()?.to_string(), "spec.appId")),
        Spec::App(app) => Some((app.app_id.to_string(), "spec.app.id")),
    });
    checks.unique("package version", |draft| match &draft.unit.as_ref()?.spec {
        Spec::Package(package) => Some((format!("{} {}", package.name, package.version), "spec.version")),
        _ => None,
    });
    checks.directories(snapshot);
    let Checks { mut problems, faulty, .. } = checks;
    check_references(gathered, &mut problems);
    check_cycles(&gathered.drafts, &mut problems);
    for index in faulty {
        gathered.drafts[index].unit = None;
    }
    gathered.problems.extend(problems);
}

/// Checks whose faults belong to single units.
struct Checks<'a> {
    drafts: &'a [Draft],
    problems: Vec<Problem>,
    /// Indexes of the drafts that may not become units.
    faulty: BTreeSet<usize>,
}

impl<'a> Checks<'a> {
    /// Each key belongs to one document; the others are told where the first one stands.
    fn unique(&mut self, what: &str, key_of: impl Fn(&'a Draft) -> Option<(String, &'static str)>) {
        let mut by_place: Vec<(usize, &Draft)> = self.drafts.iter().enumerate().collect();
        by_place.sort_by(|a, b| a.1.place.cmp(&b.1.place));
        let mut first: BTreeMap<String, &Place> = BTreeMap::new();
        for (index, draft) in by_place {
            let Some((key, path)) = key_of(draft) else { continue };
            if let Some(place) = first.get(&key) {
                let message = format!("the {what} {key} is given twice, first at {place}");
                let problem = Problem::of_file(&draft.place.file, message).at_line(draft.line_of(path));
                self.problems.push(problem.at_path(path).suggest("rename or remove one of them"));
                self.faulty.insert(index);
            } else {
                first.insert(key, &draft.place);
            }
        }
    }

    /// The directories that packages are built from are in the snapshot.
    fn directories(&mut self, snapshot: &Snapshot) {
        let folders = folders(snapshot);
        for (index, draft) in self.drafts.iter().enumerate() {
            let Some(unit) = &draft.unit else { continue };
            let Spec::Package(package) = &unit.spec else { continue };
            if folders.contains(&package.directory) {
                continue;
            }
            let is_file = snapshot.files.contains_key(&package.directory);
            let (message, suggestion) = if is_file {
                (
                    format!("{} is a file", package.directory),
                    "write the folder that holds package.json".into(),
                )
            } else {
                let message =
                    format!("there is no folder {} in the source, or it is empty", package.directory);
                (message, suggest_folder(&package.directory, &unit.place.file.parent(), &folders))
            };
            self.problems.push(unit.problem("spec.source.directory", message).suggest(suggestion));
            self.faulty.insert(index);
        }
    }
}

/// All folders that hold something.
fn folders(snapshot: &Snapshot) -> BTreeSet<SnapshotPath> {
    let mut folders = BTreeSet::from([SnapshotPath::root()]);
    for path in snapshot.files.keys() {
        let mut folder = path.parent();
        while folders.insert(folder.clone()) {
            folder = folder.parent();
        }
    }
    folders
}

/// A folder below the document's own that was probably meant.
fn suggest_folder(wanted: &SnapshotPath, here: &SnapshotPath, folders: &BTreeSet<SnapshotPath>) -> String {
    let known = folders.iter().filter_map(|folder| folder.below(here));
    wanted.below(here).and_then(|wanted| nearest(wanted, known)).map_or_else(
        || "write the path of a package directory, relative to this file".to_owned(),
        |near| format!("did you mean ./{near}?"),
    )
}

/// Every unit that is named exists. Where documents could not be read, the missing one may be among them.
fn check_references(gathered: &Gathered, problems: &mut Vec<Problem>) {
    if gathered.some_unread {
        return;
    }
    let known: BTreeSet<&UnitId> = gathered.drafts.iter().map(|draft| &draft.id).collect();
    for draft in &gathered.drafts {
        for reference in draft.references.iter().filter(|reference| !known.contains(&reference.unit)) {
            let (message, suggestion) = explain_unknown(reference, &known);
            let problem = Problem::of_file(&draft.place.file, message).at_line(reference.line);
            problems.push(problem.at_path(reference.path.as_str()).suggest(suggestion));
        }
    }
}

/// Message and suggestion for a reference to nothing: a Service names packages only, `dependsOn` any unit.
fn explain_unknown(reference: &Reference, known: &BTreeSet<&UnitId>) -> (String, String) {
    let name = &reference.unit.name;
    if reference.path != "spec.package" {
        let words: Vec<String> = known.iter().map(ToString::to_string).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let word = reference.unit.to_string();
        return (format!("there is no unit {word}"), spelling::suggest(&word, &words));
    }
    let packages = known.iter().filter(|unit| unit.kind == UnitKind::Package);
    let packages: Vec<&str> = packages.map(|unit| unit.name.as_str()).collect();
    let suggestion = if packages.is_empty() {
        format!("add a document of kind Package with metadata: {{name: {name}}}")
    } else {
        spelling::suggest(name.as_str(), &packages)
    };
    (format!("no Package unit is named {name}"), suggestion)
}

fn check_cycles(drafts: &[Draft], problems: &mut Vec<Problem>) {
    let by_id: BTreeMap<&UnitId, &Draft> = drafts.iter().map(|draft| (&draft.id, draft)).collect();
    let edges = by_id
        .iter()
        .map(|(id, draft)| (*id, draft.references.iter().map(|reference| &reference.unit).collect()))
        .collect();
    for cycle in dependencies_first(&edges).err().unwrap_or_default() {
        let shown: Vec<String> = cycle.iter().map(|id| format!("{id} ({})", by_id[id].place)).collect();
        let (Some(first), Some(next)) = (cycle.first(), cycle.get(1).or(cycle.first())) else { continue };
        let draft = by_id[first];
        let Some(reference) = draft.references.iter().find(|reference| reference.unit == **next) else {
            continue;
        };
        let message = format!("dependency cycle: {} -> {first}", shown.join(" -> "));
        let problem = Problem::of_file(&draft.place.file, message).at_line(reference.line);
        problems.push(problem.at_path(reference.path.as_str()).suggest("remove one of these dependencies"));
    }
}

impl Draft {
    /// The line of a path, as far as it is known.
    fn line_of(&self, path: &str) -> usize {
        self.unit.as_ref().and_then(|unit| unit.place_of(path)).unwrap_or(self.place.line)
    }
}
