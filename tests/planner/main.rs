//! The planner as a whole: golden cases a person can read, and laws that hold for every input.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod explained;
mod golden;
mod laws;
mod ownership;
mod packages;
mod recreate;
mod removals;
mod resumed;
mod sdk;
mod steady;
mod warnings;
mod world;
