//! Snapshots, the hint and trimming: they change how fast a start is, and never what it finds.

use std::time::Duration;

use super::*;
use crate::storage::aged::AgedStore;
use crate::storage::records::tend::EVERY;

const DAY: Duration = Duration::from_secs(24 * 3600);

fn snap(seq: u64) -> object_store::path::Path {
    NAMES.snapshot(seq)
}

/// A log of that many records, each holding its own number, tended after each.
async fn tended(store: &Arc<dyn ObjectStore>, names: Names, records: u64) -> Log<Numbers> {
    let log = Log::open(site(store, 1), names, None).await.unwrap();
    for number in 0..records {
        log.commit(Epoch(1), vec![number]).await.unwrap();
        log.tend().await.unwrap();
    }
    log
}

async fn overwrite(store: &Arc<dyn ObjectStore>, key: &object_store::path::Path, bytes: Vec<u8>) {
    store.put_opts(key, bytes.into(), PutMode::Overwrite.into()).await.unwrap();
}

async fn snapshots(store: &Arc<dyn ObjectStore>) -> Vec<u64> {
    crate::storage::records::load::snapshots(&site(store, 9), &NAMES).await.unwrap()
}

#[tokio::test]
async fn a_start_reads_the_newest_snapshot_and_what_follows_it() {
    let inner = memory();
    let log = tended(&inner, NAMES, 5 * EVERY + 3).await;
    assert_eq!(snapshots(&inner).await, [5 * EVERY, 4 * EVERY, 3 * EVERY], "the newest three are kept");
    let store = FaultStore::new(Arc::clone(&inner));
    let again = open(&(Arc::new(store.clone()) as _), 2).await.unwrap();
    assert_eq!((again.seq(), again.state()), (log.seq(), log.state()));
    let records = store.steps().iter().filter(|step| step.contains("/log/")).count();
    assert!(records <= 16, "{records} looks at records: {:?}", store.steps());
    // It goes on from there like any other.
    again.commit(Epoch(1), vec![1_000_000]).await.unwrap();
    log.follow().await.unwrap();
    assert_eq!(log.state(), again.state());
}

#[tokio::test]
async fn snapshots_and_hints_that_lie_change_nothing() {
    let good = 2 * EVERY;
    for lie in 0..9 {
        let store = memory();
        let log = tended(&store, NAMES, 2 * EVERY + 5).await;
        let whole = store.get(&snap(good)).await.unwrap().bytes().await.unwrap().to_vec();
        let older = store.get(&snap(EVERY)).await.unwrap().bytes().await.unwrap().to_vec();
        let text = |from: &str, to: &str| {
            String::from_utf8(whole.clone()).unwrap().replacen(from, to, 1).into_bytes()
        };
        let registry = log.registry().to_owned();
        match lie {
            0 => overwrite(&store, &snap(good), whole[..whole.len() - 9].to_vec()).await,
            1 => overwrite(&store, &snap(good), b"no line".to_vec()).await,
            2 => overwrite(&store, &snap(good), text("[3,1]", "[3,7]")).await,
            3 => overwrite(&store, &snap(good), text(&registry, "another")).await,
            4 => overwrite(&store, &snap(good), older).await,
            5 => store.delete(&snap(good)).await.unwrap(),
            6 => {
                // All of it is consistent in itself, but the records do not follow it.
                let wrong = Digest::of(b"wrong").to_string();
                let digest = Digest::of(&bytes(&store, good).await).to_string();
                overwrite(&store, &snap(good), text(&digest, &wrong)).await;
            }
            7 => {
                for seq in [good, EVERY] {
                    overwrite(&store, &snap(seq), Vec::new()).await;
                }
            }
            _ => {}
        }
        for hint in
            [None, Some((0, 0)), Some((u64::MAX / 2, u64::MAX / 2)), Some((3, EVERY)), Some((0, good))]
        {
            let key = object_store::path::Path::from(NAMES.hint);
            match hint {
                None if lie == 8 => overwrite(&store, &key, b"{".to_vec()).await,
                None => {}
                Some((tail, snapshot)) => {
                    let text = format!("{{\"tail\":{tail},\"snapshot\":{snapshot}}}");
                    overwrite(&store, &key, text.into_bytes()).await;
                }
            }
            let again =
                open(&store, 2).await.unwrap_or_else(|error| panic!("lie {lie}, hint {hint:?}: {error}"));
            assert_eq!((again.seq(), again.state()), (log.seq(), log.state()), "lie {lie}, hint {hint:?}");
        }
    }
}

#[tokio::test]
async fn a_record_that_is_gone_is_not_taken_for_the_end() {
    for hinted in [true, false] {
        for gone in [1, 5, EVERY + 2, EVERY + 9] {
            let store = memory();
            let log = tended(&store, NAMES, EVERY + 10).await;
            store.delete(&path(gone)).await.unwrap();
            if !hinted {
                store.delete(&NAMES.hint.into()).await.unwrap();
            }
            match open(&store, 2).await {
                Ok(again) => {
                    // What a snapshot stands for need not be there.
                    assert!(gone <= EVERY, "{gone}");
                    assert_eq!(again.state(), log.state());
                }
                Err(LogError::Gap { missing, later, .. }) => {
                    assert!(gone > EVERY && missing == gone && later > gone, "{gone}: {missing}, {later}");
                }
                Err(error) => panic!("{error}"),
            }
        }
    }
    let store = memory();
    tended(&store, NAMES, 3).await;
    store.delete(&path(0)).await.unwrap();
    assert!(matches!(open(&store, 2).await, Err(LogError::Gap { missing: 0, later: 1, .. })));
}

/// A log that is trimmed, in a store whose times a clock decides.
async fn trimmed_log(clock: &Clock, records: u64) -> (Arc<dyn ObjectStore>, Log<Numbers>) {
    let names = Names { retention: Some(DAY), ..NAMES };
    let store: Arc<dyn ObjectStore> = Arc::new(AgedStore::new(memory(), clock.clone()));
    let timed = Site { calls: Calls::new(Arc::clone(&store), clock.clone()), ..site(&store, 1) };
    let log = Log::open(timed, names, None).await.unwrap();
    for number in 0..records {
        log.commit(Epoch(1), vec![number]).await.unwrap();
        log.tend().await.unwrap();
    }
    (store, log)
}

#[tokio::test]
async fn only_old_records_below_two_snapshots_are_trimmed() {
    let clock = Clock::fixed(1_000_000);
    let (store, log) = trimmed_log(&clock, 2 * EVERY).await;
    assert_eq!(log.trim().await.unwrap(), Trimmed { deleted: 0, left: 2 * EVERY }, "nothing is old");
    clock.advance(2 * DAY);
    assert_eq!(log.trim().await.unwrap().deleted, 0, "the age is that beside the newest record");
    log.commit(Epoch(1), vec![1_000]).await.unwrap();
    let trimmed = log.trim().await.unwrap();
    assert_eq!(trimmed, Trimmed { deleted: EVERY - 1, left: EVERY + 2 });
    assert!(store.head(&path(0)).await.is_ok() && store.head(&path(EVERY)).await.is_ok());
    assert!(store.head(&path(EVERY - 1)).await.is_err());
    let names = Names { retention: Some(DAY), ..NAMES };
    let again: Log<Numbers> = Log::open(site(&store, 2), names, None).await.unwrap();
    assert_eq!((again.seq(), again.state()), (log.seq(), log.state()));
    // Without its snapshots such a log is no log: it must not look like a short one.
    for seq in [EVERY, 2 * EVERY] {
        store.delete(&snap(seq)).await.unwrap();
    }
    let lost = Log::<Numbers>::open(site(&store, 3), names, None).await.err().unwrap();
    assert!(matches!(lost, LogError::Gap { missing: 1, .. }), "{lost}");
}

#[tokio::test]
async fn a_writer_that_slept_through_the_trimming_does_not_believe_its_ghost() {
    let clock = Clock::fixed(1_000_000);
    let (store, log) = trimmed_log(&clock, 3).await;
    let names = Names { retention: Some(DAY), ..NAMES };
    let sleeper: Log<Numbers> = Log::open(site(&store, 2), names, None).await.unwrap();
    for number in 3..2 * EVERY {
        log.commit(Epoch(1), vec![number]).await.unwrap();
        log.tend().await.unwrap();
    }
    clock.advance(2 * DAY);
    log.commit(Epoch(1), vec![1_000]).await.unwrap();
    log.trim().await.unwrap();
    assert!(store.head(&path(4)).await.is_err(), "record 4 was trimmed away");
    // The sleeper stands at record 3 and creates record 4 once more.
    let ghost = sleeper.commit(Epoch(1), vec![7_777]).await.unwrap_err();
    assert!(matches!(ghost, CommitError::Stalled { seq: 4 }), "{ghost}");
    assert_eq!(ghost.class(), ErrorClass::Retry);
    // Then it finds its way back, and its next record counts.
    let committed = sleeper.commit(Epoch(1), vec![8_888]).await.unwrap();
    assert_eq!(committed.seq, 2 * EVERY + 2);
    log.follow().await.unwrap();
    assert_eq!(log.state(), sleeper.state());
    assert!(!log.state().0.contains_key(&7_777));
    let fresh: Log<Numbers> = Log::open(site(&store, 3), names, None).await.unwrap();
    assert_eq!(fresh.state(), log.state(), "nobody sees the ghost");
}

/// Stalls a commit with its record in the socket, for as long as `meanwhile` takes.
async fn stalled_commit(
    store: &Arc<dyn ObjectStore>,
    clock: &Clock,
    meanwhile: impl Future<Output = ()>,
) -> Result<Committed, CommitError<Taken>> {
    let slow: Arc<dyn ObjectStore> = Arc::new(FaultStore::new(Arc::clone(store)));
    let timed = Site { calls: Calls::new(slow, clock.clone()), ..site(store, 7) };
    let names = Names { retention: Some(DAY), ..NAMES };
    let log: Log<Numbers> = Log::open(timed, names, None).await.unwrap();
    let mut commit = std::pin::pin!(log.commit(Epoch(1), vec![7_777]));
    // The first poll ends just before the store is asked to create the record.
    assert!(futures::poll!(&mut commit).is_pending());
    meanwhile.await;
    commit.await
}

#[tokio::test]
async fn a_writer_that_slept_with_its_record_in_the_socket_believes_no_answer() {
    // At the beginning, where record 0 would vouch for anything; and where somebody else's ghost has the number.
    for (begun, ghost) in [(0, false), (0, true), (3, false), (3, true)] {
        let clock = Clock::fixed(1_000_000);
        let (store, log) = trimmed_log(&clock, begun).await;
        let others = async || {
            for number in begun..2 * EVERY {
                log.commit(Epoch(1), vec![number]).await.unwrap();
                log.tend().await.unwrap();
            }
            clock.advance(2 * DAY);
            log.commit(Epoch(1), vec![1_000]).await.unwrap();
            log.trim().await.unwrap();
        };
        let answer = if ghost {
            let other = async {
                let first = Box::pin(stalled_commit(&store, &clock, others())).await;
                assert!(matches!(first, Err(CommitError::Stalled { .. })), "{first:?}");
            };
            Box::pin(stalled_commit(&store, &clock, other)).await
        } else {
            Box::pin(stalled_commit(&store, &clock, others())).await
        };
        assert!(
            matches!(answer, Err(CommitError::Stalled { seq }) if seq == begun + 1),
            "{begun}: {answer:?}"
        );
        assert!(store.head(&path(begun + 1)).await.is_ok(), "there is a ghost");
        let names = Names { retention: Some(DAY), ..NAMES };
        let fresh: Log<Numbers> = Log::open(site(&store, 3), names, None).await.unwrap();
        log.follow().await.unwrap();
        assert_eq!(fresh.state(), log.state());
        assert!(!log.state().0.contains_key(&7_777));
    }
}

#[tokio::test]
async fn a_reader_that_was_away_for_long_begins_anew() {
    let clock = Clock::fixed(1_000_000);
    let (store, log) = trimmed_log(&clock, 3).await;
    let names = Names { retention: Some(DAY), ..NAMES };
    let timed = Site { calls: Calls::new(Arc::clone(&store), clock.clone()), ..site(&store, 2) };
    let away: Log<Numbers> = Log::open(timed, names, None).await.unwrap();
    for number in 3..2 * EVERY {
        log.commit(Epoch(1), vec![number]).await.unwrap();
        log.tend().await.unwrap();
    }
    clock.advance(2 * DAY);
    log.commit(Epoch(1), vec![1_000]).await.unwrap();
    log.trim().await.unwrap();
    assert_eq!(away.follow().await.unwrap(), 2 * EVERY + 1);
    assert_eq!(away.state(), log.state());
}

#[tokio::test(start_paused = true)]
async fn a_look_at_the_tail_answers_all_who_asked_before_it() {
    let inner = memory();
    let store = FaultStore::new(Arc::clone(&inner));
    let log = open(&(Arc::new(store.clone()) as _), 1).await.unwrap();
    open(&inner, 2).await.unwrap().commit(Epoch(0), vec![5]).await.unwrap();
    store.hurt([]);
    let looks = futures::future::join_all((0..50).map(|_| log.follow())).await;
    assert!(looks.into_iter().all(|look| look.unwrap() == 1));
    assert!(store.steps().len() <= 6, "{:?}", store.steps());
}

#[tokio::test]
async fn whoever_only_reads_on_hints_nothing() {
    let (inner, clock) = (memory(), Clock::fixed(0));
    let store = FaultStore::new(Arc::clone(&inner));
    let site = Site { calls: Calls::new(Arc::new(store.clone()), clock.clone()), ..site(&inner, 1) };
    let log: Log<Numbers> = Log::open(site, NAMES, None).await.unwrap();
    let other = open(&inner, 2).await.unwrap();
    store.hurt([]);
    log.commit(Epoch(0), vec![1]).await.unwrap();
    log.tend().await.unwrap();
    assert_eq!(store.steps().iter().filter(|step| **step == format!("put {}", NAMES.hint)).count(), 1);
    other.commit(Epoch(0), vec![2]).await.unwrap();
    assert_eq!(log.follow().await.unwrap(), 2);
    clock.advance(std::time::Duration::from_secs(60));
    store.hurt([]);
    log.tend().await.unwrap();
    assert_eq!(store.steps(), [""; 0]);
    log.commit(Epoch(0), vec![3]).await.unwrap();
    log.tend().await.unwrap();
    assert_eq!(store.steps().last(), Some(&format!("put {}", NAMES.hint)));
}

#[tokio::test]
async fn a_snapshot_that_cannot_be_read_now_is_no_reason_to_give_a_trimmed_log_up() {
    let clock = Clock::fixed(1_000_000);
    let (store, log) = trimmed_log(&clock, 2 * EVERY).await;
    clock.advance(2 * DAY);
    log.commit(Epoch(1), vec![1_000]).await.unwrap();
    assert!(log.trim().await.unwrap().deleted > 0);
    let names = Names { retention: Some(DAY), ..NAMES };
    let faulty = FaultStore::new(store);
    let site = site(&(Arc::new(faulty.clone()) as Arc<dyn ObjectStore>), 2);
    // Record 0, the hint, a snapshot, the list of them, and another.
    faulty.hurt([(2, Fault::Refused), (4, Fault::Refused)]);
    let refused = Log::<Numbers>::open(site.clone(), names, None).await.err().unwrap();
    assert_eq!(refused.class(), ErrorClass::Retry, "{refused}");
    assert!([2, 4].iter().all(|n| faulty.steps()[*n].contains("/snap/")), "{:?}", faulty.steps());
    faulty.hurt([]);
    assert_eq!(Log::<Numbers>::open(site, names, None).await.unwrap().state(), log.state());
}
