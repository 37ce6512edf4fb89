//! Storage from outside: what every store must do, and the double of an S3 server that shows what stores do wrong.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod conformance;
mod double;
mod layers;
#[path = "../support/s3_double.rs"]
mod s3_double;
mod stores;
