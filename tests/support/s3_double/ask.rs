//! What a client asks, read from HTTP into the words of the S3 interface.

use std::collections::BTreeMap;

use axum::body::Bytes;
use axum::extract::{Query, Request};
use axum::http::{HeaderMap, Method, header};

use super::xml;

/// The largest body that is taken. Real servers take 5 GiB; no test needs that in memory.
const LARGEST_BODY: usize = 256 << 20;

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Op {
    Put,
    Get,
    Head,
    Delete,
    BulkDelete,
    List,
    CreateUpload,
    PutPart,
    CompleteUpload,
    AbortUpload,
    ListUploads,
    CreateBucket,
    HeadBucket,
    /// Nothing that the double knows; answered with 501.
    Unknown,
}

impl Op {
    /// Whether it may change what is stored.
    pub fn writes(self) -> bool {
        !matches!(self, Self::Get | Self::Head | Self::List | Self::ListUploads | Self::HeadBucket)
    }
}

/// One request, body included.
#[derive(Debug, Clone)]
pub struct Ask {
    pub op: Op,
    pub bucket: String,
    /// The key; the prefix of a listing; the keys of a bulk deletion.
    pub keys: Vec<String>,
    /// The access key id that signed it.
    pub client: Option<String>,
    pub headers: HeaderMap,
    pub query: BTreeMap<String, String>,
    pub body: Bytes,
}

impl Ask {
    /// Reads a request to its end; none when the client left before that.
    pub async fn read(request: Request) -> Option<Self> {
        let (head, body) = request.into_parts();
        let body = axum::body::to_bytes(body, LARGEST_BODY).await.ok()?;
        let query = Query::<Vec<(String, String)>>::try_from_uri(&head.uri).map(|query| query.0);
        let query: BTreeMap<_, _> = query.unwrap_or_default().into_iter().collect();
        let path = head.uri.path().trim_start_matches('/');
        let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
        let key = decoded(key);
        let op = operation(&head.method, key.is_empty(), &query);
        let keys = match op {
            Op::BulkDelete => xml::texts(&String::from_utf8_lossy(&body), "Key"),
            Op::List | Op::ListUploads => vec![query.get("prefix").cloned().unwrap_or_default()],
            _ => vec![key],
        };
        let client = client(&head.headers);
        Some(Self { op, bucket: decoded(bucket), keys, client, headers: head.headers, query, body })
    }

    /// The one key of a request that has one.
    pub fn key(&self) -> &str {
        self.keys.first().map_or("", String::as_str)
    }

    pub fn header(&self, name: impl header::AsHeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    pub fn query(&self, name: &str) -> &str {
        self.query.get(name).map_or("", String::as_str)
    }
}

fn operation(method: &Method, on_bucket: bool, query: &BTreeMap<String, String>) -> Op {
    let has = |name: &str| query.contains_key(name);
    match (method.as_str(), on_bucket) {
        ("GET", true) if has("uploads") => Op::ListUploads,
        ("GET", true) if query.get("list-type").is_some_and(|kind| kind == "2") => Op::List,
        ("POST", true) if has("delete") => Op::BulkDelete,
        ("PUT", true) if query.is_empty() => Op::CreateBucket,
        ("HEAD", true) => Op::HeadBucket,
        ("POST", false) if has("uploads") => Op::CreateUpload,
        ("POST", false) if has("uploadId") => Op::CompleteUpload,
        ("PUT", false) if has("uploadId") => Op::PutPart,
        ("DELETE", false) if has("uploadId") => Op::AbortUpload,
        ("PUT", false) if query.is_empty() => Op::Put,
        ("GET", false) if query.is_empty() => Op::Get,
        ("HEAD", false) => Op::Head,
        ("DELETE", false) => Op::Delete,
        _ => Op::Unknown,
    }
}

/// `AWS4-HMAC-SHA256 Credential=<access key id>/<date>/<region>/s3/aws4_request, …`
fn client(headers: &HeaderMap) -> Option<String> {
    let words = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let credential = words.split_once("Credential=")?.1;
    Some(credential.split('/').next()?.to_owned())
}

/// Undoes percent encoding; what is none stays as it is.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        bytes.extend_from_slice(before.as_bytes());
        if let Some(byte) = after.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            bytes.push(byte);
            rest = &after[2..];
        } else {
            bytes.push(b'%');
            rest = after;
        }
    }
    bytes.extend_from_slice(rest.as_bytes());
    String::from_utf8_lossy(&bytes).into_owned()
}
