//! Publishing: every missing blob under its final key, then one catalog record. Unpublishing: one record.
//!
//! Until that record stands nothing is visible; afterwards everything is. What was put for a record that
//! never came lies under keys that nobody names. Where collection or another publisher came between, the record is
//! refused and the work begins anew; what was put and still counts is kept.
//!
//! Publishing a package that is there heals it: damaged copies among its bytes are replaced by new ones.

use std::collections::BTreeMap;
use std::io;
use std::sync::Mutex;

use futures::TryStreamExt as _;
use futures::future::BoxFuture;
use tokio::io::AsyncRead;
use tokio_util::io::StreamReader;

use super::Storage;
use super::blobs::{Arriving, Blob, BlobError};
use super::catalog::{CatalogOperation, CatalogRejection, CatalogState, NewBlob, Publication};
use super::records::{CommitError, LogError};
use crate::model::{Coordinate, Digest, ErrorClass, Member, PackageContent};

/// The most that the metadata of one package may take as JSON, in bytes.
pub const DOCUMENT_LIMIT: u64 = 4 * 1024 * 1024;

pub(super) const DOCUMENT_TYPE: &str = "application/json";

/// How often the work is begun.
const TRIES: u32 = 4;

/// How many release versions are tried where any will do.
const NUMBERS: u32 = 16;

/// The role under which errors name the metadata document.
const DOCUMENT_ROLE: &str = "metadata";

/// The bytes of a member.
pub type MemberReader = Box<dyn AsyncRead + Send + Unpin>;

/// The release version that a publication gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReleaseVersion {
    /// This one; it is an error when another version of the name has it.
    Exactly(u64),
    /// One more than the highest of the name.
    NextFree,
}

/// A package version that is in the catalog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// The package digest.
    pub digest: Digest,
    /// The release version that it has; an earlier publisher may have given it another than asked for.
    pub release_version: u64,
    /// Whether it had been there before.
    pub already: bool,
    /// How many damaged copies were replaced.
    pub healed: usize,
}

/// A package that was not published or unpublished, or not known to be.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// A member could not be opened.
    #[error("cannot open {role} of {coordinate}")]
    Open {
        /// Which package.
        coordinate: Coordinate,
        /// Which member.
        role: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// A member or the document was not stored.
    #[error("cannot store {role} of {coordinate}")]
    Store {
        /// Which package.
        coordinate: Coordinate,
        /// Which member, or `metadata`.
        role: String,
        /// Why not.
        #[source]
        source: Box<BlobError>,
    },
    /// The metadata is too large.
    #[error("the metadata of {coordinate} takes {size} bytes as JSON, at most {DOCUMENT_LIMIT} are kept")]
    DocumentTooLarge {
        /// Which package.
        coordinate: Coordinate,
        /// Its length.
        size: u64,
    },
    /// Other content stands under that name and version.
    #[error("{coordinate} is already published with other content ({published}); raise the version")]
    VersionImmutable {
        /// Which package.
        coordinate: Coordinate,
        /// The package digest that is published.
        published: Digest,
    },
    /// The catalog could not be read.
    #[error("cannot read the catalog")]
    Follow(#[source] LogError),
    /// The catalog record was not written, or not known to be.
    #[error("cannot publish {coordinate}")]
    Commit {
        /// Which package.
        coordinate: Coordinate,
        /// Why not.
        #[source]
        source: Box<CommitError<CatalogRejection>>,
    },
    /// There is no such package.
    #[error("{coordinate} is not published")]
    NotPublished {
        /// Which package.
        coordinate: Coordinate,
    },
    /// The record that takes the package away was not written, or not known to be.
    #[error("cannot unpublish {coordinate}")]
    Withdraw {
        /// Which package.
        coordinate: Coordinate,
        /// Why not.
        #[source]
        source: Box<CommitError<CatalogRejection>>,
    },
}

impl PublishError {
    /// What to do about it. Publishing the same content again is always safe.
    #[must_use]
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Open { .. } => ErrorClass::Retry,
            Self::Store { source, .. } => source.class(),
            Self::DocumentTooLarge { .. } | Self::VersionImmutable { .. } | Self::NotPublished { .. } => {
                ErrorClass::Stall
            }
            Self::Follow(error) => error.class(),
            Self::Commit { source, .. } | Self::Withdraw { source, .. } => source.class(),
        }
    }

    /// A stable word for labels and conditions.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::Open { .. } => "MemberUnreadable",
            Self::Store { source, .. } => source.label(),
            Self::DocumentTooLarge { .. } => "DocumentTooLarge",
            Self::VersionImmutable { .. } => "VersionImmutable",
            Self::Follow(error) => error.label(),
            Self::NotPublished { .. } => "NotPublished",
            Self::Commit { source, .. } | Self::Withdraw { source, .. } => source.label(),
        }
    }
}

/// Puts a package version into the registry. The same content again is success; it writes nothing unless copies are
/// damaged, which are replaced then.
///
/// `open` gives the bytes of a member; it is asked only for those that the catalog does not have whole. What it
/// gives is checked against the member's digest and size.
///
/// # Errors
/// [`PublishError`]; nothing is visible then, unless the outcome of the last step is unknown.
pub async fn publish<'a, F>(
    storage: &Storage,
    content: &PackageContent,
    open: F,
    release_version: ReleaseVersion,
) -> Result<Published, PublishError>
where
    F: Fn(&Member) -> BoxFuture<'a, std::io::Result<MemberReader>> + Sync,
{
    publish_arrived(storage, content, open, release_version, Vec::new()).await
}

/// Publishes as [`publish`] does, with members that are in the storage already but for their last step. For them,
/// `open` is not asked. What is not needed of them is dropped.
///
/// # Errors
/// [`PublishError`]; nothing is visible then, unless the outcome of the last step is unknown.
pub async fn publish_arrived<'a, F>(
    storage: &Storage,
    content: &PackageContent,
    open: F,
    release_version: ReleaseVersion,
    arrived: Vec<Arriving>,
) -> Result<Published, PublishError>
where
    F: Fn(&Member) -> BoxFuture<'a, std::io::Result<MemberReader>> + Sync,
{
    let arrived = Mutex::new(arrived.into_iter().map(|arrived| (arrived.digest(), arrived)).collect());
    let (digest, put, kept) = (content.digest(), Vec::new(), Vec::new());
    let mut work = Work { storage, content, open, digest, put, arrived, kept };
    let mut tries = 1;
    loop {
        // Much is held on the way; whoever waits holds a pointer.
        match Box::pin(work.attempt(release_version)).await {
            Err(PublishError::Commit { source, .. }) if tries < TRIES && may_begin_anew(&source) => {
                tracing::debug!(coordinate = %content.coordinate, %source, tries, "publishing is begun anew");
                tries += 1;
            }
            ended => return ended,
        }
    }
}

/// Takes a package version away. Its bytes stay until they are collected, and a publication may take them back.
///
/// # Errors
/// [`PublishError::NotPublished`], [`PublishError::Withdraw`].
pub async fn unpublish(storage: &Storage, coordinate: &Coordinate) -> Result<(), PublishError> {
    let coordinate = coordinate.clone();
    match storage.catalog.unpublish(coordinate.clone()).await {
        Ok(_) => Ok(()),
        Err(CommitError::Rejected(CatalogRejection::NotPublished { .. })) => {
            Err(PublishError::NotPublished { coordinate })
        }
        Err(source) => Err(PublishError::Withdraw { coordinate, source: source.into() }),
    }
}

/// Whether somebody else came between, so that the same may succeed with the state as it is now.
fn may_begin_anew(error: &CommitError<CatalogRejection>) -> bool {
    match error {
        CommitError::Rejected(CatalogRejection::NotInUse { .. }) => true,
        CommitError::Rejected(rejection) => rejection.is_race(),
        _ => false,
    }
}

/// One publication on its way.
struct Work<'w, F> {
    storage: &'w Storage,
    content: &'w PackageContent,
    open: F,
    digest: Digest,
    /// What was put so far.
    put: Vec<NewBlob>,
    /// Members that need only be finished. Never locked: without it, this could not be shared between threads.
    arrived: Mutex<BTreeMap<Digest, Arriving>>,
    /// Those that were.
    kept: Vec<Blob>,
}

impl<'a, F> Work<'_, F>
where
    F: Fn(&Member) -> BoxFuture<'a, std::io::Result<MemberReader>> + Sync,
{
    async fn attempt(&mut self, release_version: ReleaseVersion) -> Result<Published, PublishError> {
        let catalog = &self.storage.catalog;
        let start = catalog.follow().await.map_err(PublishError::Follow)?;
        catalog.writable().await.map_err(|source| self.not_committed(source))?;
        let state = catalog.state();
        // What was put for an earlier attempt counts as long as its session does.
        self.put
            .retain(|new| new.key.start >= state.watermark() && !state.condemned().contains_key(&new.copy()));
        if let Some(entry) = state.entry(&self.content.coordinate) {
            let published = self.already(entry.digest, entry.release_version)?;
            return Box::pin(self.heal(published, &state, start)).await;
        }
        let document = self.put_document(&state, start).await?;
        self.put_members(&state, start).await?;
        self.commit(document, release_version).await
    }

    /// Writes the record; where any release version will do, with the next one that nobody has.
    async fn commit(&self, document: Digest, wanted: ReleaseVersion) -> Result<Published, PublishError> {
        let PackageContent { coordinate, members, .. } = self.content;
        let mut tries = 1;
        loop {
            let release_version = match wanted {
                ReleaseVersion::Exactly(release_version) => release_version,
                ReleaseVersion::NextFree => {
                    self.storage.catalog.state().next_release_version(&coordinate.name)
                }
            };
            let publication = Publication {
                coordinate: coordinate.clone(),
                digest: self.digest,
                release_version,
                document,
                members: members.clone(),
                blobs: self.put.clone(),
            };
            match self.storage.catalog.publish(publication).await {
                Ok(_) => {
                    let digest = self.digest;
                    return Ok(Published { digest, release_version, already: false, healed: 0 });
                }
                Err(CommitError::Rejected(CatalogRejection::AlreadyPublished {
                    release_version, ..
                })) => {
                    return self.already(self.digest, release_version);
                }
                Err(CommitError::Rejected(CatalogRejection::VersionImmutable { published, .. })) => {
                    return self.already(published, release_version);
                }
                Err(CommitError::Rejected(CatalogRejection::ReleaseVersionTaken { .. }))
                    if wanted == ReleaseVersion::NextFree && tries < NUMBERS =>
                {
                    tries += 1;
                }
                Err(source) => return Err(self.not_committed(source)),
            }
        }
    }

    /// Success when what is published is what was to be published.
    fn already(&self, published: Digest, release_version: u64) -> Result<Published, PublishError> {
        let digest = self.digest;
        if published == digest {
            Ok(Published { digest, release_version, already: true, healed: 0 })
        } else {
            let coordinate = self.content.coordinate.clone();
            Err(PublishError::VersionImmutable { coordinate, published })
        }
    }

    /// Brings new copies of what is damaged.
    async fn heal(
        &mut self,
        published: Published,
        state: &CatalogState,
        start: u64,
    ) -> Result<Published, PublishError> {
        let Some(entry) = state.entry(&self.content.coordinate) else { return Ok(published) };
        let mut damaged = entry.references();
        damaged.retain(|digest| state.is_damaged(digest));
        if damaged.is_empty() {
            return Ok(published);
        }
        self.put_document(state, start).await?;
        self.put_members(state, start).await?;
        let new: Vec<_> = self.put.iter().filter(|new| damaged.contains(&new.digest)).cloned().collect();
        let healed = new.len();
        let replaced = self.storage.catalog.commit(CatalogOperation::Replaced { blobs: new }).await;
        replaced.map_err(|source| self.not_committed(source))?;
        tracing::info!(coordinate = %self.content.coordinate, healed, "damaged copies were replaced");
        Ok(Published { healed, ..published })
    }

    /// Puts the metadata document unless it is there.
    async fn put_document(&mut self, state: &CatalogState, start: u64) -> Result<Digest, PublishError> {
        let document = self.content.metadata.to_string().into_bytes();
        let size = document.len() as u64;
        if size > DOCUMENT_LIMIT {
            return Err(PublishError::DocumentTooLarge { coordinate: self.content.coordinate.clone(), size });
        }
        let digest = Digest::of(&document);
        if !self.has(state, &digest) {
            let put = self.storage.blobs.put_bytes(&document, start).await;
            let blob = put.map_err(|source| self.not_stored(DOCUMENT_ROLE, source))?;
            self.put.push(NewBlob::new(&blob, DOCUMENT_TYPE));
        }
        Ok(digest)
    }

    /// Puts the members that are not there, each digest once.
    async fn put_members(&mut self, state: &CatalogState, start: u64) -> Result<(), PublishError> {
        for member in &self.content.members {
            if self.has(state, &member.digest) {
                continue;
            }
            let arrived = self.arrived.get_mut().ok().and_then(|arrived| arrived.remove(&member.digest));
            let blob = match arrived {
                Some(arrived) => {
                    let finished = arrived.finish().await;
                    let blob = finished.map_err(|source| self.not_stored(&member.role, source))?;
                    self.kept.push(blob);
                    blob
                }
                None => self.bring(member, start).await?,
            };
            self.put.push(NewBlob::new(&blob, &member.media_type));
        }
        Ok(())
    }

    async fn bring(&self, member: &Member, start: u64) -> Result<Blob, PublishError> {
        let failed = |source| PublishError::Open {
            coordinate: self.content.coordinate.clone(),
            role: member.role.clone(),
            source,
        };
        // What was finished and counts no more lies there still, or is being deleted: then it has to be sent again.
        let mut reader = match self.kept.iter().find(|kept| kept.digest == member.digest) {
            Some(kept) => {
                let pieces = self.storage.blobs.read(kept, 0..kept.size).await.map_err(io::Error::other);
                Box::new(StreamReader::new(pieces.map_err(failed)?.map_err(io::Error::other)))
            }
            None => (self.open)(member).await.map_err(failed)?,
        };
        let put = self.storage.blobs.put(&mut *reader, member.digest, member.size, start).await;
        put.map_err(|source| self.not_stored(&member.role, source))
    }

    /// Whether bytes need not be brought. A copy that is damaged counts for nothing.
    fn has(&self, state: &CatalogState, digest: &Digest) -> bool {
        state.has(digest) || self.put.iter().any(|new| new.digest == *digest)
    }

    fn not_stored(&self, role: &str, source: BlobError) -> PublishError {
        let (coordinate, role) = (self.content.coordinate.clone(), role.to_owned());
        PublishError::Store { coordinate, role, source: source.into() }
    }

    fn not_committed(&self, source: CommitError<CatalogRejection>) -> PublishError {
        PublishError::Commit { coordinate: self.content.coordinate.clone(), source: source.into() }
    }
}

#[cfg(test)]
mod tests;
