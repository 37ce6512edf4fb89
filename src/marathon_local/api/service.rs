//! `/service/...`: what Admin Router passes on to the schedulers of SDK services. There where tasks are simulated.

use axum::Router;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::get;

use super::{Api, Request};
use crate::marathon_local::engine::Answer;
use crate::marathon_local::sdk;

/// The one route: ids hold slashes.
pub fn routes() -> Router<Api> {
    Router::new().route("/service/{*path}", get(passed_on))
}

async fn passed_on(State(api): State<Api>, Path(path): Path<String>) -> Response {
    let Some((id, version, question)) = sdk::asked(&path) else {
        let (status, body) = sdk::no_such_service();
        return api.answer(Ok(Answer { status, body: Some(body), ..Answer::default() }));
    };
    api.ask(Request::Scheduler(id, version.to_owned(), question)).await
}
