//! The HTTP API: routes, parameters and bodies on one side, requests to the engine on the other.
//!
//! Source: `api/v2/*Resource.scala` of mesosphere/marathon. Ids hold slashes, so that everything below
//! `/v2/apps/` is one route, taken apart by [`path`].

mod guard;
mod path;
mod query;

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{any, delete, get};
use axum::serve::ListenerExt as _;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::engine::{Answer, Call, Request, Selection};
use super::refusal::Refusal;
use super::update::Mode;
use crate::clock::Clock;
use crate::marathon::normalize::FieldError;
use crate::model::{App, AppId};
use path::Target;
use query::Parameters;

/// The largest body that is read.
const BODY_LIMIT: usize = 4 * 1024 * 1024;

/// How long the engine may take for an answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);

/// What the handlers share.
#[derive(Clone)]
struct Api {
    calls: mpsc::Sender<Call>,
    clock: Clock,
    address: SocketAddr,
}

/// A body that may be too large or cut off.
type RawBody = Result<Bytes, BytesRejection>;

/// The routes.
pub fn router(calls: mpsc::Sender<Call>, clock: Clock, address: SocketAddr) -> Router {
    let api = Api { calls, clock, address };
    Router::new()
        .route("/ping", get(async || "pong"))
        .route("/v2/info", get(async |State(api): State<Api>| api.ask(Request::Info).await))
        .route("/v2/leader", get(async |State(api): State<Api>| api.leader()))
        .route("/v2/apps", get(list_apps).post(create_app))
        .route("/v2/apps/", get(list_apps).post(create_app))
        .route("/v2/apps/{*path}", any(one_app))
        .route("/v2/tasks", get(async |State(api): State<Api>| api.ask(Request::Tasks(None)).await))
        .route("/v2/deployments", get(async |State(api): State<Api>| api.ask(Request::Deployments).await))
        .route("/v2/deployments/{id}", delete(cancel_deployment))
        .route("/v2/queue", get(async |State(api): State<Api>| api.ask(Request::Queue).await))
        .route("/v2/queue/{*path}", delete(reset_delay))
        .fallback(async |State(api): State<Api>| api.answer(Err(Refusal::NoRoute)))
        .method_not_allowed_fallback(async |State(api): State<Api>| api.answer(Err(Refusal::NoMethod)))
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .layer(middleware::from_fn_with_state(api.clone(), guarded))
        .with_state(api)
}

async fn guarded(State(api): State<Api>, request: axum::extract::Request, next: Next) -> Response {
    match guard::check(api.address.ip(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(refusal) => api.answer(Err(refusal)),
    }
}

/// Serves until the signal; requests that are being answered are finished.
pub async fn serve(listener: TcpListener, router: Router, stop: CancellationToken) {
    let listener = listener.tap_io(|connection| {
        // Without it small answers wait for acknowledgements. Failing costs speed only.
        let _ = connection.set_nodelay(true);
    });
    let served = axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await;
    if let Err(error) = served {
        tracing::error!(%error, "the API of the local Marathon ended");
    }
}

async fn list_apps(State(api): State<Api>, Query(query): Query<Parameters>) -> Response {
    match query.selection() {
        Ok(selection) => api.ask(Request::Apps(selection, "apps")).await,
        Err(refusal) => api.answer(Err(refusal)),
    }
}

async fn create_app(
    State(api): State<Api>,
    Query(query): Query<Parameters>,
    headers: HeaderMap,
    body: RawBody,
) -> Response {
    let request = parse(&headers, body).and_then(|app| {
        let id = app.id().ok_or_else(|| fault("/id", "is required"))?;
        let id = AppId::absolute(id).map_err(|e| fault("/id", &e.to_string()))?;
        Ok(Request::Create(id, app, query.flag("force", false)))
    });
    api.carry_out(request).await
}

async fn one_app(
    State(api): State<Api>,
    method: Method,
    Path(path): Path<String>,
    Query(query): Query<Parameters>,
    headers: HeaderMap,
    body: RawBody,
) -> Response {
    let request = match (method.as_str(), Target::of(&path, &method)) {
        ("GET" | "HEAD", Target::Below(group)) => Ok(Request::Apps(
            Selection { group: Some(group), embed: query.embed(), ..Selection::default() },
            "*",
        )),
        ("GET" | "HEAD", Target::App(id)) => existing(&id).map(Request::App),
        ("GET" | "HEAD", Target::Versions(id)) => existing(&id).map(Request::Versions),
        ("GET" | "HEAD", Target::Version(id, version)) => {
            existing(&id).map(|id| Request::Version(id, version))
        }
        ("GET" | "HEAD", Target::Tasks(id)) => existing(&id).map(|id| Request::Tasks(Some(id))),
        ("PUT", Target::App(id)) => put(&id, &query, &headers, body),
        // The default really is true: a delete does not wait for anybody.
        ("DELETE", Target::App(id)) => existing(&id).map(|id| Request::Delete(id, query.flag("force", true))),
        ("POST", Target::Restart(id)) => {
            existing(&id).map(|id| Request::Restart(id, query.flag("force", false)))
        }
        _ => Err(Refusal::NoMethod),
    };
    api.carry_out(request).await
}

fn put(id: &str, query: &Parameters, headers: &HeaderMap, body: RawBody) -> Result<Request, Refusal> {
    let id = AppId::absolute(id).map_err(|e| fault("/id", &e.to_string()))?;
    let mode = if query.flag("partialUpdate", true) { Mode::Partial } else { Mode::Full };
    Ok(Request::Update { id, body: parse(headers, body)?, mode, force: query.flag("force", false) })
}

async fn cancel_deployment(
    State(api): State<Api>,
    Path(id): Path<String>,
    Query(query): Query<Parameters>,
) -> Response {
    api.ask(Request::CancelDeployment(id, query.flag("force", false))).await
}

async fn reset_delay(State(api): State<Api>, Path(path): Path<String>) -> Response {
    let request = match path.strip_suffix("/delay") {
        Some(id) => existing(id.trim_start_matches('/')).map(Request::ResetDelay),
        None => Err(Refusal::NoRoute),
    };
    api.carry_out(request).await
}

/// The id of an app that should exist: what can be no id, does not.
fn existing(id: &str) -> Result<AppId, Refusal> {
    AppId::absolute(id).map_err(|_| Refusal::NoApp(format!("/{id}")))
}

fn parse(headers: &HeaderMap, body: RawBody) -> Result<App, Refusal> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if !kind.trim_start().to_ascii_lowercase().starts_with("application/json") {
        return Err(Refusal::NotJson);
    }
    let body = body.map_err(|_| Refusal::TooLarge)?;
    if body.trim_ascii().is_empty() {
        return Err(Refusal::BadRequest("The request body is empty, an app is expected".to_owned()));
    }
    let value: Value = serde_json::from_slice(&body).map_err(|e| Refusal::NoJson(e.to_string()))?;
    App::from_value(value).ok_or_else(|| fault("", "must be a JSON object"))
}

fn fault(path: &str, message: &str) -> Refusal {
    Refusal::Invalid(vec![FieldError { path: path.to_owned(), message: message.to_owned() }])
}

impl Api {
    async fn carry_out(&self, request: Result<Request, Refusal>) -> Response {
        match request {
            Ok(request) => self.ask(request).await,
            Err(refusal) => self.answer(Err(refusal)),
        }
    }

    async fn ask(&self, request: Request) -> Response {
        let (reply, answer) = oneshot::channel();
        let asked = async {
            self.calls.send(Call { request, reply }).await.ok()?;
            answer.await.ok()
        };
        let answered = self.clock.timeout(ANSWER_LIMIT, asked).await.ok().flatten();
        self.answer(answered.unwrap_or(Err(Refusal::Unavailable)))
    }

    fn leader(&self) -> Response {
        let body = json!({"leader": self.address.to_string()});
        self.answer(Ok(Answer { status: 200, body: Some(body), ..Answer::default() }))
    }

    fn answer(&self, answer: Result<Answer, Refusal>) -> Response {
        let answer = answer.unwrap_or_else(|refusal| Answer {
            status: refusal.status(),
            body: Some(refusal.body()),
            ..Answer::default()
        });
        let body = answer.body.as_ref().map_or_else(Body::empty, |body| Body::from(body.to_string()));
        let mut response = Response::new(body);
        *response.status_mut() =
            StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let leader = format!("http://{}", self.address);
        let json = answer.body.is_some().then(|| "application/json".to_owned());
        for (name, value) in [
            (header::CONTENT_TYPE, json),
            (header::LOCATION, answer.location),
            (HeaderName::from_static("marathon-deployment-id"), answer.deployment),
            (HeaderName::from_static("x-marathon-leader"), Some(leader)),
            (header::CACHE_CONTROL, Some("no-cache, no-store, must-revalidate".to_owned())),
            (header::PRAGMA, Some("no-cache".to_owned())),
            (header::EXPIRES, Some("0".to_owned())),
        ] {
            if let Some(value) = value.and_then(|value| HeaderValue::try_from(value).ok()) {
                response.headers_mut().insert(name, value);
            }
        }
        response
    }
}
