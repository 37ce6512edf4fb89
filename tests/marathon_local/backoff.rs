//! How long tasks wait after failures. Each of these is so in Marathon; the sources are named in
//! `src/marathon_local/delays.rs`.

use serde_json::{Value, json};

use crate::virtual_time::Virtual;

/// The seconds that the only app of the queue has to wait still.
async fn left(world: &Virtual) -> u64 {
    let queue = world.expect(200, "GET", "/v2/queue", Value::Null).await;
    assert_eq!(queue["queue"].as_array().unwrap().len(), 1, "{queue}");
    queue["queue"][0]["delay"]["timeLeftSeconds"].as_u64().unwrap()
}

#[tokio::test(start_paused = true)]
async fn tasks_of_the_configuration_before_wait_after_a_failure_too() {
    let world = Virtual::start().await;
    let group = |value: &str| {
        let app = |id: &str, below: Value| {
            json!({"id": id, "cmd": "run", "env": {"A": value}, "backoffSeconds": 600,
                "maxLaunchDelaySeconds": 3600, "dependencies": below})
        };
        json!({"id": "/g", "apps": [app("a", json!([])), app("b", json!(["a"]))]})
    };
    world.expect(204, "PUT", "/local/outcomes/g/b", json!({"outcome": "fails", "after": 100})).await;
    world.expect(201, "POST", "/v2/groups", group("old")).await;
    world.pass(30).await;
    assert_eq!(world.deployments().await, 0);
    world.expect(204, "PUT", "/local/outcomes/g/a", json!({"outcome": "neverStarts"})).await;
    world.expect(200, "PUT", "/v2/groups/g", group("new")).await;
    world.pass(30).await;
    assert_eq!((world.deployments().await, world.tasks("/g/b").await.len()), (1, 1), "it has not come to b");
    world.pass(60).await;
    assert_eq!(world.app("/g/b").await["tasksRunning"], 0, "the one of the old configuration failed");
    assert!((550..=600).contains(&left(&world).await));
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_task_that_comes_further_lets_the_next_one_wait_anew() {
    let world = Virtual::start().await;
    world.expect(204, "PUT", "/local/outcomes/g", json!({"startup": 300})).await;
    let fails = json!({"outcome": "fails", "after": 1, "times": 1});
    world.expect(204, "PUT", "/local/outcomes/g/a", fails).await;
    let app = json!({"id": "/g/a", "cmd": "run", "instances": 2, "backoffSeconds": 600,
        "maxLaunchDelaySeconds": 3600});
    world.expect(201, "POST", "/v2/apps", app).await;
    world.pass(200).await;
    assert!((400..=401).contains(&left(&world).await), "since the failure");
    world.pass(410).await;
    assert!((290..=291).contains(&left(&world).await), "since the other one runs");
    world.pass(600).await;
    assert_eq!(world.app("/g/a").await["tasksRunning"], 2);
    world.stop().await;
}
