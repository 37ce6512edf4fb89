//! Requests that a fault strikes.

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use serde_json::{Value, json};

use super::{Api, Refusal, Request};
use crate::marathon_local::faults::{Fate, With};

/// Stands in an answer that is not to be sent: the connection is cut instead.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("a fault cuts the connection")]
pub struct Cut;

/// A deployment that nobody here began.
const STRANGER: &str = "5a7e1e55-0000-4000-8000-000000000000";

/// Asks the faults what becomes of a request.
pub async fn struck(State(api): State<Api>, request: axum::extract::Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    if !path.starts_with("/v2/") {
        return next.run(request).await;
    }
    let token = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = token.and_then(|value| value.strip_prefix("token="));
    match api.faults.request(request.method().as_str(), &path, token) {
        None => next.run(request).await,
        Some(Fate::Refused(status, with)) => api.refused(status, with),
        Some(Fate::NoToken) => {
            let body =
                json!({"title": "401 Unauthorized", "description": "Authentication required", "code": "ERR"});
            let mut response = respond(401, "application/json", body.to_string());
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("acsjwt"));
            response
        }
        Some(Fate::CutAfter) => cut(next.run(request).await),
        Some(Fate::LeaderLost) => {
            let answer = next.run(request).await;
            api.events.cut_all();
            // Whether it could be told or not, nobody leads for a while.
            let _ = api.call(Request::NewLeader).await;
            cut(answer)
        }
    }
}

fn cut(mut response: Response) -> Response {
    response.extensions_mut().insert(Cut);
    response
}

fn respond(status: u16, kind: &'static str, body: String) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

impl Api {
    fn refused(&self, status: u16, with: With) -> Response {
        let message = |text: &str| json!({ "message": text });
        let body: Value = match with {
            With::Empty => return respond(status, "text/plain", String::new()),
            With::Html => {
                let page = format!(
                    "<html>\n<head><title>{status}</title></head>\n<body>\n<center><h1>{status}</h1></center>\n\
                     <hr><center>openresty</center>\n</body>\n</html>\n"
                );
                return respond(status, "text/html", page);
            }
            With::Json => message("a fault was asked for"),
            With::Locked => Refusal::Locked(vec![STRANGER.to_owned()]).body(),
            With::Exists => message("An app with id [/x] already exists."),
            With::TooMany => Refusal::TooManyDeployments.body(),
            With::Forbidden => Refusal::Forbidden.body(),
            With::Leaderless => message("Could not determine the current leader"),
        };
        let mut response = respond(status, "application/json", body.to_string());
        // A standby that knows no leader cannot name one.
        if with != With::Leaderless {
            self.mark(&mut response);
        }
        response
    }
}
