//! JSON from strangers: bounded, and with one meaning only.
//!
//! `serde_json` alone takes two equal keys and lets the last win, where others take the first; and a text of
//! a few megabytes can become a tree of hundreds, because each object in it costs a node of half a kilobyte.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::error::shown;

/// How deep arrays and objects may be nested.
const DEPTH: usize = 64;

/// How many values a document may have.
const VALUES: usize = 100_000;

/// Reads a document.
///
/// # Errors
/// For everything that is not JSON in UTF-8 without byte order mark, for equal keys in one object, and for more
/// values or levels than accepted.
pub fn parse(bytes: &[u8]) -> Result<Value, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let mut left = VALUES;
    let value = Strict { left: &mut left, depth: DEPTH }.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(value)
}

struct Strict<'a> {
    left: &'a mut usize,
    depth: usize,
}

impl Strict<'_> {
    fn deeper<E: serde::de::Error>(&self) -> Result<usize, E> {
        let too_deep = || E::custom(format_args!("nested deeper than {DEPTH} levels"));
        self.depth.checked_sub(1).ok_or_else(too_deep)
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        let too_many = || D::Error::custom(format_args!("more than {VALUES} values"));
        *self.left = self.left.checked_sub(1).ok_or_else(too_many)?;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let depth = self.deeper()?;
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(Strict { left: &mut *self.left, depth })? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let depth = self.deeper()?;
        let mut map = Map::new();
        while let Some(key) = members.next_key::<String>()? {
            if map.contains_key(&key) {
                return Err(A::Error::custom(format_args!("the key \"{}\" stands twice", shown(&key))));
            }
            let value = members.next_value_seed(Strict { left: &mut *self.left, depth })?;
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_what_serde_json_reads() {
        let text = r#"{"a":[1,-2,3.5,"ä\n😀",null,true,{}],"b":{"c":18446744073709551615}}"#;
        assert_eq!(parse(text.as_bytes()).unwrap(), serde_json::from_str::<Value>(text).unwrap());
    }

    #[test]
    fn limits_are_met_exactly() {
        let nested = |n: usize| "[".repeat(n) + &"]".repeat(n);
        assert!(parse(nested(DEPTH).as_bytes()).is_ok());
        assert!(parse(nested(DEPTH + 1).as_bytes()).unwrap_err().to_string().contains("64 levels"));
        let list = |n: usize| format!("[{}0]", "0,".repeat(n - 2));
        assert!(parse(list(VALUES).as_bytes()).is_ok());
        assert!(parse(list(VALUES + 1).as_bytes()).unwrap_err().to_string().contains("100000 values"));
    }

    #[test]
    fn what_readers_disagree_about_is_refused() {
        let bad: [&[u8]; 12] = [
            b"{\"a\":1,\"a\":1}",
            b"{\"a\":1,\"\\u0061\":1}",
            b"\xef\xbb\xbf{}",
            b"{}{}",
            b"NaN",
            b"Infinity",
            b"1e999",
            b"\"\\ud800\"",
            b"\"\xff\"",
            b"{'a':1}",
            b"[1,]",
            b"",
        ];
        for text in bad {
            assert!(parse(text).is_err(), "{}", text.escape_ascii());
        }
    }
}
