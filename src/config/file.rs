//! From a file to settings: its text, its format, and all that is wrong with it.

use std::io::Read as _;
use std::path::Path;

use super::values::{Context, resolve};
use super::{ConfigError, Environment, Overrides, RunSettings, json, options, run};
use crate::manifest::fields::{Faults, Located};
use crate::manifest::tree;
use crate::model::{Problem, SnapshotPath};

/// The largest file that is read, in bytes.
pub const LARGEST: u64 = 1 << 20;

/// Reads a file of either format.
pub fn load(
    path: &Path,
    environment: &Environment,
    overrides: &Overrides,
) -> Result<RunSettings, ConfigError> {
    let failed = |source| ConfigError::Read { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(LARGEST + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > LARGEST {
        return Err(ConfigError::TooLarge { path: path.to_owned() });
    }
    let text = String::from_utf8(bytes).map_err(|_| ConfigError::NotText { path: path.to_owned() })?;
    let absolute = std::path::absolute(path).map_err(failed)?;
    let folder = absolute.parent().unwrap_or(Path::new("/"));
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    parse(&SnapshotPath::from(name), folder, &text, environment, overrides)
        .map_err(|problems| ConfigError::Invalid { path: path.to_owned(), problems })
}

/// Reads a file's text. The name is for messages; relative paths go from the folder.
pub fn parse(
    name: &SnapshotPath,
    folder: &Path,
    text: &str,
    environment: &Environment,
    overrides: &Overrides,
) -> Result<RunSettings, Vec<Problem>> {
    let faults = Faults { file: name, problems: Vec::new() };
    let mut context = Context { faults, warnings: Vec::new(), environment, folder, overrides };
    let settings = read(name, text, &mut context);
    let mut problems = context.faults.problems;
    problems.sort();
    problems.dedup();
    match settings {
        Some(mut settings) if problems.is_empty() => {
            settings.warnings = context.warnings;
            Ok(settings)
        }
        _ => {
            if problems.is_empty() {
                problems.push(Problem::of_file(name, "a setting could not be read"));
            }
            Err(problems)
        }
    }
}

fn read(name: &SnapshotPath, text: &str, context: &mut Context<'_>) -> Option<RunSettings> {
    let loaded = tree::load(name, text);
    if loaded.cut_short
        && let Some(problem) = json::diagnose(name, text)
    {
        context.faults.problems.push(problem);
        return None;
    }
    context.faults.problems.extend(loaded.problems);
    if loaded.cut_short {
        return None;
    }
    let mut documents = loaded.documents.into_iter();
    let Some(mut document) = documents.next() else {
        let problem = Problem::of_file(name, "the file holds no settings");
        let suggestion = "write at least storage: {local: {path: /var/lib/dcos-registry}}";
        context.faults.problems.push(problem.suggest(suggestion));
        return None;
    };
    if let Some(second) = documents.next() {
        let at = Located::root(&second.root);
        at.fault(&mut context.faults, "a second document begins here", "write one document, without ---");
        return None;
    }
    if options::is_meant(&document.root) {
        return options::read(Located::root(&document.root), context);
    }
    resolve(&mut document.root, "", context);
    run::read(Located::root(&document.root), context)
}

#[cfg(test)]
mod tests;
