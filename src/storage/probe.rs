//! Finding out by trying whether a store keeps what several instances need of it.
//!
//! Everything rests on create-if-absent. There are servers that ignore the condition, that check it and then
//! write (two may win), and that say honestly that they do not know it; what a vendor promises differs with
//! version and setting. So 32 writers race for one key, five times, and exactly one may win each time. A reply
//! that says neither is no proof of anything: the round is repeated, a few times.
//!
//! The short form runs before the first write; its result is kept in the store for 7 days of the store's own
//! clock. The long form is `storage check`. Everything that is written lies in a folder of its own and is
//! removed; what a probe that died left is removed by a later one.

mod long;
mod short;

#[cfg(test)]
mod tests;

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use jiff::{SignedDuration, Timestamp};
use object_store::path::Path;
use serde::{Deserialize, Serialize};

use super::backend::Bucket;
use super::calls::{CallError, Calls, causes};
use crate::clock::{Clock, DeadlinePassed, Entropy};
use crate::model::ErrorClass;

/// Where probes write.
const FOLDER: &str = "v1/probe";

/// The last result.
const RESULT: &str = "v1/probe/result";

/// The most that a kept result takes, in bytes.
const RESULT_LIMIT: u64 = 64 * 1024;

/// Raised when a probe tries more than those before it did.
const FORMAT: u32 = 1;

/// For how many seconds a result holds.
const VALID: i64 = 7 * 24 * 3600;

/// After how many seconds a probe's folder belongs to nobody any more.
const STALE: i64 = 3600;

/// How long the short form may take.
const SHORT_LIMIT: Duration = Duration::from_secs(60);

/// How long the long form may take.
const LONG_LIMIT: Duration = Duration::from_secs(15 * 60);

/// How many calls run side by side where nobody races.
const SIDE_BY_SIDE: usize = 16;

/// How one thing that was tried ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// As it must be.
    Passed,
    /// Not as it should be, and nothing rests on it.
    Warned,
    /// Not tried.
    Skipped,
    /// Not as it must be.
    Failed,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Passed => "passed",
            Self::Warned => "warning",
            Self::Skipped => "skipped",
            Self::Failed => "FAILED",
        })
    }
}

/// One thing that was tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProbeRow {
    /// What.
    pub name: String,
    /// How it ended.
    pub outcome: Outcome,
    /// What was found.
    pub detail: String,
}

/// All that was tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProbeReport {
    /// In the order in which it was tried.
    pub rows: Vec<ProbeRow>,
}

/// Whether several instances may write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// They may.
    Shared,
    /// They may not, for these reasons.
    Refused(Vec<String>),
}

impl ProbeReport {
    /// Whether several instances may write.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        let failed = self.rows.iter().filter(|row| row.outcome == Outcome::Failed);
        let reasons: Vec<_> = failed.map(|row| format!("{}: {}", row.name, row.detail)).collect();
        if reasons.is_empty() { Verdict::Shared } else { Verdict::Refused(reasons) }
    }
}

impl fmt::Display for ProbeReport {
    /// A table, one line a row, and the verdict.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        table(f, &self.rows)?;
        f.write_str(match self.verdict() {
            Verdict::Shared => "Several instances may write here.",
            Verdict::Refused(_) => "Several instances may NOT write here.",
        })
    }
}

/// One line a row.
pub(super) fn table(f: &mut fmt::Formatter<'_>, rows: &[ProbeRow]) -> fmt::Result {
    let width = rows.iter().map(|row| row.name.chars().count()).max().unwrap_or(0);
    rows.iter().try_for_each(|row| writeln!(f, "{:width$}  {:7}  {}", row.name, row.outcome, row.detail))
}

/// A probe that did not come to an end.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// It took too long.
    #[error("the probe of the store did not end")]
    Late(#[source] DeadlinePassed),
    /// What it wrote could not be looked at or removed.
    #[error("the probe of the store failed")]
    Call(#[source] CallError),
    /// The result has no JSON form.
    #[error("the result of the probe cannot be written as JSON")]
    Encode(#[source] serde_json::Error),
}

impl ProbeError {
    /// What to do about it.
    #[must_use]
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Late(_) => ErrorClass::Retry,
            Self::Call(error) => error.class(),
            Self::Encode(_) => ErrorClass::Fatal,
        }
    }

    /// A stable word for labels.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::Late(_) => "ProbeLate",
            Self::Call(error) => error.label(),
            Self::Encode(_) => "NotEncodable",
        }
    }
}

/// What is probed: another server, or another version of it, is probed anew.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Subject {
    /// The endpoint.
    pub endpoint: String,
    /// What the server calls itself, where it does.
    pub server: Option<String>,
}

/// What is kept of a probe.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ProbeRecord {
    format: u32,
    subject: Subject,
    report: ProbeReport,
}

/// A report and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probed {
    /// What was found.
    pub report: ProbeReport,
    /// Whether it was found by an earlier start.
    pub kept: bool,
}

/// A probe of one store.
pub struct Probe {
    calls: Calls,
    subject: Subject,
    nonce: String,
}

impl Probe {
    /// A probe of a bucket. The server's name is known after [`Bucket::inspect`].
    #[must_use]
    pub fn new(bucket: &Bucket, clock: Clock, entropy: &Entropy) -> Self {
        let subject = Subject { endpoint: bucket.place().endpoint.clone(), server: bucket.server() };
        Self::of(bucket.calls(clock), subject, entropy)
    }

    pub(super) fn of(calls: Calls, subject: Subject, entropy: &Entropy) -> Self {
        Self { calls, subject, nonce: entropy.nonce() }
    }

    /// The kept result where it holds, else that of the short form, which is kept then.
    ///
    /// # Errors
    /// When it could not be carried out. That a store does not keep what is needed is no error: see
    /// [`ProbeReport::verdict`].
    pub async fn at_start(&self) -> Result<Probed, ProbeError> {
        self.bounded(
            SHORT_LIMIT,
            Box::pin(async {
                let now = self.now().await.map_err(ProbeError::Call)?;
                if let Some(report) = self.kept(now).await? {
                    return Ok(Probed { report, kept: true });
                }
                let report = ProbeReport { rows: self.short().await };
                self.keep(&report).await?;
                Ok(Probed { report, kept: false })
            }),
        )
        .await
    }

    /// What everything rests on, whatever was found before; nothing is kept.
    ///
    /// # Errors
    /// As [`Probe::at_start`].
    pub(super) async fn basics(&self) -> Result<Vec<ProbeRow>, ProbeError> {
        self.bounded(SHORT_LIMIT, Box::pin(async { Ok(self.short().await) })).await
    }

    /// The long form, whatever was found before; its result is kept.
    ///
    /// # Errors
    /// As [`Probe::at_start`].
    pub async fn long(&self) -> Result<ProbeReport, ProbeError> {
        self.bounded(
            LONG_LIMIT,
            Box::pin(async {
                let mut rows = self.short().await;
                rows.extend(self.more().await);
                let report = ProbeReport { rows };
                self.keep(&report).await?;
                Ok(report)
            }),
        )
        .await
    }

    /// Does the work within a limit, and cleans up in any case.
    async fn bounded<T>(
        &self,
        limit: Duration,
        work: impl Future<Output = Result<T, ProbeError>>,
    ) -> Result<T, ProbeError> {
        let done =
            self.calls.clock.timeout(limit, work).await.unwrap_or_else(|late| Err(ProbeError::Late(late)));
        if let Err(error) = self.calls.clock.timeout(limit, self.clean()).await.unwrap_or(Ok(())) {
            tracing::warn!(%error, "what a probe wrote could not be removed, a later one will");
        }
        done
    }

    /// The store's own time.
    async fn now(&self) -> Result<Timestamp, CallError> {
        let key = self.key("now");
        self.again(|| self.calls.overwrite(&key, Bytes::from_static(b"now"))).await?;
        let found = self.again(|| self.calls.head(&key)).await?;
        // A store that does not show what was just written fails the probe itself.
        Ok(found.map(|listed| listed.modified).unwrap_or_default())
    }

    /// The kept result, if it is of this subject, good, and young enough.
    async fn kept(&self, now: Timestamp) -> Result<Option<ProbeReport>, ProbeError> {
        let key = Path::from(RESULT);
        let head = self.again(|| self.calls.head(&key));
        let Some(listed) = head.await.map_err(ProbeError::Call)? else { return Ok(None) };
        let age = now.duration_since(listed.modified);
        if !(SignedDuration::ZERO..SignedDuration::from_secs(VALID)).contains(&age) {
            return Ok(None);
        }
        let read = self.again(|| self.calls.read_small(&key, RESULT_LIMIT));
        // A result that cannot be read is none.
        let bytes = read.await.ok().flatten().unwrap_or_default();
        let record = serde_json::from_slice::<ProbeRecord>(&bytes).ok();
        let record = record.filter(|record| record.format == FORMAT && record.subject == self.subject);
        Ok(record.map(|record| record.report).filter(|report| report.verdict() == Verdict::Shared))
    }

    async fn keep(&self, report: &ProbeReport) -> Result<(), ProbeError> {
        let record = ProbeRecord { format: FORMAT, subject: self.subject.clone(), report: report.clone() };
        let bytes = Bytes::from(serde_json::to_vec(&record).map_err(ProbeError::Encode)?);
        let key = Path::from(RESULT);
        let kept = self.again(|| self.calls.overwrite(&key, bytes.clone()));
        if let Err(error) = kept.await {
            tracing::warn!(%error, "the result of the probe is not kept");
        }
        Ok(())
    }

    /// Removes what this probe wrote, and what those wrote that died an hour ago by the store's clock.
    async fn clean(&self) -> Result<(), CallError> {
        let now = self.calls.head(&self.key("now")).await?.map(|listed| listed.modified);
        let (own, result) = (Path::from(format!("{FOLDER}/{}", self.nonce)), Path::from(RESULT));
        let is_ours = |key: &Path| key.prefix_matches(&own);
        let is_stale = |modified: Timestamp| {
            now.is_some_and(|now| now.duration_since(modified) > SignedDuration::from_secs(STALE))
        };
        let mut offset = None;
        loop {
            let page = self.calls.page(&Path::from(FOLDER), offset.as_ref(), 1000).await?;
            let Some(last) = page.last() else { return Ok(()) };
            offset = Some(last.key.clone());
            let gone = page
                .into_iter()
                .filter(|listed| listed.key != result && (is_ours(&listed.key) || is_stale(listed.modified)));
            self.delete_all(gone.map(|listed| listed.key).collect()).await?;
        }
    }

    async fn delete_all(&self, keys: Vec<Path>) -> Result<(), CallError> {
        let deletions = keys.into_iter().map(|key| self.delete(key));
        futures::stream::iter(deletions).buffer_unordered(SIDE_BY_SIDE).try_collect().await
    }

    async fn delete(&self, key: Path) -> Result<(), CallError> {
        self.again(|| self.calls.delete(&key)).await
    }

    async fn write(&self, key: Path) -> Result<(), CallError> {
        self.again(|| self.calls.overwrite(&key, Bytes::from_static(b"x"))).await
    }

    async fn read(&self, key: &Path) -> Result<Option<Bytes>, CallError> {
        self.again(|| self.calls.read_small(key, 1000)).await
    }

    /// Makes a call that may be made twice up to four times.
    async fn again<T, F>(&self, mut call: impl FnMut() -> F) -> Result<T, CallError>
    where
        F: Future<Output = Result<T, CallError>>,
    {
        for _ in 0..3 {
            match call().await {
                Err(error) if error.class() == ErrorClass::Retry && !error.is_missing() => {
                    self.calls.clock.sleep(Duration::from_millis(200)).await;
                }
                other => return other,
            }
        }
        call().await
    }

    fn key(&self, name: &str) -> Path {
        Path::from(format!("{FOLDER}/{}/{name}", self.nonce))
    }

    /// Tries one thing and puts it into words.
    async fn row(&self, name: &str, tried: impl Future<Output = Result<Finding, CallError>>) -> ProbeRow {
        let (outcome, detail) = match tried.await {
            Ok(finding) => finding,
            Err(error) => {
                let words: Vec<_> = causes(&error).map(ToString::to_string).collect();
                (Outcome::Failed, words.join(": ").chars().take(400).collect())
            }
        };
        ProbeRow { name: name.to_owned(), outcome, detail }
    }
}

/// What was found.
type Finding = (Outcome, String);

fn passed(detail: impl Into<String>) -> Finding {
    (Outcome::Passed, detail.into())
}

fn failed(detail: impl Into<String>) -> Finding {
    (Outcome::Failed, detail.into())
}
