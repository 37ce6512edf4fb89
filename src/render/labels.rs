//! The labels by which Cosmos, the CLI and we ourselves find out which package an app was made from.
//!
//! Names and encodings are those of Cosmos (`MarathonApp.scala`, `StorageEnvelope.scala`). The gzip header carries no
//! time, so the same input gives the same label. Compare labels decoded: another gzip is no other package.

use std::io::Write;

use data_encoding::BASE64;
use flate2::{Compression, GzBuilder};
use serde_json::{Map, Value, json};

use super::RenderRequest;

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gzip_header_carries_no_time() {
        assert_eq!(gzip(b"x")[4..8], [0; 4]);
    }
}
