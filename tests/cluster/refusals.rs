//! Storage that cannot be used: the program ends with 1, says why and what to do, and has changed nothing.

use std::path::Path;
use std::time::Duration;

use dcos_registry::clock::Clock;
use jiff::SignedDuration;

use crate::bundle::Sample;
use crate::instance::{Place, Recipe, free_port};
use crate::knobs;
use crate::prepared::{fill_bucket, fill_directory, on_bucket, on_directory};
use crate::program::tool;
use crate::s3_double::{S3Double, Setup};

/// How it refuses: the last line that it prints, with the words that differ from run to run taken out.
fn refusal(recipe: &Recipe, replace: &[(&str, &str)]) -> String {
    let (status, printed) = recipe.start().end();
    assert_eq!(status.code(), Some(1), "{printed}");
    let mut line = printed.lines().last().unwrap_or_default().to_owned();
    for (from, to) in replace {
        line = line.replace(from, to);
    }
    line
}

fn refused_directory(prepare: impl Fn(&Path)) -> String {
    let place = Place::new();
    let store = place.path().join("store");
    std::fs::create_dir(&store).unwrap();
    prepare(&store);
    let before = names(&store);
    let line = refusal(&on_directory(&place, &store), &[(&store.to_string_lossy(), "DIR")]);
    assert_eq!(names(&store), before, "something was changed");
    line
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries.map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn a_directory_that_holds_something_else() {
    let line = refused_directory(|store| std::fs::write(store.join("holiday.jpg"), "x").unwrap());
    assert_eq!(
        line,
        "dcos-registry: DIR is not a registry's storage: it holds \"holiday.jpg\"; choose an empty or a new directory"
    );
}

#[test]
fn a_directory_of_a_newer_version() {
    let line = refused_directory(|store| {
        fill_directory(store, &[Sample::new("old", 1)]);
        std::fs::create_dir(store.join("v2")).unwrap();
    });
    assert_eq!(line, "dcos-registry: DIR was written by a newer version (it holds v2); use that version");
}

/// Root may write wherever the mode says no, so that only a file system that takes nothing shows this.
#[test]
fn a_directory_that_takes_nothing() {
    let place = Place::new();
    let store = place.path().join("store");
    std::fs::create_dir(&store).unwrap();
    let path = store.to_str().unwrap();
    let mounted = tool("mount", &["-t", "tmpfs", "-o", "size=16m", "dcos-registry-test", path]);
    if !mounted.as_ref().is_ok_and(|output| output.status.success()) {
        return println!("skipped: a tmpfs cannot be mounted here: {mounted:?}");
    }
    // What is in one that holds a registry would be served.
    let remounted = tool("mount", &["-o", "remount,ro", path]).unwrap();
    let line = remounted.status.success().then(|| refusal(&on_directory(&place, &store), &[(path, "DIR")]));
    assert!(tool("umount", &["--lazy", path]).unwrap().status.success());
    match line {
        None => println!("skipped: it cannot be made read-only: {remounted:?}"),
        Some(line) => assert_eq!(
            line,
            "dcos-registry: DIR/lock is not writable; change its owner or mode, or choose another directory: \
             Read-only file system (os error 30)"
        ),
    }
}

/// Whoever holds the directory is waited for, as Marathon starts the next task while the last one still ends.
#[test]
fn a_directory_that_another_process_holds() {
    if !knobs::slow() {
        return println!("skipped: the wait for the lock takes 30 s; set DCOS_REGISTRY_SLOW");
    }
    let place = Place::new();
    let store = place.path().join("store");
    let mut first = on_directory(&place, &store).start();
    first.wait_until_ready();
    let second = Recipe { name: "two".into(), ..on_directory(&place, &store) };
    let line = refusal(&second, &[(&store.to_string_lossy(), "DIR")]);
    assert!(line.starts_with("dcos-registry: DIR is in use by another process (pid "), "{line}");
    assert!(line.ends_with("); stop that one or choose another directory"), "{line}");
    assert!(first.get("/health").is_ok());
    assert_eq!(first.terminate().code(), Some(0));
}

/// The next one starts as soon as the one before has ended.
#[test]
fn a_directory_that_another_process_gives_back() {
    let place = Place::new();
    let store = place.path().join("store");
    let mut first = on_directory(&place, &store).start();
    first.wait_until_ready();
    let mut second = on_directory(&place, &store).start();
    crate::program::pause(Duration::from_millis(300));
    assert_eq!(first.terminate().code(), Some(0));
    second.wait_until_ready();
    assert_eq!(second.terminate().code(), Some(0));
}

/// Whoever waits can be told to stop.
#[test]
fn a_start_that_waits_for_a_directory_ends_when_told_to() {
    let place = Place::new();
    let store = place.path().join("store");
    let mut first = on_directory(&place, &store).start();
    first.wait_until_ready();
    let second = on_directory(&place, &store).start();
    crate::program::pause(Duration::from_millis(500));
    let begun = Clock::system().boot();
    assert_eq!(second.terminate().code(), Some(0));
    let took = Clock::system().boot().saturating_sub(begun);
    assert!(took < Duration::from_secs(15), "it waited on for {took:?}");
    assert_eq!(first.terminate().code(), Some(0));
}

fn refused_bucket(double: &S3Double, bucket: &str, key: &str) -> String {
    let place = Place::new();
    let recipe = on_bucket(&place, &double.endpoint(), bucket, key, "");
    let line = refusal(&recipe, &[(&double.endpoint(), "ENDPOINT")]);
    // What the server said stands behind; its words are not ours.
    line.split(": cannot ").next().unwrap().to_owned()
}

#[test]
fn a_bucket_that_is_not_there() {
    let line = refused_bucket(&S3Double::start(), "elsewhere", "test");
    assert_eq!(
        line,
        "dcos-registry: there is no bucket \"elsewhere\" at ENDPOINT; create it or correct its name"
    );
}

#[test]
fn a_bucket_that_holds_something_else() {
    let double = S3Double::start();
    double.write("holiday.jpg", "x");
    let line = refused_bucket(&double, "registry", "test");
    assert_eq!(
        line,
        "dcos-registry: bucket \"registry\" at ENDPOINT is not a registry's storage: it holds \"holiday.jpg\"; \
         choose an empty bucket or another `path`"
    );
    assert_eq!(double.keys(""), ["holiday.jpg"]);
}

#[test]
fn keys_that_nobody_knows() {
    let double = S3Double::start_with(Setup { keys: Some(vec!["known".into()]), ..Setup::default() });
    let line = refused_bucket(&double, "registry", "unknown");
    assert_eq!(
        line,
        "dcos-registry: bucket \"registry\" at ENDPOINT refuses the credentials; check access key, secret key and \
         session token"
    );
}

#[test]
fn a_server_that_does_not_answer() {
    let place = Place::new();
    let endpoint = format!("http://127.0.0.1:{}", free_port());
    let recipe = on_bucket(&place, &endpoint, "registry", "test", "");
    let line = refusal(&recipe, &[(&endpoint, "ENDPOINT")]);
    assert!(
        line.starts_with(
            "dcos-registry: cannot reach bucket \"registry\" at ENDPOINT; check the endpoint, its port and the network"
        ),
        "{line}"
    );
}

#[test]
fn a_clock_that_is_an_hour_off() {
    let double = S3Double::start();
    fill_bucket(&double, &[Sample::new("kept", 1)]);
    for hours in [1, -1] {
        double.shift_clock(SignedDuration::from_hours(hours));
        let line = refused_bucket(&double, "registry", "test");
        assert_eq!(
            line,
            "dcos-registry: the clock of this machine differs too much from that of bucket \"registry\" at ENDPOINT; \
             set it right (NTP)"
        );
    }
}
