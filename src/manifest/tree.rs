//! YAML or JSON text as trees that know their lines.
//!
//! Built from the parser's events instead of a ready-made tree, for three reasons: aliases are expanded
//! against a budget (eight lines of YAML can otherwise mean gigabytes), the nesting is bounded, and a key
//! given twice is an error, not a silent choice. JSON is a part of YAML 1.2 and takes the same way.
//! What the keys mean is not known here.

mod build;
mod load;

pub use load::{Document, load};

use serde_json::{Map, Number, Value};

/// A node of a document.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// The line where it begins, counted from 1.
    pub line: usize,
    /// What it is.
    pub data: Data,
}

/// What a node is.
#[derive(Debug, Clone, PartialEq)]
pub enum Data {
    /// Nothing, `~` or `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number and how it was written.
    Number(Number, Box<str>),
    /// Text.
    Text(Box<str>),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping in the order of the text.
    Map(Vec<Entry>),
    /// Something whose fault has been reported already.
    Invalid,
}

/// A key with its value.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The key.
    pub key: Box<str>,
    /// The line of the key.
    pub line: usize,
    /// The value.
    pub value: Node,
}

impl Node {
    /// The kind of thing in words, for "found …".
    pub fn describe(&self) -> &'static str {
        match &self.data {
            Data::Null | Data::Invalid => "nothing",
            Data::Bool(_) => "true or false",
            Data::Number(..) => "a number",
            Data::Text(_) => "text",
            Data::List(_) => "a list",
            Data::Map(_) => "a mapping",
        }
    }

    /// The value of a key, where this is a mapping that has it.
    pub fn get(&self, key: &str) -> Option<&Self> {
        let Data::Map(entries) = &self.data else { return None };
        entries.iter().find(|entry| &*entry.key == key).map(|entry| &entry.value)
    }

    /// The text, where it is text.
    pub fn text(&self) -> Option<&str> {
        if let Data::Text(text) = &self.data { Some(text) } else { None }
    }

    /// The same as JSON, without lines.
    pub fn to_json(&self) -> Value {
        match &self.data {
            Data::Null | Data::Invalid => Value::Null,
            Data::Bool(flag) => Value::Bool(*flag),
            Data::Number(number, _) => Value::Number(number.clone()),
            Data::Text(text) => Value::String(text.to_string()),
            Data::List(items) => items.iter().map(Self::to_json).collect(),
            Data::Map(entries) => {
                let members = entries.iter().map(|entry| (entry.key.to_string(), entry.value.to_json()));
                Value::Object(members.collect::<Map<_, _>>())
            }
        }
    }
}

#[cfg(test)]
mod tests;
