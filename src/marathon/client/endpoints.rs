//! The places where a cluster's Marathon answers, and where a redirect may lead.
//!
//! A standby answers for the leader by itself, except where it redirects (`/v2/events` since Marathon 1.7). An
//! authentication plugin or Admin Router redirects, too: to a page where people log in. So a redirect is
//! followed only to a place that is configured or that Marathon itself calls its leader, to the same route, and
//! never from TLS to plain HTTP: who we are must not be told to anybody else.

use std::sync::atomic::{AtomicUsize, Ordering};

use reqwest::Url;

use crate::marathon::error::MarathonError;

/// The configured base URLs, at least one, and the one that answered last.
pub(super) struct Endpoints {
    all: Vec<Url>,
    current: AtomicUsize,
}

impl Endpoints {
    pub(super) fn new(urls: &[String]) -> Result<Self, MarathonError> {
        let parse = |text: &String| base_url(text).ok_or_else(|| MarathonError::BaseUrl(text.clone()));
        let all: Vec<_> = urls.iter().map(parse).collect::<Result<_, _>>()?;
        if all.is_empty() {
            return Err(MarathonError::BaseUrl(String::new()));
        }
        Ok(Self { all, current: AtomicUsize::new(0) })
    }

    /// All of them, the one that answered last first.
    pub(super) fn in_order(&self) -> impl Iterator<Item = (usize, &Url)> {
        let first = self.current.load(Ordering::Relaxed) % self.all.len();
        let (before, after) = self.all.split_at(first);
        let numbers = (first..self.all.len()).chain(0..first);
        numbers.zip(after.iter().chain(before))
    }

    /// Begins with this one from now on.
    pub(super) fn prefer(&self, number: usize) {
        self.current.store(number, Ordering::Relaxed);
    }

    /// Begins with the one after this one from now on.
    pub(super) fn pass_over(&self, number: usize) {
        self.prefer((number + 1) % self.all.len());
    }

    /// Whether a URL lies on one of the configured servers.
    pub(super) fn hold(&self, url: &Url) -> bool {
        self.all.iter().any(|base| base.origin() == url.origin())
    }

    /// Whether none of them speaks TLS.
    pub(super) fn are_plain(&self) -> bool {
        self.all.iter().all(|base| base.scheme() == "http")
    }

    /// One of them, for what is next to Marathon.
    pub(super) fn first(&self) -> &Url {
        &self.all[0]
    }
}

/// A base URL extended by a route.
pub(super) fn route(base: &Url, path: &str, query: &[(&str, &str)]) -> Url {
    let mut url = base.clone();
    url.set_path(&format!("{}{path}", base.path().trim_end_matches('/')));
    if !query.is_empty() {
        url.query_pairs_mut().extend_pairs(query);
    }
    url
}

/// Where a redirect of the route leads; none where we may not go whoever is there. The query stays ours: a PUT without
/// `partialUpdate=false` would mean something else.
pub(super) fn target(from: &Url, location: &str, path: &str) -> Option<Url> {
    let mut url = from.join(location).ok()?;
    url.set_query(from.query());
    let plain = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
    let safe = url.scheme() == "https" || (url.scheme() == "http" && from.scheme() == "http");
    (plain && safe && url.path().ends_with(path)).then_some(url)
}

/// Whether a URL lies on the server that Marathon calls its leader, as `host:port`.
pub(super) fn is_at(url: &Url, leader: &str) -> bool {
    let Some((host, port)) = leader.rsplit_once(':') else { return false };
    url.host_str().is_some_and(|own| own.eq_ignore_ascii_case(host))
        && url.port_or_known_default().is_some_and(|own| port == own.to_string())
}

/// A redirect's target as it may be shown: without its query, which may carry what is nobody's business.
pub(super) fn shown(from: &Url, location: &str) -> String {
    let Ok(mut url) = from.join(location) else { return "no URL".into() };
    url.set_query(None);
    url.set_fragment(None);
    let _ = (url.set_username(""), url.set_password(None));
    url.as_str().chars().take(200).collect()
}

/// Only what we can extend by a path: http(s), a host, no query and no password.
fn base_url(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    let plain = url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
    let usable = matches!(url.scheme(), "http" | "https") && url.has_host() && url.password().is_none();
    (plain && usable).then_some(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn base_urls_are_checked() {
        for good in ["http://127.0.0.1:8080", "https://master.mesos/service/marathon"] {
            assert!(base_url(good).is_some(), "{good}");
        }
        for bad in ["", "marathon:8080", "ftp://x", "http://", "http://u:p@x", "http://x?y=z", "/v2"] {
            assert!(base_url(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn the_one_that_answered_is_asked_first() {
        let endpoints = Endpoints::new(&["http://a", "http://b", "http://c"].map(String::from)).unwrap();
        let order = || endpoints.in_order().map(|(number, _)| number).collect::<Vec<_>>();
        assert_eq!(order(), [0, 1, 2]);
        endpoints.prefer(1);
        assert_eq!(order(), [1, 2, 0]);
        assert_eq!(endpoints.in_order().next().unwrap().1.as_str(), "http://b/");
        endpoints.pass_over(2);
        assert_eq!(order(), [0, 1, 2]);
        assert!(Endpoints::new(&[]).is_err());
    }

    #[test]
    fn redirects_keep_the_route_and_do_not_leave_tls() {
        let table = [
            ("http://a:8080/v2/events", "http://b:8080/v2/events?x=y", true),
            ("http://a:8080/v2/events", "https://b:8443/v2/events", true),
            ("http://a:8080/v2/events", "/service/marathon/v2/events", true),
            ("https://a/v2/events", "http://a/v2/events", false),
            ("http://a/v2/events", "http://a/login", false),
            ("http://a/v2/events", "/login?next=/v2/events", false),
            ("http://a/v2/events", "http://u:p@a/v2/events", false),
            ("http://a/v2/events", "ftp://a/v2/events", false),
            ("http://a/v2/events", "http://", false),
        ];
        for (from, location, followed) in table {
            assert_eq!(target(&url(from), location, "/v2/events").is_some(), followed, "{from} {location}");
        }
        let kept =
            target(&url("http://a/v2/apps/x?force=false"), "http://b/v2/apps/x?force=true", "/v2/apps/x");
        assert_eq!(kept.unwrap().as_str(), "http://b/v2/apps/x?force=false");
        assert_eq!(shown(&url("http://a/x"), "http://u:p@b/login?token=t#f"), "http://b/login");
    }

    #[test]
    fn servers_are_told_apart_by_scheme_host_and_port() {
        let endpoints = Endpoints::new(&["https://m/service/marathon".into()]).unwrap();
        assert!(endpoints.hold(&url("https://m:443/x")));
        for other in ["http://m/x", "https://m:8443/x", "https://m.evil/x", "https://evil/m"] {
            assert!(!endpoints.hold(&url(other)), "{other}");
        }
        assert!(is_at(&url("http://10.0.0.1:8080/v2/events"), "10.0.0.1:8080"));
        assert!(is_at(&url("https://Leader.mesos/v2"), "leader.mesos:443"));
        for other in ["", "10.0.0.1", "10.0.0.1:80", "10.0.0.10:8080", ":8080"] {
            assert!(!is_at(&url("http://10.0.0.1:8080/"), other), "{other}");
        }
    }

    #[test]
    fn routes_follow_the_base_path() {
        let base = url("http://m/service/marathon/");
        let extended = route(&base, "/v2/apps", &[("label", "a==b c")]);
        assert_eq!(extended.as_str(), "http://m/service/marathon/v2/apps?label=a%3D%3Db+c");
    }
}
