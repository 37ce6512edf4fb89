//! Which operation may follow a state of the catalog. All races between publishers, collection and old leaders
//! end here: as a refusal that makes somebody begin again.

use std::collections::BTreeSet;

use super::operation::{CatalogOperation, Copy, NewBlob, Publication};
use super::rejection::CatalogRejection;
use super::state::CatalogState;
use crate::model::{Digest, Epoch};

/// The check itself.
pub(super) fn validate(
    state: &CatalogState,
    operation: &CatalogOperation,
    epoch: Epoch,
) -> Result<(), CatalogRejection> {
    if let Some(to) = state.moved() {
        return Err(CatalogRejection::Moved { to: to.to_owned() });
    }
    match operation {
        CatalogOperation::Published(publication) => {
            copier(state, epoch)?;
            name(state, publication)?;
            blobs(state, publication)
        }
        CatalogOperation::Unpublished { coordinate } => {
            copier(state, epoch)?;
            match state.entry(coordinate) {
                Some(_) => Ok(()),
                None => Err(CatalogRejection::NotPublished { coordinate: coordinate.clone() }),
            }
        }
        CatalogOperation::Condemned { blobs } => {
            leader(state, epoch)?;
            blobs.iter().try_for_each(|copy| retired(state, copy))
        }
        CatalogOperation::Purged { blobs } => {
            leader(state, epoch)?;
            blobs.iter().try_for_each(|copy| purgeable(state, copy))
        }
        CatalogOperation::Watermark { seq } => {
            leader(state, epoch)?;
            if (state.watermark..=state.seq).contains(seq) {
                Ok(())
            } else {
                Err(CatalogRejection::Watermark { seq: *seq, newest: state.seq })
            }
        }
        CatalogOperation::Quarantined { blob } => marked(state, blob, false),
        CatalogOperation::Cleared { blob } => marked(state, blob, true),
        CatalogOperation::Replaced { blobs } => {
            distinct(blobs)?;
            blobs.iter().try_for_each(|new| {
                fresh(state, new)?;
                marked(state, &current(state, new)?, true)?;
                length(state, new)
            })
        }
        CatalogOperation::Fence { epoch: fence } => {
            if *fence > state.fence && *fence == epoch {
                Ok(())
            } else {
                Err(CatalogRejection::Fenced { held: epoch, fence: state.fence })
            }
        }
        CatalogOperation::CopiedFrom { .. } => {
            let is_empty = state.packages.is_empty() && state.blobs.len() == 0;
            if is_empty && state.origin.is_none() { Ok(()) } else { Err(CatalogRejection::NotEmpty) }
        }
        CatalogOperation::TookOver => {
            leader(state, epoch)?;
            if state.copy_of().is_some() { Ok(()) } else { Err(CatalogRejection::NotACopy) }
        }
        CatalogOperation::Moved { .. } => match state.copy_of() {
            None => Ok(()),
            Some(of) => Err(CatalogRejection::IsCopy { of: of.to_owned() }),
        },
    }
}

/// Into a copy only its copier puts anything, so that it is what the original is and nothing else.
fn copier(state: &CatalogState, epoch: Epoch) -> Result<(), CatalogRejection> {
    match state.copy_of() {
        Some(of) if leader(state, epoch).is_err() => Err(CatalogRejection::IsCopy { of: of.to_owned() }),
        _ => Ok(()),
    }
}

/// What only the leader may say counts under the lease that was fenced last.
fn leader(state: &CatalogState, epoch: Epoch) -> Result<(), CatalogRejection> {
    if epoch == state.fence && epoch != Epoch::default() {
        Ok(())
    } else {
        Err(CatalogRejection::Fenced { held: epoch, fence: state.fence })
    }
}

fn name(state: &CatalogState, publication: &Publication) -> Result<(), CatalogRejection> {
    let coordinate = &publication.coordinate;
    if let Some(entry) = state.entry(coordinate) {
        return Err(if entry.digest == publication.digest {
            CatalogRejection::AlreadyPublished {
                coordinate: coordinate.clone(),
                release_version: entry.release_version,
            }
        } else {
            CatalogRejection::VersionImmutable { coordinate: coordinate.clone(), published: entry.digest }
        });
    }
    let release_version = publication.release_version;
    match state.versions_of(&coordinate.name).find(|e| e.release_version == release_version) {
        Some(holder) => {
            Err(CatalogRejection::ReleaseVersionTaken { release_version, holder: holder.coordinate.clone() })
        }
        None => Ok(()),
    }
}

fn blobs(state: &CatalogState, publication: &Publication) -> Result<(), CatalogRejection> {
    distinct(&publication.blobs)?;
    for new in &publication.blobs {
        fresh(state, new)?;
        if state.blob(&new.digest).is_some() {
            length(state, new)?;
        }
    }
    let brought = |digest: &Digest| publication.blobs.iter().find(|new| new.digest == *digest);
    for digest in publication.references() {
        if brought(&digest).is_none() && !state.has(&digest) {
            return Err(if state.is_damaged(&digest) {
                CatalogRejection::Damaged { digest }
            } else {
                CatalogRejection::UnknownBlob { digest }
            });
        }
    }
    for member in &publication.members {
        let size = brought(&member.digest).map(|new| new.size);
        let size = size.or_else(|| state.blob(&member.digest).map(|blob| blob.size)).unwrap_or_default();
        if size != member.size {
            return Err(CatalogRejection::SizeDiffers { digest: member.digest, size });
        }
    }
    Ok(())
}

fn distinct(blobs: &[NewBlob]) -> Result<(), CatalogRejection> {
    let mut seen = BTreeSet::new();
    match blobs.iter().find(|new| !seen.insert(new.digest)) {
        Some(twice) => Err(CatalogRejection::NamedTwice { digest: twice.digest }),
        None => Ok(()),
    }
}

/// A new key must be one that nobody has been told to delete: its session began at or after the watermark.
fn fresh(state: &CatalogState, new: &NewBlob) -> Result<(), CatalogRejection> {
    if new.key.start > state.seq {
        return Err(CatalogRejection::KeyFromTheFuture { key: new.key, seq: state.seq });
    }
    if new.key.start < state.watermark {
        return Err(CatalogRejection::SessionExpired { key: new.key, watermark: state.watermark });
    }
    if state.condemned.contains_key(&new.copy()) {
        return Err(CatalogRejection::CopyCondemned { digest: new.digest, key: new.key });
    }
    Ok(())
}

/// The same bytes have the same length.
fn length(state: &CatalogState, new: &NewBlob) -> Result<(), CatalogRejection> {
    match state.blob(&new.digest) {
        Some(blob) if blob.size != new.size => {
            Err(CatalogRejection::SizeDiffers { digest: new.digest, size: blob.size })
        }
        Some(_) => Ok(()),
        None => Err(CatalogRejection::UnknownBlob { digest: new.digest }),
    }
}

fn current(state: &CatalogState, new: &NewBlob) -> Result<Copy, CatalogRejection> {
    let entry = state.blobs.get(&new.digest);
    entry.map(|entry| entry.copy(new.digest)).ok_or(CatalogRejection::UnknownBlob { digest: new.digest })
}

fn retired(state: &CatalogState, copy: &Copy) -> Result<(), CatalogRejection> {
    match state.blobs.get(&copy.digest) {
        Some(entry) if entry.key == copy.key && entry.references == 0 => Ok(()),
        _ => Err(CatalogRejection::NotRetired { digest: copy.digest, key: copy.key }),
    }
}

/// A key leaves the state only when no late repeat of the record that brought it can count any more.
fn purgeable(state: &CatalogState, copy: &Copy) -> Result<(), CatalogRejection> {
    if state.condemned.contains_key(copy) && copy.key.start < state.watermark {
        Ok(())
    } else {
        Err(CatalogRejection::NotCondemned { digest: copy.digest, key: copy.key })
    }
}

/// The copy is the one in use, and is (not) held for damaged.
fn marked(state: &CatalogState, copy: &Copy, damaged: bool) -> Result<(), CatalogRejection> {
    match state.blobs.get(&copy.digest) {
        Some(entry) if entry.key == copy.key && entry.damaged == damaged => Ok(()),
        _ => Err(CatalogRejection::NotInUse { digest: copy.digest, key: copy.key }),
    }
}
