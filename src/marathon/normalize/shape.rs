//! Checks a JSON value against a table of fields and brings it into canonical form on the way.
//!
//! One walk does types, ranges, unknown fields, defaults, omission of empties and sorting of sets, so
//! that the tables in `schema.rs` are the only place that knows Marathon's fields. Rules that need more
//! than one field are not made here.

use serde_json::{Map, Value};

use super::FieldError;
use super::near::closest;

/// What a value must look like.
pub(super) enum Shape {
    /// `true` or `false`.
    Bool,
    /// A whole number within bounds; `1.0` counts as 1.
    Int(i64, i64),
    /// A number within bounds; written without a fraction where it has none.
    Number(f64, f64),
    /// A text of at least and at most so many characters.
    Text(usize, usize),
    /// One of these words.
    Word(&'static [&'static str]),
    /// A list whose order has a meaning.
    List(&'static Shape),
    /// A list whose order has none: sorted, without duplicates.
    Set(&'static Shape),
    /// An object with free keys.
    Map(&'static Shape),
    /// An object with these fields and no others.
    Object(&'static [Field]),
    /// Several shapes; the function looks at the value and picks one.
    Choice(fn(&Value) -> &'static Shape),
}

/// One member of an object.
pub(super) struct Field {
    name: &'static str,
    shape: Shape,
    presence: Presence,
}

enum Presence {
    Required,
    Optional,
    OmitEmpty,
    Default(Literal),
}

/// A default value that can stand in a constant table.
pub(super) enum Literal {
    Bool(bool),
    Int(i64),
    Number(f64),
    Text(&'static str),
    EmptyList,
    EmptyMap,
}

/// A field that must be there.
pub(super) const fn required(name: &'static str, shape: Shape) -> Field {
    Field { name, shape, presence: Presence::Required }
}

/// A field that may be missing, and then stays missing.
pub(super) const fn optional(name: &'static str, shape: Shape) -> Field {
    Field { name, shape, presence: Presence::Optional }
}

/// A list or object that is left out where it is empty.
pub(super) const fn omit_empty(name: &'static str, shape: Shape) -> Field {
    Field { name, shape, presence: Presence::OmitEmpty }
}

/// A field that gets a value where it is missing.
pub(super) const fn default(name: &'static str, shape: Shape, value: Literal) -> Field {
    Field { name, shape, presence: Presence::Default(value) }
}

impl Literal {
    fn value(&self) -> Value {
        match self {
            Self::Bool(b) => (*b).into(),
            Self::Int(n) => (*n).into(),
            Self::Number(n) => (*n).into(),
            Self::Text(text) => (*text).into(),
            Self::EmptyList => Value::Array(Vec::new()),
            Self::EmptyMap => Value::Object(Map::new()),
        }
    }
}

/// The walk: where it stands, and what it found.
#[derive(Default)]
pub(super) struct Walk {
    place: String,
    /// Keep fields that no table knows, as a server of another version may send them.
    keep_unknown: bool,
    /// Fields that no table knows.
    pub(super) unknown: Vec<FieldError>,
    /// Everything else that is wrong.
    pub(super) errors: Vec<FieldError>,
}

impl Walk {
    /// A walk that keeps fields that no table knows.
    pub(super) fn keeping_unknown() -> Self {
        Self { keep_unknown: true, ..Self::default() }
    }

    /// Whether the app is one that we are going to send.
    pub(super) fn is_strict(&self) -> bool {
        !self.keep_unknown
    }

    /// Brings a value into canonical form. What does not fit is reported and kept as it is.
    pub(super) fn canonical(&mut self, shape: &Shape, value: Value) -> Value {
        match (shape, value) {
            (Shape::Choice(pick), value) => self.canonical(pick(&value), value),
            (Shape::Bool, value @ Value::Bool(_)) => value,
            (Shape::Int(min, max), Value::Number(number)) => self.int(*min, *max, &number),
            (Shape::Number(min, max), Value::Number(number)) => self.number(*min, *max, &number),
            (Shape::Text(min, max), Value::String(text)) => self.text(*min, *max, text),
            (Shape::Word(words), Value::String(word)) => self.word(words, word),
            (Shape::List(item), Value::Array(items)) => Value::Array(self.items(item, items)),
            (Shape::Set(item), Value::Array(items)) => sorted(self.items(item, items)),
            (Shape::Map(item), Value::Object(map)) => self.map(item, map),
            (Shape::Object(fields), Value::Object(map)) => self.object(fields, map),
            (shape, value) => {
                self.error(format!("must be {}, is {}", shape.noun(), noun_of(&value)));
                value
            }
        }
    }

    fn error(&mut self, message: String) {
        self.errors.push(FieldError { path: self.place.clone(), message });
    }

    /// Runs a step one level deeper.
    fn inside<T>(&mut self, key: &str, step: impl FnOnce(&mut Self) -> T) -> T {
        let length = self.place.len();
        self.place.push('/');
        self.place.push_str(&key.replace('~', "~0").replace('/', "~1"));
        let result = step(self);
        self.place.truncate(length);
        result
    }

    fn int(&mut self, min: i64, max: i64, number: &serde_json::Number) -> Value {
        let Some(whole) = number.as_i64().or_else(|| number.as_f64().and_then(whole)) else {
            self.error(format!("must be a whole number, is {number}"));
            return Value::Number(number.clone());
        };
        if whole < min || whole > max {
            self.error(range_message(&min, &max, max == i64::from(i32::MAX) || max == i64::MAX, number));
        }
        whole.into()
    }

    fn number(&mut self, min: f64, max: f64, number: &serde_json::Number) -> Value {
        let value = number.as_f64().unwrap_or(f64::NAN);
        if !(min..=max).contains(&value) {
            self.error(range_message(&min, &max, max.is_infinite(), number));
        }
        whole(value).map_or_else(|| Value::Number(number.clone()), Value::from)
    }

    fn text(&mut self, min: usize, max: usize, text: String) -> Value {
        let length = text.chars().count();
        if length < min {
            let least = if min == 1 { "be empty".into() } else { format!("have less than {min} characters") };
            self.error(format!("must not {least}"));
        } else if length > max {
            self.error(format!("must not have more than {max} characters, has {length}"));
        }
        text.into()
    }

    fn word(&mut self, words: &'static [&'static str], word: String) -> Value {
        if !words.contains(&word.as_str()) {
            let hint = closest(&word, words.iter().copied());
            self.error(format!("must be one of {}, is {word:?}{hint}", words.join(", ")));
        }
        word.into()
    }

    fn items(&mut self, shape: &Shape, items: Vec<Value>) -> Vec<Value> {
        let each = |(i, item): (usize, Value)| self.inside(&i.to_string(), |w| w.canonical(shape, item));
        items.into_iter().enumerate().map(each).collect()
    }

    fn map(&mut self, shape: &Shape, map: Map<String, Value>) -> Value {
        let each = |(key, value): (String, Value)| {
            let value = self.inside(&key, |w| w.canonical(shape, value));
            (key, value)
        };
        map.into_iter().map(each).collect()
    }

    fn object(&mut self, fields: &'static [Field], mut map: Map<String, Value>) -> Value {
        let mut out = Map::new();
        for field in fields {
            // To Marathon a null is the same as a missing field.
            let given = map.remove(field.name).filter(|v| !v.is_null());
            if let Some(value) = self.member(field, given) {
                out.insert(field.name.into(), value);
            }
        }
        for (key, value) in map {
            if value.is_null() {
                continue;
            }
            let hint = closest(&key, fields.iter().map(|f| f.name));
            let path = self.inside(&key, |w| w.place.clone());
            self.unknown.push(FieldError { path, message: format!("unknown field{hint}") });
            if self.keep_unknown {
                out.insert(key, value);
            }
        }
        Value::Object(out)
    }

    fn member(&mut self, field: &'static Field, given: Option<Value>) -> Option<Value> {
        match (given, &field.presence) {
            (Some(value), presence) => {
                let value = self.inside(field.name, |w| w.canonical(&field.shape, value));
                let omitted = matches!(presence, Presence::OmitEmpty) && is_empty(&value);
                (!omitted).then_some(value)
            }
            (None, Presence::Default(literal)) => Some(literal.value()),
            (None, Presence::Required) => {
                self.inside(field.name, |w| w.error("is missing".into()));
                None
            }
            (None, _) => None,
        }
    }
}

impl Shape {
    fn noun(&self) -> &'static str {
        match self {
            Self::Bool => "true or false",
            Self::Int(..) => "a whole number",
            Self::Number(..) => "a number",
            Self::Text(..) | Self::Word(_) => "a text",
            Self::List(_) | Self::Set(_) => "a list",
            Self::Map(_) | Self::Object(_) | Self::Choice(_) => "an object",
        }
    }
}

fn noun_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

fn range_message<T: std::fmt::Display>(min: &T, max: &T, open: bool, got: &serde_json::Number) -> String {
    if open {
        format!("must be {min} or more, is {got}")
    } else {
        format!("must be {min} to {max}, is {got}")
    }
}

/// The whole number that a float stands for, within the range where floats are exact.
#[expect(clippy::cast_possible_truncation, reason = "checked: no fraction and below 2^53")]
fn whole(value: f64) -> Option<i64> {
    (value.fract() == 0.0 && value.abs() < 9_007_199_254_740_992.0).then_some(value as i64)
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    }
}

/// A set's canonical order: by the items' JSON text.
pub(super) fn sorted(mut items: Vec<Value>) -> Value {
    items.sort_by_cached_key(Value::to_string);
    items.dedup();
    Value::Array(items)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_floats_become_integers() {
        let mut walk = Walk::default();
        assert_eq!(walk.canonical(&Shape::Number(0.0, 9.0), 1.0.into()).to_string(), "1");
        assert_eq!(walk.canonical(&Shape::Int(0, 9), 2.0.into()).to_string(), "2");
        assert!(walk.errors.is_empty());
        assert_eq!(walk.canonical(&Shape::Int(0, 9), 2.5.into()).to_string(), "2.5");
        assert_eq!(walk.errors.len(), 1);
    }
}
