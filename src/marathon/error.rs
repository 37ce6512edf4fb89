//! What can go wrong between us and Marathon: one variant per case.
//!
//! Some status codes have two meanings (403, 409) and some meanings have two codes; what tells them apart
//! stands in `api/MarathonExceptionMapper.scala` and the resource files of mesosphere/marathon. In front of
//! Marathon may be a proxy (Admin Router) that answers in HTML; a standby that knows no leader answers for itself
//! (`api/LeaderProxyFilter.scala`).

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::client::AuthError;
use super::normalize::FieldError;
use crate::model::ErrorClass;

/// A call that did not end with the answer it asked for.
#[derive(Debug, thiserror::Error)]
pub enum MarathonError {
    /// The base URL cannot be used.
    #[error("{0:?} is no base URL of a Marathon: write http://host:port or https://host/path")]
    BaseUrl(String),
    /// The HTTP client cannot be set up.
    #[error("cannot set up the HTTP client for Marathon")]
    Setup(#[source] reqwest::Error),
    /// The file of certificates cannot be used.
    #[error("cannot use the certificates in {}", path.display())]
    Ca {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// We cannot show who we are. Nothing was sent to Marathon, or it was refused.
    #[error("cannot log in at Marathon")]
    Credentials(#[source] Arc<AuthError>),
    /// The app is held by deployments (409).
    #[error("the app is locked by {}", locked_by(.deployments))]
    Locked {
        /// Their ids.
        deployments: Vec<String>,
    },
    /// A POST met an app of the same id (409).
    #[error("an app of this id exists: {message}")]
    AlreadyExists {
        /// Marathon's words.
        message: String,
    },
    /// Another change came between (409 of a PUT or DELETE).
    #[error("conflicts with another change: {message}")]
    Conflict {
        /// Marathon's words.
        message: String,
    },
    /// The cluster runs as many deployments as it may (403). Force does not help.
    #[error("too many deployments are running: {message}")]
    TooManyDeployments {
        /// Marathon's words.
        message: String,
    },
    /// The caller may not do that (403).
    #[error("not allowed: {message}")]
    Forbidden {
        /// Marathon's words, or the proxy's.
        message: String,
    },
    /// The caller is not known (401), also after another login. So says a plugin whose backend is away, too.
    #[error("not logged in: {message}")]
    Unauthorized {
        /// Marathon's words, or the proxy's.
        message: String,
    },
    /// The definition is not valid (422).
    #[error("Marathon refuses the definition: {message}{}", listed(.details))]
    Invalid {
        /// Marathon's words.
        message: String,
        /// The places; empty where it names none.
        details: Vec<FieldError>,
    },
    /// The request is malformed (400), or the verb or the form is not served there (405, 406, 415); our mistake.
    #[error("Marathon does not understand the request: {message}")]
    BadRequest {
        /// Marathon's words.
        message: String,
    },
    /// The app or deployment does not exist (404 in Marathon's own form).
    #[error("not found: {message}")]
    NotFound {
        /// Marathon's words.
        message: String,
    },
    /// Marathon has no such route (500 with its own words).
    #[error("this Marathon does not know the route {path}")]
    UnknownRoute {
        /// The path.
        path: String,
    },
    /// 404, and not in Marathon's form: nothing of ours is known to whoever answers. Says nothing about apps.
    #[error("nobody knows a Marathon there (404): {message}; check marathon.url and its path")]
    WrongPath {
        /// The first words of the answer.
        message: String,
    },
    /// A standby that knows no leader, or does not reach it (502, 503). The request went no further.
    #[error("Marathon has no leader just now (status {status}): {message}")]
    NoLeader {
        /// The status code.
        status: u16,
        /// Marathon's words.
        message: String,
    },
    /// HTML instead of Marathon's JSON, with an error: Admin Router, another proxy, or the servlet container.
    /// What lies behind it may have done what was asked.
    #[error("a proxy answers in Marathon's place (status {status}): {message}")]
    Proxy {
        /// The status code.
        status: u16,
        /// The first words of the answer.
        message: String,
    },
    /// An error inside (5xx).
    #[error("Marathon is not available (status {status}): {message}")]
    Unavailable {
        /// The status code.
        status: u16,
        /// The first words of the answer.
        message: String,
    },
    /// Something answered that is not Marathon, or not as it should.
    #[error("the answer is not Marathon's (status {status}): {message}")]
    NotMarathon {
        /// The status code.
        status: u16,
        /// What is wrong, or the first words of the answer.
        message: String,
    },
    /// Sent elsewhere, where we do not follow: to another route, such as a page for people to log in, or away from TLS.
    /// Nothing was done.
    #[error("redirects to {location}, which is not followed: it is another route, or not over TLS as before")]
    Redirected {
        /// Where to, without a query.
        location: String,
    },
    /// Sent on with the same question, as a standby does to its leader, but not to a place that we know, or in circles. So
    /// it is while the leader changes; nothing was done.
    #[error(
        "redirects to {location} as to its leader, which is not followed: {why}; that passes with an election, and if it does \
         not, add that place to marathon.url"
    )]
    Astray {
        /// Where to, without a query.
        location: String,
        /// What speaks against it.
        why: String,
    },
    /// Sent elsewhere without being told where (3xx without a place that a client may go to by itself). Marathon
    /// never answers so.
    #[error(
        "{from} answers with status {status}, a redirect that leads nowhere{}; Marathon does not do so: see which proxy or \
         page to log in stands before it there, and correct that or marathon.url",
        in_words(.message)
    )]
    RedirectedNowhere {
        /// What answers, without a query.
        from: String,
        /// The status code.
        status: u16,
        /// The first words of the answer.
        message: String,
    },
    /// The stream of events was closed, as it is where the leader changes.
    #[error("the stream of events ended")]
    StreamEnded,
    /// The connection failed. A write may have arrived all the same.
    #[error("cannot reach Marathon")]
    Transport(#[source] reqwest::Error),
    /// The server's certificate is not trusted, so that nothing was sent.
    #[error("{reason}")]
    Certificate {
        /// Whose it is, what is wrong with it and what to do.
        reason: String,
        /// What the TLS library says.
        source: reqwest::Error,
    },
    /// No answer in time. A write may have arrived all the same.
    #[error("no answer from Marathon within {0:?}")]
    Timeout(Duration),
    /// The answer is longer than we take.
    #[error(
        "the answer to {question} is longer than {limit} bytes and is not read to its end: ask the same by hand; if \
         something else than Marathon answers, correct marathon.url; if there is so much to tell, let the user of \
         marathon.auth see only the groups that are managed here, because Marathon lists what one may see"
    )]
    TooLarge {
        /// Verb and path.
        question: String,
        /// The most that is taken.
        limit: usize,
    },
}

impl MarathonError {
    /// What to do about it.
    #[must_use]
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::BaseUrl(_) | Self::Setup(_) | Self::Ca { .. } => ErrorClass::Fatal,
            Self::Credentials(error) => error.class(),
            Self::Locked { .. } | Self::TooManyDeployments { .. } => ErrorClass::Wait,
            Self::Forbidden { .. }
            | Self::Invalid { .. }
            | Self::BadRequest { .. }
            | Self::UnknownRoute { .. }
            | Self::Redirected { .. }
            | Self::RedirectedNowhere { .. }
            | Self::TooLarge { .. } => ErrorClass::Stall,
            // A 401 that a login just now did not cure may be of a plugin whose backend is away.
            Self::Unauthorized { .. }
            | Self::AlreadyExists { .. }
            | Self::Conflict { .. }
            | Self::NotFound { .. }
            | Self::WrongPath { .. }
            | Self::NoLeader { .. }
            | Self::Astray { .. }
            | Self::Proxy { .. }
            | Self::Unavailable { .. }
            | Self::NotMarathon { .. }
            | Self::StreamEnded
            | Self::Transport(_)
            | Self::Certificate { .. }
            | Self::Timeout(_) => ErrorClass::Retry,
        }
    }

    /// Whether no connection came about, so that nobody heard of the call.
    #[must_use]
    pub fn is_unreached(&self) -> bool {
        match self {
            Self::Transport(error) => error.is_connect(),
            Self::Certificate { .. } => true,
            _ => false,
        }
    }

    /// Whether a write that ended like this may have been stored all the same. Only where it is certain that it
    /// was not may an announced write be struck from the books.
    #[must_use]
    pub fn may_have_been_applied(&self) -> bool {
        match self {
            Self::Transport(_) => !self.is_unreached(),
            Self::Timeout(_)
            | Self::Proxy { .. }
            | Self::Unavailable { .. }
            | Self::NotMarathon { .. }
            | Self::TooLarge { .. } => true,
            _ => false,
        }
    }

    /// Whether Marathon does not take what was sent, and will not take the same another time.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Invalid { .. } | Self::Forbidden { .. } | Self::BadRequest { .. })
    }

    /// A stable word for labels and conditions.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::BaseUrl(_) => "BaseUrl",
            Self::Setup(_) => "Setup",
            Self::Ca { .. } => "Ca",
            Self::Credentials(error) => error.label(),
            Self::Locked { .. } => "Locked",
            Self::AlreadyExists { .. } => "AlreadyExists",
            Self::Conflict { .. } => "Conflict",
            Self::TooManyDeployments { .. } => "TooManyDeployments",
            Self::Forbidden { .. } => "Forbidden",
            Self::Unauthorized { .. } => "Unauthorized",
            Self::Invalid { .. } => "Invalid",
            Self::BadRequest { .. } => "BadRequest",
            Self::NotFound { .. } => "NotFound",
            Self::UnknownRoute { .. } => "UnknownRoute",
            Self::WrongPath { .. } => "WrongPath",
            Self::NoLeader { .. } => "NoLeader",
            Self::Proxy { .. } => "Proxy",
            Self::Unavailable { .. } => "Unavailable",
            Self::Redirected { .. } | Self::RedirectedNowhere { .. } | Self::Astray { .. } => "Redirected",
            Self::NotMarathon { .. } => "NotMarathon",
            Self::StreamEnded => "StreamEnded",
            Self::Transport(_) => "Transport",
            Self::Certificate { .. } => "Certificate",
            Self::Timeout(_) => "Timeout",
            Self::TooLarge { .. } => "TooLarge",
        }
    }
}

fn locked_by(deployments: &[String]) -> String {
    match deployments {
        [] => "a deployment".into(),
        [one] => format!("deployment {one}"),
        many => format!("deployments {}", many.join(", ")),
    }
}

fn in_words(message: &str) -> String {
    if message.is_empty() { String::new() } else { format!(" ({message:?})") }
}

fn listed(details: &[FieldError]) -> String {
    let details: Vec<_> = details.iter().map(ToString::to_string).collect();
    if details.is_empty() { String::new() } else { format!(": {}", details.join("; ")) }
}
