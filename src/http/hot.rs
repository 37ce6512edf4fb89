//! Answers with small resources, kept whole in memory: a hit reads no file and decodes no path.
//!
//! What is kept was verified when it was read, and is right whatever becomes of the copy in the store; a scrub finds
//! that out. It is forgotten after a day all the same, as what is known of verified files is. A kept answer is given
//! only while the catalog says the same as when it was made: the same member of the same package, with the same copy
//! in use and nobody having found that one damaged. That is looked up once for every state of the catalog.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use axum::body::Body;
use axum::http::HeaderMap;
use axum::response::Response;
use bytes::Bytes;

use crate::registry::resource::ResourcePath;
use crate::storage::blobs::Blob;
use crate::storage::catalog::Catalog;

/// The largest resource that is kept, in bytes.
pub(super) const LARGEST: u64 = 64 * 1024;

/// What all that is kept may take, in bytes.
const HELD: usize = 16 * 1024 * 1024;

/// About what an entry takes besides its bytes and its path, in bytes.
const ENTRY: usize = 2048;

/// For how long an answer is given without reading the resource again.
const TRUST: Duration = Duration::from_secs(24 * 3600);

/// The memory.
#[derive(Default)]
pub struct Hot(RwLock<Held>);

#[derive(Default)]
struct Held {
    /// By the path as it was asked for.
    answers: HashMap<Arc<str>, Arc<Kept>>,
    order: VecDeque<Arc<str>>,
    bytes: usize,
}

/// One answer and what it rests on.
pub(super) struct Kept {
    /// What the path names.
    pub(super) path: ResourcePath,
    /// The copy that was read.
    pub(super) blob: Blob,
    /// The media type that the catalog gave it.
    pub(super) media_type: String,
    /// The answer's.
    pub(super) headers: HeaderMap,
    /// All bytes of the blob.
    pub(super) bytes: Bytes,
    /// When they were read, on the boot clock.
    pub(super) since: Duration,
    /// The state of the catalog that was seen to name it last.
    pub(super) seq: AtomicU64,
    /// Whether somebody asked for it since it was last in question.
    pub(super) used: AtomicBool,
}

impl Kept {
    /// Whether the catalog names it. The state that is looked at is never older than the number noted.
    fn is_named(&self, catalog: &Catalog) -> bool {
        let seq = catalog.seq();
        if self.seq.load(Ordering::Acquire) == seq {
            return true;
        }
        let state = catalog.state();
        let found = state.member(&self.path.coordinate, &self.path.digest);
        let named = found.is_some_and(|(member, blob)| {
            member.name == self.path.name && member.media_type == self.media_type && blob == self.blob
        });
        let named = named && !state.is_damaged(&self.path.digest);
        if named {
            self.seq.store(seq, Ordering::Release);
        }
        named
    }

    fn answer(&self) -> Response {
        let mut response = Response::new(Body::from(self.bytes.clone()));
        *response.headers_mut() = self.headers.clone();
        response
    }
}

impl Hot {
    /// The answer to a GET of a path without conditions and ranges, if it is kept and may be given.
    pub(super) fn answer(&self, path: &str, catalog: &Catalog, now: Duration) -> Option<Response> {
        let kept = {
            let held = self.0.read().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(held.answers.get(path)?)
        };
        if now.saturating_sub(kept.since) >= TRUST || !kept.is_named(catalog) {
            return None;
        }
        // Everybody writing to one place is dear even where it changes nothing.
        if !kept.used.load(Ordering::Relaxed) {
            kept.used.store(true, Ordering::Relaxed);
        }
        Some(kept.answer())
    }

    /// Keeps an answer in place of what was kept for the path, and gives up what nobody asked for lately where that is
    /// too much.
    pub(super) fn keep(&self, path: &str, kept: Kept) {
        let mut held = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let path: Arc<str> = path.into();
        held.bytes += cost(&path, &kept);
        match held.answers.insert(Arc::clone(&path), Arc::new(kept)) {
            Some(old) => held.bytes -= cost(&path, &old),
            None => held.order.push_back(path),
        }
        held.shrink();
    }
}

impl Held {
    fn shrink(&mut self) {
        while self.bytes > HELD {
            let Some(oldest) = self.order.pop_front() else { return };
            let asked_for =
                self.answers.get(&oldest).is_some_and(|kept| kept.used.swap(false, Ordering::Relaxed));
            if asked_for {
                self.order.push_back(oldest);
            } else if let Some(kept) = self.answers.remove(&oldest) {
                self.bytes -= cost(&oldest, &kept);
            }
        }
    }
}

fn cost(path: &str, kept: &Kept) -> usize {
    ENTRY + path.len() + kept.bytes.len()
}

#[cfg(test)]
mod tests;
