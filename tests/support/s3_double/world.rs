//! The buckets. One lock around all of them makes every request that is carried out whole linearizable.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use axum::body::Bytes;
use axum::http::header::{self, HeaderName};
use data_encoding::{BASE64, HEXLOWER};
use dcos_registry::clock::Clock;
use jiff::fmt::rfc2822::DateTimePrinter;
use jiff::{SignedDuration, Timestamp};
use sha2::{Digest as _, Sha256};

use super::ask::{Ask, Op};
use super::listing;
use super::range;
use super::reply::Reply;
use super::uploads::Upload;

/// How many changes can be taken back for a stale answer.
const JOURNAL: usize = 256;

/// By how much the signature's time may differ, as AWS has it.
const SKEW: SignedDuration = SignedDuration::from_mins(15);

/// A stored object.
#[derive(Debug)]
pub struct Object {
    pub body: Bytes,
    pub etag: String,
    pub modified: Timestamp,
    pub headers: Vec<(HeaderName, String)>,
}

/// The objects of a bucket by their keys.
pub type Objects = BTreeMap<String, Arc<Object>>;

/// A bucket.
#[derive(Default)]
pub struct Bucket {
    pub objects: Objects,
    pub uploads: BTreeMap<String, Upload>,
    /// How many uploads were ever begun.
    pub begun: u64,
    /// What became of uploads that were completed: their ETag.
    pub completed: BTreeMap<String, String>,
    /// Key and what was there before, oldest change first.
    journal: VecDeque<(String, Option<Arc<Object>>)>,
}

/// How old the bucket is that a read sees.
#[derive(Debug, Clone, Copy, Default)]
pub struct View {
    /// GET and HEAD see what was there before the last change of the key.
    pub before_last_change: bool,
    /// Listings see the bucket as it was so many changes ago.
    pub changes_ago: usize,
}

pub struct World {
    pub clock: Clock,
    pub page: usize,
    pub keys: Option<Vec<String>>,
    pub forgets_completed: bool,
    shift: Mutex<SignedDuration>,
    buckets: Mutex<BTreeMap<String, Bucket>>,
}

impl World {
    pub fn new(bucket: &str, page: usize, keys: Option<Vec<String>>, forgets_completed: bool) -> Self {
        let buckets = Mutex::new(BTreeMap::from([(bucket.to_owned(), Bucket::default())]));
        let clock = Clock::system();
        Self { clock, page, keys, forgets_completed, shift: Mutex::default(), buckets }
    }

    pub fn shift_clock(&self, by: SignedDuration) {
        *self.shift.lock().unwrap() = by;
    }

    pub fn now(&self) -> Timestamp {
        self.clock.wall() + *self.shift.lock().unwrap()
    }

    pub fn buckets(&self) -> MutexGuard<'_, BTreeMap<String, Bucket>> {
        self.buckets.lock().unwrap()
    }

    /// What is wrong with the request itself, whatever the bucket holds.
    pub fn refusal(&self, ask: &Ask) -> Option<Reply> {
        let refuse = |status, code, message: &str| Some(Reply::error(status, code, message, ask.key()));
        if let Some(known) = &self.keys {
            match &ask.client {
                None => return refuse(403, "AccessDenied", "Access Denied"),
                Some(client) if !known.contains(client) => {
                    let message = "The AWS Access Key Id you provided does not exist in our records.";
                    return refuse(403, "InvalidAccessKeyId", message);
                }
                Some(_) => {}
            }
        }
        if ask.header("x-amz-date").and_then(signed_at).is_some_and(|at| self.is_skewed(at)) {
            let message = "The difference between the request time and the current time is too large.";
            return refuse(403, "RequestTimeTooSkewed", message);
        }
        if matches!(ask.op, Op::Put | Op::PutPart) && ask.header(header::CONTENT_LENGTH).is_none() {
            return refuse(411, "MissingContentLength", "You must provide the Content-Length HTTP header.");
        }
        if ask.header("x-amz-copy-source").is_some()
            || ask.header(header::CONTENT_ENCODING).is_some_and(|coding| coding.contains("aws-chunked"))
        {
            return refuse(
                501,
                "NotImplemented",
                "the double copies nothing and takes no aws-chunked bodies",
            );
        }
        if !has_declared_digests(ask) {
            return refuse(400, "BadDigest", "The body is not the one whose digest was sent.");
        }
        None
    }

    fn is_skewed(&self, at: Timestamp) -> bool {
        self.now().duration_since(at).abs() > SKEW
    }

    /// Whether the condition of the request holds; what is answered when it does not.
    pub fn check(&self, ask: &Ask) -> Result<(), Reply> {
        self.buckets().get(&ask.bucket).map_or(Ok(()), |bucket| condition(bucket, ask))
    }

    /// Carries a request out without a look at its condition.
    pub fn act(&self, ask: &Ask, view: View) -> Reply {
        self.act_in(&mut self.buckets(), ask, view)
    }

    /// Carries a request out if its condition holds, in one step.
    pub fn check_and_act(&self, ask: &Ask, view: View) -> Reply {
        let mut buckets = self.buckets();
        let checked = buckets.get(&ask.bucket).map_or(Ok(()), |bucket| condition(bucket, ask));
        match checked {
            Ok(()) => self.act_in(&mut buckets, ask, view),
            Err(refusal) => refusal,
        }
    }

    fn act_in(&self, buckets: &mut BTreeMap<String, Bucket>, ask: &Ask, view: View) -> Reply {
        if ask.op == Op::CreateBucket {
            buckets.entry(ask.bucket.clone()).or_default();
            return Reply::empty(200);
        }
        let Some(bucket) = buckets.get_mut(&ask.bucket) else {
            let reply = Reply::error(404, "NoSuchBucket", "The specified bucket does not exist", &ask.bucket);
            let headless = matches!(ask.op, Op::HeadBucket | Op::Head);
            return if headless { reply.without_body() } else { reply };
        };
        match ask.op {
            Op::Put => bucket.put(ask, self.now()),
            Op::Get => bucket.get(ask, view),
            Op::Head => bucket.get(ask, view).without_body(),
            Op::Delete => {
                bucket.remove(ask.key());
                Reply::empty(204)
            }
            Op::BulkDelete => bucket.bulk_delete(ask),
            Op::List => listing::list(&bucket.as_of(view.changes_ago), ask, self.page),
            Op::CreateUpload => bucket.create_upload(ask),
            Op::PutPart => bucket.put_part(ask),
            Op::CompleteUpload => bucket.complete_upload(ask, self.now(), self.forgets_completed),
            Op::AbortUpload => bucket.abort_upload(ask),
            Op::ListUploads => bucket.list_uploads(ask),
            Op::HeadBucket | Op::CreateBucket => Reply::empty(200),
            Op::Unknown => Reply::refusal(501, ask.key()),
        }
    }
}

impl Bucket {
    /// Stores an object, or takes it away, and remembers what was there.
    pub fn set(&mut self, key: &str, object: Option<Arc<Object>>) {
        let before = match object {
            Some(object) => self.objects.insert(key.to_owned(), object),
            None => self.objects.remove(key),
        };
        if self.journal.len() == JOURNAL {
            self.journal.pop_front();
        }
        self.journal.push_back((key.to_owned(), before));
    }

    fn remove(&mut self, key: &str) {
        if self.objects.contains_key(key) {
            self.set(key, None);
        }
    }

    fn put(&mut self, ask: &Ask, now: Timestamp) -> Reply {
        let object = Object::new(ask.body.clone(), now, kept_headers(ask));
        let reply = Reply::empty(200).with(header::ETAG, object.etag.clone());
        self.set(ask.key(), Some(Arc::new(object)));
        reply
    }

    fn bulk_delete(&mut self, ask: &Ask) -> Reply {
        let mut deleted = super::xml::Xml::default();
        for key in &ask.keys {
            self.remove(key);
            deleted = deleted.element("Deleted", &super::xml::Xml::default().text("Key", key));
        }
        Reply::xml(200, deleted.document("DeleteResult"))
    }

    fn get(&self, ask: &Ask, view: View) -> Reply {
        let current = self.objects.get(ask.key());
        let changes = self.journal.iter().rev().filter(|(key, _)| key == ask.key());
        let before = changes.map(|(_, before)| before.as_ref()).next();
        let seen = if view.before_last_change { before.unwrap_or(current) } else { current };
        let Some(object) = seen else {
            return Reply::error(404, "NoSuchKey", "The specified key does not exist.", ask.key());
        };
        if ask.header(header::IF_NONE_MATCH).is_some_and(|etag| etag == object.etag || etag == "*") {
            return Reply::empty(304).with(header::ETAG, object.etag.clone());
        }
        if ask.header(header::IF_MATCH).is_some_and(|etag| etag != object.etag) {
            return precondition(ask);
        }
        range::part(object, ask)
    }

    fn as_of(&self, changes_ago: usize) -> Objects {
        let mut objects = self.objects.clone();
        for (key, before) in self.journal.iter().rev().take(changes_ago) {
            match before {
                Some(object) => objects.insert(key.clone(), Arc::clone(object)),
                None => objects.remove(key),
            };
        }
        objects
    }
}

impl Object {
    pub fn new(body: Bytes, modified: Timestamp, headers: Vec<(HeaderName, String)>) -> Self {
        let etag = etag(&body);
        Self { body, etag, modified, headers }
    }

    /// `Last-Modified`, in whole seconds.
    pub fn last_modified(&self) -> String {
        http_date(self.modified)
    }
}

/// A validator that changes with the bytes and looks like S3's, which is an MD5 sum.
pub fn etag(body: &[u8]) -> String {
    let digest = HEXLOWER.encode(&Sha256::digest(body));
    format!("\"{}\"", &digest[..32])
}

pub fn http_date(time: Timestamp) -> String {
    DateTimePrinter::new().timestamp_to_rfc9110_string(&time).unwrap()
}

/// The condition of a write.
fn condition(bucket: &Bucket, ask: &Ask) -> Result<(), Reply> {
    if !matches!(ask.op, Op::Put | Op::CompleteUpload) {
        return Ok(());
    }
    let current = bucket.objects.get(ask.key());
    if ask.header(header::IF_NONE_MATCH).is_some_and(|etag| etag == "*") && current.is_some() {
        return Err(precondition(ask));
    }
    match (ask.header(header::IF_MATCH), current) {
        (Some(_), None) => {
            Err(Reply::error(404, "NoSuchKey", "The specified key does not exist.", ask.key()))
        }
        // Some clients send the validator without its quotes.
        (Some(wanted), Some(object)) if wanted.trim_matches('"') != object.etag.trim_matches('"') => {
            Err(precondition(ask))
        }
        _ => Ok(()),
    }
}

fn precondition(ask: &Ask) -> Reply {
    let message = "At least one of the pre-conditions you specified did not hold";
    Reply::error(412, "PreconditionFailed", message, ask.key())
}

/// The headers that come back with the object.
pub fn kept_headers(ask: &Ask) -> Vec<(HeaderName, String)> {
    let is_kept =
        |name: &HeaderName| *name == header::CONTENT_TYPE || name.as_str().starts_with("x-amz-meta-");
    let kept = ask.headers.iter().filter(|(name, _)| is_kept(name));
    kept.map(|(name, value)| (name.clone(), value.to_str().unwrap_or_default().to_owned())).collect()
}

fn has_declared_digests(ask: &Ask) -> bool {
    let signed = ask.header("x-amz-content-sha256").filter(|digest| digest.len() == 64);
    let summed = ask.header("x-amz-checksum-sha256");
    if signed.is_none() && summed.is_none() {
        return true;
    }
    let digest = Sha256::digest(&ask.body);
    signed.is_none_or(|text| text == HEXLOWER.encode(&digest))
        && summed.is_none_or(|text| text == BASE64.encode(&digest))
}

fn signed_at(text: &str) -> Option<Timestamp> {
    let time = jiff::civil::DateTime::strptime("%Y%m%dT%H%M%SZ", text).ok()?;
    jiff::tz::TimeZone::UTC.to_timestamp(time).ok()
}
