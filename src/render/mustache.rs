//! A mustache engine with the semantics of mustache.java 0.9.6 as Cosmos runs it.
//!
//! Why our own: templates of the Universe rely on what that engine does and no specification says: what is falsy,
//! how dotted names resolve, members reached by Java reflection (`.isEmpty`), white space around sections. Nothing
//! is escaped while rendering; values were escaped before (see `value`). Partials and inheritance are errors: a
//! package has one template.
//!
//! Bounded: nesting, steps and the size of the result.

mod parse;
mod run;

use serde_json::{Map, Value};

use super::value::Data;

/// Deepest nesting of sections.
const DEEPEST: usize = 64;

/// Tags and texts executed at most.
const MOST_STEPS: usize = 2_000_000;

/// Largest result in bytes; Marathon takes far less.
const LARGEST: usize = 8 << 20;

/// A fault of a template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct TemplateError {
    /// The line of the template, counted from 1.
    pub line: usize,
    /// What is wrong.
    pub message: String,
}

impl TemplateError {
    fn new(line: usize, message: impl Into<String>) -> Self {
        Self { line, message: message.into() }
    }
}

/// A parsed template.
#[derive(Debug, PartialEq)]
pub(super) struct Template {
    nodes: Vec<Node>,
}

#[derive(Debug, PartialEq)]
enum Node {
    Text(String),
    Value {
        name: String,
        line: usize,
    },
    Section {
        name: String,
        line: usize,
        inverted: bool,
        nodes: Vec<Node>,
    },
    /// `{{$name}}…{{/name}}`: what a template without a parent prints as it stands.
    Block(Vec<Node>),
}

/// A rendered template.
#[derive(Debug)]
pub(super) struct Rendered {
    pub(super) text: String,
    /// Names of value tags that had no value, with their lines; ten at most.
    pub(super) without_value: Vec<(String, usize)>,
}

impl Template {
    /// Parses a template.
    pub(super) fn parse(text: &str) -> Result<Self, TemplateError> {
        parse::parse(text).map(|nodes| Self { nodes })
    }

    /// Renders with a context.
    pub(super) fn render(&self, options: &Map<String, Value>) -> Result<Rendered, TemplateError> {
        let context = Data::context(options);
        run::run(&self.nodes, &context, options)
    }
}

#[cfg(test)]
mod tests;
