//! `/v2/groups` (`GroupsResource.scala`).

use axum::extract::{Path, State};
use axum::http::Method;
use axum::response::Response;

use super::asked::Asked;
use super::path::GroupTarget;
use super::query::Parameters;
use super::{Api, body};
use crate::marathon_local::engine::Request;
use crate::marathon_local::group::{GroupBody, GroupId};
use crate::marathon_local::refusal::Refusal;

/// The root group.
pub async fn root(State(api): State<Api>, asked: Asked) -> Response {
    api.carry_out(request(&api, GroupTarget::Group(String::new()), asked)).await
}

/// Whatever lies below it.
pub async fn one(State(api): State<Api>, Path(path): Path<String>, asked: Asked) -> Response {
    let target = if asked.method == Method::GET || asked.method == Method::HEAD {
        GroupTarget::of(&path)
    } else {
        GroupTarget::Group(path.trim_matches('/').to_owned())
    };
    api.carry_out(request(&api, target, asked)).await
}

fn request(api: &Api, target: GroupTarget, asked: Asked) -> Result<Request, Refusal> {
    let (force, dry_run) = (asked.force(), asked.query.flag("dryRun", false));
    match (asked.method.as_str(), target) {
        ("GET" | "HEAD", target) => shown(target, &asked.query),
        ("POST", GroupTarget::Group(id)) => {
            Ok(Request::CreateGroup(body::group_id(&id)?, read(asked)?, force))
        }
        ("PUT", GroupTarget::Group(id)) => {
            Ok(Request::UpdateGroup { id: body::group_id(&id)?, body: read(asked)?, force, dry_run })
        }
        ("PATCH", GroupTarget::Group(id)) if api.profile.has_roles() => {
            let patch = asked.object()?;
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
        GroupTarget::Apps(id) => Ok(Request::GroupApps(existing(&id)?, query.group_embed().app)),
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

fn read(asked: Asked) -> Result<Box<GroupBody>, Refusal> {
    GroupBody::read(&asked.json()?).map(Box::new).map_err(Refusal::Invalid)
}
