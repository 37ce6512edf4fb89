//! A scripted double of an S3 server: real HTTP on loopback, so that the real client's own retries take part,
//! over buckets in memory that do what S3 does, unless a rule says otherwise.
//!
//! Use from a test crate: `#[path = "../support/s3_double.rs"] mod s3_double;`. It runs on a thread of its own,
//! so that blocking tests and tests with paused time can use it, and several processes at once.
//!
//! ```text
//! let double = S3Double::start();                     // or start_with(Setup { seed: 7, ..Setup::default() })
//! let store = double.store();                         // an AmazonS3 whose retries are quick
//! // The second create of a record is done, but its answer is lost:
//! let rule = Rule::new(Fault::DropReply(Cut::Close)).on(&[Op::Put]).prefix("v1/catalog/log/").nth(2);
//! let id = double.script().add(rule);
//! ...
//! assert_eq!(double.script().fired(id), 1);
//! ```
//!
//! # How a rule is written
//!
//! `Rule::new(fault)` befalls every request. Each word narrows it:
//! - `.on(&[Op::Put, …])`: operations; an operation is finer than an HTTP method (`PutPart`, `List`, …);
//! - `.prefix("v1/")`, `.key(|key| …)`: keys; a listing's key is its prefix; one key of a bulk deletion is enough;
//! - `.from("access key id")`: one client;
//! - `.nth(n)`, `.first(n)`, `.after(n)`: by the count of the requests that match, since the rule was added;
//! - `.percent(n)`: by chance, which seed, rule, operation, key and occurrence decide, not the order of arrival.
//!
//! All rules that match befall a request together; where two carry the same kind of fault, the older rule's
//! counts. What is held back (`Later`) waits for a time, for a number of further requests, or for
//! [`S3Double::release`], which makes a test independent of time. A request goes on when its client has left:
//! a write that timed out can still land.
//!
//! What it is not: it copies nothing, keeps no versions, and checks the access key id but no signature.

#![allow(dead_code, unused_imports, reason = "every test crate uses its own part of it")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use jiff::SignedDuration;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::{BackoffConfig, RetryConfig};
use tokio_util::sync::CancellationToken;

// A file that is included by its path has its modules beside it, not in a folder of its name.
#[path = "s3_double/ask.rs"]
mod ask;
#[path = "s3_double/desk.rs"]
mod desk;
#[path = "s3_double/listing.rs"]
mod listing;
#[path = "s3_double/log.rs"]
mod log;
#[path = "s3_double/range.rs"]
mod range;
#[path = "s3_double/reply.rs"]
mod reply;
#[path = "s3_double/script.rs"]
mod script;
#[path = "s3_double/uploads.rs"]
mod uploads;
#[path = "s3_double/wire.rs"]
mod wire;
#[path = "s3_double/world.rs"]
mod world;
#[path = "s3_double/xml.rs"]
mod xml;

pub use ask::Op;
pub use desk::CutOff;
pub use log::{Answer, Asked};
pub use script::{Cut, Fault, Later, Rule, RuleId, Script};

use desk::Desk;
use world::{Bucket, Object, World};

/// What the double is like from the start.
#[derive(Debug, Clone)]
pub struct Setup {
    /// The bucket that is there.
    pub bucket: String,
    /// The access key ids that are known; none takes everybody, also without a signature.
    pub keys: Option<Vec<String>>,
    /// The most keys in a page of a listing.
    pub page: usize,
    /// Decides rules of chance.
    pub seed: u64,
    /// Whether completing an upload twice is an error (MinIO) or succeeds again (AWS).
    pub forgets_completed: bool,
}

impl Default for Setup {
    fn default() -> Self {
        Self { bucket: "registry".into(), keys: None, page: 1000, seed: 0, forgets_completed: false }
    }
}

/// A running double. Dropping it stops it.
pub struct S3Double {
    address: SocketAddr,
    bucket: String,
    desk: Arc<Desk>,
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl S3Double {
    /// A double that knows everybody. Does not block; needs no runtime.
    pub fn start() -> Self {
        Self::start_with(Setup::default())
    }

    #[expect(clippy::disallowed_methods, reason = "it must run whatever the runtime of the test does")]
    pub fn start_with(setup: Setup) -> Self {
        // From here on connections are taken; they are answered once the thread runs.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let world = World::new(&setup.bucket, setup.page, setup.keys, setup.forgets_completed);
        let desk = Arc::new(Desk::new(world, Script::new(setup.seed)));
        let (stop, site) = (CancellationToken::new(), Arc::clone(&desk));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || run(listener, site, &stopped));
        Self { address, bucket: setup.bucket, desk, stop, thread: Some(thread) }
    }

    /// Stops: connections are cut, what waits is forgotten, new connections are refused.
    pub fn stop(self) {
        drop(self);
    }

    /// `http://127.0.0.1:<port>`
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    /// A client for the bucket, signed by `test`, whose ten retries take some ten milliseconds together.
    pub fn store(&self) -> AmazonS3 {
        self.client("test").build().unwrap()
    }

    /// The builder of a client that signs with an access key id.
    pub fn client(&self, access_key: &str) -> AmazonS3Builder {
        dcos_registry::marathon::install_tls_provider();
        let backoff = BackoffConfig {
            init_backoff: Duration::from_millis(1),
            max_backoff: Duration::from_millis(4),
            base: 2.0,
        };
        AmazonS3Builder::new()
            .with_endpoint(self.endpoint())
            .with_allow_http(true)
            .with_region("us-east-1")
            .with_bucket_name(&self.bucket)
            .with_access_key_id(access_key)
            .with_secret_access_key("secret")
            .with_retry(RetryConfig { backoff, ..RetryConfig::default() })
    }

    pub fn script(&self) -> &Script {
        &self.desk.script
    }

    /// The last 10,000 requests in the order of their arrival.
    pub fn requests(&self) -> Vec<Asked> {
        self.desk.log.entries()
    }

    /// How many requests arrived since the start that were an operation.
    pub fn count(&self, op: Op) -> u64 {
        self.desk.log.count(|_, asked| asked == op)
    }

    /// How many requests of an access key id arrived since the start.
    pub fn count_from(&self, client: &str) -> u64 {
        self.desk.log.count(|asked, _| asked == Some(client))
    }

    /// How often each kind of fault befell a request.
    pub fn faults(&self) -> BTreeMap<&'static str, u64> {
        self.desk.log.faults()
    }

    /// From now on nothing gets through from clients that sign with this access key id, nor any answer to them.
    pub fn cut_off(&self, client: &str, how: CutOff) {
        self.desk.cut_off(client, how);
    }

    /// Undoes [`S3Double::cut_off`].
    pub fn let_in(&self, client: &str) {
        self.desk.let_in(client);
    }

    /// Lets everything go on that waits for [`Later::Released`].
    pub fn release(&self) {
        self.desk.release();
    }

    /// How many requests and repeats are held back now.
    pub fn held(&self) -> usize {
        self.desk.held()
    }

    /// Moves the server's clock away from the machine's: `Date`, `Last-Modified`, and, beyond 15 minutes, the
    /// refusal of every signed request, as with AWS.
    pub fn shift_clock(&self, by: SignedDuration) {
        self.desk.world.shift_clock(by);
    }

    /// The keys that begin so, sorted.
    pub fn keys(&self, prefix: &str) -> Vec<String> {
        self.with(|bucket| bucket.objects.keys().filter(|key| key.starts_with(prefix)).cloned().collect())
    }

    /// An object's bytes.
    pub fn read(&self, key: &str) -> Option<Bytes> {
        self.with(|bucket| bucket.objects.get(key).map(|object| object.body.clone()))
    }

    /// Puts an object there, or other bytes in its place, without a request.
    pub fn write(&self, key: &str, body: impl Into<Bytes>) {
        let object = Object::new(body.into(), self.desk.world.now(), Vec::new());
        self.with(|bucket| bucket.set(key, Some(Arc::new(object))));
    }

    /// Takes an object away without a request.
    pub fn remove(&self, key: &str) {
        self.with(|bucket| bucket.set(key, None));
    }

    /// The keys of the uploads that were begun and neither completed nor aborted.
    pub fn uploads(&self) -> Vec<String> {
        self.with(|bucket| bucket.uploads.values().map(|upload| upload.key.clone()).collect())
    }

    fn with<T>(&self, look: impl FnOnce(&mut Bucket) -> T) -> T {
        look(self.desk.world.buckets().entry(self.bucket.clone()).or_default())
    }
}

impl Drop for S3Double {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            eprintln!("the S3 double ended with a panic");
        }
    }
}

/// One thread for all requests: what happens between two waits happens in one step.
fn run(listener: std::net::TcpListener, desk: Arc<Desk>, stop: &CancellationToken) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let exchange = wire::Exchange(tokio::net::TcpListener::from_std(listener).unwrap());
        let router = Router::new().fallback(desk::answer).with_state(desk);
        let service = router.into_make_service_with_connect_info::<wire::Switch>();
        tokio::select! {
            ended = axum::serve(exchange, service) => ended.unwrap(),
            () = stop.cancelled() => {}
        }
    });
}
