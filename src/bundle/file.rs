//! The `.dcos` bundle: one package with all its files, in one file that can be carried anywhere.
//!
//! A bundle is a zip. `metadata.json` comes first: the package definition, whose resource URIs are references
//! `sha256:<hex>/<file name>`. Then `manifest.json`: `{"formatVersion": 1, "members": [{role, name, digest,
//! size, mediaType}, …]}`. Then the files as `blobs/sha256/<hex>`, sorted, each digest once, and `index.json`
//! and `oci-layout`, which make the whole an OCI image layout (without images so far). Nothing is compressed,
//! all times are 1980-01-01, and the builder is not named: the same package gives the same bytes. The inner
//! layout of the original product's bundles was never published; this one is ours.
//!
//! The reader trusts nothing. It works on a spooled file, because what counts in a zip stands at its end, and
//! looks at names, limits and all headers before anything is used. What it lets through has one meaning for
//! every zip reader: each byte belongs to exactly one structure, both headers of an entry agree, and nothing
//! stands twice. Entries may come in any order, deflated too, and with data descriptors, since common tools
//! write that. Digests are not computed here: who stores the bytes checks digest and length on the way. So the
//! zip's own checksums are only checked where there is no digest.
//!
//! The zip crate is not used for this: it looks for the end record anywhere in the file, lets the last of two
//! equal names win, never compares local headers with the directory, and allocates by the announced number of
//! entries before a limit can be applied.
//!
//! The form of DC/OS 1.9 (`metadata.json` and a `manifest.json` that only says who built it) embeds nothing; it
//! is taken where all resources are URLs.

mod arrival;
mod content;
mod directory;
mod end;
mod error;
mod format;
mod json;
mod layout;
mod names;
mod read;
mod write;

use std::collections::BTreeMap;
use std::fs::File;
use std::io;

use futures::future::BoxFuture;
use serde_json::Value;

use self::content::Documents;
use self::directory::Entry;
use self::names::Kind;
use self::read::Source;
use super::{BundleError, MemberReader};
use crate::model::{Digest, Member, PackageContent};

pub use arrival::{Arrival, Part};
pub use error::BundleFileError;
pub use write::{WriteBundleError, write};

/// The longest `metadata.json`, in bytes; as long as the registry keeps.
const METADATA_LIMIT: u64 = 4 << 20;

/// The longest `manifest.json`, in bytes: 10,000 members with names of some hundred characters.
const MANIFEST_LIMIT: u64 = 8 << 20;

/// The longest `index.json` and `oci-layout`, in bytes.
const LAYOUT_LIMIT: u64 = 64 << 10;

/// The entries that a bundle has beside its blobs.
const FIXED_ENTRIES: u64 = 4;

/// What is accepted of a bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BundleLimits {
    /// The number of members.
    pub members: u64,
    /// How many times as long as in the zip a file may be.
    pub ratio: u64,
    /// The length of all files together, in bytes.
    pub unpacked: u64,
}

impl Default for BundleLimits {
    /// 10,000 members, 200 times, 64 GiB.
    fn default() -> Self {
        Self { members: 10_000, ratio: 200, unpacked: 64 << 30 }
    }
}

/// A bundle whose structure was checked. Cheap to share; any number of members can be read at a time.
#[derive(Debug)]
pub struct BundleFile {
    source: Source,
    content: PackageContent,
    blobs: BTreeMap<Digest, Entry>,
}

impl BundleFile {
    /// Checks a spooled bundle and reads what it describes. Blocks.
    ///
    /// Holds the zip's directory, `metadata.json` and `manifest.json` in memory, and nothing of the members.
    ///
    /// # Errors
    /// [`BundleFileError`] for the first fault. The digests of members are not among them: the bytes are
    /// checked where they are stored.
    pub fn open(file: File, limits: &BundleLimits) -> Result<Self, BundleFileError> {
        let source = Source::new(file)?;
        let end = end::find(&source)?;
        let mut entries = directory::read(&source, &end, limits)?;
        layout::place(&source, &mut entries, end.offset)?;
        let entries: BTreeMap<Kind, Entry> = entries.into_iter().map(|entry| (entry.kind, entry)).collect();
        let documents = documents(&source, &entries)?;
        let content = content::package(&documents, limits.members)?;
        let blobs = entries.into_iter().filter_map(|(kind, entry)| match kind {
            Kind::Blob(digest) => Some((digest, entry)),
            _ => None,
        });
        Ok(Self { source, content, blobs: blobs.collect() })
    }

    /// The package. Its members' digests are claims until the bytes were read and checked.
    #[must_use]
    pub fn content(&self) -> &PackageContent {
        &self.content
    }

    /// Opens the bytes of a member, from their beginning. The reader does not check the digest; who stores the
    /// bytes does. It fails with [`io::ErrorKind::InvalidData`] where the data is damaged.
    #[must_use]
    pub fn open_member(&self, member: &Member) -> BoxFuture<'static, io::Result<MemberReader>> {
        let opened = match self.blobs.get(&member.digest) {
            Some(entry) => Ok(self.source.stream(entry)),
            None => Err(io::Error::other(BundleError::NoSuchMember {
                name: member.name.clone(),
                digest: member.digest,
            })),
        };
        Box::pin(std::future::ready(opened))
    }
}

/// Reads the documents. Those that every bundle has must be there.
fn documents(source: &Source, entries: &BTreeMap<Kind, Entry>) -> Result<Documents, BundleFileError> {
    let read = |kind, limit| entries.get(&kind).map(|entry| document(source, entry, limit)).transpose();
    let need = |found: Option<Value>, name| found.ok_or(BundleFileError::MissingEntry { name });
    let blob = |(kind, entry): (&Kind, &Entry)| match kind {
        Kind::Blob(digest) => Some((*digest, entry.size)),
        _ => None,
    };
    Ok(Documents {
        metadata: need(read(Kind::Metadata, METADATA_LIMIT)?, names::METADATA)?,
        manifest: need(read(Kind::Manifest, MANIFEST_LIMIT)?, names::MANIFEST)?,
        index: read(Kind::Index, LAYOUT_LIMIT)?,
        layout: read(Kind::Layout, LAYOUT_LIMIT)?,
        blobs: entries.iter().filter_map(blob).collect(),
    })
}

fn document(source: &Source, entry: &Entry, limit: u64) -> Result<Value, BundleFileError> {
    let bytes = source.whole(entry, limit)?;
    json::parse(&bytes).map_err(|source| BundleFileError::Json { name: entry.name.clone(), source })
}

#[cfg(test)]
pub(crate) mod tests;
