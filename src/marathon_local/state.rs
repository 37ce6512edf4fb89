//! What this Marathon remembers across restarts: apps and pods with their versions, groups, running deployments.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::group::{GroupId, GroupRecord};
use crate::model::{App, AppId};

/// Everything that is stored.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct State {
    /// The id of the Mesos framework that we would be.
    pub framework_id: String,
    /// The newest version that was given out; versions only grow.
    pub last_version: String,
    /// All apps and pods: they share one space of names.
    pub apps: BTreeMap<AppId, AppRecord>,
    /// The deployments that are not done.
    pub deployments: Vec<Deployment>,
    /// All groups but the root, which always is there; the root only where it has something of its own.
    #[serde(default)]
    pub groups: BTreeMap<GroupId, GroupRecord>,
    /// The last changes, oldest first, so that groups can go back to how they were.
    #[serde(default)]
    pub history: Vec<RootChange>,
}

/// One change of anything: what was there before.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RootChange {
    /// The version that it led to.
    pub version: String,
    /// The definitions before; nothing where they are new.
    pub apps: BTreeMap<AppId, Option<App>>,
    /// The groups before; nothing where they are new.
    pub groups: BTreeMap<GroupId, Option<GroupRecord>>,
}

/// Everything as it was at one version.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Root {
    /// The definitions.
    pub apps: BTreeMap<AppId, App>,
    /// The groups.
    pub groups: BTreeMap<GroupId, GroupRecord>,
}

impl State {
    /// Notes a change, and forgets the oldest ones beyond that number.
    pub fn remember(&mut self, change: RootChange, kept: usize) {
        self.history.push(change);
        let superfluous = self.history.len().saturating_sub(kept);
        self.history.drain(..superfluous);
    }

    /// The version that everything is at.
    pub fn root_version(&self) -> &str {
        self.history.last().map_or("1970-01-01T00:00:00.000Z", |change| &change.version)
    }

    /// Everything as it was at a version; none where that is not known.
    pub fn root_at(&self, version: &str) -> Option<Root> {
        let position = self.history.iter().position(|change| change.version == version)?;
        let apps = self.apps.iter().map(|(id, record)| (id.clone(), record.app.clone())).collect();
        let mut root = Root { apps, groups: self.groups.clone() };
        for change in self.history.iter().skip(position + 1).rev() {
            for (id, before) in &change.apps {
                match before {
                    Some(app) => drop(root.apps.insert(id.clone(), app.clone())),
                    None => drop(root.apps.remove(id)),
                }
            }
            for (id, before) in &change.groups {
                match before {
                    Some(group) => drop(root.groups.insert(id.clone(), group.clone())),
                    None => drop(root.groups.remove(id)),
                }
            }
        }
        Some(root)
    }
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

    /// Puts a definition in force (`state/VersionInfo.scala` of mesosphere/marathon), and forgets the oldest ones beyond
    /// that number, the one in force included.
    pub fn put(&mut self, app: App, version: &str, timing: Timing, kept: usize) {
        let (scaling, config) = match timing {
            Timing::Scaling => (version, self.last_config_change()),
            Timing::Config => (version, version),
            Timing::Restart => (self.info("lastScalingAt"), version),
        };
        let app = stamped(app, version, scaling, config);
        self.earlier.push(std::mem::replace(&mut self.app, app));
        let superfluous = self.earlier.len().saturating_sub(kept.saturating_sub(1));
        self.earlier.drain(..superfluous);
    }

    /// All kept definitions, newest first.
    pub fn versions(&self) -> impl Iterator<Item = &App> {
        std::iter::once(&self.app).chain(self.earlier.iter().rev())
    }

    /// The version since which tasks run the configuration in force.
    pub fn last_config_change(&self) -> &str {
        last_config_change(&self.app)
    }

    /// A kept definition.
    pub fn version(&self, version: &str) -> Option<&App> {
        self.versions().find(|app| app.version() == version)
    }

    fn info<'a>(&'a self, key: &str) -> &'a str {
        info(&self.app, key)
    }
}

/// The version of the last change of a definition's configuration, which scaling is not.
pub fn last_config_change(app: &App) -> &str {
    info(app, "lastConfigChangeAt")
}

fn info<'a>(app: &'a App, key: &str) -> &'a str {
    app.get("versionInfo").and_then(|i| i.get(key)).and_then(Value::as_str).unwrap_or_default()
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
    /// What the groups were before that it changed; nothing where they are new.
    #[serde(default)]
    pub groups: BTreeMap<GroupId, Option<GroupRecord>>,
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
    /// To which app or pod.
    pub app: AppId,
    /// Whether it is a pod.
    #[serde(default)]
    pub pod: bool,
}

/// The kinds of actions, under the names that Marathon's API has for them where they are about apps.
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
    /// Whether it holds the app.
    pub fn affects(&self, app: &AppId) -> bool {
        self.originals.contains_key(app)
    }

    /// The apps, or the pods, that its steps touch.
    pub fn affected(&self, pods: bool) -> std::collections::BTreeSet<&AppId> {
        let actions = self.steps.iter().flat_map(|step| &step.actions);
        actions.filter(|action| action.pod == pods).map(|action| &action.app).collect()
    }

    /// What the current step does to the app.
    pub fn current_action(&self, app: &AppId) -> Option<ActionKind> {
        self.current_actions().iter().find(|a| a.app == *app).map(|a| a.action)
    }

    /// Whether the app's turn is still to come: until then it is as it was before.
    pub fn is_waiting(&self, app: &AppId) -> bool {
        let later = self.steps.iter().skip(self.current + 1).flat_map(|step| &step.actions);
        let acts = |action: &StepAction| action.app == *app && action.action != ActionKind::StartApplication;
        self.current_action(app).is_none_or(|now| now == ActionKind::StartApplication)
            && later.into_iter().any(acts)
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
        record.put(app(2), "v2", Timing::Scaling, 25);
        assert_eq!(
            record.app.get("versionInfo"),
            Some(&json!({"lastScalingAt": "v2", "lastConfigChangeAt": "v1"}))
        );
        record.put(app(2), "v3", Timing::Restart, 25);
        assert_eq!(
            record.app.get("versionInfo"),
            Some(&json!({"lastScalingAt": "v2", "lastConfigChangeAt": "v3"}))
        );
        record.put(app(2), "v4", Timing::Config, 25);
        assert_eq!(
            record.app.get("versionInfo"),
            Some(&json!({"lastScalingAt": "v4", "lastConfigChangeAt": "v4"}))
        );
        assert_eq!(record.version("v1").map(App::instances), Some(1));
        assert_eq!(record.app.version(), "v4");
    }

    #[test]
    fn everything_can_be_seen_as_it_was() {
        let (a, b) = (AppId::new("/a").unwrap(), AppId::new("/b").unwrap());
        let mut state = State::default();
        state.apps.insert(a.clone(), AppRecord::new(app(1), "v1"));
        let one = |id: &AppId, before: Option<App>| BTreeMap::from([(id.clone(), before)]);
        state.remember(RootChange { version: "v1".into(), apps: one(&a, None), ..RootChange::default() }, 25);
        let first = state.apps.get(&a).map(|r| r.app.clone());
        state.apps.insert(b.clone(), AppRecord::new(app(1), "v2"));
        state.remember(RootChange { version: "v2".into(), apps: one(&b, None), ..RootChange::default() }, 25);
        state.apps.remove(&a);
        state
            .remember(RootChange { version: "v3".into(), apps: one(&a, first), ..RootChange::default() }, 25);
        let seen =
            |version: &str| state.root_at(version).map(|root| root.apps.into_keys().collect::<Vec<_>>());
        assert_eq!(seen("v1"), Some(vec![a.clone()]));
        assert_eq!(seen("v2"), Some(vec![a, b.clone()]));
        assert_eq!(seen("v3"), Some(vec![b]));
        assert_eq!(seen("v0"), None);
        assert_eq!(state.root_version(), "v3");
    }

    #[test]
    fn only_so_many_versions_are_kept() {
        let mut record = AppRecord::new(app(1), "v00");
        for number in 1..40 {
            record.put(app(1), &format!("v{number:02}"), Timing::Config, 25);
        }
        assert_eq!(record.versions().count(), 25);
        assert!(record.version("v14").is_none() && record.version("v15").is_some());
    }
}
