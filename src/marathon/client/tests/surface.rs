//! Groups, deployments, the queue, versions, pods and the server.

use super::*;
use crate::marathon::client::told::VERSION_PAUSE;

#[tokio::test]
async fn a_deployment_is_cancelled_as_it_was_said() {
    let script = Script::default()
        .answer(200, RESULT)
        .answer(202, "")
        .answer(404, r#"{"message": "DeploymentPlan d does not exist"}"#);
    let client = script.client().await;
    assert_eq!(client.cancel("d-1", false).await.unwrap(), Some(written()));
    assert_eq!(client.cancel("d/../x", true).await.unwrap(), None);
    assert_eq!(client.cancel("d", true).await.unwrap_err().label(), "NotFound");
    assert_eq!(client.cancel("..", true).await.unwrap_err().label(), "NotFound");
    let expected = [
        "DELETE /v2/deployments/d-1?force=false",
        "DELETE /v2/deployments/d%2F..%2Fx?force=true",
        "DELETE /v2/deployments/d?force=true",
    ];
    assert_eq!(script.lines(), expected);
}

#[tokio::test]
async fn a_plan_of_a_group_is_read_and_nothing_else() {
    let plan = r#"{"steps": [{"actions": [{"action": "StopApplication", "app": "/g/b"}]}]}"#;
    let script = Script::default().answer(200, plan).answer(200, r#"{"id": "/", "groups": [{"id": "/g"}]}"#);
    let client = script.client().await;
    let group = json!({"id": "/g", "apps": []});
    let plan = client.plan_group(Some(&AppId::new("/g").unwrap()), &group).await.unwrap();
    assert_eq!(plan.steps[0].actions[0].app.as_deref(), Some("/g/b"));
    assert_eq!(client.group(None).await.unwrap().groups[0].id, "/g");
    assert_eq!(script.asked()[0], ("PUT /v2/groups/g?dryRun=true&force=false".to_owned(), group));
    assert_eq!(script.lines()[1], "GET /v2/groups?embed=group.groups&embed=group.apps&embed=group.pods");
}

#[tokio::test]
async fn versions_pods_queue_and_leader_are_read() {
    let offers = r#"{"queue": [{"app": {"id": "/a"}, "count": 1, "lastUnusedOffers": [
        {"offer": {"id": "o", "hostname": "h", "agentId": "s"}, "reason": ["InsufficientCpus"],
         "timestamp": "2020-01-01T00:00:00.000Z"}]}]}"#;
    let script = Script::default()
        .answer(200, r#"{"versions": ["2020-01-02T00:00:00.000Z", "2020-01-01T00:00:00.000Z"]}"#)
        .answer(200, r#"{"id": "/g/a", "cmd": "true"}"#)
        .answer(200, r#"[{"id": "/p", "version": "v", "containers": []}]"#)
        .answer(200, offers)
        .answer(200, r#"{"queue": []}"#)
        .answer(200, r#"{"leader": "10.0.0.1:8080"}"#)
        .answer(404, r#"{"message": "There is no leader"}"#);
    let client = script.client().await;
    let versions = client.versions(&id()).await.unwrap();
    assert_eq!(client.app_at(&id(), &versions[1]).await.unwrap().id(), Some("/g/a"));
    assert_eq!(client.pods().await.unwrap()[0].id(), Some("/p"));
    let queue = client.queue_with_offers().await.unwrap();
    let offer = &queue[0].last_unused_offers[0];
    assert_eq!((offer.offer.hostname.as_str(), offer.reason[0].as_str()), ("h", "InsufficientCpus"));
    assert_eq!(client.queue().await.unwrap(), []);
    assert_eq!(client.leader().await.unwrap().as_deref(), Some("10.0.0.1:8080"));
    assert_eq!(client.leader().await.unwrap(), None);
    let expected = [
        "GET /v2/apps/g/a/versions",
        "GET /v2/apps/g/a/versions/2020-01-01T00:00:00.000Z",
        "GET /v2/pods",
        "GET /v2/queue?embed=lastUnusedOffers",
        "GET /v2/queue",
        "GET /v2/leader",
        "GET /v2/leader",
    ];
    assert_eq!(script.lines(), expected);
}

#[tokio::test]
async fn deployments_and_info_are_read_tolerantly() {
    let deployments = r#"[{"id": "d", "version": "v", "affectedApps": ["/a"], "affectedPods": [], "steps": [],
        "currentActions": [], "currentStep": 1, "totalSteps": 2}, {"id": "e"}]"#;
    let script = Script::default()
        .answer(200, deployments)
        .answer(200, r#"{"name": "marathon", "version": "1.11.24"}"#);
    let client = script.client().await;
    let got = client.deployments().await.unwrap();
    assert_eq!((got[0].affected_apps[0].as_str(), got[0].total_steps, got[1].id.as_str()), ("/a", 2, "e"));
    assert_eq!(client.info().await.unwrap().version, "1.11.24");
}

/// A client that asks a scripted server, and the clock that it goes by.
async fn dated(script: &Script) -> (Client, Clock) {
    let settings = MarathonSettings::plain(&script.serve().await);
    let clock = Clock::fixed(1_000_000);
    let parts = (clock.clone(), Entropy::seeded(1));
    (Client::connect(&settings, Timeouts::default(), parts, Metrics::new().unwrap()).unwrap(), clock)
}

async fn version(client: &Client) -> Option<String> {
    client.told().await.map(|told| told.version)
}

#[tokio::test]
async fn the_version_is_asked_now_and_then_and_kept_where_it_is_not_told() {
    let script = Script::default()
        .answer(403, "<html></html>")
        .answer(200, r#"{"version": "1.8.222", "marathon_config": {"local_port_min": 30000, "local_port_max": 30100}}"#)
        .answer(403, "<html></html>");
    let (client, clock) = dated(&script).await;
    for expected in [None, Some("1.8.222"), Some("1.8.222")] {
        for _ in 0..2 {
            let told = client.told().await;
            assert_eq!(told.as_ref().map(|told| told.version.as_str()), expected);
            let given = told.and_then(|told| told.marathon_config.service_ports());
            assert_eq!(given, expected.map(|_| 30_000..=30_100));
        }
        clock.advance(VERSION_PAUSE);
    }
    assert_eq!(script.asked().len(), 3);
}

#[tokio::test]
async fn a_version_that_was_not_told_is_asked_for_soon_and_ever_more_seldom() {
    let script = (0..9).fold(Script::default(), |script, _| script.answer(500, "boom"));
    let script = script.answer(200, r#"{"version": "1.8.222"}"#).answer(500, "boom");
    let (client, clock) = dated(&script).await;
    let mut pauses = Vec::new();
    for asked in 1..=9 {
        assert_eq!((version(&client).await, script.asked().len()), (None, asked));
        let mut seconds = 0;
        while version(&client).await.is_none() && script.asked().len() == asked {
            clock.advance(Duration::from_secs(1));
            seconds += 1;
        }
        pauses.push(seconds);
    }
    assert!((5..=7).contains(&pauses[0]) && pauses.is_sorted() && pauses[8] == 60, "{pauses:?}");
    // A success is believed for long, and a failure after it takes nothing away and is soon made good.
    let almost = VERSION_PAUSE.as_secs() - 1;
    for (seconds, asked) in [(almost, 10), (1, 11)] {
        clock.advance(Duration::from_secs(seconds));
        assert_eq!((version(&client).await.as_deref(), script.asked().len()), (Some("1.8.222"), asked));
    }
    let script = script.answer(200, r#"{"version": "1.9.100"}"#);
    clock.advance(Duration::from_secs(7));
    assert_eq!((version(&client).await.as_deref(), script.asked().len()), (Some("1.9.100"), 12));
}
