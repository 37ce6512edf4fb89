//! The HTTP API: routes, parameters and bodies on one side, requests to the engine on the other.
//!
//! Source: `api/v2/*Resource.scala` of mesosphere/marathon. Ids hold slashes, so that everything below
//! `/v2/apps/` and the like is one route, taken apart by [`path`].

mod answers;
mod apps;
mod asked;
mod body;
mod connections;
mod groups;
mod guard;
mod heads;
mod local;
mod path;
mod places;
mod pods;
mod query;
mod service;
mod stream;
mod struck;
mod tasks;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::HeaderMap;
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{any, delete, get, post};
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::engine::{Answer, Call, Request};
use super::events::Hub;
use super::faults::Faults;
use super::profile::Profile;
use super::refusal::Refusal;
use super::simulated::Outcomes;
use super::update::Mode;
use crate::clock::{Clock, Entropy};
use crate::model::AppId;
pub use connections::Server;
use query::Parameters;
pub use struck::Cut;

/// The largest body that is read.
const BODY_LIMIT: usize = 4 * 1024 * 1024;

/// How long the engine may take for an answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);

/// How long nobody leads after an abdication.
const ELECTION: Duration = Duration::from_millis(500);

/// What the handlers share.
#[derive(Clone)]
pub struct Api {
    /// Where requests to the engine go.
    pub calls: mpsc::Sender<Call>,
    /// Time.
    pub clock: Clock,
    /// Randomness, for tokens.
    pub entropy: Entropy,
    /// Where it listens.
    pub address: SocketAddr,
    /// Which version of Marathon to be.
    pub profile: Profile,
    /// Who hears of what happens.
    pub events: Arc<Hub>,
    /// What is to go wrong.
    pub faults: Faults,
    /// What becomes of tasks, where they are simulated.
    pub outcomes: Option<Outcomes>,
    /// Ends event streams when the program does.
    pub stop: CancellationToken,
}

/// A body that may be too large or cut off.
type RawBody = Result<Bytes, BytesRejection>;

/// The routes.
pub fn router(api: Api) -> Router {
    let mut router = Router::new()
        .route("/ping", get(async |headers: HeaderMap| answers::pong(&headers)))
        .route("/metrics", get(async |State(api): State<Api>| api.ask(Request::Metrics).await))
        .route("/v2/info", get(async |State(api): State<Api>| api.ask(Request::Info).await))
        .route("/v2/leader", get(async |State(api): State<Api>| api.leader()).delete(abdicate))
        .route("/v2/apps", apps::all())
        .route("/v2/apps/", apps::all())
        .route("/v2/apps/{*path}", any(apps::one))
        .route("/v2/groups", any(groups::root))
        .route("/v2/groups/", any(groups::root))
        .route("/v2/groups/{*path}", any(groups::one))
        .route("/v2/pods", pods::all())
        .route("/v2/pods/", pods::all())
        .route("/v2/pods/{*path}", any(pods::one))
        .route("/v2/tasks", get(tasks::list))
        .route("/v2/tasks/delete", post(tasks::delete))
        .route("/v2/deployments", get(async |State(api): State<Api>| api.ask(Request::Deployments).await))
        .route("/v2/deployments/{id}", delete(cancel_deployment))
        .route("/v2/queue", get(queue))
        .route("/v2/queue/{*path}", delete(reset_delay))
        .route("/v2/events", get(stream::events))
        .route("/local/vips", get(async |State(api): State<Api>| api.ask(Request::Vips).await));
    if api.outcomes.is_some() {
        router = router.merge(service::routes());
    }
    if api.faults.can_be_switched() {
        router = router.merge(local::switches());
    }
    router
        .fallback(async |State(api): State<Api>| api.answer(Err(Refusal::NoRoute)))
        .method_not_allowed_fallback(async |State(api): State<Api>| api.answer(Err(Refusal::NoMethod)))
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .layer(middleware::from_fn_with_state(api.clone(), struck::struck))
        .layer(middleware::from_fn_with_state(api.clone(), guarded))
        .with_state(api)
}

async fn guarded(State(api): State<Api>, request: axum::extract::Request, next: Next) -> Response {
    match guard::check(api.address.ip(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(refusal) => api.answer(Err(refusal)),
    }
}

async fn cancel_deployment(
    State(api): State<Api>,
    Path(id): Path<String>,
    Query(query): Query<Parameters>,
) -> Response {
    api.ask(Request::CancelDeployment(id, query.flag("force", false))).await
}

async fn queue(State(api): State<Api>, Query(query): Query<Parameters>) -> Response {
    api.ask(Request::Queue(query.all("embed").any(|name| name == "lastUnusedOffers"))).await
}

async fn reset_delay(State(api): State<Api>, Path(path): Path<String>) -> Response {
    let request = match path.strip_suffix("/delay") {
        Some(id) => existing(id).map(Request::ResetDelay),
        None => Err(Refusal::NoRoute),
    };
    api.carry_out(request).await
}

async fn abdicate(State(api): State<Api>) -> Response {
    let answer = api.ask(Request::NewLeader).await;
    if !answer.status().is_success() {
        return answer;
    }
    api.faults.lose_leader(ELECTION);
    api.events.cut_all();
    api.answer(Ok(found(json!({"message": "Leadership abdicated"}))))
}

/// The id of an app that should exist: what can be no id, does not.
fn existing(id: &str) -> Result<AppId, Refusal> {
    let id = format!("/{}", id.trim_matches('/'));
    AppId::new(&id).map_err(|_| Refusal::NoApp(id))
}

fn found(body: Value) -> Answer {
    Answer { status: 200, body: Some(body), ..Answer::default() }
}

impl Api {
    async fn carry_out(&self, request: Result<Request, Refusal>) -> Response {
        match request {
            Ok(request) => self.ask(request).await,
            Err(refusal) => self.answer(Err(refusal)),
        }
    }

    async fn ask(&self, request: Request) -> Response {
        let written = request.written_app().cloned();
        let answer = self.call(request).await;
        if let (Some(app), true) = (written, answer.is_ok())
            && let Some(patch) = self.faults.second_writer(&app)
        {
            // Whatever becomes of it: the first writer does not hear of it.
            let _ =
                self.call(Request::Update { id: app, body: patch, mode: Mode::Partial, force: true }).await;
        }
        self.answer(answer)
    }

    async fn call(&self, request: Request) -> Result<Answer, Refusal> {
        let (reply, answer) = oneshot::channel();
        let asked = async {
            self.calls.send(Call { request, reply }).await.ok()?;
            answer.await.ok()
        };
        let answered = self.clock.timeout(ANSWER_LIMIT, asked).await.ok().flatten();
        answered.unwrap_or(Err(Refusal::Unavailable))
    }

    fn leader(&self) -> Response {
        self.answer(Ok(found(json!({"leader": self.address.to_string()}))))
    }
}
