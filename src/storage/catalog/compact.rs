//! The catalog's state as bytes, for snapshots: digests as 32 bytes, no field names, everything sorted.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::operation::Copy;
use super::shards::Shards;
use super::state::{BlobEntry, CatalogState, Moved, Origin, PackageEntry};
use crate::model::{Coordinate, Digest, Epoch, Member, PackageName, PackageVersion};
use crate::storage::blobs::BlobKey;

type Bytes32 = [u8; 32];

#[derive(Serialize, Deserialize)]
struct Saved<'a> {
    seq: u64,
    watermark: u64,
    fence: u64,
    moved: Option<Moved>,
    origin: Option<Origin>,
    #[serde(borrow)]
    packages: Vec<SavedPackage<'a>>,
    blobs: Vec<SavedBlob>,
    condemned: Vec<(SavedCopy, u64)>,
}

#[derive(Serialize, Deserialize)]
struct SavedPackage<'a> {
    name: &'a str,
    version: &'a str,
    digest: Bytes32,
    release_version: u64,
    document: Bytes32,
    #[serde(borrow)]
    members: Vec<SavedMember<'a>>,
}

#[derive(Serialize, Deserialize)]
struct SavedMember<'a> {
    role: &'a str,
    name: &'a str,
    digest: Bytes32,
    size: u64,
    media_type: &'a str,
}

#[derive(Serialize, Deserialize)]
struct SavedBlob {
    copy: SavedCopy,
    size: u64,
    chunks: Option<Bytes32>,
    references: u32,
    damaged: bool,
}

#[derive(Serialize, Deserialize)]
struct SavedCopy {
    digest: Bytes32,
    start: u64,
    random: u64,
}

impl SavedCopy {
    fn new(digest: &Digest, key: BlobKey) -> Self {
        Self { digest: *digest.as_bytes(), start: key.start, random: key.random }
    }

    fn key(&self) -> BlobKey {
        BlobKey { start: self.start, random: self.random }
    }
}

/// See [`crate::storage::records::State::save`].
pub(super) fn save(state: &CatalogState) -> Result<Vec<u8>, String> {
    let saved = Saved {
        seq: state.seq,
        watermark: state.watermark,
        fence: state.fence.0,
        moved: state.moved.as_deref().cloned(),
        origin: state.origin().cloned(),
        packages: state.packages().map(|entry| package(entry)).collect(),
        blobs: state.blobs.iter().map(|(digest, entry)| blob(digest, entry)).collect(),
        condemned: state
            .condemned
            .iter()
            .map(|(copy, seq)| (SavedCopy::new(&copy.digest, copy.key), *seq))
            .collect(),
    };
    postcard::to_stdvec(&saved).map_err(|error| error.to_string())
}

fn package(entry: &PackageEntry) -> SavedPackage<'_> {
    let members = entry.members.iter().map(|member| SavedMember {
        role: &member.role,
        name: &member.name,
        digest: *member.digest.as_bytes(),
        size: member.size,
        media_type: &member.media_type,
    });
    SavedPackage {
        name: entry.coordinate.name.as_str(),
        version: entry.coordinate.version.as_str(),
        digest: *entry.digest.as_bytes(),
        release_version: entry.release_version,
        document: *entry.document.as_bytes(),
        members: members.collect(),
    }
}

fn blob(digest: &Digest, entry: &BlobEntry) -> SavedBlob {
    SavedBlob {
        copy: SavedCopy::new(digest, entry.key),
        size: entry.size,
        chunks: entry.chunks.map(|digest| *digest.as_bytes()),
        references: entry.references,
        damaged: entry.damaged,
    }
}

/// See [`crate::storage::records::State::load`].
pub(super) fn load(bytes: &[u8]) -> Result<CatalogState, String> {
    let saved: Saved<'_> = postcard::from_bytes(bytes).map_err(|error| error.to_string())?;
    let mut names: BTreeMap<PackageName, BTreeMap<PackageVersion, Arc<PackageEntry>>> = BTreeMap::new();
    for saved in saved.packages {
        let entry = restore(saved)?;
        let Coordinate { name, version } = entry.coordinate.clone();
        names.entry(name).or_default().insert(version, Arc::new(entry));
    }
    let mut state = CatalogState {
        packages: names.into_iter().map(|(name, versions)| (name, Arc::new(versions))).collect(),
        blobs: Shards::default(),
        condemned: Arc::default(),
        bytes: 0,
        seq: saved.seq,
        watermark: saved.watermark,
        fence: Epoch(saved.fence),
        moved: saved.moved.map(Into::into),
        origin: saved.origin.map(Into::into),
    };
    for SavedBlob { copy, size, chunks, references, damaged } in saved.blobs {
        let chunks = chunks.map(Digest::from_bytes);
        state.bytes += size;
        let entry = BlobEntry { key: copy.key(), size, chunks, references, damaged };
        state.blobs.insert(Digest::from_bytes(copy.digest), entry);
    }
    let condemned = saved
        .condemned
        .into_iter()
        .map(|(saved, seq)| (Copy { digest: Digest::from_bytes(saved.digest), key: saved.key() }, seq));
    state.condemned = Arc::new(condemned.collect());
    Ok(state)
}

fn restore(saved: SavedPackage<'_>) -> Result<PackageEntry, String> {
    let name = saved.name.parse::<PackageName>().map_err(|error| error.to_string())?;
    let version = saved.version.parse::<PackageVersion>().map_err(|error| error.to_string())?;
    let members = saved.members.into_iter().map(|member| Member {
        role: member.role.to_owned(),
        name: member.name.to_owned(),
        digest: Digest::from_bytes(member.digest),
        size: member.size,
        media_type: member.media_type.to_owned(),
    });
    Ok(PackageEntry {
        coordinate: Coordinate::new(name, version),
        digest: Digest::from_bytes(saved.digest),
        release_version: saved.release_version,
        document: Digest::from_bytes(saved.document),
        members: members.collect(),
    })
}
