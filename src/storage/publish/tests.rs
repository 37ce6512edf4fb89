//! Publishing through a store that fails or dies at every single step.

use std::sync::Arc;
use std::time::Duration;

use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::{ObjectStore, ObjectStoreExt as _};

use super::*;
use crate::clock::{Clock, Entropy};
use crate::model::ErrorClass;
use crate::storage::faults::{Fault, FaultStore};
use crate::storage::tests::{Sample, open};

/// A place that can be opened again after a crash.
enum Place {
    Memory(Arc<InMemory>),
    Directory(tempfile::TempDir),
}

impl Place {
    fn both() -> [Self; 2] {
        [Self::Memory(Arc::default()), Self::Directory(tempfile::tempdir().unwrap())]
    }

    fn store(&self) -> Arc<dyn ObjectStore> {
        match self {
            Self::Memory(store) => Arc::clone(store) as _,
            Self::Directory(directory) => Arc::new(LocalFileSystem::new_with_prefix(directory).unwrap()),
        }
    }

    /// Opens it as the next process does.
    async fn restart(&self) -> Storage {
        match self {
            Self::Memory(_) => open(self.store(), 9).await.unwrap(),
            Self::Directory(directory) => {
                let (clock, entropy) = (Clock::system(), Entropy::seeded(9));
                crate::storage::local::let_age(directory.path());
                let opened = Storage::open_local(directory.path(), Duration::ZERO, clock, entropy).await;
                let opened = opened.unwrap();
                opened.sweep().await.unwrap();
                assert_eq!(crate::storage::local::count_staging(directory.path()).unwrap(), 0, "not swept");
                opened
            }
        }
    }
}

/// A registry with one package, whose next calls go through faults.
async fn registry(place: &Place) -> (Storage, FaultStore) {
    let store = FaultStore::new(place.store());
    let storage = open(Arc::new(store.clone()), 1).await.unwrap();
    Sample::new("first", "1", 1).publish(&storage).await.unwrap();
    store.hurt([]);
    (storage, store)
}

/// What must hold whatever happened: the old package is whole, the new one is whole or not there.
async fn check(place: &Place, sample: &Sample, acknowledged: bool, when: &str) {
    let storage = place.restart().await;
    Sample::new("first", "1", 1).check(&storage).await;
    let visible = storage.catalog.state().entry(&sample.content.coordinate).is_some();
    assert!(visible || !acknowledged, "{when}: an acknowledged package is lost");
    if visible {
        sample.check(&storage).await;
    }
    let again = sample.publish(&storage).await.unwrap();
    assert_eq!(again.already, visible, "{when}");
    sample.check(&storage).await;
    assert_eq!(storage.catalog.seq(), 2, "{when}: it was recorded twice");
}

/// What the HTTP server and the controller need: work that may move between threads.
#[test]
fn publishing_and_reading_can_be_moved_between_threads() {
    fn movable<T: Send>(value: T) -> T {
        value
    }
    fn uses(storage: &Storage, sample: &Sample, blob: &crate::storage::blobs::Blob) {
        drop(movable(sample.publish(storage)));
        drop(movable(storage.blobs.read(blob, 0..1)));
        drop(movable(storage.control.acquire()));
        drop(movable(storage.document(&sample.content.coordinate)));
    }
    let _ = uses;
}

#[tokio::test]
async fn a_package_is_published_once() {
    for place in Place::both() {
        let (storage, store) = registry(&place).await;
        let sample = Sample::new("second", "1", 2);
        let published = sample.publish(&storage).await.unwrap();
        assert!(!published.already && published.digest == sample.content.digest());
        sample.check(&storage).await;
        store.hurt([]);
        assert!(sample.publish(&storage).await.unwrap().already);
        assert!(store.steps().iter().all(|step| step.starts_with("get")), "{:?}", store.steps());
        let state = storage.catalog.state();
        assert_eq!((state.version_count(), state.name_count()), (2, 2));
    }
}

#[tokio::test]
async fn other_bytes_under_a_published_version_are_refused() {
    let place = &Place::both()[0];
    let (storage, store) = registry(place).await;
    let error = Sample::new("first", "1", 2).publish(&storage).await.unwrap_err();
    assert!(matches!(error, PublishError::VersionImmutable { .. }), "{error}");
    assert_eq!((error.class(), error.label()), (ErrorClass::Stall, "VersionImmutable"));
    assert!(store.steps().iter().all(|step| step.starts_with("get")));
}

#[tokio::test]
async fn bytes_that_the_catalog_has_are_not_stored_again() {
    let place = &Place::both()[0];
    let (storage, store) = registry(place).await;
    let mut sample = Sample::new("first", "1", 1);
    sample.content.coordinate.version = "2".parse().unwrap();
    let published = sample.publish(&storage).await.unwrap_err();
    assert_eq!(published.label(), "ReleaseVersionTaken");
    let puts: Vec<_> = store.steps().into_iter().filter(|step| !step.starts_with("get")).collect();
    assert_eq!(puts, Vec::<String>::new());
}

#[tokio::test]
async fn two_publishers_of_one_package_both_succeed_and_one_record_stands() {
    let place = &Place::both()[0];
    let (storage, store) = registry(place).await;
    let other = open(Arc::new(store), 2).await.unwrap();
    let sample = Sample::new("second", "1", 2);
    let (a, b) = futures::join!(sample.publish(&storage), sample.publish(&other));
    assert!(a.unwrap().already != b.unwrap().already);
    check(place, &sample, true, "side by side").await;
}

#[tokio::test(start_paused = true)]
async fn every_step_of_publishing_can_fail_or_be_the_last() {
    let sample = Sample::new("second", "1", 2);
    for directory in [false, true] {
        let fresh = || {
            let [memory, on_disk] = Place::both();
            if directory { on_disk } else { memory }
        };
        let (storage, store) = registry(&fresh()).await;
        sample.publish(&storage).await.unwrap();
        let steps = store.steps();
        for (step, name) in steps.iter().enumerate() {
            let deaths = [Fault::DiesBefore, Fault::DiesAfter];
            for fault in deaths.into_iter().chain(Fault::SURVIVED) {
                let (place, when) = (fresh(), format!("{fault:?} at {step}: {name}"));
                let (storage, store) = registry(&place).await;
                store.hurt([(step, fault)]);
                let outcome = sample.publish(&storage).await;
                if deaths.contains(&fault) {
                    assert!(outcome.is_err(), "{when}");
                }
                drop(storage);
                check(&place, &sample, outcome.is_ok(), &when).await;
            }
        }
        println!("publish (directory: {directory}): {} steps, 2 deaths and 4 faults at each", steps.len());
    }
}

#[tokio::test(start_paused = true)]
async fn a_failed_publish_can_be_repeated_in_the_same_process() {
    let place = Place::Memory(Arc::default());
    let (storage, store) = registry(&place).await;
    let sample = Sample::new("second", "1", 2);
    store.hurt([(3, Fault::Refused)]);
    let error = sample.publish(&storage).await.unwrap_err();
    assert_eq!((error.class(), error.label()), (ErrorClass::Retry, "BlobNotStored"), "{error:?}");
    assert!(!sample.publish(&storage).await.unwrap().already);
    sample.check(&storage).await;
}

#[tokio::test]
async fn members_with_other_bytes_than_announced_are_refused_and_leave_nothing() {
    for place in Place::both() {
        let (storage, _) = registry(&place).await;
        let before = objects(&place).await;
        for member in [1, 2, 3] {
            for change in
                [|b: &mut Vec<u8>| b[7] ^= 1, |b: &mut Vec<u8>| b.truncate(9), |b: &mut Vec<u8>| b.push(0)]
            {
                let mut sample = Sample::new("second", "1", 2);
                sample.content.metadata = Sample::new("first", "1", 1).content.metadata;
                let (members, bytes) = (&mut sample.content.members, &mut sample.bytes);
                (*members, *bytes) = (vec![members[member].clone()], vec![bytes[member].clone()]);
                change(&mut sample.bytes[0]);
                let error = sample.publish(&storage).await.unwrap_err();
                assert!(["WrongDigest", "WrongLength"].contains(&error.label()), "{error:?}");
                assert_eq!(objects(&place).await, before);
            }
        }
    }
}

/// All objects, and on disk all files whatever their name.
async fn objects(place: &Place) -> Vec<String> {
    use futures::TryStreamExt as _;
    let listed = place.store().list(None).map_ok(|meta| meta.location.to_string());
    let mut all: Vec<String> = listed.try_collect().await.unwrap();
    if let Place::Directory(directory) = place {
        let mut folders = vec![directory.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() { folders.push(path) } else { all.push(path.display().to_string()) }
            }
        }
    }
    all.sort();
    all
}

#[tokio::test]
async fn where_any_release_version_will_do_the_next_free_one_is_taken() {
    let place = &Place::both()[0];
    let (storage, store) = registry(place).await;
    let other = open(Arc::new(store), 2).await.unwrap();
    let (a, b) = (Sample::new("first", "2", 2), Sample::new("first", "3", 3));
    let publish_both = async {
        futures::join!(
            a.publish_as(&storage, ReleaseVersion::NextFree),
            b.publish_as(&other, ReleaseVersion::NextFree)
        )
    };
    let (a, b) = publish_both.await;
    let mut taken = [a.unwrap().release_version, b.unwrap().release_version];
    taken.sort_unstable();
    assert_eq!(taken, [1, 2]);
    let exactly = Sample::new("first", "4", 4).publish_as(&other, ReleaseVersion::Exactly(2)).await;
    assert_eq!(exactly.unwrap_err().label(), "ReleaseVersionTaken");
}

#[tokio::test]
async fn what_is_not_published_cannot_be_unpublished() {
    let place = &Place::both()[0];
    let (storage, _) = registry(place).await;
    let coordinate = Sample::new("first", "1", 1).content.coordinate;
    unpublish(&storage, &coordinate).await.unwrap();
    let again = unpublish(&storage, &coordinate).await.unwrap_err();
    assert_eq!((again.label(), again.to_string()), ("NotPublished", "first 1 is not published".into()));
    assert!(storage.document(&coordinate).await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn every_step_of_unpublishing_can_fail_or_be_the_last() {
    let (first, second) = (Sample::new("first", "1", 1), Sample::new("second", "1", 2));
    let mut tried = 0;
    for step in 0..20 {
        let deaths = [Fault::DiesBefore, Fault::DiesAfter];
        for fault in deaths.into_iter().chain(Fault::SURVIVED) {
            let (place, when) = (Place::Memory(Arc::default()), format!("{fault:?} at {step}"));
            let (storage, store) = registry(&place).await;
            second.publish(&storage).await.unwrap();
            // Somebody else writes, so that the record loses first.
            open(place.store(), 2).await.unwrap().control.acquire().await.unwrap();
            Sample::new("third", "1", 3).publish(&open(place.store(), 2).await.unwrap()).await.unwrap();
            store.hurt([(step, fault)]);
            let outcome = unpublish(&storage, &second.content.coordinate).await;
            tried = tried.max(store.steps().len());
            let next = place.restart().await;
            first.check(&next).await;
            if next.catalog.state().entry(&second.content.coordinate).is_some() {
                assert!(outcome.is_err(), "{when}: an acknowledged removal is lost");
                second.check(&next).await;
                unpublish(&next, &second.content.coordinate).await.unwrap();
            }
            let log = crate::storage::tests::gapless(&place.store(), "v1/catalog/log").await;
            assert_eq!(log, 5, "{when}: it was recorded twice");
            second.publish(&next).await.unwrap();
            second.check(&next).await;
        }
    }
    assert!(tried < 20, "not all steps were tried");
    println!("unpublish: {tried} steps, 2 deaths and 4 faults at each");
}

/// A registry whose package has a damaged document, a damaged small member and a damaged large one.
async fn damaged(place: &Place) -> (Storage, FaultStore) {
    let (storage, store) = registry(place).await;
    let entry =
        storage.catalog.state().entry(&Sample::new("first", "1", 1).content.coordinate).unwrap().clone();
    let members = entry.members.unpack();
    for digest in [entry.document, members[1].digest, members[3].digest] {
        let blob = storage.whole(&digest).unwrap();
        place.store().delete(&blob.path()).await.unwrap();
        assert!(storage.quarantine(&blob).await);
    }
    store.hurt([]);
    (storage, store)
}

#[tokio::test(start_paused = true)]
async fn every_step_of_healing_can_fail_or_be_the_last() {
    let sample = Sample::new("first", "1", 1);
    let (storage, store) = damaged(&Place::Memory(Arc::default())).await;
    assert_eq!(sample.publish(&storage).await.unwrap().healed, 3);
    let steps = store.steps();
    for (step, name) in steps.iter().enumerate() {
        let deaths = [Fault::DiesBefore, Fault::DiesAfter];
        for fault in deaths.into_iter().chain(Fault::SURVIVED) {
            let (place, when) = (Place::Memory(Arc::default()), format!("{fault:?} at {step}: {name}"));
            let (storage, store) = damaged(&place).await;
            store.hurt([(step, fault)]);
            let outcome = sample.publish(&storage).await;
            let next = place.restart().await;
            let damaged = next.catalog.state().blobs().filter(|(_, entry)| entry.damaged).count();
            assert!(damaged == 0 || (damaged == 3 && outcome.is_err()), "{when}: half of it was healed");
            assert_eq!(sample.publish(&next).await.unwrap().healed, damaged, "{when}");
            sample.check(&next).await;
            crate::storage::tests::gapless(&place.store(), "v1/catalog/log").await;
        }
    }
    println!("heal: {} steps, 2 deaths and 4 faults at each", steps.len());
}

#[tokio::test]
async fn a_member_that_cannot_be_opened_is_named() {
    let place = &Place::both()[0];
    let (storage, _) = registry(place).await;
    let sample = Sample::new("second", "1", 2);
    let open = |_: &Member| -> BoxFuture<'_, std::io::Result<MemberReader>> {
        Box::pin(async { Err(std::io::ErrorKind::NotFound.into()) })
    };
    let error = publish(&storage, &sample.content, open, ReleaseVersion::Exactly(0)).await.unwrap_err();
    assert_eq!(error.to_string(), "cannot open asset/1 of second 1");
}

#[tokio::test]
async fn a_lost_blob_is_an_error_and_never_an_empty_answer() {
    let place = &Place::both()[0];
    let (storage, _) = registry(place).await;
    let sample = Sample::new("first", "1", 1);
    let digest = sample.content.members[2].digest;
    let state = storage.catalog.state();
    let (_, blob) = state.member(&sample.content.coordinate, &digest).unwrap();
    place.store().delete(&blob.path()).await.unwrap();
    let error = storage.blobs.read(&blob, 0..10).await.err().unwrap();
    assert_eq!(error.label(), "BlobUnreadable");
}
