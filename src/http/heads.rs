//! The deadline of requests' heads at the price of one timer a connection.
//!
//! hyper asks for a new timer with every request and drops it as soon as the head is there, which is far sooner than
//! the deadline. Entering the runtime's timers and leaving them costs as much as the rest of a small answer, so the
//! timer that is there runs on, and is set anew only when it has run out and the deadline has moved on.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use hyper::rt::{Sleep, Timer};
use hyper_util::rt::TokioTimer;

/// The timer of one connection, which waits for one thing at a time.
#[derive(Clone, Default)]
pub(super) struct Heads(Arc<Mutex<Option<Armed>>>);

/// The one that runs.
struct Armed {
    until: Instant,
    sleep: Pin<Box<dyn Sleep>>,
}

struct Waiting {
    until: Instant,
    timer: Heads,
}

impl Timer for Heads {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(self.now() + duration)
    }

    fn sleep_until(&self, until: Instant) -> Pin<Box<dyn Sleep>> {
        Box::pin(Waiting { until, timer: self.clone() })
    }

    fn now(&self) -> Instant {
        TokioTimer::new().now()
    }
}

impl Sleep for Waiting {}

impl Future for Waiting {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut armed = self.timer.0.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            // One that ends later than asked for would come too late.
            let armed = match &mut *armed {
                Some(running) if running.until <= self.until => running,
                other => {
                    let sleep = TokioTimer::new().sleep_until(self.until);
                    other.insert(Armed { until: self.until, sleep })
                }
            };
            ready!(armed.sleep.as_mut().poll(cx));
            if armed.until == self.until {
                return Poll::Ready(());
            }
            *armed = Armed { until: self.until, sleep: TokioTimer::new().sleep_until(self.until) };
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn every_deadline_is_kept_though_one_timer_serves_them_all() {
        let (timer, limit) = (Heads::default(), Duration::from_secs(30));
        let begun = timer.now();
        for _ in 0..10 {
            let mut head = timer.sleep(limit);
            assert!(head.as_mut().now_or_never().is_none());
            assert!(timer.0.lock().unwrap().as_ref().unwrap().until <= begun + limit, "it is not set anew");
            TokioTimer::new().sleep(Duration::from_secs(1)).await;
        }
        timer.sleep(limit).await;
        assert_eq!((timer.now() - begun).as_secs(), 40);
        timer.sleep(limit).await;
        assert_eq!((timer.now() - begun).as_secs(), 70, "also after one that ran out");
        let mut long = timer.sleep(2 * limit);
        assert!(long.as_mut().now_or_never().is_none());
        timer.sleep(limit).await;
        assert_eq!((timer.now() - begun).as_secs(), 100, "also one that is shorter than the one before");
    }
}
