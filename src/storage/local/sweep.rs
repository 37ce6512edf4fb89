//! Staging files (`name#N`) that a crash left; the store itself neither lists nor reuses them. Links on the way are
//! refused, because the store would follow them.
//!
//! Every blob lies in a folder of its own, and a hundred thousand of them take a second to look through. So a start
//! looks at everything else, and these are for later, while this process writes beside: what is older than its lock was
//! left by another one. Should the clock be set back in that second, a write of our own may be taken for old and
//! fail; it fails as one whose disk failed.

use std::fs::Metadata;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::{LocalError, is_staging};

/// How deep the folders lie that hold those of the blobs: `v1/blobs/sha256/<2 hex>`.
const DEPTH: usize = 4;

/// When a file was last written to, by the clock of its file system, in seconds and nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Written(i64, i64);

impl Written {
    pub(super) fn of(file: &Metadata) -> Self {
        Self(file.mtime(), file.mtime_nsec())
    }
}

/// Sweeps the storage in a directory but for what [`blobs`] sweeps.
pub(super) fn others(root: &Path) -> Result<(), LocalError> {
    let blobs = root.join("v1/blobs");
    let depth = root.components().count() + DEPTH;
    walk(root.join("v1"), |folder| folder.components().count() < depth || !folder.starts_with(&blobs), None)
}

/// The folders that [`blobs`] is to look through.
pub(super) fn blob_folders(root: &Path) -> Result<Vec<PathBuf>, LocalError> {
    let (mut folders, depth) = (Vec::new(), root.components().count() + DEPTH);
    walk(
        root.join("v1/blobs"),
        |folder| {
            let there = folder.components().count() == depth;
            if there {
                folders.push(folder.to_owned());
            }
            !there
        },
        None,
    )?;
    Ok(folders)
}

/// Sweeps one of these folders of what was last written to before that time.
pub(super) fn blobs(folder: PathBuf, before: Written) -> Result<(), LocalError> {
    walk(folder, |_| true, Some(before))
}

/// How many staging files lie in the storage in a directory.
pub(super) fn count(root: &Path) -> Result<u64, LocalError> {
    let mut found = 0;
    visit(
        root.join("v1"),
        |_| true,
        |_, is_link| {
            found += u64::from(!is_link);
            Ok(())
        },
    )?;
    Ok(found)
}

fn walk(
    folder: PathBuf,
    enters: impl FnMut(&Path) -> bool,
    before: Option<Written>,
) -> Result<(), LocalError> {
    visit(folder, enters, |path, is_link| {
        if is_link {
            return Err(LocalError::Symlink { path });
        }
        let failed = |error| LocalError::io("sweep", &path, error);
        if let Some(before) = before {
            let file = match std::fs::symlink_metadata(&path) {
                // It was one of our own, and has got its name.
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
                other => other.map_err(failed)?,
            };
            if Written::of(&file) >= before {
                return Ok(());
            }
        }
        std::fs::remove_file(&path).map_err(failed)?;
        tracing::info!(file = %path.display(), "removed what a crash left half written");
        Ok(())
    })
}

/// Gives all links and staging files below a folder.
fn visit(
    folder: PathBuf,
    mut enters: impl FnMut(&Path) -> bool,
    mut found: impl FnMut(PathBuf, bool) -> Result<(), LocalError>,
) -> Result<(), LocalError> {
    let mut folders = vec![folder];
    while let Some(folder) = folders.pop() {
        let failed = |error| LocalError::io("list", &folder, error);
        let entries = match std::fs::read_dir(&folder) {
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            other => other.map_err(failed)?,
        };
        for entry in entries {
            let entry = entry.map_err(failed)?;
            let kind = entry.file_type().map_err(failed)?;
            let path = entry.path();
            if kind.is_dir() {
                if enters(&path) {
                    folders.push(path);
                }
            } else if kind.is_symlink() || is_staging(&entry.file_name().to_string_lossy()) {
                found(path, kind.is_symlink())?;
            }
        }
    }
    Ok(())
}

/// For tests: makes staging files as old as they are after a real crash, whatever the ticks of the clock.
#[cfg(test)]
pub(crate) fn let_age(root: &Path) {
    let aged = visit(
        root.join("v1"),
        |_| true,
        |path, _| {
            let file = std::fs::File::options().write(true).open(&path).unwrap();
            file.set_modified(std::time::UNIX_EPOCH).unwrap();
            Ok(())
        },
    );
    aged.unwrap();
}
