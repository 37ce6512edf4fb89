//! The checks: somebody who sees all writes when they are applied, and compares with what instances claim.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;

use super::ledger::{Entry, Ledger};
use crate::model::{Coordinate, Digest, Epoch};
use crate::storage::blobs::Blob;
use crate::storage::catalog::{CatalogOperation, CatalogState, Copy};
use crate::storage::control::{ControlOperation, ControlState};
use crate::storage::records::State;

/// How many requests and answers a state may hold.
const BOUND: usize = 64;

type Verdict = Result<(), String>;

/// What was there under a coordinate from a record on.
struct Moment {
    seq: u64,
    at: Duration,
    digest: Option<Digest>,
}

/// Everything that is known for certain.
#[derive(Default)]
pub(super) struct Witness {
    pub(super) catalog: Ledger<CatalogState>,
    pub(super) control: Ledger<ControlState>,
    packages: BTreeMap<Coordinate, Vec<Moment>>,
    /// Content of which somebody was told that it was not published.
    never: BTreeSet<Digest>,
    /// Copies that some record condemned.
    condemned: BTreeSet<Copy>,
    pub(super) asked: BTreeSet<String>,
    pub(super) answered: BTreeSet<String>,
    /// Writes to the cluster: who began which under which lease.
    wrote: Epoch,
}

impl Witness {
    /// Takes in an object that was just created in a log; `there` says what lies under a key.
    pub(super) fn created(
        &mut self,
        at: Duration,
        key: &str,
        bytes: &Bytes,
        there: &dyn Fn(&str) -> Option<Bytes>,
    ) -> Result<Option<Entry>, String> {
        let seq = |folder| key.strip_prefix(folder).and_then(|seq: &str| seq.parse::<u64>().ok());
        if let Some(seq) = seq("v1/catalog/log/") {
            let entry = self.catalog.take(at, seq, bytes)?;
            if matches!(entry, Entry::Ghost) {
                return Err(format!("record {seq} of the catalog was created twice"));
            }
            self.catalog_record(seq, there)?;
            return Ok(Some(entry));
        }
        let Some(seq) = seq("v1/control/log/") else { return Ok(None) };
        let entry = self.control.take(at, seq, bytes)?;
        if matches!(entry, Entry::Next) {
            self.control_record(seq, there)?;
        }
        Ok(Some(entry))
    }

    fn catalog_record(&mut self, seq: u64, there: &dyn Fn(&str) -> Option<Bytes>) -> Verdict {
        let Self { catalog, packages, never, condemned, .. } = self;
        let Some(fact) = catalog.facts.last() else { return Ok(()) };
        for operation in &fact.operations {
            match operation {
                CatalogOperation::Published(publication) => {
                    let digest = publication.digest;
                    if never.contains(&digest) {
                        return Err(format!("{digest} was published after it was said that it was not"));
                    }
                    let moments = packages.entry(publication.coordinate.clone()).or_default();
                    if moments.last().is_some_and(|last| last.digest.is_some()) {
                        return Err(format!("{} was replaced", publication.coordinate));
                    }
                    moments.push(Moment { seq, at: fact.at, digest: Some(digest) });
                    // The same record may take it away again.
                    if catalog.state.entry(&publication.coordinate).is_none() {
                        continue;
                    }
                    for reference in publication.references() {
                        whole(&catalog.state, &reference, condemned, there)?;
                    }
                }
                CatalogOperation::Unpublished { coordinate } => {
                    let moments = packages.entry(coordinate.clone()).or_default();
                    moments.push(Moment { seq, at: fact.at, digest: None });
                }
                CatalogOperation::Quarantined { .. } | CatalogOperation::Replaced { .. } => {
                    return Err("nothing was ever damaged, and a record says so".into());
                }
                CatalogOperation::Condemned { blobs } => condemned.extend(blobs.iter().cloned()),
                _ => {}
            }
        }
        Ok(())
    }

    fn control_record(&mut self, seq: u64, there: &dyn Fn(&str) -> Option<Bytes>) -> Verdict {
        let Some(fact) = self.control.fact(seq) else { return Ok(()) };
        for operation in &fact.operations {
            match operation {
                ControlOperation::Requested { id, .. } if !self.asked.insert(id.clone()) => {
                    return Err(format!("request {id} was taken twice"));
                }
                ControlOperation::SnapshotAccepted { snapshot: Some(blob), .. }
                    if there(blob.path().as_ref()).is_none() =>
                {
                    return Err(format!("the books name {}, which is not there", blob.path()));
                }
                ControlOperation::Answered { id, .. } => {
                    self.answered.insert(id.clone());
                }
                _ => {}
            }
        }
        let state = &self.control.state;
        if state.requests.len() > BOUND || state.answers.len() > BOUND {
            return Err("a queue in the control state has no bound".into());
        }
        Ok(())
    }

    /// An object that was just deleted.
    pub(super) fn deleted(&self, key: &str) -> Verdict {
        if key.starts_with("v1/catalog/log/") {
            return Err(format!("{key} was deleted"));
        }
        if self.control.state.snapshots.values().any(|blob| blob.path().as_ref() == key) {
            return Err(format!("{key} was deleted though the books name it"));
        }
        let Some(blob) = key.strip_prefix("v1/blobs/sha256/") else { return Ok(()) };
        let named = self.catalog.state.blobs().find(|(digest, entry)| {
            blob[3..].strip_prefix(&digest.hex()).is_some_and(|rest| rest[1..] == entry.key.to_string())
        });
        match named {
            Some((digest, _)) => {
                Err(format!("the bytes of {digest} were deleted though the catalog names them"))
            }
            None => Ok(()),
        }
    }

    /// Somebody was told that his record stands.
    pub(super) fn acknowledged<'a, S: State>(
        ledger: &'a Ledger<S>,
        seq: u64,
        author: &str,
        (start, end): (Duration, Duration),
    ) -> Result<&'a [S::Operation], String>
    where
        S::Operation: serde::de::DeserializeOwned,
    {
        match ledger.fact(seq) {
            Some(fact) if fact.author == author && (start..=end).contains(&fact.at) => Ok(&fact.operations),
            Some(fact) => Err(format!(
                "record {seq} was acknowledged to {author} between {start:?} and {end:?}; that of {} came at {:?}",
                fact.author, fact.at
            )),
            None => Err(format!("record {seq} was acknowledged to {author} and is not there")),
        }
    }

    /// Somebody was told that his content was made visible by his own record.
    pub(super) fn published(
        &self,
        coordinate: &Coordinate,
        digest: Digest,
        span: (Duration, Duration),
    ) -> Verdict {
        let made = self.packages.get(coordinate).into_iter().flatten();
        let mut made = made.filter(|moment| moment.digest == Some(digest));
        if made.any(|moment| (span.0..=span.1).contains(&moment.at)) {
            Ok(())
        } else {
            Err(format!("{coordinate} with {digest} was acknowledged and no record says so"))
        }
    }

    /// Somebody was told what is there (or that nothing is).
    pub(super) fn held(
        &self,
        coordinate: &Coordinate,
        digest: Option<Digest>,
        span: (Duration, Duration),
    ) -> Verdict {
        let moments: &[Moment] = self.packages.get(coordinate).map_or(&[], Vec::as_slice);
        let begins = [(Duration::ZERO, None)].into_iter().chain(moments.iter().map(|m| (m.at, m.digest)));
        let ends = moments.iter().map(|m| m.at).chain([Duration::MAX]);
        let mut lasting = begins.zip(ends).filter(|((_, was), _)| *was == digest);
        if lasting.any(|((begin, _), end)| begin <= span.1 && span.0 <= end) {
            Ok(())
        } else {
            Err(format!("{coordinate} was never {digest:?} between {:?} and {:?}", span.0, span.1))
        }
    }

    /// Somebody saw this in the state after record `seq`.
    pub(super) fn seen(&self, coordinate: &Coordinate, digest: Option<Digest>, seq: u64) -> Verdict {
        let moments = self.packages.get(coordinate).into_iter().flatten();
        let was = moments.take_while(|moment| moment.seq <= seq).last().and_then(|moment| moment.digest);
        if was == digest {
            Ok(())
        } else {
            Err(format!("{coordinate} was seen as {digest:?} after record {seq}, it was {was:?}"))
        }
    }

    /// Somebody was told that this content, which nobody else has, was not published and will not be.
    pub(super) fn refused(&mut self, digest: Digest) -> Verdict {
        self.never.insert(digest);
        let published = self.packages.values().flatten().any(|moment| moment.digest == Some(digest));
        if published { Err(format!("{digest} is published, and it was said that it is not")) } else { Ok(()) }
    }

    /// A leader begins a write to the cluster: nobody may have taken the lease after him.
    pub(super) fn write_begun(&mut self, epoch: Epoch) -> Verdict {
        if epoch < self.wrote || epoch != self.control.state.epoch {
            let newest = self.control.state.epoch.max(self.wrote);
            return Err(format!("a write began under lease {epoch}, the newest is {newest}"));
        }
        self.wrote = epoch;
        Ok(())
    }

    /// A leader that was not frozen meanwhile ends it.
    pub(super) fn write_ended(&self, epoch: Epoch) -> Verdict {
        if epoch == self.control.state.epoch {
            Ok(())
        } else {
            Err(format!("a write ended under lease {epoch}, the newest is {}", self.control.state.epoch))
        }
    }

    /// All that the catalog names is there.
    pub(super) fn all_whole(&self, there: &dyn Fn(&str) -> Option<Bytes>) -> Verdict {
        let state = &self.catalog.state;
        let mut books = self.control.state.snapshots.values().map(Blob::path);
        if let Some(gone) = books.find(|path| there(path.as_ref()).is_none()) {
            return Err(format!("the books name {gone}, which is not there"));
        }
        state.blobs().try_for_each(|(digest, _)| whole(state, digest, &self.condemned, there))
    }
}

/// The bytes of a digest that the catalog names are there, and nobody decided to delete them.
fn whole(
    state: &CatalogState,
    digest: &Digest,
    condemned: &BTreeSet<Copy>,
    there: &dyn Fn(&str) -> Option<Bytes>,
) -> Verdict {
    let Some(blob) = state.blob(digest) else {
        return Err(format!("the catalog references {digest} and does not know where it is"));
    };
    if condemned.contains(&Copy { digest: *digest, key: blob.key }) {
        return Err(format!("the catalog references a condemned copy of {digest}"));
    }
    match there(blob.path().as_ref()) {
        Some(bytes) if Digest::of(&bytes) == *digest => Ok(()),
        Some(_) => Err(format!("the bytes of {digest} are others")),
        None => Err(format!("the catalog references {digest} ({}), which is not there", blob.key)),
    }
}
