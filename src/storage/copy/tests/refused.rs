//! What is not copied, and where nothing is copied to.

use object_store::ObjectStoreExt as _;

use super::*;
use crate::storage::records::CommitError;

#[tokio::test(start_paused = true)]
async fn what_is_something_else_is_left_as_it_is() {
    let (_, from) = memory(1).await;
    sample("aa", "1", 1).publish_as(&from, NextFree).await.unwrap();
    let (store, twin) = memory(9).await;
    let again = Arc::new(open(store as _, 8).await.unwrap());
    assert_eq!(copy(&twin, &again, &options(false), &Unwatched).await.unwrap_err().label(), "SameRegistry");

    let (_, busy) = memory(2).await;
    sample("bb", "1", 1).publish_as(&busy, NextFree).await.unwrap();
    let (_, owner) = memory(3).await;
    write_books(&owner).await;
    let (_, other) = memory(4).await;
    copy(&twin, &other, &options(false), &Unwatched).await.unwrap();
    let (_, left) = memory(5).await;
    sample("bb", "1", 1).publish_as(&left, NextFree).await.unwrap();
    unpublish(&left, &sample("bb", "1", 1).content.coordinate).await.unwrap();
    for (to, what) in
        [(busy, "1 package versions"), (owner, "2 apps"), (other, "a copy of"), (left, "is left")]
    {
        let before = (to.catalog.seq(), to.control.seq());
        for would in [true, false] {
            let refused = if would {
                would_copy(&from, Some(&to), &options(false)).await
            } else {
                copy(&from, &to, &options(false), &Unwatched).await
            };
            let refused = refused.unwrap_err();
            assert_eq!(refused.label(), "ForeignRegistry");
            assert!(refused.to_string().contains(what), "{refused}");
        }
        assert_eq!((to.catalog.seq(), to.control.seq()), before);
    }
}

#[tokio::test(start_paused = true)]
async fn a_copy_gives_nothing_away_before_it_took_over() {
    let (_, from) = memory(1).await;
    let (_, to) = memory(2).await;
    copy(&from, &to, &options(false), &Unwatched).await.unwrap();
    let (_, third) = memory(3).await;
    copy(&to, &third, &options(false), &Unwatched).await.unwrap();
    let refused = copy(&to, &third, &options(true), &Unwatched).await.unwrap_err();
    assert_eq!(refused.label(), "CopyOfCopy");
    let moved = CatalogOperation::Moved { to: "x".into(), registry: "y".into() };
    let refused = to.catalog.commit(moved).await.unwrap_err();
    assert!(matches!(refused, CommitError::Rejected(_)), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn somebody_who_leads_the_target_is_asked_to_leave() {
    let (_, from) = memory(1).await;
    let (store, to) = memory(2).await;
    let leader = open(store as _, 9).await.unwrap();
    leader.control.acquire().await.unwrap();
    let times = LeaseTimes { ttl: Duration::from_secs(60), poll: Duration::from_secs(1), ..AT_ONCE };
    let options = CopyOptions { times, ..options(false) };
    let refused = copy(&from, &to, &options, &Unwatched).await.unwrap_err();
    assert_eq!(refused.label(), "CopyInUse");
    assert!(refused.to_string().contains(leader.control.holder()), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn what_is_damaged_in_the_original_is_named_and_holds_the_cut_over_back() {
    let (store, from) = memory(1).await;
    let (whole, hurt) = (sample("aa", "1", 1), sample("bb", "1", 9));
    whole.publish_as(&from, NextFree).await.unwrap();
    hurt.publish_as(&from, NextFree).await.unwrap();
    let digest = hurt.content.members[2].digest;
    let blob = from.catalog.state().blob(&digest).unwrap();
    let mut bytes = hurt.bytes[2].clone();
    bytes[290_000] ^= 1;
    store.put(&blob.path(), bytes.into()).await.unwrap();
    let (_, to) = memory(2).await;
    let report = copy(&from, &to, &options(false), &Unwatched).await.unwrap();
    assert!(!report.is_complete());
    assert_eq!((report.copied, report.versions, report.lost.len()), (1, 2, 1));
    assert!(report.lost[0].package.contains("bb") && report.lost[0].what.contains("damaged"), "{report}");
    whole.check(&to).await;
    let refused = copy(&from, &to, &options(true), &Unwatched).await.unwrap_err();
    assert_eq!(refused.label(), "CopyIncomplete");
    assert_eq!(from.standstill(), None, "the original goes on");
    let with = CopyOptions { leave_out: 1, ..options(true) };
    copy(&from, &to, &with, &Unwatched).await.unwrap();
    assert_eq!((to.standstill(), to.catalog.state().version_count()), (None, 1));
}

#[tokio::test]
async fn a_store_that_cannot_be_read_is_no_damage() {
    let store = FaultStore::new(Arc::new(InMemory::new()));
    let from = Arc::new(open(Arc::new(store.clone()), 1).await.unwrap());
    sample("aa", "1", 1).publish_as(&from, NextFree).await.unwrap();
    let (_, to) = memory(2).await;
    store.hurt([]);
    copy(&from, &to, &options(false), &Unwatched).await.unwrap();
    let step = store.steps().iter().position(|step| step.contains("v1/blobs")).unwrap();
    let (_, to) = memory(3).await;
    store.hurt([(step, Fault::Refused)]);
    let failed = copy(&from, &to, &options(false), &Unwatched).await.unwrap_err();
    assert_eq!(failed.label(), "BlobUnreadable");
}
