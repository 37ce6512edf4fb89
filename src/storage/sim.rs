//! Several instances on one store in one seeded universe, with everything that may befall them.
//!
//! Time is the runtime's paused time, and each instance has its own clock that runs at its own rate ([`Clock`]). The
//! store is a map behind one way per instance ([`store`]), on which calls are refused, lost, late or doubled
//! ([`world`]). Instances are frozen or killed whenever they are polled ([`life`]). What each of them is told is
//! compared with what somebody knows who sees every write when it is applied ([`witness`], [`ledger`]):
//!
//! - an acknowledged record stands, was written within the time of its call, and its bytes are there;
//! - whoever was told "nothing was written" finds nothing;
//! - what is read is the state after a record that is no older than the call, and never other bytes;
//! - nothing is deleted that the catalog names; what is of no use is gone in the end;
//! - at most one instance may act at a time, nobody from the moment on at which somebody else's take-over stands in the
//!   log, and no write begins after that;
//! - when the faults stop, one leads, all know the same, requests are answered, and nobody writes without need.
//!
//! A third of the runs are hunts ([`settings`]): the calls that decide about the lease are answered too late on purpose.
//! Rules that were broken to see are found: no check before acting, a take-over after half of the ttl, an unknown create
//! that is sent again with other bytes and a read-back that compares nothing at once; a deadline that counts from the
//! reply and a publication from before the watermark by one of a dozen seeds; a take-over behind a renewal by one of 70,
//! a new record after an unknown one by one of 100. Six seeds prove little of those. The witness asks the same rules ([`State::validate`]) as the program, so what it finds of a rule
//! that is gone is the harm and not the refusal. Whether the controller asks for its lease before each write to a
//! cluster is not seen here: the leader of the simulation is one of its own.
//!
//! It stands in the library and not beside it because it opens storage with times of its own and looks into states.
//!
//! `DCOS_REGISTRY_SIM_SEEDS` is a number of seeds or a range `a..b`, `DCOS_REGISTRY_SIM_SECONDS` ends it after that
//! many seconds, `DCOS_REGISTRY_SIM_TRACE` prints the trace of that one seed.
//!
//! [`Clock`]: crate::clock::Clock
//! [`State::validate`]: crate::storage::records::State::validate

mod actors;
mod instance;
mod lead;
mod ledger;
mod life;
mod run;
mod settings;
mod store;
mod trace;
mod witness;
mod world;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::Clock;
use run::{Report, run};

/// How many runs at a time.
const THREADS: usize = 2;

/// How many lines of the trace of a failed run are shown.
const TAIL: usize = 100;

/// Seeds that once failed, one a line; what follows `#` says why.
const FAILED: &str = include_str!("sim/seeds.txt");

#[expect(
    clippy::disallowed_methods,
    reason = "how much is simulated is said to the test, not to the program"
)]
fn setting(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn seeds() -> Range<u64> {
    let Some(text) = setting("DCOS_REGISTRY_SIM_SEEDS") else { return 0..6 };
    match text.split_once("..") {
        Some((from, to)) => from.parse().unwrap()..to.parse().unwrap(),
        None => 0..text.parse().unwrap(),
    }
}

/// What all runs together did.
#[derive(Default)]
struct Sum {
    runs: u64,
    lasted: Duration,
    counters: BTreeMap<&'static str, u64>,
    failed: Vec<Report>,
}

impl Sum {
    fn add(&mut self, report: Report) {
        self.runs += 1;
        self.lasted += report.lasted;
        for (counter, count) in &report.counters {
            *self.counters.entry(counter).or_default() += count;
        }
        if report.broken.is_some() {
            self.failed.push(report);
        }
    }

    fn tell(&self, took: Duration) {
        let (hours, seconds) = (self.lasted.as_secs_f64() / 3_600.0, took.as_secs_f64());
        #[expect(clippy::cast_precision_loss, reason = "for people")]
        let pace = self.runs as f64 / seconds.max(0.001);
        println!("{} seeds, {hours:.1} virtual hours, {seconds:.1} s, {pace:.1} seeds/s", self.runs);
        println!("{:?}", self.counters);
    }
}

fn show(report: &Report) -> String {
    let Report { seed, broken, settings, tail, .. } = report;
    format!("seed {seed}: {}\n{settings}\n{tail}", broken.clone().unwrap_or_default())
}

/// Runs seeds until there are no more, or the time is up, or several failed.
fn run_all(seeds: Range<u64>) -> (Sum, Duration) {
    let clock = Clock::system();
    let limit = setting("DCOS_REGISTRY_SIM_SECONDS").map(|text| Duration::from_secs(text.parse().unwrap()));
    let (begun, next, sum) = (clock.boot(), AtomicU64::new(seeds.start), Mutex::new(Sum::default()));
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::SeqCst);
                    let late = limit.is_some_and(|limit| clock.boot().saturating_sub(begun) > limit);
                    if seed >= seeds.end || late || sum.lock().unwrap().failed.len() > 4 {
                        return;
                    }
                    let report = run(seed, false, TAIL);
                    sum.lock().unwrap().add(report);
                }
            });
        }
    });
    (sum.into_inner().unwrap(), clock.boot().saturating_sub(begun))
}

#[test]
fn nothing_is_lost_in_any_of_these_universes() {
    if let Some(seed) = setting("DCOS_REGISTRY_SIM_TRACE") {
        let report = run(seed.parse().unwrap(), true, TAIL);
        assert!(report.broken.is_none(), "{}", report.broken.unwrap());
        return;
    }
    let (sum, took) = run_all(seeds());
    sum.tell(took);
    let list: Vec<String> =
        sum.failed.iter().map(|r| format!("{}: {}", r.seed, r.broken.clone().unwrap_or_default())).collect();
    assert!(sum.failed.is_empty(), "{}\n{list:#?}", show(&sum.failed[0]));
}

#[test]
fn seeds_that_once_failed_do_not() {
    let seeds = FAILED.lines().filter_map(|line| line.split('#').next()?.trim().parse().ok());
    for seed in seeds {
        let report = run(seed, false, TAIL);
        assert!(report.broken.is_none(), "{}", show(&report));
    }
}

#[test]
fn a_seed_decides_everything() {
    for seed in [1, 4] {
        let (once, again) = (run(seed, false, TAIL), run(seed, false, TAIL));
        assert_eq!((once.digest, once.lines), (again.digest, again.lines), "seed {seed}");
        assert_eq!(once.counters, again.counters);
    }
    assert_ne!(run(1, false, TAIL).digest, run(2, false, TAIL).digest);
}
