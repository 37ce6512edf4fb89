//! The catalog: which package versions there are and where their bytes lie. One use of the record log.
//!
//! A package becomes visible by one record and by nothing else. The state is small: documents and files
//! are blobs, named here by digest, length and key. No lease is needed to publish; any instance may.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::blobs::{Blob, BlobKey};
use super::records::{CommitError, Committed, Log, LogError, Newer, Rejection, Site, State};
use crate::model::{Coordinate, Digest, Epoch, ErrorClass, Member, PackageName, PackageVersion};

const FOLDER: &str = "v1/catalog/log";

/// What a catalog record may say.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum CatalogOperation {
    /// A package version is there.
    Published(Publication),
}

/// A package version and the blobs that come with it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Publication {
    /// Name and version.
    pub coordinate: Coordinate,
    /// The package digest.
    pub digest: Digest,
    /// Its release version, unique per name.
    pub release_version: u64,
    /// The blob of the metadata document (JSON).
    pub document: Digest,
    /// The package's files.
    pub members: Vec<Member>,
    /// The blobs that were not in the catalog yet.
    pub blobs: Vec<NewBlob>,
}

/// A blob that a record makes known.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewBlob {
    /// Digest of its bytes.
    pub digest: Digest,
    /// Where it lies.
    pub key: BlobKey,
    /// Length in bytes.
    pub size: u64,
    /// Digest of its list of chunk digests; none where one chunk holds it all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chunks: Option<Digest>,
    /// Media type.
    pub media_type: Box<str>,
}

impl NewBlob {
    /// What a record says of a blob that was put.
    #[must_use]
    pub fn new(blob: &Blob, media_type: &str) -> Self {
        let Blob { digest, key, size, chunks } = *blob;
        Self { digest, key, size, chunks, media_type: media_type.into() }
    }
}

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
    pub members: Vec<Member>,
}

/// A blob that the catalog knows.
#[derive(Debug, Clone, PartialEq)]
pub struct BlobEntry {
    /// Where it lies.
    pub key: BlobKey,
    /// Length in bytes.
    pub size: u64,
    /// Digest of its list of chunk digests; none where one chunk holds it all.
    pub chunks: Option<Digest>,
    /// Media type.
    pub media_type: Box<str>,
}

/// All package versions and blobs.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct CatalogState {
    packages: BTreeMap<PackageName, BTreeMap<PackageVersion, Arc<PackageEntry>>>,
    blobs: BTreeMap<Digest, BlobEntry>,
    bytes: u64,
    seq: u64,
}

impl CatalogState {
    /// A package version.
    #[must_use]
    pub fn entry(&self, coordinate: &Coordinate) -> Option<&Arc<PackageEntry>> {
        self.packages.get(&coordinate.name)?.get(&coordinate.version)
    }

    /// All package versions, sorted by name, then by the text of the version.
    pub fn packages(&self) -> impl Iterator<Item = &Arc<PackageEntry>> {
        self.packages.values().flat_map(BTreeMap::values)
    }

    /// All versions of one name.
    pub fn versions_of(&self, name: &PackageName) -> impl Iterator<Item = &Arc<PackageEntry>> {
        self.packages.get(name).into_iter().flat_map(BTreeMap::values)
    }

    /// A file of a package: a digest is known only under a coordinate that references it.
    #[must_use]
    pub fn member(&self, coordinate: &Coordinate, digest: &Digest) -> Option<(&Member, Blob)> {
        let member = self.entry(coordinate)?.members.iter().find(|m| m.digest == *digest)?;
        Some((member, self.blob(digest)?))
    }

    /// Where the bytes of a digest lie, whoever references them.
    #[must_use]
    pub fn blob(&self, digest: &Digest) -> Option<Blob> {
        let BlobEntry { key, size, chunks, .. } = *self.blobs.get(digest)?;
        Some(Blob { digest: *digest, key, size, chunks })
    }

    /// All blobs by digest.
    #[must_use]
    pub fn blobs(&self) -> &BTreeMap<Digest, BlobEntry> {
        &self.blobs
    }

    /// How many package names there are.
    #[must_use]
    pub fn name_count(&self) -> usize {
        self.packages.len()
    }

    /// How many package versions there are.
    #[must_use]
    pub fn version_count(&self) -> usize {
        self.packages.values().map(BTreeMap::len).sum()
    }

    /// The lengths of all blobs together, in bytes; a blob that several packages share counts once.
    #[must_use]
    pub fn total_bytes(&self) -> u64 {
        self.bytes
    }

    /// The length of a blob that is there or comes with the publication.
    fn size_of(&self, publication: &Publication, digest: &Digest) -> Option<u64> {
        let new = publication.blobs.iter().find(|b| b.digest == *digest);
        new.map(|b| b.size).or_else(|| self.blobs.get(digest).map(|b| b.size))
    }

    fn validate_name(&self, publication: &Publication) -> Result<(), CatalogRejection> {
        let coordinate = &publication.coordinate;
        if let Some(entry) = self.entry(coordinate) {
            return Err(if entry.digest == publication.digest {
                CatalogRejection::AlreadyPublished {
                    coordinate: coordinate.clone(),
                    release_version: entry.release_version,
                }
            } else {
                CatalogRejection::VersionImmutable { coordinate: coordinate.clone(), published: entry.digest }
            });
        }
        let release_version = publication.release_version;
        match self.versions_of(&coordinate.name).find(|e| e.release_version == release_version) {
            Some(holder) => Err(CatalogRejection::ReleaseVersionTaken {
                release_version,
                holder: holder.coordinate.clone(),
            }),
            None => Ok(()),
        }
    }

    fn validate_blobs(&self, publication: &Publication) -> Result<(), CatalogRejection> {
        if let Some(early) = publication.blobs.iter().find(|b| b.key.start > self.seq) {
            return Err(CatalogRejection::KeyFromTheFuture { key: early.key, seq: self.seq });
        }
        if self.size_of(publication, &publication.document).is_none() {
            return Err(CatalogRejection::UnknownBlob { digest: publication.document });
        }
        for member in &publication.members {
            match self.size_of(publication, &member.digest) {
                None => return Err(CatalogRejection::UnknownBlob { digest: member.digest }),
                Some(size) if size != member.size => {
                    return Err(CatalogRejection::SizeDiffers { digest: member.digest, size });
                }
                Some(_) => {}
            }
        }
        Ok(())
    }
}

impl State for CatalogState {
    type Operation = CatalogOperation;
    type Rejection = CatalogRejection;

    fn validate(&self, operation: &CatalogOperation, _epoch: Epoch) -> Result<(), CatalogRejection> {
        let CatalogOperation::Published(publication) = operation;
        self.validate_name(publication)?;
        self.validate_blobs(publication)
    }

    fn apply(&mut self, seq: u64, operation: &CatalogOperation) {
        let CatalogOperation::Published(publication) = operation;
        self.seq = seq;
        for NewBlob { digest, key, size, chunks, media_type } in publication.blobs.iter().cloned() {
            // Two publishers may have put the same bytes; the first record decides which copy is used.
            self.blobs.entry(digest).or_insert_with(|| {
                self.bytes += size;
                BlobEntry { key, size, chunks, media_type }
            });
        }
        let entry = PackageEntry {
            coordinate: publication.coordinate.clone(),
            digest: publication.digest,
            release_version: publication.release_version,
            document: publication.document,
            members: publication.members.clone(),
        };
        let Coordinate { name, version } = publication.coordinate.clone();
        self.packages.entry(name).or_default().insert(version, Arc::new(entry));
    }
}

/// Why a catalog record was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CatalogRejection {
    /// The same package is there; nothing needs to be done.
    #[error("{coordinate} is already published with this content")]
    AlreadyPublished {
        /// Which package.
        coordinate: Coordinate,
        /// The release version that it has.
        release_version: u64,
    },
    /// Another package stands under that name and version.
    #[error("{coordinate} is already published with other content ({published}); raise the version")]
    VersionImmutable {
        /// Which package.
        coordinate: Coordinate,
        /// The package digest that is published.
        published: Digest,
    },
    /// Another version of that name has the release version.
    #[error("release version {release_version} is that of {holder}")]
    ReleaseVersionTaken {
        /// The number.
        release_version: u64,
        /// Who has it.
        holder: Coordinate,
    },
    /// A digest has no blob.
    #[error("{digest} is neither in the catalog nor part of the publication")]
    UnknownBlob {
        /// The digest.
        digest: Digest,
    },
    /// A file's length is not that of its blob.
    #[error("the blob {digest} has {size} bytes, the package says otherwise")]
    SizeDiffers {
        /// The digest.
        digest: Digest,
        /// The blob's length in bytes.
        size: u64,
    },
    /// A blob key names a record that does not exist yet.
    #[error("the blob key {key} is newer than record {seq}")]
    KeyFromTheFuture {
        /// The key.
        key: BlobKey,
        /// The last record.
        seq: u64,
    },
}

impl Rejection for CatalogRejection {
    fn class(&self) -> ErrorClass {
        match self {
            Self::ReleaseVersionTaken { .. } => ErrorClass::Retry,
            _ => ErrorClass::Stall,
        }
    }

    fn label(&self) -> &'static str {
        match self {
            Self::AlreadyPublished { .. } => "AlreadyPublished",
            Self::VersionImmutable { .. } => "VersionImmutable",
            Self::ReleaseVersionTaken { .. } => "ReleaseVersionTaken",
            Self::UnknownBlob { .. } => "UnknownBlob",
            Self::SizeDiffers { .. } => "SizeDiffers",
            Self::KeyFromTheFuture { .. } => "KeyFromTheFuture",
        }
    }
}

/// The catalog of one registry.
pub struct Catalog(Log<CatalogState>);

impl Catalog {
    pub(super) async fn open(site: Site) -> Result<Self, LogError> {
        Log::open(site, FOLDER, None).await.map(Self)
    }

    /// The state as this instance knows it; [`Catalog::follow`] learns what others wrote.
    pub fn state(&self) -> Arc<CatalogState> {
        self.0.state()
    }

    /// The number of the last record known.
    pub fn seq(&self) -> u64 {
        self.0.seq()
    }

    /// The id of the registry, made when its storage was first used.
    pub fn registry(&self) -> &str {
        self.0.registry()
    }

    /// The record of a newer program that keeps this one from writing, if there is one.
    pub fn newer(&self) -> Option<Newer> {
        self.0.newer()
    }

    /// Reads what others wrote since; returns the number of the last record.
    ///
    /// # Errors
    /// When a record cannot be read or the chain is broken; the state stays where it was.
    pub async fn follow(&self) -> Result<u64, LogError> {
        self.0.follow().await
    }

    /// Whether publishing is possible at all, as far as is known without reading on.
    ///
    /// # Errors
    /// [`CommitError::ReadOnly`] or [`CommitError::Newer`].
    pub fn writable(&self) -> Result<(), CommitError<CatalogRejection>> {
        self.0.writable()
    }

    /// Makes a package version visible. Its blobs must have been put.
    ///
    /// # Errors
    /// See [`Log::commit`] and [`CatalogRejection`].
    pub async fn publish(
        &self,
        publication: Publication,
    ) -> Result<Committed, CommitError<CatalogRejection>> {
        self.0.commit(Epoch::default(), vec![CatalogOperation::Published(publication)]).await
    }
}

#[cfg(test)]
mod tests;
