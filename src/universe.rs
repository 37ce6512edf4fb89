//! Universe packages: what a package definition is, how it is read from a directory, and how it is written
//! into the documents that Cosmos reads.
//!
//! Packaging versions 2.0, 3.0, 4.0 and 5.0 are known. The rules are those of the public JSON Schemas of
//! mesosphere/universe (`repo/meta/schema`) plus what Cosmos demands beyond them, because one bad package takes
//! away a cluster's whole catalog. A reader gets all faults at once, each with file, line, place and advice.
//!
//! Not here: fetching what a package refers to (`bundle`), options and templates (`render`).

mod check;
mod directory;
mod lines;
mod metadata;
mod repo;
mod rules;
mod select;

use serde_json::{Map, Value};

use crate::model::{ErrorClass, PackageName, PackageVersion};

pub use check::Fault;
pub use directory::{config_faults, read_directory};
pub use lines::line_of;
pub use repo::{RepoFormat, ascii_json};
pub use select::select_version;

/// The version of the packaging format (`packagingVersion`), oldest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PackagingVersion {
    /// 2.0: a template is required, there is no CLI binary.
    V2,
    /// 3.0: the template is optional, CLI binaries and `minDcosReleaseVersion` came in.
    V3,
    /// 4.0: `upgradesFrom` and `downgradesTo` came in, `command.json` went.
    V4,
    /// 5.0: `manager` came in.
    V5,
}

impl PackagingVersion {
    /// The text in `packagingVersion`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V2 => "2.0",
            Self::V3 => "3.0",
            Self::V4 => "4.0",
            Self::V5 => "5.0",
        }
    }

    /// Reads the text in `packagingVersion`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::V2, Self::V3, Self::V4, Self::V5].into_iter().find(|v| v.as_str() == text)
    }

    /// The whole number, as media types carry it (`version=v4`).
    #[must_use]
    pub fn major(self) -> u8 {
        match self {
            Self::V2 => 2,
            Self::V3 => 3,
            Self::V4 => 4,
            Self::V5 => 5,
        }
    }
}

/// One package definition, whatever form it was read from. Empty parts are none.
#[derive(Debug, Clone, PartialEq)]
pub struct PackageDefinition {
    /// The packaging format.
    pub packaging_version: PackagingVersion,
    /// The package's name.
    pub name: PackageName,
    /// The package's version.
    pub version: PackageVersion,
    /// The order of newness among the versions of a name; none where the source gives none.
    pub release_version: Option<u64>,
    /// The fields of `package.json` as they stand, without `selected` and `releaseVersion`: build definitions
    /// and metadata may not carry them (`metadata-schema.json`).
    pub fields: Map<String, Value>,
    /// `resource.json`: assets, images, CLI binaries.
    pub resource: Option<Value>,
    /// `config.json`: the draft-04 schema of the options.
    pub config: Option<Value>,
    /// `marathon.json.mustache`; none for packages that bring a CLI only.
    pub template: Option<String>,
    /// `command.json`, up to packaging version 3.0.
    pub command: Option<Value>,
}

/// Why a value is no package definition.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UniverseError {
    /// The metadata breaks rules of its packaging version; all faults, in order.
    #[error("the package metadata is not valid: {}", join(.0))]
    Metadata(Vec<Fault>),
}

impl UniverseError {
    /// What the error asks for.
    #[must_use]
    pub fn class(&self) -> ErrorClass {
        ErrorClass::Stall
    }

    /// A stable word for labels and conditions.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::Metadata(_) => "InvalidMetadata",
        }
    }
}

fn join(faults: &[Fault]) -> String {
    faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// The part, unless it is empty: an empty object counts as absent everywhere (`gen_universe.py` drops it).
fn non_empty(part: Value) -> Option<Value> {
    match &part {
        Value::Null => None,
        Value::Object(map) if map.is_empty() => None,
        _ => Some(part),
    }
}

#[cfg(test)]
mod tests;
