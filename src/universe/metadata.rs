//! The package metadata: one JSON object that holds the whole definition.
//!
//! It is what `metadata-schema.json` of mesosphere/universe describes and what a package's digest is taken over:
//! the fields of `package.json`, the template as base64, `resource`, `config`, and no `releaseVersion`.

use data_encoding::BASE64;
use serde_json::{Map, Value, json};

use super::check::{Fault, kind};
use super::directory::fields;
use super::rules::{Document, check};
use super::{PackageDefinition, PackagingVersion, UniverseError, non_empty};
use crate::model::{PackageName, PackageVersion};

/// The member that carries the template.
pub(super) const TEMPLATE: &str = "v2AppMustacheTemplate";

impl PackageDefinition {
    /// The metadata. Absent and empty parts are left out.
    #[must_use]
    pub fn metadata(&self) -> Value {
        let mut all = self.fields.clone();
        if let Some(template) = &self.template {
            all.insert("marathon".into(), json!({TEMPLATE: BASE64.encode(template.as_bytes())}));
        }
        let parts = [("resource", &self.resource), ("config", &self.config), ("command", &self.command)];
        for (name, part) in parts {
            if let Some(value) = part.clone().and_then(non_empty) {
                all.insert(name.into(), value);
            }
        }
        Value::Object(all)
    }

    /// Reads metadata. Explicit nulls count as absent, because Cosmos writes them; `selected` and `releaseVersion`
    /// are dropped, and links may be paths inside the package.
    ///
    /// # Errors
    /// [`UniverseError::Metadata`] with all faults.
    pub fn from_metadata(
        metadata: &Value,
        release_version: Option<u64>,
    ) -> Result<PackageDefinition, UniverseError> {
        let Value::Object(map) = metadata else {
            let fault = Fault::new("", format!("is {} but must be an object", kind(metadata)), "");
            return Err(UniverseError::Metadata(vec![fault]));
        };
        let mut map = map.clone();
        let mut faults = Vec::new();
        let template = template(map.remove("marathon"), &mut faults);
        let mut part = |name: &str| part(&mut map, name, &mut faults);
        let (resource, config, command) = (part("resource"), part("config"), part("command"));
        let resource = resource.and_then(|r| non_empty(without_nulls(r)));
        let mut map = fields(map);
        map = map.into_iter().map(|(k, v)| (k, without_nulls(v))).filter(|(_, v)| !v.is_null()).collect();
        let known = map.get("packagingVersion").and_then(Value::as_str).and_then(PackagingVersion::parse);
        let version = known.unwrap_or(PackagingVersion::V5);
        faults.extend(check(Document::Package, &map, version, false));
        faults.extend(inside("resource", resource.as_ref(), Document::Resource, version));
        faults.extend(inside("command", command.as_ref(), Document::Command, version));
        faults.extend(combination(version, template.is_some(), command.is_some()));
        let text = |key: &str| map.get(key).and_then(Value::as_str).unwrap_or_default();
        match (known, PackageName::new(text("name")), PackageVersion::new(text("version"))) {
            (Some(packaging_version), Ok(name), Ok(version)) if faults.is_empty() => Ok(PackageDefinition {
                packaging_version,
                name,
                version,
                release_version,
                fields: map,
                resource,
                config,
                template,
                command,
            }),
            _ => Err(UniverseError::Metadata(faults)),
        }
    }
}

fn part(map: &mut Map<String, Value>, name: &str, faults: &mut Vec<Fault>) -> Option<Value> {
    let value = non_empty(map.remove(name)?)?;
    if !value.is_object() {
        faults.push(Fault::new(name, format!("is {} but must be an object", kind(&value)), ""));
    }
    Some(value)
}

fn inside(
    name: &str,
    part: Option<&Value>,
    document: Document,
    version: PackagingVersion,
) -> impl Iterator<Item = Fault> {
    let faults = part.and_then(Value::as_object).map(|map| check(document, map, version, false));
    let name = name.to_owned();
    faults.into_iter().flatten().map(move |fault| {
        let path = if fault.path.is_empty() { name.clone() } else { format!("{name}.{}", fault.path) };
        Fault { path, ..fault }
    })
}

fn combination(version: PackagingVersion, template: bool, command: bool) -> Option<Fault> {
    if version == PackagingVersion::V2 && !template {
        return Some(Fault::new("marathon", "is missing: packaging version 2.0 demands it", ""));
    }
    let late = command && version >= PackagingVersion::V4;
    late.then(|| Fault::new("command", "is not allowed since packaging version 4.0", ""))
}

fn template(marathon: Option<Value>, faults: &mut Vec<Fault>) -> Option<String> {
    let marathon = marathon?;
    if marathon.is_null() {
        return None;
    }
    let path = format!("marathon.{TEMPLATE}");
    let Some(encoded) = marathon.get(TEMPLATE).and_then(Value::as_str) else {
        faults.push(Fault::new(&path, "is missing or no string", ""));
        return None;
    };
    let decoded = BASE64.decode(encoded.as_bytes()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    if decoded.is_none() {
        faults.push(Fault::new(&path, "is no base64 of UTF-8 text", "standard alphabet with padding"));
    }
    decoded.filter(|text| !text.is_empty())
}

/// The value without null members of objects.
fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(map) => Value::Object(
            map.into_iter().filter(|(_, v)| !v.is_null()).map(|(k, v)| (k, without_nulls(v))).collect(),
        ),
        Value::Array(items) => Value::Array(items.into_iter().map(without_nulls).collect()),
        other => other,
    }
}
