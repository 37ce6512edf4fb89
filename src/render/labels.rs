//! The labels by which Cosmos, the CLI and we ourselves find out which package an app was made from.
//!
//! Names and encodings are those of Cosmos (`MarathonApp.scala`, `StorageEnvelope.scala`). The gzip header carries no
//! time, so the same input gives the same label. Compare labels decoded: another gzip is no other package.

use std::io::{Read, Write};

use data_encoding::BASE64;
use flate2::{Compression, GzBuilder, read::GzDecoder};
use serde_json::{Map, Value, json};

use super::RenderRequest;

/// Longest label that is decoded, in bytes. The largest of the Universe has 72 KB.
const LONGEST_LABEL: usize = 4 << 20;

/// Longest text that a gzipped label may hold, in bytes.
const LONGEST_DEFINITION: u64 = 16 << 20;

/// The fixed labels of a package; they win over labels of the template.
pub(super) fn package_labels(request: &RenderRequest<'_>) -> impl Iterator<Item = (String, Value)> {
    let definition = request.definition;
    let options = without_nulls(request.options).to_string();
    let labels = [
        ("DCOS_PACKAGE_NAME", definition.name.to_string()),
        ("DCOS_PACKAGE_VERSION", definition.version.to_string()),
        ("DCOS_PACKAGE_SOURCE", request.repository.to_owned()),
        ("DCOS_PACKAGE_OPTIONS", BASE64.encode(options.as_bytes())),
        ("DCOS_PACKAGE_DEFINITION", definition_label(request)),
    ];
    labels.into_iter().map(|(name, text)| (name.to_owned(), Value::String(text)))
}

fn definition_label(request: &RenderRequest<'_>) -> String {
    let mut package = request.definition.metadata();
    if let Value::Object(map) = &mut package {
        map.insert("releaseVersion".into(), request.release_version.into());
    }
    let version = request.definition.packaging_version.major();
    let envelope = json!({
        "metadata": {
            "Content-Type": format!("application/vnd.dcos.universe.package+json;charset=utf-8;version=v{version}"),
            "Content-Encoding": "gzip",
        },
        "data": BASE64.encode(&gzip(package.to_string().as_bytes())),
    });
    BASE64.encode(envelope.to_string().as_bytes())
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzBuilder::new().mtime(0).write(Vec::new(), Compression::default());
    // Writing into memory does not fail.
    let written = encoder.write_all(bytes);
    written.and_then(|()| encoder.finish()).unwrap_or_default()
}

/// Objects lose their null members, at every depth, as the printer of Cosmos drops them.
fn without_nulls(map: &Map<String, Value>) -> Value {
    let kept = map.iter().filter(|(_, value)| !value.is_null());
    Value::Object(kept.map(|(key, value)| (key.clone(), clean(value))).collect())
}

fn clean(value: &Value) -> Value {
    match value {
        Value::Object(map) => without_nulls(map),
        Value::Array(items) => items.iter().map(clean).collect(),
        other => other.clone(),
    }
}

/// The JSON inside a base64 label, such as `DCOS_PACKAGE_OPTIONS` or the older `DCOS_PACKAGE_METADATA`. None where
/// the label holds something else.
#[must_use]
pub fn decode_json_label(label: &str) -> Option<Value> {
    if label.len() > LONGEST_LABEL {
        return None;
    }
    serde_json::from_slice(&BASE64.decode(label.as_bytes()).ok()?).ok()
}

/// The package definition inside `DCOS_PACKAGE_DEFINITION`, gzipped or plain (Cosmos 0.4.0). None where the label
/// holds something else, or more than 16 MiB.
#[must_use]
pub fn decode_definition_label(label: &str) -> Option<Value> {
    let envelope = decode_json_label(label)?;
    let data = BASE64.decode(envelope.get("data")?.as_str()?.as_bytes()).ok()?;
    match envelope.get("metadata")?.get("Content-Encoding").map(Value::as_str) {
        None => serde_json::from_slice(&data).ok(),
        Some(Some("gzip")) => {
            let mut text = Vec::new();
            GzDecoder::new(&data[..]).take(LONGEST_DEFINITION + 1).read_to_end(&mut text).ok()?;
            if text.len() as u64 > LONGEST_DEFINITION {
                return None;
            }
            serde_json::from_slice(&text).ok()
        }
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn envelope(metadata: &Value, data: &[u8]) -> String {
        BASE64.encode(json!({"metadata": metadata, "data": BASE64.encode(data)}).to_string().as_bytes())
    }

    #[test]
    fn definitions_are_read_plain_and_gzipped_and_nothing_else() {
        let package = json!({"name": "x"});
        let text = package.to_string();
        let plain = envelope(&json!({"Content-Type": "t"}), text.as_bytes());
        assert_eq!(decode_definition_label(&plain), Some(package.clone()));
        let gzipped = envelope(&json!({"Content-Encoding": "gzip"}), &gzip(text.as_bytes()));
        assert_eq!(decode_definition_label(&gzipped), Some(package));
        for encoding in ["br", ""] {
            let other = envelope(&json!({"Content-Encoding": encoding}), text.as_bytes());
            assert_eq!(decode_definition_label(&other), None, "{encoding}");
        }
        for bad in ["", "e30=", "not base64", "e30"] {
            assert_eq!(decode_definition_label(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_bomb_is_refused() {
        let mut text = vec![b' '; usize::try_from(LONGEST_DEFINITION).unwrap() + 2];
        text[..2].copy_from_slice(b"{}");
        let bomb = gzip(&text);
        assert!(bomb.len() < 100_000);
        assert_eq!(decode_definition_label(&envelope(&json!({"Content-Encoding": "gzip"}), &bomb)), None);
    }

    #[test]
    fn options_labels_are_json_in_base64() {
        assert_eq!(decode_json_label("e30="), Some(json!({})));
        assert_eq!(decode_json_label("e30"), None);
        assert_eq!(decode_json_label(&"e".repeat(LONGEST_LABEL + 1)), None);
    }

    #[test]
    fn the_gzip_header_carries_no_time() {
        assert_eq!(gzip(b"x")[4..8], [0; 4]);
    }
}
