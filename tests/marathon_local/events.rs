//! The event stream: what it tells, in which form, and to whom.

use std::time::Duration;

use dcos_registry::marathon_local::Profile;
use serde_json::{Value, json};

use super::harness::Local;

/// An open stream.
pub struct Stream {
    response: reqwest::Response,
    buffer: String,
}

impl Stream {
    pub async fn open(local: &Local, query: &str) -> Self {
        let url = format!("http://{}/v2/events{query}", local.marathon.address());
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let response = http.get(url).header("accept", "text/event-stream").send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream;charset=utf-8");
        Self { response, buffer: String::new() }
    }

    /// The next event: type and data; none when the stream has ended.
    pub async fn next(&mut self, local: &Local) -> Option<(String, Value)> {
        loop {
            if let Some((frame, rest)) = self.buffer.split_once("\r\n\r\n") {
                let (kind, data) = frame.trim_start().split_once("\r\n").unwrap();
                let kind = kind.strip_prefix("event: ").unwrap().to_owned();
                let data = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
                let rest = rest.to_owned();
                self.buffer = rest;
                return Some((kind, data));
            }
            let piece = local.clock.timeout(Duration::from_secs(30), self.response.chunk()).await;
            let piece = piece.unwrap().ok().flatten()?;
            self.buffer.push_str(std::str::from_utf8(&piece).unwrap());
        }
    }

    /// Reads up to an event of a type.
    pub async fn until(&mut self, local: &Local, kind: &str) -> Vec<(String, Value)> {
        let mut read = Vec::new();
        loop {
            let event = self.next(local).await.unwrap();
            let found = event.0 == kind;
            read.push(event);
            if found {
                return read;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changes_nothing_is_a_success_and_the_group_is_the_one_around() {
    let local = Local::simulated(Profile::V1_11).await;
    local.run(json!({"id": "/g/h/a", "cmd": "sleep 1000"})).await;
    let mut stream = Stream::open(&local, "").await;
    let put = local.expect(200, "PUT", "/v2/apps/g/h/a", &json!({"instances": 1})).await;
    let read = stream.until(&local, "deployment_success").await;
    assert_eq!(read.last().unwrap().1["id"], put["deploymentId"]);
    let group = read.iter().find(|(kind, _)| kind == "group_change_success").unwrap();
    assert_eq!(group.1["groupId"], "/g/h");
    local.expect(409, "POST", "/v2/apps", &json!({"id": "/g/h/a", "cmd": "sleep 1"})).await;
    let read = stream.until(&local, "group_change_failed").await;
    assert_eq!(read.last().unwrap().1["groupId"], "/g/h");
    local.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_is_told_in_the_light_format() {
    let local = Local::simulated(Profile::V1_11).await;
    let mut stream = Stream::open(&local, "?plan-format=light").await;
    assert_eq!(stream.next(&local).await.unwrap().0, "event_stream_attached");
    let app = json!({"id": "/a", "cmd": "sleep 1000", "healthChecks": [{"protocol": "MESOS_TCP", "delaySeconds": 0}]});
    let created = local.expect(201, "POST", "/v2/apps", &app).await;
    let told = stream.until(&local, "deployment_success").await;
    let kinds: Vec<_> = told.iter().map(|(kind, _)| kind.as_str()).collect();
    for kind in [
        "add_health_check_event",
        "group_change_success",
        "api_post_event",
        "deployment_info",
        "deployment_step_success",
        "status_update_event",
        "instance_changed_event",
        "health_status_changed_event",
        "instance_health_changed_event",
    ] {
        assert!(kinds.contains(&kind), "{kind} in {kinds:?}");
    }
    let success = &told.last().unwrap().1;
    let id = &created["deployments"][0]["id"];
    assert_eq!(
        (&success["id"], &success["plan"]["id"], &success["eventType"]),
        (id, id, &json!("deployment_success"))
    );
    let members: Vec<_> = success["plan"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(members, ["id", "steps", "version"], "no groups before and after");
    let info = &told.iter().find(|(kind, _)| kind == "deployment_info").unwrap().1;
    assert_eq!(info["currentStep"]["actions"], json!([{"action": "StartApplication", "app": "/a"}]));
    let running = told
        .iter()
        .find(|(kind, data)| kind == "status_update_event" && data["taskStatus"] == "TASK_RUNNING");
    assert_eq!(running.unwrap().1["appId"], "/a");

    local.expect(200, "DELETE", "/v2/apps/a", &json!(null)).await;
    let told = stream.until(&local, "app_terminated_event").await;
    assert!(
        told.iter().any(|(kind, data)| kind == "status_update_event" && data["taskStatus"] == "TASK_KILLED")
    );
    local.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn types_are_chosen_and_a_refused_deployment_fails_under_an_unknown_id() {
    let local = Local::simulated(Profile::V1_11).await;
    local.outcome("/a", json!({"outcome": "neverStarts"})).await;
    local.expect(201, "POST", "/v2/apps", &json!({"id": "/a", "cmd": "sleep 1000"})).await;
    let running = local.get("/v2/deployments").await.body[0]["id"].clone();
    let mut stream =
        Stream::open(&local, "?event_type=deployment_failed&event_type=group_change_failed").await;
    local.expect(409, "PUT", "/v2/apps/a", &json!({"cmd": "sleep 2000"})).await;
    let (kind, failed) = stream.next(&local).await.unwrap();
    assert_eq!(kind, "deployment_failed");
    assert_ne!(failed["id"], running);
    assert!(failed["reason"].as_str().unwrap().starts_with("App is locked"));
    assert_eq!(stream.next(&local).await.unwrap().0, "group_change_failed");
    local.expect(200, "PUT", "/v2/apps/a?force=true", &json!({"cmd": "sleep 2000"})).await;
    let (kind, cancelled) = stream.next(&local).await.unwrap();
    assert_eq!((kind.as_str(), &cancelled["id"]), ("deployment_failed", &running));
    // Who loses the leadership ends the streams.
    local.expect(200, "DELETE", "/v2/leader", &json!(null)).await;
    assert!(stream.next(&local).await.is_none());
    local.stop().await;
}
