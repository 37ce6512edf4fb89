//! Carries a plan out. Makes no choices: each action runs, is skipped because its precondition no longer
//! holds, or fails.
//!
//! Actions run in waves, each after those it depends on. Before the first write of a wave to Marathon the
//! intents of the wave are committed, so that a successor knows after a crash what may have happened. Just
//! before its write each action reads its app again: Marathon has no compare-and-swap.

mod announce;
mod recreate;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::{FutureExt as _, StreamExt as _};
use tokio_util::sync::CancellationToken;

use crate::bundle::{self, DescribedPackage, MemberReader};
use crate::controller::hold::Holds;
use crate::marathon::{Client, MarathonError, Written};
use crate::model::{
    Action, App, AppId, BookEntry, Cause, Coordinate, ErrorClass, Good, Intent, Inventory, Member, Operation,
    Outcome, OutcomeResult, Owned, Plan, Recreation, Rollout,
};
use crate::storage::Storage;
use crate::storage::control::ControlOperation;
use crate::storage::lease::Tenure;
use crate::storage::publish::{ReleaseVersion, publish};
use crate::storage::records::RECORD_LIMIT;
use crate::telemetry::chain;
use announce::{AROUND, fitting, intent, size_of};

/// How many writes to Marathon may be under way at once.
const CONCURRENT_WRITES: usize = 8;

/// What carrying out a plan needs.
pub struct Executor {
    /// The cluster.
    pub marathon: Client,
    /// The registry's storage and our books.
    pub storage: Arc<Storage>,
    /// The lease under which we write.
    pub tenure: Tenure,
    /// How long a write to Marathon may take; the lease must last that long when it begins.
    pub write_limit: Duration,
    /// Tells that no further action may start.
    pub stop: CancellationToken,
    /// Time, for what is held back.
    pub clock: crate::clock::Clock,
}

/// One write and what the books say about it afterwards.
struct Ended {
    index: usize,
    result: OutcomeResult,
    records: Vec<ControlOperation>,
}

impl Executor {
    /// Runs every action that can run. The packages are those of the revision that the plan is for.
    pub async fn execute(
        &self,
        plan: &Plan,
        packages: &BTreeMap<Coordinate, Arc<DescribedPackage>>,
        holds: &mut Holds,
    ) -> Vec<Outcome> {
        let mut results: Vec<Option<OutcomeResult>> = vec![None; plan.actions.len()];
        loop {
            skip_orphaned(plan, &mut results);
            let wave = next_wave(plan, &results);
            if wave.is_empty() {
                break;
            }
            for ended in self.wave(plan, &wave, packages, holds).await {
                if let Some(slot) = results.get_mut(ended.index) {
                    *slot = Some(ended.result);
                }
            }
        }
        let ended = plan.actions.iter().zip(results);
        let outcomes = ended.filter_map(|(action, result)| Some(outcome(action, result?)));
        outcomes.collect()
    }

    async fn wave(
        &self,
        plan: &Plan,
        wave: &[usize],
        packages: &BTreeMap<Coordinate, Arc<DescribedPackage>>,
        holds: &mut Holds,
    ) -> Vec<Ended> {
        let mut ended = Vec::new();
        let mut due = Vec::new();
        for (index, action) in wave.iter().filter_map(|index| Some((*index, plan.actions.get(*index)?))) {
            match holds.held(action, self.clock.boot()) {
                Some(result) => ended.push(Ended { index, result, records: Vec::new() }),
                None => due.push((index, action)),
            }
        }
        let inventory = self.storage.control.state().inventory.clone();
        due.truncate(fitting(&due, &inventory));
        let intents = due.iter().filter_map(|(_, action)| intent(action, &inventory, self.tenure.epoch()));
        if let Err(error) = self.record(intents.collect()).await {
            for (index, action) in due {
                holds.note(action, &outcome(action, error.clone()), self.clock.boot());
                ended.push(Ended { index, result: error.clone(), records: Vec::new() });
            }
            return ended;
        }
        let runs: Vec<_> = due
            .iter()
            .map(|(index, action)| self.run(*index, action, packages, &inventory).boxed())
            .collect();
        let mut done: Vec<Ended> =
            futures::stream::iter(runs).buffer_unordered(CONCURRENT_WRITES).collect().await;
        let records = done.iter_mut().flat_map(|ended| std::mem::take(&mut ended.records)).collect();
        if let Err(error) = self.record(records).await {
            // The writes happened and the books do not say so: the open intents tell the next pass.
            for ended in &mut done {
                ended.result = error.clone();
            }
        }
        for ended in &done {
            if let Some(action) = plan.actions.get(ended.index) {
                holds.note(action, &outcome(action, ended.result.clone()), self.clock.boot());
            }
        }
        ended.append(&mut done);
        ended
    }

    async fn record(&self, operations: Vec<ControlOperation>) -> Result<(), OutcomeResult> {
        if operations.is_empty() {
            return Ok(());
        }
        let committed = self.tenure.commit(operations).await;
        committed.map(drop).map_err(|error| OutcomeResult::Failed {
            class: error.class(),
            reason: error.label(),
            message: chain(&error),
        })
    }

    async fn run(
        &self,
        index: usize,
        action: &Action,
        packages: &BTreeMap<Coordinate, Arc<DescribedPackage>>,
        inventory: &Inventory,
    ) -> Ended {
        if self.stop.is_cancelled() {
            let result = OutcomeResult::Skipped("the controller is stopping".to_owned());
            return Ended { index, result, records: self.abandon(action, inventory) };
        }
        let ran = match &action.operation {
            Operation::Publish { coordinate, release_version, .. } => {
                self.publish(coordinate, *release_version, packages).await
            }
            Operation::CreateApp { app_id, app, book } => {
                self.create(action, app_id, app, book, inventory.apps.get(app_id)).await
            }
            Operation::UpdateApp { app_id, app, book, observed_version, cancels, from_good, .. } => {
                let owned = inventory.apps.get(app_id);
                let there = There { observed_version, cancels, is_good: *from_good };
                self.update(action, app_id, app, book, there, owned).await
            }
            Operation::UninstallApp { app_id, app, observed_version, cancels } => {
                self.uninstall(app_id, app, There { observed_version, cancels, is_good: false }).await
            }
            Operation::DeleteApp { app_id, observed_version, cancels, recreation } => {
                let there = There { observed_version, cancels, is_good: false };
                self.delete(app_id, there, recreation.as_deref()).await
            }
            Operation::Adopt { app_id, book, observed_version, deployment } => {
                let written = Written { version: observed_version.clone(), deployment: deployment.clone() };
                let owned = inventory.apps.get(app_id);
                // What is only written down differently goes on as it was; what was resumed began before it was seen.
                let rollout = match inventory.intents.get(app_id).filter(|_| action.cause == Cause::Resumed) {
                    Some(intent) => Some(self.rollout(owned, book, &intent.observed_version, false)),
                    None => owned.and_then(|owned| owned.rollout.clone()),
                };
                Ok(vec![done(action, app_id, book, written, 0, rollout)])
            }
            Operation::Confirm { app_id } => Ok(vec![ControlOperation::Confirmed { app_id: app_id.clone() }]),
            Operation::Forget { app_id } => self.forget(app_id).await,
        };
        match ran {
            Ok(records) => Ended { index, result: OutcomeResult::Done, records },
            Err(Stopped::Skipped(why)) => {
                Ended { index, result: OutcomeResult::Skipped(why), records: self.abandon(action, inventory) }
            }
            Err(Stopped::Overtaken(why)) => {
                Ended { index, result: OutcomeResult::Skipped(why), records: Vec::new() }
            }
            Err(Stopped::Refused(refused)) => {
                let (result, records) = self.refused(action, inventory, refused);
                Ended { index, result, records }
            }
            Err(Stopped::Failed { result, certain }) => {
                let records = if certain { self.abandon(action, inventory) } else { Vec::new() };
                Ended { index, result, records }
            }
        }
    }

    /// Takes back what this pass announced for an action. What an earlier pass announced and never learned
    /// the end of stays announced: that write may be applied late, and the app that it makes is ours.
    fn abandon(&self, action: &Action, inventory: &Inventory) -> Vec<ControlOperation> {
        let (Operation::CreateApp { app_id, .. }
        | Operation::UpdateApp { app_id, .. }
        | Operation::UninstallApp { app_id, .. }
        | Operation::DeleteApp { app_id, .. }) = &action.operation
        else {
            return Vec::new();
        };
        let app_id = app_id.clone();
        let Some(earlier) = inventory.intents.get(&app_id) else {
            return vec![ControlOperation::Abandoned { app_id }];
        };
        let intent = Intent { epoch: self.tenure.epoch(), ..earlier.clone() };
        vec![ControlOperation::Intent { app_id, intent }]
    }

    async fn publish(
        &self,
        coordinate: &Coordinate,
        release_version: u64,
        packages: &BTreeMap<Coordinate, Arc<DescribedPackage>>,
    ) -> Result<Vec<ControlOperation>, Stopped> {
        let Some(package) = packages.get(coordinate) else {
            return Err(Stopped::Skipped("its files are no longer in the manifest".to_owned()));
        };
        let open = |member: &Member| -> BoxFuture<'static, std::io::Result<MemberReader>> {
            let (package, member) = (Arc::clone(package), member.clone());
            async move { bundle::open_member(&package, &member).await.map_err(std::io::Error::other) }.boxed()
        };
        let wanted = ReleaseVersion::Exactly(release_version);
        // Giving up halfway is safe: nothing is visible before the last record.
        let published = tokio::select! {
            published = publish(&self.storage, &package.content, open, wanted) => published,
            () = self.stop.cancelled() => {
                return Err(Stopped::Skipped("the controller is stopping".to_owned()));
            }
        };
        match published {
            Ok(_) => Ok(Vec::new()),
            Err(error) => Err(Stopped::Failed {
                result: OutcomeResult::Failed {
                    class: error.class(),
                    reason: error.label(),
                    message: chain(&error),
                },
                certain: true,
            }),
        }
    }

    async fn create(
        &self,
        action: &Action,
        app_id: &AppId,
        app: &App,
        book: &BookEntry,
        owned: Option<&Owned>,
    ) -> Result<Vec<ControlOperation>, Stopped> {
        if self.marathon.app(app_id).await.map_err(|error| Stopped::reading(&error))?.is_some() {
            return Err(Stopped::Skipped("it exists by now".to_owned()));
        }
        self.still_leading()?;
        let written = self.marathon.create(app).await.map_err(|error| Stopped::creating(&error))?;
        let rollout = self.rollout(owned, book, "", false);
        Ok(vec![done(action, app_id, book, written, 0, Some(rollout))])
    }

    async fn update(
        &self,
        action: &Action,
        app_id: &AppId,
        app: &App,
        book: &BookEntry,
        there: There<'_>,
        owned: Option<&Owned>,
    ) -> Result<Vec<ControlOperation>, Stopped> {
        let (force, observed_version) = (self.still_there(app_id, there).await?, there.observed_version);
        self.still_leading()?;
        let mut written =
            self.marathon.replace(app_id, app, force).await.map_err(|error| Stopped::writing(&error))?;
        // A put without effect keeps the app's version; only the app itself tells (marathon.md 3.2).
        let after = self.marathon.app(app_id).await.ok().flatten();
        let unchanged = after.as_ref().is_some_and(|after| after.version() == observed_version);
        if unchanged {
            observed_version.clone_into(&mut written.version);
        }
        let same = owned.filter(|owned| unchanged && owned.applied_digest == book.applied_digest);
        let unchanged_puts = same.map_or(u32::from(unchanged), |owned| owned.unchanged_puts + 1);
        let mut rollout = self.rollout(owned, book, observed_version, force);
        if let Some(good) = rollout.good.as_mut().filter(|_| there.is_good) {
            // Marathon keeps some versions only, and what is not ours may have made many since.
            observed_version.clone_into(&mut good.version);
        }
        Ok(vec![done(action, app_id, book, written, unchanged_puts, Some(rollout))])
    }

    /// A change that Marathon took just now. Where another one was still under way, what was good before that one is
    /// what was good last. It is not remembered where the record of both would be too long to be written.
    fn rollout(
        &self,
        owned: Option<&Owned>,
        book: &BookEntry,
        observed_version: &str,
        forced: bool,
    ) -> Rollout {
        let from = Some(observed_version.to_owned()).filter(|version| !version.is_empty());
        let fits =
            |good: &Good| AROUND + size_of(&book.applied) + size_of(&good.applied) <= RECORD_LIMIT / 4 * 3;
        let good = owned.and_then(Owned::last_good).filter(fits);
        Rollout { since: self.clock.wall(), from, forced, good }
    }

    async fn uninstall(
        &self,
        app_id: &AppId,
        app: &App,
        there: There<'_>,
    ) -> Result<Vec<ControlOperation>, Stopped> {
        let force = self.still_there(app_id, there).await?;
        self.still_leading()?;
        self.marathon.replace(app_id, app, force).await.map_err(|error| Stopped::writing(&error))?;
        // As with a removal, of which it is the beginning.
        Ok(Vec::new())
    }

    async fn delete(
        &self,
        app_id: &AppId,
        there: There<'_>,
        recreation: Option<&Recreation>,
    ) -> Result<Vec<ControlOperation>, Stopped> {
        let force = self.still_there(app_id, there).await?;
        self.still_leading()?;
        if let Some(recreation) = recreation {
            self.ask_before_deletion(app_id, recreation).await?;
            self.still_leading()?;
        }
        self.marathon.delete(app_id, force).await.map_err(|error| Stopped::writing(&error))?;
        // The intent stays open until an observation shows that the app is gone.
        Ok(Vec::new())
    }

    /// A listing leaves out what we may not see, so only Marathon's word on this app counts.
    async fn forget(&self, app_id: &AppId) -> Result<Vec<ControlOperation>, Stopped> {
        match self.marathon.app(app_id).await.map_err(|error| Stopped::reading(&error))? {
            None => Ok(vec![ControlOperation::Forgotten { app_id: app_id.clone() }]),
            Some(_) => Err(Stopped::Skipped("it is still there".to_owned())),
        }
    }

    /// The precondition of every write at all: nobody else may act before it has arrived.
    fn still_leading(&self) -> Result<(), Stopped> {
        if let Some(why) = self.storage.standstill() {
            return Err(Stopped::Skipped(why));
        }
        self.tenure.check(self.write_limit).map_err(|error| Stopped::Failed {
            result: OutcomeResult::Failed {
                class: error.class(),
                reason: error.label(),
                message: error.to_string(),
            },
            certain: true,
        })
    }

    /// The precondition of every write over an existing app: it is the one that was looked at. Says whether the write must
    /// be forced: whether a deployment that it may cancel holds the app.
    async fn still_there(&self, app_id: &AppId, there: There<'_>) -> Result<bool, Stopped> {
        let Some(app) = self.marathon.app(app_id).await.map_err(|error| Stopped::reading(&error))? else {
            return Err(Stopped::Skipped("it is gone by now".to_owned()));
        };
        if app.version() != there.observed_version {
            return Err(Stopped::Skipped("somebody changed it since it was looked at".to_owned()));
        }
        if there.cancels.is_empty() {
            return Ok(false);
        }
        match app.deployments().find(|id| !there.cancels.iter().any(|known| known == id)) {
            Some(id) => Err(Stopped::Skipped(format!("deployment {id} holds it since it was looked at"))),
            None => Ok(app.deployments().next().is_some()),
        }
    }
}

/// The app over which is written, as it was looked at.
#[derive(Clone, Copy)]
struct There<'a> {
    observed_version: &'a str,
    /// The deployments that may be cancelled; where there is none, nothing is forced.
    cancels: &'a [String],
    /// Whether it is what was put there last, and was seen to run well.
    is_good: bool,
}

/// Why an action did not run to its end.
enum Stopped {
    Skipped(String),
    /// What is desired is there before that was expected. What was announced stays so, and tells the next look.
    Overtaken(String),
    /// Marathon does not take what was to be created, and will not by itself.
    Refused(OutcomeResult),
    Failed {
        result: OutcomeResult,
        /// Whether it is certain that nothing was written.
        certain: bool,
    },
}

impl Stopped {
    fn reading(error: &MarathonError) -> Self {
        Self::Failed { result: failed(error), certain: true }
    }

    fn creating(error: &MarathonError) -> Self {
        if error.is_refusal() { Self::Refused(failed(error)) } else { Self::writing(error) }
    }

    fn writing(error: &MarathonError) -> Self {
        Self::Failed { certain: !error.may_have_been_applied(), result: failed(error) }
    }
}

fn failed(error: &MarathonError) -> OutcomeResult {
    OutcomeResult::Failed { class: error.class(), reason: error.label(), message: chain(error) }
}

fn outcome(action: &Action, result: OutcomeResult) -> Outcome {
    Outcome { action: action.clone(), result }
}

/// An action one of whose predecessors did not end well does not run in this pass.
fn skip_orphaned(plan: &Plan, results: &mut [Option<OutcomeResult>]) {
    for (index, action) in plan.actions.iter().enumerate() {
        let broken = action.after.iter().find(
            |before| matches!(results.get(**before), Some(Some(result)) if *result != OutcomeResult::Done),
        );
        if let (Some(before), Some(slot @ None)) = (broken, results.get_mut(index)) {
            let unit = plan.actions.get(*before).map(|action| action.unit.to_string()).unwrap_or_default();
            *slot = Some(OutcomeResult::Skipped(format!("{unit} comes first and is not done")));
        }
    }
}

fn next_wave(plan: &Plan, results: &[Option<OutcomeResult>]) -> Vec<usize> {
    let done = |index: &usize| matches!(results.get(*index), Some(Some(OutcomeResult::Done)));
    let open = plan.actions.iter().enumerate().filter(|(index, _)| matches!(results.get(*index), Some(None)));
    open.filter(|(_, action)| action.after.iter().all(done)).map(|(index, _)| index).collect()
}

fn done(
    action: &Action,
    app_id: &AppId,
    book: &BookEntry,
    written: Written,
    unchanged_puts: u32,
    rollout: Option<Rollout>,
) -> ControlOperation {
    ControlOperation::Done {
        app_id: app_id.clone(),
        owned: Owned {
            unit: action.unit.clone(),
            applied: book.applied.clone(),
            applied_digest: book.applied_digest,
            inputs: book.inputs,
            version: written.version,
            deployment: written.deployment,
            unchanged_puts,
            protect: book.protect,
            rollout,
            failed: book.failed.clone(),
        },
    }
}

/// The class of a failure, for the pace of the next pass.
#[must_use]
pub fn worst_class(outcomes: &[Outcome]) -> Option<ErrorClass> {
    let classes = outcomes.iter().filter_map(|outcome| match outcome.result {
        OutcomeResult::Failed { class, .. } | OutcomeResult::Held { class, .. } => Some(class),
        OutcomeResult::Done | OutcomeResult::Skipped(_) => None,
    });
    classes.max()
}

#[cfg(test)]
mod tests;
