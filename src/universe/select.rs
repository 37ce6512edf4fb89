//! Which of several version folders is meant.

use std::collections::BTreeSet;

use super::directory::{is_package_directory, release_version, stated_version};
use crate::model::{PackageVersion, Problem, Snapshot, SnapshotPath};

/// Finds the package directory that `dir` stands for: `dir` itself where it holds a `package.json`, else one of its
/// `<releaseVersion>/` folders. With a version, the one that states it (the highest release version, where several
/// do: 39 pairs in the Universe); without, the one with the highest release version.
///
/// # Errors
/// One problem, which names the versions that exist.
pub fn select_version(
    snapshot: &Snapshot,
    dir: &SnapshotPath,
    version: Option<&PackageVersion>,
) -> Result<SnapshotPath, Vec<Problem>> {
    let candidates = candidates(snapshot, dir);
    if candidates.is_empty() {
        let problem = Problem::of_file(dir, "holds neither a package.json nor numbered folders with one")
            .suggest("name a package directory, or a folder of <releaseVersion>/ folders");
        return Err(vec![problem]);
    }
    let Some(version) = version else {
        return candidates.into_iter().next_back().map(|(_, path)| path).ok_or_else(Vec::new);
    };
    let stated: Vec<_> = candidates.into_iter().map(|(_, p)| (stated_version(snapshot, &p), p)).collect();
    let known: BTreeSet<String> =
        stated.iter().filter_map(|(v, _)| v.as_ref().map(ToString::to_string)).collect();
    let chosen = stated.into_iter().rev().find(|(stated, _)| stated.as_ref() == Some(version));
    chosen.map(|(_, path)| path).ok_or_else(|| vec![absent(dir, version, &known)])
}

fn absent(dir: &SnapshotPath, version: &PackageVersion, known: &BTreeSet<String>) -> Problem {
    let problem = Problem::of_file(dir, format!("does not hold version {version}"));
    if known.is_empty() {
        return problem.suggest("no package.json there states a usable version");
    }
    let listed: Vec<&str> = known.iter().map(String::as_str).take(20).collect();
    let more = if known.len() > listed.len() {
        format!(" and {} more", known.len() - listed.len())
    } else {
        String::new()
    };
    problem.suggest(format!("it holds {}{more}", listed.join(", ")))
}

/// Package directories by release version, ascending.
fn candidates(snapshot: &Snapshot, dir: &SnapshotPath) -> Vec<(u64, SnapshotPath)> {
    if is_package_directory(snapshot, dir) {
        return vec![(0, dir.clone())];
    }
    let names: BTreeSet<&str> = snapshot
        .below(dir)
        .filter_map(|(path, _)| path.below(dir)?.split_once('/').map(|(name, _)| name))
        .collect();
    let folders = names.into_iter().filter_map(|name| dir.join(name));
    let mut found: Vec<_> = folders
        .filter(|folder| is_package_directory(snapshot, folder))
        .filter_map(|folder| Some((release_version(&folder)?, folder)))
        .collect();
    found.sort();
    found
}
