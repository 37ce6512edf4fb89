//! Whether a replacement of tasks can begin at all.
//!
//! Since 1.10 Marathon ends an old task to make room only as far as more are healthy than have to be, and healthy are
//! only those that a check of Mesos calls so (`TaskReplaceActor.computeRestartStrategy`, `Instance.consideredHealthy`
//! of mesosphere/marathon). With checks that Marathon makes itself none is, and where nothing may run beside the old
//! tasks either, the deployment waits for ever. Pure.

use serde_json::Value;

use crate::model::App;

/// What to do about a replacement that never begins.
pub const ADVICE: &str = "Marathon 1.10 and later never begin to replace these tasks: none may end, because no check of Mesos \
                          calls them healthy (those of HTTP, HTTPS and TCP and readiness checks are Marathon's own), and none \
                          may start beside them; set upgradeStrategy.maximumOverCapacity so that one more fits";

/// Whether a replacement never begins.
///
/// * `old` - the app whose tasks run, all of its instances, in canonical form
/// * `new` - the app that they are to be replaced by, in canonical form
#[must_use]
pub fn is_missing(old: &App, new: &App) -> bool {
    let (there, wanted) = (old.instances(), new.instances());
    is_unknown_to_mesos(old) && wanted > 0 && there >= wanted && !allows_another(new, wanted)
}

/// Whether checks are made, and none of them by Mesos.
fn is_unknown_to_mesos(app: &App) -> bool {
    let list = |key: &str| app.get(key).and_then(Value::as_array).into_iter().flatten();
    let by_mesos = |check: &Value| {
        let protocol = check.get("protocol").and_then(Value::as_str).unwrap_or_default();
        protocol.starts_with("MESOS_") || protocol == "COMMAND"
    };
    let is_check = |check: &Value| check.as_object().is_some_and(|check| !check.is_empty());
    let has_checks = list("healthChecks").chain(list("readinessChecks")).next().is_some()
        || app.get("check").is_some_and(is_check);
    has_checks && !list("healthChecks").any(by_mesos)
}

/// Whether one more than are wanted may run.
#[expect(
    clippy::cast_precision_loss,
    reason = "a number of instances; Marathon computes it in doubles as well"
)]
fn allows_another(app: &App, wanted: u64) -> bool {
    let over = app.get("upgradeStrategy").and_then(|strategy| strategy.get("maximumOverCapacity"));
    // Where it is not told nothing is claimed.
    over.and_then(Value::as_f64).is_none_or(|over| wanted as f64 * over >= 1.0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn app(checks: &str, instances: u64, over: f64) -> App {
        let mut app = json!({"id": "/a", "instances": instances,
            "upgradeStrategy": {"minimumHealthCapacity": 0.5, "maximumOverCapacity": over}});
        match checks {
            "none" => {}
            "READINESS" => app["readinessChecks"] = json!([{"portName": "web"}]),
            "check" => app["check"] = json!({"tcp": {"port": 80}}),
            protocol => app["healthChecks"] = json!([{"protocol": protocol}]),
        }
        App::from_value(app).unwrap()
    }

    #[test]
    fn room_is_missing_where_no_task_may_end_and_none_may_start() {
        for (checks, there, wanted, over, missing) in [
            ("HTTP", 2, 2, 0.0, true),
            ("TCP", 1, 1, 0.9, true),
            ("READINESS", 2, 2, 0.0, true),
            ("check", 2, 2, 0.0, true),
            ("HTTP", 3, 2, 0.0, true),
            ("HTTP", 2, 3, 0.0, false),
            ("HTTP", 2, 2, 0.5, false),
            ("MESOS_HTTP", 2, 2, 0.0, false),
            ("COMMAND", 2, 2, 0.0, false),
            ("none", 2, 2, 0.0, false),
            ("HTTP", 2, 0, 0.0, false),
            ("HTTP", 0, 1, 0.0, false),
        ] {
            let found = is_missing(&app(checks, there, over), &app("none", wanted, over));
            assert_eq!(found, missing, "{checks} {there} {wanted} {over}");
        }
        let mut untold = app("HTTP", 1, 0.0);
        untold.0.remove("upgradeStrategy");
        assert!(!is_missing(&untold, &untold));
    }
}
