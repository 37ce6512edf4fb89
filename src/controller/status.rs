//! The one writer of status: merges what the plan says and what the executor saw into conditions.
//!
//! `Ready` always stands there; `Reconciling` and `Stalled` only while they hold. `since` moves only when the
//! status does, so that "how long already" can be read off.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use crate::controller::desired::Desired;
use crate::model::{
    Action, Cause, Condition, ConditionStatus, ErrorClass, Operation, Outcome, OutcomeResult, Plan, Revision,
    UnitId, UnitPlan, UnitState, UnitStatus, WaitingReason, Warning,
};

/// The states of all units at the end of the last pass.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct StatusBook {
    revision: Option<Revision>,
    units: BTreeMap<UnitId, UnitStatus>,
}

impl StatusBook {
    /// The units in the order of their keys.
    #[must_use]
    pub fn units(&self) -> Vec<UnitStatus> {
        self.units.values().cloned().collect()
    }

    /// The revision that the states speak of.
    #[must_use]
    pub fn revision(&self) -> Option<&Revision> {
        self.revision.as_ref()
    }

    /// Takes in one pass. Returns the units whose conditions changed.
    pub fn merge(
        &mut self,
        desired: &Desired,
        plan: &Plan,
        outcomes: &[Outcome],
        now: Timestamp,
    ) -> Vec<UnitStatus> {
        let ends = ends(plan, outcomes);
        let mut changed = Vec::new();
        let mut units = BTreeMap::new();
        for unit in &plan.units {
            let before = self.units.get(&unit.unit);
            let timeout = desired.units.get(&unit.unit).and_then(|desired| desired.timeout);
            let verdict = verdict(unit, ends.get(&unit.unit).copied());
            let status = conditions(unit, plan.revision.as_ref(), verdict, before, timeout, now);
            if before.is_none_or(|before| differs(before, &status)) {
                changed.push(status.clone());
            }
            units.insert(unit.unit.clone(), status);
        }
        self.units = units;
        self.revision.clone_from(&plan.revision);
        changed
    }
}

/// How the action of each unit ended in this pass, where it did not stay undone. That an app is gone which the
/// unit left behind when it moved says nothing about the unit.
fn ends<'a>(plan: &Plan, outcomes: &'a [Outcome]) -> BTreeMap<&'a UnitId, &'a Outcome> {
    let targets: BTreeMap<_, _> = plan.units.iter().map(|unit| (&unit.unit, unit.target.as_str())).collect();
    let left_behind = |action: &Action| {
        action.operation.app_id().is_some_and(|id| targets.get(&action.unit) != Some(&id.as_str()))
    };
    // Nor does it that a change was confirmed: the plan says how the unit stands.
    let confirmed = |action: &Action| matches!(action.operation, Operation::Confirm { .. });
    let ended = outcomes.iter().filter(|outcome| match outcome.result {
        OutcomeResult::Skipped(_) => false,
        OutcomeResult::Done => !left_behind(&outcome.action) && !confirmed(&outcome.action),
        OutcomeResult::Failed { .. } | OutcomeResult::Held { .. } => true,
    });
    ended.map(|outcome| (&outcome.action.unit, outcome)).collect()
}

/// What holds of a unit: is it ready, does it move, is it stuck; and why.
struct Verdict {
    ready: ConditionStatus,
    reconciling: bool,
    stalled: bool,
    reason: String,
    message: String,
}

fn verdict(unit: &UnitPlan, end: Option<&Outcome>) -> Verdict {
    match end.map(|outcome| (&outcome.result, &outcome.action)) {
        Some((
            OutcomeResult::Failed { class, reason, message } | OutcomeResult::Held { class, reason, message },
            _,
        )) => failed(*class, reason, message),
        Some((OutcomeResult::Done, action)) => done(action),
        _ => planned(unit),
    }
}

fn failed(class: ErrorClass, reason: &str, message: &str) -> Verdict {
    let stalled = matches!(class, ErrorClass::Stall | ErrorClass::Fatal);
    let (reason, message) = (reason.to_owned(), message.to_owned());
    Verdict { ready: ConditionStatus::False, reconciling: !stalled, stalled, reason, message }
}

/// A package is ready when its record is written; of an app only the next look can tell.
fn done(action: &Action) -> Verdict {
    let operation = &action.operation;
    let message = match operation {
        Operation::Publish { release_version, .. } => {
            let message = format!("published as release {release_version}");
            let (ready, reason) = (ConditionStatus::True, "Ready".to_owned());
            return Verdict { ready, reconciling: false, stalled: false, reason, message };
        }
        Operation::CreateApp { .. } => "created; its tasks are starting",
        Operation::UpdateApp { .. } => "updated; its tasks follow",
        Operation::UninstallApp { .. } => "told to uninstall itself",
        Operation::DeleteApp { .. } if action.cause == Cause::Changed => {
            "deleted with its volumes; it is created anew when it is gone"
        }
        Operation::DeleteApp { .. } => "removed; its tasks are stopping",
        Operation::Adopt { .. } | Operation::Confirm { .. } | Operation::Forget { .. } => {
            "taken into the books"
        }
    };
    let (reason, message) = (operation.label().to_owned(), message.to_owned());
    Verdict { ready: ConditionStatus::False, reconciling: true, stalled: false, reason, message }
}

fn planned(unit: &UnitPlan) -> Verdict {
    let (ready, reconciling, stalled, reason, message) = match &unit.state {
        UnitState::Ready { message } => (ConditionStatus::True, false, false, "Ready", message),
        UnitState::Progressing { reason, message } => {
            (ConditionStatus::False, true, false, reason.as_str(), message)
        }
        UnitState::Stalled { reason, message } => {
            (ConditionStatus::False, false, true, reason.as_str(), message)
        }
        UnitState::Unknown { reason, message } => {
            (ConditionStatus::Unknown, true, false, reason.as_str(), message)
        }
    };
    Verdict { ready, reconciling, stalled, reason: reason.to_owned(), message: message.clone() }
}

fn conditions(
    unit: &UnitPlan,
    revision: Option<&Revision>,
    mut verdict: Verdict,
    before: Option<&UnitStatus>,
    timeout: Option<Duration>,
    now: Timestamp,
) -> UnitStatus {
    // The clock starts anew when the manifest changed, but not when only the reason did.
    let same_revision = before.is_some_and(|before| before.observed_revision.as_ref() == revision);
    let since = |kind: &str, status: ConditionStatus| {
        let last = before.and_then(|before| before.condition(kind)).filter(|c| c.status == status);
        last.filter(|_| same_revision || kind == "Ready").map_or(now, |c| c.since)
    };
    let moving_since = since("Reconciling", ConditionStatus::True);
    // The wall clock may be put back; nobody has waited less than not at all.
    let waited = Duration::try_from(now.duration_since(moving_since)).unwrap_or_default();
    if verdict.reconciling && timeout.is_some_and(|limit| waited > limit) {
        verdict.stalled = true;
        let limit = limit_text(timeout);
        verdict.message = format!("not ready within {limit} ({}): {}", verdict.reason, verdict.message);
        "NotReadyInTime".clone_into(&mut verdict.reason);
    }
    let condition = |kind: &str, status, since| Condition {
        kind: kind.to_owned(),
        status,
        reason: verdict.reason.clone(),
        message: verdict.message.clone(),
        since,
    };
    let mut conditions = vec![condition("Ready", verdict.ready, since("Ready", verdict.ready))];
    if verdict.reconciling {
        conditions.push(condition("Reconciling", ConditionStatus::True, moving_since));
    }
    if verdict.stalled {
        let since = since("Stalled", ConditionStatus::True);
        conditions.push(condition("Stalled", ConditionStatus::True, since));
    }
    let (target, observed_revision) = (unit.target.clone(), revision.cloned());
    UnitStatus {
        unit: unit.unit.clone(),
        target,
        observed_revision,
        conditions,
        warnings: warnings(unit, before),
    }
}

/// What cannot be seen at the moment is as it was: which fields a template has too many is known from the registry and
/// from Marathon's version.
fn warnings(unit: &UnitPlan, before: Option<&UnitStatus>) -> Vec<Warning> {
    let unseen = matches!(&unit.state, UnitState::Unknown { reason, .. } if reason == WaitingReason::NotObserved.as_str());
    let earlier = before.filter(|before| unseen && before.target == unit.target);
    earlier.map_or(&unit.warnings, |before| &before.warnings).clone()
}

/// The units that give warnings, others than before; what gave them up is no news. Both are in the order of their keys.
pub fn newly_warned<'a>(
    before: &'a [UnitStatus],
    after: &'a [UnitStatus],
) -> impl Iterator<Item = &'a UnitStatus> {
    let known = |unit: &UnitStatus| {
        let index = before.binary_search_by(|before| before.unit.cmp(&unit.unit)).ok();
        index.and_then(|index| before.get(index)).is_some_and(|before| before.warnings == unit.warnings)
    };
    after.iter().filter(move |unit| !unit.warnings.is_empty() && !known(unit))
}

/// The limit as the manifest would write it.
fn limit_text(limit: Option<Duration>) -> String {
    let seconds = limit.unwrap_or_default().as_secs();
    if seconds.is_multiple_of(60) { format!("{} min", seconds / 60) } else { format!("{seconds} s") }
}

/// Whether a person would call it news: another status or reason, not another number in the message.
fn differs(before: &UnitStatus, after: &UnitStatus) -> bool {
    let key = |status: &UnitStatus| {
        let of_one = |c: &Condition| (c.kind.clone(), c.status, c.reason.clone());
        status.conditions.iter().map(of_one).collect::<Vec<_>>()
    };
    before.target != after.target || key(before) != key(after)
}

#[cfg(test)]
mod tests;
