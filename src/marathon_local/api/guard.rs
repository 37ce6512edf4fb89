//! Keeps web pages away that a browser on this machine shows.
//!
//! Whoever may create an app may run any command. The API has no authentication, as the real one on a
//! trusted network; but a page from anywhere can make a browser send requests to loopback. Two headers
//! that a page cannot forge tell: `Origin` (who sends), and `Host` (a foreign name that was made to
//! resolve to loopback).

use std::net::IpAddr;

use axum::http::{HeaderMap, header};

use crate::marathon_local::refusal::Refusal;

/// Lets a request pass, or not.
///
/// # Errors
/// [`Refusal::ForeignPage`].
pub fn check(listening: IpAddr, headers: &HeaderMap) -> Result<(), Refusal> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let host = text(header::HOST).unwrap_or_default();
    if listening.is_loopback() && !is_local(host) {
        return Err(Refusal::ForeignPage("the Host header must be an address or localhost"));
    }
    match text(header::ORIGIN) {
        Some(origin) if origin.split_once("://").is_none_or(|(_, from)| from != host) => {
            Err(Refusal::ForeignPage("the Origin header names another host"))
        }
        _ => Ok(()),
    }
}

/// Whether a `Host` header is an address or `localhost`, with or without port.
fn is_local(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(listening: &str, host: &str, origin: Option<&str>) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, host.parse().unwrap());
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, origin.parse().unwrap());
        }
        check(listening.parse().unwrap(), &headers).is_ok()
    }

    #[test]
    fn only_foreign_pages_are_kept_away() {
        let local = "127.0.0.1:8080";
        assert!(checked("127.0.0.1", local, None));
        assert!(checked("127.0.0.1", "LocalHost:8080", None));
        assert!(checked("::1", "[::1]:8080", None));
        assert!(checked("::1", "[::1]", None));
        assert!(checked("127.0.0.1", local, Some("http://127.0.0.1:8080")));
        assert!(!checked("127.0.0.1", local, Some("https://evil.example")));
        assert!(!checked("127.0.0.1", local, Some("null")));
        assert!(!checked("127.0.0.1", "evil.example:8080", Some("http://evil.example:8080")), "rebinding");
        assert!(checked("0.0.0.0", "host.example:8080", None), "who listens on all addresses has names");
    }
}
