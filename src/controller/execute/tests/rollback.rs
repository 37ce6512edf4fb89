//! Changes that never come to run: what is put back, what is not, and that it is not tried for ever.

use serde_json::{Value, json};

use super::app;
use super::cluster::{Fault, Inner};
use super::rig::{Rig, id, manifest_of};
use crate::controller::report::plan_text;
use crate::controller::stage::Accepted;
use crate::model::{Operation, OutcomeResult, UnitState};

/// How many passes it takes until a change that does not come to run is given up.
const PASSES: usize = 40;

fn manifest(command: &str) -> Accepted {
    upkept(command, "rollback")
}

fn upkept(command: &str, on_failure: &str) -> Accepted {
    let upkeep = json!({"wait": {"timeout": "30s"}, "onFailure": on_failure});
    manifest_of(&[app("a", command)], &upkeep)
}

/// A cluster in which the app runs well, and on which two other commands never would.
async fn running() -> Rig {
    let mut rig = Rig::new(&[]).await;
    rig.cluster.with(|inner| inner.sick.extend(["sick", "sicker"]));
    rig.converge(&manifest("good")).await.unwrap();
    rig.writes();
    rig
}

fn command(rig: &Rig) -> Value {
    rig.cluster.with(|inner| inner.apps[&id("/t/a")].definition.get("cmd").cloned().unwrap_or_default())
}

async fn passes(rig: &mut Rig, accepted: &Accepted) {
    for _ in 0..PASSES {
        rig.pass(accepted).await;
    }
}

async fn state(rig: &Rig, accepted: &Accepted) -> (&'static str, String) {
    match rig.plan(accepted).await.units[0].state.clone() {
        UnitState::Ready { message } => ("Ready", message),
        UnitState::Progressing { reason, message } => ("Progressing", format!("{reason}: {message}")),
        UnitState::Stalled { reason, message } => ("Stalled", format!("{reason}: {message}")),
        UnitState::Unknown { reason, message } => ("Unknown", format!("{reason}: {message}")),
    }
}

#[tokio::test]
async fn what_ran_before_is_put_back_once_and_what_failed_is_not_tried_again() {
    let mut rig = running().await;
    let sick = manifest("sick");
    passes(&mut rig, &sick).await;
    assert_eq!(command(&rig), "good");
    let forced = "PUT /t/a?partialUpdate=false&force=true".to_owned();
    assert_eq!(rig.writes(), ["PUT /t/a?partialUpdate=false&force=false".to_owned(), forced.clone()]);
    let (word, message) = state(&rig, &sick).await;
    assert_eq!(word, "Stalled");
    assert!(message.starts_with("RolledBack: rolled back to what ran before (now: "), "{message}");
    assert!(message.contains("because it failed: not done within 30 s: "), "{message}");
    let owned = rig.inventory().apps[&id("/t/a")].clone();
    assert_eq!(owned.rollout, None, "what was put back came to run, and that is confirmed");
    // Another definition is another try.
    rig.converge(&manifest("better")).await.unwrap();
    assert_eq!(command(&rig), "better");
    assert_eq!(rig.inventory().apps[&id("/t/a")].failed, None);
}

#[tokio::test]
async fn the_plan_shows_why_and_what() {
    let mut rig = running().await;
    let sick = manifest("sick");
    let plan = loop {
        let (plan, _) = rig.pass(&sick).await;
        if plan.actions.iter().any(|action| action.operation.label() == "update") && command(&rig) == "good" {
            break plan;
        }
    };
    let text = plan_text(&plan);
    assert!(text.contains("it failed, and what ran before is put back: not done within 30 s: "), "{text}");
    assert!(text.contains("/cmd: \"sick\" -> \"good\""), "{text}");
}

#[tokio::test]
async fn the_last_good_one_is_put_back_and_not_the_one_before() {
    let mut rig = running().await;
    rig.pass(&manifest("sick")).await;
    rig.pass(&manifest("sick")).await;
    passes(&mut rig, &manifest("sicker")).await;
    assert_eq!(command(&rig), "good");
    let (_, message) = state(&rig, &manifest("sicker")).await;
    assert!(message.starts_with("RolledBack: "), "{message}");
}

#[tokio::test]
async fn who_says_hold_keeps_what_failed_and_may_have_it_tried_again() {
    let mut rig = running().await;
    passes(&mut rig, &upkept("sick", "hold")).await;
    assert_eq!(command(&rig), "sick");
    assert_eq!(rig.writes().len(), 1);
    // That it shall be rolled back can be said later.
    passes(&mut rig, &manifest("sick")).await;
    assert_eq!(command(&rig), "good");
    passes(&mut rig, &upkept("sick", "hold")).await;
    assert_eq!(command(&rig), "sick");
}

#[tokio::test]
async fn going_back_by_hand_makes_room_for_another_try() {
    let mut rig = running().await;
    passes(&mut rig, &manifest("sick")).await;
    rig.writes();
    rig.converge(&manifest("good")).await.unwrap();
    assert_eq!(rig.writes(), [""; 0], "it is there already");
    assert_eq!(state(&rig, &manifest("good")).await.0, "Ready");
    rig.cluster.with(|inner| inner.sick.clear());
    rig.converge(&manifest("sick")).await.unwrap();
    assert_eq!(command(&rig), "sick");
}

#[tokio::test]
async fn there_is_nothing_to_put_back_where_nothing_ever_ran() {
    let mut rig = Rig::new(&[]).await;
    rig.cluster.with(|inner| inner.sick.extend(["sick"]));
    let sick = manifest("sick");
    passes(&mut rig, &sick).await;
    assert_eq!(rig.writes().len(), 1);
    let (word, message) = state(&rig, &sick).await;
    assert_eq!(word, "Stalled");
    assert!(message.starts_with("NotReadyInTime: not done within 30 s: "), "{message}");
    assert!(
        message.ends_with(
            "; it is not rolled back: no definition that ran well is remembered: there was none, or it is too long"
        ),
        "{message}"
    );
}

#[tokio::test]
async fn nothing_is_put_back_over_a_strangers_deployment() {
    let mut rig = running().await;
    rig.pass(&manifest("sick")).await;
    let strangers = |inner: &mut Inner| {
        inner.apps.get_mut(&id("/t/a")).unwrap().deployment = Some("strangers".into());
    };
    rig.cluster.with(strangers);
    passes(&mut rig, &manifest("sick")).await;
    assert_eq!(command(&rig), "sick");
    let (_, message) = state(&rig, &manifest("sick")).await;
    assert!(message.ends_with("deployment strangers holds the app and is not ours"), "{message}");
    let upkeep = json!({"wait": {"timeout": "30s"}, "onFailure": "rollback", "foreignDeployments": "cancel"});
    passes(&mut rig, &manifest_of(&[app("a", "sick")], &upkeep)).await;
    assert_eq!(command(&rig), "good", "who is told so cancels it");
}

#[tokio::test]
async fn only_what_the_books_say_is_put_back() {
    let mut rig = running().await;
    rig.cluster.with(Inner::forget_versions);
    passes(&mut rig, &manifest("sick")).await;
    assert_eq!(command(&rig), "sick");
    let (_, message) = state(&rig, &manifest("sick")).await;
    assert!(message.contains("it is not rolled back: version 2026-"), "{message}");
    assert!(message.contains("cannot be read: "), "{message}");

    let mut rig = running().await;
    rig.cluster.with(|inner| inner.forge_versions(&json!({"cmd": "a stranger's"})));
    passes(&mut rig, &manifest("sick")).await;
    assert_eq!(command(&rig), "sick");
    let (_, message) = state(&rig, &manifest("sick")).await;
    assert!(message.ends_with("is not what was put there"), "{message}");
}

#[tokio::test]
async fn what_failed_stays_known_when_the_process_dies_while_it_puts_back() {
    for fault in [Fault::DiesBefore, Fault::DiesAfter, Fault::DroppedAfter, Fault::BusyAfter] {
        let mut rig = running().await;
        let sick = manifest("sick");
        rig.pass(&sick).await;
        rig.hurt("PUT", fault);
        passes(&mut rig, &sick).await;
        assert_eq!(command(&rig), "good", "{fault:?}");
        let (_, message) = state(&rig, &sick).await;
        assert!(message.starts_with("RolledBack: "), "{fault:?}: {message}");
        let (forced, tries): (Vec<_>, Vec<_>) =
            rig.writes().into_iter().partition(|write| write.ends_with("force=true"));
        assert_eq!(tries.len(), 1, "{fault:?}: what failed was put there again");
        assert!(forced.len() <= 2, "{fault:?}: {forced:?}");
    }
}

#[tokio::test]
async fn what_ran_before_is_found_under_its_newest_version() {
    let upkeep = json!({"wait": {"timeout": "30s"}, "onFailure": "rollback", "ignore": ["/instances"]});
    let manifest = |command: &str| manifest_of(&[app("a", command)], &upkeep);
    let mut rig = Rig::new(&[]).await;
    rig.cluster.with(|inner| inner.sick.extend(["sick"]));
    rig.converge(&manifest("good")).await.unwrap();
    rig.cluster.with(|inner| inner.scale(&id("/t/a"), 3));
    passes(&mut rig, &manifest("sick")).await;
    assert_eq!(command(&rig), "good");
    assert!(rig.inventory().apps[&id("/t/a")].failed.is_some());
}

#[tokio::test]
async fn what_comes_to_run_is_confirmed_once() {
    let mut rig = running().await;
    let better = manifest("better");
    rig.pass(&better).await;
    assert!(rig.inventory().apps[&id("/t/a")].rollout.is_some());
    let confirms = |outcomes: &[crate::model::Outcome]| {
        let done = outcomes.iter().filter(|outcome| outcome.result == OutcomeResult::Done);
        done.filter(|outcome| matches!(outcome.action.operation, Operation::Confirm { .. })).count()
    };
    let mut confirmed = 0;
    for _ in 0..10 {
        confirmed += confirms(&rig.pass(&better).await.1);
    }
    assert_eq!(confirmed, 1);
    assert_eq!(rig.inventory().apps[&id("/t/a")].rollout, None);
    assert_eq!(state(&rig, &better).await.0, "Ready");
}

/// A definition that fills more than half of a record: it cannot be remembered beside its successor.
#[tokio::test]
async fn what_is_too_long_to_be_remembered_twice_is_changed_all_the_same() {
    let long = |command: &str| {
        let mut app = app("a", command);
        for n in 0..600 {
            app["env"][format!("SETTING_{n}")] = "x".repeat(230).into();
        }
        manifest_of(&[app], &json!({"wait": {"timeout": "30s"}, "onFailure": "rollback"}))
    };
    let mut rig = Rig::new(&[]).await;
    rig.cluster.with(|inner| inner.sick.extend(["sick"]));
    for command in ["good", "better"] {
        rig.converge(&long(command)).await.unwrap();
    }
    passes(&mut rig, &long("sick")).await;
    assert_eq!((command(&rig), rig.writes().len()), (json!("sick"), 3));
    let (word, message) = state(&rig, &long("sick")).await;
    assert_eq!(word, "Stalled");
    assert!(message.contains("it is not rolled back: "), "{message}");
}
