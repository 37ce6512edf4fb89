//! What operators want of whoever leads: any instance takes it, writes it into the control log, and waits for the
//! leader's answer there.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;

use super::{Site, failure, problem};
use crate::storage::collect::{CollectOptions, would_collect};
use crate::storage::control::Request;
use crate::storage::progress::Unwatched;
use crate::storage::scrub::{ScrubOptions, scrub as scrub_storage};

/// How long somebody who asks waits for the leader.
const WAIT: Duration = Duration::from_secs(30);

/// How long for a collection, which lists everything.
const COLLECT_WAIT: Duration = Duration::from_secs(3600);

/// How often the log is read for the answer.
const POLL: Duration = Duration::from_millis(250);

/// The body of `suspend`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Suspend {
    /// Why, for people.
    reason: String,
}

/// The body of `storage/gc`.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct Collect {
    dry_run: bool,
    allow: Option<u64>,
}

/// The body of `storage/scrub`.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct Scrub {
    dry_run: bool,
}

/// `POST /api/v1/reconcile`: a look at everything now.
pub(super) async fn reconcile(State(site): State<Arc<Site>>) -> Response {
    ask(&site, Request::Reconcile, WAIT).await
}

/// `POST /api/v1/suspend`: nothing is done until `resume`.
pub(super) async fn suspend(State(site): State<Arc<Site>>, Json(body): Json<Suspend>) -> Response {
    let reason: String = body.reason.chars().take(500).collect();
    ask(&site, Request::Suspend { reason }, WAIT).await
}

/// `POST /api/v1/resume`.
pub(super) async fn resume(State(site): State<Arc<Site>>) -> Response {
    ask(&site, Request::Resume, WAIT).await
}

/// `POST /api/v1/storage/gc`: collects what nothing references, or says what would go.
pub(super) async fn gc(State(site): State<Arc<Site>>, Json(body): Json<Collect>) -> Response {
    let Collect { dry_run, allow } = body;
    if !dry_run {
        return ask(&site, Request::Collect { dry_run, allow }, COLLECT_WAIT).await;
    }
    let options = CollectOptions { allow, ..CollectOptions::default() };
    match would_collect(&site.storage, &options, &Unwatched).await {
        Ok(report) => Json(report).into_response(),
        Err(error) => failure(error.class(), error.label(), &error),
    }
}

/// `POST /api/v1/storage/scrub`: reads everything again, in this instance.
pub(super) async fn scrub(State(site): State<Arc<Site>>, Json(body): Json<Scrub>) -> Response {
    let options = ScrubOptions { dry_run: body.dry_run, ..ScrubOptions::FAST };
    match scrub_storage(&site.storage, &options, &site.entropy, &Unwatched).await {
        Ok(report) => Json(report).into_response(),
        Err(error) => failure(error.class(), error.label(), &error),
    }
}

/// `GET /api/v1/requests/{id}`: how a request ended, where that is known.
pub(super) async fn answer(State(site): State<Arc<Site>>, Path(id): Path<String>) -> Response {
    if let Err(error) = site.storage.control.follow().await {
        return failure(error.class(), error.label(), &error);
    }
    let state = site.storage.control.state();
    match state.answer(&id) {
        Some(answer) => Json(answer).into_response(),
        None if state.requests.iter().any(|pending| pending.id == id) => pending(&id),
        None => problem(StatusCode::NOT_FOUND, "NoSuchRequest", "no request of that name is remembered"),
    }
}

async fn ask(site: &Site, request: Request, wait: Duration) -> Response {
    let id = site.entropy.nonce();
    if let Err(error) = site.storage.control.request(&id, request).await {
        return failure(error.class(), error.label(), &error);
    }
    if let Some(leader) = &site.leader {
        leader.nudge();
    }
    let answered = async {
        loop {
            if let Some(answer) = site.storage.control.state().answer(&id) {
                return answer.clone();
            }
            site.clock.sleep(POLL).await;
            // An instance that cannot read now reads later; the deadline is above.
            let _ = site.storage.control.follow().await;
        }
    };
    match site.clock.timeout(wait, answered).await {
        Ok(answer) if answer.done => Json(answer).into_response(),
        Ok(answer) => {
            let mut refused = problem(StatusCode::CONFLICT, "RequestRefused", &answer.message);
            if let Some(detail) = answer.detail {
                let body =
                    serde_json::json!({"type": "RequestRefused", "message": answer.message, "data": detail});
                refused = (StatusCode::CONFLICT, Json(body)).into_response();
            }
            refused
        }
        Err(_) => pending(&id),
    }
}

fn pending(id: &str) -> Response {
    let message = "nobody who leads has answered yet; ask again at /api/v1/requests/<id>";
    (StatusCode::ACCEPTED, Json(serde_json::json!({"id": id, "message": message}))).into_response()
}
