//! The record log: commit, lost answers, late copies, trimming, and what stands where something was trimmed.
//!
//! One step is one call to the store or one decision, so that a crash or a pause of any length lies between
//! any two. A create has one of four fates ([`store::Fate`]); a copy in flight may land at any later step, long after
//! its number was trimmed, or never. A DELETE may land again at any time after its first. There may be a snapshot of
//! any record, and the hint may name any of them.
//!
//! **What can go wrong.** Where a record was deleted, a create succeeds again; what it leaves is a ghost. To look for
//! the record before it is not enough: record 0 is never deleted, so it vouches for a ghost at 1, and a late copy of
//! a record, or another ghost, vouches for the next one.
//!
//! **The rule.** Each instance remembers when it last knew of a record that it was the last one: at the start of
//! the look that found nothing more, at the first send of its own record, at the start of loading. No record from
//! that one on can be trimmed before the whole retention has passed since, because a record goes only when its
//! *successor* is so old. After half of it the instance is in doubt. In doubt every answer to a create means that
//! the outcome is unknown, and nothing that is read counts: the instance begins anew with a snapshot and the records
//! after it, until a *list* shows none beyond. The newest record is always there, so that end is the real one.
//!
//! **Time.** What the model needs of the clocks is one fact: while an instance is not in doubt, less than the
//! retention has passed by the store's clock. Clocks that differ by less than the factor 2 grant it. So a moment that
//! is remembered keeps the records from the last one at that moment on from being trimmed, until it *ages*, which it
//! may do at any step and in any order of instances. Two assumptions are in it: the store dates its objects with a
//! clock that does not jump by half the retention, and the trimmer judges by those dates alone.
//!
//! **Considered and not needed**: marks, created before a block of numbers is deleted and kept for ever, which tell
//! a ghost from a record without any clock. They cost an object for each block, for ever, and a read for each commit.
//! **Considered and too weak**: to read on in doubt, and to believe it if the own anchor is there afterwards. A
//! writer that was away in the midst of its attempts brings its record back by sending it again, and this may be
//! somebody's anchor. That no request is carried out long after it was sent (S3 refuses signatures older than
//! 15 minutes) does not help: this one is new.
//!
//! Where the rules are in the code, in `storage::records`: doubt and the predecessor check after a create in
//! `queue::attempt` and `trim`; what a reader does in doubt in `log::replay`; lists and snapshots that are passed over
//! in `load`; retention, order and the newest record in `trim`; sending the same bytes again in `place`.
//!
//! A record's digest is computed from what it says, so that identical bytes are identical and a chain is one.

mod model;
mod rules;
mod state;
mod store;

use crate::run::{breaks, full, holds, holds_everywhere};
use model::Log;
use rules::{Doubt, Return, Rules};

const COMMITTED: &str = "what is reported committed is in the chain";
const OBSERVED: &str = "one record per number is observed";
const SEEN: &str = "what was there is seen";
const DENIED: &str = "what is reported as not written is not";
const WHOLE: &str = "a whole chain is not called broken";
const STANDS: &str = "an anchor without doubt stands";

fn wrong(name: &str, rules: Rules, property: &'static str) {
    breaks(name, Log { rules, ..Log::small() }, property);
}

/// The catalog: nothing is deleted, so nobody needs to doubt anything.
#[test]
fn a_log_that_is_never_trimmed_keeps_its_promises() {
    let rules = Rules { doubt: Doubt::Never, predecessor: false, trims: false, ..Rules::right() };
    holds_everywhere("commit, never trimmed", Log { rules, late: 1, unheard: 1, ..Log::small() });
}

#[test]
fn a_trimmed_log_keeps_its_promises() {
    let small = Log::small();
    holds_everywhere("commit, trimmed", small);
    if full() {
        let (unheard, late) = (1, 1);
        holds_everywhere("commit, lost answers and late copies", Log { unheard, late, ..small });
        holds_everywhere("commit, a longer log", Log { operations: &[3, 1], unheard, ..small });
        holds_everywhere("commit, a crash", Log { crashes: 1, late, ..small });
        holds("commit, three", Log { operations: &[1, 1, 1], ..small }, 10_000_000);
        let rules = Rules { ascending: false, predecessor: false, ..Rules::right() };
        holds_everywhere("commit, in any order, unchecked", Log { rules, unheard, ..small });
    }
}

#[test]
fn without_a_check_a_ghost_counts_as_committed() {
    let rules = Rules { doubt: Doubt::Never, predecessor: false, ..Rules::right() };
    wrong("no check after a create", rules, COMMITTED);
}

/// The check that the first design had. Record 0 is never trimmed, so it vouches for any ghost at 1.
#[test]
fn the_predecessor_check_takes_a_ghost_for_a_record() {
    wrong("predecessor check", Rules { doubt: Doubt::Never, ..Rules::right() }, COMMITTED);
}

#[test]
fn a_doubt_before_sending_comes_too_early() {
    wrong("doubt before sending", Rules { doubt: Doubt::BeforeSending, ..Rules::right() }, COMMITTED);
}

/// The own record may have been there and be gone.
#[test]
fn a_foreign_ghost_does_not_prove_a_loss() {
    let rules = Rules { doubt: Doubt::OfSuccess, ..Rules::right() };
    let log = Log { rules, operations: &[1, 2], unheard: 1, late: 1, ..Log::small() };
    breaks("a loss believed in doubt", log, DENIED);
}

#[test]
fn who_reads_on_after_a_long_time_takes_a_gap_for_the_end() {
    wrong("reading on", Rules { returns: Return::ReadsOn, ..Rules::right() }, SEEN);
}

#[test]
fn an_anchor_that_was_there_before_the_reading_proves_nothing() {
    wrong("anchor before reading", Rules { returns: Return::AnchorFirst, ..Rules::right() }, SEEN);
}

/// A writer sends its record again after the record was trimmed: the anchor is back, what followed it is not.
#[test]
fn an_anchor_may_come_back() {
    let rules = Rules { returns: Return::AnchorAfter, requests_die: true, ..Rules::right() };
    breaks("anchor after reading", Log { rules, unheard: 1, ..Log::small() }, SEEN);
}

#[test]
fn record_0_is_no_anchor() {
    let rules = Rules { returns: Return::AnchorAfter, zero_proves_nothing: false, ..Rules::right() };
    wrong("record 0 as an anchor", rules, SEEN);
}

#[test]
fn an_anchor_is_as_old_as_the_look_that_found_it() {
    wrong("anchor dated by the answer", Rules { from_before: false, ..Rules::right() }, STANDS);
}

#[test]
fn who_begins_anew_takes_a_gap_for_the_end_unless_it_lists() {
    wrong("loading without a list", Rules { lists: false, ..Rules::right() }, SEEN);
}

/// A ghost lands between the list and the reading, and the record behind it is trimmed.
#[test]
fn a_list_that_found_something_proves_no_end() {
    let rules = Rules { lists_to_the_end: false, ..Rules::right() };
    breaks("listing twice", Log { rules, operations: &[3, 1], ..Log::small() }, OBSERVED);
}

/// Behind an old snapshot a ghost, behind the ghost the chain.
#[test]
fn a_ghost_behind_an_old_snapshot_is_no_broken_chain() {
    wrong("calling it broken", Rules { passes_over: false, ..Rules::right() }, WHOLE);
}

#[test]
fn records_must_be_kept_for_the_retention() {
    wrong("trimming early", Rules { retains: false, ..Rules::right() }, COMMITTED);
}

#[test]
fn the_newest_record_must_not_be_trimmed() {
    let rules = Rules { spares_the_last: false, retains: false, ..Rules::right() };
    wrong("trimming all", rules, "the chain is whole");
}

#[test]
fn other_bytes_after_an_unknown_outcome_commit_twice() {
    let rules = Rules { same_bytes: false, trims: false, ..Rules::right() };
    breaks("other bytes", Log { rules, late: 1, ..Log::small() }, "nothing is committed twice");
}
