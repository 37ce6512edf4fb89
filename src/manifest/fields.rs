//! Typed reading of trees: what is not as expected becomes a problem that says what to write.
//!
//! Every reader returns `None` after it reported, so that one fault does not stop the search for others.
//! `null` counts as absent, because an empty `options:` is `null` in YAML.

use std::str::FromStr;

use serde_json::{Map, Value};

use super::path::{child_path, item_path};
use super::spelling;
use super::tree::{Data, Entry, Node};
use crate::model::nearest;
use crate::model::{InvalidName, Problem, SnapshotPath};

/// The problems of one file.
pub struct Faults<'a> {
    /// The file.
    pub file: &'a SnapshotPath,
    /// What was found so far.
    pub problems: Vec<Problem>,
}

/// A node with its place.
#[derive(Clone)]
pub struct Located<'n> {
    /// The node.
    pub node: &'n Node,
    /// The line of its key.
    pub line: usize,
    /// Its path from the document's root.
    pub path: String,
}

impl<'n> Located<'n> {
    /// A document's root.
    pub fn root(node: &'n Node) -> Self {
        Self { node, line: node.line, path: String::new() }
    }

    /// Reports a problem here.
    pub fn fault(&self, faults: &mut Faults<'_>, message: impl Into<String>, suggestion: impl Into<String>) {
        let problem = Problem::of_file(faults.file, message).at_line(self.line).at_path(self.path.as_str());
        faults.problems.push(problem.suggest(suggestion));
    }

    fn unexpected(&self, faults: &mut Faults<'_>, expected: &str, suggestion: impl Into<String>) {
        // An invalid node was reported when the text was read.
        if self.node.data != Data::Invalid {
            self.fault(faults, format!("expected {expected}, found {}", self.node.describe()), suggestion);
        }
    }

    /// The text. Numbers and flags are refused with a hint to quote them, as `1.10` would become `1.1`.
    pub fn text(&self, faults: &mut Faults<'_>) -> Option<&'n str> {
        match &self.node.data {
            Data::Text(text) => return Some(text),
            Data::Number(_, written) => self.unexpected(faults, "text", format!("write \"{written}\"")),
            Data::Bool(flag) => self.unexpected(faults, "text", format!("write \"{flag}\"")),
            _ => self.unexpected(faults, "text", ""),
        }
        None
    }

    /// Text that is a valid name of its kind.
    pub fn name<T: FromStr<Err = InvalidName>>(&self, faults: &mut Faults<'_>) -> Option<T> {
        match self.text(faults)?.parse() {
            Ok(name) => Some(name),
            Err(InvalidName { what, value, rule }) => {
                self.fault(faults, format!("{value:?} is not a valid {what}"), rule);
                None
            }
        }
    }

    /// One of a few words; their meanings stand beside them.
    pub fn word<T: Copy>(&self, words: &[(&str, T)], faults: &mut Faults<'_>) -> Option<T> {
        let text = self.text(faults)?;
        if let Some((_, meaning)) = words.iter().find(|(word, _)| *word == text) {
            return Some(*meaning);
        }
        let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        let shown: String = text.chars().take(40).collect();
        let suggestion = nearest(text, known.iter().copied())
            .map_or_else(|| format!("write {}", known.join(" or ")), |near| format!("did you mean {near}?"));
        self.fault(faults, format!("{shown:?} is not known here"), suggestion);
        None
    }

    /// `true` or `false`.
    pub fn flag(&self, faults: &mut Faults<'_>) -> Option<bool> {
        if let Data::Bool(flag) = self.node.data {
            return Some(flag);
        }
        self.unexpected(faults, "true or false", "write true or false without quotes");
        None
    }

    /// The items of a list; none where it is no list.
    pub fn items(&self, faults: &mut Faults<'_>) -> Vec<Self> {
        let Data::List(items) = &self.node.data else {
            self.unexpected(faults, "a list", "write [a, b], or one line for each item with - before it");
            return Vec::new();
        };
        let located = |(index, node): (usize, &'n Node)| Self {
            node,
            line: node.line,
            path: item_path(&self.path, index),
        };
        items.iter().enumerate().map(located).collect()
    }

    /// A mapping as a JSON object, whatever it holds.
    pub fn object(&self, faults: &mut Faults<'_>) -> Option<Map<String, Value>> {
        if let Value::Object(map) = self.node.to_json() {
            return Some(map);
        }
        self.unexpected(faults, "a mapping", "write key: value lines, indented");
        None
    }

    /// A mapping whose keys are known; others are reported.
    pub fn fields(self, known: &[&'static str], faults: &mut Faults<'_>) -> Option<Fields<'n>> {
        let Data::Map(entries) = &self.node.data else {
            self.unexpected(faults, "a mapping", format!("keys: {}", known.join(", ")));
            return None;
        };
        let mut fields = Fields { at: self, entries, meant: Vec::new() };
        for entry in entries.iter().filter(|entry| !known.contains(&&*entry.key)) {
            fields.meant.extend(nearest(&entry.key, known.iter().copied()));
            fields.locate(entry).fault(faults, "unknown key", spelling::suggest(&entry.key, known));
        }
        Some(fields)
    }
}

/// The members of a mapping.
pub struct Fields<'n> {
    /// The mapping itself.
    pub at: Located<'n>,
    entries: &'n [Entry],
    /// Known keys that were probably meant by unknown ones; that they are missing needs no second report.
    meant: Vec<&'static str>,
}

impl<'n> Fields<'n> {
    /// The members of a mapping whose keys are somebody else's business; none where it is no mapping.
    pub fn of_any(at: Located<'n>) -> Option<Self> {
        let Data::Map(entries) = &at.node.data else { return None };
        Some(Self { at, entries, meant: Vec::new() })
    }

    /// Whether an unknown key was probably one of these.
    pub fn meant(&self, keys: &[&str]) -> bool {
        self.meant.iter().any(|meant| keys.contains(meant))
    }

    fn locate(&self, entry: &'n Entry) -> Located<'n> {
        Located { node: &entry.value, line: entry.line, path: child_path(&self.at.path, &entry.key) }
    }

    /// A member, where it is given and not null.
    pub fn optional(&self, key: &str) -> Option<Located<'n>> {
        let entry = self.entries.iter().find(|entry| &*entry.key == key)?;
        (entry.value.data != Data::Null).then(|| self.locate(entry))
    }

    /// A member that must be there; the example says what to write where it is not.
    pub fn required(&self, key: &str, example: &str, faults: &mut Faults<'_>) -> Option<Located<'n>> {
        let found = self.optional(key);
        if found.is_none() && !self.meant.contains(&key) {
            let line = self.entries.iter().find(|e| &*e.key == key).map_or(self.at.line, |e| e.line);
            let missing = Located { line, path: child_path(&self.at.path, key), node: self.at.node };
            missing.fault(faults, "is missing", format!("write {key}: {example}"));
        }
        found
    }
}
