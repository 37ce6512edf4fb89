//! Which chunks of which files were verified, so that hot files are not hashed on every read.
//!
//! A file is known by device, inode, length and both times of change; anybody's write makes it another one.
//! Times of change are as coarse as the kernel's tick, so a file that changed just now is not remembered: a
//! second change within the tick would not show. What is remembered is forgotten after a day, because disks
//! rot without telling anybody, and the oldest first when there is too much.

use std::collections::{BTreeMap, VecDeque};
use std::fs::{File, Metadata};
use std::ops::Range;
use std::os::unix::fs::MetadataExt as _;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::{Blob, BlobKey};
use crate::clock::Clock;
use crate::model::Digest;

/// For how long a chunk counts as verified.
const TRUST: Duration = Duration::from_secs(24 * 3600);

/// For how many seconds a changed file is not remembered.
const FRESH: i64 = 2;

/// The most that is remembered, in bytes: one bit a chunk and some for each blob.
const HELD: usize = 4 * 1024 * 1024;

/// About what an entry takes besides its bits, in bytes.
const ENTRY: usize = 160;

/// What makes a file another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Identity {
    pub(super) fn of(file: &File) -> std::io::Result<Self> {
        file.metadata().map(|file: Metadata| Self {
            device: file.dev(),
            inode: file.ino(),
            size: file.size(),
            modified: (file.mtime(), file.mtime_nsec()),
            changed: (file.ctime(), file.ctime_nsec()),
        })
    }

    /// Whether the file has been as it is for a while. A clock that is wrong makes this wrong only where it is
    /// ahead, and then for two changes within one tick.
    fn is_settled(&self, clock: &Clock) -> bool {
        let now = clock.wall().as_second();
        let last = self.modified.0.max(self.changed.0);
        (FRESH..).contains(&now.saturating_sub(last))
    }
}

type Key = (Digest, BlobKey);

/// The memory.
#[derive(Default)]
pub(super) struct Verified(Mutex<Held>);

#[derive(Default)]
struct Held {
    blobs: BTreeMap<Key, Entry>,
    order: VecDeque<Key>,
    bytes: usize,
}

struct Entry {
    identity: Identity,
    /// When the first of the chunks was verified, on the boot clock.
    since: Duration,
    bits: Vec<u64>,
}

impl Entry {
    fn is_recent(&self, now: Duration) -> bool {
        now.saturating_sub(self.since) < TRUST
    }
}

impl Verified {
    /// Whether all of these chunks of this very file were verified lately.
    pub(super) fn has(&self, blob: &Blob, identity: Identity, chunks: Range<u64>, clock: &Clock) -> bool {
        self.whose(blob, chunks, clock) == Some(identity)
    }

    /// The file of which all of these chunks were verified lately.
    pub(super) fn whose(&self, blob: &Blob, mut chunks: Range<u64>, clock: &Clock) -> Option<Identity> {
        let held = self.held();
        let entry = held.blobs.get(&(blob.digest, blob.key))?;
        let all = entry.is_recent(clock.boot())
            && chunks.all(|chunk| {
                let (word, bit) = place(chunk);
                entry.bits.get(word).is_some_and(|bits| bits & bit != 0)
            });
        all.then_some(entry.identity)
    }

    /// Remembers chunks. The identity is the file's from before they were read.
    pub(super) fn note(&self, blob: &Blob, identity: Identity, chunks: Range<u64>, clock: &Clock) {
        if !identity.is_settled(clock) {
            return;
        }
        let (key, now) = ((blob.digest, blob.key), clock.boot());
        let words = place(chunks.end).0 + 1;
        let mut held = self.held();
        let held = &mut *held;
        let entry = held.blobs.entry(key).or_insert_with(|| {
            held.order.push_back(key);
            held.bytes += ENTRY;
            Entry { identity, since: now, bits: Vec::new() }
        });
        if entry.identity != identity || !entry.is_recent(now) {
            (entry.identity, entry.since) = (identity, now);
            entry.bits.fill(0);
        }
        if entry.bits.len() < words {
            held.bytes += (words - entry.bits.len()) * size_of::<u64>();
            entry.bits.resize(words, 0);
        }
        for chunk in chunks {
            let (word, bit) = place(chunk);
            if let Some(bits) = entry.bits.get_mut(word) {
                *bits |= bit;
            }
        }
        held.shrink();
    }

    fn held(&self) -> std::sync::MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    fn shrink(&mut self) {
        while self.bytes > HELD {
            let Some(oldest) = self.order.pop_front() else { return };
            if let Some(entry) = self.blobs.remove(&oldest) {
                self.bytes -= ENTRY + entry.bits.len() * size_of::<u64>();
            }
        }
    }
}

/// Word and bit of a chunk.
fn place(chunk: u64) -> (usize, u64) {
    (usize::try_from(chunk / 64).unwrap_or(usize::MAX - 1), 1 << (chunk % 64))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blob(random: u64) -> Blob {
        let key = BlobKey { start: 0, random };
        Blob { digest: Digest::of(&random.to_le_bytes()), key, size: 1 << 30, chunks: None }
    }

    const FILE: Identity = Identity { device: 1, inode: 2, size: 3, modified: (100, 5), changed: (100, 5) };

    fn clock() -> Clock {
        Clock::fixed(1_000_000)
    }

    #[test]
    fn only_what_was_noted_of_this_very_file_is_trusted() {
        let (verified, clock, blob) = (Verified::default(), clock(), blob(1));
        assert!(!verified.has(&blob, FILE, 0..1, &clock));
        verified.note(&blob, FILE, 62..66, &clock);
        assert!(verified.has(&blob, FILE, 62..66, &clock) && verified.has(&blob, FILE, 63..65, &clock));
        assert!(!verified.has(&blob, FILE, 61..63, &clock) && !verified.has(&blob, FILE, 65..67, &clock));
        assert!(!verified.has(&self::blob(2), FILE, 62..66, &clock));
        for other in [
            Identity { device: 9, ..FILE },
            Identity { inode: 9, ..FILE },
            Identity { size: 9, ..FILE },
            Identity { modified: (100, 6), ..FILE },
            Identity { changed: (101, 5), ..FILE },
        ] {
            assert!(!verified.has(&blob, other, 62..66, &clock), "{other:?}");
        }
        let other = Identity { inode: 9, ..FILE };
        verified.note(&blob, other, 0..1, &clock);
        assert!(!verified.has(&blob, other, 62..63, &clock), "what was noted of the old file is forgotten");
        assert!(!verified.has(&blob, FILE, 62..63, &clock));
    }

    #[test]
    fn trust_ends_after_a_day_and_does_not_begin_with_a_file_that_just_changed() {
        let (verified, clock, blob) = (Verified::default(), clock(), blob(1));
        verified.note(&blob, FILE, 0..1, &clock);
        clock.advance(TRUST / 2);
        verified.note(&blob, FILE, 1..2, &clock);
        clock.advance(TRUST / 2);
        assert!(!verified.has(&blob, FILE, 0..1, &clock) && !verified.has(&blob, FILE, 1..2, &clock));
        verified.note(&blob, FILE, 1..2, &clock);
        assert!(verified.has(&blob, FILE, 1..2, &clock) && !verified.has(&blob, FILE, 0..1, &clock));
        let now = clock.wall().as_second();
        for fresh in [Identity { changed: (now - 1, 0), ..FILE }, Identity { modified: (now + 9, 0), ..FILE }]
        {
            verified.note(&blob, fresh, 0..1, &clock);
            assert!(!verified.has(&blob, fresh, 0..1, &clock));
        }
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (verified, clock) = (Verified::default(), clock());
        for random in 0..100 {
            verified.note(&blob(random), FILE, 0..1_000_000, &clock);
        }
        let held = verified.held();
        assert!(held.bytes <= HELD && held.blobs.len() > 20, "{} {}", held.bytes, held.blobs.len());
        let bits: usize = held.blobs.values().map(|entry| entry.bits.len() * 8 + ENTRY).sum();
        assert_eq!((bits, held.order.len()), (held.bytes, held.blobs.len()));
        drop(held);
        assert!(verified.has(&blob(99), FILE, 0..1_000_000, &clock));
        assert!(!verified.has(&blob(0), FILE, 0..1, &clock));
    }
}
