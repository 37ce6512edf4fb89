//! What is different with an app that is deleted to be created anew: nothing is deleted before Marathon was asked for the
//! new definition, and if it refuses that all the same, the books say so, for the next plan to put back what was there.
//!
//! Marathon has no dry run for apps, and the one for groups would have to be told another id. But two writes must be
//! refused while the app is there, and what they are refused for tells the rest. A PUT of such a change is refused for the
//! sake of the volumes after everything else, and before anything is stored. A POST is refused because the app exists
//! after the definition was checked, and whether we may create it: that is another permission than to change it.
//!
//! Sources: `api/v2/AppsResource.scala`, `core/group/impl/GroupManagerImpl.scala`, `core/deployment/DeploymentPlan.scala`
//! and `state/AppDefinition.scala` (`residentUpdateIsValid`) of mesosphere/marathon.

use super::{Executor, Stopped, failed};
use crate::marathon::MarathonError;
use crate::marathon::normalize::{FieldError, has_volume};
use crate::model::{
    Action, App, AppId, ErrorClass, Failed, Intent, Inventory, Operation, OutcomeResult, Recreation, Replaced,
};
use crate::storage::control::ControlOperation;

/// What Marathon says where only the volumes forbid a change; the third one before version 1.7.
const FOR_THE_VOLUMES: [&str; 4] = [
    "Persistent volumes can not be changed",
    "Services with persistent volumes configured may not change",
    "Resident Tasks may not change resource requirements",
    "It is not possible to change the role for existing reservations",
];

/// How much of the reason of a refusal is remembered, in characters.
const LONGEST_REASON: usize = 512;

impl Executor {
    /// Asks Marathon for the new definition while the old one is there. Where it takes it after all there is nothing to
    /// delete.
    pub(super) async fn ask_before_deletion(
        &self,
        app_id: &AppId,
        recreation: &Recreation,
    ) -> Result<(), Stopped> {
        match self.marathon.replace(app_id, &recreation.in_place, false).await {
            Ok(_) => return Err(Stopped::Overtaken("Marathon makes the change in place".to_owned())),
            Err(error) if is_for_the_volumes(&error, &recreation.app) => {}
            Err(error) => return Err(nothing_deleted(&error)),
        }
        self.still_leading()?;
        match self.marathon.create(&recreation.app).await {
            Ok(_) => Err(Stopped::Overtaken("somebody removed it, and it is created anew".to_owned())),
            Err(MarathonError::AlreadyExists { .. }) => Ok(()),
            Err(error) => Err(nothing_deleted(&error)),
        }
    }

    /// How a creation ended that Marathon refused, and what the books say: what was deleted for it shall come back.
    pub(super) fn refused(
        &self,
        action: &Action,
        inventory: &Inventory,
        result: OutcomeResult,
    ) -> (OutcomeResult, Vec<ControlOperation>) {
        match self.to_put_back(action, inventory, &result) {
            None => (result, self.abandon(action, inventory)),
            Some(intent) => (going_back(result), vec![intent]),
        }
    }

    /// The record by which what was there is put back; none where nothing was, or where that itself was refused.
    fn to_put_back(
        &self,
        action: &Action,
        inventory: &Inventory,
        result: &OutcomeResult,
    ) -> Option<ControlOperation> {
        let Operation::CreateApp { app_id, book, .. } = &action.operation else { return None };
        let OutcomeResult::Failed { message, .. } = result else { return None };
        let earlier = inventory.intents.get(app_id).filter(|_| book.failed.is_none())?;
        let reason = message.chars().take(LONGEST_REASON).collect();
        let refused = Some(Failed { digest: book.applied_digest, reason, refused: true });
        let replaced = Some(Replaced { refused, ..earlier.replaced.clone()? });
        let intent = Intent { epoch: self.tenure.epoch(), replaced, ..earlier.clone() };
        Some(ControlOperation::Intent { app_id: app_id.clone(), intent })
    }
}

/// The app is gone until the next pass, which must come soon.
fn going_back(result: OutcomeResult) -> OutcomeResult {
    let OutcomeResult::Failed { reason, message, .. } = result else { return result };
    let message = format!("{message}; what was there before is created again, without its data");
    OutcomeResult::Failed { class: ErrorClass::Retry, reason, message }
}

fn nothing_deleted(error: &MarathonError) -> Stopped {
    let mut result = failed(error);
    if let OutcomeResult::Failed { message, .. } = &mut result {
        message.push_str("; the app was to be created anew, and is left as it is");
    }
    Stopped::Failed { certain: !error.may_have_been_applied(), result }
}

/// Whether a PUT was refused for the volumes of what is there and for nothing else.
fn is_for_the_volumes(error: &MarathonError, wanted: &App) -> bool {
    let MarathonError::Invalid { details, .. } = error else { return false };
    // The limit of an upgrade with volumes is asked of an app that will have none, too.
    let keeps_some = has_volume(&wanted.0, "persistent");
    let excused = |fault: &FieldError| {
        FOR_THE_VOLUMES.iter().any(|words| fault.message.contains(words))
            || (!keeps_some && fault.path.contains("maximumOverCapacity"))
    };
    !details.is_empty() && details.iter().all(excused)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(faults: &[(&str, &str)]) -> MarathonError {
        let fault =
            |(path, message): &(&str, &str)| FieldError { path: (*path).into(), message: (*message).into() };
        MarathonError::Invalid { message: "no".into(), details: faults.iter().map(fault).collect() }
    }

    #[test]
    fn a_refusal_counts_as_one_for_the_volumes_only_if_all_of_it_is() {
        let resident = App::from_value(serde_json::json!({
            "container": {"volumes": [{"containerPath": "data", "persistent": {"size": 1}}]},
        }));
        let (resident, plain) = (resident.unwrap(), App::default());
        let volumes = ("/", "Persistent volumes can not be changed!");
        let cpus = (
            "/app(0)/cpus",
            "Services with persistent volumes configured may not change resource \
                                      requirements. If you need to make this change, please create a new service.",
        );
        let old = ("/app(0)", "Resident Tasks may not change resource requirements!");
        let over = ("/app(0)/upgradeStrategy/maximumOverCapacity", "got 1.0, expected 0.0");
        for (faults, app, expected) in [
            (vec![volumes, cpus], &resident, true),
            (vec![old], &resident, true),
            (vec![volumes, ("/cmd", "as a plugin says")], &resident, false),
            (vec![volumes, over], &resident, false),
            (vec![volumes, over], &plain, true),
            (vec![], &resident, false),
        ] {
            assert_eq!(is_for_the_volumes(&refusal(&faults), app), expected, "{faults:?}");
        }
        assert!(!is_for_the_volumes(&MarathonError::Forbidden { message: volumes.1.into() }, &resident));
    }
}
