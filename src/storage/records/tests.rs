//! The record protocol against a store that loses replies, conflicts, and answers from the past.

mod sharing;
mod tending;

use std::collections::BTreeMap;
use std::sync::Arc;

use object_store::memory::InMemory;
use object_store::{ObjectStore, ObjectStoreExt as _, PutMode};

use super::*;
use crate::clock::{Clock, Entropy};
use crate::model::Digest;
use crate::storage::calls::Calls;
use crate::storage::faults::{Fault, FaultStore};

const FOLDER: &str = "v1/test/log";

const NAMES: Names = Names { log: FOLDER, snap: "v1/test/snap", hint: "v1/test/hint", retention: None };

/// Counts how often each number was written; a number may be written once.
#[derive(Debug, Clone, Default, PartialEq)]
struct Numbers(BTreeMap<u64, u32>);

#[derive(Debug, thiserror::Error, PartialEq)]
#[error("{0} is there already")]
struct Taken(u64);

impl Rejection for Taken {
    fn class(&self) -> ErrorClass {
        ErrorClass::Stall
    }

    fn label(&self) -> &'static str {
        "Taken"
    }
}

impl State for Numbers {
    type Operation = u64;
    type Rejection = Taken;

    fn validate(&self, number: &u64, _epoch: Epoch) -> Result<(), Taken> {
        if self.0.contains_key(number) { Err(Taken(*number)) } else { Ok(()) }
    }

    fn apply(&mut self, _seq: u64, number: &u64) {
        *self.0.entry(*number).or_default() += 1;
    }

    fn save(&self) -> Result<Vec<u8>, String> {
        Ok(serde_json::to_vec(&self.0.iter().collect::<Vec<_>>()).unwrap())
    }

    fn load(bytes: &[u8]) -> Result<Self, String> {
        let pairs: Vec<(u64, u32)> = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        Ok(Self(pairs.into_iter().collect()))
    }
}

fn site(store: &Arc<dyn ObjectStore>, seed: u64) -> Site {
    Site {
        calls: Calls::new(Arc::clone(store), Clock::system()),
        entropy: Entropy::seeded(seed),
        author: format!("author-{seed}"),
        access: Access::ReadWrite,
        gate: crate::storage::gate::Gate::default(),
        by_leader_only: true,
    }
}

async fn open(store: &Arc<dyn ObjectStore>, seed: u64) -> Result<Log<Numbers>, LogError> {
    Log::open(site(store, seed), NAMES, None).await
}

fn memory() -> Arc<dyn ObjectStore> {
    Arc::new(InMemory::new())
}

fn path(seq: u64) -> object_store::path::Path {
    object_store::path::Path::from(format!("{FOLDER}/{seq:020}"))
}

async fn bytes(store: &Arc<dyn ObjectStore>, seq: u64) -> Vec<u8> {
    store.get(&path(seq)).await.unwrap().bytes().await.unwrap().to_vec()
}

async fn replace(store: &Arc<dyn ObjectStore>, seq: u64, bytes: Vec<u8>) {
    store.put_opts(&path(seq), bytes.into(), PutMode::Overwrite.into()).await.unwrap();
}

#[tokio::test]
async fn a_log_is_read_back_as_it_was_written() {
    let store = memory();
    let log = open(&store, 1).await.unwrap();
    assert_eq!(log.seq(), 0);
    for number in 0..100 {
        let committed = log.commit(Epoch(7), vec![number, 1_000 + number]).await.unwrap();
        assert_eq!(committed.seq, number + 1);
    }
    let again = open(&store, 2).await.unwrap();
    assert_eq!((again.seq(), again.state()), (100, log.state()));
    assert_eq!(again.registry(), log.registry());
    assert!(again.newer().is_none());
}

#[tokio::test]
async fn what_is_refused_is_not_written() {
    let store = memory();
    let log = open(&store, 1).await.unwrap();
    log.commit(Epoch(0), vec![1]).await.unwrap();
    for operations in [vec![1], vec![2, 1], vec![2, 2]] {
        let refused = log.commit(Epoch(0), operations).await.unwrap_err();
        assert!(matches!(refused, CommitError::Rejected(Taken(_))), "{refused}");
    }
    let many: Vec<u64> = (u64::MAX - 20_000..u64::MAX).collect();
    assert!(matches!(log.commit(Epoch(0), many).await, Err(CommitError::TooLarge { .. })));
    assert_eq!(open(&store, 2).await.unwrap().seq(), 1);
}

#[tokio::test]
async fn reading_only_begins_nothing_and_writes_nothing() {
    let store = memory();
    let reading = |seed| Site { access: Access::ReadOnly, ..site(&store, seed) };
    let absent = Log::<Numbers>::open(reading(1), NAMES, None).await.err().unwrap();
    assert!(matches!(absent, LogError::Absent { .. }));
    let log = open(&store, 2).await.unwrap();
    log.commit(Epoch(0), vec![5]).await.unwrap();
    let reader = Log::<Numbers>::open(reading(3), NAMES, None).await.unwrap();
    assert_eq!(reader.state(), log.state());
    assert!(matches!(reader.commit(Epoch(0), vec![6]).await, Err(CommitError::ReadOnly)));
}

#[tokio::test]
async fn a_log_of_another_registry_is_refused() {
    let store = memory();
    open(&store, 1).await.unwrap();
    let other = Log::<Numbers>::open(site(&store, 2), NAMES, Some("other")).await.err().unwrap();
    assert!(matches!(other, LogError::Foreign { .. }));
}

#[tokio::test]
async fn an_altered_missing_or_moved_record_breaks_the_chain() {
    let store = memory();
    let log = open(&store, 1).await.unwrap();
    for number in 0..5 {
        log.commit(Epoch(0), vec![number]).await.unwrap();
    }
    let good = bytes(&store, 3).await;
    let mut altered = String::from_utf8(good.clone()).unwrap();
    altered = altered.replace("\"operations\":[2]", "\"operations\":[9]");
    let oversized = vec![b' '; RECORD_LIMIT + 1];
    let renumbered = String::from_utf8(good.clone()).unwrap().replace("\"seq\":3", "\"seq\":4");
    replace(&store, 3, renumbered.into_bytes()).await;
    assert!(matches!(open(&store, 2).await, Err(LogError::Broken { seq: 3, .. })));
    for (bad, at) in [(altered.into_bytes(), 4), (bytes(&store, 2).await, 3), (b"{".to_vec(), 3), (vec![], 3)]
    {
        replace(&store, 3, bad).await;
        match open(&store, 2).await {
            Err(LogError::Broken { seq, .. }) => assert_eq!(seq, at),
            other => panic!("{:?}", other.err()),
        }
    }
    replace(&store, 3, oversized).await;
    assert!(matches!(open(&store, 2).await, Err(LogError::Read(CallError::TooLarge { .. }))));
    replace(&store, 3, good).await;
    assert_eq!(open(&store, 2).await.unwrap().state(), log.state());
}

#[tokio::test]
async fn after_a_newer_programs_record_the_log_is_read_and_not_written() {
    for (from, to) in [("\"format\":1", "\"format\":2,\"news\":true"), ("[2]", "[{\"unheardOf\":1}]")] {
        let store = memory();
        let log = open(&store, 1).await.unwrap();
        log.commit(Epoch(0), vec![1]).await.unwrap();
        let running = open(&store, 3).await.unwrap();
        log.commit(Epoch(0), vec![2]).await.unwrap();
        let newer = String::from_utf8(bytes(&store, 2).await).unwrap().replace(from, to);
        replace(&store, 2, newer.into_bytes()).await;
        let old = open(&store, 2).await.unwrap();
        assert_eq!((old.seq(), old.state().0.len()), (1, 1));
        assert_eq!(old.newer().unwrap().seq, 2);
        for log in [&old, &running] {
            assert!(matches!(log.commit(Epoch(0), vec![3]).await, Err(CommitError::Newer(_))));
        }
    }
    let store = memory();
    open(&store, 1).await.unwrap();
    let newer = String::from_utf8(bytes(&store, 0).await).unwrap().replace("\"format\":1", "\"format\":9");
    replace(&store, 0, newer.into_bytes()).await;
    assert!(matches!(open(&store, 2).await, Err(LogError::Newer(_))));
}

/// Reads the whole log from the inner store, checking numbers and digests without our reader.
async fn chain(store: &Arc<dyn ObjectStore>) -> Vec<u64> {
    let (mut numbers, mut previous) = (Vec::new(), None::<Digest>);
    for seq in 0.. {
        let Ok(result) = store.get(&path(seq)).await else { break };
        let bytes = result.bytes().await.unwrap();
        let record: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(record["seq"], seq);
        assert_eq!(record["previous"], serde_json::to_value(previous).unwrap());
        numbers.extend(record["operations"].as_array().unwrap().iter().map(|n| n.as_u64().unwrap()));
        previous = Some(Digest::of(&bytes));
    }
    numbers
}

/// Commits one number with faults at these steps; checks that it stands exactly once if it was
/// acknowledged, and that committing it again until it is there leaves it there once.
async fn commit_through(faults: &[(usize, Fault)]) -> usize {
    let inner = memory();
    let store = FaultStore::new(Arc::clone(&inner));
    let shared: Arc<dyn ObjectStore> = Arc::new(store.clone());
    let log = open(&shared, 1).await.unwrap();
    let other = open(&inner, 2).await.unwrap();
    other.commit(Epoch(0), vec![1]).await.unwrap();
    store.hurt(faults.iter().copied());
    let mut outcome = log.commit(Epoch(0), vec![2]).await;
    let steps = store.steps().len();
    if outcome.is_ok() {
        assert_eq!(chain(&inner).await, [1, 2], "{faults:?}");
    } else if let [_] = faults {
        let before_sending = matches!(outcome, Err(CommitError::Replay(_)));
        assert!(before_sending, "one fault does not make an outcome unknown: {faults:?}");
    }
    while let Err(error) = outcome {
        match error {
            CommitError::Rejected(Taken(2)) => break,
            CommitError::OutcomeUnknown { .. } => {}
            CommitError::Replay(error) if matches!(*error, LogError::Read(_)) => {}
            other => panic!("{faults:?}: {other}"),
        }
        outcome = log.commit(Epoch(0), vec![2]).await;
    }
    store.hurt([]);
    other.commit(Epoch(0), vec![3]).await.unwrap();
    assert_eq!(chain(&inner).await, [1, 2, 3], "{faults:?}");
    log.follow().await.unwrap();
    assert_eq!(log.state(), other.state(), "{faults:?}");
    steps
}

#[tokio::test(start_paused = true)]
async fn every_fault_and_every_pair_of_faults_leaves_one_effect() {
    let steps = commit_through(&[]).await;
    let mut runs = 0;
    for first in 0..steps + 8 {
        for a in Fault::SURVIVED {
            commit_through(&[(first, a)]).await;
            for second in first + 1..steps + 8 {
                for b in Fault::SURVIVED {
                    commit_through(&[(first, a), (second, b)]).await;
                    runs += 1;
                }
            }
        }
    }
    println!("commit: {steps} steps without faults, {runs} pairs of faults tried");
}

#[tokio::test(start_paused = true)]
async fn an_outcome_that_cannot_be_found_out_is_said_to_be_unknown() {
    let inner = memory();
    let store = FaultStore::new(Arc::clone(&inner));
    let log = open(&(Arc::new(store.clone()) as _), 1).await.unwrap();
    store.hurt((0..100).map(|step| (step, Fault::LostReply)));
    let unknown = log.commit(Epoch(0), vec![1]).await.unwrap_err();
    assert!(matches!(unknown, CommitError::OutcomeUnknown { seq: 1, .. }), "{unknown}");
    assert_eq!(unknown.class(), ErrorClass::Retry);
    store.hurt([]);
    let refused = log.commit(Epoch(0), vec![1]).await.unwrap_err();
    assert!(matches!(refused, CommitError::Rejected(Taken(1))), "it had been written: {refused}");
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_is_dropped_halfway_does_no_harm() {
    let mut finished = false;
    for polls in 0..100 {
        let inner = memory();
        let store = FaultStore::new(Arc::clone(&inner));
        let log = open(&(Arc::new(store) as _), 1).await.unwrap();
        // So that the commit loses first and has more steps.
        open(&inner, 2).await.unwrap().commit(Epoch(0), vec![9]).await.unwrap();
        {
            let mut commit = std::pin::pin!(log.commit(Epoch(0), vec![1]));
            for _ in 0..polls {
                if futures::poll!(&mut commit).is_ready() {
                    finished = true;
                    break;
                }
                // What the store defers, and what waits for a delay, is woken by the runtime.
                Clock::system().sleep(std::time::Duration::from_millis(1)).await;
            }
        }
        match log.commit(Epoch(0), vec![1]).await {
            Ok(_) | Err(CommitError::Rejected(Taken(1))) => {}
            Err(error) => panic!("dropped after {polls} polls: {error}"),
        }
        log.commit(Epoch(0), vec![2]).await.unwrap();
        assert_eq!(chain(&inner).await, [9, 1, 2], "dropped after {polls} polls");
        if finished {
            println!("commit: dropped after each of {polls} polls");
            assert!(polls > 2);
            return;
        }
    }
    panic!("it never ended");
}

#[tokio::test(start_paused = true)]
async fn writers_side_by_side_make_one_gapless_chain() {
    let mut losses = 0;
    for seed in 0..20 {
        let inner = memory();
        let store = FaultStore::new(Arc::clone(&inner));
        let shared: Arc<dyn ObjectStore> = Arc::new(store.clone());
        let logs = [open(&shared, 2 * seed).await.unwrap(), open(&shared, 2 * seed + 1).await.unwrap()];
        store.hurt_at_random(seed, 10);
        let writers = (0..8_u64).map(|writer| {
            let log = &logs[usize::try_from(writer % 2).unwrap()];
            async move {
                let mut acknowledged = Vec::new();
                for number in 0..10 {
                    let number = writer * 100 + number;
                    match log.commit(Epoch(0), vec![number]).await {
                        Ok(_) => acknowledged.push(number),
                        Err(CommitError::Rejected(_)) => panic!("{number} was written by nobody else"),
                        Err(_) => {}
                    }
                }
                acknowledged
            }
        });
        let acknowledged: Vec<u64> = futures::future::join_all(writers).await.into_iter().flatten().collect();
        let mut written = chain(&inner).await;
        let length = written.len();
        written.sort_unstable();
        written.dedup();
        assert_eq!(written.len(), length, "seed {seed}: a number stands twice");
        assert!(acknowledged.iter().all(|n| written.binary_search(n).is_ok()), "seed {seed}: one is lost");
        assert!(acknowledged.len() >= 40, "seed {seed}: {} of 80", acknowledged.len());
        let puts = store.steps().iter().filter(|step| step.starts_with("put")).count();
        store.hurt([]);
        for log in &logs {
            log.follow().await.unwrap();
        }
        let records = usize::try_from(logs[0].seq()).unwrap();
        assert!(records < length, "seed {seed}: nobody shared a record");
        losses += puts - records;
        assert_eq!(logs[0].state(), logs[1].state(), "seed {seed}");
    }
    assert!(losses > 0, "the writers never met");
    println!("{losses} writes were lost against others or to faults");
}

#[tokio::test(start_paused = true)]
async fn beginning_a_log_can_die_anywhere_and_race() {
    for died in [Fault::DiesBefore, Fault::DiesAfter] {
        for step in 0..3 {
            let inner = memory();
            let store = FaultStore::new(Arc::clone(&inner));
            store.hurt([(step, died)]);
            let _ = open(&(Arc::new(store) as _), 1).await;
            let (a, b) = futures::join!(open(&inner, 2), open(&inner, 3));
            assert_eq!(a.unwrap().registry(), b.unwrap().registry());
        }
    }
}
