//! What besides is used, and how well it goes: lists of many keys, ranges, uploads in parts, latency, clocks.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::{GetOptions, GetRange, PutMode, PutMultipartOptions};

use super::{Finding, Outcome, Probe, ProbeRow, SIDE_BY_SIDE, failed, passed};
use crate::model::{Digest, DigestHasher};
use crate::storage::calls::CallError;

/// More keys than a page of S3 holds.
const MANY: usize = 1050;

/// The least that S3 takes as a part that is not the last.
const PART: usize = 5 * 1024 * 1024;

/// The rest.
const REST: usize = 100_000;

/// How long one step of an upload may take.
const STEP: Duration = Duration::from_secs(60);

/// How many calls are measured.
const MEASURED: usize = 50;

/// From which difference of the clocks there is a warning, in seconds. S3 refuses signatures from 15 minutes on.
const SKEW: i64 = 300;

impl Probe {
    pub(super) async fn more(&self) -> Vec<ProbeRow> {
        vec![
            self.row("list of many keys", self.many()).await,
            self.row("ranges", self.ranges()).await,
            self.row("upload in parts", self.parts()).await,
            self.row("abort of an upload", self.abort()).await,
            self.row("latency", self.latency()).await,
            self.row("clocks", self.clocks()).await,
            self.row("leftovers of uploads", async { Ok(lifecycle()) }).await,
        ]
    }

    async fn many(&self) -> Result<Finding, CallError> {
        let folder = self.key("many");
        let keys: BTreeSet<_> = (0..MANY).map(|n| self.key(&format!("many/{n:04}"))).collect();
        let writes = keys.iter().cloned().map(|key| self.write(key));
        futures::stream::iter(writes).buffer_unordered(SIDE_BY_SIDE).try_collect::<()>().await?;
        let all: BTreeSet<_> =
            self.calls.list(&folder, None).map_ok(|listed| listed.key).try_collect().await?;
        if all != keys {
            return Ok(failed(format!("{} of {MANY} keys are listed", all.intersection(&keys).count())));
        }
        let middle = self.key("many/0499");
        let rest = self.calls.page(&folder, Some(&middle), MANY).await?;
        let right = rest.iter().map(|listed| &listed.key).eq(keys.range(self.key("many/0500")..));
        Ok(if right {
            passed(format!("{MANY} keys, from the beginning and from the middle"))
        } else {
            failed("a list from a key on does not hold the keys behind it")
        })
    }

    async fn ranges(&self) -> Result<Finding, CallError> {
        let (key, bytes) = (self.key("range"), pattern(1_000_000));
        self.again(|| self.calls.put(STEP, &key, bytes.clone(), PutMode::Overwrite)).await?;
        for range in [0..1_usize, 262_144..524_288, 999_999..1_000_000] {
            let bounded = GetRange::Bounded(range.start as u64..range.end as u64);
            let result =
                self.calls.get(&key, GetOptions { range: Some(bounded), ..GetOptions::default() }).await?;
            let size = result.meta.size;
            let read = self.calls.within(STEP, "read", &key, result.bytes()).await?;
            if size != bytes.len() as u64 || read != bytes.slice(range.clone()) {
                return Ok(failed(format!("bytes {range:?} are not those that were written")));
            }
        }
        Ok(passed("the asked bytes and the whole length"))
    }

    async fn parts(&self) -> Result<Finding, CallError> {
        let (key, bytes) = (self.key("parts"), pattern(PART + REST));
        let upload = self.calls.data.put_multipart_opts(&key, PutMultipartOptions::default());
        let mut upload = self.calls.within(STEP, "begin", &key, upload).await?;
        for part in [bytes.slice(..PART), bytes.slice(PART..)] {
            self.calls.within(STEP, "write a part of", &key, upload.put_part(part.into())).await?;
        }
        if self.calls.head(&key).await?.is_some() {
            return Ok(failed("an upload is visible before it is complete"));
        }
        self.calls.within(STEP, "complete", &key, upload.complete()).await?;
        let result = self.calls.get(&key, GetOptions::default()).await?;
        let mut stream = result.into_stream();
        let mut hasher = DigestHasher::default();
        while let Some(piece) =
            self.calls.within(STEP, "read", &key, async { stream.next().await.transpose() }).await?
        {
            hasher.update(&piece);
        }
        Ok(if hasher.finish() == Digest::of(&bytes) {
            passed("invisible until complete, and the right digest then")
        } else {
            failed("what is read has another digest than what was written")
        })
    }

    async fn abort(&self) -> Result<Finding, CallError> {
        let key = self.key("abort");
        let upload = self.calls.data.put_multipart_opts(&key, PutMultipartOptions::default());
        let mut upload = self.calls.within(STEP, "begin", &key, upload).await?;
        self.calls.within(STEP, "write a part of", &key, upload.put_part(pattern(PART).into())).await?;
        self.calls.within(STEP, "abort", &key, upload.abort()).await?;
        Ok(match self.calls.head(&key).await? {
            None => passed("leaves nothing"),
            Some(_) => failed("an aborted upload is visible"),
        })
    }

    async fn latency(&self) -> Result<Finding, CallError> {
        let (mut creates, mut reads) = (Vec::new(), Vec::new());
        for n in 0..MEASURED {
            let key = self.key(&format!("latency/{n}"));
            let begun = self.calls.clock.boot();
            self.calls.create(&key, Bytes::from_static(b"x")).await?;
            let written = self.calls.clock.boot();
            self.calls.read_small(&key, 1000).await?;
            creates.push(written.saturating_sub(begun));
            reads.push(self.calls.clock.boot().saturating_sub(written));
        }
        let mut words = Vec::new();
        let mut worst = Duration::ZERO;
        for (name, times) in [("create", &mut creates), ("read", &mut reads)] {
            times.sort();
            let at = |percent: usize| times.get(times.len() * percent / 100).copied().unwrap_or_default();
            words.push(format!("{name} p50 {} ms, p99 {} ms", at(50).as_millis(), at(99).as_millis()));
            worst = worst.max(at(99));
        }
        let slow = worst * 2 > self.calls.limit;
        let limit = self.calls.limit.as_millis();
        Ok(if slow {
            (Outcome::Warned, format!("{}; a call of the lease may take {limit} ms", words.join("; ")))
        } else {
            passed(words.join("; "))
        })
    }

    /// No decision rests on it; signatures do.
    async fn clocks(&self) -> Result<Finding, CallError> {
        let now = self.now().await?;
        let ahead = self.calls.clock.wall().duration_since(now).as_secs();
        let detail = match ahead {
            0 => "the same second".to_owned(),
            1.. => format!("this machine is {ahead} s ahead of the store"),
            _ => format!("this machine is {} s behind the store", ahead.saturating_neg()),
        };
        let far = ahead.abs() > SKEW;
        Ok(if far { (Outcome::Warned, format!("{detail}; set the clock (NTP)")) } else { passed(detail) })
    }
}

/// What the client has no call for.
fn lifecycle() -> Finding {
    let detail =
        "not visible from here; give the bucket a lifecycle rule that aborts incomplete uploads after 2 days";
    (Outcome::Skipped, detail.into())
}

/// Bytes that differ from place to place.
fn pattern(length: usize) -> Bytes {
    let words =
        (0..length.div_ceil(8) as u64).flat_map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
    words.take(length).collect::<Vec<_>>().into()
}
