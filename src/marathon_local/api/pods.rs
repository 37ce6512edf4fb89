//! `/v2/pods` (`PodsResource.scala`).

use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, Method};
use axum::response::Response;
use axum::routing::{MethodRouter, get};
use serde_json::Value;

use super::path::PodTarget;
use super::query::Parameters;
use super::{Api, RawBody, body};
use crate::marathon_local::engine::{Kill, Request};
use crate::marathon_local::refusal::Refusal;
use crate::model::AppId;

/// What all pods can be asked. HEAD tells that there are pods at all.
pub fn all() -> MethodRouter<Api> {
    get(async |State(api): State<Api>| api.ask(Request::Pods).await).post(create)
}

async fn create(
    State(api): State<Api>,
    Query(query): Query<Parameters>,
    headers: HeaderMap,
    body: RawBody,
) -> Response {
    let request = body::object(&headers, body).and_then(|pod| {
        let id = body::named_id(&pod)?;
        Ok(Request::CreatePod(id, pod, query.flag("force", false)))
    });
    api.carry_out(request).await
}

/// Whatever lies below the list of pods.
pub async fn one(
    State(api): State<Api>,
    method: Method,
    Path(path): Path<String>,
    Query(query): Query<Parameters>,
    headers: HeaderMap,
    body: RawBody,
) -> Response {
    let request = asked(&method, PodTarget::of(&path), &query, &headers, body);
    api.carry_out(request).await
}

fn asked(
    method: &Method,
    target: PodTarget,
    query: &Parameters,
    headers: &HeaderMap,
    body: RawBody,
) -> Result<Request, Refusal> {
    let force = query.flag("force", false);
    match (method.as_str(), target) {
        ("GET" | "HEAD", PodTarget::AllStatus) => Ok(Request::PodStatus(None)),
        ("GET" | "HEAD", PodTarget::Pod(id)) => existing(&id).map(Request::Pod),
        ("GET" | "HEAD", PodTarget::Status(id)) => existing(&id).map(|id| Request::PodStatus(Some(id))),
        ("GET" | "HEAD", PodTarget::Versions(id)) => existing(&id).map(Request::PodVersions),
        ("GET" | "HEAD", PodTarget::Version(id, version)) => {
            existing(&id).map(|id| Request::PodVersion(id, version))
        }
        ("PUT", PodTarget::Pod(id)) => {
            let id = body::app_id(&id, "")?;
            let pod = body::object(headers, body)?;
            let named = body::named_id(&pod)?;
            if named == id {
                Ok(Request::UpdatePod(id, pod, force))
            } else {
                Err(Refusal::BadRequest(format!("'{id}' does not match definition's id ('{named}')")))
            }
        }
        ("DELETE", PodTarget::Pod(id)) => existing(&id).map(|id| Request::DeletePod(id, force)),
        ("DELETE", PodTarget::Instances(id)) => {
            let Value::Array(list) = body::json(headers, body)? else {
                return Err(body::fault("", "error.expected.jsarray"));
            };
            let tasks = list.iter().filter_map(|v| v.as_str().map(str::to_owned)).collect();
            let kill = Kill { tasks: Some(tasks), wipe: query.flag("wipe", false), ..Kill::default() };
            existing(&id).map(|id| Request::KillPods(id, kill, None))
        }
        ("DELETE", PodTarget::Instance(id, instance)) => {
            let tasks = Some([instance.clone()].into());
            let kill = Kill { tasks, wipe: query.flag("wipe", false), ..Kill::default() };
            existing(&id).map(|id| Request::KillPods(id, kill, Some(instance)))
        }
        _ => Err(Refusal::NoMethod),
    }
}

fn existing(id: &str) -> Result<AppId, Refusal> {
    let id = format!("/{}", id.trim_matches('/'));
    AppId::new(&id).map_err(|_| Refusal::NoPod(id))
}
