//! Whatever somebody changes by hand is put right; whatever the manifest says is followed.

use serde_json::{Value, json};

use crate::daemon::{Daemon, Place, eventually};

const WORLD: &str = "/quickstart/hello-world";
const MOON: &str = "/quickstart/hello-moon";

fn version(daemon: &Daemon, id: &str) -> String {
    daemon.app(id).map(|app| app["version"].as_str().unwrap_or_default().to_owned()).unwrap_or_default()
}

fn condition<'a>(status: &'a Value, unit: &str, kind: &str) -> Option<&'a Value> {
    let (wanted_kind, name) = unit.split_once('/')?;
    let units = status["units"].as_array()?;
    let unit = units.iter().find(|u| u["unit"]["kind"] == wanted_kind && u["unit"]["name"] == name)?;
    unit["conditions"].as_array()?.iter().find(|c| c["type"] == kind)
}

#[test]
fn edits_of_the_manifest_and_changes_by_hand_end_as_the_manifest_says() {
    let place = Place::new();
    let daemon = Daemon::start(&place);
    daemon.wait_until_ready();
    assert!(daemon.plan().contains("Nothing to do"), "{}", daemon.plan());

    an_option_is_edited(&place, &daemon);
    an_app_is_deleted_by_hand(&daemon);
    an_app_is_scaled_by_hand(&daemon);
    a_broken_document_touches_nothing(&place, &daemon);
    the_version_is_raised(&place, &daemon);
    files_are_changed_under_a_published_version(&place, &daemon);
    a_service_is_removed(&place, &daemon);

    let status = daemon.interrupt();
    assert_eq!(status.code(), Some(0));
    assert_eq!(place.processes(), Vec::<String>::new());
}

fn an_option_is_edited(place: &Place, daemon: &Daemon) {
    let before = version(daemon, WORLD);
    place.edit("name: World", "name: Europa");
    eventually("the new option reaches the app", || {
        let app = daemon.app(WORLD)?;
        let done = app.to_string().contains("Europa") && app["deployments"] == json!([]);
        if done { Ok(()) } else { Err(app.to_string()) }
    });
    assert_ne!(version(daemon, WORLD), before);
    daemon.wait_until_ready();
}

fn an_app_is_deleted_by_hand(daemon: &Daemon) {
    let before = version(daemon, MOON);
    let (status, body) = daemon.marathon("DELETE", &format!("/v2/apps{MOON}"), None);
    assert_eq!(status, 200, "{body}");
    eventually("the deleted app is back", || {
        let app = daemon.app(MOON)?;
        if app["version"] == before.as_str() { Err("still the old one".to_owned()) } else { Ok(()) }
    });
    daemon.wait_until_ready();
    daemon.wait_until_printed("somebody had removed it");
}

fn an_app_is_scaled_by_hand(daemon: &Daemon) {
    let wanted = daemon.app(WORLD).unwrap()["instances"].as_u64().unwrap();
    let body = json!({"instances": wanted + 2});
    let (status, answer) = daemon.marathon("PUT", &format!("/v2/apps{WORLD}?force=true"), Some(&body));
    assert_eq!(status, 200, "{answer}");
    eventually("it is scaled back", || {
        let app = daemon.app(WORLD)?;
        let right =
            app["instances"] == wanted && app["tasksRunning"] == wanted && app["deployments"] == json!([]);
        if right { Ok(()) } else { Err(app.to_string()) }
    });
    daemon.wait_until_ready();
}

fn a_broken_document_touches_nothing(place: &Place, daemon: &Daemon) {
    let (world, moon) = (version(daemon, WORLD), version(daemon, MOON));
    let file = place.manifests().join("broken.yaml");
    std::fs::write(
        &file,
        "apiVersion: dcos-registry/v1\nkind: Service\nmetadata: {name: broken}\nspec:\n  pakage: hello\n",
    )
    .unwrap();
    eventually("the fault is reported", || {
        let printed = daemon.printed();
        if printed.contains("broken.yaml:5") && printed.contains("pakage") { Ok(()) } else { Err(printed) }
    });
    assert!(daemon.plan().contains("broken.yaml:5"), "{}", daemon.plan());
    assert_eq!((version(daemon, WORLD), version(daemon, MOON)), (world, moon));
    std::fs::remove_file(file).unwrap();
    eventually("the good manifest is in force again", || {
        let status = daemon.get("/api/v1/status")?;
        if status["problems"] == json!([]) { Ok(()) } else { Err(status.to_string()) }
    });
}

fn the_version_is_raised(place: &Place, daemon: &Daemon) {
    place.edit("version: 0.1.0", "version: 0.2.0");
    eventually("both services follow the new version", || {
        for id in [WORLD, MOON] {
            let app = daemon.app(id)?;
            if app["labels"]["DCOS_PACKAGE_VERSION"] != "0.2.0" || app["deployments"] != json!([]) {
                return Err(app.to_string());
            }
        }
        Ok(())
    });
    daemon.wait_until_ready();
    let health = daemon.get("/").unwrap();
    assert_eq!(health["checks"]["/repo"]["Healthy"]["message"], "Able to find 2 package(s).");
}

fn files_are_changed_under_a_published_version(place: &Place, daemon: &Daemon) {
    let before = version(daemon, WORLD);
    let script = place.manifests().join("packages/hello/1/hello.sh");
    let original = std::fs::read_to_string(&script).unwrap();
    std::fs::write(&script, format!("{original}\n# changed\n")).unwrap();
    eventually("the unit is Stalled", || {
        let status = daemon.get("/api/v1/status")?;
        let stalled = condition(&status, "Package/hello", "Stalled").ok_or_else(|| status.to_string())?;
        if stalled["reason"] == "VersionImmutable" { Ok(()) } else { Err(status.to_string()) }
    });
    let status = daemon.get("/api/v1/status").unwrap();
    let message = condition(&status, "Package/hello", "Stalled").unwrap()["message"].as_str().unwrap();
    assert!(message.contains("raise the version"), "{message}");
    assert_eq!(version(daemon, WORLD), before);
    std::fs::write(&script, original).unwrap();
    daemon.wait_until_ready();
}

fn a_service_is_removed(place: &Place, daemon: &Daemon) {
    let file = place.file_with("name: hello-moon");
    let content = std::fs::read_to_string(&file).unwrap();
    let kept: Vec<&str> =
        content.split("\n---\n").filter(|document| !document.contains("name: hello-moon")).collect();
    if kept.is_empty() {
        std::fs::remove_file(&file).unwrap();
    } else {
        std::fs::write(&file, kept.join("\n---\n")).unwrap();
    }
    eventually("its app is gone", || {
        let (status, body) = daemon.marathon("GET", &format!("/v2/apps{MOON}"), None);
        if status == 404 { Ok(()) } else { Err(body) }
    });
    daemon.wait_until_ready();
    assert!(daemon.app(WORLD).is_ok());
}
