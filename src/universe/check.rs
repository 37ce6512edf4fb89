//! A small checker of JSON values against rule tables.
//!
//! Why not the public JSON Schemas through a validator: their `oneOf` over packaging versions answers every fault
//! with "not valid under any of the given schemas". Here a fault names the key, the rule and what to write instead.

use std::fmt;

use serde_json::{Map, Value};

use super::PackagingVersion;
use crate::model::nearest;

/// Faults reported per document; who has more reads these first.
const MOST_FAULTS: usize = 100;

/// One broken rule inside a JSON document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The place, such as `licenses[0].url`; empty for the document itself.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// What to write instead; may be empty.
    pub suggestion: String,
}

impl Fault {
    pub(super) fn new(path: &str, message: impl Into<String>, suggestion: impl Into<String>) -> Self {
        Self { path: path.to_owned(), message: message.into(), suggestion: suggestion.into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)?;
        if !self.suggestion.is_empty() {
            write!(f, " ({})", self.suggestion)?;
        }
        Ok(())
    }
}

/// What a value must be.
pub(super) enum Rule {
    /// Any string.
    Text,
    /// A string that passes a test; the words say what passes.
    Matching(fn(&str) -> bool, &'static str),
    /// A link: `http(s)://` in package directories, any non-empty text in metadata, where it may be a path.
    Link,
    /// One of some strings.
    OneOf(&'static [&'static str]),
    /// `true` or `false`.
    Bool,
    /// A whole number (the schema says number, but Cosmos decodes a 64-bit integer).
    Integer,
    /// An array with at least so many elements of one rule.
    List(&'static Rule, usize),
    /// An object with known members.
    Object(&'static Shape),
    /// An object with any keys and values of one rule.
    MapOf(&'static Rule),
}

/// The members of an object.
pub(super) struct Shape {
    /// Known members.
    pub(super) fields: &'static [Field],
    /// Whether unknown members are accepted.
    pub(super) open: bool,
    /// Whether at least one member must be there.
    pub(super) some: bool,
}

/// One member of an object.
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) required: bool,
    /// The packaging version in which it came in.
    pub(super) since: PackagingVersion,
    pub(super) rule: Rule,
}

/// Checks values and collects faults.
pub(super) struct Checker {
    pub(super) version: PackagingVersion,
    /// Whether links must be web addresses.
    pub(super) web_links: bool,
    pub(super) faults: Vec<Fault>,
}

impl Checker {
    pub(super) fn object(&mut self, map: &Map<String, Value>, shape: &Shape, path: &str) {
        for field in shape.fields {
            if field.required && field.since <= self.version && !map.contains_key(field.name) {
                self.fault(&child(path, field.name), "is missing", "");
            }
        }
        if shape.some && map.is_empty() {
            self.fault(path, "has no member", format!("give at least one of {}", names(shape)));
        }
        for (key, value) in map {
            self.member(key, value, shape, path);
        }
    }

    fn member(&mut self, key: &str, value: &Value, shape: &Shape, path: &str) {
        let place = child(path, key);
        match shape.fields.iter().find(|field| field.name == key) {
            Some(field) if field.since > self.version => {
                let known_since = field.since.as_str();
                self.fault(
                    &place,
                    format!("is not known to packaging version {}", self.version.as_str()),
                    format!("remove it, or write \"packagingVersion\": \"{known_since}\""),
                );
            }
            Some(field) => self.value(value, &field.rule, &place),
            None if shape.open => {}
            None => {
                let advice = nearest(key, shape.fields.iter().map(|f| f.name))
                    .map_or_else(|| format!("known are {}", names(shape)), |n| format!("did you mean {n}?"));
                self.fault(&place, "unknown key", advice);
            }
        }
    }

    fn value(&mut self, value: &Value, rule: &Rule, path: &str) {
        match (rule, value) {
            (Rule::Text, Value::String(_)) | (Rule::Bool, Value::Bool(_)) => {}
            (Rule::Matching(passes, words), Value::String(text)) => {
                if !passes(text) {
                    self.fault(path, format!("{} is not allowed", quote(text)), *words);
                }
            }
            (Rule::Link, Value::String(text)) => self.link(text, path),
            (Rule::OneOf(allowed), Value::String(text)) => {
                if !allowed.contains(&text.as_str()) {
                    let advice = format!("write one of {}", allowed.join(", "));
                    self.fault(path, format!("{} is not allowed", quote(text)), advice);
                }
            }
            (Rule::Integer, Value::Number(number)) => {
                if number.as_i64().is_none() {
                    self.fault(path, format!("{number} is no whole number of 64 bits"), "");
                }
            }
            (Rule::List(rule, least), Value::Array(items)) => {
                if items.len() < *least {
                    self.fault(path, format!("needs at least {least} element"), "");
                }
                for (index, item) in items.iter().enumerate() {
                    self.value(item, rule, &format!("{path}[{index}]"));
                }
            }
            (Rule::Object(shape), Value::Object(map)) => self.object(map, shape, path),
            (Rule::MapOf(rule), Value::Object(map)) => {
                for (key, item) in map {
                    self.value(item, rule, &child(path, key));
                }
            }
            _ => self.fault(path, format!("is {} but must be {}", kind(value), expected(rule)), ""),
        }
    }

    fn link(&mut self, text: &str, path: &str) {
        if !self.web_links {
            if text.is_empty() {
                self.fault(path, "is empty", "write a link or a path");
            }
            return;
        }
        let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
        let foreign = |c: char| c.is_whitespace() || c.is_control() || "<>\"{}|\\^`".contains(c);
        if rest.is_none_or(|rest| rest.is_empty() || rest.contains(foreign)) {
            self.fault(path, format!("{} is no web address", quote(text)), "write http://… or https://…");
        }
    }

    fn fault(&mut self, path: &str, message: impl Into<String>, suggestion: impl Into<String>) {
        if self.faults.len() < MOST_FAULTS {
            self.faults.push(Fault::new(path, message, suggestion));
        }
    }
}

/// A text in quotes, cut to 80 characters, for messages.
pub(super) fn quote(text: &str) -> String {
    let mut short: String = text.chars().take(80).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    format!("{short:?}")
}

/// What a JSON value is, in words.
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

fn expected(rule: &Rule) -> &'static str {
    match rule {
        Rule::Text | Rule::Matching(..) | Rule::Link | Rule::OneOf(_) => "a string",
        Rule::Bool => "true or false",
        Rule::Integer => "a number",
        Rule::List(..) => "an array",
        Rule::Object(_) | Rule::MapOf(_) => "an object",
    }
}

fn names(shape: &Shape) -> String {
    shape.fields.iter().map(|f| f.name).collect::<Vec<_>>().join(", ")
}

fn child(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut_in_messages() {
        assert_eq!(quote("a\"b"), "\"a\\\"b\"");
        assert!(quote(&"ä".repeat(1000)).chars().count() < 90);
    }
}
