//! Option values as the template engine sees them, converted as Cosmos converts JSON to Java values.
//!
//! A string is put into the text JSON-escaped and without its quotes, inside an array with them. A whole number is
//! its digits, another one what `Double.toString` prints. Lists print as `[a, b]`, objects as `{k=v}`; the order
//! of keys in the latter is a hash order in Java and sorted here.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Map, Number, Value};

/// A value in the context of a template.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Data {
    Null,
    Bool(bool),
    /// As printed.
    Number(String),
    /// As printed.
    Text(String),
    List(Vec<Data>),
    Map(BTreeMap<String, Data>),
    /// The function `asJson`.
    AsJson,
}

impl Data {
    /// The context of a template: the options, and the function `asJson` (Cosmos 0.6.3 and later).
    pub(super) fn context(options: &Map<String, Value>) -> Self {
        let mut members = members(options);
        members.insert("asJson".into(), Self::AsJson);
        Self::Map(members)
    }

    fn of(value: &Value, in_array: bool) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(bool) => Self::Bool(*bool),
            Value::Number(number) => Self::Number(number_text(number)),
            Value::String(text) if in_array => Self::Text(format!("\"{}\"", escape(text))),
            Value::String(text) => Self::Text(escape(text)),
            Value::Array(items) => Self::List(items.iter().map(|item| Self::of(item, true)).collect()),
            Value::Object(map) => Self::Map(members(map)),
        }
    }

    /// Whether a section over it is left out: null, false, the empty string, the empty list. 0 and {} are not.
    pub(super) fn is_falsy(&self) -> bool {
        match self {
            Self::Null => true,
            Self::Bool(bool) => !bool,
            Self::Text(text) => text.is_empty(),
            Self::List(items) => items.is_empty(),
            Self::Number(_) | Self::Map(_) | Self::AsJson => false,
        }
    }
}

fn members(map: &Map<String, Value>) -> BTreeMap<String, Data> {
    map.iter().map(|(key, value)| (key.clone(), Data::of(value, false))).collect()
}

impl fmt::Display for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(bool) => write!(f, "{bool}"),
            Self::Number(text) | Self::Text(text) => f.write_str(text),
            Self::List(items) => {
                f.write_str("[")?;
                for (index, item) in items.iter().enumerate() {
                    let comma = if index > 0 { ", " } else { "" };
                    write!(f, "{comma}{item}")?;
                }
                f.write_str("]")
            }
            Self::Map(map) => {
                f.write_str("{")?;
                for (index, (key, value)) in map.iter().enumerate() {
                    let comma = if index > 0 { ", " } else { "" };
                    write!(f, "{comma}{key}={value}")?;
                }
                f.write_str("}")
            }
            Self::AsJson => Ok(()),
        }
    }
}

/// JSON escapes as circe prints them: the short ones, `\uXXXX` for control characters, nothing else.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' => escaped.push_str("\\\""),
            '\\' => escaped.push_str("\\\\"),
            '\u{8}' => escaped.push_str("\\b"),
            '\u{c}' => escaped.push_str("\\f"),
            '\n' => escaped.push_str("\\n"),
            '\r' => escaped.push_str("\\r"),
            '\t' => escaped.push_str("\\t"),
            // Control characters end at U+009F, so this is all of the number.
            c if c.is_control() => {
                escaped.push_str("\\u");
                escaped.push_str(&data_encoding::HEXLOWER.encode(&(c as u32).to_be_bytes()[2..]));
            }
            c => escaped.push(c),
        }
    }
    escaped
}

/// A number as Cosmos prints it. Literals beyond 64 bits have passed through a double before they come here.
fn number_text(number: &Number) -> String {
    if number.is_i64() || number.is_u64() {
        return number.to_string();
    }
    let double = number.as_f64().unwrap_or_default();
    // Shortest digits that name this double: `-d.ddde±x`.
    let scientific = format!("{double:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    let (sign, mantissa) = mantissa.strip_prefix('-').map_or(("", mantissa), |rest| ("-", rest));
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    if double == 0.0 {
        return "0".into();
    }
    let text = match usize::try_from(exponent) {
        Ok(exponent) if digits.len() <= exponent + 1 => whole(&digits, exponent),
        _ => java_double(&digits, exponent),
    };
    format!("{sign}{text}")
}

/// Plain digits of a whole number.
fn whole(digits: &str, exponent: usize) -> String {
    format!("{digits}{}", "0".repeat(exponent + 1 - digits.len()))
}

/// `Double.toString`: plain from 0.001 up to 10 million, else `d.dddE±x`.
fn java_double(digits: &str, exponent: i32) -> String {
    match exponent {
        0..7 => {
            let point = usize::try_from(exponent).unwrap_or_default() + 1;
            format!("{}.{}", &digits[..point], &digits[point..])
        }
        -3..0 => {
            let zeros = usize::try_from(-exponent - 1).unwrap_or_default();
            format!("0.{}{digits}", "0".repeat(zeros))
        }
        _ => {
            let rest = if digits.len() > 1 { &digits[1..] } else { "0" };
            format!("{}.{rest}E{exponent}", &digits[..1])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(json: &str) -> String {
        Data::of(&serde_json::from_str(json).unwrap(), false).to_string()
    }

    #[test]
    fn whole_numbers_are_plain_digits() {
        for (json, text) in [
            ("0", "0"),
            ("-0", "0"),
            ("-0.0", "0"),
            ("7", "7"),
            ("-7", "-7"),
            ("2.0", "2"),
            ("-2.0", "-2"),
            ("1e3", "1000"),
            ("12.5e1", "125"),
            ("4200000000000000000", "4200000000000000000"),
            ("18446744073709551615", "18446744073709551615"),
            ("1e7", "10000000"),
            ("1e21", "1000000000000000000000"),
        ] {
            assert_eq!(printed(json), text, "{json}");
        }
        let largest = printed("1.7976931348623157E308");
        assert_eq!(largest, format!("17976931348623157{}", "0".repeat(292)));
    }

    #[test]
    fn other_numbers_are_java_doubles() {
        for (json, text) in [
            ("0.1", "0.1"),
            ("-0.25", "-0.25"),
            ("1.5", "1.5"),
            ("0.001", "0.001"),
            ("0.0012", "0.0012"),
            ("0.0001", "1.0E-4"),
            ("1e-7", "1.0E-7"),
            ("1.25e-7", "1.25E-7"),
            ("1234567.5", "1234567.5"),
            ("12345678.5", "1.23456785E7"),
            ("5e-324", "5.0E-324"),
            ("3.141592653589793", "3.141592653589793"),
        ] {
            assert_eq!(printed(json), text, "{json}");
        }
    }

    #[test]
    fn strings_are_escaped_and_quoted_only_in_arrays() {
        assert_eq!(printed(r#""a\"b\\c\n\u0001\u007f\u00e9/""#), r#"a\"b\\c\n\u0001\u007fé/"#);
        assert_eq!(
            printed(r#"["a", ["b"], {"k": "v"}, 1, true, null]"#),
            r#"["a", ["b"], {k=v}, 1, true, null]"#
        );
        assert_eq!(printed(r#"{"b": [1, 2], "a": {"x": "y"}}"#), "{a={x=y}, b=[1, 2]}");
    }
}
