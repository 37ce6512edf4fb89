//! The catalog's state as bytes, for snapshots: a head that says how many of each follow, then the packages, the
//! blobs and the condemned copies, sorted, without field names. They are read one by one: with a hundred thousand
//! blobs a start must be quick, and needs no second copy of them all.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::members::Members;
use super::operation::Copy;
use super::shards::Shards;
use super::state::{BlobEntry, CatalogState, Moved, Origin, PackageEntry};
use crate::model::{Coordinate, Digest, Epoch, PackageName, PackageVersion};
use crate::storage::blobs::BlobKey;

/// The form that is written, and the only one that is read: where a snapshot has another, records are read instead.
const FORM: u32 = 2;

#[derive(Serialize, Deserialize)]
struct Head {
    seq: u64,
    watermark: u64,
    fence: u64,
    moved: Option<Moved>,
    origin: Option<Origin>,
    packages: usize,
    blobs: usize,
    condemned: usize,
}

// Digests are slices here because these are borrowed in one go, where arrays are read byte by byte.

#[derive(Serialize, Deserialize)]
struct SavedPackage<'a> {
    name: &'a str,
    version: &'a str,
    digest: &'a [u8],
    release_version: u64,
    document: &'a [u8],
    members: &'a [u8],
}

#[derive(Serialize, Deserialize)]
struct SavedBlob<'a> {
    #[serde(borrow)]
    copy: SavedCopy<'a>,
    size: u64,
    chunks: Option<&'a [u8]>,
    references: u32,
    damaged: bool,
}

#[derive(Serialize, Deserialize)]
struct SavedCopy<'a> {
    digest: &'a [u8],
    start: u64,
    random: u64,
}

impl<'a> SavedCopy<'a> {
    fn new(digest: &'a Digest, key: BlobKey) -> Self {
        Self { digest: digest.as_bytes(), start: key.start, random: key.random }
    }

    fn key(&self) -> BlobKey {
        BlobKey { start: self.start, random: self.random }
    }
}

/// See [`crate::storage::records::State::save`].
pub(super) fn save(state: &CatalogState) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    add(&mut bytes, &FORM)?;
    add(
        &mut bytes,
        &Head {
            seq: state.seq,
            watermark: state.watermark,
            fence: state.fence.0,
            moved: state.moved.as_deref().cloned(),
            origin: state.origin().cloned(),
            packages: state.version_count(),
            blobs: state.blobs.len(),
            condemned: state.condemned.len(),
        },
    )?;
    for entry in state.packages() {
        add(
            &mut bytes,
            &SavedPackage {
                name: entry.coordinate.name.as_str(),
                version: entry.coordinate.version.as_str(),
                digest: entry.digest.as_bytes(),
                release_version: entry.release_version,
                document: entry.document.as_bytes(),
                members: entry.members.as_bytes(),
            },
        )?;
    }
    for (digest, entry) in state.blobs.iter() {
        add(
            &mut bytes,
            &SavedBlob {
                copy: SavedCopy::new(digest, entry.key),
                size: entry.size,
                chunks: entry.chunks.as_deref().map(|digest| &digest.as_bytes()[..]),
                references: entry.references,
                damaged: entry.damaged,
            },
        )?;
    }
    for (copy, seq) in &*state.condemned {
        add(&mut bytes, &(SavedCopy::new(&copy.digest, copy.key), *seq))?;
    }
    Ok(bytes)
}

fn add(bytes: &mut Vec<u8>, item: &impl Serialize) -> Result<(), String> {
    *bytes = postcard::to_extend(item, std::mem::take(bytes)).map_err(|error| error.to_string())?;
    Ok(())
}

/// What was not read yet.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take<T: Deserialize<'a>>(&mut self) -> Result<T, String> {
        let (item, rest) = postcard::take_from_bytes(self.0).map_err(|error| error.to_string())?;
        self.0 = rest;
        Ok(item)
    }
}

/// See [`crate::storage::records::State::load`].
pub(super) fn load(bytes: &[u8]) -> Result<CatalogState, String> {
    let mut rest = Rest(bytes);
    let form: u32 = rest.take()?;
    if form != FORM {
        return Err(format!("form {form}, this program knows {FORM}"));
    }
    let head: Head = rest.take()?;
    let packages = packages(&mut rest, head.packages)?;
    let (blobs, bytes) = blobs(&mut rest, head.blobs)?;
    let mut condemned = BTreeMap::new();
    for _ in 0..head.condemned {
        let (copy, seq): (SavedCopy<'_>, u64) = rest.take()?;
        condemned.insert(Copy { digest: digest(copy.digest)?, key: copy.key() }, seq);
    }
    if !rest.0.is_empty() {
        return Err(format!("{} bytes follow its end", rest.0.len()));
    }
    Ok(CatalogState {
        packages,
        blobs,
        condemned: Arc::new(condemned),
        bytes,
        seq: head.seq,
        watermark: head.watermark,
        fence: Epoch(head.fence),
        moved: head.moved.map(Into::into),
        origin: head.origin.map(Into::into),
    })
}

type Packages = BTreeMap<PackageName, Arc<BTreeMap<PackageVersion, Arc<PackageEntry>>>>;

fn packages(rest: &mut Rest<'_>, count: usize) -> Result<Packages, String> {
    let mut names: BTreeMap<PackageName, BTreeMap<PackageVersion, Arc<PackageEntry>>> = BTreeMap::new();
    for _ in 0..count {
        let entry = restore(&rest.take()?)?;
        let Coordinate { name, version } = entry.coordinate.clone();
        names.entry(name).or_default().insert(version, Arc::new(entry));
    }
    Ok(names.into_iter().map(|(name, versions)| (name, Arc::new(versions))).collect())
}

fn restore(saved: &SavedPackage<'_>) -> Result<PackageEntry, String> {
    let name = saved.name.parse::<PackageName>().map_err(|error| error.to_string())?;
    let version = saved.version.parse::<PackageVersion>().map_err(|error| error.to_string())?;
    Ok(PackageEntry {
        coordinate: Coordinate::new(name, version),
        digest: digest(saved.digest)?,
        release_version: saved.release_version,
        document: digest(saved.document)?,
        members: Members::from_bytes(saved.members).ok_or("the files of a package are no such list")?,
    })
}

/// The blobs, and the lengths of all together.
fn blobs(rest: &mut Rest<'_>, count: usize) -> Result<(Shards, u64), String> {
    let (mut blobs, mut bytes) = (Shards::default(), 0);
    for _ in 0..count {
        let SavedBlob { copy, size, chunks, references, damaged } = rest.take()?;
        let chunks = chunks.map(digest).transpose()?.map(Box::new);
        bytes += size;
        blobs.insert(digest(copy.digest)?, BlobEntry { key: copy.key(), size, chunks, references, damaged });
    }
    Ok((blobs, bytes))
}

fn digest(bytes: &[u8]) -> Result<Digest, String> {
    let bytes = bytes.try_into().map_err(|_| format!("a digest of {} bytes", bytes.len()))?;
    Ok(Digest::from_bytes(bytes))
}
