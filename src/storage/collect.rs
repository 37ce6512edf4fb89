//! Collection: what nothing names is deleted, exactly, and no clock of ours takes part.
//!
//! A copy goes when one of two things stands in the catalog. Either it was *condemned*: from then on no publication
//! may name it, and it is deleted once the readers' grace has passed. Or its key is older than the *watermark* and
//! nothing names it: who began before that record may not make new keys known any more, so nothing ever will. Both
//! are checked by the catalog itself when a record is written ([`super::catalog`]); a publisher that comes between
//! is refused and begins anew. A delete that comes late hits a key that nobody will ever use again.
//!
//! Ages only delay deletion. They are differences of the times that the store itself gave its objects.
//!
//! First everything is looked at ([`survey`]); what would go is counted; only then is anything written. A run that
//! would take away more than a tenth of all copies stops there and says how many. Each copy is asked about once:
//! when it is condemned, or when it is found to be named by nothing.

mod carry;
mod report;
mod survey;

#[cfg(test)]
mod tests;

use std::time::Duration;

use super::Storage;
use super::calls::CallError;
use super::catalog::CatalogRejection;
use super::lease::{LeaseExpired, Tenure};
use super::progress::Progress;
use super::records::{CommitError, LogError, Newer};
use crate::model::ErrorClass;

pub use report::{CollectReport, Tally};

/// One in so many copies may go without a word from an operator.
const SHARE: u64 = 10;

/// So many may always go.
const ALWAYS: u64 = 16;

/// How a collection is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CollectOptions {
    /// How long a publication or an upload may take at most, before what it put may be deleted.
    pub grace: Duration,
    /// How long a condemned copy stays, for those who are reading it.
    pub reader_grace: Duration,
    /// How many copies may go beyond the share that is thought plausible: exactly this many, or none.
    pub allow: Option<u64>,
}

impl Default for CollectOptions {
    fn default() -> Self {
        let day = Duration::from_secs(24 * 3600);
        Self { grace: day, reader_grace: day, allow: None }
    }
}

/// A collection that was not done, or not to its end. What is left is found by the next one.
#[derive(Debug, thiserror::Error)]
pub enum CollectError {
    /// More would go than is plausible. Nothing was written or deleted.
    #[error(
        "{going} of {all} copies would go, more than one in {SHARE}, so nothing was deleted; look at what would go \
         (dry run), and if that is right allow exactly {going}"
    )]
    TooMany {
        /// How many would go.
        going: u64,
        /// How many there are.
        all: u64,
    },
    /// A newer program has written things that may name what nothing seems to name.
    #[error("nothing may be deleted beside a newer version")]
    Newer(#[source] NewerRecord),
    /// The registry lives elsewhere.
    #[error("this registry was moved to {to}; nothing is deleted here any more")]
    Moved {
        /// Where.
        to: String,
    },
    /// What is known may be incomplete.
    #[error("the logs cannot be read to their end")]
    Follow(#[source] LogError),
    /// The store could not be listed to its end.
    #[error("the store cannot be listed to its end")]
    List(#[source] CallError),
    /// Something could not be deleted.
    #[error("a copy was not deleted")]
    Delete(#[source] CallError),
    /// The lease is not, or no longer, held.
    #[error("collection is for the leader")]
    Lease(#[source] LeaseExpired),
    /// A record was not written, or not known to be.
    #[error("the catalog takes no record of it")]
    Commit(#[source] Box<CommitError<CatalogRejection>>),
}

/// A [`Newer`] record as an error's source.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct NewerRecord(#[from] Newer);

impl CollectError {
    /// What to do about it.
    #[must_use]
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::TooMany { .. } | Self::Moved { .. } => ErrorClass::Stall,
            Self::Newer(_) => ErrorClass::Fatal,
            Self::Follow(error) => error.class(),
            Self::List(error) | Self::Delete(error) => error.class(),
            Self::Lease(error) => error.class(),
            Self::Commit(error) => error.class(),
        }
    }

    /// A stable word for labels.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::TooMany { .. } => "TooManyDeletions",
            Self::Newer(_) => "NewerFormat",
            Self::Moved { .. } => "RegistryMoved",
            Self::Follow(error) => error.label(),
            Self::List(error) | Self::Delete(error) => error.label(),
            Self::Lease(error) => error.label(),
            Self::Commit(error) => error.label(),
        }
    }
}

/// Says what [`collect`] would do now, and changes nothing. Needs no lease.
///
/// # Errors
/// When the storage cannot be looked at as a whole.
pub async fn would_collect(
    storage: &Storage,
    options: &CollectOptions,
    progress: &dyn Progress,
) -> Result<CollectReport, CollectError> {
    let survey = survey::survey(storage, options, progress).await?;
    Ok(survey.forecast())
}

/// Deletes what nothing names and what was condemned long enough ago.
///
/// # Errors
/// [`CollectError`]; what was done before stays done and does no harm.
pub async fn collect(
    storage: &Storage,
    tenure: &Tenure,
    options: &CollectOptions,
    progress: &dyn Progress,
) -> Result<CollectReport, CollectError> {
    tenure.check(Duration::ZERO).map_err(CollectError::Lease)?;
    let survey = survey::survey(storage, options, progress).await?;
    let forecast = survey.forecast();
    if let Some(going) = forecast.needs_allow
        && options.allow != Some(going)
    {
        return Err(CollectError::TooMany { going, all: forecast.copies });
    }
    carry::carry_out(storage, tenure, options, survey, progress).await
}
