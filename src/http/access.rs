//! Who may change something: the machine itself, or whoever holds a token.
//!
//! One layer over the whole router decides before any route does, so that a route which is added later is
//! closed without anybody thinking of it. What is decided, in this order:
//!
//! | request | answer |
//! |---|---|
//! | GET, HEAD, OPTIONS | passes: nothing is changed by them |
//! | with a valid bearer token | passes |
//! | from loopback, sent by a program | passes |
//! | from loopback, sent by a web page of another host | 403 ForeignPage |
//! | from elsewhere, and there are no tokens | 403 NoTokens |
//! | from elsewhere, without a token | 401 TokenMissing |
//! | from elsewhere, with another token | 401 TokenUnknown |
//!
//! A proxy on this machine looks like loopback; one that says that it forwards is believed. One that says
//! nothing cannot be told from a program here: it must not be pointed at a port where changes are answered.

use std::fmt::Display;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::Router;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;

use super::{page, problem};

/// Headers that only somebody in between writes.
const FORWARDED: [HeaderName; 5] = [
    header::FORWARDED,
    header::VIA,
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-forwarded-host"),
    HeaderName::from_static("x-real-ip"),
];

/// Tells whether a token is valid now. It may read a small file.
type Check = dyn Fn(&str) -> bool + Send + Sync;

/// Who may change something. Cheap to clone.
#[derive(Clone, Default)]
pub struct Access(Option<Arc<Check>>);

impl Access {
    /// Changes come from loopback only.
    #[must_use]
    pub fn loopback_only() -> Self {
        Self(None)
    }

    /// Changes come from loopback, or with a token that the check says is valid at that moment. The check
    /// compares in constant time; it runs where it may block.
    #[must_use]
    pub fn with_tokens(is_valid: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(is_valid)))
    }

    async fn check(&self, claim: Claim) -> Result<(), Refusal> {
        if claim.changes_nothing || self.knows(claim.token.as_deref()).await {
            return Ok(());
        }
        if claim.is_from_here {
            return if claim.is_a_page { Err(Refusal::ForeignPage) } else { Ok(()) };
        }
        match (&self.0, claim.token) {
            (None, _) => Err(Refusal::NoTokens { forwarded: claim.is_forwarded }),
            (Some(_), None) => Err(Refusal::TokenMissing),
            (Some(_), Some(_)) => Err(Refusal::TokenUnknown),
        }
    }

    async fn knows(&self, token: Option<&str>) -> bool {
        let (Some(check), Some(token)) = (&self.0, token) else { return false };
        let (check, token) = (Arc::clone(check), token.to_owned());
        tokio::task::spawn_blocking(move || check(&token)).await.unwrap_or(false)
    }
}

/// What of a request decides.
#[expect(clippy::struct_excessive_bools, reason = "they are columns of the table above, not states")]
struct Claim {
    changes_nothing: bool,
    is_from_here: bool,
    is_forwarded: bool,
    is_a_page: bool,
    token: Option<String>,
}

impl Claim {
    fn of(request: &Request) -> Self {
        let headers = request.headers();
        let is_forwarded = FORWARDED.iter().any(|name| headers.contains_key(name));
        Self {
            changes_nothing: matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS),
            is_from_here: peer(request).is_some_and(|peer| peer.is_loopback()) && !is_forwarded,
            is_forwarded,
            is_a_page: page::is_foreign(headers) || !page::is_local(page::host(headers)),
            token: bearer(headers).map(str::to_owned),
        }
    }
}

/// Why somebody may not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum Refusal {
    #[error("changes that a web page of another host sends are refused; use a program, or a bearer token")]
    ForeignPage,
    #[error(
        "changes are taken from this machine only{}, because no tokens are configured here; send the request \
         from there, or configure a file of tokens and send one as `Authorization: Bearer <token>`",
        if *.forwarded { " (and not through a proxy)" } else { "" }
    )]
    NoTokens { forwarded: bool },
    #[error("changes need a token; send one of this registry's tokens as `Authorization: Bearer <token>`")]
    TokenMissing,
    #[error("this token is not, or no longer, one of this registry's tokens; ask who runs it for a new one")]
    TokenUnknown,
}

impl Refusal {
    fn label(self) -> &'static str {
        match self {
            Self::ForeignPage => "ForeignPage",
            Self::NoTokens { .. } => "NoTokens",
            Self::TokenMissing => "TokenMissing",
            Self::TokenUnknown => "TokenUnknown",
        }
    }

    fn response(self) -> Response {
        let (status, challenge) = match self {
            Self::ForeignPage | Self::NoTokens { .. } => (StatusCode::FORBIDDEN, None),
            Self::TokenMissing => (StatusCode::UNAUTHORIZED, Some("Bearer")),
            // RFC 6750, section 3.
            Self::TokenUnknown => (StatusCode::UNAUTHORIZED, Some("Bearer error=\"invalid_token\"")),
        };
        let mut response = problem(status, self.label(), &self.to_string());
        if let Some(challenge) = challenge {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        response
    }
}

/// Puts the layer over all routes that a router has so far, and over what it answers where it has none.
pub(super) fn protect(router: Router, access: Access) -> Router {
    router.layer(from_fn_with_state(access, guard))
}

async fn guard(State(access): State<Access>, request: Request, next: Next) -> Response {
    match access.check(Claim::of(&request)).await {
        Ok(()) => next.run(request).await,
        Err(refusal) => {
            let peer = peer(&request);
            let peer: &dyn Display = peer.as_ref().map_or(&"nowhere", |peer| peer);
            tracing::info!(%peer, method = %request.method(), path = request.uri().path(), reason = refusal.label(),
                "a change was refused");
            refusal.response()
        }
    }
}

/// Who sent the request. An IPv4 address counts as such on a socket that speaks both.
fn peer(request: &Request) -> Option<IpAddr> {
    let ConnectInfo(peer) = request.extensions().get::<ConnectInfo<SocketAddr>>()?;
    Some(peer.ip().to_canonical())
}

/// The token of the one `Authorization` header; none where there are several.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut all = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(only), None) = (all.next(), all.next()) else { return None };
    let (scheme, token) = only.to_str().ok()?.split_once(' ')?;
    Some(token.trim()).filter(|token| scheme.eq_ignore_ascii_case("Bearer") && !token.is_empty())
}
