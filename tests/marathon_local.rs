//! The local Marathon from outside: its API over HTTP, with real processes behind it.

#![expect(clippy::unwrap_used, reason = "helpers of tests may fail like tests")]

#[path = "marathon_local/backoff.rs"]
mod backoff;
#[path = "marathon_local/command.rs"]
mod command;
#[path = "marathon_local/events.rs"]
mod events;
#[path = "marathon_local/faults.rs"]
mod faults;
#[path = "marathon_local/groups.rs"]
mod groups;
#[path = "marathon_local/harness.rs"]
mod harness;
#[path = "marathon_local/health.rs"]
mod health;
#[path = "marathon_local/lifecycle.rs"]
mod lifecycle;
#[path = "marathon_local/mounts.rs"]
mod mounts;
#[path = "marathon_local/placement.rs"]
mod placement;
#[path = "marathon_local/pods.rs"]
mod pods;
#[path = "marathon_local/processes.rs"]
mod processes;
#[path = "marathon_local/refusals.rs"]
mod refusals;
#[path = "marathon_local/simulated.rs"]
mod simulated;
#[path = "support/simulated_marathon.rs"]
mod simulated_marathon;
#[path = "marathon_local/steps.rs"]
mod steps;
#[path = "marathon_local/surface.rs"]
mod surface;
#[path = "marathon_local/told.rs"]
mod told;
#[path = "marathon_local/updates.rs"]
mod updates;
#[path = "marathon_local/virtual_time.rs"]
mod virtual_time;
