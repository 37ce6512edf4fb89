//! Requests that are not carried out, with the status codes and bodies of the real Marathon.
//!
//! Source: `api/MarathonExceptionMapper.scala` and the resources beside it in mesosphere/marathon.

use std::time::Duration;

use serde_json::{Value, json};

use crate::marathon::normalize::FieldError;
use crate::model::AppId;

/// How many deployments may run at the same time (`max_running_deployments`).
pub const MOST_DEPLOYMENTS: usize = 100;

/// Why a request is not carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No such app.
    #[error("App '{0}' does not exist")]
    NoApp(String),
    /// No such version of the app.
    #[error("App '{0}' does not exist in version {1}")]
    NoVersion(AppId, String),
    /// No such group.
    #[error("Group '{0}' does not exist")]
    NoGroup(String),
    /// No such version of the group.
    #[error("Group {0} not available in version {1}")]
    NoGroupVersion(String, String),
    /// No such pod.
    #[error("Pod '{0}' does not exist")]
    NoPod(String),
    /// No such task or pod instance.
    #[error("Task '{0}' does not exist")]
    NoTask(String),
    /// No such deployment.
    #[error("DeploymentPlan {0} does not exist")]
    NoDeployment(String),
    /// Nothing of that app waits to be launched.
    #[error("Application {0} not found in tasks queue.")]
    NotQueued(AppId),
    /// Deployments hold the app; their ids.
    #[error(
        "App is locked by one or more deployments. Override with the option '?force=true'. \
         View details at '/v2/deployments/<DEPLOYMENT_ID>'."
    )]
    Locked(Vec<String>),
    /// The app to be created exists.
    #[error("An app with id [{0}] already exists.")]
    Exists(AppId),
    /// The pod to be created exists.
    #[error("A pod with id [{0}] already exists.")]
    PodExists(AppId),
    /// The group to be created exists.
    #[error("Group {0} is already created. Use PUT to change this group.")]
    GroupExists(String),
    /// An app has the id that a group is to have.
    #[error("An app with the path {0} already exists.")]
    AppInTheWay(String),
    /// Another kind of thing has the id.
    #[error("Object is not valid")]
    Clash(&'static str),
    /// Something else that is not there.
    #[error("{0}")]
    NotFound(String),
    /// What the client accepts cannot be given.
    #[error("Not Acceptable")]
    NotAcceptable,
    /// Somebody may not do this.
    #[error("Not Authorized to perform this action!")]
    Forbidden,
    /// Too many deployments at once.
    #[error(
        "Max number ({MOST_DEPLOYMENTS}) of running deployments is achieved. Wait for existing deployments to \
         complete or cancel one using force=true parameter. You can increase max deployment number by using \
         --max_running_deployments parameter"
    )]
    TooManyDeployments,
    /// The body is no JSON.
    #[error("Invalid JSON")]
    NoJson(String),
    /// The request contradicts itself or has no body.
    #[error("{0}")]
    BadRequest(String),
    /// Fields of the body are wrong.
    #[error("Object is not valid")]
    Invalid(Vec<FieldError>),
    /// A parameter is wrong.
    #[error("{0}")]
    Argument(String),
    /// What stands for a version is no time.
    #[error("Invalid timestamp provided '{0}'. Expecting ISO-8601 datetime string.")]
    NoTime(String),
    /// There is no such route.
    #[error("URI not found")]
    NoRoute,
    /// There is no such method on the route.
    #[error("Method Not Allowed")]
    NoMethod,
    /// The body is not said to be JSON.
    #[error("HTTP 415 Unsupported Media Type: send the header Content-Type: application/json")]
    NotJson,
    /// A web page of somebody else tries to reach this Marathon through a browser.
    #[error("Requests from web pages of other hosts are refused: {0}")]
    ForeignPage(&'static str),
    /// The body is larger than this Marathon takes.
    #[error("The request body is too large")]
    TooLarge,
    /// The body did not come in in time.
    #[error("The request body did not come in within {} s; send it again", .0.as_secs())]
    Late(Duration),
    /// The body has no end.
    #[error("The request body broke off")]
    BrokenOff,
    /// The change could not be stored.
    #[error("The change could not be stored: {0}")]
    NotStored(String),
    /// This Marathon ends or does not answer in time.
    #[error("The server is shutting down or overloaded")]
    Unavailable,
}

impl Refusal {
    /// The status code.
    pub fn status(&self) -> u16 {
        match self {
            Self::NoJson(_) | Self::BadRequest(_) | Self::BrokenOff => 400,
            Self::TooManyDeployments | Self::ForeignPage(_) | Self::Forbidden => 403,
            Self::NoApp(_)
            | Self::NoVersion(..)
            | Self::NoGroup(_)
            | Self::NoPod(_)
            | Self::NoTask(_)
            | Self::NotFound(_)
            | Self::NoDeployment(_)
            | Self::NotQueued(_) => 404,
            Self::NoMethod => 405,
            Self::NotAcceptable => 406,
            Self::Late(_) => 408,
            Self::Locked(_)
            | Self::Exists(_)
            | Self::PodExists(_)
            | Self::GroupExists(_)
            | Self::AppInTheWay(_) => 409,
            Self::TooLarge => 413,
            Self::NotJson => 415,
            Self::Invalid(_)
            | Self::Argument(_)
            | Self::NoTime(_)
            | Self::NoGroupVersion(..)
            | Self::Clash(_) => 422,
            // An unknown route really is 500 there.
            Self::NoRoute | Self::NotStored(_) => 500,
            Self::Unavailable => 503,
        }
    }

    /// The body.
    pub fn body(&self) -> Value {
        let mut body = json!({"message": self.to_string()});
        match self {
            Self::Locked(ids) => body["deployments"] = ids.iter().map(|id| json!({"id": id})).collect(),
            Self::NoJson(details) => body["details"] = Value::from(details.as_str()),
            Self::Clash(message) => body["details"] = json!([{"path": "/", "errors": [message]}]),
            Self::Invalid(errors) => {
                // A body is read before it is looked at as a whole: where it cannot be read, nothing else is told.
                let unreadable: Vec<_> = errors.iter().filter(|e| is_unreadable(e)).cloned().collect();
                if unreadable.is_empty() {
                    body["details"] = details(errors);
                } else {
                    body["message"] = "Invalid JSON".into();
                    body["details"] = details(&unreadable);
                }
            }
            _ => {}
        }
        body
    }
}

/// Whether a field is missing or of a wrong type: in the words of `normalize` and in ours.
fn is_unreadable(error: &FieldError) -> bool {
    const NOUNS: &[&str] = &["true or false", "a whole number", "a number", "a text", "a list", "an object"];
    let message = error.message.as_str();
    let type_error = message.strip_prefix("must be ").is_some_and(|rest| {
        NOUNS.iter().any(|noun| rest.strip_prefix(noun).is_some_and(|rest| rest.starts_with(", is ")))
    });
    type_error || matches!(message, "is missing" | "is required") || message.starts_with("error.expected.")
}

/// The faults by place, places written as Marathon writes them.
fn details(errors: &[FieldError]) -> Value {
    let mut places: Vec<(String, Vec<&str>)> = Vec::new();
    for error in errors {
        let path = marathon_path(&error.path);
        match places.iter_mut().find(|(known, _)| *known == path) {
            Some((_, messages)) => messages.push(&error.message),
            None => places.push((path, vec![&error.message])),
        }
    }
    places.into_iter().map(|(path, errors)| json!({"path": path, "errors": errors})).collect()
}

/// `/healthChecks/0/path` becomes `/healthChecks(0)/path`; the whole is `/`.
fn marathon_path(pointer: &str) -> String {
    let mut path = String::new();
    for segment in pointer.split('/').skip(1) {
        let is_index = !segment.is_empty() && segment.bytes().all(|b| b.is_ascii_digit());
        let (before, after) = if is_index { ("(", ")") } else { ("/", "") };
        path.extend([before, segment, after]);
    }
    if path.is_empty() { "/".to_owned() } else { path }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_those_of_marathon() {
        let id = AppId::new("/a").unwrap();
        let fault =
            |path: &str, message: &str| FieldError { path: path.to_owned(), message: message.to_owned() };
        for (refusal, status, body) in [
            (Refusal::NoApp("/a".into()), 404, json!({"message": "App '/a' does not exist"})),
            (Refusal::Exists(id), 409, json!({"message": "An app with id [/a] already exists."})),
            (Refusal::NoJson("at 1".into()), 400, json!({"message": "Invalid JSON", "details": "at 1"})),
            (Refusal::NoRoute, 500, json!({"message": "URI not found"})),
            (
                Refusal::Invalid(vec![
                    fault("/healthChecks/0/path", "x"),
                    fault("/id", "y"),
                    fault("/id", "z"),
                    fault("", "w"),
                ]),
                422,
                json!({"message": "Object is not valid", "details": [
                    {"path": "/healthChecks(0)/path", "errors": ["x"]},
                    {"path": "/id", "errors": ["y", "z"]},
                    {"path": "/", "errors": ["w"]},
                ]}),
            ),
        ] {
            assert_eq!((refusal.status(), refusal.body()), (status, body));
        }
        let types = Refusal::Invalid(vec![
            fault("/cmd", "must be a text, is a number"),
            fault("/cpus", "must be 0 or more, is -1"),
        ]);
        let unread = json!([{"path": "/cmd", "errors": ["must be a text, is a number"]}]);
        assert_eq!(types.body(), json!({"message": "Invalid JSON", "details": unread}));
        let locked = Refusal::Locked(vec!["d1".into()]);
        assert_eq!((locked.status(), &locked.body()["deployments"]), (409, &json!([{"id": "d1"}])));
        assert!(locked.to_string().starts_with("App is locked by one or more deployments. Override"));
    }
}
