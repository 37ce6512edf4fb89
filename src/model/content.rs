//! What a package consists of: its metadata and its members, each with its digest.

use serde_json::Value;

use super::{Coordinate, Digest};

/// How metadata refers to one of its own members: `sha256:<hex>/<file name>`. The registry turns this into
/// `<public URL>/resource/<coordinate>/sha256:<hex>/<file name>` whenever it hands the metadata out.
pub const RESOURCE_REFERENCE: &str = "sha256:";

/// One file inside a package.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Member {
    /// What it is for: `asset/<alias>`, `image/icon-small`, `image/screenshots/0`, `cli/linux/x86-64`.
    pub role: String,
    /// The file's own name, the last segment of its URL.
    pub name: String,
    /// Digest of its bytes.
    pub digest: Digest,
    /// Length in bytes.
    pub size: u64,
    /// Media type, guessed from the name.
    pub media_type: String,
}

/// A package version ready to be published.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PackageContent {
    /// Name and version.
    pub coordinate: Coordinate,
    /// The release version that the source gives, if it gives one.
    pub release_version: Option<u64>,
    /// The package definition without `releaseVersion` and `selected`: the fields of `package.json` plus
    /// `marathon.v2AppMustacheTemplate`, `resource` and `config`; URIs of members are references
    /// (see [`RESOURCE_REFERENCE`]).
    pub metadata: Value,
    /// The files, sorted by role.
    pub members: Vec<Member>,
}

impl PackageContent {
    /// The package digest: SHA-256 over the canonical metadata (compact JSON, sorted keys) and the sorted
    /// (role, name, digest, size) of all members. Who built it, when, and how it was packed stay out of it,
    /// so that a rebuild of the same inputs is the same package.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let mut members: Vec<_> = self.members.iter().collect();
        members.sort();
        let members: Vec<_> =
            members.iter().map(|m| serde_json::json!([m.role, m.name, m.digest, m.size])).collect();
        let canonical = serde_json::json!({"metadata": self.metadata, "members": members});
        Digest::of(canonical.to_string().as_bytes())
    }
}

/// A URI in a package's metadata that names a file.
#[derive(Debug)]
pub struct ResourceUri<'a> {
    /// The role of the member that it names (see [`Member::role`]).
    pub role: String,
    /// Its place inside `resource`, such as `assets.uris.script`.
    pub path: String,
    /// The URI, to be read or replaced.
    pub uri: &'a mut String,
}

/// All URIs in `resource` that name files: assets, images and CLI binaries. Docker images are no files.
pub fn resource_uris(metadata: &mut Value) -> Vec<ResourceUri<'_>> {
    let mut found = Vec::new();
    for (section, value) in members(metadata.get_mut("resource")) {
        match section {
            "assets" => {
                for (alias, uri) in members(value.get_mut("uris")) {
                    add(&mut found, format!("asset/{alias}"), format!("assets.uris.{alias}"), uri);
                }
            }
            "images" => images(value, &mut found),
            "cli" => binaries(value, &mut found),
            _ => {}
        }
    }
    found
}

fn images<'a>(images: &'a mut Value, found: &mut Vec<ResourceUri<'a>>) {
    for (key, image) in members(Some(images)) {
        if let Value::Array(shots) = image {
            for (index, shot) in shots.iter_mut().enumerate() {
                add(found, format!("image/{key}/{index}"), format!("images.{key}[{index}]"), shot);
            }
        } else {
            add(found, format!("image/{key}"), format!("images.{key}"), image);
        }
    }
}

fn binaries<'a>(cli: &'a mut Value, found: &mut Vec<ResourceUri<'a>>) {
    for (system, machines) in members(cli.get_mut("binaries")) {
        for (machine, binary) in members(Some(machines)) {
            let path = format!("cli.binaries.{system}.{machine}.url");
            if let Some(url) = binary.get_mut("url") {
                add(found, format!("cli/{system}/{machine}"), path, url);
            }
        }
    }
}

fn members(object: Option<&mut Value>) -> impl Iterator<Item = (&str, &mut Value)> {
    let map = object.and_then(Value::as_object_mut);
    map.into_iter().flatten().map(|(key, value)| (key.as_str(), value))
}

fn add<'a>(found: &mut Vec<ResourceUri<'a>>, role: String, path: String, value: &'a mut Value) {
    if let Value::String(uri) = value {
        found.push(ResourceUri { role, path, uri });
    }
}

/// The metadata with each reference to a member (see [`RESOURCE_REFERENCE`]) replaced by the URL under
/// which the registry serves it. Other URIs stay as they are.
#[must_use]
pub fn resolve_references(metadata: &Value, coordinate: &Coordinate, public_url: &str) -> Value {
    let base = format!("{}/resource/{}/", public_url.trim_end_matches('/'), coordinate.encode());
    let mut resolved = metadata.clone();
    for ResourceUri { uri, .. } in resource_uris(&mut resolved) {
        let digest = uri.split_once('/').and_then(|(digest, _)| digest.parse::<Digest>().ok());
        if digest.is_some() {
            uri.insert_str(0, &base);
        }
    }
    resolved
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::{PackageName, PackageVersion};

    #[test]
    fn references_become_urls_and_nothing_else_changes() {
        let reference = format!("{}/a.sh", Digest::of(b"x"));
        let uris = |member: &str| {
            json!({
                "name": "hello",
                "description": member,
                "resource": {
                    "assets": {
                        "uris": {"script": member, "far": "https://example/x", "odd": "sha256:12/x"},
                        "container": {"docker": {"image": "sha256:12/x"}},
                    },
                    "images": {"icon-small": member, "screenshots": [member, 7]},
                    "cli": {"binaries": {"linux": {"x86-64": {"url": member, "kind": "executable"}}}},
                },
            })
        };
        let coordinate =
            Coordinate::new(PackageName::new("hello").unwrap(), PackageVersion::new("1").unwrap());
        let resolved = resolve_references(&uris(&reference), &coordinate, "http://127.0.0.1:5080/");
        let url = format!("http://127.0.0.1:5080/resource/{}/{reference}", coordinate.encode());
        let mut expected = uris(&url);
        expected["description"] = reference.into();
        assert_eq!(resolved, expected);
    }

    #[test]
    fn every_uri_has_its_role_and_place() {
        let mut metadata = json!({"resource": {
            "assets": {"uris": {"a": "1"}, "container": {"docker": {"i": "x"}}},
            "images": {"icon-large": "2", "screenshots": ["3"]},
            "cli": {"binaries": {"darwin": {"x86-64": {"url": "4"}}}},
        }});
        let found: Vec<_> =
            resource_uris(&mut metadata).into_iter().map(|u| (u.role, u.path, u.uri.clone())).collect();
        let expected = [
            ("asset/a", "assets.uris.a", "1"),
            ("cli/darwin/x86-64", "cli.binaries.darwin.x86-64.url", "4"),
            ("image/icon-large", "images.icon-large", "2"),
            ("image/screenshots/0", "images.screenshots[0]", "3"),
        ];
        assert_eq!(found, expected.map(|(a, b, c)| (a.to_owned(), b.to_owned(), c.to_owned())));
        assert!(resource_uris(&mut json!({"resource": 7})).is_empty());
    }
}
