//! Desired state: the documents of a snapshot as typed, checked units.
//!
//! [`parse`] takes all documents of a snapshot or none: a person who made three mistakes in two files
//! reads about all three at once, each with file, line and what to write, and what is in force stays in
//! force. Pure: bytes in, values out. What a package contains and what a template makes of its options is
//! not known here (`bundle`, `render`); those stages ask a unit for the line of an option to report it.
//!
//! The way of the data: [`files`] picks the files, [`tree`] reads text into trees with lines, [`read`]
//! makes units of them with the help of [`fields`], [`check`] looks at all units together. The daemon's
//! configuration (`config`) is read with [`tree`] and [`fields`] too, so that its faults look the same.

mod app;
mod check;
mod document;
pub(crate) mod fields;
mod files;
mod graph;
mod lines;
mod package;
pub(crate) mod path;
mod read;
mod scalar;
pub(crate) mod spelling;
pub(crate) mod tree;

pub use document::{
    AppSpec, DriftPolicy, ForeignDeployments, Manifest, OnFailure, PackageSpec, Place, Presence, Recreate,
    ServiceSpec, Spec, UnitDocument, Upkeep,
};
pub use files::referenced_paths;
pub use graph::dependencies_first;

use crate::model::{Problem, Snapshot};

/// More problems than these are not listed; nobody reads them all.
const MOST_PROBLEMS: usize = 200;

/// Reads all documents below the snapshot's manifests folder: the units that could be read, and all problems of
/// all files, sorted by file and line. One problem is enough to reject the whole snapshot; the units are given
/// beside them so that later stages can add theirs.
#[must_use]
pub fn read(snapshot: &Snapshot) -> (Manifest, Vec<Problem>) {
    let mut gathered = read::Gathered::default();
    match files::documents(&snapshot.files, &snapshot.manifests) {
        Ok(files) => files.for_each(|(path, file)| gathered.read_file(&snapshot.source, path, file)),
        Err(problem) => gathered.problems.push(problem),
    }
    check::check(&mut gathered, snapshot);
    let mut problems = gathered.problems;
    problems.sort();
    problems.dedup();
    if problems.len() > MOST_PROBLEMS {
        problems.truncate(MOST_PROBLEMS);
        problems.push(Problem::of_file(&snapshot.manifests, "there are more problems than are listed here"));
    }
    let units = gathered.drafts.into_iter().filter_map(|draft| draft.unit).collect();
    (Manifest::new(units), problems)
}

/// As [`read`], for those who want all or nothing.
///
/// # Errors
/// All problems of all files.
pub fn parse(snapshot: &Snapshot) -> Result<Manifest, Vec<Problem>> {
    let (manifest, problems) = read(snapshot);
    if problems.is_empty() { Ok(manifest) } else { Err(problems) }
}

#[cfg(test)]
mod tests;
