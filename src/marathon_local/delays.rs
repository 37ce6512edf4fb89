//! How long an app's next task must wait after failures. Pure.
//!
//! `RateLimiter.scala` of mesosphere/marathon: each configuration of an app has a delay of its own. It grows by the
//! configuration's factor with each failure, begins anew whenever a task comes further, and is forgotten when
//! nothing has happened for the longest time that it may have.

use std::collections::BTreeMap;
use std::time::Duration;

use super::definition::Backoff;
use crate::model::AppId;

/// The delays of all apps, each under the version of the last change of its configuration.
#[derive(Debug, Default)]
pub struct Delays(BTreeMap<AppId, BTreeMap<String, Delay>>);

#[derive(Debug, Clone, Copy)]
struct Delay {
    current: Duration,
    longest: Duration,
    /// Boot time of what it counts from: the last failure, or the last that a task came further.
    since: Duration,
}

impl Delay {
    fn is_over(&self, now: Duration) -> bool {
        now > self.since + self.longest
    }
}

impl Delays {
    /// A task of that configuration of the app failed.
    pub fn failed(&mut self, app: &AppId, config: &str, backoff: &Backoff, now: Duration) {
        let delays = self.0.entry(app.clone()).or_default();
        delays.retain(|_, delay| !delay.is_over(now));
        let before = delays.get(config);
        let grown = before.map_or(backoff.first, |d| d.current.mul_f64(backoff.factor.min(1_000.0)));
        let (longest, current) = (backoff.longest, grown.min(backoff.longest));
        delays.insert(config.to_owned(), Delay { current, longest, since: now });
    }

    /// A task of that configuration of the app came further: a delay that is there begins anew.
    pub fn came_further(&mut self, app: &AppId, config: &str, now: Duration) {
        let delay = self.0.get_mut(app).and_then(|delays| delays.get_mut(config));
        if let Some(delay) = delay.filter(|delay| !delay.is_over(now)) {
            delay.since = now;
        }
    }

    /// The app begins anew, whatever its configuration.
    pub fn forget(&mut self, app: &AppId) {
        self.0.remove(app);
    }

    /// How long a task of that configuration has to wait still; zero when it may start.
    pub fn left(&self, app: &AppId, config: &str, now: Duration) -> Duration {
        let delay = self.0.get(app).and_then(|delays| delays.get(config));
        delay.map_or(Duration::ZERO, |d| (d.since + d.current).saturating_sub(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BACKOFF: Backoff = Backoff { first: second(1), factor: 2.0, longest: second(5) };

    const fn second(number: u64) -> Duration {
        Duration::from_secs(number)
    }

    #[test]
    fn delays_grow_to_the_longest_and_are_forgotten() {
        let app = AppId::new("/a").unwrap();
        let mut delays = Delays::default();
        let mut now = second(100);
        let mut waits = Vec::new();
        for _ in 0..5 {
            delays.failed(&app, "v1", &BACKOFF, now);
            waits.push(delays.left(&app, "v1", now).as_secs());
            now += delays.left(&app, "v1", now);
        }
        assert_eq!(waits, [1, 2, 4, 5, 5]);
        assert_eq!(delays.left(&app, "v1", now), Duration::ZERO);
        delays.failed(&app, "v1", &BACKOFF, now);
        delays.failed(&app, "v1", &BACKOFF, now + second(6));
        assert_eq!(delays.left(&app, "v1", now + second(6)), second(1), "it has been well for long");
        delays.forget(&app);
        assert_eq!(delays.left(&app, "v1", now), Duration::ZERO);
    }

    #[test]
    fn each_configuration_has_its_own() {
        let (app, now) = (AppId::new("/a").unwrap(), second(100));
        let mut delays = Delays::default();
        delays.failed(&app, "v1", &BACKOFF, now);
        delays.failed(&app, "v1", &BACKOFF, now);
        delays.failed(&app, "v2", &BACKOFF, now);
        let left = |delays: &Delays, config| delays.left(&app, config, now).as_secs();
        assert_eq!((left(&delays, "v1"), left(&delays, "v2"), left(&delays, "v3")), (2, 1, 0));
        delays.forget(&app);
        assert_eq!((left(&delays, "v1"), left(&delays, "v2")), (0, 0));
    }

    #[test]
    fn a_delay_begins_anew_with_each_step_of_a_task_and_ends_after_the_longest_time_without_one() {
        let app = AppId::new("/a").unwrap();
        let mut delays = Delays::default();
        delays.came_further(&app, "v1", second(100));
        assert_eq!(delays.left(&app, "v1", second(100)), Duration::ZERO, "there is none");
        delays.failed(&app, "v1", &BACKOFF, second(100));
        delays.came_further(&app, "v1", second(104));
        delays.came_further(&app, "v2", second(104));
        assert_eq!(delays.left(&app, "v1", second(104)), second(1));
        delays.failed(&app, "v1", &BACKOFF, second(109));
        assert_eq!(delays.left(&app, "v1", second(109)), second(2), "5 seconds are not over");
        delays.came_further(&app, "v1", second(115));
        assert_eq!(delays.left(&app, "v1", second(115)), Duration::ZERO, "now they are");
    }
}
