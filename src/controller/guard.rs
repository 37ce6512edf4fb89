//! The safety valves: what may not be removed or touched, whatever the manifest says.
//!
//! They belong to the daemon's configuration, not to the manifest: a commit must not lift its own guard.
//! Each guard answers with a typed reason; the planner only asks.

use crate::model::{AppId, BlockedReason, Observation, Owned};

/// What a source is allowed to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Whether apps whose document is gone are removed.
    pub prune: bool,
    /// How many apps may be removed in one plan at the most.
    pub max_deletions: usize,
    /// The same as a share of the apps that we own, in percent; at least one is always allowed.
    pub max_deletions_percent: usize,
    /// Whether an empty manifest may remove everything.
    pub allow_empty: bool,
    /// The groups whose apps the source may touch; `/` is all.
    pub allow_app_ids: Vec<String>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            prune: false,
            max_deletions: 5,
            max_deletions_percent: 20,
            allow_empty: false,
            allow_app_ids: vec!["/".to_owned()],
        }
    }
}

/// A guard that said no, and what a person can do about it.
pub type Refusal = (BlockedReason, String);

/// May the source touch an app of this id, our own being `own`?
pub fn may_touch(app_id: &AppId, limits: &Limits, own: Option<&AppId>) -> Result<(), Refusal> {
    if own == Some(app_id) {
        let message = "this is the app that runs this very controller; it is not changed from inside";
        return Err((BlockedReason::AppIdNotAllowed, message.to_owned()));
    }
    if limits.allow_app_ids.iter().any(|group| app_id.is_below(group)) {
        return Ok(());
    }
    let allowed = limits.allow_app_ids.join(", ");
    Err((BlockedReason::AppIdNotAllowed, format!("the source may only touch apps below {allowed}")))
}

/// May an app be removed because its document is gone?
pub fn may_prune(owned: &Owned, limits: &Limits, observed: &Observation, empty: bool) -> Result<(), Refusal> {
    if owned.protect {
        let message = "it is protected; take protect away in a commit before removing the document";
        return Err((BlockedReason::Protected, message.to_owned()));
    }
    if !limits.prune {
        let message = "pruning is off for this source; delete the app by hand or switch prune on";
        return Err((BlockedReason::PruneDisabled, message.to_owned()));
    }
    if let Some(reason) = observed.marathon.reason() {
        return Err((BlockedReason::IncompleteObservation, format!("nothing is removed while {reason}")));
    }
    if empty && !limits.allow_empty {
        let message = "the manifest holds no unit at all; an empty manifest removes nothing";
        return Err((BlockedReason::EmptyManifest, message.to_owned()));
    }
    Ok(())
}

/// How many of `owned` apps one plan may remove.
#[must_use]
pub fn deletions_allowed(limits: &Limits, owned: usize) -> usize {
    limits.max_deletions.min((owned * limits.max_deletions_percent / 100).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_least_one_removal_is_allowed_and_never_more_than_the_smaller_limit() {
        let limits = Limits::default();
        assert_eq!(deletions_allowed(&limits, 2), 1);
        assert_eq!(deletions_allowed(&limits, 15), 3);
        assert_eq!(deletions_allowed(&limits, 1000), 5);
        assert_eq!(deletions_allowed(&Limits { max_deletions: 0, ..limits }, 1000), 0);
    }
}
