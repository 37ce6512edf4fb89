//! What this Marathon remembers across restarts: apps with their versions, and running deployments.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::model::{App, AppId};

/// How many versions of an app are kept, the one in force included.
const VERSIONS_KEPT: usize = 25;

/// Everything that is stored.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct State {
    /// The id of the Mesos framework that we would be.
    pub framework_id: String,
    /// The newest version that was given out; versions only grow.
    pub last_version: String,
    /// All apps.
    pub apps: BTreeMap<AppId, AppRecord>,
    /// The deployments that are not done.
    pub deployments: Vec<Deployment>,
}

/// One app.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AppRecord {
    /// The definition in force: canonical, with `version` and `versionInfo`.
    pub app: App,
    /// Earlier definitions, oldest first.
    pub earlier: Vec<App>,
    /// The last failure of a task, as it is answered.
    pub last_failure: Option<Value>,
}

/// What a change of definition means for its times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timing {
    /// Only the number of instances changed.
    Scaling,
    /// The configuration changed, or the app is new.
    Config,
    /// A restart was asked for.
    Restart,
}

impl AppRecord {
    /// A record of a new app.
    pub fn new(app: App, version: &str) -> Self {
        let app = stamped(app, version, version, version);
        Self { app, earlier: Vec::new(), last_failure: None }
    }

    /// Puts a definition in force (`state/VersionInfo.scala` of mesosphere/marathon).
    pub fn put(&mut self, app: App, version: &str, timing: Timing) {
        let (scaling, config) = match timing {
            Timing::Scaling => (version, self.last_config_change()),
            Timing::Config => (version, version),
            Timing::Restart => (self.info("lastScalingAt"), version),
        };
        let app = stamped(app, version, scaling, config);
        self.earlier.push(std::mem::replace(&mut self.app, app));
        let superfluous = self.earlier.len().saturating_sub(VERSIONS_KEPT - 1);
        self.earlier.drain(..superfluous);
    }

    /// All kept definitions, newest first.
    pub fn versions(&self) -> impl Iterator<Item = &App> {
        std::iter::once(&self.app).chain(self.earlier.iter().rev())
    }

    /// The version since which tasks run the configuration in force.
    pub fn last_config_change(&self) -> &str {
        self.info("lastConfigChangeAt")
    }

    /// A kept definition.
    pub fn version(&self, version: &str) -> Option<&App> {
        self.versions().find(|app| app.version() == version)
    }

    fn info(&self, key: &str) -> &str {
        self.app.get("versionInfo").and_then(|i| i.get(key)).and_then(Value::as_str).unwrap_or_default()
    }
}

/// A definition with its times.
fn stamped(mut app: App, version: &str, scaling: &str, config: &str) -> App {
    let info = json!({"lastScalingAt": scaling, "lastConfigChangeAt": config});
    app.0.insert("version".to_owned(), Value::from(version));
    app.0.insert("versionInfo".to_owned(), info);
    app
}

/// A deployment that is not done.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Deployment {
    /// Its id.
    pub id: String,
    /// The version of the change that began it.
    pub version: String,
    /// Its steps, each to be finished before the next begins.
    pub steps: Vec<Step>,
    /// The position of the step that is being carried out.
    pub current: usize,
    /// What the apps were before; nothing where they are new.
    pub originals: BTreeMap<AppId, Option<App>>,
}

/// Actions that are carried out at the same time.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// The actions.
    pub actions: Vec<StepAction>,
}

/// What happens to one app.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepAction {
    /// What.
    pub action: ActionKind,
    /// To which app.
    pub app: AppId,
}

/// The kinds of actions, under the names of Marathon's API.
#[expect(clippy::enum_variant_names, reason = "these are the API's words")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum ActionKind {
    /// An app begins with no tasks.
    StartApplication,
    /// The number of tasks is reached.
    ScaleApplication,
    /// All tasks are replaced.
    RestartApplication,
    /// All tasks end.
    StopApplication,
}

impl Deployment {
    /// A deployment whose steps have one action each.
    pub fn of(id: String, version: &str, app: &AppId, original: Option<App>, actions: &[ActionKind]) -> Self {
        let step = |&action| Step { actions: vec![StepAction { action, app: app.clone() }] };
        Self {
            id,
            version: version.to_owned(),
            steps: actions.iter().map(step).collect(),
            current: 0,
            originals: BTreeMap::from([(app.clone(), original)]),
        }
    }

    /// Whether it holds the app.
    pub fn affects(&self, app: &AppId) -> bool {
        self.originals.contains_key(app)
    }

    /// What the current step does to the app.
    pub fn current_action(&self, app: &AppId) -> Option<ActionKind> {
        self.current_actions().iter().find(|a| a.app == *app).map(|a| a.action)
    }

    /// The actions of the current step.
    pub fn current_actions(&self) -> &[StepAction] {
        self.steps.get(self.current).map_or(&[], |step| &step.actions)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn app(instances: u64) -> App {
        App::from_value(json!({"id": "/a", "instances": instances})).unwrap()
    }

    #[test]
    fn version_info_tells_scaling_config_and_restart_apart() {
        let mut record = AppRecord::new(app(1), "v1");
        record.put(app(2), "v2", Timing::Scaling);
        assert_eq!(
            record.app.get("versionInfo"),
            Some(&json!({"lastScalingAt": "v2", "lastConfigChangeAt": "v1"}))
        );
        record.put(app(2), "v3", Timing::Restart);
        assert_eq!(
            record.app.get("versionInfo"),
            Some(&json!({"lastScalingAt": "v2", "lastConfigChangeAt": "v3"}))
        );
        record.put(app(2), "v4", Timing::Config);
        assert_eq!(
            record.app.get("versionInfo"),
            Some(&json!({"lastScalingAt": "v4", "lastConfigChangeAt": "v4"}))
        );
        assert_eq!(record.version("v1").map(App::instances), Some(1));
        assert_eq!(record.app.version(), "v4");
    }

    #[test]
    fn only_so_many_versions_are_kept() {
        let mut record = AppRecord::new(app(1), "v00");
        for number in 1..40 {
            record.put(app(1), &format!("v{number:02}"), Timing::Config);
        }
        assert_eq!(record.versions().count(), VERSIONS_KEPT);
        assert!(record.version("v14").is_none() && record.version("v15").is_some());
    }
}
