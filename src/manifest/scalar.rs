//! What an unquoted YAML word means: the core schema of YAML 1.2 (section 10.3).
//!
//! So `yes`, `on` and `010` are not what YAML 1.1 made of them: the first two are text, the last is ten.
//! Numbers that JSON cannot carry exactly are errors, because options end up as JSON.

use serde_json::{Number, Value};

/// An unquoted word that has no JSON value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadScalar {
    /// `.inf` or `.nan`.
    NotFinite,
    /// An integer beyond 64 bits.
    TooLarge,
    /// The tag demands a type that the text does not have.
    WrongTag,
}

/// The value of an unquoted word without a tag.
pub fn resolve(text: &str) -> Result<Value, BadScalar> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Ok(Value::Null),
        "true" | "True" | "TRUE" => return Ok(Value::Bool(true)),
        "false" | "False" | "FALSE" => return Ok(Value::Bool(false)),
        _ => {}
    }
    if let Some(integer) = integer(text) {
        return integer.map(Value::Number);
    }
    if let Some(float) = float(text) {
        return Number::from_f64(float).map(Value::Number).ok_or(BadScalar::NotFinite);
    }
    Ok(Value::String(text.into()))
}

/// The value of a scalar under one of the tags `!!str`, `!!int`, `!!float`, `!!bool`, `!!null`.
pub fn resolve_tagged(text: &str, tag: &str) -> Result<Value, BadScalar> {
    if tag == "str" {
        return Ok(Value::String(text.into()));
    }
    let value = resolve(text)?;
    match (tag, &value) {
        ("bool", Value::Bool(_)) | ("null", Value::Null) | ("float", Value::Number(_)) => Ok(value),
        ("int", Value::Number(number)) if !number.is_f64() => Ok(value),
        _ => Err(BadScalar::WrongTag),
    }
}

/// `[-+]?[0-9]+`, `0o[0-7]+` or `0x[0-9a-fA-F]+`; none where the text is no integer.
fn integer(text: &str) -> Option<Result<Number, BadScalar>> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (digits, radix) = match (text.strip_prefix("0x"), text.strip_prefix("0o")) {
        (Some(hex), _) => (hex, 16),
        (_, Some(octal)) => (octal, 8),
        _ => (unsigned, 10),
    };
    if digits.is_empty() || !digits.chars().all(|c| c.is_digit(radix)) {
        return None;
    }
    if text.starts_with('-') {
        return Some(text.parse::<i64>().map(Number::from).map_err(|_| BadScalar::TooLarge));
    }
    Some(u64::from_str_radix(digits, radix).map(Number::from).map_err(|_| BadScalar::TooLarge))
}

/// `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`, infinities and not-a-number.
fn float(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    match unsigned {
        ".inf" | ".Inf" | ".INF" => return Some(f64::INFINITY),
        ".nan" | ".NaN" | ".NAN" if unsigned == text => return Some(f64::NAN),
        _ => {}
    }
    // Rust's own reader also takes `inf` and `infinity`, which are words here.
    let numeric = unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && unsigned.contains(|c: char| c.is_ascii_digit());
    if numeric { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn words_follow_yaml_1_2() {
        for (text, value) in [
            ("yes", json!("yes")),
            ("off", json!("off")),
            ("010", json!(10)),
            ("0o10", json!(8)),
            ("0x1F", json!(31)),
            ("0b1", json!("0b1")),
            ("1_000", json!("1_000")),
            ("+7", json!(7)),
            ("-7", json!(-7)),
            ("18446744073709551615", json!(u64::MAX)),
            ("0.1", json!(0.1)),
            (".5", json!(0.5)),
            ("1e3", json!(1000.0)),
            ("1.2.3", json!("1.2.3")),
            ("12:30", json!("12:30")),
            ("inf", json!("inf")),
            ("e5", json!("e5")),
            ("-", json!("-")),
            ("0x", json!("0x")),
            ("~", json!(null)),
            ("True", json!(true)),
            ("tRUE", json!("tRUE")),
            ("2020-01-01", json!("2020-01-01")),
        ] {
            assert_eq!(resolve(text), Ok(value), "{text}");
        }
    }

    #[test]
    fn what_json_cannot_carry_is_refused() {
        assert_eq!(resolve("18446744073709551616"), Err(BadScalar::TooLarge));
        assert_eq!(resolve("-9223372036854775809"), Err(BadScalar::TooLarge));
        for text in [".inf", "-.INF", ".NaN", "1e999"] {
            assert_eq!(resolve(text), Err(BadScalar::NotFinite), "{text}");
        }
    }

    #[test]
    fn tags_decide() {
        assert_eq!(resolve_tagged("1.0", "str"), Ok(json!("1.0")));
        assert_eq!(resolve_tagged("1", "int"), Ok(json!(1)));
        assert_eq!(resolve_tagged("yes", "bool"), Err(BadScalar::WrongTag));
        assert_eq!(resolve_tagged("x", "unknown"), Err(BadScalar::WrongTag));
    }
}
