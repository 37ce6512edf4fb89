//! The packages of the registry, for people and programs: what there is, and taking one away.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::model::{Coordinate, Digest, PackageName, PackageVersion};
use crate::storage::catalog::{MemberRef, PackageEntry};

/// A package version in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PackageSummary {
    /// Its name.
    pub name: PackageName,
    /// Its version.
    pub version: PackageVersion,
    /// Its release version.
    pub release_version: u64,
    /// The package digest.
    pub digest: Digest,
    /// The lengths of its files together, in bytes; a file that it has twice counts once.
    pub size: u64,
    /// Name and version as they stand in the URLs of its files.
    pub coordinate: String,
}

/// A package version with its files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PackageDetails {
    /// What a list says of it.
    #[serde(flatten)]
    pub summary: PackageSummary,
    /// Its files.
    pub members: Vec<MemberDetails>,
}

/// A file of a package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MemberDetails {
    /// What the package uses it for.
    pub role: String,
    /// Its file name.
    pub name: String,
    /// Its digest.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
    /// Its media type.
    pub media_type: String,
    /// The path of its URL.
    pub path: String,
}

/// What a list says of a package version.
#[must_use]
pub fn summary(entry: &PackageEntry) -> PackageSummary {
    let Coordinate { name, version } = entry.coordinate.clone();
    let sizes: BTreeMap<_, _> = entry.members.iter().map(|member| (member.digest, member.size)).collect();
    PackageSummary {
        name,
        version,
        release_version: entry.release_version,
        digest: entry.digest,
        size: sizes.values().sum(),
        coordinate: entry.coordinate.encode(),
    }
}

/// Everything about a package version.
#[must_use]
pub fn details(entry: &PackageEntry) -> PackageDetails {
    let summary = summary(entry);
    let member = |member: MemberRef<'_>| MemberDetails {
        role: member.role.to_owned(),
        name: member.name.to_owned(),
        digest: member.digest,
        size: member.size,
        media_type: member.media_type.to_owned(),
        path: format!("/resource/{}/{}/{}", summary.coordinate, member.digest, member.name),
    };
    PackageDetails { members: entry.members.iter().map(member).collect(), summary }
}
