//! Fetched files that are kept for the next task, as the Mesos fetcher keeps what is fetched with `cache: true`.
//!
//! By URI and nothing else: what is there is taken, however old it is and whatever the server has by now. All of them
//! together are bounded; what was not used for longest goes first. A new start begins with nothing, as a restarted agent
//! does (`docs/fetcher.md` and `slave/containerizer/fetcher.cpp` of apache/mesos).

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// How many bytes are kept (`--fetcher_cache_size`).
pub const LIMIT: u64 = 2 << 30;

/// The files that are kept.
pub struct FetchCache {
    root: PathBuf,
    limit: u64,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// By URI, with when it was used last.
    slots: BTreeMap<String, (Arc<Slot>, u64)>,
    /// How often any was used.
    uses: u64,
}

/// The place of one file. Whoever holds it keeps it from being thrown away.
pub struct Slot {
    path: PathBuf,
    /// The file's length once it is there. Locked while it is brought, so that one brings it and the others wait.
    length: tokio::sync::Mutex<Option<u64>>,
}

impl FetchCache {
    /// An empty cache in a directory, which is made, or emptied of what an earlier one left.
    ///
    /// # Errors
    /// When the directory cannot be used.
    pub fn new(root: PathBuf, limit: u64) -> io::Result<Self> {
        match std::fs::remove_dir_all(&root) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => std::fs::create_dir_all(&root)?,
        }
        Ok(Self { root, limit, known: Mutex::default() })
    }

    /// The place of a URI's file.
    pub fn slot(&self, uri: &str) -> Arc<Slot> {
        let mut known = self.known();
        known.uses += 1;
        let now = known.uses;
        // Each has a name of its own: a file that is being removed is never that of a newer slot.
        let new = || Slot { path: self.root.join(now.to_string()), length: tokio::sync::Mutex::default() };
        let (slot, used) = known.slots.entry(uri.to_owned()).or_insert_with(|| (Arc::new(new()), now));
        *used = now;
        Arc::clone(slot)
    }

    /// Throws away what nobody holds: slots without a file, and the oldest files until the rest fits.
    pub async fn trim(&self) {
        for path in self.superfluous() {
            // Nobody can come by it any more; that it stays costs room until the next start.
            if let Err(error) = tokio::fs::remove_file(&path).await
                && error.kind() != io::ErrorKind::NotFound
            {
                tracing::warn!(path = %path.display(), %error, "cannot remove a cached file");
            }
        }
    }

    /// Forgets them, and says where their files are.
    fn superfluous(&self) -> Vec<PathBuf> {
        let mut known = self.known();
        let idle = |slot: &Arc<Slot>| Arc::strong_count(slot) == 1;
        let length = |slot: &Arc<Slot>| slot.length.try_lock().ok().and_then(|length| *length);
        let mut gone = Vec::new();
        known.slots.retain(|_, (slot, _)| {
            let stays = !idle(slot) || length(slot).is_some();
            if !stays {
                // Of what was given up a part may be there.
                gone.push(slot.path.clone());
            }
            stays
        });
        let mut total: u64 = known.slots.values().filter_map(|(slot, _)| length(slot)).sum();
        while total > self.limit {
            let idle = known.slots.iter().filter(|(_, (slot, _))| idle(slot));
            let Some(oldest) = idle.min_by_key(|(_, (_, used))| *used).map(|(uri, _)| uri.clone()) else {
                break;
            };
            let Some((slot, _)) = known.slots.remove(&oldest) else { break };
            total -= length(&slot).unwrap_or_default();
            gone.push(slot.path.clone());
        }
        gone
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    /// The file, which is brought to [`Self::place`] if it is not there yet. Safe to cancel: the next one brings it anew.
    ///
    /// # Errors
    /// What bringing it failed with.
    pub async fn filled(&self, bring: impl Future<Output = Result<(), String>>) -> Result<&Path, String> {
        let mut length = self.length.lock().await;
        if length.is_none() {
            bring.await?;
            let metadata = tokio::fs::metadata(&self.path).await.map_err(|e| e.to_string())?;
            *length = Some(metadata.len());
        }
        Ok(&self.path)
    }

    /// Where its file belongs.
    pub fn place(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures::FutureExt as _;

    use super::*;

    /// Uses a file of 4 bytes; whether it had to be brought.
    async fn used(cache: &FetchCache, uri: &str) -> bool {
        let mut brought = false;
        let slot = cache.slot(uri);
        let bring = async {
            brought = true;
            tokio::fs::write(slot.place(), "1234").await.map_err(|e| e.to_string())
        };
        let text = std::fs::read_to_string(slot.filled(bring).await.unwrap()).unwrap();
        assert_eq!(text, "1234");
        drop(slot);
        cache.trim().await;
        brought
    }

    fn files(root: &Path) -> usize {
        std::fs::read_dir(root).unwrap().count()
    }

    #[tokio::test]
    async fn what_was_not_used_for_longest_goes() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("fetched");
        let cache = FetchCache::new(root.clone(), 8).unwrap();
        assert!(used(&cache, "a").await && used(&cache, "b").await);
        assert!(!used(&cache, "a").await, "it is kept");
        assert!(used(&cache, "c").await && used(&cache, "b").await, "b was the oldest");
        assert!(!used(&cache, "c").await);
        assert_eq!(files(&root), 2);
        let held = cache.slot("c");
        assert!(used(&cache, "d").await && used(&cache, "e").await);
        assert!(!used(&cache, "c").await, "it is held");
        drop(held);
        let small = FetchCache::new(root.clone(), 3).unwrap();
        assert_eq!(files(&root), 0, "a new one is empty");
        assert!(used(&small, "a").await && used(&small, "a").await, "it is too large to be kept");
        assert_eq!(files(&root), 0);
    }

    #[tokio::test]
    async fn one_brings_a_file_and_what_cannot_be_brought_is_tried_again() {
        let folder = tempfile::tempdir().unwrap();
        let cache = FetchCache::new(folder.path().join("fetched"), 8).unwrap();
        let times = AtomicUsize::new(0);
        let bring = async || {
            let slot = cache.slot("a");
            let work = async {
                let first = times.fetch_add(1, Ordering::Relaxed) == 0;
                tokio::task::yield_now().await;
                if first {
                    return Err("away".to_owned());
                }
                tokio::fs::write(slot.place(), "1234").await.map_err(|e| e.to_string())
            };
            let brought = slot.filled(work).await.map(drop);
            drop(slot);
            cache.trim().await;
            brought
        };
        let (first, second, third) = futures::join!(bring(), bring(), bring());
        assert_eq!((first, second, third), (Err("away".to_owned()), Ok(()), Ok(())));
        assert_eq!(times.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn nothing_stays_of_what_was_given_up() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("fetched");
        let cache = FetchCache::new(root.clone(), 8).unwrap();
        let slot = cache.slot("a");
        let given_up = async {
            std::fs::write(slot.place(), "12").unwrap();
            std::future::pending().await
        };
        assert!(slot.filled(given_up).now_or_never().is_none());
        assert_eq!(files(&root), 1);
        drop(slot);
        cache.trim().await;
        assert_eq!(files(&root), 0);
        assert!(used(&cache, "a").await);
    }
}
