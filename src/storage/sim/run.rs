//! One run: a universe from its seed to its last check.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use object_store::path::Path;

use super::instance::{live, open};
use super::lead::copy_at;
use super::life::{End, Life};
use super::settings::{CALM, Dice, QUIET, SETTLING, Settings};
use super::world::{Phase, World};
use crate::clock::Clock;
use crate::telemetry::chain;

/// What came of a run.
pub(super) struct Report {
    pub(super) seed: u64,
    /// Tells two runs apart.
    pub(super) digest: u64,
    pub(super) lines: u64,
    pub(super) lasted: Duration,
    pub(super) counters: std::collections::BTreeMap<&'static str, u64>,
    /// What is not as it must be.
    pub(super) broken: Option<String>,
    pub(super) settings: String,
    /// The last lines of the trace.
    pub(super) tail: String,
}

/// Runs one universe.
pub(super) fn run(seed: u64, aloud: bool, lines: usize) -> Report {
    let kept: OnceLock<Arc<World>> = OnceLock::new();
    let result = catch_unwind(AssertUnwindSafe(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.unwrap().block_on(async {
            let world = Arc::new(World::new(Settings::of(seed), aloud));
            let _ = kept.set(Arc::clone(&world));
            universe(&world).await;
        });
    }));
    let world = kept.get().unwrap();
    let inner = world.bare();
    let broken = inner.broken.clone().or_else(|| result.is_err().then(|| "it panicked".to_owned()));
    Report {
        seed,
        digest: inner.trace.digest(),
        lines: inner.trace.count,
        lasted: world.settings.chaos + CALM + SETTLING + QUIET,
        counters: inner.trace.counters.clone(),
        broken,
        settings: format!("{:?}", world.settings),
        tail: inner.trace.tail(lines),
    }
}

async fn universe(world: &Arc<World>) {
    let mut all: FuturesUnordered<BoxFuture<'_, ()>> = FuturesUnordered::new();
    for who in 0..world.settings.rates.len() {
        all.push(Box::pin(lives(world, who)));
    }
    all.push(Box::pin(judges(world)));
    while all.next().await.is_some() {}
    drop(all);
    if !world.is_broken() {
        audit(world).await;
    }
}

/// Life after life on one machine.
async fn lives(world: &Arc<World>, who: usize) {
    let Settings { seed, rates, offsets, .. } = &world.settings;
    let clock = Clock::simulated(rates[who], offsets[who]);
    let dice = Dice::new(*seed, 100 + who as u64);
    world.until(dice.span(0, 5_000)).await;
    for number in 0.. {
        let own = Dice::new(*seed, 1_000 + 100_000 * who as u64 + number);
        let life = live(Arc::clone(world), who, clock.clone(), own);
        let end = Life::new(Arc::clone(world), who, Box::pin(life)).await;
        if end == End::Broken || world.phase() >= Phase::Quiet {
            return;
        }
        world.line(who, &format!("{end:?}"));
        let pause = if dice.one_in(2) { dice.span(100, 3_000) } else { dice.span(1_000, 60_000) };
        world.until((world.now() + pause).min(world.settings.chaos.max(world.now()))).await;
    }
}

/// Says what must be the case at certain times.
async fn judges(world: &Arc<World>) {
    let slowest = world.settings.rates.iter().copied().fold(f64::MAX, f64::min);
    let lease = world.settings.lease;
    let elected = (lease.ttl + 2 * lease.poll).div_f64(slowest) + Duration::from_secs(5);
    for (at, what) in [
        (world.settings.chaos + elected, "so long after the faults"),
        (
            (world.settings.chaos + CALM + SETTLING + QUIET).saturating_sub(Duration::from_secs(2)),
            "in the end",
        ),
    ] {
        world.until(at).await;
        let leaders = world.leaders();
        if !world.is_broken() && leaders.len() != 1 && world.settings.exclusive {
            world.broke(9, &format!("{leaders:?} lead {what}"));
        }
    }
}

/// What must be the case in the end.
async fn audit(world: &Arc<World>) {
    let auditor = world.settings.rates.len();
    let verdict = at_rest(world).err();
    if let Some(what) = verdict {
        return world.broke(auditor, &what);
    }
    for (number, derived) in [true, false].into_iter().enumerate() {
        if !derived {
            // What is derived makes a start slower, and nothing else.
            world.inner().objects.retain(|key, _| {
                !key.starts_with("v1/catalog/snap/") && key != "v1/catalog/hint" && key != "v1/control/hint"
            });
        }
        let dice = Dice::new(world.settings.seed, 9_000 + number as u64);
        match open(world, auditor, &world.clock, &dice).await {
            Ok((storage, _)) => {
                world.agree(auditor, &storage);
                if !world.inner().agreed.remove(&auditor) {
                    world.broke(auditor, "a fresh start does not reach the tails");
                }
                let state = storage.catalog.state();
                for (digest, _) in state.blobs() {
                    let Some(blob) = state.blob(digest) else { continue };
                    if let Err(error) = storage.blobs.read_all(&blob, 1 << 20).await {
                        world.broke(auditor, &chain(&error));
                    }
                }
            }
            Err(error) => world.broke(auditor, &format!("a fresh start: {}", chain(&error))),
        }
    }
}

fn at_rest(world: &World) -> Result<(), String> {
    let inner = world.inner();
    let (witness, objects) = (&inner.witness, &inner.objects);
    witness.all_whole(&|key| objects.get(key).map(|object| object.bytes.clone()))?;
    let missing: Vec<_> = (0..world.settings.rates.len()).filter(|who| !inner.agreed.contains(who)).collect();
    if !missing.is_empty() {
        return Err(format!("{missing:?} did not catch up"));
    }
    if let Some(id) = witness.asked.difference(&witness.answered).next() {
        return Err(format!("request {id} was never answered"));
    }
    let state = &witness.catalog.state;
    for key in objects.keys() {
        let Some(copy) = copy_at(&Path::from(key.as_str())) else { continue };
        let live = state.blob(&copy.digest).is_some_and(|blob| blob.key == copy.key);
        let booked = witness.control.state.snapshots.values().any(|blob| blob.path().as_ref() == key);
        let known = live || booked || state.condemned().contains_key(&copy);
        if !known && copy.key.start < state.watermark() {
            return Err(format!("{key} is of no use and was not collected"));
        }
    }
    Ok(())
}
