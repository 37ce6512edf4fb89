//! The leader: keeps the lease, writes to a cluster that cannot refuse, answers requests, trims and collects.

use std::sync::Arc;
use std::time::Duration;

use object_store::path::Path;

use super::instance::Instance;
use super::witness::Witness;
use super::world::Phase;
use crate::model::{Completeness, Revision, Snapshot, SnapshotFile, SnapshotPath, SourceName};
use crate::storage::catalog::Copy;
use crate::storage::collect::{CollectError, CollectOptions, collect};
use crate::storage::control::{Answer, ControlOperation};
use crate::storage::lease::{Candidate, Tenure};
use crate::storage::progress::Unwatched;
use crate::storage::tests::{app_id, intent, owned};
use crate::telemetry::chain;

/// Wants the lease, leads, and wants it again.
pub(super) async fn campaigns(own: Arc<Instance>) {
    let candidate = Candidate {
        storage: Arc::clone(&own.storage),
        times: own.world.settings.lease,
        clock: own.clock.clone(),
        entropy: own.dice.entropy(),
    };
    while !own.stopped() {
        match candidate.campaign(&own.stop).await {
            Ok(Some(tenure)) => Box::pin(leads(&own, &tenure)).await,
            Ok(None) => {}
            Err(error) => return own.broke(&format!("nobody can lead: {}", chain(&error))),
        }
    }
}

async fn leads(own: &Arc<Instance>, tenure: &Tenure) {
    let watched = own.world.tenure(own.who, tenure);
    tokio::select! {
        biased;
        () = tenure.keep() => own.line("lost the lease"),
        () = works(own, tenure) => {}
    }
    let released = tenure.release().await;
    own.line(&format!("leads no longer ({})", released.is_ok()));
    drop(watched);
}

async fn works(own: &Arc<Instance>, tenure: &Tenure) {
    while !own.stopped() {
        own.rest(Duration::from_millis(400)).await;
        let phase = own.world.phase();
        if phase >= Phase::Quiet {
            continue;
        }
        answers(own, tenure).await;
        if phase <= Phase::Calm {
            writes(own, tenure).await;
            if own.dice.one_in(6) {
                accepts(own, tenure).await;
            }
        }
        if own.dice.one_in(4) {
            collects(own, tenure).await;
        }
        if own.dice.one_in(8)
            && let Err(error) = own.storage.control.trim().await
        {
            own.log_error(&error);
        }
    }
}

/// One write to the cluster, with what must be written down before and after.
async fn writes(own: &Arc<Instance>, tenure: &Tenure) {
    let (n, epoch) = (u8::try_from(own.dice.below(5)).unwrap_or(0), tenure.epoch());
    let operation = ControlOperation::Intent { app_id: app_id(n), intent: intent(n, epoch) };
    if !commits(own, tenure, operation).await {
        return;
    }
    let limit = own.world.settings.write;
    if tenure.check(limit).is_err() {
        return own.world.count("held back");
    }
    let freezes = own.world.freezes(own.who);
    own.world.count("writes");
    own.line(&format!("writes to the cluster under lease {epoch}"));
    let exclusive = own.world.settings.exclusive;
    let begun = own.world.inner().witness.write_begun(epoch);
    if exclusive {
        own.world.check(own.who, begun);
    }
    own.clock.sleep(limit.mul_f64(own.dice.share())).await;
    if own.world.freezes(own.who) == freezes {
        let ended = own.world.inner().witness.write_ended(epoch);
        if exclusive {
            own.world.check(own.who, ended);
        }
    } else {
        own.world.count("strays");
    }
    commits(own, tenure, ControlOperation::Done { app_id: app_id(n), owned: owned(n) }).await;
}

/// Commits under the lease and checks that an acknowledged record stands.
async fn commits(own: &Arc<Instance>, tenure: &Tenure, operation: ControlOperation) -> bool {
    let start = own.world.now();
    match tenure.commit(vec![operation.clone()]).await {
        Ok(committed) => {
            let span = (start, own.world.now());
            let inner = own.world.inner();
            let said = Witness::acknowledged(&inner.witness.control, committed.seq, &own.author, span);
            let verdict = said.and_then(|said| {
                let there = said.contains(&operation);
                if there { Ok(()) } else { Err(format!("record {} says something else", committed.seq)) }
            });
            drop(inner);
            own.world.check(own.who, verdict);
            true
        }
        Err(error) => {
            own.line(&format!("a commit under the lease: {}", chain(&error)));
            own.unknown(&error);
            false
        }
    }
}

/// Answers what was asked.
async fn answers(own: &Arc<Instance>, tenure: &Tenure) {
    for pending in own.storage.control.state().requests.clone() {
        let answer = Answer { done: true, message: "looked".into(), detail: None };
        commits(own, tenure, ControlOperation::Answered { id: pending.id, answer }).await;
    }
}

/// Deletes what nothing references, however much it is.
async fn collects(own: &Arc<Instance>, tenure: &Tenure) {
    let (grace, reader_grace) = (Duration::from_secs(30), Duration::from_secs(20));
    let mut options = CollectOptions { grace, reader_grace, allow: None };
    let mut collected = collect(&own.storage, tenure, &options, &Unwatched).await;
    if let Err(CollectError::TooMany { going, .. }) = collected {
        options.allow = Some(going);
        collected = collect(&own.storage, tenure, &options, &Unwatched).await;
    }
    match collected {
        Ok(report) => {
            own.world.add("condemned", report.condemned.count);
            own.world.add("collected", report.deleted.count);
            own.world.add("orphans", report.orphans.count);
            if report.missing > 0 {
                own.line(&format!("collection misses {}", report.missing));
            }
        }
        Err(CollectError::Follow(error)) => own.log_error(&error),
        Err(CollectError::Commit(error)) => {
            own.line(&format!("collection: {}", chain(&*error)));
            own.unknown(&*error);
        }
        Err(error @ (CollectError::Newer(_) | CollectError::Moved { .. })) => own.broke(&chain(&error)),
        Err(error) => own.line(&format!("collection: {}", chain(&error))),
    }
}

/// Puts what is in force into the store and names it in the books.
async fn accepts(own: &Arc<Instance>, tenure: &Tenure) {
    let source: SourceName = format!("source-{}", own.dice.below(2)).parse().unwrap();
    let revision = Revision(own.dice.next().to_string());
    let path = SnapshotPath::root().join("m").unwrap();
    let files = [(path.clone(), SnapshotFile::inline(revision.0.as_bytes()))];
    let (completeness, files) = (Completeness::Complete, files.into());
    let snapshot =
        Snapshot { source: source.clone(), revision: revision.clone(), completeness, manifests: path, files };
    let _turn = own.storage.accepting().await;
    if let Ok(snapshot) = own.storage.put_snapshot(&snapshot).await {
        let operation = ControlOperation::SnapshotAccepted { source, revision, snapshot };
        commits(own, tenure, operation).await;
    }
}

/// Which copy lies under a key.
pub(super) fn copy_at(key: &Path) -> Option<Copy> {
    let mut parts = key.as_ref().rsplit('/');
    let (key, digest) = (parts.next()?.parse().ok()?, parts.next()?);
    Some(Copy { digest: format!("sha256:{digest}").parse().ok()?, key })
}
