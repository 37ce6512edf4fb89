//! `/v2/groups` (`GroupsResource.scala`).

use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, Method};
use axum::response::Response;

use super::path::GroupTarget;
use super::query::Parameters;
use super::{Api, RawBody, body};
use crate::marathon_local::engine::{Request, Selection};
use crate::marathon_local::group::{GroupBody, GroupId};
use crate::marathon_local::refusal::Refusal;

/// The root group.
pub async fn root(
    State(api): State<Api>,
    method: Method,
    Query(query): Query<Parameters>,
    headers: HeaderMap,
    body: RawBody,
) -> Response {
    let request = asked(&api, &method, GroupTarget::Group(String::new()), &query, &headers, body);
    api.carry_out(request).await
}

/// Whatever lies below it.
pub async fn one(
    State(api): State<Api>,
    method: Method,
    Path(path): Path<String>,
    Query(query): Query<Parameters>,
    headers: HeaderMap,
    body: RawBody,
) -> Response {
    let target = if method == Method::GET || method == Method::HEAD {
        GroupTarget::of(&path)
    } else {
        GroupTarget::Group(path.trim_matches('/').to_owned())
    };
    let request = asked(&api, &method, target, &query, &headers, body);
    api.carry_out(request).await
}

fn asked(
    api: &Api,
    method: &Method,
    target: GroupTarget,
    query: &Parameters,
    headers: &HeaderMap,
    body: RawBody,
) -> Result<Request, Refusal> {
    let force = query.flag("force", false);
    match (method.as_str(), target) {
        ("GET" | "HEAD", target) => shown(target, query),
        ("POST", GroupTarget::Group(id)) => {
            Ok(Request::CreateGroup(body::group_id(&id)?, read(headers, body)?, force))
        }
        ("PUT", GroupTarget::Group(id)) => Ok(Request::UpdateGroup {
            id: body::group_id(&id)?,
            body: read(headers, body)?,
            force,
            dry_run: query.flag("dryRun", false),
        }),
        ("PATCH", GroupTarget::Group(id)) if api.profile.has_roles() => {
            let patch = body::object(headers, body)?;
            let enforce = patch.get("enforceRole").filter(|value| !value.is_null());
            let enforce = enforce.map(|value| {
                value.as_bool().ok_or_else(|| body::fault("/enforceRole", "error.expected.jsboolean"))
            });
            Ok(Request::PatchGroup(body::group_id(&id)?, enforce.transpose()?))
        }
        ("DELETE", GroupTarget::Group(id)) => Ok(Request::DeleteGroup(existing(&id)?, force)),
        _ => Err(Refusal::NoMethod),
    }
}

fn shown(target: GroupTarget, query: &Parameters) -> Result<Request, Refusal> {
    match target {
        GroupTarget::Group(id) => Ok(Request::Group(existing(&id)?, query.group_embed())),
        GroupTarget::Apps(id) => {
            let (group, embed) = (Some(existing(&id)?), query.group_embed().app);
            Ok(Request::Apps(Selection { group, embed, ..Selection::default() }))
        }
        GroupTarget::Versions(id) => Ok(Request::GroupVersions(existing(&id)?)),
        GroupTarget::Version(id, version) => {
            Ok(Request::GroupVersion(existing(&id)?, version, query.group_embed()))
        }
    }
}

/// The id of a group that should exist.
fn existing(id: &str) -> Result<GroupId, Refusal> {
    GroupId::parse(id, &GroupId::root()).map_err(|_| Refusal::NoGroup(format!("/{id}")))
}

fn read(headers: &HeaderMap, body: RawBody) -> Result<Box<GroupBody>, Refusal> {
    let value = body::json(headers, body)?;
    GroupBody::read(&value).map(Box::new).map_err(Refusal::Invalid)
}
