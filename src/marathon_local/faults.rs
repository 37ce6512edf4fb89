//! Faults on demand: what a real cluster does to its clients now and then, switched on one by one.
//!
//! For tests and for the curious; there is no way to them unless the command line asks for it. Each switch says
//! what it strikes, how likely and how often. The dice have a seed: the same requests in the same order meet the
//! same faults. Facts behind the kinds: `api/LeaderProxyFilter.scala`, `core/event/impl/stream` and
//! `core/deployment/impl/DeploymentManagerActor.scala` of mesosphere/marathon, and what its clients report.

mod dice;
mod spec;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};

use crate::clock::Clock;
use crate::model::{App, AppId};
use dice::Dice;
pub use spec::{Kind, SpecError, Stream, With};
use spec::{Spec, read};

/// How many switches may be on.
const MOST: usize = 100;

/// How many tokens are remembered as given out.
const MOST_TOKENS: usize = 1_000;

/// The switches. Cheap to clone; clones share them.
#[derive(Clone)]
pub struct Faults(Option<Arc<Shared>>);

struct Shared {
    clock: Clock,
    state: Mutex<State>,
}

struct State {
    seed: u64,
    dice: Dice,
    next_id: u64,
    switches: Vec<Switch>,
    /// Until when nobody leads, on the boot clock.
    leaderless_until: Duration,
    /// The tokens that were given out, with the number of requests that they are still good for.
    tokens: Vec<(String, u32)>,
}

/// A switch that is on.
struct Switch {
    id: u64,
    spec: Spec,
    /// How often it struck.
    struck: u64,
}

/// What becomes of a request before it is looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It is answered like this instead.
    Refused(u16, With),
    /// It is carried out, and the connection is cut instead of an answer.
    CutAfter,
    /// As before, and somebody else leads afterwards.
    LeaderLost,
    /// Its token is not (or no longer) good.
    NoToken,
}

/// What becomes of an event for one listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivery {
    /// It comes as it is.
    Whole,
    /// It is lost.
    Lost,
    /// It comes after the next one.
    Late,
    /// Somebody else's event comes with it.
    Foreign,
    /// An event that is not true comes with it.
    Lie,
    /// The stream ends.
    Cut,
}

impl Faults {
    /// No switch can be on.
    pub fn off() -> Self {
        Self(None)
    }

    /// All switches are off, and can be turned on.
    pub fn ready(clock: Clock, seed: u64) -> Self {
        let state = State {
            seed,
            dice: Dice::of(seed),
            next_id: 1,
            switches: Vec::new(),
            leaderless_until: Duration::ZERO,
            tokens: Vec::new(),
        };
        Self(Some(Arc::new(Shared { clock, state: Mutex::new(state) })))
    }

    /// Whether there is a way to the switches.
    pub fn can_be_switched(&self) -> bool {
        self.0.is_some()
    }

    /// Turns a switch on. Its description with its id.
    ///
    /// # Errors
    /// [`SpecError`] names the field.
    pub fn switch_on(&self, body: &Value) -> Result<Value, SpecError> {
        let spec = read(body)?;
        self.with(|state, _| {
            if state.switches.len() >= MOST {
                return Err(SpecError::TooMany(MOST));
            }
            if matches!(spec.kind, Kind::ExpireTokens { .. }) {
                state.tokens.clear();
            }
            let switch = Switch { id: state.next_id, spec, struck: 0 };
            state.next_id += 1;
            let shown = switch.json();
            state.switches.push(switch);
            Ok(shown)
        })
        .unwrap_or(Err(SpecError::TooMany(0)))
    }

    /// All switches that are on, and the seed.
    pub fn list(&self) -> Value {
        self.with(|state, _| {
            json!({"seed": state.seed, "faults": state.switches.iter().map(Switch::json).collect::<Vec<_>>()})
        })
        .unwrap_or(Value::Null)
    }

    /// Turns one switch off; false where there is none of that id.
    pub fn switch_off(&self, id: u64) -> bool {
        self.with(|state, _| {
            let before = state.switches.len();
            state.switches.retain(|switch| switch.id != id);
            state.switches.len() < before
        })
        .unwrap_or(false)
    }

    /// Turns all switches off and takes the dice anew, with another seed where one is given.
    pub fn reset(&self, seed: Option<u64>) {
        self.with(|state, _| {
            state.seed = seed.unwrap_or(state.seed);
            state.dice = Dice::of(state.seed);
            state.switches.clear();
            state.tokens.clear();
            state.leaderless_until = Duration::ZERO;
        });
    }

    /// What becomes of a request.
    pub fn request(&self, method: &str, path: &str, token: Option<&str>) -> Option<Fate> {
        self.with(|state, now| {
            if state.leaderless_until > now {
                return Some(Fate::Refused(502, With::Leaderless));
            }
            if let Some(fate) = state.token_fate(token) {
                return Some(fate);
            }
            let spec = state.strike(|spec| spec.strikes_request(method, path))?;
            match spec.kind {
                Kind::Refuse { status, with } => Some(Fate::Refused(status, with)),
                Kind::CutAfterWrite => Some(Fate::CutAfter),
                Kind::LeaderChange { milliseconds } => {
                    state.leaderless_until = now + Duration::from_millis(milliseconds);
                    Some(Fate::LeaderLost)
                }
                _ => None,
            }
        })
        .flatten()
    }

    /// From now on nobody leads, for a while: somebody abdicated.
    pub fn lose_leader(&self, during: Duration) {
        self.with(|state, now| state.leaderless_until = now + during);
    }

    /// A token for somebody who logs in.
    pub fn login(&self, token: String) {
        self.with(|state, _| {
            let uses = state.switches.iter().find_map(|switch| match switch.spec.kind {
                Kind::ExpireTokens { uses } => Some(uses),
                _ => None,
            });
            if state.tokens.len() >= MOST_TOKENS {
                state.tokens.remove(0);
            }
            state.tokens.push((token, uses.unwrap_or(u32::MAX)));
        });
    }

    /// Whether an app's deployments do not come further.
    pub fn is_stuck(&self, app: &AppId) -> bool {
        self.find(|spec| matches!(spec.kind, Kind::Stuck) && spec.concerns(app)).is_some()
    }

    /// Whether listings leave an app out, and asking for it by its id is forbidden.
    pub fn hides(&self, app: &AppId) -> bool {
        self.find(|spec| matches!(spec.kind, Kind::Hide) && spec.concerns(app)).is_some()
    }

    /// For how long a deployment that was begun by force cannot be seen yet.
    pub fn gap(&self) -> Duration {
        let gap = self.find(|spec| matches!(spec.kind, Kind::Gap { .. }));
        gap.map_or(Duration::ZERO, |spec| match spec.kind {
            Kind::Gap { milliseconds } => Duration::from_millis(milliseconds),
            _ => Duration::ZERO,
        })
    }

    /// What a second writer does to an app right after it was changed.
    pub fn second_writer(&self, app: &AppId) -> Option<App> {
        let spec = self.with(|state, _| {
            state.strike(|spec| matches!(spec.kind, Kind::SecondWriter { .. }) && spec.concerns(app))
        });
        match spec.flatten()?.kind {
            Kind::SecondWriter { patch } => Some(App(patch)),
            _ => None,
        }
    }

    /// What becomes of an event.
    pub fn delivery(&self) -> Delivery {
        let spec = self.with(|state, _| {
            state.strike(|spec| matches!(&spec.kind, Kind::Events { stream, .. } if *stream != Stream::Slow))
        });
        match spec.flatten().map(|spec| spec.kind) {
            Some(Kind::Events { stream, .. }) => match stream {
                Stream::Lossy => Delivery::Lost,
                Stream::Disorder => Delivery::Late,
                Stream::Foreign => Delivery::Foreign,
                Stream::Lying => Delivery::Lie,
                Stream::Cut => Delivery::Cut,
                Stream::Slow => Delivery::Whole,
            },
            _ => Delivery::Whole,
        }
    }

    /// How long each event takes on its way.
    pub fn event_delay(&self) -> Duration {
        let slow = self.find(|spec| matches!(spec.kind, Kind::Events { stream: Stream::Slow, .. }));
        slow.map_or(Duration::ZERO, |spec| match spec.kind {
            Kind::Events { milliseconds, .. } => Duration::from_millis(milliseconds),
            _ => Duration::ZERO,
        })
    }

    /// The first switch that fits and is not used up; it does not count as a strike.
    fn find(&self, fits: impl Fn(&Spec) -> bool) -> Option<Spec> {
        let found = self.with(|state, _| {
            state
                .switches
                .iter()
                .find(|switch| !switch.is_used_up() && fits(&switch.spec))
                .map(|s| s.spec.clone())
        });
        found.flatten()
    }

    fn with<T>(&self, work: impl FnOnce(&mut State, Duration) -> T) -> Option<T> {
        let shared = self.0.as_ref()?;
        let now = shared.clock.boot();
        Some(work(&mut shared.state.lock().unwrap_or_else(PoisonError::into_inner), now))
    }
}

impl State {
    /// The first switch that fits, is not used up, and for which the dice fall.
    fn strike(&mut self, fits: impl Fn(&Spec) -> bool) -> Option<Spec> {
        for switch in self.switches.iter_mut().filter(|switch| !switch.is_used_up() && fits(&switch.spec)) {
            if self.dice.fall(switch.spec.rate) {
                switch.struck += 1;
                return Some(switch.spec.clone());
            }
        }
        None
    }

    fn token_fate(&mut self, token: Option<&str>) -> Option<Fate> {
        let switch = self.switches.iter_mut().find(|s| matches!(s.spec.kind, Kind::ExpireTokens { .. }))?;
        let known = self.tokens.iter_mut().find(|(known, left)| Some(known.as_str()) == token && *left > 0);
        if let Some((_, left)) = known {
            *left -= 1;
            return None;
        }
        switch.struck += 1;
        Some(Fate::NoToken)
    }
}

impl Switch {
    fn is_used_up(&self) -> bool {
        self.spec.times.is_some_and(|times| self.struck >= times)
    }

    fn json(&self) -> Value {
        let mut json = self.spec.json();
        json["id"] = self.id.into();
        json["struck"] = self.struck.into();
        json
    }
}

#[cfg(test)]
mod tests;
