//! The places of connections: so many at a time. A connection may rest between two requests as long as it likes, until
//! somebody else has no place: then the one that rests longest has to leave.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;

/// How long to wait for the place of one that was told to leave, before the next one is told: a request may just have
/// come in there, and is answered first.
const PATIENCE: Duration = Duration::from_secs(1);

/// All places.
pub struct Places {
    free: Arc<Semaphore>,
    resting: Mutex<Resting>,
}

#[derive(Default)]
struct Resting {
    /// How often any began to rest.
    count: u64,
    /// Those that rest, the longest first, and how they are told to leave.
    connections: BTreeMap<u64, CancellationToken>,
    /// Whether somebody waits for the next that begins to rest.
    wanted: bool,
}

/// The place of one connection, which rests at first.
pub struct Place {
    places: Arc<Places>,
    /// Under which number it rests; 0: it does not.
    number: AtomicU64,
    leave: CancellationToken,
    _held: OwnedSemaphorePermit,
}

/// A request that is answered. The connection rests again when this is dropped.
pub struct Busy(Arc<Place>);

impl Places {
    /// So many places.
    pub fn new(count: usize) -> Arc<Self> {
        Arc::new(Self { free: Arc::new(Semaphore::new(count)), resting: Mutex::default() })
    }

    /// A place for a new connection. Where none is free, the connection that rests longest is told to leave; where none
    /// rests, the first that does. None when there are no places any more. One caller at a time.
    pub async fn take(self: &Arc<Self>, clock: &Clock) -> Option<Arc<Place>> {
        let held = loop {
            if let Ok(held) = Arc::clone(&self.free).try_acquire_owned() {
                break held;
            }
            self.recall();
            let next = Arc::clone(&self.free).acquire_owned();
            if let Ok(held) = clock.timeout(PATIENCE, next).await {
                break held.ok()?;
            }
        };
        self.resting().wanted = false;
        let place = Place {
            places: Arc::clone(self),
            number: AtomicU64::new(0),
            leave: CancellationToken::new(),
            _held: held,
        };
        place.rest();
        Some(Arc::new(place))
    }

    fn recall(&self) {
        let mut resting = self.resting();
        match resting.connections.pop_first() {
            Some((_, leave)) => leave.cancel(),
            None => resting.wanted = true,
        }
    }

    fn resting(&self) -> MutexGuard<'_, Resting> {
        self.resting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Tells that a request is there. It is held until the answer's last byte is made.
    pub fn work(self: &Arc<Self>) -> Busy {
        self.leave_rest();
        Busy(Arc::clone(self))
    }

    /// Waits until the place is wanted by somebody else.
    pub async fn recalled(&self) {
        self.leave.cancelled().await;
    }

    fn rest(&self) {
        let mut resting = self.places.resting();
        if std::mem::take(&mut resting.wanted) {
            return self.leave.cancel();
        }
        resting.count += 1;
        let number = resting.count;
        resting.connections.insert(number, self.leave.clone());
        self.number.store(number, Ordering::Relaxed);
    }

    fn leave_rest(&self) {
        let number = self.number.swap(0, Ordering::Relaxed);
        self.places.resting().connections.remove(&number);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.leave_rest();
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.rest();
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_rests_longest_leaves_and_who_works_stays() {
        let (places, clock) = (Places::new(3), Clock::system());
        let left = |place: &Arc<Place>| place.leave.is_cancelled();
        let (first, second, third) = (
            places.take(&clock).await.unwrap(),
            places.take(&clock).await.unwrap(),
            places.take(&clock).await.unwrap(),
        );
        let _stream = second.work();
        // It works for a moment, and so rests shorter than the third.
        drop(first.work());
        let mut fourth = Box::pin(places.take(&clock));
        assert!((&mut fourth).now_or_never().is_none());
        assert!(left(&third) && !left(&first) && !left(&second));
        drop(third);
        let fourth = fourth.await.unwrap();
        // One that was told to leave and does not keeps nobody waiting for ever.
        let mut fifth = Box::pin(places.take(&clock));
        assert!((&mut fifth).now_or_never().is_none());
        assert!(left(&first) && !left(&fourth));
        clock.sleep(PATIENCE / 2).await;
        assert!((&mut fifth).now_or_never().is_none());
        assert!(!left(&fourth));
        clock.sleep(PATIENCE).await;
        assert!((&mut fifth).now_or_never().is_none());
        assert!(left(&fourth) && !left(&second));
        drop(fourth);
        fifth.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn where_all_work_the_first_to_rest_leaves() {
        let (places, clock) = (Places::new(1), Clock::system());
        let only = places.take(&clock).await.unwrap();
        let busy = only.work();
        let mut next = Box::pin(places.take(&clock));
        assert!((&mut next).now_or_never().is_none());
        assert!(!only.leave.is_cancelled());
        drop(busy);
        assert!(only.leave.is_cancelled());
        drop(only);
        let next = next.await.unwrap();
        drop(next.work());
        assert!(!next.leave.is_cancelled(), "nobody waits any more");
        assert_eq!(places.resting().connections.len(), 1);
        drop(next);
        assert_eq!(places.resting().connections.len(), 0);
    }
}
