//! Buckets that do not order their writers, or do so only sometimes.

use std::time::Duration;

use crate::bundle::Sample;
use crate::instance::Place;
use crate::ledger::{Ledger, shown};
use crate::prepared::{fill_bucket, on_bucket};
use crate::program::{DEADLINE, pause, until};
use crate::s3_double::{Fault, Op, Rule, S3Double};
use crate::web::ask;

const SINGLE: &str = "  unsafeSingleWriter: true\n";

fn ignoring() -> S3Double {
    let double = S3Double::start();
    double.script().add(Rule::new(Fault::IgnoreCondition));
    double
}

#[test]
fn an_empty_bucket_that_ignores_conditions_is_refused() {
    let (place, double) = (Place::new(), ignoring());
    let recipe = on_bucket(&place, &double.endpoint(), double.bucket(), "test", "");
    let (status, printed) = recipe.start().end();
    assert_eq!(status.code(), Some(1), "{printed}");
    println!("{printed}");
    let line = printed.lines().last().unwrap();
    assert!(line.contains("unsafeSingleWriter"), "{line}");
    assert_eq!(double.keys("v1/catalog"), Vec::<String>::new());
}

#[test]
fn a_bucket_that_ignores_conditions_since_lately_is_read_and_not_written() {
    let (place, double) = (Place::new(), S3Double::start());
    let sample = Sample::new("kept", 1);
    fill_bucket(&double, std::slice::from_ref(&sample));
    // The result of the first probe would hold for a week.
    double.keys("v1/probe").iter().for_each(|key| double.remove(key));
    double.script().add(Rule::new(Fault::IgnoreCondition));
    let mut instance = on_bucket(&place, &double.endpoint(), double.bucket(), "test", "").start();
    instance.wait_until_ready();
    assert_eq!(shown(&instance.url).unwrap().len(), 1);
    until("it says that nothing is written", DEADLINE, || {
        let errors = instance.errors();
        if errors.contains("nothing is written") { Ok(()) } else { Err(errors) }
    });
    let records = double.keys("v1/catalog/log");
    let answer = ask("POST", &format!("{}/api/v1/packages", instance.url), Sample::new("kept", 2).bundle());
    let answer = answer.unwrap();
    println!("refused: {} {}", answer.status, answer.text());
    assert!(answer.status >= 400 && answer.text().contains("unsafeSingleWriter"), "{}", answer.text());
    assert_eq!(double.keys("v1/catalog/log"), records);
    assert_eq!(instance.is_leading(), Ok(false));
    assert_eq!(instance.terminate().code(), Some(0));
}

#[test]
fn on_the_operators_word_it_is_written_to_after_a_silent_watch() {
    let (place, double) = (Place::new(), ignoring());
    let mut instance = on_bucket(&place, &double.endpoint(), double.bucket(), "test", SINGLE).start();
    instance.wait_until_ready();
    until("it leads", DEADLINE, || if instance.is_leading()? { Ok(()) } else { Err(instance.printed()) });
    let ledger = Ledger::default();
    let sample = Sample::new("single", 1);
    until("it takes packages", DEADLINE, || ledger.publish(&instance.url, &sample));
    assert_eq!(shown(&instance.url).unwrap().len(), 1);
    let health = instance.get("/health").unwrap().to_string();
    println!("single writer: {health}");
    assert!(instance.errors().contains("cannot be shared"), "{}", instance.errors());
    assert_eq!(instance.terminate().code(), Some(0));
}

/// Opening a bucket takes many requests; that some fail is no reason to give up.
#[test]
fn a_start_gets_over_answers_that_fail() {
    let (place, double) = (Place::new(), S3Double::start());
    let samples: Vec<_> = (1..=3).map(|number| Sample::new("kept", number)).collect();
    fill_bucket(&double, &samples);
    let second = |key: &str| key.ends_with("catalog/log/00000000000000000002");
    let rule = double.script().add(Rule::new(Fault::Refuse(503)).on(&[Op::Get]).key(second).first(3));
    let mut instance = on_bucket(&place, &double.endpoint(), double.bucket(), "test", "").start();
    instance.wait_until_ready();
    assert_eq!((double.script().fired(rule), shown(&instance.url).unwrap().len()), (3, 3));
    assert_eq!(instance.terminate().code(), Some(0));
}

/// Whoever may not write for a while, because a policy or a key was changed, is a candidate again afterwards.
#[test]
fn a_bucket_that_denies_writing_for_a_while_is_led_again() {
    let (place, double) = (Place::new(), S3Double::start());
    let mut instance = on_bucket(&place, &double.endpoint(), double.bucket(), "test", "").start();
    instance.wait_until_ready();
    let leads = |wanted: bool| {
        until("it leads, or not", DEADLINE, || match instance.is_leading()? {
            leading if leading == wanted => Ok(()),
            _ => Err(instance.printed()),
        });
    };
    leads(true);
    double.script().add(Rule::new(Fault::Refuse(403)).on(&[Op::Put]).prefix("v1/control/log/"));
    leads(false);
    // Longer than the ttl, so that it tries to take the lease again and may not.
    pause(Duration::from_secs(5));
    double.script().clear();
    leads(true);
    assert_eq!(instance.terminate().code(), Some(0));
}
