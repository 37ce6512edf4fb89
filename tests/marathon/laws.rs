//! Laws of normalization, comparison and effects, tried on random apps against the local Marathon.
//!
//! More cases: `DCOS_REGISTRY_LAWS=<number>`.

use std::collections::BTreeSet;

use dcos_registry::marathon::diff::{condense, diff, to_send};
use dcos_registry::marathon::normalize::{Canonical, normalize, normalize_observed};
use dcos_registry::marathon::room;
use dcos_registry::model::{App, Effect};
use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;
use serde_json::{Value, json};

use crate::apps::{ID, pair, parts};
use crate::world::{World, in_virtual_time};

/// How many cases each law is tried on.
fn cases(usual: u32) -> u32 {
    #[expect(clippy::disallowed_methods, reason = "how much is tried is told to this test from outside")]
    let number = std::env::var("DCOS_REGISTRY_LAWS").ok();
    number.map_or(usual, |number| number.parse().unwrap())
}

fn config(usual: u32) -> ProptestConfig {
    ProptestConfig { cases: cases(usual), failure_persistence: None, ..ProptestConfig::default() }
}

/// A path of the app, for writing.
fn path() -> String {
    format!("/v2/apps{ID}?partialUpdate=false&force=false")
}

fn task_ids(app: &App) -> BTreeSet<String> {
    let tasks = app.get("tasks").and_then(Value::as_array).unwrap();
    tasks.iter().map(|task| task["id"].as_str().unwrap().to_owned()).collect()
}

/// The canonical app; the strategy makes valid ones.
fn canonical(app: &App) -> Canonical {
    normalize(app).unwrap_or_else(|errors| panic!("{errors:?} of {}", app.clone().into_value()))
}

/// Creates an app and waits until it runs.
async fn created(world: &World, app: &App) -> Result<App, TestCaseError> {
    let (status, answer) = world.send("POST", "/v2/apps", &canonical(app).into_app().into_value()).await;
    prop_assert_eq!(status, 201, "{}", answer);
    world.settled(ID).await.map_err(TestCaseError::fail)
}

/// Nothing is to be done for an app that is there, and putting it there again does nothing.
async fn nothing_is_left(world: &World, app: &App, applied: Option<&App>) -> TestCaseResult {
    let observed = world.app(ID).await;
    let app = canonical(app);
    let difference = diff(&app, &observed, applied, &[]).unwrap();
    prop_assert!(difference.changes.is_empty(), "{:?}", difference.changes);
    prop_assert_eq!(difference.effect, Effect::None);
    let body = to_send(&app, &observed, applied, &[]).unwrap().into_value();
    let (status, answer) = world.send("PUT", &path(), &body).await;
    prop_assert_eq!(status, 200, "{}", answer);
    let deployments = world.get("/v2/deployments").await;
    prop_assert_eq!(deployments, json!([]), "a deployment has steps");
    let after = world.app(ID).await;
    prop_assert_eq!(after.version(), observed.version());
    prop_assert_eq!(task_ids(&after), task_ids(&observed));
    Ok(())
}

/// What the effect that was named means for the tasks.
fn effect_is(effect: Effect, before: &App, after: &App) -> TestCaseResult {
    let (old, new) = (task_ids(before), task_ids(after));
    match effect {
        Effect::None => {
            prop_assert_eq!(before.version(), after.version());
            prop_assert_eq!(old, new);
        }
        Effect::Scale => {
            prop_assert!(old.is_subset(&new) || new.is_subset(&old), "{old:?} {new:?}");
            prop_assert_ne!(before.version(), after.version());
        }
        Effect::Restart => {
            prop_assert!(old.is_disjoint(&new), "{old:?} {new:?}");
            prop_assert_ne!(before.version(), after.version());
        }
        Effect::Recreate => prop_assert!(false, "this is refused"),
    }
    Ok(())
}

/// What an app came to, without what the server chose for it: port numbers that were asked for as 0, the role where none
/// is named, and `executorResources`, which only a POST can set.
fn comparable(observed: &App, wanted: &App) -> App {
    let (mut app, wanted) = (normalize_observed(observed).into_app(), canonical(wanted).into_app());
    app.0.remove("executorResources");
    if wanted.get("role").is_none() {
        app.0.remove("role");
    }
    for (list, number) in [("/portDefinitions", "port"), ("/container/portMappings", "servicePort")] {
        let mut value = app.into_value();
        let asked = wanted.clone().into_value();
        if let Some(Value::Array(ports)) = value.pointer_mut(list) {
            for (i, port) in ports.iter_mut().enumerate() {
                if asked.pointer(&format!("{list}/{i}/{number}")) == Some(&json!(0)) {
                    port[number] = 0.into();
                }
            }
        }
        app = App::from_value(value).unwrap();
    }
    app
}

/// B after A: the effect is as named, and what comes of it is what comes of B alone.
async fn second_after_first(first: &App, second: &App) -> TestCaseResult {
    let world = World::start(1).await;
    let before = created(&world, first).await?;
    let (applied, wanted) = (condense(&canonical(first)), canonical(second));
    let difference = diff(&wanted, &before, Some(&applied), &[]).unwrap();
    let body = to_send(&wanted, &before, Some(&applied), &[]).unwrap().into_value();
    let (status, answer) = world.send("PUT", &path(), &body).await;
    let told = format!("{:?} for {:?}: {status} {answer}", difference.effect, difference.changes);
    if difference.effect == Effect::Recreate {
        prop_assert_eq!(status, 422, "{}", told);
        let kept = world.app(ID).await;
        prop_assert_eq!(kept.version(), before.version());
        world.stop().await;
        return Ok(());
    }
    prop_assert_eq!(status, 200, "{}", told);
    if difference.effect == Effect::Restart && room::is_missing(&canonical(first), &wanted) {
        prop_assert!(world.settled(ID).await.is_err(), "{}", told);
        let left = task_ids(&world.app(ID).await);
        prop_assert!(left.is_subset(&task_ids(&before)), "{}", told);
        prop_assert_eq!(left.len() as u64, wanted.instances());
        world.stop().await;
        return Ok(());
    }
    let after = world.settled(ID).await.map_err(TestCaseError::fail)?;
    effect_is(difference.effect, &before, &after)
        .map_err(|error| TestCaseError::fail(format!("{error}\n{told}")))?;
    prop_assert_eq!(task_ids(&after).len() as u64, wanted.instances());
    nothing_is_left(&world, second, Some(&condense(&wanted))).await?;
    world.stop().await;
    let alone = World::start(1).await;
    let straight = created(&alone, second).await?;
    prop_assert_eq!(comparable(&after, second), comparable(&straight, second));
    alone.stop().await;
    Ok(())
}

async fn created_is_what_was_wanted(app: &App) -> TestCaseResult {
    let world = World::start(1).await;
    created(&world, app).await?;
    nothing_is_left(&world, app, None).await?;
    nothing_is_left(&world, app, Some(&condense(&canonical(app)))).await?;
    world.stop().await;
    Ok(())
}

proptest! {
    #![proptest_config(config(48))]

    #[test]
    fn what_was_created_is_what_was_wanted(parts in parts(false)) {
        in_virtual_time(created_is_what_was_wanted(&parts.app()))?;
    }

    #[test]
    fn resident_apps_are_what_was_wanted(parts in parts(true)) {
        in_virtual_time(created_is_what_was_wanted(&parts.app()))?;
    }
}

proptest! {
    #![proptest_config(config(96))]

    #[test]
    fn a_change_has_the_effect_that_was_named_and_leads_where_it_should((first, second) in pair(false)) {
        in_virtual_time(second_after_first(&first.app(), &second.app()))?;
    }

    #[test]
    fn so_does_a_change_of_a_resident_app((first, second) in pair(true)) {
        in_virtual_time(second_after_first(&first.app(), &second.app()))?;
    }
}
