//! `/v2/tasks` (`TasksResource.scala`). Plain text was given until 1.9.

use std::collections::BTreeSet;

use axum::extract::{Query, State};
use axum::http::HeaderMap;
use axum::response::Response;
use serde_json::Value;

use super::answers::Accepted;
use super::asked::Asked;
use super::query::Parameters;
use super::{Api, body};
use crate::marathon_local::engine::{Kill, Request};
use crate::marathon_local::refusal::Refusal;

/// All tasks, or those of some states.
pub async fn list(State(api): State<Api>, Query(query): Query<Parameters>, headers: HeaderMap) -> Response {
    let accepted = Accepted::of(&headers);
    let request = match (accepted.json, accepted.text && api.profile.lists_tasks_as_text()) {
        (true, _) => Ok(Request::Tasks(query.states())),
        (false, true) => Ok(Request::TasksText(None)),
        (false, false) => Err(Refusal::NotAcceptable),
    };
    api.carry_out(request).await
}

/// Kills tasks by their ids.
pub async fn delete(State(api): State<Api>, asked: Asked) -> Response {
    let request = asked.query.kill().and_then(|kill| {
        let value = asked.json()?;
        let ids =
            value.get("ids").and_then(Value::as_array).ok_or_else(|| body::fault("/ids", "is required"))?;
        let mut tasks = BTreeSet::new();
        for id in ids {
            let id = id.as_str().ok_or_else(|| body::fault("/ids", "error.expected.jsstring"))?;
            if !is_task_id(id) {
                return Err(Refusal::BadRequest(format!("Invalid task id '{id}'. [{id}]")));
            }
            tasks.insert(id.to_owned());
        }
        Ok(Request::Kill(Kill { tasks: Some(tasks), ..kill }))
    });
    api.carry_out(request).await
}

/// Whether a text may be the id of a task: the name of an app, then an instance or a bare UUID.
fn is_task_id(id: &str) -> bool {
    id.split_once('.').is_some_and(|(app, rest)| !app.is_empty() && !rest.is_empty())
}
