//! What may be asked of the engine, and its answers.

use serde_json::{Value, json};

use super::Engine;
use super::changes::{Change, Changed};
use super::view::{self, Embed};
use crate::marathon_local::refusal::Refusal;
use crate::marathon_local::state::AppRecord;
use crate::marathon_local::update::{self, Mode};
use crate::model::{App, AppId};

/// Which apps a listing holds, and with what.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// Part of the id.
    pub id: Option<String>,
    /// Part of the command, whatever the case.
    pub cmd: Option<String>,
    /// A group that they lie below.
    pub group: Option<String>,
    /// What is embedded.
    pub embed: Embed,
}

/// A request.
#[derive(Debug, Clone, PartialEq)]
pub enum Request {
    /// Apps, in a list under the given key.
    Apps(Selection, &'static str),
    /// One app.
    App(AppId),
    /// A new app; whether deployments that hold one of that id are cancelled.
    Create(AppId, App, bool),
    /// A changed app, or a new one.
    Update {
        /// Which.
        id: AppId,
        /// The body.
        body: App,
        /// What becomes of what the body leaves out.
        mode: Mode,
        /// Whether deployments that hold it are cancelled.
        force: bool,
    },
    /// One app fewer.
    Delete(AppId, bool),
    /// New tasks for an app.
    Restart(AppId, bool),
    /// The versions of an app.
    Versions(AppId),
    /// One version of an app.
    Version(AppId, String),
    /// All tasks, or those of an app.
    Tasks(Option<AppId>),
    /// All deployments.
    Deployments,
    /// A deployment undone, or, by force, ended where it is.
    CancelDeployment(String, bool),
    /// What waits to be launched.
    Queue,
    /// Launch an app's tasks without further delay.
    ResetDelay(AppId),
    /// About this Marathon.
    Info,
}

/// An answer to a request that was carried out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The body; none where there is none.
    pub body: Option<Value>,
    /// The deployment that began.
    pub deployment: Option<String>,
    /// The path of what was created.
    pub location: Option<String>,
}

impl Request {
    /// Whether it may change anything.
    pub fn changes(&self) -> bool {
        matches!(
            self,
            Self::Create(..)
                | Self::Update { .. }
                | Self::Delete(..)
                | Self::Restart(..)
                | Self::CancelDeployment(..)
                | Self::ResetDelay(_)
        )
    }
}

fn found(body: Value) -> Answer {
    Answer { status: 200, body: Some(body), ..Answer::default() }
}

fn accepted(changed: Changed) -> Answer {
    let body = json!({"version": changed.version, "deploymentId": changed.deployment});
    Answer { status: 200, body: Some(body), deployment: Some(changed.deployment), location: None }
}

impl Engine {
    /// Carries a request out, as far as it can be done at once.
    pub(super) fn handle(&mut self, request: Request) -> Result<Answer, Refusal> {
        match request {
            Request::Apps(selection, key) => Ok(found(self.list(&selection, key))),
            Request::App(id) => {
                let app = self.app_json(&id, self.record(&id)?, Embed::ALL);
                Ok(found(json!({"app": app})))
            }
            Request::Create(id, body, force) => self.create(&id, body, force),
            Request::Update { id, body, mode, force } => self.update(&id, body, mode, force),
            Request::Delete(id, force) => self.change(&id, Change::Remove, force).map(accepted),
            Request::Restart(id, force) => self.change(&id, Change::Restart, force).map(accepted),
            Request::Versions(id) => {
                let versions = self.record(&id)?.versions().map(App::version);
                Ok(found(json!({"versions": versions.collect::<Vec<_>>()})))
            }
            Request::Version(id, version) => match self.record(&id)?.version(&version) {
                Some(app) => Ok(found(app.clone().into_value())),
                None => Err(Refusal::NoVersion(id, version)),
            },
            Request::Tasks(id) => {
                id.iter().try_for_each(|id| self.record(id).map(drop))?;
                Ok(found(self.tasks_json(id.as_ref())))
            }
            Request::Deployments => Ok(found(self.deployments_json())),
            Request::CancelDeployment(id, force) => Ok(match self.cancel(&id, force)? {
                Some(changed) => accepted(changed),
                None => Answer { status: 202, ..Answer::default() },
            }),
            Request::Queue => Ok(found(self.queue_json())),
            Request::ResetDelay(id) => self.reset_delay(&id),
            Request::Info => Ok(found(self.info_json())),
        }
    }

    fn record(&self, id: &AppId) -> Result<&AppRecord, Refusal> {
        self.state.apps.get(id).ok_or_else(|| Refusal::NoApp(id.to_string()))
    }

    fn list(&self, selection: &Selection, key: &str) -> Value {
        let chosen = self.state.apps.iter().filter(|(id, record)| {
            selection.id.as_ref().is_none_or(|part| id.as_str().contains(part.as_str()))
                && selection.group.as_ref().is_none_or(|group| id.is_below(group))
                && selection.cmd.as_ref().is_none_or(|part| view::runs(record, part))
        });
        let apps: Value = chosen.map(|(id, record)| self.app_json(id, record, selection.embed)).collect();
        json!({ key: apps })
    }

    fn create(&mut self, id: &AppId, body: App, force: bool) -> Result<Answer, Refusal> {
        let app = update::full(body, id)?;
        if self.state.apps.contains_key(id) {
            return Err(Refusal::Exists(id.clone()));
        }
        let changed = self.change(id, Change::Put(app), force)?;
        let app = self.app_json(id, self.record(id)?, Embed { tasks: true, last_failure: false });
        Ok(Answer {
            status: 201,
            body: Some(app),
            deployment: Some(changed.deployment),
            location: Some(format!("/v2/apps{id}")),
        })
    }

    fn update(&mut self, id: &AppId, body: App, mode: Mode, force: bool) -> Result<Answer, Refusal> {
        let old = self.state.apps.get(id);
        let app = match (old, mode) {
            (None, _) | (_, Mode::Full) => update::full(body, id)?,
            (Some(record), Mode::Partial) => match update::version_to_restore(&body) {
                Some(version) => match record.version(version) {
                    Some(app) => update::full(app.clone(), id)?,
                    None => return Err(Refusal::NoVersion(id.clone(), version.to_owned())),
                },
                None => update::partial(body, &record.app, id)?,
            },
        };
        let created = old.is_none();
        let mut answer = accepted(self.change(id, Change::Put(app), force)?);
        if created {
            answer.status = 201;
            answer.location = Some(format!("/v2/apps{id}"));
        }
        Ok(answer)
    }

    fn reset_delay(&mut self, id: &AppId) -> Result<Answer, Refusal> {
        if !self.withheld.contains_key(id) {
            return Err(Refusal::NotQueued(id.clone()));
        }
        self.delays.forget(id);
        self.touched.insert(id.clone());
        Ok(Answer { status: 204, ..Answer::default() })
    }
}
