//! What we own and nobody desires any more. Comes last in every plan.

use super::{Held, Planner, Verdict, apps};
use crate::controller::guard;
use crate::manifest::ForeignDeployments;
use crate::marathon::normalize::has_volume;
use crate::marathon::sdk::SdkService;
use crate::model::{
    Action, App, AppId, Blocked, BlockedReason, Operation, Owned, UnitPlan, UnitState, Waiting, WaitingReason,
};

impl Planner<'_> {
    /// Plans the removal of every app of this source that no unit claims.
    pub(super) fn removals(&mut self) {
        let (source, inventory) = (&self.desired.source, self.inventory);
        let ours: Vec<_> = inventory.apps.iter().filter(|(_, owned)| owned.unit.source == *source).collect();
        let allowed = guard::deletions_allowed(&self.settings.limits, ours.len());
        let orphans = ours.into_iter().filter(|(id, _)| !self.claims.contains_key(*id));
        let verdicts: Vec<_> =
            orphans.map(|(app_id, owned)| (app_id, owned, self.removal(app_id, owned))).collect();
        // What a unit leaves behind when it moves to another app id is no loss: it is ready there.
        // Nor is the end of an uninstallation: its beginning was counted.
        let begun =
            |id: &AppId| self.observed.apps.get(id).is_some_and(|app| self.began_to_uninstall(id, app));
        let lost = |id: &AppId, owned: &Owned, verdict: &Verdict| {
            is_delete(verdict) && !self.desired.units.contains_key(&owned.unit) && !begun(id)
        };
        let due = verdicts.iter().filter(|(id, owned, verdict)| lost(id, owned, verdict)).count();
        // Apps that are deleted to be created anew count as well.
        let due = due + self.recreations.due;
        let held = due > allowed;
        let verdicts: Vec<_> = verdicts
            .into_iter()
            .map(|(app_id, owned, verdict)| {
                let verdict =
                    if held && lost(app_id, owned, &verdict) { too_many(due, allowed) } else { verdict };
                (app_id, owned, verdict)
            })
            .collect();
        self.record_recreations(due, allowed);
        // What is new comes first, removals last: a rename must not become an outage.
        let is_create = |index: &usize| {
            let action = self.plan.actions.get(*index);
            action.is_some_and(|action| matches!(action.operation, Operation::CreateApp { .. }))
        };
        let earlier: Vec<usize> = (0..self.plan.actions.len()).filter(is_create).collect();
        for (app_id, owned, verdict) in verdicts {
            self.record_removal(app_id, owned, verdict, &earlier);
        }
        self.unfinished_creates(&earlier);
    }

    /// Creates that were announced before a crash, and whose units are gone since.
    fn unfinished_creates(&mut self, earlier: &[usize]) {
        let inventory = self.inventory;
        let open = inventory.intents.iter().filter(|(id, intent)| {
            intent.unit.source == self.desired.source
                && !self.claims.contains_key(*id)
                && !inventory.apps.contains_key(*id)
        });
        let open: Vec<_> = open.collect();
        for (app_id, intent) in open {
            let verdict = match self.observed.apps.get(app_id) {
                Some(seen) if apps::was_applied(intent, seen, &[]) => {
                    apps::resume(app_id, intent, false, seen, &[])
                }
                None if self.observed.marathon.is_complete() => apps::forget(app_id),
                // Somebody else's app by now, or nothing is known: leave it and the intent alone.
                _ => continue,
            };
            if let Verdict::Act { operation, cause, changes } = verdict {
                let (unit, after) = (intent.unit.clone(), earlier.to_vec());
                self.plan.actions.push(Action { unit, operation, cause, changes, after });
            }
        }
    }

    fn removal(&self, app_id: &AppId, owned: &Owned) -> Verdict {
        let Some(app) = self.observed.apps.get(app_id) else {
            return match self.observed.marathon.reason() {
                Some(reason) => Verdict::Held(apps::not_observed(reason)),
                None => apps::forget(app_id),
            };
        };
        let (limits, own) = (&self.settings.limits, self.settings.own_app.as_ref());
        let empty = self.desired.units.is_empty();
        let begun = self.observed.marathon.is_complete() && self.began_to_uninstall(app_id, app);
        let may_prune = || guard::may_prune(owned, limits, self.observed, empty);
        let guards =
            guard::may_touch(app_id, limits, own).and_then(|()| if begun { Ok(()) } else { may_prune() });
        if let Err((reason, message)) = guards {
            return Verdict::Held(Held::Blocked(reason, message));
        }
        if begun {
            return self.delete(app_id, app, ForeignDeployments::Wait);
        }
        if let Some(unit) = self.plan.units.iter().find(|unit| unit.unit == owned.unit)
            && let Err(held) = self.may_leave(app_id, app, unit)
        {
            return Verdict::Held(held);
        }
        if let Some(target) = self.kept_back(&owned.unit) {
            let message = format!("{} runs as {target} now; that must be ready first", owned.unit);
            return Verdict::Held(Held::Waiting(WaitingReason::DependencyNotReady, message));
        }
        self.delete(app_id, app, ForeignDeployments::Wait)
    }

    /// Whether the old app of a unit that moved to another app id may go: not with what only it has, and not before the new
    /// one was seen to run well.
    fn may_leave(&self, app_id: &AppId, app: &App, unit: &UnitPlan) -> Result<(), Held> {
        let has_service = SdkService::of(app).is_some();
        if has_service || has_volume(&app.0, "persistent") {
            let what = if has_service { "the tasks and volumes of its service" } else { "its volumes" };
            let message = format!(
                "{} runs as {} now, and removing {app_id} destroys {what}; delete it by hand when they are not needed any \
                 more, or give the unit its old appId back",
                unit.unit, unit.target
            );
            return Err(Held::Blocked(BlockedReason::WouldRecreate, message));
        }
        let under_way = |id: AppId| self.inventory.apps.get(&id).is_some_and(|new| new.rollout.is_some());
        let is_ready = matches!(unit.state, UnitState::Ready { .. });
        if !is_ready || AppId::new(&unit.target).is_ok_and(under_way) {
            let message =
                format!("{} runs as {} now; that must be seen to run well first", unit.unit, unit.target);
            return Err(Held::Waiting(WaitingReason::DependencyNotReady, message));
        }
        Ok(())
    }

    fn record_removal(&mut self, app_id: &AppId, owned: &Owned, verdict: Verdict, earlier: &[usize]) {
        let (unit, target) = (owned.unit.clone(), app_id.to_string());
        match verdict {
            Verdict::Act { operation, cause, changes } => {
                let after = earlier.to_vec();
                self.plan.actions.push(Action { unit, operation, cause, changes, after });
            }
            Verdict::Held(Held::Blocked(reason, message)) => {
                self.plan.blocked.push(Blocked { unit, target, reason, message });
            }
            Verdict::Held(Held::Waiting(reason, message)) => {
                self.plan.waiting.push(Waiting { unit, target, reason, message });
            }
            Verdict::Settled(_) => {}
        }
    }
}

fn is_delete(verdict: &Verdict) -> bool {
    let Verdict::Act { operation, .. } = verdict else { return false };
    matches!(operation, Operation::UninstallApp { .. } | Operation::DeleteApp { .. })
}

fn too_many(due: usize, allowed: usize) -> Verdict {
    let message = format!(
        "{due} apps would be removed at once and {allowed} may be; restore documents, or remove them in smaller \
         steps or with state: absent"
    );
    Verdict::Held(Held::Blocked(BlockedReason::TooManyDeletions, message))
}
