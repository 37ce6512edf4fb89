//! Checks a JSON value against a table of fields and brings it into canonical form on the way.
//!
//! One walk does types, ranges, unknown fields, defaults, omission of empties and sorting of sets, so
//! that the tables in `schema.rs` are the only place that knows Marathon's fields. Rules that need more
//! than one field are not made here.

use std::fmt;

use serde_json::{Map, Number, Value};

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

/// Where a value stands. It lives on the stack of the walk and is written out only where something is wrong, so that
/// a sound app costs no texts.
#[derive(Clone, Copy)]
enum Place<'a> {
    Root,
    Key(&'a Place<'a>, &'a str),
    Index(&'a Place<'a>, usize),
}

impl fmt::Display for Place<'_> {
    /// As a JSON pointer.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Key(outer, key) => write!(f, "{outer}/{}", key.replace('~', "~0").replace('/', "~1")),
            Self::Index(outer, i) => write!(f, "{outer}/{i}"),
        }
    }
}

/// The walk: what it found.
#[derive(Default)]
pub(super) struct Walk {
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

    /// Brings a value into canonical form. What does not fit is reported and left as it is.
    pub(super) fn canonical(&mut self, shape: &Shape, value: &mut Value) {
        self.walk(shape, value, Place::Root);
    }

    fn walk(&mut self, shape: &Shape, value: &mut Value, place: Place<'_>) {
        match (shape, value) {
            (Shape::Choice(pick), value) => self.walk(pick(value), value, place),
            (Shape::Bool, Value::Bool(_)) => {}
            (Shape::Int(min, max), Value::Number(number)) => self.int(*min, *max, number, place),
            (Shape::Number(min, max), Value::Number(number)) => self.number(*min, *max, number, place),
            (Shape::Text(min, max), Value::String(text)) => self.text(*min, *max, text, place),
            (Shape::Word(words), Value::String(word)) => self.word(words, word, place),
            (Shape::List(item), Value::Array(items)) => self.items(item, items, place),
            (Shape::Set(item), Value::Array(items)) => {
                self.items(item, items, place);
                sort_set(items);
            }
            (Shape::Map(item), Value::Object(map)) => {
                for (key, value) in map {
                    self.walk(item, value, Place::Key(&place, key));
                }
            }
            (Shape::Object(fields), Value::Object(map)) => self.object(fields, map, place),
            (shape, value) => {
                self.error(place, format!("must be {}, is {}", shape.noun(), noun_of(value)));
            }
        }
    }

    fn error(&mut self, place: Place<'_>, message: String) {
        self.errors.push(FieldError { path: place.to_string(), message });
    }

    fn int(&mut self, min: i64, max: i64, number: &mut Number, place: Place<'_>) {
        let Some(whole) = number.as_i64().or_else(|| number.as_f64().and_then(whole)) else {
            self.error(place, format!("must be a whole number, is {number}"));
            return;
        };
        if whole < min || whole > max {
            // The upper bound is said where it is the one that is broken.
            let open = whole < min && (max == i64::from(i32::MAX) || max == i64::MAX);
            self.error(place, range_message(&min, &max, open, number));
        }
        *number = whole.into();
    }

    fn number(&mut self, min: f64, max: f64, number: &mut Number, place: Place<'_>) {
        let value = number.as_f64().unwrap_or(f64::NAN);
        if !(min..=max).contains(&value) {
            self.error(place, range_message(&min, &max, max.is_infinite(), number));
        }
        if let Some(whole) = whole(value) {
            *number = whole.into();
        }
    }

    fn text(&mut self, min: usize, max: usize, text: &str, place: Place<'_>) {
        // A text has no more characters than bytes, so most need no counting.
        if text.len() <= max && (min == 0 || min == 1 && !text.is_empty()) {
            return;
        }
        let length = text.chars().count();
        if length < min {
            let least = if min == 1 { "be empty".into() } else { format!("have less than {min} characters") };
            self.error(place, format!("must not {least}"));
        } else if length > max {
            self.error(place, format!("must not have more than {max} characters, has {length}"));
        }
    }

    fn word(&mut self, words: &'static [&'static str], word: &str, place: Place<'_>) {
        if !words.contains(&word) {
            let hint = closest(word, words.iter().copied());
            self.error(place, format!("must be one of {}, is {word:?}{hint}", words.join(", ")));
        }
    }

    fn items(&mut self, shape: &Shape, items: &mut [Value], place: Place<'_>) {
        for (i, item) in items.iter_mut().enumerate() {
            self.walk(shape, item, Place::Index(&place, i));
        }
    }

    fn object(&mut self, fields: &'static [Field], map: &mut Map<String, Value>, place: Place<'_>) {
        let known = fields.iter().filter(|field| self.member(field, map, place)).count();
        if known == map.len() {
            return;
        }
        let is_known = |key: &str| fields.iter().any(|field| field.name == key);
        map.retain(|key, value| {
            if is_known(key) {
                return true;
            }
            // To Marathon a null is the same as a missing field.
            if value.is_null() {
                return false;
            }
            let hint = closest(key, fields.iter().map(|f| f.name));
            let path = Place::Key(&place, key).to_string();
            self.unknown.push(FieldError { path, message: format!("unknown field{hint}") });
            self.keep_unknown
        });
    }

    /// Brings one member into canonical form, and says whether it is there in the end.
    fn member(&mut self, field: &'static Field, map: &mut Map<String, Value>, outer: Place<'_>) -> bool {
        let place = Place::Key(&outer, field.name);
        let is_kept = if let Some(value) = map.get_mut(field.name).filter(|value| !value.is_null()) {
            self.walk(&field.shape, value, place);
            !(matches!(field.presence, Presence::OmitEmpty) && is_empty(value))
        } else if let Presence::Default(literal) = &field.presence {
            map.insert(field.name.into(), literal.value());
            true
        } else {
            if matches!(field.presence, Presence::Required) {
                self.error(place, "is missing".into());
            }
            false
        };
        if !is_kept {
            map.remove(field.name);
        }
        is_kept
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

/// Brings a set into canonical order: by the items' JSON text.
pub(super) fn sort_set(items: &mut Vec<Value>) {
    if items.len() > 1 {
        items.sort_by_cached_key(Value::to_string);
        items.dedup();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_floats_become_integers() {
        let mut walk = Walk::default();
        let mut canonical = |shape: &Shape, mut value: Value| {
            walk.canonical(shape, &mut value);
            (value.to_string(), walk.errors.len())
        };
        assert_eq!(canonical(&Shape::Number(0.0, 9.0), 1.0.into()), ("1".into(), 0));
        assert_eq!(canonical(&Shape::Int(0, 9), 2.0.into()), ("2".into(), 0));
        assert_eq!(canonical(&Shape::Int(0, 9), 2.5.into()), ("2.5".into(), 1));
    }
}
