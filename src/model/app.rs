//! A Marathon app as JSON with the few accessors that everybody needs.
//!
//! It stays JSON on purpose: we must send back every field that a server of any version knows, and a
//! typed struct would drop what it does not. What fields mean is known to `marathon::normalize`.

use serde_json::{Map, Value};

/// A Marathon app: a JSON object, desired or observed.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct App(pub Map<String, Value>);

impl App {
    /// Takes a JSON value that must be an object.
    #[must_use]
    pub fn from_value(value: Value) -> Option<Self> {
        match value {
            Value::Object(map) => Some(Self(map)),
            _ => None,
        }
    }

    /// The app as a JSON value.
    #[must_use]
    pub fn into_value(self) -> Value {
        Value::Object(self.0)
    }

    /// A member of the object.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.0.get(key)
    }

    /// `id` as written, not checked.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        self.get("id")?.as_str()
    }

    /// `instances`; Marathon's default is 1.
    #[must_use]
    pub fn instances(&self) -> u64 {
        self.get("instances").and_then(Value::as_u64).unwrap_or(1)
    }

    /// The observed `version` (a timestamp that moves with every change); empty where there is none.
    #[must_use]
    pub fn version(&self) -> &str {
        self.get("version").and_then(Value::as_str).unwrap_or_default()
    }

    /// The ids of the deployments that hold the observed app.
    pub fn deployments(&self) -> impl Iterator<Item = &str> {
        let list = self.get("deployments").and_then(Value::as_array);
        list.into_iter().flatten().filter_map(|d| d.get("id")?.as_str())
    }

    /// One label's text.
    #[must_use]
    pub fn label(&self, name: &str) -> Option<&str> {
        self.get("labels")?.get(name)?.as_str()
    }

    /// SHA-256 of the compact JSON with sorted keys.
    #[must_use]
    pub fn digest(&self) -> super::Digest {
        super::Digest::of(Value::Object(self.0.clone()).to_string().as_bytes())
    }
}
