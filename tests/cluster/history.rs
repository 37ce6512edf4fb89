//! The control log as it lies in the bucket, and what must hold in it.

use std::time::Duration;

use dcos_registry::clock::Clock;
use serde_json::Value;

use crate::program::until;
use crate::s3_double::S3Double;

/// One record.
#[derive(Debug)]
pub struct Entry {
    pub seq: u64,
    pub epoch: u64,
    pub author: String,
    pub operations: Vec<Value>,
}

impl Entry {
    fn of(key: &str, bytes: &[u8]) -> Self {
        let record: Value = serde_json::from_slice(bytes).unwrap();
        let seq = key.rsplit('/').next().unwrap().parse().unwrap();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let operations = record["operations"].as_array().unwrap().clone();
        Self { seq, epoch: record["epoch"].as_u64().unwrap(), author: text(&record["author"]), operations }
    }

    /// Whether it says such a thing.
    pub fn has(&self, operation: &str) -> bool {
        self.operations.iter().any(|said| said.get(operation).is_some() || said == operation)
    }
}

/// Who took the lease last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lead {
    pub epoch: u64,
    pub holder: String,
}

/// All records, the oldest first.
pub fn read(double: &S3Double, folder: &str) -> Vec<Entry> {
    let keys = double.keys(folder);
    keys.iter().filter_map(|key| Some(Entry::of(key, &double.read(key)?))).collect()
}

/// The newest lease; none before the first and after one was given back.
pub fn lead(double: &S3Double, folder: &str) -> Option<Lead> {
    let records = read(double, folder);
    let last = records.iter().rev().find(|entry| entry.has("acquired") || entry.has("released"))?;
    let Entry { epoch, author, .. } = last;
    last.has("acquired").then(|| Lead { epoch: *epoch, holder: author.clone() })
}

/// Waits until somebody takes the lease after that of `epoch`; how long that took since `begun` on the boot clock.
pub fn next_lead(
    double: &S3Double,
    folder: &str,
    epoch: u64,
    begun: Duration,
    limit: Duration,
) -> (Duration, Lead) {
    until("somebody takes the lease", limit, || {
        let lead = lead(double, folder).filter(|lead| lead.epoch > epoch);
        lead.map(|lead| (Clock::system().boot().saturating_sub(begun), lead))
            .ok_or_else(|| "nobody does".into())
    })
}

/// What must hold: no number is missing, each lease is taken once and is one more than the last, nobody writes under a
/// lease that is not the newest or not his own.
pub fn check(records: &[Entry]) {
    let (mut epoch, mut holder) = (0, "");
    for (place, entry) in records.iter().enumerate() {
        assert_eq!(entry.seq, place as u64, "a number is missing");
        if entry.has("acquired") {
            assert_eq!(entry.epoch, epoch + 1, "{entry:?}");
            (epoch, holder) = (entry.epoch, &entry.author);
        } else if entry.has("requested") || entry.seq == 0 {
            assert_eq!(entry.epoch, 0, "{entry:?}");
        } else {
            assert_eq!((entry.epoch, &*entry.author), (epoch, holder), "{entry:?}");
        }
    }
}
