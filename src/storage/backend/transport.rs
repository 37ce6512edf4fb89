//! The HTTP client below a bucket: our limits, no redirects (a signature is made for one place), no proxy of
//! the environment, no tries of its own; and it remembers what the server calls itself.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use object_store::ClientOptions;
use object_store::client::{HttpClient, HttpConnector, HttpError, HttpRequest, HttpResponse, HttpService};
use reqwest::Certificate;

use super::BackendError;
use crate::marathon::install_tls_provider;

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// How long a client waits; none where nothing limits it.
pub(super) struct Limits {
    pub(super) connect: Duration,
    pub(super) silence: Option<Duration>,
    pub(super) whole: Option<Duration>,
}

/// What answers told besides themselves.
#[derive(Debug, Default)]
pub(super) struct Seen(Mutex<Option<String>>);

impl Seen {
    pub(super) fn server(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, response: &HttpResponse) {
        let server = response.headers().get("server").and_then(|value| value.to_str().ok());
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(server) = server.filter(|server| seen.as_deref() != Some(server)) {
            *seen = Some(server.chars().take(200).collect());
        }
    }
}

/// Gives one client to whoever asks.
#[derive(Debug, Clone)]
pub(super) struct Connector {
    client: reqwest::Client,
    seen: Arc<Seen>,
}

impl Connector {
    /// `plain` says that the server speaks no TLS, so that no certificates are needed.
    pub(super) fn new(
        roots: &[Certificate],
        plain: bool,
        limits: &Limits,
        seen: Arc<Seen>,
    ) -> Result<Self, Cause> {
        install_tls_provider();
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("dcos-registry/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(limits.connect)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy();
        if let Some(silence) = limits.silence {
            builder = builder.read_timeout(silence);
        }
        if let Some(whole) = limits.whole {
            builder = builder.timeout(whole);
        }
        let roots = roots.iter().cloned();
        builder = if plain { builder.tls_certs_only(roots) } else { builder.tls_certs_merge(roots) };
        Ok(Self { client: builder.build()?, seen })
    }
}

impl HttpConnector for Connector {
    fn connect(&self, _options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}

#[async_trait]
impl HttpService for Connector {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let response = self.client.call(request).await?;
        self.seen.note(&response);
        Ok(response)
    }
}

/// The certificates of a PEM file.
pub(super) fn roots(file: Option<&Path>) -> Result<Vec<Certificate>, BackendError> {
    let Some(file) = file else { return Ok(Vec::new()) };
    let failed = |source| BackendError::Ca { path: file.to_owned(), source };
    let pem = std::fs::read(file).map_err(|error| failed(error.into()))?;
    let found = Certificate::from_pem_bundle(&pem).map_err(|error| failed(error.into()))?;
    if found.is_empty() { Err(failed("there is no certificate in it".into())) } else { Ok(found) }
}
