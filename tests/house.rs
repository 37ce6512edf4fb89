//! The rules of the house that a compiler does not check: rings, sizes, opening words.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The rings, inner first. A module may use those of its own ring and of the rings before it.
const RINGS: &[&[&str]] = &[
    &["model"],
    &[
        "universe",
        "render",
        "manifest",
        "marathon::normalize",
        "marathon::diff",
        "marathon::follow",
        "marathon::health",
        "marathon::labels",
        "marathon::model",
        "marathon::profile",
        "marathon::rewrite",
        "marathon::room",
        "marathon::sdk",
        "controller::desired",
        "controller::followup",
        "controller::plan",
        "controller::guard",
        "controller::report",
    ],
    &["clock", "retry", "workers", "config", "telemetry"],
    &["bundle", "source", "storage", "marathon", "registry", "controller"],
    &["http", "marathon_local", "cli", "main", "lib"],
];

/// The last pure ring.
const PURE: usize = 1;

/// What a pure module may not name.
const IMPURE: &[&str] =
    &["tokio::", "reqwest::", "object_store::", "std::fs", "std::net", "std::env", "Instant", "SystemTime"];

const LONGEST_FILE: usize = 600;
const LONGEST_FUNCTION: usize = 80;

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn all_sources() -> Vec<PathBuf> {
    let mut found = Vec::new();
    for folder in ["src", "tests"] {
        sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder), &mut found);
    }
    found.sort();
    assert!(found.len() > 20, "the source tree was not found");
    found
}

fn module_of(path: &Path) -> Option<String> {
    let below = path.strip_prefix(Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).ok()?;
    let segments: Vec<_> =
        below.with_extension("").iter().map(|s| s.to_string_lossy().into_owned()).collect();
    Some(segments.join("::"))
}

/// The ring of a module path: that of the longest entry that is a prefix of it.
fn ring_of(module: &str) -> Option<usize> {
    let is_prefix = |entry: &str| {
        module == entry || module.strip_prefix(entry).is_some_and(|rest| rest.starts_with("::"))
    };
    let entries =
        RINGS.iter().enumerate().flat_map(|(ring, names)| names.iter().map(move |name| (ring, *name)));
    let fitting = entries.filter(|(_, name)| is_prefix(name));
    fitting.max_by_key(|(_, name)| name.len()).map(|(ring, _)| ring)
}

/// The `crate::…` paths that a text names, grouped imports taken apart, tests left out.
fn named_modules(text: &str) -> BTreeSet<String> {
    let code: String = text
        .split("#[cfg(test)]\nmod tests {")
        .next()
        .unwrap()
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join(" ");
    let mut named = BTreeSet::new();
    for part in code.split("crate::").skip(1) {
        let path: String =
            part.chars().take_while(|c| c.is_alphanumeric() || *c == '_' || *c == ':').collect();
        if let Some(group) = part[path.len()..].strip_prefix('{') {
            for item in group.split('}').next().unwrap().split(',') {
                named.insert(format!("{path}{}", item.trim()));
            }
        } else {
            named.insert(path);
        }
    }
    named
}

#[test]
fn modules_use_only_their_own_ring_and_inner_ones() {
    let mut faults = Vec::new();
    for path in all_sources() {
        let Some(module) = module_of(&path) else { continue };
        if module == "lib" || module.ends_with("tests") || module.contains("::tests::") {
            continue;
        }
        let own = ring_of(&module).unwrap_or_else(|| panic!("{module} stands in no ring"));
        for named in named_modules(&fs::read_to_string(&path).unwrap()) {
            if let Some(ring) = ring_of(&named)
                && ring > own
            {
                faults.push(format!("{module} (ring {own}) uses {named} (ring {ring})"));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn the_local_marathon_is_named_by_the_command_line_only() {
    for path in all_sources() {
        let Some(module) = module_of(&path) else { continue };
        if module.starts_with("marathon_local") || module.starts_with("cli") || module == "lib" {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let names = named_modules(&text).iter().any(|named| named.starts_with("marathon_local"));
        assert!(!names, "{module} names marathon_local");
    }
}

#[test]
fn pure_modules_name_nothing_that_does_io() {
    let mut faults = Vec::new();
    for path in all_sources() {
        let Some(module) = module_of(&path) else { continue };
        if ring_of(&module).is_none_or(|ring| ring > PURE) {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap();
        for line in code.lines().filter(|line| !line.trim_start().starts_with("//")) {
            for word in IMPURE.iter().filter(|word| line.contains(**word)) {
                faults.push(format!("{module} names {word}: {}", line.trim()));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn files_open_with_words_and_stay_short() {
    let mut faults = Vec::new();
    for path in all_sources() {
        let text = fs::read_to_string(&path).unwrap();
        let lines = text.lines().count();
        if lines > LONGEST_FILE {
            faults.push(format!("{} has {lines} lines", path.display()));
        }
        if !text.starts_with("//!") {
            faults.push(format!("{} does not say what it is", path.display()));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn functions_stay_short() {
    let mut faults = Vec::new();
    for path in all_sources() {
        let text = fs::read_to_string(&path).unwrap();
        for (name, line, length) in functions(&text) {
            if length > LONGEST_FUNCTION {
                faults.push(format!("{}:{line}: {name} has {length} lines", path.display()));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// Name, first line and length of every function, found by indentation, which rustfmt guarantees.
fn functions(text: &str) -> Vec<(String, usize, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let indent = line.len() - line.trim_start().len();
        let words = line.trim_start();
        let Some((before, after)) = words.split_once("fn ") else { continue };
        let modifiers = ["pub", "async", "const", "pub(super)", "pub(crate)", "pub(in"];
        if !before.split_whitespace().all(|word| modifiers.contains(&word)) {
            continue;
        }
        let name: String = after.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        // A declaration without a body, in a trait.
        let signature = lines.iter().skip(index).take_while(|line| !line.trim_end().ends_with('{'));
        if signature.into_iter().any(|line| line.trim_end().ends_with(';')) {
            continue;
        }
        let closing = format!("{}}}", " ".repeat(indent));
        let end = lines.iter().skip(index).position(|line| *line == closing).unwrap_or(0);
        found.push((name, index + 1, end + 1));
    }
    found
}

#[test]
fn the_checks_themselves_see() {
    assert_eq!(ring_of("marathon::diff::ports"), Some(1));
    assert_eq!(ring_of("marathon::client"), Some(3));
    assert_eq!(ring_of("controller"), Some(3));
    let named = named_modules("use crate::model::{A, B};\nfn f() { crate::storage::x() }");
    assert!(named.contains("storage::x") && named.contains("model::A"), "{named:?}");
    let text = format!("fn long() {{\n{}}}\n", "    x();\n".repeat(90));
    assert_eq!(functions(&text), [("long".to_owned(), 1, 92)]);
}
