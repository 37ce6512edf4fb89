//! One instance on a directory, killed at random moments while clients publish and delete.

use std::path::{Path, PathBuf};
use std::time::Duration;

use dcos_registry::clock::Entropy;

use crate::instance::{Instance, Place, Recipe};
use crate::knobs;
use crate::ledger::Ledger;
use crate::load::Worker;
use crate::program::{DEADLINE, pause, until};

/// How many clients there are.
const CLIENTS: usize = 4;
/// How long a start may take (DESIGN, section 12), with the release build on a machine at rest.
const START: Duration = Duration::from_secs(1);

/// Files that a crash leaves half written: staging files of the store, and those of uploads.
fn left_over(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            left_over(&path, found);
        } else if name.contains('#') || name.contains("spool-") {
            found.push(path);
        }
    }
}

/// Publishes and deletes until the instance is killed, which is soon.
fn kill_under_load(instance: Instance, ledger: &Ledger, numbers: &mut [u64], entropy: &Entropy) {
    let url = instance.url.clone();
    std::thread::scope(|scope| {
        let mut clients = Vec::new();
        for (client, next) in numbers.iter().enumerate() {
            let (name, entropy) = (format!("client-{client}"), Entropy::seeded(entropy.next()));
            let worker = Worker { name, url: url.clone(), ledger, entropy, next: *next };
            clients.push(scope.spawn(move || worker.until_it_breaks()));
        }
        pause(Duration::from_millis(50 + entropy.next() % 1000));
        assert_eq!(instance.failures(), Vec::<String>::new());
        instance.kill();
        for (client, next) in clients.into_iter().zip(numbers) {
            *next = client.join().unwrap();
        }
    });
}

#[test]
fn killed_at_any_moment_under_load_it_loses_nothing_and_shows_nothing_half() {
    let place = Place::new();
    let store = place.path().join("store");
    let config = format!("listen: 127.0.0.1:PORT\nstorage: {{local: {{path: {}}}}}\n", store.display());
    let recipe = Recipe::new(&place, "one", &config);
    let (ledger, entropy) = (Ledger::default(), Entropy::seeded(knobs::seed()));
    let (mut numbers, mut starts) = ([0; CLIENTS], Vec::new());
    for kill in 0..knobs::kills() {
        // Some hit a start, also the very first one.
        if kill % 3 == 0 {
            let starting = recipe.start();
            pause(Duration::from_millis(entropy.next() % 80));
            starting.kill();
        }
        let mut instance = recipe.start();
        starts.push(instance.wait_until_ready());
        check(&recipe, &ledger, &entropy, &store, 10);
        kill_under_load(instance, &ledger, &mut numbers, &entropy);
    }
    let mut last = recipe.start();
    starts.push(last.wait_until_ready());
    check(&recipe, &ledger, &entropy, &store, usize::MAX);
    assert_eq!(last.failures(), Vec::<String>::new());
    assert_eq!(last.terminate().code(), Some(0));
    place.check_nothing_runs();
    let (there, asked, answered) = ledger.counts();
    println!("{} kills: {asked} requests, {answered} acknowledged, {there} versions there", knobs::kills());
    assert!(answered > 0 && there > 0, "nothing was published");
    knobs::print_times("start to /readyz", &starts);
    if knobs::strict() {
        assert!(starts.iter().all(|start| *start < START), "{starts:?}");
    }
}

fn check(recipe: &Recipe, ledger: &Ledger, entropy: &Entropy, store: &Path, more: usize) {
    // The running instance has such files, too, but not for long.
    until("nothing half written is left", DEADLINE, || {
        let mut found = Vec::new();
        left_over(store, &mut found);
        if found.is_empty() { Ok(()) } else { Err(format!("{found:?}")) }
    });
    // Whatever was sent to a process that is dead has arrived or never will.
    ledger.check(&recipe.url(), more, entropy, true).unwrap();
}
