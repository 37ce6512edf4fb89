//! Which format is picked, and what is given out while the store answers, hangs, or refuses.

use std::io::Read as _;

use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _};

use futures::stream;

use super::*;
use crate::clock::Entropy;
use crate::registry::intake::Intake;
use crate::registry::intake::tests::bundle;
use crate::storage::faults::{Fault, FaultStore};
use crate::storage::spool::Spool;

/// Somebody who publishes, and somebody else who serves; the way of the latter to the store can be hurt.
struct Pair {
    store: Arc<dyn ObjectStore>,
    publisher: Arc<Storage>,
    storage: Arc<Storage>,
    way: FaultStore,
    repo: Repo,
    clock: Clock,
}

async fn pair() -> Pair {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let way = FaultStore::new(Arc::clone(&store));
    let clock = Clock::simulated(1.0, Duration::ZERO);
    let open = |store, seed| Storage::open(store, clock.clone(), Entropy::seeded(seed));
    let publisher = Arc::new(open(Arc::clone(&store), 1).await.unwrap());
    let storage = Arc::new(open(Arc::new(way.clone()), 2).await.unwrap());
    let repo = Repo::new(Arc::clone(&storage), "http://127.0.0.1", clock.clone(), Workers::new());
    Pair { store, publisher, storage, way, repo, clock }
}

impl Pair {
    async fn publish(&self, version: &str) {
        let directory = tempfile::tempdir().unwrap();
        let spool = Spool::open(directory.path(), None, self.clock.clone()).await.unwrap();
        let intake = Intake::new(Arc::clone(&self.publisher), spool, self.clock.clone());
        let (_, bytes) = bundle(version, 7).await;
        let length = Some(bytes.len() as u64);
        let body = stream::iter([Ok::<_, std::io::Error>(bytes::Bytes::from(bytes))]);
        intake.receive(length, body).await.unwrap();
        self.storage.catalog.follow().await.unwrap();
    }

    /// Every call of the one who serves goes this way from now on.
    fn hurt(&self, fault: Option<Fault>) {
        self.way.hurt((0..10_000).filter_map(|step| Some((step, fault?))));
    }

    /// The versions that the document shows, whether it is stale, and how long it took.
    async fn ask(&self, fresh: bool) -> (Vec<String>, bool, Duration) {
        let begun = self.clock.boot();
        let served = self.repo.document(RepoFormat::V5, fresh).await.unwrap();
        (versions(&served.document), served.stale, self.clock.boot().saturating_sub(begun))
    }
}

fn versions(document: &RepoDocument) -> Vec<String> {
    let mut plain = String::new();
    flate2::read::GzDecoder::new(document.gzip.as_ref()).read_to_string(&mut plain).unwrap();
    let plain: Value = serde_json::from_str(&plain).unwrap();
    let packages = plain["packages"].as_array().unwrap();
    let mut versions: Vec<_> =
        packages.iter().map(|package| package["version"].as_str().unwrap().to_owned()).collect();
    versions.sort();
    versions
}

#[tokio::test(start_paused = true)]
async fn while_the_store_hangs_the_last_whole_document_is_given_soon() {
    let pair = pair().await;
    pair.publish("1").await;
    assert_eq!(pair.ask(true).await, (vec!["1".into()], false, Duration::ZERO));
    pair.publish("2.0").await;
    pair.hurt(Some(Fault::Hangs));
    for fresh in [false, true] {
        assert_eq!(pair.ask(fresh).await, (vec!["1".into()], true, PATIENCE));
    }
    pair.hurt(None);
    pair.clock.sleep(Duration::from_secs(120)).await;
    let (versions, stale, _) = pair.ask(true).await;
    assert_eq!((versions, stale), (vec!["1".into(), "2.0".into()], false));
}

#[tokio::test(start_paused = true)]
async fn where_nothing_was_built_yet_a_store_that_hangs_is_an_error_until_something_was() {
    let pair = pair().await;
    for version in 0..=READS {
        pair.publish(&version.to_string()).await;
    }
    pair.hurt(Some(Fault::Hangs));
    let begun = pair.clock.boot();
    let error = pair.repo.document(RepoFormat::V4, false).await.unwrap_err();
    assert_eq!((error.label(), pair.clock.boot().saturating_sub(begun)), ("RepositoryNotBuilt", FIRST));
    pair.clock.sleep(Duration::from_secs(120)).await;
    let served = pair.repo.document(RepoFormat::V4, false).await.unwrap();
    assert!(served.stale && versions(&served.document).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_definition_that_alone_cannot_be_read_is_left_out_and_not_if_the_store_is_gone() {
    let pair = pair().await;
    pair.publish("1").await;
    pair.ask(true).await;
    pair.publish("2.0").await;
    pair.publish("3.00").await;
    let known = pair.storage.catalog.state();
    let last = &known.packages().last().unwrap().coordinate;
    // It is held in memory from here on; the other new one is not.
    pair.storage.document(last).await.unwrap();
    pair.hurt(Some(Fault::Refused));
    for fresh in [true, false, true] {
        let (versions, stale, took) = pair.ask(fresh).await;
        assert!(stale && took <= PATIENCE, "{took:?}");
        assert!(versions.len() < 3, "{versions:?}");
        pair.clock.sleep(Duration::from_secs(120)).await;
    }
    assert_eq!(pair.ask(false).await.0, ["1"]);
    assert_eq!(pair.ask(true).await.0, ["1", "3.00"]);
    pair.hurt(None);
    let (versions, stale, _) = pair.ask(true).await;
    assert_eq!((versions.len(), stale), (3, false));
}

#[tokio::test(start_paused = true)]
async fn a_damaged_definition_is_left_out_and_asked_for_no_more() {
    let pair = pair().await;
    pair.publish("1").await;
    pair.publish("2.0").await;
    let known = pair.storage.catalog.state();
    let damaged = known.blob(&known.packages().next().unwrap().document).unwrap();
    let hex = damaged.digest.to_string().replace("sha256:", "");
    let path = Path::from(format!("v1/blobs/sha256/{}/{hex}/{}", &hex[..2], damaged.key));
    pair.store.head(&path).await.unwrap();
    pair.store.put(&path, vec![b' '; usize::try_from(damaged.size).unwrap()].into()).await.unwrap();
    let (versions, stale, _) = pair.ask(true).await;
    assert_eq!((versions, stale), (vec!["2.0".into()], false));
    pair.ask(true).await;
    pair.hurt(None);
    assert_eq!(pair.ask(true).await, (vec!["2.0".into()], false, Duration::ZERO));
    assert_eq!(pair.way.steps(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn many_who_ask_at_once_wait_for_one_worker() {
    let pair = pair().await;
    pair.publish("1").await;
    pair.hurt(None);
    let documents = (0..20).map(|_| pair.ask(true));
    for (versions, stale, _) in futures::future::join_all(documents).await {
        assert_eq!((versions, stale), (vec!["1".into()], false));
    }
    assert_eq!(pair.way.steps().len(), 1, "{:?}", pair.way.steps());
}

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
