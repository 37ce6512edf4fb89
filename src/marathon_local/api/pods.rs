//! `/v2/pods` (`PodsResource.scala`).

use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::{MethodRouter, get};
use serde_json::Value;

use super::asked::Asked;
use super::path::PodTarget;
use super::{Api, body};
use crate::marathon_local::engine::{Kill, Request};
use crate::marathon_local::refusal::Refusal;
use crate::model::AppId;

/// What all pods can be asked. HEAD tells that there are pods at all.
pub fn all() -> MethodRouter<Api> {
    get(async |State(api): State<Api>| api.ask(Request::Pods).await).post(create)
}

async fn create(State(api): State<Api>, asked: Asked) -> Response {
    let force = asked.force();
    api.carry_out(asked.named().map(|(id, pod)| Request::CreatePod(id, pod, force))).await
}

/// Whatever lies below the list of pods.
pub async fn one(State(api): State<Api>, Path(path): Path<String>, asked: Asked) -> Response {
    api.carry_out(request(PodTarget::of(&path), asked)).await
}

fn request(target: PodTarget, asked: Asked) -> Result<Request, Refusal> {
    let (force, wipe) = (asked.force(), asked.query.flag("wipe", false));
    match (asked.method.as_str(), target) {
        ("GET" | "HEAD", PodTarget::AllStatus) => Ok(Request::PodStatus(None)),
        ("GET" | "HEAD", PodTarget::Pod(id)) => existing(&id).map(Request::Pod),
        ("GET" | "HEAD", PodTarget::Status(id)) => existing(&id).map(|id| Request::PodStatus(Some(id))),
        ("GET" | "HEAD", PodTarget::Versions(id)) => existing(&id).map(Request::PodVersions),
        ("GET" | "HEAD", PodTarget::Version(id, version)) => {
            existing(&id).map(|id| Request::PodVersion(id, version))
        }
        ("PUT", PodTarget::Pod(id)) => {
            let id = body::app_id(&id, "")?;
            let (named, pod) = asked.named()?;
            if named == id {
                Ok(Request::UpdatePod(id, pod, force))
            } else {
                Err(Refusal::BadRequest(format!("'{id}' does not match definition's id ('{named}')")))
            }
        }
        ("DELETE", PodTarget::Pod(id)) => existing(&id).map(|id| Request::DeletePod(id, force)),
        ("DELETE", PodTarget::Instances(id)) => {
            let Value::Array(list) = asked.json()? else {
                return Err(body::fault("", "error.expected.jsarray"));
            };
            let tasks = list.iter().filter_map(|v| v.as_str().map(str::to_owned)).collect();
            let kill = Kill { tasks: Some(tasks), wipe, ..Kill::default() };
            existing(&id).map(|id| Request::KillPods(id, kill, None))
        }
        ("DELETE", PodTarget::Instance(id, instance)) => {
            let tasks = Some([instance.clone()].into());
            let kill = Kill { tasks, wipe, ..Kill::default() };
            existing(&id).map(|id| Request::KillPods(id, kill, Some(instance)))
        }
        _ => Err(Refusal::NoMethod),
    }
}

fn existing(id: &str) -> Result<AppId, Refusal> {
    let id = format!("/{}", id.trim_matches('/'));
    AppId::new(&id).map_err(|_| Refusal::NoPod(id))
}
