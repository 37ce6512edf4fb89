//! One log: opening, following, committing.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use object_store::path::Path;
use tokio::sync::Mutex;

use super::place::{Placed, place};
use super::record::{Record, Unreadable, decode};
use super::{CommitError, FORMAT, LogError, Newer, RECORD_LIMIT, State};
use crate::clock::Entropy;
use crate::model::{Digest, Epoch};
use crate::retry::Delays;
use crate::storage::calls::Calls;

/// The most records that are read ahead at a time; with [`RECORD_LIMIT`] the bound on their memory.
const AHEAD: u64 = 32;

/// How often a commit may lose against others before it is given up.
const LOSSES: u32 = 64;

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
}

/// Operations that stand in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Committed {
    /// The number of their record.
    pub seq: u64,
}

/// A log with the state that its records add up to.
pub struct Log<S: State> {
    site: Site,
    folder: &'static str,
    registry: String,
    view: RwLock<View<S>>,
    /// Held while the view moves, so that this instance's own commits and replays take turns.
    turn: Mutex<()>,
}

/// What is known of the log. It moves by whole records.
struct View<S> {
    state: Arc<S>,
    seq: u64,
    digest: Digest,
    newer: Option<Newer>,
}

impl<S: State> Log<S> {
    /// Opens the log in that folder and reads it to its end. Where there is none it is begun with that
    /// registry id, or with a new one.
    ///
    /// # Errors
    /// When it cannot be read or begun, its chain is broken, or it belongs to another registry.
    pub(in crate::storage) async fn open(
        site: Site,
        folder: &'static str,
        registry: Option<&str>,
    ) -> Result<Self, LogError> {
        let key = key(folder, 0);
        let found = site.calls.read_small(&key, RECORD_LIMIT as u64).await.map_err(LogError::Read)?;
        let first = match (found, site.access) {
            (Some(bytes), _) => bytes,
            (None, Access::ReadOnly) => return Err(LogError::Absent { folder }),
            (None, Access::ReadWrite) => begin(&site, &key, registry).await?,
        };
        let (own, digest) = (read_first(folder, &first)?, Digest::of(&first));
        if let Some(expected) = registry.filter(|expected| **expected != own) {
            return Err(LogError::Foreign { folder, found: own, expected: expected.to_owned() });
        }
        let view = View { state: Arc::default(), seq: 0, digest, newer: None };
        let log = Self { site, folder, registry: own, view: RwLock::new(view), turn: Mutex::default() };
        log.follow().await?;
        Ok(log)
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

    /// Whether commits are taken at all, as far as is known without reading on.
    ///
    /// # Errors
    /// [`CommitError::ReadOnly`] or [`CommitError::Newer`].
    pub fn writable(&self) -> Result<(), CommitError<S::Rejection>> {
        match self.newer() {
            _ if self.site.access == Access::ReadOnly => Err(CommitError::ReadOnly),
            Some(newer) => Err(CommitError::Newer(newer)),
            None => Ok(()),
        }
    }

    /// Reads what others wrote since; returns the number of the last record.
    ///
    /// # Errors
    /// When a record cannot be read or the chain is broken; the state stays where it was.
    pub async fn follow(&self) -> Result<u64, LogError> {
        let _turn = self.turn.lock().await;
        self.replay().await?;
        Ok(self.seq())
    }

    /// Writes operations as one record, all or none, after everything that others wrote before.
    ///
    /// # Errors
    /// [`CommitError`]; only with [`CommitError::OutcomeUnknown`] may the operations still come to stand.
    pub async fn commit(
        &self,
        epoch: Epoch,
        operations: Vec<S::Operation>,
    ) -> Result<Committed, CommitError<S::Rejection>> {
        self.writable()?;
        let _turn = self.turn.lock().await;
        let mut delays =
            Delays::new(Duration::from_millis(5), Duration::from_millis(200), self.site.entropy.clone());
        let mut record = Record {
            format: FORMAT,
            seq: 0,
            previous: None,
            registry: None,
            author: self.site.author.clone(),
            nonce: String::new(),
            epoch,
            operations,
        };
        for _ in 0..LOSSES {
            self.replay().await.map_err(CommitError::Replay)?;
            if self.attempt(&mut record).await? {
                return Ok(Committed { seq: record.seq });
            }
            self.site.calls.clock.sleep(delays.next_delay()).await;
        }
        Err(CommitError::Contended { losses: LOSSES })
    }

    /// Tries to be the next record; false when somebody else is.
    async fn attempt(&self, record: &mut Record<S::Operation>) -> Result<bool, CommitError<S::Rejection>> {
        self.prepare(record)?;
        let bytes = Bytes::from(serde_json::to_vec(record).map_err(CommitError::Encode)?);
        if bytes.len() > RECORD_LIMIT {
            return Err(CommitError::TooLarge { size: bytes.len() });
        }
        let placed = place(&self.site, &key(self.folder, record.seq), &bytes).await;
        match placed.map_err(|source| CommitError::OutcomeUnknown { seq: record.seq, source })? {
            Placed::Own => {
                self.apply(record, Digest::of(&bytes));
                Ok(true)
            }
            Placed::Foreign(bytes) => {
                self.append(record.seq, &bytes).map_err(CommitError::Replay)?;
                Ok(false)
            }
        }
    }

    /// Validates the operations against the newest state and addresses the record to the next number.
    fn prepare(&self, record: &mut Record<S::Operation>) -> Result<(), CommitError<S::Rejection>> {
        self.writable()?;
        let (state, seq, previous) = {
            let view = self.view();
            (Arc::clone(&view.state), view.seq + 1, view.digest)
        };
        validate_all(&*state, seq, &record.operations, record.epoch).map_err(CommitError::Rejected)?;
        record.seq = seq;
        record.previous = Some(previous);
        record.nonce = self.site.entropy.nonce();
        Ok(())
    }

    /// Reads to the tail. One record is asked for at first, more at a time while there are any.
    async fn replay(&self) -> Result<(), LogError> {
        let mut ahead = 1;
        loop {
            let from = self.seq() + 1;
            let reads = (from..from + ahead).map(|seq| async move {
                let read = self.site.calls.read_small(&key(self.folder, seq), RECORD_LIMIT as u64).await;
                (seq, read)
            });
            let mut reads = futures::stream::iter(reads).buffered(usize::try_from(ahead).unwrap_or(1));
            while let Some((seq, read)) = reads.next().await {
                let Some(bytes) = read.map_err(LogError::Read)? else { return Ok(()) };
                if !self.append(seq, &bytes)? {
                    return Ok(());
                }
            }
            ahead = (ahead * 2).min(AHEAD);
        }
    }

    /// Takes in a record that stands in the log; false when only a newer program could.
    fn append(&self, seq: u64, bytes: &[u8]) -> Result<bool, LogError> {
        let previous = self.view().digest;
        match decode(bytes, seq, Some(previous)) {
            Ok(record) => {
                self.apply(&record, Digest::of(bytes));
                Ok(true)
            }
            Err(Unreadable::Newer(newer)) => {
                self.view_mut().newer = Some(newer);
                Ok(false)
            }
            Err(Unreadable::Broken(what)) => Err(LogError::Broken { folder: self.folder, seq, what }),
        }
    }

    /// Moves the view by one record. The state is copied only while somebody still looks at the old one.
    fn apply(&self, record: &Record<S::Operation>, digest: Digest) {
        let mut view = self.view_mut();
        let state = Arc::make_mut(&mut view.state);
        for operation in &record.operations {
            state.apply(record.seq, operation);
        }
        view.seq = record.seq;
        view.digest = digest;
    }

    fn view(&self) -> RwLockReadGuard<'_, View<S>> {
        self.view.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn view_mut(&self) -> RwLockWriteGuard<'_, View<S>> {
        self.view.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Validates each operation against the state that those before it make.
fn validate_all<S: State>(
    state: &S,
    seq: u64,
    operations: &[S::Operation],
    epoch: Epoch,
) -> Result<(), S::Rejection> {
    let Some((first, rest)) = operations.split_first() else { return Ok(()) };
    state.validate(first, epoch)?;
    if rest.is_empty() {
        return Ok(());
    }
    let mut state = state.clone();
    let mut previous = first;
    for operation in rest {
        state.apply(seq, previous);
        state.validate(operation, epoch)?;
        previous = operation;
    }
    Ok(())
}

fn key(folder: &'static str, seq: u64) -> Path {
    Path::from(format!("{folder}/{seq:020}"))
}

/// Writes record 0, or takes that of whoever was faster.
async fn begin(site: &Site, key: &Path, registry: Option<&str>) -> Result<Bytes, LogError> {
    let record: Record<()> = Record {
        format: FORMAT,
        seq: 0,
        previous: None,
        registry: Some(registry.map_or_else(|| site.entropy.nonce(), str::to_owned)),
        author: site.author.clone(),
        nonce: site.entropy.nonce(),
        epoch: Epoch::default(),
        operations: Vec::new(),
    };
    let bytes = Bytes::from(serde_json::to_vec(&record).map_err(LogError::Encode)?);
    match place(site, key, &bytes).await.map_err(LogError::Begin)? {
        Placed::Own => Ok(bytes),
        Placed::Foreign(bytes) => Ok(bytes),
    }
}

/// Reads record 0: the id of the registry.
fn read_first(folder: &'static str, bytes: &[u8]) -> Result<String, LogError> {
    let broken = |what| LogError::Broken { folder, seq: 0, what };
    match decode::<()>(bytes, 0, None) {
        Ok(record) => record.registry.ok_or_else(|| broken("it names no registry".into())),
        Err(Unreadable::Newer(newer)) => Err(LogError::Newer(newer)),
        Err(Unreadable::Broken(what)) => Err(broken(what)),
    }
}
