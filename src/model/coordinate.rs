//! A package version's address: name + version, base32 in URLs.
//!
//! The encoding is that of Cosmos (`PackageCoordinate.scala`): RFC 4648 base32, lower case, no padding,
//! of the compact JSON `{"name":…,"version":…}` with the keys in that order.

use std::fmt;

use super::{PackageName, PackageVersion};

/// Name and version of a package.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Coordinate {
    /// The package's name.
    pub name: PackageName,
    /// The package's version.
    pub version: PackageVersion,
}

/// A URL segment that is no coordinate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a package coordinate: it must be the lower-case base32 of {{\"name\":…,\"version\":…}}")]
pub struct InvalidCoordinate;

impl Coordinate {
    /// The coordinate of a name and a version.
    #[must_use]
    pub fn new(name: PackageName, version: PackageVersion) -> Self {
        Self { name, version }
    }

    /// The URL segment.
    #[must_use]
    pub fn encode(&self) -> String {
        let json = format!(r#"{{"name":"{}","version":"{}"}}"#, self.name, self.version);
        let mut text = data_encoding::BASE32_NOPAD.encode(json.as_bytes());
        text.make_ascii_lowercase();
        text
    }

    /// Reads a URL segment; only the one canonical spelling is accepted.
    ///
    /// # Errors
    /// [`InvalidCoordinate`] for everything else.
    pub fn decode(segment: &str) -> Result<Self, InvalidCoordinate> {
        let upper = segment.to_ascii_uppercase();
        let json = data_encoding::BASE32_NOPAD.decode(upper.as_bytes()).map_err(|_| InvalidCoordinate)?;
        let coordinate: Self = serde_json::from_slice(&json).map_err(|_| InvalidCoordinate)?;
        if coordinate.encode() == segment { Ok(coordinate) } else { Err(InvalidCoordinate) }
    }
}

impl fmt::Display for Coordinate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The sample of the DC/OS documentation (Package Registry, upgrade section).
    const DOCUMENTED: &str = "pmrg4ylnmurduitqmfrwwylhmuwxezlhnfzxi4tzeiwce5tfojzws33oei5cembogixdcljqfyzc4mjnguydoljvmizgkyzwgarh2";

    #[test]
    fn the_documented_sample_decodes_and_encodes() {
        let coordinate = Coordinate::decode(DOCUMENTED).unwrap();
        assert_eq!(coordinate.name.as_str(), "package-registry");
        assert_eq!(coordinate.version.as_str(), "0.2.1-0.2.1-507-5b2ec60");
        assert_eq!(coordinate.encode(), DOCUMENTED);
    }

    #[test]
    fn other_spellings_are_refused() {
        assert!(Coordinate::decode(&DOCUMENTED.to_uppercase()).is_err());
        assert!(Coordinate::decode("").is_err());
        assert!(Coordinate::decode("mzxw6").is_err());
    }
}
