//! What the registry answers to Cosmos, to fetchers, to Prometheus, and the plan without a daemon.

use dcos_registry::model::Digest;
use serde_json::Value;

use crate::daemon::{Answer, Daemon, Place, exchange, run};

fn get(url: &str, headers: &[(&str, &str)]) -> Answer {
    exchange("GET", url, headers, None).unwrap()
}

#[test]
fn the_registry_serves_what_was_published() {
    let place = Place::new();
    let daemon = Daemon::start(&place);
    daemon.wait_until_ready();
    the_repository_document(&daemon);
    a_resource(&daemon);
    the_metrics(&daemon);
    plans_without_a_daemon(&place, daemon);
}

fn the_repository_document(daemon: &Daemon) {
    let url = format!("{}/repo", daemon.registry);
    let v = |n| format!("application/vnd.dcos.universe.repo+json;charset=utf-8;version=v{n}");
    for (accept, expected) in
        [(v(3), 3), (v(4), 4), (v(5), 5), ("*/*".to_owned(), 5), ("text/html".to_owned(), 5)]
    {
        let answer = get(&url, &[("accept", &accept), ("user-agent", "cosmos/0.6 dcos/1.13")]);
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("content-type"), v(expected));
        assert!(answer.body.is_ascii());
        assert_eq!(answer.header("content-length"), answer.body.len().to_string());
        let document: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(document["packages"][0]["name"], "hello", "for {accept}");
        assert_eq!(document["packages"][0]["releaseVersion"], 0);
    }
    let packed = get(&url, &[("accept-encoding", "gzip")]);
    assert_eq!(packed.header("content-encoding"), "gzip");
    let mut plain = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(packed.body.as_slice()), &mut plain)
        .unwrap();
    assert_eq!(plain, get(&url, &[]).body);
}

fn a_resource(daemon: &Daemon) {
    let repo = get(&format!("{}/repo", daemon.registry), &[]);
    let document: Value = serde_json::from_slice(&repo.body).unwrap();
    let uris = document["packages"][0]["resource"]["assets"]["uris"].as_object().unwrap();
    let url = uris.values().next().unwrap().as_str().unwrap();
    assert!(url.starts_with(&format!("{}/resource/", daemon.registry)), "{url}");
    let whole = get(url, &[]);
    let digest = Digest::of(&whole.body);
    assert_eq!(whole.status, 200);
    assert!(url.contains(&digest.to_string()), "{url}");
    assert_eq!(whole.header("etag"), format!("\"{digest}\""));
    assert!(whole.header("repr-digest").starts_with("sha-256=:"));
    assert_eq!(whole.header("content-length"), whole.body.len().to_string());
    let part = get(url, &[("range", "bytes=2-5")]);
    assert_eq!((part.status, part.body.as_slice()), (206, &whole.body[2..6]));
    assert_eq!(part.header("content-range"), format!("bytes 2-5/{}", whole.body.len()));
    assert_eq!(get(url, &[("range", "bytes=999999999-")]).status, 416);
    assert_eq!(get(url, &[("if-none-match", whole.header("etag"))]).status, 304);
    assert_eq!(get(&url.replace("sha256:", "sha256%3A"), &[]).body, whole.body);
    let head = exchange("HEAD", url, &[], None).unwrap();
    assert_eq!((head.status, head.header("content-length")), (200, whole.header("content-length")));
    for missing in [
        url.replace(&digest.hex(), &Digest::of(b"other").hex()),
        format!("{url}x"),
        url.replace("/resource/", "/resource/aa"),
    ] {
        assert_eq!(get(&missing, &[]).status, 404, "{missing}");
    }
}

fn the_metrics(daemon: &Daemon) {
    let answer = get(&format!("{}/metrics", daemon.registry), &[]);
    assert!(answer.header("content-type").starts_with("text/plain; version=0.0.4"));
    let text = String::from_utf8(answer.body).unwrap();
    for wanted in [
        "dcos_registry_units{condition=\"Ready\",kind=\"Service\"",
        "dcos_registry_action_total{kind=\"create\",outcome=\"done\"} 2",
        "dcos_registry_action_total{kind=\"publish\",outcome=\"done\"} 1",
        "dcos_registry_reconcile_duration_seconds_count",
        "dcos_registry_registry_packages 1",
        "dcos_registry_registry_bytes ",
        "dcos_registry_http_request_total{code=\"200\",route=\"/repo\"}",
    ] {
        assert!(text.contains(wanted), "{wanted} is not in\n{text}");
    }
}

/// With the daemon stopped, the plan comes from what is on disk.
fn plans_without_a_daemon(place: &Place, daemon: Daemon) {
    let listen = daemon.registry.strip_prefix("http://").unwrap().to_owned();
    assert_eq!(daemon.interrupt().code(), Some(0));
    let (manifests, dir) = (place.manifests(), place.dir());
    let (manifests, dir) = (manifests.to_str().unwrap(), dir.to_str().unwrap());
    let plan = ["plan", "--manifests", manifests, "--dir", dir, "--listen", &listen, "--detailed-exitcode"];
    let output = run(&plan);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{text}");
    place.edit("name: World", "name: Europa");
    let output = run(&plan);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains("/quickstart/hello-world") && text.contains("Europa"), "{text}");
    let output = run(&[&plan[..], &["--json"]].concat());
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["actions"][0]["verb"], "updateApp");
}

#[test]
fn an_empty_registry_says_so_and_serves_an_empty_document() {
    let place = Place::new();
    std::fs::remove_dir_all(place.manifests()).unwrap();
    std::fs::create_dir(place.manifests()).unwrap();
    let daemon = Daemon::start(&place);
    let health = daemon.get("/").unwrap();
    assert_eq!(health["checks"]["/repo"]["Healthy"]["message"], "Able to find 0 package(s).");
    assert_eq!(daemon.get("/repo").unwrap(), serde_json::json!({"packages": []}));
    assert_eq!(daemon.interrupt().code(), Some(0));
}
