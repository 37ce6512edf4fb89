//! Killed at any moment and started again, it goes on to the same end, and leaves no process behind.

use std::time::Duration;

use crate::daemon::{Daemon, Place, eventually};

fn nothing_is_left(place: &Place) {
    eventually("no process is left", || {
        let left = place.processes();
        if left.is_empty() { Ok(()) } else { Err(left.join("\n")) }
    });
}

#[test]
fn a_killed_daemon_leaves_nothing_and_the_next_one_goes_on() {
    let place = Place::new();
    let daemon = Daemon::start(&place);
    daemon.wait_until_ready();
    daemon.kill();
    nothing_is_left(&place);
    let again = Daemon::start(&place);
    again.wait_until_ready();
    again.kill();
    nothing_is_left(&place);
}

/// Kills at moments spread over the first second, so that every stage of starting is hit.
#[test]
#[expect(clippy::disallowed_methods, reason = "the moment of the kill is real time")]
fn killed_at_any_moment_of_its_start_it_still_gets_there() {
    let place = Place::new();
    for tenths in [0, 1, 2, 3, 5, 8] {
        let daemon = Daemon::start(&place);
        std::thread::sleep(Duration::from_millis(tenths * 100));
        daemon.kill();
    }
    let daemon = Daemon::start(&place);
    daemon.wait_until_ready();
    let health = daemon.get("/").unwrap();
    assert_eq!(health["checks"]["/repo"]["Healthy"]["message"], "Able to find 1 package(s).");
    let status = daemon.interrupt();
    assert_eq!(status.code(), Some(0));
    nothing_is_left(&place);
}

#[test]
fn the_next_start_takes_up_where_the_first_stopped() {
    let place = Place::new();
    let first = Daemon::start_at(&place, "127.0.0.1:0", "127.0.0.1:0");
    first.wait_until_ready();
    let (registry, marathon) = (first.registry.clone(), first.marathon.clone());
    let version = first.app("/quickstart/hello-world").unwrap()["version"].clone();
    assert_eq!(first.interrupt().code(), Some(0));
    assert_eq!(place.processes(), Vec::<String>::new());

    let address = |url: &str| url.strip_prefix("http://").unwrap().to_owned();
    let second = Daemon::start_at(&place, &address(&registry), &address(&marathon));
    second.wait_until_ready();
    // The same app as before, started again: nothing had to be changed.
    assert_eq!(second.app("/quickstart/hello-world").unwrap()["version"], version);
    assert!(!second.printed().contains("created /quickstart"), "{}", second.printed());
}

/// The last good manifest is in force also when the newest one was broken before the program started.
#[test]
fn a_start_with_a_broken_manifest_keeps_what_was_accepted_before() {
    let place = Place::new();
    let first = Daemon::start(&place);
    first.wait_until_ready();
    let address = |url: &str| url.strip_prefix("http://").unwrap().to_owned();
    let (registry, marathon) = (address(&first.registry), address(&first.marathon));
    assert_eq!(first.interrupt().code(), Some(0));

    place.edit("  options:", "  optoins:");
    let second = Daemon::start_at(&place, &registry, &marathon);
    second.wait_until_ready();
    second.wait_until_printed("optoins");
    let (status, body) = second.marathon("DELETE", "/v2/apps/quickstart/hello-moon", None);
    assert_eq!(status, 200, "{body}");
    eventually("what is deleted comes back", || second.app("/quickstart/hello-moon").map(|_| ()));
}
