//! `up` as a user runs it: the real program, real tasks, a copy of the quickstart that is edited while it runs.
//!
//! Runs the program of this build; `DCOS_REGISTRY_PROGRAM` names another, such as the release build.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod daemon;
mod guarding;
mod healing;
#[path = "../support/program.rs"]
mod program;
mod refusing;
mod serving;
mod stopping;
mod surviving;
mod uploading;
