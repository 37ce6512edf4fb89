//! Options of a package: defaults out of `config.json`, merging, and validation against it.
//!
//! The rules are those of Cosmos (`JsonSchema.scala`, `JsonUtil.scala`): defaults come from `properties` only, a
//! `default` is taken as it stands, and `config.json` is always draft 4, whatever its `$schema` says.

use std::fmt;

use jsonschema::error::ValidationErrorKind;
use jsonschema::{Draft, PatternOptions, ValidationError};
use serde_json::{Map, Value};

use crate::model::nearest;

/// Violations reported at once.
const MOST_VIOLATIONS: usize = 100;

/// One broken rule of `config.json`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct Violation {
    /// The JSON pointer of the option, such as `/service/cpus`; empty for the options as a whole.
    pub pointer: String,
    /// The keyword of the schema that is broken, such as `required`; `schema` where `config.json` itself cannot be used.
    pub keyword: String,
    /// What is wrong.
    pub message: String,
    /// What to write instead; may be empty.
    pub suggestion: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.pointer.is_empty() {
            write!(f, "{}: ", self.pointer)?;
        }
        f.write_str(&self.message)?;
        if !self.suggestion.is_empty() {
            write!(f, " ({})", self.suggestion)?;
        }
        Ok(())
    }
}

/// The defaults that a `config.json` states.
#[must_use]
pub fn defaults(config: Option<&Value>) -> Map<String, Value> {
    property_defaults(config.and_then(|config| config.get("properties")))
}

fn property_defaults(properties: Option<&Value>) -> Map<String, Value> {
    let properties = properties.and_then(Value::as_object);
    let stated = properties.into_iter().flatten().filter_map(|(name, property)| {
        let property = property.as_object()?;
        if let Some(default) = property.get("default") {
            return Some((name.clone(), default.clone()));
        }
        let nested = property_defaults(Some(property.get("properties")?));
        (!nested.is_empty()).then(|| (name.clone(), Value::Object(nested)))
    });
    stated.collect()
}

/// Merges objects, deeply; everything else that `over` holds replaces what stood there.
pub fn merge(base: &mut Map<String, Value>, over: &Map<String, Value>) {
    for (key, value) in over {
        match (base.get_mut(key), value) {
            (Some(Value::Object(below)), Value::Object(above)) => merge(below, above),
            _ => {
                base.insert(key.clone(), value.clone());
            }
        }
    }
}

/// Checks options, defaults included, against a `config.json`. Sorted by pointer; empty where all is well.
#[must_use]
pub fn validate(config: &Value, options: &Map<String, Value>) -> Vec<Violation> {
    let mut schema = config.clone();
    if let Value::Object(root) = &mut schema {
        // Draft 4 is forced, and some of these name no known meta-schema.
        root.remove("$schema");
    }
    if !refers_by_id(&schema) {
        remove_ids(&mut schema);
    }
    let build = jsonschema::options()
        .with_draft(Draft::Draft4)
        .with_pattern_options(PatternOptions::fancy_regex().backtrack_limit(100_000))
        .offline()
        .build(&schema);
    let validator = match build {
        Ok(validator) => validator,
        Err(error) => return vec![unusable(&error)],
    };
    let instance = whole_numbers(&Value::Object(options.clone()));
    let mut violations: Vec<Violation> = validator
        .iter_errors(&instance)
        .take(MOST_VIOLATIONS)
        .flat_map(|error| describe(&error, config))
        .collect();
    violations.sort();
    violations
}

/// Whether a `$ref` points to something else than a place in the same document.
fn refers_by_id(schema: &Value) -> bool {
    match schema {
        Value::Object(map) => map.iter().any(|(key, value)| match value {
            Value::String(target) if key == "$ref" => target != "#" && !target.starts_with("#/"),
            value => refers_by_id(value),
        }),
        Value::Array(items) => items.iter().any(refers_by_id),
        _ => false,
    }
}

/// Takes away `id`s that nothing refers to: authors put names there that are no URIs, for which the schema would
/// be refused. Values are left alone.
fn remove_ids(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            map.retain(|key, value| key != "id" || !value.is_string());
            let subschemas = map.iter_mut().filter(|(key, _)| !matches!(key.as_str(), "enum" | "default"));
            subschemas.for_each(|(_, value)| remove_ids(value));
        }
        Value::Array(items) => items.iter_mut().for_each(remove_ids),
        _ => {}
    }
}

fn unusable(error: &ValidationError<'_>) -> Violation {
    let place = error.instance_path().as_str();
    let place = if place.is_empty() { String::new() } else { format!(" at {place}") };
    Violation {
        pointer: String::new(),
        keyword: "schema".into(),
        message: format!(
            "config.json of the package is no usable draft-04 schema{place}: {}",
            short(&error.to_string())
        ),
        suggestion: "correct it, or render without validation".into(),
    }
}

/// Cosmos hands whole numbers to its validator as integers however they are written, so `2.0` is one. Those beyond
/// 64 bits stay doubles here; the validator takes them for integers by itself.
fn whole_numbers(value: &Value) -> Value {
    match value {
        Value::Object(map) => Value::Object(map.iter().map(|(k, v)| (k.clone(), whole_numbers(v))).collect()),
        Value::Array(items) => items.iter().map(whole_numbers).collect(),
        Value::Number(number) if number.is_f64() => {
            let digits = number.as_f64().filter(|n| n.fract() == 0.0).map(|n| format!("{n}"));
            let whole = digits.and_then(|digits| digits.parse::<i64>().ok());
            whole.map_or_else(|| value.clone(), Value::from)
        }
        other => other.clone(),
    }
}

fn describe(error: &ValidationError<'_>, config: &Value) -> Vec<Violation> {
    let make = |message: String, suggestion: String| Violation {
        pointer: error.instance_path().as_str().to_owned(),
        keyword: error.kind().keyword().to_owned(),
        message,
        suggestion,
    };
    match error.kind() {
        ValidationErrorKind::Required { property } => {
            vec![make(format!("{property} is required but missing"), "write it".to_owned())]
        }
        ValidationErrorKind::AdditionalProperties { unexpected } => {
            let known = siblings(error, config);
            let advice = |name: &String| {
                nearest(name, known.iter().copied())
                    .map_or_else(String::new, |n| format!("did you mean {n}?"))
            };
            unexpected.iter().map(|name| make(format!("{name:?} is no known option"), advice(name))).collect()
        }
        ValidationErrorKind::Enum { options } => {
            let found = short(&error.instance().to_string());
            vec![make(format!("{found} is not allowed"), format!("one of {}", short(&options.to_string())))]
        }
        _ => vec![make(short(&error.to_string()), example(error, config))],
    }
}

/// What could stand there instead: the default where another value is refused, else what the option is for.
fn example(error: &ValidationError<'_>, config: &Value) -> String {
    let keyword = error.schema_path().as_str();
    let option = keyword.rsplit_once('/').and_then(|(option, _)| config.pointer(option));
    let of_option = |key: &str| option.and_then(|option| option.get(key));
    match (of_option("default"), of_option("description").and_then(Value::as_str)) {
        (Some(default), _) if default != error.instance().as_ref() => {
            format!("such as {}", short(&default.to_string()))
        }
        (_, Some(description)) => format!("it means: {}", short(description)),
        _ => "see the package's config.json".to_owned(),
    }
}

/// The options that the schema knows beside an unknown one.
fn siblings<'a>(error: &ValidationError<'_>, config: &'a Value) -> Vec<&'a str> {
    let keyword = error.schema_path().as_str();
    let object = keyword.rsplit_once('/').map_or("", |(object, _)| object);
    let properties = config.pointer(&format!("{object}/properties")).and_then(Value::as_object);
    properties.into_iter().flat_map(Map::keys).map(String::as_str).collect()
}

fn short(text: &str) -> String {
    let mut short: String = text.chars().take(300).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}
