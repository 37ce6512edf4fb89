//! Temporary files in which an upload is gathered before anything is done with it.
//!
//! They are no state: a file has no name from its first moment on, so that whatever ends the process removes it.
//! What is left where that moment was a process's last is removed at the next start. Nothing is flushed to the
//! disk; the bytes become durable where they are stored.
//!
//! Whether a body fits is asked before it is taken in ([`super::space`]), with what others were promised and have
//! not written yet counted in. On the volume of a local storage each byte counts twice, once here and once there.
//! Pieces are written in batches on blocking threads while the next batch comes in, without being copied.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, IoSlice, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::task::{JoinError, JoinHandle};

use super::space::{self, SpaceError};
use crate::clock::{Clock, DeadlinePassed};
use crate::model::ErrorClass;

/// How much is written at a time, in bytes.
const BATCH: usize = 512 * 1024;

/// The most pieces that are written at a time: tiny ones cost more than their bytes.
const MOST_PIECES: usize = 512;

/// How much a body of unknown length is promised at a time, in bytes.
const STRIDE: u64 = 4 * 1024 * 1024;

/// How long the disk may take for one batch, or to make a file.
const LIMIT: Duration = Duration::from_secs(60);

/// What the names of our files begin with; the directory may be one that others use too.
const PREFIX: &str = "dcos-registry-spool-";

/// How many names are tried for a file; each is taken for a moment only.
const NAMES: u32 = 64;

/// A file that could not be made or written.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// There is no room, or it is not known.
    #[error(transparent)]
    Space(#[from] SpaceError),
    /// The directory cannot be used.
    #[error("cannot use {} for temporary files; change its mode, or name another with spool", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// The system's words.
        #[source]
        source: io::Error,
    },
    /// The file could not be written.
    #[error("cannot write a temporary file in {}{}", path.display(), hint(source))]
    Write {
        /// The directory.
        path: PathBuf,
        /// The system's words.
        #[source]
        source: io::Error,
    },
    /// The disk does not answer.
    #[error("the disk of {} does not answer", path.display())]
    Late {
        /// The directory.
        path: PathBuf,
        /// The limit.
        #[source]
        source: DeadlinePassed,
    },
    /// The process is ending.
    #[error("the work was interrupted")]
    Interrupted(#[source] JoinError),
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}

fn hint(error: &io::Error) -> &'static str {
    if is_full(error) { "; free some space or enlarge the volume" } else { "" }
}

impl SpoolError {
    /// What to do about it.
    #[must_use]
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Directory { .. } => ErrorClass::Stall,
            Self::Space(error) => error.class(),
            Self::Write { .. } | Self::Late { .. } | Self::Interrupted(_) => ErrorClass::Retry,
        }
    }

    /// A stable word for labels.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::Space(error) => error.label(),
            Self::Directory { .. } => "SpoolUnusable",
            Self::Write { source, .. } if is_full(source) => "DiskFull",
            Self::Write { .. } => "SpoolNotWritten",
            Self::Late { .. } => "SpoolLate",
            Self::Interrupted(_) => "Interrupted",
        }
    }
}

/// A directory for temporary files. Cheap to clone.
#[derive(Clone)]
pub struct Spool(Arc<Inner>);

struct Inner {
    directory: PathBuf,
    /// The volumes that a body takes room on, and how often.
    volumes: Vec<(PathBuf, u64)>,
    clock: Clock,
    /// Bytes that were promised and are not written yet.
    promised: AtomicU64,
    /// How many files there were.
    files: AtomicU64,
}

impl Spool {
    /// Takes a directory, makes it where there is none, and removes what a crash left in it. `storage` is the
    /// directory in which the bytes are stored in the end, where it is one of this machine.
    ///
    /// # Errors
    /// [`SpoolError::Directory`].
    pub async fn open(directory: &Path, storage: Option<&Path>, clock: Clock) -> Result<Self, SpoolError> {
        let (path, storage) = (directory.to_owned(), storage.map(Path::to_owned));
        let prepared = tokio::task::spawn_blocking(move || prepare(&path, storage.as_deref()));
        let prepared = clock.timeout(LIMIT, prepared).await;
        let prepared = prepared.map_err(|source| SpoolError::Late { path: directory.to_owned(), source })?;
        let volumes = prepared
            .map_err(SpoolError::Interrupted)?
            .map_err(|source| SpoolError::Directory { path: directory.to_owned(), source })?;
        let (promised, files) = (AtomicU64::new(0), AtomicU64::new(0));
        Ok(Self(Arc::new(Inner { directory: directory.to_owned(), volumes, clock, promised, files })))
    }

    /// The spool of a storage that takes nothing in: the directory is not looked at before a file is begun in it.
    #[must_use]
    pub fn idle(directory: &Path, clock: Clock) -> Self {
        let (directory, promised, files) = (directory.to_owned(), AtomicU64::new(0), AtomicU64::new(0));
        Self(Arc::new(Inner { directory, volumes: Vec::new(), clock, promised, files }))
    }

    /// Begins a file for a body of that length, or of one that is not known.
    ///
    /// # Errors
    /// When it does not fit, or cannot be made. Nothing of the body need be read then.
    pub async fn begin(&self, length: Option<u64>) -> Result<SpoolFile, SpoolError> {
        // The promise comes first, so that a body that does not fit costs no file.
        let mut promise = Promise { spool: self.clone(), allowed: 0, written: 0 };
        promise.grow(length.unwrap_or(STRIDE)).await?;
        let inner = Arc::clone(&self.0);
        let made =
            self.wait(tokio::task::spawn_blocking(move || make(&inner.directory, &inner.files))).await?;
        let source = |source| SpoolError::Directory { path: self.0.directory.clone(), source };
        let file = Arc::new(made.map_err(source)?);
        Ok(SpoolFile { file, promise, pending: Vec::new(), size: 0, writing: None })
    }

    async fn wait<T>(&self, work: JoinHandle<T>) -> Result<T, SpoolError> {
        let late = |source| SpoolError::Late { path: self.0.directory.clone(), source };
        let ended = self.0.clock.timeout(LIMIT, work).await.map_err(late)?;
        ended.map_err(SpoolError::Interrupted)
    }
}

/// Makes the directory and sweeps it; says on which volumes a body takes room, and how often.
fn prepare(directory: &Path, storage: Option<&Path>) -> io::Result<Vec<(PathBuf, u64)>> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(PREFIX) && entry.file_type()?.is_file() {
            match std::fs::remove_file(entry.path()) {
                // Another process may sweep too, or this is a file that it has just made and takes the name of.
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
    }
    let here = directory.to_owned();
    let Some(storage) = storage else { return Ok(vec![(here, 1)]) };
    if std::fs::metadata(directory)?.dev() == std::fs::metadata(storage)?.dev() {
        return Ok(vec![(here, 2)]);
    }
    Ok(vec![(here, 1), (storage.to_owned(), 1)])
}

/// Makes a file and takes its name away.
fn make(directory: &Path, files: &AtomicU64) -> io::Result<File> {
    let mut tries = 0;
    loop {
        let name = format!("{PREFIX}{}-{}", std::process::id(), files.fetch_add(1, Ordering::Relaxed));
        let path = directory.join(name);
        tries += 1;
        match OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path) {
            // In another container, who shares the directory, a process may have the same number.
            Err(error) if error.kind() == ErrorKind::AlreadyExists && tries < NAMES => {}
            Err(error) => return Err(error),
            Ok(file) => match std::fs::remove_file(&path) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => return Ok(file),
            },
        }
    }
}

/// Room for one body, given back when it is dropped.
struct Promise {
    spool: Spool,
    allowed: u64,
    written: u64,
}

impl Promise {
    /// Promises more, if it fits beside what others were promised.
    async fn grow(&mut self, bytes: u64) -> Result<(), SpoolError> {
        let inner = Arc::clone(&self.spool.0);
        let before = inner.promised.fetch_add(bytes, Ordering::SeqCst);
        self.allowed = self.allowed.saturating_add(bytes);
        for (volume, times) in &inner.volumes {
            space::check(volume, before.saturating_add(bytes).saturating_mul(*times), &inner.clock).await?;
        }
        Ok(())
    }

    fn wrote(&mut self, bytes: u64) {
        self.written += bytes;
        self.spool.0.promised.fetch_sub(bytes, Ordering::SeqCst);
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        self.spool.0.promised.fetch_sub(self.allowed.saturating_sub(self.written), Ordering::SeqCst);
    }
}

/// A file that is being written.
pub struct SpoolFile {
    file: Arc<File>,
    promise: Promise,
    pending: Vec<Bytes>,
    size: usize,
    writing: Option<JoinHandle<io::Result<()>>>,
}

impl SpoolFile {
    /// Adds bytes. They may be written later.
    ///
    /// # Errors
    /// When earlier bytes could not be written, or these do not fit.
    pub async fn write(&mut self, piece: Bytes) -> Result<(), SpoolError> {
        let length = piece.len() as u64;
        if self.promise.written + length > self.promise.allowed {
            self.promise.grow(length.max(STRIDE)).await?;
        }
        self.promise.wrote(length);
        self.size += piece.len();
        self.pending.push(piece);
        if self.size >= BATCH || self.pending.len() >= MOST_PIECES { self.flush().await } else { Ok(()) }
    }

    /// Leaves a hole where bytes belong that are kept elsewhere; zeros are read there. Their room counts as used, as if
    /// they had been written.
    ///
    /// # Errors
    /// As [`SpoolFile::write`].
    pub async fn skip(&mut self, length: u64) -> Result<(), SpoolError> {
        self.flush().await?;
        self.settle().await?;
        if self.promise.written.saturating_add(length) > self.promise.allowed {
            self.promise.grow(length.max(STRIDE)).await?;
        }
        self.promise.wrote(length);
        let file = Arc::clone(&self.file);
        self.writing = Some(tokio::task::spawn_blocking(move || {
            let mut file = &*file;
            let end = file.stream_position()?.saturating_add(length);
            file.set_len(end)?;
            file.seek(SeekFrom::Start(end)).map(drop)
        }));
        Ok(())
    }

    /// Waits for all bytes; the file stands at no particular place.
    ///
    /// # Errors
    /// When something could not be written.
    pub async fn finish(mut self) -> Result<File, SpoolError> {
        self.flush().await?;
        self.settle().await?;
        let path = self.promise.spool.0.directory.clone();
        match Arc::try_unwrap(self.file) {
            Ok(file) => Ok(file),
            Err(shared) => shared.try_clone().map_err(|source| SpoolError::Write { path, source }),
        }
    }

    /// Begins to write what is pending, once the batch before is written.
    async fn flush(&mut self) -> Result<(), SpoolError> {
        self.settle().await?;
        if self.pending.is_empty() {
            return Ok(());
        }
        let (file, pieces) = (Arc::clone(&self.file), std::mem::take(&mut self.pending));
        self.size = 0;
        self.writing = Some(tokio::task::spawn_blocking(move || write_all(&file, &pieces)));
        Ok(())
    }

    async fn settle(&mut self) -> Result<(), SpoolError> {
        let Some(writing) = self.writing.take() else { return Ok(()) };
        let spool = &self.promise.spool;
        let written = spool.wait(writing).await?;
        written.map_err(|source| SpoolError::Write { path: spool.0.directory.clone(), source })
    }
}

fn write_all(mut file: &File, pieces: &[Bytes]) -> io::Result<()> {
    let mut slices: Vec<IoSlice<'_>> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
    let mut rest = slices.as_mut_slice();
    // Leading empty pieces are no progress.
    IoSlice::advance_slices(&mut rest, 0);
    while !rest.is_empty() {
        match file.write_vectored(rest) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => IoSlice::advance_slices(&mut rest, written),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt as _;

    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(directory).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[tokio::test]
    async fn what_is_written_comes_back_and_no_name_stays() {
        let directory = tempfile::tempdir().unwrap();
        let spool = Spool::open(directory.path(), None, Clock::system()).await.unwrap();
        for length in [None, Some(3_000_000)] {
            let mut file = spool.begin(length).await.unwrap();
            let mut expected = Vec::new();
            for n in 0..3_000_usize {
                let piece: Vec<u8> = n.to_le_bytes().repeat(if n % 700 == 1 { 100_000 } else { n % 11 });
                expected.extend_from_slice(&piece);
                file.write(piece.into()).await.unwrap();
            }
            assert_eq!(names(directory.path()), [""; 0]);
            let file = file.finish().await.unwrap();
            let mut found = vec![0; expected.len()];
            file.read_exact_at(&mut found, 0).unwrap();
            assert!(found == expected && file.metadata().unwrap().len() == expected.len() as u64);
        }
        assert_eq!(spool.0.promised.load(Ordering::SeqCst), 0, "every promise was given back");
    }

    #[tokio::test]
    async fn a_name_that_somebody_else_holds_is_passed_over() {
        let directory = tempfile::tempdir().unwrap();
        let spool = Spool::open(directory.path(), None, Clock::system()).await.unwrap();
        let held = format!("{PREFIX}{}-0", std::process::id());
        std::fs::write(directory.path().join(&held), "x").unwrap();
        let mut file = spool.begin(None).await.unwrap();
        file.write("y".into()).await.unwrap();
        file.finish().await.unwrap();
        assert_eq!(names(directory.path()), [held.as_str()]);
        assert_eq!(std::fs::read(directory.path().join(&held)).unwrap(), b"x");
    }

    #[tokio::test]
    async fn a_hole_keeps_its_place_and_its_room() {
        let directory = tempfile::tempdir().unwrap();
        let spool = Spool::open(directory.path(), None, Clock::system()).await.unwrap();
        for length in [None, Some(9_000_008)] {
            let mut file = spool.begin(length).await.unwrap();
            file.write(Bytes::from_static(b"left")).await.unwrap();
            file.skip(5_000_000).await.unwrap();
            file.write(Bytes::from_static(b"right")).await.unwrap();
            file.skip(3_999_999).await.unwrap();
            let file = file.finish().await.unwrap();
            let mut found = vec![0; 9_000_008];
            file.read_exact_at(&mut found, 0).unwrap();
            assert!(found.starts_with(b"left\0") && found[5_000_003..].starts_with(b"\0right\0"));
            assert_eq!(file.metadata().unwrap().len(), 9_000_008);
        }
        assert_eq!(spool.0.promised.load(Ordering::SeqCst), 0, "every promise was given back");
    }

    #[tokio::test]
    async fn a_start_removes_what_a_crash_left_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["dcos-registry-spool-1-1", "somebody-elses"] {
            std::fs::write(directory.path().join(name), "x").unwrap();
        }
        Spool::open(directory.path(), None, Clock::system()).await.unwrap();
        assert_eq!(names(directory.path()), ["somebody-elses"]);
        let below = directory.path().join("somebody-elses/spool");
        let error = Spool::open(&below, None, Clock::system()).await.err().unwrap();
        assert_eq!(error.label(), "SpoolUnusable");
    }

    #[tokio::test]
    async fn bodies_do_not_share_the_same_room() {
        let directory = tempfile::tempdir().unwrap();
        let clock = Clock::system();
        let free = space::look(directory.path(), &clock).await.unwrap();
        let spool = Spool::open(directory.path(), None, clock.clone()).await.unwrap();
        // Other processes write to this volume too, so both are far from the edge.
        let most = free.free.saturating_sub(free.reserve()) / 3;
        let first = spool.begin(Some(most * 2)).await.unwrap();
        let refused = spool.begin(Some(most * 2)).await.err().unwrap();
        assert_eq!(refused.label(), "DiskFull");
        drop(first);
        drop(spool.begin(Some(most * 2)).await.unwrap());
        let doubled = Spool::open(directory.path(), Some(directory.path()), clock).await.unwrap();
        assert_eq!(doubled.begin(Some(most * 2)).await.err().unwrap().label(), "DiskFull");
        assert_eq!(doubled.0.promised.load(Ordering::SeqCst), 0);
    }
}
