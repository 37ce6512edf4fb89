//! A map of blobs that is cheap to copy: states are copied for every batch of operations that is validated, and
//! for every snapshot.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::BlobEntry;
use crate::model::Digest;

/// One for each first byte of a digest.
const SHARDS: usize = 256;

/// Blobs by digest. A copy shares all shards; the first change to a shared one copies that one.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Shards(Vec<Arc<BTreeMap<Digest, BlobEntry>>>);

impl Default for Shards {
    fn default() -> Self {
        Self((0..SHARDS).map(|_| Arc::default()).collect())
    }
}

impl Shards {
    pub(super) fn get(&self, digest: &Digest) -> Option<&BlobEntry> {
        self.0.get(shard(digest))?.get(digest)
    }

    pub(super) fn get_mut(&mut self, digest: &Digest) -> Option<&mut BlobEntry> {
        let shard = self.0.get_mut(shard(digest))?;
        // A miss must not cost a copy.
        if shard.contains_key(digest) { Arc::make_mut(shard).get_mut(digest) } else { None }
    }

    pub(super) fn insert(&mut self, digest: Digest, entry: BlobEntry) {
        if let Some(shard) = self.0.get_mut(shard(&digest)) {
            Arc::make_mut(shard).insert(digest, entry);
        }
    }

    pub(super) fn remove(&mut self, digest: &Digest) -> Option<BlobEntry> {
        let shard = self.0.get_mut(shard(digest))?;
        if shard.contains_key(digest) { Arc::make_mut(shard).remove(digest) } else { None }
    }

    /// All blobs, sorted by digest.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Digest, &BlobEntry)> {
        self.0.iter().flat_map(|shard| shard.iter())
    }

    pub(super) fn len(&self) -> usize {
        self.0.iter().map(|shard| shard.len()).sum()
    }
}

fn shard(digest: &Digest) -> usize {
    usize::from(digest.as_bytes()[0])
}
