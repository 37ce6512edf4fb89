//! What the logs really say, kept by somebody who sees every write when it is applied and nothing else.

use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::model::{Digest, Epoch};
use crate::storage::records::State;

/// One log.
pub(super) struct Ledger<S: State> {
    pub(super) state: S,
    pub(super) facts: Vec<Fact<S::Operation>>,
    tip: Option<Digest>,
}

/// A record that stands in the log.
pub(super) struct Fact<O> {
    pub(super) author: String,
    pub(super) at: Duration,
    pub(super) operations: Vec<O>,
}

/// What a new object in the folder of a log was.
pub(super) enum Entry {
    /// The next record.
    Next,
    /// A record under a number that had been given and trimmed before.
    Ghost,
}

impl<S: State> Default for Ledger<S> {
    fn default() -> Self {
        Self { state: S::default(), facts: Vec::new(), tip: None }
    }
}

impl<S: State> Ledger<S>
where
    S::Operation: DeserializeOwned,
{
    /// The number of the last record.
    pub(super) fn tail(&self) -> u64 {
        (self.facts.len() as u64).saturating_sub(1)
    }

    pub(super) fn fact(&self, seq: u64) -> Option<&Fact<S::Operation>> {
        self.facts.get(usize::try_from(seq).ok()?)
    }

    /// Takes in a record that was just created, with the checks that hold for every log.
    pub(super) fn take(&mut self, at: Duration, seq: u64, bytes: &[u8]) -> Result<Entry, String> {
        if seq < self.facts.len() as u64 {
            return Ok(Entry::Ghost);
        }
        if seq > self.facts.len() as u64 {
            return Err(format!("record {seq} was created, the next is {}", self.facts.len()));
        }
        let record: Value = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        let field = |name: &str| record.get(name).cloned().unwrap_or_default();
        let previous: Option<Digest> =
            serde_json::from_value(field("previous")).map_err(|error| error.to_string())?;
        if previous != self.tip || field("seq") != seq {
            return Err(format!("record {seq} does not follow the one before it"));
        }
        let epoch: Epoch = serde_json::from_value(field("epoch")).map_err(|error| error.to_string())?;
        let operations: Vec<S::Operation> =
            serde_json::from_value(field("operations")).map_err(|error| error.to_string())?;
        for operation in &operations {
            let valid = self.state.validate(operation, epoch);
            valid.map_err(|why| format!("record {seq} says what may not be said: {why}"))?;
            self.state.apply(seq, operation);
        }
        let author = field("author").as_str().unwrap_or_default().to_owned();
        self.facts.push(Fact { author, at, operations });
        self.tip = Some(Digest::of(bytes));
        Ok(Entry::Next)
    }
}
