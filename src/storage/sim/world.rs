//! The store that all instances share, the ways that lead to it, and what befalls whom.
//!
//! A write that was sent is applied when its time has come, whatever became of its sender by then: he may have given
//! up, or be frozen or dead. So one `BTreeMap` of writes under way is all that is needed for lost, late and doubled
//! ones. Nothing is spawned; whoever looks at the store applies what is due before.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;

use super::ledger::Entry;
use super::settings::{CALM, Dice, Prey, QUIET, SETTLING, Settings};
use super::trace::Trace;
use super::witness::Witness;
use crate::clock::Clock;
use crate::model::Epoch;
use crate::storage::Storage;
use crate::storage::lease::Tenure;

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    /// Everything may go wrong.
    Chaos,
    /// Nothing goes wrong any more.
    Calm,
    /// Nobody publishes any more.
    Settling,
    /// Nobody wants anything.
    Quiet,
    Over,
}

/// One universe.
pub(super) struct World {
    pub(super) settings: Settings,
    /// The true time.
    pub(super) clock: Clock,
    inner: Mutex<Inner>,
    tenures: Mutex<Vec<(usize, Tenure)>>,
}

/// All that changes.
pub(super) struct Inner {
    pub(super) objects: BTreeMap<String, Object>,
    under_way: BTreeMap<(Duration, u64), Change>,
    sent: u64,
    pub(super) dice: Dice,
    machines: Vec<Machine>,
    pub(super) trace: Trace,
    pub(super) witness: Witness,
    pub(super) broken: Option<String>,
    /// Who has the same state as everybody else.
    pub(super) agreed: BTreeSet<usize>,
    /// From when on nobody may write anything but the signs of life of one leader.
    idle: std::ops::Range<Duration>,
    /// Who gives them.
    alive: Option<usize>,
    exclusive: bool,
}

/// What lies under a key.
#[derive(Clone)]
pub(super) struct Object {
    pub(super) bytes: Bytes,
    pub(super) at: Duration,
}

/// What a call is to do.
#[derive(Debug, Clone)]
pub(super) enum Deed {
    Look,
    List,
    Create(Bytes),
    Overwrite(Bytes),
    Delete,
}

impl Deed {
    fn writes(&self) -> bool {
        !matches!(self, Self::Look | Self::List)
    }
}

/// What the store did and has to say.
#[derive(Clone)]
pub(super) enum Applied {
    Done,
    Exists,
    Absent,
    Found(Object),
    Listed(Vec<(String, Object)>),
}

struct Change {
    who: usize,
    key: String,
    deed: Deed,
    outcome: Arc<OnceLock<Applied>>,
}

/// One instance's place.
#[derive(Default)]
struct Machine {
    cut: Option<(Duration, Cut)>,
    slow: Option<(Duration, u32)>,
    freezes: u64,
    /// Until when something is under way to or from the control log.
    tense: Duration,
    /// From when on it will be frozen at the next occasion, and for how long.
    ambush: Option<(Duration, Duration)>,
}

#[derive(Debug, Clone, Copy)]
enum Cut {
    Refuses,
    LosesRequests,
    LosesReplies,
}

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Fine,
    LostReply,
    Refused,
    Late,
    Twice,
    Conflict,
    Hangs,
    HangsApplied,
}

/// What the caller will be told, and when.
pub(super) struct Sent {
    pub(super) reply_at: Duration,
    pub(super) reply: Reply,
    pub(super) outcome: Arc<OnceLock<Applied>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reply {
    Truth,
    Failure,
    Conflict,
}

impl World {
    pub(super) fn new(settings: Settings, aloud: bool) -> Self {
        let machines = settings.rates.iter().map(|_| Machine::default()).collect();
        let quiet = settings.chaos + CALM + SETTLING;
        let inner = Inner {
            objects: BTreeMap::new(),
            under_way: BTreeMap::new(),
            sent: 0,
            dice: Dice::new(settings.seed, 2),
            machines,
            trace: Trace::new(aloud),
            witness: Witness::default(),
            broken: None,
            agreed: BTreeSet::new(),
            idle: quiet + Duration::from_secs(10)..quiet + QUIET,
            alive: None,
            exclusive: settings.exclusive,
        };
        let clock = Clock::simulated(1.0, Duration::ZERO);
        Self { settings, clock, inner: Mutex::new(inner), tenures: Mutex::default() }
    }

    pub(super) fn now(&self) -> Duration {
        self.clock.boot()
    }

    pub(super) fn phase(&self) -> Phase {
        let ends = [CALM, SETTLING, QUIET];
        let mut end = self.settings.chaos;
        let mut phase = Phase::Chaos;
        for (next, lasts) in [Phase::Calm, Phase::Settling, Phase::Quiet].into_iter().zip(ends) {
            if self.now() < end {
                return phase;
            }
            (phase, end) = (next, end + lasts);
        }
        if self.now() < end { phase } else { Phase::Over }
    }

    /// The world as of now: what is due has been applied.
    pub(super) fn inner(&self) -> MutexGuard<'_, Inner> {
        let now = self.now();
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.settle(now);
        inner
    }

    /// The world as it was last seen; for when time is over.
    pub(super) fn bare(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the true time is that.
    pub(super) async fn until(&self, time: Duration) {
        let left = time.saturating_sub(self.now());
        if !left.is_zero() {
            self.clock.sleep(left).await;
        }
    }

    pub(super) fn line(&self, who: usize, what: &str) {
        let now = self.now();
        self.inner().trace.line(now, who, what);
    }

    pub(super) fn count(&self, counter: &'static str) {
        self.add(counter, 1);
    }

    pub(super) fn add(&self, counter: &'static str, many: u64) {
        *self.inner().trace.counters.entry(counter).or_default() += many;
    }

    /// Notes that something is not as it must be.
    pub(super) fn broke(&self, who: usize, what: &str) {
        let now = self.now();
        self.inner().broke(now, who, what);
    }

    pub(super) fn is_broken(&self) -> bool {
        self.bare().broken.is_some()
    }

    /// Notes the outcome of a check.
    pub(super) fn check(&self, who: usize, verdict: Result<(), String>) {
        if let Err(what) = verdict {
            self.broke(who, &what);
        }
    }

    /// Sends a call on its way.
    pub(super) fn send(&self, who: usize, what: &str, key: &str, deed: &Deed) -> Sent {
        let (now, chaos, end) = (self.now(), self.phase() == Phase::Chaos, self.settings.chaos);
        let mut inner = self.inner();
        let settings = &self.settings;
        let fate = if chaos { inner.fate(settings, now, who, deed) } else { Fate::Fine };
        let (there, mut back) = inner.latency(now, who, chaos);
        if chaos && fate == Fate::Fine && inner.is_ambush(settings, key, deed) {
            back += inner.ambush(settings, now + there, who);
        }
        // Faults are over when they are over.
        let within =
            |time: Duration| if chaos { time.min(end.max(now) + Duration::from_secs(1)) } else { time };
        let there_at = within(now + there);
        inner.trace.line(now, who, &format!("{what} {key} {fate:?}"));
        let outcome = Arc::default();
        let late = inner.lateness(settings);
        let mut at: Vec<Duration> = match fate {
            Fate::Fine | Fate::LostReply | Fate::HangsApplied => vec![there_at],
            Fate::Twice => vec![there_at, within(there_at + late)],
            Fate::Late => vec![within(there_at + late)],
            Fate::Refused | Fate::Conflict | Fate::Hangs => vec![],
        };
        at.dedup();
        for (n, at) in at.into_iter().enumerate() {
            inner.sent += 1;
            let number = inner.sent;
            let outcome = if n == 0 { Arc::clone(&outcome) } else { Arc::default() };
            let change = Change { who, key: key.to_owned(), deed: deed.clone(), outcome };
            inner.under_way.insert((at, number), change);
        }
        let hangs = inner.dice.span(5_000, 70_000);
        let (reply, reply_at) = match fate {
            Fate::Fine | Fate::Twice => (Reply::Truth, there_at + back),
            Fate::Conflict => (Reply::Conflict, there_at + back),
            Fate::LostReply | Fate::Refused | Fate::Late => (Reply::Failure, there_at + back),
            Fate::Hangs | Fate::HangsApplied => (Reply::Failure, within(now + hangs)),
        };
        let reply_at = within(reply_at).max(there_at);
        if key.starts_with("v1/control/log/")
            && let Some(machine) = inner.machines.get_mut(who)
        {
            machine.tense = machine.tense.max(reply_at);
        }
        Sent { reply_at, reply, outcome }
    }

    /// Whether this instance is frozen or killed now, at a moment where either is possible.
    pub(super) fn blow(&self, who: usize) -> Blow {
        let (now, phase) = (self.now(), self.phase());
        if phase != Phase::Chaos {
            return Blow::None;
        }
        let mut inner = self.inner();
        let machine = &mut inner.machines[who];
        if let Some((_, span)) = machine.ambush.take_if(|(at, _)| *at <= now) {
            return inner.frozen(now, who, span.min(self.settings.chaos.saturating_sub(now)));
        }
        // Blows are likelier where they are thought to hurt most.
        let odds = |many: u64| if now <= inner.machines[who].tense { many.div_ceil(10) } else { many };
        let (kills, freezes) = (odds(self.settings.kills), odds(self.settings.freezes));
        if inner.dice.one_in(kills) {
            inner.trace.line(now, who, "killed");
            inner.trace.add("kills");
            return Blow::Dead;
        }
        if !inner.dice.one_in(freezes) {
            return Blow::None;
        }
        let span = match inner.dice.below(10) {
            0..=2 => inner.dice.span(1, 3_000),
            3..=7 => inner.dice.span(4_000, 30_000),
            _ => inner.dice.span(10_000, 300_000),
        };
        inner.frozen(now, who, span.min(self.settings.chaos.saturating_sub(now)))
    }

    /// How often this instance was frozen.
    pub(super) fn freezes(&self, who: usize) -> u64 {
        self.inner().machines[who].freezes
    }

    /// Watches over a lease until its guard is dropped.
    pub(super) fn tenure(self: &Arc<Self>, who: usize, tenure: &Tenure) -> Watched {
        let epoch = tenure.epoch();
        self.tenures.lock().unwrap_or_else(PoisonError::into_inner).push((who, tenure.clone()));
        self.line(who, &format!("leads under lease {epoch}"));
        self.count("tenures");
        Watched { world: Arc::clone(self), who }
    }

    /// Who may act now.
    pub(super) fn leaders(&self) -> Vec<usize> {
        self.leases().into_iter().map(|(who, _)| who).collect()
    }

    /// Who may act now, and under which lease.
    fn leases(&self) -> Vec<(usize, Epoch)> {
        let tenures = self.tenures.lock().unwrap_or_else(PoisonError::into_inner);
        let valid = tenures.iter().filter(|(_, tenure)| tenure.check(Duration::ZERO).is_ok());
        valid.map(|(who, tenure)| (*who, tenure.epoch())).collect()
    }

    /// Compares what an instance knows with what is.
    pub(super) fn agree(&self, who: usize, storage: &Storage) {
        let mut inner = self.inner();
        let Witness { catalog, control, .. } = &inner.witness;
        if storage.catalog.seq() != catalog.tail() || storage.control.seq() != control.tail() {
            return;
        }
        let same = *storage.catalog.state() == catalog.state && *storage.control.state() == control.state;
        inner.agreed.insert(who);
        drop(inner);
        if !same {
            self.broke(who, "it read everything and has another state");
        }
    }

    /// What must hold between any two steps.
    pub(super) fn watch(&self) {
        let leases = self.leases();
        if leases.is_empty() || !self.settings.exclusive {
            return;
        }
        if leases.len() > 1 {
            let leaders = self.leaders();
            self.broke(leaders[0], &format!("{leaders:?} may act at the same time"));
        }
        // Whoever took over may not know yet that he did.
        let newest = self.inner().witness.control.state.epoch;
        if let Some((who, epoch)) = leases.into_iter().find(|(_, epoch)| *epoch < newest) {
            self.broke(who, &format!("it may act under lease {epoch}, the newest is {newest}"));
        }
    }
}

/// What befalls an instance.
pub(super) enum Blow {
    None,
    Frozen(Duration),
    Dead,
}

/// A lease that is watched.
pub(super) struct Watched {
    world: Arc<World>,
    who: usize,
}

impl Drop for Watched {
    fn drop(&mut self) {
        let mut tenures = self.world.tenures.lock().unwrap_or_else(PoisonError::into_inner);
        tenures.retain(|(who, _)| *who != self.who);
    }
}

impl Inner {
    fn broke(&mut self, now: Duration, who: usize, what: &str) {
        self.trace.line(now, who, &format!("BROKEN: {what}"));
        self.broken.get_or_insert_with(|| what.to_owned());
    }

    /// Applies what is due.
    fn settle(&mut self, now: Duration) {
        while let Some(entry) = self.under_way.first_entry()
            && entry.key().0 <= now
        {
            let ((at, _), change) = entry.remove_entry();
            self.apply(at, change);
        }
    }

    fn apply(&mut self, at: Duration, change: Change) {
        let Change { who, key, deed, outcome } = change;
        if !deed.writes() {
            let _ = outcome.set(self.look(&key, &deed));
            return;
        }
        let there = self.objects.contains_key(&key);
        let (word, applied, verdict) = match deed {
            Deed::Look | Deed::List => return,
            Deed::Create(_) if there => ("exists", Applied::Exists, Ok(None)),
            Deed::Create(bytes) => {
                if self.trace.aloud && key.contains("/log/") {
                    println!("{}", String::from_utf8_lossy(&bytes));
                }
                self.objects.insert(key.clone(), Object { bytes: bytes.clone(), at });
                let objects = &self.objects;
                let there = |key: &str| objects.get(key).map(|object| object.bytes.clone());
                ("created", Applied::Done, self.witness.created(at, &key, &bytes, &there))
            }
            Deed::Overwrite(_) if key.contains("/log/") => {
                ("overwritten", Applied::Done, Err(format!("{key} was overwritten")))
            }
            Deed::Overwrite(bytes) => {
                self.objects.insert(key.clone(), Object { bytes, at });
                ("written", Applied::Done, Ok(None))
            }
            Deed::Delete => {
                self.objects.remove(&key);
                ("deleted", Applied::Done, self.witness.deleted(&key).map(|()| None))
            }
        };
        self.trace.line(at, who, &format!("{word} {key}"));
        let verdict = if self.idle.contains(&at) {
            verdict.and_then(|entry| self.sign(who, &key, entry))
        } else {
            verdict
        };
        match verdict {
            Ok(Some(Entry::Ghost)) => self.trace.add("ghosts"),
            Ok(Some(Entry::Next)) => self.trace.add("records"),
            Ok(None) if word == "deleted" && key.contains("/control/log/") => self.trace.add("trimmed"),
            Ok(None) => {}
            Err(what) => self.broke(at, who, &what),
        }
        let _ = outcome.set(applied);
    }

    /// A write at a time when nobody wants anything.
    fn sign(&mut self, who: usize, key: &str, entry: Option<Entry>) -> Result<Option<Entry>, String> {
        self.trace.add("idle writes");
        let leader = *self.alive.get_or_insert(who);
        if key.starts_with("v1/control/") && (leader == who || !self.exclusive) {
            return Ok(entry);
        }
        Err(format!("{key} was written while nobody wanted anything; {leader} leads"))
    }

    fn look(&self, key: &str, deed: &Deed) -> Applied {
        if matches!(deed, Deed::List) {
            let below = self.objects.range(key.to_owned()..).take_while(|(below, _)| below.starts_with(key));
            return Applied::Listed(below.map(|(key, object)| (key.clone(), object.clone())).collect());
        }
        self.objects.get(key).map_or(Applied::Absent, |object| Applied::Found(object.clone()))
    }

    /// What becomes of a call in bad times.
    fn fate(&mut self, settings: &Settings, now: Duration, who: usize, deed: &Deed) -> Fate {
        if self.dice.one_in(settings.spells) {
            self.spell(now, who);
        }
        let machine = &mut self.machines[who];
        machine.cut = machine.cut.filter(|(end, _)| *end > now);
        machine.slow = machine.slow.filter(|(end, _)| *end > now);
        if let Some((_, cut)) = machine.cut {
            return match cut {
                Cut::Refuses => Fate::Refused,
                Cut::LosesRequests => Fate::Hangs,
                Cut::LosesReplies => Fate::HangsApplied,
            };
        }
        if self.dice.below(1_000) >= settings.faults {
            return Fate::Fine;
        }
        self.trace.add("faults");
        match (deed, self.dice.below(8)) {
            (Deed::Look | Deed::List, 0..=4) | (_, 0 | 1) => Fate::Refused,
            (Deed::Look | Deed::List, _) | (_, 2) => Fate::Hangs,
            (_, 3) => Fate::HangsApplied,
            (Deed::Create(_), 4) => Fate::Conflict,
            (_, 4 | 5) => Fate::LostReply,
            (_, 6) => Fate::Late,
            _ => Fate::Twice,
        }
    }

    fn frozen(&mut self, now: Duration, who: usize, span: Duration) -> Blow {
        self.machines[who].freezes += 1;
        self.trace.line(now, who, &format!("frozen for {span:?}"));
        self.trace.add("freezes");
        Blow::Frozen(span)
    }

    /// Whether a call is one of those at which a lease is taken, kept or thought to be free, and is picked.
    fn is_ambush(&mut self, settings: &Settings, key: &str, deed: &Deed) -> bool {
        let Some(seq) = key.strip_prefix("v1/control/log/").and_then(|seq| seq.parse::<u64>().ok()) else {
            return false;
        };
        let tail = self.witness.control.tail();
        let prey = match deed {
            Deed::Create(_) => Prey::Holder,
            Deed::Look if seq > tail => Prey::Others,
            Deed::Look if seq + 1 >= tail => Prey::Holder,
            _ => return false,
        };
        (settings.prey == Prey::Both || settings.prey == prey) && self.dice.one_in(settings.ambushes)
    }

    /// Between what the store does and what its caller learns of it there passes so much time that others may act: the
    /// caller is frozen, or the answer is late, and maybe nothing else gets through meanwhile. Says how late.
    fn ambush(&mut self, settings: &Settings, there_at: Duration, who: usize) -> Duration {
        self.trace.add("ambushes");
        if !self.dice.one_in(3) {
            self.machines[who].ambush = Some((there_at, self.dice.span(5_000, 35_000)));
            return Duration::ZERO;
        }
        let share = 0.3 + self.dice.share() * 0.69;
        let late = settings.call.div_f64(settings.rates[who]).mul_f64(share);
        if self.dice.one_in(2) {
            let cut = *self.dice.of(&[Cut::Refuses, Cut::LosesRequests]);
            self.machines[who].cut = Some((there_at + late + self.dice.span(1_000, 15_000), cut));
        }
        late
    }

    fn spell(&mut self, now: Duration, who: usize) {
        let span = self.dice.span(500, 40_000);
        match self.dice.below(5) {
            0 => self.machines[who].cut = Some((now + span, Cut::Refuses)),
            1 => self.machines[who].cut = Some((now + span, Cut::LosesRequests)),
            2 => self.machines[who].cut = Some((now + span, Cut::LosesReplies)),
            _ => {
                let times = *self.dice.of(&[20, 100, 400]);
                self.machines[who].slow = Some((now + span, times));
            }
        }
        self.trace.add("spells");
        self.trace.line(now, who, &format!("weather for {span:?}"));
    }

    /// How long a call is under way to the store and back.
    fn latency(&mut self, now: Duration, who: usize, chaos: bool) -> (Duration, Duration) {
        if who >= self.machines.len() {
            return (Duration::ZERO, Duration::ZERO);
        }
        let slow =
            self.machines[who].slow.filter(|(end, _)| chaos && *end > now).map_or(1, |(_, times)| times);
        let once = if chaos && self.dice.one_in(50) { 60 } else { 1 };
        let (there, back) = (self.dice.span(1, 30), self.dice.span(1, 30));
        // Now and then only one of the ways is slow.
        match self.dice.below(3) {
            0 => (there * slow * once, back),
            1 => (there, back * slow * once),
            _ => (there * slow, back * slow),
        }
    }

    /// How late a late write comes.
    fn lateness(&mut self, settings: &Settings) -> Duration {
        let kept = settings.retention.min(Duration::from_secs(600));
        match self.dice.below(20) {
            0 => kept + self.dice.span(0, 60_000),
            1..=9 => self.dice.span(50, 2_000),
            _ => self.dice.span(1_000, 25_000),
        }
    }
}
