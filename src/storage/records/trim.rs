//! Trimming: old records of a log that says how long it keeps them are deleted, one by one, from the oldest on.
//!
//! Only what lies below two snapshots goes, and only when its *successor* is older than the retention, so that an
//! idle log keeps its tail. Ages are differences of the store's own times; no clock of ours takes part. Record 0
//! stays.
//!
//! A writer that was stalled for longer than that may create a number that had been given and trimmed before: a
//! ghost, which nobody who begins anew ever sees, and which the next trimming takes. Three things keep a stalled
//! writer or reader from believing in one:
//!
//! - Each remembers an *anchor*: a time by its own boot clock at which the last record that it knows was the last one.
//!   For the whole retention after that time nothing behind that record can be trimmed. After half of it, everything is in
//!   doubt: whatever a store answered to a write counts as unknown, whether it said that it was done or that
//!   somebody was faster.
//! - Nothing that is read in doubt counts. The reader begins anew with a snapshot, and believes that it has found the
//!   end when a listing shows nothing beyond. That its anchor is still there would prove nothing: a writer that was
//!   away, too, may have brought it back.
//! - Should the store's own clock have jumped: whoever created a record looks for the one before it.
//!
//! A check of the record before is not enough by itself (`tests/protocol` has the traces): record 0 is always
//! there, a ghost may stand on a ghost, and a write that arrives late may bring back a record that was trimmed.

use std::time::Duration;

use futures::TryStreamExt as _;

use super::log::Log;
use super::{LogError, RECORD_LIMIT, State, load};
use crate::model::Digest;
use crate::storage::calls::{CallError, Listed};

/// How often the record before is asked for before its fate is left unknown.
const READS: usize = 3;

/// What one trimming did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Trimmed {
    /// How many records were deleted.
    pub deleted: u64,
    /// How many are left.
    pub left: u64,
}

impl<S: State> Log<S> {
    /// Deletes what is old enough. Only the holder of the lease calls this, so that deleting goes upwards.
    ///
    /// # Errors
    /// When the store cannot be listed or a record not be deleted; what was deleted before stays deleted.
    pub async fn trim(&self) -> Result<Trimmed, LogError> {
        let Some(retention) = self.names.retention else { return Ok(Trimmed::default()) };
        let Some(floor) = self.floor().await? else { return Ok(Trimmed::default()) };
        let listed = self.site.calls.list(&self.names.log.into(), None).try_collect::<Vec<_>>().await;
        let mut records: Vec<(u64, Listed)> = listed
            .map_err(LogError::Read)?
            .into_iter()
            .filter_map(|meta| Some((meta.key.filename()?.parse().ok()?, meta)))
            .filter(|(seq, _)| *seq > 0)
            .collect();
        records.sort_unstable_by_key(|(seq, _)| *seq);
        let Some(now) = records.last().map(|(_, newest)| newest.modified) else {
            return Ok(Trimmed::default());
        };
        let mut trimmed = Trimmed { deleted: 0, left: records.len() as u64 };
        for pair in records.windows(2) {
            let [(seq, record), (_, successor)] = pair else { break };
            let age = Duration::try_from(now.duration_since(successor.modified)).unwrap_or_default();
            if *seq >= floor || age < retention {
                break;
            }
            self.site.calls.delete(&record.key).await.map_err(LogError::Read)?;
            trimmed.deleted += 1;
            trimmed.left -= 1;
        }
        Ok(trimmed)
    }

    /// The number below which records may go: that of the snapshot before the newest.
    async fn floor(&self) -> Result<Option<u64>, LogError> {
        if self.due().snapshot() == 0 {
            return Ok(None);
        }
        Ok(load::snapshots(&self.site, &self.names).await?.into_iter().nth(1))
    }

    /// Whether a record that we created is the first with its number: true in a log that is never trimmed.
    pub(super) async fn genuine(&self, seq: u64) -> Result<bool, CallError> {
        if self.names.retention.is_none() || seq <= 1 {
            return Ok(true);
        }
        let before = self.view().digest;
        let mut last = Ok(false);
        for _ in 0..READS {
            match self.site.calls.read_small(&self.names.record(seq - 1), RECORD_LIMIT as u64).await {
                Ok(Some(bytes)) => return Ok(Digest::of(&bytes) == before),
                // A store may need a second look at what it has.
                Ok(None) => last = Ok(false),
                Err(error) => last = Err(error),
            }
        }
        if matches!(last, Ok(false)) {
            // The next reading begins anew, from the hint.
            self.forget_place();
        }
        last
    }
}
