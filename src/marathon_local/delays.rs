//! How long an app's next task must wait after failures. Pure.
//!
//! `RateLimiter.scala` of mesosphere/marathon: the delay grows by the app's factor with each failure, is
//! forgotten when the configuration changes, and when it has been over for longer than its longest.

use std::collections::BTreeMap;
use std::time::Duration;

use super::definition::Backoff;
use crate::model::AppId;

/// The delays of all apps.
#[derive(Debug, Default)]
pub struct Delays(BTreeMap<AppId, Delay>);

#[derive(Debug)]
struct Delay {
    current: Duration,
    /// Boot time.
    until: Duration,
}

impl Delays {
    /// A task of the app failed.
    pub fn failed(&mut self, app: &AppId, backoff: &Backoff, now: Duration) {
        let before = self.0.get(app).filter(|d| d.until + backoff.longest > now);
        let grown = before.map_or(backoff.first, |d| d.current.mul_f64(backoff.factor.min(1_000.0)));
        let current = grown.min(backoff.longest);
        self.0.insert(app.clone(), Delay { current, until: now + current });
    }

    /// The app begins anew.
    pub fn forget(&mut self, app: &AppId) {
        self.0.remove(app);
    }

    /// How long to wait still; zero when it may start.
    pub fn left(&self, app: &AppId, now: Duration) -> Duration {
        self.0.get(app).map_or(Duration::ZERO, |d| d.until.saturating_sub(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_to_the_longest_and_are_forgotten() {
        let app = AppId::new("/a").unwrap();
        let second = Duration::from_secs;
        let backoff = Backoff { first: second(1), factor: 2.0, longest: second(5) };
        let mut delays = Delays::default();
        let mut now = second(100);
        let mut waits = Vec::new();
        for _ in 0..5 {
            delays.failed(&app, &backoff, now);
            waits.push(delays.left(&app, now).as_secs());
            now += delays.left(&app, now);
        }
        assert_eq!(waits, [1, 2, 4, 5, 5]);
        assert_eq!(delays.left(&app, now), Duration::ZERO);
        delays.failed(&app, &backoff, now + second(6));
        assert_eq!(delays.left(&app, now + second(6)), second(1), "it has been well for long");
        delays.forget(&app);
        assert_eq!(delays.left(&app, now), Duration::ZERO);
    }
}
