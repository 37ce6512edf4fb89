//! Rows that call our pure functions.

use dcos_registry::marathon::{diff as differ, normalize as normalizer};
use dcos_registry::model::App;
use serde_json::Value;

use crate::expect::marathon_path;
use crate::row::{Diff, Expected};

fn app(value: &Value) -> App {
    App::from_value(value.clone()).unwrap_or_default()
}

/// # Errors
/// What is different.
pub fn normalize(given: &Value, expected: &Expected) -> Result<(), String> {
    match (normalizer::normalize(&app(given)), &expected.refused) {
        (Ok(canonical), None) => expected.of_value(&canonical.into_app().into_value()),
        (Ok(canonical), Some(_)) => Err(format!("was taken: {}", canonical.into_app().into_value())),
        (Err(faults), None) => Err(format!("was refused: {faults:?}")),
        (Err(faults), Some(place)) => {
            let faults: Vec<_> =
                faults.into_iter().map(|fault| (marathon_path(&fault.path), fault.message)).collect();
            expected.of_faults(place, &faults)
        }
    }
}

/// # Errors
/// What is different.
pub fn diff(diff: &Diff) -> Result<(), String> {
    let refused = |faults| format!("was refused: {faults:?}");
    let observed = normalizer::normalize(&app(&diff.from)).map_err(refused)?;
    let wanted = normalizer::normalize(&app(&diff.to)).map_err(refused)?;
    let found = differ::diff(&wanted, &observed, None, &[]).map_err(refused)?;
    let effect = format!("{:?}", found.effect).to_lowercase();
    if effect != diff.effect {
        return Err(format!("the effect is {effect}, not {}: {:?}", diff.effect, found.changes));
    }
    let places: Vec<_> = found.changes.iter().map(|change| change.path.clone()).collect();
    match &diff.changes {
        Some(wanted) if *wanted != places => Err(format!("{places:?} differ, not {wanted:?}")),
        _ => Ok(()),
    }
}
