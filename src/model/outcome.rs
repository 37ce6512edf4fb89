//! How an action ended.

use super::Action;

/// What an error asks for. Every error enum of the library has a `class()` of this type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ErrorClass {
    /// Try again with growing delays.
    Retry,
    /// Somebody else must finish first; look again, do not count it as a failure.
    Wait,
    /// Trying again is useless until the input changes.
    Stall,
    /// The process cannot go on.
    Fatal,
}

impl ErrorClass {
    /// The class as a metric label.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Wait => "wait",
            Self::Stall => "stall",
            Self::Fatal => "fatal",
        }
    }
}

/// The end of one action.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// What was to be done.
    pub action: Action,
    /// How it ended.
    pub result: OutcomeResult,
}

/// How it ended.
#[derive(Debug, Clone, PartialEq)]
pub enum OutcomeResult {
    /// Written and acknowledged.
    Done,
    /// Not started, because its precondition no longer held or an earlier action of the plan did not end well.
    Skipped(String),
    /// Not tried: its last try failed as told here, and it is too early for another.
    Held {
        /// What to do about it.
        class: ErrorClass,
        /// A stable word for labels and conditions.
        reason: &'static str,
        /// The error with its causes.
        message: String,
    },
    /// Tried and failed.
    Failed {
        /// What to do about it.
        class: ErrorClass,
        /// A stable word for labels and conditions.
        reason: &'static str,
        /// The error with its causes.
        message: String,
    },
}

impl OutcomeResult {
    /// The result as a metric label.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Skipped(_) => "skipped",
            Self::Held { .. } => "held",
            Self::Failed { .. } => "failed",
        }
    }
}
