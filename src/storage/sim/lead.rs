//! The leader: keeps the lease, writes to a cluster that cannot refuse, answers requests, trims and collects.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::TryStreamExt as _;
use object_store::path::Path;

use super::instance::Instance;
use super::witness::Witness;
use super::world::Phase;
use crate::storage::catalog::{CatalogOperation, Copy};
use crate::storage::control::{Answer, ControlOperation};
use crate::storage::lease::{Candidate, Tenure};
use crate::storage::records::CommitError;
use crate::storage::tests::{app_id, intent, owned};
use crate::telemetry::chain;

/// How long a session may take before it is too late, and a condemned copy is still there for readers.
const GRACE: Duration = Duration::from_secs(20);

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
            Ok(Some(tenure)) => leads(&own, &tenure).await,
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
    let mut collection = Collection::default();
    while !own.stopped() {
        own.rest(Duration::from_millis(400)).await;
        let phase = own.world.phase();
        if phase >= Phase::Quiet {
            continue;
        }
        answers(own, tenure).await;
        if phase <= Phase::Calm {
            writes(own, tenure).await;
        }
        if own.dice.one_in(4) {
            collection.round(own, tenure).await;
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

/// Deletes what nothing references, in the order that makes it exact.
#[derive(Default)]
struct Collection {
    /// Where the tail of the catalog was when, oldest first.
    tails: Vec<(Duration, u64)>,
    /// When copies were condemned.
    condemned: BTreeMap<Copy, Duration>,
}

type Step = Result<(), Option<String>>;

impl Collection {
    async fn round(&mut self, own: &Arc<Instance>, tenure: &Tenure) {
        let steps = async {
            self.fence(own, tenure).await?;
            self.watermark(own, tenure).await?;
            self.orphans(own, tenure).await?;
            self.condemn(own, tenure).await?;
            self.purge(own, tenure).await
        };
        if let Err(Some(why)) = steps.await {
            own.line(&format!("collection: {why}"));
        }
    }

    async fn say(&self, own: &Arc<Instance>, tenure: &Tenure, operation: CatalogOperation) -> Step {
        tenure.check(Duration::ZERO).map_err(|error| Some(error.to_string()))?;
        let said = own.storage.catalog.commit_as_leader(tenure.epoch(), vec![operation]).await;
        said.map(drop).map_err(|error| {
            if !matches!(error, CommitError::Rejected(_)) {
                own.unknown(&error);
            }
            Some(chain(&error))
        })
    }

    async fn fence(&self, own: &Arc<Instance>, tenure: &Tenure) -> Step {
        let epoch = tenure.epoch();
        if own.storage.catalog.state().fence() < epoch {
            self.say(own, tenure, CatalogOperation::Fence { epoch }).await?;
        }
        Ok(())
    }

    /// Whoever began before the tail of a while ago is too late.
    async fn watermark(&mut self, own: &Arc<Instance>, tenure: &Tenure) -> Step {
        let (now, state) = (own.clock.boot(), own.storage.catalog.state());
        self.tails.push((now, own.storage.catalog.seq()));
        let old = self.tails.iter().rev().find(|(at, _)| now.saturating_sub(*at) > GRACE).copied();
        let Some((_, seq)) = old.filter(|(_, seq)| *seq > state.watermark()) else { return Ok(()) };
        self.tails.retain(|(_, tail)| *tail >= seq);
        self.say(own, tenure, CatalogOperation::Watermark { seq }).await
    }

    /// Deletes what no record can make known any more.
    async fn orphans(&self, own: &Arc<Instance>, tenure: &Tenure) -> Step {
        let listed = own.calls.list(&Path::from("v1/blobs"), None).try_collect::<Vec<_>>().await;
        let state = own.storage.catalog.state();
        let listed = listed.map_err(|error| Some(chain(&error)))?;
        for meta in listed {
            let Some(copy) = copy_at(&meta.location) else { continue };
            let live = state.blob(&copy.digest).is_some_and(|blob| blob.key == copy.key);
            let known = live || state.condemned().contains_key(&copy);
            if !known && copy.key.start < state.watermark() {
                own.world.count("orphans");
                self.delete(own, tenure, &copy).await?;
            }
        }
        Ok(())
    }

    async fn condemn(&mut self, own: &Arc<Instance>, tenure: &Tenure) -> Step {
        let state = own.storage.catalog.state();
        let retired = state.blobs().filter(|(_, entry)| entry.references == 0);
        let blobs: Vec<Copy> = retired.map(|(digest, entry)| entry.copy(*digest)).take(16).collect();
        if blobs.is_empty() || own.dice.one_in(2) {
            return Ok(());
        }
        self.say(own, tenure, CatalogOperation::Condemned { blobs }).await
    }

    async fn purge(&mut self, own: &Arc<Instance>, tenure: &Tenure) -> Step {
        let (now, state) = (own.clock.boot(), own.storage.catalog.state());
        for copy in state.condemned().keys() {
            self.condemned.entry(copy.clone()).or_insert(now);
        }
        self.condemned.retain(|copy, _| state.condemned().contains_key(copy));
        let due = self.condemned.iter().filter(|(_, at)| now.saturating_sub(**at) > GRACE);
        let due = due.map(|(copy, _)| copy.clone()).filter(|copy| copy.key.start < state.watermark());
        let blobs: Vec<Copy> = due.take(16).collect();
        for copy in &blobs {
            own.world.count("collected");
            self.delete(own, tenure, copy).await?;
        }
        if blobs.is_empty() {
            Ok(())
        } else {
            self.say(own, tenure, CatalogOperation::Purged { blobs }).await
        }
    }

    async fn delete(&self, own: &Arc<Instance>, tenure: &Tenure, copy: &Copy) -> Step {
        tenure.check(own.world.settings.call).map_err(|error| Some(error.to_string()))?;
        own.calls.delete(&copy.blob().path()).await.map_err(|error| Some(chain(&error)))
    }
}

/// Which copy lies under a key.
pub(super) fn copy_at(key: &Path) -> Option<Copy> {
    let mut parts = key.as_ref().rsplit('/');
    let (key, digest) = (parts.next()?.parse().ok()?, parts.next()?);
    Some(Copy { digest: format!("sha256:{digest}").parse().ok()?, key })
}
