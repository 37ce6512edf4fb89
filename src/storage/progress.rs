//! How far long work has come, for whoever watches. Work says it, and does not know whether anybody does.

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Bytes.
    Bytes,
    /// Objects in the store.
    Objects,
    /// Records of a log.
    Records,
}

/// Somebody who watches. Called from the work itself, so it must be quick.
pub trait Progress: Send + Sync {
    /// A part of the work begins; it ends when the next begins. The total is none where it is not known.
    fn begin(&self, part: &'static str, total: Option<u64>, unit: Unit);

    /// So much more of the part is done.
    fn advance(&self, by: u64);
}

/// Nobody watches.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unwatched;

impl Progress for Unwatched {
    fn begin(&self, _part: &'static str, _total: Option<u64>, _unit: Unit) {}

    fn advance(&self, _by: u64) {}
}
