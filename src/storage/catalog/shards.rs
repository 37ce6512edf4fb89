//! A map of blobs that is small, and cheap to copy: states are copied for every batch of operations that is
//! validated, and for every snapshot.

use std::sync::Arc;

use super::BlobEntry;
use crate::model::Digest;

/// One for each first byte of a digest.
const SHARDS: usize = 256;

/// The blobs of a shard, sorted by digest. They are changed as a whole in any case, because states share them.
type Shard = Vec<(Digest, BlobEntry)>;

/// Blobs by digest. A copy shares all shards; the first change to a shared one copies that one.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Shards(Vec<Arc<Shard>>);

impl Default for Shards {
    fn default() -> Self {
        Self((0..SHARDS).map(|_| Arc::default()).collect())
    }
}

impl Shards {
    pub(super) fn get(&self, digest: &Digest) -> Option<&BlobEntry> {
        let shard = self.0.get(shard(digest))?;
        let at = find(shard, digest).ok()?;
        shard.get(at).map(|(_, entry)| entry)
    }

    pub(super) fn get_mut(&mut self, digest: &Digest) -> Option<&mut BlobEntry> {
        let shard = self.0.get_mut(shard(digest))?;
        // A miss must not cost a copy.
        let at = find(shard, digest).ok()?;
        Arc::make_mut(shard).get_mut(at).map(|(_, entry)| entry)
    }

    pub(super) fn insert(&mut self, digest: Digest, entry: BlobEntry) {
        let Some(shard) = self.0.get_mut(shard(&digest)) else { return };
        // Snapshots are sorted.
        let is_last = shard.last().is_none_or(|(last, _)| *last < digest);
        let found = if is_last { Err(shard.len()) } else { find(shard, &digest) };
        let shard = Arc::make_mut(shard);
        match found {
            Ok(at) => {
                if let Some((_, old)) = shard.get_mut(at) {
                    *old = entry;
                }
            }
            Err(at) => {
                // Twice as much room at a time, as is usual, would be half empty on the average.
                if shard.len() == shard.capacity() {
                    shard.reserve_exact(4 + shard.len() / 16);
                }
                shard.insert(at, (digest, entry));
            }
        }
    }

    pub(super) fn remove(&mut self, digest: &Digest) -> Option<BlobEntry> {
        let shard = self.0.get_mut(shard(digest))?;
        let at = find(shard, digest).ok()?;
        Some(Arc::make_mut(shard).remove(at).1)
    }

    /// All blobs, sorted by digest.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Digest, &BlobEntry)> {
        self.0.iter().flat_map(|shard| shard.iter().map(|(digest, entry)| (digest, entry)))
    }

    pub(super) fn len(&self) -> usize {
        self.0.iter().map(|shard| shard.len()).sum()
    }
}

fn shard(digest: &Digest) -> usize {
    usize::from(digest.as_bytes()[0])
}

/// Where the digest is, or where it would have to be.
fn find(shard: &Shard, digest: &Digest) -> Result<usize, usize> {
    shard.binary_search_by_key(digest, |(digest, _)| *digest)
}
