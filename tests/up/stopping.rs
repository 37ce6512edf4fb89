//! How it ends, whoever is still listening, and what it does when it cannot go on.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use crate::daemon::{Daemon, Place, command, eventually, interrupt, run, spawn_up};

/// Larger than what the sockets' buffers take.
const LARGE: u64 = 64 << 20;

/// The URL of a member of the only package.
fn asset(daemon: &Daemon, name: &str) -> String {
    let repo = daemon.get("/repo").unwrap();
    repo["packages"][0]["resource"]["assets"]["uris"][name].as_str().unwrap().to_owned()
}

#[test]
fn a_download_that_nobody_reads_on_does_not_keep_it() {
    let place = Place::new();
    let package = place.manifests().join("packages/hello/0");
    std::fs::File::create(package.join("large.bin")).unwrap().set_len(LARGE).unwrap();
    let resource = r#"{"assets": {"uris": {"script": "hello.sh", "large": "large.bin"}}}"#;
    std::fs::write(package.join("resource.json"), resource).unwrap();
    let daemon = Daemon::start(&place);
    daemon.wait_until_ready();

    let url = asset(&daemon, "large");
    let (host, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let mut slow = TcpStream::connect(host).unwrap();
    write!(slow, "GET /{path} HTTP/1.1\r\nHost: {host}\r\n\r\n").unwrap();
    let mut begin = [0; 64];
    slow.read_exact(&mut begin).unwrap();
    assert!(begin.starts_with(b"HTTP/1.1 200"));

    assert_eq!(daemon.interrupt().code(), Some(0));
    assert_eq!(place.processes(), Vec::<String>::new());
}

#[test]
fn a_reader_that_goes_away_ends_no_daemon_and_is_no_error() {
    let place = Place::new();
    let mut child = spawn_up(&place, "127.0.0.1:0", "127.0.0.1:0");
    let mut output = child.stdout.take().unwrap();
    let mut first = [0; 8];
    output.read_exact(&mut first).unwrap();
    drop(output);
    let started = || std::fs::read_dir(place.dir().join("v1/control/log")).map_or(0, Iterator::count) >= 4;
    eventually("it works without a reader", || if started() { Ok(()) } else { Err("not yet".into()) });
    assert!(child.try_wait().unwrap().is_none(), "it goes on");
    assert_eq!(interrupt(&mut child).code(), Some(0));

    let (read, write) = std::io::pipe().unwrap();
    drop(read);
    let manifests = place.manifests();
    let status = command()
        .args(["plan", "--dir", "/nonexistent", "--manifests"])
        .arg(manifests)
        .stdout(write)
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(0));
}

#[test]
fn a_controller_that_cannot_act_ends_the_program_with_its_reason() {
    let place = Place::new();
    let daemon = Daemon::start(&place);
    daemon.wait_until_ready();
    assert_eq!(daemon.interrupt().code(), Some(0));
    let log = place.dir().join("v1/control/log");
    let newest = std::fs::read_dir(&log).unwrap().map(|e| e.unwrap().file_name()).max().unwrap();
    let next: u64 = newest.to_str().unwrap().parse::<u64>().unwrap() + 1;
    // A folder where the next record must go: no record can be written any more.
    std::fs::create_dir(log.join(format!("{next:020}"))).unwrap();

    let (dir, manifests) = (place.dir(), place.manifests());
    let output = run(&[
        "up",
        "--listen",
        "127.0.0.1:0",
        "--marathon-listen",
        "127.0.0.1:0",
        "--dir",
        dir.to_str().unwrap(),
        "--manifests",
        manifests.to_str().unwrap(),
    ]);
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert!(message.contains("the controller could not go on"), "{message}");
    assert_eq!(place.processes(), Vec::<String>::new());
}

/// A task that does not listen is killed; that is no failure of ours.
#[test]
fn a_deaf_task_does_not_outlive_the_program() {
    let place = Place::new();
    let deaf = "apiVersion: dcos-registry/v1\nkind: App\nmetadata: {name: deaf}\nspec:\n  app:\n    id: /deaf\n    \
                cmd: trap '' TERM INT; while true; do sleep 1; done\n    taskKillGracePeriodSeconds: 60\n";
    std::fs::write(place.manifests().join("deaf.yaml"), deaf).unwrap();
    let daemon = Daemon::start(&place);
    daemon.wait_until_ready();
    let status = daemon.interrupt();
    assert_eq!(status.code(), Some(0));
    assert_eq!(place.processes(), Vec::<String>::new());
}
