//! Whether a body still fits on the disk, asked before it is taken in.
//!
//! Some of a volume is kept back: catalog records, leases and the file system itself need room after the last
//! package, and a volume that is full to the last byte cannot even be cleaned up by whoever writes first. The
//! reserve is 5 % of the volume, at least 64 MiB (on a volume so small that this would be more than a tenth of
//! it: a tenth), at most 1 GiB.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::statvfs;

use crate::clock::{Clock, DeadlinePassed};
use crate::model::ErrorClass;

const MIB: u64 = 1024 * 1024;

/// How long the file system may take to answer; one on a network may never.
const LIMIT: Duration = Duration::from_secs(5);

/// What a volume has, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Free {
    /// Its size.
    pub total: u64,
    /// What this process may still write.
    pub free: u64,
}

/// A body that is not taken in.
#[derive(Debug, thiserror::Error)]
pub enum SpaceError {
    /// It does not fit.
    #[error(
        "the disk of {} is full: {needed} bytes are needed and {reserve} kept back, {free} are free; free some space \
         or enlarge the volume",
        path.display()
    )]
    DiskFull {
        /// Where.
        path: PathBuf,
        /// What was asked for, in bytes.
        needed: u64,
        /// What is kept back, in bytes.
        reserve: u64,
        /// What is free, in bytes.
        free: u64,
    },
    /// The file system does not say.
    #[error("cannot find out how much space is free in {}", path.display())]
    Look {
        /// Where.
        path: PathBuf,
        /// The system's words.
        #[source]
        source: std::io::Error,
    },
    /// The file system does not answer.
    #[error("the file system of {} does not answer", path.display())]
    Late {
        /// Where.
        path: PathBuf,
        /// The limit.
        #[source]
        source: DeadlinePassed,
    },
    /// The process is ending.
    #[error("the work was interrupted")]
    Interrupted(#[source] tokio::task::JoinError),
}

impl SpaceError {
    /// What to do about it.
    #[must_use]
    pub fn class(&self) -> ErrorClass {
        ErrorClass::Retry
    }

    /// A stable word for labels; `DiskFull` is also that of a write that met the end of the disk.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::DiskFull { .. } => "DiskFull",
            Self::Look { .. } => "SpaceUnknown",
            Self::Late { .. } => "SpaceLate",
            Self::Interrupted(_) => "Interrupted",
        }
    }
}

impl Free {
    /// What is kept back, in bytes.
    #[must_use]
    pub fn reserve(self) -> u64 {
        (self.total / 20).clamp((64 * MIB).min(self.total / 10), 1024 * MIB)
    }

    /// Whether so many bytes can be taken in.
    #[must_use]
    pub fn holds(self, needed: u64) -> bool {
        needed.saturating_add(self.reserve()) <= self.free
    }
}

/// What the volume of a path has.
///
/// # Errors
/// When the file system does not say.
pub async fn look(path: &Path, clock: &Clock) -> Result<Free, SpaceError> {
    let (there, path) = (path.to_owned(), || path.to_owned());
    let asked = tokio::task::spawn_blocking(move || statvfs(&there));
    let answer =
        clock.timeout(LIMIT, asked).await.map_err(|source| SpaceError::Late { path: path(), source })?;
    let answer = answer.map_err(SpaceError::Interrupted)?;
    let found = answer.map_err(|errno| SpaceError::Look { path: path(), source: errno.into() })?;
    let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
    Ok(Free { total: bytes(found.f_blocks), free: bytes(found.f_bavail) })
}

/// Refuses a body of that many bytes unless it fits and leaves the reserve.
///
/// # Errors
/// [`SpaceError::DiskFull`], or when the file system does not say.
pub async fn check(path: &Path, needed: u64, clock: &Clock) -> Result<(), SpaceError> {
    let found = look(path, clock).await?;
    if found.holds(needed) {
        return Ok(());
    }
    Err(SpaceError::DiskFull { path: path.to_owned(), needed, reserve: found.reserve(), free: found.free })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reserve_suits_the_volume() {
        let reserve = |total| Free { total, free: 0 }.reserve();
        assert_eq!(reserve(0), 0);
        assert_eq!(reserve(20 * MIB), 2 * MIB);
        assert_eq!(reserve(1000 * MIB), 64 * MIB);
        assert_eq!(reserve(10_000 * MIB), 500 * MIB);
        assert_eq!(reserve(10_000_000 * MIB), 1024 * MIB);
    }

    #[test]
    fn what_would_touch_the_reserve_does_not_fit() {
        let volume = Free { total: 10_000 * MIB, free: 501 * MIB };
        assert!(volume.holds(0) && volume.holds(MIB) && !volume.holds(MIB + 1) && !volume.holds(u64::MAX));
        assert!(!Free { total: 10_000 * MIB, free: 499 * MIB }.holds(0));
    }

    #[tokio::test]
    async fn a_real_volume_says_what_it_has() {
        let directory = tempfile::tempdir().unwrap();
        let clock = Clock::system();
        let found = look(directory.path(), &clock).await.unwrap();
        assert!(found.total >= found.free && found.total > 0);
        let error = check(directory.path(), found.total, &clock).await.unwrap_err();
        assert!(error.label() == "DiskFull" && error.to_string().contains("enlarge the volume"), "{error}");
        let missing = look(&directory.path().join("none"), &clock).await.unwrap_err();
        assert_eq!(missing.label(), "SpaceUnknown");
    }
}
