//! Every fault at every request, and pairs of faults: the end state is always the manifest.

use std::sync::Mutex;

use futures::StreamExt as _;
use serde_json::{Value, json};

use super::cluster::{Asked, Fault};
use super::rig::{Rig, id, manifest};
use crate::clock::Entropy;
use crate::controller::stage::Accepted;
use crate::model::IntentVerb;
use crate::storage::faults::Fault as StoreFault;

/// How many runs are under way at once; the hanging ones wait together.
const AT_ONCE: usize = 40;

/// How many pairs of faults are tried.
const PAIRS: usize = 120;

fn app(name: &str, command: &str, instances: u32) -> Value {
    json!({"id": format!("/t/{name}"), "cmd": command, "instances": instances, "env": {"A": name}})
}

/// Three apps; then one is changed and one no longer wanted.
struct Scenario {
    first: Accepted,
    second: Accepted,
    /// How many passes the first manifest is in force; none until it is reached.
    passes: Option<usize>,
}

impl Scenario {
    fn new(passes: Option<usize>) -> Self {
        let (a, b, c) = (app("a", "run a", 2), app("b", "run b", 1), app("c", "run c", 1));
        let changed = app("a", "run a better", 3);
        Self { first: manifest(&[a, b.clone(), c]), second: manifest(&[changed, b]), passes }
    }

    /// Runs it with these faults. Returns the requests that came.
    async fn run(&self, rig: &mut Rig, faults: usize) -> Result<Vec<Asked>, String> {
        let foreign = json!({"id": "/t/foreign", "cmd": "a stranger's", "instances": 1});
        rig.cluster.with(|inner| inner.put_there(&foreign));
        let before = rig.cluster.with(|inner| inner.apps.clone());
        match self.passes {
            None => {
                rig.converge(&self.first).await?;
            }
            Some(passes) => {
                for _ in 0..passes {
                    rig.pass(&self.first).await;
                }
            }
        }
        rig.converge(&self.second).await?;
        check_end(rig, faults)?;
        rig.cluster.with(|inner| {
            expect(
                "the foreign app is as it was",
                inner.apps.get(&id("/t/foreign")) == before.get(&id("/t/foreign")),
            )?;
            check_writes(&inner.asked)?;
            Ok(inner.asked.clone())
        })
    }
}

fn expect(what: &str, holds: bool) -> Result<(), String> {
    if holds { Ok(()) } else { Err(format!("not so: {what}")) }
}

/// The end: the manifest, nothing else, and books that say so.
fn check_end(rig: &Rig, faults: usize) -> Result<(), String> {
    rig.cluster.with(|inner| {
        let names: Vec<_> = inner.apps.keys().map(ToString::to_string).collect();
        expect(&format!("a, b and foreign are there: {names:?}"), names == ["/t/a", "/t/b", "/t/foreign"])?;
        let get =
            |name: &str, key: &str| inner.apps[&id(name)].definition.get(key).cloned().unwrap_or_default();
        expect(
            "a has the new command",
            get("/t/a", "cmd") == "run a better" && get("/t/a", "instances") == 3,
        )?;
        expect("b is as desired", get("/t/b", "cmd") == "run b" && get("/t/b", "env") == json!({"A": "b"}))?;
        expect(
            &format!("no app was made twice: {:?}", inner.created),
            inner.created.values().all(|n| *n == 1),
        )?;
        let writes = inner.asked.iter().filter(|asked| asked.is_write()).count();
        expect(&format!("{writes} writes are enough"), writes <= 5 + faults)
    })?;
    let inventory = rig.inventory();
    expect(&format!("no intent is open: {:?}", inventory.intents), inventory.intents.is_empty())?;
    let owned: Vec<_> = inventory.apps.keys().map(ToString::to_string).collect();
    expect(&format!("a and b are ours: {owned:?}"), owned == ["/t/a", "/t/b"])
}

/// Every write was announced, said what it meant, and came right after a look at its app.
fn check_writes(asked: &[Asked]) -> Result<(), String> {
    for (number, write) in asked.iter().enumerate().filter(|(_, asked)| asked.is_write()) {
        let (verb, query) = match write.verb.as_str() {
            "POST" => (IntentVerb::Create, ""),
            "PUT" => (IntentVerb::Update, "partialUpdate=false&"),
            _ => (IntentVerb::Delete, ""),
        };
        let forced = write.query == format!("{query}force=true");
        let explicit = forced || write.query == format!("{query}force=false");
        let announced = write.intent().is_some_and(|intent| intent.verb == verb);
        let before = asked[..number].iter().rfind(|other| other.app == write.app);
        let status = before.filter(|before| !before.is_write()).and_then(|before| before.status);
        let looked = status == if verb == IntentVerb::Create { Some(404) } else { Some(200) };
        if !(announced && explicit && looked && write.app != Some(id("/t/foreign"))) {
            let line = write.line();
            return Err(format!(
                "request {number}, {line}: announced {announced}, explicit {explicit}, looked before {looked}"
            ));
        }
    }
    Ok(())
}

/// What a script hurts.
#[derive(Debug, Default)]
struct Script {
    requests: Vec<(usize, Fault)>,
    steps: Vec<(usize, StoreFault)>,
}

/// Runs many fault scripts and reports those that fail. Servers are used again.
async fn run_all(scenario: &Scenario, scripts: Vec<Script>) {
    let free = &Mutex::new(Vec::new());
    let runs = scripts.iter().map(|script| async move {
        let used: Option<Rig> = free.lock().unwrap().pop();
        let mut rig = match used {
            Some(rig) => Rig::over(rig.cluster, rig.executor.marathon, &script.requests).await,
            None => Rig::new(&script.requests).await,
        };
        rig.store.hurt(script.steps.clone());
        let result = scenario.run(&mut rig, script.requests.len() + script.steps.len()).await;
        free.lock().unwrap().push(rig);
        result.err().map(|why| format!("{script:?}: {why}"))
    });
    let failed = futures::stream::iter(runs).buffer_unordered(AT_ONCE);
    let failed: Vec<_> = failed.filter_map(std::future::ready).collect().await;
    let first = failed.iter().take(3).map(String::as_str).collect::<Vec<_>>().join("\n\n");
    assert!(failed.is_empty(), "{} scripts failed, such as\n{first}", failed.len());
}

fn singles(asked: &[Asked]) -> Vec<(usize, Fault)> {
    let at = |(number, asked): (usize, &Asked)| -> Vec<_> {
        Fault::of(asked).into_iter().map(|fault| (number, fault)).collect()
    };
    asked.iter().enumerate().flat_map(at).collect()
}

fn one(fault: (usize, Fault)) -> Script {
    Script { requests: vec![fault], ..Script::default() }
}

#[tokio::test]
async fn a_fault_at_any_request_changes_nothing_about_the_end() {
    let scenario = Scenario::new(None);
    let asked = scenario.run(&mut Rig::new(&[]).await, 0).await.unwrap();
    let scripts: Vec<_> = singles(&asked).into_iter().map(one).collect();
    println!("{} requests, {} single faults", asked.len(), scripts.len());
    run_all(&scenario, scripts).await;
}

#[tokio::test]
async fn two_faults_change_nothing_about_the_end() {
    let scenario = Scenario::new(None);
    let asked = scenario.run(&mut Rig::new(&[]).await, 0).await.unwrap();
    let (singles, dice) = (singles(&asked), Entropy::seeded(20));
    let pick = || singles[usize::try_from(dice.next() % singles.len() as u64).unwrap()];
    let scripts = std::iter::repeat_with(|| {
        // The second comes soon after the first: that is where they meet.
        let (first, second) = (pick(), pick());
        let requests = vec![first, (first.0 + 1 + second.0 % 6, second.1)];
        Script { requests, ..Script::default() }
    });
    let scripts: Vec<_> = scripts.take(PAIRS).collect();
    println!("{PAIRS} pairs of faults");
    run_all(&scenario, scripts).await;
}

#[tokio::test]
async fn a_manifest_that_changes_while_it_is_applied_is_reached_too() {
    let scenario = Scenario::new(Some(1));
    let asked = scenario.run(&mut Rig::new(&[]).await, 0).await.unwrap();
    // A create that lands after nobody wants it any more cannot be told from a stranger's.
    let singles = singles(&asked).into_iter().filter(|(_, fault)| !matches!(fault, Fault::Late(_)));
    let scripts: Vec<_> = singles.map(one).collect();
    println!("{} requests, {} single faults", asked.len(), scripts.len());
    run_all(&scenario, scripts).await;
}

#[tokio::test]
async fn a_death_at_any_request_or_step_of_the_store_changes_nothing_about_the_end() {
    for passes in [None, Some(1)] {
        let scenario = Scenario::new(passes);
        let mut rig = Rig::new(&[]).await;
        rig.store.hurt([]);
        let (asked, steps) = (scenario.run(&mut rig, 0).await.unwrap().len(), rig.store.steps().len());
        let requests = [Fault::DiesBefore, Fault::DiesAfter];
        let requests = requests.into_iter().flat_map(|fault| (0..asked).map(move |n| one((n, fault))));
        let stored = [StoreFault::DiesBefore, StoreFault::DiesAfter];
        let stored = stored.into_iter().flat_map(|fault| (0..steps).map(move |n| vec![(n, fault)]));
        let stored = stored.map(|steps| Script { steps, ..Script::default() });
        let scripts: Vec<_> = requests.chain(stored).collect();
        println!("{asked} requests and {steps} steps of the store, {} scripts", scripts.len());
        run_all(&scenario, scripts).await;
    }
}
