//! Nodes + context -> text.

use std::borrow::Cow;
use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::{DEEPEST, LARGEST, MOST_STEPS, Node, Rendered, Template, TemplateError};
use crate::render::value::Data;

/// Names without a value that are remembered for messages.
const MOST_NAMES: usize = 10;

type Scopes<'a> = Vec<Cow<'a, Data>>;

pub(super) fn run(
    nodes: &[Node],
    context: &Data,
    options: &Map<String, Value>,
) -> Result<Rendered, TemplateError> {
    let rendered = Rendered { text: String::new(), without_value: Vec::new() };
    let mut run = Run { rendered, steps: 0, options };
    run.nodes(nodes, &mut vec![Cow::Borrowed(context)], 0)?;
    Ok(run.rendered)
}

struct Run<'a> {
    rendered: Rendered,
    steps: usize,
    options: &'a Map<String, Value>,
}

impl Run<'_> {
    fn nodes(&mut self, nodes: &[Node], scopes: &mut Scopes<'_>, depth: usize) -> Result<(), TemplateError> {
        for node in nodes {
            match node {
                Node::Text(text) => self.rendered.text.push_str(text),
                Node::Value { name, line } => self.value(name, *line, scopes),
                Node::Section { name, line, inverted, nodes } => {
                    self.section(name, *line, *inverted, nodes, scopes, depth)?;
                }
                Node::Block(nodes) => self.nodes(nodes, scopes, depth)?,
            }
            self.bounds(node)?;
        }
        Ok(())
    }

    fn bounds(&mut self, node: &Node) -> Result<(), TemplateError> {
        self.steps += 1;
        let line = match node {
            Node::Value { line, .. } | Node::Section { line, .. } => *line,
            Node::Text(_) | Node::Block(_) => 1,
        };
        if self.rendered.text.len() > LARGEST {
            return Err(TemplateError::new(line, format!("the result is larger than {} MiB", LARGEST >> 20)));
        }
        if self.steps > MOST_STEPS {
            return Err(TemplateError::new(line, format!("more than {MOST_STEPS} steps")));
        }
        Ok(())
    }

    fn value(&mut self, name: &str, line: usize, scopes: &Scopes<'_>) {
        match find(name, scopes).as_deref() {
            // The function is called with null, which names nothing.
            Some(Data::AsJson) => self.rendered.text.push_str("null"),
            None | Some(Data::Null) => {
                let seen = &mut self.rendered.without_value;
                if seen.len() < MOST_NAMES && !seen.iter().any(|(known, _)| known == name) {
                    seen.push((name.chars().take(80).collect(), line));
                }
            }
            Some(value) => {
                // Writing into memory does not fail.
                let _ = write!(self.rendered.text, "{value}");
            }
        }
    }

    fn section(
        &mut self,
        name: &str,
        line: usize,
        inverted: bool,
        nodes: &[Node],
        scopes: &mut Scopes<'_>,
        depth: usize,
    ) -> Result<(), TemplateError> {
        let value = find(name, scopes).unwrap_or(Cow::Owned(Data::Null));
        if inverted != value.is_falsy() {
            return Ok(());
        }
        if inverted {
            return self.nodes(nodes, scopes, depth);
        }
        match value {
            Cow::Borrowed(Data::List(items)) => {
                for item in items {
                    self.within(Cow::Borrowed(item), nodes, scopes, depth)?;
                    self.steps += 1;
                }
                Ok(())
            }
            Cow::Borrowed(Data::AsJson) => self.as_json(nodes, line, scopes, depth),
            other => self.within(other, nodes, scopes, depth),
        }
    }

    /// Runs nodes with one more scope. Null is no scope.
    fn within<'a>(
        &mut self,
        scope: Cow<'a, Data>,
        nodes: &[Node],
        scopes: &mut Scopes<'a>,
        depth: usize,
    ) -> Result<(), TemplateError> {
        if *scope == Data::Null {
            return self.nodes(nodes, scopes, depth);
        }
        scopes.push(scope);
        let result = self.nodes(nodes, scopes, depth);
        scopes.pop();
        result
    }

    /// `{{#asJson}}name{{/asJson}}`: the option of that name at the top, if it is a string, is rendered as a template
    /// of its own; everything else is the text null.
    fn as_json(
        &mut self,
        nodes: &[Node],
        line: usize,
        scopes: &mut Scopes<'_>,
        depth: usize,
    ) -> Result<(), TemplateError> {
        if depth >= DEEPEST {
            return Err(TemplateError::new(line, format!("asJson is nested deeper than {DEEPEST}")));
        }
        let mut name = String::new();
        for node in nodes {
            match node {
                Node::Text(text) => name.push_str(text),
                // The function sees the source of the tag, and no option is named like one.
                _ => name.push_str("{{"),
            }
        }
        let text = self.options.get(&name).and_then(Value::as_str).unwrap_or("null");
        let template = Template::parse(text).map_err(|error| {
            TemplateError::new(line, format!("the option {name} is no template: {}", error.message))
        })?;
        self.nodes(&template.nodes, scopes, depth + 1)
    }
}

/// Resolves a name, innermost scope first. None where nothing has that name.
///
/// In each scope the whole name is tried as one key first, then cut at its dots. Where all but the last part were
/// found, outer scopes are not asked any more; where a part before it is missing, they are.
fn find<'a>(name: &str, scopes: &Scopes<'a>) -> Option<Cow<'a, Data>> {
    if name == "." {
        return scopes.last().cloned();
    }
    for scope in scopes.iter().rev() {
        if let Some(found) = member(scope, name) {
            return Some(found);
        }
        let Some((path, last)) = name.rsplit_once('.') else { continue };
        let mut inner = Some(scope.clone());
        for part in path.split('.') {
            inner = inner.and_then(|value| member(&value, part));
            if inner.as_deref() == Some(&Data::Null) {
                return None;
            }
        }
        if let Some(value) = inner {
            return member(&value, last);
        }
    }
    None
}

/// A member of a value: a key of a map, or what Java's reflection finds on a list or a string.
fn member<'a>(value: &Cow<'a, Data>, name: &str) -> Option<Cow<'a, Data>> {
    let computed = |data| Some(Cow::Owned(data));
    match (&**value, name) {
        (Data::Map(_), _) => match value {
            Cow::Borrowed(Data::Map(map)) => map.get(name).map(Cow::Borrowed),
            // Only numbers and booleans are computed.
            _ => None,
        },
        (Data::List(items), "isEmpty" | "empty") => computed(Data::Bool(items.is_empty())),
        (Data::List(items), "size") => computed(Data::Number(items.len().to_string())),
        (Data::Text(text), "isEmpty" | "empty") => computed(Data::Bool(text.is_empty())),
        (Data::Text(text), "length") => computed(Data::Number(text.encode_utf16().count().to_string())),
        _ => None,
    }
}
