//! Publishing: every missing blob under its final key, then one catalog record.
//!
//! Until that record stands nothing is visible; afterwards everything is. What was put for a record that
//! never came lies under keys that nobody names.

use futures::future::BoxFuture;
use tokio::io::AsyncRead;

use super::Storage;
use super::blobs::BlobError;
use super::catalog::{CatalogRejection, NewBlob, Publication};
use super::records::{CommitError, LogError};
use crate::model::{Coordinate, Digest, ErrorClass, Member, PackageContent};

/// The most that the metadata of one package may take as JSON, in bytes.
pub const DOCUMENT_LIMIT: u64 = 4 * 1024 * 1024;

const DOCUMENT_TYPE: &str = "application/json";

/// The bytes of a member.
pub type MemberReader = Box<dyn AsyncRead + Send + Unpin>;

/// A package version that is in the catalog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// The package digest.
    pub digest: Digest,
    /// The release version that it has; an earlier publisher may have given it another than asked for.
    pub release_version: u64,
    /// Whether it had been there before.
    pub already: bool,
}

/// A package that was not published, or not known to be.
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
}

impl PublishError {
    /// What to do about it. Publishing the same content again is always safe.
    #[must_use]
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Open { .. } => ErrorClass::Retry,
            Self::Store { source, .. } => source.class(),
            Self::DocumentTooLarge { .. } | Self::VersionImmutable { .. } => ErrorClass::Stall,
            Self::Follow(error) => error.class(),
            Self::Commit { source, .. } => source.class(),
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
            Self::Commit { source, .. } => source.label(),
        }
    }
}

/// Puts a package version into the registry. The same content again is success and writes nothing.
///
/// `open` gives the bytes of a member; it is asked only for those that the catalog does not have. What it
/// gives is checked against the member's digest and size.
///
/// # Errors
/// [`PublishError`]; nothing is visible then, unless the outcome of the last step is unknown.
pub async fn publish<'a, F>(
    storage: &Storage,
    content: &PackageContent,
    open: F,
    release_version: u64,
) -> Result<Published, PublishError>
where
    F: Fn(&Member) -> BoxFuture<'a, std::io::Result<MemberReader>> + Sync,
{
    let coordinate = &content.coordinate;
    let digest = content.digest();
    let start = storage.catalog.follow().await.map_err(PublishError::Follow)?;
    let not_committed = |source: CommitError<_>| PublishError::Commit {
        coordinate: coordinate.clone(),
        source: source.into(),
    };
    storage.catalog.writable().map_err(not_committed)?;
    if let Some(entry) = storage.catalog.state().entry(coordinate) {
        return already(content, digest, entry.digest, entry.release_version);
    }
    let (document, mut blobs) = put_document(storage, content, start).await?;
    put_members(storage, content, open, start, &mut blobs).await?;
    let publication = Publication {
        coordinate: coordinate.clone(),
        digest,
        release_version,
        document,
        members: content.members.clone(),
        blobs,
    };
    match storage.catalog.publish(publication).await {
        Ok(_) => Ok(Published { digest, release_version, already: false }),
        Err(CommitError::Rejected(CatalogRejection::AlreadyPublished { release_version, .. })) => {
            already(content, digest, digest, release_version)
        }
        Err(CommitError::Rejected(CatalogRejection::VersionImmutable { published, .. })) => {
            already(content, digest, published, release_version)
        }
        Err(source) => Err(not_committed(source)),
    }
}

/// Success when what is published is what was to be published.
fn already(
    content: &PackageContent,
    digest: Digest,
    published: Digest,
    release_version: u64,
) -> Result<Published, PublishError> {
    if published == digest {
        Ok(Published { digest, release_version, already: true })
    } else {
        Err(PublishError::VersionImmutable { coordinate: content.coordinate.clone(), published })
    }
}

/// Puts the metadata document unless the catalog has it.
async fn put_document(
    storage: &Storage,
    content: &PackageContent,
    start: u64,
) -> Result<(Digest, Vec<NewBlob>), PublishError> {
    let document = content.metadata.to_string().into_bytes();
    let size = document.len() as u64;
    if size > DOCUMENT_LIMIT {
        return Err(PublishError::DocumentTooLarge { coordinate: content.coordinate.clone(), size });
    }
    let digest = Digest::of(&document);
    if storage.catalog.state().blob(&digest).is_some() {
        return Ok((digest, Vec::new()));
    }
    let put = storage.blobs.put_bytes(&document, start).await;
    let blob = put.map_err(|source| not_stored(content, "metadata", source))?;
    Ok((digest, vec![NewBlob::new(&blob, DOCUMENT_TYPE)]))
}

/// Puts the members that the catalog does not have, each digest once.
async fn put_members<'a, F>(
    storage: &Storage,
    content: &PackageContent,
    open: F,
    start: u64,
    blobs: &mut Vec<NewBlob>,
) -> Result<(), PublishError>
where
    F: Fn(&Member) -> BoxFuture<'a, std::io::Result<MemberReader>> + Sync,
{
    for member in &content.members {
        let known = storage.catalog.state().blob(&member.digest).is_some();
        if known || blobs.iter().any(|blob| blob.digest == member.digest) {
            continue;
        }
        let mut reader = open(member).await.map_err(|source| PublishError::Open {
            coordinate: content.coordinate.clone(),
            role: member.role.clone(),
            source,
        })?;
        let put = storage.blobs.put(&mut *reader, member.digest, member.size, start).await;
        let blob = put.map_err(|source| not_stored(content, &member.role, source))?;
        blobs.push(NewBlob::new(&blob, &member.media_type));
    }
    Ok(())
}

fn not_stored(content: &PackageContent, role: &str, source: BlobError) -> PublishError {
    PublishError::Store {
        coordinate: content.coordinate.clone(),
        role: role.to_owned(),
        source: source.into(),
    }
}

#[cfg(test)]
mod tests;
