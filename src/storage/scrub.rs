//! Scrubbing: everything that the catalog names is read again and compared with what was stored.
//!
//! A copy that fails is read a second time; if that fails too it is marked in the catalog and not served any more
//! ([`super::reading`]). A copy that was marked and is whole again is cleared. What only cannot be read now is
//! reported and left alone. Nothing is deleted here.

mod report;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};
use tokio::sync::Semaphore;

use super::Storage;
use super::blobs::{Blob, BlobError, CHUNK};
use super::calls::CallError;
use super::catalog::{CatalogOperation, CatalogState, Copy};
use super::listing::{BLOBS, BlobObject, Standing, UPLOADS, standing};
use super::progress::{Progress, Unit};
use super::reading::is_damage;
use super::records::LogError;
use crate::clock::Entropy;
use crate::model::ErrorClass;
use crate::telemetry::chain;

pub use report::{Finding, ScrubReport};

/// How much is read by one call where nobody asks to go slowly. A multiple of [`CHUNK`].
const SPAN: u64 = 128 * CHUNK;

/// The same where somebody does, so that the pace is even.
const SLOW_SPAN: u64 = 4 * CHUNK;

/// How many spans are read side by side: one more than most machines of a cluster have cores for this.
const SIDE_BY_SIDE: usize = 4;

/// How many copies are looked at side by side; only their lists of chunk digests are held.
const COPIES: usize = 16;

/// The most findings that are listed; more are counted.
const MOST: usize = 1_000;

/// How a scrub is done.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ScrubOptions {
    /// How many bytes are read a second; none for as fast as it goes.
    pub rate: Option<u64>,
    /// Which share of all copies is read, chosen at random; 1 for all.
    pub fraction: f64,
    /// Only report; mark and clear nothing.
    pub dry_run: bool,
}

impl ScrubOptions {
    /// What the daemon does in the background: everything at 20 MB/s.
    pub const BACKGROUND: Self = Self { rate: Some(20_000_000), fraction: 1.0, dry_run: false };

    /// What somebody who waits for it wants: everything, as fast as it goes.
    pub const FAST: Self = Self { rate: None, fraction: 1.0, dry_run: false };
}

/// A scrub that could not be done.
#[derive(Debug, thiserror::Error)]
pub enum ScrubError {
    /// The catalog could not be read.
    #[error("cannot read the catalog")]
    Follow(#[source] LogError),
    /// The store could not be listed.
    #[error("the store cannot be listed to its end")]
    List(#[source] CallError),
}

impl ScrubError {
    /// What to do about it.
    #[must_use]
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Follow(error) => error.class(),
            Self::List(error) => error.class(),
        }
    }

    /// A stable word for labels.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::Follow(error) => error.label(),
            Self::List(error) => error.label(),
        }
    }
}

/// Reads everything that the catalog names, marks what is damaged, and compares what the store holds with what is
/// known of it.
///
/// # Errors
/// When the catalog cannot be read or the store not be listed. A copy that cannot be read is a finding.
pub async fn scrub(
    storage: &Storage,
    options: &ScrubOptions,
    entropy: &Entropy,
    progress: &dyn Progress,
) -> Result<ScrubReport, ScrubError> {
    storage.catalog.follow().await.map_err(ScrubError::Follow)?;
    let begun = storage.calls.clock.boot();
    let state = storage.catalog.state();
    let chosen = choose(&state, options.fraction, entropy);
    let total = chosen.iter().map(|blob| blob.size).sum();
    progress.begin("reading blobs", Some(total), Unit::Bytes);
    let slots = if options.rate.is_some() { 1 } else { SIDE_BY_SIDE };
    let scrubber = Scrubber { storage, options, progress, slots: Arc::new(Semaphore::new(slots)) };
    let mut report = ScrubReport { dry_run: options.dry_run, ..ScrubReport::default() };
    let copies = if options.rate.is_some() { 1 } else { COPIES };
    let looks = chosen.into_iter().map(|blob| scrubber.look(blob));
    let mut looks = futures::stream::iter(looks).buffer_unordered(copies);
    while let Some((blob, verdict)) = looks.next().await {
        report.checked.add(1, blob.size);
        scrubber.conclude(&mut report, &blob, verdict).await;
    }
    drop(looks);
    name_packages(&state, &mut report);
    audit(storage, &mut report, progress).await?;
    report.took_milliseconds =
        storage.calls.clock.boot().saturating_sub(begun).as_millis().try_into().unwrap_or(u64::MAX);
    Ok(report)
}

/// The copies to be read.
fn choose(state: &CatalogState, fraction: f64, entropy: &Entropy) -> Vec<Blob> {
    let chosen = |_: &&crate::model::Digest| {
        // 32 random bits are a fraction fine enough.
        let dice = u32::try_from(entropy.next() >> 32).unwrap_or(u32::MAX);
        fraction >= 1.0 || f64::from(dice) < fraction * f64::from(u32::MAX)
    };
    let digests = state.blobs().map(|(digest, _)| digest).filter(chosen);
    digests.filter_map(|digest| state.blob(digest)).collect()
}

/// What reading a copy came to.
enum Verdict {
    Whole,
    /// It is not what was stored.
    Damaged(String),
    /// It cannot be read now.
    Unreadable(String),
}

struct Scrubber<'a> {
    storage: &'a Storage,
    options: &'a ScrubOptions,
    progress: &'a dyn Progress,
    slots: Arc<Semaphore>,
}

impl Scrubber<'_> {
    /// Reads a copy; what fails is read again.
    async fn look(&self, blob: Blob) -> (Blob, Verdict) {
        let first = self.read(&blob).await;
        let verdict = match first {
            Ok(()) => Ok(()),
            Err(error) => {
                tracing::warn!(digest = %blob.digest, key = %blob.key, error = chain(&error), "reading it again");
                self.read(&blob).await
            }
        };
        match verdict {
            Ok(()) => (blob, Verdict::Whole),
            Err(error) if is_damage(&error) => (blob, Verdict::Damaged(chain(&error))),
            Err(error) => (blob, Verdict::Unreadable(chain(&error))),
        }
    }

    async fn read(&self, blob: &Blob) -> Result<(), BlobError> {
        let chunks = self.storage.blobs.chunks(blob).await?;
        let length = if self.options.rate.is_some() { SLOW_SPAN } else { SPAN };
        let spans = (0..blob.size.div_ceil(length).max(1)).map(|n| {
            let (start, chunks) = (n * length, &chunks);
            async move {
                let end = (start + length).min(blob.size);
                // Closed by nobody.
                let _slot = self.slots.acquire().await;
                let begun = self.storage.calls.clock.boot();
                self.storage.blobs.verify(blob, chunks, start..end).await?;
                self.progress.advance(end - start);
                self.pause(end - start, begun).await;
                Ok(())
            }
        });
        let mut spans = futures::stream::iter(spans).buffer_unordered(SIDE_BY_SIDE);
        while spans.try_next().await?.is_some() {}
        Ok(())
    }

    /// Waits for as long as the bytes should have taken.
    async fn pause(&self, bytes: u64, begun: Duration) {
        let Some(rate) = self.options.rate else { return };
        let should = Duration::from_micros(bytes.saturating_mul(1_000_000) / rate.max(1));
        let took = self.storage.calls.clock.boot().saturating_sub(begun);
        self.storage.calls.clock.sleep(should.saturating_sub(took)).await;
    }

    /// Draws the consequences for one copy.
    async fn conclude(&self, report: &mut ScrubReport, blob: &Blob, verdict: Verdict) {
        let in_use = |state: &CatalogState| state.blob(&blob.digest).is_some_and(|live| live.key == blob.key);
        let marked = |state: &CatalogState| in_use(state) && state.is_damaged(&blob.digest);
        match verdict {
            Verdict::Whole if marked(&self.storage.catalog.state()) => {
                report.cleared.add(1, blob.size);
                if !self.options.dry_run {
                    self.clear(blob).await;
                }
            }
            Verdict::Whole => {}
            Verdict::Damaged(what) => {
                // It may have been replaced or collected while it was read.
                let followed = self.storage.catalog.follow().await;
                if followed.is_ok() && !in_use(&self.storage.catalog.state()) {
                    report.gone += 1;
                    return;
                }
                let marked = if self.options.dry_run {
                    marked(&self.storage.catalog.state())
                } else {
                    self.storage.quarantine(blob).await
                };
                report.damaged.add(1, blob.size);
                report.note(Finding { marked, damaged: true, ..finding(blob, what) }, MOST);
            }
            Verdict::Unreadable(what) => {
                report.unreadable.add(1, blob.size);
                report.note(finding(blob, what), MOST);
            }
        }
    }

    async fn clear(&self, blob: &Blob) {
        let copy = Copy { digest: blob.digest, key: blob.key };
        match self.storage.catalog.commit(CatalogOperation::Cleared { blob: copy }).await {
            Ok(_) => tracing::info!(digest = %blob.digest, "a copy that was thought damaged is whole"),
            Err(error) => tracing::warn!(digest = %blob.digest, error = chain(&error), "a copy stays marked"),
        }
    }
}

fn finding(blob: &Blob, what: String) -> Finding {
    let (digest, key, size) = (blob.digest, blob.key, blob.size);
    Finding { digest, key: key.to_string(), size, what, damaged: false, marked: false, packages: Vec::new() }
}

/// Says which packages miss bytes.
fn name_packages(state: &CatalogState, report: &mut ScrubReport) {
    if report.findings.is_empty() {
        return;
    }
    for entry in state.packages() {
        let references = entry.references();
        for finding in report.findings.iter_mut().filter(|finding| references.contains(&finding.digest)) {
            finding.packages.push(entry.coordinate.to_string());
        }
    }
}

/// Compares what the store holds with what is known of it.
async fn audit(
    storage: &Storage,
    report: &mut ScrubReport,
    progress: &dyn Progress,
) -> Result<(), ScrubError> {
    let (catalog, control) = (storage.catalog.state(), storage.control.state());
    progress.begin("listing objects", None, Unit::Objects);
    for folder in [BLOBS, UPLOADS] {
        let mut listed = storage.calls.list(&folder.into(), None);
        while let Some(meta) = listed.try_next().await.map_err(ScrubError::List)? {
            progress.advance(1);
            report.stored.add(1, meta.size);
            match BlobObject::parse(&meta.key).map(|object| standing(&catalog, &control, &object.copy())) {
                Some(Standing::Live | Standing::Kept) => report.live.add(1, meta.size),
                Some(Standing::Retired | Standing::Condemned) => report.retired.add(1, meta.size),
                Some(Standing::Unknown) | None => report.unnamed.add(1, meta.size),
            }
        }
    }
    Ok(())
}
