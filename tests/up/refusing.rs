//! What cannot work is refused with one clear message, exit code 1, and nothing changed.

use std::net::TcpListener;

use crate::daemon::{Daemon, Place, eventually, run};

fn refused(arguments: &[&str]) -> String {
    let output = run(arguments);
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{message}");
    message
}

fn up(place: &Place, dir: &str, listen: &str, marathon_listen: &str) -> String {
    let manifests = place.manifests();
    let manifests = manifests.to_str().unwrap();
    refused(&[
        "up",
        "--listen",
        listen,
        "--marathon-listen",
        marathon_listen,
        "--dir",
        dir,
        "--manifests",
        manifests,
    ])
}

#[test]
fn a_port_in_use_is_named_and_nothing_is_created() {
    let place = Place::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let dir = place.dir();
    let dir = dir.to_str().unwrap();
    let message = up(&place, dir, &address, "127.0.0.1:0");
    assert!(message.contains(&address) && message.contains("--listen"), "{message}");
    let message = up(&place, dir, "127.0.0.1:0", &address);
    assert!(message.contains(&address) && message.contains("--marathon-listen"), "{message}");
    assert!(!place.dir().exists());
}

#[test]
fn a_directory_of_somebody_else_is_left_alone() {
    let place = Place::new();
    std::fs::create_dir(place.dir()).unwrap();
    std::fs::write(place.dir().join("thesis.txt"), "mine").unwrap();
    let message = up(&place, place.dir().to_str().unwrap(), "127.0.0.1:0", "127.0.0.1:0");
    assert!(message.contains("state"), "{message}");
    let left: Vec<_> = std::fs::read_dir(place.dir()).unwrap().collect();
    assert_eq!(left.len(), 1);
}

#[test]
fn a_second_daemon_on_the_same_directory_is_refused() {
    let place = Place::new();
    let first = Daemon::start(&place);
    first.wait_until_ready();
    let message = up(&place, place.dir().to_str().unwrap(), "127.0.0.1:0", "127.0.0.1:0");
    assert!(message.contains("another"), "{message}");
    first.wait_until_ready();
}

#[test]
fn what_others_can_reach_is_not_listened_on() {
    let place = Place::new();
    let message = up(&place, place.dir().to_str().unwrap(), "0.0.0.0:0", "127.0.0.1:0");
    assert!(message.contains("TLS") && !place.dir().exists(), "{message}");
}

#[test]
fn wrong_usage_is_64_and_no_daemon_is_1() {
    assert_eq!(run(&["up", "--no-such-option"]).status.code(), Some(64));
    assert_eq!(run(&["status", "--server", "http://127.0.0.1:1"]).status.code(), Some(1));
    assert_eq!(run(&["--help"]).status.code(), Some(0));
}

#[test]
fn options_that_do_not_fit_are_reported_where_they_stand() {
    let place = Place::new();
    place.edit("name: World", "nmae: World");
    let daemon = Daemon::start(&place);
    eventually("the violation is reported", || {
        let printed = daemon.printed();
        if printed.contains("nmae") && printed.contains(".yaml:") { Ok(()) } else { Err(printed) }
    });
    // Nothing was in force before, so nothing was started.
    assert_eq!(daemon.marathon("GET", "/v2/apps", None).1, "{\"apps\":[]}");
}
