//! Copies between stores, stopped at every step, and who acts meanwhile.

use object_store::ObjectStore;
use object_store::memory::InMemory;

use super::*;
use crate::clock::{Clock, Entropy};
use crate::model::{Epoch, Revision, SnapshotPath};
use crate::storage::catalog::CatalogOperation;
use crate::storage::control::{Answer, ControlOperation, ControlState};
use crate::storage::faults::{Fault, FaultStore};
use crate::storage::progress::Unwatched;
use crate::storage::publish::ReleaseVersion::{self, NextFree};
use crate::storage::publish::unpublish;
use crate::storage::tests::{Sample, app_id, intent, open, owned};

mod crashes;
mod refused;

pub(super) type Store = Arc<dyn ObjectStore>;

/// Leases that are free as soon as their holder is gone.
pub(super) const AT_ONCE: LeaseTimes = LeaseTimes {
    ttl: Duration::ZERO,
    deadline: Duration::from_secs(60),
    renew: Duration::from_secs(20),
    poll: Duration::from_millis(10),
};

pub(super) fn options(cutover: bool) -> CopyOptions {
    CopyOptions { cutover, to: "elsewhere".into(), leave_out: 0, times: AT_ONCE }
}

pub(super) async fn memory(seed: u64) -> (Arc<InMemory>, Arc<Storage>) {
    let memory = Arc::new(InMemory::new());
    let storage = open(Arc::clone(&memory) as _, seed).await.unwrap();
    (memory, Arc::new(storage))
}

/// A package of a few small blobs, one of which has several chunks.
pub(super) fn sample(name: &str, version: &str, seed: u64) -> Sample {
    let mut sample = Sample::new(name, version, seed);
    sample.content.members.truncate(3);
    sample.bytes.truncate(3);
    sample
}

/// Books of one app, one intent, and an accepted manifest.
pub(super) async fn write_books(storage: &Storage) {
    let source: crate::model::SourceName = "here".parse().unwrap();
    let snapshot = crate::model::Snapshot {
        source: source.clone(),
        revision: Revision("r1".into()),
        completeness: crate::model::Completeness::Complete,
        manifests: SnapshotPath::root(),
        files: std::collections::BTreeMap::new(),
    };
    let blob = storage.put_snapshot(&snapshot).await.unwrap();
    let epoch = storage.control.acquire().await.unwrap();
    let operations = vec![
        ControlOperation::Adopted { app_id: app_id(1), owned: owned(1) },
        ControlOperation::Adopted { app_id: app_id(2), owned: owned(2) },
        ControlOperation::Intent { app_id: app_id(2), intent: intent(2, epoch) },
        ControlOperation::SnapshotAccepted { source, revision: snapshot.revision, snapshot: blob },
    ];
    storage.control.commit(epoch, operations).await.unwrap();
    storage.control.release(epoch).await.unwrap();
}

/// Books without what is the registry's own: lease numbers and keys.
pub(super) fn books(state: &ControlState) -> impl PartialEq + std::fmt::Debug + use<> {
    let mut inventory = state.inventory.clone();
    for intent in inventory.intents.values_mut() {
        intent.epoch = Epoch::default();
    }
    let snapshots: Vec<_> =
        state.snapshots.iter().map(|(source, blob)| (source.clone(), blob.digest)).collect();
    (inventory, snapshots)
}

/// The same packages, release versions and books.
pub(super) async fn assert_same(from: &Storage, to: &Storage) {
    let (source, target) = (from.catalog.state(), to.catalog.state());
    let (ours, theirs): (Vec<_>, Vec<_>) = (source.packages().collect(), target.packages().collect());
    assert_eq!(ours, theirs);
    assert_eq!(books(&from.control.state()), books(&to.control.state()));
    for (digest, _) in target.blobs() {
        let blob = target.blob(digest).unwrap();
        to.blobs.read_all(&blob, 1 << 20).await.unwrap();
    }
    for source in from.control.state().snapshots.keys() {
        assert_eq!(from.last_snapshot(source).await.unwrap(), to.last_snapshot(source).await.unwrap());
    }
}

#[tokio::test(start_paused = true)]
async fn a_copy_is_a_registry_of_its_own_that_does_nothing() {
    let (_, from) = memory(1).await;
    let samples = [sample("aa", "1", 1), sample("aa", "2", 2), sample("bb", "1", 1)];
    for sample in &samples {
        sample.publish_as(&from, NextFree).await.unwrap();
    }
    write_books(&from).await;
    let (_, to) = memory(2).await;
    let would = would_copy(&from, Some(&to), &options(false)).await.unwrap();
    assert_eq!((to.catalog.seq(), to.control.seq()), (0, 0), "a dry run writes nothing");
    let report = copy(&from, &to, &options(false), &Unwatched).await.unwrap();
    assert_eq!((report.versions, report.present, report.copied, report.total), (3, 0, 3, 3));
    assert_eq!((would.copied, would.blobs, would.bytes), (report.copied, report.blobs, report.bytes));
    assert_eq!(report.bytes, from.catalog.state().total_bytes());
    assert_eq!((would.books, report.books), (4, 4));
    assert_same(&from, &to).await;
    assert_ne!(from.catalog.registry(), to.catalog.registry());
    assert!(to.standstill().unwrap().contains(from.catalog.registry()));
    assert!(to.control.state().suspended.is_some() && to.control.state().holder.is_none());
    assert_eq!(from.standstill(), None);
    let refused = sample("cc", "1", 3).publish_as(&to, NextFree).await.unwrap_err();
    assert_eq!(refused.label(), "RegistryIsCopy");
    assert_eq!(unpublish(&to, &samples[0].content.coordinate).await.unwrap_err().label(), "RegistryIsCopy");
}

#[tokio::test(start_paused = true)]
async fn copying_again_catches_up_and_reads_nothing_twice() {
    let (_, from) = memory(1).await;
    let (first, second) = (sample("aa", "1", 1), sample("aa", "2", 2));
    first.publish_as(&from, NextFree).await.unwrap();
    second.publish_as(&from, NextFree).await.unwrap();
    write_books(&from).await;
    let store = FaultStore::new(Arc::new(InMemory::new()));
    let to = Arc::new(open(Arc::new(store.clone()), 2).await.unwrap());
    copy(&from, &to, &options(false), &Unwatched).await.unwrap();
    store.hurt([]);
    let again = copy(&from, &to, &options(false), &Unwatched).await.unwrap();
    assert_eq!((again.present, again.copied, again.blobs, again.books), (2, 0, 0, 0));
    assert!(!store.steps().iter().any(|step| step.contains("v1/blobs")), "{:?}", store.steps());

    unpublish(&from, &first.content.coordinate).await.unwrap();
    let changed = sample("aa", "1", 7);
    changed.publish_as(&from, NextFree).await.unwrap();
    unpublish(&from, &second.content.coordinate).await.unwrap();
    sample("bb", "1", 1).publish_as(&from, NextFree).await.unwrap();
    let epoch = from.control.acquire().await.unwrap();
    let operations = vec![
        ControlOperation::Forgotten { app_id: app_id(1) },
        ControlOperation::Abandoned { app_id: app_id(2) },
        ControlOperation::Intent { app_id: app_id(3), intent: intent(3, epoch) },
    ];
    from.control.commit(epoch, operations).await.unwrap();
    let report = copy(&from, &to, &options(false), &Unwatched).await.unwrap();
    assert_eq!((report.present, report.removed, report.copied), (0, 2, 2));
    assert_same(&from, &to).await;
    changed.check(&to).await;
}

#[tokio::test(start_paused = true)]
async fn a_damaged_copy_is_healed_from_the_original() {
    let (_, from) = memory(1).await;
    let one = sample("aa", "1", 1);
    one.publish_as(&from, NextFree).await.unwrap();
    let (_, to) = memory(2).await;
    copy(&from, &to, &options(false), &Unwatched).await.unwrap();
    let digest = one.content.members[1].digest;
    let key = to.catalog.state().blob(&digest).unwrap().key;
    let blob = crate::storage::catalog::Copy { digest, key };
    to.catalog.commit(CatalogOperation::Quarantined { blob }).await.unwrap();
    copy(&from, &to, &options(false), &Unwatched).await.unwrap();
    assert!(to.catalog.state().has(&digest) && to.catalog.state().blob(&digest).unwrap().key != key);
    one.check(&to).await;
}

#[tokio::test(start_paused = true)]
async fn the_copy_takes_over_and_then_the_original_only_reads() {
    let (_, from) = memory(1).await;
    sample("aa", "1", 1).publish_as(&from, NextFree).await.unwrap();
    write_books(&from).await;
    let (_, to) = memory(2).await;
    copy(&from, &to, &options(false), &Unwatched).await.unwrap();
    sample("aa", "2", 2).publish_as(&from, NextFree).await.unwrap();
    let report = copy(&from, &to, &options(true), &Unwatched).await.unwrap();
    assert_eq!((report.present, report.copied, report.cut_over), (1, 1, CutOver::Now));
    assert_eq!((report.standstill, to.standstill()), (None, None));
    assert_same(&from, &to).await;
    assert_eq!(from.standstill().unwrap(), "this registry was moved to elsewhere");
    assert_eq!(sample("aa", "3", 3).publish_as(&from, NextFree).await.unwrap_err().label(), "RegistryMoved");
    sample("aa", "3", 3).publish_as(&to, NextFree).await.unwrap();

    let again = copy(&from, &to, &options(true), &Unwatched).await.unwrap();
    assert_eq!((again.cut_over, again.total), (CutOver::Before, 3));
    let late = copy(&from, &to, &options(false), &Unwatched).await.unwrap_err();
    assert_eq!(late.label(), "CopyTookOver");
    let (_, other) = memory(3).await;
    copy(&from, &other, &options(false), &Unwatched).await.unwrap();
    let second = copy(&from, &other, &options(true), &Unwatched).await.unwrap_err();
    assert_eq!(second.label(), "MovedElsewhere", "one takes over, not two");
    assert!(other.standstill().is_some());
}

#[tokio::test(start_paused = true)]
async fn who_suspended_the_original_finds_the_copy_suspended() {
    let (_, from) = memory(1).await;
    let epoch = from.control.acquire().await.unwrap();
    let suspended = ControlOperation::Suspended { reason: "maintenance".into() };
    from.control.commit(epoch, vec![suspended]).await.unwrap();
    let (_, to) = memory(2).await;
    copy(&from, &to, &options(true), &Unwatched).await.unwrap();
    assert_eq!(to.standstill().as_deref(), Some("maintenance"));
}

/// A leader that works as the controller does: it reads along, and decides on requests between passes.
async fn lead(storage: &Storage, epoch: Epoch, answers: bool) {
    loop {
        storage.control.follow().await.unwrap();
        let mut operations = vec![ControlOperation::Renewed { epoch }];
        for pending in storage.control.state().requests.iter().filter(|_| answers) {
            let answer = Answer { done: true, message: String::new(), detail: None };
            let crate::storage::control::Request::Suspend { reason } = pending.request.clone() else {
                continue;
            };
            operations.push(ControlOperation::Suspended { reason });
            operations.push(ControlOperation::Answered { id: pending.id.clone(), answer });
        }
        storage.control.commit(epoch, operations).await.unwrap();
        storage.clock.sleep(Duration::from_secs(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_copy_waits_until_the_leader_of_the_original_stands_still() {
    for answers in [true, false] {
        let (store, from) = memory(1).await;
        let leader = open(store as _, 9).await.unwrap();
        let epoch = leader.control.acquire().await.unwrap();
        let (_, to) = memory(2).await;
        // A ttl that no real time can end: the leader is alive.
        let times = LeaseTimes { ttl: Duration::from_secs(60), poll: Duration::from_secs(1), ..AT_ONCE };
        let options = CopyOptions { times, ..options(true) };
        let done = tokio::select! {
            done = copy(&from, &to, &options, &Unwatched) => done,
            () = lead(&leader, epoch, answers) => unreachable!(),
        };
        assert!(from.standstill().is_some());
        if answers {
            done.unwrap();
            assert!(leader.control.state().requests.is_empty());
            assert_eq!(to.standstill(), None);
        } else {
            assert_eq!(done.unwrap_err().label(), "OriginalBusy");
            assert!(to.standstill().is_some());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_copy_whose_original_is_lost_can_be_promoted() {
    let (_, from) = memory(1).await;
    sample("aa", "1", 1).publish_as(&from, NextFree).await.unwrap();
    let (_, to) = memory(2).await;
    assert_eq!(promote(&to, AT_ONCE).await.unwrap_err().label(), "NotACopy");
    copy(&from, &to, &options(false), &Unwatched).await.unwrap();
    drop(from);
    promote(&to, AT_ONCE).await.unwrap();
    assert_eq!(to.standstill(), None);
    sample("aa", "2", 2).publish_as(&to, NextFree).await.unwrap();
}

#[tokio::test]
async fn registries_go_from_memory_to_a_directory_and_back() {
    let folder = tempfile::tempdir().unwrap();
    let (_, from) = memory(1).await;
    let samples = [Sample::new("aa", "1", 1), Sample::new("bb", "1", 2)];
    for sample in &samples {
        sample.publish_as(&from, NextFree).await.unwrap();
    }
    write_books(&from).await;
    let entropy = Entropy::seeded(2);
    let local = Storage::open_local(folder.path(), Duration::ZERO, Clock::system(), entropy).await.unwrap();
    let local = Arc::new(local);
    copy(&from, &local, &options(true), &Unwatched).await.unwrap();
    let (_, back) = memory(3).await;
    copy(&local, &back, &options(true), &Unwatched).await.unwrap();
    for sample in &samples {
        sample.check(&local).await;
        sample.check(&back).await;
    }
    assert_same(&from, &back).await;
    let who = [&from, &local, &back].map(|storage| storage.standstill().is_none());
    assert_eq!(who, [false, false, true]);
}

#[tokio::test(start_paused = true)]
async fn many_versions_go_in_several_records() {
    let (_, from) = memory(1).await;
    let one = sample("aa", "0", 1);
    for n in 0..150_u64 {
        let mut version = one.clone();
        version.content.coordinate = crate::storage::tests::coordinate("aa", &n.to_string());
        version.content.metadata = serde_json::json!({"n": n});
        version.publish_as(&from, ReleaseVersion::Exactly(n * 3)).await.unwrap();
    }
    let (_, to) = memory(2).await;
    let report = copy(&from, &to, &options(false), &Unwatched).await.unwrap();
    assert_eq!((report.copied, report.blobs), (150, 153));
    assert_eq!(to.catalog.seq(), 4, "one record to begin and three of at most 64 versions");
    assert_same(&from, &to).await;
}
