//! What became of the changes that Marathon took and that the books still call under way.
//!
//! Pure. One verdict per app (see [`crate::marathon::follow`]); what is done about it is decided by the planner. Some
//! verdicts need two looks in a row, so the verdicts of the look before go in. After a start there are none, and the
//! next look decides. A change of an SDK service has not ended before its scheduler says so; whoever cannot be asked in time
//! does not hold it up for ever.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use super::desired::{Desired, DesiredUnit};
use crate::manifest::OnFailure;
use crate::marathon::follow::{Before, Ending, Followed, Followup, Verdict, follow};
use crate::marathon::health::Evidence;
use crate::model::{AppId, Good, Inventory, Observation, Owned, Rollout, SchedulerPlan};

/// The changes under way, by app.
pub type Followups = BTreeMap<AppId, Followup>;

/// Since when this process has known of each change under way. Who began a change may have had another clock, and a clock
/// may be put forward; so no change is older than this process has known of it.
#[derive(Debug, Clone, Default)]
pub struct Known(BTreeMap<AppId, (Timestamp, Duration)>);

impl Known {
    /// Notes what is under way at a time on the boot clock.
    pub fn note(&mut self, inventory: &Inventory, boot: Duration) {
        let mut known = std::mem::take(&mut self.0);
        let rollouts = inventory.apps.iter().filter_map(|(id, owned)| Some((id, owned.rollout.as_ref()?)));
        self.0 = rollouts
            .map(|(id, rollout)| {
                let noted = known.remove(id).filter(|(since, _)| *since == rollout.since);
                (id.clone(), noted.unwrap_or((rollout.since, boot)))
            })
            .collect();
    }

    /// How old a change is at most.
    fn age(&self, app_id: &AppId, boot: Duration) -> Duration {
        self.0.get(app_id).map_or(Duration::ZERO, |(_, noted)| boot.saturating_sub(*noted))
    }
}

/// When a look was taken.
#[derive(Debug, Clone, Copy)]
pub struct Now<'a> {
    /// By the wall clock.
    pub wall: Timestamp,
    /// By the boot clock.
    pub boot: Duration,
    /// Since when changes have been known.
    pub known: &'a Known,
}

/// Judges every change under way of an app that a unit still wants. Where a write has no known end, or the app is not
/// in a listing that was not read in full, there is no verdict.
#[must_use]
pub fn follow_up(
    desired: &Desired,
    observed: &Observation,
    inventory: &Inventory,
    earlier: &Followups,
    now: Now<'_>,
) -> Followups {
    let under_way = inventory.apps.iter().filter(|(app_id, _)| !inventory.intents.contains_key(*app_id));
    let judged = under_way.filter_map(|(app_id, owned)| {
        let (unit, rollout) = (desired.units.get(&owned.unit)?, owned.rollout.as_ref()?);
        let app = observed.apps.get(app_id);
        if app.is_none() && observed.marathon.reason().is_some() {
            return None;
        }
        let change = followed(owned, rollout, unit, now.wall);
        let change = Followed { age: change.age.min(now.known.age(app_id, now.boot)), ..change };
        let evidence =
            Evidence { deployments: &observed.deployments, queue: &observed.queue, last_failure: None };
        let before = earlier.get(app_id).map(|before| before.verdict);
        let followup = follow(&change, app, &evidence, before);
        let plan = observed.scheduler_plans.get(app_id);
        Some((app_id.clone(), with_scheduler(followup, plan, &change)))
    });
    judged.collect()
}

/// The verdict on a service whose scheduler runs as it should and does not say that its plan is done.
fn with_scheduler(followup: Followup, plan: Option<&SchedulerPlan>, change: &Followed<'_>) -> Followup {
    let (Verdict::Ended(Ending::Done), Some(plan)) = (followup.verdict, plan) else { return followup };
    let (reason, is_known) = match plan {
        SchedulerPlan::Complete => return followup,
        SchedulerPlan::InProgress(progress) | SchedulerPlan::Failed(progress) => (progress.to_string(), true),
        SchedulerPlan::NotThere => ("Admin Router knows no plan of it yet".to_owned(), false),
        SchedulerPlan::Unreadable(why) => (format!("its plan cannot be read: {why}"), false),
    };
    let reason = format!("its scheduler runs, and {reason}");
    if change.age <= change.deadline {
        return Followup { verdict: Verdict::UnderWay { seems: None }, reason };
    }
    if !is_known {
        // Nobody says that it failed, and Marathon says that it runs.
        return followup;
    }
    let seconds = change.deadline.as_secs();
    Followup { verdict: Verdict::Stuck, reason: format!("not done within {seconds} s: {reason}") }
}

fn followed<'a>(
    owned: &'a Owned,
    rollout: &'a Rollout,
    unit: &'a DesiredUnit,
    now: Timestamp,
) -> Followed<'a> {
    let former = rollout.good.as_ref().map(|good| &good.applied);
    Followed {
        deployment: owned.deployment.as_deref(),
        version: &owned.version,
        wanted: &owned.applied,
        ignore: &unit.ignore,
        before: rollout.from.as_deref().map(|version| Before { version, app: former }),
        forced: rollout.forced,
        // The wall clock may be put back; nothing takes less than no time.
        age: Duration::try_from(now.duration_since(rollout.since)).unwrap_or_default(),
        deadline: unit.timeout.unwrap_or(Duration::MAX),
        now,
    }
}

/// What may be put back in the place of a change that failed: the last definition that ran well, if it is another one
/// and its unit wants that.
#[must_use]
pub fn restorable<'a>(unit: &DesiredUnit, owned: &'a Owned) -> Option<&'a Good> {
    let good = owned.rollout.as_ref()?.good.as_ref()?;
    (unit.on_failure == OnFailure::Rollback && good.applied_digest != owned.applied_digest).then_some(good)
}

/// The versions that are put back if they can be read: one per app whose change failed.
#[must_use]
pub fn to_restore(
    desired: &Desired,
    inventory: &Inventory,
    followups: &Followups,
) -> BTreeMap<AppId, String> {
    let failed = followups.iter().filter(|(_, followup)| followup.verdict.is_failure());
    let versions = failed.filter_map(|(app_id, _)| {
        let owned = inventory.apps.get(app_id)?;
        let good = restorable(desired.units.get(&owned.unit)?, owned)?;
        Some((app_id.clone(), good.version.clone()))
    });
    versions.collect()
}

#[cfg(test)]
mod tests;
