//! Tells a program on this machine from a web page that a browser on this machine shows. Pure.
//!
//! A page from anywhere can make a browser send requests to loopback. Two headers that a page cannot forge
//! tell: `Origin` (who sends), and `Host` (a foreign name that was made to resolve to loopback, which
//! browsers then take for the same origin).

use std::net::IpAddr;

use axum::http::{HeaderMap, HeaderName, header};

/// Whether a `Host` header is an address or `localhost`, with or without port.
pub(crate) fn is_local(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
}

/// The `Host` header; empty where there is none or no text.
pub(crate) fn host(headers: &HeaderMap) -> &str {
    text(headers, header::HOST).unwrap_or_default()
}

/// Whether the request comes from a page of another host than the one it goes to.
pub(crate) fn is_foreign(headers: &HeaderMap) -> bool {
    if !headers.contains_key(header::ORIGIN) {
        return false;
    }
    let origin = text(headers, header::ORIGIN).and_then(|origin| origin.split_once("://"));
    origin.is_none_or(|(_, from)| from != host(headers))
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}
