//! Finds the files below some folders of a root, within bounds.

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};

use super::super::SourceError;
use crate::model::SnapshotPath;

/// How deep folders may lie below the root.
const DEEPEST: usize = 32;

/// The files found: the path in the source, and the real one with all links resolved.
pub type Found = BTreeMap<SnapshotPath, PathBuf>;

/// A walk through parts of a root.
pub struct Walk<'a> {
    /// The root as it was given, for messages.
    root: &'a Path,
    /// The root with all links resolved.
    real: PathBuf,
    /// How many files and folders there may be.
    most: usize,
    entries: usize,
    found: Found,
}

enum Thing {
    File(PathBuf),
    Folder,
    Nothing,
}

impl<'a> Walk<'a> {
    pub fn new(root: &'a Path, most: usize) -> Result<Self, SourceError> {
        let real = root.canonicalize().map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => SourceError::Missing { path: root.to_owned() },
            _ => SourceError::Read { path: root.to_owned(), source },
        })?;
        Ok(Self { root, real, most, entries: 0, found: BTreeMap::new() })
    }

    /// The files found since the last call.
    pub fn take_files(&mut self) -> Found {
        std::mem::take(&mut self.found)
    }

    /// Finds a file, or all files below a folder. False where there is nothing of that name.
    pub fn enter(&mut self, path: &SnapshotPath) -> Result<bool, SourceError> {
        let mut folders = Vec::new();
        match self.look(path)? {
            Thing::Nothing => return Ok(false),
            Thing::File(real) => self.add(path.clone(), real)?,
            Thing::Folder => folders.push(path.clone()),
        }
        while let Some(folder) = folders.pop() {
            if folder.as_str().split('/').count() > DEEPEST {
                return Err(SourceError::TooDeep { path: self.full(&folder), limit: DEEPEST });
            }
            for path in self.list(&folder)? {
                match self.look(&path)? {
                    Thing::File(real) => self.add(path, real)?,
                    Thing::Folder => {
                        self.count()?;
                        folders.push(path);
                    }
                    // It was listed, so it went away since, or is a link to nothing.
                    Thing::Nothing => {
                        let source = io::ErrorKind::NotFound.into();
                        return Err(SourceError::Read { path: self.full(&path), source });
                    }
                }
            }
        }
        Ok(true)
    }

    fn full(&self, path: &SnapshotPath) -> PathBuf {
        self.root.join(path.as_str())
    }

    fn add(&mut self, path: SnapshotPath, real: PathBuf) -> Result<(), SourceError> {
        self.count()?;
        self.found.insert(path, real);
        Ok(())
    }

    fn count(&mut self) -> Result<(), SourceError> {
        self.entries += 1;
        if self.entries > self.most {
            return Err(SourceError::TooManyFiles { root: self.root.to_owned(), limit: self.most });
        }
        Ok(())
    }

    /// The names in a folder, without those that begin with a dot (editors, version control, and the
    /// swapped folders behind the links of a Kubernetes volume).
    fn list(&self, folder: &SnapshotPath) -> Result<Vec<SnapshotPath>, SourceError> {
        let path = self.full(folder);
        let failed = |source| SourceError::Read { path: path.clone(), source };
        let mut names = Vec::new();
        for entry in fs::read_dir(&path).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            let Some(name) = name.to_str() else {
                return Err(SourceError::NotUnicode { path: path.join(name) });
            };
            if !name.starts_with('.') {
                names.extend(folder.join(name));
            }
            if names.len() > self.most {
                return Err(SourceError::TooManyFiles { root: self.root.to_owned(), limit: self.most });
            }
        }
        Ok(names)
    }

    /// What a path is, links followed; an error where they lead out of the root.
    fn look(&self, path: &SnapshotPath) -> Result<Thing, SourceError> {
        let full = self.full(path);
        let found = full.canonicalize().and_then(|real| Ok((fs::metadata(&real)?, real)));
        let (metadata, real): (Metadata, PathBuf) = match found {
            Ok(found) => found,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(Thing::Nothing);
            }
            Err(source) => return Err(SourceError::Read { path: full, source }),
        };
        if !real.starts_with(&self.real) {
            return Err(SourceError::LeavesRoot { path: full, target: real });
        }
        if metadata.is_dir() {
            Ok(Thing::Folder)
        } else if metadata.is_file() {
            Ok(Thing::File(real))
        } else {
            Err(SourceError::NotAFile { path: full })
        }
    }
}
