//! `/v2/apps` (`AppsResource.scala`, `AppTasksResource.scala`, `AppVersionsResource.scala`).

use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, Method};
use axum::response::Response;
use axum::routing::{MethodRouter, get};

use super::answers::Accepted;
use super::path::Target;
use super::query::Parameters;
use super::{Api, RawBody, body, existing};
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

async fn create(
    State(api): State<Api>,
    Query(query): Query<Parameters>,
    headers: HeaderMap,
    body: RawBody,
) -> Response {
    let request = body::object(&headers, body).and_then(|app| {
        let id = body::named_id(&app)?;
        Ok(Request::Create(id, app, query.flag("force", false)))
    });
    api.carry_out(request).await
}

async fn replace_all(
    State(api): State<Api>,
    Query(query): Query<Parameters>,
    headers: HeaderMap,
    body: RawBody,
) -> Response {
    let mode = if query.flag("partialUpdate", true) { Mode::Partial } else { Mode::Full };
    let apps = body::apps(&headers, body);
    api.carry_out(apps.map(|apps| Request::UpdateAll(apps, mode, query.flag("force", false)))).await
}

async fn patch_all(
    State(api): State<Api>,
    Query(query): Query<Parameters>,
    headers: HeaderMap,
    body: RawBody,
) -> Response {
    let apps = body::apps(&headers, body);
    api.carry_out(apps.map(|apps| Request::UpdateAll(apps, Mode::Existing, query.flag("force", false)))).await
}

/// Whatever lies below the list of apps.
pub async fn one(
    State(api): State<Api>,
    method: Method,
    Path(path): Path<String>,
    Query(query): Query<Parameters>,
    headers: HeaderMap,
    body: RawBody,
) -> Response {
    let target = Target::of(&path, &method);
    let request = match method.as_str() {
        "GET" | "HEAD" => shown(&api, target, &query, &headers),
        "PUT" | "PATCH" => changed(&method, target, &query, &headers, body),
        "POST" => match target {
            Target::Restart(id) => existing(&id).map(|id| Request::Restart(id, query.flag("force", false))),
            _ => Err(Refusal::NoMethod),
        },
        "DELETE" => removed(target, &query),
        _ => Err(Refusal::NoMethod),
    };
    api.carry_out(request).await
}

fn shown(api: &Api, target: Target, query: &Parameters, headers: &HeaderMap) -> Result<Request, Refusal> {
    match target {
        Target::Below(group) => {
            let mut embed = query.app_embed();
            (embed.tasks, embed.last_failure) = (true, true);
            let group = GroupId::parse(&group, &GroupId::root()).map_err(|_| Refusal::NoGroup(group))?;
            Ok(Request::Apps(Selection { group: Some(group), embed, ..Selection::default() }))
        }
        Target::App(id) => {
            let mut embed = query.app_embed();
            (embed.tasks, embed.last_failure) = (true, true);
            existing(&id).map(|id| Request::App(id, embed))
        }
        Target::Versions(id) => existing(&id).map(Request::Versions),
        Target::Version(id, version) => existing(&id).map(|id| Request::Version(id, version)),
        Target::Tasks(id) => {
            let accepted = Accepted::of(headers);
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

fn changed(
    method: &Method,
    target: Target,
    query: &Parameters,
    headers: &HeaderMap,
    body: RawBody,
) -> Result<Request, Refusal> {
    let Target::App(id) = target else { return Err(Refusal::NoMethod) };
    let id = body::app_id(&id, "")?;
    let mode = match (method.as_str(), query.flag("partialUpdate", true)) {
        ("PATCH", _) => Mode::Existing,
        (_, true) => Mode::Partial,
        (_, false) => Mode::Full,
    };
    Ok(Request::Update { id, body: body::object(headers, body)?, mode, force: query.flag("force", false) })
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
