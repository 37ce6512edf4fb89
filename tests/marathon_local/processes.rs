//! What becomes of processes: crashes, deaf tasks, fugitives, and the death of those who watch them.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use dcos_registry::clock::Clock;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tokio::io::AsyncWriteExt as _;

use super::harness::{AGENT, Local, is_alive, parent, wait};

/// Starts a child, an orphan, and one that leaves process group and session where there is a program for it;
/// notes all process ids, and stays.
const FUGITIVES: &str = "sleep 1001 & echo $! > a; (sleep 1002 & echo $! > b); \
    $(command -v setsid) sh -c 'echo $$ > c; exec sleep 1003' & echo $$ > d; wait";

async fn pid_in(clock: &Clock, path: &Path) -> i32 {
    wait(clock, &path.display().to_string(), async || {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        text.trim().parse().map_err(|_| text)
    })
    .await
}

async fn all_gone(clock: &Clock, pids: &[i32]) {
    wait(clock, "the end of all processes", async || {
        let left: Vec<_> = pids.iter().filter(|pid| is_alive(**pid)).collect();
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?} of {pids:?}")) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::disallowed_methods, reason = "the test takes the daemon's place")]
async fn nothing_survives_the_death_of_the_daemon() {
    let (clock, sandbox) = (Clock::system(), tempfile::tempdir().unwrap());
    let mut supervisor = tokio::process::Command::new(AGENT)
        .arg("task-supervisor")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let order = json!({"run": {
        "argv": ["/bin/sh", "-c", FUGITIVES], "env": {"PATH": "/usr/bin:/bin"},
        "directory": sandbox.path(), "keepOutput": true,
    }});
    let mut orders = supervisor.stdin.take().unwrap();
    orders.write_all(format!("{order}\n").as_bytes()).await.unwrap();
    let mut pids = Vec::new();
    for name in ["a", "b", "c", "d"] {
        pids.push(pid_in(&clock, &sandbox.path().join(name)).await);
    }
    assert!(pids.iter().all(|pid| is_alive(*pid)));
    // This is what the kernel does for a daemon that is killed, whatever the signal.
    drop(orders);
    clock.timeout(Duration::from_secs(30), supervisor.wait()).await.expect("it does not end").unwrap();
    assert!(!pids.iter().any(|pid| is_alive(*pid)), "the supervisor ends last");
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::disallowed_methods, reason = "the test takes a person's place")]
async fn the_supervisor_refuses_to_be_called_by_hand() {
    for args in [&["task-supervisor", "x"][..], &["task-supervisor"]] {
        let mut command = tokio::process::Command::new(AGENT);
        let output = command.args(args).stdin(Stdio::null()).output().await.unwrap();
        assert_eq!(output.status.code(), Some(64));
        assert!(String::from_utf8_lossy(&output.stderr).contains("task-supervisor"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_survives_the_end_of_a_task_or_the_death_of_its_supervisor() {
    let local = Local::start().await;
    let app = local.run(json!({"id": "/fugitives", "cmd": FUGITIVES, "backoffSeconds": 0})).await;
    let sandbox = local.sandbox(&app["tasks"][0]);
    let mut pids = Vec::new();
    for name in ["a", "b", "c", "d"] {
        pids.push(pid_in(&local.clock, &sandbox.join(name)).await);
    }
    let supervisor = parent(pids[3]);
    kill_process(Pid::from_raw(supervisor).unwrap(), Signal::KILL).unwrap();
    let app = local.until("/fugitives", |app| !app["lastTaskFailure"].is_null()).await;
    assert_eq!(app["lastTaskFailure"]["message"], "the task's supervisor died");
    all_gone(&local.clock, &pids).await;

    let first = app["lastTaskFailure"]["taskId"].clone();
    let app =
        local.until("/fugitives", |app| app["tasksRunning"] == 1 && app["tasks"][0]["id"] != first).await;
    let sandbox = local.sandbox(&app["tasks"][0]);
    let mut pids = Vec::new();
    for name in ["a", "b", "c", "d"] {
        pids.push(pid_in(&local.clock, &sandbox.join(name)).await);
    }
    // The shell alone dies; what it started goes with it.
    kill_process(Pid::from_raw(pids[3]).unwrap(), Signal::KILL).unwrap();
    all_gone(&local.clock, &pids).await;
    let second = app["tasks"][0]["id"].clone();
    let app = local.until("/fugitives", |app| app["lastTaskFailure"]["taskId"] == second).await;
    assert_eq!(app["lastTaskFailure"]["message"], "Command terminated with signal 9");
    local.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_may_end_in_peace_and_deaf_ones_are_killed() {
    let local = Local::start().await;
    // The shell itself dies of SIGTERM; its child still gets the time to finish.
    // So does one that left the process group (where there is a program to leave it with).
    let peaceful = json!({"id": "/peaceful", "taskKillGracePeriodSeconds": 20, "cmd":
        "cat > far.sh <<'END'\ntrap 'echo bye > far; exit 0' TERM; echo $$ > far-ready; while :; do sleep 0.1; done\nEND\n\
         $(command -v setsid) sh far.sh &\n\
         (trap 'sleep 0.5; echo bye > last; exit 0' TERM; echo $$ > ready; while :; do sleep 0.1; done); true"});
    let deaf = json!({"id": "/deaf", "taskKillGracePeriodSeconds": 1, "cmd":
        "trap '' TERM; echo $$ > ready; while :; do sleep 0.1; done"});
    let (peaceful, deaf) = tokio::join!(local.run(peaceful), local.run(deaf));
    local.file(&peaceful["tasks"][0], "ready").await;
    local.file(&peaceful["tasks"][0], "far-ready").await;
    let pid: i32 = local.file(&deaf["tasks"][0], "ready").await.trim().parse().unwrap();
    for id in ["/peaceful", "/deaf"] {
        local.expect(200, "DELETE", &format!("/v2/apps{id}"), &json!(null)).await;
    }
    // The tasks of an app that is gone are not listed, but its deployment lasts until the last one ended.
    assert_eq!(local.get("/v2/tasks").await.body, json!({"tasks": []}));
    local
        .wait("the end of all tasks", async || {
            let deployments = local.get("/v2/deployments").await.body;
            if deployments == json!([]) { Ok(()) } else { Err(deployments.to_string()) }
        })
        .await;
    assert_eq!(local.file(&peaceful["tasks"][0], "last").await, "bye\n");
    assert_eq!(local.file(&peaceful["tasks"][0], "far").await, "bye\n");
    assert!(!is_alive(pid));
    local.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_dies_is_started_again_with_growing_delay() {
    let local = Local::start().await;
    let app = json!({"id": "/crashing", "cmd": "exit 3", "backoffSeconds": 1, "backoffFactor": 1.5});
    local.expect(201, "POST", "/v2/apps", &app).await;
    let first = local.until("/crashing", |app| !app["lastTaskFailure"].is_null()).await;
    assert_eq!(first["lastTaskFailure"]["message"], "Command exited with status 3");
    assert_eq!(first["lastTaskFailure"]["state"], "TASK_FAILED");
    let queue = local
        .wait("the queue", async || {
            let queue = local.get("/v2/queue").await.body;
            if queue["queue"][0]["delay"]["overdue"] == false { Ok(queue) } else { Err(queue.to_string()) }
        })
        .await;
    assert_eq!(
        (&queue["queue"][0]["app"]["id"], &queue["queue"][0]["count"]),
        (&json!("/crashing"), &json!(1))
    );
    let failed = first["lastTaskFailure"]["taskId"].clone();
    local.until("/crashing", |app| app["lastTaskFailure"]["taskId"] != failed).await;
    // Many more failures without delay: old sandboxes are thrown away.
    let hasty = json!({"backoffSeconds": 0, "backoffFactor": 1});
    local.expect(200, "PUT", "/v2/apps/crashing?force=true", &hasty).await;
    local
        .wait("many failures", async || {
            let names = std::fs::read_dir(local.dir.path().join("marathon/sandboxes")).unwrap().count();
            if names >= 6 { Ok(()) } else { Err(format!("{names} sandboxes")) }
        })
        .await;
    for _ in 0..3 {
        let seen = local.app("/crashing").await["lastTaskFailure"]["taskId"].clone();
        local.until("/crashing", |app| app["lastTaskFailure"]["taskId"] != seen).await;
    }
    let names = std::fs::read_dir(local.dir.path().join("marathon/sandboxes")).unwrap().count();
    assert!(names <= 7, "{names} sandboxes: five old ones, and those in use");
    local.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_run_here_waits_and_says_why() {
    let local = Local::start().await;
    let image = json!({"id": "/image", "container": {"type": "DOCKER", "docker": {"image": "busybox"}}});
    local.expect(201, "POST", "/v2/apps", &image).await;
    let app = local.until("/image", |app| !app["lastTaskFailure"].is_null()).await;
    let message = app["lastTaskFailure"]["message"].as_str().unwrap();
    assert!(message.contains("DOCKER"), "{message}");
    assert_eq!(app["tasksRunning"], 0);
    assert_eq!(app["deployments"].as_array().unwrap().len(), 1, "a deployment never fails by itself");

    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let taken = json!({"id": "/taken", "cmd": "sleep 1000", "requirePorts": true, "portDefinitions": [{"port": port}]});
    local.expect(201, "POST", "/v2/apps", &taken).await;
    let waiting = local
        .wait("the waiting launch", async || {
            let queue = local.get("/v2/queue").await.body;
            let items = queue["queue"].as_array().unwrap();
            items.iter().find(|item| item["app"]["id"] == "/taken").cloned().ok_or(queue.to_string())
        })
        .await;
    let reasons = waiting["processedOffersSummary"]["rejectSummaryLastOffers"].as_array().unwrap();
    let declined: Vec<_> = reasons.iter().filter(|r| r["declined"] != 0).collect();
    assert_eq!(declined, [&json!({"reason": "InsufficientPorts", "declined": 1, "processed": 1})]);
    drop(listener);
    let app = local.deployed("/taken").await;
    assert_eq!(app["tasks"][0]["ports"], json!([port]));
    local.stop().await;
}
