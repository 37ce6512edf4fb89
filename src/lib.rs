//! dcos-registry: package registry, GitOps controller and command line for DC/OS and plain Mesos + Marathon.
//!
//! ```text
//!         manifest (git, directory, bucket)                 Marathon        registry storage
//!                     |                                         |                  |
//!  source        -> Snapshot                                    +--- observe ------+
//!                     |                                                  |
//!  manifest      -> Desired                                         Observation
//!                     |                                                  |
//!  inventory     ->   |                                                  |
//!                     v                                                  v
//!                  plan(desired, observed, inventory, limits)      pure, synchronous, deterministic
//!                     |
//!                   Plan -> text, JSON, web page, exit code
//!                     |
//!                  execute (no choices) -> Outcome -> inventory, status, metrics
//! ```
//!
//! The registry is the other half: a package directory becomes verified, content-addressed blobs and
//! one create-only catalog record, served to Cosmos (`/repo`) and to Mesos fetchers (`/resource`).
//!
//! Modules stand in the order in which data meets them. The rings (which module may use which) are
//! held by `tests/house.rs`.

pub mod model;

pub mod manifest;
pub mod render;
pub mod universe;

pub mod clock;
pub mod config;
pub mod retry;
pub mod telemetry;
pub mod workers;

pub mod bundle;
pub mod marathon;
pub mod source;
pub mod storage;

pub mod controller;
pub mod registry;

pub mod http;
pub mod marathon_local;

pub mod cli;
