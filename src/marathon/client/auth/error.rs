//! Why we cannot show who we are. No secret is named in the messages.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::model::ErrorClass;

/// Credentials that cannot be used, or a login that did not work.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// The operating system refused.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// A file without a secret, or with more than one can be.
    #[error("{} holds no secret, or more than one can be long: write the password or token and nothing else", .0.display())]
    NotSecret(PathBuf),
    /// Text that no header can carry.
    #[error("{} holds no token that can be sent: it has spaces or control characters in it", .0.display())]
    NotToken(PathBuf),
    /// Not the secret of a service account.
    #[error(
        "{} is no service account: {message}; write JSON with uid, private_key, login_endpoint and scheme RS256, as \
         `dcos security secrets create-sa-secret` does",
        path.display()
    )]
    NotAccount {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// The login was refused.
    #[error("{endpoint} does not let us log in (status {status}): {message}")]
    Refused {
        /// Where.
        endpoint: String,
        /// The status code.
        status: u16,
        /// The first words of the answer.
        message: String,
    },
    /// The login did not work this time. A throttled login (429) and one that took too long (408) are among it: the
    /// account is not refused.
    #[error("{endpoint} gives no token (status {status}): {message}")]
    Unavailable {
        /// Where.
        endpoint: String,
        /// The status code.
        status: u16,
        /// What is wrong.
        message: String,
        /// How long we are asked to wait, where we are.
        retry_after: Option<Duration>,
    },
    /// The connection failed.
    #[error("cannot reach {endpoint} to log in")]
    Transport {
        /// Where.
        endpoint: String,
        /// Why.
        source: reqwest::Error,
    },
    /// The server's certificate is not trusted, so that nothing was sent.
    #[error("{reason}")]
    Certificate {
        /// Whose it is, what is wrong with it and what to do.
        reason: String,
        /// What the TLS library says.
        source: reqwest::Error,
    },
    /// No answer in time.
    #[error("no answer from {endpoint} to the login within {limit:?}")]
    Timeout {
        /// Where.
        endpoint: String,
        /// The limit.
        limit: Duration,
    },
}

impl AuthError {
    /// What to do about it.
    #[must_use]
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::NotSecret(_) | Self::NotToken(_) | Self::NotAccount { .. } | Self::Refused { .. } => {
                ErrorClass::Stall
            }
            Self::Read { .. }
            | Self::Unavailable { .. }
            | Self::Transport { .. }
            | Self::Certificate { .. }
            | Self::Timeout { .. } => ErrorClass::Retry,
        }
    }

    /// A stable word for labels and conditions.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::Read { .. } => "CredentialsRead",
            Self::NotSecret(_) => "CredentialsNotSecret",
            Self::NotToken(_) => "CredentialsNotToken",
            Self::NotAccount { .. } => "CredentialsNotAccount",
            Self::Refused { .. } => "LoginRefused",
            Self::Unavailable { .. } => "LoginUnavailable",
            Self::Transport { .. } => "LoginTransport",
            Self::Certificate { .. } => "LoginCertificate",
            Self::Timeout { .. } => "LoginTimeout",
        }
    }
}
