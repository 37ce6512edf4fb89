//! The key of a unit: which source, which kind, which name.

use std::fmt;

use super::{SourceName, UnitName};

/// The kinds of units that a manifest may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub enum UnitKind {
    /// A package version that the registry shall hold.
    Package,
    /// An app rendered from a package.
    Service,
    /// A Marathon app written out.
    App,
}

impl UnitKind {
    /// All kinds, in the order in which they are listed.
    pub const ALL: [Self; 3] = [Self::Package, Self::Service, Self::App];

    /// The word in `kind:`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Package => "Package",
            Self::Service => "Service",
            Self::App => "App",
        }
    }
}

impl fmt::Display for UnitKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The key of a unit; displays as `Service/hello`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UnitId {
    /// The source whose manifest holds it.
    pub source: SourceName,
    /// Its kind.
    pub kind: UnitKind,
    /// Its `metadata.name`.
    pub name: UnitName,
}

impl fmt::Display for UnitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind, self.name)
    }
}
