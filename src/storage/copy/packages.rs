//! The packages: which are missing, and their bytes.
//!
//! Versions go in batches: their missing blobs side by side, each digest once, then one record for all of them. So
//! what was copied counts from then on, and who is interrupted loses one batch. When the original changed meanwhile
//! there is another round.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::{StreamExt as _, TryStreamExt as _};
use tokio_util::io::StreamReader;

use super::{CopyError, CopyReport, Lost, Work};
use crate::model::Digest;
use crate::storage::Storage;
use crate::storage::blobs::{Blob, BlobError};
use crate::storage::catalog::{CatalogOperation, CatalogState, NewBlob, PackageEntry, Publication};
use crate::storage::progress::Unit;
use crate::storage::publish::DOCUMENT_TYPE;
use crate::storage::reading::is_damage;
use crate::storage::records::{CommitError, RECORD_LIMIT};
use crate::telemetry::chain;

/// How many blobs are copied side by side.
const SIDE_BY_SIDE: usize = 8;

/// A batch is full with so many versions,
const BATCH_VERSIONS: usize = 64;

/// or with blobs of so many bytes,
const BATCH_BYTES: u64 = 64 * 1024 * 1024;

/// or when its record would be so long.
const BATCH_RECORD: usize = RECORD_LIMIT / 2;

/// How often the original is looked at again because it changed while it was copied.
const ROUNDS: u32 = 8;

/// How often a batch is begun anew because collection in the copy came between.
const TRIES: u32 = 3;

/// How many versions one record takes away.
const REMOVALS: usize = 500;

type Entry = Arc<PackageEntry>;

/// What the copy has too much, and what it lacks.
struct Difference {
    surplus: Vec<Entry>,
    missing: Vec<Entry>,
}

fn difference(source: &CatalogState, target: &CatalogState) -> Difference {
    let is_in = |state: &CatalogState, entry: &Entry| state.entry(&entry.coordinate) == Some(entry);
    let surplus = target.packages().filter(|entry| !is_in(source, entry)).cloned();
    let missing = source.packages().filter(|entry| !is_in(target, entry)).cloned();
    Difference { surplus: surplus.collect(), missing: missing.collect() }
}

/// The blobs of a version with their media types, each once.
fn parts(entry: &PackageEntry) -> BTreeMap<Digest, Box<str>> {
    let members = entry.members.iter().map(|member| (member.digest, member.media_type.into()));
    std::iter::once((entry.document, DOCUMENT_TYPE.into())).chain(members).collect()
}

/// The digests that a version needs and the copy does not have whole.
fn lacking(entry: &PackageEntry, target: &CatalogState) -> BTreeMap<Digest, Box<str>> {
    parts(entry).into_iter().filter(|(digest, _)| !target.has(digest)).collect()
}

/// Says what would be copied.
pub(super) fn forecast(from: &Storage, to: Option<&Storage>, report: &mut CopyReport) {
    let source = from.catalog.state();
    let target = to.map(|to| to.catalog.state()).unwrap_or_default();
    let Difference { surplus, missing } = difference(&source, &target);
    report.versions = source.version_count() as u64;
    report.copied = missing.len() as u64;
    report.present = report.versions - report.copied;
    report.removed = surplus.len() as u64;
    let wanted: BTreeSet<_> = missing.iter().flat_map(|entry| lacking(entry, &target).into_keys()).collect();
    report.blobs = wanted.len() as u64;
    report.bytes = wanted.iter().filter_map(|digest| Some(source.blob(digest)?.size)).sum();
    let known = missing.iter().filter_map(|entry| {
        let digest = entry.references().into_iter().find(|digest| source.is_damaged(digest))?;
        let (package, what) = (entry.coordinate.to_string(), format!("{digest} is known to be damaged"));
        Some(Lost { package, what })
    });
    report.lost = known.collect();
}

/// How copying one blob ended.
enum Carried {
    Put(NewBlob),
    /// Its bytes are damaged in the original, or not there any more.
    Lost(Digest, String),
}

impl Work<'_> {
    /// Makes the copy's catalog what the original's is, as long as the original keeps still in between.
    pub(super) async fn catch_up(&mut self) -> Result<(), CopyError> {
        for _ in 0..ROUNDS {
            super::relation::follow_original(self.from).await?;
            let (source, seq) = (self.from.catalog.state(), self.from.catalog.seq());
            self.report.lost.clear();
            self.round(&source).await?;
            super::relation::follow_original(self.from).await?;
            if self.from.catalog.seq() == seq {
                let had = |entry: &&Entry| self.before.entry(&entry.coordinate) == Some(*entry);
                self.report.versions = source.version_count() as u64;
                self.report.present = source.packages().filter(had).count() as u64;
                return Ok(());
            }
        }
        Err(CopyError::Unsettled)
    }

    async fn round(&mut self, source: &CatalogState) -> Result<(), CopyError> {
        let Difference { surplus, missing } = difference(source, &self.to.catalog.state());
        for surplus in surplus.chunks(REMOVALS) {
            let removal =
                |entry: &Entry| CatalogOperation::Unpublished { coordinate: entry.coordinate.clone() };
            self.commit(surplus.iter().map(removal).collect()).await?;
            self.report.removed += surplus.len() as u64;
        }
        self.heal(source).await?;
        self.announce(source, &missing);
        let mut rest = &missing[..];
        while !rest.is_empty() {
            let length = batch(rest, source, &self.to.catalog.state());
            let (batch, later) = rest.split_at(length);
            self.batch(source, batch).await?;
            rest = later;
        }
        Ok(())
    }

    fn announce(&self, source: &CatalogState, missing: &[Entry]) {
        let target = self.to.catalog.state();
        let wanted: BTreeSet<_> =
            missing.iter().flat_map(|entry| lacking(entry, &target).into_keys()).collect();
        let bytes = wanted.iter().filter_map(|digest| Some(source.blob(digest)?.size)).sum();
        self.progress.begin("copying blobs", Some(bytes), Unit::Bytes);
    }

    /// Brings new copies of what is damaged in the copy.
    async fn heal(&mut self, source: &CatalogState) -> Result<(), CopyError> {
        let target = self.to.catalog.state();
        let damaged = target.blobs().filter(|(digest, blob)| blob.damaged && source.blob(digest).is_some());
        let wanted: BTreeMap<Digest, Box<str>> =
            damaged.map(|(digest, _)| (*digest, "application/octet-stream".into())).collect();
        if wanted.is_empty() {
            return Ok(());
        }
        let (blobs, _) = self.carry(source, wanted).await?;
        for blobs in blobs.chunks(REMOVALS) {
            self.commit(vec![CatalogOperation::Replaced { blobs: blobs.to_vec() }]).await?;
        }
        Ok(())
    }

    /// Copies the blobs of some versions and makes the versions known with one record.
    async fn batch(&mut self, source: &CatalogState, batch: &[Entry]) -> Result<(), CopyError> {
        let mut tries = 1;
        loop {
            let target = self.to.catalog.state();
            let wanted: BTreeMap<_, _> = batch.iter().flat_map(|entry| lacking(entry, &target)).collect();
            let (mut blobs, lost) = self.carry(source, wanted).await?;
            let (count, bytes) = (blobs.len() as u64, blobs.iter().map(|blob| blob.size).sum::<u64>());
            let mut operations = Vec::new();
            for entry in batch {
                let digest = entry.references().into_iter().find(|digest| lost.contains_key(digest));
                match digest.and_then(|digest| lost.get(&digest)) {
                    Some(what) => self.lose(entry, what.clone()),
                    None => operations.push(publication(entry, &mut blobs)),
                }
            }
            let copied = operations.len() as u64;
            if operations.is_empty() {
                return Ok(());
            }
            match self.commit(operations).await {
                Ok(()) => {
                    self.report.copied += copied;
                    self.report.blobs += count - blobs.len() as u64;
                    self.report.bytes += bytes - blobs.iter().map(|blob| blob.size).sum::<u64>();
                    return Ok(());
                }
                Err(CopyError::Catalog(error)) if tries < TRIES && is_race(&error) => {
                    tracing::debug!(error = chain(&*error), tries, "a batch is copied anew");
                    tries += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn lose(&mut self, entry: &PackageEntry, what: String) {
        let lost = Lost { package: entry.coordinate.to_string(), what };
        if !self.report.lost.contains(&lost) {
            self.report.lost.push(lost);
        }
    }

    /// Copies blobs; what cannot be had comes back with the reason.
    async fn carry(
        &self,
        source: &CatalogState,
        wanted: BTreeMap<Digest, Box<str>>,
    ) -> Result<(Vec<NewBlob>, BTreeMap<Digest, String>), CopyError> {
        let start = self.to.catalog.seq();
        let carried =
            wanted.into_iter().map(|(digest, media_type)| self.one(source, digest, media_type, start));
        let carried = futures::stream::iter(carried.collect::<Vec<_>>()).buffer_unordered(SIDE_BY_SIDE);
        let (mut put, mut lost) = (Vec::new(), BTreeMap::new());
        let mut carried = Box::pin(carried);
        while let Some(carried) = carried.try_next().await? {
            match carried {
                Carried::Put(blob) => put.push(blob),
                Carried::Lost(digest, what) => {
                    lost.insert(digest, what);
                }
            }
        }
        Ok((put, lost))
    }

    async fn one(
        &self,
        source: &CatalogState,
        digest: Digest,
        media_type: Box<str>,
        start: u64,
    ) -> Result<Carried, CopyError> {
        let Some(mut blob) = source.blob(&digest) else {
            return Ok(Carried::Lost(digest, format!("{digest} is not in the catalog")));
        };
        loop {
            let error = match transfer(self.from, self.to, &blob, start).await {
                Ok(copy) => {
                    self.progress.advance(blob.size);
                    return Ok(Carried::Put(NewBlob::new(&copy, &media_type)));
                }
                Err(Transfer::Damaged(error)) => error,
                Err(Transfer::Failed(error)) => return Err(error),
            };
            // It may have been replaced since the catalog was read.
            super::relation::follow_original(self.from).await?;
            match self.from.catalog.state().blob(&digest).filter(|newest| newest.key != blob.key) {
                Some(newest) => blob = newest,
                None => return Ok(Carried::Lost(digest, chain(&error))),
            }
        }
    }
}

/// How many of the versions make up the next batch; at least one.
fn batch(rest: &[Entry], source: &CatalogState, target: &CatalogState) -> usize {
    let (mut bytes, mut record, mut seen) = (0, 0, BTreeSet::new());
    let fits = rest.iter().take(BATCH_VERSIONS).take_while(|entry| {
        let new: Vec<_> = lacking(entry, target).into_keys().filter(|digest| seen.insert(*digest)).collect();
        bytes += new.iter().filter_map(|digest| Some(source.blob(digest)?.size)).sum::<u64>();
        // What a record says of a member and of a new blob takes some 250 bytes each, digests being the most of it.
        record += 512 + 384 * (entry.members.iter().count() + new.len());
        bytes <= BATCH_BYTES && record <= BATCH_RECORD
    });
    fits.count().max(1)
}

/// What makes a version known, with those of the new blobs that are the first to come with it.
fn publication(entry: &PackageEntry, blobs: &mut Vec<NewBlob>) -> CatalogOperation {
    let references = entry.references();
    let (own, others) = std::mem::take(blobs).into_iter().partition(|blob| references.contains(&blob.digest));
    *blobs = others;
    CatalogOperation::Published(Publication {
        coordinate: entry.coordinate.clone(),
        digest: entry.digest,
        release_version: entry.release_version,
        document: entry.document,
        members: entry.members.unpack(),
        blobs: own,
    })
}

fn is_race(error: &CommitError<crate::storage::catalog::CatalogRejection>) -> bool {
    matches!(error, CommitError::Rejected(rejection) if rejection.is_race())
}

/// Why a blob was not transferred.
pub(super) enum Transfer {
    /// It is damaged where it comes from.
    Damaged(BlobError),
    /// Something else went wrong.
    Failed(CopyError),
}

/// Copies one blob: every chunk verified on the way out, the whole on the way in.
pub(super) async fn transfer(
    from: &Storage,
    to: &Storage,
    blob: &Blob,
    start: u64,
) -> Result<Blob, Transfer> {
    let read = |error: BlobError| {
        if is_damage(&error) {
            return Transfer::Damaged(error);
        }
        Transfer::Failed(CopyError::Read { digest: blob.digest, source: error.into() })
    };
    let pieces = from.blobs.read(blob, 0..blob.size).await.map_err(read)?;
    let mut reader = StreamReader::new(pieces.map_err(std::io::Error::other));
    match to.blobs.put(&mut reader, blob.digest, blob.size, start).await {
        Ok(copy) => Ok(copy),
        Err(BlobError::Source { digest, source }) => Err(match source.downcast::<BlobError>() {
            Ok(error) => read(error),
            Err(source) => read(BlobError::Source { digest, source }),
        }),
        // All chunks were right and the whole is not: the catalog itself says two things of it.
        Err(error @ (BlobError::WrongDigest { .. } | BlobError::WrongLength { .. })) => {
            Err(Transfer::Damaged(error))
        }
        Err(error) => Err(Transfer::Failed(CopyError::Store { digest: blob.digest, source: error.into() })),
    }
}
