//! Metadata documents that were read lately, by digest. Bounded; what it holds can always be read again.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;

use crate::model::Digest;

/// The most that the held documents may take together, in bytes of JSON.
const HELD: u64 = 8 * 1024 * 1024;

/// A cache that drops the oldest first.
#[derive(Default)]
pub(super) struct Documents(Mutex<Held>);

#[derive(Default)]
struct Held {
    documents: BTreeMap<Digest, Arc<Value>>,
    order: VecDeque<(Digest, u64)>,
    bytes: u64,
}

impl Documents {
    pub(super) fn get(&self, digest: &Digest) -> Option<Arc<Value>> {
        self.held().documents.get(digest).cloned()
    }

    pub(super) fn insert(&self, digest: Digest, size: u64, document: Arc<Value>) {
        let mut held = self.held();
        if size > HELD || held.documents.insert(digest, document).is_some() {
            return;
        }
        held.order.push_back((digest, size));
        held.bytes += size;
        while held.bytes > HELD {
            let Some((oldest, size)) = held.order.pop_front() else { return };
            held.documents.remove(&oldest);
            held.bytes -= size;
        }
    }

    fn held(&self) -> std::sync::MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_documents_make_room() {
        let documents = Documents::default();
        let digests: Vec<_> = (0..4_u8).map(|n| Digest::of(&[n])).collect();
        for digest in &digests {
            documents.insert(*digest, HELD / 3, Arc::default());
            documents.insert(*digest, HELD / 3, Arc::default());
        }
        assert!(documents.get(&digests[0]).is_none());
        assert!(digests[1..].iter().all(|digest| documents.get(digest).is_some()));
        documents.insert(Digest::of(b"huge"), HELD + 1, Arc::default());
        assert!(documents.get(&Digest::of(b"huge")).is_none());
    }
}
