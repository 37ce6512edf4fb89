//! What a log needs now and then: a snapshot every [`EVERY`] records, a hint, no more snapshots than are of use.
//!
//! Nothing here is needed for correctness, and nothing here fails a commit. Whoever committed the record at a
//! multiple of [`EVERY`] writes the snapshot; should that instance die first, the next multiple has one again.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use object_store::PutMode;

use super::hint::{self, Hint};
use super::log::{Access, Log};
use super::snapshot::{self, Point};
use super::{LogError, State, load};
use crate::storage::calls::CallError;

/// How many records lie between two snapshots.
pub(super) const EVERY: u64 = if cfg!(test) { 16 } else { 256 };

/// How many snapshots are kept: the newest may turn out damaged.
const KEPT: usize = 3;

/// How seldom the hint is written: stores limit writes to one key.
const HINT_PAUSE: Duration = Duration::from_secs(2);

/// The same for a log that is trimmed. It grows all the time, because its holder's signs of life are records; and to
/// open it takes a listing in any case.
const HINT_PAUSE_TRIMMED: Duration = Duration::from_secs(30);

/// How long writing a snapshot may take.
pub(super) const LIMIT: Duration = Duration::from_secs(60);

/// What is to be written when there is time.
pub(super) struct Due<S> {
    point: Option<Point<S>>,
    /// The newest snapshot known.
    snapshot: u64,
    hinted: Hint,
    hinted_at: Option<Duration>,
    /// The last record of our own; who writes nothing hints nothing.
    own: u64,
    /// Whether the log was found long without a snapshot.
    behind: bool,
}

impl<S> Due<S> {
    /// What is due after a log was read from `snapshot` to `tail`.
    pub(super) fn after_opening(snapshot: u64, tail: u64, hinted: Hint) -> Self {
        let behind = tail.saturating_sub(snapshot) >= 2 * EVERY;
        // One that lies ahead would never be replaced.
        let hinted = Hint { tail: hinted.tail.min(tail), snapshot: hinted.snapshot.min(tail) };
        Self { point: None, snapshot, hinted, hinted_at: None, own: 0, behind }
    }

    /// The newest snapshot known.
    pub(super) fn snapshot(&self) -> u64 {
        self.snapshot
    }
}

impl<S: State> Log<S> {
    /// Takes note of a record of our own.
    pub(super) fn note_own(&self, seq: u64) {
        let mut due = self.due();
        due.own = seq;
        if seq.is_multiple_of(EVERY) || due.behind {
            due.behind = false;
            due.point = Some(self.point());
        }
    }

    fn point(&self) -> Point<S> {
        let view = self.view();
        Point { state: Arc::clone(&view.state), seq: view.seq, digest: view.digest }
    }

    /// Writes what is due. To be called now and then; costs nothing when nothing is due.
    ///
    /// # Errors
    /// When something could not be written or removed; it is tried again with the next call.
    pub async fn tend(&self) -> Result<(), LogError> {
        if self.site.access == Access::ReadOnly || self.newer().is_some() {
            return Ok(());
        }
        let point = self.due().point.take();
        if let Some(point) = point
            && let Err(error) = self.write_snapshot(&point).await
        {
            // A newer one may have become due meanwhile.
            self.due().point.get_or_insert(point);
            return Err(error);
        }
        self.write_hint().await.map_err(LogError::Read)
    }

    /// Writes a snapshot of the newest state known, whatever is due.
    ///
    /// # Errors
    /// When it could not be written.
    pub async fn snapshot_now(&self) -> Result<u64, LogError> {
        let point = self.point();
        if point.seq > 0 {
            self.write_snapshot(&point).await?;
        }
        Ok(point.seq)
    }

    async fn write_snapshot(&self, point: &Point<S>) -> Result<(), LogError> {
        let Some(bytes) = snapshot::encode(self.registry(), point) else { return Ok(()) };
        let key = self.names.snapshot(point.seq);
        // The same state may have been written before: a create that loses to its like has done its work.
        if let Err(error) = self.site.calls.put(LIMIT, &key, bytes, PutMode::Create).await
            && !matches!(self.site.calls.head(&key).await, Ok(Some(_)))
        {
            return Err(LogError::Read(error));
        }
        let newest = {
            let mut due = self.due();
            due.snapshot = due.snapshot.max(point.seq);
            due.hinted_at = None;
            due.snapshot
        };
        for old in load::snapshots(&self.site, &self.names).await?.into_iter().skip(KEPT) {
            if old < newest {
                self.site.calls.delete(&self.names.snapshot(old)).await.map_err(LogError::Read)?;
            }
        }
        Ok(())
    }

    async fn write_hint(&self) -> Result<(), CallError> {
        let now = self.site.calls.clock.boot();
        let hint = {
            let due = self.due();
            let hint = Hint { tail: self.seq(), snapshot: due.snapshot };
            let pause = if self.names.retention.is_some() { HINT_PAUSE_TRIMMED } else { HINT_PAUSE };
            let early = due.hinted_at.is_some_and(|at| now.saturating_sub(at) < pause);
            // Whoever only reads leaves it to those who write.
            let news = due.own > due.hinted.tail || due.snapshot > due.hinted.snapshot;
            if due.own == 0 || !news || early {
                return Ok(());
            }
            hint
        };
        hint::write(&self.site, &self.names, hint).await?;
        let mut due = self.due();
        (due.hinted, due.hinted_at) = (hint, Some(now));
        Ok(())
    }

    pub(super) fn due(&self) -> std::sync::MutexGuard<'_, Due<S>> {
        self.due.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
