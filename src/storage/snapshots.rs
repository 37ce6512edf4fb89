//! The last accepted state of each source, kept so that it stays in force when the source is broken or away at
//! the next start.
//!
//! A snapshot is one JSON blob, named by the control record that accepted it. Small files are in it, large ones by
//! path and digest only: whoever reads them checks the digest anyway.

use std::collections::BTreeMap;
use std::path::PathBuf;

use data_encoding::BASE64;
use serde::{Deserialize, Serialize};

use super::blobs::Blob;
use super::{Storage, StorageError};
use crate::model::{
    Completeness, Digest, FileContent, Revision, Snapshot, SnapshotFile, SnapshotPath, SourceName,
};

/// The longest snapshot that is kept, in bytes of JSON. A longer one is in force all the same.
const LONGEST: u64 = 32 * 1024 * 1024;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct StoredSnapshot {
    source: SourceName,
    revision: Revision,
    manifests: SnapshotPath,
    files: BTreeMap<SnapshotPath, StoredFile>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct StoredFile {
    size: u64,
    digest: Digest,
    #[serde(flatten)]
    content: StoredContent,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum StoredContent {
    Base64(String),
    Path(PathBuf),
}

impl Storage {
    /// Stores a complete snapshot. None where it is too long to be kept. The caller holds
    /// [`Storage::accepting`] until the record that names it stands.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn put_snapshot(&self, snapshot: &Snapshot) -> Result<Option<Blob>, StorageError> {
        let bytes = serde_json::to_vec(&store(snapshot)).unwrap_or_default();
        if bytes.is_empty() || bytes.len() as u64 > LONGEST {
            return Ok(None);
        }
        // With a number from long ago it would be collected as something that nobody wanted any more.
        let start = Box::pin(self.catalog.follow()).await.map_err(StorageError::Follow)?;
        let put = Box::pin(self.blobs.put_bytes(&bytes, start)).await;
        put.map(Some).map_err(StorageError::SnapshotNotKept)
    }

    /// The last accepted snapshot of a source, where one was kept.
    ///
    /// # Errors
    /// When it cannot be read or is damaged.
    pub async fn last_snapshot(&self, source: &SourceName) -> Result<Option<Snapshot>, StorageError> {
        let Some(blob) = self.control.state().snapshots.get(source).copied() else { return Ok(None) };
        let bytes = self.blobs.read_all(&blob, LONGEST).await.map_err(StorageError::Snapshot)?;
        let stored = serde_json::from_slice(&bytes).map_err(StorageError::SnapshotNotJson)?;
        Ok(restore(stored))
    }
}

fn store(snapshot: &Snapshot) -> StoredSnapshot {
    let files = snapshot.files.iter().map(|(path, file)| {
        let content = match &file.content {
            FileContent::Inline(bytes) => StoredContent::Base64(BASE64.encode(bytes)),
            FileContent::OnDisk(path) => StoredContent::Path(path.clone()),
        };
        (path.clone(), StoredFile { size: file.size, digest: file.digest, content })
    });
    StoredSnapshot {
        source: snapshot.source.clone(),
        revision: snapshot.revision.clone(),
        manifests: snapshot.manifests.clone(),
        files: files.collect(),
    }
}

/// None where a text is no base64, which its digest says it is.
fn restore(stored: StoredSnapshot) -> Option<Snapshot> {
    let mut files = BTreeMap::new();
    for (path, file) in stored.files {
        let content = match file.content {
            StoredContent::Base64(text) => FileContent::Inline(BASE64.decode(text.as_bytes()).ok()?.into()),
            StoredContent::Path(path) => FileContent::OnDisk(path),
        };
        files.insert(path, SnapshotFile { size: file.size, digest: file.digest, content });
    }
    Some(Snapshot {
        source: stored.source,
        revision: stored.revision,
        completeness: Completeness::Complete,
        manifests: stored.manifests,
        files,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock, Entropy};
    use crate::storage::control::ControlOperation;

    #[tokio::test]
    async fn the_last_accepted_snapshot_comes_back_as_it_was() {
        let storage = Storage::in_memory(Clock::system(), Entropy::seeded(1)).await.unwrap();
        let source = SourceName::new("here").unwrap();
        assert_eq!(storage.last_snapshot(&source).await.unwrap(), None);
        let path = |text: &str| SnapshotPath::root().join(text).unwrap();
        let large = SnapshotFile {
            size: 7,
            digest: Digest::of(b"elsewhere"),
            content: FileContent::OnDisk(PathBuf::from("/far/away")),
        };
        let files = [(path("m/a.yaml"), SnapshotFile::inline(b"\xff\0text")), (path("m/large"), large)];
        let snapshot = Snapshot {
            source: source.clone(),
            revision: Revision("r1".into()),
            completeness: Completeness::Complete,
            manifests: path("m"),
            files: files.into(),
        };
        let blob = storage.put_snapshot(&snapshot).await.unwrap();
        let epoch = storage.control.acquire().await.unwrap();
        let revision = snapshot.revision.clone();
        let accepted =
            ControlOperation::SnapshotAccepted { source: source.clone(), revision, snapshot: blob };
        storage.control.commit(epoch, vec![accepted]).await.unwrap();
        assert_eq!(storage.last_snapshot(&source).await.unwrap(), Some(snapshot));
    }
}
