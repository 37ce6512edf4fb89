//! One instance: storage opened on the shared store, and everything that is done with it at the same time.

use std::sync::Arc;
use std::time::Duration;

use futures::future::{BoxFuture, join_all};
use tokio_util::sync::CancellationToken;

use super::settings::Dice;
use super::store::SimStore;
use super::world::{Phase, World};
use super::{actors, lead};
use crate::clock::Clock;
use crate::model::ErrorClass;
use crate::storage::calls::Calls;
use crate::storage::gate::Gate;
use crate::storage::records::{Access, CommitError, LogError, Rejection};
use crate::storage::{Opening, Storage, StorageError};
use crate::telemetry::chain;

/// What its parts share.
pub(super) struct Instance {
    pub(super) world: Arc<World>,
    pub(super) who: usize,
    pub(super) clock: Clock,
    pub(super) dice: Dice,
    pub(super) author: String,
    pub(super) storage: Arc<Storage>,
    pub(super) stop: CancellationToken,
}

/// Opens storage as the program does, with the times of the run.
pub(super) async fn open(
    world: &Arc<World>,
    who: usize,
    clock: &Clock,
    dice: &Dice,
) -> Result<(Storage, String), StorageError> {
    let store = Arc::new(SimStore { world: Arc::clone(world), who });
    let calls = Calls { limit: world.settings.call, ..Calls::new(store, clock.clone()) };
    let (entropy, author) = (dice.entropy(), dice.entropy().nonce());
    let (lock_wait, call_timeout) = (Duration::ZERO, world.settings.call);
    let opening =
        Opening { instance: author.clone(), lock_wait, call_timeout, clock: clock.clone(), entropy };
    let (gate, retention) = (Gate::default(), world.settings.retention);
    let storage = Storage::assemble_kept(calls, Access::ReadWrite, gate, &opening, retention).await?;
    Ok((storage, author))
}

/// Lives until told to stop.
pub(super) async fn live(world: Arc<World>, who: usize, clock: Clock, dice: Dice) {
    let (storage, author) = loop {
        match open(&world, who, &clock, &dice).await {
            Ok(opened) => break opened,
            Err(error) if error.class() == ErrorClass::Retry => clock.sleep(Duration::from_millis(500)).await,
            Err(error) => return world.broke(who, &format!("cannot open: {}", chain(&error))),
        }
    };
    world.line(who, &format!("opened at {} and {}", storage.catalog.seq(), storage.control.seq()));
    let (storage, stop) = (Arc::new(storage), CancellationToken::new());
    let instance = Arc::new(Instance { world, who, clock, dice, author, storage, stop });
    let parts: Vec<BoxFuture<'static, ()>> = vec![
        Box::pin(actors::stops(Arc::clone(&instance))),
        Box::pin(actors::follows(Arc::clone(&instance))),
        Box::pin(actors::tends(Arc::clone(&instance))),
        Box::pin(lead::campaigns(Arc::clone(&instance))),
        Box::pin(actors::publishes(Arc::clone(&instance))),
        Box::pin(actors::publishes(Arc::clone(&instance))),
        Box::pin(actors::unpublishes(Arc::clone(&instance))),
        Box::pin(actors::reads(Arc::clone(&instance))),
        Box::pin(actors::asks(Arc::clone(&instance))),
    ];
    join_all(parts).await;
}

impl Instance {
    pub(super) fn stopped(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// Whether somebody still wants something of the registry.
    pub(super) fn busy(&self) -> bool {
        !self.stopped() && self.world.phase() <= Phase::Calm
    }

    /// Waits at least that long, at most twice as long.
    pub(super) async fn rest(&self, span: Duration) {
        let span = span + span.mul_f64(self.dice.share());
        tokio::select! {
            biased;
            () = self.stop.cancelled() => {}
            () = self.clock.sleep(span) => {}
        }
    }

    /// Waits as long as actors do.
    pub(super) async fn leisure(&self) {
        let span = self.world.settings.leisure.mul_f64(self.dice.share());
        self.rest(span.max(Duration::from_millis(20))).await;
    }

    pub(super) fn line(&self, what: &str) {
        self.world.line(self.who, what);
    }

    pub(super) fn broke(&self, what: &str) {
        self.world.broke(self.who, what);
    }

    /// A log may be out of reach, but not out of order.
    pub(super) fn log_error(&self, error: &LogError) {
        if error.class() != ErrorClass::Retry {
            self.broke(&format!("a log cannot be used: {}", chain(error)));
        }
    }

    /// Whether a commit may yet come to stand. An error that has no business here breaks the run.
    pub(super) fn unknown<R: Rejection>(&self, error: &CommitError<R>) -> bool {
        match error {
            CommitError::OutcomeUnknown { .. } | CommitError::Stalled { .. } | CommitError::Interrupted => {
                self.world.count("unknown");
                true
            }
            CommitError::Replay(error) => {
                self.log_error(error);
                false
            }
            CommitError::Rejected(_) | CommitError::Contended { .. } => false,
            CommitError::TooLarge { .. }
            | CommitError::Shut(_)
            | CommitError::Encode(_)
            | CommitError::Newer(_)
            | CommitError::ReadOnly => {
                self.broke(&format!("a commit cannot fail like this: {}", chain(error)));
                false
            }
        }
    }
}
