//! x
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]
mod commit;
mod lease;
mod run;
