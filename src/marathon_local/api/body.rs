//! Bodies of requests.

use std::error::Error;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, FailedToBufferBody};
use axum::http::{HeaderMap, header};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use serde_json::Value;

use super::RawBody;
use crate::clock::Clock;
use crate::marathon::normalize::FieldError;
use crate::marathon_local::group::{GroupId, canonical};
use crate::marathon_local::refusal::Refusal;
use crate::model::{App, AppId};

/// How long a body may take from when it is read.
pub const LIMIT: Duration = Duration::from_secs(30);

/// A body that did not come in within [`LIMIT`].
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the body did not come in within {} s", LIMIT.as_secs())]
pub struct Late;

/// A body with a deadline.
pub struct Timed {
    body: Incoming,
    clock: Clock,
    /// Runs once the body is waited for: as a rule all of it is there with its head.
    end: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl Timed {
    /// Gives a body its deadline.
    pub fn new(body: Incoming, clock: Clock) -> Self {
        Self { body, clock, end: None }
    }
}

impl Body for Timed {
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if polled.is_ready() {
            return polled.map_err(Into::into);
        }
        let clock = self.clock.clone();
        let end = self.end.get_or_insert_with(|| Box::pin(async move { clock.sleep(LIMIT).await }));
        end.as_mut().poll(cx).map(|()| Some(Err(Late.into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Why a body was not read.
pub fn unread(rejection: &BytesRejection) -> Refusal {
    if matches!(rejection, BytesRejection::FailedToBufferBody(FailedToBufferBody::LengthLimitError(_))) {
        return Refusal::TooLarge;
    }
    if is_late(rejection) { Refusal::Late(LIMIT) } else { Refusal::BrokenOff }
}

fn is_late(error: &(dyn Error + 'static)) -> bool {
    error.is::<Late>() || error.source().is_some_and(is_late)
}

/// Any JSON.
///
/// # Errors
/// 400, 408, 413 and 415.
pub fn json(headers: &HeaderMap, body: RawBody) -> Result<Value, Refusal> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if !kind.trim_start().to_ascii_lowercase().starts_with("application/json") {
        return Err(Refusal::NotJson);
    }
    let body = body.map_err(|rejection| unread(&rejection))?;
    if body.trim_ascii().is_empty() {
        return Err(Refusal::BadRequest("The request body is empty, JSON is expected".to_owned()));
    }
    serde_json::from_slice(&body).map_err(|e| Refusal::NoJson(e.to_string()))
}

/// A JSON object.
///
/// # Errors
/// As [`json`], and 422 for anything else than an object.
pub fn object(headers: &HeaderMap, body: RawBody) -> Result<App, Refusal> {
    App::from_value(json(headers, body)?).ok_or_else(|| fault("", "error.expected.jsobject"))
}

/// A list of apps that each name their id.
///
/// # Errors
/// As [`json`], and 422 with the places of what is wrong.
pub fn apps(headers: &HeaderMap, body: RawBody) -> Result<Vec<(AppId, App)>, Refusal> {
    let Value::Array(list) = json(headers, body)? else { return Err(fault("", "error.expected.jsarray")) };
    let mut apps = Vec::with_capacity(list.len());
    for (position, app) in list.into_iter().enumerate() {
        let app =
            App::from_value(app).ok_or_else(|| fault(&format!("/{position}"), "error.expected.jsobject"))?;
        let id = app.id().ok_or_else(|| fault(&format!("/{position}/id"), "is required"))?;
        apps.push((app_id(id, &format!("/{position}"))?, app));
    }
    Ok(apps)
}

/// The id that a body names, seen from the root.
///
/// # Errors
/// 422 at the body's `/id`.
pub fn named_id(app: &App) -> Result<AppId, Refusal> {
    app_id(app.id().ok_or_else(|| fault("/id", "is required"))?, "")
}

/// An id as written in a path or body.
///
/// # Errors
/// 422 at `/id` below the place.
pub fn app_id(text: &str, place: &str) -> Result<AppId, Refusal> {
    let id = AppId::new(&canonical(text, "/"));
    id.map_err(|e| fault(&format!("{place}/id"), &e.to_string()))
}

/// The id of a group in a path.
///
/// # Errors
/// 422.
pub fn group_id(text: &str) -> Result<GroupId, Refusal> {
    GroupId::parse(text, &GroupId::root()).map_err(|message| fault("/id", &message))
}

/// One fault.
pub fn fault(path: &str, message: &str) -> Refusal {
    Refusal::Invalid(vec![FieldError { path: path.to_owned(), message: message.to_owned() }])
}
