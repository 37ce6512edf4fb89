//! What the server told of itself, asked now and then.
//!
//! One caller asks at a time, and those who come meanwhile wait for that answer: without a version a manifest would be
//! read with the defaults of another one. What was told once is known until something newer is told; that
//! the permission or the server is away does not change which version runs there.

use std::future::Future;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::clock::{Clock, Entropy};
use crate::marathon::error::MarathonError;
use crate::marathon::model::Info;
use crate::retry::Delays;
use crate::telemetry::chain;

/// How long what a server told of itself is believed; a cluster is not upgraded more often.
pub(super) const VERSION_PAUSE: Duration = Duration::from_secs(600);

/// How long it is not asked again after it did not tell, at first and at most. Where the permission is missing that
/// is one call a minute.
pub(super) const UNTOLD_PAUSES: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(60));

/// What is known of the server.
pub(super) struct Told {
    known: Mutex<Known>,
    /// Held by whoever asks.
    asking: tokio::sync::Mutex<Delays>,
}

#[derive(Default)]
struct Known {
    info: Option<Info>,
    /// When it is asked again, on the boot clock.
    again_at: Duration,
}

impl Told {
    /// Nothing is known yet.
    pub(super) fn new(entropy: Entropy) -> Self {
        let delays = Delays::new(UNTOLD_PAUSES.0, UNTOLD_PAUSES.1, entropy);
        Self { known: Mutex::default(), asking: tokio::sync::Mutex::new(delays) }
    }

    /// What is known; `ask` is asked first where that is due. Whoever finds another one asking waits for that answer, for
    /// `limit` at most.
    pub(super) async fn get(
        &self,
        clock: &Clock,
        limit: Duration,
        ask: impl Future<Output = Result<Info, MarathonError>>,
    ) -> Option<Info> {
        if self.is_due(clock) {
            // Where nobody answers in time there is what was known before.
            if let Ok(mut delays) = clock.timeout(limit, self.asking.lock()).await
                && self.is_due(clock)
            {
                self.note(ask.await, &mut delays, clock);
            }
        }
        self.with(|known| known.info.clone())
    }

    fn is_due(&self, clock: &Clock) -> bool {
        self.with(|known| clock.boot() >= known.again_at)
    }

    fn note(&self, answer: Result<Info, MarathonError>, delays: &mut Delays, clock: &Clock) {
        let pause = match &answer {
            Ok(_) => {
                delays.reset();
                VERSION_PAUSE
            }
            Err(error) => {
                tracing::debug!(error = chain(error), "Marathon does not tell its version");
                delays.next_delay().min(UNTOLD_PAUSES.1)
            }
        };
        self.with(|known| {
            known.again_at = clock.boot() + pause;
            known.info = answer.ok().or(known.info.take());
        });
    }

    fn with<T>(&self, work: impl FnOnce(&mut Known) -> T) -> T {
        work(&mut self.known.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use futures::poll;
    use tokio::sync::oneshot;

    use super::*;

    fn info(version: &str) -> Info {
        serde_json::from_value(serde_json::json!({"version": version})).unwrap()
    }

    fn never() -> impl Future<Output = Result<Info, MarathonError>> {
        std::future::poll_fn(|_| panic!("a second one asks"))
    }

    const LIMIT: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn who_comes_while_one_asks_waits_for_that_answer() {
        let (told, clock) = (Told::new(Entropy::seeded(1)), Clock::fixed(1_000_000));
        let (tell, answer) = oneshot::channel();
        let mut first = Box::pin(told.get(&clock, LIMIT, async { Ok(info(answer.await.unwrap())) }));
        let mut second = Box::pin(told.get(&clock, LIMIT, never()));
        assert!(poll!(&mut first).is_pending());
        assert!(poll!(&mut second).is_pending(), "the second one goes on without a version");
        tell.send("1.8.222").unwrap();
        for told in [first.await, second.await] {
            assert_eq!(told.map(|told| told.version).as_deref(), Some("1.8.222"));
        }
    }

    #[tokio::test]
    async fn a_failure_is_shared_as_well() {
        let (told, clock) = (Told::new(Entropy::seeded(1)), Clock::fixed(1_000_000));
        let (tell, failed) = oneshot::channel::<MarathonError>();
        let mut first = Box::pin(told.get(&clock, LIMIT, async { Err(failed.await.unwrap()) }));
        assert!(poll!(&mut first).is_pending());
        let mut second = Box::pin(told.get(&clock, LIMIT, never()));
        assert!(poll!(&mut second).is_pending());
        tell.send(MarathonError::StreamEnded).unwrap();
        assert!(first.await.is_none() && second.await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_ever_and_the_next_may_ask() {
        let (told, clock) = (Told::new(Entropy::seeded(1)), Clock::simulated(1.0, Duration::from_secs(1000)));
        let mut first = Box::pin(told.get(&clock, LIMIT, pending()));
        assert!(poll!(&mut first).is_pending());
        assert!(told.get(&clock, LIMIT, never()).await.is_none());
        assert_eq!(clock.boot(), Duration::from_secs(1020));
        // Whoever gives up takes nothing with him.
        drop(first);
        let next = told.get(&clock, LIMIT, async { Ok(info("1.8.222")) }).await;
        assert_eq!(next.map(|told| told.version).as_deref(), Some("1.8.222"));
    }
}
