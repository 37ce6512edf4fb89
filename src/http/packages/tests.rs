//! Uploading, listing and taking away, through the whole router.

use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{ConnectInfo, Request};
use axum::http::Method;
use futures::stream;
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;

use super::*;
use crate::clock::{Clock, Entropy};
use crate::http::{Access, Hot, router};
use crate::model::{UnitId, UnitStatus};
use crate::registry::intake::Intake;
use crate::registry::intake::tests::bundle;
use crate::registry::repo::Repo;
use crate::storage::Storage;
use crate::storage::spool::Spool;
use crate::telemetry::Metrics;
use crate::workers::Workers;

const ALL: &str = "/api/v1/packages";

pub(in crate::http) struct Door {
    service: TowerToHyperService<Router>,
    pub(in crate::http) site: Arc<Site>,
    pub(in crate::http) folder: tempfile::TempDir,
}

pub(in crate::http) async fn door() -> Door {
    let folder = tempfile::tempdir().unwrap();
    let (clock, entropy) = (Clock::system(), Entropy::seeded(1));
    let path = folder.path().join("storage");
    let storage = Storage::open_local(&path, Duration::from_secs(1), clock.clone(), entropy).await.unwrap();
    let storage = Arc::new(storage);
    let spool = Spool::open(&path.join("spool"), Some(&path), clock.clone()).await.unwrap();
    let site = Arc::new(Site {
        intake: Intake::new(Arc::clone(&storage), spool, clock.clone()),
        repo: Repo::new(Arc::clone(&storage), "http://127.0.0.1", clock.clone(), Workers::new()),
        controller: None,
        storage,
        leader: None,
        entropy: Entropy::seeded(2),
        hot: Hot::default(),
        metrics: Metrics::new().unwrap(),
        clock,
    });
    let access = Access::with_tokens(|token| token == "0123456789abcdef");
    Door { service: TowerToHyperService::new(router(Arc::clone(&site), access)), site, folder }
}

/// Status, headers and body of an answer.
pub(in crate::http) type Answer = (u16, HeaderMap, Bytes);

fn json_of(answer: &Answer) -> Value {
    serde_json::from_slice(&answer.2).unwrap()
}

impl Door {
    async fn send(&self, mut request: Request, peer: &str) -> Answer {
        request.headers_mut().insert("host", "127.0.0.1".parse().unwrap());
        let peer: std::net::SocketAddr = peer.parse().unwrap();
        request.extensions_mut().insert(ConnectInfo(peer));
        let response = self.service.call(request).await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        (status, headers, axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap())
    }

    pub(in crate::http) async fn ask(&self, method: Method, path: &str) -> Answer {
        let mut request = Request::new(Body::empty());
        (*request.method_mut(), *request.uri_mut()) = (method, path.parse().unwrap());
        self.send(request, "127.0.0.1:1").await
    }

    pub(in crate::http) async fn get(&self, path: &str) -> Answer {
        self.ask(Method::GET, path).await
    }

    async fn post_body(&self, body: Body, length: Option<u64>) -> Answer {
        let mut request = Request::new(body);
        (*request.method_mut(), *request.uri_mut()) = (Method::POST, ALL.parse().unwrap());
        if let Some(length) = length {
            request.headers_mut().insert(header::CONTENT_LENGTH, length.into());
        }
        self.send(request, "127.0.0.1:1").await
    }

    pub(in crate::http) async fn post(&self, bytes: &[u8]) -> Answer {
        self.post_body(Body::from(bytes.to_vec()), Some(bytes.len() as u64)).await
    }
}

#[tokio::test]
async fn what_was_uploaded_is_there_at_once_and_the_same_again_is_no_mistake() {
    let door = door().await;
    let (content, bytes) = bundle("0.1.0", 1).await;
    let (status, headers, body) = door.post(&bytes).await;
    assert_eq!(status, 201);
    assert_eq!(headers["location"], "/api/v1/packages/hello/0.1.0");
    let coordinate = content.coordinate.encode();
    let expected = json!({
        "name": "hello", "version": "0.1.0", "releaseVersion": 0, "digest": content.digest(),
        "coordinate": coordinate, "already": false,
    });
    assert_eq!(serde_json::from_slice::<Value>(&body).unwrap(), expected);
    let repo = json_of(&door.get("/repo").await);
    assert_eq!(repo["packages"][0]["version"], "0.1.0");
    let shown = json_of(&door.get("/api/v1/packages/hello/0.1.0").await);
    assert_eq!((&shown["digest"], &shown["size"]), (&json!(content.digest()), &json!(14_400)));
    for member in shown["members"].as_array().unwrap() {
        let (status, _, body) = door.get(member["path"].as_str().unwrap()).await;
        assert_eq!((status, json!(crate::model::Digest::of(&body))), (200, member["digest"].clone()));
    }
    // Of a length that nobody announced, and in small pieces.
    let pieces: Vec<_> =
        bytes.chunks(999).map(|piece| Ok::<_, std::io::Error>(Bytes::copy_from_slice(piece))).collect();
    let again = door.post_body(Body::from_stream(stream::iter(pieces)), None).await;
    assert_eq!((again.0, &json_of(&again)["already"]), (200, &json!(true)));
    let list = json_of(&door.get(ALL).await);
    let summary = json!({
        "name": "hello", "version": "0.1.0", "releaseVersion": 0, "digest": content.digest(),
        "size": 14_400, "coordinate": coordinate,
    });
    assert_eq!(list, json!({"packages": [summary]}));
}

#[tokio::test]
async fn other_content_under_the_same_version_is_a_conflict() {
    let door = door().await;
    let (content, bytes) = bundle("1", 1).await;
    assert_eq!(door.post(&bytes).await.0, 201);
    let answer = door.post(&bundle("1", 2).await.1).await;
    let body = json_of(&answer);
    assert_eq!((answer.0, &body["type"]), (409, &json!("VersionImmutable")));
    assert_eq!(body["data"]["published"], json!(content.digest()));
    assert!(body["message"].as_str().unwrap().contains("raise the version"), "{body}");
}

#[tokio::test]
async fn broken_bundles_are_refused_with_what_is_wrong_and_leave_nothing() {
    let door = door().await;
    let (_, good) = bundle("1", 1).await;
    let find = |text: &[u8]| good.windows(text.len()).position(|window| window == text).unwrap();
    let change = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] ^= byte;
        bytes
    };
    let in_a_blob = find(b"blobs/sha256/") + 500;
    let named = find(b"asset/b");
    let cases = [
        (Vec::new(), 400, "NotZip", "a bundle is a zip"),
        (b"hello".to_vec(), 400, "NotZip", "a bundle is a zip"),
        (good[..good.len() - 30].to_vec(), 400, "", "bundle"),
        ([&good[..], b"x"].concat(), 400, "TrailingData", "1 bytes"),
        (change(find(b"metadata.json"), 1), 400, "", "etadata.json"),
        (change(in_a_blob, 1), 400, "WrongDigest", "asset/"),
        (change(named, 1), 400, "Damaged", "manifest.json"),
    ];
    for (n, (bytes, status, kind, part)) in cases.into_iter().enumerate() {
        let answer = door.post(&bytes).await;
        let body = json_of(&answer);
        assert_eq!(answer.0, status, "case {n}: {body}");
        assert!(kind.is_empty() || body["type"] == kind, "case {n}: {body}");
        assert!(body["message"].as_str().unwrap().contains(part), "case {n}: {body}");
    }
    assert_eq!(door.site.storage.catalog.seq(), 0);
    let spool = door.folder.path().join("storage/spool");
    assert_eq!(std::fs::read_dir(spool).unwrap().count(), 0);
    assert_eq!(door.post(&good).await.0, 201);
}

#[tokio::test]
async fn what_is_no_acceptable_package_is_unprocessable() {
    use crate::bundle::file::tests::zip::Parts;
    let door = door().await;
    let mut parts = Parts::good();
    parts.metadata["name"] = "no/name".into();
    let answer = door.post(&parts.zip().build()).await;
    assert_eq!((answer.0, json_of(&answer)["type"].as_str()), (422, Some("InvalidMetadata")));
    let mut parts = Parts::good();
    parts.manifest["formatVersion"] = 2.into();
    let answer = door.post(&parts.zip().build()).await;
    assert_eq!((answer.0, json_of(&answer)["type"].as_str()), (422, Some("FormatVersion")));
}

#[tokio::test]
async fn every_way_a_bundle_can_be_wrong_has_a_status_of_its_own() {
    // Whoever adds a label to BundleFileError must say what it answers.
    let text = include_str!("../../bundle/file/error.rs");
    let labels = text.lines().filter_map(|line| line.trim().strip_suffix("\",")?.split_once("=> \""));
    let labels: Vec<_> =
        labels.map(|(_, label)| label).filter(|label| *label != "BundleUnreadable").collect();
    assert!(labels.len() > 30, "{labels:?}");
    for label in labels {
        let response = failure(crate::model::ErrorClass::Stall, label, &std::io::Error::other("why"));
        assert!([400, 413, 422].contains(&response.status().as_u16()), "{label}: {}", response.status());
    }
}

#[tokio::test]
async fn nobody_uploads_or_takes_away_without_a_token_from_elsewhere() {
    let door = door().await;
    let (_, bytes) = bundle("1", 1).await;
    door.post(&bytes).await;
    for (method, path) in [(Method::POST, ALL), (Method::DELETE, "/api/v1/packages/hello/1")] {
        for (token, status) in [(None, 401), (Some("Bearer wrong"), 401)] {
            let mut request = Request::new(Body::from(bytes.clone()));
            (*request.method_mut(), *request.uri_mut()) = (method.clone(), path.parse().unwrap());
            if let Some(token) = token {
                request.headers_mut().insert("authorization", token.parse().unwrap());
            }
            assert_eq!(door.send(request, "192.0.2.7:1").await.0, status, "{method} {path}");
        }
    }
    let mut request = Request::new(Body::empty());
    *request.method_mut() = Method::DELETE;
    *request.uri_mut() = "/api/v1/packages/hello/1".parse().unwrap();
    request.headers_mut().insert("authorization", "Bearer 0123456789abcdef".parse().unwrap());
    assert_eq!(door.send(request, "192.0.2.7:1").await.0, 204);
}

#[tokio::test]
async fn a_body_that_is_too_large_or_breaks_off_is_said_to_be() {
    let door = door().await;
    let answer = door.post_body(Body::empty(), Some(door.site.intake.largest() + 1)).await;
    assert_eq!((answer.0, json_of(&answer)["type"].as_str()), (413, Some("BodyTooLarge")));
    let broken = [Ok(Bytes::from_static(b"PK")), Err(std::io::Error::other("gone"))];
    let answer = door.post_body(Body::from_stream(stream::iter(broken)), None).await;
    assert_eq!((answer.0, json_of(&answer)["type"].as_str()), (400, Some("BodyBroken")));
}

#[tokio::test]
async fn a_body_for_which_there_is_no_room_is_refused_unread() {
    let door = door().await;
    let (_, bytes) = bundle("1", 1).await;
    door.post(&bytes).await;
    let volume = crate::storage::space::look(door.folder.path(), &door.site.clock).await.unwrap();
    let unread = stream::poll_fn(|_| -> std::task::Poll<Option<std::io::Result<Bytes>>> {
        panic!("the body was read")
    });
    // Half of what is free: on the volume of the storage each byte is written twice.
    let answer = door.post_body(Body::from_stream(unread), Some((volume.free / 2).min(60 << 30))).await;
    if volume.free < 120 << 30 {
        assert_eq!((answer.0, json_of(&answer)["type"].as_str()), (507, Some("DiskFull")));
    }
    assert_eq!(door.get("/api/v1/packages/hello/1").await.0, 200);
}

#[tokio::test]
async fn a_package_is_taken_away_and_may_come_back() {
    let door = door().await;
    let (_, bytes) = bundle("1", 1).await;
    for missing in ["hello/1", "hello/2", "no%20name/1", "%ff/1"] {
        let path = format!("{ALL}/{missing}");
        for method in [Method::GET, Method::DELETE] {
            let answer = door.ask(method.clone(), &path).await;
            assert_eq!((answer.0, json_of(&answer)["type"].as_str()), (404, Some("PackageNotFound")));
        }
    }
    for _ in 0..2 {
        assert_eq!(door.post(&bytes).await.0, 201);
        let answer = door.ask(Method::DELETE, "/api/v1/packages/hello/1").await;
        assert_eq!((answer.0, answer.2.len()), (204, 0));
        assert_eq!(json_of(&door.get("/repo").await)["packages"], json!([]));
        assert_eq!(door.get("/api/v1/packages/hello/1").await.0, 404);
    }
    let answer = door.ask(Method::PUT, "/api/v1/packages/hello/1").await;
    assert_eq!(answer.0, 405);
    assert_eq!(answer.1["allow"], "GET,HEAD,DELETE");
}

#[test]
fn what_the_manifest_wants_stays() {
    let unit =
        |kind, name: &str| UnitId { source: "here".parse().unwrap(), kind, name: name.parse().unwrap() };
    let status = |kind, target: &str| UnitStatus {
        unit: unit(kind, "first"),
        target: target.into(),
        observed_revision: None,
        conditions: Vec::new(),
        warnings: Vec::new(),
    };
    let coordinate = Coordinate::new("hello".parse().unwrap(), "1".parse().unwrap());
    let mut view = View::default();
    assert_eq!(
        wanted(&view, &coordinate).unwrap().status(),
        StatusCode::SERVICE_UNAVAILABLE,
        "not looked yet"
    );
    view.passes = 1;
    view.units = vec![status(UnitKind::Package, "hello 2"), status(UnitKind::Service, "hello 1")];
    assert!(wanted(&view, &coordinate).is_none());
    view.units.push(status(UnitKind::Package, "hello 1"));
    assert_eq!(wanted(&view, &coordinate).unwrap().status(), StatusCode::CONFLICT);
}
