//! On which line each key of a document stands, for problems that only a later stage can find.

use std::collections::BTreeMap;

use super::path::{child_path, item_path, parent_path};
use super::tree::{Data, Node};

/// More places than these are not remembered; what is deeper or later gets the line of what holds it.
const MOST: usize = 5_000;
const LONGEST: usize = 256;

/// The lines of a document's keys and list items.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Lines(BTreeMap<Box<str>, usize>);

impl Lines {
    /// The lines of all that is below a node.
    pub fn of(root: &Node) -> Self {
        let mut lines = Self::default();
        lines.add("", root);
        lines
    }

    /// The line of a path, or of the nearest known path that holds it.
    pub fn nearest(&self, path: &str) -> Option<usize> {
        let mut path = path;
        loop {
            if let Some(line) = self.0.get(path) {
                return Some(*line);
            }
            path = parent_path(path)?;
        }
    }

    fn add(&mut self, path: &str, node: &Node) {
        match &node.data {
            Data::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.enter(item_path(path, index), item.line, item);
                }
            }
            Data::Map(entries) => {
                for entry in entries {
                    self.enter(child_path(path, &entry.key), entry.line, &entry.value);
                }
            }
            _ => {}
        }
    }

    fn enter(&mut self, path: String, line: usize, node: &Node) {
        if self.0.len() < MOST && path.len() <= LONGEST {
            self.add(&path, node);
            self.0.insert(path.into(), line);
        }
    }
}
