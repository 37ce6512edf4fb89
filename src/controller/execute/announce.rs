//! What is announced before a write to Marathon, and how much of it fits into one record.

use crate::model::{Action, App, Epoch, Intent, IntentVerb, Inventory, Operation, Owned, Replaced};
use crate::storage::control::ControlOperation;
use crate::storage::records::RECORD_LIMIT;

/// How many of the actions, at least one, may be announced in one record. What is recorded when they are done
/// is about as long. The others come in the next wave.
pub(super) fn fitting(due: &[(usize, &Action)], inventory: &Inventory) -> usize {
    let mut room = RECORD_LIMIT / 2;
    let fits = due.iter().take_while(|(_, action)| {
        let recorded = recorded_size(action, inventory);
        let fits = recorded <= room;
        room = room.saturating_sub(recorded);
        fits
    });
    fits.count().max(1)
}

/// About how many bytes the books take up for an action: the app that they remember, and what stands around it.
fn recorded_size(action: &Action, inventory: &Inventory) -> usize {
    let applied = match &action.operation {
        Operation::CreateApp { book, .. }
        | Operation::UpdateApp { book, .. }
        | Operation::Adopt { book, .. } => Some(&book.applied),
        Operation::UninstallApp { app_id, .. } | Operation::DeleteApp { app_id, .. } => {
            inventory.apps.get(app_id).map(|owned| &owned.applied)
        }
        Operation::Publish { .. } | Operation::Confirm { .. } | Operation::Forget { .. } => None,
    };
    // What was good before is remembered beside it.
    let owned = action.operation.app_id().and_then(|app_id| inventory.apps.get(app_id));
    let good = owned.and_then(Owned::last_good);
    let replaced = replaced(action, inventory).map_or(0, |replaced| size_of(&replaced.app));
    AROUND + applied.map_or(0, size_of) + good.map_or(0, |good| size_of(&good.applied)) + replaced
}

/// About how many bytes of a record stand around the apps in it.
pub(super) const AROUND: usize = 1024;

pub(super) fn size_of(app: &App) -> usize {
    serde_json::to_vec(app).map_or(0, |text| text.len())
}

/// What is announced before a write to Marathon.
pub(super) fn intent(action: &Action, inventory: &Inventory, epoch: Epoch) -> Option<ControlOperation> {
    let (app_id, verb, observed_version) = match &action.operation {
        Operation::CreateApp { app_id, .. } => (app_id, IntentVerb::Create, String::new()),
        Operation::UpdateApp { app_id, observed_version, .. } => {
            (app_id, IntentVerb::Update, observed_version.clone())
        }
        Operation::UninstallApp { app_id, observed_version, .. } => {
            (app_id, IntentVerb::Uninstall, observed_version.clone())
        }
        Operation::DeleteApp { app_id, observed_version, .. } => {
            (app_id, IntentVerb::Delete, observed_version.clone())
        }
        Operation::Publish { .. }
        | Operation::Adopt { .. }
        | Operation::Confirm { .. }
        | Operation::Forget { .. } => return None,
    };
    let (applied, body, inputs, failed) = match &action.operation {
        Operation::CreateApp { book, .. } | Operation::UpdateApp { book, .. } => {
            (book.applied.clone(), book.applied_digest, book.inputs, book.failed.clone())
        }
        _ => {
            let owned = inventory.apps.get(app_id)?;
            (owned.applied.clone(), owned.applied_digest, None, None)
        }
    };
    let unit = action.unit.clone();
    // Beside a longer one there is no room for it; then it cannot come back.
    let fits = |old: &Replaced| AROUND + size_of(&applied) + size_of(&old.app) <= RECORD_LIMIT / 4 * 3;
    let replaced = replaced(action, inventory).filter(fits);
    let intent = Intent { unit, verb, body, applied, inputs, observed_version, failed, replaced, epoch };
    Some(ControlOperation::Intent { app_id: app_id.clone(), intent })
}

/// What was there before an app was deleted to be created anew: remembered until something is there again.
fn replaced(action: &Action, inventory: &Inventory) -> Option<Replaced> {
    match &action.operation {
        Operation::DeleteApp { recreation: Some(recreation), .. } => {
            Some(Replaced { app: recreation.former.clone(), refused: None })
        }
        Operation::CreateApp { app_id, .. } => inventory.intents.get(app_id)?.replaced.clone(),
        _ => None,
    }
}
