//! The client: typed calls, each with a deadline and a limit on the answer's length.
//!
//! Full apps are sent with `partialUpdate=false`, because by default a PUT is a patch and a field that was
//! removed stays for ever; `force` is always written out, because its default differs between calls (DELETE
//! of an app forces unless told not to). Writes are never tried again here: after a lost answer the write may have
//! happened, so the caller looks again first. Redirects are followed by hand, within the cluster only, and proxies
//! of the environment are not used: what is configured is what is asked.

mod answer;
mod auth;
mod call;
mod endpoints;
pub mod events;
mod sdk;
mod surface;
mod told;
mod trust;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use reqwest::{Certificate, Method};
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::Semaphore;

use super::error::MarathonError;
use super::model::Info;
use crate::clock::{Clock, Entropy};
use crate::config::{MarathonAuth, MarathonSettings};
use crate::model::{App, AppId};
use crate::telemetry::Metrics;
pub use auth::AuthError;
use auth::Credentials;
use call::{Call, LONGEST_LISTING, READ_TRIES};
use endpoints::Endpoints;
use sdk::{Plans, admin_routers};
use told::Told;

/// How many calls one cluster has to bear from us at once.
const MOST_CALLS: usize = 16;

/// How long a call may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// To get a connection.
    pub connect: Duration,
    /// A GET, to the end of the body.
    pub read: Duration,
    /// A POST, PUT or DELETE. Short, so that a leader that loses its lease does not write late.
    pub write: Duration,
    /// How often a GET is tried within its time.
    pub read_tries: u32,
}

impl Default for Timeouts {
    fn default() -> Self {
        let (connect, read, write) =
            (Duration::from_secs(2), Duration::from_secs(20), Duration::from_secs(3));
        Self { connect, read, write, read_tries: READ_TRIES }
    }
}

/// What comes with every app, asked for by name because the server means to stop giving it unasked.
const EMBED: [(&str, &str); 4] = [
    ("embed", "apps.tasks"),
    ("embed", "apps.deployments"),
    ("embed", "apps.counts"),
    ("embed", "apps.lastTaskFailure"),
];

/// A Marathon. Cheap to clone; clones share connections, credentials and the turns that they take.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    endpoints: Arc<Endpoints>,
    /// Where the schedulers of SDK services are reached; none where that is not known.
    admin_routers: Option<Arc<Endpoints>>,
    plans: Arc<Plans>,
    credentials: Arc<Credentials>,
    turns: Arc<Semaphore>,
    timeouts: Timeouts,
    clock: Clock,
    entropy: Entropy,
    metrics: Metrics,
    told: Arc<Told>,
}

/// A change that Marathon accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// The version that the app gets, if the change changes anything.
    pub version: String,
    /// The deployment that carries it out.
    pub deployment: Option<String>,
}

#[derive(Deserialize)]
struct Apps {
    apps: Vec<App>,
}

#[derive(Deserialize)]
struct OneApp {
    app: App,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DeploymentResult {
    version: String,
    deployment_id: Option<String>,
}

/// Makes ring the TLS provider of this process. Every builder of an HTTP client needs that before it builds.
pub fn install_tls_provider() {
    // Ours is the only provider; whoever comes first installs it.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

impl Client {
    /// A client for the Marathon at a base URL, which may have a path (`/service/marathon`), for callers without
    /// credentials.
    ///
    /// # Errors
    /// When the URL is none, or when the HTTP client cannot be set up.
    pub fn new(
        base: &str,
        timeouts: Timeouts,
        clock: Clock,
        metrics: Metrics,
    ) -> Result<Self, MarathonError> {
        let settings = MarathonSettings::plain(base);
        Self::connect(&settings, timeouts, (clock, Entropy::system()), metrics)
    }

    /// A client for a cluster as it is configured. Certificates and credentials are read here the first time;
    /// nothing is sent yet.
    ///
    /// # Errors
    /// When a URL is none, when a file cannot be used, or when the HTTP client cannot be set up.
    pub fn connect(
        settings: &MarathonSettings,
        timeouts: Timeouts,
        (clock, entropy): (Clock, Entropy),
        metrics: Metrics,
    ) -> Result<Self, MarathonError> {
        let endpoints = Arc::new(Endpoints::new(&settings.urls)?);
        let admin_routers = admin_routers(settings)?.map(Arc::new);
        install_tls_provider();
        // Reading the system's certificates takes a while. Who configures http:// only and logs in nowhere sees no TLS:
        // a redirect to it would have to be to a leader that speaks what its own members do not.
        let plain = endpoints.are_plain()
            && admin_routers.as_ref().is_none_or(|routers| routers.are_plain())
            && !matches!(settings.auth, MarathonAuth::ServiceAccount(_));
        let roots = roots(settings.ca.as_deref())?;
        let http = reqwest::Client::builder()
            .user_agent(concat!("dcos-registry/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(timeouts.connect)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy();
        let http = if plain { http.tls_certs_only(roots) } else { http.tls_certs_merge(roots) };
        let http = http.build().map_err(|error| unusable(error, settings.ca.as_deref()))?;
        let (origin, parts) = (endpoints.first(), (clock.clone(), entropy.clone(), metrics.clone()));
        let credentials = Credentials::new(&settings.auth, http.clone(), origin, parts);
        let credentials = credentials.map_err(|error| MarathonError::Credentials(Arc::new(error)))?;
        Ok(Self {
            told: Arc::new(Told::new(entropy.clone())),
            http,
            endpoints,
            admin_routers,
            plans: Arc::default(),
            credentials: Arc::new(credentials),
            turns: Arc::new(Semaphore::new(MOST_CALLS)),
            timeouts,
            clock,
            entropy,
            metrics,
        })
    }

    /// All apps that the caller may see, with tasks, counts, deployments and last failures. The server leaves
    /// out what the caller may not see without a sign, so absence here proves nothing: ask by id.
    ///
    /// # Errors
    /// See [`MarathonError`].
    pub async fn apps(&self) -> Result<Vec<App>, MarathonError> {
        let call = Call { query: &EMBED, limit: LONGEST_LISTING, ..Call::get("/v2/apps") };
        Ok(self.ask(call).await?.json::<Apps>()?.apps)
    }

    /// One app, always with the same embedded; none if Marathon itself says that it does not exist.
    ///
    /// # Errors
    /// See [`MarathonError`]. A 404 that is not Marathon's is an error and no absence.
    pub async fn app(&self, id: &AppId) -> Result<Option<App>, MarathonError> {
        match self.ask(Call::get(&app_path(id))).await {
            Ok(answer) => Ok(Some(answer.json::<OneApp>()?.app)),
            Err(MarathonError::NotFound { message }) if message.contains("does not exist") => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Creates an app.
    ///
    /// # Errors
    /// [`MarathonError::AlreadyExists`] where there is one. After [`MarathonError::Timeout`],
    /// [`MarathonError::Transport`] or [`MarathonError::Unavailable`] it may have been created.
    pub async fn create(&self, app: &App) -> Result<Written, MarathonError> {
        let body = Value::Object(app.0.clone());
        let query = [("force", "false")];
        let call = Call { verb: Method::POST, query: &query, body: Some(&body), ..Call::get("/v2/apps") };
        let answer = self.ask(call).await?;
        let app: App = answer.json()?;
        let deployment = app.deployments().next().map(Into::into).or(answer.deployment);
        Ok(Written { version: app.version().into(), deployment })
    }

    /// Puts a full app in the place of whatever has that id.
    ///
    /// # Errors
    /// [`MarathonError::Locked`] where a deployment holds it and `force` is not set; else as in
    /// [`Client::create`].
    pub async fn replace(&self, id: &AppId, app: &App, force: bool) -> Result<Written, MarathonError> {
        let mut body = app.0.clone();
        body.insert("id".into(), id.as_str().into());
        let body = Value::Object(body);
        let query = [("partialUpdate", "false"), ("force", word(force))];
        self.write(Call { verb: Method::PUT, query: &query, body: Some(&body), ..Call::get(&app_path(id)) })
            .await
    }

    /// Deletes an app.
    ///
    /// # Errors
    /// [`MarathonError::NotFound`] where there is none, [`MarathonError::Locked`] where a deployment holds it
    /// and `force` is not set; else as in [`Client::create`].
    pub async fn delete(&self, id: &AppId, force: bool) -> Result<Written, MarathonError> {
        let query = [("force", word(force))];
        self.write(Call { verb: Method::DELETE, query: &query, ..Call::get(&app_path(id)) }).await
    }

    /// The server's version and how it was started, asked now and then; none where it never told us. That takes a
    /// permission of its own on DC/OS Enterprise, so callers must do without. While it cannot be asked, what it told
    /// last still counts.
    pub async fn told(&self) -> Option<Info> {
        self.told.get(&self.clock, self.timeouts.read, self.info()).await
    }

    async fn write(&self, call: Call<'_>) -> Result<Written, MarathonError> {
        let answer = self.ask(call).await?;
        let result: DeploymentResult = answer.json()?;
        Ok(Written { version: result.version, deployment: result.deployment_id.or(answer.deployment) })
    }
}

/// The certificates of a PEM file.
fn roots(file: Option<&Path>) -> Result<Vec<Certificate>, MarathonError> {
    let Some(file) = file else { return Ok(Vec::new()) };
    let failed = |source| MarathonError::Ca { path: file.to_owned(), source };
    let pem = std::fs::read(file).map_err(|error| failed(error.into()))?;
    let found = Certificate::from_pem_bundle(&pem).map_err(|error| failed(error.into()))?;
    if found.is_empty() { Err(failed("there is no certificate in it".into())) } else { Ok(found) }
}

/// Certificates are taken apart only where the client is put together.
fn unusable(error: reqwest::Error, ca: Option<&Path>) -> MarathonError {
    match ca {
        Some(path) => MarathonError::Ca { path: path.to_owned(), source: error.into() },
        None => MarathonError::Setup(error),
    }
}

fn word(flag: bool) -> &'static str {
    if flag { "true" } else { "false" }
}

fn app_path(id: &AppId) -> String {
    format!("/v2/apps{id}")
}

#[cfg(test)]
mod tests;
