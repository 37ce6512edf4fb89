//! Whether an app that runs has run long enough to say that it runs well.
//!
//! A task that ends a second after it began is running when a look happens to fall into that second. Health checks tell
//! the difference, for the most part; where there are none, or where tasks of the present configuration have failed
//! already, only time does.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use super::tasks::{config_change, time};
use crate::model::App;
use crate::model::marathon::TaskFailure;

/// How long all tasks must have run where nothing checks them.
const UNCHECKED: Duration = Duration::from_secs(10);

/// How long all tasks must have run after one of the same configuration has failed: as long as the delays between
/// launches take to grow to about that (`backoffFactor` 1.15), so that what fails all the time never gets there.
const AFTER_FAILURE: Duration = Duration::from_secs(60);

/// Why it is too early to say that an app that runs runs well; none where it is not. `now` is our own clock, and the
/// times are Marathon's: a clock that is off by more than these limits makes no difference, in either direction.
pub(crate) fn too_early(app: &App, has_checks: bool, now: Timestamp) -> Option<String> {
    let tasks = app.get("tasks").and_then(Value::as_array);
    let youngest = tasks.into_iter().flatten().filter_map(|task| time(task.get("startedAt"))).max();
    let failed = TaskFailure::of(app)
        .filter(|failure| failure.version.or(failure.timestamp) >= config_change(app))
        .and_then(|failure| failure.timestamp);
    let (since, needed) = match failed {
        Some(_) => (failed.max(youngest)?, AFTER_FAILURE),
        None if !has_checks => (youngest?, UNCHECKED),
        None => return None,
    };
    let ran = Duration::try_from(now.duration_since(since).abs()).unwrap_or(Duration::MAX);
    let after = if failed.is_some() { ", after a task of it failed" } else { ", and nothing checks it" };
    (ran < needed).then(|| format!("it has run for {} s only{after}", ran.as_secs()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn at(second: i64) -> String {
        format!("{:.3}", Timestamp::from_second(second).unwrap())
    }

    fn app(started: &[i64], failed: Option<i64>) -> App {
        let tasks: Vec<_> = started.iter().map(|second| json!({"startedAt": at(*second)})).collect();
        let failure = failed.map(|second| json!({"timestamp": at(second), "version": at(1000)}));
        App::from_value(json!({
            "id": "/a", "versionInfo": {"lastConfigChangeAt": at(1000)}, "tasks": tasks, "lastTaskFailure": failure,
        }))
        .unwrap()
    }

    #[test]
    fn what_nothing_checks_or_what_failed_has_to_run_for_a_while() {
        let too_early = |app: &App, checked: bool, now: i64| {
            super::too_early(app, checked, Timestamp::from_second(now).unwrap()).is_some()
        };
        let calm = app(&[1005, 1009], None);
        assert!(!too_early(&calm, true, 1010));
        assert!(too_early(&calm, false, 1018) && !too_early(&calm, false, 1019));
        // The last failure counts, and so does the last start.
        let shaky = app(&[1005, 1030], Some(1020));
        assert!(too_early(&shaky, true, 1089) && !too_early(&shaky, true, 1090));
        assert!(too_early(&app(&[1005], Some(1020)), true, 1079));
        // One of another configuration does not.
        let mut old = shaky.clone();
        old.0["lastTaskFailure"]["version"] = at(999).into();
        assert!(!too_early(&old, true, 1040));
        // Whose clock is an hour off is not waited for.
        assert!(!too_early(&shaky, true, 1030 - 3600) && !too_early(&shaky, true, 1030 + 3600));
        assert!(!too_early(&app(&[], None), false, 1000), "nothing is told");
    }
}
