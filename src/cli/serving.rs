//! What `up` and `run` have in common: the workers around one storage, and their end.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::clock::Clock;
use crate::controller::leader::Leader;
use crate::storage::Storage;
use crate::telemetry::{Trouble, chain};
use crate::workers::Workers;

/// How often the storage is looked after.
const TEND_PAUSE: Duration = Duration::from_secs(2);

/// Starts what looks after the storage: whether it may be written to, what others published, snapshots and hints.
pub fn tend(storage: &Arc<Storage>, poll: Duration, clock: &Clock, workers: &Workers) {
    let (admitted, stop) = (Arc::clone(storage), workers.stop_signal());
    workers.spawn("probe", async move {
        tokio::select! {
            () = stop.cancelled() => {}
            () = admitted.admit() => {}
        }
    });
    if !storage.is_exclusive() {
        let (followed, stop, clock) = (Arc::clone(storage), workers.stop_signal(), clock.clone());
        workers.spawn("follow", async move {
            let mut trouble = Trouble::new("the catalog cannot be read; what is known is served");
            while !stop.is_cancelled() {
                trouble.heed(&followed.catalog.follow().await);
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = clock.sleep(poll) => {}
                }
            }
        });
    }
    let (swept, stop) = (Arc::clone(storage), workers.stop_signal());
    workers.spawn("sweep", async move {
        tokio::select! {
            () = stop.cancelled() => {}
            ended = swept.sweep() => if let Err(error) = ended {
                let error = chain(&error);
                tracing::warn!(error, "what a crash may have left half written was not looked for to the end");
            }
        }
    });
    let (tended, stop, clock) = (Arc::clone(storage), workers.stop_signal(), clock.clone());
    workers.spawn("tend", async move {
        let mut catalog = Trouble::new("a snapshot or hint of the catalog was not written");
        let mut control = Trouble::new("a snapshot or hint of the control log was not written");
        while !stop.is_cancelled() {
            // In a directory that is gone nothing may be written: it would look like storage.
            if tended.check().is_ok() {
                catalog.heed(&tended.catalog.tend().await);
                control.heed(&tended.control.tend().await);
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = clock.sleep(TEND_PAUSE) => {}
            }
        }
    });
}

/// Starts the candidate. What comes out says why it could not go on, should that happen.
pub fn lead(leader: &Arc<Leader>, workers: &Workers) -> oneshot::Receiver<String> {
    let (leader, stop) = (Arc::clone(leader), workers.stop_signal());
    let (failed, failure) = oneshot::channel();
    workers.spawn("leader", async move {
        if let Err(error) = Box::pin(leader.run(stop)).await {
            // Nobody listens any more while everything stops.
            let _ = failed.send(chain(&error));
        }
    });
    failure
}
