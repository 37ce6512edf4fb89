//! What schedulers of SDK services say, and where they are asked.

use super::*;
use crate::marathon::sdk::{SdkService, UNINSTALL_LABEL, UNINSTALL_VARIABLE};
use crate::model::SchedulerPlan;

const COMPLETE: &str = r#"{"phases": [], "errors": [], "strategy": "serial", "status": "COMPLETE"}"#;
const PENDING: &str = r#"{"phases": [], "errors": [], "strategy": "serial", "status": "PENDING"}"#;

fn service(version: &str, env: &Value) -> App {
    let app = json!({"id": "/g/a", "labels": {UNINSTALL_LABEL: "true"}, "env": env, "version": version});
    App::from_value(app).unwrap()
}

fn behind(router: &str) -> MarathonSettings {
    MarathonSettings {
        admin_router: Some(router.to_owned()),
        ..MarathonSettings::plain("http://127.0.0.1:1")
    }
}

async fn plan(client: &Client) -> SchedulerPlan {
    let app = service("v", &json!({}));
    client.sdk_plan(&id(), SdkService::of(&app).unwrap()).await
}

#[tokio::test]
async fn admin_router_is_where_it_is_said_or_where_marathon_lies_behind_it() {
    let script = (0..3).fold(Script::default(), |script, _| script.answer(200, COMPLETE));
    let origin = script.serve().await;
    let urls = |path: &str| MarathonSettings::plain(&format!("{origin}{path}"));
    let said =
        MarathonSettings { admin_router: Some(format!("{origin}/cluster")), ..urls("/service/marathon") };
    for settings in [urls("/service/marathon"), urls("/marathon/"), said] {
        assert_eq!(plan(&connect(&settings).unwrap()).await, SchedulerPlan::Complete, "{settings:?}");
    }
    let (route, below) = ("GET /service/g/a/v1/plans/deploy", "GET /cluster/service/g/a/v1/plans/deploy");
    assert_eq!(script.lines(), [route, route, below]);
    for path in ["", "/marathons", "/service/other-marathon"] {
        let client = connect(&urls(path)).unwrap();
        assert!(!client.knows_admin_router(), "{path}");
        assert!(matches!(plan(&client).await, SchedulerPlan::Unreadable(_)));
    }
    assert_eq!(script.asked().len(), 3);
}

#[tokio::test]
async fn every_answer_is_evidence_and_none_an_error() {
    let long = "x".repeat(5 * 1024 * 1024);
    let script = Script::default()
        .answer(202, PENDING)
        .answer(417, &PENDING.replace("[], \"strategy", "[\"no disk\"], \"strategy"))
        .answer(404, "404 Not Found: service not found.")
        .answer(503, "<html>no route</html>")
        .answer_with(302, "", &[("location", "/login")])
        .answer(200, &long);
    let client = connect(&behind(&script.serve().await)).unwrap();
    assert!(matches!(plan(&client).await, SchedulerPlan::InProgress(_)));
    let SchedulerPlan::Failed(progress) = plan(&client).await else { panic!() };
    assert_eq!(progress.errors, ["no disk"]);
    assert_eq!(plan(&client).await, SchedulerPlan::NotThere);
    for word in ["no route", "302", "longer than"] {
        let SchedulerPlan::Unreadable(why) = plan(&client).await else { panic!("{word}") };
        assert!(why.contains(word), "{why}");
    }
    assert_eq!(script.asked().len(), 6, "redirects are not followed, and nothing is tried again");
    let SchedulerPlan::Unreadable(why) = plan(&connect(&behind(&closed().await)).unwrap()).await else {
        panic!()
    };
    assert!(why.contains("Admin Router is not reached"), "{why}");
}

#[tokio::test]
async fn another_router_is_asked_where_one_does_not_answer() {
    let (silent, script) = (Script::default(), Script::default().answer(200, COMPLETE).answer(200, COMPLETE));
    let urls = [silent.serve().await, script.serve().await].map(|origin| format!("{origin}/marathon"));
    let settings = MarathonSettings { urls: urls.into(), ..MarathonSettings::plain("") };
    // Five seconds of this clock are one.
    let parts = (Clock::simulated(5.0, Duration::ZERO), Entropy::seeded(1));
    let client = Client::connect(&settings, Timeouts::default(), parts, Metrics::new().unwrap()).unwrap();
    for _ in 0..2 {
        assert_eq!(plan(&client).await, SchedulerPlan::Complete);
    }
    assert_eq!((silent.asked().len(), script.asked().len()), (1, 2));
}

#[tokio::test]
async fn a_plan_is_asked_for_as_whoever_we_are() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    std::fs::write(&path, "one").unwrap();
    let script = Script::default().answer(200, COMPLETE).answer(401, "who?").answer(200, COMPLETE);
    let auth = MarathonAuth::Token(path.clone());
    let client = connect(&MarathonSettings { auth, ..behind(&script.serve().await) }).unwrap();
    assert_eq!(plan(&client).await, SchedulerPlan::Complete);
    let SchedulerPlan::Unreadable(why) = plan(&client).await else { panic!() };
    assert!(why.contains("401"), "{why}");
    std::fs::write(&path, "two").unwrap();
    assert_eq!(plan(&client).await, SchedulerPlan::Complete);
    assert_eq!(script.shown(), ["token=one", "token=one", "token=two"]);
}

#[tokio::test]
async fn a_service_at_rest_costs_no_call() {
    let script = [
        (202, PENDING),
        (200, COMPLETE),
        (404, ""),
        (503, ""),
        (200, COMPLETE),
        (200, COMPLETE),
        (200, COMPLETE),
    ];
    let script = script.iter().fold(Script::default(), |script, (status, body)| script.answer(*status, body));
    let clock = Clock::fixed(1_000_000);
    let parts = (clock.clone(), Entropy::seeded(1));
    let settings = behind(&script.serve().await);
    let client = Client::connect(&settings, Timeouts::default(), parts, Metrics::new().unwrap()).unwrap();
    let other = App::from_value(json!({"id": "/g/b"})).unwrap();
    let asked = async |app: &App| {
        let before = script.asked().len();
        let (id, other_id) = (id(), AppId::new("/g/b").unwrap());
        let plans = client.sdk_plans([(&id, app), (&other_id, &other)].into_iter()).await;
        (script.asked().len() - before, plans.into_values().next())
    };
    let (first, second) = (service("1", &json!({})), service("2", &json!({})));
    assert!(matches!(asked(&first).await, (1, Some(SchedulerPlan::InProgress(_)))));
    assert_eq!(asked(&first).await, (1, Some(SchedulerPlan::Complete)));
    clock.advance(Duration::from_secs(100_000));
    assert_eq!(asked(&first).await, (0, Some(SchedulerPlan::Complete)));
    // Another version may have something to deploy. What cannot be read is not asked for all the time.
    assert_eq!(asked(&second).await, (1, Some(SchedulerPlan::NotThere)));
    clock.advance(Duration::from_secs(9));
    assert_eq!(asked(&second).await, (0, Some(SchedulerPlan::NotThere)));
    clock.advance(Duration::from_secs(2));
    assert!(matches!(asked(&second).await, (1, Some(SchedulerPlan::Unreadable(_)))));
    clock.advance(Duration::from_secs(59));
    assert!(matches!(asked(&second).await, (0, Some(SchedulerPlan::Unreadable(_)))));
    clock.advance(Duration::from_secs(2));
    assert_eq!(asked(&second).await, (1, Some(SchedulerPlan::Complete)));
    // What uninstalls is waited for.
    let leaving = service("2", &json!({UNINSTALL_VARIABLE: "true"}));
    assert_eq!(asked(&leaving).await.0, 1);
    assert_eq!(asked(&leaving).await.0, 1);
}
