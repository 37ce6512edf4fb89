//! Faults of all kinds, what becomes of tasks, and what we do, in every combination: the client's calls and the follow-up
//! must come to the right verdict in the end, and never to success where there is none.
//!
//! Time is virtual, the tasks are simulated, the calls are those of the real client over a real connection. What a verdict
//! is held against is the local Marathon's own state at that moment, asked past the faults. Each combination has its
//! own seed. `DCOS_REGISTRY_FAULTS=<number>` runs all of them so many times, each time with other seeds; without it, some
//! of the kinds of tasks meet each fault with one action only, in turn.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::script::{ACTIONS, Fault, Script, faults, outcomes};
use crate::trial::{Seen, tried};
use crate::world::in_virtual_time;

/// How many combinations there must be at least.
const FEWEST: usize = 500;

/// Verdicts that must come up at least once, or the combinations do not tell much.
const ALL: &[&str] =
    &["Done", "Gone", "Halted", "Removed", "RolledBack", "Refused", "Stuck", "Superseded", "Unreadable"];

/// The kinds of tasks that meet each fault with one action where not everything is asked for.
const IN_TURN: &[&str] = &["healing", "late", "unready"];

/// How often everything is tried; none where not everything is.
fn rounds() -> Option<u64> {
    #[expect(clippy::disallowed_methods, reason = "how much is tried is told to this test from outside")]
    let number = std::env::var("DCOS_REGISTRY_FAULTS").ok();
    number.map(|number| number.parse().unwrap())
}

/// All combinations that are to be tried.
fn scripts(rounds: Option<u64>) -> Vec<Script> {
    let (mut scripts, mut seed) = (Vec::new(), 0);
    for round in 0..rounds.unwrap_or(1) {
        for (f, fault) in faults().iter().enumerate() {
            for (o, outcome) in outcomes().iter().enumerate() {
                for (a, action) in ACTIONS.into_iter().enumerate() {
                    seed += 1;
                    let turn = (f + o) % ACTIONS.len() == a;
                    if turn || rounds.is_some() || !IN_TURN.contains(&outcome.name) {
                        let (fault, outcome) = (fault.clone(), outcome.clone());
                        scripts.push(Script { fault, outcome, action, seed: round * 1_000_003 + seed });
                    }
                }
            }
        }
    }
    scripts
}

/// What came of each, in their order.
fn tried_by_several(scripts: &[Script]) -> Vec<(Seen, Option<String>)> {
    let (next, results) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    let several = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..several {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some(script) = scripts.get(number) else { return };
                    let trial = AssertUnwindSafe(|| in_virtual_time(tried(script)));
                    let result = catch_unwind(trial).unwrap_or_else(|panic| {
                        println!("the combination that panics: {script}");
                        resume_unwind(panic)
                    });
                    results.lock().unwrap().insert(number, result);
                }
            });
        }
    });
    results.into_inner().unwrap().into_values().collect()
}

#[test]
fn the_verdict_is_right_in_the_end() {
    dcos_registry::marathon::install_tls_provider();
    let scripts = scripts(rounds());
    let (mut verdicts, mut wrong) = (BTreeMap::<&str, usize>::new(), Vec::new());
    for (script, (seen, fault)) in scripts.iter().zip(tried_by_several(&scripts)) {
        *verdicts.entry(seen.word()).or_default() += 1;
        if let Some(fault) = fault.or_else(|| unexpected(script, &seen)) {
            wrong.push(format!("{script}: {}: {fault}", seen.word()));
        }
    }
    println!("{} combinations: {verdicts:?}", scripts.len());
    assert!(wrong.is_empty(), "{} are wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(scripts.len() >= FEWEST, "{} combinations are fewer than {FEWEST}", scripts.len());
    for word in ALL {
        assert!(verdicts.contains_key(word), "no combination ends in {word}");
    }
}

/// What is wrong with a verdict that is true, where another one could be had.
fn unexpected(script: &Script, seen: &Seen) -> Option<String> {
    let allowed = script.allowed()?;
    (!allowed.contains(&seen.word())).then(|| format!("it had to be one of {}", allowed.join(", ")))
}

impl Script {
    /// The verdicts that this combination may end in; none where that depends on chance or on time.
    fn allowed(&self) -> Option<Vec<&'static str>> {
        let deletes = self.action == "delete";
        let works = self.outcome.works || deletes;
        Some(match self.fault.fault {
            Fault::Passes if !deletes && self.may_forget_readiness() => vec!["Done", "Stuck"],
            // What the first change launched is kept, and never starts.
            Fault::Passes if self.fault.forced && self.action == "scale" => return None,
            Fault::Passes if works => vec![if deletes { "Gone" } else { "Done" }],
            Fault::Passes | Fault::Holds => vec!["Stuck"],
            Fault::Blinds if deletes => vec!["Refused"],
            Fault::Blinds => vec!["Unreadable"],
            Fault::Refuses => vec!["Refused"],
            Fault::Overwrites if !deletes => vec!["Superseded"],
            Fault::Overwrites => vec!["Gone"],
            Fault::Restores if self.action == "update" => vec!["RolledBack"],
            Fault::Restores | Fault::Meddles => return None,
        })
    }
}
