//! What happened, in order: a digest of everything and the last lines.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// How many lines are kept to be shown.
const KEPT: usize = 400;

/// The trace of one run.
pub(super) struct Trace {
    hash: u64,
    lines: VecDeque<String>,
    pub(super) count: u64,
    pub(super) counters: BTreeMap<&'static str, u64>,
    /// Whether every line is printed at once.
    pub(super) aloud: bool,
}

impl Trace {
    pub(super) fn new(aloud: bool) -> Self {
        Self {
            hash: 0xcbf2_9ce4_8422_2325,
            lines: VecDeque::new(),
            count: 0,
            counters: BTreeMap::new(),
            aloud,
        }
    }

    pub(super) fn line(&mut self, at: Duration, who: usize, what: &str) {
        let line = format!("{:>10.3} {who} {what}", at.as_secs_f64());
        if self.aloud {
            println!("{line}");
        }
        // FNV-1a.
        for byte in line.bytes() {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        self.count += 1;
        if self.lines.len() == KEPT {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }

    pub(super) fn add(&mut self, counter: &'static str) {
        *self.counters.entry(counter).or_default() += 1;
    }

    /// Tells two runs apart.
    pub(super) fn digest(&self) -> u64 {
        self.hash
    }

    /// The last lines.
    pub(super) fn tail(&self, lines: usize) -> String {
        let skipped = self.lines.len().saturating_sub(lines);
        self.lines.iter().skip(skipped).flat_map(|line| [line.as_str(), "\n"]).collect()
    }
}
