//! What the records of a log prove by themselves, without any snapshot; and writing anew what is derived from them.
//!
//! The chain is followed from record 0, or, in a log that was trimmed, from the oldest snapshot that its records
//! still reach back to. Where it breaks, everything before stands and nothing after does: what follows is shown as
//! what somebody claims.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::PutMode;
use serde_json::Value;

use super::hint::{self, Hint};
use super::load::{read_first, snapshots};
use super::log::{AHEAD, Names, Site, View, take_in};
use super::snapshot::{self, Point};
use super::{LogError, Newer, RECORD_LIMIT, State, tend};
use crate::model::Digest;
use crate::storage::calls::CallError;
use crate::storage::progress::{Progress, Unit};

/// The most claims that are shown.
const CLAIMS: usize = 10_000;

/// What a log's records prove.
pub(in crate::storage) struct Audit<S> {
    /// The id of the registry.
    pub(in crate::storage) registry: String,
    pub(in crate::storage) extent: Extent,
    /// What they add up to.
    pub(in crate::storage) state: Arc<S>,
    /// What the first operations after a break say, unproved.
    pub(in crate::storage) claims: Vec<Claim>,
    digest: Digest,
}

/// How far a log's records go.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(in crate::storage) struct Extent {
    /// The record, or the snapshot of a trimmed log, that the chain was followed from.
    pub(in crate::storage) from: u64,
    /// The last record that is proved.
    pub(in crate::storage) proved: u64,
    /// The last record that is there.
    pub(in crate::storage) last: u64,
    /// Where the chain breaks, and how.
    pub(in crate::storage) broken: Option<(u64, String)>,
    /// The first record that only a newer program understands.
    pub(in crate::storage) newer: Option<Newer>,
    /// Snapshots that can be used, and those that are wrong with the reason.
    pub(in crate::storage) snapshots: Vec<(u64, Result<(), String>)>,
}

/// What a record after a break says.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::storage) struct Claim {
    /// The record.
    pub(in crate::storage) seq: u64,
    /// One of its operations; none where it cannot be read.
    pub(in crate::storage) operation: Option<Value>,
}

/// Follows the chain; with `stop` as if it broke there.
///
/// # Errors
/// When record 0 is missing or damaged, the log is another registry's, or the store cannot be read.
pub(in crate::storage) async fn audit<S: State>(
    site: &Site,
    names: &Names,
    registry: Option<&str>,
    stop: Option<u64>,
    progress: &dyn Progress,
) -> Result<Audit<S>, LogError> {
    let folder = names.log;
    let first = site.calls.read_small(&names.record(0), RECORD_LIMIT as u64).await.map_err(LogError::Read)?;
    let first = first.ok_or(LogError::Absent { folder })?;
    let found = read_first(folder, &first)?;
    if let Some(expected) = registry.filter(|expected| **expected != found) {
        return Err(LogError::Foreign { folder, found, expected: expected.to_owned() });
    }
    let records = numbers(site, names).await?;
    let mut extent = Extent { last: records.last().copied().unwrap_or_default(), ..Extent::default() };
    let lowest = records.iter().find(|seq| **seq > 0).copied().unwrap_or(1);
    let mut waiting: BTreeSet<u64> = snapshots(site, names).await?.into_iter().collect();
    let state = Arc::default();
    let digest = Digest::of(&first);
    let mut view = View { state, seq: 0, digest, newer: None, anchor: None };
    if names.retention.is_some() && lowest > 1 {
        for seq in waiting.clone().into_iter().filter(|seq| *seq + 1 >= lowest) {
            match read_snapshot(site, names, &found, seq).await? {
                Ok(base) => {
                    view = base;
                    break;
                }
                Err(why) => {
                    waiting.remove(&seq);
                    extent.snapshots.push((seq, Err(why)));
                }
            }
        }
    }
    extent.from = view.seq;
    progress.begin("following the chain", Some(extent.last - extent.from.min(extent.last)), Unit::Records);
    follow(site, names, &found, &mut view, &mut extent, stop, &mut waiting, progress).await?;
    extent.proved = view.seq;
    extent.newer.clone_from(&view.newer);
    let unproved = waiting.into_iter().map(|seq| (seq, Err("no proved record leads to it".to_owned())));
    extent.snapshots.extend(unproved);
    let claims = match &extent.broken {
        Some((at, _)) => claims(site, names, *at, extent.last).await?,
        None => Vec::new(),
    };
    let View { state, digest, .. } = view;
    Ok(Audit { registry: found, extent, state, claims, digest })
}

/// All record numbers that are there, ascending.
async fn numbers(site: &Site, names: &Names) -> Result<Vec<u64>, LogError> {
    let mut listed = site.calls.list(&names.log.into(), None);
    let mut numbers = Vec::new();
    while let Some(meta) = listed.try_next().await.map_err(LogError::Read)? {
        numbers.extend(meta.key.filename().and_then(|name| name.parse::<u64>().ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

async fn read_snapshot<S: State>(
    site: &Site,
    names: &Names,
    registry: &str,
    seq: u64,
) -> Result<Result<View<S>, String>, LogError> {
    match site.calls.read_data(&names.snapshot(seq), snapshot::LIMIT).await {
        Ok(Some(bytes)) => Ok(snapshot::decode(&bytes, registry, seq)),
        Ok(None) => Ok(Err("it is gone".to_owned())),
        Err(error @ CallError::TooLarge { .. }) => Ok(Err(error.to_string())),
        Err(error) => Err(LogError::Read(error)),
    }
}

/// Moves the view from record to record, and compares the snapshots that it comes by.
#[expect(clippy::too_many_arguments, reason = "one loop over all that an audit is about")]
async fn follow<S: State>(
    site: &Site,
    names: &Names,
    registry: &str,
    view: &mut View<S>,
    extent: &mut Extent,
    stop: Option<u64>,
    waiting: &mut BTreeSet<u64>,
    progress: &dyn Progress,
) -> Result<(), LogError> {
    loop {
        if waiting.remove(&view.seq) {
            let verdict = compare(site, names, registry, view).await?;
            extent.snapshots.push((view.seq, verdict));
        }
        let from = view.seq + 1;
        // Up to the next snapshot, so that the state is at hand when it comes.
        let to = waiting.first().copied().unwrap_or(u64::MAX).min(from + AHEAD - 1).max(from);
        let reads = (from..=to).map(|seq| async move {
            (seq, site.calls.read_small(&names.record(seq), RECORD_LIMIT as u64).await)
        });
        let mut reads = futures::stream::iter(reads).buffered(usize::try_from(AHEAD).unwrap_or(1));
        while let Some((seq, bytes)) = reads.next().await {
            let bytes = match bytes {
                _ if stop.is_some_and(|stop| seq >= stop) => Err("as asked".to_owned()),
                Ok(None) if seq > extent.last => return Ok(()),
                Ok(None) => Err("it is gone".to_owned()),
                Ok(Some(bytes)) => Ok(bytes),
                Err(error @ CallError::TooLarge { .. }) => Err(error.to_string()),
                Err(error) => return Err(LogError::Read(error)),
            };
            if let Err(what) = bytes.and_then(|bytes| advance(names, view, seq, &bytes)) {
                extent.broken = Some((seq, what));
                return Ok(());
            }
            if view.newer.is_some() {
                return Ok(());
            }
            progress.advance(1);
        }
    }
}

fn advance<S: State>(names: &Names, view: &mut View<S>, seq: u64, bytes: &Bytes) -> Result<(), String> {
    match take_in(names, view, seq, bytes) {
        Ok(_) => Ok(()),
        Err(LogError::Broken { what, .. }) => Err(what),
        Err(error) => Err(error.to_string()),
    }
}

/// Whether a snapshot is what the records add up to.
async fn compare<S: State>(
    site: &Site,
    names: &Names,
    registry: &str,
    view: &View<S>,
) -> Result<Result<(), String>, LogError> {
    let claimed = match read_snapshot::<S>(site, names, registry, view.seq).await? {
        Ok(claimed) => claimed,
        Err(why) => return Ok(Err(why)),
    };
    let same = claimed.digest == view.digest
        && claimed.state.save().is_ok_and(|bytes| view.state.save().is_ok_and(|own| own == bytes));
    Ok(if same { Ok(()) } else { Err("it is not what the records add up to".to_owned()) })
}

/// What the records from `at` on say, whether or not they belong to this log.
async fn claims(site: &Site, names: &Names, at: u64, last: u64) -> Result<Vec<Claim>, LogError> {
    let mut claims = Vec::new();
    for seq in at..=last {
        let bytes = match site.calls.read_small(&names.record(seq), RECORD_LIMIT as u64).await {
            Ok(bytes) => bytes.unwrap_or_default(),
            Err(CallError::TooLarge { .. }) => Bytes::new(),
            Err(error) => return Err(LogError::Read(error)),
        };
        let record: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        match record.get("operations").and_then(Value::as_array) {
            Some(operations) => claims.extend(operations.iter().map(|operation| {
                let operation = Some(operation.clone());
                Claim { seq, operation }
            })),
            None => claims.push(Claim { seq, operation: None }),
        }
        if claims.len() >= CLAIMS {
            break;
        }
    }
    claims.truncate(CLAIMS);
    Ok(claims)
}

impl<S: State> Audit<S> {
    /// Writes snapshot and hint anew. What is wrong goes; of a log that is never trimmed all snapshots go, of one
    /// that is the good ones stay, because its records do not reach back to the beginning.
    ///
    /// # Errors
    /// When something could not be removed or written; a start is slower then, and nothing else.
    pub(in crate::storage) async fn rewrite(&self, site: &Site, names: &Names) -> Result<(), LogError> {
        for (seq, verdict) in &self.extent.snapshots {
            if names.retention.is_none() || verdict.is_err() {
                site.calls.delete(&names.snapshot(*seq)).await.map_err(LogError::Read)?;
            }
        }
        let seq = self.extent.proved;
        let point = Point { state: Arc::clone(&self.state), seq, digest: self.digest };
        let mut hinted = 0;
        if seq > 0
            && let Some(bytes) = snapshot::encode(&self.registry, &point)
        {
            let key = names.snapshot(seq);
            if let Err(error) = site.calls.put(tend::LIMIT, &key, bytes, PutMode::Create).await
                && !matches!(site.calls.head(&key).await, Ok(Some(_)))
            {
                return Err(LogError::Read(error));
            }
            hinted = seq;
        }
        hint::write(site, names, Hint { tail: seq, snapshot: hinted }).await.map_err(LogError::Read)
    }
}
