//! Who may, for every route and method, through the whole router.

use axum::body::Body;
use axum::extract::{ConnectInfo, Request};
use axum::http::{HeaderMap, Method};
use axum::routing::post;
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;

use super::*;
use crate::clock::Entropy;
use crate::storage::spool::Spool;

const TOKEN: &str = "0123456789abcdef";

/// All routes, and some that are none.
const PATHS: &[&str] = &[
    "/",
    "/health",
    "/livez",
    "/readyz",
    "/metrics",
    "/repo",
    "/resource/a/sha256:b/c",
    "/api/v1/plan",
    "/api/v1/status",
    "/api/v1/packages",
    "/later",
    "/nothing/here",
    "//",
    "/%2e%2e/health",
    "*",
];

const CHANGING: &[&str] = &["POST", "PUT", "PATCH", "DELETE", "TRACE", "CONNECT", "PURGE", "get", "Options"];

struct Door {
    service: TowerToHyperService<Router>,
    _folder: tempfile::TempDir,
}

fn tokens() -> Access {
    Access::with_tokens(|token| token == TOKEN)
}

async fn door(access: Access) -> Door {
    let folder = tempfile::tempdir().unwrap();
    let (clock, entropy) = (Clock::system(), Entropy::seeded(1));
    let wait = std::time::Duration::from_secs(1);
    let storage = Storage::open_local(folder.path(), wait, clock.clone(), entropy).await.unwrap();
    let storage = Arc::new(storage);
    let spool = Spool::open(&folder.path().join("spool"), None, clock.clone()).await.unwrap();
    let site = Arc::new(Site {
        intake: Intake::new(Arc::clone(&storage), spool, clock.clone()),
        repo: Repo::new(Arc::clone(&storage), "http://127.0.0.1", clock.clone(), Workers::new()),
        storage,
        controller: None,
        leader: None,
        entropy: Entropy::seeded(2),
        hot: Hot::default(),
        metrics: Metrics::new().unwrap(),
        clock,
    });
    Door { service: TowerToHyperService::new(router(site, access)), _folder: folder }
}

/// A request by its peer, method, path and headers.
struct Asked<'a> {
    peer: Option<&'a str>,
    method: &'a str,
    path: &'a str,
    headers: &'a [(&'a str, &'a str)],
}

const REMOTE: Option<&str> = Some("192.0.2.7:4000");
const LOCAL: Option<&str> = Some("127.0.0.1:4000");
const HOST: (&str, &str) = ("host", "127.0.0.1:5080");

impl Door {
    async fn ask(&self, asked: &Asked<'_>) -> Response {
        let mut request = Request::new(Body::empty());
        *request.method_mut() = Method::from_bytes(asked.method.as_bytes()).unwrap();
        *request.uri_mut() = asked.path.parse().unwrap();
        for (name, value) in asked.headers {
            let name = name.parse::<axum::http::HeaderName>().unwrap();
            request.headers_mut().append(name, value.parse().unwrap());
        }
        if let Some(peer) = asked.peer {
            let peer: SocketAddr = peer.parse().unwrap();
            request.extensions_mut().insert(ConnectInfo(peer));
        }
        self.service.call(request).await.unwrap()
    }

    /// The status and type of the answer to a `POST /repo`.
    async fn post(&self, peer: Option<&str>, headers: &[(&str, &str)]) -> (u16, String, HeaderMap) {
        let response = self.ask(&Asked { peer, method: "POST", path: "/repo", headers }).await;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = axum::body::to_bytes(response.into_body(), 4096).await.unwrap();
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert!(!body["message"].as_str().unwrap().is_empty());
        (status, body["type"].as_str().unwrap().to_owned(), headers)
    }
}

#[tokio::test]
async fn nothing_is_changed_from_outside_on_any_path_by_any_method() {
    let (closed, open) = (door(Access::loopback_only()).await, door(tokens()).await);
    for path in PATHS {
        for method in CHANGING {
            for peer in [REMOTE, None, Some("[2001:db8::1]:1"), Some("[::ffff:192.0.2.7]:1")] {
                let asked = Asked { peer, method, path, headers: &[HOST] };
                assert_eq!(closed.ask(&asked).await.status(), 403, "{method} {path} {peer:?}");
                assert_eq!(open.ask(&asked).await.status(), 401, "{method} {path} {peer:?}");
            }
        }
        for method in ["GET", "HEAD", "OPTIONS"] {
            let asked = Asked { peer: REMOTE, method, path, headers: &[] };
            let status = closed.ask(&asked).await.status().as_u16();
            assert!(![401, 403].contains(&status), "{method} {path}: reading is for everybody");
        }
    }
}

#[tokio::test]
async fn a_route_is_closed_without_a_word() {
    // As router() builds it: routes first, the layer last.
    let later = Router::new().route("/later", post(async || "changed"));
    let router = access::protect(later, Access::loopback_only());
    let door = Door { service: TowerToHyperService::new(router), _folder: tempfile::tempdir().unwrap() };
    let asked = |peer| Asked { peer, method: "POST", path: "/later", headers: &[HOST] };
    assert_eq!(door.ask(&asked(REMOTE)).await.status(), 403);
    assert_eq!(door.ask(&asked(LOCAL)).await.status(), 200);
}

#[tokio::test]
async fn the_machine_itself_may_and_its_web_pages_may_not() {
    let door = door(Access::loopback_only()).await;
    for peer in [LOCAL, Some("[::1]:1"), Some("[::ffff:127.0.0.1]:1"), Some("127.9.9.9:1")] {
        assert_eq!(door.post(peer, &[HOST]).await.0, 405, "{peer:?}");
    }
    for host in ["localhost", "LOCALHOST:80", "[::1]:5080", "10.0.0.1"] {
        assert_eq!(door.post(LOCAL, &[("host", host)]).await.0, 405, "{host}");
    }
    assert_eq!(door.post(LOCAL, &[HOST, ("origin", "http://127.0.0.1:5080")]).await.0, 405);
    let foreign: &[&[(&str, &str)]] = &[
        &[],
        &[("host", "evil.example:5080")],
        &[("host", "localhost.evil.example")],
        &[("host", "evil.example"), ("origin", "http://evil.example")],
        &[HOST, ("origin", "https://evil.example")],
        &[HOST, ("origin", "http://127.0.0.1:9")],
        &[HOST, ("origin", "null")],
        &[HOST, ("origin", "\u{fc}")],
    ];
    for headers in foreign {
        let (status, kind, _) = door.post(LOCAL, headers).await;
        assert_eq!((status, kind.as_str()), (403, "ForeignPage"), "{headers:?}");
    }
}

#[tokio::test]
async fn a_proxy_on_this_machine_is_no_loopback() {
    let (closed, open) = (door(Access::loopback_only()).await, door(tokens()).await);
    for name in ["forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via"] {
        let headers = [HOST, (name, "x")];
        let (status, kind, _) = closed.post(LOCAL, &headers).await;
        assert_eq!((status, kind.as_str()), (403, "NoTokens"), "{name}");
        assert_eq!(open.post(LOCAL, &headers).await.0, 401, "{name}");
    }
}

#[tokio::test]
async fn a_token_opens_from_everywhere_and_a_wrong_one_does_not() {
    let (closed, open) = (door(Access::loopback_only()).await, door(tokens()).await);
    let valid = format!("Bearer {TOKEN}");
    for text in [valid.as_str(), "bearer 0123456789abcdef", "BEARER   0123456789abcdef "] {
        let headers = [("authorization", text), ("host", "registry.example"), ("x-forwarded-for", "x")];
        assert_eq!(open.post(REMOTE, &headers).await.0, 405, "{text}");
        assert_eq!(closed.post(REMOTE, &headers).await.0, 403, "{text}");
    }
    for (text, kind, challenge) in [
        ("Bearer 0123456789abcdeX", "TokenUnknown", "Bearer error=\"invalid_token\""),
        ("Bearer", "TokenMissing", "Bearer"),
        ("Bearer ", "TokenMissing", "Bearer"),
        (TOKEN, "TokenMissing", "Bearer"),
        ("token=0123456789abcdef", "TokenMissing", "Bearer"),
        ("Basic 0123456789abcdef", "TokenMissing", "Bearer"),
    ] {
        let (status, found, headers) = open.post(REMOTE, &[("authorization", text)]).await;
        assert_eq!((status, found.as_str()), (401, kind), "{text}");
        assert_eq!(headers["www-authenticate"], challenge, "{text}");
    }
    let twice = [("authorization", valid.as_str()), ("authorization", valid.as_str())];
    assert_eq!(open.post(REMOTE, &twice).await.0, 401);
}

#[tokio::test]
async fn a_body_that_announces_too_much_is_refused_unread() {
    let route = post(async |body: axum::body::Bytes| body.len().to_string());
    let router = Router::new().route("/", body::limited(route, 4, Clock::system()));
    let door = Door { service: TowerToHyperService::new(router), _folder: tempfile::tempdir().unwrap() };
    for (length, status) in [("4", 200), ("5", 413)] {
        let headers = [("content-length", length)];
        let asked = Asked { peer: LOCAL, method: "POST", path: "/", headers: &headers };
        assert_eq!(door.ask(&asked).await.status(), status, "{length}");
    }
}
