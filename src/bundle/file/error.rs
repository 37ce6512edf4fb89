//! Why a bundle file is refused.

use std::io;

use crate::model::{Digest, ErrorClass};
use crate::universe::UniverseError;

/// Why a bundle file is refused. Names are cut and escaped, so that messages can be shown and logged.
#[derive(Debug, thiserror::Error)]
pub enum BundleFileError {
    /// The spooled file cannot be read.
    #[error("the bundle cannot be read from its file; try again")]
    Read(#[source] io::Error),
    /// There is no trace of a zip.
    #[error("this is no .dcos bundle: a bundle is a zip, with its directory at the end; send a built bundle")]
    NotZip,
    /// It ends too early, or a record reaches beyond its end.
    #[error("the bundle ends before {what}: it was cut off; send it again whole")]
    Truncated {
        /// What should have come.
        what: String,
    },
    /// Bytes or a comment after the end record.
    #[error("{count} bytes stand after the end of the zip; send the bundle as it was built")]
    TrailingData {
        /// How many.
        count: u64,
    },
    /// Bytes that belong to nothing.
    #[error("{count} bytes that belong to no entry stand before {before}; build the bundle again")]
    Gap {
        /// What stands behind them.
        before: String,
        /// How many.
        count: u64,
    },
    /// Two structures share bytes.
    #[error("{name} overlaps what follows it in the zip; build the bundle again")]
    Overlap {
        /// The first of the two.
        name: String,
    },
    /// One zip in several files.
    #[error("the bundle is one part of a zip split into several; join the parts first")]
    Split,
    /// The zip64 records are missing, or contradict the others.
    #[error("the zip64 data of {name} is wrong: {what}; build the bundle again")]
    Zip64 {
        /// An entry or the end record.
        name: String,
        /// What is wrong.
        what: &'static str,
    },
    /// More entries than accepted.
    #[error("the bundle has {count} entries, at most {limit} are accepted; make several packages of it")]
    TooManyEntries {
        /// How many.
        count: u64,
        /// The limit.
        limit: u64,
    },
    /// A central directory that is larger than its entries could need.
    #[error(
        "the zip's directory takes {size} bytes, at most {limit} are accepted; leave out comments and extra fields"
    )]
    DirectoryTooLarge {
        /// Its length in bytes.
        size: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// The central directory cannot be read.
    #[error("the zip's directory is damaged at entry {index}: {what}; send the bundle again")]
    BadDirectory {
        /// The entry, counted from 0.
        index: u64,
        /// What is wrong.
        what: &'static str,
    },
    /// A name that could lead elsewhere.
    #[error("\"{name}\" is no name for an entry; a bundle holds plain relative names in ASCII")]
    UnsafeName {
        /// The name.
        name: String,
    },
    /// A name that stands twice, upper and lower case being the same.
    #[error("{name} stands twice in the zip; build the bundle again")]
    DuplicateEntry {
        /// The name.
        name: String,
    },
    /// A name that a bundle does not have.
    #[error(
        "{name} has no place in a bundle: it holds metadata.json, manifest.json, index.json, oci-layout and blobs/sha256/<64 hex digits>"
    )]
    UnknownEntry {
        /// The name.
        name: String,
    },
    /// A directory, link or device.
    #[error("{name} is no regular file; a bundle holds regular files only (zip -D leaves directories out)")]
    NotAFile {
        /// The entry.
        name: String,
    },
    /// Encrypted.
    #[error("{name} is encrypted; build the bundle without a password")]
    Encrypted {
        /// The entry.
        name: String,
    },
    /// Neither stored nor deflated.
    #[error("{name} is packed with method {method}; only stored (0) and deflate (8) are read")]
    UnknownMethod {
        /// The entry.
        name: String,
        /// The method's number.
        method: u16,
    },
    /// A flag that changes the meaning of the data.
    #[error("{name} has flags that are not known ({flags:#06x}); build the bundle with a plain zip tool")]
    UnknownFlags {
        /// The entry.
        name: String,
        /// All its flags.
        flags: u16,
    },
    /// An extra field that is cut off, or gives the entry another name.
    #[error(
        "{name} has a zip extra field that is not accepted ({what}); build the bundle with a plain zip tool"
    )]
    BadExtraField {
        /// The entry.
        name: String,
        /// What is wrong.
        what: &'static str,
    },
    /// The local header says other things than the directory.
    #[error("the two headers of {name} differ in {what}; build the bundle again")]
    HeaderMismatch {
        /// The entry.
        name: String,
        /// The field.
        what: &'static str,
    },
    /// The data descriptor says other things than the directory.
    #[error("the data descriptor of {name} does not match the zip's directory; build the bundle again")]
    BadDescriptor {
        /// The entry.
        name: String,
    },
    /// Stored, but with two lengths.
    #[error("{name} is stored, but takes {packed} bytes for {size}; build the bundle again")]
    StoredSize {
        /// The entry.
        name: String,
        /// Length in the zip.
        packed: u64,
        /// Length of the file.
        size: u64,
    },
    /// Packed too well to be true.
    #[error("{name} becomes more than {limit} times as long when unpacked; store it without compression")]
    Ratio {
        /// The entry.
        name: String,
        /// The limit.
        limit: u64,
    },
    /// One file that is read as a whole is too long.
    #[error("{name} has {size} bytes, at most {limit} are accepted; make it shorter")]
    EntryTooLarge {
        /// The entry.
        name: String,
        /// Its length in bytes.
        size: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// All files together are too long.
    #[error("the bundle's files have more than {limit} bytes together; make several packages of it")]
    TooLarge {
        /// The limit in bytes.
        limit: u64,
    },
    /// A file that every bundle has is not there.
    #[error("the bundle has no {name}; build it again")]
    MissingEntry {
        /// The file.
        name: &'static str,
    },
    /// The packed bytes are not what their headers say.
    #[error("{name} is damaged: {what}; send the bundle again")]
    Damaged {
        /// The entry.
        name: String,
        /// What is wrong.
        what: &'static str,
    },
    /// Not JSON, or JSON that two readers may understand differently.
    #[error("{name} is not read as JSON; correct it and build the bundle again")]
    Json {
        /// The file.
        name: String,
        /// Where and why.
        #[source]
        source: serde_json::Error,
    },
    /// The metadata breaks the rules for packages.
    #[error("metadata.json is refused; correct the package and build the bundle again")]
    Metadata(#[source] UniverseError),
    /// A file beside the metadata breaks the rules for bundles.
    #[error("{name} is refused: {what}; build the bundle again")]
    Manifest {
        /// The file.
        name: &'static str,
        /// What is wrong.
        what: String,
    },
    /// A later format.
    #[error(
        "manifest.json has the format version {found}, this program reads version 1; update it, or build the bundle with an older one"
    )]
    FormatVersion {
        /// What is written there.
        found: String,
    },
    /// A member whose bytes are not there.
    #[error("the bytes of {role} are missing: the bundle has no blobs/sha256/{}; build it again", .digest.hex())]
    MissingBlob {
        /// The member.
        role: String,
        /// Its digest.
        digest: Digest,
    },
    /// Bytes that no member names.
    #[error("manifest.json names no member for {name}; build the bundle again")]
    OrphanBlob {
        /// The entry.
        name: String,
    },
    /// A member has another length than its file.
    #[error("manifest.json gives {role} {expected} bytes, its file has {found}; build the bundle again")]
    MemberSize {
        /// The member.
        role: String,
        /// What the manifest says.
        expected: u64,
        /// The file's length.
        found: u64,
    },
    /// A URI in the metadata that is no reference into the bundle.
    #[error(
        "metadata.json: resource.{path}: {uri} is not in the bundle; build the bundle with the file in it"
    )]
    NotEmbedded {
        /// The place.
        path: String,
        /// The URI.
        uri: String,
    },
    /// Metadata and manifest do not fit together.
    #[error("metadata.json: resource.{path} and manifest.json disagree about {role}; build the bundle again")]
    Reference {
        /// The place.
        path: String,
        /// The member.
        role: String,
    },
    /// A member that the metadata does not name.
    #[error("metadata.json names no resource {role}, manifest.json does; build the bundle again")]
    UnusedMember {
        /// The member.
        role: String,
    },
    /// The metadata states another hash of a binary.
    #[error("metadata.json: resource.{path}: the file's SHA-256 is {}; correct the value", .digest.hex())]
    WrongHash {
        /// The place.
        path: String,
        /// The digest of the file.
        digest: Digest,
    },
    /// Docker images inside a bundle.
    #[error(
        "the bundle holds Docker images, which are not taken yet ({what}); leave the image out of resource.json and name it in the template"
    )]
    Images {
        /// Where.
        what: String,
    },
}

impl BundleFileError {
    /// What to do about it: only reading the spooled file may go better the next time.
    #[must_use]
    pub fn class(&self) -> ErrorClass {
        if matches!(self, Self::Read(_)) { ErrorClass::Retry } else { ErrorClass::Stall }
    }

    /// A stable word for metric labels and answers.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::Read(_) => "BundleUnreadable",
            Self::NotZip => "NotZip",
            Self::Truncated { .. } => "Truncated",
            Self::TrailingData { .. } => "TrailingData",
            Self::Gap { .. } => "Gap",
            Self::Overlap { .. } => "Overlap",
            Self::Split => "Split",
            Self::Zip64 { .. } => "Zip64",
            Self::TooManyEntries { .. } => "TooManyEntries",
            Self::DirectoryTooLarge { .. } => "DirectoryTooLarge",
            Self::BadDirectory { .. } => "BadDirectory",
            Self::UnsafeName { .. } => "UnsafeName",
            Self::DuplicateEntry { .. } => "DuplicateEntry",
            Self::UnknownEntry { .. } => "UnknownEntry",
            Self::NotAFile { .. } => "NotAFile",
            Self::Encrypted { .. } => "Encrypted",
            Self::UnknownMethod { .. } => "UnknownMethod",
            Self::UnknownFlags { .. } => "UnknownFlags",
            Self::BadExtraField { .. } => "BadExtraField",
            Self::HeaderMismatch { .. } => "HeaderMismatch",
            Self::BadDescriptor { .. } => "BadDescriptor",
            Self::StoredSize { .. } => "StoredSize",
            Self::Ratio { .. } => "Ratio",
            Self::EntryTooLarge { .. } => "EntryTooLarge",
            Self::TooLarge { .. } => "TooLarge",
            Self::MissingEntry { .. } => "MissingEntry",
            Self::Damaged { .. } => "Damaged",
            Self::Json { .. } => "InvalidJson",
            Self::Metadata(source) => source.label(),
            Self::Manifest { .. } => "InvalidManifest",
            Self::FormatVersion { .. } => "FormatVersion",
            Self::MissingBlob { .. } => "MissingBlob",
            Self::OrphanBlob { .. } => "OrphanBlob",
            Self::MemberSize { .. } => "MemberSize",
            Self::NotEmbedded { .. } => "NotEmbedded",
            Self::Reference { .. } => "Reference",
            Self::UnusedMember { .. } => "UnusedMember",
            Self::WrongHash { .. } => "WrongHash",
            Self::Images { .. } => "Images",
        }
    }
}

/// A stranger's text for a message: at most 80 characters, without control characters.
pub(super) fn shown(text: &str) -> String {
    let mut shown: String = text.chars().take(80).flat_map(char::escape_debug).collect();
    if text.chars().nth(80).is_some() {
        shown.push('…');
    }
    shown
}
