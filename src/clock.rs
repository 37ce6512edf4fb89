//! The only door to time and randomness.
//!
//! Both come in as parameters, so that a test can pause them and a simulation can run them from a seed.
//! Waiting uses tokio's timers, which a test pauses; the readings here are what is written into records
//! and compared with deadlines.

#![expect(clippy::disallowed_methods, reason = "this is the module that the ban list points to")]

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;

/// A handle on time. Cheap to clone.
#[derive(Clone)]
pub struct Clock(Source);

#[derive(Clone)]
enum Source {
    System,
    Fixed(Arc<AtomicU64>),
    Simulated(Simulated),
}

/// A machine's clock in a simulation.
#[derive(Clone)]
struct Simulated {
    zero: tokio::time::Instant,
    rate: f64,
    offset: Duration,
}

/// A wait that reached its deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no answer within {0:?}")]
pub struct DeadlinePassed(pub Duration);

impl Clock {
    /// The machine's clocks.
    #[must_use]
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that stands at a number of milliseconds since 1970 until [`Clock::advance`] moves it.
    #[must_use]
    pub fn fixed(milliseconds: u64) -> Self {
        Self(Source::Fixed(Arc::new(AtomicU64::new(milliseconds))))
    }

    /// A clock that follows the runtime's paused time, faster or slower by `rate`, from `offset` on: one machine of a
    /// simulation. The wall clock says the same, which is wrong for everybody else.
    #[must_use]
    pub fn simulated(rate: f64, offset: Duration) -> Self {
        Self(Source::Simulated(Simulated { zero: tokio::time::Instant::now(), rate, offset }))
    }

    /// Moves a fixed clock; the system's clock does not listen.
    pub fn advance(&self, by: Duration) {
        if let Source::Fixed(now) = &self.0 {
            now.fetch_add(by.as_millis().try_into().unwrap_or(u64::MAX), Ordering::SeqCst);
        }
    }

    /// The wall clock, for texts that people read; no decision rests on it.
    #[must_use]
    pub fn wall(&self) -> Timestamp {
        match &self.0 {
            Source::System => Timestamp::now(),
            Source::Fixed(now) => {
                let milliseconds = i64::try_from(now.load(Ordering::SeqCst)).unwrap_or(i64::MAX);
                Timestamp::from_millisecond(milliseconds).unwrap_or(Timestamp::MAX)
            }
            Source::Simulated(_) => {
                let milliseconds = i64::try_from(self.boot().as_millis()).unwrap_or(i64::MAX);
                Timestamp::from_millisecond(milliseconds).unwrap_or(Timestamp::MAX)
            }
        }
    }

    /// Time since the machine started, sleep included (`CLOCK_BOOTTIME`); what deadlines are measured with.
    #[must_use]
    pub fn boot(&self) -> Duration {
        match &self.0 {
            Source::System => {
                let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
                Duration::new(
                    now.tv_sec.try_into().unwrap_or_default(),
                    now.tv_nsec.try_into().unwrap_or_default(),
                )
            }
            Source::Fixed(now) => Duration::from_millis(now.load(Ordering::SeqCst)),
            Source::Simulated(machine) => machine.zero.elapsed().mul_f64(machine.rate) + machine.offset,
        }
    }

    /// What a duration of this clock takes of the runtime's time.
    fn stretched(&self, duration: Duration) -> Duration {
        match &self.0 {
            Source::Simulated(machine) => duration.div_f64(machine.rate),
            _ => duration,
        }
    }

    /// Waits.
    pub async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(self.stretched(duration)).await;
    }

    /// Runs a future with a deadline.
    ///
    /// # Errors
    /// [`DeadlinePassed`] when it did not end in time; the future is dropped.
    pub async fn timeout<F: Future>(&self, limit: Duration, future: F) -> Result<F::Output, DeadlinePassed> {
        tokio::time::timeout(self.stretched(limit), future).await.map_err(|_| DeadlinePassed(limit))
    }
}

/// A source of randomness. Cheap to clone; clones share one sequence.
#[derive(Clone)]
pub struct Entropy(Arc<Mutex<u64>>);

impl Entropy {
    /// A sequence that starts at a number from the kernel.
    #[must_use]
    pub fn system() -> Self {
        let mut seed = [0; 8];
        // A short read leaves zeros; the process id makes the seed of two processes differ even then.
        let read = rustix::rand::getrandom(&mut seed[..], rustix::rand::GetRandomFlags::empty());
        let own = u64::from(std::process::id());
        Self::seeded(if read.is_ok() { u64::from_le_bytes(seed) ^ own } else { own })
    }

    /// A sequence that is the same for the same seed.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(seed)))
    }

    /// The next 64 bits (SplitMix64).
    #[must_use]
    pub fn next(&self) -> u64 {
        let mut state = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = *state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// 128 bits as 32 hex digits: nonces, ids of deployments and tasks.
    #[must_use]
    pub fn nonce(&self) -> String {
        format!("{:016x}{:016x}", self.next(), self.next())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_decides_the_sequence() {
        let (a, b) = (Entropy::seeded(7), Entropy::seeded(7));
        assert_eq!(a.nonce(), b.nonce());
        assert_ne!(a.nonce(), Entropy::seeded(8).nonce());
    }

    #[tokio::test(start_paused = true)]
    async fn simulated_clocks_run_at_their_own_rates() {
        let (fast, slow) =
            (Clock::simulated(2.0, Duration::ZERO), Clock::simulated(0.5, Duration::from_secs(100)));
        fast.sleep(Duration::from_secs(4)).await;
        assert_eq!((fast.boot(), slow.boot()), (Duration::from_secs(4), Duration::from_secs(101)));
        let waited = slow.timeout(Duration::from_secs(1), std::future::pending::<()>()).await;
        assert!(waited.is_err());
        assert_eq!((fast.boot(), slow.boot()), (Duration::from_secs(8), Duration::from_secs(102)));
        assert_eq!(slow.wall().to_string(), "1970-01-01T00:01:42Z");
    }

    #[test]
    fn a_fixed_clock_moves_only_when_told() {
        let clock = Clock::fixed(1_000);
        assert_eq!(clock.wall().to_string(), "1970-01-01T00:00:01Z");
        clock.advance(Duration::from_secs(2));
        assert_eq!(clock.boot(), Duration::from_secs(3));
    }
}
