//! Looking at a directory that is, or could be, a registry's storage: what `storage check` says of it.
//!
//! Everything that is written lies in the probe's own folder and is removed. No lock is taken, so that the daemon may
//! be running.

use std::fmt;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::statfs;
use serde::Serialize;

use super::calls::Calls;
use super::local::{self, Holder, LocalError};
use super::probe::{Outcome, Probe, ProbeRow, Subject, table};
use super::{Opening, StorageError, space};
use crate::clock::Clock;
use crate::telemetry::chain;

/// File systems by the number that they have in statfs(2), with what is worth a warning.
const FILE_SYSTEMS: [(u64, &str, Option<&str>); 8] = [
    (0xef53, "ext", None),
    (0x5846_5342, "XFS", None),
    (0x9123_683e, "Btrfs", None),
    (0x794c_7630, "overlay", Some("of a container: what is kept here goes with it")),
    (0x0102_1994, "tmpfs", Some("in memory: what is kept here goes with the machine's next start")),
    (0x6969, "NFS", Some("over a network: locks and hard links must work there, which the server decides")),
    (
        0xff53_4d42,
        "SMB",
        Some("over a network: locks and hard links must work there, which the server decides"),
    ),
    (0x6573_5546, "FUSE", Some("made by a program: locks and hard links must work there, which it decides")),
];

/// What was found of a directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DirectoryReport {
    /// In the order in which it was looked at.
    pub rows: Vec<ProbeRow>,
}

impl DirectoryReport {
    /// Whether a registry can be kept there.
    #[must_use]
    pub fn is_fit(&self) -> bool {
        self.rows.iter().all(|row| row.outcome != Outcome::Failed)
    }
}

impl fmt::Display for DirectoryReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        table(f, &self.rows)?;
        f.write_str(if self.is_fit() {
            "A registry can be kept here; one instance at a time writes."
        } else {
            "A registry can NOT be kept here."
        })
    }
}

/// Looks at a directory and tries what a registry needs of it.
///
/// # Errors
/// When it holds something else, or cannot be looked at.
pub async fn check(path: &Path, opening: &Opening) -> Result<DirectoryReport, StorageError> {
    let there = path.to_owned();
    let looked = tokio::task::spawn_blocking(move || look(&there)).await;
    let (mut rows, exists) = looked.map_err(LocalError::Interrupted)??;
    rows.push(free(path, &opening.clock).await);
    if exists {
        let (there, clock) = (path.to_owned(), opening.clock.clone());
        let synced = tokio::task::spawn_blocking(move || sync(&there, &clock)).await;
        rows.push(synced.map_err(LocalError::Interrupted)?);
        let calls = Calls::new(Arc::new(local::store(path)?), opening.clock.clone());
        let subject = Subject { endpoint: path.display().to_string(), server: None };
        let probe = Probe::of(calls, subject, &opening.entropy);
        rows.extend(probe.basics().await.map_err(StorageError::Probe)?);
        let there = path.to_owned();
        // Only folders that are empty can be removed.
        let _ = tokio::task::spawn_blocking(move || tidy(&there)).await;
    }
    Ok(DirectoryReport { rows })
}

fn row(name: &str, outcome: Outcome, detail: impl Into<String>) -> ProbeRow {
    ProbeRow { name: name.to_owned(), outcome, detail: detail.into() }
}

/// What can be seen without writing.
fn look(path: &Path) -> Result<(Vec<ProbeRow>, bool), LocalError> {
    let ours = local::inspect(path)?;
    let exists = path.exists();
    let what = match (ours, exists) {
        (true, _) => "holds a registry's storage",
        (false, true) => "holds no registry yet; the first start makes one",
        (false, false) => "is not there yet; the first start makes it",
    };
    let mut rows = vec![row("directory", Outcome::Passed, what)];
    rows.extend(file_system(path));
    if !exists {
        return Ok((rows, false));
    }
    let holder = local::holder(path)?;
    let lock = match holder {
        Holder::Nobody => "nobody writes here now".to_owned(),
        Holder::Somebody => "a process writes here now".to_owned(),
        Holder::Process(pid) => format!("process {pid} writes here now"),
    };
    rows.push(row("lock", Outcome::Passed, lock));
    let left = local::count_staging(path)?;
    rows.push(match (left, holder) {
        (0, _) => row("leftovers", Outcome::Passed, "no half-written files"),
        (_, Holder::Somebody | Holder::Process(_)) => {
            row("leftovers", Outcome::Passed, format!("{left} files are being written"))
        }
        (_, Holder::Nobody) => row(
            "leftovers",
            Outcome::Warned,
            format!("{left} half-written files; the next start removes them"),
        ),
    });
    Ok((rows, true))
}

fn file_system(path: &Path) -> Option<ProbeRow> {
    let found = path.ancestors().find_map(|path| statfs(path).ok())?;
    // The number is signed, and has 32 bits.
    let number = u64::from_le_bytes(found.f_type.to_le_bytes()) & 0xffff_ffff;
    let known = FILE_SYSTEMS.iter().find(|(known, _, _)| *known == number);
    Some(match known {
        Some((_, name, None)) => row("file system", Outcome::Passed, *name),
        Some((_, name, Some(warning))) => row("file system", Outcome::Warned, format!("{name}, {warning}")),
        None => row("file system", Outcome::Passed, format!("of a kind not known here (0x{number:x})")),
    })
}

async fn free(path: &Path, clock: &Clock) -> ProbeRow {
    let there = path.ancestors().find(|path| path.is_dir()).unwrap_or(path);
    match space::look(there, clock).await {
        Ok(found) if found.holds(0) => {
            let (free, reserve) = (found.free.saturating_sub(found.reserve()), found.reserve());
            row("free space", Outcome::Passed, format!("{free} bytes, and {reserve} kept back"))
        }
        Ok(found) => {
            let detail = format!("{} bytes, less than the {} kept back", found.free, found.reserve());
            row("free space", Outcome::Failed, format!("{detail}; nothing more is published"))
        }
        Err(error) => row("free space", Outcome::Failed, chain(&error)),
    }
}

/// Writes a small file so that it survives a power cut, as every record is written.
fn sync(path: &Path, clock: &Clock) -> ProbeRow {
    let folder = path.join("v1/probe");
    let file = folder.join(format!("sync-{}", std::process::id()));
    let begun = clock.boot();
    let synced = std::fs::create_dir_all(&folder).and_then(|()| {
        let mut written = File::create(&file)?;
        written.write_all(b"sync")?;
        written.sync_all()?;
        File::open(&folder)?.sync_all()
    });
    let took = clock.boot().saturating_sub(begun).as_millis();
    let removed = std::fs::remove_file(&file);
    match synced.and(removed) {
        Ok(()) => row("write through to the disk", Outcome::Passed, format!("{took} ms for a small file")),
        Err(error) => row("write through to the disk", Outcome::Failed, error.to_string()),
    }
}

/// Removes the probe's folders where nothing is in them.
fn tidy(path: &Path) {
    let probe = path.join("v1/probe");
    let below = |folder: &Path| -> Vec<_> {
        let entries = std::fs::read_dir(folder).into_iter().flatten();
        entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect()
    };
    for own in below(&probe) {
        for inner in below(&own) {
            let _ = std::fs::remove_dir(inner);
        }
        let _ = std::fs::remove_dir(own);
    }
    let _ = std::fs::remove_dir(&probe);
    let _ = std::fs::remove_dir(path.join("v1"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Entropy;
    use crate::storage::Storage;

    fn opening() -> Opening {
        Opening::once(Clock::system(), Entropy::seeded(1))
    }

    fn of<'a>(report: &'a DirectoryReport, name: &str) -> &'a ProbeRow {
        report.rows.iter().find(|row| row.name == name).unwrap()
    }

    #[tokio::test]
    async fn a_fit_directory_is_found_fit_and_left_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let report = check(folder.path(), &opening()).await.unwrap();
        assert!(report.is_fit(), "{report}");
        assert!(of(&report, "directory").detail.contains("holds no registry yet"));
        assert!(of(&report, "race of creates").detail.contains("one winner each"), "{report}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        let absent = folder.path().join("absent");
        let report = check(&absent, &opening()).await.unwrap();
        assert!(report.is_fit() && !absent.exists(), "{report}");
    }

    #[tokio::test]
    async fn who_writes_and_what_is_left_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let open = || {
            Storage::open_local(folder.path(), std::time::Duration::ZERO, Clock::system(), Entropy::seeded(2))
        };
        let storage = open().await.unwrap();
        let report = check(folder.path(), &opening()).await.unwrap();
        let lock = format!("process {} writes here now", std::process::id());
        assert_eq!(of(&report, "lock").detail, lock);
        drop(storage);
        std::fs::write(folder.path().join("v1/catalog/log/00000000000000000001#7"), b"half").unwrap();
        let report = check(folder.path(), &opening()).await.unwrap();
        assert_eq!(of(&report, "lock").detail, "nobody writes here now");
        assert_eq!(of(&report, "leftovers").outcome, Outcome::Warned);
        open().await.unwrap();
    }

    #[tokio::test]
    async fn what_cannot_be_written_to_is_found_unfit_and_what_is_not_ours_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("notes.txt"), b"mine").unwrap();
        let refused = check(folder.path(), &opening()).await.unwrap_err();
        assert_eq!(refused.label(), "NotOurs");
        let row = |outcome| ProbeRow { name: "free space".into(), outcome, detail: "none".into() };
        let unfit = DirectoryReport { rows: vec![row(Outcome::Failed)] };
        assert_eq!(unfit.to_string(), "free space  FAILED   none\nA registry can NOT be kept here.");
        let fit = DirectoryReport { rows: vec![row(Outcome::Warned)] };
        assert!(fit.to_string().ends_with("\nA registry can be kept here; one instance at a time writes."));
    }
}
