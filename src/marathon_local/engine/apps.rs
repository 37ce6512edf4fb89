//! Apps: created, changed and listed (`api/v2/AppsResource.scala` of mesosphere/marathon).

use serde_json::{Value, json};

use super::changes::{Change, Update, unversioned};
use super::requests::{Answer, Embed, Selection, accepted, found};
use super::{Engine, view};
use crate::marathon::normalize::FieldError;
use crate::marathon_local::group::GroupId;
use crate::marathon_local::labels::Selectors;
use crate::marathon_local::pod;
use crate::marathon_local::profile::Rules;
use crate::marathon_local::refusal::Refusal;
use crate::marathon_local::state::AppRecord;
use crate::marathon_local::update::{self, Mode};
use crate::model::{App, AppId};

impl Engine {
    /// An app's record. What a fault hides may not be seen.
    pub(super) fn app_record(&self, id: &AppId) -> Result<&AppRecord, Refusal> {
        let record = self.state.apps.get(id).filter(|record| !pod::is_pod(&record.app));
        let record = record.ok_or_else(|| Refusal::NoApp(id.to_string()))?;
        if self.context.faults.hides(id) { Err(Refusal::Forbidden) } else { Ok(record) }
    }

    /// The apps that may be seen.
    pub(super) fn visible_apps(&self) -> impl Iterator<Item = (&AppId, &AppRecord)> {
        self.state
            .apps
            .iter()
            .filter(|(id, record)| !pod::is_pod(&record.app) && !self.context.faults.hides(id))
    }

    /// What holds for the definition of an app or pod.
    pub(super) fn rules(&self, id: &AppId) -> Rules {
        let top = GroupId::ancestors_of(id.as_str()).find(GroupId::is_top_level);
        let top = top.and_then(|top| self.state.groups.get(&top));
        let old = self.state.apps.get(id).and_then(|r| r.app.get("role")).and_then(Value::as_str);
        Rules::of(&self.context.installation, id, top, old)
    }

    /// The apps of a group and of those in it; of one that does not exist there are none.
    pub(super) fn apps_below(&self, group: &GroupId, embed: Embed) -> Value {
        let inside = self.visible_apps().filter(|(id, _)| id.is_below(group.as_str()));
        inside.map(|(id, record)| self.app_json(id, record, embed)).collect()
    }

    pub(super) fn list_apps(&self, selection: &Selection) -> Result<Answer, Refusal> {
        if let Some(group) = &selection.group {
            if !group.is_root() && !self.state.groups.contains_key(group) {
                return Err(Refusal::NoGroup(group.to_string()));
            }
            return Ok(found(json!({"*": self.apps_below(group, selection.embed)})));
        }
        let labels = selection.labels.as_deref().map(Selectors::parse).transpose();
        let labels = labels.map_err(Refusal::Argument)?;
        let chosen = self.visible_apps().filter(|(id, record)| {
            selection.id.as_ref().is_none_or(|part| holds(id.as_str(), part))
                && selection.cmd.as_ref().is_none_or(|part| runs(&record.app, part))
                && labels.as_ref().is_none_or(|labels| labels.fit(&record.app))
        });
        let apps: Value = chosen.map(|(id, record)| self.app_json(id, record, selection.embed)).collect();
        Ok(found(json!({ "apps": apps })))
    }

    pub(super) fn show_app(&self, id: &AppId, embed: Embed) -> Result<Answer, Refusal> {
        let app = self.app_json(id, self.app_record(id)?, embed);
        Ok(found(json!({ "app": app })))
    }

    pub(super) fn create_app(&mut self, id: &AppId, body: App, force: bool) -> Result<Answer, Refusal> {
        let app = update::full(body, id, &self.rules(id))?;
        let about = GroupId::parent_of(id.as_str());
        self.room(about.as_ref())?;
        if let Some(record) = self.state.apps.get(id) {
            let is_pod = pod::is_pod(&record.app);
            let refusal = if is_pod { Refusal::Clash(SAME_ID) } else { Refusal::Exists(id.clone()) };
            self.announce_refused(about.as_ref(), &refusal);
            return Err(refusal);
        }
        let changed = self.change(Update::of(id, Change::Put(app)), force)?;
        self.announce_write(id, None);
        let record = self.state.apps.get(id).ok_or_else(|| Refusal::NoApp(id.to_string()))?;
        let mut app = view::definition_json(&record.app);
        for count in ["tasksStaged", "tasksRunning", "tasksHealthy", "tasksUnhealthy"] {
            app[count] = 0.into();
        }
        app["deployments"] = json!([{"id": changed.deployment}]);
        Ok(Answer {
            status: 201,
            body: Some(app),
            deployment: Some(changed.deployment),
            location: Some(id.to_string()),
        })
    }

    pub(super) fn update_app(
        &mut self,
        id: &AppId,
        body: App,
        mode: Mode,
        force: bool,
    ) -> Result<Answer, Refusal> {
        let created = !self.state.apps.contains_key(id);
        self.room(GroupId::parent_of(id.as_str()).as_ref())?;
        if created && mode == Mode::Existing {
            return Err(Refusal::NoApp(id.to_string()));
        }
        let app = self.updated(id, body, mode, force)?;
        let mut answer = accepted(self.change(Update::of(id, Change::Put(app)), force)?);
        self.announce_write(id, None);
        if created {
            answer.status = 201;
            answer.location = Some(id.to_string());
        }
        Ok(answer)
    }

    /// Several apps in one deployment.
    pub(super) fn update_apps(
        &mut self,
        bodies: Vec<(AppId, App)>,
        mode: Mode,
        force: bool,
    ) -> Result<Answer, Refusal> {
        self.room(None)?;
        let mut update = Update::default();
        for (id, body) in bodies {
            if mode == Mode::Existing && !self.state.apps.contains_key(&id) {
                return Err(Refusal::NoApp(id.to_string()));
            }
            let app = self.updated(&id, body, mode, force)?;
            update.specs.insert(id, Change::Put(app));
        }
        self.change(update, force).map(accepted)
    }

    /// The definition that a body makes of an app, which may not be there yet.
    fn updated(&self, id: &AppId, body: App, mode: Mode, force: bool) -> Result<App, Refusal> {
        let rules = self.rules(id);
        let Some(record) = self.state.apps.get(id) else { return update::replacing(body, id, &rules) };
        if pod::is_pod(&record.app) {
            return Err(Refusal::Clash(SAME_ID));
        }
        let app = match (mode, update::version_to_restore(&body)) {
            (Mode::Full, _) => update::replacing(body, id, &rules)?,
            (Mode::Partial | Mode::Existing, Some(version)) => {
                // In a body it is a field of a wrong type.
                let version = view::version(version).map_err(|_| Refusal::Invalid(vec![no_time()]))?;
                match record.version(&version) {
                    Some(app) => unversioned(app.clone()),
                    None => return Err(Refusal::NoVersion(id.clone(), version)),
                }
            }
            (Mode::Partial | Mode::Existing, None) => update::partial(body, &record.app, id, &rules)?,
        };
        update::check_resident(&record.app, &app, force)?;
        Ok(app)
    }

    pub(super) fn app_versions(&self, id: &AppId) -> Result<Answer, Refusal> {
        let versions = self.app_record(id)?.versions().map(App::version);
        Ok(found(json!({"versions": versions.collect::<Vec<_>>()})))
    }

    pub(super) fn app_version(&self, id: &AppId, version: &str) -> Result<Answer, Refusal> {
        let version = view::version(version)?;
        match self.app_record(id)?.version(&version) {
            Some(app) => Ok(found(view::definition_json(app))),
            None => Err(Refusal::NoVersion(id.clone(), version)),
        }
    }
}

/// A version in a body that is no time.
pub(super) fn no_time() -> FieldError {
    FieldError { path: "/version".to_owned(), message: "error.expected.date.isoformat".to_owned() }
}

/// Whether a definition's command contains the text.
fn runs(app: &App, text: &str) -> bool {
    holds(app.get("cmd").and_then(Value::as_str).unwrap_or_default(), text)
}

/// Whether a text holds another one, whatever the case.
fn holds(text: &str, part: &str) -> bool {
    text.to_lowercase().contains(&part.to_lowercase())
}

const SAME_ID: &str = "Applications and Pods may not share the same id";
