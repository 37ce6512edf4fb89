//! What the objects of a store are: names below `v1/blobs` and `v1/uploads`, and what the catalog says of them.

use object_store::path::Path;

use super::blobs::{Blob, BlobKey};
use super::catalog::{CatalogState, Copy};
use super::control::ControlState;
use crate::model::Digest;

/// The folder of all blobs.
pub(super) const BLOBS: &str = "v1/blobs";

/// The folder of all uploads that are under way.
pub(super) const UPLOADS: &str = "v1/uploads";

/// One object of a blob: its bytes, or the list of its chunks' digests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BlobObject {
    pub(super) digest: Digest,
    pub(super) key: BlobKey,
    pub(super) list: bool,
}

impl BlobObject {
    /// Reads the name of an object; none where it is none of a blob.
    pub(super) fn parse(path: &Path) -> Option<Self> {
        let name = path.as_ref().strip_prefix("v1/blobs/sha256/")?;
        let (shard, name) = name.split_once('/')?;
        let (hex, name) = name.split_once('/')?;
        let (key, list) = name.strip_suffix(".chunks").map_or((name, false), |key| (key, true));
        let object = Self { digest: Digest::from_hex(hex).ok()?, key: key.parse().ok()?, list };
        hex.starts_with(shard).then_some(object).filter(|_| shard.len() == 2)
    }

    pub(super) fn copy(&self) -> Copy {
        Copy { digest: self.digest, key: self.key }
    }

    pub(super) fn path(&self) -> Path {
        let blob = self.copy().blob();
        if self.list { blob.chunks_path() } else { blob.path() }
    }
}

/// The number that an upload's session began at; none where the object is none of an upload.
pub(super) fn upload_start(path: &Path) -> Option<u64> {
    let name = path.as_ref().strip_prefix("v1/uploads/")?;
    let (session, _) = name.split_once('/')?;
    session.parse::<BlobKey>().ok().map(|key| key.start)
}

/// What is known of a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// A package references it.
    Live,
    /// The catalog names it, and no package does.
    Retired,
    /// It is to be deleted.
    Condemned,
    /// The controller's books name it.
    Kept,
    /// Nobody names it.
    Unknown,
}

/// What the catalog and the controller's books say of a copy.
pub(super) fn standing(catalog: &CatalogState, control: &ControlState, copy: &Copy) -> Standing {
    let kept = |blob: &Blob| (blob.digest, blob.key) == (copy.digest, copy.key);
    match catalog.blob_entry(&copy.digest) {
        Some(entry) if entry.key == copy.key && entry.references > 0 => Standing::Live,
        Some(entry) if entry.key == copy.key => Standing::Retired,
        _ if catalog.condemned().contains_key(copy) => Standing::Condemned,
        _ if control.snapshots.values().any(kept) => Standing::Kept,
        _ => Standing::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_ours_are_read() {
        let blob = Blob {
            key: BlobKey { start: 7, random: 9 },
            ..Copy { digest: Digest::of(b"x"), key: BlobKey { start: 7, random: 9 } }.blob()
        };
        for (path, list) in [(blob.path(), false), (blob.chunks_path(), true)] {
            let object = BlobObject::parse(&path).unwrap();
            assert_eq!((object.digest, object.key, object.list), (blob.digest, blob.key, list));
            assert_eq!(object.path(), path);
            for bad in [format!("{path}x"), format!("{path}/x"), path.to_string().replace("sha256", "sha512")]
            {
                assert_eq!(BlobObject::parse(&Path::from(bad.as_str())), None, "{bad}");
            }
        }
        let hex = Digest::of(b"x").hex();
        let elsewhere = format!("v1/blobs/sha256/00/{hex}/{}", blob.key);
        assert_eq!(BlobObject::parse(&Path::from(elsewhere)), None);
        let upload = format!("v1/uploads/{}/00000000000000000000", blob.key);
        assert_eq!(upload_start(&Path::from(upload)), Some(7));
        assert_eq!(upload_start(&Path::from("v1/uploads/notes.txt")), None);
    }
}
