//! What a body of POST or PUT makes of an app, and what follows from the difference. Pure.
//!
//! Sources: `AppsResource.scala`, `raml/AppConversion.scala` (partial updates) and `AppDefinition.scala`
//! (`isUpgrade`) of mesosphere/marathon.

use serde_json::{Map, Value};

use super::refusal::Refusal;
use super::state::ActionKind;
use crate::marathon::normalize::{normalize_dropping, strip_status};
use crate::model::{App, AppId};

/// The role of apps that name none: Marathon's own.
pub const ROLE: &str = "*";

/// What a changed definition means for the tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Nothing.
    None,
    /// Their number changes.
    Scale,
    /// They are replaced.
    Restart,
}

/// How a PUT treats what its body leaves out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// It stays as it is (`partialUpdate=true`).
    Partial,
    /// It becomes its default.
    Full,
}

/// The canonical definition of a full body. Fields that Marathon does not know are dropped.
///
/// # Errors
/// [`Refusal::Invalid`] with all faults.
pub fn full(mut body: App, id: &AppId) -> Result<App, Refusal> {
    body.0.insert("id".to_owned(), Value::from(id.as_str()));
    let (mut app, _unknown) = normalize_dropping(&body).map_err(Refusal::Invalid)?;
    app.0.entry("role").or_insert_with(|| ROLE.into());
    Ok(app)
}

/// The canonical definition that a partial body makes of the one in force. What is null is as if it were
/// not there; objects and maps are replaced as a whole.
///
/// # Errors
/// [`Refusal::Invalid`], and [`Refusal::Argument`] where a version stands beside other fields.
pub fn partial(body: App, old: &App, id: &AppId) -> Result<App, Refusal> {
    let body: Map<_, _> = body.0.into_iter().filter(|(_, value)| !value.is_null()).collect();
    if body.contains_key("version") {
        return Err(Refusal::Argument(
            "The 'version' field may only be combined with the 'id' field.".to_owned(),
        ));
    }
    let mut merged = strip_status(old);
    for key in replaced_by_old_spelling(&body) {
        merged.0.remove(key);
    }
    merged.0.extend(body);
    full(merged, id)
}

/// The version that a body asks to go back to: it says nothing else.
pub fn version_to_restore(body: &App) -> Option<&str> {
    let mut said = body.0.iter().filter(|(key, value)| *key != "id" && !value.is_null());
    match (said.next(), said.next()) {
        (Some((key, Value::String(version))), None) if key == "version" => Some(version),
        _ => None,
    }
}

/// Fields in force that an old-fashioned field of the body stands for.
fn replaced_by_old_spelling(body: &Map<String, Value>) -> Vec<&'static str> {
    let docker = body.get("container").and_then(|c| c.get("docker"));
    let mut replaced = Vec::new();
    if body.contains_key("uris") {
        replaced.push("fetch");
    }
    if body.contains_key("ports") {
        replaced.push("portDefinitions");
    }
    if body.contains_key("ipAddress") || docker.is_some_and(|d| d.get("network").is_some()) {
        replaced.push("networks");
    }
    replaced
}

/// What follows from putting `new` in the place of `old`; both canonical, with all ports assigned.
pub fn effect(old: &App, new: &App) -> Effect {
    let (old_instances, new_instances) = (old.instances(), new.instances());
    // Marathon does not look at executorResources, nor can a PUT set them.
    let compared = |app: &App| {
        let mut app = strip_status(app).0;
        app.remove("instances");
        app.remove("executorResources");
        app
    };
    if compared(old) != compared(new) {
        Effect::Restart
    } else if old_instances != new_instances {
        Effect::Scale
    } else {
        Effect::None
    }
}

/// The steps of the deployment that carries an effect out, one action each (`DeploymentPlan.scala`).
pub fn actions(effect: Effect, new: &App) -> &'static [ActionKind] {
    match effect {
        Effect::None => &[],
        Effect::Restart if new.instances() > 0 => &[ActionKind::RestartApplication],
        Effect::Scale | Effect::Restart => &[ActionKind::ScaleApplication],
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn app(value: Value) -> App {
        App::from_value(value).unwrap()
    }

    fn id() -> AppId {
        AppId::new("/a").unwrap()
    }

    fn canonical(value: Value) -> App {
        full(app(value), &id()).unwrap()
    }

    #[test]
    fn labels_restart_instances_scale_and_nothing_does_nothing() {
        let old = canonical(json!({"cmd": "sleep 1", "labels": {"a": "b"}}));
        let with = |key: &str, value: Value| {
            let mut new = old.clone();
            new.0.insert(key.to_owned(), value);
            effect(&old, &canonical(new.into_value()))
        };
        assert_eq!(effect(&old, &old), Effect::None);
        assert_eq!(with("instances", json!(3)), Effect::Scale);
        assert_eq!(with("labels", json!({"a": "c"})), Effect::Restart);
        assert_eq!(with("unknownField", json!(1)), Effect::None);
        assert_eq!(with("version", json!("2020-01-01T00:00:00.000Z")), Effect::None);
        for (key, value) in [
            ("env", json!({"A": "b"})),
            ("cpus", json!(2)),
            ("upgradeStrategy", json!({"minimumHealthCapacity": 0.5, "maximumOverCapacity": 0.5})),
            ("backoffSeconds", json!(2)),
            ("taskKillGracePeriodSeconds", json!(9)),
        ] {
            assert_eq!(with(key, value), Effect::Restart, "{key}");
        }
    }

    #[test]
    fn partial_updates_keep_what_they_leave_out_and_replace_maps_whole() {
        let old =
            canonical(json!({"cmd": "sleep 1", "env": {"A": "1", "B": "2"}, "uris": ["http://h/a.tgz"]}));
        let new = partial(app(json!({"env": {"A": "3"}, "cmd": null})), &old, &id()).unwrap();
        assert_eq!(new.get("cmd"), Some(&json!("sleep 1")), "null is as if absent");
        assert_eq!(new.get("env"), Some(&json!({"A": "3"})));
        assert_eq!(new.get("fetch"), old.get("fetch"));
        let new = partial(app(json!({"uris": ["http://h/b.tgz"]})), &old, &id()).unwrap();
        assert_eq!(new.get("fetch").unwrap()[0]["uri"], "http://h/b.tgz");
        let full = full(app(json!({"cmd": "sleep 1"})), &id()).unwrap();
        assert_eq!(full.get("env"), None, "a full update forgets it");
    }

    #[test]
    fn a_version_stands_alone() {
        let version = json!({"id": "/a", "version": "v1"});
        assert_eq!(version_to_restore(&app(version)), Some("v1"));
        let mixed = app(json!({"version": "v1", "cmd": "sleep 1"}));
        assert_eq!(version_to_restore(&mixed), None);
        let old = canonical(json!({"cmd": "sleep 2"}));
        assert!(matches!(partial(mixed, &old, &id()), Err(Refusal::Argument(_))));
    }

    #[test]
    fn restarting_nothing_is_scaling() {
        let app = |instances: u64| canonical(json!({"cmd": "sleep 1", "instances": instances}));
        assert_eq!(actions(Effect::Restart, &app(1)), [ActionKind::RestartApplication]);
        assert_eq!(actions(Effect::Restart, &app(0)), [ActionKind::ScaleApplication]);
        assert!(actions(Effect::None, &app(1)).is_empty());
    }
}
