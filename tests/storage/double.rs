//! What the double's faults look like to the real client. Whoever writes a rule finds here what comes of it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dcos_registry::clock::Clock;
use futures::future::join_all;
use futures::{StreamExt as _, TryStreamExt as _};
use jiff::SignedDuration;
use object_store::aws::AmazonS3;
use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt as _, PutMode, PutOptions, PutResult, RetryConfig};

use crate::s3_double::{Answer, Cut, CutOff, Fault, Later, Op, Rule, S3Double, Setup};

/// Longer than anything takes; only what hangs reaches it.
const PATIENCE: Duration = Duration::from_secs(30);

async fn create(store: &AmazonS3, key: &str, body: &'static str) -> object_store::Result<PutResult> {
    let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
    store.put_opts(&Path::from(key), Bytes::from_static(body.as_bytes()).into(), options).await
}

async fn put(store: &AmazonS3, key: &str, body: &'static str) -> object_store::Result<PutResult> {
    store.put(&Path::from(key), Bytes::from_static(body.as_bytes()).into()).await
}

async fn get(store: &AmazonS3, key: &str) -> object_store::Result<Bytes> {
    store.get(&Path::from(key)).await?.bytes().await
}

async fn keys(store: &AmazonS3) -> Vec<String> {
    let objects: Vec<_> = store.list(None).try_collect().await.unwrap();
    objects.into_iter().map(|object| object.location.to_string()).collect()
}

/// A client that sends everything once.
fn once(double: &S3Double, access_key: &str) -> AmazonS3 {
    let no_retry = RetryConfig { max_retries: 0, ..RetryConfig::default() };
    double.client(access_key).with_retry(no_retry).build().unwrap()
}

fn is_lost(result: &object_store::Result<PutResult>) -> bool {
    matches!(result, Err(Error::AlreadyExists { .. }))
}

/// Waits until a condition holds.
async fn until(what: &str, condition: impl Fn() -> bool) {
    let clock = Clock::system();
    let waiting = async {
        while !condition() {
            clock.sleep(Duration::from_millis(5)).await;
        }
    };
    clock.timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("waited in vain until {what}"));
}

fn puts(double: &S3Double) -> Vec<Answer> {
    let puts = double.requests().into_iter().filter(|asked| asked.op == Op::Put);
    puts.map(|asked| asked.answer).collect()
}

#[tokio::test]
async fn what_is_dropped_before_is_sent_again() {
    let double = S3Double::start();
    double.script().add(Rule::new(Fault::DropBefore(Cut::Close)).on(&[Op::Put]).nth(1));
    create(&double.store(), "a", "one").await.unwrap();
    assert_eq!(puts(&double), [Answer::Dropped, Answer::Status(200)]);
    assert_eq!(double.requests()[0].faults, ["DropBefore"]);
    assert_eq!(double.faults()["DropBefore"], 1);
}

/// The client meets its own success: it takes an orderly end for "not sent", conditional or not.
#[tokio::test]
async fn a_create_whose_answer_is_lost_says_that_somebody_else_won() {
    let double = S3Double::start();
    double.script().add(Rule::new(Fault::DropReply(Cut::Close)).on(&[Op::Put]).nth(1));
    let created = create(&double.store(), "a", "one").await;
    assert!(is_lost(&created), "{created:?}");
    assert_eq!(puts(&double), [Answer::Dropped, Answer::Status(412)]);
    assert_eq!(double.read("a").unwrap(), "one");
}

/// After a reset it does not know whether the create was sent, and sends only what may be done twice.
#[tokio::test]
async fn a_create_that_is_reset_ends_in_an_error_though_it_is_done() {
    let double = S3Double::start();
    let rule = double.script().add(Rule::new(Fault::DropReply(Cut::Reset)).on(&[Op::Put]));
    let created = create(&double.store(), "a", "one").await;
    assert!(matches!(created, Err(Error::Generic { .. })), "{created:?}");
    assert_eq!((double.script().fired(rule), double.read("a").unwrap()), (1, "one".into()));
    double.script().clear();
    double.script().add(Rule::new(Fault::DropReply(Cut::Reset)).on(&[Op::Put]).nth(1));
    put(&double.store(), "b", "two").await.unwrap();
    assert_eq!(puts(&double)[1..], [Answer::Dropped, Answer::Status(200)]);
}

#[tokio::test]
async fn statuses_are_answered_without_anything_being_done() {
    let double = S3Double::start();
    for (status, key) in [(429, "a"), (500, "b"), (503, "c")] {
        double.script().clear();
        let rule = double.script().add(Rule::new(Fault::Refuse(status)).on(&[Op::Put]).first(2));
        create(&double.store(), key, "one").await.unwrap();
        assert_eq!(double.script().fired(rule), 2, "{status} is tried again");
    }
    double.script().clear();
    double.script().add(Rule::new(Fault::Refuse(409)).on(&[Op::Put]));
    // 409 means "try again"; the client takes it for a lost race.
    let conflict = create(&double.store(), "d", "one").await;
    assert!(is_lost(&conflict), "{conflict:?}");
    double.script().clear();
    double.script().add(Rule::new(Fault::Refuse(412)).on(&[Op::Put]));
    let refused = create(&double.store(), "d", "one").await;
    assert!(is_lost(&refused), "{refused:?}");
    assert_eq!(double.keys(""), ["a", "b", "c"]);
}

#[tokio::test]
async fn a_success_that_is_denied_is_met_by_the_next_try() {
    let double = S3Double::start();
    double.script().add(Rule::new(Fault::Deny(500)).on(&[Op::Put]).nth(1));
    let created = create(&double.store(), "a", "one").await;
    assert!(is_lost(&created), "{created:?}");
    assert_eq!(puts(&double), [Answer::Status(500), Answer::Status(412)]);
}

/// A delete and an overwrite that arrive twice undo what came between; a create does not.
#[tokio::test]
async fn what_is_done_again_undoes_what_came_between() {
    let double = S3Double::start();
    let store = double.store();
    let again = |op, key| Rule::new(Fault::Again(Later::Released)).on(&[op]).prefix(key).nth(1);
    double.script().add(again(Op::BulkDelete, "deleted"));
    double.script().add(again(Op::Put, "hint"));
    double.script().add(again(Op::Put, "created"));
    put(&store, "hint", "old").await.unwrap();
    put(&store, "hint", "new").await.unwrap();
    create(&store, "created", "first").await.unwrap();
    put(&store, "created", "second").await.unwrap();
    put(&store, "deleted", "one").await.unwrap();
    store.delete(&Path::from("deleted")).await.unwrap();
    put(&store, "deleted", "two").await.unwrap();
    assert_eq!(double.held(), 3);
    double.release();
    assert_eq!(get(&store, "hint").await.unwrap(), "old");
    assert_eq!(get(&store, "created").await.unwrap(), "second");
    assert!(matches!(get(&store, "deleted").await, Err(Error::NotFound { .. })));
}

#[tokio::test]
async fn what_is_done_again_can_wait_for_requests_or_time() {
    let double = S3Double::start();
    let store = double.store();
    double.script().add(Rule::new(Fault::Again(Later::Requests(2))).on(&[Op::Put]).nth(1));
    put(&store, "hint", "old").await.unwrap();
    put(&store, "hint", "new").await.unwrap();
    assert_eq!(double.read("hint").unwrap(), "new");
    assert_eq!(get(&store, "hint").await.unwrap(), "new");
    assert_eq!(double.read("hint").unwrap(), "old");

    let soon = Later::After(Duration::from_millis(20));
    double.script().add(Rule::new(Fault::Again(soon)).on(&[Op::Put]).prefix("timed").nth(1));
    put(&store, "timed", "old").await.unwrap();
    double.write("timed", "new");
    until("the first write is there again", || double.read("timed").unwrap() == "old").await;
}

/// A write can land after the client has given it up.
#[tokio::test]
async fn a_late_write_lands_when_its_client_has_left() {
    let double = S3Double::start();
    double.script().add(Rule::new(Fault::Late(Later::Released)).on(&[Op::Put]).nth(1));
    let store = double.store();
    let leaving = until("the write is held", || double.held() == 1);
    // The first to end decides; the other, the client, is dropped with its connection.
    tokio::select! {
        created = create(&store, "a", "one") => panic!("it was answered: {created:?}"),
        () = leaving => {}
    }
    drop(store);
    assert_eq!(double.keys("").len(), 0);
    double.release();
    until("the late write is there", || double.read("a").is_some()).await;
}

#[tokio::test]
async fn a_slow_answer_is_to_what_is_done_already() {
    let double = S3Double::start();
    double.script().add(Rule::new(Fault::SlowHead(Later::Released)).on(&[Op::Put]));
    let store = double.store();
    let waiting = create(&store, "a", "one");
    let watching = async {
        until("the write is held", || double.held() == 1).await;
        assert_eq!((puts(&double), double.read("a").unwrap()), (vec![Answer::Waiting], "one".into()));
        double.release();
    };
    let (created, ()) = futures::join!(waiting, watching);
    created.unwrap();
}

#[tokio::test]
async fn a_body_that_breaks_off_is_resumed_by_a_range() {
    let double = S3Double::start();
    let body = Bytes::from((0..=u8::MAX).cycle().step_by(7).take(50_000).collect::<Vec<_>>());
    double.write("a", body.clone());
    double.script().add(Rule::new(Fault::Truncate(20_000)).on(&[Op::Get]).nth(1));
    double.script().add(Rule::new(Fault::Drip(7_000, Duration::from_millis(1))).on(&[Op::Get]));
    assert_eq!(get(&double.store(), "a").await.unwrap(), body);
    assert_eq!(double.count(Op::Get), 2);
    // Without retries the client has part of it and an error.
    double.script().add(Rule::new(Fault::Truncate(20_000)).on(&[Op::Get]));
    let mut stream = once(&double, "test").get(&Path::from("a")).await.unwrap().into_stream();
    let mut received = 0;
    let end = loop {
        match stream.next().await {
            Some(Ok(piece)) => received += piece.len(),
            end => break end,
        }
    };
    assert_eq!((received, matches!(end, Some(Err(_)))), (20_000, true));
}

/// What only a digest finds out.
#[tokio::test]
async fn a_body_can_lie_without_the_client_seeing_it() {
    let double = S3Double::start();
    double.write("a", "0123456789");
    let script = double.script();
    script.add(Rule::new(Fault::Resize(-4)).on(&[Op::Get]).nth(1));
    script.add(Rule::new(Fault::Resize(2)).on(&[Op::Get]).nth(2));
    script.add(Rule::new(Fault::Flip(3)).on(&[Op::Get]).nth(3));
    let store = double.store();
    assert_eq!(get(&store, "a").await.unwrap(), "012345");
    assert_eq!(get(&store, "a").await.unwrap(), "0123456789\0\0");
    assert_eq!(get(&store, "a").await.unwrap(), "0122456789");
    assert_eq!(get(&store, "a").await.unwrap(), "0123456789");
}

#[tokio::test]
async fn stale_answers_show_what_was_there_before() {
    let double = S3Double::start();
    let store = double.store();
    for key in ["a", "b", "c"] {
        create(&store, key, "one").await.unwrap();
    }
    put(&store, "a", "two").await.unwrap();
    store.delete(&Path::from("b")).await.unwrap();
    double.script().add(Rule::new(Fault::StaleGet).on(&[Op::Get, Op::Head]));
    double.script().add(Rule::new(Fault::StaleList(3)).on(&[Op::List]));
    assert_eq!(get(&store, "a").await.unwrap(), "one");
    assert_eq!(get(&store, "b").await.unwrap(), "one");
    assert!(matches!(get(&store, "c").await, Err(Error::NotFound { .. })));
    assert!(matches!(store.head(&Path::from("c")).await, Err(Error::NotFound { .. })));
    assert_eq!(keys(&store).await, ["a", "b"]);
    double.script().clear();
    assert_eq!((get(&store, "a").await.unwrap(), keys(&store).await.len()), ("two".into(), 2));
}

#[tokio::test]
async fn an_ignored_condition_lets_everybody_win() {
    let double = S3Double::start();
    double.script().add(Rule::new(Fault::IgnoreCondition).on(&[Op::Put]));
    create(&double.store(), "a", "one").await.unwrap();
    create(&double.store(), "a", "two").await.unwrap();
    assert_eq!(double.read("a").unwrap(), "two");
}

/// One after another all is well, which is why a probe must race.
#[tokio::test]
async fn a_condition_that_is_checked_too_early_lets_several_win() {
    let double = S3Double::start();
    let store = double.store();
    double.script().add(Rule::new(Fault::CheckThenAct(Duration::from_millis(50))).on(&[Op::Put]));
    create(&store, "calm", "one").await.unwrap();
    assert!(is_lost(&create(&store, "calm", "two").await));
    let results = join_all((0..32).map(|_| create(&store, "race", "x"))).await;
    let won = results.iter().filter(|result| result.is_ok()).count();
    assert!(won > 1, "{won} of 32 won");
}

#[tokio::test]
async fn one_client_is_cut_off_and_the_others_are_not() {
    let double = S3Double::start();
    let (left, right) = (once(&double, "left"), once(&double, "right"));
    for how in [CutOff::Drop(Cut::Close), CutOff::Drop(Cut::Reset), CutOff::Forbid] {
        double.cut_off("left", how);
        assert!(put(&left, "a", "left").await.is_err());
        put(&right, "a", "right").await.unwrap();
        double.let_in("left");
        assert_eq!(get(&left, "a").await.unwrap(), "right");
    }
    double.cut_off("left", CutOff::Hang);
    let asked = double.requests().len();
    let healing = async {
        until("the request hangs", || double.requests().len() > asked).await;
        double.let_in("left");
    };
    let (hung, ()) = futures::join!(put(&left, "a", "left"), healing);
    assert!(hung.is_err(), "{hung:?}");
    assert_eq!((double.read("a").unwrap(), double.count_from("left")), ("right".into(), 7));
}

/// Also the answer to what was done before the cut.
#[tokio::test]
async fn whoever_is_cut_off_gets_no_answer_any_more() {
    let double = S3Double::start();
    let left = once(&double, "left");
    double.script().add(Rule::new(Fault::SlowHead(Later::Released)).from("left"));
    let cutting = async {
        until("the write is held", || double.held() == 1).await;
        double.cut_off("left", CutOff::Hang);
        double.release();
    };
    let (written, ()) = futures::join!(put(&left, "a", "left"), cutting);
    assert!(written.is_err(), "{written:?}");
    assert_eq!(double.read("a").unwrap(), "left");
}

#[tokio::test]
async fn strangers_and_wrong_clocks_are_refused() {
    let keys = Some(vec!["known".to_owned()]);
    let double = S3Double::start_with(Setup { keys, ..Setup::default() });
    put(&once(&double, "known"), "a", "one").await.unwrap();
    let refused = get(&once(&double, "stranger"), "a").await.unwrap_err();
    assert!(matches!(refused, Error::PermissionDenied { .. }), "{refused:?}");
    assert!(refused.to_string().contains("InvalidAccessKeyId"), "{refused}");
    let unsigned = double.client("known").with_skip_signature(true).build().unwrap();
    assert!(matches!(get(&unsigned, "a").await, Err(Error::PermissionDenied { .. })));
    double.shift_clock(SignedDuration::from_hours(1));
    let skewed = get(&once(&double, "known"), "a").await.unwrap_err();
    assert!(skewed.to_string().contains("RequestTimeTooSkewed"), "{skewed}");
}

#[tokio::test]
async fn a_bucket_that_is_not_there_is_said_so() {
    let double = S3Double::start();
    let store = double.client("test").with_bucket_name("elsewhere").build().unwrap();
    let got = get(&store, "a").await.unwrap_err();
    assert!(matches!(&got, Error::NotFound { .. }) && got.to_string().contains("NoSuchBucket"), "{got}");
    let listed = store.list(None).try_collect::<Vec<_>>().await.unwrap_err();
    let said = format!("{listed:?}");
    assert!(said.contains("NoSuchBucket"), "{said}");
    assert!(put(&store, "a", "one").await.is_err());
}

/// The completion of an upload is sent again when its answer is lost: AWS says yes again, MinIO says no.
#[tokio::test]
async fn a_completion_whose_answer_is_lost_is_sent_again() {
    for forgets_completed in [false, true] {
        let double = S3Double::start_with(Setup { forgets_completed, ..Setup::default() });
        double.script().add(Rule::new(Fault::DropReply(Cut::Close)).on(&[Op::CompleteUpload]).nth(1));
        let store = double.store();
        let mut upload = store.put_multipart(&Path::from("blob")).await.unwrap();
        upload.put_part(Bytes::from_static(b"part").into()).await.unwrap();
        assert_eq!(double.uploads(), ["blob"]);
        let completed = upload.complete().await;
        assert_eq!(completed.is_err(), forgets_completed, "{completed:?}");
        assert_eq!((double.read("blob").unwrap(), double.uploads().len()), ("part".into(), 0));
    }
}

#[tokio::test]
async fn an_upload_in_too_small_parts_is_refused() {
    let double = S3Double::start();
    let mut upload = double.store().put_multipart(&Path::from("blob")).await.unwrap();
    for _ in 0..2 {
        upload.put_part(Bytes::from_static(b"part").into()).await.unwrap();
    }
    let refused = upload.complete().await.unwrap_err();
    assert!(refused.to_string().contains("EntityTooSmall"), "{refused}");
    assert!(double.read("blob").is_none());
}

#[tokio::test]
async fn an_upload_is_listed_until_it_is_aborted() {
    let double = S3Double::start();
    let mut upload = double.store().put_multipart(&Path::from("folder/blob")).await.unwrap();
    upload.put_part(Bytes::from_static(b"part").into()).await.unwrap();
    let listed = async |prefix: &str| {
        let url = format!("{}/{}?uploads&prefix={prefix}", double.endpoint(), double.bucket());
        reqwest::get(url).await.unwrap().text().await.unwrap()
    };
    assert!(listed("folder/").await.contains("<Key>folder/blob</Key><UploadId>upload-1</UploadId>"));
    assert!(!listed("other/").await.contains("<Upload>"));
    upload.abort().await.unwrap();
    assert!(!listed("").await.contains("<Upload>"));
    assert!(double.uploads().is_empty());
    assert_eq!((double.count(Op::ListUploads), double.count(Op::AbortUpload)), (3, 1));
}

/// Which requests chance befalls depends on the seed and the request, not on the order of arrival.
#[tokio::test]
async fn a_seed_decides_what_chance_befalls() {
    let befallen = async |seed, backwards: bool| {
        let double = S3Double::start_with(Setup { seed, ..Setup::default() });
        double.script().add(Rule::new(Fault::Refuse(403)).on(&[Op::Put]).percent(30));
        let store = Arc::new(double.store());
        let mut numbers: Vec<_> = (0..60).collect();
        if backwards {
            numbers.reverse();
        }
        for number in numbers {
            let _ = put(&store, &format!("{number}"), "x").await;
        }
        double.keys("")
    };
    let first = befallen(1, false).await;
    assert_eq!(first, befallen(1, true).await);
    assert_ne!(first, befallen(2, false).await);
    assert!((30..55).contains(&first.len()), "{} of 60 went well", first.len());
}

#[tokio::test]
async fn rules_choose_by_key_client_and_count() {
    let double = S3Double::start();
    let (left, right) = (once(&double, "left"), once(&double, "right"));
    let script = double.script();
    script.add(Rule::new(Fault::Refuse(500)).on(&[Op::Put]).from("left").prefix("v1/").after(1).first(1));
    let odd = script.add(Rule::new(Fault::Refuse(503)).key(|key| key.ends_with("odd")));
    let mut results = Vec::new();
    for _ in 0..3 {
        assert!(put(&right, "v1/a", "x").await.is_ok());
        assert!(put(&left, "v2/a", "x").await.is_ok());
        results.push(put(&left, "v1/a", "x").await.is_ok());
    }
    assert_eq!(results, [true, false, true]);
    assert!(get(&right, "some/odd").await.is_err());
    script.remove(odd);
    assert!(matches!(get(&right, "some/odd").await, Err(Error::NotFound { .. })));
}

#[test]
fn a_stopped_double_is_gone() {
    let double = S3Double::start();
    let address = double.endpoint().replace("http://", "");
    std::net::TcpStream::connect(&address).unwrap();
    double.stop();
    assert!(std::net::TcpStream::connect(&address).is_err());
}
