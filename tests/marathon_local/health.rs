//! What Marathon knows of the health of tasks, and what it makes of it. Each of these is so in Marathon; the sources are
//! named in `src/marathon_local/health.rs` and `src/marathon_local/stats.rs`.

use dcos_registry::marathon_local::Profile;
use serde_json::{Value, json};

use crate::virtual_time::{Heard, Virtual};

const HEALTH: &[&str] = &[
    "failed_health_check_event",
    "health_status_changed_event",
    "instance_health_changed_event",
    "unhealthy_instance_kill_event",
];

fn checked(protocol: &str, grace: u64) -> Value {
    json!({"id": "/a", "cmd": "run", "taskKillGracePeriodSeconds": 60, "unreachableStrategy": "disabled",
        "healthChecks": [{"protocol": protocol, "gracePeriodSeconds": grace, "intervalSeconds": 10, "delaySeconds": 0,
            "maxConsecutiveFailures": 3}]})
}

async fn created(world: &Virtual, outcome: Value, app: Value) -> Heard {
    world.expect(204, "PUT", "/local/outcomes/a", outcome).await;
    let heard = world.listen().await;
    world.expect(201, "POST", "/v2/apps", app).await;
    heard
}

/// Events of health in short: type and what it says.
fn told(heard: &mut Heard) -> Vec<String> {
    let short = |event: Value| {
        let kind = event["eventType"].as_str().unwrap().trim_end_matches("_event").to_owned();
        let says = event.get("alive").or(event.get("healthy"));
        says.map_or_else(|| kind.clone(), |says| format!("{kind} {says}"))
    };
    heard.told(HEALTH).into_iter().map(short).collect()
}

#[tokio::test(start_paused = true)]
async fn whom_mesos_kills_for_bad_health_has_been_killed_and_no_more() {
    for profile in [Profile::V1_7, Profile::V1_8, Profile::V1_11] {
        let world = Virtual::start_as(profile, "*").await;
        let sick = json!({"outcome": "neverHealthy", "stopping": 20});
        let mut heard = created(&world, sick, checked("MESOS_HTTP", 0)).await;
        world.pass(15).await;
        let app = world.app("/a").await;
        let result = &app["tasks"][0]["healthCheckResults"][0];
        assert_eq!((&result["alive"], &result["consecutiveFailures"]), (&json!(false), &json!(1)));
        assert_eq!(told(&mut heard), ["instance_health_changed false", "failed_health_check"]);
        world.pass(10).await;
        assert_eq!(world.app("/a").await["tasks"][0]["state"], "TASK_KILLING");
        assert_eq!(told(&mut heard), ["instance_health_changed null"]);
        world.pass(16).await;
        let app = world.app("/a").await;
        assert!(app["lastTaskFailure"].is_null(), "{app}");
        assert_eq!(app["tasks"][0]["state"], "TASK_RUNNING", "another one, at once");
        world.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn whom_marathon_kills_for_bad_health_failed_when_it_is_told_to_end() {
    let world = Virtual::start().await;
    let sick = json!({"outcome": "neverHealthy", "stopping": 20});
    let mut heard = created(&world, sick, checked("HTTP", 0)).await;
    world.pass(25).await;
    assert_eq!(told(&mut heard), ["failed_health_check"; 3], "it never was healthy");
    let last = world.app("/a").await["tasks"][0]["healthCheckResults"][0]["lastFailure"].clone();
    world.pass(10).await;
    assert_eq!(told(&mut heard), ["failed_health_check", "unhealthy_instance_kill"]);
    let app = world.app("/a").await;
    let (task, failure) = (&app["tasks"][0], &app["lastTaskFailure"]);
    assert_eq!((&task["state"], &task["id"]), (&json!("TASK_KILLING"), &failure["taskId"]));
    assert_eq!((&failure["state"], &failure["timestamp"]), (&json!("TASK_KILLED"), &last));
    assert!(failure["message"].as_str().unwrap().contains("Connection refused"), "{failure}");
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn who_ends_or_cannot_be_reached_keeps_its_health() {
    let counts = |app: &Value| {
        ["tasksStaged", "tasksRunning", "tasksHealthy", "tasksUnhealthy"]
            .map(|key| app[key].as_u64().unwrap())
    };
    let world = Virtual::start().await;
    let mut heard = created(&world, json!({"stopping": 20}), checked("MESOS_TCP", 0)).await;
    world.pass(30).await;
    assert_eq!(told(&mut heard), ["instance_health_changed true", "health_status_changed true"]);
    world.expect(200, "DELETE", "/v2/apps/a/tasks", Value::Null).await;
    world.pass(1).await;
    let app = world.expect(200, "GET", "/v2/apps/a?embed=app.taskStats", Value::Null).await["app"].clone();
    assert_eq!(counts(&app), [0, 0, 1, 0]);
    let stats = &app["taskStats"]["totalSummary"]["stats"]["counts"];
    assert_eq!((&stats["running"], &stats["healthy"]), (&json!(0), &json!(1)));
    world.stop().await;

    let world = Virtual::start().await;
    created(&world, json!({"outcome": "unreachable", "after": 15}), checked("HTTP", 0)).await;
    world.pass(60).await;
    assert_eq!(counts(&world.app("/a").await), [0, 0, 1, 0]);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_failure_that_does_not_count_is_known_to_marathon_only_where_it_makes_the_check() {
    for (protocol, unhealthy) in [("HTTP", 1), ("MESOS_HTTP", 0)] {
        let world = Virtual::start().await;
        let mut heard = created(&world, json!({"outcome": "neverHealthy"}), checked(protocol, 3_600)).await;
        world.pass(60).await;
        let app = world.app("/a").await;
        assert_eq!(
            (&app["tasksRunning"], &app["tasksUnhealthy"]),
            (&json!(1), &json!(unhealthy)),
            "{protocol}"
        );
        let known = app["tasks"][0].get("healthCheckResults").is_some();
        assert_eq!((known, told(&mut heard)), (unhealthy == 1, Vec::new()), "{protocol}");
        world.stop().await;
    }
}
