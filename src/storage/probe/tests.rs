//! The probe against stores that do not do what they should.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    ObjectStoreExt as _, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

use super::*;

/// What a store does wrong.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Lie {
    None,
    /// As rclone, Garage and s3rver.
    IgnoresConditions,
    /// As s3s-fs.
    ChecksThenActs,
    /// As the crate where it knows.
    NotImplemented,
    /// As Swift, through the crate.
    Says501,
    /// The first winners do not hear of it.
    LosesReplies(u64),
    /// Every create fails.
    Fails,
    /// Losing creates write all the same.
    WritesOnRefusal,
    ReadsOld,
    RemembersAbsence,
    HidesFromLists,
    ListsDeleted,
    ShortLists,
    WrongRanges,
}

#[derive(Debug)]
struct Liar {
    inner: InMemory,
    lie: Lie,
    wins: AtomicU64,
    /// What was written first, what was missed, what was deleted.
    old: Mutex<std::collections::BTreeMap<Path, PutPayload>>,
    missed: Mutex<BTreeSet<Path>>,
    deleted: Mutex<Vec<Path>>,
    /// How old the kept result and everything of other probes looks.
    age: Duration,
}

impl std::fmt::Display for Liar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Liar")
    }
}

impl Liar {
    fn aged(&self, mut meta: ObjectMeta) -> ObjectMeta {
        let old = [RESULT, "v1/probe/dead/x"].contains(&meta.location.as_ref());
        if old {
            meta.last_modified -= self.age;
        }
        meta
    }

    async fn create(&self, key: &Path, payload: PutPayload) -> Result<PutResult> {
        let create = |payload| self.inner.put_opts(key, payload, PutMode::Create.into());
        let generic = |words: &str| Error::Generic { store: "liar", source: words.into() };
        match self.lie {
            Lie::IgnoresConditions => self.inner.put(key, payload).await,
            Lie::ChecksThenActs => {
                // Two at a time come to the check.
                for _ in 0..self.wins.fetch_add(1, Ordering::SeqCst) % 16 * 3 {
                    tokio::task::yield_now().await;
                }
                if self.inner.head(key).await.is_ok() {
                    return create(payload).await;
                }
                tokio::task::yield_now().await;
                self.inner.put(key, payload).await
            }
            Lie::NotImplemented => {
                Err(Error::NotImplemented { operation: "create".into(), implementer: "liar".into() })
            }
            Lie::Says501 => Err(generic("Server returned non-2xx status code: 501 Not Implemented: x")),
            Lie::Fails => Err(generic("503")),
            Lie::LosesReplies(winners) => {
                let won = create(payload).await?;
                let lost = self.wins.fetch_add(1, Ordering::SeqCst) < winners;
                if lost { Err(generic("lost")) } else { Ok(won) }
            }
            Lie::WritesOnRefusal => match create(payload.clone()).await {
                Err(error) => self.inner.put(key, payload).await.and(Err(error)),
                created => created,
            },
            _ => create(payload).await,
        }
    }
}

#[async_trait]
impl ObjectStore for Liar {
    async fn put_opts(&self, key: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        tokio::task::yield_now().await;
        self.old.lock().unwrap().entry(key.clone()).or_insert_with(|| payload.clone());
        if options.mode == PutMode::Create {
            return self.create(key, payload).await;
        }
        self.inner.put_opts(key, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        key: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(key, options).await
    }

    async fn get_opts(&self, key: &Path, mut options: GetOptions) -> Result<GetResult> {
        let missing = || Error::NotFound { path: key.to_string(), source: "remembered".into() };
        if self.lie == Lie::RemembersAbsence && self.missed.lock().unwrap().contains(key) {
            return Err(missing());
        }
        if self.lie == Lie::WrongRanges {
            options.range = None;
        }
        let old = self.old.lock().unwrap().get(key).cloned();
        if let (Lie::ReadsOld, Some(old)) = (self.lie, old) {
            let other = InMemory::new();
            other.put(key, old).await?;
            return other.get_opts(key, options).await;
        }
        match self.inner.get_opts(key, options).await {
            Ok(mut result) => {
                result.meta = self.aged(result.meta);
                Ok(result)
            }
            Err(error) => {
                self.missed.lock().unwrap().insert(key.clone());
                Err(error)
            }
        }
    }

    fn delete_stream(&self, keys: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let deleted: Vec<_> = futures::executor::block_on(keys.map(|key| key.unwrap()).collect());
        self.deleted.lock().unwrap().extend(deleted.iter().cloned());
        self.inner.delete_stream(futures::stream::iter(deleted.into_iter().map(Ok)).boxed())
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let mut found: Vec<ObjectMeta> =
            futures::executor::block_on(self.inner.list(prefix).try_collect()).unwrap();
        let own = |prefix: &Path| prefix.as_ref().ends_with("/list");
        match self.lie {
            Lie::HidesFromLists if prefix.is_some_and(own) => drop(found.pop()),
            Lie::ShortLists => found.truncate(1000),
            Lie::ListsDeleted if prefix.is_some_and(own) => {
                let deleted = self.deleted.lock().unwrap();
                let ghosts = deleted.iter().filter(|key| key.prefix_matches(prefix.unwrap()));
                let like = found[0].clone();
                found.extend(ghosts.map(|key| ObjectMeta { location: key.clone(), ..like.clone() }));
            }
            _ => {}
        }
        let found: Vec<_> = found.into_iter().map(|meta| Ok(self.aged(meta))).collect();
        futures::stream::iter(found).boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

fn liar(lie: Lie, age: Duration) -> Arc<Liar> {
    let inner = InMemory::new();
    Arc::new(Liar {
        inner,
        lie,
        age,
        wins: AtomicU64::new(0),
        old: Mutex::default(),
        missed: Mutex::default(),
        deleted: Mutex::default(),
    })
}

fn probe(store: &Arc<Liar>, server: &str) -> Probe {
    let store: Arc<dyn ObjectStore> = Arc::clone(store) as Arc<dyn ObjectStore>;
    let calls = Calls::split(Arc::clone(&store), store, Duration::from_secs(5), Clock::system());
    let subject = Subject { endpoint: "http://x".into(), server: Some(server.into()) };
    Probe::of(calls, subject, &Entropy::system())
}

/// A future that a worker can run.
fn sent<T: Send>(future: T) -> T {
    future
}

async fn keys(store: &Arc<Liar>) -> Vec<String> {
    let found: Vec<ObjectMeta> = store.inner.list(None).try_collect().await.unwrap();
    found.into_iter().map(|meta| meta.location.to_string()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_good_store_passes_and_nothing_but_the_result_stays() {
    let store = liar(Lie::None, Duration::ZERO);
    let probed = sent(probe(&store, "a").at_start()).await.unwrap();
    assert_eq!(probed.report.verdict(), Verdict::Shared, "{}", probed.report);
    assert_eq!(probed.report.rows.len(), 5);
    assert_eq!(keys(&store).await, [RESULT]);
    let long = sent(probe(&store, "a").long()).await.unwrap();
    assert_eq!(long.verdict(), Verdict::Shared, "{long}");
    assert!(long.rows.len() > 10);
    assert_eq!(keys(&store).await, [RESULT]);
}

#[tokio::test(start_paused = true)]
async fn each_lie_is_found_out_and_said() {
    for (lie, row, word) in [
        (Lie::IgnoresConditions, "race of creates", "ignores the condition"),
        (Lie::ChecksThenActs, "race of creates", "2 of 32 creates of one key succeeded"),
        (Lie::NotImplemented, "race of creates", "501"),
        (Lie::Says501, "race of creates", "501"),
        (Lie::Fails, "race of creates", "no clear answer in 5 races"),
        (Lie::WritesOnRefusal, "race of creates", "not what the winner wrote"),
        (Lie::ReadsOld, "read after write", "did not show"),
        (Lie::RemembersAbsence, "absence is not remembered", "remembered on the way"),
        (Lie::HidesFromLists, "list after write", "does not show"),
        (Lie::ListsDeleted, "list after write", "was deleted"),
    ] {
        let report = probe(&liar(lie, Duration::ZERO), "a").at_start().await.unwrap().report;
        let found = report.rows.iter().find(|found| found.name == row).unwrap();
        assert!(found.outcome == Outcome::Failed && found.detail.contains(word), "{lie:?}\n{report}");
        assert!(matches!(report.verdict(), Verdict::Refused(reasons) if !reasons.is_empty()));
    }
    for (lie, row) in [(Lie::ShortLists, "list of many keys"), (Lie::WrongRanges, "ranges")] {
        let report = probe(&liar(lie, Duration::ZERO), "a").long().await.unwrap();
        let wrong: Vec<_> = report.rows.iter().filter(|row| row.outcome == Outcome::Failed).collect();
        assert!(wrong.len() == 1 && wrong[0].name == row, "{lie:?}\n{report}");
    }
}

#[tokio::test(start_paused = true)]
async fn lost_replies_repeat_a_race_and_prove_nothing() {
    for (winners, outcome, words) in [
        (3, Outcome::Passed, "5 races of 32, one winner each, 3 repeated"),
        (9, Outcome::Failed, "no clear answer in 5 races (cannot write"),
    ] {
        let report = probe(&liar(Lie::LosesReplies(winners), Duration::ZERO), "a").at_start().await;
        let race = report.unwrap().report.rows.swap_remove(0);
        assert!(race.outcome == outcome && race.detail.starts_with(words), "{race:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_kept_result_counts_for_a_week_for_this_server_and_only_if_it_was_good() {
    let day = Duration::from_secs(24 * 3600);
    for (age, kept) in [(Duration::ZERO, true), (6 * day, true), (8 * day, false)] {
        let store = liar(Lie::None, age);
        assert!(!probe(&store, "a").at_start().await.unwrap().kept);
        assert_eq!(probe(&store, "a").at_start().await.unwrap().kept, kept, "{age:?}");
        assert!(!probe(&store, "b").at_start().await.unwrap().kept);
    }
    let bad = liar(Lie::IgnoresConditions, Duration::ZERO);
    for _ in 0..2 {
        assert!(!probe(&bad, "a").at_start().await.unwrap().kept);
    }
    let store = liar(Lie::None, Duration::ZERO);
    store.inner.put(&Path::from(RESULT), "nonsense".into()).await.unwrap();
    assert!(!probe(&store, "a").at_start().await.unwrap().kept);
}

#[tokio::test(start_paused = true)]
async fn what_a_dead_probe_left_is_removed_and_what_a_living_one_writes_is_not() {
    let store = liar(Lie::None, Duration::from_secs(2 * 3600));
    for key in ["v1/probe/dead/x", "v1/probe/living/x"] {
        store.inner.put(&Path::from(key), "x".into()).await.unwrap();
    }
    probe(&store, "a").at_start().await.unwrap();
    assert_eq!(keys(&store).await, ["v1/probe/living/x", RESULT]);
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_off_is_a_warning_and_refuses_nothing() {
    let store = liar(Lie::None, Duration::ZERO);
    let mut probe = probe(&store, "a");
    probe.calls.clock = Clock::fixed(4_000_000_000_000);
    let report = probe.long().await.unwrap();
    let row = report.rows.iter().find(|row| row.name == "clocks").unwrap();
    assert!(row.outcome == Outcome::Warned && row.detail.contains("ahead of the store"), "{row:?}");
    assert_eq!(report.verdict(), Verdict::Shared);
}

#[test]
fn a_report_is_a_table_and_json() {
    let row = |name: &str, outcome| ProbeRow { name: name.into(), outcome, detail: "words".into() };
    let rows = vec![row("race of creates", Outcome::Failed), row("clocks", Outcome::Warned)];
    let report = ProbeReport { rows };
    assert_eq!(
        report.to_string(),
        "race of creates  FAILED   words\nclocks           warning  words\nSeveral instances may NOT write here."
    );
    assert_eq!(report.verdict(), Verdict::Refused(vec!["race of creates: words".into()]));
    let json = serde_json::to_string(&report).unwrap();
    assert!(json.starts_with(r#"{"rows":[{"name":"race of creates","outcome":"failed","detail":"words"}"#));
    assert_eq!(serde_json::from_str::<ProbeReport>(&json).unwrap(), report);
}

#[tokio::test]
async fn a_real_server_is_probed() {
    let Some(settings) = crate::storage::backend::tests::real("probe") else { return };
    let clock = Clock::system();
    let bucket = Bucket::new(&settings, crate::storage::backend::Waits::default()).unwrap();
    sent(bucket.inspect(&clock)).await.unwrap();
    let report = Probe::new(&bucket, clock.clone(), &Entropy::system()).long().await.unwrap();
    println!("{report}");
    let expected = crate::config::environment("DCOS_REGISTRY_TEST_S3_UNFIT").is_none();
    assert_eq!(report.verdict() == Verdict::Shared, expected, "{report}");
    let kept = Probe::new(&bucket, clock.clone(), &Entropy::system()).at_start().await.unwrap().kept;
    assert_eq!(kept, expected);
    let left = bucket.calls(clock).page(&Path::default(), None, 10).await.unwrap();
    // What a server that is unfit deletes may come back.
    assert!(left.len() == 1 || !expected, "{left:?}");
    bucket.calls(Clock::system()).delete(&Path::from(RESULT)).await.unwrap();
}
