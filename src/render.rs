//! Rendering: package definition + options -> the Marathon app that a service of the package is.
//!
//! The steps and their order are those of Cosmos (`PackageDefinitionRenderer.scala`): defaults of `config.json`,
//! user options over them, validation of both against `config.json`, `resource` on top, the template, then the
//! labels by which everybody finds the package again. The result of the same input is the same, byte for byte.
//!
//! Not here: any judgement of the app itself (`marathon`), and any fetching.

mod labels;
mod mustache;
mod options;
mod resource;
mod value;

use std::fmt;

use serde_json::{Map, Value};

use crate::model::{App, AppId, ErrorClass};
use crate::universe::PackageDefinition;

pub use mustache::TemplateError;
pub use options::{Violation, defaults, merge, validate};
pub use resource::resource_context;

/// What to render.
pub struct RenderRequest<'a> {
    /// The package.
    pub definition: &'a PackageDefinition,
    /// The release version under which it is published; part of the definition's label.
    pub release_version: u64,
    /// The options that the user gave, without defaults.
    pub options: &'a Map<String, Value>,
    /// The app id, where it shall not be the template's.
    pub app_id: Option<&'a AppId>,
    /// The URI of the repository, for the label `DCOS_PACKAGE_SOURCE`.
    pub repository: &'a str,
    /// Whether the options must fit `config.json`.
    pub validate: bool,
}

/// Why a package could not be rendered.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum RenderError {
    /// The package has no template.
    #[error("the package has no marathon.json.mustache, so there is no app to start; it brings a CLI only")]
    NoTemplate,
    /// Options were given to a package without `config.json`.
    #[error("the package takes no options, but these were given: {}", .0.join(", "))]
    OptionsNotAllowed(Vec<String>),
    /// Options and defaults together break the schema; all violations.
    #[error("the options do not fit the package's config.json: {}", list(.0))]
    Options(Vec<Violation>),
    /// The template itself is faulty.
    #[error("marathon.json.mustache: {0}")]
    Template(#[source] TemplateError),
    /// The rendered text is no JSON.
    #[error(transparent)]
    NotJson(Box<NotJson>),
    /// The rendered text is JSON, but no object.
    #[error("marathon.json.mustache renders {0}, but a Marathon app is an object")]
    NotAnObject(&'static str),
    /// A label of the rendered app is no string.
    #[error(
        "the rendered app's labels{place} must be {expected}; put quotes around the tag in marathon.json.mustache"
    )]
    Labels {
        /// `.name` of the label; empty for `labels` itself.
        place: String,
        /// What is wanted there.
        expected: &'static str,
    },
}

impl RenderError {
    /// What the error asks for: rendering is pure, so only another input helps.
    #[must_use]
    pub fn class(&self) -> ErrorClass {
        ErrorClass::Stall
    }

    /// A stable word for labels and conditions.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::NoTemplate => "NoTemplate",
            Self::OptionsNotAllowed(_) => "OptionsNotAllowed",
            Self::Options(_) => "InvalidOptions",
            Self::Template(_) => "InvalidTemplate",
            Self::NotJson(_) => "RenderedNoJson",
            Self::NotAnObject(_) => "RenderedNoObject",
            Self::Labels { .. } => "InvalidLabels",
        }
    }
}

/// A rendered text that is no JSON, with what is needed to find the cause in the template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct NotJson {
    /// The line of the rendered text, counted from 1.
    pub line: usize,
    /// The column in that line, counted from 1.
    pub column: usize,
    /// What the JSON reader says.
    pub message: String,
    /// What stands there.
    pub excerpt: String,
    /// Names in the template that had no value, with their lines in the template.
    pub without_value: Vec<(String, usize)>,
}

impl fmt::Display for NotJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, column, message, excerpt, without_value } = self;
        write!(
            f,
            "marathon.json.mustache renders no JSON: {message} at line {line}, column {column} of the result, near `{excerpt}`"
        )?;
        if !without_value.is_empty() {
            let names: Vec<_> =
                without_value.iter().map(|(name, line)| format!("{name} (template line {line})")).collect();
            write!(f, "; these names have no value: {}", names.join(", "))?;
        }
        if excerpt.contains("\\\"") {
            f.write_str("; strings are inserted with their quotes escaped, also by {{{name}}}")?;
        }
        Ok(())
    }
}

/// Renders the app of a package with its labels.
///
/// # Errors
/// [`RenderError`]; for options, all violations at once.
pub fn render(request: &RenderRequest<'_>) -> Result<App, RenderError> {
    let Value::Object(mut app) = render_template(request.definition, request.options, request.validate)?
    else {
        return Err(RenderError::NotAnObject("something else"));
    };
    if let Some(id) = request.app_id {
        app.insert("id".into(), id.as_str().into());
    }
    let mut all = existing_labels(&app)?;
    all.extend(labels::package_labels(request));
    app.insert("labels".into(), Value::Object(all));
    Ok(App(app))
}

/// Renders the template only: no labels, no app id. The result is always an object.
///
/// # Errors
/// [`RenderError`]; for options, all violations at once.
pub fn render_template(
    definition: &PackageDefinition,
    user: &Map<String, Value>,
    validate: bool,
) -> Result<Value, RenderError> {
    let template = definition.template.as_deref().ok_or(RenderError::NoTemplate)?;
    let mut merged = options::defaults(definition.config.as_ref());
    options::merge(&mut merged, user);
    if validate {
        check_options(definition, &merged)?;
    }
    if let Some(resource) = &definition.resource {
        let context = resource_context(resource, definition.packaging_version);
        options::merge(&mut merged, &Map::from_iter([("resource".to_owned(), context)]));
    }
    let template = mustache::Template::parse(template).map_err(RenderError::Template)?;
    let rendered = template.render(&merged).map_err(RenderError::Template)?;
    match serde_json::from_str(&rendered.text) {
        Ok(Value::Object(app)) => Ok(Value::Object(app)),
        Ok(Value::Array(_)) => Err(RenderError::NotAnObject("an array")),
        Ok(_) => Err(RenderError::NotAnObject("a single value")),
        Err(error) => Err(not_json(rendered, &error)),
    }
}

/// Reads the template without rendering it: a fault that no options can cure must not be published, for a
/// published version never changes.
///
/// # Errors
/// [`RenderError::Template`].
pub fn check_template(definition: &PackageDefinition) -> Result<(), RenderError> {
    let Some(template) = definition.template.as_deref() else { return Ok(()) };
    mustache::Template::parse(template).map(|_| ()).map_err(RenderError::Template)
}

/// Cosmos leaves validation out where options and defaults together are empty, even if something is required.
fn check_options(definition: &PackageDefinition, merged: &Map<String, Value>) -> Result<(), RenderError> {
    if merged.is_empty() {
        return Ok(());
    }
    let Some(config) = &definition.config else {
        return Err(RenderError::OptionsNotAllowed(merged.keys().cloned().collect()));
    };
    let violations = options::validate(config, merged);
    if violations.is_empty() { Ok(()) } else { Err(RenderError::Options(violations)) }
}

fn existing_labels(app: &Map<String, Value>) -> Result<Map<String, Value>, RenderError> {
    match app.get("labels") {
        None | Some(Value::Null) => Ok(Map::new()),
        Some(Value::Object(labels)) => match labels.iter().find(|(_, value)| !value.is_string()) {
            None => Ok(labels.clone()),
            Some((name, _)) => Err(RenderError::Labels { place: format!(".{name}"), expected: "a string" }),
        },
        Some(_) => Err(RenderError::Labels { place: String::new(), expected: "an object of strings" }),
    }
}

fn not_json(rendered: mustache::Rendered, error: &serde_json::Error) -> RenderError {
    let (line, column) = (error.line().max(1), error.column().max(1));
    let message = error.to_string();
    let message = message.split(" at line ").next().unwrap_or_default().to_owned();
    let excerpt = excerpt(&rendered.text, line, column);
    let without_value = rendered.without_value;
    RenderError::NotJson(Box::new(NotJson { line, column, message, excerpt, without_value }))
}

/// What stands around a place. Where the line begins there, the fault is mostly at the end of what stands above.
fn excerpt(text: &str, line: usize, column: usize) -> String {
    let lines: Vec<&str> = text.lines().take(line).collect();
    let here = lines.get(line - 1).copied().unwrap_or_default();
    // serde_json counts columns in bytes.
    let before = here.char_indices().filter(|(at, _)| *at < column).count();
    let mut around: String = here.chars().skip(before.saturating_sub(60)).take(100).collect();
    if here.chars().take(before.saturating_sub(1)).all(char::is_whitespace) {
        let above = lines.iter().rev().skip(1).map(|l| l.trim()).find(|l| !l.is_empty()).unwrap_or_default();
        let end = above.chars().count().saturating_sub(60);
        around = format!("{} {}", above.chars().skip(end).collect::<String>(), around.trim());
    }
    around.trim().to_owned()
}

fn list(violations: &[Violation]) -> String {
    violations.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests;
