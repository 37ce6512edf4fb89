//! Apps from their creation to their end: environment, files, health, restart of the Marathon itself.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use dcos_registry::marathon_local::{LocalError, stored_apps};
use serde_json::{Value, json};

use super::harness::{Local, is_alive, start_at};

/// Serves until the test's runtime ends; returns the port.
async fn serve(router: Router) -> u16 {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    dcos_registry::workers::Workers::new().spawn("test-server", async move {
        axum::serve(listener, router).await.unwrap();
    });
    port
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_runs_with_its_environment_and_goes() {
    let local = Local::start().await;
    let app = json!({
        "id": "/demo/hello", "env": {"GREETING": "hi"}, "labels": {"owner": "me"},
        "portDefinitions": [{"port": 0, "name": "web"}],
        "cmd": "env > env.tmp; mv env.tmp env.txt; echo out; echo err >&2; exec sleep 1000",
    });
    let reply = local.send("POST", "/v2/apps", &app.to_string()).await;
    assert_eq!(reply.status, 201, "{}", reply.body);
    let location = format!("http://{}/demo/hello", local.marathon.address());
    assert_eq!(reply.headers["location"], location.as_str());
    assert_eq!(reply.headers["marathon-deployment-id"], reply.body["deployments"][0]["id"].as_str().unwrap());
    assert_eq!(reply.body["tasksRunning"], 0);
    let app = local.deployed("/demo/hello").await;
    assert_eq!((&app["tasksRunning"], &app["tasksStaged"]), (&json!(1), &json!(0)));
    assert_eq!(app["versionInfo"]["lastConfigChangeAt"], app["version"]);
    assert_eq!(app["upgradeStrategy"]["minimumHealthCapacity"], 1, "defaults are filled: {app}");
    assert!(app["portDefinitions"][0]["port"].as_u64().is_some_and(|p| (10_000..20_000).contains(&p)));
    let task = &app["tasks"][0];
    assert_eq!(task["state"], "TASK_RUNNING");
    let env = local.file(task, "env.txt").await;
    let port = task["ports"][0].as_u64().unwrap();
    for line in [
        format!("PORT0={port}"),
        format!("PORT_WEB={port}"),
        "HOST=127.0.0.1".into(),
        "GREETING=hi".into(),
        "MARATHON_APP_ID=/demo/hello".into(),
        "MARATHON_APP_LABEL_OWNER=me".into(),
        format!("MARATHON_APP_VERSION={}", app["version"].as_str().unwrap()),
        format!("MESOS_TASK_ID={}", task["id"].as_str().unwrap()),
        format!("MESOS_SANDBOX={}", local.sandbox(task).display()),
        format!("PWD={}", local.sandbox(task).display()),
    ] {
        assert!(env.lines().any(|l| l == line), "{line} is missing in:\n{env}");
    }
    assert!(!env.contains("CARGO"), "nothing of our own environment:\n{env}");
    assert_eq!(local.file(task, "stdout").await, "out\n");
    assert_eq!(local.file(task, "stderr").await, "err\n");

    let list = local.get("/v2/apps?embed=apps.tasks&embed=apps.counts&id=hello").await.body;
    assert_eq!(list["apps"][0]["tasks"][0]["id"], task["id"]);
    assert_eq!(local.get("/v2/apps?id=other").await.body, json!({"apps": []}));
    assert_eq!(local.get("/v2/apps/demo/*").await.body["*"][0]["id"], "/demo/hello");
    assert_eq!(local.get("/v2/apps//demo/hello/tasks").await.body["tasks"][0]["id"], task["id"]);
    assert_eq!(local.get("/v2/tasks").await.body["tasks"][0]["appId"], "/demo/hello");

    let gone = local.send("DELETE", "/v2/apps/demo/hello", "").await;
    assert_eq!(gone.status, 200);
    assert_eq!(gone.headers["marathon-deployment-id"], gone.body["deploymentId"].as_str().unwrap());
    assert_eq!(local.get("/v2/apps/demo/hello").await.status, 404, "at once, while its task still ends");
    local
        .wait("the end of the deletion", async || {
            let deployments = local.get("/v2/deployments").await.body;
            if deployments == json!([]) { Ok(()) } else { Err(deployments.to_string()) }
        })
        .await;
    assert_eq!(local.get("/v2/tasks").await.body, json!({"tasks": []}));
    local.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_fetched_unpacked_and_run() {
    let script = "#!/bin/sh\necho \"ran with $(cat data/word)\" > result\nexec sleep 1000\n";
    let mut builder =
        tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
    for (name, content, mode) in [("bin/start.sh", script, 0o755), ("data/word", "words", 0o644)] {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(mode);
        header.set_cksum();
        builder.append_data(&mut header, name, content.as_bytes()).unwrap();
    }
    let archive = builder.into_inner().unwrap().finish().unwrap();
    let tool = "#!/bin/sh\necho tool\n";
    let router = Router::new()
        .route("/files/app.tar.gz", get(move || std::future::ready(archive.clone())))
        .route("/files/tool", get(move || std::future::ready(tool)));
    let url = format!("http://127.0.0.1:{}/files", serve(router).await);

    let local = Local::start().await;
    let app = local
        .run(json!({
            "id": "/fetching", "cmd": "./tool > tool.out && ./bin/start.sh",
            "fetch": [{"uri": format!("{url}/app.tar.gz")}, {"uri": format!("{url}/tool"), "executable": true}],
        }))
        .await;
    assert_eq!(local.file(&app["tasks"][0], "result").await, "ran with words\n");
    assert_eq!(local.file(&app["tasks"][0], "tool.out").await, "tool\n");

    let missing = json!({"id": "/missing", "cmd": "sleep 1000", "uris": [format!("{url}/nothing.tgz")]});
    local.expect(201, "POST", "/v2/apps", &missing).await;
    let app = local.until("/missing", |app| !app["lastTaskFailure"].is_null()).await;
    let message = app["lastTaskFailure"]["message"].as_str().unwrap();
    assert!(message.contains("/files/nothing.tgz") && message.contains("404"), "{message}");
    assert_eq!(app["tasksRunning"], 0);
    local.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_that_fetches_slowly_keeps_no_other_from_starting() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let slow = move || {
        count.fetch_add(1, Ordering::SeqCst);
        std::future::pending::<()>()
    };
    let router = Router::new().route("/slow", get(slow)).route("/quick", get(async || "text"));
    let url = format!("http://127.0.0.1:{}", serve(router).await);
    let local = Local::start().await;
    let app = |id: &str, instances: u64, file: &str| {
        let uri = format!("{url}/{file}");
        json!({"id": id, "cmd": "exec sleep 1000", "instances": instances, "fetch": [{"uri": uri}]})
    };
    local.expect(201, "POST", "/v2/apps", &app("/slow", 20, "slow")).await;
    local
        .wait("the first downloads", async || match asked.load(Ordering::SeqCst) {
            4 => Ok(()),
            other => Err(other.to_string()),
        })
        .await;
    local.run(app("/quick", 8, "quick")).await;
    assert_eq!(asked.load(Ordering::SeqCst), 4, "so many of one app, and no more");
    assert_eq!(local.app("/slow").await["tasksRunning"], 0);
    local.expect(200, "DELETE", "/v2/apps/slow?force=true", &json!(null)).await;
    local.calm().await;
    local.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_what_cannot_be_fetched_only_the_reason_stays() {
    let local = Local::start().await;
    let (file, pipe) = (local.dir.path().join("file"), local.dir.path().join("pipe"));
    std::fs::write(&file, "content").unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RWXU).unwrap();
    let app = json!({"id": "/pipe", "cmd": "exec sleep 1000", "backoffSeconds": 1000,
        "fetch": [{"uri": file}, {"uri": pipe}]});
    local.expect(201, "POST", "/v2/apps", &app).await;
    let app = local.until("/pipe", |app| !app["lastTaskFailure"].is_null()).await;
    let message = app["lastTaskFailure"]["message"].as_str().unwrap();
    assert_eq!(message, format!("Failed to fetch {}: it is no regular file", pipe.display()));
    let task = json!({"id": app["lastTaskFailure"]["taskId"]});
    let left = std::fs::read_dir(local.sandbox(&task)).unwrap().map(|entry| entry.unwrap().file_name());
    assert_eq!(left.collect::<Vec<_>>(), ["stderr"]);
    assert_eq!(local.file(&task, "stderr").await, format!("{message}\n"));
    local.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn health_checks_count_and_replace_what_is_unhealthy() {
    let well = Arc::new(AtomicBool::new(true));
    let answer = Arc::clone(&well);
    let status = move || {
        let well = answer.load(Ordering::SeqCst);
        std::future::ready(if well { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE })
    };
    let port = serve(Router::new().route("/health", get(status))).await;
    let local = Local::start().await;
    let check = |extra: Value| {
        let mut check = json!({"gracePeriodSeconds": 0, "intervalSeconds": 0, "maxConsecutiveFailures": 2});
        check.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        check
    };
    let app = local
        .run(json!({
            "id": "/checked", "cmd": "touch ready; exec sleep 1000",
            "healthChecks": [
                check(json!({"protocol": "HTTP", "path": "/health", "port": port})),
                check(json!({"protocol": "TCP", "port": port})),
                check(json!({"protocol": "COMMAND", "delaySeconds": 0, "gracePeriodSeconds": 60,
                    "command": {"value": "test -f ready && test -d \"$MESOS_SANDBOX\""}})),
            ],
        }))
        .await;
    assert_eq!((&app["tasksHealthy"], &app["tasksUnhealthy"]), (&json!(1), &json!(0)), "{app}");
    let results = app["tasks"][0]["healthCheckResults"].as_array().unwrap();
    assert_eq!(results.len(), 3);
    assert!(results.iter().all(|r| r["alive"] == true && r["firstSuccess"].is_string()), "{results:?}");
    let first = app["tasks"][0]["id"].clone();

    well.store(false, Ordering::SeqCst);
    let app = local.until("/checked", |app| !app["lastTaskFailure"].is_null()).await;
    assert_eq!(
        (&app["lastTaskFailure"]["taskId"], &app["lastTaskFailure"]["state"]),
        (&first, &json!("TASK_KILLED"))
    );
    let message = app["lastTaskFailure"]["message"].as_str().unwrap();
    assert!(message.contains("health check failed") && message.contains("503"), "{message}");
    well.store(true, Ordering::SeqCst);
    let app = local.until("/checked", |app| app["tasksHealthy"] == 1).await;
    assert_ne!(app["tasks"][0]["id"], first);
    local.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_failure_is_known_after_a_restart() {
    let local = Local::start().await;
    let fail = local.dir.path().join("fail");
    let command = format!("while ! test -e {0}; do sleep 0.05; done; rm {0}; exit 3", fail.display());
    local.run(json!({"id": "/failing", "cmd": command, "backoffSeconds": 0})).await;
    // The end of the deployment is stored later than it is seen. Only after that nothing but the failure is new.
    let state = local.dir.path().join("marathon/state.json");
    local
        .wait("the stored end of the deployment", async || {
            let stored: Value = serde_json::from_slice(&std::fs::read(&state).unwrap()).unwrap();
            let left = stored["state"]["deployments"].clone();
            if left == json!([]) { Ok(()) } else { Err(left.to_string()) }
        })
        .await;
    std::fs::write(&fail, "").unwrap();
    let failed = local.until("/failing", |app| !app["lastTaskFailure"].is_null()).await;
    let local = Local::start_in(local.stop().await).await;
    assert_eq!(local.app("/failing").await["lastTaskFailure"], failed["lastTaskFailure"]);
    local.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_comes_back_after_a_restart() {
    let local = Local::start().await;
    let before = local
        .run(json!({"id": "/kept", "cmd": "echo $$ > pid; exec sleep 1000", "labels": {"a": "b"}}))
        .await;
    let pid: i32 = local.file(&before["tasks"][0], "pid").await.trim().parse().unwrap();
    let waiting = json!({"id": "/waiting", "cmd": "exec sleep 1000", "healthChecks":
        [{"protocol": "COMMAND", "command": {"value": "test -f never"}, "delaySeconds": 0, "intervalSeconds": 0}]});
    let deployment = local.expect(201, "POST", "/v2/apps", &waiting).await["deployments"][0]["id"].clone();
    let stored = || stored_apps(&local.dir.path().join("marathon")).unwrap().len();
    assert_eq!(stored(), 2, "what was answered survives a kill");
    local.until("/waiting", |app| app["tasksRunning"] == 1).await;

    let dir = local.stop().await;
    assert!(!is_alive(pid), "tasks end with their Marathon");
    let ids: Vec<_> = stored_apps(&dir.path().join("marathon")).unwrap();
    assert_eq!(ids.iter().filter_map(|app| app.id()).collect::<Vec<_>>(), ["/kept", "/waiting"]);

    let local = Local::start_in(dir).await;
    let after = local.until("/kept", |app| app["tasksRunning"] == 1).await;
    assert_eq!(after["version"], before["version"]);
    assert_eq!(after["portDefinitions"], before["portDefinitions"]);
    assert_ne!(after["tasks"][0]["id"], before["tasks"][0]["id"]);
    let deployments = local.get("/v2/deployments").await.body;
    assert_eq!((&deployments[0]["id"], deployments.as_array().unwrap().len()), (&deployment, 1));
    let app = local.until("/waiting", |app| app["tasksRunning"] == 1).await;
    std::fs::write(local.sandbox(&app["tasks"][0]).join("never"), "after all").unwrap();
    local.deployed("/waiting").await;

    // The directory and the port belong to one Marathon.
    let second = start_at(local.dir.path(), "127.0.0.1:0").await.err().unwrap();
    assert!(matches!(second, LocalError::Locked { .. }), "{second}");
    let other = tempfile::tempdir().unwrap();
    let second = start_at(other.path(), &local.marathon.address().to_string()).await.err().unwrap();
    assert!(second.to_string().contains("port is in use"), "{second}");
    assert_eq!(std::fs::read_dir(other.path()).unwrap().count(), 0, "nothing was changed");
    local.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_state_is_reported_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("marathon/state.json");
    std::fs::create_dir(dir.path().join("marathon")).unwrap();
    std::fs::File::create(&file).unwrap().write_all(b"{\"format\":1,").unwrap();
    let error = start_at(dir.path(), "127.0.0.1:0").await.err().unwrap();
    assert!(matches!(error, LocalError::Broken { .. }), "{error}");
    assert!(error.to_string().contains("state.json"), "{error}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "{\"format\":1,");
}

/// A state as this program wrote it before it knew groups and what each change replaced.
#[tokio::test(flavor = "multi_thread")]
async fn a_state_of_the_first_format_is_taken_over() {
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let version = "2026-01-01T00:00:00.000Z";
    let app = json!({
        "id": "/g/a", "cmd": "exec sleep 1000", "instances": 1, "cpus": 0.1, "mem": 32, "role": "*",
        "version": version, "versionInfo": {"lastScalingAt": version, "lastConfigChangeAt": version},
    });
    let steps = json!([
        {"actions": [{"action": "StartApplication", "app": "/g/a"}]},
        {"actions": [{"action": "ScaleApplication", "app": "/g/a"}]},
    ]);
    let deployment = json!({
        "id": "d0000000-0000-0000-0000-000000000000", "version": version, "steps": steps, "current": 1,
        "originals": {"/g/a": null},
    });
    let state = json!({
        "frameworkId": "11111111-1111-1111-1111-111111111111-0000", "lastVersion": version,
        "apps": {"/g/a": {"app": app, "earlier": [], "lastFailure": null}}, "deployments": [deployment],
    });
    let folder = dir.path().join("marathon");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("state.json"), json!({"format": 1, "state": state}).to_string()).unwrap();
    let local = Local::start_in(dir).await;
    let app = local.deployed("/g/a").await;
    assert_eq!((&app["version"], &app["tasksRunning"]), (&json!(version), &json!(1)));
    local.calm().await;
    assert_eq!(local.get("/v2/groups/g").await.body["id"], "/g");
    local.expect(200, "PUT", "/v2/apps/g/a", &json!({"instances": 2})).await;
    local.deployed("/g/a").await;
    let dir = local.stop().await;
    let written: Value =
        serde_json::from_slice(&std::fs::read(dir.path().join("marathon/state.json")).unwrap()).unwrap();
    assert_eq!(written["format"], 2);
}
