//! A directory as registry storage: whether it is ours, who may write to it, and what a crash left in it.
//!
//! One process writes, held by an exclusive `flock`, which the kernel gives back when the process ends in
//! any way. Readers take no lock: objects are created once and whole. The directory also holds what
//! belongs to the local Marathon; the storage is `v1/`. A directory that holds anything else is refused
//! before anything in it is touched.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use object_store::local::LocalFileSystem;
use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::Errno;

use crate::clock::Clock;
use crate::model::ErrorClass;

mod store;
mod sweep;

pub use store::LocalStore;
use sweep::Written;
#[cfg(test)]
pub(crate) use sweep::let_age;

/// How often a lock that somebody holds is tried.
const POLL: Duration = Duration::from_millis(100);

/// The object that only a registry has.
const MARKER: &str = "v1/catalog/log/00000000000000000000";

/// The file that is locked.
const LOCK: &str = "lock";

/// What may stand in a directory that becomes ours: left by a start that was cut short, by the local
/// Marathon, or by the file system itself.
const KNOWN: [&str; 5] = [LOCK, "marathon", "lost+found", "spool", "v1"];

/// What may stand in a `v1` without a marker.
const KNOWN_INSIDE: [&str; 7] = ["blobs", "cache", "catalog", "control", "instances", "probe", "uploads"];

/// A directory that cannot serve as storage. Nothing in it was changed.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// It holds something that is not ours.
    #[error(
        "{} is not a registry's storage: it holds {found:?}; choose an empty or a new directory",
        path.display()
    )]
    NotOurs {
        /// The directory.
        path: PathBuf,
        /// One of the names that do not belong there.
        found: String,
    },
    /// It is a symbolic link, or holds one.
    #[error("{} is a symbolic link; storage must lie in a real directory, name that one", path.display())]
    Symlink {
        /// The link.
        path: PathBuf,
    },
    /// It is something else than a directory.
    #[error("{} is not a directory; choose another path", path.display())]
    NotADirectory {
        /// The path.
        path: PathBuf,
    },
    /// It may not be written to.
    #[error("{} is not writable; change its owner or mode, or choose another directory", path.display())]
    NotWritable {
        /// The directory.
        path: PathBuf,
        /// The system's words.
        #[source]
        source: std::io::Error,
    },
    /// It was removed or replaced while it was in use.
    #[error("{} was removed or replaced while it was in use; put it back, or stop and start again", path.display())]
    Gone {
        /// The directory.
        path: PathBuf,
    },
    /// Another process writes to it.
    #[error(
        "{} is in use by another process{}; stop that one or choose another directory",
        path.display(),
        pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default()
    )]
    Locked {
        /// The directory.
        path: PathBuf,
        /// The process, where it can be read who it is.
        pid: Option<u32>,
    },
    /// A newer program laid it out.
    #[error("{} was written by a newer version (it holds {found}); use that version", path.display())]
    NewerFormat {
        /// The directory.
        path: PathBuf,
        /// The name that says so.
        found: String,
    },
    /// There is no storage to read.
    #[error("there is no registry's storage in {}; start the daemon on it once", path.display())]
    Absent {
        /// The directory.
        path: PathBuf,
    },
    /// It could not be looked at, locked or swept.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's words.
        #[source]
        source: std::io::Error,
    },
    /// The store could not be made of it.
    #[error("cannot use the directory")]
    Store(#[source] object_store::Error),
    /// The process is ending.
    #[error("the work was interrupted")]
    Interrupted(#[source] tokio::task::JoinError),
}

impl LocalError {
    /// What to do about it.
    #[must_use]
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Locked { .. } => ErrorClass::Wait,
            Self::Gone { .. } => ErrorClass::Stall,
            Self::Interrupted(_) => ErrorClass::Retry,
            _ => ErrorClass::Fatal,
        }
    }

    /// A stable word for labels.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::NotOurs { .. } => "NotOurs",
            Self::Symlink { .. } => "Symlink",
            Self::NotADirectory { .. } => "NotADirectory",
            Self::NotWritable { .. } => "NotWritable",
            Self::Locked { .. } => "Locked",
            Self::Gone { .. } => "StorageGone",
            Self::NewerFormat { .. } => "NewerFormat",
            Self::Absent { .. } => "StorageAbsent",
            Self::Io { .. } => "DirectoryUnusable",
            Self::Store(_) => "StoreUnusable",
            Self::Interrupted(_) => "Interrupted",
        }
    }

    fn io(action: &'static str, path: &Path, source: std::io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => Self::NotWritable { path, source },
            ErrorKind::NotADirectory => Self::NotADirectory { path },
            _ => Self::Io { action, path, source },
        }
    }
}

/// The right to write to a directory; given back when it is dropped or the process ends.
#[derive(Debug)]
pub(super) struct DirectoryLock {
    file: File,
    path: PathBuf,
    /// When it was taken.
    since: Written,
}

impl DirectoryLock {
    /// Whether the directory is still the one that was locked. Somebody may have removed it or put another in its
    /// place; what is written then is lost, or lies in a log with a gap.
    pub(super) fn check(&self) -> Result<(), LocalError> {
        let ours = self.file.metadata().map(|file| (file.dev(), file.ino()));
        let there = std::fs::metadata(self.path.join(LOCK)).map(|file| (file.dev(), file.ino()));
        match (ours, there) {
            (Ok(ours), Ok(there)) if ours == there => Ok(()),
            _ => Err(LocalError::Gone { path: self.path.clone() }),
        }
    }

    /// Removes what earlier holders left half written among the blobs. May be dropped at any time.
    pub(super) async fn sweep(&self) -> Result<(), LocalError> {
        for folder in blocking(&self.path, sweep::blob_folders).await? {
            let since = self.since;
            blocking(&folder, move |folder| sweep::blobs(folder.to_owned(), since)).await?;
        }
        Ok(())
    }
}

/// Opens a directory for writing: makes it where there is none, waits at most `wait` for its lock, and
/// removes what an earlier crash left half written; among the blobs that is for [`DirectoryLock::sweep`].
pub(super) async fn open(
    path: &Path,
    wait: Duration,
    clock: &Clock,
) -> Result<(LocalStore, DirectoryLock), LocalError> {
    let file = blocking(path, |path| {
        inspect(path)?;
        create(path)?;
        lock_file(path)
    })
    .await?;
    let lock = acquire(path, file, wait, clock).await?;
    blocking(path, |path| {
        // Another process may have begun to use the directory while this one waited.
        inspect(path)?;
        sweep::others(path)
    })
    .await?;
    Ok((store(path)?, lock))
}

/// Whether a directory holds a registry's storage that can at least be looked at.
pub(super) async fn is_storage(path: &Path) -> bool {
    blocking(path, inspect).await.unwrap_or_default()
}

/// Opens a directory for reading, beside whoever writes to it.
pub(super) async fn open_read_only(path: &Path) -> Result<LocalStore, LocalError> {
    let ours = blocking(path, inspect).await?;
    if ours { store(path) } else { Err(LocalError::Absent { path: path.to_owned() }) }
}

pub(super) fn store(path: &Path) -> Result<LocalStore, LocalError> {
    let store = LocalFileSystem::new_with_prefix(path).map_err(LocalError::Store)?;
    Ok(LocalStore(store.with_fsync(true)))
}

async fn blocking<T: Send + 'static>(
    path: &Path,
    work: impl FnOnce(&Path) -> Result<T, LocalError> + Send + 'static,
) -> Result<T, LocalError> {
    let path = path.to_owned();
    tokio::task::spawn_blocking(move || work(&path)).await.map_err(LocalError::Interrupted)?
}

/// Looks without touching: true when a registry's storage is there, false when one may be made there.
pub(super) fn inspect(path: &Path) -> Result<bool, LocalError> {
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(LocalError::io("look at", path, error)),
        Ok(found) if found.is_symlink() => return Err(LocalError::Symlink { path: path.to_owned() }),
        Ok(found) if !found.is_dir() => return Err(LocalError::NotADirectory { path: path.to_owned() }),
        Ok(_) => {}
    }
    let names = names(path)?;
    let is_layout =
        |name: &&String| name.strip_prefix('v').is_some_and(|n| n != "1" && n.parse::<u32>().is_ok());
    if let Some(found) = names.iter().find(is_layout) {
        return Err(LocalError::NewerFormat { path: path.to_owned(), found: found.clone() });
    }
    if std::fs::symlink_metadata(path.join(MARKER)).is_ok_and(|marker| marker.is_file()) {
        return Ok(true);
    }
    let mut foreign =
        names.iter().filter(|name| !KNOWN.contains(&name.as_str())).cloned().collect::<Vec<_>>();
    if names.iter().any(|name| name == "v1") {
        let inside = self::names(&path.join("v1"))?.into_iter();
        foreign.extend(
            inside.filter(|name| !KNOWN_INSIDE.contains(&name.as_str())).map(|name| format!("v1/{name}")),
        );
    }
    match foreign.into_iter().min() {
        Some(found) => Err(LocalError::NotOurs { path: path.to_owned(), found }),
        None => Ok(false),
    }
}

/// How many staging files lie in a registry's storage.
pub(crate) fn count_staging(path: &Path) -> Result<u64, LocalError> {
    sweep::count(path)
}

fn names(path: &Path) -> Result<Vec<String>, LocalError> {
    let failed = |error| LocalError::io("list", path, error);
    let mut names = Vec::new();
    for entry in std::fs::read_dir(path).map_err(failed)? {
        names.push(entry.map_err(failed)?.file_name().to_string_lossy().into_owned());
    }
    Ok(names)
}

/// Makes the directory, readable by its owner only: the store follows links, so nobody else may place any.
fn create(path: &Path) -> Result<(), LocalError> {
    if path.is_dir() {
        return Ok(());
    }
    let failed = |error| LocalError::io("create", path, error);
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)?;
    // The new name must survive a power cut as the records in it will.
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent).and_then(|parent| parent.sync_all()).map_err(failed)
}

fn lock_file(path: &Path) -> Result<File, LocalError> {
    let path = path.join(LOCK);
    let flags = i32::try_from(OFlags::NOFOLLOW.bits()).unwrap_or_default();
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600).custom_flags(flags);
    options.open(&path).map_err(|error| match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::LOOP) => LocalError::Symlink { path: path.clone() },
        _ => LocalError::io("open", &path, error),
    })
}

async fn acquire(
    path: &Path,
    mut file: File,
    wait: Duration,
    clock: &Clock,
) -> Result<DirectoryLock, LocalError> {
    let mut waited = Duration::ZERO;
    loop {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {
                let noted = note_pid(&mut file).and_then(|()| file.metadata());
                let noted = noted.map_err(|error| LocalError::io("write the lock of", path, error))?;
                return Ok(DirectoryLock { file, path: path.to_owned(), since: Written::of(&noted) });
            }
            Err(Errno::WOULDBLOCK) if waited < wait => {
                clock.sleep(POLL.min(wait.saturating_sub(waited))).await;
                waited += POLL;
            }
            Err(Errno::WOULDBLOCK) => {
                let pid = noted_pid(&mut file);
                return Err(LocalError::Locked { path: path.to_owned(), pid });
            }
            Err(Errno::INTR) => {}
            Err(errno) => return Err(LocalError::io("lock", path, errno.into())),
        }
    }
}

/// Writes our process id into the lock file, for the message of whoever waits.
fn note_pid(file: &mut File) -> std::io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}

/// Who writes to a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holder {
    Nobody,
    /// Who cannot be read.
    Somebody,
    Process(u32),
}

/// Finds out who writes to a directory. Nothing is changed, and no lock is kept.
pub(super) fn holder(path: &Path) -> Result<Holder, LocalError> {
    let path = path.join(LOCK);
    let flags = i32::try_from(OFlags::NOFOLLOW.bits()).unwrap_or_default();
    let mut file = match OpenOptions::new().read(true).custom_flags(flags).open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Holder::Nobody),
        Err(error) => return Err(LocalError::io("open", &path, error)),
    };
    match flock(&file, FlockOperation::NonBlockingLockShared) {
        Ok(()) => Ok(Holder::Nobody),
        Err(Errno::WOULDBLOCK) => Ok(noted_pid(&mut file).map_or(Holder::Somebody, Holder::Process)),
        Err(errno) => Err(LocalError::io("lock", &path, errno.into())),
    }
}

fn noted_pid(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.take(32).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

fn is_staging(name: &str) -> bool {
    let suffix = name.rsplit_once('#').map(|(_, suffix)| suffix);
    suffix.is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()))
}

#[cfg(test)]
mod tests;
