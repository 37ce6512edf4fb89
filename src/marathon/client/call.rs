//! One call: a turn, who we are, an endpoint, redirects, and another try where that is safe.
//!
//! What is safe. A GET may be asked again, so it goes on to the next endpoint wherever one does not answer as it should:
//! not at all, not in its share of the time, or as a proxy does that has nobody behind it. A write is sent once: after a
//! lost answer it may have happened, so the caller looks again first. Three things are no second try of a write. Another
//! endpoint is asked where no connection came about, so that nothing was sent; not for a POST, which is worth being
//! sure. It is asked, also by a POST, where a standby says that it knows no leader, or sends us to one that is none: the
//! request went no further. And after a refusal for who we are, or a redirect, the server has said that it did nothing.

use std::time::Duration;

use reqwest::{Method, StatusCode, Url, header};
use serde_json::Value;

use super::answer::Answer;
use super::auth::Grant;
use super::endpoints::Attempt;
use super::trust::distrust;
use super::{Client, endpoints};
use crate::marathon::error::MarathonError;
use crate::retry::Delays;

/// The longest listing of apps or deployments that is taken.
pub(super) const LONGEST_LISTING: usize = 64 * 1024 * 1024;

/// The longest answer to anything else.
pub(super) const LONGEST_ANSWER: usize = 8 * 1024 * 1024;

/// The longest answer to the question who leads.
const LONGEST_LEADER: usize = 4096;

/// How often a GET is tried within its deadline.
pub(super) const READ_TRIES: u32 = 3;

/// Between two tries of a GET, at first and at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));

/// How many redirects are followed: from a standby to the leader, and once more where that changes meanwhile.
const MOST_REDIRECTS: usize = 3;

/// One call.
pub(super) struct Call<'a> {
    pub(super) verb: Method,
    pub(super) path: &'a str,
    pub(super) query: &'a [(&'a str, &'a str)],
    pub(super) body: Option<&'a Value>,
    pub(super) limit: usize,
    pub(super) accept: &'static str,
}

impl<'a> Call<'a> {
    pub(super) fn get(path: &'a str) -> Self {
        Self {
            verb: Method::GET,
            path,
            query: &[],
            body: None,
            limit: LONGEST_ANSWER,
            accept: "application/json",
        }
    }
}

impl Client {
    /// Makes a call. Only answers of success come back.
    pub(super) async fn ask(&self, call: Call<'_>) -> Result<Answer, MarathonError> {
        let limit = if call.verb == Method::GET { self.timeouts.read } else { self.timeouts.write };
        let result = self.clock.timeout(limit, Box::pin(self.tries(&call))).await;
        result.unwrap_or_else(|passed| {
            self.metrics.marathon_request(call.verb.as_str(), None);
            Err(MarathonError::Timeout(passed.0))
        })
    }

    async fn tries(&self, call: &Call<'_>) -> Result<Answer, MarathonError> {
        let mut delays = Delays::new(PAUSES.0, PAUSES.1, self.entropy.clone());
        let mut left = if call.verb == Method::GET { self.timeouts.read_tries } else { 1 };
        loop {
            left = left.saturating_sub(1);
            let result = self.known(call).await;
            match &result {
                Err(error) if left > 0 && passes(error) => self.clock.sleep(delays.next_delay()).await,
                _ => return result,
            }
        }
    }

    /// Shows who we are; once more where that is not accepted any longer.
    async fn known(&self, call: &Call<'_>) -> Result<Answer, MarathonError> {
        // Never closed, so the turn always comes.
        let _turn = self.turns.acquire().await;
        let grant = self.credentials.grant().await.map_err(MarathonError::Credentials)?;
        let result = self.anywhere(call, grant.as_ref()).await;
        let (Err(refused @ MarathonError::Unauthorized { .. }), Some(shown)) = (&result, &grant) else {
            return result;
        };
        tracing::debug!(path = call.path, %refused, "asking again with newer credentials");
        match self.credentials.after_refusal(shown).await.map_err(MarathonError::Credentials)? {
            Some(newer) => self.anywhere(call, Some(&newer)).await,
            None => result,
        }
    }

    async fn anywhere(&self, call: &Call<'_>, grant: Option<&Grant>) -> Result<Answer, MarathonError> {
        let mut result = Err(MarathonError::BaseUrl(String::new()));
        for attempt in self.endpoints.attempts() {
            let asked = self.at(attempt.base, call, grant);
            result = self.in_its_time(&attempt, (&call.verb, self.timeouts.read), asked).await;
            match &result {
                Err(error) if is_away(error) => {
                    if !may_be_asked_elsewhere(&call.verb, error) {
                        break;
                    }
                }
                _ => {
                    attempt.keep();
                    break;
                }
            }
        }
        result
    }

    /// Lets an endpoint have its share of the limit, where another one may be asked afterwards.
    pub(super) async fn in_its_time<T>(
        &self,
        attempt: &Attempt<'_>,
        (verb, limit): (&Method, Duration),
        asked: impl Future<Output = Result<T, MarathonError>>,
    ) -> Result<T, MarathonError> {
        match attempt.share_of(limit).filter(|_| *verb == Method::GET) {
            None => asked.await,
            Some(share) => self.clock.timeout(share, asked).await.unwrap_or_else(|passed| {
                self.metrics.marathon_request(verb.as_str(), None);
                Err(MarathonError::Timeout(passed.0))
            }),
        }
    }

    /// Asks at one endpoint and reads the answer to its end.
    async fn at(&self, base: &Url, call: &Call<'_>, grant: Option<&Grant>) -> Result<Answer, MarathonError> {
        let result = self.answered(base, call, grant).await;
        let code = result.as_ref().ok().map(|answer| answer.status.as_u16());
        self.metrics.marathon_request(call.verb.as_str(), code);
        let answer = result?;
        tracing::debug!(verb = %call.verb, path = call.path, status = answer.status.as_u16(), "asked Marathon");
        if answer.status.is_success() { Ok(answer) } else { Err(answer.error(call.path)) }
    }

    async fn answered(
        &self,
        base: &Url,
        call: &Call<'_>,
        grant: Option<&Grant>,
    ) -> Result<Answer, MarathonError> {
        read(self.respond(base, call, grant).await?, call).await
    }

    /// Asks for an answer that does not end.
    pub(super) async fn stream_anywhere(
        &self,
        call: &Call<'_>,
        grant: Option<&Grant>,
    ) -> Result<reqwest::Response, MarathonError> {
        let mut result = Err(MarathonError::BaseUrl(String::new()));
        for attempt in self.endpoints.attempts() {
            let asked = self.stream_at(attempt.base, call, grant);
            result = self.in_its_time(&attempt, (&call.verb, self.timeouts.read), asked).await;
            if !result.as_ref().is_err_and(is_away) {
                attempt.keep();
                break;
            }
        }
        result
    }

    async fn stream_at(
        &self,
        base: &Url,
        call: &Call<'_>,
        grant: Option<&Grant>,
    ) -> Result<reqwest::Response, MarathonError> {
        let result = self.respond(base, call, grant).await;
        let code = result.as_ref().ok().map(|response| response.status().as_u16());
        self.metrics.marathon_request(call.verb.as_str(), code);
        let response = result?;
        let kind = response.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        if response.status().is_success() && kind.is_some_and(|kind| kind.starts_with(call.accept)) {
            return Ok(response);
        }
        let answer = read(response, call).await?;
        if answer.status.is_success() {
            let message = format!("no {}", call.accept);
            return Err(MarathonError::NotMarathon { status: answer.status.as_u16(), message });
        }
        Err(answer.error(call.path))
    }

    /// Asks at one endpoint and wherever it rightly sends us. The answer's body is not read yet.
    pub(super) async fn respond(
        &self,
        base: &Url,
        call: &Call<'_>,
        grant: Option<&Grant>,
    ) -> Result<reqwest::Response, MarathonError> {
        let mut url = endpoints::route(base, call.path, call.query);
        let mut followed = 0;
        loop {
            let response = self.send(&url, call, grant).await?;
            let Some(location) = redirect(&response) else { return Ok(response) };
            let shown = || endpoints::shown(&url, &location);
            let Some(target) = endpoints::target(&url, &location, call.path) else {
                return Err(MarathonError::Redirected { location: shown() });
            };
            if followed == MOST_REDIRECTS {
                let why = format!("{MOST_REDIRECTS} places in a row redirect");
                return Err(MarathonError::Astray { location: shown(), why });
            }
            if let Some(why) = self.is_foreign(&target, base, grant).await {
                return Err(MarathonError::Astray { location: shown(), why });
            }
            followed += 1;
            url = target;
        }
    }

    /// Why a redirect may not be followed; none where it leads to a place that is configured, or that Marathon calls its
    /// leader.
    async fn is_foreign(&self, target: &Url, base: &Url, grant: Option<&Grant>) -> Option<String> {
        if self.endpoints.hold(target) {
            return None;
        }
        match self.leader_of(base, grant).await {
            Some(leader) if endpoints::is_at(target, &leader) => None,
            Some(leader) => {
                let leader: String = leader.chars().take(200).collect();
                Some(format!("it is none of marathon.url, and /v2/leader names {leader:?}"))
            }
            None => Some("it is none of marathon.url, and /v2/leader names nobody".to_owned()),
        }
    }

    /// What Marathon calls its leader. Only an endpoint that is configured is asked.
    async fn leader_of(&self, base: &Url, grant: Option<&Grant>) -> Option<String> {
        let leader = endpoints::route(base, "/v2/leader", &[]);
        let call = Call { limit: LONGEST_LEADER, ..Call::get("/v2/leader") };
        let answer = read(self.send(&leader, &call, grant).await.ok()?, &call).await.ok()?;
        let answer: Value = serde_json::from_slice(&answer.body).ok()?;
        answer.get("leader")?.as_str().map(str::to_owned)
    }

    pub(super) async fn send(
        &self,
        url: &Url,
        call: &Call<'_>,
        grant: Option<&Grant>,
    ) -> Result<reqwest::Response, MarathonError> {
        let mut request = self.http.request(call.verb.clone(), url.clone());
        request = request.header(header::ACCEPT, call.accept);
        if let Some(grant) = grant {
            request = request.header(header::AUTHORIZATION, grant.header.clone());
        }
        if let Some(body) = call.body {
            request = request.json(body);
        }
        request.send().await.map_err(transport)
    }
}

/// Reads the answer to a call to its end, or to the limit.
pub(super) async fn read(mut response: reqwest::Response, call: &Call<'_>) -> Result<Answer, MarathonError> {
    let deployment = response.headers().get("marathon-deployment-id");
    let deployment = deployment.and_then(|id| id.to_str().ok()).map(Into::into);
    let (from, status) = (endpoints::shown(response.url(), ""), response.status());
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(transport)? {
        if body.len() + chunk.len() > call.limit {
            let question = format!("{} {}", call.verb, call.path);
            return Err(MarathonError::TooLarge { question, limit: call.limit });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Answer { from, status, deployment, body })
}

/// Where an answer sends us. 303 asks to look elsewhere for the outcome, which Marathon never means.
fn redirect(response: &reqwest::Response) -> Option<String> {
    let moved = [
        StatusCode::MOVED_PERMANENTLY,
        StatusCode::FOUND,
        StatusCode::TEMPORARY_REDIRECT,
        StatusCode::PERMANENT_REDIRECT,
    ];
    let location = response.headers().get(header::LOCATION).and_then(|location| location.to_str().ok());
    location.filter(|_| moved.contains(&response.status())).map(Into::into)
}

/// Whether nobody answers at an endpoint who could: it is not there, or nothing is behind it.
pub(super) fn is_away(error: &MarathonError) -> bool {
    passes(error)
        || error.is_unreached()
        || matches!(error, MarathonError::Timeout(_) | MarathonError::Astray { .. })
}

/// Whether the next endpoint may be asked after such an error.
fn may_be_asked_elsewhere(verb: &Method, error: &MarathonError) -> bool {
    match *verb {
        Method::GET => true,
        _ if matches!(error, MarathonError::NoLeader { .. } | MarathonError::Astray { .. }) => true,
        Method::POST => false,
        _ => error.is_unreached(),
    }
}

/// Whether a GET may well succeed a moment later.
fn passes(error: &MarathonError) -> bool {
    match error {
        MarathonError::Transport(_) | MarathonError::NoLeader { .. } => true,
        MarathonError::Unavailable { status, .. } | MarathonError::Proxy { status, .. } => {
            matches!(status, 502..=504)
        }
        _ => false,
    }
}

/// The error without the URL, which may carry what is nobody's business.
pub(super) fn transport(error: reqwest::Error) -> MarathonError {
    match distrust(&error) {
        Some(reason) => MarathonError::Certificate { reason, source: error.without_url() },
        None => MarathonError::Transport(error.without_url()),
    }
}
