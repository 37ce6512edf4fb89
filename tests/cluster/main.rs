//! `run` under violence: the real program killed, frozen, cut off, misled, on directories and on buckets, and what
//! must hold afterwards: nothing that was acknowledged is lost, nothing half visible, no wrong byte, one leader.
//!
//! Runs the program of this build; `DCOS_REGISTRY_PROGRAM` names another, such as the release build. How much is
//! done is said by `knobs.rs`; figures are printed (`--nocapture` shows them).

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod bucket;
mod bundle;
mod directory;
mod frozen;
mod full;
mod history;
mod instance;
mod knobs;
mod ledger;
mod load;
mod marathon;

mod damage;
mod prepared;
#[path = "../support/program.rs"]
mod program;
mod refusals;
#[path = "../support/s3_double.rs"]
mod s3_double;
mod web;
mod witness;
mod writers;
