//! How a model is explored, what is printed about it, and when that is a failure.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::hash::Hash;

use stateright::{Checker, Expectation, HasDiscoveries, Model};

/// What a state must be to be explored by several threads.
pub trait Explorable: Clone + Debug + PartialEq + Eq + Hash + Send + Sync + 'static {}
impl<T: Clone + Debug + PartialEq + Eq + Hash + Send + Sync + 'static> Explorable for T {}

/// Whether the bounds of CI are asked for; without that word every model is a small one.
#[expect(clippy::disallowed_methods, reason = "a test is told how far to look")]
pub fn full() -> bool {
    match std::env::var("DCOS_REGISTRY_MODEL") {
        Ok(word) if word == "full" => true,
        Ok(word) => panic!("DCOS_REGISTRY_MODEL={word}: only `full` means something"),
        Err(_) => false,
    }
}

/// Explores a model breadth first, to its end or until about `most` states were generated (repeats counted),
/// and prints how far that was. Every `always` must hold in all of them.
///
/// What is meant to happen sometimes must have happened: a model in which nothing goes wrong proves nothing.
pub fn holds<M>(name: &str, model: M, most: usize)
where
    M: Model + Send + Sync + 'static,
    M::State: Explorable,
    M::Action: Explorable,
{
    let checker = model.checker().threads(2).target_state_count(most);
    let checker = checker.finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    let complete = checker.state_count() < most;
    println!(
        "{name}: {} states ({} with repeats), {} steps deep, {}",
        checker.unique_state_count(),
        checker.state_count(),
        checker.max_depth() - 1,
        if complete { "complete" } else { "cut off there" }
    );
    let found = checker.discoveries();
    for property in checker.model().properties() {
        match (property.expectation, found.get(property.name)) {
            (Expectation::Sometimes, None) => panic!("{name}: never came to pass: {}", property.name),
            (Expectation::Always | Expectation::Eventually, Some(path)) => {
                let actions = path.clone().into_actions();
                let steps: Vec<String> = actions.iter().map(|action| format!("    {action:?}")).collect();
                panic!("{name}: does not hold: {}\n{}", property.name, steps.join("\n"))
            }
            _ => {}
        }
    }
}

/// The same for a bound that must be exhausted.
pub fn holds_everywhere<M>(name: &str, model: M)
where
    M: Model + Send + Sync + 'static,
    M::State: Explorable,
    M::Action: Explorable,
{
    holds(name, model, usize::MAX);
}

/// Looks for the shortest way to break a property of a model that was made wrong on purpose, and prints it.
pub fn breaks<M>(name: &str, model: M, property: &'static str)
where
    M: Model + Send + Sync + 'static,
    M::State: Explorable,
    M::Action: Explorable,
{
    let wanted = HasDiscoveries::AnyOf(BTreeSet::from([property]));
    let checker = model.checker().finish_when(wanted).spawn_bfs().join();
    let path = checker.discovery(property);
    let path = path.unwrap_or_else(|| panic!("{name}: nobody noticed; it should break: {property}"));
    let actions = path.into_actions();
    let states = checker.unique_state_count();
    println!("{name}: breaks \"{property}\" in {} steps, found among {states} states", actions.len());
    for action in actions {
        println!("    {action:?}");
    }
}
