//! The repository document that Cosmos reads (`GET /repo`).
//!
//! Cosmos fetches it whole, every minute and per user, takes nothing but 200, and drops a cluster's whole
//! catalog when one entry is wrong (`UniverseClient.scala`). So it is built once per change of the catalog from
//! definitions that were validated when they were published, and kept packed; the plain form is unpacked
//! while it is sent.

use std::io::{Read as _, Write as _};
use std::sync::Arc;

use bytes::Bytes;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use futures::Stream;
use serde_json::Value;
use tokio::sync::Mutex;

use super::RegistryError;
use crate::model::{Digest, DigestHasher, resolve_references};
use crate::storage::Storage;
use crate::storage::catalog::PackageEntry;
use crate::telemetry::chain;
use crate::universe::{PackageDefinition, RepoFormat, ascii_json};

/// Bytes per piece when the plain form is sent.
const PIECE: usize = 64 * 1024;

/// A repository document in one format.
#[derive(Debug, Clone)]
pub struct RepoDocument {
    /// Its packed bytes.
    pub gzip: Bytes,
    /// Length of the plain form.
    pub plain_length: u64,
    /// Digest of the plain form.
    pub digest: Digest,
}

impl RepoDocument {
    /// The plain form, piece by piece.
    pub fn plain(&self) -> impl Stream<Item = std::io::Result<Bytes>> + use<> {
        let mut decoder = GzDecoder::new(std::io::Cursor::new(self.gzip.clone()));
        futures::stream::iter(std::iter::from_fn(move || {
            let mut piece = Vec::with_capacity(PIECE);
            match decoder.by_ref().take(PIECE as u64).read_to_end(&mut piece) {
                Ok(0) => None,
                Ok(_) => Some(Ok(Bytes::from(piece))),
                Err(error) => Some(Err(error)),
            }
        }))
    }
}

/// Picks the format from an `Accept` header: the highest of the versions named; v5 where none is.
///
/// This is the negotiation of the public Universe server
/// (`docker/server/nginx/…/universe.marathon.mesos.conf` of mesosphere/universe).
#[must_use]
pub fn negotiate(accept: Option<&str>) -> RepoFormat {
    let named = |version: &str| {
        let ranges = accept.unwrap_or_default().split(',');
        let mut of_repo = ranges.filter(|range| range.contains("application/vnd.dcos.universe.repo+json"));
        of_repo.any(|range| range.split(';').any(|parameter| parameter.trim() == version))
    };
    if named("version=v5") {
        RepoFormat::V5
    } else if named("version=v4") {
        RepoFormat::V4
    } else if named("version=v3") {
        RepoFormat::V3
    } else {
        RepoFormat::V5
    }
}

/// The media type of a format, spelled as Cosmos compares it.
#[must_use]
pub fn media_type(format: RepoFormat) -> &'static str {
    match format {
        RepoFormat::V3 => "application/vnd.dcos.universe.repo+json;charset=utf-8;version=v3",
        RepoFormat::V4 => "application/vnd.dcos.universe.repo+json;charset=utf-8;version=v4",
        RepoFormat::V5 => "application/vnd.dcos.universe.repo+json;charset=utf-8;version=v5",
    }
}

/// The repository documents of one registry, built when they are asked for and the catalog has moved.
pub struct Repo {
    storage: Arc<Storage>,
    public_url: String,
    built: Mutex<Built>,
}

#[derive(Default)]
struct Built {
    seq: Option<u64>,
    documents: [Option<RepoDocument>; 3],
}

impl Repo {
    /// The documents of a storage, with URIs below the public URL (no slash at its end).
    #[must_use]
    pub fn new(storage: Arc<Storage>, public_url: &str) -> Self {
        Self { storage, public_url: public_url.to_owned(), built: Mutex::new(Built::default()) }
    }

    /// The document in one format, as of now.
    ///
    /// # Errors
    /// When the document cannot be packed.
    pub async fn document(&self, format: RepoFormat) -> Result<RepoDocument, RegistryError> {
        let mut built = self.built.lock().await;
        let seq = self.storage.catalog.seq();
        if built.seq != Some(seq) {
            *built = Built { seq: Some(seq), documents: [None, None, None] };
        }
        let slot = match format {
            RepoFormat::V3 => &mut built.documents[0],
            RepoFormat::V4 => &mut built.documents[1],
            RepoFormat::V5 => &mut built.documents[2],
        };
        if let Some(document) = slot {
            return Ok(document.clone());
        }
        let (document, whole) = self.build(format).await?;
        if whole {
            *slot = Some(document.clone());
        }
        Ok(document)
    }

    /// Builds a document, and says whether every definition is in it. A damaged one is left out and reported: with an
    /// error Cosmos would drop all packages of the cluster, and not this one only.
    async fn build(&self, format: RepoFormat) -> Result<(RepoDocument, bool), RegistryError> {
        let mut packer = Packer::new();
        packer.write("{\"packages\":[")?;
        let (mut first, mut whole) = (true, true);
        let state = self.storage.catalog.state();
        for entry in state.packages() {
            let json = match self.entry(entry, format).await {
                Ok(Some(json)) => json,
                Ok(None) => continue,
                // Taken away since; the next document is built without it anyway.
                Err(_) if self.storage.catalog.state().entry(&entry.coordinate).is_none() => continue,
                Err(error) => {
                    tracing::error!(
                        error = chain(&error),
                        "a package is left out of the repository document"
                    );
                    whole = false;
                    continue;
                }
            };
            if !std::mem::take(&mut first) {
                packer.write(",")?;
            }
            packer.write(&ascii_json(&json))?;
        }
        packer.write("]}")?;
        Ok((packer.finish()?, whole))
    }

    async fn entry(&self, entry: &PackageEntry, format: RepoFormat) -> Result<Option<Value>, RegistryError> {
        let coordinate = &entry.coordinate;
        let missing = || RegistryError::Missing { coordinate: coordinate.clone() };
        let metadata = self.storage.document(coordinate).await?.ok_or_else(missing)?;
        let metadata = resolve_references(&metadata, coordinate, &self.public_url);
        let definition = PackageDefinition::from_metadata(&metadata, Some(entry.release_version))
            .map_err(|source| RegistryError::Document { coordinate: coordinate.clone(), source })?;
        Ok(definition.repo_entry(format))
    }
}

/// Packs and hashes the plain form as it is written.
struct Packer {
    gzip: GzEncoder<Vec<u8>>,
    hasher: DigestHasher,
    length: u64,
}

impl Packer {
    fn new() -> Self {
        let gzip = GzEncoder::new(Vec::new(), Compression::default());
        Self { gzip, hasher: DigestHasher::default(), length: 0 }
    }

    fn write(&mut self, text: &str) -> Result<(), RegistryError> {
        self.hasher.update(text.as_bytes());
        self.length += text.len() as u64;
        self.gzip.write_all(text.as_bytes()).map_err(RegistryError::Pack)
    }

    fn finish(self) -> Result<RepoDocument, RegistryError> {
        let gzip = self.gzip.finish().map_err(RegistryError::Pack)?.into();
        Ok(RepoDocument { gzip, plain_length: self.length, digest: self.hasher.finish() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_version_that_is_named_wins_and_v5_is_the_rest() {
        let v = |n| format!("application/vnd.dcos.universe.repo+json;charset=utf-8;version=v{n}");
        assert_eq!(negotiate(Some(&v(3))), RepoFormat::V3);
        assert_eq!(negotiate(Some(&format!("{},{}", v(4), v(3)))), RepoFormat::V4);
        assert_eq!(negotiate(Some(&format!("{},{},{}", v(5), v(4), v(3)))), RepoFormat::V5);
        for other in [None, Some("*/*"), Some("application/json"), Some("text/html;version=v3"), Some("")] {
            assert_eq!(negotiate(other), RepoFormat::V5, "{other:?}");
        }
        let spaced = "application/vnd.dcos.universe.repo+json; charset=utf-8; version=v4";
        assert_eq!(negotiate(Some(spaced)), RepoFormat::V4);
    }
}
