//! Reads and hashes files, and remembers what it read.

use std::collections::BTreeMap;
use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::mem;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::super::SourceError;
use super::walk::Found;
use crate::model::{DigestHasher, FileContent, SnapshotFile, SnapshotPath};

/// The largest file that is held in memory, in bytes.
const LARGEST_INLINE: u64 = 1 << 20;
/// How long a file must have looked the same before its bytes are no longer read again. File systems
/// stamp changes with a granularity of up to two seconds, so a second change may look like the first.
const TRUSTED_AFTER: Duration = Duration::from_secs(3);
/// How often a file that changes while it is read is read again.
const TRIES: usize = 3;

/// What is known from earlier scans, by real path.
#[derive(Default)]
pub struct Cache(pub(super) BTreeMap<PathBuf, Known>);

pub struct Known {
    stamp: Stamp,
    first_read: Duration,
    pub(super) trusted: bool,
    pub(super) file: SnapshotFile,
}

/// What changes when a file changes.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// Reads the files of one scan.
pub struct Reader<'a> {
    root: &'a Path,
    cache: &'a mut Cache,
    seen: BTreeMap<PathBuf, Known>,
    now: Duration,
    /// How many bytes may still be held in memory.
    inline_left: u64,
    inline_most: u64,
}

impl<'a> Reader<'a> {
    pub fn new(root: &'a Path, inline_most: u64, cache: &'a mut Cache, now: Duration) -> Self {
        Self { root, cache, seen: BTreeMap::new(), now, inline_left: inline_most, inline_most }
    }

    /// Reads files, documents before others.
    pub fn read(&mut self, found: Found) -> Result<BTreeMap<SnapshotPath, SnapshotFile>, SourceError> {
        let (documents, others): (Found, Found) = found.into_iter().partition(|(path, _)| is_text(path));
        let mut files = BTreeMap::new();
        for (path, real) in documents.into_iter().chain(others) {
            let mut file = self.look(&real)?;
            if file.bytes().is_some() {
                let left = self.inline_left.checked_sub(file.size);
                // Half is kept for documents: what they refer to is read after the files beside them.
                let enough = if is_text(&path) { 0 } else { self.inline_most / 2 };
                match left.filter(|left| *left >= enough) {
                    Some(left) => self.inline_left = left,
                    None if is_text(&path) => {
                        let limit = self.inline_most;
                        return Err(SourceError::TooMuchText { root: self.root.to_owned(), limit });
                    }
                    None => file.content = FileContent::OnDisk(real),
                }
            }
            files.insert(path, file);
        }
        Ok(files)
    }

    /// Drops what is known about files that this scan did not see.
    pub fn forget_others(&mut self) {
        self.cache.0 = mem::take(&mut self.seen);
    }

    fn look(&mut self, real: &Path) -> Result<SnapshotFile, SourceError> {
        let failed = |source| SourceError::Read { path: real.to_owned(), source };
        let known = self.seen.remove(real).or_else(|| self.cache.0.remove(real));
        let stamp = Stamp::of(&real.metadata().map_err(failed)?);
        let same = known.filter(|known| known.stamp == stamp);
        let known = match same {
            Some(known) if known.trusted => known,
            same => {
                let (stamp, file) = read_steadily(real)?;
                let first_read =
                    same.filter(|known| known.stamp == stamp).map_or(self.now, |known| known.first_read);
                Known { stamp, first_read, trusted: self.now >= first_read + TRUSTED_AFTER, file }
            }
        };
        let file = known.file.clone();
        self.seen.insert(real.to_owned(), known);
        Ok(file)
    }
}

/// Whether later stages need the bytes in memory.
fn is_text(path: &SnapshotPath) -> bool {
    let extension = path.file_name().rsplit_once('.').map(|(_, extension)| extension);
    matches!(extension, Some("yaml" | "yml" | "json" | "mustache"))
}

/// Reads a file that does not change meanwhile.
fn read_steadily(path: &Path) -> Result<(Stamp, SnapshotFile), SourceError> {
    let failed = |source| SourceError::Read { path: path.to_owned(), source };
    for _ in 0..TRIES {
        let mut open = File::open(path).map_err(failed)?;
        let before = Stamp::of(&open.metadata().map_err(failed)?);
        let file = read_once(&mut open, path, before.size).map_err(failed)?;
        let after = Stamp::of(&open.metadata().map_err(failed)?);
        let named = Stamp::of(&path.metadata().map_err(failed)?);
        if before == after && after == named && file.size == before.size {
            return Ok((before, file));
        }
    }
    Err(SourceError::Changing { path: path.to_owned() })
}

fn read_once(open: &mut File, path: &Path, size: u64) -> io::Result<SnapshotFile> {
    if size <= LARGEST_INLINE {
        let mut bytes = Vec::new();
        open.take(LARGEST_INLINE + 1).read_to_end(&mut bytes)?;
        return Ok(SnapshotFile::inline(&bytes));
    }
    let mut hasher = DigestHasher::default();
    let mut buffer = vec![0; 256 << 10];
    let mut length = 0;
    loop {
        let count = match open.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        hasher.update(buffer.get(..count).unwrap_or_default());
        length += count as u64;
    }
    Ok(SnapshotFile { size: length, digest: hasher.finish(), content: FileContent::OnDisk(path.to_owned()) })
}
