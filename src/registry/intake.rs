//! Taking in bundles: gathered in a temporary file, checked as a whole, published. Where the storage is a disk of this
//! machine, long members of a body are written where they stay while they arrive ([`gather`]).
//!
//! A bundle comes as one body ([`Intake::receive`]) or piece by piece through any instance
//! ([`Intake::uploads`], [`Intake::finish`]). Nothing of it is visible before it is whole, and nothing of its size
//! is held in memory.
//!
//! How many come in at a time is bounded: each takes a few megabytes of memory, and all share one disk.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::bundle::file::{BundleFile, BundleFileError, BundleLimits};
use crate::clock::{Clock, DeadlinePassed};
use crate::model::{Coordinate, ErrorClass, Member};
use crate::storage::Storage;
use crate::storage::blobs::{Arriving, BlobError};
use crate::storage::catalog::CatalogRejection;
use crate::storage::local::LocalError;
use crate::storage::publish::{PublishError, Published, ReleaseVersion, publish_arrived};
use crate::storage::records::CommitError;
use crate::storage::spool::{Spool, SpoolError, SpoolFile};
use crate::storage::uploads::{Outcome, UploadError, UploadId, UploadLimits, Uploads};
use crate::telemetry::chain;

mod gather;

use gather::Gathering;

/// How many bundles come in at a time.
const PLACES: usize = 16;

/// How long one waits for its place.
const PLACE_LIMIT: Duration = Duration::from_secs(30);

/// How long checking the structure of a bundle may take: its directory and two documents are read.
const OPEN_LIMIT: Duration = Duration::from_secs(60);

/// A package version that was taken in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// Name and version.
    pub coordinate: Coordinate,
    /// What is in the catalog.
    pub published: Published,
}

/// A bundle that was not taken in, or not known to be.
#[derive(Debug, thiserror::Error)]
pub enum IntakeError {
    /// Others take all places.
    #[error("too many uploads at a time; try again later")]
    Crowded(#[source] DeadlinePassed),
    /// The storage is not where it was.
    #[error(transparent)]
    Storage(#[from] LocalError),
    /// The storage takes nothing in.
    #[error("nothing can be taken in")]
    NotWritable(#[source] Box<CommitError<CatalogRejection>>),
    /// The body broke off.
    #[error("the bundle did not come in whole")]
    Body(#[source] Box<dyn Error + Send + Sync>),
    /// It could not be gathered.
    #[error("the bundle cannot be gathered")]
    Spool(#[from] SpoolError),
    /// A member could not be stored on its way in.
    #[error("the bundle's files cannot be stored")]
    Store(#[from] BlobError),
    /// It is no bundle.
    #[error(transparent)]
    Bundle(#[from] BundleFileError),
    /// Checking it took too long.
    #[error("the bundle could not be checked")]
    Late(#[source] DeadlinePassed),
    /// The process is ending.
    #[error("the work was interrupted")]
    Interrupted(#[source] tokio::task::JoinError),
    /// It was not published.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// It came piece by piece, and that failed.
    #[error(transparent)]
    Upload(#[from] UploadError),
}

impl IntakeError {
    /// What to do about it. Sending the same bundle again is always safe.
    #[must_use]
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Crowded(_) | Self::Body(_) | Self::Late(_) | Self::Interrupted(_) => ErrorClass::Retry,
            Self::Storage(error) => error.class(),
            Self::NotWritable(error) => error.class(),
            Self::Spool(error) => error.class(),
            Self::Store(error) => error.class(),
            Self::Bundle(error) => error.class(),
            Self::Publish(error) => error.class(),
            Self::Upload(error) => error.class(),
        }
    }

    /// A stable word for labels and answers.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::Crowded(_) => "UploadsCrowded",
            Self::Storage(error) => error.label(),
            Self::NotWritable(error) => error.label(),
            Self::Body(_) => "BodyBroken",
            Self::Spool(error) => error.label(),
            Self::Store(error) => error.label(),
            Self::Bundle(error) => error.label(),
            Self::Late(_) => "BundleLate",
            Self::Interrupted(_) => "Interrupted",
            Self::Publish(error) => error.label(),
            Self::Upload(error) => error.label(),
        }
    }

    /// Whether it is the bundle's fault, so that the same bytes will be refused again, by every instance.
    #[must_use]
    pub fn is_final(&self) -> bool {
        match self {
            Self::Bundle(error) => error.class() == ErrorClass::Stall,
            Self::Upload(UploadError::PieceDamaged { .. } | UploadError::PieceMissing { .. })
            | Self::Publish(PublishError::DocumentTooLarge { .. } | PublishError::VersionImmutable { .. }) => {
                true
            }
            Self::Publish(PublishError::Store { source, .. }) => are_wrong_bytes(source),
            Self::Publish(PublishError::Commit { source, .. }) => matches!(
                **source,
                CommitError::TooLarge { .. }
                    | CommitError::Rejected(
                        CatalogRejection::ReleaseVersionTaken { .. } | CatalogRejection::SizeDiffers { .. }
                    )
            ),
            _ => false,
        }
    }
}

/// Whether the bundle's bytes are not those that it announces.
fn are_wrong_bytes(error: &BlobError) -> bool {
    match error {
        BlobError::WrongDigest { .. } | BlobError::WrongLength { .. } => true,
        BlobError::Source { source, .. } => source.kind() == std::io::ErrorKind::InvalidData,
        _ => false,
    }
}

/// The door for bundles.
pub struct Intake {
    storage: Arc<Storage>,
    spool: Spool,
    uploads: Uploads,
    limits: BundleLimits,
    places: Semaphore,
    clock: Clock,
}

impl Intake {
    /// A door to a storage.
    #[must_use]
    pub fn new(storage: Arc<Storage>, spool: Spool, clock: Clock) -> Self {
        let limits = BundleLimits::default();
        let of_uploads = UploadLimits { size: limits.unpacked, ..UploadLimits::default() };
        let uploads = Uploads::new(Arc::clone(&storage), of_uploads);
        Self { storage, spool, uploads, limits, places: Semaphore::new(PLACES), clock }
    }

    /// The largest bundle that is taken, in bytes.
    #[must_use]
    pub fn largest(&self) -> u64 {
        self.limits.unpacked
    }

    /// What comes in piece by piece.
    #[must_use]
    pub fn uploads(&self) -> &Uploads {
        &self.uploads
    }

    /// Takes in a bundle that comes as one body, of that length where it is known. The body's own delays and length
    /// are the caller's to bound.
    ///
    /// # Errors
    /// [`IntakeError`]; where there is no room for it, before anything of the body was read. Nothing is visible then,
    /// unless the outcome of the last step is unknown.
    pub async fn receive<E>(
        &self,
        length: Option<u64>,
        body: impl Stream<Item = Result<Bytes, E>> + Send,
    ) -> Result<Taken, IntakeError>
    where
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        let writable = self.storage.catalog.writable().await;
        writable.map_err(|error| IntakeError::NotWritable(error.into()))?;
        let _place = self.enter().await?;
        let file = self.spool.begin(length).await?;
        let longest = length.unwrap_or(u64::MAX).min(self.largest());
        let mut gathering = Gathering::new(&self.storage, file, longest);
        let mut body = std::pin::pin!(body);
        while let Some(piece) = body.next().await {
            gathering.write(piece.map_err(|error| IntakeError::Body(error.into()))?).await?;
        }
        let (file, arrived) = gathering.finish();
        self.publish(file, arrived).await
    }

    /// Finishes an upload whose bytes are all there: publishes it and writes down how that ended. Any instance may,
    /// any number of times, also at once; all get the same outcome.
    ///
    /// # Errors
    /// When it is not known yet how it ends. It stays as it is then, and can be finished later.
    pub async fn finish(&self, id: UploadId) -> Result<Outcome, IntakeError> {
        let status = self.uploads.status(id).await?;
        if let Some(outcome) = status.outcome {
            return Ok(outcome);
        }
        if !status.is_complete() {
            return Err(UploadError::Incomplete { offset: status.offset, length: status.length }.into());
        }
        let place = self.enter().await?;
        let published = self.publish_upload(id, status.offset).await;
        drop(place);
        let outcome = match published {
            Ok(Taken { coordinate, published: Published { digest, release_version, already, .. } }) => {
                Outcome::Published { coordinate, digest, release_version, already }
            }
            // Whoever was faster deletes the pieces, which looks like damage.
            Err(error) => match self.uploads.outcome(id).await? {
                Some(outcome) => return Ok(outcome),
                None if error.is_final() => {
                    Outcome::Refused { kind: error.label().into(), message: chain(&error) }
                }
                None => return Err(error),
            },
        };
        Ok(self.uploads.conclude(id, &outcome).await?)
    }

    async fn publish_upload(&self, id: UploadId, length: u64) -> Result<Taken, IntakeError> {
        let mut file = self.spool.begin(Some(length)).await?;
        self.uploads.assemble(id, &mut file).await?;
        self.publish(file, Vec::new()).await
    }

    async fn enter(&self) -> Result<SemaphorePermit<'_>, IntakeError> {
        self.storage.check()?;
        let entered = self.clock.timeout(PLACE_LIMIT, self.places.acquire()).await;
        match entered.map_err(IntakeError::Crowded)? {
            Ok(place) => Ok(place),
            // Nobody closes the semaphore.
            Err(_) => Err(IntakeError::Crowded(DeadlinePassed(Duration::ZERO))),
        }
    }

    async fn publish(&self, file: SpoolFile, arrived: Vec<Arriving>) -> Result<Taken, IntakeError> {
        let (file, limits) = (file.finish().await?, self.limits);
        let opened = tokio::task::spawn_blocking(move || BundleFile::open(file, &limits));
        let opened = self.clock.timeout(OPEN_LIMIT, opened).await.map_err(IntakeError::Late)?;
        let bundle = opened.map_err(IntakeError::Interrupted)??;
        let coordinate = bundle.content().coordinate.clone();
        let published = self.publish_bundle(&bundle, arrived).await?;
        tracing::info!(%coordinate, digest = %published.digest, already = published.already, "a bundle was taken in");
        Ok(Taken { coordinate, published })
    }

    /// Publishes with the release version of the bundle, else with the next one that nobody has.
    async fn publish_bundle(
        &self,
        bundle: &BundleFile,
        arrived: Vec<Arriving>,
    ) -> Result<Published, PublishError> {
        let (content, open) = (bundle.content(), |member: &Member| bundle.open_member(member));
        let release_version =
            content.release_version.map_or(ReleaseVersion::NextFree, ReleaseVersion::Exactly);
        publish_arrived(&self.storage, content, open, release_version, arrived).await
    }
}

#[cfg(test)]
pub(crate) mod tests;
