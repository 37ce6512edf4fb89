//! The client: typed calls, each with a deadline and a limit on the answer's length.
//!
//! Full apps are sent with `partialUpdate=false`, because by default a PUT is a patch and a field that was
//! removed stays for ever; `force` is always written out, because its default differs between calls (DELETE
//! of an app forces unless told not to). Nothing is tried again here: after a lost answer the write may have
//! happened, so the caller looks again first. Redirects are not followed and proxies of the environment not
//! used: what is configured is what is asked.

mod answer;

use std::time::Duration;

use reqwest::{Method, Url};
use serde::Deserialize;
use serde_json::Value;

use super::error::MarathonError;
use crate::clock::Clock;
use crate::model::{App, AppId};
use crate::telemetry::Metrics;
use answer::Answer;

/// How long a call may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// To get a connection.
    pub connect: Duration,
    /// A GET, to the end of the body.
    pub read: Duration,
    /// A POST, PUT or DELETE. Short, so that a leader that loses its lease does not write late.
    pub write: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { connect: Duration::from_secs(2), read: Duration::from_secs(20), write: Duration::from_secs(3) }
    }
}

/// The longest listing of apps or deployments that is taken.
const LONGEST_LISTING: usize = 64 * 1024 * 1024;

/// The longest answer to anything else.
const LONGEST_ANSWER: usize = 8 * 1024 * 1024;

/// What comes with every app, asked for by name because the server means to stop giving it unasked.
const EMBED: [(&str, &str); 4] = [
    ("embed", "apps.tasks"),
    ("embed", "apps.deployments"),
    ("embed", "apps.counts"),
    ("embed", "apps.lastTaskFailure"),
];

/// A Marathon. Cheap to clone; clones share connections.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    base: Url,
    timeouts: Timeouts,
    clock: Clock,
    metrics: Metrics,
}

/// A change that Marathon accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// The version that the app gets, if the change changes anything.
    pub version: String,
    /// The deployment that carries it out.
    pub deployment: Option<String>,
}

/// A deployment that is under way.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Deployment {
    /// Its id.
    pub id: String,
    /// The version that it leads to.
    #[serde(default)]
    pub version: String,
    /// The apps that it holds.
    #[serde(default)]
    pub affected_apps: Vec<String>,
    /// The step it is at, from 1.
    #[serde(default)]
    pub current_step: u64,
    /// How many steps it has.
    #[serde(default)]
    pub total_steps: u64,
}

/// What Marathon says about itself.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Info {
    /// Its version, such as `1.11.24`.
    pub version: String,
    /// The leader's address.
    #[serde(default)]
    pub leader: Option<String>,
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

/// One call.
struct Call<'a> {
    verb: Method,
    path: &'a str,
    query: &'a [(&'a str, &'a str)],
    body: Option<&'a Value>,
    limit: usize,
}

impl<'a> Call<'a> {
    fn get(path: &'a str) -> Self {
        Self { verb: Method::GET, path, query: &[], body: None, limit: LONGEST_ANSWER }
    }
}

/// Makes ring the TLS provider of this process. Every builder of an HTTP client needs that before it builds.
pub fn install_tls_provider() {
    // Ours is the only provider; whoever comes first installs it.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

impl Client {
    /// A client for the Marathon at a base URL, which may have a path (`/service/marathon`).
    ///
    /// # Errors
    /// When the URL is none, or when the HTTP client cannot be set up.
    pub fn new(
        base: &str,
        timeouts: Timeouts,
        clock: Clock,
        metrics: Metrics,
    ) -> Result<Self, MarathonError> {
        let base = base_url(base).ok_or_else(|| MarathonError::BaseUrl(base.into()))?;
        install_tls_provider();
        let http = reqwest::Client::builder()
            .connect_timeout(timeouts.connect)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
            .build()
            .map_err(MarathonError::Setup)?;
        Ok(Self { http, base, timeouts, clock, metrics })
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

    /// The deployments under way that the caller may see.
    ///
    /// # Errors
    /// See [`MarathonError`].
    pub async fn deployments(&self) -> Result<Vec<Deployment>, MarathonError> {
        self.ask(Call { limit: LONGEST_LISTING, ..Call::get("/v2/deployments") }).await?.json()
    }

    /// What Marathon says about itself; a caller without permission must do without.
    ///
    /// # Errors
    /// See [`MarathonError`].
    pub async fn info(&self) -> Result<Info, MarathonError> {
        self.ask(Call::get("/v2/info")).await?.json()
    }

    /// Whether it answers at all; needs no permission.
    ///
    /// # Errors
    /// See [`MarathonError`].
    pub async fn ping(&self) -> Result<(), MarathonError> {
        self.ask(Call::get("/ping")).await.map(|_| ())
    }

    async fn write(&self, call: Call<'_>) -> Result<Written, MarathonError> {
        let answer = self.ask(call).await?;
        let result: DeploymentResult = answer.json()?;
        Ok(Written { version: result.version, deployment: result.deployment_id.or(answer.deployment) })
    }

    /// Makes a call and counts it. Only answers of success come back.
    async fn ask(&self, call: Call<'_>) -> Result<Answer, MarathonError> {
        let (verb, path) = (call.verb.clone(), call.path);
        let limit = if verb == Method::GET { self.timeouts.read } else { self.timeouts.write };
        let result = self.clock.timeout(limit, self.send(&call)).await;
        let result = result.unwrap_or_else(|passed| Err(MarathonError::Timeout(passed.0)));
        let code = result.as_ref().ok().map(|answer| answer.status.as_u16());
        self.metrics.marathon_request(verb.as_str(), code);
        let answer = result?;
        tracing::debug!(%verb, path, status = answer.status.as_u16(), "asked Marathon");
        if answer.status.is_success() { Ok(answer) } else { Err(answer.error(path)) }
    }

    async fn send(&self, call: &Call<'_>) -> Result<Answer, MarathonError> {
        let mut url = self.base.clone();
        url.set_path(&format!("{}{}", self.base.path().trim_end_matches('/'), call.path));
        let request = self.http.request(call.verb.clone(), url).query(call.query);
        let mut request = request.header(reqwest::header::ACCEPT, "application/json");
        if let Some(body) = call.body {
            request = request.json(body);
        }
        let mut response = request.send().await.map_err(transport)?;
        let deployment = response.headers().get("marathon-deployment-id");
        let deployment = deployment.and_then(|id| id.to_str().ok()).map(Into::into);
        let status = response.status();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(transport)? {
            if body.len() + chunk.len() > call.limit {
                return Err(MarathonError::TooLarge { limit: call.limit });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer { status, deployment, body })
    }
}

/// The error without the URL, which may carry what is nobody's business.
fn transport(error: reqwest::Error) -> MarathonError {
    MarathonError::Transport(error.without_url())
}

fn word(flag: bool) -> &'static str {
    if flag { "true" } else { "false" }
}

fn app_path(id: &AppId) -> String {
    format!("/v2/apps{id}")
}

/// Only what we can extend by a path: http(s), a host, no query and no password.
fn base_url(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    let plain = url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
    let usable = matches!(url.scheme(), "http" | "https") && url.has_host() && url.password().is_none();
    (plain && usable).then_some(url)
}

#[cfg(test)]
mod tests;
