//! What `metadata.json` and `manifest.json` say, held against each other and against the files that are there.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::BundleFileError as Error;
use super::error::shown;
use super::names::{INDEX, LAYOUT, MANIFEST};
use crate::bundle::members::{can_be_served, media_type, wrong_hashes};
use crate::model::{Coordinate, Digest, Member, PackageContent, ResourceUri, resource_uris};
use crate::universe::{Fault, PackageDefinition, UniverseError, config_faults};

/// The format version that is written and read.
pub const FORMAT_VERSION: u64 = 1;

/// The version of the OCI image layout, the only one there is (OCI image-spec, image-layout.md).
pub const LAYOUT_VERSION: &str = "1.0.0";

/// The documents of a bundle, and the lengths of its blobs.
pub struct Documents {
    pub metadata: Value,
    pub manifest: Value,
    pub index: Option<Value>,
    pub layout: Option<Value>,
    pub blobs: BTreeMap<Digest, u64>,
}

/// `manifest.json`, which names the members.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Manifest {
    #[serde(rename = "formatVersion")]
    _format_version: u64,
    members: Vec<Listed>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Listed {
    role: String,
    name: String,
    digest: Digest,
    size: u64,
    media_type: String,
}

/// Makes the package of the documents.
///
/// # Errors
/// The first fault; of the metadata all faults at once.
pub fn package(documents: &Documents, limit: u64) -> Result<PackageContent, Error> {
    let embeds = !is_built_by_dcos_1_9(documents);
    let members = if embeds { members(documents, limit)? } else { Vec::new() };
    let definition = definition(&documents.metadata)?;
    let mut metadata = definition.metadata();
    if embeds {
        refuse_images(&metadata)?;
        check_references(&mut metadata, &members)?;
    } else {
        check_urls(&mut metadata)?;
    }
    if let Some((path, digest)) = wrong_hashes(&metadata, &members).into_iter().next() {
        return Err(Error::WrongHash { path: shown(&path), digest });
    }
    let coordinate = Coordinate::new(definition.name, definition.version);
    Ok(PackageContent { coordinate, release_version: definition.release_version, metadata, members })
}

/// Whether this is the form of DC/OS 1.9 and 1.10: nothing but the metadata and who built it. It embeds
/// nothing, so its resources are URLs (`main.py` of dcos-cli's experimental package commands).
fn is_built_by_dcos_1_9(documents: &Documents) -> bool {
    let Documents { manifest, index, layout, blobs, .. } = documents;
    let alone = index.is_none() && layout.is_none() && blobs.is_empty();
    let built = ["built-by", "created-by"].iter().any(|key| manifest.get(key).is_some());
    alone && built && manifest.get("formatVersion").is_none()
}

fn definition(metadata: &Value) -> Result<PackageDefinition, Error> {
    let faults = |faults| Error::Metadata(UniverseError::Metadata(faults));
    let fault = |path: &str, message: &str| Fault {
        path: path.to_owned(),
        message: message.to_owned(),
        suggestion: String::new(),
    };
    let release = match metadata.get("releaseVersion") {
        None | Some(Value::Null) => None,
        Some(value) => {
            let missing = || faults(vec![fault("releaseVersion", "must be a whole number from 0 on")]);
            Some(value.as_u64().ok_or_else(missing)?)
        }
    };
    let definition = PackageDefinition::from_metadata(metadata, release).map_err(Error::Metadata)?;
    let mut wrong = definition.config.as_ref().map(config_faults).unwrap_or_default();
    for Fault { path, .. } in &mut wrong {
        *path = if path.is_empty() { "config".to_owned() } else { format!("config.{path}") };
    }
    if wrong.is_empty() { Ok(definition) } else { Err(faults(wrong)) }
}

/// The members, sorted, each with its bytes in the bundle, and no bytes without a member.
fn members(documents: &Documents, limit: u64) -> Result<Vec<Member>, Error> {
    let wrong = |name, what: String| Error::Manifest { name, what };
    match documents.manifest.get("formatVersion") {
        Some(version) if version.as_u64() == Some(FORMAT_VERSION) => {}
        Some(version) => return Err(Error::FormatVersion { found: shown(&version.to_string()) }),
        None => return Err(wrong(MANIFEST, "formatVersion is missing".into())),
    }
    check_image_layout(documents)?;
    let manifest = Manifest::deserialize(&documents.manifest);
    let manifest = manifest.map_err(|error| wrong(MANIFEST, shown(&error.to_string())))?;
    if manifest.members.len() as u64 > limit {
        return Err(Error::TooManyEntries { count: manifest.members.len() as u64, limit });
    }
    let mut blobs = documents.blobs.clone();
    let mut members = Vec::new();
    for listed in manifest.members {
        let member = member(listed)?;
        let found = documents.blobs.get(&member.digest).copied();
        let role = || shown(&member.role);
        let found = found.ok_or_else(|| Error::MissingBlob { role: role(), digest: member.digest })?;
        if found != member.size {
            return Err(Error::MemberSize { role: role(), expected: member.size, found });
        }
        blobs.remove(&member.digest);
        members.push(member);
    }
    if let Some(digest) = blobs.keys().next() {
        return Err(Error::OrphanBlob { name: format!("blobs/sha256/{}", digest.hex()) });
    }
    members.sort();
    Ok(members)
}

/// Checks a member's texts. Its media type is then guessed from the name, as for package directories, because
/// it stays out of the package digest and so must not depend on who built the bundle.
fn member(listed: Listed) -> Result<Member, Error> {
    let wrong = |what: String| Error::Manifest { name: MANIFEST, what };
    let Listed { role, name, digest, size, media_type: stated } = listed;
    if !can_be_served(&name) {
        return Err(wrong(format!("{}: {:?} is no file name", shown(&role), shown(&name))));
    }
    if !is_media_type(&stated) {
        return Err(wrong(format!("{}: {:?} is no media type", shown(&role), shown(&stated))));
    }
    let media_type = media_type(&name).to_owned();
    Ok(Member { role, name, digest, size, media_type })
}

/// Two names of at most 127 characters each (RFC 6838, 4.2).
fn is_media_type(text: &str) -> bool {
    let name = |part: &str| {
        (1..=127).contains(&part.len())
            && part.starts_with(|c: char| c.is_ascii_alphanumeric())
            && part.chars().all(|c| c.is_ascii_alphanumeric() || "!#$&-^_.+".contains(c))
    };
    text.split_once('/').is_some_and(|(kind, subtype)| name(kind) && name(subtype))
}

/// The image layout must be there, and empty, since images are not taken yet.
fn check_image_layout(documents: &Documents) -> Result<(), Error> {
    let Some(layout) = &documents.layout else { return Err(Error::MissingEntry { name: LAYOUT }) };
    if layout.get("imageLayoutVersion").and_then(Value::as_str) != Some(LAYOUT_VERSION) {
        let what = format!("imageLayoutVersion must be {LAYOUT_VERSION}");
        return Err(Error::Manifest { name: LAYOUT, what });
    }
    let Some(index) = &documents.index else { return Err(Error::MissingEntry { name: INDEX }) };
    match index.get("manifests").and_then(Value::as_array) {
        Some(images) if images.is_empty() => Ok(()),
        Some(_) => Err(Error::Images { what: "index.json names some".into() }),
        None => Err(Error::Manifest { name: INDEX, what: "manifests must be an array".into() }),
    }
}

fn refuse_images(metadata: &Value) -> Result<(), Error> {
    let images = metadata.pointer("/resource/assets/container/docker").and_then(Value::as_object);
    match images.and_then(|images| images.keys().next()) {
        Some(alias) => {
            let what = format!("metadata.json: resource.assets.container.docker.{}", shown(alias));
            Err(Error::Images { what })
        }
        None => Ok(()),
    }
}

/// Each URI must be the reference of the member with its role, and each member must have a URI.
fn check_references(metadata: &mut Value, members: &[Member]) -> Result<(), Error> {
    let mut open: BTreeMap<&str, &Member> = BTreeMap::new();
    for member in members {
        if open.insert(&member.role, member).is_some() {
            let what = format!("{} stands twice", shown(&member.role));
            return Err(Error::Manifest { name: MANIFEST, what });
        }
    }
    for ResourceUri { role, path, uri } in resource_uris(metadata) {
        let digest = uri.split_once('/').and_then(|(digest, _)| digest.parse::<Digest>().ok());
        if digest.is_none() {
            return Err(Error::NotEmbedded { path: shown(&path), uri: shown(uri) });
        }
        let member = open.remove(role.as_str());
        if member.is_none_or(|member| format!("{}/{}", member.digest, member.name) != *uri) {
            return Err(Error::Reference { path: shown(&path), role: shown(&role) });
        }
    }
    match open.keys().next() {
        Some(role) => Err(Error::UnusedMember { role: shown(role) }),
        None => Ok(()),
    }
}

/// Each URI must be a web address.
fn check_urls(metadata: &mut Value) -> Result<(), Error> {
    for ResourceUri { path, uri, .. } in resource_uris(metadata) {
        if !uri.starts_with("http://") && !uri.starts_with("https://") {
            return Err(Error::NotEmbedded { path: shown(&path), uri: shown(uri) });
        }
    }
    Ok(())
}
