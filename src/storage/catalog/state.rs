//! What the records of the catalog add up to, and which may follow.
//!
//! A blob's way: *live* while something references it, *retired* when nothing does (and taken back by the next
//! publication that wants it), *condemned* when the leader has decided to delete it, then gone. A copy that was
//! condemned is never referenced again: deleting in a store cannot be called off, and one that comes late must hit
//! nothing. Whoever wants the bytes again brings a new copy under a new key.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::members::{MemberRef, Members};
use super::operation::{CatalogOperation, Copy, NewBlob, Publication};
use super::rejection::CatalogRejection;
use super::shards::Shards;
use super::{compact, rules};
use crate::model::{Coordinate, Digest, Epoch, PackageName, PackageVersion};
use crate::storage::blobs::{Blob, BlobKey};
use crate::storage::records::State;

/// A published package version.
#[derive(Debug, Clone, PartialEq)]
pub struct PackageEntry {
    /// Name and version.
    pub coordinate: Coordinate,
    /// The package digest.
    pub digest: Digest,
    /// The release version.
    pub release_version: u64,
    /// The blob of the metadata document.
    pub document: Digest,
    /// The package's files.
    pub members: Members,
}

impl PackageEntry {
    /// The digests that it references, each once.
    #[must_use]
    pub fn references(&self) -> std::collections::BTreeSet<Digest> {
        self.members.iter().map(|member| member.digest).chain([self.document]).collect()
    }
}

/// A blob that the catalog knows.
#[derive(Debug, Clone, PartialEq)]
pub struct BlobEntry {
    /// Where it lies.
    pub key: BlobKey,
    /// Length in bytes.
    pub size: u64,
    /// Digest of its list of chunk digests; none where one chunk holds it all.
    pub chunks: Option<Box<Digest>>,
    /// How many package versions reference it; none do where it is retired.
    pub references: u32,
    /// Whether this copy was found damaged.
    pub damaged: bool,
}

impl BlobEntry {
    pub(in crate::storage) fn copy(&self, digest: Digest) -> Copy {
        Copy { digest, key: self.key }
    }

    fn of(new: &NewBlob) -> Self {
        Self { key: new.key, size: new.size, chunks: new.chunks.map(Box::new), references: 0, damaged: false }
    }
}

/// What a registry was copied from.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Origin {
    /// The original's id.
    pub registry: String,
    /// Whether the copy has taken its place.
    pub took_over: bool,
}

/// Where a registry moved.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Moved {
    /// For people.
    pub to: String,
    /// The id of the registry there.
    pub registry: String,
}

/// All package versions and blobs.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct CatalogState {
    pub(super) packages: BTreeMap<PackageName, Arc<BTreeMap<PackageVersion, Arc<PackageEntry>>>>,
    pub(super) blobs: Shards,
    /// Copies that will be deleted, with the record that said so.
    pub(super) condemned: Arc<BTreeMap<Copy, u64>>,
    pub(super) bytes: u64,
    pub(super) seq: u64,
    pub(super) watermark: u64,
    pub(super) fence: Epoch,
    pub(super) moved: Option<Arc<Moved>>,
    pub(super) origin: Option<Arc<Origin>>,
}

impl CatalogState {
    /// A package version.
    #[must_use]
    pub fn entry(&self, coordinate: &Coordinate) -> Option<&Arc<PackageEntry>> {
        self.packages.get(&coordinate.name)?.get(&coordinate.version)
    }

    /// All package versions, sorted by name, then by the text of the version.
    pub fn packages(&self) -> impl Iterator<Item = &Arc<PackageEntry>> {
        self.packages.values().flat_map(|versions| versions.values())
    }

    /// All versions of one name.
    pub fn versions_of(&self, name: &PackageName) -> impl Iterator<Item = &Arc<PackageEntry>> {
        self.packages.get(name).into_iter().flat_map(|versions| versions.values())
    }

    /// The release version that a new version of that name gets when nobody says.
    #[must_use]
    pub fn next_release_version(&self, name: &PackageName) -> u64 {
        self.versions_of(name).map(|entry| entry.release_version + 1).max().unwrap_or(0)
    }

    /// A file of a package: a digest is known only under a coordinate that references it.
    #[must_use]
    pub fn member(&self, coordinate: &Coordinate, digest: &Digest) -> Option<(MemberRef<'_>, Blob)> {
        let member = self.entry(coordinate)?.members.iter().find(|member| member.digest == *digest)?;
        Some((member, self.blob(digest)?))
    }

    /// Where the bytes of a digest lie, whoever references them, damaged or not.
    #[must_use]
    pub fn blob(&self, digest: &Digest) -> Option<Blob> {
        let BlobEntry { key, size, chunks, .. } = self.blobs.get(digest)?;
        Some(Blob { digest: *digest, key: *key, size: *size, chunks: chunks.as_deref().copied() })
    }

    /// What the catalog knows of a digest.
    #[must_use]
    pub fn blob_entry(&self, digest: &Digest) -> Option<&BlobEntry> {
        self.blobs.get(digest)
    }

    /// Whether the bytes of a digest need not be brought: they are here, and nobody found them damaged.
    #[must_use]
    pub fn has(&self, digest: &Digest) -> bool {
        self.blobs.get(digest).is_some_and(|entry| !entry.damaged)
    }

    /// Whether the copy of a digest was found damaged.
    #[must_use]
    pub fn is_damaged(&self, digest: &Digest) -> bool {
        self.blobs.get(digest).is_some_and(|entry| entry.damaged)
    }

    /// All blobs, live and retired, sorted by digest.
    pub fn blobs(&self) -> impl Iterator<Item = (&Digest, &BlobEntry)> {
        self.blobs.iter()
    }

    /// How many blobs there are, live and retired.
    #[must_use]
    pub fn blob_count(&self) -> usize {
        self.blobs.len()
    }

    /// Copies that will be deleted, with the record that said so.
    #[must_use]
    pub fn condemned(&self) -> &BTreeMap<Copy, u64> {
        &self.condemned
    }

    /// The record before which nobody may have begun who still wants to make new keys known.
    #[must_use]
    pub fn watermark(&self) -> u64 {
        self.watermark
    }

    /// The lease under which the leader's operations count.
    #[must_use]
    pub fn fence(&self) -> Epoch {
        self.fence
    }

    /// Where the registry moved, if it did.
    #[must_use]
    pub fn moved(&self) -> Option<&str> {
        self.moved.as_deref().map(|moved| &*moved.to)
    }

    /// The id of the registry that it moved to, if it did.
    #[must_use]
    pub fn successor(&self) -> Option<&str> {
        self.moved.as_deref().map(|moved| &*moved.registry)
    }

    /// What the registry was copied from, if it was.
    #[must_use]
    pub fn origin(&self) -> Option<&Origin> {
        self.origin.as_deref()
    }

    /// The id of the registry that this one is a copy of and has not taken the place of.
    #[must_use]
    pub fn copy_of(&self) -> Option<&str> {
        self.origin().filter(|origin| !origin.took_over).map(|origin| &*origin.registry)
    }

    /// How many package names there are.
    #[must_use]
    pub fn name_count(&self) -> usize {
        self.packages.len()
    }

    /// How many package versions there are.
    #[must_use]
    pub fn version_count(&self) -> usize {
        self.packages.values().map(|versions| versions.len()).sum()
    }

    /// The lengths of all blobs together, in bytes; a blob that several packages share counts once.
    #[must_use]
    pub fn total_bytes(&self) -> u64 {
        self.bytes
    }

    fn publish(&mut self, seq: u64, publication: &Publication) {
        for new in &publication.blobs {
            self.bring(seq, new);
        }
        let entry = PackageEntry {
            coordinate: publication.coordinate.clone(),
            digest: publication.digest,
            release_version: publication.release_version,
            document: publication.document,
            members: Members::pack(&publication.members),
        };
        for digest in publication.references() {
            if let Some(blob) = self.blobs.get_mut(&digest) {
                blob.references += 1;
            }
        }
        let Coordinate { name, version } = publication.coordinate.clone();
        Arc::make_mut(self.packages.entry(name).or_default()).insert(version, Arc::new(entry));
    }

    /// Takes in a copy of a blob. Two publishers may have put the same bytes; the first record decides which copy
    /// is used, unless that one is damaged.
    fn bring(&mut self, seq: u64, new: &NewBlob) {
        match self.blobs.get_mut(&new.digest) {
            None => {
                self.bytes += new.size;
                self.blobs.insert(new.digest, BlobEntry::of(new));
            }
            Some(entry) if entry.damaged => {
                let old = entry.copy(new.digest);
                *entry = BlobEntry { references: entry.references, ..BlobEntry::of(new) };
                Arc::make_mut(&mut self.condemned).insert(old, seq);
            }
            Some(_) => {}
        }
    }

    fn unpublish(&mut self, coordinate: &Coordinate) {
        let Some(versions) = self.packages.get_mut(&coordinate.name) else { return };
        let Some(entry) = Arc::make_mut(versions).remove(&coordinate.version) else { return };
        if versions.is_empty() {
            self.packages.remove(&coordinate.name);
        }
        for digest in entry.references() {
            if let Some(blob) = self.blobs.get_mut(&digest) {
                blob.references = blob.references.saturating_sub(1);
            }
        }
    }

    fn condemn(&mut self, seq: u64, copies: &[Copy]) {
        for copy in copies {
            if let Some(entry) = self.blobs.remove(&copy.digest) {
                self.bytes = self.bytes.saturating_sub(entry.size);
                Arc::make_mut(&mut self.condemned).insert(copy.clone(), seq);
            }
        }
    }

    fn mark(&mut self, copy: &Copy, damaged: bool) {
        if let Some(entry) = self.blobs.get_mut(&copy.digest).filter(|entry| entry.key == copy.key) {
            entry.damaged = damaged;
        }
    }
}

impl State for CatalogState {
    type Operation = CatalogOperation;
    type Rejection = CatalogRejection;

    fn validate(&self, operation: &CatalogOperation, epoch: Epoch) -> Result<(), CatalogRejection> {
        rules::validate(self, operation, epoch)
    }

    fn apply(&mut self, seq: u64, operation: &CatalogOperation) {
        self.seq = seq;
        match operation {
            CatalogOperation::Published(publication) => self.publish(seq, publication),
            CatalogOperation::Unpublished { coordinate } => self.unpublish(coordinate),
            CatalogOperation::Condemned { blobs } => self.condemn(seq, blobs),
            CatalogOperation::Purged { blobs } => {
                let condemned = Arc::make_mut(&mut self.condemned);
                for copy in blobs {
                    condemned.remove(copy);
                }
            }
            CatalogOperation::Watermark { seq } => self.watermark = *seq,
            CatalogOperation::Quarantined { blob } => self.mark(blob, true),
            CatalogOperation::Cleared { blob } => self.mark(blob, false),
            CatalogOperation::Replaced { blobs } => {
                for new in blobs {
                    self.bring(seq, new);
                }
            }
            CatalogOperation::Fence { epoch } => self.fence = *epoch,
            CatalogOperation::CopiedFrom { registry } => {
                self.origin = Some(Origin { registry: registry.clone(), took_over: false }.into());
            }
            CatalogOperation::TookOver => {
                let origin = self.origin.as_deref().cloned();
                self.origin = origin.map(|origin| Origin { took_over: true, ..origin }.into());
            }
            CatalogOperation::Moved { to, registry } => {
                self.moved = Some(Moved { to: to.clone(), registry: registry.clone() }.into());
            }
        }
    }

    fn save(&self) -> Result<Vec<u8>, String> {
        compact::save(self)
    }

    fn load(bytes: &[u8]) -> Result<Self, String> {
        compact::load(bytes)
    }
}
