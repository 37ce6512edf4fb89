//! The HTTP server: routes, who may use them, limits, TLS, errors, measuring. What is answered comes from
//! `registry` and `controller`.
//!
//! A route that changes something needs no word on who may: [`access`] closes every method but GET, HEAD and
//! OPTIONS on all paths. It does need [`body::limited`] where it streams a body.

mod access;
mod answer;
mod api;
pub mod body;
mod files;
mod heads;
mod hot;
mod measure;
mod packages;
pub(crate) mod page;
mod requests;
mod server;
pub(crate) mod stall;
mod tls;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use tokio::net::TcpListener;

pub use access::Access;
use answer::{failure, problem};
pub use api::{LeadDocument, StatusDocument};
pub use hot::Hot;
pub use tls::{Tls, TlsError};

use crate::clock::{Clock, Entropy};
use crate::controller::Controller;
use crate::controller::leader::Leader;
use crate::model::ErrorClass;
use crate::registry::intake::Intake;
use crate::registry::repo::Repo;
use crate::storage::Storage;
use crate::telemetry::Metrics;
use crate::workers::Workers;

/// What the handlers answer from.
pub struct Site {
    /// The registry's storage.
    pub storage: Arc<Storage>,
    /// The repository documents.
    pub repo: Repo,
    /// The controller, where one runs in this process.
    pub controller: Option<Arc<Controller>>,
    /// Who leads or would like to, where this process takes part in that.
    pub leader: Option<Arc<Leader>>,
    /// The door for bundles.
    pub intake: Intake,
    /// Answers that are kept in memory.
    pub hot: Hot,
    /// The metrics.
    pub metrics: Metrics,
    /// Time.
    pub clock: Clock,
    /// Randomness, for the names of requests.
    pub entropy: Entropy,
}

/// How long an answer waits for the newest state of the catalog.
const FRESHNESS: Duration = Duration::from_secs(2);

impl Site {
    /// Makes sure that the catalog is known as it was when the request came. False when it could not be read: what
    /// is known is served then, and nothing is said not to be there.
    async fn refresh(&self) -> bool {
        if self.storage.is_exclusive() {
            return true;
        }
        matches!(self.clock.timeout(FRESHNESS, self.storage.catalog.follow()).await, Ok(Ok(_)))
    }
}

/// A server that could not be started.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// Somebody else listens there, or the address is not ours.
    #[error("cannot listen on {address}; is something else using the port? choose another with {option}")]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// The option that chooses another.
        option: &'static str,
        /// The system's reason.
        source: std::io::Error,
    },
}

impl HttpError {
    /// What the error asks for.
    #[must_use]
    pub fn class(&self) -> ErrorClass {
        ErrorClass::Fatal
    }

    /// The error as a label.
    #[must_use]
    pub fn label(&self) -> &'static str {
        "ListenFailed"
    }
}

/// Takes the port that an option of the command line names, so that a taken one is known before anything else
/// is touched.
///
/// # Errors
/// When it cannot be had.
pub async fn listen(address: SocketAddr, option: &'static str) -> Result<TcpListener, HttpError> {
    TcpListener::bind(address).await.map_err(|source| HttpError::Listen { address, option, source })
}

/// Where the server listens, and for whom.
pub struct Door {
    /// The port.
    pub listener: TcpListener,
    /// Certificate and key; without them it is plain HTTP.
    pub tls: Option<Arc<Tls>>,
    /// Who may change something.
    pub access: Access,
}

impl Door {
    /// Plain HTTP; changes come from loopback only.
    #[must_use]
    pub fn plain(listener: TcpListener) -> Self {
        Self { listener, tls: None, access: Access::loopback_only() }
    }
}

/// Serves until the workers are told to stop; requests that run are finished, unless that takes long.
pub fn serve(door: Door, site: Arc<Site>, workers: &Workers) {
    let clock = site.clock.clone();
    let quick = files::quick(Arc::clone(&site));
    server::spawn(door.listener, door.tls, (router(site, door.access), quick), clock, workers);
}

/// All routes.
pub fn router(site: Arc<Site>, access: Access) -> Router {
    let bundles = post(packages::upload).get(packages::list);
    let bundles = body::limited(bundles, site.intake.largest(), site.clock.clone());
    let routes = Router::new()
        .route("/", get(api::health))
        .route("/health", get(api::health))
        .route("/livez", get(|| async { "ok" }))
        .route("/readyz", get(api::ready))
        .route("/metrics", get(metrics))
        .route("/repo", get(files::repo))
        .route(files::RESOURCE, get(files::resource))
        .route("/api/v1/plan", get(api::plan))
        .route("/api/v1/status", get(api::status))
        .route("/api/v1/reconcile", post(requests::reconcile))
        .route("/api/v1/suspend", post(requests::suspend))
        .route("/api/v1/resume", post(requests::resume))
        .route("/api/v1/requests/{id}", get(requests::answer))
        .route("/api/v1/storage/gc", post(requests::gc))
        .route("/api/v1/storage/scrub", post(requests::scrub))
        .route("/api/v1/packages", bundles)
        .route("/api/v1/packages/{name}/{version}", get(packages::show).delete(packages::remove))
        .method_not_allowed_fallback(|| async {
            let message = "this path does not take this method; see Allow for those that it takes";
            problem(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", message)
        })
        .fallback(|| async { problem(StatusCode::NOT_FOUND, "NotFound", "there is nothing at this path") })
        .layer(DefaultBodyLimit::max(body::COLLECTED))
        .with_state(Arc::clone(&site));
    // These come last, so that they stand before everything.
    access::protect(routes, access).layer(axum::middleware::from_fn_with_state(site, measure::measure))
}

async fn metrics(State(site): State<Arc<Site>>) -> Response {
    let state = site.storage.catalog.state();
    site.metrics.set_registry(state.version_count(), state.total_bytes());
    site.metrics.set_writing(site.storage.writing().label());
    let text = site.metrics.render();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}

#[cfg(test)]
mod tests;
