//! Asks a running daemon.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::DEFAULT_SERVER;

/// The longest answer that is read.
const LONGEST_ANSWER: usize = 256 * 1024 * 1024;

/// How long a question may take.
const QUESTION: Duration = Duration::from_secs(40);

/// How long work may take that was ordered.
const ORDER: Duration = Duration::from_secs(6 * 3600);

/// Which daemon.
#[derive(clap::Args)]
pub struct ServerArgument {
    /// URL of the daemon
    #[arg(long, value_name = "URL", default_value = DEFAULT_SERVER)]
    pub server: String,
}

/// A daemon that did not answer as one.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// Nobody listens, or the connection broke.
    #[error(
        "no daemon answers at {server}; start one with `dcos-registry up`, or name another with --server"
    )]
    Unreachable {
        /// Where it was looked for.
        server: String,
        /// The transport's reason.
        source: reqwest::Error,
    },
    /// It answered with an error.
    #[error("the daemon at {server} answered {status}: {message}")]
    Refused {
        /// Which daemon.
        server: String,
        /// The HTTP status.
        status: u16,
        /// Its message.
        message: String,
        /// What else it says, for programs.
        data: Option<serde_json::Value>,
    },
    /// It is something else than a daemon of ours.
    #[error("what answers at {server} is no dcos-registry of this version")]
    Strange {
        /// Where.
        server: String,
        /// What could not be read.
        source: serde_json::Error,
    },
}

/// GETs a JSON document.
///
/// # Errors
/// When there is no daemon, or it has no answer.
pub async fn ask<T: DeserializeOwned>(server: &str, path: &str) -> Result<T, DaemonError> {
    let request = client(server, QUESTION)?.get(url(server, path));
    answer(server, request).await
}

/// POSTs a JSON document, which may take long, and reads another one.
///
/// # Errors
/// When there is no daemon, or it refuses.
pub async fn order<T: DeserializeOwned>(
    server: &str,
    path: &str,
    order: &impl Serialize,
    token: Option<&str>,
) -> Result<T, DaemonError> {
    let request = client(server, ORDER)?.post(url(server, path)).json(order);
    let request = match token {
        Some(token) => request.bearer_auth(token),
        None => request,
    };
    answer(server, request).await
}

fn url(server: &str, path: &str) -> String {
    format!("{}{path}", server.trim_end_matches('/'))
}

fn client(server: &str, limit: Duration) -> Result<reqwest::Client, DaemonError> {
    crate::marathon::install_tls_provider();
    reqwest::Client::builder()
        .connect_timeout(Duration::from_secs(5))
        .timeout(limit)
        .no_proxy()
        .build()
        .map_err(|source| DaemonError::Unreachable { server: server.to_owned(), source })
}

async fn answer<T: DeserializeOwned>(
    server: &str,
    request: reqwest::RequestBuilder,
) -> Result<T, DaemonError> {
    let unreachable = |source| DaemonError::Unreachable { server: server.to_owned(), source };
    let mut response = request.send().await.map_err(unreachable)?;
    let status = response.status();
    let mut body = Vec::new();
    while let Some(piece) = response.chunk().await.map_err(unreachable)? {
        body.extend_from_slice(&piece);
        if body.len() > LONGEST_ANSWER {
            break;
        }
    }
    if !status.is_success() {
        let json: Option<serde_json::Value> = serde_json::from_slice(&body).ok();
        let message =
            json.as_ref().and_then(|json| json.get("message")?.as_str()).unwrap_or("no reason given");
        let (server, status, message) = (server.to_owned(), status.as_u16(), message.to_owned());
        let data = json.as_ref().and_then(|json| json.get("data")).cloned();
        return Err(DaemonError::Refused { server, status, message, data });
    }
    serde_json::from_slice(&body).map_err(|source| DaemonError::Strange { server: server.to_owned(), source })
}
