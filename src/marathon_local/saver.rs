//! Stores the state on a thread of its own.
//!
//! The runtime's threads for work that blocks are shared: with whatever tasks fetch, among other things, and a file system
//! that does not answer can hold them all. Every change waits until it is stored, so storing must not wait for them.

use std::io;

use tokio::sync::{mpsc, oneshot};
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::store::Store;
use crate::workers::Workers;

/// The way to the thread, if anything is to be kept. The thread ends when this is dropped.
pub struct Saver(Option<mpsc::Sender<Job>>);

struct Job {
    bytes: Vec<u8>,
    done: oneshot::Sender<Result<(), String>>,
}

impl Saver {
    /// Starts the thread. It holds the token until it has let go of the store.
    ///
    /// # Errors
    /// When there can be no more threads.
    pub fn start(store: Store, workers: &Workers, running: TaskTrackerToken) -> io::Result<Self> {
        if !store.keeps() {
            return Ok(Self(None));
        }
        // There is one caller, who waits.
        let (jobs, mut waiting) = mpsc::channel::<Job>(1);
        workers.spawn_thread("marathon-store", move || {
            while let Some(Job { bytes, done }) = waiting.blocking_recv() {
                let saved = store.save(&bytes).map_err(|e| crate::telemetry::chain(&e));
                // Who waited may have been told to drop everything.
                let _ = done.send(saved);
            }
            drop(store);
            drop(running);
        })?;
        Ok(Self(Some(jobs)))
    }

    /// Whether there is anything to be written at all.
    pub fn keeps(&self) -> bool {
        self.0.is_some()
    }

    /// Replaces what is stored. Waits until it is safe on disk.
    ///
    /// # Errors
    /// Why it is not.
    pub async fn save(&self, bytes: Vec<u8>) -> Result<(), String> {
        let Some(jobs) = &self.0 else { return Ok(()) };
        let (done, saved) = oneshot::channel();
        let ended = || "the thread that stores the state has ended".to_owned();
        jobs.send(Job { bytes, done }).await.map_err(|_| ended())?;
        saved.await.map_err(|_| ended())?
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio_util::task::TaskTracker;

    use super::super::state::State;
    use super::super::store;
    use super::*;
    use crate::clock::Clock;

    #[test]
    fn the_state_is_stored_while_all_other_threads_are_held_up() {
        let folder = tempfile::tempdir().unwrap();
        let (workers, running, clock) = (Workers::new(), TaskTracker::new(), Clock::system());
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().max_blocking_threads(1).build();
        runtime.unwrap().block_on(async {
            let (release, held_up) = std::sync::mpsc::channel::<()>();
            let blocked = tokio::task::spawn_blocking(move || held_up.recv().is_ok());
            let store = Store::open(folder.path()).unwrap();
            let saver = Saver::start(store, &workers, running.token()).unwrap();
            let state = State { framework_id: "f".into(), ..State::default() };
            let saving = saver.save(store::encode(&state).unwrap());
            let result = clock.timeout(Duration::from_secs(30), saving).await;
            drop(release);
            blocked.await.unwrap();
            result.unwrap().unwrap();
            assert_eq!(store::read(folder.path()).unwrap(), Some(state));
            drop(saver);
            running.close();
            clock.timeout(Duration::from_secs(30), running.wait()).await.unwrap();
            Store::open(folder.path()).unwrap();
        });
    }

    #[tokio::test]
    async fn where_nothing_is_kept_there_is_no_thread() {
        let (workers, running) = (Workers::new(), TaskTracker::new());
        let saver = Saver::start(Store::nowhere(), &workers, running.token()).unwrap();
        assert!(!saver.keeps() && workers.running().is_empty());
        saver.save(Vec::new()).await.unwrap();
    }
}
