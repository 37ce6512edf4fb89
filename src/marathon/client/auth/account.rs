//! Tokens for a service account of DC/OS.
//!
//! We sign a login token with the account's key (RS256; the IAM refuses a life above ten minutes, and the clocks
//! may differ, so ours live five) and get a token for the cluster in exchange (`security/ent/service-auth` in the
//! DC/OS documents). That one is used until 80 % of its life are over. Then one caller fetches the next while the
//! others go on with the old one; where there is no usable one they wait for that one login, and share its failure.
//! After an answer that asks for patience (429, 408, 5xx) nobody logs in for a while, which grows: that failure is
//! told meanwhile.
//!
//! Why rustls signs: its signer is that of ring, which is in the tree anyway, and it takes both forms of PEM keys.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use data_encoding::BASE64URL_NOPAD;
use reqwest::{Url, header};
use rustls::SignatureScheme;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use serde::Deserialize;
use serde_json::{Value, json};

use super::file::SecretFile;
use super::{AuthError, Grant, grant};
use crate::clock::{Clock, Entropy};
use crate::marathon::client::trust::distrust;
use crate::model::Secret;
use crate::retry::Delays;
use crate::telemetry::{Metrics, chain};

/// How long the login token may be used, in seconds.
const LOGIN_LIFE: i64 = 300;

/// How long a login may take.
const LOGIN_LIMIT: Duration = Duration::from_secs(5);

/// How long an old token serves without another try where a new one was not to be had.
const RENEWAL_PAUSE: Duration = Duration::from_secs(30);

/// How long nobody logs in after an answer that asks for patience, at first and at most; `Retry-After` may ask for more,
/// up to a limit of ours.
const PATIENCE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
const LONGEST_PATIENCE: Duration = Duration::from_secs(300);

/// The life of a token that does not tell it, and bounds for those that do: the clocks may differ.
const UNTOLD_LIFE: Duration = Duration::from_secs(3600);
const SHORTEST_LIFE: Duration = Duration::from_secs(30);
const LONGEST_LIFE: Duration = Duration::from_secs(30 * 24 * 3600);

/// The longest answer to a login.
const LONGEST_ANSWER: usize = 64 << 10;

/// The path of the login where the account names none.
const LOGIN: &str = "/acs/api/v1/auth/login";

/// The secret of an account, as the DC/OS command line makes it.
#[derive(Deserialize)]
struct AccountSecret {
    uid: String,
    private_key: String,
    #[serde(default)]
    login_endpoint: Option<String>,
    #[serde(default)]
    scheme: Option<String>,
}

/// A token with its times on the boot clock.
struct Token {
    grant: Grant,
    renew_at: Duration,
    ends_at: Duration,
}

/// How the last login ended.
struct Last {
    failure: Option<Arc<AuthError>>,
    /// When there may be another one, on the boot clock.
    not_before: Duration,
    delays: Delays,
}

/// An account that logs in when it must.
pub(in crate::marathon::client) struct Account {
    file: SecretFile,
    http: reqwest::Client,
    origin: Url,
    clock: Clock,
    metrics: Metrics,
    token: Mutex<Option<Token>>,
    /// Held by whoever logs in.
    login: tokio::sync::Mutex<Last>,
    /// How many logins ended.
    ended: AtomicU64,
}

impl Account {
    pub(super) fn new(
        path: PathBuf,
        http: reqwest::Client,
        origin: Url,
        (clock, entropy, metrics): (Clock, Entropy, Metrics),
    ) -> Self {
        let delays = Delays::new(PATIENCE.0, PATIENCE.1, entropy);
        let last = Last { failure: None, not_before: Duration::ZERO, delays };
        let (token, login, ended) = (Mutex::default(), tokio::sync::Mutex::new(last), AtomicU64::new(0));
        Self { file: SecretFile::new(path), http, origin, clock, metrics, token, login, ended }
    }

    /// Whether the file holds an account that can sign.
    pub(super) fn check(&self) -> Result<(), AuthError> {
        self.signed().map(drop)
    }

    pub(super) async fn grant(&self) -> Result<Grant, Arc<AuthError>> {
        let now = self.clock.boot();
        let usable = self.with_token(|token| {
            let token = token.as_mut().filter(|token| now < token.ends_at)?;
            let due = now >= token.renew_at;
            if due {
                // Whoever comes next does not try as well, also where this try is given up half-way.
                token.renew_at = now + RENEWAL_PAUSE;
            }
            Some((token.grant.clone(), due))
        });
        match usable {
            Some((grant, false)) => Ok(grant),
            Some((old, true)) => match self.next(old.generation).await {
                Ok(new) => Ok(new),
                Err(error) => {
                    tracing::warn!(error = chain(&*error), "the token for Marathon is not renewed yet");
                    Ok(old)
                }
            },
            None => self.next(0).await,
        }
    }

    /// A token that is newer than the one that was refused.
    pub(super) async fn after_refusal(&self, refused: u64) -> Result<Grant, Arc<AuthError>> {
        self.next(refused).await
    }

    fn with_token<T>(&self, work: impl FnOnce(&mut Option<Token>) -> T) -> T {
        work(&mut self.token.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A token of a later login than the given one; one login however many ask.
    async fn next(&self, before: u64) -> Result<Grant, Arc<AuthError>> {
        let seen = self.ended.load(Ordering::SeqCst);
        let mut last = self.login.lock().await;
        let now = self.clock.boot();
        let newer = self.with_token(|token| {
            let token = token.as_ref()?;
            (token.grant.generation > before && now < token.ends_at).then(|| token.grant.clone())
        });
        if let Some(grant) = newer {
            return Ok(grant);
        }
        // A login that began after we asked failed for us, too.
        let is_ours = self.ended.load(Ordering::SeqCst) != seen;
        if let Some(failure) = last.failure.as_ref().filter(|_| is_ours || now < last.not_before) {
            return Err(Arc::clone(failure));
        }
        let generation = self.with_token(|token| token.as_ref().map_or(0, |token| token.grant.generation));
        let result = self.log_in(generation.max(before) + 1).await.map_err(Arc::new);
        self.ended.fetch_add(1, Ordering::SeqCst);
        self.metrics.marathon_login(match &result {
            Ok(_) => "done",
            Err(error) if matches!(**error, AuthError::Refused { .. }) => "refused",
            Err(_) => "failed",
        });
        last.note(result.as_ref().err(), self.clock.boot());
        let token = result?;
        let grant = token.grant.clone();
        self.with_token(|place| *place = Some(token));
        Ok(grant)
    }

    /// Signs a login token. Returns it with where to bring it.
    fn signed(&self) -> Result<(Url, String, Secret), AuthError> {
        let bad = |message: &str| AuthError::NotAccount {
            path: self.file.path().to_owned(),
            message: message.into(),
        };
        let secret = self.file.read()?;
        // What the parser says may quote the text.
        let key: AccountSecret = serde_json::from_str(secret.expose()).map_err(|error| {
            bad(if error.is_data() { "a member is missing or no text" } else { "no JSON" })
        })?;
        if let Some(scheme) = key.scheme.as_deref().filter(|scheme| *scheme != "RS256") {
            let scheme: String = scheme.chars().take(20).collect();
            return Err(bad(&format!("its scheme is {scheme:?}")));
        }
        let endpoint = match &key.login_endpoint {
            Some(endpoint) => Url::parse(endpoint).map_err(|_| bad("login_endpoint is no URL"))?,
            None => self.origin.join(LOGIN).map_err(|_| bad("login_endpoint is missing"))?,
        };
        if !matches!(endpoint.scheme(), "http" | "https") || endpoint.password().is_some() {
            return Err(bad("login_endpoint is no http:// or https:// URL"));
        }
        let expires = self.clock.wall().as_second() + LOGIN_LIFE;
        let token = sign(&key.uid, &key.private_key, expires)
            .ok_or_else(|| bad("private_key is no RSA key in PEM form"))?;
        Ok((endpoint, key.uid, Secret::new(token)))
    }

    async fn log_in(&self, generation: u64) -> Result<Token, AuthError> {
        let (url, uid, login) = self.signed()?;
        let endpoint = super::super::endpoints::shown(&url, "");
        let asked = self.clock.timeout(LOGIN_LIMIT, self.exchange(&url, &uid, &login)).await;
        let asked =
            asked.map_err(|_| AuthError::Timeout { endpoint: endpoint.clone(), limit: LOGIN_LIMIT })?;
        let (status, retry_after, body) = asked.map_err(|error| match distrust(&error) {
            Some(reason) => AuthError::Certificate { reason, source: error.without_url() },
            None => AuthError::Transport { endpoint: endpoint.clone(), source: error.without_url() },
        })?;
        let answer: Option<Value> = serde_json::from_slice(&body).ok();
        let text = answer.as_ref().and_then(|answer| answer.get("token")?.as_str());
        if let (200..=299, Some(text)) = (status, text) {
            let new = grant(&format!("token={text}"), generation);
            let life = self.life_of(text);
            let now = self.clock.boot();
            return new
                .map(|grant| Token { grant, renew_at: now + life * 4 / 5, ends_at: now + life })
                .ok_or(AuthError::Unavailable {
                    endpoint,
                    status,
                    message: "the token cannot be sent".into(),
                    retry_after,
                });
        }
        let message = told(answer.as_ref(), &body, &login);
        Err(match status {
            // 408 and 429 speak of time and load and not of the account.
            400..=499 if ![408, 429].contains(&status) => AuthError::Refused { endpoint, status, message },
            _ => AuthError::Unavailable { endpoint, status, message, retry_after },
        })
    }

    /// The answer's status, what its `Retry-After` says in seconds (a date there is not heeded), and its body.
    async fn exchange(
        &self,
        url: &Url,
        uid: &str,
        login: &Secret,
    ) -> reqwest::Result<(u16, Option<Duration>, Vec<u8>)> {
        let body = json!({"uid": uid, "token": login.expose()});
        let mut response = self.http.post(url.clone()).json(&body).send().await?;
        let retry_after = response.headers().get(header::RETRY_AFTER).and_then(|text| text.to_str().ok());
        let retry_after = retry_after.and_then(|text| text.trim().parse().ok()).map(Duration::from_secs);
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            body.extend_from_slice(&chunk);
            if body.len() > LONGEST_ANSWER {
                body.clear();
                break;
            }
        }
        Ok((response.status().as_u16(), retry_after, body))
    }

    /// How long a token lives from now on, by its own word.
    fn life_of(&self, token: &str) -> Duration {
        let Some(expires) = expiry(token) else { return UNTOLD_LIFE };
        let left = expires.saturating_sub(self.clock.wall().as_second());
        Duration::from_secs(u64::try_from(left).unwrap_or_default()).clamp(SHORTEST_LIFE, LONGEST_LIFE)
    }
}

impl Last {
    fn note(&mut self, failure: Option<&Arc<AuthError>>, now: Duration) {
        self.failure = failure.cloned();
        let Some(failure) = failure else { return self.delays.reset() };
        if let AuthError::Unavailable { retry_after, .. } = &**failure {
            let asked = retry_after.unwrap_or_default().min(LONGEST_PATIENCE);
            self.not_before = now + self.delays.next_delay().max(asked);
        }
    }
}

/// A login token: header, claims and signature (RFC 7515, compact form).
fn sign(uid: &str, key: &str, expires: i64) -> Option<String> {
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).ok()?;
    let signer = any_supported_type(&key).ok()?.choose_scheme(&[SignatureScheme::RSA_PKCS1_SHA256])?;
    let part = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
    let header = part(&json!({"alg": "RS256", "typ": "JWT"}));
    let content = format!("{header}.{}", part(&json!({"uid": uid, "exp": expires})));
    let signature = signer.sign(content.as_bytes()).ok()?;
    Some(format!("{content}.{}", BASE64URL_NOPAD.encode(&signature)))
}

/// `exp` of a token that is a JWT itself, in seconds since 1970.
fn expiry(token: &str) -> Option<i64> {
    let claims = token.split('.').nth(1)?;
    let claims = BASE64URL_NOPAD.decode(claims.as_bytes()).ok()?;
    let claims: Value = serde_json::from_slice(&claims).ok()?;
    let exp = claims.get("exp")?;
    #[expect(clippy::cast_possible_truncation, reason = "saturates, and is clamped afterwards")]
    exp.as_i64().or_else(|| exp.as_f64().map(|seconds| seconds as i64))
}

/// What the IAM said, in a few words, without the token that we sent should it stand in there.
fn told(answer: Option<&Value>, body: &[u8], login: &Secret) -> String {
    let member = |key: &str| answer.and_then(|answer| answer.get(key)?.as_str());
    let text = match (member("title"), member("description").or(member("message"))) {
        (Some(title), Some(description)) => format!("{title}: {description}"),
        (None, Some(text)) | (Some(text), None) => text.to_owned(),
        (None, None) if answer.is_some() => "the answer holds no token".into(),
        (None, None) => String::from_utf8_lossy(&body[..body.len().min(1200)]).into_owned(),
    };
    let text = text.replace(login.expose(), "…");
    let words: Vec<_> = text.split_whitespace().collect();
    words.join(" ").chars().take(200).collect()
}

#[cfg(test)]
mod tests;

#[cfg(test)]
pub(in crate::marathon::client) use tests::KEY;
