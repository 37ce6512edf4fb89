//! One log: what is known of it, following it, and what a commit does to it.

use std::sync::{Arc, Mutex as Plain, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use object_store::path::Path;
use tokio::sync::Mutex;

use super::queue::Queue;
use super::record::{Record, Unreadable, decode};
use super::tend::Due;
use super::{CommitError, LogError, Newer, RECORD_LIMIT, State};
use crate::clock::Entropy;
use crate::model::{Digest, Epoch};
use crate::storage::calls::Calls;
use crate::storage::gate::Gate;

/// The most records that are read ahead at a time; with [`RECORD_LIMIT`] the bound on their memory.
pub(super) const AHEAD: u64 = 64;

/// What opening a log may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Read it; commits are refused, nothing is created.
    ReadOnly,
    /// Begin it where there is none, and write.
    ReadWrite,
}

/// Where logs lie and who writes them.
#[derive(Clone)]
pub(in crate::storage) struct Site {
    pub(in crate::storage) calls: Calls,
    pub(in crate::storage) entropy: Entropy,
    /// This instance's id, written into records for people.
    pub(in crate::storage) author: String,
    pub(in crate::storage) access: Access,
    pub(in crate::storage) gate: Gate,
    /// Whether a store that cannot order writers lets only the leader write here.
    pub(in crate::storage) by_leader_only: bool,
}

/// What a log is called in the store, and how long its records are kept.
#[derive(Debug, Clone, Copy)]
pub(in crate::storage) struct Names {
    /// The folder of its records.
    pub(in crate::storage) log: &'static str,
    /// The folder of its snapshots.
    pub(in crate::storage) snap: &'static str,
    /// The object that says where the tail was.
    pub(in crate::storage) hint: &'static str,
    /// How long a record is kept at least once a snapshot has taken its place; none where records are kept for
    /// ever.
    pub(in crate::storage) retention: Option<Duration>,
}

impl Names {
    pub(super) fn record(&self, seq: u64) -> Path {
        Path::from(format!("{}/{seq:020}", self.log))
    }

    pub(super) fn snapshot(&self, seq: u64) -> Path {
        Path::from(format!("{}/{seq:020}", self.snap))
    }
}

/// Operations that stand in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Committed {
    /// The number of their record.
    pub seq: u64,
    /// The boot clock before the record was first sent. What a record proves for a time, it proves from then on.
    pub begun: Duration,
}

/// A log with the state that its records add up to.
pub struct Log<S: State> {
    pub(super) site: Site,
    pub(super) names: Names,
    registry: String,
    view: RwLock<View<S>>,
    /// Held while the view moves, so that this instance's own commits and replays take turns.
    pub(super) turn: Mutex<()>,
    pub(super) queue: Queue<S>,
    pub(super) due: Plain<Due<S>>,
    probes: Plain<Probes>,
}

/// What is known of the log. It moves by whole records.
pub(super) struct View<S> {
    pub(super) state: Arc<S>,
    pub(super) seq: u64,
    pub(super) digest: Digest,
    pub(super) newer: Option<Newer>,
    /// The anchor: when it was last known to be the whole log, by the boot clock; none where that is in doubt. For the
    /// whole retention after that time nothing behind its last record can be trimmed, so what is read there is what was
    /// written there first ([`super::trim`]).
    pub(super) anchor: Option<Duration>,
}

impl Names {
    /// Whether the anchor may have been trimmed by now.
    pub(super) fn in_doubt(&self, anchor: Option<Duration>, now: Duration) -> bool {
        let Some(retention) = self.retention else { return false };
        anchor.is_none_or(|anchor| now.saturating_sub(anchor) > retention / 2)
    }
}

pub(super) fn read<S>(view: &RwLock<View<S>>) -> RwLockReadGuard<'_, View<S>> {
    view.read().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn write<S>(view: &RwLock<View<S>>) -> RwLockWriteGuard<'_, View<S>> {
    view.write().unwrap_or_else(PoisonError::into_inner)
}

/// Looks at the tail, numbered, so that one look can answer all who asked before it began.
#[derive(Default)]
struct Probes {
    begun: u64,
    succeeded: u64,
}

impl<S: State> Log<S> {
    /// Opens the log and reads it to its end. Where there is none it is begun with that registry id, or with
    /// a new one.
    ///
    /// # Errors
    /// When it cannot be read or begun, its chain is broken, or it belongs to another registry.
    pub(in crate::storage) async fn open(
        site: Site,
        names: Names,
        registry: Option<&str>,
    ) -> Result<Self, LogError> {
        let (registry, view, due) = super::load::open(&site, &names, registry).await?;
        Ok(Self {
            site,
            names,
            registry,
            view,
            turn: Mutex::default(),
            queue: Queue::default(),
            due: Plain::new(due),
            probes: Plain::default(),
        })
    }

    /// The state after the last record read.
    pub fn state(&self) -> Arc<S> {
        Arc::clone(&self.view().state)
    }

    /// The number of the last record read.
    pub fn seq(&self) -> u64 {
        self.view().seq
    }

    /// The id of the registry that the log belongs to.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The record of a newer program at which reading ended; while there is one, commits are refused.
    pub fn newer(&self) -> Option<Newer> {
        self.view().newer.clone()
    }

    /// Whether commits are taken at all, as far as is known without reading on. Waits for the word of the probe, for a
    /// while.
    ///
    /// # Errors
    /// [`CommitError::ReadOnly`], [`CommitError::Newer`] or [`CommitError::Shut`].
    pub async fn writable(&self) -> Result<(), CommitError<S::Rejection>> {
        self.site.gate.settled(&self.site.calls.clock).await;
        self.writable_now()
    }

    /// The same without waiting.
    pub(super) fn writable_now(&self) -> Result<(), CommitError<S::Rejection>> {
        if let Some(newer) = self.newer() {
            return Err(CommitError::Newer(newer));
        }
        self.site.gate.check(self.site.by_leader_only).map_err(CommitError::Shut)?;
        if self.site.access == Access::ReadOnly { Err(CommitError::ReadOnly) } else { Ok(()) }
    }

    /// Reads what others wrote since; returns the number of the last record. What was written before the call is
    /// seen; of several callers at once one reads for all.
    ///
    /// # Errors
    /// When a record cannot be read or the chain is broken; the state stays where it was.
    pub async fn follow(&self) -> Result<u64, LogError> {
        let asked = self.probes().begun;
        let _turn = self.turn.lock().await;
        let number = {
            let mut probes = self.probes();
            if probes.succeeded > asked {
                return Ok(self.seq());
            }
            probes.begun += 1;
            probes.begun
        };
        self.replay().await?;
        self.probes().succeeded = number;
        Ok(self.seq())
    }

    /// Writes operations as one record, all or none, after everything that others wrote before. Operations of
    /// other callers may share the record.
    ///
    /// # Errors
    /// [`CommitError`]; only where the outcome is unknown may the operations still come to stand.
    pub async fn commit(
        &self,
        epoch: Epoch,
        operations: Vec<S::Operation>,
    ) -> Result<Committed, CommitError<S::Rejection>> {
        self.writable().await?;
        super::queue::commit(self, epoch, operations).await
    }

    /// When a record was written, in milliseconds by the store's own clock: good for differences between objects of
    /// one store, and for nothing else.
    ///
    /// # Errors
    /// When it cannot be looked at, or is not there.
    pub(in crate::storage) async fn written_at(&self, seq: u64) -> Result<i64, LogError> {
        let found = self.site.calls.head(&self.names.record(seq)).await.map_err(LogError::Read)?;
        let what = || "it is gone".to_owned();
        let found = found.ok_or_else(|| LogError::Broken { folder: self.names.log, seq, what: what() })?;
        Ok(found.modified.as_millisecond())
    }

    /// Reads to the tail. One record is asked for at first, more at a time while there are any. Whoever was away for so
    /// long that records may have been trimmed behind him begins anew: what he finds next may be anything.
    pub(super) async fn replay(&self) -> Result<(), LogError> {
        if !self.in_doubt() {
            let read = read_on(&self.site, &self.names, &self.view, 1).await;
            if let Err(LogError::Read(_)) = read {
                return read.map(drop);
            }
            if !self.in_doubt() {
                if let Some(begun) = read? {
                    self.view_mut().anchor = Some(begun);
                }
                return Ok(());
            }
        }
        super::load::reload(&self.site, &self.names, &self.registry, &self.view).await
    }

    /// Whether this instance was away for so long that it may stand where records were trimmed.
    pub(super) fn in_doubt(&self) -> bool {
        let anchor = self.view().anchor;
        self.names.in_doubt(anchor, self.site.calls.clock.boot())
    }

    /// Takes in a record that stands in the log; false when only a newer program could.
    pub(super) fn append(&self, seq: u64, bytes: &[u8]) -> Result<bool, LogError> {
        take_in(&self.names, &mut self.view_mut(), seq, bytes)
    }

    /// Takes in a record of our own that stands in the log and was first sent at `begun`.
    pub(super) fn advance(&self, record: &Record<S::Operation>, digest: Digest, begun: Duration) {
        let mut view = self.view_mut();
        advance(&mut view, record, digest);
        view.anchor = Some(begun);
    }

    /// Has the next reading begin anew.
    pub(super) fn forget_place(&self) {
        self.view_mut().anchor = None;
    }

    pub(super) fn view(&self) -> RwLockReadGuard<'_, View<S>> {
        read(&self.view)
    }

    fn view_mut(&self) -> RwLockWriteGuard<'_, View<S>> {
        write(&self.view)
    }

    fn probes(&self) -> std::sync::MutexGuard<'_, Probes> {
        self.probes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Moves the view to the tail, beginning with `ahead` records at a time, later with more. What was read before an
/// error counts. Gives the time before the look that found nothing more; none where a newer program's record ended the
/// reading.
pub(super) async fn read_on<S: State>(
    site: &Site,
    names: &Names,
    view: &RwLock<View<S>>,
    mut ahead: u64,
) -> Result<Option<Duration>, LogError> {
    write(view).newer = None;
    let mut full_rounds = 0;
    loop {
        ahead = ahead.min(AHEAD);
        let begun = site.calls.clock.boot();
        let from = read(view).seq + 1;
        let reads = (from..from + ahead).map(|seq| async move {
            let read = site.calls.read_small(&names.record(seq), RECORD_LIMIT as u64).await;
            (seq, read)
        });
        let mut reads = futures::stream::iter(reads).buffered(usize::try_from(ahead).unwrap_or(1));
        while let Some((seq, bytes)) = reads.next().await {
            let Some(bytes) = bytes.map_err(LogError::Read)? else {
                return Ok(Some(begun));
            };
            if !take_in(names, &mut write(view), seq, &bytes)? {
                return Ok(None);
            }
        }
        // Mostly there was one new record, and one more look finds the end.
        full_rounds += 1;
        if full_rounds > 1 {
            ahead *= 2;
        }
    }
}

/// Takes in one record; false when only a newer program could.
pub(super) fn take_in<S: State>(
    names: &Names,
    view: &mut View<S>,
    seq: u64,
    bytes: &[u8],
) -> Result<bool, LogError> {
    match decode(bytes, seq, Some(view.digest)) {
        Ok(record) => {
            advance(view, &record, Digest::of(bytes));
            Ok(true)
        }
        Err(Unreadable::Newer(newer)) => {
            view.newer = Some(newer);
            Ok(false)
        }
        Err(Unreadable::Broken(what)) => Err(LogError::Broken { folder: names.log, seq, what }),
    }
}

/// Moves the view by one record. The state is copied only while somebody still looks at the old one.
fn advance<S: State>(view: &mut View<S>, record: &Record<S::Operation>, digest: Digest) {
    let state = Arc::make_mut(&mut view.state);
    for operation in &record.operations {
        state.apply(record.seq, operation);
    }
    view.seq = record.seq;
    view.digest = digest;
}

/// The bytes of a record.
pub(super) fn encode<O: serde::Serialize>(record: &Record<O>) -> Result<Bytes, serde_json::Error> {
    serde_json::to_vec(record).map(Bytes::from)
}
