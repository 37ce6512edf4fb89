//! Simulated tasks in virtual time, without a connection: hours pass in no time.

use dcos_registry::marathon::diff::{diff, to_send};
use dcos_registry::marathon::normalize::{normalize_dropping, normalize_observed};
use dcos_registry::marathon_local::Profile;
use dcos_registry::model::{App, Effect};
use serde_json::{Value, json};

use crate::virtual_time::Virtual;

#[tokio::test(start_paused = true)]
async fn everything_that_marathon_takes_runs() {
    let world = Virtual::start().await;
    for app in [
        json!({"id": "/image", "container": {"type": "DOCKER", "docker": {"image": "busybox", "network": "BRIDGE",
            "portMappings": [{"containerPort": 80}]}}}),
        json!({"id": "/own/resident", "cmd": "sleep 1", "role": "own", "container": {"type": "MESOS", "volumes":
            [{"containerPath": "data", "mode": "RW", "persistent": {"size": 10}}]}}),
        json!({"id": "/sdk", "cmd": "sleep 1", "user": "nobody", "labels": {"DCOS_COMMONS_API_VERSION": "v1",
            "DCOS_PACKAGE_FRAMEWORK_NAME": "sdk", "MARATHON_SINGLE_INSTANCE_APP": "true"},
            "env": {"KEY": {"secret": "k"}}, "secrets": {"k": {"source": "s"}}, "upgradeStrategy":
            {"minimumHealthCapacity": 0, "maximumOverCapacity": 0}, "healthChecks": [{"protocol": "MESOS_HTTP",
            "path": "/v1/health"}]}),
    ] {
        let created = world.expect(201, "POST", "/v2/apps", app).await;
        let id = created["id"].as_str().unwrap().to_owned();
        world.pass(30).await;
        let app = world.app(&id).await;
        assert_eq!((&app["tasksRunning"], &app["deployments"]), (&json!(1), &json!([])), "{id}");
        // What it answers is what it takes: nothing restarts.
        let again = world.expect(200, "PUT", &format!("/v2/apps{id}?partialUpdate=false"), app.clone()).await;
        assert_ne!(again["version"], app["version"]);
        assert_eq!(world.app(&id).await["version"], app["version"], "{id}");
    }
    world.stop().await;
}

/// Templates of the public Universe that Marathon itself refuses when they are rendered with their defaults.
const REFUSED: &[&str] = &["ceph-dash/0", "concord/0", "kong/0", "logstash/0", "nexclipper-agent/0"];

/// The templates as they were rendered by the engine that Cosmos uses; none where the archive is absent.
fn rendered() -> Option<String> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/corpus/universe-3.x.tar.xz");
    let Ok(file) = std::fs::File::open(path) else {
        println!("skipped: {path} is absent");
        return None;
    };
    let mut archive = tar::Archive::new(lzma_rust2::XzReader::new(file, true));
    let mut entries = archive.entries().unwrap().map(Result::unwrap);
    let mut lines =
        entries.find(|entry| entry.path().unwrap().ends_with("rendered-with-defaults.jsonl")).unwrap();
    let mut text = String::new();
    std::io::Read::read_to_string(&mut lines, &mut text).unwrap();
    Some(text)
}

/// What the controller would want of a template is what the server has, and what it would send changes nothing.
fn compare(name: &str, rendered: &Value, observed: &Value) {
    let app = |json: &Value| App::from_value(json.clone()).unwrap();
    let (wanted, _unknown) = normalize_dropping(&app(rendered)).unwrap();
    let observed = app(observed);
    let difference = diff(&wanted, &observed, None, &[]).unwrap();
    assert_eq!((difference.changes, difference.effect), (Vec::new(), Effect::None), "{name}");
    let sent = to_send(&wanted, &observed, None, &[]).unwrap();
    assert_eq!(
        diff(&normalize_observed(&sent), &observed, None, &[]).unwrap().effect,
        Effect::None,
        "{name}"
    );
}

#[tokio::test(start_paused = true)]
async fn every_template_of_the_universe_is_taken_and_put_again_without_effect() {
    let Some(text) = rendered() else { return };
    for profile in [Profile::V1_7, Profile::V1_11] {
        // DC/OS starts its Marathon with this role, and templates count on it.
        let world = Virtual::start_as(profile, "slave_public").await;
        let (mut taken, mut refused) = (0, Vec::new());
        for line in text.lines() {
            let line: Value = serde_json::from_str(line).unwrap();
            let Some(mut app) = line.get("json").filter(|app| app.is_object()).cloned() else { continue };
            let name = line["id"].as_str().unwrap();
            app["id"] = json!("/template");
            let (status, _) = world.try_to_send("POST", "/v2/apps", &app).await.unwrap();
            if status == 422 {
                refused.push(name.to_owned());
                continue;
            }
            assert_eq!(status, 201, "{name}");
            let created = world.app("/template").await;
            // Older ones have other defaults, which diff does not know.
            if profile == Profile::default() {
                compare(name, &app, &created);
            }
            for body in [&app, &created] {
                let path = "/v2/apps/template?partialUpdate=false";
                world.expect(200, "PUT", path, body.clone()).await;
                assert_eq!(
                    world.app("/template").await["version"],
                    created["version"],
                    "{name} on {profile}"
                );
            }
            world.expect(200, "DELETE", "/v2/apps/template", Value::Null).await;
            // Its deletion holds the id until its task is gone.
            world.pass(1).await;
            taken += 1;
        }
        assert_eq!(refused, REFUSED, "{profile}");
        assert!(taken >= 600, "{taken}");
        world.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn failures_delay_the_next_launch_for_hours_in_no_time() {
    let world = Virtual::start().await;
    let outcome = json!({"outcome": "fails", "after": 1});
    world.expect(204, "PUT", "/local/outcomes/a", outcome).await;
    let app = json!({"id": "/a", "cmd": "sleep 1", "backoffSeconds": 600, "backoffFactor": 2,
        "maxLaunchDelaySeconds": 3600});
    world.expect(201, "POST", "/v2/apps", app).await;
    world.pass(5).await;
    let app = world.app("/a").await;
    assert_eq!((&app["lastTaskFailure"]["state"], &app["tasksRunning"]), (&json!("TASK_FAILED"), &json!(0)));
    let queue = world.expect(200, "GET", "/v2/queue", Value::Null).await;
    assert!(
        (590..=600).contains(&queue["queue"][0]["delay"]["timeLeftSeconds"].as_u64().unwrap()),
        "{queue}"
    );
    world.pass(700).await;
    let queue = world.expect(200, "GET", "/v2/queue", Value::Null).await;
    assert!(queue["queue"][0]["delay"]["timeLeftSeconds"].as_u64().unwrap() > 1000, "it doubles: {queue}");
    world.expect(204, "PUT", "/local/outcomes/a", json!({"outcome": "runs"})).await;
    world.pass(7200).await;
    assert_eq!(world.app("/a").await["tasksRunning"], 1);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_task_that_never_gets_healthy_is_replaced_again_and_again() {
    let world = Virtual::start().await;
    world.expect(204, "PUT", "/local/outcomes/a", json!({"outcome": "neverHealthy"})).await;
    let app = json!({"id": "/a", "cmd": "sleep 1", "healthChecks": [{"protocol": "MESOS_TCP", "gracePeriodSeconds": 60,
        "intervalSeconds": 10, "maxConsecutiveFailures": 2}]});
    let created = world.expect(201, "POST", "/v2/apps", app).await;
    world.pass(50).await;
    let app = world.app("/a").await;
    assert_eq!((&app["tasksRunning"], &app["tasksHealthy"]), (&json!(1), &json!(0)));
    let first = app["tasks"][0]["id"].clone();
    world.pass(60).await;
    let app = world.app("/a").await;
    assert_ne!(app["tasks"][0]["id"], first);
    assert!(app["lastTaskFailure"].is_null(), "Mesos killed it, which is no failure: {app}");
    world.pass(86_400).await;
    let app = world.app("/a").await;
    assert_eq!(app["deployments"], created["deployments"], "a deployment never fails by itself");
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn readiness_holds_a_deployment_and_is_shown() {
    let world = Virtual::start().await;
    world.expect(204, "PUT", "/local/outcomes/a", json!({"outcome": "neverReady"})).await;
    let app = json!({"id": "/a", "cmd": "sleep 1", "portDefinitions": [{"port": 0, "name": "api"}],
        "readinessChecks": [{"name": "r", "portName": "api", "intervalSeconds": 5, "timeoutSeconds": 1, "preserveLastResponse": true}]});
    world.expect(201, "POST", "/v2/apps", app).await;
    world.pass(60).await;
    let deployments = world.expect(200, "GET", "/v2/deployments", Value::Null).await;
    let result = &deployments[0]["currentActions"][0]["readinessCheckResults"][0];
    assert_eq!(
        (&result["name"], &result["ready"], &result["lastResponse"]["status"]),
        (&json!("r"), &json!(false), &json!(503))
    );
    let apps = world.expect(200, "GET", "/v2/apps?embed=apps.readiness", Value::Null).await;
    assert_eq!(apps["apps"][0]["readinessCheckResults"][0]["ready"], false);
    world.expect(204, "DELETE", "/local/outcomes", Value::Null).await;
    let task = world.app("/a").await["tasks"][0]["id"].as_str().unwrap().to_owned();
    world.expect(200, "DELETE", &format!("/v2/apps/a/tasks/{task}"), Value::Null).await;
    world.pass(30).await;
    assert_eq!(world.app("/a").await["deployments"], json!([]));
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn unreachable_tasks_are_replaced_and_given_up_in_time() {
    let world = Virtual::start().await;
    let outcome = json!({"outcome": "unreachable", "after": 10, "times": 1, "back": 200});
    world.expect(204, "PUT", "/local/outcomes/a", outcome).await;
    let app = json!({"id": "/a", "cmd": "sleep 1",
        "unreachableStrategy": {"inactiveAfterSeconds": 60, "expungeAfterSeconds": 120}});
    world.expect(201, "POST", "/v2/apps", app).await;
    world.pass(20).await;
    let states = |app: &Value| {
        app["tasks"]
            .as_array()
            .unwrap()
            .iter()
            .map(|t| t["state"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(states(&world.app("/a").await), ["TASK_UNREACHABLE"]);
    world.pass(60).await;
    assert_eq!(
        states(&world.app("/a").await),
        ["TASK_UNREACHABLE", "TASK_RUNNING"],
        "another one takes its place"
    );
    world.pass(60).await;
    assert_eq!(states(&world.app("/a").await), ["TASK_RUNNING"], "it is given up");
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn who_comes_back_too_late_is_one_too_many() {
    let world = Virtual::start().await;
    let outcome = json!({"outcome": "unreachable", "after": 10, "times": 1, "back": 15});
    world.expect(204, "PUT", "/local/outcomes/a", outcome).await;
    let strategy = json!({"inactiveAfterSeconds": 0, "expungeAfterSeconds": 60});
    world
        .expect(
            201,
            "POST",
            "/v2/apps",
            json!({"id": "/a", "cmd": "sleep 1", "unreachableStrategy": strategy}),
        )
        .await;
    world.pass(5).await;
    let first = world.app("/a").await["tasks"][0]["id"].clone();
    world.pass(10).await;
    assert_eq!(world.app("/a").await["tasks"].as_array().unwrap().len(), 2, "another one at once");
    world.pass(20).await;
    assert_eq!(world.app("/a").await["tasksRunning"], 2, "both run until somebody counts");
    world.pass(300).await;
    let app = world.app("/a").await;
    assert_eq!((app["tasks"].as_array().unwrap().len(), &app["tasksRunning"]), (1, &json!(1)));
    assert_eq!(app["tasks"][0]["id"], first, "the youngest goes");
    // With 0 and 0, the default, nobody hears of it again.
    let outcome = json!({"outcome": "unreachable", "after": 10, "times": 1, "back": 15});
    world.expect(204, "PUT", "/local/outcomes/c", outcome).await;
    world.expect(201, "POST", "/v2/apps", json!({"id": "/c", "cmd": "sleep 1"})).await;
    world.pass(5).await;
    let first = world.app("/c").await["tasks"][0]["id"].clone();
    world.pass(10).await;
    let app = world.app("/c").await;
    assert_eq!((app["tasks"].as_array().unwrap().len(), &app["tasksRunning"]), (1, &json!(1)));
    assert_ne!(app["tasks"][0]["id"], first);
    // With "disabled" it is waited for, for ever.
    let strategy = json!({"id": "/b", "cmd": "sleep 1", "unreachableStrategy": "disabled"});
    world.expect(204, "PUT", "/local/outcomes/b", json!({"outcome": "unreachable"})).await;
    world.expect(201, "POST", "/v2/apps", strategy).await;
    world.pass(86_400).await;
    assert_eq!(world.app("/b").await["tasks"].as_array().unwrap().len(), 1);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_thousand_apps_are_up_in_virtual_seconds() {
    let world = Virtual::start().await;
    world.expect(204, "PUT", "/local/outcomes/many", json!({"startup": 5})).await;
    let apps: Vec<_> = (0..1_000).map(|n| json!({"id": format!("app-{n}"), "cmd": "sleep 1"})).collect();
    world.expect(201, "POST", "/v2/groups", json!({"id": "/many", "apps": apps})).await;
    world.pass(10).await;
    let tasks = world.expect(200, "GET", "/v2/tasks?status=running", Value::Null).await;
    assert_eq!(tasks["tasks"].as_array().unwrap().len(), 1_000);
    assert_eq!(world.expect(200, "GET", "/v2/deployments", Value::Null).await, json!([]));
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn faults_reach_a_client_without_a_connection() {
    let world = Virtual::start().await;
    world.expect(201, "POST", "/local/faults", json!({"kind": "cutAfterWrite", "times": 1})).await;
    let app = json!({"id": "/a", "cmd": "sleep 1"});
    assert!(world.try_to_send("POST", "/v2/apps", &app).await.is_err());
    world.pass(1).await;
    assert_eq!(world.app("/a").await["tasksRunning"], 1);
    world.stop().await;
}
