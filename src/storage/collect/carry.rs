//! Doing what a survey found: each step is written before it is done, and each may be the last.

use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};
use object_store::path::Path;

use super::report::{CollectReport, Tally};
use super::survey::{Survey, newest};
use super::{CollectError, CollectOptions};
use crate::storage::Storage;
use crate::storage::catalog::{CatalogOperation, CatalogRejection, CatalogState, Copy};
use crate::storage::lease::Tenure;
use crate::storage::listing::{BlobObject, Standing, standing};
use crate::storage::progress::{Progress, Unit};
use crate::storage::records::CommitError;

/// How many copies one record names: each takes 140 bytes of the 256 KiB that it may have.
const NAMED: usize = 1_000;

/// How many objects are deleted between two looks at the lease.
const BATCH: usize = 64;

/// How many deletes are under way at a time.
const SIDE_BY_SIDE: usize = 8;

/// How often a record is written anew because a publication took something back.
const RACES: u32 = 8;

/// How long the lease must still hold when a step begins.
const STEP: Duration = Duration::from_secs(1);

/// A collection at work.
struct Run<'a> {
    storage: &'a Storage,
    tenure: &'a Tenure,
    progress: &'a dyn Progress,
    report: CollectReport,
}

/// See [`super::collect`].
pub(super) async fn carry_out(
    storage: &Storage,
    tenure: &Tenure,
    options: &CollectOptions,
    survey: Survey,
    progress: &dyn Progress,
) -> Result<CollectReport, CollectError> {
    let mut run = Run { storage, tenure, progress, report: survey.report };
    run.fence().await?;
    run.raise_watermark(survey.watermark).await?;
    let condemned = run.condemn(survey.retired).await?;
    let mut due: Vec<(Copy, u64)> = survey.due.into_iter().collect();
    if options.reader_grace.is_zero() {
        due.extend(condemned);
    }
    run.delete_condemned(&due).await?;
    run.purge(due).await?;
    run.delete_orphans(survey.orphans).await?;
    run.delete_uploads(survey.uploads).await?;
    Ok(run.report)
}

impl Run<'_> {
    fn lease(&self) -> Result<(), CollectError> {
        self.tenure.check(STEP).map_err(CollectError::Lease)
    }

    async fn commit(&self, operation: CatalogOperation) -> Result<(), CommitError<CatalogRejection>> {
        let committed = self.storage.catalog.commit_as_leader(self.tenure.epoch(), vec![operation]).await;
        committed.map(drop)
    }

    /// Tells the catalog which lease is the newest, unless it knows.
    async fn fence(&self) -> Result<(), CollectError> {
        self.lease()?;
        let epoch = self.tenure.epoch();
        if self.storage.catalog.state().fence() >= epoch {
            return Ok(());
        }
        let fenced = self.commit(CatalogOperation::Fence { epoch }).await;
        fenced.map_err(|error| CollectError::Commit(error.into()))
    }

    async fn raise_watermark(&mut self, seq: u64) -> Result<(), CollectError> {
        self.lease()?;
        if seq <= self.storage.catalog.state().watermark() {
            return Ok(());
        }
        let raised = self.commit(CatalogOperation::Watermark { seq }).await;
        raised.map_err(|error| CollectError::Commit(error.into()))
    }

    /// Condemns what is still retired; what a publication took back meanwhile stays.
    async fn condemn(&mut self, retired: Vec<(Copy, u64)>) -> Result<Vec<(Copy, u64)>, CollectError> {
        let mut condemned = Vec::new();
        for batch in retired.chunks(NAMED) {
            let mut batch = batch.to_vec();
            for _ in 0..RACES {
                let state = self.storage.catalog.state();
                batch.retain(|(copy, _)| is_retired(&state, copy));
                if batch.is_empty() {
                    break;
                }
                self.lease()?;
                let blobs = batch.iter().map(|(copy, _)| copy.clone()).collect();
                match self.commit(CatalogOperation::Condemned { blobs }).await {
                    Ok(()) => {
                        condemned.append(&mut batch);
                        break;
                    }
                    // The refusal came with the newest state.
                    Err(CommitError::Rejected(CatalogRejection::NotRetired { .. })) => {}
                    Err(error) => return Err(CollectError::Commit(error.into())),
                }
            }
        }
        for (_, size) in &condemned {
            self.report.condemned.add(1, *size);
        }
        Ok(condemned)
    }

    async fn delete_condemned(&mut self, due: &[(Copy, u64)]) -> Result<(), CollectError> {
        self.progress.begin("deleting condemned copies", Some(due.len() as u64), Unit::Objects);
        for batch in due.chunks(BATCH) {
            self.lease()?;
            let both = batch.iter().flat_map(|(copy, _)| [copy.blob().path(), copy.blob().chunks_path()]);
            self.delete(both.collect()).await?;
            for (_, size) in batch {
                self.report.deleted.add(1, *size);
                self.report.freed += size;
            }
            self.progress.advance(batch.len() as u64);
        }
        Ok(())
    }

    /// Has the catalog forget what was deleted, as far as nobody can name it again.
    async fn purge(&mut self, due: Vec<(Copy, u64)>) -> Result<(), CollectError> {
        let watermark = self.storage.catalog.state().watermark();
        let gone = due.into_iter().map(|(copy, _)| copy).filter(|copy| copy.key.start < watermark);
        let gone: Vec<Copy> = gone.collect();
        for batch in gone.chunks(NAMED) {
            self.lease()?;
            let purged = self.commit(CatalogOperation::Purged { blobs: batch.to_vec() }).await;
            purged.map_err(|error| CollectError::Commit(error.into()))?;
            self.report.purged += batch.len() as u64;
        }
        Ok(())
    }

    /// Deletes what nothing names. The watermark stands, so what nothing names now nothing ever will: except the
    /// controller's books, which take turns with this.
    async fn delete_orphans(&mut self, orphans: Vec<(BlobObject, u64)>) -> Result<(), CollectError> {
        self.report.orphans = Tally::default();
        self.progress.begin("deleting what nothing names", Some(orphans.len() as u64), Unit::Objects);
        let (catalog, _) = newest(self.storage).await?;
        for batch in orphans.chunks(BATCH) {
            self.lease()?;
            let _turn = self.storage.accepting().await;
            let control = self.storage.control.state();
            let unnamed = |object: &BlobObject| {
                let old = object.key.start < catalog.watermark();
                old && standing(&catalog, &control, &object.copy()) == Standing::Unknown
            };
            let going: Vec<_> = batch.iter().filter(|(object, _)| unnamed(object)).collect();
            self.delete(going.iter().map(|(object, _)| object.path()).collect()).await?;
            for (object, size) in going {
                self.report.orphans.add(u64::from(!object.list), *size);
                self.report.freed += size;
            }
            self.progress.advance(batch.len() as u64);
        }
        Ok(())
    }

    async fn delete_uploads(&mut self, uploads: Vec<(Path, u64)>) -> Result<(), CollectError> {
        self.report.uploads = Tally::default();
        self.progress.begin("deleting uploads", Some(uploads.len() as u64), Unit::Objects);
        for batch in uploads.chunks(BATCH) {
            self.lease()?;
            self.delete(batch.iter().map(|(path, _)| path.clone()).collect()).await?;
            for (_, size) in batch {
                self.report.uploads.add(1, *size);
                self.report.freed += size;
            }
            self.progress.advance(batch.len() as u64);
        }
        Ok(())
    }

    async fn delete(&self, paths: Vec<Path>) -> Result<(), CollectError> {
        let deletes = paths.into_iter().map(|path| {
            let calls = self.storage.calls.clone();
            async move { calls.delete(&path).await }
        });
        let mut deletes = futures::stream::iter(deletes).buffer_unordered(SIDE_BY_SIDE);
        while deletes.try_next().await.map_err(CollectError::Delete)?.is_some() {}
        Ok(())
    }
}

fn is_retired(state: &CatalogState, copy: &Copy) -> bool {
    let entry = state.blob_entry(&copy.digest);
    entry.is_some_and(|entry| entry.key == copy.key && entry.references == 0)
}
