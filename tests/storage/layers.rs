//! Our own layers over every store: packages, both logs, the lease, collection and scrub, by two instances at once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use dcos_registry::clock::{Clock, Entropy};
use dcos_registry::config::{Backend, S3Credentials, S3Keys, S3Settings, StorageSettings};
use dcos_registry::model::{Coordinate, Digest, Member, PackageContent, Secret};
use dcos_registry::registry::intake::Intake;
use dcos_registry::storage::catalog::CatalogRejection;
use dcos_registry::storage::collect::{CollectOptions, collect, would_collect};
use dcos_registry::storage::control::{ControlOperation, ControlRejection, Request};
use dcos_registry::storage::gate::Writing;
use dcos_registry::storage::lease::{Candidate, LeaseTimes};
use dcos_registry::storage::progress::Unwatched;
use dcos_registry::storage::publish::{MemberReader, PublishError, ReleaseVersion, publish, unpublish};
use dcos_registry::storage::records::CommitError;
use dcos_registry::storage::scrub::{ScrubOptions, scrub};
use dcos_registry::storage::spool::Spool;
use dcos_registry::storage::uploads::Outcome;
use dcos_registry::storage::{Opening, Storage, StorageError};
use futures::future::{BoxFuture, join_all};
use tokio_util::sync::CancellationToken;

use crate::bundle;
use crate::s3_double::{Fault, Op, Rule, S3Double};
use crate::stores::{self, RealServer, Subject};

/// A package with a small file and one of several chunks.
struct Sample {
    content: PackageContent,
    bytes: Vec<Vec<u8>>,
}

impl Sample {
    fn new(name: &str, version: u64) -> Self {
        let entropy = Entropy::seeded(version + 1);
        let noise = |length: usize| -> Vec<u8> {
            (0..length.div_ceil(8)).flat_map(|_| entropy.next().to_le_bytes()).take(length).collect()
        };
        let bytes = vec![noise(1_000), noise(700_001)];
        let members = bytes.iter().enumerate().map(|(n, bytes)| Member {
            role: format!("asset/{n}"),
            name: format!("file-{n}"),
            digest: Digest::of(bytes),
            size: bytes.len() as u64,
            media_type: "application/octet-stream".into(),
        });
        let metadata = serde_json::json!({"name": name, "version": version.to_string()});
        let coordinate = Coordinate::new(name.parse().unwrap(), version.to_string().parse().unwrap());
        let content =
            PackageContent { coordinate, release_version: None, metadata, members: members.collect() };
        Self { content, bytes }
    }

    async fn publish(&self, storage: &Storage) -> Result<bool, PublishError> {
        let open = |member: &Member| -> BoxFuture<'_, std::io::Result<MemberReader>> {
            let at = self.content.members.iter().position(|m| m == member).unwrap();
            let reader: MemberReader = Box::new(std::io::Cursor::new(self.bytes[at].clone()));
            Box::pin(async move { Ok(reader) })
        };
        let published = publish(storage, &self.content, open, ReleaseVersion::NextFree).await?;
        Ok(!published.already)
    }

    /// Reads everything back through a storage that may not know of it yet.
    async fn check(&self, storage: &Storage) {
        storage.catalog.follow().await.unwrap();
        let metadata = storage.document(&self.content.coordinate).await.unwrap();
        assert_eq!(metadata.as_deref(), Some(&self.content.metadata));
        for (member, bytes) in self.content.members.iter().zip(&self.bytes) {
            let read = storage.read_all(&member.digest, 1 << 20).await.unwrap();
            assert!(read == *bytes, "{} came back altered", member.name);
        }
    }
}

/// Where two instances meet.
enum Meeting<'a> {
    Store(&'a Subject),
    Bucket(&'a S3Settings),
}

impl Meeting<'_> {
    async fn open(&self, who: &str) -> Arc<Storage> {
        let (clock, entropy) = (Clock::system(), Entropy::system());
        let storage = match self {
            Self::Store(subject) => Storage::open(Arc::clone(&subject.store), clock, entropy).await,
            Self::Bucket(s3) => open_bucket(s3, who, false).await,
        };
        let storage = Arc::new(storage.unwrap());
        storage.admit().await;
        assert_eq!(storage.writing(), Writing::Open);
        storage
    }
}

async fn open_bucket(s3: &S3Settings, who: &str, on_trust: bool) -> Result<Storage, StorageError> {
    let (clock, entropy) = (Clock::system(), Entropy::system());
    let opening = Opening {
        instance: who.to_owned(),
        lock_wait: Duration::ZERO,
        call_timeout: Duration::from_secs(5),
        clock,
        entropy,
    };
    let spool = std::env::temp_dir();
    let settings =
        StorageSettings { backend: Backend::S3(s3.clone()), unsafe_single_writer: on_trust, spool };
    Storage::open_settings(&settings, &opening).await
}

/// Everything, in the order in which users would meet it.
async fn layers(meeting: &Meeting<'_>) {
    let (a, b) = (meeting.open("a").await, meeting.open("b").await);
    assert_eq!(a.catalog.registry(), b.catalog.registry());
    let sample = Sample::new("hello", 1);
    assert!(sample.publish(&a).await.unwrap(), "new");
    assert!(!sample.publish(&b).await.unwrap(), "the same again is success, and nothing new");
    sample.check(&b).await;
    racing_publishers(&a, &b).await;
    brought_in_pieces(&a, &b).await;
    one_leads(&a, &b).await;
    unpublish(&b, &sample.content.coordinate).await.unwrap();
    a.catalog.follow().await.unwrap();
    assert!(a.catalog.state().entry(&sample.content.coordinate).is_none());
    for log in [a.catalog.snapshot_now().await, a.control.snapshot_now().await] {
        log.unwrap();
    }
    collected(&a).await;
    let c = meeting.open("c").await;
    assert_eq!((c.catalog.state(), c.control.state()), (a.catalog.state(), a.control.state()));
    let report = scrub(&c, &ScrubOptions::FAST, &Entropy::seeded(1), &Unwatched).await.unwrap();
    assert!(report.findings.is_empty(), "{report}");
}

/// Eight publishers through two instances: each version stands once, with a release version of its own.
async fn racing_publishers(a: &Arc<Storage>, b: &Arc<Storage>) {
    let samples: Vec<_> = (0..8).map(|n| Sample::new("race", n)).collect();
    let races = samples.iter().enumerate().map(|(n, sample)| sample.publish(if n % 2 == 0 { a } else { b }));
    for won in join_all(races).await {
        assert!(won.unwrap());
    }
    let rivals = (Sample::new("rival", 1), {
        let mut other = Sample::new("rival", 1);
        other.content.metadata["description"] = "other".into();
        other
    });
    let (one, other) = futures::join!(rivals.0.publish(a), rivals.1.publish(b));
    let refused = match (one, other) {
        (Ok(true), Err(refused)) | (Err(refused), Ok(true)) => refused,
        both => panic!("one of two contents must win: {both:?}"),
    };
    assert!(matches!(refused, PublishError::VersionImmutable { .. }), "{refused}");
    a.catalog.follow().await.unwrap();
    b.catalog.follow().await.unwrap();
    assert_eq!(a.catalog.state(), b.catalog.state());
    let name = "race".parse().unwrap();
    let mut numbers: Vec<_> = a.catalog.state().versions_of(&name).map(|v| v.release_version).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..8).collect::<Vec<_>>());
    for sample in &samples {
        sample.check(a).await;
    }
}

async fn intake(storage: &Arc<Storage>, folder: &std::path::Path) -> Intake {
    let spool = Spool::open(folder, None, Clock::system()).await.unwrap();
    Intake::new(Arc::clone(storage), spool, Clock::system())
}

/// A bundle that is begun at one instance, goes on at another, and is finished by both.
async fn brought_in_pieces(a: &Arc<Storage>, b: &Arc<Storage>) {
    let folder = tempfile::tempdir().unwrap();
    let (at_a, at_b) = (intake(a, folder.path()).await, intake(b, folder.path()).await);
    let sample = bundle::Sample::new("pieces", 1).with_own_of(700_001);
    let whole = tokio::task::spawn_blocking({
        let sample = sample.clone();
        move || sample.bundle()
    });
    let whole = whole.await.unwrap();
    let (length, half) = (whole.len() as u64, whole.len() / 2);
    let id = at_a.uploads().begin(Some(length), BTreeMap::new()).await.unwrap();
    at_a.uploads().append(id, 0, &mut &whole[..half]).await.unwrap();
    let twice = at_b.uploads().append(id, 0, &mut &whole[..half]).await.unwrap_err();
    assert_eq!(twice.label(), "WrongOffset", "{twice}");
    at_b.uploads().append(id, half as u64, &mut &whole[half..]).await.unwrap();
    let outcomes = futures::join!(at_a.finish(id), at_b.finish(id));
    let (one, other) = (outcomes.0.unwrap(), outcomes.1.unwrap());
    assert!(one == other && matches!(one, Outcome::Published { .. }), "{one:?} and {other:?}");
    b.catalog.follow().await.unwrap();
    assert!(sample.is_file("own", &b.read_all(&sample.own(), 1 << 20).await.unwrap()));
}

fn candidate(storage: &Arc<Storage>) -> Candidate {
    let times = LeaseTimes {
        ttl: Duration::from_millis(3_600),
        deadline: Duration::from_millis(2_400),
        renew: Duration::from_millis(1_200),
        poll: Duration::from_millis(300),
    };
    Candidate { storage: Arc::clone(storage), times, clock: Clock::system(), entropy: Entropy::system() }
}

/// The lease goes from one to the other when it is given back; what the old holder says counts for nothing.
async fn one_leads(a: &Arc<Storage>, b: &Arc<Storage>) {
    let stop = CancellationToken::new();
    let first = candidate(a).campaign(&stop).await.unwrap().unwrap();
    b.control.request("now", Request::Reconcile).await.unwrap();
    let suspended = ControlOperation::Suspended { reason: "a test".into() };
    first.commit(vec![suspended]).await.unwrap();
    assert_eq!(a.control.state().requests.len(), 1, "a commit reads on");
    first.release().await.unwrap();
    let second = candidate(b).campaign(&stop).await.unwrap().unwrap();
    assert!(second.epoch() > first.epoch());
    let late = a.control.commit(first.epoch(), vec![ControlOperation::Resumed]).await.unwrap_err();
    assert!(matches!(late, CommitError::Rejected(ControlRejection::LeaseLost { .. })), "{late}");
    second.commit(vec![ControlOperation::Resumed]).await.unwrap();
    second.release().await.unwrap();
}

/// What was unpublished goes; what is published stays readable.
async fn collected(storage: &Arc<Storage>) {
    let options = CollectOptions { grace: Duration::ZERO, reader_grace: Duration::ZERO, allow: None };
    let forecast = would_collect(storage, &options, &Unwatched).await.unwrap();
    let options = CollectOptions { allow: forecast.needs_allow, ..options };
    let tenure = candidate(storage).campaign(&CancellationToken::new()).await.unwrap().unwrap();
    let before = storage.catalog.state().blob_count();
    for _ in 0..3 {
        collect(storage, &tenure, &options, &Unwatched).await.unwrap();
    }
    assert!(storage.catalog.state().blob_count() < before);
    assert!(storage.catalog.state().condemned().is_empty(), "what was condemned is gone");
    let other = CatalogRejection::Fenced { held: tenure.epoch(), fence: tenure.epoch() };
    tenure.release().await.unwrap();
    assert_eq!(storage.catalog.state().fence(), tenure.epoch(), "{other}");
    Sample::new("race", 3).check(storage).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn layers_work_on_every_store_at_hand() {
    for subject in
        [Some(stores::memory()), Some(stores::directory()), stores::mounted()].into_iter().flatten()
    {
        println!("layers over {}", subject.name);
        layers(&Meeting::Store(&subject)).await;
    }
}

fn settings(endpoint: &str, bucket: &str, keys: (&str, &str)) -> S3Settings {
    S3Settings {
        bucket: bucket.to_owned(),
        path: format!("layers-{}", Entropy::system().nonce()),
        endpoint: Some(endpoint.to_owned()),
        region: "us-east-1".to_owned(),
        path_style: true,
        credentials: S3Credentials::Static(S3Keys {
            id: keys.0.to_owned(),
            secret: Secret::new(keys.1),
            token: None,
        }),
        ca: None,
        allow_http: true,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn layers_work_on_the_double() {
    let double = S3Double::start();
    layers(&Meeting::Bucket(&settings(&double.endpoint(), double.bucket(), ("any", "secret")))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_that_ignores_conditions_is_refused_unless_somebody_promises() {
    let double = S3Double::start();
    double.script().add(Rule::new(Fault::IgnoreCondition).on(&[Op::Put]));
    let settings = settings(&double.endpoint(), double.bucket(), ("any", "secret"));
    let refused = open_bucket(&settings, "a", false).await.err().unwrap();
    assert!(matches!(refused, StorageError::Unfit { .. }), "{refused}");
    assert!(double.keys("").iter().all(|key| key.contains("/v1/probe/")), "{:?}", double.keys(""));
    let trusted = open_bucket(&settings, "a", true).await.unwrap();
    assert!(matches!(trusted.writing(), Writing::SingleWriter { leading: false, .. }));
    assert!(Sample::new("hello", 1).publish(&trusted).await.is_err(), "only the leader writes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn layers_on_a_real_server() {
    let Some(server) = stores::named_server() else { return };
    let RealServer { endpoint, bucket, access_key, secret_key, .. } = &server;
    let settings = settings(endpoint, bucket, (access_key, secret_key));
    if stores::is_to_be_refused() {
        let refused = open_bucket(&settings, "a", false).await.err().unwrap();
        assert!(matches!(refused, StorageError::Unfit { .. }), "{refused}");
        println!("{refused}");
        return;
    }
    layers(&Meeting::Bucket(&settings)).await;
}
