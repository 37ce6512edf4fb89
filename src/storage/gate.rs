//! Whether this instance may write, and why not.
//!
//! Several instances may write to one store only if it decides who was first, and that is found out by trying
//! ([`super::probe`]). Reading starts at once; writing waits for the probe. A store that fails it is written to by
//! nobody, unless the operator gives his word that there is one writer only. Then who leads writes, reads back
//! what it wrote, and everything says so in red.

use std::sync::{Arc, PoisonError, RwLock};

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
    /// Another instance writes, or none.
    #[error("under unsafeSingleWriter only the instance that leads writes, and this one does not")]
    NotLeading,
}

/// The one answer for all parts of a storage. Clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct Gate(Arc<RwLock<Writing>>);

impl Gate {
    pub(super) fn new(writing: Writing) -> Self {
        Self(Arc::new(RwLock::new(writing)))
    }

    pub(super) fn get(&self) -> Writing {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set(&self, writing: Writing) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = writing;
    }

    /// Notes who leads, where that matters.
    pub(super) fn set_leading(&self, now: bool) {
        if let Writing::SingleWriter { leading, .. } =
            &mut *self.0.write().unwrap_or_else(PoisonError::into_inner)
        {
            *leading = now;
        }
    }

    /// Whether a record may be written; `by_leader_only` where the log is not the one that decides who leads.
    pub(super) fn check(&self, by_leader_only: bool) -> Result<(), Shut> {
        match &*self.0.read().unwrap_or_else(PoisonError::into_inner) {
            Writing::SingleWriter { leading: false, .. } if by_leader_only => Err(Shut::NotLeading),
            Writing::Open | Writing::SingleWriter { .. } => Ok(()),
            Writing::Unproven => Err(Shut::Unproven),
            Writing::Refused(reason) => Err(Shut::Refused(reason.clone())),
        }
    }

    /// Whether the store's word that a record was created must be checked.
    pub(super) fn reads_back(&self) -> bool {
        matches!(&*self.0.read().unwrap_or_else(PoisonError::into_inner), Writing::SingleWriter { .. })
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
}
