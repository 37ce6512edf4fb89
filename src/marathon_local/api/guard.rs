//! Keeps web pages away that a browser on this machine shows.
//!
//! Whoever may create an app may run any command. The API has no authentication, as the real one on a
//! trusted network; but a page from anywhere can make a browser send requests to loopback.

use std::net::IpAddr;

use axum::http::HeaderMap;

use crate::http::page;
use crate::marathon_local::refusal::Refusal;

/// Lets a request pass, or not.
///
/// # Errors
/// [`Refusal::ForeignPage`].
pub fn check(listening: IpAddr, headers: &HeaderMap) -> Result<(), Refusal> {
    if listening.is_loopback() && !page::is_local(page::host(headers)) {
        return Err(Refusal::ForeignPage("the Host header must be an address or localhost"));
    }
    if page::is_foreign(headers) {
        return Err(Refusal::ForeignPage("the Origin header names another host"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use axum::http::header;

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
