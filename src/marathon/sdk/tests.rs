//! Which apps are schedulers, what their plans say, and what comes next.

use super::*;

const CHANGED: &str = "2026-01-01T00:00:01.000Z";

/// An observed scheduler that runs, with these members beside.
fn scheduler(more: &Value) -> App {
    let mut app = json!({
        "id": "/data/kafka", "cmd": "./scheduler", "instances": 1, "labels": {UNINSTALL_LABEL: "true"},
        "env": {"A": "x"}, "version": CHANGED, "versionInfo": {"lastConfigChangeAt": CHANGED},
        "deployments": [], "tasksRunning": 1, "tasks": [{"state": "TASK_RUNNING", "version": CHANGED}],
    });
    app.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    App::from_value(app).unwrap()
}

fn uninstalling(more: &Value) -> App {
    let mut app = scheduler(&json!({"env": {UNINSTALL_VARIABLE: "true"}}));
    app.0.extend(more.as_object().unwrap().clone());
    app
}

fn plan(status: &str, phases: &Value, errors: &Value) -> Vec<u8> {
    let plan = json!({"phases": phases, "errors": errors, "strategy": "serial", "status": status});
    plan.to_string().into_bytes()
}

#[test]
fn a_scheduler_is_known_by_its_label_whatever_it_says() {
    assert!(SdkService::of(&scheduler(&json!({"labels": {}}))).is_none());
    assert!(SdkService::of(&scheduler(&json!({"labels": {API_VERSION_LABEL: "v1"}}))).is_none());
    let app = scheduler(&json!({"labels": {UNINSTALL_LABEL: ""}}));
    assert!(!SdkService::of(&app).unwrap().is_uninstalling());
    let app = scheduler(&json!({"env": {UNINSTALL_VARIABLE: "false"}}));
    assert!(SdkService::of(&app).unwrap().is_uninstalling(), "the scheduler does not read the value");
}

#[test]
fn the_plan_lies_below_the_whole_id() {
    let path = |version: &str| {
        let app = scheduler(&json!({"labels": {UNINSTALL_LABEL: "x", API_VERSION_LABEL: version}}));
        SdkService::of(&app).unwrap().plan_path(&AppId::new("/data/kafka").unwrap())
    };
    assert_eq!(path("v2"), "/service/data/kafka/v2/plans/deploy");
    for bad in ["", "..", "v1/../../x", "v1?x", "version-with-a-dash"] {
        assert_eq!(path(bad), "/service/data/kafka/v1/plans/deploy", "{bad}");
    }
}

#[test]
fn what_is_put_is_what_is_there_with_the_variable_set() {
    let app = scheduler(&json!({"fetch": [{"uri": "http://x/y"}], "uris": ["http://x/y"], "newField": 1}));
    let put = SdkService::of(&app).unwrap().to_uninstall();
    let expected = json!({
        "id": "/data/kafka", "cmd": "./scheduler", "instances": 1, "labels": {UNINSTALL_LABEL: "true"},
        "env": {"A": "x", UNINSTALL_VARIABLE: "true"}, "fetch": [{"uri": "http://x/y"}], "newField": 1,
    });
    assert_eq!(put.into_value(), expected);
    let app = scheduler(&json!({"env": null, "instances": 0}));
    let put = SdkService::of(&app).unwrap().to_uninstall();
    assert_eq!((put.get("env"), put.instances()), (Some(&json!({UNINSTALL_VARIABLE: "true"})), 1));
}

#[test]
fn a_plan_is_complete_only_in_status_and_words() {
    let none = json!([]);
    assert_eq!(read_plan(200, &plan("COMPLETE", &none, &none)), SchedulerPlan::Complete);
    for (status, body) in [
        (200, plan("IN_PROGRESS", &none, &none)),
        (202, plan("COMPLETE", &none, &none)),
        (202, plan("PENDING", &none, &none)),
    ] {
        let read = read_plan(status, &body);
        assert!(matches!(read, SchedulerPlan::InProgress(_)), "{status}: {read:?}");
    }
    for (status, body) in [
        (417, plan("ERROR", &none, &json!(["no such disk"]))),
        (417, plan("COMPLETE", &none, &none)),
        (200, plan("COMPLETE", &none, &json!(["no such disk"]))),
    ] {
        let read = read_plan(status, &body);
        assert!(matches!(read, SchedulerPlan::Failed(_)), "{status}: {read:?}");
    }
    assert_eq!(read_plan(404, b"404 Not Found: service not found."), SchedulerPlan::NotThere);
    for (status, body) in [
        (200, b"<html>log in</html>".to_vec()),
        (200, b"{}".to_vec()),
        (302, Vec::new()),
        (401, b"{}".to_vec()),
        (503, plan("COMPLETE", &none, &none)),
    ] {
        let read = read_plan(status, &body);
        let SchedulerPlan::Unreadable(why) = read else { panic!("{status}: {read:?}") };
        assert!(why.contains(&status.to_string()), "{why}");
    }
}

#[test]
fn progress_names_where_it_stands_and_what_is_wrong() {
    let step = |name: &str, status: &str| json!({"id": "i", "name": name, "status": status, "message": "m"});
    let phases = json!([
        {"id": "i", "name": "kill-tasks", "strategy": "parallel", "status": "COMPLETE", "steps": [step("a", "COMPLETE")]},
        {"id": "j", "name": "unreserve", "strategy": "parallel", "status": "IN_PROGRESS",
         "steps": [step("b", "COMPLETE"), step("c", "PENDING")]},
    ]);
    let SchedulerPlan::InProgress(progress) = read_plan(202, &plan("IN_PROGRESS", &phases, &json!([])))
    else {
        panic!()
    };
    let expected =
        "its plan is IN_PROGRESS, 2 of 3 steps done; phase unreserve is IN_PROGRESS, step c is PENDING";
    assert_eq!(progress.to_string(), expected);
    let errors: Vec<_> = (0..9).map(|n| format!("{n}{}", "x".repeat(1000))).collect();
    let SchedulerPlan::Failed(progress) = read_plan(417, &plan("ERROR", &json!([]), &json!(errors))) else {
        panic!()
    };
    assert_eq!((progress.errors.len(), progress.errors[0].len()), (MOST_ERRORS, LONGEST_WORD));
    assert!(progress.to_string().contains("errors: 0x"));
}

fn next(app: &App, plan: Option<&SchedulerPlan>) -> Removal {
    SdkService::of(app).unwrap().removal(plan)
}

#[test]
fn the_app_goes_when_the_scheduler_that_uninstalls_says_that_it_is_done() {
    let complete = Some(&SchedulerPlan::Complete);
    assert_eq!(next(&scheduler(&json!({})), complete), Removal::Begin, "that is the plan of its deployment");
    assert_eq!(next(&uninstalling(&json!({})), complete), Removal::Delete);
    let without_tasks = uninstalling(&json!({"tasks": null}));
    assert_eq!(next(&without_tasks, complete), Removal::Delete);
    for (more, word) in [
        (json!({"deployments": [{"id": "d1"}]}), "d1"),
        (json!({"deployments": null}), "does not tell"),
        (json!({"instances": 0, "tasksRunning": 0}), "scaled to 0"),
        (json!({"tasksRunning": 0}), "does not run"),
        (
            json!({"tasks": [{"version": CHANGED}, {"version": "2026-01-01T00:00:00.000Z"}]}),
            "still runs beside",
        ),
        (json!({"tasks": [{}]}), "still runs beside"),
    ] {
        let Removal::Wait(why) = next(&uninstalling(&more), complete) else { panic!("{more}") };
        assert!(why.contains(word), "{why}");
    }
    let progress = PlanProgress { status: "IN_PROGRESS".into(), ..PlanProgress::default() };
    for (plan, word) in [
        (None, "was not read"),
        (Some(SchedulerPlan::NotThere), "no such plan"),
        (Some(SchedulerPlan::Unreadable("status 503".into())), "503"),
        (Some(SchedulerPlan::InProgress(progress.clone())), "IN_PROGRESS"),
        (Some(SchedulerPlan::Failed(progress)), "IN_PROGRESS"),
    ] {
        let Removal::Wait(why) = next(&uninstalling(&json!({})), plan.as_ref()) else { panic!("{plan:?}") };
        assert!(why.contains(word), "{why}");
    }
}
