//! Storage in which something is wrong: what can still be served is served, and no wrong byte ever.

use std::path::{Path, PathBuf};
use std::time::Duration;

use dcos_registry::model::Digest;

use crate::bundle::Sample;
use crate::instance::{Instance, Place};
use crate::ledger::shown;
use crate::prepared::{blob, fill_bucket, fill_directory, on_bucket, on_directory, record};
use crate::program::{DEADLINE, pause, until};
use crate::s3_double::S3Double;
use crate::web::{Answer, ask, get};

fn samples() -> Vec<Sample> {
    (1..=3).map(|number| Sample::new("kept", number)).collect()
}

/// A directory with three packages, in which something is then done.
fn damaged(damage: impl Fn(&Path)) -> (Place, PathBuf) {
    let place = Place::new();
    let store = place.path().join("store");
    fill_directory(&store, &samples());
    damage(&store);
    (place, store)
}

fn started(place: &Place, store: &Path) -> Instance {
    let mut instance = on_directory(place, store).start();
    instance.wait_until_ready();
    instance
}

/// The answer to a request for a package's own file.
fn own_file(instance: &Instance, sample: &Sample) -> Result<Answer, String> {
    let uri = shown(&instance.url)?[&sample.id()]["own"].clone();
    ask("GET", &uri, Vec::new())
}

fn alter(path: &Path, change: impl Fn(&mut Vec<u8>)) {
    let mut bytes = std::fs::read(path).unwrap();
    change(&mut bytes);
    std::fs::write(path, bytes).unwrap();
}

fn flip(path: &Path, place: usize) {
    alter(path, |bytes| bytes[place] ^= 1);
}

fn refuses(place: &Place, store: &Path) -> String {
    let (status, printed) = on_directory(place, store).start().end();
    assert_eq!(status.code(), Some(1), "{printed}");
    printed.lines().last().unwrap_or_default().to_owned()
}

#[test]
fn a_record_that_was_altered_is_named_and_nothing_is_begun_anew() {
    let (place, store) = damaged(|store| {
        alter(&record(store, "catalog", 2), |bytes| {
            let text = String::from_utf8(bytes.clone()).unwrap();
            *bytes = text.replace("\"author\":\"", "\"author\":\"x").into_bytes();
        });
    });
    assert_eq!(
        refuses(&place, &store),
        "dcos-registry: cannot open the storage: the chain of v1/catalog/log is broken at record 3: it does not follow the record before it; \
         restore that object from a backup, nothing was changed"
    );
}

#[test]
fn a_record_that_is_missing_is_named_and_nothing_is_begun_anew() {
    let (place, store) = damaged(|store| std::fs::remove_file(record(store, "catalog", 2)).unwrap());
    let line = refuses(&place, &store);
    assert!(line.contains("v1/catalog/log") && line.contains('2') && line.contains('3'), "{line}");
    let (place, store) = damaged(|store| std::fs::remove_file(record(store, "catalog", 0)).unwrap());
    let line = refuses(&place, &store);
    assert!(line.contains("v1/catalog/log"), "{line}");
    assert!(!record(&store, "catalog", 0).exists(), "it was begun anew");
}

#[test]
fn an_altered_file_is_not_served_and_the_others_are() {
    let all = samples();
    let (place, store) = damaged(|store| flip(&blob(store, all[1].own()), 50));
    let instance = started(&place, &store);
    let answer = own_file(&instance, &all[1]).unwrap();
    assert_eq!(answer.status, 500, "{}", answer.text());
    println!("altered: {}", answer.text());
    for sample in [&all[0], &all[2]] {
        assert!(sample.is_file("own", &own_file(&instance, sample).unwrap().body));
    }
    assert_eq!(instance.terminate().code(), Some(0));
}

/// A file of several chunks: those before the damage are good and may have been sent; the answer then breaks off.
#[test]
fn a_file_that_is_altered_far_behind_breaks_off_before_the_damage() {
    let place = Place::new();
    let store = place.path().join("store");
    let sample = Sample::new("long", 1).with_own_of(2_000_000);
    fill_directory(&store, std::slice::from_ref(&sample));
    flip(&blob(&store, sample.own()), 1_900_000);
    let instance = started(&place, &store);
    match own_file(&instance, &sample) {
        Ok(answer) => assert_eq!(answer.status, 500, "{} bytes were sent as a whole", answer.body.len()),
        Err(error) => println!("far behind: {error}"),
    }
    assert_eq!(instance.terminate().code(), Some(0));
}

#[test]
fn a_file_that_is_missing_or_short_is_an_error_and_the_others_are_served() {
    let all = samples();
    let (place, store) = damaged(|store| {
        std::fs::remove_file(blob(store, all[0].own())).unwrap();
        alter(&blob(store, all[1].own()), |bytes| bytes.truncate(10));
    });
    let instance = started(&place, &store);
    for sample in &all[..2] {
        if let Ok(answer) = own_file(&instance, sample) {
            println!("missing or short: {}", answer.text());
            assert_eq!(answer.status, 500, "{}", answer.text());
        }
    }
    assert!(all[2].is_file("own", &own_file(&instance, &all[2]).unwrap().body));
    assert_eq!(instance.terminate().code(), Some(0));
}

/// A package whose document is gone is left out; with an error Cosmos would drop all packages of the cluster.
#[test]
fn a_document_that_is_altered_takes_only_its_own_package_away() {
    let all = samples();
    let document = Digest::of(all[1].content().metadata.to_string().as_bytes());
    let (place, store) = damaged(|store| flip(&blob(store, document), 20));
    let instance = started(&place, &store);
    let shown = shown(&instance.url).unwrap();
    assert_eq!(shown.keys().cloned().collect::<Vec<_>>(), [all[0].id(), all[2].id()]);
    assert_eq!(instance.terminate().code(), Some(0));
}

/// A record of a newer program behind `last`.
fn newer(last: &[u8], seq: u64) -> String {
    let previous = Digest::of(last);
    format!("{{\"format\":99,\"seq\":{seq},\"previous\":\"{previous}\",\"what\":\"nobody knows\"}}")
}

#[test]
fn after_a_record_of_a_newer_version_it_reads_and_does_not_write() {
    let (place, store) = damaged(|store| {
        let last = std::fs::read(record(store, "catalog", 3)).unwrap();
        std::fs::write(record(store, "catalog", 4), newer(&last, 4)).unwrap();
    });
    let instance = started(&place, &store);
    assert_eq!(shown(&instance.url).unwrap().len(), 3);
    let sample = Sample::new("kept", 4);
    let answer = ask("POST", &format!("{}/api/v1/packages", instance.url), sample.bundle()).unwrap();
    println!("newer: {} {}", answer.status, answer.text());
    assert!(answer.status >= 400 && answer.text().contains("newer version"), "{}", answer.text());
    assert!(!record(&store, "catalog", 5).exists());
    assert_eq!(instance.terminate().code(), Some(0));
}

/// The same in the control log: it never leads, and serves.
#[test]
fn where_the_controllers_log_is_of_a_newer_version_it_serves_and_does_not_lead() {
    let (place, store) = damaged(|store| {
        let last = std::fs::read(record(store, "control", 0)).unwrap();
        std::fs::write(record(store, "control", 1), newer(&last, 1)).unwrap();
    });
    let instance = started(&place, &store);
    until("it says that it can never lead", DEADLINE, || {
        let errors = instance.errors();
        let said = errors.contains("can never lead") && errors.contains("newer version");
        if said { Ok(()) } else { Err(errors) }
    });
    assert_eq!((instance.is_leading(), shown(&instance.url).unwrap().len()), (Ok(false), 3));
    assert_eq!(instance.terminate().code(), Some(0));
}

/// What is damaged while it runs does not take away what it knows.
#[test]
fn a_bucket_whose_next_record_is_nonsense_is_served_from_memory() {
    let double = S3Double::start();
    fill_bucket(&double, &samples());
    let place = Place::new();
    let mut instance = on_bucket(&place, &double.endpoint(), double.bucket(), "test", "").start();
    instance.wait_until_ready();
    double.write("v1/catalog/log/00000000000000000004", "nonsense");
    until("it says that it is not ready", DEADLINE, || {
        let answer = ask("GET", &format!("{}/readyz", instance.url), Vec::new())?;
        if answer.status == 200 { Err(answer.text()) } else { Ok(()) }
    });
    assert_eq!(shown(&instance.url).unwrap().len(), 3);
    let sample = &samples()[0];
    assert!(sample.is_file("own", &own_file(&instance, sample).unwrap().body));
    get(&format!("{}/health", instance.url)).unwrap();
    double.remove("v1/catalog/log/00000000000000000004");
    instance.wait_until_ready();
    pause(Duration::from_millis(10));
    assert_eq!(instance.terminate().code(), Some(0));
}
