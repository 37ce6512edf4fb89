//! The executor against a scripted Marathon and a store in memory, driven by the real planner.

mod books;
mod cluster;
mod convergence;
mod recreate;
mod rig;
mod rollback;
mod standstill;

use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::controller::report::plan_text;
use crate::controller::stage::Accepted;
use crate::model::{Cause, IntentVerb};
use cluster::Fault;
use rig::{Rig, id, manifest, manifest_of};

fn app(name: &str, command: &str) -> Value {
    json!({"id": format!("/t/{name}"), "cmd": command, "instances": 1})
}

/// One app, its update, and its removal, each with the faults' verb.
fn stages() -> [(&'static str, Accepted); 3] {
    let other = app("other", "run other");
    [
        ("POST", manifest(&[app("a", "run a"), other.clone()])),
        ("PUT", manifest(&[app("a", "run better"), other.clone()])),
        ("DELETE", manifest(&[other])),
    ]
}

fn results(outcomes: &[Outcome]) -> Vec<&'static str> {
    outcomes.iter().map(|outcome| outcome.result.label()).collect()
}

fn reason(outcome: &Outcome) -> (&'static str, ErrorClass) {
    match &outcome.result {
        OutcomeResult::Failed { class, reason, .. } | OutcomeResult::Held { class, reason, .. } => {
            (*reason, *class)
        }
        other => panic!("it did not fail: {other:?}"),
    }
}

fn skipped(outcome: &Outcome) -> &str {
    match &outcome.result {
        OutcomeResult::Skipped(why) => why,
        other => panic!("it was not skipped: {other:?}"),
    }
}

/// Lets a deployment hold the app, or none.
fn hold(rig: &Rig, deployment: Option<String>) {
    rig.cluster.with(|inner| inner.apps.get_mut(&id("/t/a")).unwrap().deployment = deployment);
}

#[tokio::test]
async fn a_wave_is_announced_as_a_whole_before_its_first_write() {
    let mut rig = Rig::new(&[]).await;
    let accepted = manifest(&[app("a", "run a"), app("b", "run b"), app("c", "run c")]);
    let plan = rig.plan(&accepted).await;
    let outcomes = rig.execute(&plan).await;
    assert_eq!(results(&outcomes), ["done"; 3]);
    let asked = rig.cluster.with(|inner| inner.asked.clone());
    let first = asked.iter().find(|asked| asked.is_write()).unwrap();
    assert_eq!(first.announced.len(), 3);
    for (outcome, intent) in outcomes.iter().zip(first.announced.values()) {
        let Operation::CreateApp { book, .. } = &outcome.action.operation else { panic!("{outcome:?}") };
        assert_eq!((intent.verb, intent.body), (IntentVerb::Create, book.applied_digest));
        assert_eq!((&intent.unit, intent.epoch), (&outcome.action.unit, rig.executor.tenure.epoch()));
    }
    let inventory = rig.inventory();
    assert!(inventory.intents.is_empty());
    for (id, owned) in &inventory.apps {
        let there = rig.cluster.with(|inner| inner.apps[id].clone());
        assert_eq!((&owned.version, &owned.deployment), (&there.version, &there.deployment));
    }
}

#[tokio::test]
async fn writes_are_full_and_say_whether_they_force() {
    let mut rig = Rig::new(&[]).await;
    let [(_, first), (_, second), (_, third)] = stages();
    for accepted in [&first, &second, &third] {
        rig.converge(accepted).await.unwrap();
    }
    let calm = [
        "POST /t/a?force=false",
        "POST /t/other?force=false",
        "PUT /t/a?partialUpdate=false&force=false",
        "DELETE /t/a?force=false",
    ];
    assert_eq!(rig.writes(), calm);
    // Where our own deployment still runs it is replaced.
    rig.cluster.with(|inner| inner.slow = true);
    for accepted in [&first, &second, &third] {
        rig.pass(accepted).await;
    }
    let hasty =
        ["POST /t/a?force=false", "PUT /t/a?partialUpdate=false&force=true", "DELETE /t/a?force=true"];
    assert_eq!(rig.writes(), hasty);
}

#[tokio::test]
async fn a_write_whose_answer_is_lost_is_found_out_by_looking() {
    for fault in [Fault::DroppedAfter, Fault::BusyAfter, Fault::Late(1)] {
        let mut rig = Rig::new(&[]).await;
        for (verb, accepted) in stages() {
            rig.hurt(verb, fault);
            let (_, outcomes) = rig.pass(&accepted).await;
            assert!(results(&outcomes).contains(&"failed"), "{fault:?} of {verb}: {outcomes:?}");
            assert!(rig.inventory().intents.contains_key(&id("/t/a")), "{fault:?} of {verb}");
            rig.writes();
            let (plan, outcomes) = rig.pass(&accepted).await;
            let first = plan.actions.first().unwrap();
            let expected =
                if verb == "DELETE" { ("forget", Cause::Removed) } else { ("adopt", Cause::Resumed) };
            assert_eq!((first.operation.label(), first.cause), expected, "{fault:?} of {verb}");
            assert_eq!((results(&outcomes), rig.writes().len()), (vec!["done"], 0));
            assert!(rig.inventory().intents.is_empty(), "{fault:?} of {verb}");
            rig.converge(&accepted).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_write_that_may_have_been_lost_on_the_way_stays_announced_and_is_done_again() {
    for fault in [Fault::DroppedBefore, Fault::Hangs, Fault::Busy, Fault::Broken] {
        let mut rig = Rig::new(&[]).await;
        for (verb, accepted) in stages() {
            rig.hurt(verb, fault);
            rig.pass(&accepted).await;
            assert!(rig.inventory().intents.contains_key(&id("/t/a")), "{fault:?} of {verb}");
            rig.writes();
            rig.converge(&accepted).await.unwrap();
            assert_eq!(rig.writes().len(), 1, "{fault:?} of {verb}");
            assert!(rig.inventory().intents.is_empty(), "{fault:?} of {verb}");
        }
    }
}

#[tokio::test]
async fn a_refused_write_is_no_longer_announced() {
    let refusals = [
        (Fault::Locked, "Locked", ErrorClass::Wait),
        (Fault::TooMany, "TooManyDeployments", ErrorClass::Wait),
        (Fault::Invalid, "Invalid", ErrorClass::Stall),
        (Fault::Exists, "AlreadyExists", ErrorClass::Retry),
    ];
    for (fault, label, class) in refusals {
        let mut rig = Rig::new(&[]).await;
        for (verb, accepted) in stages() {
            rig.hurt(verb, fault);
            let (plan, outcomes) = rig.pass(&accepted).await;
            assert_eq!(reason(&outcomes[0]), (label, class), "{verb}");
            assert!(plan.actions.iter().all(|action| action.after.is_empty()));
            assert!(rig.inventory().intents.is_empty(), "{fault:?} of {verb}");
            rig.converge(&accepted).await.unwrap();
        }
    }
}

#[tokio::test]
async fn an_app_that_is_not_as_it_was_looked_at_is_left_alone() {
    let [(_, create), (_, update), (_, delete)] = stages();
    let theirs = app("a", "somebody else's");
    // The app appears, changes, changes, vanishes, vanishes between look and write.
    let mut rig = Rig::new(&[]).await;
    let plan = rig.plan(&create).await;
    rig.cluster.with(|inner| inner.put_there(&theirs));
    let outcomes = rig.execute(&plan).await;
    assert_eq!(skipped(&outcomes[0]), "it exists by now");
    assert_eq!(rig.writes(), ["POST /t/other?force=false"]);
    for (accepted, appears) in [(&update, true), (&delete, true), (&update, false), (&delete, false)] {
        let mut rig = Rig::new(&[]).await;
        rig.converge(&create).await.unwrap();
        let plan = rig.plan(accepted).await;
        rig.writes();
        rig.cluster.with(|inner| {
            if appears { inner.put_there(&theirs) } else { drop(inner.apps.remove(&id("/t/a"))) }
        });
        let outcomes = rig.execute(&plan).await;
        let why = if appears { "somebody changed it since it was looked at" } else { "it is gone by now" };
        assert_eq!((skipped(&outcomes[0]), rig.writes().len()), (why, 0));
        assert!(rig.inventory().intents.is_empty());
        rig.converge(accepted).await.unwrap();
    }
}

#[tokio::test]
async fn a_strangers_deployment_is_cancelled_where_that_is_said_and_no_other_than_was_seen() {
    let told = json!({"foreignDeployments": "cancel"});
    let of = |command: &str, upkeep: &Value| manifest_of(&[app("a", command)], upkeep);
    let absent = json!({"foreignDeployments": "cancel", "state": "absent"});
    for (told, waits, verb) in [
        (of("run better", &told), of("run better", &json!({})), "PUT /t/a?partialUpdate=false"),
        (of("run a", &absent), of("run a", &json!({"state": "absent"})), "DELETE /t/a?"),
    ] {
        let mut rig = Rig::new(&[]).await;
        rig.converge(&of("run a", &json!({}))).await.unwrap();
        hold(&rig, Some("theirs".to_owned()));
        assert_eq!(rig.plan(&waits).await.actions, []);
        hold(&rig, Some("theirs".to_owned()));
        let plan = rig.plan(&told).await;
        assert!(plan_text(&plan).contains("\n               cancels deployment theirs\n"));
        rig.writes();
        hold(&rig, Some("another".to_owned()));
        let outcomes = rig.execute(&plan).await;
        assert_eq!(skipped(&outcomes[0]), "deployment another holds it since it was looked at");
        assert_eq!(rig.writes(), [""; 0]);
        hold(&rig, Some("another".to_owned()));
        let plan = rig.plan(&told).await;
        hold(&rig, Some("another".to_owned()));
        rig.execute(&plan).await;
        let writes = rig.writes();
        assert!(writes.len() == 1 && writes[0].starts_with(verb), "{writes:?}");
        assert!(writes[0].ends_with("force=true"), "{writes:?}");
    }
}

#[tokio::test]
async fn what_is_no_longer_held_is_not_forced() {
    let mut rig = Rig::new(&[]).await;
    let [(_, create), (_, update), _] = stages();
    rig.converge(&create).await.unwrap();
    let ours = rig.inventory().apps[&id("/t/a")].deployment.clone();
    hold(&rig, ours);
    let plan = rig.plan(&update).await;
    rig.writes();
    hold(&rig, None);
    rig.execute(&plan).await;
    assert_eq!(rig.writes(), ["PUT /t/a?partialUpdate=false&force=false"]);
}

#[tokio::test]
async fn an_app_that_cannot_be_read_is_not_written() {
    for (number, (verb, accepted)) in stages().into_iter().enumerate() {
        let mut rig = Rig::new(&[]).await;
        for (_, before) in stages().into_iter().take(number) {
            rig.converge(&before).await.unwrap();
        }
        rig.writes();
        rig.hurt("GET", Fault::Broken);
        let (_, outcomes) = rig.pass(&accepted).await;
        assert_eq!(reason(&outcomes[0]), ("Unavailable", ErrorClass::Retry));
        assert!(!rig.writes().iter().any(|line| line.starts_with(&format!("{verb} /t/a"))));
        assert!(rig.inventory().intents.is_empty());
    }
}

#[tokio::test]
async fn what_comes_after_a_failure_does_not_run_and_what_does_not_runs() {
    let mut rig = Rig::new(&[]).await;
    let apps = ["a", "b", "c", "d"].map(|name| app(name, "run"));
    let mut plan = rig.plan(&manifest(&apps)).await;
    plan.actions[1].after = vec![0];
    plan.actions[2].after = vec![1];
    rig.hurt("POST", Fault::Invalid);
    let outcomes = rig.execute(&plan).await;
    assert_eq!(results(&outcomes), ["failed", "skipped", "skipped", "done"]);
    assert_eq!(skipped(&outcomes[1]), "App/a comes first and is not done");
    assert_eq!(skipped(&outcomes[2]), "App/b comes first and is not done");
    assert_eq!(rig.writes(), ["POST /t/a?force=false", "POST /t/d?force=false"]);
    // The same where the failure is remembered from an earlier pass.
    let outcomes = rig.execute(&plan).await;
    assert_eq!(results(&outcomes)[..3], ["held", "skipped", "skipped"]);
    assert_eq!(rig.writes(), Vec::<String>::new());
}

#[tokio::test]
async fn what_failed_is_not_tried_again_before_its_time() {
    let mut rig = Rig::new(&[]).await;
    let accepted = manifest(&[app("a", "run a")]);
    rig.hurt("POST", Fault::Busy);
    let plan = rig.plan(&accepted).await;
    let first = rig.execute(&plan).await;
    let again = rig.execute(&plan).await;
    assert_eq!((reason(&first[0]), rig.writes().len()), (reason(&again[0]), 1));
    assert_eq!((results(&first), results(&again)), (vec!["failed"], vec!["held"]));
    rig.clock.advance(Duration::from_secs(2));
    assert_eq!(results(&rig.execute(&plan).await), ["done"]);
}

#[tokio::test]
async fn nothing_is_begun_after_the_signal_to_stop() {
    let mut rig = Rig::new(&[]).await;
    let many: Vec<_> = (0..20).map(|n| app(&format!("a{n}"), "run")).collect();
    let mut plan = rig.plan(&manifest(&many)).await;
    plan.actions[19].after = vec![0];
    let stop = rig.stop.clone();
    rig.cluster.with(|inner| inner.after_write = Some(Box::new(move || stop.cancel())));
    let outcomes = rig.execute(&plan).await;
    let (done, writes) = (results(&outcomes).iter().filter(|label| **label == "done").count(), rig.writes());
    assert!((1..=CONCURRENT_WRITES).contains(&done), "{done} were done");
    assert_eq!(writes.len(), done, "{writes:?}");
    assert_eq!(skipped(&outcomes[19]), "the controller is stopping");
    assert_eq!((rig.inventory().apps.len(), rig.inventory().intents.len()), (done, 0));
}

#[tokio::test]
async fn a_put_that_changes_nothing_is_tried_twice_for_each_definition() {
    let mut rig = Rig::new(&[]).await;
    let (first, second) = (manifest(&[app("a", "run a")]), manifest(&[app("a", "run b")]));
    rig.converge(&first).await.unwrap();
    rig.writes();
    rig.cluster.with(|inner| inner.stubborn = true);
    for command in ["run b", "run c"] {
        let accepted = manifest(&[app("a", command)]);
        for _ in 0..5 {
            rig.pass(&accepted).await;
        }
        let plan = rig.plan(&accepted).await;
        assert_eq!(plan.blocked[0].reason.as_str(), "NotConvergent", "{plan:?}");
        assert_eq!(rig.writes().len(), 2, "{command}");
        let (owned, there) =
            (&rig.inventory().apps[&id("/t/a")], rig.cluster.with(|inner| inner.apps[&id("/t/a")].clone()));
        assert_eq!((owned.unchanged_puts, &owned.version), (2, &there.version));
    }
    // Once somebody put it right, the next drift is worth trying again.
    rig.cluster.with(|inner| inner.put_there(&app("a", "run b")));
    rig.converge(&second).await.unwrap();
    rig.cluster.with(|inner| inner.put_there(&app("a", "somebody else's")));
    rig.cluster.with(|inner| inner.stubborn = false);
    rig.converge(&second).await.unwrap();
}

#[tokio::test]
async fn a_removal_is_awaited_and_not_sent_twice() {
    let mut rig = Rig::new(&[]).await;
    let [(_, create), _, (_, delete)] = stages();
    rig.converge(&create).await.unwrap();
    rig.cluster.with(|inner| inner.slow = true);
    rig.writes();
    rig.pass(&delete).await;
    for _ in 0..3 {
        assert_eq!(rig.inventory().intents[&id("/t/a")].verb, IntentVerb::Delete);
        let (plan, _) = rig.pass(&delete).await;
        assert_eq!(plan.waiting[0].reason.as_str(), "DeploymentRunning", "{plan:?}");
    }
    assert_eq!(rig.writes(), ["DELETE /t/a?force=false"]);
    rig.cluster.with(|inner| inner.slow = false);
    rig.converge(&delete).await.unwrap();
    assert_eq!((rig.writes().len(), rig.inventory().intents.len(), rig.inventory().apps.len()), (0, 0, 1));
}

#[tokio::test]
async fn an_app_that_the_listing_leaves_out_is_neither_made_again_nor_forgotten() {
    let mut rig = Rig::new(&[]).await;
    let [(_, create), _, (_, delete)] = stages();
    rig.converge(&create).await.unwrap();
    rig.writes();
    rig.cluster.with(|inner| inner.hidden.insert(id("/t/a")));
    for (accepted, why) in [(&create, "it exists by now"), (&delete, "it is still there")] {
        let (_, outcomes) = rig.pass(accepted).await;
        assert_eq!((skipped(&outcomes[0]), rig.writes().len()), (why, 0));
        assert!(rig.inventory().apps.contains_key(&id("/t/a")));
    }
    rig.cluster.with(|inner| inner.hidden.clear());
    rig.converge(&delete).await.unwrap();
    assert_eq!(rig.writes(), ["DELETE /t/a?force=false"]);
}

#[tokio::test]
async fn at_rest_a_look_is_one_listing_and_what_moves_is_explained() {
    let mut rig = Rig::new(&[]).await;
    let accepted = manifest(&[app("a", "run a")]);
    let asides = |rig: &Rig| rig.cluster.with(|inner| std::mem::take(&mut inner.asides));
    rig.pass(&accepted).await;
    assert_eq!(asides(&rig), ["/v2/info"]);
    // Its deployment runs, and its task does not.
    rig.pass(&accepted).await;
    let mut told = asides(&rig);
    told.sort();
    assert_eq!(told, ["/v2/deployments", "/v2/queue"]);
    let before = rig.cluster.with(|inner| inner.asked.len());
    rig.pass(&accepted).await;
    assert_eq!(asides(&rig), Vec::<String>::new());
    assert_eq!(rig.cluster.with(|inner| inner.asked.len()) - before, 1);
}
