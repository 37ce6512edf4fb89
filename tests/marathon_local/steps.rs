//! What a deployment waits for and what it ends, where that is not what one would think. Each of these is so in Marathon;
//! the sources are named in `src/marathon_local/decide/`.

use dcos_registry::marathon_local::Profile;
use serde_json::{Value, json};

use crate::virtual_time::Virtual;

/// Checks of that protocol, with that many failures until a task is killed.
fn checked(protocol: &str, grace: u64, most: u64) -> Value {
    json!([{"protocol": protocol, "gracePeriodSeconds": grace, "intervalSeconds": 10, "delaySeconds": 0,
        "maxConsecutiveFailures": most}])
}

async fn created(world: &Virtual, app: Value) {
    world.expect(201, "POST", "/v2/apps", app).await;
    world.pass(30).await;
}

async fn changed(world: &Virtual, change: Value) {
    world.expect(200, "PUT", "/v2/apps/a?force=true", change).await;
}

#[tokio::test(start_paused = true)]
async fn scaling_waits_for_no_task_that_it_does_not_bring() {
    let world = Virtual::start().await;
    world.expect(204, "PUT", "/local/outcomes/a", json!({"outcome": "neverHealthy"})).await;
    let checks = checked("MESOS_TCP", 86_400, 3);
    created(&world, json!({"id": "/a", "cmd": "run", "healthChecks": checks})).await;
    assert_eq!(world.deployments().await, 1, "the first task is not healthy");
    world.expect(204, "PUT", "/local/outcomes/a", json!({"outcome": "runs"})).await;
    changed(&world, json!({"instances": 2})).await;
    world.pass(30).await;
    assert_eq!(world.deployments().await, 0);
    let app = world.app("/a").await;
    assert_eq!((&app["tasksRunning"], &app["tasksHealthy"]), (&json!(2), &json!(1)));
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn another_leader_waits_for_no_task_that_is_due() {
    let world = Virtual::start().await;
    world.expect(204, "PUT", "/local/outcomes/a", json!({"outcome": "noOffers"})).await;
    created(&world, json!({"id": "/a", "cmd": "run", "instances": 2})).await;
    assert_eq!(world.deployments().await, 1);
    world.another_leader().await;
    assert_eq!(world.deployments().await, 0, "it is done, and nothing runs");
    let queue = world.expect(200, "GET", "/v2/queue", Value::Null).await;
    assert_eq!((&queue["queue"][0]["count"], world.tasks("/a").await.len()), (&json!(2), 0));
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn another_leader_asks_anew_whether_new_tasks_are_ready() {
    let world = Virtual::start().await;
    let asked = json!([{"portName": "web", "intervalSeconds": 5, "timeoutSeconds": 1}]);
    let app = json!({"id": "/a", "cmd": "run", "instances": 2, "portDefinitions": [{"port": 0, "name": "web"}],
        "readinessChecks": asked});
    created(&world, app).await;
    let before = world.tasks("/a").await;
    world.expect(204, "PUT", "/local/outcomes/a", json!({"outcome": "neverReady", "times": 1})).await;
    changed(&world, json!({"env": {"A": "b"}})).await;
    world.pass(60).await;
    let between = world.tasks("/a").await;
    let kept = |tasks: &[String]| before.iter().filter(|task| tasks.contains(task)).count();
    assert_eq!((kept(&between), between.len()), (1, 3), "one of two is ready");
    world.another_leader().await;
    world.pass(60).await;
    // More are there than are wanted, and with that Marathon lets the last old one go whatever the new ones are.
    let after = world.tasks("/a").await;
    assert_eq!((world.deployments().await, kept(&after), after.len()), (1, 0, 2));
    let shown = world.expect(200, "GET", "/v2/apps?embed=apps.readiness", Value::Null).await;
    let results = shown["apps"][0]["readinessCheckResults"].as_array().unwrap();
    let unready = results.iter().find(|result| result["ready"] == false).unwrap()["taskId"].as_str().unwrap();
    world.expect(200, "DELETE", &format!("/v2/apps/a/tasks/{unready}"), Value::Null).await;
    world.pass(30).await;
    assert_eq!(world.deployments().await, 0, "the one that was ready is so again");
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn scaling_down_ends_what_runs_before_what_is_due() {
    let world = Virtual::start().await;
    created(&world, json!({"id": "/a", "cmd": "run"})).await;
    world.expect(204, "PUT", "/local/outcomes/a", json!({"outcome": "noOffers"})).await;
    changed(&world, json!({"instances": 2})).await;
    world.pass(30).await;
    assert_eq!(world.tasks("/a").await.len(), 1);
    changed(&world, json!({"instances": 1})).await;
    world.pass(30).await;
    assert_eq!((world.deployments().await, world.tasks("/a").await.len()), (0, 0));
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_replacement_knows_only_the_health_that_mesos_tells() {
    for (profile, protocol, moves) in [
        (Profile::V1_11, "HTTP", false),
        (Profile::V1_11, "MESOS_HTTP", true),
        (Profile::V1_8, "HTTP", true),
        (Profile::V1_7, "HTTP", true),
    ] {
        let world = Virtual::start_as(profile, "*").await;
        let strategy = json!({"minimumHealthCapacity": 0.5, "maximumOverCapacity": 0});
        let checks = checked(protocol, 300, 3);
        created(
            &world,
            json!({"id": "/a", "cmd": "run", "instances": 2, "healthChecks": checks, "upgradeStrategy": strategy}),
        )
        .await;
        let before = world.tasks("/a").await;
        changed(&world, json!({"env": {"A": "b"}})).await;
        world.pass(3_600).await;
        let after = world.tasks("/a").await;
        let kept = before.iter().filter(|task| after.contains(task)).count();
        let seen = (world.deployments().await, kept);
        assert_eq!(seen, if moves { (0, 0) } else { (1, 2) }, "{profile} {protocol}");
        world.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn old_tasks_that_are_not_healthy_stay_until_new_ones_are() {
    let world = Virtual::start().await;
    world.expect(204, "PUT", "/local/outcomes/a", json!({"outcome": "neverHealthy"})).await;
    let checks = checked("MESOS_TCP", 86_400, 3);
    created(&world, json!({"id": "/a", "cmd": "run", "instances": 2, "healthChecks": checks})).await;
    let before = world.tasks("/a").await;
    world.expect(204, "PUT", "/local/outcomes/a", json!({"outcome": "runs", "startup": 60})).await;
    changed(&world, json!({"env": {"A": "b"}})).await;
    world.pass(30).await;
    let between = world.tasks("/a").await;
    assert!(before.iter().all(|task| between.contains(task)), "{before:?} {between:?}");
    world.pass(60).await;
    let after = world.tasks("/a").await;
    assert_eq!((world.deployments().await, after.len()), (0, 2));
    assert!(!before.iter().any(|task| after.contains(task)));
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn marathon_takes_one_failure_more_than_mesos_to_kill() {
    for (protocol, killed_at) in [("HTTP", 30), ("MESOS_HTTP", 20)] {
        let world = Virtual::start().await;
        world.expect(204, "PUT", "/local/outcomes/a", json!({"outcome": "neverHealthy"})).await;
        let app = json!({"id": "/a", "cmd": "run", "healthChecks": checked(protocol, 0, 3)});
        world.expect(201, "POST", "/v2/apps", app).await;
        world.pass(1).await;
        let first = world.tasks("/a").await;
        world.pass(killed_at - 5).await;
        assert_eq!(world.tasks("/a").await, first, "{protocol}");
        world.pass(10).await;
        assert_ne!(world.tasks("/a").await, first, "{protocol}");
        world.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_task_that_is_killed_has_its_place_until_it_has_ended() {
    let world = Virtual::start().await;
    world.expect(204, "PUT", "/local/outcomes/a", json!({"outcome": "runs", "stopping": 20})).await;
    created(&world, json!({"id": "/a", "cmd": "run", "taskKillGracePeriodSeconds": 60})).await;
    let first = world.tasks("/a").await;
    world.expect(200, "DELETE", "/v2/apps/a/tasks", Value::Null).await;
    world.pass(10).await;
    assert_eq!(world.tasks("/a").await, first);
    world.pass(20).await;
    let second = world.tasks("/a").await;
    assert!(second.len() == 1 && second != first);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_a_cancelled_deployment_leaves_stays_until_somebody_counts() {
    let world = Virtual::start().await;
    let checks = checked("MESOS_TCP", 86_400, 3);
    created(&world, json!({"id": "/a", "cmd": "run", "instances": 3, "healthChecks": checks})).await;
    world.expect(204, "PUT", "/local/outcomes/a", json!({"outcome": "neverHealthy"})).await;
    let change = world.expect(200, "PUT", "/v2/apps/a", json!({"env": {"A": "b"}})).await;
    world.pass(30).await;
    let deployment = change["deploymentId"].as_str().unwrap();
    world.expect(202, "DELETE", &format!("/v2/deployments/{deployment}?force=true"), Value::Null).await;
    world.pass(60).await;
    assert_eq!((world.deployments().await, world.tasks("/a").await.len()), (0, 6));
    world.pass(300).await;
    assert_eq!(world.tasks("/a").await.len(), 3);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn undoing_a_restart_changes_nothing_so_that_it_goes_on() {
    let world = Virtual::start().await;
    created(&world, json!({"id": "/a", "cmd": "run"})).await;
    let before = world.tasks("/a").await;
    world.expect(204, "PUT", "/local/outcomes/a", json!({"outcome": "runs", "startup": 60})).await;
    let restart = world.expect(200, "POST", "/v2/apps/a/restart", Value::Null).await;
    let deployment = restart["deploymentId"].as_str().unwrap();
    world.expect(200, "DELETE", &format!("/v2/deployments/{deployment}"), Value::Null).await;
    assert_eq!(world.deployments().await, 1);
    world.pass(120).await;
    let after = world.tasks("/a").await;
    assert!(world.deployments().await == 0 && after.len() == 1 && after != before, "{before:?} {after:?}");
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn who_comes_back_too_late_is_one_too_many_and_not_marked() {
    let world = Virtual::start().await;
    let strategy = json!({"inactiveAfterSeconds": 0, "expungeAfterSeconds": 600});
    let outcome = json!({"outcome": "unreachable", "after": 10, "times": 1, "back": 30});
    world.expect(204, "PUT", "/local/outcomes/a", outcome).await;
    created(&world, json!({"id": "/a", "cmd": "run", "unreachableStrategy": strategy})).await;
    world.pass(60).await;
    let both = world.tasks("/a").await;
    assert_eq!(both.len(), 2, "nobody has counted yet");
    changed(&world, json!({"instances": 3})).await;
    world.pass(30).await;
    let after = world.tasks("/a").await;
    assert!(after.len() == 3 && both.iter().all(|task| after.contains(task)), "{both:?} {after:?}");
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_deployment_that_is_held_up_lets_time_pass() {
    let world = Virtual::start().await;
    world.expect(204, "PUT", "/local/outcomes/a", json!({"outcome": "noOffers"})).await;
    created(&world, json!({"id": "/a", "cmd": "run"})).await;
    world.expect(201, "POST", "/local/faults", json!({"kind": "stuck", "apps": ["/a"]})).await;
    world.expect(204, "DELETE", "/local/outcomes", Value::Null).await;
    world.pass(600).await;
    assert_eq!((world.deployments().await, world.tasks("/a").await.len()), (1, 0));
    world.expect(204, "DELETE", "/local/faults", Value::Null).await;
    world.pass(30).await;
    assert_eq!((world.deployments().await, world.tasks("/a").await.len()), (0, 1));
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_replacement_waits_for_ever_for_a_new_task_that_is_given_up() {
    for (profile, ends) in [(Profile::V1_7, true), (Profile::V1_11, false)] {
        let world = Virtual::start_as(profile, "*").await;
        created(&world, json!({"id": "/a", "cmd": "run", "instances": 2})).await;
        let outcome = json!({"outcome": "unreachable", "after": 0, "times": 1});
        world.expect(204, "PUT", "/local/outcomes/a", outcome).await;
        changed(&world, json!({"env": {"A": "b"}})).await;
        world.pass(3_600).await;
        assert_eq!(world.deployments().await == 0, ends, "{profile}");
        world.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_instance_outlives_its_tasks_since_1_8() {
    for profile in [Profile::V1_7, Profile::V1_8, Profile::V1_11] {
        let world = Virtual::start_as(profile, "*").await;
        world
            .expect(204, "PUT", "/local/outcomes/a", json!({"outcome": "fails", "after": 5, "times": 1}))
            .await;
        let app = json!({"id": "/a", "cmd": "run", "backoffSeconds": 60});
        world.expect(201, "POST", "/v2/apps", app).await;
        world.pass(1).await;
        let first = world.tasks("/a").await;
        world.pass(20).await;
        let between = world.app("/a").await;
        assert_eq!(between["tasksRunning"], 0);
        world.pass(60).await;
        let second = world.tasks("/a").await;
        assert_eq!(second.len(), 1);
        let instance =
            |id: &str| id.rsplit_once('.').map(|(instance, number)| (instance.to_owned(), number.to_owned()));
        let ((before, _), (after, number)) = (instance(&first[0]).unwrap(), instance(&second[0]).unwrap());
        if profile == Profile::V1_7 {
            assert_eq!(between["tasks"], json!([]));
            assert_ne!(before, after);
        } else {
            assert_eq!(
                (between["tasks"][0]["id"].as_str(), between["tasks"].as_array().unwrap().len()),
                (Some(&*first[0]), 1)
            );
            assert_eq!(between["tasks"][0]["state"], "TASK_FAILED");
            assert_eq!(between["tasks"][0].get("version"), None);
            assert_eq!((before, number.as_str()), (after, "2"));
        }
        world.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_instance_keeps_its_definition_until_it_is_replaced() {
    let world = Virtual::start().await;
    created(&world, json!({"id": "/a", "cmd": "run", "instances": 2})).await;
    let old = world.app("/a").await["version"].clone();
    world.expect(204, "PUT", "/local/outcomes/a", json!({"outcome": "neverStarts"})).await;
    let change = world.expect(200, "PUT", "/v2/apps/a", json!({"env": {"A": "b"}})).await;
    world.pass(10).await;
    let deployment = change["deploymentId"].as_str().unwrap();
    world.expect(202, "DELETE", &format!("/v2/deployments/{deployment}?force=true"), Value::Null).await;
    let tasks = world.app("/a").await["tasks"].as_array().unwrap().clone();
    assert_eq!(tasks.iter().filter(|task| task["version"] == old).count(), 2);
    world.expect(204, "DELETE", "/local/outcomes", Value::Null).await;
    // With the end of one that never starts they are counted, and the other one goes, too.
    let new = tasks.iter().find(|task| task["version"] != old).unwrap()["id"].as_str().unwrap();
    world.expect(200, "DELETE", &format!("/v2/apps/a/tasks/{new}"), Value::Null).await;
    world.pass(30).await;
    let left = world.app("/a").await["tasks"].as_array().unwrap().clone();
    assert_eq!(left.iter().filter(|task| task["version"] == old).count(), left.len());
    let killed = left[0]["id"].as_str().unwrap().to_owned();
    world.expect(200, "DELETE", &format!("/v2/apps/a/tasks/{killed}"), Value::Null).await;
    world.pass(30).await;
    let app = world.app("/a").await;
    let versions: Vec<_> =
        app["tasks"].as_array().unwrap().iter().map(|task| task["version"].clone()).collect();
    assert_eq!((versions, &app["tasksRunning"]), (vec![old.clone(), old], &json!(2)));
    world.stop().await;
}

/// An app whose only task is unreachable, and is waited for.
async fn unreachable(world: &Virtual) -> Vec<String> {
    let strategy = json!({"inactiveAfterSeconds": 80_000, "expungeAfterSeconds": 86_400});
    let outcome = json!({"outcome": "unreachable", "after": 10, "times": 1, "back": 1_000});
    world.expect(204, "PUT", "/local/outcomes/a", outcome).await;
    created(world, json!({"id": "/a", "cmd": "run", "unreachableStrategy": strategy})).await;
    world.tasks("/a").await
}

#[tokio::test(start_paused = true)]
async fn an_unreachable_task_that_is_killed_is_so_when_it_is_back() {
    let world = Virtual::start().await;
    let first = unreachable(&world).await;
    world.expect(200, "DELETE", "/v2/apps/a/tasks", Value::Null).await;
    world.pass(30).await;
    assert_eq!(world.tasks("/a").await, first, "nobody has counted yet");
    world.pass(300).await;
    let both = world.app("/a").await;
    assert_eq!(
        (both["tasks"].as_array().unwrap().len(), &both["tasks"][0]["state"]),
        (2, &json!("TASK_UNREACHABLE"))
    );
    world.pass(1_000).await;
    let left = world.tasks("/a").await;
    assert!(left.len() == 1 && left != first);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn nothing_waits_for_the_end_of_an_unreachable_task() {
    let world = Virtual::start().await;
    unreachable(&world).await;
    changed(&world, json!({"instances": 0})).await;
    world.pass(30).await;
    assert_eq!((world.deployments().await, world.tasks("/a").await.len()), (0, 1));
    world.expect(200, "DELETE", "/v2/apps/a", Value::Null).await;
    world.pass(30).await;
    assert_eq!(world.deployments().await, 0);
    world.expect(404, "GET", "/v2/apps/a", Value::Null).await;
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn only_tasks_that_are_active_are_killed_and_scaled_away() {
    let world = Virtual::start().await;
    let strategy = json!({"inactiveAfterSeconds": 0, "expungeAfterSeconds": 86_400});
    let outcome = json!({"outcome": "unreachable", "after": 10, "times": 1});
    world.expect(204, "PUT", "/local/outcomes/a", outcome).await;
    created(&world, json!({"id": "/a", "cmd": "run", "unreachableStrategy": strategy})).await;
    let both = world.app("/a").await["tasks"].clone();
    assert_eq!((&both[0]["state"], both.as_array().unwrap().len()), (&json!("TASK_UNREACHABLE"), 2));
    let lost = both[0]["id"].as_str().unwrap();
    world.expect(200, "DELETE", &format!("/v2/apps/a/tasks/{lost}?scale=true"), Value::Null).await;
    world.pass(30).await;
    assert_eq!(world.app("/a").await["instances"], 1);
    world.expect(200, "DELETE", "/v2/apps/a/tasks?wipe=true", Value::Null).await;
    world.pass(30).await;
    let left = world.tasks("/a").await;
    assert!(left.len() == 1 && !both.to_string().contains(&left[0]), "all that is wiped goes at once");
    // Where nothing but launches is there, nothing is scaled away.
    world.expect(204, "PUT", "/local/outcomes/b", json!({"outcome": "noOffers"})).await;
    world.expect(201, "POST", "/v2/apps", json!({"id": "/b", "cmd": "run"})).await;
    world.expect(200, "DELETE", "/v2/apps/b/tasks?scale=true&force=true", Value::Null).await;
    assert_eq!(world.app("/b").await["instances"], 1);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn volumes_are_those_of_the_instance() {
    let world = Virtual::start_as(Profile::V1_11, "slave_public").await;
    let volumes = json!([{"containerPath": "data", "mode": "RW", "persistent": {"size": 10}}]);
    let app = json!({"id": "/g/a", "cmd": "run", "instances": 2, "container": {"type": "MESOS", "volumes": volumes}});
    created(&world, app).await;
    let before = world.app("/g/a").await["tasks"].clone();
    let [first, second] = [&before[0]["localVolumes"][0], &before[1]["localVolumes"][0]];
    assert_eq!((&first["containerPath"], &first["runSpecId"]), (&json!("data"), &json!("/g/a")));
    assert_eq!(first["persistenceId"], format!("g_a#data#{}", first["uuid"].as_str().unwrap()));
    assert_ne!(first["uuid"], second["uuid"]);
    world.expect(200, "DELETE", "/v2/apps/g/a/tasks", Value::Null).await;
    world.pass(30).await;
    let after = world.app("/g/a").await["tasks"].clone();
    assert_ne!(after[0]["id"], before[0]["id"]);
    let ids = |tasks: &Value| {
        let ids = tasks.as_array().unwrap().iter().map(|task| task["localVolumes"].to_string());
        ids.collect::<std::collections::BTreeSet<_>>()
    };
    assert_eq!(ids(&after), ids(&before));
    world.stop().await;
}
