//! Whether this instance may write, and why not.
//!
//! Several instances may write to one store only if it decides who was first, and that is found out by trying
//! ([`super::probe`]). Reading starts at once; writing waits for the probe. A store that fails it is written to by
//! nobody, unless the operator gives his word that there is one writer only. Then who leads writes, reads back
//! what it wrote, and everything says so in red.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::clock::Clock;

/// How long a write waits for the word of the probe. At a start it mostly comes at once.
const PATIENCE: Duration = Duration::from_secs(10);

/// Whether writing is possible.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Writing {
    /// It is.
    #[default]
    Open,
    /// The store has not been probed yet.
    Unproven,
    /// The store does not keep what is needed, for this reason.
    Refused(String),
    /// The store lets nobody write, for this reason.
    ReadOnly(String),
    /// The store does not keep what is needed, and the operator's word stands in for it.
    SingleWriter {
        /// What the store does not keep.
        reason: String,
        /// Whether this instance leads, and so is the one that writes.
        leading: bool,
    },
}

impl Writing {
    /// A stable word for labels.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Unproven => "unproven",
            Self::Refused(_) => "refused",
            Self::ReadOnly(_) => "readOnly",
            Self::SingleWriter { .. } => "singleWriter",
        }
    }
}

/// Why nothing was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Shut {
    /// It will be known soon.
    #[error("it is not known yet whether the store can be shared; it is being probed, try again")]
    Unproven,
    /// It will stay so.
    #[error(
        "the store cannot be shared by several writers ({0}); use another one, or promise with unsafeSingleWriter \
         that only one instance runs"
    )]
    Refused(String),
    /// It will stay so until the next start.
    #[error("the storage is read-only ({0}); make it writable and start again")]
    ReadOnly(String),
    /// Another instance writes, or none.
    #[error("under unsafeSingleWriter only the instance that leads writes, and this one does not")]
    NotLeading,
}

/// The one answer for all parts of a storage. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct Gate(Arc<watch::Sender<Writing>>);

impl Default for Gate {
    fn default() -> Self {
        Self::new(Writing::default())
    }
}

impl Gate {
    pub(super) fn new(writing: Writing) -> Self {
        Self(Arc::new(watch::Sender::new(writing)))
    }

    pub(super) fn get(&self) -> Writing {
        self.0.borrow().clone()
    }

    pub(super) fn set(&self, writing: Writing) {
        self.0.send_replace(writing);
    }

    /// Notes who leads, where that matters.
    pub(super) fn set_leading(&self, now: bool) {
        self.0.send_modify(|writing| {
            if let Writing::SingleWriter { leading, .. } = writing {
                *leading = now;
            }
        });
    }

    /// Waits for the word of the probe, for a while.
    pub(super) async fn settled(&self, clock: &Clock) {
        if *self.0.borrow() == Writing::Unproven {
            let mut writing = self.0.subscribe();
            // Whoever asks afterwards finds out how it ended.
            let _ = clock.timeout(PATIENCE, writing.wait_for(|now| *now != Writing::Unproven)).await;
        }
    }

    /// Whether a record may be written; `by_leader_only` where the log is not the one that decides who leads.
    pub(super) fn check(&self, by_leader_only: bool) -> Result<(), Shut> {
        match &*self.0.borrow() {
            Writing::SingleWriter { leading: false, .. } if by_leader_only => Err(Shut::NotLeading),
            Writing::Open | Writing::SingleWriter { .. } => Ok(()),
            Writing::Unproven => Err(Shut::Unproven),
            Writing::Refused(reason) => Err(Shut::Refused(reason.clone())),
            Writing::ReadOnly(reason) => Err(Shut::ReadOnly(reason.clone())),
        }
    }

    /// Whether the store's word that a record was created must be checked.
    pub(super) fn reads_back(&self) -> bool {
        matches!(&*self.0.borrow(), Writing::SingleWriter { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_leader_writes_on_the_operators_word() {
        let gate = Gate::new(Writing::SingleWriter { reason: "no".into(), leading: false });
        assert_eq!((gate.check(true), gate.check(false)), (Err(Shut::NotLeading), Ok(())));
        gate.set_leading(true);
        assert_eq!((gate.check(true), gate.reads_back()), (Ok(()), true));
        let open = Gate::default();
        open.set_leading(false);
        assert_eq!((open.check(true), open.reads_back()), (Ok(()), false));
        assert_eq!(Gate::new(Writing::Unproven).check(false), Err(Shut::Unproven));
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_writes_waits_for_the_probe_but_not_for_ever() {
        let (gate, clock) = (Gate::new(Writing::Unproven), Clock::simulated(1.0, Duration::ZERO));
        gate.settled(&clock).await;
        assert_eq!((clock.boot(), gate.check(false)), (PATIENCE, Err(Shut::Unproven)));
        let proven = async {
            clock.sleep(Duration::from_secs(1)).await;
            gate.set(Writing::Open);
        };
        futures::join!(gate.settled(&clock), proven);
        assert_eq!((clock.boot(), gate.check(false)), (PATIENCE + Duration::from_secs(1), Ok(())));
    }
}
