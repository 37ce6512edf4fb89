//! How long to wait before the next try.
//!
//! The growth comes from the `backoff` crate, which nobody maintains any more; it is named in this file
//! only. Its random factor is 0: jitter is ours, from the seeded source, so that a seed decides a run.

use std::time::Duration;

use backoff::ExponentialBackoff;
use backoff::backoff::Backoff as _;

use crate::clock::Entropy;

/// Growing delays with up to a quarter of jitter.
pub struct Delays {
    growth: ExponentialBackoff,
    entropy: Entropy,
}

impl Delays {
    /// Delays that start at `first`, grow by half with each try and stay at `longest`. They never end:
    /// who retries decides how often.
    #[must_use]
    pub fn new(first: Duration, longest: Duration, entropy: Entropy) -> Self {
        let growth = ExponentialBackoff {
            current_interval: first,
            initial_interval: first,
            randomization_factor: 0.0,
            multiplier: 1.5,
            max_interval: longest,
            max_elapsed_time: None,
            ..ExponentialBackoff::default()
        };
        Self { growth, entropy }
    }

    /// The next delay.
    pub fn next_delay(&mut self) -> Duration {
        self.next_delay_up_to(self.growth.max_interval)
    }

    /// The next delay, where they grow to another longest one from now on.
    pub fn next_delay_up_to(&mut self, longest: Duration) -> Duration {
        self.growth.max_interval = longest;
        let delay = self.growth.next_backoff().unwrap_or(longest).min(longest);
        let quarter = u64::try_from(delay.as_micros() / 4).unwrap_or(u64::MAX).max(1);
        delay + Duration::from_micros(self.entropy.next() % quarter)
    }

    /// Starts again at the first delay, after a success.
    pub fn reset(&mut self) {
        self.growth.reset();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_to_the_longest_and_start_again() {
        let mut delays = Delays::new(Duration::from_millis(100), Duration::from_secs(1), Entropy::seeded(1));
        let all: Vec<_> = (0..20).map(|_| delays.next_delay()).collect();
        assert!(all[0] >= Duration::from_millis(100) && all[0] < Duration::from_millis(126), "{all:?}");
        assert!(all[19] >= Duration::from_secs(1) && all[19] <= Duration::from_millis(1250), "{all:?}");
        delays.reset();
        assert!(delays.next_delay() < Duration::from_millis(126));
    }

    #[test]
    fn the_longest_may_change_and_growth_goes_on_from_there() {
        let mut delays = Delays::new(Duration::from_secs(16), Duration::from_secs(60), Entropy::seeded(1));
        let steps = [
            (60, [16, 24, 36, 54, 60, 60].as_slice()),
            (600, &[60, 90, 135, 202, 303, 455, 600, 600]),
            (60, &[60, 60]),
        ];
        for (longest, expected) in steps {
            for seconds in expected {
                let delay = delays.next_delay_up_to(Duration::from_secs(longest));
                let least = Duration::from_secs(*seconds);
                assert!(
                    delay >= least && delay <= least * 5 / 4 + Duration::from_secs(1),
                    "{delay:?} {least:?}"
                );
            }
        }
    }
}
