//! How much may be written for a task before it runs: bounded in itself, and by what is free on the disk.
//!
//! A small archive can become any size. Whatever is written may take half of what was free before it, so that it fills no
//! disk; many that are written at the same time leave each other less and less, since what is free is measured again and
//! again.

use std::path::Path;

/// After how many bytes what is free is measured again.
const LOOK: u64 = 16 << 20;

/// The room for one file, or for what one archive holds.
pub struct Room {
    limit: u64,
    written: u64,
    /// How much may be written by the last measurement.
    share: u64,
    next_look: u64,
    /// How many bytes are free; none where nobody knows.
    free: Box<dyn Fn() -> Option<u64> + Send>,
}

impl Room {
    /// The room in a directory, of so many bytes at most.
    pub fn new(directory: &Path, limit: u64) -> Self {
        let directory = directory.to_owned();
        Self::measured(limit, move || free(&directory))
    }

    /// The room where something else says what is free.
    pub fn measured(limit: u64, free: impl Fn() -> Option<u64> + Send + 'static) -> Self {
        Self { limit, written: 0, share: 0, next_look: 0, free: Box::new(free) }
    }

    /// Takes room for so many bytes more.
    ///
    /// # Errors
    /// More than what, and why not; to be read behind what is too large.
    pub fn take(&mut self, bytes: u64) -> Result<(), String> {
        if self.written >= self.next_look {
            self.share = (self.free)().map_or(u64::MAX, |free| self.written.saturating_add(free) / 2);
            self.next_look = self.written.saturating_add(LOOK);
        }
        self.written = self.written.saturating_add(bytes);
        if self.written > self.limit {
            return Err(format!("more than {}, the most that is taken", amount(self.limit)));
        }
        if self.written > self.share {
            let share = amount(self.share);
            return Err(format!("more than {share}, half of what was free on the disk; make room there"));
        }
        Ok(())
    }
}

/// What is free to us where a directory lies.
fn free(directory: &Path) -> Option<u64> {
    // Some file systems know nothing of sizes and say 0 for all of them.
    let found = rustix::fs::statvfs(directory).ok().filter(|found| found.f_blocks > 0)?;
    Some(found.f_bavail.saturating_mul(found.f_frsize))
}

fn amount(bytes: u64) -> String {
    if bytes < 1 << 20 { format!("{bytes} bytes") } else { format!("{} MiB", bytes >> 20) }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[test]
    fn nothing_takes_more_than_its_limit_or_half_of_the_disk() {
        let mut small = Room::measured(10, || Some(u64::MAX));
        small.take(10).unwrap();
        assert_eq!(small.take(1).unwrap_err(), "more than 10 bytes, the most that is taken");
        let mut unknown = Room::measured(u64::MAX, || None);
        unknown.take(1 << 40).unwrap();
        let mut full = Room::measured(u64::MAX, || Some(8 << 20));
        full.take(4 << 20).unwrap();
        let refused = full.take(1).unwrap_err();
        assert_eq!(refused, "more than 4 MiB, half of what was free on the disk; make room there");
        assert!(free(Path::new("/")).is_some_and(|free| free > 0));
        assert_eq!(free(Path::new("/no/such/place")), None);
    }

    #[test]
    fn many_at_the_same_time_leave_something_free() {
        const DISK: u64 = 1 << 30;
        let free = Arc::new(AtomicU64::new(DISK));
        let room = || {
            let free = Arc::clone(&free);
            Room::measured(u64::MAX, move || Some(free.load(Ordering::Relaxed)))
        };
        let mut rooms: Vec<_> = (0..8).map(|_| room()).collect();
        // More often than the disk has room for all of them.
        for _ in 0..DISK >> 20 {
            rooms.retain_mut(|room| {
                let fits = room.take(1 << 20).is_ok();
                if fits {
                    free.fetch_sub(1 << 20, Ordering::Relaxed);
                }
                fits
            });
            assert!(free.load(Ordering::Relaxed) >= 8 << 20, "the disk is full");
        }
        assert!(rooms.is_empty() && free.load(Ordering::Relaxed) > DISK / 32);
    }
}
