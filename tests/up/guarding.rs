//! What is held back is told, and what cannot work is refused before anything is changed.

use serde_json::Value;

use crate::daemon::{Daemon, Place, eventually, exchange, run};

#[test]
fn removals_that_are_held_back_are_told_on_the_screen_and_by_status() {
    let place = Place::new();
    let daemon = Daemon::start(&place);
    daemon.wait_until_ready();
    let file = place.file_with("name: hello-moon");
    let content = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, "# Nothing any more.\n").unwrap();
    eventually("the reason is on the screen", || {
        let printed = daemon.printed();
        let told = ["moon", "world"].iter().all(|name| {
            let app = format!("/quickstart/hello-{name} is not removed");
            printed.matches(&app).count() == 1
        });
        if told { Ok(()) } else { Err(printed) }
    });
    let status = run(&["status", "--server", &daemon.registry]);
    let status = String::from_utf8_lossy(&status.stdout).into_owned();
    assert!(status.contains("/quickstart/hello-moon is not removed: the manifest holds no unit"), "{status}");
    assert!(daemon.app("/quickstart/hello-moon").is_ok());

    std::fs::write(&file, content).unwrap();
    eventually("nothing is held back any more", || {
        let status = daemon.get("/api/v1/status")?;
        if status["kept"] == serde_json::json!([]) { Ok(()) } else { Err(status.to_string()) }
    });
}

#[test]
fn what_a_template_says_and_marathon_does_not_know_is_told_once_and_by_whoever_is_asked() {
    let place = Place::new();
    let template = place.manifests().join("packages/hello/0/marathon.json.mustache");
    let content = std::fs::read_to_string(&template).unwrap();
    std::fs::write(&template, content.replace("\"cmd\"", "\"healthCheck\": [], \"cmd\"")).unwrap();
    let daemon = Daemon::start(&place);
    daemon.wait_until_ready();
    let dropped = "/healthCheck: dropped from the template: unknown field (did you mean healthChecks?)";
    // Some passes came and went until everything was ready.
    let printed = daemon.printed();
    for unit in ["Service/hello-world", "Service/hello-moon"] {
        assert_eq!(printed.matches(&format!("  {unit}: warning: {dropped}")).count(), 1, "{printed}");
    }
    let status = run(&["status", "--server", &daemon.registry]);
    let status = String::from_utf8_lossy(&status.stdout).into_owned();
    assert_eq!(status.matches(&format!("    Warning      {dropped}\n")).count(), 2, "{status}");
    let status = daemon.get("/api/v1/status").unwrap();
    assert_eq!(status["units"][1]["warnings"][0]["path"], "/healthCheck", "{status}");
    let plan = run(&["plan", "--detailed-exitcode", "--server", &daemon.registry]);
    let text = String::from_utf8_lossy(&plan.stdout).into_owned();
    assert!(text.contains(dropped) && text.contains("Nothing to do"), "{text}");
    assert_eq!(plan.status.code(), Some(0), "{text}");
}

#[test]
fn a_directory_among_the_manifests_is_refused() {
    let place = Place::new();
    let manifests = place.manifests();
    let dir = manifests.join("state");
    let arguments = ["up", "--listen", "127.0.0.1:0", "--marathon-listen", "127.0.0.1:0", "--dir"];
    let named = [dir.to_str().unwrap(), "--manifests", manifests.to_str().unwrap()];
    let output = run(&[&arguments[..], &named[..]].concat());
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert!(message.contains("lies in the folder of manifests") && message.contains("--dir"), "{message}");
    assert!(!dir.exists());
}

#[test]
fn what_the_registry_does_not_have_or_do_is_said_as_json() {
    let place = Place::new();
    let daemon = Daemon::start(&place);
    let digest = format!("sha256:{}", "0".repeat(64));
    for (method, path, status, kind) in [
        ("GET", format!("/resource/abc/{digest}/%ff"), 404, "ResourceNotFound"),
        ("GET", format!("/resource/abc/{digest}/..%2f..%2fx"), 404, "ResourceNotFound"),
        ("GET", "/resource/x".to_owned(), 404, "NotFound"),
        ("POST", "/repo".to_owned(), 405, "MethodNotAllowed"),
        ("DELETE", "/api/v1/plan".to_owned(), 405, "MethodNotAllowed"),
    ] {
        let answer = exchange(method, &format!("{}{path}", daemon.registry), &[], None).unwrap();
        let body: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!((answer.status, &body["type"]), (status, &Value::from(kind)), "{method} {path}");
        assert_eq!(answer.header("allow").is_empty(), status == 404, "{method} {path}");
    }
}

#[test]
fn nothing_is_done_once_the_directory_is_gone() {
    let place = Place::new();
    let daemon = Daemon::start(&place);
    daemon.wait_until_ready();
    std::fs::rename(place.dir(), place.dir().with_extension("away")).unwrap();
    let (status, body) = daemon.marathon("GET", "/v2/apps/quickstart/hello-moon", None);
    assert_eq!(status, 200, "{body}");
    place.edit("version: 0.1.0", "version: 0.2.0");
    eventually("that is told", || {
        let printed = daemon.printed();
        if printed.contains("was removed or replaced while it was in use") { Ok(()) } else { Err(printed) }
    });
    assert_eq!(exchange("GET", &format!("{}/readyz", daemon.registry), &[], None).unwrap().status, 500);
    assert!(!place.dir().join("v1").exists(), "nothing was written there");
    std::fs::rename(place.dir().with_extension("away"), place.dir()).unwrap();
    eventually("it goes on where it was", || {
        let health = daemon.get("/")?.to_string();
        if health.contains("2 package(s)") { Ok(()) } else { Err(health) }
    });
    daemon.wait_until_ready();
}
