//! Changes that Marathon refuses because the app has persistent volumes: where its unit allows that, the app is deleted
//! with its volumes, and created anew by a later plan, when it is gone.
//!
//! Only a change of the unit does that. Drift never does, nor does what Marathon makes of a definition: what never comes
//! to be as it is desired would be destroyed for ever anew. Everything that the creation needs is there before, and
//! everything that may forbid a removal is asked, but the permission to prune, which is about documents that are gone.
//! Where Marathon refuses it all the same, what was there before is created again, without its data.
//! Together with the removals they keep to the limits: all of them are done, or none.

use super::apps::{Wish, not_observed, paths, refused};
use super::{Held, Planner, Verdict};
use crate::manifest::Recreate;
use crate::marathon::diff::{Difference, to_send};
use crate::marathon::normalize::normalize_observed;
use crate::marathon::sdk::SdkService;
use crate::model::{
    App, AppId, BlockedReason, BookEntry, Cause, Change, Failed, IntentVerb, Operation, Owned, Recreation,
    UnitId,
};

/// Deletions whose apps are created anew, until the limits are known to allow them.
#[derive(Default)]
pub(super) struct Recreations {
    /// How many apps this plan would delete, with those that something holds back for now: who waits for others is not
    /// to come one by one under the limit.
    pub(super) due: usize,
    ready: Vec<(UnitId, AppId, Verdict)>,
}

impl Planner<'_> {
    /// The deletion of an app whose change destroys its volumes.
    pub(super) fn recreate(
        &mut self,
        wish: &Wish<'_>,
        owned: &Owned,
        seen: &App,
        difference: Difference,
    ) -> Result<Verdict, Held> {
        let changes = difference.changes;
        may_recreate(wish, seen, &changes)?;
        if let Some(reason) = self.observed.marathon.reason() {
            return Err(not_observed(reason));
        }
        // What was announced was counted.
        let intent = self.inventory.intents.get(wish.app_id);
        if intent.is_none_or(|intent| intent.verb != IntentVerb::Delete) {
            self.recreations.due += 1;
        }
        self.wait_for_dependencies(wish.unit)?;
        match self.delete(wish.app_id, seen, wish.unit.foreign_deployments) {
            Verdict::Act {
                operation: Operation::DeleteApp { app_id, observed_version, cancels, .. },
                ..
            } => {
                let in_place = to_send(&wish.wanted, seen, Some(&owned.applied), &wish.unit.ignore);
                let in_place = in_place.map_err(|faults| refused(&faults))?;
                let (app, former) = (App::clone(&wish.wanted), normalize_observed(seen).into_app());
                let recreation = Some(Box::new(Recreation { app, in_place, former }));
                let operation = Operation::DeleteApp { app_id, observed_version, cancels, recreation };
                Ok(Verdict::Act { operation, cause: Cause::Changed, changes })
            }
            other => Ok(other),
        }
    }

    /// The creation of the app as it was before it was deleted, where Marathon refused what is still desired. Whatever it
    /// depends on, it ran.
    pub(super) fn create_former(&self, wish: &Wish<'_>, owned: &Owned) -> Option<Verdict> {
        let intent = self.inventory.intents.get(wish.app_id);
        let replaced = intent.filter(|intent| intent.unit.source == wish.id.source)?.replaced.as_ref()?;
        let refused = replaced.refused.as_ref().filter(|refused| refused.digest == wish.wanted.digest())?;
        let book = BookEntry {
            applied: owned.applied.clone(),
            applied_digest: owned.applied_digest,
            // They are those of another state of the unit.
            inputs: None,
            protect: wish.unit.protect,
            failed: Some(refused.clone()),
        };
        let (app_id, app) = (wish.app_id.clone(), replaced.app.clone());
        let operation = Operation::CreateApp { app_id, app, book };
        Some(Verdict::Act { operation, cause: Cause::RolledBack, changes: Vec::new() })
    }

    /// Whether the app that stands there came after one was deleted for this very change: ours whose creation has no
    /// known end, or somebody else's. That it is not as desired is drift, then.
    pub(super) fn is_new(&self, wish: &Wish<'_>, seen: &App) -> bool {
        self.inventory.intents.get(wish.app_id).is_some_and(|intent| match intent.verb {
            IntentVerb::Create => {
                let wanted = wish.wanted.digest();
                let put_back = intent.failed.as_ref().is_some_and(|failed| failed.digest == wanted);
                intent.body == wanted || put_back
            }
            IntentVerb::Delete => intent.observed_version != seen.version(),
            IntentVerb::Update | IntentVerb::Uninstall => false,
        })
    }

    /// Keeps such a deletion back until everything that would be deleted is known. Others are given back.
    pub(super) fn keep_back(&mut self, id: &UnitId, verdict: Verdict) -> Option<Verdict> {
        match &verdict {
            Verdict::Act {
                operation: Operation::DeleteApp { app_id, .. }, cause: Cause::Changed, ..
            } => {
                let kept = (id.clone(), app_id.clone(), verdict);
                self.recreations.ready.push(kept);
                None
            }
            _ => Some(verdict),
        }
    }

    /// The app of a unit that is kept back: it is not in the plan yet, and surely not ready.
    pub(super) fn kept_back(&self, unit: &UnitId) -> Option<&str> {
        let kept = self.recreations.ready.iter().find(|(id, _, _)| id == unit);
        kept.map(|(_, app_id, _)| app_id.as_str())
    }

    /// Writes down what was kept back: as it is, or as held where more would be deleted than may be.
    pub(super) fn record_recreations(&mut self, due: usize, allowed: usize) {
        for (id, app_id, verdict) in std::mem::take(&mut self.recreations.ready) {
            let verdict = if due > allowed { Verdict::Held(too_many(due, allowed)) } else { verdict };
            self.record(&id, app_id.to_string(), verdict);
        }
    }
}

fn may_recreate(wish: &Wish<'_>, seen: &App, changes: &[Change]) -> Result<(), Held> {
    let refused = |advice: &str| {
        let message = format!("changing {} destroys the app's volumes; {advice}", paths(changes));
        Err(Held::Blocked(BlockedReason::WouldRecreate, message))
    };
    if SdkService::of(seen).is_some() || SdkService::of(&wish.wanted).is_some() {
        return refused("and an SDK service is not recreated: take the change back");
    }
    if wish.unit.recreate == Recreate::Never {
        return refused("write recreate: allowed where losing them is meant");
    }
    if wish.unit.protect {
        let message = format!(
            "changing {} means to delete the app and its volumes, and it is protected; take protect away, too, to have it \
             created anew",
            paths(changes)
        );
        return Err(Held::Blocked(BlockedReason::Protected, message));
    }
    Ok(())
}

/// What holds a definition back that Marathon refused after the app was deleted for it.
pub(super) fn put_back(now: &str, failed: &Failed) -> Held {
    let message = format!(
        "Marathon refused the new definition after the app was deleted for it: {}; it was created anew as it was before \
         (now: {now}), and the data of its volumes is gone; change the unit to have it tried again",
        failed.reason
    );
    Held::Blocked(BlockedReason::RolledBack, message)
}

fn too_many(due: usize, allowed: usize) -> Held {
    let message = format!(
        "{due} apps would be deleted at once, with those that are created anew, and {allowed} may be; change fewer units \
         in one step"
    );
    Held::Blocked(BlockedReason::TooManyDeletions, message)
}
