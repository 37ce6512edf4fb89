//! What was asked and how it was answered: a bounded log, and counters that forget nothing.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Mutex;

use super::ask::{Ask, Op};
use super::script::Plan;

/// How many requests the log holds; older ones fall out.
const LONGEST: usize = 10_000;

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// It is being worked on, or held.
    Waiting,
    /// The connection was closed without an answer.
    Dropped,
    /// It was answered with a status.
    Status(u16),
}

/// One request as the log remembers it.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Counts from 1 in the order of arrival.
    pub number: u64,
    pub op: Op,
    /// The key (the prefix of a listing, the first key of a bulk deletion).
    pub key: String,
    /// The access key id that signed it.
    pub client: Option<String>,
    pub answer: Answer,
    /// The faults that the script chose.
    pub faults: Vec<&'static str>,
}

#[derive(Default)]
pub struct Log(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    arrived: u64,
    entries: VecDeque<Asked>,
    counts: BTreeMap<(Option<String>, Op), u64>,
    faults: BTreeMap<&'static str, u64>,
}

impl Log {
    /// Notes an arrival; returns its number.
    pub fn arrived(&self, ask: &Ask) -> u64 {
        let mut inner = self.0.lock().unwrap();
        inner.arrived += 1;
        let number = inner.arrived;
        if inner.entries.len() == LONGEST {
            inner.entries.pop_front();
        }
        let (key, client) = (ask.key().to_owned(), ask.client.clone());
        *inner.counts.entry((client.clone(), ask.op)).or_default() += 1;
        let entry = Asked { number, op: ask.op, key, client, answer: Answer::Waiting, faults: Vec::new() };
        inner.entries.push_back(entry);
        number
    }

    pub fn planned(&self, number: u64, plan: &Plan) {
        let mut inner = self.0.lock().unwrap();
        for fault in plan.labels() {
            *inner.faults.entry(fault).or_default() += 1;
        }
        inner.change(number, |entry| entry.faults = plan.labels().collect());
    }

    pub fn answered(&self, number: u64, answer: Answer) {
        self.0.lock().unwrap().change(number, |entry| entry.answer = answer);
    }

    pub fn entries(&self) -> Vec<Asked> {
        self.0.lock().unwrap().entries.iter().cloned().collect()
    }

    pub fn count(&self, wanted: impl Fn(Option<&str>, Op) -> bool) -> u64 {
        let inner = self.0.lock().unwrap();
        inner.counts.iter().filter(|((client, op), _)| wanted(client.as_deref(), *op)).map(|(_, n)| n).sum()
    }

    pub fn faults(&self) -> BTreeMap<&'static str, u64> {
        self.0.lock().unwrap().faults.clone()
    }
}

impl Inner {
    fn change(&mut self, number: u64, change: impl FnOnce(&mut Asked)) {
        let first = self.entries.front().map_or(0, |entry| entry.number);
        let place = number.checked_sub(first).and_then(|place| usize::try_from(place).ok());
        if let Some(entry) = place.and_then(|place| self.entries.get_mut(place)) {
            change(entry);
        }
    }
}
