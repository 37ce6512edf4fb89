//! What is wrong with a bucket that does not answer as one of ours, and whether what it holds is ours.
//!
//! The client keeps the server's words (`<Code>...</Code>`) in the text of its errors only, and reports a
//! missing bucket as a missing object; so a list is asked for, and its error is read as text. Codes are those
//! of "Error responses" in the Amazon S3 API Reference, which other servers use too.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use object_store::Error;
use object_store::path::Path;

use super::credentials::NoRole;
use super::{BackendError, Bucket, Place};
use crate::clock::Clock;
use crate::storage::calls::{CallError, Calls, causes};

/// The object that only a registry has.
const MARKER: &str = "v1/catalog/log/00000000000000000000";

/// An object that nobody writes.
const NOTHING: &str = "v1/probe/nothing";

/// What may stand in a `v1` without a marker: left by a start that was cut short.
const KNOWN_INSIDE: [&str; 7] = ["blobs", "cache", "catalog", "control", "instances", "probe", "uploads"];

/// How many keys are looked at.
const LOOKED_AT: usize = 1000;

/// How long asking may take in all.
const PATIENCE: Duration = Duration::from_secs(8);

/// How often a server that does not answer well is asked.
const TRIES: u32 = 3;

impl Bucket {
    /// Asks the server: true when a registry's storage is there, false when one may be made there. Takes a
    /// few seconds at most, and writes nothing.
    ///
    /// # Errors
    /// [`BackendError`], which says what to do.
    pub async fn inspect(&self, clock: &Clock) -> Result<bool, BackendError> {
        let calls = self.calls(clock.clone());
        let mut tries = 0;
        let asked = async {
            loop {
                tries += 1;
                match look(&calls, &self.place).await {
                    Err(BackendError::Unusable { .. } | BackendError::Unreachable { .. })
                        if tries < TRIES =>
                    {
                        clock.sleep(Duration::from_millis(300)).await;
                    }
                    other => return other,
                }
            }
        };
        match clock.timeout(PATIENCE, asked).await {
            Ok(answer) => answer,
            Err(source) => {
                let late = CallError::Late { action: "list", key: "v1".into(), source };
                Err(BackendError::Unreachable { place: self.place.clone(), source: Box::new(late) })
            }
        }
    }
}

/// Looks at the first keys of the store, those behind `v1/`, and those in it.
pub(super) async fn look(calls: &Calls, place: &Arc<Place>) -> Result<bool, BackendError> {
    let failed = |error| BackendError::of(place, error);
    let root = Path::default();
    // In the order of keys, `v1/~` comes after everything that we write.
    let (head, behind) = (first(calls, &root, None), first(calls, &root, Some("v1/~")));
    let head = head.await.map_err(failed)?;
    let behind = behind.await.map_err(failed)?;
    let others = || head.iter().chain(&behind).filter(|key| top(key) != "v1");
    if let Some(found) = others().find(|key| is_layout(top(key))) {
        return Err(BackendError::NewerFormat { place: place.clone(), found: found.to_string() });
    }
    if calls.head(&Path::from(NOTHING)).await.map_err(failed)?.is_some() {
        return Err(BackendError::NotAStore { place: place.clone() });
    }
    if calls.head(&Path::from(MARKER)).await.map_err(failed)?.is_some() {
        return Ok(true);
    }
    let inside = first(calls, &Path::from("v1"), None).await.map_err(failed)?;
    let strange =
        |key: &&Path| !key.as_ref().split('/').nth(1).is_some_and(|name| KNOWN_INSIDE.contains(&name));
    match others().chain(inside.iter().filter(strange)).next() {
        Some(found) => Err(BackendError::NotOurs { place: place.clone(), found: found.to_string() }),
        None => Ok(false),
    }
}

/// Some keys, no more than are looked at.
async fn first(calls: &Calls, prefix: &Path, offset: Option<&str>) -> Result<Vec<Path>, CallError> {
    let offset = offset.map(|offset| Path::parse(offset).unwrap_or_default());
    let mut found = std::pin::pin!(calls.list(prefix, offset.as_ref()).take(LOOKED_AT));
    let mut keys = Vec::new();
    while let Some(listed) = found.next().await {
        keys.push(listed?.key);
    }
    Ok(keys)
}

fn top(key: &Path) -> &str {
    key.as_ref().split('/').next().unwrap_or_default()
}

fn is_layout(name: &str) -> bool {
    name.strip_prefix('v').is_some_and(|number| number != "1" && number.parse::<u32>().is_ok())
}

impl BackendError {
    /// What a failed call means.
    pub(super) fn of(place: &Arc<Place>, source: CallError) -> Self {
        let place = Arc::clone(place);
        let words: Vec<_> = causes(&source).map(ToString::to_string).collect();
        let words = words.join("\n");
        let says = |codes: &[&str]| codes.iter().any(|code| words.contains(code));
        let status = status(&words);
        let unreachable = matches!(source, CallError::Late { .. }) || says_unreachable(&source);
        let denied = status == Some(403)
            || matches!(&source, CallError::Failed { source: Error::PermissionDenied { .. }, .. });
        let keyless = causes(&source).any(|cause| cause.downcast_ref::<NoRole>().is_some());
        let source = Box::new(source);
        if keyless {
            Self::NoKeys { place, source }
        } else if says(&["NoSuchBucket"]) || status == Some(404) {
            Self::NoBucket { place, source }
        } else if says(&["RequestTimeTooSkewed"]) {
            Self::ClockSkew { place, source }
        } else if says(&WRONG_REGION) || matches!(status, Some(301 | 302 | 307 | 308)) {
            let expected = tag(&words, "Region").or_else(|| quoted(&words, "expecting '"));
            Self::Elsewhere { place, expected, source }
        } else if says(&WRONG_KEYS) || status == Some(401) {
            Self::WrongCredentials { place, source }
        } else if denied {
            Self::Denied { place, source }
        } else if says(&UNTRUSTED) {
            Self::Untrusted { place, source }
        } else if unreachable {
            Self::Unreachable { place, source }
        } else {
            Self::Unusable { place, source }
        }
    }
}

const WRONG_REGION: [&str; 5] = [
    "AuthorizationHeaderMalformed",
    "PermanentRedirect",
    "TemporaryRedirect",
    "IllegalLocationConstraintException",
    // The client's word for a redirect without a target.
    "Received redirect without LOCATION",
];

const WRONG_KEYS: [&str; 5] =
    ["InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "ExpiredToken", "TokenRefreshRequired"];

/// What rustls says of certificates.
const UNTRUSTED: [&str; 2] = ["invalid peer certificate", "UnknownIssuer"];

/// Whether nobody answered.
fn says_unreachable(error: &CallError) -> bool {
    causes(error)
        .filter_map(|cause| cause.downcast_ref::<reqwest::Error>())
        .any(|error| error.is_connect() || error.is_timeout())
}

/// The status code in the client's words.
pub(in crate::storage) fn status(words: &str) -> Option<u16> {
    let (_, rest) = words.split_once("status code: ")?;
    rest.get(..3)?.parse().ok()
}

fn tag(words: &str, name: &str) -> Option<String> {
    let (_, rest) = words.split_once(&format!("<{name}>"))?;
    rest.split_once("</").map(|(value, _)| value.chars().take(80).collect())
}

fn quoted(words: &str, before: &str) -> Option<String> {
    let (_, rest) = words.split_once(before)?;
    rest.split_once('\'').map(|(value, _)| value.chars().take(80).collect())
}
