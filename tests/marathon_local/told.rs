//! Which events there are of tasks and deployments, and in which order (`InstanceUpdateOpResolver.scala`,
//! `InstanceChangedEventsGenerator.scala` and `DeploymentActor.scala` of mesosphere/marathon).

use dcos_registry::marathon_local::Profile;
use serde_json::{Value, json};

use crate::virtual_time::{Heard, Virtual};

/// The states and conditions of tasks that were told of.
fn states(heard: &mut Heard) -> Vec<String> {
    let events = heard.told(&["status_update_event", "instance_changed_event"]).into_iter();
    let state =
        |event: Value| event.get("taskStatus").unwrap_or(&event["condition"]).as_str().unwrap().to_owned();
    events.map(state).collect()
}

#[tokio::test(start_paused = true)]
async fn a_task_is_told_of_from_its_launch_to_its_end() {
    for (profile, first) in [
        (Profile::V1_7, &["Created"][..]),
        (Profile::V1_8, &["Scheduled", "Provisioned"]),
        (Profile::V1_11, &["Scheduled", "Provisioned"]),
    ] {
        let world = Virtual::start_as(profile, "*").await;
        let mut heard = world.listen().await;
        world.expect(204, "PUT", "/local/outcomes/a", json!({"startup": 10, "stopping": 5})).await;
        world.expect(201, "POST", "/v2/apps", json!({"id": "/a", "cmd": "run"})).await;
        world.pass(5).await;
        assert_eq!(states(&mut heard), first, "{profile}: Mesos tells nothing before the task starts");
        world.pass(10).await;
        assert_eq!(states(&mut heard), ["TASK_STARTING", "Starting", "TASK_RUNNING", "Running"]);
        world.expect(200, "DELETE", "/v2/apps/a", Value::Null).await;
        world.pass(1).await;
        assert_eq!(states(&mut heard), ["TASK_KILLING", "Killing"]);
        let info = world.expect(200, "GET", "/v2/info", Value::Null).await;
        let features = info["marathon_config"]["features"].as_array().unwrap().clone();
        assert!(features.contains(&json!("task_killing")), "{features:?}");
        world.pass(10).await;
        assert_eq!(states(&mut heard), ["TASK_KILLED", "Killed"]);
        world.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn who_is_unreachable_is_told_of_again_when_another_one_takes_its_place() {
    for (inactive, told) in [
        (60, &["TASK_UNREACHABLE", "Unreachable", "TASK_UNREACHABLE", "UnreachableInactive"][..]),
        (0, &["TASK_UNREACHABLE", "UnreachableInactive"]),
    ] {
        let world = Virtual::start().await;
        let outcome = json!({"outcome": "unreachable", "after": 10, "times": 1});
        world.expect(204, "PUT", "/local/outcomes/a", outcome).await;
        let strategy = json!({"inactiveAfterSeconds": inactive, "expungeAfterSeconds": 3600});
        let app = json!({"id": "/a", "cmd": "run", "unreachableStrategy": strategy});
        world.expect(201, "POST", "/v2/apps", app).await;
        world.pass(5).await;
        let first = world.tasks("/a").await;
        let mut heard = world.listen().await;
        world.pass(300).await;
        let events = heard.told(&["status_update_event", "instance_changed_event"]);
        let of_first = |event: &&Value| {
            let named = event.get("instanceId").or(event.get("taskId")).and_then(Value::as_str).unwrap();
            first[0].starts_with(named)
        };
        let state = |event: &Value| event.get("taskStatus").unwrap_or(&event["condition"]).clone();
        let states: Vec<_> = events.iter().filter(of_first).map(state).collect();
        assert_eq!(states, told, "{inactive}");
        world.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn each_app_that_goes_is_told_of_when_its_tasks_have_ended_and_before_the_step() {
    let world = Virtual::start().await;
    world.expect(204, "PUT", "/local/outcomes/g/slow", json!({"stopping": 50})).await;
    let app = |id: &str| json!({"id": id, "cmd": "run", "taskKillGracePeriodSeconds": 100});
    world.expect(201, "POST", "/v2/groups", json!({"id": "/g", "apps": [app("slow"), app("fast")]})).await;
    world.pass(10).await;
    let mut heard = world.listen().await;
    world.expect(200, "DELETE", "/v2/groups/g", Value::Null).await;
    world.pass(20).await;
    let mut told = || {
        let events = heard.told(&["app_terminated_event", "deployment_step_success"]).into_iter();
        let short =
            |event: Value| event.get("appId").unwrap_or(&event["eventType"]).as_str().unwrap().to_owned();
        events.map(short).collect::<Vec<_>>()
    };
    assert_eq!(told(), ["/g/fast"]);
    world.pass(60).await;
    assert_eq!(told(), ["/g/slow", "deployment_step_success"]);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn actions_on_pods_have_names_of_their_own() {
    let world = Virtual::start().await;
    let mut heard = world.listen().await;
    let pod = |value: &str, instances: u64| {
        json!({"id": "/p", "environment": {"A": value}, "scaling": {"kind": "fixed", "instances": instances},
            "containers": [{"name": "c", "resources": {"cpus": 0.1, "mem": 32}}]})
    };
    let mut actions = || {
        let steps = heard.told(&["deployment_info"]).into_iter();
        let of = |step: Value| step["currentStep"]["actions"][0].clone();
        steps.map(|step| of(step)["action"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    world.expect(201, "POST", "/v2/pods", pod("a", 1)).await;
    world.pass(10).await;
    assert_eq!(actions(), ["StartPod", "ScalePod"]);
    world.expect(200, "PUT", "/v2/pods/p", pod("b", 1)).await;
    world.pass(10).await;
    assert_eq!(actions(), ["RestartPod"]);
    world.expect(202, "DELETE", "/v2/pods/p", Value::Null).await;
    world.pass(10).await;
    assert_eq!(actions(), ["StopPod"]);
    world.stop().await;
}
