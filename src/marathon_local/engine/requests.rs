//! What may be asked of the engine, and its answers.

use serde_json::{Value, json};

use super::Engine;
use super::changes::{Change, Changed, Update};
pub use super::kill::Kill;
pub use super::view::{Embed, GroupEmbed};
use crate::marathon::sdk::SdkService;
use crate::marathon_local::group::{GroupBody, GroupId};
use crate::marathon_local::refusal::Refusal;
use crate::marathon_local::sdk::{self, Question};
use crate::marathon_local::task::TaskState;
use crate::marathon_local::update::Mode;
use crate::marathon_local::vips;
use crate::model::{App, AppId};

/// Which apps a listing holds, and with what.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// Part of the id, whatever the case.
    pub id: Option<String>,
    /// Part of the command, whatever the case.
    pub cmd: Option<String>,
    /// A label selector.
    pub labels: Option<String>,
    /// A group that they lie below; nothing else is asked for then.
    pub group: Option<GroupId>,
    /// What is embedded.
    pub embed: Embed,
}

/// A request.
#[derive(Debug, PartialEq)]
pub enum Request {
    /// Apps, in a list.
    Apps(Selection),
    /// One app.
    App(AppId, Embed),
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
    /// Several changed or new apps at once.
    UpdateAll(Vec<(AppId, App)>, Mode, bool),
    /// One app fewer.
    Delete(AppId, bool),
    /// New tasks for an app.
    Restart(AppId, bool),
    /// The versions of an app.
    Versions(AppId),
    /// One version of an app.
    Version(AppId, String),
    /// All tasks of some states, or of all.
    Tasks(Vec<String>),
    /// The tasks of an app, or of all apps of a group.
    TasksOf(Result<AppId, GroupId>),
    /// Tasks as plain text, of an app or of all.
    TasksText(Option<AppId>),
    /// Kill tasks of an app; the one that was named, where one was.
    KillOf(AppId, Kill, Option<String>),
    /// Kill tasks of any app.
    Kill(Kill),
    /// A group.
    Group(GroupId, GroupEmbed),
    /// The apps of a group, as a list.
    GroupApps(GroupId, Embed),
    /// The versions of a group.
    GroupVersions(GroupId),
    /// A version of a group.
    GroupVersion(GroupId, String, GroupEmbed),
    /// A new group, in that one.
    CreateGroup(GroupId, Box<GroupBody>, bool),
    /// A changed or new group.
    UpdateGroup {
        /// Which.
        id: GroupId,
        /// The body.
        body: Box<GroupBody>,
        /// Whether deployments in the way are cancelled.
        force: bool,
        /// Whether only the steps are shown.
        dry_run: bool,
    },
    /// Whether a group enforces its role.
    PatchGroup(GroupId, Option<bool>),
    /// A group fewer, with everything in it.
    DeleteGroup(GroupId, bool),
    /// All pods.
    Pods,
    /// A pod.
    Pod(AppId),
    /// The status of a pod, or of all.
    PodStatus(Option<AppId>),
    /// The versions of a pod.
    PodVersions(AppId),
    /// One version of a pod.
    PodVersion(AppId, String),
    /// A new pod.
    CreatePod(AppId, App, bool),
    /// A changed pod.
    UpdatePod(AppId, App, bool),
    /// A pod fewer.
    DeletePod(AppId, bool),
    /// Kill instances of a pod; the one that was named, where one was.
    KillPods(AppId, Kill, Option<String>),
    /// All deployments.
    Deployments,
    /// A deployment undone, or, by force, ended where it is.
    CancelDeployment(String, bool),
    /// What waits to be launched; whether with the last unused offers.
    Queue(bool),
    /// Launch an app's tasks without further delay.
    ResetDelay(AppId),
    /// About this Marathon.
    Info,
    /// Numbers about this Marathon.
    Metrics,
    /// The virtual addresses that apps announce.
    Vips,
    /// What the scheduler of an SDK service answers, asked at a version of its API.
    Scheduler(AppId, String, Question),
    /// Somebody else leads.
    NewLeader,
    /// Something outside changed: look at everything again.
    Look,
    /// Whether anything is heard of a task.
    Reachable(String, bool),
}

/// An answer to a request that was carried out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The body; none where there is none. A text where it is one and `text` says so.
    pub body: Option<Value>,
    /// The deployment that began.
    pub deployment: Option<String>,
    /// The path of what was created.
    pub location: Option<String>,
}

impl Request {
    /// Whether it may change anything.
    pub fn changes(&self) -> bool {
        !matches!(
            self,
            Self::Apps(..)
                | Self::App(..)
                | Self::Versions(..)
                | Self::Version(..)
                | Self::Tasks(..)
                | Self::TasksOf(..)
                | Self::TasksText(..)
                | Self::Group(..)
                | Self::GroupApps(..)
                | Self::GroupVersions(..)
                | Self::GroupVersion(..)
                | Self::UpdateGroup { dry_run: true, .. }
                | Self::Pods
                | Self::Pod(..)
                | Self::PodStatus(..)
                | Self::PodVersions(..)
                | Self::PodVersion(..)
                | Self::Deployments
                | Self::Queue(..)
                | Self::Info
                | Self::Metrics
                | Self::Vips
                | Self::Scheduler(..)
        )
    }

    /// The app that it writes, if it writes one.
    pub fn written_app(&self) -> Option<&AppId> {
        match self {
            Self::Create(id, ..) | Self::Update { id, .. } => Some(id),
            _ => None,
        }
    }
}

pub(super) fn found(body: Value) -> Answer {
    Answer { status: 200, body: Some(body), ..Answer::default() }
}

pub(super) fn accepted(changed: Changed) -> Answer {
    let body = json!({"version": changed.version, "deploymentId": changed.deployment});
    Answer { status: 200, body: Some(body), deployment: Some(changed.deployment), location: None }
}

impl Engine {
    /// Carries a request out, as far as it can be done at once.
    pub(super) fn handle(&mut self, request: Request) -> Result<Answer, Refusal> {
        match request {
            Request::Apps(selection) => self.list_apps(&selection),
            Request::App(id, embed) => self.show_app(&id, embed),
            Request::Create(id, body, force) => self.create_app(&id, body, force),
            Request::Update { id, body, mode, force } => self.update_app(&id, body, mode, force),
            Request::UpdateAll(bodies, mode, force) => self.update_apps(bodies, mode, force),
            Request::Delete(id, force) => self.change_app(&id, Change::Remove, force),
            Request::Restart(id, force) => self.change_app(&id, Change::Restart, force),
            Request::Versions(id) => self.app_versions(&id),
            Request::Version(id, version) => self.app_version(&id, &version),
            Request::Tasks(states) => Ok(found(self.tasks_json(None, &states))),
            Request::TasksOf(Ok(id)) => {
                self.app_record(&id)?;
                Ok(found(self.tasks_json(Some(id.as_str()), &[])))
            }
            Request::TasksOf(Err(group)) if group.is_root() || self.state.groups.contains_key(&group) => {
                Ok(found(self.tasks_json(Some(group.as_str()), &[])))
            }
            Request::TasksOf(Err(group)) => Err(Refusal::NoGroup(group.to_string())),
            Request::TasksText(id) => {
                id.iter().try_for_each(|id| self.app_record(id).map(drop))?;
                Ok(found(self.tasks_text(id.as_ref()).into()))
            }
            Request::KillOf(id, kill, single) => self.kill_of(&id, &kill, single.as_deref()),
            Request::Kill(kill) => self.kill_any(&kill),
            other => self.handle_more(other),
        }
    }

    fn handle_more(&mut self, request: Request) -> Result<Answer, Refusal> {
        match request {
            Request::Group(id, embed) => self.show_group(&id, embed),
            Request::GroupApps(id, embed) => Ok(found(self.apps_below(&id, embed))),
            Request::GroupVersions(id) => self.group_versions(&id),
            Request::GroupVersion(id, version, embed) => self.group_version(&id, &version, embed),
            Request::CreateGroup(base, body, force) => self.create_group(&base, &body, force),
            Request::UpdateGroup { id, body, force, dry_run } => {
                self.update_group(&id, &body, force, dry_run)
            }
            Request::PatchGroup(id, enforce_role) => self.patch_group(&id, enforce_role),
            Request::DeleteGroup(id, force) => self.delete_group(&id, force),
            Request::Pods => Ok(self.list_pods()),
            Request::Pod(id) => self.show_pod(&id),
            Request::PodStatus(None) => Ok(self.pod_statuses()),
            Request::PodStatus(Some(id)) => self.pod_status(&id),
            Request::PodVersions(id) => self.pod_versions(&id),
            Request::PodVersion(id, version) => self.pod_version(&id, &version),
            Request::CreatePod(id, body, force) => self.create_pod(&id, body, force),
            Request::UpdatePod(id, body, force) => self.update_pod(&id, body, force),
            Request::DeletePod(id, force) => self.delete_pod(&id, force),
            Request::KillPods(id, kill, single) => self.kill_pods(&id, &kill, single.as_deref()),
            Request::Deployments => Ok(found(self.deployments_json())),
            Request::CancelDeployment(id, force) => Ok(match self.cancel(&id, force)? {
                Some(changed) => accepted(changed),
                None => Answer { status: 202, ..Answer::default() },
            }),
            Request::Queue(with_offers) => Ok(found(self.queue_json(with_offers))),
            Request::ResetDelay(id) => self.reset_delay(&id),
            Request::Info => Ok(found(self.info_json())),
            Request::Metrics => Ok(found(self.metrics_json())),
            Request::Vips => Ok(found(vips::json(&self.announced_vips()))),
            Request::Scheduler(id, version, question) => Ok(self.scheduler(&id, &version, question)),
            Request::NewLeader => {
                self.new_leader();
                Ok(Answer { status: 200, ..Answer::default() })
            }
            Request::Reachable(task, reachable) => {
                self.set_reachable(&task, reachable)?;
                Ok(Answer { status: 204, ..Answer::default() })
            }
            // All others were handled before.
            _ => {
                self.look_at_all();
                Ok(Answer { status: 204, ..Answer::default() })
            }
        }
    }

    /// Removes or restarts an app that is there.
    fn change_app(&mut self, id: &AppId, change: Change, force: bool) -> Result<Answer, Refusal> {
        let update = Update::of(id, change);
        self.room(update.about.as_ref())?;
        if let Err(refusal) = self.app_record(id) {
            self.announce_refused(update.about.as_ref(), &refusal);
            return Err(refusal);
        }
        self.change(update, force).map(accepted)
    }

    /// The answer of the scheduler that runs longest, as Admin Router passes it on.
    fn scheduler(&self, id: &AppId, version: &str, question: Question) -> Answer {
        let service = self.state.apps.get(id).and_then(|record| SdkService::of(&record.app));
        let mut tasks = self.tasks.get(id).into_iter().flatten();
        let task = tasks.find(|task| task.state == TaskState::Running);
        let (status, body) = match (service, task.and_then(|task| Some((task, task.running_since?)))) {
            (None, _) => sdk::no_such_service(),
            (Some(_), None) => sdk::not_running(),
            (Some(service), Some((task, (_, since)))) => {
                let question = if service.api_version() == version { question } else { Question::Other };
                let ran = self.context.clock.boot().saturating_sub(since);
                sdk::answer(&task.spec.app, question, (&self.state.framework_id, id), ran)
            }
        };
        Answer { status, body: Some(body), ..Answer::default() }
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
