//! `/v2/apps` (`AppsResource.scala`, `AppTasksResource.scala`, `AppVersionsResource.scala`).

use axum::extract::{Path, Query, State};
use axum::response::Response;
use axum::routing::{MethodRouter, get};

use super::answers::Accepted;
use super::asked::Asked;
use super::path::Target;
use super::query::Parameters;
use super::{Api, body, existing};
use crate::marathon_local::engine::{Kill, Request, Selection};
use crate::marathon_local::group::GroupId;
use crate::marathon_local::refusal::Refusal;
use crate::marathon_local::update::Mode;

/// What all apps can be asked.
pub fn all() -> MethodRouter<Api> {
    get(list).post(create).put(replace_all).patch(patch_all)
}

async fn list(State(api): State<Api>, Query(query): Query<Parameters>) -> Response {
    api.ask(Request::Apps(query.selection())).await
}

async fn create(State(api): State<Api>, asked: Asked) -> Response {
    let force = asked.force();
    api.carry_out(asked.named().map(|(id, app)| Request::Create(id, app, force))).await
}

async fn replace_all(State(api): State<Api>, asked: Asked) -> Response {
    let (mode, force) = (mode(&asked), asked.force());
    api.carry_out(asked.apps().map(|apps| Request::UpdateAll(apps, mode, force))).await
}

async fn patch_all(State(api): State<Api>, asked: Asked) -> Response {
    let force = asked.force();
    api.carry_out(asked.apps().map(|apps| Request::UpdateAll(apps, Mode::Existing, force))).await
}

/// Whatever lies below the list of apps.
pub async fn one(State(api): State<Api>, Path(path): Path<String>, asked: Asked) -> Response {
    let target = Target::of(&path, &asked.method);
    let request = match asked.method.as_str() {
        "GET" | "HEAD" => shown(&api, target, &asked),
        "PUT" => changed(target, mode(&asked), asked),
        "PATCH" => changed(target, Mode::Existing, asked),
        "POST" => match target {
            Target::Restart(id) => existing(&id).map(|id| Request::Restart(id, asked.force())),
            _ => Err(Refusal::NoMethod),
        },
        "DELETE" => removed(target, &asked.query),
        _ => Err(Refusal::NoMethod),
    };
    api.carry_out(request).await
}

/// How a PUT treats what its body leaves out.
fn mode(asked: &Asked) -> Mode {
    if asked.query.flag("partialUpdate", true) { Mode::Partial } else { Mode::Full }
}

fn shown(api: &Api, target: Target, asked: &Asked) -> Result<Request, Refusal> {
    match target {
        Target::Below(group) => {
            let mut embed = asked.query.app_embed();
            (embed.tasks, embed.last_failure) = (true, true);
            let group = GroupId::parse(&group, &GroupId::root()).map_err(|_| Refusal::NoGroup(group))?;
            Ok(Request::Apps(Selection { group: Some(group), embed, ..Selection::default() }))
        }
        Target::App(id) => {
            let mut embed = asked.query.app_embed();
            (embed.tasks, embed.last_failure) = (true, true);
            existing(&id).map(|id| Request::App(id, embed))
        }
        Target::Versions(id) => existing(&id).map(Request::Versions),
        Target::Version(id, version) => existing(&id).map(|id| Request::Version(id, version)),
        Target::Tasks(id) => {
            let accepted = Accepted::of(&asked.headers);
            let id = existing(&id)?;
            match (accepted.json, accepted.text && api.profile.lists_tasks_as_text()) {
                (true, _) => Ok(Request::TasksOf(Ok(id))),
                (false, true) => Ok(Request::TasksText(Some(id))),
                (false, false) => Err(Refusal::NotAcceptable),
            }
        }
        Target::TasksBelow(group) => body::group_id(&group).map(|group| Request::TasksOf(Err(group))),
        Target::Restart(_) | Target::Task(..) => Err(Refusal::NoMethod),
    }
}

fn changed(target: Target, mode: Mode, asked: Asked) -> Result<Request, Refusal> {
    let Target::App(id) = target else { return Err(Refusal::NoMethod) };
    let (id, force) = (body::app_id(&id, "")?, asked.force());
    Ok(Request::Update { id, body: asked.object()?, mode, force })
}

fn removed(target: Target, query: &Parameters) -> Result<Request, Refusal> {
    match target {
        // The default really is true: a delete does not wait for anybody.
        Target::App(id) => existing(&id).map(|id| Request::Delete(id, query.flag("force", true))),
        Target::Tasks(id) => {
            let host = query.first("host").map(str::to_owned);
            let kill = Kill { host, ..query.kill()? };
            existing(&id).map(|id| Request::KillOf(id, kill, None))
        }
        Target::Task(id, task) => {
            let kill = Kill { tasks: Some([task.clone()].into()), ..query.kill()? };
            existing(&id).map(|id| Request::KillOf(id, kill, Some(task)))
        }
        _ => Err(Refusal::NoMethod),
    }
}
