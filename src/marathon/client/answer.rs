//! Reads Marathon's answers: what was asked for, or the error that the status and the body mean together.

use reqwest::StatusCode;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::marathon::error::MarathonError;
use crate::marathon::normalize::FieldError;

/// An answer that was read to its end.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    /// `Marathon-Deployment-Id`.
    pub(super) deployment: Option<String>,
    pub(super) body: Vec<u8>,
}

/// The most of a foreign body that gets into a message.
const LONGEST_MESSAGE: usize = 300;

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
            (401, _) => MarathonError::Unauthorized { message },
            (403, Some(_)) if is_limit(&message) => MarathonError::TooManyDeployments { message },
            (403, _) => MarathonError::Forbidden { message },
            (500, Some(_)) if message == "URI not found" => MarathonError::UnknownRoute { path: path.into() },
            (500..=599, _) => MarathonError::Unavailable { status, message },
            (400, Some(_)) => MarathonError::BadRequest { message },
            (404, Some(body)) if body.contains_key("message") => MarathonError::NotFound { message },
            (409, Some(body)) => conflict(&body, message),
            (422, Some(body)) => {
                let details = details_of(&body);
                let message = body.get("message").and_then(Value::as_str).unwrap_or("no reason given").into();
                MarathonError::Invalid { message, details }
            }
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

/// `details: [{path, errors: [..]}]`, one entry per error.
fn details_of(body: &Map<String, Value>) -> Vec<FieldError> {
    let mut details = Vec::new();
    for detail in body.get("details").and_then(Value::as_array).into_iter().flatten() {
        let path = detail.get("path").and_then(Value::as_str).unwrap_or_default();
        let errors = detail.get("errors").and_then(Value::as_array);
        for error in errors.into_iter().flatten().filter_map(Value::as_str) {
            details.push(FieldError { path: path.into(), message: error.into() });
        }
    }
    details
}
