//! Marathon seen from outside: the form of its apps, what differs, how they fare, and the client.
//!
//! `normalize`, `profile`, `diff`, `labels`, `health`, `follow`, `model`, `rewrite` and `sdk` are pure; only `client` talks. The facts behind every rule
//! here (partial PUTs, restarts by labels, ambiguous status codes) come from the sources of
//! mesosphere/marathon; each file names those that it rests on.

pub mod client;
pub mod diff;
pub mod error;
pub mod follow;
pub mod health;
pub mod labels;
pub mod normalize;
pub mod profile;
pub mod rewrite;
pub mod room;
pub mod sdk;

pub use crate::model::marathon as model;
pub use client::{AuthError, Client, Timeouts, Written, events, install_tls_provider};
pub use error::MarathonError;

#[cfg(test)]
mod tests;
