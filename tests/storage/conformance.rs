//! What storage needs of a store, asked of every store: one list of checks, one list of stores.
//!
//! A check is a function that gets the store and a folder of its own. What it needs is that it does not panic.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use data_encoding::HEXLOWER;
use dcos_registry::clock::Clock;
use futures::future::{BoxFuture, join_all};
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};
use object_store::path::Path;
use object_store::{
    Error, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt as _, PutMode, PutOptions, PutPayload,
    PutResult, UpdateVersion,
};
use sha2::{Digest as _, Sha256};

use crate::stores::{self, Caps, Subject};

/// The store and the folder of one check.
#[derive(Clone, Copy)]
struct Place<'a> {
    store: &'a dyn ObjectStore,
    folder: &'a str,
    caps: Caps,
}

type Check = for<'a> fn(Place<'a>) -> BoxFuture<'a, ()>;

/// Every check with its name, which is its folder too.
const CHECKS: &[(&str, Check)] = &[
    ("create-once", |place| create_once(place).boxed()),
    ("create-race", |place| create_race(place).boxed()),
    ("read-after-write", |place| read_after_write(place).boxed()),
    ("missing", |place| missing(place).boxed()),
    ("listing", |place| listing(place).boxed()),
    ("ranges", |place| ranges(place).boxed()),
    ("overwrite", |place| overwrite(place).boxed()),
    ("update", |place| update(place).boxed()),
    ("delete", |place| delete(place).boxed()),
    ("parts", |place| parts(place).boxed()),
    ("abandoned-parts", |place| abandoned_parts(place).boxed()),
    ("last-modified", |place| last_modified(place).boxed()),
];

/// Longer than any check takes anywhere; a listing whose pages never end reaches it.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs every check against a store.
async fn conformance(subject: Subject) {
    let clock = Clock::system();
    for (name, check) in CHECKS {
        println!("{}: {name}", subject.name);
        let checked = check(Place { store: &*subject.store, folder: name, caps: subject.caps });
        let ended = clock.timeout(PATIENCE, checked).await;
        assert!(ended.is_ok(), "{} does not come to the end of {name}", subject.name);
    }
}

#[tokio::test]
async fn memory_conforms() {
    conformance(stores::memory()).await;
}

#[tokio::test]
async fn a_directory_conforms() {
    conformance(stores::directory()).await;
}

#[tokio::test]
async fn a_mounted_volume_conforms() {
    if let Some(subject) = stores::mounted() {
        conformance(subject).await;
    }
}

#[tokio::test]
async fn the_double_conforms() {
    conformance(stores::double()).await;
}

#[tokio::test]
async fn a_real_server_conforms() {
    if let Some(subject) = stores::real_server() {
        conformance(subject).await;
    }
}

impl Place<'_> {
    fn key(self, name: &str) -> Path {
        Path::from(format!("{}/{name}", self.folder))
    }

    async fn create(self, name: &str, body: Bytes) -> object_store::Result<PutResult> {
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        self.store.put_opts(&self.key(name), body.into(), options).await
    }

    async fn put(self, name: &str, body: impl Into<PutPayload>) -> PutResult {
        self.store.put(&self.key(name), body.into()).await.unwrap()
    }

    async fn get(self, name: &str) -> object_store::Result<Bytes> {
        self.store.get(&self.key(name)).await?.bytes().await
    }

    /// What stands in the folder, with the folder's name taken off.
    async fn list(self, below: &str) -> Vec<String> {
        let prefix = Path::from(format!("{}{below}", self.folder));
        names(self, &self.store.list(Some(&prefix)).try_collect::<Vec<_>>().await.unwrap())
    }
}

/// The names of objects in their order, each once.
fn names(place: Place<'_>, objects: &[ObjectMeta]) -> Vec<String> {
    let start = format!("{}/", place.folder);
    let names: Vec<String> = objects
        .iter()
        .map(|object| object.location.as_ref().strip_prefix(&start).unwrap().to_owned())
        .collect();
    let sorted: BTreeSet<_> = names.iter().cloned().collect();
    assert_eq!(names.len(), sorted.len(), "an object is listed twice");
    sorted.into_iter().collect()
}

/// Bytes that differ from block to block, so that a part in the wrong place is seen.
fn noise(length: usize) -> Bytes {
    let mut bytes = Vec::with_capacity(length + 32);
    for block in 0_u64.. {
        if bytes.len() >= length {
            break;
        }
        bytes.extend_from_slice(&Sha256::digest(block.to_le_bytes()));
    }
    bytes.truncate(length);
    bytes.into()
}

fn digest(bytes: &[u8]) -> String {
    HEXLOWER.encode(&Sha256::digest(bytes))
}

async fn create_once(place: Place<'_>) {
    place.create("record", Bytes::from_static(b"first")).await.unwrap();
    let again = place.create("record", Bytes::from_static(b"second")).await;
    assert!(matches!(again, Err(Error::AlreadyExists { .. })), "{again:?}");
    let same = place.create("record", Bytes::from_static(b"first")).await;
    assert!(matches!(same, Err(Error::AlreadyExists { .. })), "{same:?}");
    assert_eq!(place.get("record").await.unwrap(), "first");
}

/// One of 32 writers wins, all others are told so, and what is there is the winner's, whole.
async fn create_race(place: Place<'_>) {
    for round in 0..5 {
        let name = format!("{round}/record");
        let body = |writer: usize| Bytes::from(format!("writer {writer} ").repeat(1000));
        let writers = (0..32).map(|writer| place.create(&name, body(writer)));
        let results = join_all(writers).await;
        let won: Vec<_> = (0..32).filter(|writer| results[*writer].is_ok()).collect();
        let lost = results.iter().filter(|result| matches!(result, Err(Error::AlreadyExists { .. }))).count();
        assert_eq!((won.len(), lost), (1, 31), "{results:?}");
        assert_eq!(place.get(&name).await.unwrap(), body(won[0]));
    }
}

async fn read_after_write(place: Place<'_>) {
    for length in [0, 1, 4096, 300_000] {
        let (name, body) = (format!("{length}"), noise(length));
        place.put(&name, body.clone()).await;
        assert_eq!(digest(&place.get(&name).await.unwrap()), digest(&body), "{length} bytes");
        let head = place.store.head(&place.key(&name)).await.unwrap();
        assert_eq!((head.size, head.location), (length as u64, place.key(&name)));
    }
}

async fn missing(place: Place<'_>) {
    let key = place.key("nothing");
    let got = place.store.get(&key).await.map(|_| ());
    assert!(matches!(got, Err(Error::NotFound { .. })), "{got:?}");
    let head = place.store.head(&key).await;
    assert!(matches!(head, Err(Error::NotFound { .. })), "{head:?}");
    let range = place.store.get_range(&key, 0..1).await;
    assert!(matches!(range, Err(Error::NotFound { .. })), "{range:?}");
    assert_eq!(place.list("").await, Vec::<String>::new());
}

/// More keys than fit in a page, and neighbours whose names begin alike.
async fn listing(place: Place<'_>) {
    const KEYS: usize = 1105;
    let log: Vec<String> = (0..KEYS).map(|n| format!("log/{n:020}")).collect();
    let others = ["log-of-others/0", "logs", "snap/00000000000000000007"].map(str::to_owned);
    let keys = log.iter().chain(&others);
    stream::iter(keys)
        .for_each_concurrent(16, |key| async move {
            place.put(key, Bytes::from_static(b"x")).await;
        })
        .await;
    assert_eq!(place.list("/log").await, log);
    let mut all: Vec<_> = log.iter().chain(&others).cloned().collect();
    all.sort();
    assert_eq!(place.list("").await, all);

    let (prefix, offset) = (place.key("log"), place.key(&log[900]));
    let rest: Vec<_> = place.store.list_with_offset(Some(&prefix), &offset).try_collect().await.unwrap();
    assert_eq!(names(place, &rest), log[901..]);
    // An offset that is no key itself.
    let offset = place.key("log/000000000000000009");
    let rest: Vec<_> = place.store.list_with_offset(Some(&prefix), &offset).try_collect().await.unwrap();
    assert_eq!(names(place, &rest), log[900..]);

    let folders = place.store.list_with_delimiter(Some(&Path::from(place.folder))).await.unwrap();
    let below: BTreeSet<_> = folders.common_prefixes.into_iter().collect();
    assert_eq!(below, ["log", "log-of-others", "snap"].map(|name| place.key(name)).into());
    assert_eq!(names(place, &folders.objects), ["logs"]);
}

async fn ranges(place: Place<'_>) {
    let (key, body) = (place.key("blob"), noise(100_000));
    place.put("blob", body.clone()).await;
    for range in [0..1, 0..100_000, 99_999..100_000, 4096..70_000] {
        let (start, end) = (usize::try_from(range.start).unwrap(), usize::try_from(range.end).unwrap());
        assert_eq!(place.store.get_range(&key, range).await.unwrap(), body.slice(start..end));
    }
    // What lies beyond the end is left out.
    assert_eq!(place.store.get_range(&key, 99_000..200_000).await.unwrap(), body.slice(99_000..));
    for (range, expected) in
        [(GetRange::Offset(60_000), body.slice(60_000..)), (GetRange::Suffix(5_000), body.slice(95_000..))]
    {
        let options = object_store::GetOptions { range: Some(range), ..Default::default() };
        let result = place.store.get_opts(&key, options).await.unwrap();
        assert_eq!(result.meta.size, 100_000);
        assert_eq!(result.bytes().await.unwrap(), expected);
    }
    assert!(place.store.get_range(&key, 100_000..100_001).await.is_err(), "a range of nothing is an error");
}

async fn overwrite(place: Place<'_>) {
    for version in 0..20 {
        let body = noise(1000 + version);
        place.put("hint", body.clone()).await;
        assert_eq!(place.get("hint").await.unwrap(), body, "version {version}");
    }
    place.put("hint", Bytes::from_static(b"short")).await;
    assert_eq!(place.get("hint").await.unwrap(), "short");
    assert_eq!(place.store.head(&place.key("hint")).await.unwrap().size, 5);
    assert_eq!(place.list("").await, ["hint"]);
}

async fn update(place: Place<'_>) {
    if !place.caps.update {
        return;
    }
    let version = |result: PutResult| UpdateVersion { e_tag: result.e_tag, version: result.version };
    let update = async |from: UpdateVersion, body: &'static [u8]| {
        let options = PutOptions { mode: PutMode::Update(from), ..PutOptions::default() };
        place.store.put_opts(&place.key("document"), PutPayload::from_static(body), options).await
    };
    let first = version(place.put("document", Bytes::from_static(b"first")).await);
    let second = version(update(first.clone(), b"second").await.unwrap());
    let late = update(first, b"late").await;
    assert!(matches!(late, Err(Error::Precondition { .. })), "{late:?}");
    assert_eq!(place.get("document").await.unwrap(), "second");
    update(second, b"third").await.unwrap();
}

async fn delete(place: Place<'_>) {
    let keys: Vec<Path> = (0..40).map(|n| place.key(&format!("{n}"))).collect();
    for n in 0..40 {
        place.put(&format!("{n}"), Bytes::from_static(b"x")).await;
    }
    place.store.delete(&keys[0]).await.unwrap();
    let gone = place.get("0").await;
    assert!(matches!(gone, Err(Error::NotFound { .. })), "{gone:?}");
    // Some stores say that nothing was there. Neither is a failure, and neither touches another key.
    let again = place.store.delete(&keys[0]).await;
    assert!(matches!(again, Ok(()) | Err(Error::NotFound { .. })), "{again:?}");
    assert_eq!(place.list("").await.len(), 39);

    let rest = stream::iter(keys[1..39].to_vec()).map(Ok).boxed();
    let deleted: Vec<Path> = place.store.delete_stream(rest).try_collect().await.unwrap();
    assert_eq!(deleted.len(), 38);
    assert_eq!(place.list("").await, ["39"]);
    // What was deleted can be created again.
    place.create("0", Bytes::from_static(b"new")).await.unwrap();
    assert_eq!(place.get("0").await.unwrap(), "new");
}

const PART: usize = 5 << 20;

async fn parts(place: Place<'_>) {
    let body = noise(2 * PART + 12_345);
    let mut upload = place.store.put_multipart(&place.key("blob")).await.unwrap();
    let parts: Vec<_> =
        [0..PART, PART..2 * PART, 2 * PART..body.len()].map(|part| body.slice(part)).into_iter().collect();
    let sent: Vec<_> = parts.into_iter().map(|part| upload.put_part(part.into())).collect();
    futures::future::try_join_all(sent).await.unwrap();
    let seen = place.store.head(&place.key("blob")).await;
    assert!(matches!(seen, Err(Error::NotFound { .. })), "it is seen before it is complete: {seen:?}");
    upload.complete().await.unwrap();
    assert_eq!(place.store.head(&place.key("blob")).await.unwrap().size, body.len() as u64);
    assert_eq!(digest(&place.get("blob").await.unwrap()), digest(&body));
    let border = PART as u64 - 10..PART as u64 + 10;
    let read = place.store.get_range(&place.key("blob"), border).await.unwrap();
    assert_eq!(read, body.slice(PART - 10..PART + 10));
}

async fn abandoned_parts(place: Place<'_>) {
    place.put("blob", Bytes::from_static(b"before")).await;
    let mut upload = place.store.put_multipart(&place.key("blob")).await.unwrap();
    upload.put_part(noise(PART).into()).await.unwrap();
    upload.abort().await.unwrap();
    assert_eq!(place.get("blob").await.unwrap(), "before");
    assert_eq!(place.list("").await, ["blob"]);
}

/// Objects written one after another do not go back in time by more than the second that S3 rounds to, and
/// every way to ask says the same.
async fn last_modified(place: Place<'_>) {
    if !place.caps.last_modified {
        return;
    }
    let mut times = Vec::new();
    for n in 0..5 {
        let name = format!("{n}");
        place.put(&name, Bytes::from_static(b"x")).await;
        let head = place.store.head(&place.key(&name)).await.unwrap().last_modified;
        let listed: Vec<ObjectMeta> =
            place.store.list(Some(&Path::from(place.folder))).try_collect().await.unwrap();
        let listed = listed.into_iter().find(|object| object.location == place.key(&name)).unwrap();
        assert_eq!(listed.last_modified.timestamp(), head.timestamp());
        times.push(head.timestamp());
    }
    assert!(times.windows(2).all(|pair| pair[1] >= pair[0] - 1), "{times:?}");
    let created = times[0];
    let got = place.store.get(&place.key("0")).await.unwrap();
    assert_eq!(got.meta.last_modified.timestamp(), created);
}
