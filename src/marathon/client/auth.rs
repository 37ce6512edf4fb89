//! Who we are to Marathon: nobody, a user with a password, the bearer of a token, or a service account of DC/OS.
//!
//! DC/OS reads `Authorization: token=<token>`, without the word Bearer (Admin Router, `service-login` in the DC/OS
//! documents). Passwords and tokens come from files, which are read again when they change and when they are
//! refused. Nothing here has a Debug or Display that shows a secret; header values are marked sensitive.

mod account;
mod error;
mod file;

use std::sync::Arc;

use data_encoding::BASE64;
use reqwest::Url;
use reqwest::header::HeaderValue;

use crate::clock::{Clock, Entropy};
use crate::config::MarathonAuth;
use crate::telemetry::Metrics;
use account::Account;
pub use error::AuthError;
use file::SecretFile;

/// What a request shows, and which login it comes from.
#[derive(Clone)]
pub(super) struct Grant {
    pub(super) header: HeaderValue,
    /// Counts logins, so that a refusal is not taken for one of a newer token.
    generation: u64,
}

/// Where grants come from.
pub(super) enum Credentials {
    None,
    Basic { user: String, password: SecretFile },
    Token(SecretFile),
    Account(Box<Account>),
}

impl Credentials {
    /// Reads what there is to read, so that a bad file is told at the start and not at the first call. Tokens of
    /// accounts are fetched over `http`, at `/acs/api/v1/auth/login` of `origin` where the account names no place.
    pub(super) fn new(
        auth: &MarathonAuth,
        http: reqwest::Client,
        origin: &Url,
        parts: (Clock, Entropy, Metrics),
    ) -> Result<Self, AuthError> {
        let credentials = match auth {
            MarathonAuth::None => Self::None,
            MarathonAuth::Basic { user, password } => {
                Self::Basic { user: user.clone(), password: SecretFile::new(password.clone()) }
            }
            MarathonAuth::Token(path) => Self::Token(SecretFile::new(path.clone())),
            MarathonAuth::ServiceAccount(path) => {
                Self::Account(Box::new(Account::new(path.clone(), http, origin.clone(), parts)))
            }
        };
        match &credentials {
            Self::None => {}
            Self::Basic { password, .. } => drop(password.read()?),
            Self::Token(file) => drop(bearer(file)?),
            Self::Account(account) => account.check()?,
        }
        Ok(credentials)
    }

    /// What to show; none where nobody asks who we are.
    pub(super) async fn grant(&self) -> Result<Option<Grant>, Arc<AuthError>> {
        match self {
            Self::None => Ok(None),
            Self::Basic { user, password } => Ok(Some(basic(user, password)?)),
            Self::Token(file) => Ok(Some(bearer(file)?)),
            Self::Account(account) => account.grant().await.map(Some),
        }
    }

    /// What to show after a refusal; none where there is nothing newer than what was refused.
    pub(super) async fn after_refusal(&self, refused: &Grant) -> Result<Option<Grant>, Arc<AuthError>> {
        let grant = match self {
            Self::None => return Ok(None),
            Self::Basic { user, password } => {
                password.forget();
                basic(user, password)?
            }
            Self::Token(file) => {
                file.forget();
                bearer(file)?
            }
            Self::Account(account) => return account.after_refusal(refused.generation).await.map(Some),
        };
        Ok(Some(grant).filter(|grant| grant.header != refused.header))
    }
}

fn basic(user: &str, password: &SecretFile) -> Result<Grant, AuthError> {
    let text = password.read()?;
    if text.expose().contains(char::is_control) {
        return Err(AuthError::NotToken(password.path().to_owned()));
    }
    let pair = BASE64.encode(format!("{user}:{}", text.expose()).as_bytes());
    grant(&format!("Basic {pair}"), 0).ok_or_else(|| AuthError::NotToken(password.path().to_owned()))
}

fn bearer(file: &SecretFile) -> Result<Grant, AuthError> {
    let token = file.read()?;
    if token.expose().contains(char::is_whitespace) {
        return Err(AuthError::NotToken(file.path().to_owned()));
    }
    grant(&format!("token={}", token.expose()), 0).ok_or_else(|| AuthError::NotToken(file.path().to_owned()))
}

fn grant(text: &str, generation: u64) -> Option<Grant> {
    let mut header = HeaderValue::from_str(text).ok()?;
    header.set_sensitive(true);
    Some(Grant { header, generation })
}

#[cfg(test)]
pub(super) use account::KEY;
