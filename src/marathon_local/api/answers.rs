//! Answers as HTTP, with the headers that Marathon sends.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use serde_json::Value;

use super::Api;
use crate::marathon_local::engine::Answer;
use crate::marathon_local::refusal::Refusal;

/// What a client says to accept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a kind of its own")]
pub struct Accepted {
    /// JSON.
    pub json: bool,
    /// Plain text.
    pub text: bool,
    /// HTML, and no matter what text.
    pub html: bool,
    /// An event stream.
    pub events: bool,
}

impl Accepted {
    /// Reads the header; without one everything is accepted.
    pub fn of(headers: &HeaderMap) -> Self {
        let mut values = headers.get_all(header::ACCEPT).iter().filter_map(|v| v.to_str().ok()).peekable();
        if values.peek().is_none() {
            return Self { json: true, text: true, html: true, events: false };
        }
        let all: Vec<_> =
            values.flat_map(|v| v.split(',')).map(|v| v.split(';').next().unwrap_or(v).trim()).collect();
        let any = |names: &[&str]| all.iter().any(|v| names.iter().any(|name| v.eq_ignore_ascii_case(name)));
        Self {
            json: any(&["*/*", "application/*", "application/json"]),
            text: any(&["*/*", "text/*", "text/plain"]),
            html: any(&["text/html"]),
            events: any(&["text/event-stream"]),
        }
    }
}

/// The answer to a ping: text, JSON, or nothing where neither is accepted (`SystemResource.scala`).
pub fn pong(headers: &HeaderMap) -> Response {
    let accepted = Accepted::of(headers);
    let (status, kind, body) = match accepted {
        Accepted { text: true, .. } => (StatusCode::OK, Some("text/plain"), "pong"),
        Accepted { html: true, .. } => (StatusCode::OK, Some("text/html"), "pong"),
        Accepted { json: true, .. } => (StatusCode::OK, Some("application/json"), "\"pong\""),
        _ => (StatusCode::NO_CONTENT, None, ""),
    };
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    if let Some(kind) = kind {
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    }
    response
}

impl Api {
    /// An answer, or why there is none.
    pub(super) fn answer(&self, answer: Result<Answer, Refusal>) -> Response {
        let answer = answer.unwrap_or_else(|refusal| Answer {
            status: refusal.status(),
            body: Some(refusal.body()),
            ..Answer::default()
        });
        let (kind, body) = match &answer.body {
            None => (None, Body::empty()),
            // Only lists of tasks are texts, and those are plain.
            Some(Value::String(text)) => (Some("text/plain"), Body::from(text.clone())),
            Some(json) => (Some("application/json"), Body::from(json.to_string())),
        };
        let mut response = Response::new(body);
        *response.status_mut() =
            StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        for (name, value) in [
            (header::CONTENT_TYPE, kind.map(str::to_owned)),
            (header::LOCATION, answer.location.map(|path| self.absolute(&path))),
            (HeaderName::from_static("marathon-deployment-id"), answer.deployment),
        ] {
            if let Some(value) = value.and_then(|value| HeaderValue::try_from(value).ok()) {
                response.headers_mut().insert(name, value);
            }
        }
        self.mark(&mut response);
        response
    }

    /// Marathon answers with the id of what was created, without its route, and its HTTP server sees that below the
    /// server's root (`Response.created` in `AppsResource.scala`, `GroupsResource.scala` and `PodsResource.scala`).
    fn absolute(&self, path: &str) -> String {
        format!("http://{}/{}", self.address, path.trim_start_matches('/'))
    }

    /// The headers of every answer.
    pub(super) fn mark(&self, response: &mut Response) {
        let leader = format!("http://{}", self.address);
        for (name, value) in [
            (HeaderName::from_static("x-marathon-leader"), leader.as_str()),
            (header::CACHE_CONTROL, "no-cache, no-store, must-revalidate"),
            (header::PRAGMA, "no-cache"),
            (header::EXPIRES, "0"),
        ] {
            if let Ok(value) = HeaderValue::try_from(value) {
                response.headers_mut().insert(name, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ping_is_answered_in_the_kind_that_is_accepted() {
        let pong = |accept: Option<&str>| {
            let mut headers = HeaderMap::new();
            if let Some(accept) = accept {
                headers.insert(header::ACCEPT, accept.parse().unwrap());
            }
            let response = pong(&headers);
            let kind = response.headers().get(header::CONTENT_TYPE).map(|k| k.to_str().unwrap().to_owned());
            (response.status().as_u16(), kind)
        };
        for (accept, status, kind) in [
            (None, 200, Some("text/plain")),
            (Some("*/*"), 200, Some("text/plain")),
            (Some("application/json"), 200, Some("application/json")),
            (Some("text/html;q=0.9"), 200, Some("text/html")),
            (Some("image/png"), 204, None),
        ] {
            assert_eq!(pong(accept), (status, kind.map(str::to_owned)), "{accept:?}");
        }
    }
}
