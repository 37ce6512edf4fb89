//! The event stream: who listens, and how frames reach them.
//!
//! Source: `core/event/impl/stream` of mesosphere/marathon. Events have no ids and are not repeated. Each listener has a
//! bounded buffer; who lags further behind is cut off, or, before 1.8, loses events without a sign. Deployment
//! events are of the light format: the plan without the groups before and after it.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::faults::{Delivery, Faults};
use super::profile::Profile;
use crate::clock::{Clock, Entropy};

/// How many frames may wait for one listener (`event_stream_max_outstanding_messages`).
const OUTSTANDING: usize = 1024;

/// How many may listen (`event_stream_max_streams` is unlimited there).
const MOST_LISTENERS: usize = 256;

/// All listeners.
pub struct Hub {
    clock: Clock,
    entropy: Entropy,
    faults: Faults,
    profile: Profile,
    listeners: Mutex<Vec<Listener>>,
}

struct Listener {
    address: String,
    /// The types that it wants; empty: all.
    kinds: BTreeSet<String>,
    frames: mpsc::Sender<Bytes>,
    /// A frame that a fault holds back until the next one.
    late: Option<Bytes>,
    lost: u64,
}

impl Hub {
    /// A hub without listeners.
    pub fn new(clock: Clock, entropy: Entropy, faults: Faults, profile: Profile) -> Self {
        Self { clock, entropy, faults, profile, listeners: Mutex::new(Vec::new()) }
    }

    /// Frames for somebody who wants events of some types, or of all. The first one tells of the listener itself.
    /// None where too many listen.
    pub fn listen(&self, address: &str, kinds: BTreeSet<String>) -> Option<mpsc::Receiver<Bytes>> {
        let (frames, receiver) = mpsc::channel(OUTSTANDING);
        {
            let mut listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
            // While nothing happens nobody notices who has left.
            self.sort_out(&mut listeners, |listener| !listener.frames.is_closed());
            if listeners.len() >= MOST_LISTENERS {
                return None;
            }
            listeners.push(Listener { address: address.to_owned(), kinds, frames, late: None, lost: 0 });
        }
        self.publish("event_stream_attached", json!({"remoteAddress": address}));
        Some(receiver)
    }

    /// Tells everybody who wants to know. `fields` get the type and the time.
    pub fn publish(&self, kind: &'static str, fields: Value) {
        let mut listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        if listeners.is_empty() {
            return;
        }
        let deployment = fields.get("id").or_else(|| fields.pointer("/plan/id")).cloned();
        let frame = self.frame(kind, fields);
        self.sort_out(&mut listeners, |listener| self.deliver(listener, kind, &frame, deployment.as_ref()));
    }

    /// Drops those listeners that do not stay, and tells the others of it.
    fn sort_out(&self, listeners: &mut Vec<Listener>, mut stays: impl FnMut(&mut Listener) -> bool) {
        let mut gone = Vec::new();
        listeners.retain_mut(|listener| {
            let stays = stays(listener);
            if !stays {
                gone.push(listener.address.clone());
            }
            stays
        });
        for address in gone {
            let frame = self.frame("event_stream_detached", json!({"remoteAddress": address}));
            for listener in listeners.iter().filter(|l| l.wants("event_stream_detached")) {
                // Whoever lags is found out with the next event.
                let _ = listener.frames.try_send(frame.clone());
            }
        }
    }

    /// Ends all streams, as a loss of leadership does.
    pub fn cut_all(&self) {
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Whether the listener is still one.
    fn deliver(
        &self,
        listener: &mut Listener,
        kind: &str,
        frame: &Bytes,
        deployment: Option<&Value>,
    ) -> bool {
        if !listener.wants(kind) {
            return !listener.frames.is_closed();
        }
        let mut frames = vec![frame.clone()];
        match self.faults.delivery() {
            Delivery::Whole => {}
            Delivery::Lost => frames.clear(),
            Delivery::Cut => return false,
            Delivery::Late => {
                let held = listener.late.replace(frame.clone());
                frames = held.into_iter().collect();
            }
            Delivery::Foreign => frames.insert(0, self.success(&self.entropy.nonce())),
            Delivery::Lie => {
                let id = deployment.and_then(Value::as_str).map(str::to_owned);
                frames.insert(0, self.success(&id.unwrap_or_else(|| self.entropy.nonce())));
            }
        }
        if !frames.is_empty() && listener.late.as_ref().is_some_and(|late| late != frame) {
            frames.extend(listener.late.take());
        }
        frames.into_iter().all(|frame| self.send(listener, frame))
    }

    fn send(&self, listener: &mut Listener, frame: Bytes) -> bool {
        match listener.frames.try_send(frame) {
            Ok(()) => true,
            Err(mpsc::error::TrySendError::Closed(_)) => false,
            Err(mpsc::error::TrySendError::Full(_)) if self.profile.cuts_slow_readers() => {
                tracing::warn!(
                    address = listener.address,
                    "a reader of events lags too far behind and is cut off"
                );
                false
            }
            Err(mpsc::error::TrySendError::Full(_)) => {
                listener.lost += 1;
                if listener.lost == 1 {
                    tracing::warn!(
                        address = listener.address,
                        "a reader of events lags behind and loses some"
                    );
                }
                true
            }
        }
    }

    /// A success that nobody here knows of.
    fn success(&self, id: &str) -> Bytes {
        let version = super::time(self.clock.wall());
        self.frame(
            "deployment_success",
            json!({"id": id, "plan": {"id": id, "steps": [], "version": version}}),
        )
    }

    fn frame(&self, kind: &str, mut fields: Value) -> Bytes {
        fields["eventType"] = kind.into();
        fields["timestamp"] = super::time(self.clock.wall()).into();
        Bytes::from(format!("event: {kind}\r\ndata: {fields}\r\n\r\n"))
    }
}

impl Listener {
    fn wants(&self, kind: &str) -> bool {
        self.kinds.is_empty() || self.kinds.contains(kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hub(profile: Profile, faults: &Faults) -> Hub {
        Hub::new(Clock::fixed(0), Entropy::seeded(1), faults.clone(), profile)
    }

    /// What waits in a channel: the type and the data of each frame.
    fn taken(frames: &mut mpsc::Receiver<Bytes>) -> Vec<(String, Value)> {
        std::iter::from_fn(|| frames.try_recv().ok())
            .map(|frame| {
                let text = String::from_utf8(frame.to_vec()).unwrap();
                let (event, data) = text.trim_end().split_once("\r\n").unwrap();
                let data = data.strip_prefix("data: ").unwrap();
                (event.strip_prefix("event: ").unwrap().to_owned(), serde_json::from_str(data).unwrap())
            })
            .collect()
    }

    fn kinds(frames: &mut mpsc::Receiver<Bytes>) -> Vec<String> {
        taken(frames).into_iter().map(|(kind, _)| kind).collect()
    }

    #[test]
    fn listeners_get_what_they_want_with_type_and_time() {
        let hub = hub(Profile::V1_11, &Faults::off());
        let mut all = hub.listen("a", BTreeSet::new()).unwrap();
        let mut some = hub.listen("b", ["x".to_owned()].into()).unwrap();
        hub.publish("x", json!({"id": 1}));
        hub.publish("y", json!({}));
        assert_eq!(kinds(&mut all), ["event_stream_attached", "event_stream_attached", "x", "y"]);
        let x = json!({"id": 1, "eventType": "x", "timestamp": "1970-01-01T00:00:00.000Z"});
        assert_eq!(taken(&mut some), [("x".to_owned(), x)]);
        drop(some);
        hub.publish("x", json!({}));
        assert_eq!(kinds(&mut all), ["x", "event_stream_detached"]);
    }

    #[test]
    fn who_has_left_takes_no_place() {
        let hub = hub(Profile::V1_11, &Faults::off());
        let mut first = hub.listen("a", ["event_stream_detached".to_owned()].into()).unwrap();
        let others: Vec<_> =
            (1..MOST_LISTENERS).map(|_| hub.listen("b", ["x".to_owned()].into()).unwrap()).collect();
        assert!(hub.listen("c", BTreeSet::new()).is_none(), "all places are taken");
        drop(others);
        assert!(hub.listen("c", BTreeSet::new()).is_some(), "nothing was published meanwhile");
        assert_eq!(taken(&mut first).len(), MOST_LISTENERS - 1, "those who stay are told");
    }

    #[test]
    fn who_lags_is_cut_off_or_loses_events() {
        for (profile, heard) in [(Profile::V1_11, false), (Profile::V1_7, true)] {
            let hub = hub(profile, &Faults::off());
            let mut frames = hub.listen("a", ["x".to_owned()].into()).unwrap();
            for _ in 0..=OUTSTANDING {
                hub.publish("x", json!({}));
            }
            assert_eq!(taken(&mut frames).len(), OUTSTANDING);
            hub.publish("x", json!({}));
            assert_eq!(taken(&mut frames).len(), usize::from(heard), "{profile}");
        }
    }

    #[test]
    fn streams_may_fail_on_demand() {
        let faults = Faults::ready(Clock::fixed(0), 1);
        let hub = hub(Profile::V1_11, &faults);
        let mut frames = hub.listen("a", BTreeSet::new()).unwrap();
        taken(&mut frames);
        let mut heard = |stream: &str, kinds_sent: &[&'static str]| {
            faults.reset(None);
            faults.switch_on(&json!({"kind": "events", "stream": stream, "times": 1})).unwrap();
            for kind in kinds_sent {
                hub.publish(kind, json!({"plan": {"id": "d"}}));
            }
            taken(&mut frames)
        };
        let names = |heard: &[(String, Value)]| heard.iter().map(|(k, _)| k.clone()).collect::<Vec<_>>();
        assert_eq!(names(&heard("lossy", &["x", "y"])), ["y"]);
        assert_eq!(names(&heard("disorder", &["x", "y"])), ["y", "x"]);
        let lie = heard("lying", &["deployment_info"]);
        assert_eq!(names(&lie), ["deployment_success", "deployment_info"]);
        assert_eq!(lie[0].1["id"], "d");
        let foreign = heard("foreign", &["deployment_info"]);
        assert!(foreign[0].0 == "deployment_success" && foreign[0].1["id"] != "d");
        assert_eq!(names(&heard("cut", &["x", "y"])), Vec::<String>::new());
    }
}
