//! Entries of the repository documents v3, v4 and v5 that Cosmos reads from `/repo`.
//!
//! Source: the repo schemas of mesosphere/universe and its `gen_universe.py`. A document of format vN carries
//! packaging versions up to N.0 (2.0 stays 2.0); v3 is read by DC/OS up to 1.9 only, so 4.0 is made 3.0 there.

use serde_json::{Map, Value};

use super::{PackageDefinition, PackagingVersion};

/// The format of a repository document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RepoFormat {
    /// For Cosmos of DC/OS 1.8 and 1.9.
    V3,
    /// For Cosmos of DC/OS 1.10 and 1.11.
    V4,
    /// For Cosmos of DC/OS 1.12 and later.
    V5,
}

impl RepoFormat {
    /// The word in the media type (`version=v5`).
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V3 => "v3",
            Self::V4 => "v4",
            Self::V5 => "v5",
        }
    }
}

impl PackageDefinition {
    /// The entry of this package in a document. None where the format cannot carry it, or where the definition has
    /// no release version yet, which every Cosmos demands.
    #[must_use]
    pub fn repo_entry(&self, format: RepoFormat) -> Option<Value> {
        let newest = match format {
            RepoFormat::V3 | RepoFormat::V4 => PackagingVersion::V4,
            RepoFormat::V5 => PackagingVersion::V5,
        };
        if self.packaging_version > newest {
            return None;
        }
        let Value::Object(mut entry) = self.metadata() else { return None };
        entry.insert("releaseVersion".into(), self.release_version?.into());
        if format == RepoFormat::V3 {
            downgrade(&mut entry);
        }
        Some(Value::Object(entry))
    }
}

/// Makes an entry one that DC/OS before 1.10 understands.
fn downgrade(entry: &mut Map<String, Value>) {
    if entry.get("packagingVersion").and_then(Value::as_str) == Some("4.0") {
        entry.remove("upgradesFrom");
        entry.remove("downgradesTo");
        entry.insert("packagingVersion".into(), "3.0".into());
    }
    if let Some(properties) = entry.get_mut("config").and_then(|config| config.get_mut("properties")) {
        escape_properties(properties);
    }
}

/// Cosmos before 0.4 put option strings into templates without escaping them, so defaults that hold quotes
/// carry one more backslash there.
fn escape_properties(properties: &mut Value) {
    for property in properties.as_object_mut().into_iter().flat_map(Map::values_mut) {
        escape_member(property, "description");
        match property.get("type").and_then(Value::as_str) {
            Some("string") => escape_member(property, "default"),
            Some("object") => property.get_mut("properties").into_iter().for_each(escape_properties),
            _ => {}
        }
    }
}

fn escape_member(property: &mut Value, name: &str) {
    if let Some(Value::String(text)) = property.get_mut(name) {
        *text = escape_quotes(text);
    }
}

/// Puts a backslash before each quote that follows another character than a backslash. That character is used up,
/// so the second of two adjacent quotes stays: this is what the Universe's generator did, and clusters have it so.
fn escape_quotes(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        escaped.push(c);
        if c != '\\' && rest.next_if_eq(&'"').is_some() {
            escaped.push_str("\\\"");
        }
    }
    escaped
}

/// A value as compact JSON in ASCII: other characters as `\uXXXX`, above the first plane as two of them.
/// Cosmos before 0.6 decoded documents with the machine's character set.
#[must_use]
pub fn ascii_json(value: &Value) -> String {
    let json = value.to_string();
    if json.is_ascii() {
        return json;
    }
    let mut ascii = String::with_capacity(json.len() + json.len() / 4);
    for c in json.chars() {
        if c.is_ascii() {
            ascii.push(c);
            continue;
        }
        // Only strings hold such characters, and there an escape means the same.
        for unit in c.encode_utf16(&mut [0; 2]) {
            ascii.push_str("\\u");
            ascii.push_str(&data_encoding::HEXLOWER.encode(&unit.to_be_bytes()));
        }
    }
    ascii
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn ascii_json_is_ascii_and_means_the_same() {
        let value = json!({"ä": ["plain", "\u{1F600} \u{e9}\u{7f}\n\"\\"]});
        let text = ascii_json(&value);
        assert!(text.is_ascii(), "{text}");
        assert!(text.contains("\\ud83d\\ude00") && text.contains("\\u00e4"), "{text}");
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
    }

    #[test]
    fn quotes_are_escaped_as_the_generator_did() {
        for (text, escaped) in [
            (r#"a"b"#, r#"a\"b"#),
            (r#"a\"b"#, r#"a\"b"#),
            (r#""a"#, r#""a"#),
            (r#"a""b"#, r#"a\""b"#),
            (r#"a"""b"#, r#"a\""\"b"#),
            ("", ""),
        ] {
            assert_eq!(escape_quotes(text), escaped, "{text}");
        }
    }
}
