//! Why a control record is refused.

use crate::model::{Epoch, ErrorClass};
use crate::storage::records::Rejection;

/// Why a control record was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ControlRejection {
    /// The writer does not hold the newest lease.
    #[error("lease {held} is no longer in force, {}", if held == newest {
        "it was not renewed in time".to_owned()
    } else {
        format!("the newest is {newest}")
    })]
    LeaseLost {
        /// The lease that the writer believes to hold.
        held: Epoch,
        /// The newest one.
        newest: Epoch,
    },
    /// Somebody else took the lease of that number.
    #[error("lease {wanted} cannot be taken, the newest is {newest}")]
    EpochTaken {
        /// The number wanted.
        wanted: Epoch,
        /// The newest one.
        newest: Epoch,
    },
    /// The holder of the lease gave a sign of life since it was decided to take it over.
    #[error("the holder was heard of in record {signed}, after record {after}; he is alive")]
    HolderAlive {
        /// The last sign of life that whoever wanted to take over had heard.
        after: u64,
        /// The last one.
        signed: u64,
    },
    /// Whoever leads does not keep up, or nobody leads.
    #[error("{waiting} requests wait for whoever leads; is there a leader?")]
    TooManyRequests {
        /// How many.
        waiting: usize,
    },
    /// A request of that name is there.
    #[error("a request {id} was made before")]
    AskedBefore {
        /// The name.
        id: String,
    },
}

impl Rejection for ControlRejection {
    fn class(&self) -> ErrorClass {
        ErrorClass::Wait
    }

    fn label(&self) -> &'static str {
        match self {
            Self::LeaseLost { .. } => "LeaseLost",
            Self::EpochTaken { .. } => "EpochTaken",
            Self::HolderAlive { .. } => "HolderAlive",
            Self::TooManyRequests { .. } => "TooManyRequests",
            Self::AskedBefore { .. } => "AskedBefore",
        }
    }
}
