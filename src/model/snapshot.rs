//! One state of a source: its files with their digests.
//!
//! Documents are small and held; everything else stays where it is and is read again, digest checked,
//! when it is needed. So a snapshot of a tree with a 16 GB package costs a few kilobytes.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use super::{Completeness, Digest, Revision, SourceName};

/// A path inside a source: relative, `/` between segments, no `.` or `..`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, serde::Serialize, serde::Deserialize)]
#[serde(into = "String", from = "String")]
pub struct SnapshotPath(Box<str>);

impl SnapshotPath {
    /// The source's root.
    #[must_use]
    pub fn root() -> Self {
        Self::default()
    }

    /// Follows a relative path from this folder. None where it is absolute or leaves the root.
    #[must_use]
    pub fn join(&self, relative: &str) -> Option<Self> {
        if relative.starts_with('/') {
            return None;
        }
        let mut segments: Vec<&str> = self.0.split('/').filter(|s| !s.is_empty()).collect();
        for segment in relative.split('/') {
            match segment {
                "" | "." => {}
                ".." => {
                    segments.pop()?;
                }
                name => segments.push(name),
            }
        }
        Some(Self(segments.join("/").into()))
    }

    /// The folder that holds this path; the root's folder is the root.
    #[must_use]
    pub fn parent(&self) -> Self {
        Self(self.0.rsplit_once('/').map_or("", |(parent, _)| parent).into())
    }

    /// The last segment.
    #[must_use]
    pub fn file_name(&self) -> &str {
        self.0.rsplit_once('/').map_or(&self.0, |(_, name)| name)
    }

    /// The text; empty for the root.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What follows the folder, where this path lies below it.
    #[must_use]
    pub fn below(&self, folder: &Self) -> Option<&str> {
        if folder.0.is_empty() {
            return Some(&self.0);
        }
        self.0.strip_prefix(&*folder.0)?.strip_prefix('/')
    }
}

impl From<String> for SnapshotPath {
    fn from(text: String) -> Self {
        Self::root().join(&text).unwrap_or_default()
    }
}

impl From<SnapshotPath> for String {
    fn from(path: SnapshotPath) -> Self {
        path.0.into()
    }
}

impl fmt::Display for SnapshotPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "." } else { &self.0 })
    }
}

impl fmt::Debug for SnapshotPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

/// Where a file's bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileContent {
    /// Held in memory (files up to 1 MiB).
    Inline(Arc<[u8]>),
    /// To be read from the file system, and to be checked against the digest.
    OnDisk(PathBuf),
}

/// One file of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotFile {
    /// Length in bytes.
    pub size: u64,
    /// Digest of the bytes.
    pub digest: Digest,
    /// The bytes, or where they are.
    pub content: FileContent,
}

impl SnapshotFile {
    /// A file held in memory.
    #[must_use]
    pub fn inline(bytes: &[u8]) -> Self {
        Self {
            size: bytes.len() as u64,
            digest: Digest::of(bytes),
            content: FileContent::Inline(bytes.into()),
        }
    }

    /// The bytes, where they are held in memory.
    #[must_use]
    pub fn bytes(&self) -> Option<&[u8]> {
        match &self.content {
            FileContent::Inline(bytes) => Some(bytes),
            FileContent::OnDisk(_) => None,
        }
    }
}

/// One state of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Which source.
    pub source: SourceName,
    /// The name of this state.
    pub revision: Revision,
    /// Whether everything that the source holds is in `files`.
    pub completeness: Completeness,
    /// Where the manifests lie below the root; package directories may lie beside it.
    pub manifests: SnapshotPath,
    /// All files, by path from the root.
    pub files: BTreeMap<SnapshotPath, SnapshotFile>,
}

impl Snapshot {
    /// The files below a folder, in order.
    pub fn below<'a>(
        &'a self,
        folder: &'a SnapshotPath,
    ) -> impl Iterator<Item = (&'a SnapshotPath, &'a SnapshotFile)> {
        self.files.iter().filter(move |(path, _)| path.below(folder).is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_cannot_leave_the_root() {
        let folder = SnapshotPath::root().join("a/b").unwrap();
        assert_eq!(folder.join("../c/./d").unwrap().as_str(), "a/c/d");
        assert_eq!(folder.join("../..").unwrap(), SnapshotPath::root());
        assert_eq!(folder.join("../../.."), None);
        assert_eq!(folder.join("/etc/passwd"), None);
    }

    #[test]
    fn below_means_whole_segments() {
        let path = SnapshotPath::root().join("ab/c").unwrap();
        assert_eq!(path.below(&SnapshotPath::root().join("a").unwrap()), None);
        assert_eq!(path.below(&SnapshotPath::root().join("ab").unwrap()), Some("c"));
        assert_eq!(path.below(&SnapshotPath::root()), Some("ab/c"));
    }
}
