//! Storage from outside: what every store must do, and the double of an S3 server that shows what stores do wrong.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

#[path = "../cluster/bundle.rs"]
#[allow(dead_code, reason = "the other tests need more of it")]
mod bundle;
mod conformance;
mod double;
mod layers;
#[path = "../support/s3_double.rs"]
mod s3_double;
mod stores;
