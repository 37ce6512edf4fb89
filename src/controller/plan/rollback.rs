//! What is done about a change that is over: it is confirmed, or what was good before is put back in its place.
//!
//! Only a change that fails by itself is taken back, never what somebody else did, and never over a deployment that
//! is not ours. What failed is remembered by its digest, so that it is not put there again as long as the manifest
//! says the same.

use super::apps::{Wish, refuse_harm, refused};
use super::recreate::put_back;
use super::{Held, Planner, Verdict, is_ours};
use crate::controller::followup::restorable;
use crate::manifest::{ForeignDeployments, OnFailure};
use crate::marathon::diff::{diff_for, diff_remembered, to_send};
use crate::marathon::follow::{Ending, Followup, Remedy, Verdict as Outcome, remedy};
use crate::marathon::normalize::{Canonical, normalize_observed};
use crate::marathon::profile::Profile;
use crate::model::{
    Action, App, AppId, BlockedReason, BookEntry, Cause, Digest, Failed, Good, Operation, Owned, UnitId,
    UnitState,
};

/// How much of the reason of a failure is remembered, in characters.
const LONGEST_REASON: usize = 512;

impl Planner<'_> {
    /// Writes down that the change under way ended as it should.
    pub(super) fn confirm(&mut self, unit: &UnitId, app_id: &AppId) {
        let ended = self.followups.get(app_id).map(|followup| followup.verdict);
        if ended == Some(Outcome::Ended(Ending::Done)) {
            let operation = Operation::Confirm { app_id: app_id.clone() };
            let (unit, cause) = (unit.clone(), Cause::Ended);
            self.plan.actions.push(Action { unit, operation, cause, changes: Vec::new(), after: Vec::new() });
        }
    }

    /// The state of an app that is what was put there; or what is done where that failed.
    pub(super) fn stand(&self, wish: &Wish<'_>, owned: &Owned, seen: &App) -> Result<Verdict, Held> {
        let failed = self.followups.get(wish.app_id).filter(|followup| followup.verdict.is_failure());
        let Some(followup) = failed else { return Ok(self.settle(seen)) };
        if wish.unit.on_failure == OnFailure::Hold {
            // What only takes long may still come; what was halted does not.
            let halted = followup.verdict != Outcome::Stuck;
            return Ok(if halted { stalled(followup, None) } else { self.settle(seen) });
        }
        let good = restorable(wish.unit, owned);
        let may_cancel = |id: &str| {
            wish.unit.foreign_deployments == ForeignDeployments::Cancel || is_ours(id, self.inventory)
        };
        match (remedy(followup.verdict, good.is_some(), Some(seen), may_cancel), good) {
            (Remedy::Restore { .. }, Some(good)) => match self.former(wish, good) {
                Ok(former) => restore(wish, owned, seen, (good, &former), &followup.reason, self.profile),
                Err(why) => Ok(stalled(followup, Some(&why))),
            },
            (Remedy::Refused(why), _) => Ok(stalled(followup, Some(&why))),
            (Remedy::None | Remedy::Restore { .. }, _) => Ok(self.settle(seen)),
        }
    }

    /// The definition that ran well, as Marathon keeps it; only if it is what the books say.
    fn former(&self, wish: &Wish<'_>, good: &Good) -> Result<Canonical, String> {
        let version = &good.version;
        let former = match self.observed.former.get(wish.app_id) {
            Some(Ok(former)) => normalize_observed(former),
            Some(Err(why)) => return Err(format!("version {version} cannot be read: {why}")),
            None => return Err(format!("version {version} was not read")),
        };
        match diff_remembered(&good.applied, &former, None, &wish.unit.ignore) {
            Ok(difference) if difference.changes.is_empty() => Ok(former),
            _ => Err(format!("Marathon's version {version} is not what was put there")),
        }
    }

    /// Refuses to put there again what failed and was taken back.
    pub(super) fn refuse_failed(
        &self,
        wish: &Wish<'_>,
        wanted: Digest,
        owned: &Owned,
        seen: &App,
    ) -> Result<(), Held> {
        let rolls_back = wish.unit.on_failure == OnFailure::Rollback;
        let same = |failed: &&Failed| failed.digest == wanted && (failed.refused || rolls_back);
        let Some(failed) = owned.failed.as_ref().filter(same) else { return Ok(()) };
        if failed.refused {
            return Err(put_back(&self.report(seen).reason, failed));
        }
        let message = format!(
            "rolled back to what ran before (now: {}), because it failed: {}; change the unit, or write onFailure: hold to \
             have it tried again",
            self.report(seen).reason,
            failed.reason
        );
        Err(Held::Blocked(BlockedReason::RolledBack, message))
    }
}

/// The write that puts what ran well in the place of what failed.
fn restore(
    wish: &Wish<'_>,
    owned: &Owned,
    seen: &App,
    (good, former): (&Good, &Canonical),
    reason: &str,
    profile: Profile,
) -> Result<Verdict, Held> {
    let (applied, ignore) = (Some(&owned.applied), &wish.unit.ignore);
    let difference = diff_for(former, seen, applied, ignore, profile).map_err(|faults| refused(&faults))?;
    refuse_harm(&difference, false)?;
    let reason = reason.chars().take(LONGEST_REASON).collect();
    let operation = Operation::UpdateApp {
        app_id: wish.app_id.clone(),
        app: to_send(former, seen, applied, ignore).map_err(|faults| refused(&faults))?,
        book: BookEntry {
            applied: good.applied.clone(),
            applied_digest: good.applied_digest,
            // They are those of another state of the unit.
            inputs: None,
            protect: wish.unit.protect,
            failed: Some(Failed { digest: owned.applied_digest, reason, refused: false }),
        },
        observed_version: seen.version().to_owned(),
        effect: difference.effect,
        from_good: false,
        cancels: seen.deployments().map(str::to_owned).collect(),
    };
    Ok(Verdict::Act { operation, cause: Cause::RolledBack, changes: difference.changes })
}

/// A change that failed and stays as it is; and why it is not taken back, where that was wanted.
fn stalled(followup: &Followup, not_rolled_back: Option<&str>) -> Verdict {
    let reason = match followup.verdict {
        Outcome::Ended(ending) => ending.as_str(),
        _ => "NotReadyInTime",
    };
    let message = match not_rolled_back {
        Some(why) => format!("{}; it is not rolled back: {why}", followup.reason),
        None => followup.reason.clone(),
    };
    Verdict::Settled(UnitState::Stalled { reason: reason.to_owned(), message })
}
