//! The names that entries of a bundle may have.
//!
//! Nothing is ever written under such a name. They are held to a list all the same, because whoever unpacks a
//! bundle with another tool relies on it, and because two readers must not see two different bundles.

use super::BundleFileError as Error;
use super::error::shown;
use crate::model::Digest;

/// The package definition.
pub const METADATA: &str = "metadata.json";
/// The list of members.
pub const MANIFEST: &str = "manifest.json";
/// The index of the OCI image layout, empty in this format version.
pub const INDEX: &str = "index.json";
/// What makes the whole an OCI image layout.
pub const LAYOUT: &str = "oci-layout";
/// Before the digest of a file, in hex.
pub const BLOBS: &str = "blobs/sha256/";

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// [`METADATA`]
    Metadata,
    /// [`MANIFEST`]
    Manifest,
    /// The bytes of members.
    Blob(Digest),
    /// [`INDEX`]
    Index,
    /// [`LAYOUT`]
    Layout,
}

/// The name, where it cannot lead anywhere else: ASCII without control characters, relative, with `/`
/// between segments that are neither empty nor dots.
///
/// # Errors
/// For every other name.
pub fn safe(bytes: &[u8]) -> Result<&str, Error> {
    let refused = || Error::UnsafeName { name: shown(&String::from_utf8_lossy(bytes)) };
    let name = str::from_utf8(bytes).map_err(|_| refused())?;
    // A slash at the end is how zip marks directories, which are refused for what they are.
    let mut segments = name.strip_suffix('/').unwrap_or(name).split('/');
    let plain = name.bytes().all(|b| b.is_ascii_graphic() && !b"\\:".contains(&b));
    if !plain || segments.any(|segment| matches!(segment, "" | "." | "..")) {
        return Err(refused());
    }
    Ok(name)
}

/// What the entry of that name is.
///
/// # Errors
/// For names that bundles do not have.
pub fn kind(name: &str) -> Result<Kind, Error> {
    match name {
        METADATA => Ok(Kind::Metadata),
        MANIFEST => Ok(Kind::Manifest),
        INDEX => Ok(Kind::Index),
        LAYOUT => Ok(Kind::Layout),
        _ => {
            let digest = name.strip_prefix(BLOBS).and_then(|hex| Digest::from_hex(hex).ok());
            digest.map(Kind::Blob).ok_or_else(|| Error::UnknownEntry { name: shown(name) })
        }
    }
}
