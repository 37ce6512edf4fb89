//! A table with a row for every reason, and the rules one by one.

use serde_json::json;

use super::*;

const OLD: &str = "2020-01-01T00:00:00.000Z";
const NOW: &str = "2020-01-02T00:00:00.000Z";

fn task(version: &str, state: &str, alive: Option<bool>) -> Value {
    let results: Vec<_> = alive.iter().map(|alive| json!({"alive": alive})).collect();
    json!({"version": version, "state": state, "healthCheckResults": results})
}

fn app(changes: &Value) -> App {
    let mut app = json!({
        "id": "/a", "instances": 2, "healthChecks": [{"protocol": "TCP"}], "deployments": [],
        "versionInfo": {"lastConfigChangeAt": NOW}, "tasks": [],
    });
    app.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    App::from_value(app).unwrap()
}

fn verdict(changes: &Value) -> (Health, String) {
    let HealthReport { health, reason, .. } = health(Some(&app(changes)));
    (health, reason)
}

#[test]
fn healthy_means_every_instance_of_the_present_configuration_is_alive() {
    let good = || task(NOW, "TASK_RUNNING", Some(true));
    let (health, reason) = verdict(&json!({"tasks": [good(), good()]}));
    assert_eq!((health, reason.as_str()), (Health::Healthy, "2 of 2 running, 2 healthy"));
    let old = verdict(&json!({"tasks": [good(), good(), task(OLD, "TASK_RUNNING", Some(true))]}));
    assert_eq!(old.0, Health::Progressing, "{}", old.1);
    let unchecked = verdict(&json!({"tasks": [good(), task(NOW, "TASK_RUNNING", None)]}));
    assert_eq!(unchecked, (Health::Progressing, "2 of 2 running, 1 healthy, 1 not checked yet".into()));
    let deploying = verdict(&json!({"tasks": [good(), good()], "deployments": [{"id": "d"}]}));
    assert_eq!(deploying.0, Health::Progressing);
    let surplus = verdict(&json!({"instances": 1, "tasks": [good(), good()]}));
    assert_eq!(surplus.0, Health::Progressing);
}

#[test]
fn without_checks_running_is_enough() {
    let run = || task(NOW, "TASK_RUNNING", None);
    assert_eq!(verdict(&json!({"healthChecks": [], "tasks": [run(), run()]})).0, Health::Healthy);
}

#[test]
fn dead_tasks_and_fresh_failures_degrade() {
    let bad = verdict(&json!({"tasks": [task(NOW, "TASK_RUNNING", Some(false))]}));
    assert_eq!(bad, (Health::Degraded, "1 of 2 unhealthy".into()));
    let failure =
        |at: &str| json!({"host": "h1", "timestamp": at, "state": "TASK_FAILED", "message": "exit 1"});
    let (health, reason) = verdict(&json!({"lastTaskFailure": failure(NOW)}));
    assert_eq!(health, Health::Degraded);
    assert_eq!(reason, format!("0 of 2 running, 0 healthy; last failure on h1 at {NOW}: TASK_FAILED exit 1"));
    assert_eq!(verdict(&json!({"lastTaskFailure": failure(OLD)})).0, Health::Progressing);
}

#[test]
fn a_failure_in_the_grace_period_says_nothing() {
    let checked = |failures: u64, cause: Value| {
        let result = json!({"alive": false, "consecutiveFailures": failures, "lastFailureCause": cause});
        let mut task = task(NOW, "TASK_RUNNING", None);
        (task["host"], task["healthCheckResults"]) = (json!("h1"), json!([result]));
        verdict(&json!({"instances": 1, "tasks": [task]}))
    };
    let excused = checked(0, Value::Null);
    assert_eq!(excused, (Health::Progressing, "1 of 1 running, 0 healthy, 1 not checked yet".into()));
    let told = checked(1, json!(""));
    assert_eq!(told, (Health::Degraded, "1 of 1 unhealthy, on h1".into()), "Mesos tells no cause");
}

#[test]
fn missing_suspended_and_unknown_are_told_apart() {
    assert_eq!(health(None).health, Health::Missing);
    assert_eq!(verdict(&json!({"instances": 0})).0, Health::Suspended);
    assert_eq!(verdict(&json!({"instances": 0, "deployments": [{"id": "d"}]})).0, Health::Progressing);
    assert_eq!(verdict(&json!({"tasks": null})).0, Health::Unknown);
    assert_eq!(verdict(&json!({"deployments": null})).0, Health::Unknown);
}

#[test]
fn counts_serve_where_tasks_are_not_embedded() {
    let counts = |healthy: u64| json!({"tasks": null, "tasksRunning": 2, "tasksHealthy": healthy, "tasksUnhealthy": 2 - healthy});
    assert_eq!(verdict(&counts(2)).0, Health::Healthy);
    assert_eq!(verdict(&counts(1)).0, Health::Degraded);
}

/// One row: what is known, and what follows.
struct Row {
    app: Value,
    deployments: Value,
    queue: Value,
    last_failure: Value,
    verdict: (Health, Cause),
    reason: String,
}

/// A row in which nothing but the app is known.
fn row(app: Value, verdict: (Health, Cause), reason: &str) -> Row {
    let none = || json!([]);
    Row { app, deployments: none(), queue: none(), last_failure: Value::Null, verdict, reason: reason.into() }
}

fn check(rows: Vec<Row>) {
    for row in rows {
        let deployments: Vec<Deployment> = serde_json::from_value(row.deployments).unwrap();
        let queue: Vec<QueueItem> = serde_json::from_value(row.queue).unwrap();
        let last_failure: Option<TaskFailure> = serde_json::from_value(row.last_failure).unwrap();
        let evidence =
            Evidence { deployments: &deployments, queue: &queue, last_failure: last_failure.as_ref() };
        let report = judge(Some(&app(&row.app)), &evidence);
        assert_eq!((report.health, report.cause), row.verdict, "{}: {}", row.app, report.reason);
        assert_eq!(report.reason, row.reason, "{}", row.app);
    }
}

/// A queue of one item, with rejections as `[reason, declined]`.
fn queue(delay: &Value, rejections: &[(&str, u64)]) -> Value {
    let all: u64 = rejections.iter().map(|(_, declined)| declined).sum();
    // Marathon lists every reason it knows, most of them with 0.
    let mut listed = vec![json!({"reason": "UnfulfilledRole", "declined": 0, "processed": all})];
    listed.extend(rejections.iter().map(|(r, d)| json!({"reason": r, "declined": d, "processed": all})));
    let summary =
        json!({"processedOffersCount": all, "unusedOffersCount": all, "rejectSummaryLastOffers": listed});
    json!([
        {"app": {"id": "/other"}, "count": 9, "delay": {"timeLeftSeconds": 99, "overdue": false}},
        {"app": {"id": "/a"}, "count": 1, "delay": delay, "since": NOW, "role": "dev", "processedOffersSummary": summary},
    ])
}

fn good() -> Value {
    task(NOW, "TASK_RUNNING", Some(true))
}

/// One of two runs; merged with more.
fn half(more: &Value) -> Value {
    let mut half = json!({"tasks": [good()]});
    half.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    half
}

#[test]
fn a_queue_tells_why_offers_do_not_fit() {
    let mapped = json!({"container": {"portMappings": [{"hostPort": 80}, {"hostPort": 0}]}});
    let fixed = json!({"requirePorts": true, "portDefinitions": [{"port": 8080}, {"port": 8081}]});
    let unique = json!({"constraints": [["hostname", "UNIQUE"]]});
    let resident = json!({"container": {"volumes": [{"persistent": {"size": 1}}]}});
    let table = [
        ("InsufficientCpus", json!({"cpus": 4}), "with too few CPUs (it asks for 4)"),
        ("InsufficientMemory", json!({"mem": 64}), "with too little memory (it asks for 64 MiB)"),
        ("InsufficientDisk", json!({"disk": 10}), "with too little disk (it asks for 10 MiB)"),
        ("InsufficientGpus", json!({"gpus": 1}), "with too few GPUs (it asks for 1)"),
        ("InsufficientPorts", json!({"portDefinitions": [{"port": 8080}]}), "without its ports"),
        ("InsufficientPorts", fixed, "without its ports (8080, 8081)"),
        ("InsufficientPorts", mapped, "without its ports (80)"),
        (
            "UnfulfilledRole",
            json!({"acceptedResourceRoles": ["slave_public"]}),
            "of roles that it does not accept ([\"slave_public\"])",
        ),
        (
            "UnfulfilledConstraint",
            unique,
            "of agents that its constraints exclude ([[\"hostname\",\"UNIQUE\"]])",
        ),
        (
            "DeclinedScarceResources",
            json!({}),
            "of agents with GPUs, which are kept for apps that ask for them",
        ),
        ("AgentMaintenance", json!({}), "of agents in maintenance"),
        ("AgentUnavailable", json!({}), "of agents that are not available"),
        ("SomethingNew", json!({}), "declined as SomethingNew"),
        (
            "NoCorrespondingReservationFound",
            resident,
            "without the reservation of its volume; its agent may be away",
        ),
    ];
    let rows = table.map(|(reason, app, words)| {
        let volume = reason == "NoCorrespondingReservationFound";
        let cause = if volume { Cause::WaitsForVolume } else { Cause::NoOffers };
        let reason_told = format!("1 of 2 running, 1 healthy; no offer fits 1 to launch: 3 of 3 {words}");
        Row {
            queue: queue(&json!({"timeLeftSeconds": 0, "overdue": true}), &[(reason, 3)]),
            ..row(half(&app), (Health::Degraded, cause), &reason_told)
        }
    });
    check(rows.into());
}

#[test]
fn a_queue_tells_what_is_waited_for() {
    let over = json!({"timeLeftSeconds": 0, "overdue": true});
    let several = [
        ("InsufficientCpus", 2),
        ("InsufficientMemory", 9),
        ("InsufficientPorts", 2),
        ("InsufficientDisk", 1),
    ];
    let rows = vec![
        Row {
            queue: queue(&over, &several),
            ..row(
                half(&json!({})),
                (Health::Degraded, Cause::NoOffers),
                "1 of 2 running, 1 healthy; no offer fits 1 to launch: 9 of 14 with too little memory, 2 of 14 with too \
                 few CPUs, 2 of 14 without its ports",
            )
        },
        Row {
            queue: queue(&over, &[]),
            ..row(
                half(&json!({})),
                (Health::Progressing, Cause::WaitsForOffers),
                "1 of 2 running, 1 healthy; 1 to launch, overdue, waiting for offers for role dev since \
                 2020-01-02T00:00:00.000Z",
            )
        },
        Row {
            queue: queue(&json!({"timeLeftSeconds": 37, "overdue": false}), &[("InsufficientCpus", 1)]),
            last_failure: json!({"host": "h1", "timestamp": NOW, "state": "TASK_FAILED", "message": "exit\n1"}),
            ..row(
                half(&json!({})),
                (Health::Degraded, Cause::Backoff),
                "1 of 2 running, 1 healthy; backs off after failures, next launch in 37 s; last failure on h1 at \
                 2020-01-02T00:00:00.000Z: TASK_FAILED exit 1",
            )
        },
        // Enough run: what the queue says is yesterday's.
        Row {
            queue: queue(&over, &[("InsufficientCpus", 1)]),
            ..row(
                json!({"tasks": [good(), good()]}),
                (Health::Healthy, Cause::Alive),
                "2 of 2 running, 2 healthy",
            )
        },
    ];
    check(rows);
}

#[test]
fn a_replacement_that_never_begins_is_told_as_such() {
    let old = || task(OLD, "TASK_RUNNING", Some(true));
    let strategy = |over: f64| json!({"minimumHealthCapacity": 0.5, "maximumOverCapacity": over});
    let told_beside = |queue: &Value, tasks: Value, over: f64, action: &str| {
        let action = json!({"action": action, "app": "/a", "readinessCheckResults": []});
        let deployment = json!([{"id": "d", "affectedApps": ["/a"], "currentStep": 1, "totalSteps": 1,
            "currentActions": [action]}]);
        let deployments: Vec<Deployment> = serde_json::from_value(deployment).unwrap();
        let app =
            app(&json!({"tasks": tasks, "deployments": [{"id": "d"}], "upgradeStrategy": strategy(over)}));
        let queue: Vec<QueueItem> = serde_json::from_value(queue.clone()).unwrap();
        let evidence = Evidence { deployments: &deployments, queue: &queue, ..Evidence::default() };
        let report = judge(Some(&app), &evidence);
        assert_eq!(report.health, Health::Progressing);
        (report.cause, report.reason)
    };
    let told = |tasks: Value, over: f64, action: &str| told_beside(&json!([]), tasks, over, action);
    let (cause, reason) = told(json!([old(), old()]), 0.0, "RestartApplication");
    assert_eq!(cause, Cause::NoRoom);
    assert!(reason.ends_with("set upgradeStrategy.maximumOverCapacity so that one more fits"), "{reason}");
    // Launches are due, as before 1.10: there is room, and something else is in the way.
    let due = queue(&json!({"timeLeftSeconds": 0, "overdue": true}), &[("InsufficientCpus", 3)]);
    let (cause, reason) = told_beside(&due, json!([old(), old()]), 0.0, "RestartApplication");
    assert_eq!(cause, Cause::NoOffers);
    assert!(!reason.contains("never begin"), "{reason}");
    let new = task(NOW, "TASK_STAGING", None);
    for (tasks, over, action) in [
        (json!([old(), old(), new]), 0.0, "RestartApplication"),
        (json!([old()]), 0.0, "RestartApplication"),
        (json!([old(), old()]), 0.5, "RestartApplication"),
        (json!([old(), old()]), 0.0, "ScaleApplication"),
    ] {
        assert_eq!(told(tasks, over, action).0, Cause::Deploying, "{over} {action}");
    }
}

#[test]
fn deployments_tell_what_they_do_and_wait_for() {
    let deployment = |app: &str, results: Value| {
        json!([{"id": "d", "affectedApps": ["/a"], "currentStep": 2, "totalSteps": 3,
            "currentActions": [{"action": "RestartApplication", "app": app, "readinessCheckResults": results}]}])
    };
    let result = |ready: bool| json!({"name": "http-api", "taskId": "a.1", "ready": ready});
    let mut answered = result(false);
    answered["lastResponse"] = json!({"status": 503, "contentType": "text/plain", "body": "warming up\n"});
    let locked = || half(&json!({"deployments": [{"id": "d"}]}));
    let progressing = |cause| (Health::Progressing, cause);
    let with =
        |deployments: Value, cause, reason| Row { deployments, ..row(locked(), progressing(cause), reason) };
    let rows = vec![
        row(locked(), progressing(Cause::Deploying), "deployment under way: 1 of 2 running, 1 healthy"),
        with(
            deployment("/a", json!([])),
            Cause::Deploying,
            "deployment under way (RestartApplication, step 2 of 3): 1 of 2 running, 1 healthy",
        ),
        with(
            deployment("/b", json!([])),
            Cause::Deploying,
            "deployment under way (other apps first, step 2 of 3): 1 of 2 running, 1 healthy",
        ),
        with(
            deployment("/a", json!([result(true), answered, result(false)])),
            Cause::NotReady,
            "deployment under way (RestartApplication, step 2 of 3): 1 of 2 running, 1 healthy; 2 not ready by check \
             http-api, such as a.1, which answers 503 \"warming up\"",
        ),
        with(
            deployment("/a", json!([result(false)])),
            Cause::NotReady,
            "deployment under way (RestartApplication, step 2 of 3): 1 of 2 running, 1 healthy; 1 not ready by check \
             http-api, such as a.1",
        ),
        with(
            deployment("/a", json!([result(true)])),
            Cause::Deploying,
            "deployment under way (RestartApplication, step 2 of 3): 1 of 2 running, 1 healthy",
        ),
        // The list knows what the app does not say yet.
        Row {
            deployments: deployment("/a", json!([])),
            ..row(
                json!({"tasks": [good(), good()]}),
                progressing(Cause::Deploying),
                "deployment under way (RestartApplication, step 2 of 3): 2 of 2 running, 2 healthy",
            )
        },
        Row {
            queue: queue(&json!(null), &[("InsufficientCpus", 1)]),
            ..row(
                locked(),
                progressing(Cause::NoOffers),
                "deployment under way: 1 of 2 running, 1 healthy; no offer fits 1 to launch: 1 of 1 with too few CPUs",
            )
        },
    ];
    check(rows);
}

#[test]
fn tasks_tell_what_keeps_them() {
    let bad = json!({"version": NOW, "state": "TASK_RUNNING", "host": "h1",
        "healthCheckResults": [{"alive": false, "lastFailureCause": "ConnectException:  refused"}]});
    let lost = || json!({"version": NOW, "state": "TASK_UNREACHABLE", "host": "h2"});
    let parked = json!({"state": "TASK_FINISHED", "host": "h3", "localVolumes": [{"containerPath": "data"}]});
    let staging = json!({"version": NOW, "state": "TASK_STAGING", "host": "h3", "localVolumes": [{"containerPath": "d"}]});
    let resident = json!({"volumes": [{"containerPath": "data", "persistent": {"size": 1}}]});
    let degraded = |cause| (Health::Degraded, cause);
    let progressing = |cause| (Health::Progressing, cause);
    let rows = vec![
        row(
            json!({"tasks": [good(), bad]}),
            degraded(Cause::Unhealthy),
            "1 of 2 unhealthy, on h1: ConnectException: refused",
        ),
        row(
            json!({"tasks": [good(), lost()]}),
            degraded(Cause::Unreachable),
            "1 of 2 running, 1 healthy, 1 unreachable; no word from h2",
        ),
        row(
            json!({"tasks": [lost(), lost()], "unreachableStrategy": "disabled"}),
            degraded(Cause::Unreachable),
            "0 of 2 running, 0 healthy, 2 unreachable; no word from h2 and 1 more; it is not replaced until the agent is \
             back",
        ),
        row(
            json!({"tasks": [good(), lost()], "container": resident}),
            degraded(Cause::Unreachable),
            "1 of 2 running, 1 healthy, 1 unreachable; no word from h2, where its volume is; it is not started elsewhere",
        ),
        // Replaced, and not expunged yet.
        row(
            json!({"tasks": [good(), good(), lost()]}),
            (Health::Healthy, Cause::Alive),
            "2 of 2 running, 2 healthy, 1 unreachable",
        ),
        row(
            json!({"tasks": [good(), parked], "container": resident}),
            degraded(Cause::WaitsForVolume),
            "1 of 2 running, 1 healthy; waits for resources on h3, where its volume is",
        ),
        row(
            json!({"tasks": [good(), staging], "container": resident}),
            progressing(Cause::Starting),
            "1 of 2 running, 1 healthy, 1 starting",
        ),
    ];
    check(rows);
}

#[test]
fn tasks_of_two_configurations_are_told_apart() {
    let old = || task(OLD, "TASK_RUNNING", Some(true));
    let run = || task(NOW, "TASK_RUNNING", None);
    let degraded = |cause| (Health::Degraded, cause);
    let progressing = |cause| (Health::Progressing, cause);
    let rows = vec![
        row(
            json!({"tasks": [good(), task(OLD, "TASK_KILLING", None)]}),
            progressing(Cause::Starting),
            "1 of 2 running, 1 healthy, 1 stopping",
        ),
        row(
            json!({"tasks": [good(), old()]}),
            degraded(Cause::Mixed),
            "1 of 2 running, 1 healthy, 1 of an older configuration; no deployment replaces the old ones",
        ),
        row(
            json!({"tasks": [good(), good(), old()]}),
            progressing(Cause::OldTasks),
            "2 of 2 running, 2 healthy, 1 of an older configuration",
        ),
        row(
            json!({"tasks": [good(), good(), good()]}),
            progressing(Cause::Surplus),
            "3 of 2 running, 3 healthy",
        ),
        row(
            json!({"tasks": [good(), run()]}),
            progressing(Cause::NotChecked),
            "2 of 2 running, 1 healthy, 1 not checked yet",
        ),
        row(
            json!({"tasks": [run(), run()], "healthChecks": []}),
            (Health::Healthy, Cause::NoChecks),
            "2 of 2 running",
        ),
    ];
    check(rows);
}

#[test]
fn failures_and_what_is_no_failure() {
    let failure = |version: &str, message: &str| json!({"host": "h1", "timestamp": NOW, "version": version, "state": "TASK_LOST", "message": message});
    let degraded = |cause| (Health::Degraded, cause);
    let progressing = |cause| (Health::Progressing, cause);
    let rows = vec![
        row(
            json!({"tasks": [], "lastTaskFailure": failure(NOW, "")}),
            degraded(Cause::Failing),
            "0 of 2 running, 0 healthy; last failure on h1 at 2020-01-02T00:00:00.000Z: TASK_LOST",
        ),
        // A task of the old configuration failed after the change.
        row(
            json!({"tasks": [], "lastTaskFailure": failure(OLD, "x")}),
            progressing(Cause::Starting),
            "0 of 2 running, 0 healthy",
        ),
        Row {
            last_failure: failure(NOW, "no such file"),
            ..row(
                half(&json!({})),
                degraded(Cause::Failing),
                "1 of 2 running, 1 healthy; last failure on h1 at 2020-01-02T00:00:00.000Z: TASK_LOST no such file",
            )
        },
        row(
            json!({"tasks": null, "tasksRunning": 1, "tasksHealthy": 1, "tasksUnhealthy": 0, "tasksStaged": 1}),
            progressing(Cause::Starting),
            "1 of 2 running, 1 healthy, 1 starting",
        ),
        row(json!({"instances": 0}), (Health::Suspended, Cause::ScaledToZero), "scaled to 0 instances"),
        row(
            json!({"instances": 0, "tasks": [good()]}),
            progressing(Cause::Surplus),
            "1 of 0 running, 1 healthy",
        ),
        row(
            json!({"deployments": null}),
            (Health::Unknown, Cause::NotTold),
            "the answer holds no counts or no deployments",
        ),
    ];
    check(rows);
    assert_eq!(health(None).cause, Cause::NotThere);
}
