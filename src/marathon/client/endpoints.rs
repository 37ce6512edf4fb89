//! The places where a cluster's Marathon answers, and where a redirect may lead.
//!
//! A standby answers for the leader by itself, except where it redirects (`/v2/events` since Marathon 1.7). An
//! authentication plugin or Admin Router redirects, too: to a page where people log in. So a redirect is
//! followed only to a place that is configured or that Marathon itself calls its leader, to the same route, and
//! never from TLS to plain HTTP: who we are must not be told to anybody else.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

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

    /// One attempt at each of them, at the one that answered last first.
    pub(super) fn attempts(&self) -> impl Iterator<Item = Attempt<'_>> {
        let (first, count) = (self.current.load(Ordering::Relaxed), self.all.len());
        let (before, after) = self.all.split_at(first);
        let numbers = (first..count).chain(0..first);
        let bases = numbers.zip(after.iter().chain(before)).enumerate();
        bases.map(move |(place, (number, base))| {
            let share = share(place, count);
            Attempt { endpoints: self, number, base, share, kept: false }
        })
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

/// One endpoint's turn in a call. Unless it is kept, the calls to come begin with the next one; so they do also
/// where whoever waits for an answer gives up.
pub(super) struct Attempt<'a> {
    endpoints: &'a Endpoints,
    number: usize,
    pub(super) base: &'a Url,
    share: Option<u32>,
    kept: bool,
}

impl Attempt<'_> {
    /// Somebody answers there: the calls to come begin with it.
    pub(super) fn keep(mut self) {
        self.kept = true;
        self.endpoints.current.store(self.number, Ordering::Relaxed);
    }

    /// How long it may take of the time of a call that may be asked elsewhere; none where nobody is left to be asked.
    pub(super) fn share_of(&self, limit: Duration) -> Option<Duration> {
        self.share.map(|part| limit / part)
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if !self.kept {
            let next = (self.number + 1) % self.endpoints.all.len();
            let current = &self.endpoints.current;
            // Somebody else may have found a better one meanwhile.
            let _ = current.compare_exchange(self.number, next, Ordering::Relaxed, Ordering::Relaxed);
        }
    }
}

/// Which part of a call's time an endpoint gets by its place in the order, as a divisor: half of it the first, which is
/// most likely to answer and may have a long listing to make; the others share the rest.
fn share(place: usize, count: usize) -> Option<u32> {
    let others = u32::try_from(count - 1).unwrap_or(u32::MAX);
    (place + 1 < count).then(|| if place == 0 { 2 } else { others.saturating_mul(2) })
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

    fn three() -> Endpoints {
        Endpoints::new(&["http://a", "http://b", "http://c"].map(String::from)).unwrap()
    }

    fn order(endpoints: &Endpoints) -> Vec<usize> {
        let before = endpoints.current.load(Ordering::Relaxed);
        let order = endpoints.attempts().map(|attempt| attempt.number).collect();
        // Those attempts were none.
        endpoints.current.store(before, Ordering::Relaxed);
        order
    }

    #[test]
    fn the_one_that_answered_is_asked_first_and_one_that_did_not_is_passed_over() {
        let endpoints = three();
        assert_eq!(order(&endpoints), [0, 1, 2]);
        endpoints.attempts().nth(1).unwrap().keep();
        assert_eq!(order(&endpoints), [1, 2, 0]);
        assert_eq!(endpoints.attempts().next().unwrap().base.as_str(), "http://b/");
        assert_eq!(order(&endpoints), [2, 0, 1]);
        drop(endpoints.attempts().next());
        assert_eq!(order(&endpoints), [0, 1, 2]);
        // Of two calls that fail at the same place the second one does not pass over what the first one found.
        let late = endpoints.attempts().next().unwrap();
        let mut attempts = endpoints.attempts();
        drop(attempts.next());
        attempts.nth(1).unwrap().keep();
        drop(late);
        assert_eq!(order(&endpoints), [2, 0, 1]);
        assert!(Endpoints::new(&[]).is_err());
    }

    #[test]
    fn everybody_gets_a_turn_within_the_time() {
        for count in 1..=16 {
            let urls: Vec<_> = (0..count).map(|number| format!("http://m{number}")).collect();
            let endpoints = Endpoints::new(&urls).unwrap();
            let limit = Duration::from_secs(20);
            let shares: Vec<_> = endpoints.attempts().map(|attempt| attempt.share_of(limit)).collect();
            assert_eq!(shares.last(), Some(&None), "the last one has what is left");
            let before: Duration = shares.iter().flatten().sum();
            assert!(limit.saturating_sub(before) >= limit / 30, "{shares:?}");
            assert!(count == 1 || shares[0] == Some(limit / 2), "{shares:?}");
        }
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
