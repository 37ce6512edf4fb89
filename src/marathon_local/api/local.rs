//! `/local/...`: what only a local Marathon has. Faults and outcomes are there when the command line asks for them.

use axum::Router;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::{delete, get, post, put};
use serde_json::{Value, json};

use super::{Api, RawBody, Request, body, found};
use crate::marathon_local::engine::Answer;
use crate::marathon_local::refusal::Refusal;

/// The switches of faults, the outcomes of simulated tasks, and a login that gives out tokens.
pub fn switches() -> Router<Api> {
    Router::new()
        .route("/local/faults", get(list_faults).post(add_fault).delete(reset_faults))
        .route("/local/faults/{id}", delete(remove_fault))
        .route("/local/outcomes", get(list_outcomes).delete(reset_outcomes))
        .route("/local/outcomes/", put(set_for_all))
        .route("/local/outcomes/{*app}", put(set_outcome))
        .route("/local/tasks/{task}/unreachable", put(lose).delete(find))
        .route("/acs/api/v1/auth/login", post(login))
}

async fn list_faults(State(api): State<Api>) -> Response {
    api.answer(Ok(found(api.faults.list())))
}

async fn add_fault(State(api): State<Api>, headers: HeaderMap, body: RawBody) -> Response {
    let added = body::json(&headers, body)
        .and_then(|body| api.faults.switch_on(&body).map_err(|e| Refusal::Argument(e.to_string())));
    api.look(added.map(|fault| Answer { status: 201, body: Some(fault), ..Answer::default() })).await
}

async fn remove_fault(State(api): State<Api>, Path(id): Path<u64>) -> Response {
    let known = api.faults.switch_off(id);
    api.look(if known { Ok(done()) } else { Err(Refusal::NotFound(format!("there is no fault {id}"))) }).await
}

/// Turns all off; a body `{"seed": 7}` begins with other dice.
async fn reset_faults(State(api): State<Api>, body: RawBody) -> Response {
    let body: Option<Value> = body.ok().and_then(|body| serde_json::from_slice(&body).ok());
    api.faults.reset(body.as_ref().and_then(|body| body.get("seed")).and_then(Value::as_u64));
    api.look(Ok(done())).await
}

async fn list_outcomes(State(api): State<Api>) -> Response {
    let list = api.outcomes.as_ref().map(|outcomes| found(outcomes.list()));
    api.answer(list.ok_or_else(Api::not_simulated))
}

async fn reset_outcomes(State(api): State<Api>) -> Response {
    let reset = api.outcomes.as_ref().map(|outcomes| {
        outcomes.reset();
        done()
    });
    api.look(reset.ok_or_else(Api::not_simulated)).await
}

async fn set_outcome(
    api: State<Api>,
    Path(app): Path<String>,
    headers: HeaderMap,
    body: RawBody,
) -> Response {
    set(api, &app, &headers, body).await
}

async fn set_for_all(api: State<Api>, headers: HeaderMap, body: RawBody) -> Response {
    set(api, "", &headers, body).await
}

async fn set(State(api): State<Api>, app: &str, headers: &HeaderMap, body: RawBody) -> Response {
    let set = body::json(headers, body).and_then(|body| {
        let outcomes = api.outcomes.as_ref().ok_or_else(Api::not_simulated)?;
        outcomes.set(&format!("/{}", app.trim_matches('/')), &body).map_err(Refusal::Argument)?;
        Ok(done())
    });
    api.look(set).await
}

async fn lose(State(api): State<Api>, Path(task): Path<String>) -> Response {
    api.ask(Request::Reachable(task, false)).await
}

async fn find(State(api): State<Api>, Path(task): Path<String>) -> Response {
    api.ask(Request::Reachable(task, true)).await
}

/// A token for whoever asks, as the IAM of DC/OS gives one: what it was asked with is not looked at.
async fn login(State(api): State<Api>) -> Response {
    let token = api.entropy.nonce();
    api.faults.login(token.clone());
    api.answer(Ok(found(json!({ "token": token }))))
}

fn done() -> Answer {
    Answer { status: 204, ..Answer::default() }
}

impl Api {
    fn not_simulated() -> Refusal {
        Refusal::NotFound("tasks are processes here; outcomes belong to simulated ones".to_owned())
    }

    /// Answers after the engine has looked at what changed.
    async fn look(&self, answer: Result<Answer, Refusal>) -> Response {
        if answer.is_ok()
            && let Err(refusal) = self.call(Request::Look).await
        {
            return self.answer(Err(refusal));
        }
        self.answer(answer)
    }
}
