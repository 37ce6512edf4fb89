//! Rebuilding: derived things come back as they were, and a broken chain is described and not touched.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _};

use super::*;
use crate::clock::{Clock, Entropy};
use crate::storage::Storage;
use crate::storage::aged::AgedStore;
use crate::storage::control::ControlOperation;
use crate::storage::lease::Candidate;
use crate::storage::progress::Unwatched;
use crate::storage::publish::ReleaseVersion;
use crate::storage::tests::{Sample, open};

const DRY: RebuildOptions = RebuildOptions { dry_run: true, truncate_at: None };
const WET: RebuildOptions = RebuildOptions { dry_run: false, truncate_at: None };

fn opening() -> Opening {
    Opening::once(Clock::system(), Entropy::seeded(5))
}

async fn run(store: &Arc<dyn ObjectStore>, options: &RebuildOptions) -> RebuildReport {
    let calls = Calls::new(Arc::clone(store), Clock::system());
    rebuild_in(calls, &opening(), options, &Unwatched).await.unwrap()
}

/// All objects below a folder.
async fn below(store: &Arc<dyn ObjectStore>, folder: &str) -> BTreeMap<Path, Bytes> {
    let listed: Vec<_> = store.list(Some(&folder.into())).try_collect().await.unwrap();
    let mut all = BTreeMap::new();
    for meta in listed {
        let bytes = store.get(&meta.location).await.unwrap().bytes().await.unwrap();
        all.insert(meta.location, bytes);
    }
    all
}

fn sample(n: u64) -> Sample {
    let mut sample = Sample::new("hello", &n.to_string(), n);
    sample.content.members.truncate(2);
    sample.bytes.truncate(2);
    sample
}

/// Twenty versions of a package in twenty records, with a snapshot of the sixteenth state.
async fn registry() -> (Arc<dyn ObjectStore>, Storage) {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let storage = open(Arc::clone(&store), 1).await.unwrap();
    for n in 1..=20 {
        sample(n).publish_as(&storage, ReleaseVersion::NextFree).await.unwrap();
        storage.catalog.tend().await.unwrap();
    }
    storage.control.acquire().await.unwrap();
    (store, storage)
}

fn record(seq: u64) -> Path {
    Path::from(format!("v1/catalog/log/{seq:020}"))
}

fn snapshot(seq: u64) -> Path {
    Path::from(format!("v1/catalog/snap/{seq:020}"))
}

#[tokio::test]
async fn snapshots_and_hints_are_written_anew_from_the_records() {
    let (store, storage) = registry().await;
    let good = store.get(&snapshot(16)).await.unwrap().bytes().await.unwrap();
    // A snapshot that holds together and is still not what the records say: that of another number.
    let moved = good.to_vec();
    let lied = String::from_utf8_lossy(&moved[..200]).replace("\"seq\":16", "\"seq\":18");
    let lie = [
        lied.split('\n').next().unwrap().as_bytes(),
        &moved[moved.iter().position(|b| *b == b'\n').unwrap()..],
    ];
    store.put(&snapshot(18), lie.concat().into()).await.unwrap();
    store.put(&snapshot(99), "nonsense".into()).await.unwrap();
    store.put(&Path::from("v1/catalog/hint"), "{\"tail\":7}".into()).await.unwrap();
    let before = below(&store, "v1").await;
    let dry = run(&store, &DRY).await;
    assert_eq!(below(&store, "v1").await, before);
    assert!(dry.is_whole() && dry.packages == 20, "{dry}");
    let wrong: Vec<_> = dry.catalog.snapshots.iter().map(|s| (s.seq, s.wrong.is_some())).collect();
    assert_eq!(wrong, [(16, false), (18, true), (99, true)]);
    let report = run(&store, &WET).await;
    assert!(report.catalog.rewritten && report.control.rewritten, "{report}");
    let after = below(&store, "v1").await;
    assert_eq!(below(&store, "v1/catalog/log").await, below_of(&before, "v1/catalog/log"));
    assert!(after.contains_key(&snapshot(20)) && !after.contains_key(&snapshot(18)));
    let again = open(Arc::clone(&store), 2).await.unwrap();
    assert_eq!(again.catalog.state(), storage.catalog.state());
    assert_eq!(again.control.state(), storage.control.state());
    let second = run(&store, &WET).await;
    assert!(second.catalog.snapshots.iter().all(|snapshot| snapshot.wrong.is_none()), "{second}");
}

fn below_of(all: &BTreeMap<Path, Bytes>, folder: &str) -> BTreeMap<Path, Bytes> {
    let inside = all.iter().filter(|(path, _)| path.as_ref().starts_with(folder));
    inside.map(|(path, bytes)| (path.clone(), bytes.clone())).collect()
}

#[tokio::test]
async fn a_broken_chain_is_described_and_nothing_is_written() {
    for harm in ["gone", "altered", "oversized"] {
        let (store, _) = registry().await;
        let bytes = store.get(&record(7)).await.unwrap().bytes().await.unwrap();
        let altered = String::from_utf8(bytes.to_vec()).unwrap().replace("\"hello\"", "\"hullo\"");
        match harm {
            "gone" => store.delete(&record(7)).await.unwrap(),
            "oversized" => drop(store.put(&record(7), vec![b' '; 300_000].into()).await.unwrap()),
            _ => drop(store.put(&record(7), altered.into()).await.unwrap()),
        }
        let before = below(&store, "v1").await;
        let report = run(&store, &WET).await;
        assert!(!report.is_whole() && !report.catalog.rewritten, "{report}");
        let LogReport { proved, last, broken_at, .. } = report.catalog;
        // An altered record still follows the one before; the next does not follow it.
        let at = if harm == "altered" { 8 } else { 7 };
        assert_eq!((proved, last, broken_at), (at - 1, 20, Some(at)), "{harm}");
        let text = report.to_string();
        assert!(text.contains("record 20 says: published hello 20"), "{text}");
        assert!(text.contains(&format!("BROKEN at record {at}")), "{text}");
        assert!(text.contains("snapshot 16: no proved record leads to it"), "{text}");
        let lost: Vec<_> = report.documents.iter().map(|found| found.version.as_str()).collect();
        assert!(lost.contains(&"20") && !lost.contains(&"6"), "{lost:?}");
        let mut after = below(&store, "v1").await;
        // The control log is whole; what is derived from it was written anew.
        after.retain(|path, _| !path.as_ref().starts_with("v1/control"));
        assert_eq!(
            after,
            before.into_iter().filter(|(p, _)| !p.as_ref().starts_with("v1/control")).collect()
        );
    }
}

#[tokio::test]
async fn cutting_off_is_only_described() {
    let (store, _) = registry().await;
    let before = below(&store, "v1").await;
    let report = run(&store, &RebuildOptions { dry_run: false, truncate_at: Some(19) }).await;
    assert!(report.dry_run && report.packages == 18 && report.documents.len() == 2, "{report}");
    let claims = ["record 19 says: published hello 19", "record 20 says: published hello 20"];
    assert_eq!(report.catalog.claims, claims);
    assert_eq!(below(&store, "v1").await, before);
}

#[tokio::test]
async fn a_trimmed_log_keeps_what_its_records_do_not_reach_back_to() {
    let clock = Clock::fixed(1_000_000_000_000);
    let store: Arc<dyn ObjectStore> = Arc::new(AgedStore::new(Arc::new(InMemory::new()), clock.clone()));
    let storage = Arc::new(open(Arc::clone(&store), 1).await.unwrap());
    let tenure = Candidate::seize(&storage, &Clock::system()).await;
    let renewed = || vec![ControlOperation::Renewed { epoch: tenure.epoch() }];
    for _ in 0..50 {
        clock.advance(Duration::from_secs(3600));
        tenure.commit(renewed()).await.unwrap();
        storage.control.tend().await.unwrap();
    }
    assert!(storage.control.trim().await.unwrap().deleted > 10);
    let report = run(&store, &WET).await;
    assert!(report.is_whole() && report.control.from > 10, "{report}");
    let again = open(Arc::clone(&store), 2).await.unwrap();
    assert_eq!(again.control.state(), storage.control.state());
    assert_eq!(again.control.seq(), storage.control.seq());
    // Without any snapshot that its records reach back to, nothing is proved and nothing written.
    for path in below(&store, "v1/control/snap").await.keys() {
        store.delete(path).await.unwrap();
    }
    let lost = run(&store, &WET).await;
    assert!(!lost.is_whole() && !lost.control.rewritten, "{lost}");
}

#[tokio::test]
async fn a_directory_in_use_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let opened =
        Storage::open_local(directory.path(), Duration::ZERO, Clock::system(), Entropy::seeded(1)).await;
    let backend = crate::config::Backend::Local { path: directory.path().to_owned() };
    let settings = StorageSettings { backend, unsafe_single_writer: false, spool: directory.path().into() };
    let opening = opening();
    let locked = rebuild(&settings, &opening, &WET, &Unwatched).await.unwrap_err();
    assert_eq!(locked.label(), "Locked");
    drop(opened);
    assert!(rebuild(&settings, &opening, &WET, &Unwatched).await.unwrap().is_whole());
}
