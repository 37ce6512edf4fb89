//! Reads Marathon's answers: what was asked for, or the error that the status and the body mean together.

use reqwest::StatusCode;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::marathon::error::MarathonError;
use crate::marathon::normalize::FieldError;

/// An answer that was read to its end.
pub(super) struct Answer {
    /// The URL that answered, without a query.
    pub(super) from: String,
    pub(super) status: StatusCode,
    /// `Marathon-Deployment-Id`.
    pub(super) deployment: Option<String>,
    pub(super) body: Vec<u8>,
}

/// The most of a foreign body that gets into a message.
const LONGEST_MESSAGE: usize = 300;

/// The most faults of a definition that are told.
const MOST_DETAILS: usize = 50;

/// What a standby says when it could not pass a request on (`LeaderProxyFilter.scala`). That a connection to the
/// leader broke or timed out is not among it: the leader may have done what was asked.
const NO_LEADER: [&str; 3] =
    ["Could not determine the current leader", "Connection to leader refused", "Detected proxying loop"];

impl Answer {
    /// Reads the body of a success.
    pub(super) fn json<T: DeserializeOwned>(&self) -> Result<T, MarathonError> {
        serde_json::from_slice(&self.body).map_err(|error| MarathonError::NotMarathon {
            status: self.status.as_u16(),
            message: format!("{error}, in {:?}", self.beginning()),
        })
    }

    /// The error that this answer means.
    pub(super) fn error(&self, path: &str) -> MarathonError {
        let status = self.status.as_u16();
        let object = self.object();
        let message = object.as_ref().map_or_else(|| self.beginning(), message_of);
        match (status, object) {
            (300..=399, _) => MarathonError::RedirectedNowhere { from: self.from.clone(), status, message },
            (401, _) => MarathonError::Unauthorized { message },
            (403, Some(_)) if is_limit(&message) => MarathonError::TooManyDeployments { message },
            (403, _) => MarathonError::Forbidden { message },
            (500, Some(_)) if message == "URI not found" => MarathonError::UnknownRoute { path: path.into() },
            (502 | 503, _) if NO_LEADER.iter().any(|words| message.contains(words)) => {
                MarathonError::NoLeader { status, message }
            }
            (400 | 405 | 406 | 415, Some(_)) => MarathonError::BadRequest { message },
            (404, Some(body)) if body.contains_key("message") => MarathonError::NotFound { message },
            (404, _) => MarathonError::WrongPath { message },
            (409, Some(body)) => conflict(&body, message),
            (422, Some(body)) => {
                let details = details_of(&body);
                let told = if details.is_empty() { message } else { word_of(&body) };
                let message = if told.is_empty() { "no reason given".into() } else { told };
                MarathonError::Invalid { message, details }
            }
            (400..=599, None) if message.starts_with('<') => MarathonError::Proxy { status, message },
            (500..=599, _) => MarathonError::Unavailable { status, message },
            _ => MarathonError::NotMarathon { status, message },
        }
    }

    fn object(&self) -> Option<Map<String, Value>> {
        serde_json::from_slice(&self.body).ok()
    }

    /// The first words of the body, on one line.
    fn beginning(&self) -> String {
        let text = String::from_utf8_lossy(&self.body[..self.body.len().min(4 * LONGEST_MESSAGE)]);
        let words: Vec<_> = text.split_whitespace().collect();
        words.join(" ").chars().take(LONGEST_MESSAGE).collect()
    }
}

/// `message`, and `details` where it is a text, as with JSON that cannot be parsed.
fn message_of(body: &Map<String, Value>) -> String {
    let parts = ["message", "details"].map(|key| body.get(key).and_then(Value::as_str));
    let parts: Vec<_> = parts.into_iter().flatten().collect();
    parts.join(": ").chars().take(LONGEST_MESSAGE).collect()
}

/// Whether a 403 means the limit of running deployments.
fn is_limit(message: &str) -> bool {
    message.starts_with("Max number") && message.contains("deployments")
}

/// A lock names deployments; an id that exists says so; the rest is another change.
fn conflict(body: &Map<String, Value>, message: String) -> MarathonError {
    if let Some(deployments) = body.get("deployments").and_then(Value::as_array) {
        let ids = deployments.iter().filter_map(|d| d.get("id")?.as_str());
        return MarathonError::Locked { deployments: ids.map(Into::into).collect() };
    }
    if message.contains("already exists") {
        return MarathonError::AlreadyExists { message };
    }
    MarathonError::Conflict { message }
}

/// The bare `message`.
fn word_of(body: &Map<String, Value>) -> String {
    let message = body.get("message").and_then(Value::as_str).unwrap_or_default();
    message.chars().take(LONGEST_MESSAGE).collect()
}

/// `details: [{path, errors: [..]}]`, one entry per error. A single one may stand without its list, and plugins
/// write `{"/path": ["error"]}`.
fn details_of(body: &Map<String, Value>) -> Vec<FieldError> {
    let mut details = Vec::new();
    match body.get("details") {
        Some(Value::Array(items)) => items.iter().for_each(|item| detail(item, &mut details)),
        Some(item @ Value::Object(members)) if members.contains_key("errors") => detail(item, &mut details),
        Some(Value::Object(members)) => {
            for (path, errors) in members {
                faults(path, Some(errors), &mut details);
            }
        }
        _ => {}
    }
    details.truncate(MOST_DETAILS);
    details
}

fn detail(item: &Value, details: &mut Vec<FieldError>) {
    match item {
        Value::String(_) => faults("", Some(item), details),
        item => {
            let path = item.get("path").and_then(Value::as_str).unwrap_or_default();
            faults(path, item.get("errors"), details);
        }
    }
}

/// The errors of one place: texts, or one text.
fn faults(path: &str, errors: Option<&Value>, details: &mut Vec<FieldError>) {
    let errors = match errors {
        Some(Value::Array(errors)) => errors.as_slice(),
        Some(error) => std::slice::from_ref(error),
        None => &[],
    };
    for error in errors.iter().filter_map(Value::as_str) {
        let message = error.chars().take(LONGEST_MESSAGE).collect();
        details.push(FieldError { path: path.into(), message });
    }
}
