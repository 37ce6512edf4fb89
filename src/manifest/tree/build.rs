//! From the parser's events to one tree: keys, aliases, tags and the budgets.

use std::collections::BTreeMap;

use saphyr_parser::{Event, ScalarStyle, Tag};
use serde_json::Value;

use super::super::path::{child_path, item_path};
use super::super::scalar::{self, BadScalar};
use super::{Data, Entry, Node};
use crate::model::{Problem, SnapshotPath};

/// How deep lists and mappings may lie in each other.
const DEEPEST: usize = 64;

/// What the nodes of a file may weigh with all aliases expanded: [`NODE`] for each, and their text in
/// bytes. A file of 1 MiB without aliases stays below it.
const HEAVIEST: usize = 24 << 20;
const NODE: usize = 16;

/// After so many faults the rest of a file's faults is not listed.
pub const MOST_PROBLEMS: usize = 100;

/// Builds the tree of one document after the other.
pub struct Builder<'a> {
    file: &'a SnapshotPath,
    problems: &'a mut Vec<Problem>,
    frames: Vec<Frame>,
    anchors: BTreeMap<usize, Anchor>,
    weight: usize,
    root: Option<Node>,
}

/// A list or mapping that has begun and not ended.
struct Frame {
    line: usize,
    anchor: usize,
    weight_before: usize,
    height: usize,
    collected: Collected,
}

enum Collected {
    List(Vec<Node>),
    Map { entries: Vec<Entry>, seen: BTreeMap<Box<str>, usize>, key: Option<Key> },
}

/// A key whose value has not come yet.
enum Key {
    Text(Box<str>, usize),
    /// Reported already; its value is dropped.
    Bad,
}

/// A node that has been read, with what the budgets must know about it.
struct Finished {
    node: Node,
    weight: usize,
    height: usize,
    plain: bool,
}

/// A finished node that aliases may name.
struct Anchor {
    node: Node,
    weight: usize,
    height: usize,
}

/// The file cannot be read any further; why has been reported.
pub struct Stop;

impl<'a> Builder<'a> {
    pub fn new(file: &'a SnapshotPath, problems: &'a mut Vec<Problem>) -> Self {
        Self { file, problems, frames: Vec::new(), anchors: BTreeMap::new(), weight: 0, root: None }
    }

    /// Takes an event that stands inside a document; others are ignored.
    pub fn take(&mut self, event: Event<'_>, line: usize) -> Result<(), Stop> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == ScalarStyle::Plain;
                let weight = NODE + text.len();
                self.charge(weight, line)?;
                let node = self.scalar(&text, plain, tag.as_deref(), line);
                self.finish(Finished { node, weight, height: 0, plain }, anchor)
            }
            Event::Alias(anchor) => self.alias(anchor, line),
            Event::SequenceStart(anchor, tag) => {
                self.check_tag(tag.as_deref(), "seq", line);
                self.open(anchor, line, Collected::List(Vec::new()))
            }
            Event::MappingStart(anchor, tag) => {
                self.check_tag(tag.as_deref(), "map", line);
                let (entries, seen) = (Vec::new(), BTreeMap::new());
                self.open(anchor, line, Collected::Map { entries, seen, key: None })
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(),
            _ => Ok(()),
        }
    }

    /// The tree of the document that has ended. Anchors do not reach into the next one.
    pub fn end_document(&mut self) -> Option<Node> {
        self.anchors.clear();
        self.frames.clear();
        self.root.take()
    }

    /// Adds a problem at the place where the builder stands.
    pub fn report(&mut self, line: usize, message: impl Into<String>, suggestion: impl Into<String>) {
        if self.problems.len() < MOST_PROBLEMS {
            let problem = Problem::of_file(self.file, message).at_line(line).at_path(self.path());
            self.problems.push(problem.suggest(suggestion));
        }
    }

    fn charge(&mut self, weight: usize, line: usize) -> Result<(), Stop> {
        self.weight = self.weight.saturating_add(weight);
        if self.weight > HEAVIEST {
            self.report(line, "the aliases make the file too large", "write out less with aliases");
            return Err(Stop);
        }
        Ok(())
    }

    fn check_depth(&mut self, height: usize, line: usize) -> Result<(), Stop> {
        if self.frames.len() + height > DEEPEST {
            self.report(line, format!("nested deeper than {DEEPEST} levels"), "");
            return Err(Stop);
        }
        Ok(())
    }

    fn open(&mut self, anchor: usize, line: usize, collected: Collected) -> Result<(), Stop> {
        self.check_depth(1, line)?;
        let weight_before = self.weight;
        self.charge(NODE, line)?;
        self.frames.push(Frame { line, anchor, weight_before, height: 1, collected });
        Ok(())
    }

    fn close(&mut self) -> Result<(), Stop> {
        let Some(frame) = self.frames.pop() else { return Ok(()) };
        let data = match frame.collected {
            Collected::List(items) => Data::List(items),
            Collected::Map { entries, .. } => Data::Map(entries),
        };
        let node = Node { line: frame.line, data };
        let weight = self.weight - frame.weight_before;
        self.finish(Finished { node, weight, height: frame.height, plain: false }, frame.anchor)
    }

    /// A node is whole: aliases may name it, and it takes its place in what lies around it.
    fn finish(&mut self, finished: Finished, anchor: usize) -> Result<(), Stop> {
        let Finished { node, weight, height, plain } = finished;
        if anchor != 0 {
            self.charge(weight, node.line)?;
            self.anchors.insert(anchor, Anchor { node: node.clone(), weight, height });
        }
        if let Some(frame) = self.frames.last_mut() {
            frame.height = frame.height.max(height + 1);
        }
        self.place(node, plain);
        Ok(())
    }

    fn place(&mut self, node: Node, plain: bool) {
        let line = node.line;
        let bad_key = match self.frames.last_mut().map(|frame| &mut frame.collected) {
            None => {
                self.root = Some(node);
                None
            }
            Some(Collected::List(items)) => {
                items.push(node);
                None
            }
            Some(Collected::Map { entries, seen, key }) => match key.take() {
                Some(Key::Bad) => None,
                Some(Key::Text(key, line)) => {
                    seen.insert(key.clone(), line);
                    entries.push(Entry { key, line, value: node });
                    None
                }
                None => match check_key(node, plain, seen) {
                    Ok(text) => {
                        *key = Some(Key::Text(text, line));
                        None
                    }
                    Err(why) => {
                        *key = Some(Key::Bad);
                        Some(why)
                    }
                },
            },
        };
        if let Some((message, suggestion)) = bad_key {
            self.report(line, message, suggestion);
        }
    }

    fn alias(&mut self, anchor: usize, line: usize) -> Result<(), Stop> {
        let Some(Anchor { weight, height, .. }) = self.anchors.get(&anchor) else {
            self.report(line, "the alias names nothing that ends before it", "write the value out");
            self.place(Node { line, data: Data::Invalid }, false);
            return Ok(());
        };
        let (weight, height) = (*weight, *height);
        self.charge(weight, line)?;
        self.check_depth(height, line)?;
        let Some(Anchor { node, .. }) = self.anchors.get(&anchor) else { return Ok(()) };
        let node = Node { line, ..node.clone() };
        self.finish(Finished { node, weight, height, plain: false }, 0)
    }

    fn scalar(&mut self, text: &str, plain: bool, tag: Option<&Tag>, line: usize) -> Node {
        let value = match tag {
            Some(tag) if tag.is_yaml_core_schema() => scalar::resolve_tagged(text, &tag.suffix),
            Some(_) => Err(BadScalar::WrongTag),
            None if plain => scalar::resolve(text),
            None => Ok(Value::String(text.into())),
        };
        let data = match value {
            Ok(Value::Bool(flag)) => Data::Bool(flag),
            Ok(Value::Number(number)) => Data::Number(number, text.into()),
            Ok(Value::String(text)) => Data::Text(text.into()),
            Ok(_) => Data::Null,
            Err(bad) => {
                let (message, suggestion) = explain(bad, text);
                self.report(line, message, suggestion);
                Data::Invalid
            }
        };
        Node { line, data }
    }

    /// The tags of lists and mappings change nothing; unknown ones are refused, as they promise something.
    fn check_tag(&mut self, tag: Option<&Tag>, expected: &str, line: usize) {
        if tag.is_some_and(|tag| !tag.is_yaml_core_schema() || tag.suffix != expected) {
            self.report(line, "the tag has no meaning here", "leave the tag out");
        }
    }

    /// Where the builder stands, such as `spec.options`.
    fn path(&self) -> String {
        self.frames.iter().fold(String::new(), |path, frame| match &frame.collected {
            Collected::List(items) => item_path(&path, items.len()),
            Collected::Map { key: Some(Key::Text(key, _)), .. } => child_path(&path, key),
            Collected::Map { .. } => path,
        })
    }
}

/// Whether a node may be a key: text, not given before, and no merge key. The error is a message with
/// its suggestion.
fn check_key(
    node: Node,
    plain: bool,
    seen: &BTreeMap<Box<str>, usize>,
) -> Result<Box<str>, (String, String)> {
    let text = match node.data {
        Data::Text(text) => text,
        Data::Number(_, text) => {
            return Err((format!("the key {text} is a number, not text"), format!("write \"{text}\"")));
        }
        Data::Bool(flag) => return Err((format!("the key {flag} is not text"), format!("write \"{flag}\""))),
        Data::Null | Data::Invalid => {
            return Err(("a key is missing before ':'".into(), "write key: value".into()));
        }
        Data::List(_) | Data::Map(_) => {
            return Err(("a key must be text".into(), "write key: value; quote text with { or [".into()));
        }
    };
    if plain && &*text == "<<" {
        return Err(("merge keys (<<) are not supported".into(), "write the keys out".into()));
    }
    match seen.get(&text) {
        Some(first) => Err((
            format!("the key {text} is given twice, first on line {first}"),
            "remove one of them".into(),
        )),
        None => Ok(text),
    }
}

fn explain(bad: BadScalar, text: &str) -> (String, String) {
    let shown: String = text.chars().take(40).collect();
    match bad {
        BadScalar::NotFinite => {
            (format!("{shown} is no number that JSON knows"), format!("write a finite number or \"{shown}\""))
        }
        BadScalar::TooLarge => {
            (format!("{shown} does not fit into 64 bits"), format!("write \"{shown}\" to keep it as text"))
        }
        BadScalar::WrongTag => (format!("the tag does not fit {shown:?}"), "leave the tag out".into()),
    }
}
