//! Clients that publish, delete and publish again.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dcos_registry::clock::Entropy;

use crate::bundle::Sample;
use crate::ledger::{Fate, Ledger};
use crate::program::pause;

/// A client that works on the packages of one name, so that nobody else does.
pub struct Worker<'a> {
    pub name: String,
    pub url: String,
    pub ledger: &'a Ledger,
    pub entropy: Entropy,
    /// The first number that was not used yet.
    pub next: u64,
}

impl Worker<'_> {
    /// Does one thing. The error says why it is not known whether it was done.
    pub fn step(&mut self) -> Result<(), String> {
        let pick = |fate| self.ledger.pick(&self.name, fate, &self.entropy);
        match self.entropy.next() % 8 {
            0 | 1 => {
                if let Some(sample) = pick(Fate::There) {
                    return self.ledger.delete(&self.url, &sample);
                }
            }
            2 => {
                if let Some(sample) = pick(Fate::Gone) {
                    return self.ledger.publish(&self.url, &sample);
                }
            }
            _ => {}
        }
        self.next += 1;
        self.ledger.publish(&self.url, &Sample::new(&self.name, self.next))
    }

    /// Works until the first error.
    pub fn until_it_breaks(mut self) -> u64 {
        while self.step().is_ok() {}
        self.next
    }

    /// Works on, whatever happens, until told to stop. Returns how often it was not told an outcome.
    pub fn in_spite_of_all(mut self, stop: &AtomicBool, rest: Duration) -> u64 {
        let mut failed = 0;
        while !stop.load(Ordering::SeqCst) {
            failed += u64::from(self.step().is_err());
            pause(rest);
        }
        failed
    }
}
