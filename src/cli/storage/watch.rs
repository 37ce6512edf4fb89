//! How far the work has come, on stderr: a bar on a terminal, elsewhere a line every few seconds.

use std::io::{IsTerminal as _, Write as _};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::clock::Clock;
use crate::storage::progress::{Progress, Unit};

/// How often a line is written, at most.
const LINES: Duration = Duration::from_secs(5);

const MIB: u64 = 1024 * 1024;

/// Whoever waits in front of the screen.
pub struct Watch {
    clock: Clock,
    bar: Option<ProgressBar>,
    part: Mutex<Part>,
}

struct Part {
    name: &'static str,
    total: Option<u64>,
    unit: Unit,
    done: u64,
    /// When the last line was written.
    told: Duration,
}

impl Watch {
    pub fn new(clock: Clock) -> Self {
        let bar = std::io::stderr()
            .is_terminal()
            .then(|| ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()));
        let told = clock.boot();
        let part = Mutex::new(Part { name: "", total: None, unit: Unit::Objects, done: 0, told });
        Self { clock, bar, part }
    }

    fn part(&self) -> std::sync::MutexGuard<'_, Part> {
        self.part.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

impl Progress for Watch {
    fn begin(&self, name: &'static str, total: Option<u64>, unit: Unit) {
        let mut part = self.part();
        let told = part.told;
        *part = Part { name, total, unit, done: 0, told };
        if let Some(bar) = &self.bar {
            bar.reset();
            bar.set_style(style(total, unit));
            bar.set_message(name);
            match total {
                Some(total) => bar.set_length(total),
                None => bar.unset_length(),
            }
        }
    }

    fn advance(&self, by: u64) {
        if let Some(bar) = &self.bar {
            return bar.inc(by);
        }
        let mut part = self.part();
        part.done += by;
        let now = self.clock.boot();
        if now.saturating_sub(part.told) >= LINES {
            part.told = now;
            // Nothing depends on whether anybody reads it.
            let _ = writeln!(std::io::stderr().lock(), "{}", line(&part));
        }
    }
}

fn style(total: Option<u64>, unit: Unit) -> ProgressStyle {
    let template = match (total, unit) {
        (Some(_), Unit::Bytes) => "{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}",
        (Some(_), _) => "{msg} {wide_bar} {pos}/{len} {eta}",
        (None, Unit::Bytes) => "{msg} {spinner} {bytes} {bytes_per_sec}",
        (None, _) => "{msg} {spinner} {pos} {per_sec}",
    };
    // The templates are ours; a bar without one is a bar all the same.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

fn line(part: &Part) -> String {
    let Part { name, total, unit, done, .. } = part;
    let in_units = |n: u64| match unit {
        Unit::Bytes => (n / MIB, " MiB"),
        Unit::Objects => (n, " objects"),
        Unit::Records => (n, " records"),
    };
    let (done_in_units, word) = in_units(*done);
    match total {
        Some(total) if *total > 0 => {
            let percent = u128::from(*done) * 100 / u128::from(*total);
            format!("{name}: {done_in_units} of {}{word} ({percent} %)", in_units(*total).0)
        }
        _ => format!("{name}: {done_in_units}{word}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_say_what_and_how_much() {
        let line = |name, total, unit, done| line(&Part { name, total, unit, done, told: Duration::ZERO });
        let of = Some(300 * MIB);
        assert_eq!(line("reading blobs", of, Unit::Bytes, 75 * MIB), "reading blobs: 75 of 300 MiB (25 %)");
        assert_eq!(line("listing objects", None, Unit::Objects, 1200), "listing objects: 1200 objects");
        assert_eq!(line("proving", Some(0), Unit::Records, 0), "proving: 0 records");
    }
}
