//! The HTTP server: routes, errors, measuring. What is answered comes from `registry` and `controller`.
//!
//! There is no route here that changes anything.

mod api;
mod files;
mod measure;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::serve::ListenerExt as _;
use tokio::net::TcpListener;
use tracing::{debug, info};

pub use api::StatusDocument;

use crate::clock::Clock;
use crate::controller::Controller;
use crate::model::ErrorClass;
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
    /// The metrics.
    pub metrics: Metrics,
    /// Time.
    pub clock: Clock,
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

/// How long requests that run may take to end once the server stops. Less than what `up` waits for its workers.
const GRACE: Duration = Duration::from_secs(1);

/// Serves until the workers are told to stop; requests that run are finished, unless that takes long: a slow
/// download must not keep the process, and its client asks for the rest by a range.
pub fn serve(listener: TcpListener, site: Arc<Site>, workers: &Workers) {
    let stop = workers.stop_signal();
    // Without TCP_NODELAY small files are eleven times slower (storage-ha-perf.md 4.2 measured it).
    let listener = listener.tap_io(|stream| {
        if let Err(error) = stream.set_nodelay(true) {
            debug!(%error, "TCP_NODELAY could not be set");
        }
    });
    let (clock, stopping) = (site.clock.clone(), stop.clone());
    let router = router(site);
    workers.spawn("http", async move {
        let serving = axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned());
        let cut = async {
            stopping.cancelled().await;
            clock.sleep(GRACE).await;
        };
        tokio::select! {
            ended = serving => if let Err(error) = ended {
                tracing::error!(%error, "the HTTP server ended");
            },
            () = cut => info!("requests that were still running are cut off"),
        }
    });
}

/// All routes.
pub fn router(site: Arc<Site>) -> Router {
    Router::new()
        .route("/", get(api::health))
        .route("/health", get(api::health))
        .route("/livez", get(|| async { "ok" }))
        .route("/readyz", get(api::ready))
        .route("/metrics", get(metrics))
        .route("/repo", get(files::repo))
        .route("/resource/{coordinate}/{digest}/{name}", get(files::resource))
        .route("/api/v1/plan", get(api::plan))
        .route("/api/v1/status", get(api::status))
        .method_not_allowed_fallback(|| async {
            let message = "nothing can be changed here; only GET and HEAD are answered";
            problem(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", message)
        })
        .fallback(|| async { problem(StatusCode::NOT_FOUND, "NotFound", "there is nothing at this path") })
        .layer(axum::middleware::from_fn_with_state(Arc::clone(&site), measure::measure))
        .with_state(site)
}

async fn metrics(State(site): State<Arc<Site>>) -> Response {
    let state = site.storage.catalog.state();
    site.metrics.set_registry(state.version_count(), state.total_bytes());
    let text = site.metrics.render();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}

/// An error as Cosmos writes them: `{type, message}`.
fn problem(status: StatusCode, kind: &str, message: &str) -> Response {
    (status, axum::Json(serde_json::json!({"type": kind, "message": message}))).into_response()
}

/// An error of the library as an answer: what may pass by itself is 503, what will not is 500.
fn failure(class: ErrorClass, label: &str, error: &dyn std::error::Error) -> Response {
    let status = match class {
        ErrorClass::Retry | ErrorClass::Wait => StatusCode::SERVICE_UNAVAILABLE,
        ErrorClass::Stall | ErrorClass::Fatal => StatusCode::INTERNAL_SERVER_ERROR,
    };
    let message = crate::telemetry::chain(error);
    tracing::error!(label, message, "a request failed");
    problem(status, label, &message)
}
