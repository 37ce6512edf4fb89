//! From an object store to a view of a log: hint, snapshot, the records after it, and whether any is missing.

use std::sync::RwLock;

use bytes::Bytes;
use futures::TryStreamExt as _;

use super::hint::{self, Hint};
use super::log::{Access, Names, Site, View, encode, read, read_on, write};
use super::place::{Placed, place};
use super::record::{Record, Unreadable, decode};
use super::tend::Due;
use super::{FORMAT, LogError, RECORD_LIMIT, State, snapshot};
use crate::model::{Digest, Epoch};
use crate::storage::calls::CallError;

/// How many snapshots are tried, the newest first, before all records are read.
const TRIES: usize = 4;

/// How often the end is looked for while others write.
const PASSES: usize = 100;

/// How many numbers beyond a tail that a hint confirms are looked at for records that cannot be reached.
const NEAR: u64 = 8;

/// Opens a log; begins it where there is none and that is allowed.
pub(super) async fn open<S: State>(
    site: &Site,
    names: &Names,
    registry: Option<&str>,
) -> Result<(String, RwLock<View<S>>, Due<S>), LogError> {
    let folder = names.log;
    let first_key = names.record(0);
    let first = site.calls.read_small(&first_key, RECORD_LIMIT as u64);
    let (first, hint) = futures::join!(first, hint::read(site, names));
    let first = match (first.map_err(LogError::Read)?, site.access) {
        (Some(bytes), _) => bytes,
        (None, Access::ReadOnly) => return Err(LogError::Absent { folder }),
        (None, Access::ReadWrite) => begin(site, names, registry).await?,
    };
    let own = read_first(folder, &first)?;
    if let Some(expected) = registry.filter(|expected| **expected != own) {
        return Err(LogError::Foreign { folder, found: own, expected: expected.to_owned() });
    }
    let (view, snapshot) = load(site, names, &own, Digest::of(&first), hint).await?;
    let due = Due::after_opening(snapshot, read(&view).seq, hint.unwrap_or_default());
    Ok((own, view, due))
}

/// The view at the tail, and the number of the snapshot that it began with.
async fn load<S: State>(
    site: &Site,
    names: &Names,
    registry: &str,
    first: Digest,
    hint: Option<Hint>,
) -> Result<(RwLock<View<S>>, u64), LogError> {
    let begun = site.calls.clock.boot();
    let (view, seq) = find(site, names, registry, first, hint).await?;
    if !names.in_doubt(Some(begun), site.calls.clock.boot()) {
        write(&view).anchor = Some(begun);
    }
    Ok((view, seq))
}

async fn find<S: State>(
    site: &Site,
    names: &Names,
    registry: &str,
    first: Digest,
    mut hint: Option<Hint>,
) -> Result<(RwLock<View<S>>, u64), LogError> {
    let mut again = true;
    loop {
        let mut passed = Passed::default();
        let found = find_once(site, names, registry, first, hint, &mut passed).await;
        match (found, passed) {
            // In a log that is trimmed nothing but snapshots leads to the tail. One that could not be read may be whole.
            (Err(LogError::Gap { .. }), Passed { unread: Some(error), .. }) if names.retention.is_some() => {
                return Err(LogError::Read(error));
            }
            // Those that were found may have been left behind by trimming while we looked.
            (Err(LogError::Gap { .. }), _) if names.retention.is_some() && again => {
                again = false;
                hint = hint::read(site, names).await;
            }
            (Err(LogError::Gap { .. }), Passed { broken: Some(error), .. }) => return Err(error),
            (found, _) => return found,
        }
    }
}

/// Why snapshots were passed over.
#[derive(Default)]
struct Passed {
    /// The last error met in reading one.
    unread: Option<CallError>,
    /// Where the chain after one breaks.
    broken: Option<LogError>,
}

/// The same in one go.
async fn find_once<S: State>(
    site: &Site,
    names: &Names,
    registry: &str,
    first: Digest,
    hint: Option<Hint>,
    passed: &mut Passed,
) -> Result<(RwLock<View<S>>, u64), LogError> {
    let tail = hint.map_or(0, |hint| hint.tail);
    let hinted = hint.map(|hint| hint.snapshot).filter(|seq| *seq > 0);
    if let Some(seq) = hinted
        && let Some(view) = from_snapshot(site, names, registry, seq, tail, passed).await?
    {
        return Ok((view, seq));
    }
    let mut listed = snapshots(site, names).await?;
    listed.retain(|seq| Some(*seq) != hinted);
    for seq in listed.into_iter().take(TRIES) {
        if let Some(view) = from_snapshot(site, names, registry, seq, tail, passed).await? {
            return Ok((view, seq));
        }
    }
    let state = std::sync::Arc::default();
    let view = RwLock::new(View { state, seq: 0, digest: first, newer: None, anchor: None });
    read_to_end(site, names, &view, tail).await?;
    Ok((view, 0))
}

/// The view at the tail, from a snapshot on; none where it is of no use.
async fn from_snapshot<S: State>(
    site: &Site,
    names: &Names,
    registry: &str,
    seq: u64,
    tail: u64,
    passed: &mut Passed,
) -> Result<Option<RwLock<View<S>>>, LogError> {
    let Some(base) = read_snapshot(site, names, registry, seq, passed).await else { return Ok(None) };
    let view = RwLock::new(base);
    match read_to_end(site, names, &view, tail).await {
        // Either the snapshot or the record is wrong; the other records tell.
        Err(LogError::Broken { seq: at, what, .. }) if at == seq + 1 => {
            tracing::warn!(log = names.log, snapshot = seq, what, "a snapshot is passed over");
            Ok(None)
        }
        // What follows an old snapshot may have been trimmed, or be a ghost; a newer one is there then.
        Err(LogError::Gap { .. }) if names.retention.is_some() => Ok(None),
        Err(error @ LogError::Broken { .. }) if names.retention.is_some() => {
            passed.broken = Some(error);
            Ok(None)
        }
        other => other.map(|()| Some(view)),
    }
}

/// The numbers of all snapshots, the newest first.
pub(super) async fn snapshots(site: &Site, names: &Names) -> Result<Vec<u64>, LogError> {
    let listed = site.calls.list(&names.snap.into(), None).try_collect::<Vec<_>>().await;
    let mut seqs: Vec<u64> =
        listed.map_err(LogError::Read)?.iter().filter_map(|meta| meta.key.filename()?.parse().ok()).collect();
    seqs.sort_unstable_by(|a, b| b.cmp(a));
    Ok(seqs)
}

/// Reads a snapshot; none, with a word in the log, where it cannot be used.
async fn read_snapshot<S: State>(
    site: &Site,
    names: &Names,
    registry: &str,
    seq: u64,
    passed: &mut Passed,
) -> Option<View<S>> {
    let why = match site.calls.read_data(&names.snapshot(seq), snapshot::LIMIT).await {
        Ok(Some(bytes)) => match snapshot::decode(&bytes, registry, seq) {
            Ok(view) => return Some(view),
            Err(why) => why,
        },
        Ok(None) => "it is gone".to_owned(),
        Err(error) => {
            let why = crate::telemetry::chain(&error);
            passed.unread = Some(error);
            why
        }
    };
    tracing::warn!(log = names.log, snapshot = seq, why, "a snapshot is passed over");
    None
}

/// Reads to the tail, and makes sure that it is one: a record that is gone must not look like the end of the log.
/// `hinted` is where the tail was lately.
async fn read_to_end<S: State>(
    site: &Site,
    names: &Names,
    view: &RwLock<View<S>>,
    hinted: u64,
) -> Result<(), LogError> {
    let ahead = hinted.saturating_sub(read(view).seq) + 1;
    read_on(site, names, view, ahead).await?;
    let mut stuck = false;
    let mut later = None;
    for _ in 0..PASSES {
        let (tail, newer) = (read(view).seq, read(view).newer.is_some());
        // Where the hint has been reached, few records can follow, and looking for each is cheaper than a listing.
        // Where records are trimmed, many more may follow a ghost.
        later = if hinted > 0 && tail >= hinted && names.retention.is_none() {
            near(site, names, tail).await?
        } else {
            first_after(site, names, tail).await?
        };
        if newer || later.is_none() {
            return Ok(());
        }
        // Somebody may have written meanwhile; that this is the end is known only when nothing is listed beyond it.
        read_on(site, names, view, 1).await?;
        let moved = read(view).seq != tail;
        if stuck && !moved {
            break;
        }
        stuck = !moved;
    }
    let missing = read(view).seq + 1;
    Err(LogError::Gap { folder: names.log, missing, later: later.unwrap_or(missing) })
}

/// A record within the next few numbers.
async fn near(site: &Site, names: &Names, tail: u64) -> Result<Option<u64>, LogError> {
    let looks = (tail + 1..=tail + NEAR).map(|seq| async move {
        let there = site.calls.head(&names.record(seq)).await?;
        Ok(there.map(|_| seq))
    });
    let found: Vec<Option<u64>> = futures::future::try_join_all(looks).await.map_err(LogError::Read)?;
    Ok(found.into_iter().flatten().next())
}

/// The lowest record above a number.
async fn first_after(site: &Site, names: &Names, tail: u64) -> Result<Option<u64>, LogError> {
    let offset = names.record(tail);
    let mut later = site.calls.list(&names.log.into(), Some(&offset));
    let mut lowest: Option<u64> = None;
    while let Some(meta) = later.try_next().await.map_err(LogError::Read)? {
        if let Some(seq) = meta.key.filename().and_then(|name| name.parse::<u64>().ok()) {
            lowest = Some(lowest.map_or(seq, |lowest| lowest.min(seq)));
        }
        if lowest == Some(tail + 1) {
            break;
        }
    }
    Ok(lowest)
}

/// Begins again, for whoever was away for so long that what he finds may be anything.
pub(super) async fn reload<S: State>(
    site: &Site,
    names: &Names,
    registry: &str,
    view: &RwLock<View<S>>,
) -> Result<(), LogError> {
    let first = site.calls.read_small(&names.record(0), RECORD_LIMIT as u64).await;
    let first = first.map_err(LogError::Read)?.ok_or(LogError::Absent { folder: names.log })?;
    let hint = hint::read(site, names).await;
    let (fresh, _) = load(site, names, registry, Digest::of(&first), hint).await?;
    let fresh = fresh.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    *write(view) = fresh;
    Ok(())
}

/// Writes record 0, or takes that of whoever was faster.
async fn begin(site: &Site, names: &Names, registry: Option<&str>) -> Result<Bytes, LogError> {
    // What lies here without a beginning is no log that may be begun again.
    if let Some(later) = first_after(site, names, 0).await? {
        // Somebody else may have begun it since we looked.
        let first = site.calls.read_small(&names.record(0), RECORD_LIMIT as u64).await;
        let gap = LogError::Gap { folder: names.log, missing: 0, later };
        return first.map_err(LogError::Read)?.ok_or(gap);
    }
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
    let bytes = encode(&record).map_err(LogError::Encode)?;
    match place(site, &names.record(0), &bytes).await.map_err(LogError::Begin)? {
        Placed::Own => Ok(bytes),
        Placed::Foreign(bytes) => Ok(bytes),
    }
}

/// Reads record 0: the id of the registry.
pub(super) fn read_first(folder: &'static str, bytes: &[u8]) -> Result<String, LogError> {
    let broken = |what| LogError::Broken { folder, seq: 0, what };
    match decode::<()>(bytes, 0, None) {
        Ok(record) => record.registry.ok_or_else(|| broken("it names no registry".into())),
        Err(Unreadable::Newer(newer)) => Err(LogError::Newer(newer)),
        Err(Unreadable::Broken(what)) => Err(broken(what)),
    }
}
