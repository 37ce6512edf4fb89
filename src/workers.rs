//! The one place where background work is started: every worker has a name, is counted, and is drained.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::Clock;

/// A group of workers with one stop signal. Cheap to clone.
#[derive(Clone, Default)]
pub struct Workers {
    tracker: TaskTracker,
    stop: CancellationToken,
    running: Arc<Mutex<BTreeMap<&'static str, usize>>>,
}

impl Workers {
    /// A group with nothing in it.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The signal that tells workers to finish what they do and end.
    #[must_use]
    pub fn stop_signal(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Starts a worker. It must watch [`Workers::stop_signal`] unless it ends by itself soon.
    pub fn spawn<F>(&self, name: &'static str, work: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let counted = Counted::new(name, Arc::clone(&self.running));
        self.tracker.spawn(async move {
            let _counted = counted;
            work.await;
        });
    }

    /// Starts a worker on a thread of its own, for what blocks and must not wait for others that do. It must end by itself
    /// when those end that it works for.
    ///
    /// # Errors
    /// When there can be no more threads.
    pub fn spawn_thread(
        &self,
        name: &'static str,
        work: impl FnOnce() + Send + 'static,
    ) -> std::io::Result<()> {
        let counted = (Counted::new(name, Arc::clone(&self.running)), self.tracker.token());
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            let _counted = counted;
            work();
        });
        thread.map(drop)
    }

    /// How many workers of each name are running.
    #[must_use]
    pub fn running(&self) -> BTreeMap<&'static str, usize> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Tells all workers to stop and waits for their end. Returns the names of those that did not end in time.
    pub async fn drain(&self, clock: &Clock, limit: Duration) -> Vec<&'static str> {
        self.stop.cancel();
        self.tracker.close();
        if clock.timeout(limit, self.tracker.wait()).await.is_ok() {
            return Vec::new();
        }
        self.running().into_keys().collect()
    }
}

/// Counts a worker while it lives, also when it panics.
struct Counted {
    name: &'static str,
    running: Arc<Mutex<BTreeMap<&'static str, usize>>>,
}

impl Counted {
    fn new(name: &'static str, running: Arc<Mutex<BTreeMap<&'static str, usize>>>) -> Self {
        *running.lock().unwrap_or_else(PoisonError::into_inner).entry(name).or_default() += 1;
        Self { name, running }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = running.get_mut(self.name) {
            *count -= 1;
            if *count == 0 {
                running.remove(self.name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn threads_are_counted_and_waited_for() {
        let workers = Workers::new();
        let (release, wait) = std::sync::mpsc::channel::<()>();
        let work = move || assert!(wait.recv().is_err());
        workers.spawn_thread("blocking", work).unwrap();
        assert_eq!(workers.running().into_iter().collect::<Vec<_>>(), [("blocking", 1)]);
        assert_eq!(workers.drain(&Clock::system(), Duration::ZERO).await, ["blocking"]);
        drop(release);
        assert!(workers.drain(&Clock::system(), Duration::from_secs(30)).await.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn draining_waits_and_names_what_does_not_end() {
        let workers = Workers::new();
        let stop = workers.stop_signal();
        workers.spawn("obedient", async move { stop.cancelled().await });
        workers.spawn("deaf", std::future::pending());
        assert_eq!(workers.running().len(), 2);
        let left = workers.drain(&Clock::system(), Duration::from_secs(10)).await;
        assert_eq!(left, ["deaf"]);
    }
}
