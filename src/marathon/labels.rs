//! What the package labels of an app say, decoded.
//!
//! Cosmos writes JSON into them as base64, the package definition gzipped inside an envelope. Two
//! implementations, or two versions of zlib, write different texts for the same content; and since any
//! change of a label restarts all tasks, labels are compared by content. Nulls count as missing, as Cosmos
//! writes them or not depending on its version (dcos/cosmos, model/StorageEnvelope.scala).

use std::io::Read as _;

use data_encoding::BASE64;
use flate2::read::GzDecoder;
use serde_json::{Value, json};

/// The labels that hold encoded JSON.
const ENCODED: [&str; 3] = ["DCOS_PACKAGE_DEFINITION", "DCOS_PACKAGE_METADATA", "DCOS_PACKAGE_OPTIONS"];

/// The longest label text that is decoded; the longest known one has 72 KiB.
pub(super) const LONGEST_TEXT: usize = 2 * 1024 * 1024;

/// The most bytes that a label may inflate to.
pub(super) const LONGEST_JSON: u64 = 16 * 1024 * 1024;

/// The JSON that a package label holds; none for other labels and for texts that are no such encoding.
#[must_use]
pub fn decoded(label: &str, text: &str) -> Option<Value> {
    if !ENCODED.contains(&label) {
        return None;
    }
    let mut value = json_of(text)?;
    if let Some(data) = value.get("data").and_then(Value::as_str).filter(|_| value.get("metadata").is_some())
    {
        let part = |key: &str| value.pointer(&format!("/metadata/{key}")).and_then(Value::as_str);
        let data = match part("Content-Encoding") {
            None => json_of(data)?,
            Some("gzip") => inflated(data)?,
            Some(_) => return None,
        };
        value = json!({"type": part("Content-Type"), "data": data});
    }
    Some(without_nulls(value))
}

/// Whether two texts of one label mean the same.
#[must_use]
pub fn same(label: &str, one: &str, other: &str) -> bool {
    one == other || decoded(label, one).is_some_and(|value| decoded(label, other) == Some(value))
}

fn bytes_of(text: &str) -> Option<Vec<u8>> {
    if text.len() > LONGEST_TEXT {
        return None;
    }
    BASE64.decode(text.as_bytes()).ok()
}

fn json_of(text: &str) -> Option<Value> {
    serde_json::from_slice(&bytes_of(text)?).ok()
}

fn inflated(text: &str) -> Option<Value> {
    let packed = bytes_of(text)?;
    let mut plain = Vec::new();
    // One byte more than allowed, so that a text that is cut off does not pass for a whole one.
    GzDecoder::new(&packed[..]).take(LONGEST_JSON + 1).read_to_end(&mut plain).ok()?;
    if plain.len() as u64 > LONGEST_JSON {
        return None;
    }
    serde_json::from_slice(&plain).ok()
}

fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let kept = map.into_iter().filter(|(_, v)| !v.is_null());
            Value::Object(kept.map(|(k, v)| (k, without_nulls(v))).collect())
        }
        Value::Array(items) => items.into_iter().map(without_nulls).collect(),
        value => value,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    /// A package definition label, packed with that level of compression.
    pub(crate) fn definition(content: &Value, level: u32) -> String {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::new(level));
        encoder.write_all(content.to_string().as_bytes()).unwrap();
        let data = BASE64.encode(&encoder.finish().unwrap());
        let metadata = json!({"Content-Type": "t", "Content-Encoding": "gzip"});
        BASE64.encode(json!({"metadata": metadata, "data": data}).to_string().as_bytes())
    }

    #[test]
    fn definitions_are_compared_by_content() {
        let content = json!({"name": "x", "text": "abcabcabcabcabcabc".repeat(50)});
        let (one, other) = (definition(&content, 0), definition(&content, 9));
        assert_ne!(one, other);
        assert!(same("DCOS_PACKAGE_DEFINITION", &one, &other));
        assert!(!same("OTHER", &one, &other));
        assert!(!same("DCOS_PACKAGE_DEFINITION", &one, &definition(&json!({"name": "y"}), 9)));
    }

    #[test]
    fn options_may_differ_in_layout_and_nulls() {
        let text = |json: &str| BASE64.encode(json.as_bytes());
        let (one, other) = (text(r#"{"a":1,"b":null}"#), text("{ \"a\": 1 }"));
        assert!(same("DCOS_PACKAGE_OPTIONS", &one, &other));
        assert!(!same("DCOS_PACKAGE_OPTIONS", &one, &text("{}")));
    }

    #[test]
    fn what_cannot_be_decoded_is_compared_as_text() {
        assert!(same("DCOS_PACKAGE_OPTIONS", "???", "???"));
        assert!(!same("DCOS_PACKAGE_OPTIONS", "???", "!!!"));
        let envelope = json!({"metadata": {"Content-Encoding": "br"}, "data": "e30="}).to_string();
        assert_eq!(decoded("DCOS_PACKAGE_DEFINITION", &BASE64.encode(envelope.as_bytes())), None);
    }

    #[test]
    fn plain_envelopes_are_read_and_nonsense_is_not() {
        let plain = json!({"metadata": {"Content-Type": "t"}, "data": BASE64.encode(b"{\"name\":\"x\"}")});
        let label = BASE64.encode(plain.to_string().as_bytes());
        let read = decoded("DCOS_PACKAGE_DEFINITION", &label).unwrap();
        assert_eq!(read["data"], json!({"name": "x"}));
        assert_eq!(decoded("DCOS_PACKAGE_OPTIONS", "e30="), Some(json!({})));
        for bad in ["", "e30", "not base64", &"e30=".repeat(LONGEST_TEXT)] {
            assert_eq!(decoded("DCOS_PACKAGE_OPTIONS", bad), None);
        }
    }

    #[test]
    fn a_bomb_is_not_inflated() {
        let bomb = Value::String(" ".repeat(usize::try_from(LONGEST_JSON).unwrap()));
        assert_eq!(decoded("DCOS_PACKAGE_DEFINITION", &definition(&bomb, 9)), None);
    }
}
