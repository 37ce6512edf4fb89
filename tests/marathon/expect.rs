//! Holding a JSON value against what is expected of it.

use serde_json::Value;

use crate::row::{Expected, Refused};

impl Expected {
    /// Whether the value is as expected.
    ///
    /// # Errors
    /// What is different.
    pub fn of_value(&self, value: &Value) -> Result<(), String> {
        for (place, wanted) in &self.has {
            let found = value.pointer(place);
            if found.is_none_or(|found| plain(found) != plain(wanted)) {
                return Err(format!("{place} is {}, not {wanted}", shown(found)));
            }
        }
        for (place, wanted) in &self.unordered {
            let found = value.pointer(place);
            let items = found.and_then(Value::as_array).map(|items| texts(items));
            if items.is_none_or(|items| items != texts(wanted)) {
                return Err(format!("{place} is {}, not {}", shown(found), Value::from(wanted.clone())));
            }
        }
        if let Some(place) = self.present.iter().find(|place| value.pointer(place).is_none()) {
            return Err(format!("{place} is not there in {value}"));
        }
        if let Some(place) = self.lacks.iter().find(|place| value.pointer(place).is_some()) {
            return Err(format!("{place} is there: {}", shown(value.pointer(place))));
        }
        Ok(())
    }

    /// Whether faults, by place as Marathon writes it, are what is expected.
    ///
    /// # Errors
    /// What is different.
    pub fn of_faults(&self, refused: &Refused, faults: &[(String, String)]) -> Result<(), String> {
        let is_here = |path: &str| match refused {
            Refused::At(place) => path == place,
            Refused::Somewhere(_) => true,
        };
        let part = self.message.as_deref().unwrap_or_default();
        if faults.iter().any(|(path, message)| is_here(path) && message.contains(part)) {
            return Ok(());
        }
        Err(format!("no such fault, but {faults:?}"))
    }
}

/// `/healthChecks/0/path` as Marathon writes it; the whole is `/`.
pub fn marathon_path(pointer: &str) -> String {
    let is_index = |segment: &str| !segment.is_empty() && segment.bytes().all(|b| b.is_ascii_digit());
    let written = |segment| if is_index(segment) { format!("({segment})") } else { format!("/{segment}") };
    let path: String = pointer.split('/').skip(1).map(written).collect();
    if path.is_empty() { "/".to_owned() } else { path }
}

fn shown(found: Option<&Value>) -> String {
    found.map_or_else(|| "not there".to_owned(), Value::to_string)
}

fn texts(items: &[Value]) -> Vec<String> {
    let mut texts: Vec<_> = items.iter().map(|item| plain(item).to_string()).collect();
    texts.sort();
    texts
}

/// The value with all numbers written alike: 1.0 is 1.
fn plain(value: &Value) -> Value {
    match value {
        Value::Number(number) => number.as_f64().map_or_else(|| value.clone(), Value::from),
        Value::Array(items) => items.iter().map(plain).collect(),
        Value::Object(map) => map.iter().map(|(key, value)| (key.clone(), plain(value))).collect(),
        value => value.clone(),
    }
}

#[test]
fn differences_are_seen() {
    let value = serde_json::json!({"a": 1.0, "list": [1, 2]});
    let expected = |text: &str| serde_json::from_str::<Expected>(text).unwrap().of_value(&value);
    assert_eq!(expected(r#"{"has": {"/a": 1}, "unordered": {"/list": [2, 1]}, "lacks": ["/b"]}"#), Ok(()));
    for wrong in [
        r#"{"has": {"/a": 2}}"#,
        r#"{"has": {"/b": null}}"#,
        r#"{"has": {"/list": [2, 1]}}"#,
        r#"{"unordered": {"/list": [1]}}"#,
        r#"{"present": ["/b"]}"#,
        r#"{"lacks": ["/a"]}"#,
    ] {
        assert!(expected(wrong).is_err(), "{wrong}");
    }
    assert_eq!(marathon_path("/a/0/b"), "/a(0)/b");
}
