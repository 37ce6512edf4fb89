//! How long the controller needs to understand a listing of Marathon: parse, normalise, compare with what is desired.
//!
//!     cargo bench --bench listing
//!
//! The peer, in the same run, is the mere parsing of the same text into a tree of values. DESIGN promises 60 ms of one
//! processor for 1,000 apps. Every contestant runs once per round; the best and the median of all rounds are printed.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a program for people, that stops where it cannot go on"
)]

use std::hint::black_box;
use std::time::Duration;

use dcos_registry::clock::Clock;
use dcos_registry::marathon::diff::{condense, diff};
use dcos_registry::marathon::normalize::{Canonical, normalize};
use dcos_registry::model::App;
use serde_json::{Value, json};

const APPS: usize = 1000;
const ROUNDS: usize = 30;

/// What the endpoint answers.
#[derive(serde::Deserialize)]
struct Listing {
    apps: Vec<App>,
}

/// An app of ordinary size: ports, checks, environment, labels with a package's metadata, a fetch.
fn app(number: usize) -> Canonical {
    let metadata = "eyJuYW1lIjoiaGVsbG8iLCJ2ZXJzaW9uIjoiMS4wIn0".repeat(30);
    let environment: serde_json::Map<String, Value> =
        (0..20).map(|n| (format!("SETTING_{n}"), format!("value {n} of {number}").into())).collect();
    let app = json!({
        "id": format!("/platform/team-{}/service-{number}", number % 40),
        "cmd": "exec ./service --port $PORT0 --config /mnt/mesos/sandbox/service.yaml",
        "instances": 1 + number % 3, "cpus": 0.5, "mem": 512, "disk": 64,
        "container": {
            "type": "DOCKER",
            "docker": {"image": format!("registry.example/team/service:{number}"), "forcePullImage": false},
            "portMappings": [
                {"containerPort": 8080, "hostPort": 0, "servicePort": 0, "name": "api", "labels": {"VIP_0": format!("/service-{number}:80")}},
                {"containerPort": 9090, "hostPort": 0, "servicePort": 0, "name": "metrics"},
            ],
            "volumes": [{"containerPath": "/data", "hostPath": "/var/data", "mode": "RO"}],
        },
        "networks": [{"mode": "container/bridge"}],
        "env": environment,
        "labels": {"DCOS_PACKAGE_NAME": "hello", "DCOS_PACKAGE_VERSION": "1.0", "DCOS_PACKAGE_METADATA": metadata, "OWNER": "team"},
        "fetch": [{"uri": "https://downloads.example/service.tar.gz", "extract": true, "cache": true}],
        "healthChecks": [{"protocol": "MESOS_HTTP", "path": "/health", "portIndex": 0, "gracePeriodSeconds": 60}],
        "constraints": [["hostname", "UNIQUE"], ["zone", "GROUP_BY", "3"]],
        "upgradeStrategy": {"minimumHealthCapacity": 0.5, "maximumOverCapacity": 0.5},
    });
    normalize(&App::from_value(app).unwrap()).unwrap()
}

/// The app as the listing shows it, with ports given out, counts and tasks.
fn shown(app: &Canonical) -> Value {
    let version = "2026-01-01T00:00:00.000Z";
    let instances = app.instances();
    let mut shown = app.clone().into_app().into_value();
    let mappings = shown["container"]["portMappings"].as_array_mut().unwrap();
    for (mapping, port) in mappings.iter_mut().zip(10_001u32..) {
        mapping["servicePort"] = port.into();
    }
    let tasks: Vec<_> = (0..instances)
        .map(|n| {
            json!({
                "id": format!("service.instance-{n}"), "appId": app.id(), "host": "10.0.0.1", "ports": [31000, 31001],
                "state": "TASK_RUNNING", "version": version, "startedAt": version, "stagedAt": version,
                "healthCheckResults": [{"alive": true, "consecutiveFailures": 0, "instanceId": "x", "lastSuccess": version}],
            })
        })
        .collect();
    let status = json!({
        "version": version, "versionInfo": {"lastScalingAt": version, "lastConfigChangeAt": version},
        "tasksStaged": 0, "tasksRunning": instances, "tasksHealthy": instances, "tasksUnhealthy": 0, "deployments": [],
        "tasks": tasks,
    });
    shown.as_object_mut().unwrap().extend(status.as_object().unwrap().clone());
    shown
}

fn understood(text: &[u8], desired: &[Canonical], applied: &[App]) -> usize {
    let listing: Listing = serde_json::from_slice(text).unwrap();
    let sides = listing.apps.iter().zip(desired.iter().zip(applied));
    sides
        .filter(|(seen, (wanted, last))| !diff(wanted, seen, Some(last), &[]).unwrap().changes.is_empty())
        .count()
}

fn timed(clock: &Clock, work: impl FnOnce()) -> Duration {
    let begun = clock.boot();
    work();
    clock.boot().saturating_sub(begun)
}

fn milliseconds(mut samples: Vec<Duration>) -> (f64, f64) {
    samples.sort();
    let of = |sample: Duration| sample.as_secs_f64() * 1e3;
    (of(samples[0]), of(samples[samples.len() / 2]))
}

fn main() {
    let desired: Vec<Canonical> = (0..APPS).map(app).collect();
    let applied: Vec<App> = desired.iter().map(|app| condense(app)).collect();
    let apps: Vec<Value> = desired.iter().map(shown).collect();
    let text = json!({"apps": apps}).to_string().into_bytes();
    let differing = understood(&text, &desired, &applied);
    assert_eq!(differing, 0, "nothing was changed");

    let clock = Clock::system();
    let (mut ours, mut peer) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        ours.push(timed(&clock, || {
            black_box(understood(&text, &desired, &applied));
        }));
        peer.push(timed(&clock, || drop(black_box(serde_json::from_slice::<Value>(&text).unwrap()))));
    }
    let ((best, median), (peer_best, peer_median)) = (milliseconds(ours), milliseconds(peer));
    println!("{APPS} apps, {} kB of JSON, {ROUNDS} rounds", text.len() / 1000);
    println!("parse, normalise, compare   best {best:6.1} ms   median {median:6.1} ms   (promised: 60)");
    println!("parse only                  best {peer_best:6.1} ms   median {peer_median:6.1} ms");
    println!(
        "ratio                       best {:6.2}      median {:6.2}",
        best / peer_best,
        median / peer_median
    );
}
