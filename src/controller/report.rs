//! The plan and the state of units as text for people. Pure.
//!
//! Every line answers "what" and, indented below it, "why". JSON is the serde form of the same values.

use std::fmt::Write as _;

use serde_json::Value;

use crate::marathon::labels;
use crate::model::{
    Action, Blocked, BookEntry, Cause, Change, ConditionStatus, Effect, Operation, Outcome, OutcomeResult,
    Plan, Problem, Revision, UnitId, UnitStatus,
};

/// The longest text of a value shown in a change.
const LONGEST_VALUE: usize = 72;

/// The plan as text.
#[must_use]
pub fn plan_text(plan: &Plan) -> String {
    let mut text = String::new();
    headline(&mut text, plan);
    for action in &plan.actions {
        action_text(&mut text, plan, action);
    }
    for drift in plan.drift.iter().filter(|drift| !drift.corrected) {
        line(&mut text, '?', "drift", drift.app_id.as_str(), "left as it is");
        why(&mut text, &drift.unit, "somebody changed it; the unit's drift mode is warn");
        changes_text(&mut text, &drift.changes);
    }
    for blocked in &plan.blocked {
        line(&mut text, '!', "blocked", &blocked.target, blocked.reason.as_str());
        why(&mut text, &blocked.unit, &blocked.message);
    }
    for waiting in &plan.waiting {
        line(&mut text, '.', "waiting", &waiting.target, waiting.reason.as_str());
        why(&mut text, &waiting.unit, &waiting.message);
    }
    for unit in plan.units.iter().filter(|unit| !unit.warnings.is_empty()) {
        line(&mut text, '?', "warning", &unit.target, "holds nothing back");
        for warning in &unit.warnings {
            why(&mut text, &unit.unit, &warning.to_string());
        }
    }
    summary(&mut text, plan);
    text
}

/// What is wrong with the newest manifest, and that what runs is not touched.
#[must_use]
pub fn problems_text(problems: &[Problem]) -> String {
    if problems.is_empty() {
        return "The manifest is good again.".to_owned();
    }
    let count = problems.len();
    let mut text =
        format!("The newest manifest is not in force, and nothing that runs is touched: {count} problem(s).");
    for problem in problems {
        let _ = write!(text, "\n  {problem}");
    }
    text
}

/// How an action ended, where that is worth a line.
#[must_use]
pub fn outcome_line(outcome: &Outcome) -> Option<String> {
    let action = &outcome.action;
    let (done, target) = match &action.operation {
        Operation::Publish { coordinate, release_version, .. } => {
            ("published", format!("{coordinate} as release {release_version}"))
        }
        Operation::CreateApp { app_id, .. } => ("created", app_id.to_string()),
        Operation::UpdateApp { app_id, effect, .. } => {
            ("updated", format!("{app_id}: {}", effect_text(*effect)))
        }
        Operation::UninstallApp { app_id, .. } => ("told to uninstall itself:", app_id.to_string()),
        Operation::DeleteApp { app_id, .. } => ("removed", app_id.to_string()),
        Operation::Adopt { .. } | Operation::Confirm { .. } | Operation::Forget { .. } => return None,
    };
    let unit = &action.unit;
    match &outcome.result {
        OutcomeResult::Done => {
            let mut text = format!("  {unit}: {done} {target}");
            match (action.cause, &action.operation) {
                (Cause::Drifted, Operation::CreateApp { .. }) => text.push_str(" (somebody had removed it)"),
                (Cause::Drifted, _) => text.push_str(" (somebody had changed it)"),
                (Cause::Resumed, Operation::DeleteApp { .. }) => {
                    text.push_str(" (it had uninstalled itself; it is created anew)");
                }
                (Cause::Changed, Operation::DeleteApp { .. }) => {
                    text.push_str(
                        " with its volumes (the change cannot be made in place; it is created anew)",
                    );
                }
                (Cause::RolledBack, Operation::CreateApp { .. }) => {
                    text.push_str(
                        " as it was before, without its data (Marathon refuses what is to be there)",
                    );
                }
                (Cause::Resumed, _) => text.push_str(" (its first try had no known end)"),
                (Cause::RolledBack, _) => text.push_str(" (rolled back to what ran before)"),
                _ => {}
            }
            for change in &action.changes {
                let _ = write!(text, "\n      {}", change_text(change));
            }
            Some(text)
        }
        OutcomeResult::Skipped(_) | OutcomeResult::Held { .. } => None,
        OutcomeResult::Failed { message, .. } => {
            Some(format!("  {unit}: {} of {target} failed: {message}", action.operation.label()))
        }
    }
}

/// An app that is no longer desired, and why it stays.
#[must_use]
pub fn kept_line(kept: &Blocked) -> String {
    format!("  {}: {} is not removed: {}", kept.unit, kept.target, kept.message)
}

fn headline(text: &mut String, plan: &Plan) {
    if !plan.problems.is_empty() {
        let _ = writeln!(text, "{}", problems_text(&plan.problems));
    }
    match &plan.revision {
        Some(revision) => {
            let _ = writeln!(text, "Plan for revision {}:", revision.short());
        }
        None => text.push_str("No manifest is in force; nothing is touched.\n"),
    }
}

fn line(text: &mut String, mark: char, verb: &str, target: &str, remark: &str) {
    let _ = writeln!(text, "  {mark} {verb:<8} {target:<32} {remark}");
}

fn why(text: &mut String, unit: &UnitId, message: &str) {
    let _ = writeln!(text, "             {unit}: {message}");
}

fn action_text(text: &mut String, plan: &Plan, action: &Action) {
    let (mark, target, remark) = match &action.operation {
        Operation::Publish { coordinate, release_version, .. } => {
            ('+', coordinate.to_string(), format!("as release {release_version}"))
        }
        Operation::CreateApp { app_id, app, .. } => {
            ('+', app_id.to_string(), format!("{} instance(s)", app.instances()))
        }
        Operation::UpdateApp { app_id, effect, .. } => ('~', app_id.to_string(), effect_text(*effect).into()),
        Operation::UninstallApp { app_id, .. } => {
            ('-', app_id.to_string(), "its scheduler uninstalls the service; there is no way back".into())
        }
        Operation::DeleteApp { app_id, .. } if action.cause == Cause::Changed => {
            ('-', app_id.to_string(), "its tasks are stopped and its volumes are destroyed".into())
        }
        Operation::DeleteApp { app_id, .. } => ('-', app_id.to_string(), "its tasks are stopped".into()),
        Operation::Adopt { app_id, .. } | Operation::Confirm { app_id } | Operation::Forget { app_id } => {
            ('=', app_id.to_string(), "in our books only".into())
        }
    };
    line(text, mark, action.operation.label(), &target, &remark);
    why(text, &action.unit, &cause_text(plan, action));
    if let Operation::UpdateApp { cancels, .. }
    | Operation::UninstallApp { cancels, .. }
    | Operation::DeleteApp { cancels, .. } = &action.operation
        && !cancels.is_empty()
    {
        let _ = writeln!(text, "               cancels deployment {}", cancels.join(", "));
    }
    changes_text(text, &action.changes);
}

/// What an effect means to the tasks.
#[must_use]
pub fn effect_text(effect: Effect) -> &'static str {
    match effect {
        Effect::None => "no task notices",
        Effect::Scale => "scaled, no task restarts",
        Effect::Restart => "rolling restart of all tasks",
        Effect::Recreate => "deleted and created anew",
    }
}

fn cause_text(plan: &Plan, action: &Action) -> String {
    let mut text = match (action.cause, &action.operation) {
        (Cause::New, _) => "new".to_owned(),
        (Cause::Changed, Operation::DeleteApp { .. }) => {
            "the desired state changed in what Marathon cannot change in place; created anew when it is gone"
                .to_owned()
        }
        (Cause::Changed, _) => "the desired state changed".to_owned(),
        (Cause::Drifted, Operation::CreateApp { .. }) => "somebody removed it; it is brought back".to_owned(),
        (Cause::Drifted, _) => "somebody changed it; it is put right".to_owned(),
        (Cause::Removed, Operation::Forget { .. }) => "it is gone and no longer desired".to_owned(),
        (Cause::Removed, _) => "no longer desired".to_owned(),
        (Cause::Resumed, Operation::DeleteApp { .. }) => {
            "it has uninstalled itself and is desired again; created anew when it is gone".to_owned()
        }
        (Cause::Resumed, _) => "begun, and its end is not known; carried to its end".to_owned(),
        (Cause::Ended, _) => "its last change is done".to_owned(),
        (Cause::RolledBack, Operation::CreateApp { book: BookEntry { failed: Some(failed), .. }, .. }) => {
            format!("Marathon refuses the new definition; created anew as it was before: {}", failed.reason)
        }
        (Cause::RolledBack, Operation::UpdateApp { book: BookEntry { failed: Some(failed), .. }, .. }) => {
            format!("it failed, and what ran before is put back: {}", failed.reason)
        }
        (Cause::RolledBack, _) => "it failed, and what ran before is put back".to_owned(),
    };
    let before: Vec<_> = action.after.iter().filter_map(|index| plan.actions.get(*index)).collect();
    if let [first, rest @ ..] = before.as_slice() {
        let _ = write!(text, "; after {} of {}", first.operation.label(), first.unit);
        if !rest.is_empty() {
            let _ = write!(text, " and {} more", rest.len());
        }
    }
    text
}

fn changes_text(text: &mut String, changes: &[Change]) {
    for change in changes {
        let _ = writeln!(text, "               {}", change_text(change));
    }
}

/// One change. Package labels are shown by what they say, not by their base64.
fn change_text(change: &Change) -> String {
    let label = change.path.strip_prefix("/labels/").unwrap_or_default();
    if label == "DCOS_PACKAGE_DEFINITION" || label == "DCOS_PACKAGE_METADATA" {
        return format!("{}: the package's definition changes", change.path);
    }
    let side = |value: &Option<Value>| {
        let decoded = value.as_ref().and_then(Value::as_str).and_then(|text| labels::decoded(label, text));
        value_text(decoded.as_ref().or(value.as_ref()))
    };
    format!("{}: {} -> {}", change.path, side(&change.from), side(&change.to))
}

/// A value on one line; a long one by its two ends, where URLs differ.
fn value_text(value: Option<&Value>) -> String {
    let Some(value) = value else { return "nothing".to_owned() };
    let full: Vec<char> = value.to_string().chars().collect();
    if full.len() <= LONGEST_VALUE {
        return full.iter().collect();
    }
    let half = LONGEST_VALUE / 2;
    let start: String = full.iter().take(half).collect();
    let end: String = full.iter().skip(full.len() - half).collect();
    format!("{start}…{end}")
}

fn summary(text: &mut String, plan: &Plan) {
    if plan.revision.is_none() {
        return;
    }
    if plan.actions.is_empty() && plan.blocked.is_empty() && plan.waiting.is_empty() {
        let (units, tolerated) = (plan.units.len(), plan.drift.len());
        let _ = match tolerated {
            0 => writeln!(text, "Nothing to do: all {units} unit(s) are as desired."),
            _ => writeln!(text, "Nothing to do: {tolerated} of {units} unit(s) differ, and are left so."),
        };
        return;
    }
    let count = |label| plan.actions.iter().filter(|action| action.operation.label() == label).count();
    let _ = writeln!(
        text,
        "{} to publish, {} to create, {} to update, {} to delete; {} blocked, {} waiting.",
        count("publish"),
        count("create"),
        count("update"),
        count("uninstall") + count("delete"),
        plan.blocked.len(),
        plan.waiting.len()
    );
}

/// The state of all units as a table, and what is kept though no unit desires it.
#[must_use]
pub fn status_text(revision: Option<&Revision>, units: &[UnitStatus], kept: &[Blocked]) -> String {
    let mut text = String::new();
    match revision {
        Some(revision) => {
            let _ = writeln!(text, "Revision {}", revision.short());
        }
        None => text.push_str("No manifest is in force yet.\n"),
    }
    for unit in units {
        let _ = writeln!(text, "{}", unit_line(unit));
        for condition in unit.conditions.iter().filter(|c| c.kind != "Ready") {
            let _ = writeln!(text, "    {:<12} {}: {}", condition.kind, condition.reason, condition.message);
        }
        for warning in &unit.warnings {
            let _ = writeln!(text, "    {:<12} {warning}", "Warning");
        }
    }
    for kept in kept {
        let _ = writeln!(text, "{}", kept_line(kept));
    }
    text
}

/// One unit on one line.
#[must_use]
pub fn unit_line(unit: &UnitStatus) -> String {
    let (word, message) = match unit.condition("Ready") {
        None => ("Unknown", ""),
        Some(ready) => {
            let word = match ready.status {
                ConditionStatus::True => "Ready",
                ConditionStatus::False => "NotReady",
                ConditionStatus::Unknown => "Unknown",
            };
            (word, ready.message.as_str())
        }
    };
    format!("  {:<24} {word:<9} {:<30} {message}", unit.unit.to_string(), unit.target)
}

/// The warnings that a unit gives, one on each line.
#[must_use]
pub fn warnings_text(unit: &UnitStatus) -> String {
    let lines = unit.warnings.iter().map(|warning| format!("  {}: warning: {warning}", unit.unit));
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests;
