//! The protocol of the shared storage as small models, in which a checker tries every order of steps.
//!
//! | model | what it is about | code |
//! |---|---|---|
//! | [`commit`] | one log: commit, lost answers, late copies, trimming, doubt, beginning anew | `storage::records`: `log`, `queue`, `place`, `load`, `trim` |
//! | [`lease`] | taking, renewing, releasing, taking over, with clocks | `storage::control`: `state`; `storage::lease` |
//! | [`fence`] | operations of leaders in the catalog | `storage::catalog::rules`: `Fence` and what needs it |
//! | [`collect`] | publish, unpublish, condemn, delete, purge, watermark, quarantine, the controller's books | `storage::catalog::{rules, state}`, `storage::publish`, `storage::collect`, `Storage::accepting` |
//! | [`whole`] | lease, fence and collection together | all of them |
//!
//! The five promises and where they are looked for: at most one record per number is ever observed (`commit`: "one
//! record per number is observed", "what was there is seen", "the chain is whole"); a writer that reports committed is in the one chain
//! (`commit`: "what is reported committed…", and the same for what is reported as not written); two instances are
//! never both inside their deadline (`lease`, `whole`: "no two are inside"); operations of leaders have epochs that
//! never go back (`fence`, `collect`, `whole`); no referenced copy is ever deleted (`collect`, `whole`).
//!
//! **The store** is a linearizable map with create-if-absent, get and delete. The network loses answers, keeps a
//! write in flight for any time, and carries one out twice. A party may be paused between any two steps for any
//! time, which is an order in which it has no turn, and may lose all it knows. Nothing is assumed about how long a
//! request may be under way. What is bounded is how often these happen, and how many instances, records, keys there
//! are; the bounds stand in each model's `small` and in its tests.
//!
//! **Not modelled**: bytes, chunks and digests of blobs (a key is there or not); stores that break their word (the
//! probe is for those); progress (a model of safety lets everybody stall for ever); Marathon, which cannot refuse a
//! late write; the ages that collection waits for, which only make things happen later; records of a newer program;
//! registries that are copied or moved; several operations in one record, which is applied as a whole; readers of a
//! blob that is deleted while they read it.
//!
//! **How a model can fail**: every rule can be switched off, and a test demands that the checker then finds a way to
//! break the promise; it prints the shortest one. What a model says is meant to happen sometimes must have happened.
//!
//! ```text
//! cargo test --test protocol                                              small bounds, seconds
//! DCOS_REGISTRY_MODEL=full cargo test --test protocol \
//!   --config 'profile.dev.package.dcos-registry.opt-level=3' -- --nocapture --test-threads=1      the bounds of CI
//! ```
//!
//! The second builds this package again, optimised, and none of its dependencies.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod catalog;
mod collect;
mod commit;
mod fence;
mod lease;
mod run;
mod whole;
