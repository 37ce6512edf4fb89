//! The record log: commit, lost answers, late copies, trimming, and what stands where something was trimmed.
//!
//! One step is one call to the store or one decision, so that a crash or a pause of any length lies between
//! any two. A create has one of four fates ([`Fate`]); a copy in flight may land at any later step, or never.
//! A DELETE may land again at any time after its first. The hint may name any snapshot there ever was.
//! Ages are left out: a record may go as soon as the other rules allow it, which is earlier than in the code.
//!
//! **Why marks.** Where a record was deleted, a create succeeds again; what it leaves is a ghost. To look for the
//! record before it is not enough: record 0 is never deleted, so it vouches for a ghost at 1, and a late copy of a
//! record, or another ghost, vouches for the next one. So a trimmer creates a mark for a block of numbers before it
//! deletes the first of them, and marks are never deleted. Whoever relies on what stands at a number, or on nothing
//! standing there, looks for its mark *afterwards*: without a mark nothing was deleted there yet. That holds for the
//! own record ("committed"), for a foreign one in its place ("not written": the own one may have been there and be
//! gone), for the end of the log and for a chain that seems broken. With marks the order of deletions is free; only
//! the newest record must stay.
//!
//! A record's digest is computed from what it says, so that identical bytes are identical and a chain is one.

mod model;
mod store;

use crate::run::{breaks, full, holds_everywhere};
use model::{Log, Rules};
use store::Check;

const COMMITTED: &str = "what is reported committed is in the chain";
const OBSERVED: &str = "one record per number is observed";
const DENIED: &str = "what is reported as not written is not";

fn wrong(name: &str, rules: Rules, property: &'static str) {
    breaks(name, Log { rules, ..Log::small() }, property);
}

#[test]
fn a_log_that_is_never_trimmed_keeps_its_promises() {
    let rules = Rules { check: Check::Nothing, doubts: false, trims: false, ..Rules::right() };
    holds_everywhere("commit, never trimmed", Log { rules, ..Log::small() });
}

#[test]
fn a_trimmed_log_keeps_its_promises() {
    holds_everywhere("commit, trimmed", Log::small());
    if full() {
        holds_everywhere("commit, trimmed, full", Log::full());
        holds_everywhere("commit, trimmed, three", Log::three());
        let rules = Rules { ascending: false, ..Rules::right() };
        holds_everywhere("commit, trimmed in any order", Log { rules, operations: &[2, 2], ..Log::small() });
    }
}

#[test]
fn without_a_check_a_ghost_counts_as_committed() {
    wrong("no check after a create", Rules { check: Check::Nothing, ..Rules::right() }, COMMITTED);
}

/// The check that the first design had. Record 0 is never trimmed, so it vouches for any ghost at 1.
#[test]
fn the_predecessor_check_takes_a_ghost_for_a_record() {
    wrong("predecessor check", Rules { check: Check::Predecessor, ..Rules::right() }, COMMITTED);
}

/// And beyond record 1 a ghost vouches for the next ghost.
#[test]
fn a_ghost_vouches_for_the_next_one() {
    let rules = Rules { check: Check::LaterPredecessor, ..Rules::right() };
    let log = Log { rules, operations: &[2, 2], ..Log::small() };
    breaks("predecessor check from record 2 on", log, COMMITTED);
}

#[test]
fn readers_that_check_nothing_observe_ghosts() {
    wrong("predecessor check, readers", Rules { check: Check::LaterPredecessor, ..Rules::right() }, OBSERVED);
}

#[test]
fn a_foreign_ghost_does_not_prove_a_loss() {
    let rules = Rules { doubts: false, ..Rules::right() };
    breaks("a loss believed unchecked", Log { rules, unheard: 1, ..Log::small() }, DENIED);
}

#[test]
fn the_newest_record_must_not_be_trimmed() {
    wrong("trimming all", Rules { spares_the_last: false, ..Rules::right() }, "the chain is whole");
}

#[test]
fn other_bytes_after_an_unknown_outcome_commit_twice() {
    let rules = Rules { same_bytes: false, trims: false, ..Rules::right() };
    wrong("other bytes for the same number", rules, "nothing is committed twice");
}
