//! Looking at everything: what the catalog names, what the store has, and how old the records are.
//!
//! The memory of a survey is bounded: the catalog's state is there anyway, and of what is to be deleted at most
//! [`MOST`] objects are remembered.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};
use object_store::path::Path;

use super::report::{CollectReport, Tally};
use super::{ALWAYS, CollectError, CollectOptions, SHARE};
use crate::storage::Storage;
use crate::storage::catalog::{CatalogState, Copy};
use crate::storage::control::ControlState;
use crate::storage::listing::{BLOBS, BlobObject, Standing, UPLOADS, standing, upload_start};
use crate::storage::progress::{Progress, Unit};

/// The most objects that one run deletes for being named by nothing, and the most of uploads.
const MOST: usize = 100_000;

/// How many objects are looked at between two words of progress.
const STRIDE: usize = 1_024;

/// What was found.
pub(super) struct Survey {
    /// What the watermark becomes.
    pub(super) watermark: u64,
    /// Copies to be condemned, with their lengths.
    pub(super) retired: Vec<(Copy, u64)>,
    /// Condemned copies to be deleted, with what they take in the store.
    pub(super) due: BTreeMap<Copy, u64>,
    /// Objects of blobs that nothing names, with their lengths.
    pub(super) orphans: Vec<(BlobObject, u64)>,
    /// Objects of uploads that are over, with their lengths.
    pub(super) uploads: Vec<(Path, u64)>,
    pub(super) report: CollectReport,
    /// How many due copies the catalog can forget at once.
    purgeable: u64,
    /// Whether the readers' grace is none, so that what is condemned is deleted at once.
    at_once: bool,
}

/// Looks, and writes nothing.
pub(super) async fn survey(
    storage: &Storage,
    options: &CollectOptions,
    progress: &dyn Progress,
) -> Result<Survey, CollectError> {
    let (catalog, control) = newest(storage).await?;
    let ages = Ages::new(storage).await?;
    let watermark = ages.newest_of(options.grace, catalog.watermark()..=ages.seq).await?;
    let watermark = watermark.unwrap_or_default().max(catalog.watermark());
    let readers_gone = ages.newest_of(options.reader_grace, 0..=ages.seq).await?;
    let mut survey = Survey {
        watermark,
        retired: retired(&catalog),
        due: BTreeMap::new(),
        orphans: Vec::new(),
        uploads: Vec::new(),
        report: CollectReport { watermark, ..CollectReport::default() },
        purgeable: 0,
        at_once: options.reader_grace.is_zero(),
    };
    for (copy, condemned) in catalog.condemned() {
        if readers_gone.is_some_and(|gone| *condemned <= gone) {
            survey.purgeable += u64::from(copy.key.start < watermark);
            survey.due.insert(copy.clone(), 0);
        } else {
            survey.report.waiting.add(1, 0);
        }
    }
    let begun = storage.calls.clock.boot();
    survey.look_at_blobs(storage, &catalog, &control, progress).await?;
    survey.look_at_uploads(storage, progress).await?;
    let (report, catalog) = (&mut survey.report, catalog.blob_count() + catalog.condemned().len());
    // The controller's books name some besides, which makes the share that would go look a little larger.
    report.copies = catalog as u64 + report.orphans.count + report.postponed.count;
    let took = storage.calls.clock.boot().saturating_sub(begun);
    survey.report.mark_milliseconds = took.as_millis().try_into().unwrap_or(u64::MAX);
    Ok(survey)
}

/// What both logs say by now, provided that everything they say is understood.
pub(super) async fn newest(
    storage: &Storage,
) -> Result<(std::sync::Arc<CatalogState>, std::sync::Arc<ControlState>), CollectError> {
    storage.catalog.follow().await.map_err(CollectError::Follow)?;
    storage.control.follow().await.map_err(CollectError::Follow)?;
    if let Some(newer) = storage.catalog.newer().or_else(|| storage.control.newer()) {
        return Err(CollectError::Newer(newer.into()));
    }
    let catalog = storage.catalog.state();
    match catalog.moved() {
        Some(to) => Err(CollectError::Moved { to: to.to_owned() }),
        None => Ok((catalog, storage.control.state())),
    }
}

fn retired(catalog: &CatalogState) -> Vec<(Copy, u64)> {
    let unused = catalog.blobs().filter(|(_, entry)| entry.references == 0);
    unused.map(|(digest, entry)| (Copy { digest: *digest, key: entry.key }, entry.size)).collect()
}

impl Survey {
    /// Compares all objects of blobs with what is known. An error leaves the survey useless.
    async fn look_at_blobs(
        &mut self,
        storage: &Storage,
        catalog: &CatalogState,
        control: &ControlState,
        progress: &dyn Progress,
    ) -> Result<(), CollectError> {
        progress.begin("listing blobs", Some(catalog.blob_count() as u64), Unit::Objects);
        let mut named = 0;
        let mut listed = storage.calls.list(&BLOBS.into(), None).ready_chunks(STRIDE);
        while let Some(page) = listed.next().await {
            for meta in page {
                let meta = meta.map_err(CollectError::List)?;
                let Some(object) = BlobObject::parse(&meta.key) else {
                    self.report.skipped.add(1, meta.size);
                    continue;
                };
                let one = u64::from(!object.list);
                progress.advance(one);
                let standing = standing(catalog, control, &object.copy());
                named += if matches!(standing, Standing::Live | Standing::Retired) { one } else { 0 };
                match standing {
                    Standing::Live | Standing::Kept => self.report.live.add(one, meta.size),
                    Standing::Retired => self.report.retired.add(one, meta.size),
                    Standing::Condemned => self.condemned(&object.copy(), meta.size),
                    Standing::Unknown => self.unknown(object, meta.size),
                }
            }
        }
        self.report.missing = (catalog.blob_count() as u64).saturating_sub(named);
        Ok(())
    }

    fn condemned(&mut self, copy: &Copy, bytes: u64) {
        match self.due.get_mut(copy) {
            Some(size) => *size += bytes,
            None => self.report.waiting.add(0, bytes),
        }
    }

    fn unknown(&mut self, object: BlobObject, bytes: u64) {
        let one = u64::from(!object.list);
        if object.key.start >= self.watermark {
            self.report.young.add(1, bytes);
        } else if self.orphans.len() < MOST {
            self.orphans.push((object, bytes));
            self.report.orphans.add(one, bytes);
        } else {
            self.report.postponed.add(one, bytes);
        }
    }

    async fn look_at_uploads(
        &mut self,
        storage: &Storage,
        progress: &dyn Progress,
    ) -> Result<(), CollectError> {
        progress.begin("listing uploads", None, Unit::Objects);
        let mut listed = storage.calls.list(&UPLOADS.into(), None);
        while let Some(meta) = listed.try_next().await.map_err(CollectError::List)? {
            progress.advance(1);
            match upload_start(&meta.key) {
                None => self.report.skipped.add(1, meta.size),
                Some(start) if start >= self.watermark => self.report.young.add(1, meta.size),
                Some(_) if self.uploads.len() < MOST => {
                    self.report.uploads.add(1, meta.size);
                    self.uploads.push((meta.key, meta.size));
                }
                Some(_) => self.report.postponed.add(0, meta.size),
            }
        }
        Ok(())
    }

    /// What carrying it out would come to.
    pub(super) fn forecast(&self) -> CollectReport {
        let mut report = CollectReport { dry_run: true, ..self.report.clone() };
        for size in self.due.values() {
            report.deleted.add(1, *size);
        }
        report.purged = self.purgeable;
        report.condemned = report.retired;
        let going = self.retired.len() as u64 + report.orphans.count + report.postponed.count;
        report.needs_allow = (going > ALWAYS && going.saturating_mul(SHARE) > report.copies).then_some(going);
        if self.at_once {
            report.deleted += Tally { count: self.retired.len() as u64, bytes: report.retired.bytes };
            report.purged += self.retired.len() as u64;
        }
        report.freed = report.deleted.bytes + report.orphans.bytes + report.uploads.bytes;
        report
    }
}

/// How old the records of the catalog are, by the store's own clock.
struct Ages<'a> {
    storage: &'a Storage,
    /// The newest record of the catalog.
    seq: u64,
    /// The newest time known, in milliseconds: that of the last record of either log. Whoever leads writes to the
    /// control log every few seconds; and a time that is too old only makes everything younger.
    now: i64,
}

impl<'a> Ages<'a> {
    async fn new(storage: &'a Storage) -> Result<Self, CollectError> {
        let seq = storage.catalog.seq();
        let catalog = storage.catalog.written_at(seq).await.map_err(CollectError::Follow)?;
        let control =
            storage.control.written_at(storage.control.seq()).await.map_err(CollectError::Follow)?;
        Ok(Self { storage, seq, now: catalog.max(control) })
    }

    /// The newest of these records that is at least so old; none where none is.
    async fn newest_of(&self, age: Duration, seqs: RangeInclusive<u64>) -> Result<Option<u64>, CollectError> {
        let (mut low, mut high) = seqs.into_inner();
        if age.is_zero() {
            return Ok(Some(high));
        }
        let mut found = None;
        while low <= high {
            let middle = low + (high - low) / 2;
            let written = self.storage.catalog.written_at(middle).await.map_err(CollectError::Follow)?;
            let old = u64::try_from(self.now.saturating_sub(written)).unwrap_or_default();
            if Duration::from_millis(old) >= age {
                found = Some(middle);
                low = middle + 1;
            } else if middle == 0 {
                break;
            } else {
                high = middle - 1;
            }
        }
        Ok(found)
    }
}
