//! Small packages made from a number, as bundles: each has a file of its own and one that several share, so that
//! deleting one retires what another still needs, or not.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::sync::Arc;

use dcos_registry::bundle::{MemberReader, file};
use dcos_registry::clock::Entropy;
use dcos_registry::model::{Coordinate, Digest, Member, PackageContent};
use futures::FutureExt as _;
use serde_json::{Value, json};

/// How many different shared files there are.
const SHARED: u64 = 4;

/// A package version with its bytes.
#[derive(Debug, Clone)]
pub struct Sample {
    pub name: String,
    pub version: String,
    /// Alias and bytes of its files.
    pub files: BTreeMap<String, Vec<u8>>,
}

impl Sample {
    /// Version `number` of a package. The same arguments give the same bytes.
    pub fn new(name: &str, number: u64) -> Self {
        let own = noise(&format!("{name}/{number}"), 100 + usize::try_from(number * 7919 % 40_000).unwrap());
        let shared = noise(&format!("shared/{}", number % SHARED), 10_000);
        let files = BTreeMap::from([("own".to_owned(), own), ("shared".to_owned(), shared)]);
        Self { name: name.to_owned(), version: format!("{number}.0"), files }
    }

    /// `name/version`
    pub fn id(&self) -> String {
        format!("{}/{}", self.name, self.version)
    }

    /// The package as a `.dcos` file.
    pub fn bundle(&self) -> Vec<u8> {
        let content = self.content();
        let mut out = Cursor::new(Vec::new());
        let open = |member: &Member| {
            let reader = self.reader(member);
            async move { Ok(reader) }.boxed()
        };
        futures::executor::block_on(file::write(&content, open, &mut out)).unwrap();
        out.into_inner()
    }

    /// The bytes of a member.
    pub fn reader(&self, member: &Member) -> MemberReader {
        let alias = member.role.strip_prefix("asset/").unwrap();
        Box::new(Cursor::new(self.files[alias].clone()))
    }

    /// The same package with more bytes in its own file.
    pub fn with_own_of(mut self, length: usize) -> Self {
        self.files.insert("own".to_owned(), noise(&self.id(), length));
        self
    }

    /// The digest of its own file.
    pub fn own(&self) -> Digest {
        Digest::of(&self.files["own"])
    }

    /// What is published.
    pub fn content(&self) -> PackageContent {
        let (mut uris, mut members) = (json!({}), Vec::new());
        for (alias, bytes) in &self.files {
            let digest = Digest::of(bytes);
            uris[alias] = format!("{digest}/{alias}.bin").into();
            members.push(Member {
                role: format!("asset/{alias}"),
                name: format!("{alias}.bin"),
                digest,
                size: bytes.len() as u64,
                media_type: "application/octet-stream".into(),
            });
        }
        let coordinate = Coordinate::new(self.name.parse().unwrap(), self.version.parse().unwrap());
        PackageContent { coordinate, release_version: None, metadata: self.metadata(&uris), members }
    }

    fn metadata(&self, uris: &Value) -> Value {
        json!({
            "packagingVersion": "4.0",
            "name": self.name,
            "version": self.version,
            "maintainer": "test@example.org",
            "description": "Bytes that nobody needs.",
            "tags": ["test"],
            "resource": {"assets": {"uris": uris}},
        })
    }

    /// Whether bytes are those of a file.
    pub fn is_file(&self, alias: &str, bytes: &[u8]) -> bool {
        self.files.get(alias).is_some_and(|expected| expected == bytes)
    }
}

/// Bytes that look like nothing, decided by words.
fn noise(words: &str, length: usize) -> Vec<u8> {
    let digest = Digest::of(words.as_bytes());
    let seed = u64::from_le_bytes(digest.as_bytes()[..8].try_into().unwrap());
    let entropy = Arc::new(Entropy::seeded(seed));
    (0..length.div_ceil(8)).flat_map(|_| entropy.next().to_le_bytes()).take(length).collect()
}
