//! The right to act: one instance of many, for as long as it can prove it.
//!
//! The lease is the control log. Whoever holds it commits a record at least every few seconds; whoever would like
//! to hold it reads along, and takes it when no record of its holder was *received* for the whole ttl. Both compete
//! for the same next number, so the store decides, and no wall clock takes part: each side measures on its own boot
//! clock. The holder counts from *before* he first sent the record that proves him alive, the others from when they
//! received it; so he stops first, as long as no clock runs faster than another by the ratio of ttl and deadline.
//!
//! What the lease cannot do: call back a request that is already in the socket. So everything that is done under it
//! is short, and asks [`Tenure::check`] just before.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Storage;
use super::control::{Acquired, ControlOperation, ControlRejection};
use super::gate::Writing;
use super::records::{CommitError, Committed};
use crate::clock::{Clock, Entropy};
use crate::model::{Epoch, ErrorClass};
use crate::telemetry::{Trouble, chain};

/// How soon a renewal that failed is tried again; at most.
const RETRY: Duration = Duration::from_millis(250);

/// The times of a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseTimes {
    /// How long its holder must have been silent before somebody else takes it.
    pub ttl: Duration,
    /// How long a record lets its holder act, from before it was sent.
    pub deadline: Duration,
    /// How often it is renewed when nothing else is written.
    pub renew: Duration,
    /// How often the others look.
    pub poll: Duration,
}

impl Default for LeaseTimes {
    fn default() -> Self {
        Self {
            ttl: Duration::from_secs(12),
            deadline: Duration::from_secs(8),
            renew: Duration::from_secs(4),
            poll: Duration::from_secs(2),
        }
    }
}

/// How often the holder of a local directory says that he is alive: its lock excludes everybody else already.
const EXCLUSIVE_RENEW: Duration = Duration::from_secs(20);

/// How often an unreadable log in a local directory is read before it is given up.
const EXCLUSIVE_TRIES: u32 = 2;

/// Who wants to act.
#[derive(Clone)]
pub struct Candidate {
    /// Where the lease is.
    pub storage: Arc<Storage>,
    /// Its times.
    pub times: LeaseTimes,
    /// Time.
    pub clock: Clock,
    /// Randomness, so that several do not look at the same moments.
    pub entropy: Entropy,
}

impl Candidate {
    /// Waits until this instance may act; none when told to stop before.
    ///
    /// # Errors
    /// When it may not write, which waiting does not change.
    pub async fn campaign(
        &self,
        stop: &CancellationToken,
    ) -> Result<Option<Tenure>, CommitError<ControlRejection>> {
        let mut heard = (Epoch::default(), 0);
        let mut heard_at = self.clock.boot();
        let mut failures = 0;
        let mut trouble = Trouble::new("the control log cannot be read");
        while !stop.is_cancelled() {
            match self.storage.control.follow().await {
                Ok(_) => {
                    trouble.over();
                    let state = self.storage.control.state();
                    let sign = (state.epoch, state.signed);
                    if sign != heard {
                        (heard, heard_at) = (sign, self.clock.boot());
                    }
                    let silence = self.clock.boot().saturating_sub(heard_at);
                    // Where the store does not decide who was first, silence must stand in for it.
                    let free = silence >= self.patience()
                        || (!self.storage.is_shared_on_trust()
                            && (state.holder.is_none() || self.storage.is_exclusive()));
                    // Without a word on whether the store can be shared nothing is written at all.
                    if free && self.storage.writing() != Writing::Unproven {
                        if let Some(tenure) = self.take(sign).await? {
                            return Ok(Some(tenure));
                        }
                        // Somebody was faster, or the store does not answer: he, or it, gets the whole time.
                        heard_at = self.clock.boot();
                    }
                }
                // Nobody else can mend what lies in a directory of ours.
                Err(error) if self.storage.is_exclusive() && failures >= EXCLUSIVE_TRIES => {
                    return Err(CommitError::Replay(Arc::new(error)));
                }
                Err(error) => {
                    failures += 1;
                    trouble.again(&error);
                }
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = self.clock.sleep(self.pause(heard_at)) => {}
            }
        }
        Ok(None)
    }

    /// Takes the lease whose holder was last heard of so.
    async fn take(
        &self,
        (last, signed): (Epoch, u64),
    ) -> Result<Option<Tenure>, CommitError<ControlRejection>> {
        match self.storage.control.acquire_after(last, signed).await {
            Ok(acquired) => Ok(Some(Tenure::new(self, acquired))),
            // In a directory of ours there is nobody else who was faster or who will mend it; but somebody may make room.
            Err(error)
                if (self.storage.is_exclusive() && !error.is_disk_full())
                    || matches!(error.class(), ErrorClass::Stall | ErrorClass::Fatal) =>
            {
                Err(error)
            }
            // Somebody was faster, which is how it should be.
            Err(error @ CommitError::Rejected(_)) => {
                tracing::info!(error = chain(&error), "the lease was not taken");
                Ok(None)
            }
            Err(error) => {
                tracing::warn!(error = chain(&error), "the lease could not be taken");
                Ok(None)
            }
        }
    }

    /// Takes the lease from whoever holds it, without a deadline: for tests of what is done under it.
    #[cfg(test)]
    pub(crate) async fn seize(storage: &Arc<Storage>, clock: &Clock) -> Tenure {
        let entropy = Entropy::seeded(0);
        let (storage, clock) = (Arc::clone(storage), clock.clone());
        let candidate = Self { storage, times: LeaseTimes::default(), clock, entropy };
        let epoch = candidate.storage.control.acquire().await.unwrap();
        let tenure = Tenure::new(&candidate, Acquired { epoch, begun: Duration::ZERO });
        *tenure.valid_until() = None;
        tenure
    }

    /// How long the holder must have been silent.
    fn patience(&self) -> Duration {
        if self.storage.is_shared_on_trust() { 2 * self.times.ttl } else { self.times.ttl }
    }

    /// The time to the next look: the poll interval, give or take an eighth, or less if patience ends before. A look
    /// that came a whole interval after that would be time in which nobody leads.
    fn pause(&self, heard_at: Duration) -> Duration {
        let eighth = u64::try_from(self.times.poll.as_micros() / 8).unwrap_or(u64::MAX).max(1);
        let poll = self.times.poll.saturating_sub(Duration::from_micros(eighth))
            + Duration::from_micros(self.entropy.next() % (2 * eighth));
        let left = (heard_at + self.patience()).saturating_sub(self.clock.boot());
        if left.is_zero() { poll } else { poll.min(left) }
    }
}

/// A lease that this instance holds, or held. Cheap to clone.
#[derive(Clone)]
pub struct Tenure(Arc<Inner>);

struct Inner {
    storage: Arc<Storage>,
    clock: Clock,
    times: LeaseTimes,
    epoch: Epoch,
    /// None where nothing but the end of the process ends it.
    valid_until: Mutex<Option<Duration>>,
    ended: CancellationToken,
}

/// A lease that does not last long enough for what is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("lease {epoch} has {left:?} left, {needed:?} are needed")]
pub struct LeaseExpired {
    /// Which lease.
    pub epoch: Epoch,
    /// How long it still lets its holder act.
    pub left: Duration,
    /// How long the work may take.
    pub needed: Duration,
}

impl LeaseExpired {
    /// What to do about it.
    #[must_use]
    pub fn class(&self) -> ErrorClass {
        ErrorClass::Wait
    }

    /// A stable word for labels.
    #[must_use]
    pub fn label(&self) -> &'static str {
        "LeaseExpired"
    }
}

impl Tenure {
    fn new(candidate: &Candidate, acquired: Acquired) -> Self {
        let Candidate { storage, times, clock, .. } = candidate.clone();
        let (mut times, Acquired { epoch, begun }) = (times, acquired);
        let valid_until = if storage.is_exclusive() {
            times.renew = EXCLUSIVE_RENEW;
            None
        } else {
            Some(begun + times.deadline)
        };
        storage.gate.set_leading(true);
        let (valid_until, ended) = (Mutex::new(valid_until), CancellationToken::new());
        Self(Arc::new(Inner { storage, clock, times, epoch, valid_until, ended }))
    }

    /// The lease's number.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.0.epoch
    }

    /// Is cancelled when the lease is over, for whatever reason.
    #[must_use]
    pub fn ended(&self) -> CancellationToken {
        self.0.ended.clone()
    }

    /// Whether work that takes up to `needed` may be begun now. To be asked just before each side effect.
    ///
    /// # Errors
    /// [`LeaseExpired`].
    pub fn check(&self, needed: Duration) -> Result<(), LeaseExpired> {
        let left = self.left();
        if !self.0.ended.is_cancelled() && left.is_none_or(|left| left > needed) {
            Ok(())
        } else {
            Err(LeaseExpired { epoch: self.0.epoch, left: left.unwrap_or_default(), needed })
        }
    }

    /// Writes operations under the lease as one record, all or none. The record renews it.
    ///
    /// # Errors
    /// See [`super::records::Log::commit`]; [`ControlRejection::LeaseLost`], also when the time is up.
    pub async fn commit(
        &self,
        operations: Vec<ControlOperation>,
    ) -> Result<Committed, CommitError<ControlRejection>> {
        let epoch = self.0.epoch;
        let lost = || CommitError::Rejected(ControlRejection::LeaseLost { held: epoch, newest: epoch });
        if self.check(Duration::ZERO).is_err() {
            self.0.ended.cancel();
            return Err(lost());
        }
        let commit = self.0.storage.control.commit(epoch, operations);
        let committed = match self.left() {
            None => commit.await,
            Some(left) => match self.0.clock.timeout(left, commit).await {
                Ok(committed) => committed,
                Err(_) => Err(lost()),
            },
        };
        match &committed {
            Ok(committed) => self.extend(committed.begun),
            Err(CommitError::Rejected(ControlRejection::LeaseLost { .. })) => self.0.ended.cancel(),
            Err(_) => {}
        }
        committed
    }

    /// Keeps the lease until it is lost or ended; the holder runs this beside his work.
    pub async fn keep(&self) {
        let Inner { storage, clock, times, epoch, ended, .. } = &*self.0;
        let mut pause = times.renew;
        let mut trouble = Trouble::new("the lease was not renewed");
        loop {
            tokio::select! {
                biased;
                () = ended.cancelled() => return,
                () = clock.sleep(pause) => {}
            }
            if storage.check().is_err() {
                // In a directory that is gone nothing may be written: it would look like storage.
                continue;
            }
            pause = match self.commit(vec![ControlOperation::Renewed { epoch: *epoch }]).await {
                Ok(_) => {
                    trouble.over();
                    times.renew
                }
                Err(error) => {
                    trouble.again(&error);
                    if self.check(Duration::ZERO).is_err() {
                        ended.cancel();
                        return;
                    }
                    RETRY.min(times.renew / 4)
                }
            };
        }
    }

    /// Ends the work under the lease and gives it back, so that the next holder need not wait.
    ///
    /// # Errors
    /// When the record that says so could not be written; the next holder waits for the ttl then.
    pub async fn release(&self) -> Result<(), CommitError<ControlRejection>> {
        let valid = self.check(Duration::ZERO).is_ok();
        self.0.ended.cancel();
        self.0.storage.gate.set_leading(false);
        let there = self.0.storage.check().is_ok();
        if valid && there { self.0.storage.control.release(self.0.epoch).await.map(drop) } else { Ok(()) }
    }

    /// How long it still lets its holder act; none where there is no end.
    fn left(&self) -> Option<Duration> {
        let valid_until = *self.valid_until();
        valid_until.map(|until| until.saturating_sub(self.0.clock.boot()))
    }

    fn extend(&self, begun: Duration) {
        let mut valid_until = self.valid_until();
        if let Some(until) = &mut *valid_until {
            *until = (*until).max(begun + self.0.times.deadline);
        }
    }

    fn valid_until(&self) -> std::sync::MutexGuard<'_, Option<Duration>> {
        self.0.valid_until.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
