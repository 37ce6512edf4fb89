//! Collection: which copies are deleted while others publish, repeat themselves, sleep and die.
//!
//! A record lands only at the number that it was validated for, so the state at which it lands is the state
//! against which it was validated: a commit is one step here, however long it was under way. Its writer hears of
//! it or not, and may then say the same again.
//!
//! A key that was purged has left the state, so only the watermark still forbids to name it: it must have passed the
//! key before. Orphans are looked for in a state that holds the watermark, never in an older one.
//!
//! What the controller's books name is known by the control log alone. Whoever judges orphans in the same process takes
//! turns with it; an earlier leader judges none, because its deadline is over before another takes the lease, which
//! the lease is about. That no record of the books arrives after its turn was given up is not modelled: it would name
//! a copy that is at most as old as a request can be, and orphans are older than the grace.
//!
//! A DELETE is not bound to anything: once it was decided it may be carried out at any later step, any number of
//! times, whoever leads by then (what was decided once stays decided). A PUT that was answered may be repeated by the
//! network. A leader is anybody who ever was one.

mod model;

use crate::catalog::Rules;
use crate::run::{breaks, full, holds, holds_everywhere};
pub use model::{Action, Collect, State};

const THERE: &str = "no referenced copy is deleted";

fn wrong(name: &str, rules: Rules) {
    breaks(name, Collect { rules, ..Collect::small() }, THERE);
}

#[test]
fn what_is_referenced_is_there() {
    holds_everywhere("collect", Collect::small());
    if full() {
        let two = Collect { keys: 2, ..Collect::small() };
        holds_everywhere("collect, two copies", two);
        holds_everywhere("collect, damage", Collect { damages: 1, records: 7, unheard: 0, ..two });
        holds_everywhere("collect, two leaders", Collect { leaders: 2, records: 8, ..Collect::small() });
        let books = Collect { books: 1, unheard: 0, ..two };
        holds_everywhere("collect, the controller's books", books);
        holds_everywhere("collect, late uploads", Collect { echoes: 1, unheard: 0, ..two });
        let all = Collect { keys: 3, records: 9, echoes: 1, damages: 1, leaders: 2, ..two };
        holds("collect, all of it", all, 4_000_000);
    }
}

#[test]
fn a_key_below_the_watermark_may_be_deleted_already() {
    wrong("publishing below the watermark", Rules { watermark: false, ..Rules::right() });
}

#[test]
fn a_retired_key_may_be_taken_back_before_it_is_deleted() {
    wrong("deleting without condemning", Rules { condemns: false, ..Rules::right() });
}

/// A publisher that does not know that it was heard says the same again, after all was deleted and forgotten.
#[test]
fn a_purged_key_may_be_named_again() {
    wrong("purging before the watermark", Rules { purges_behind: false, ..Rules::right() });
}

#[test]
fn orphans_of_an_older_state_may_be_none() {
    wrong("listing before the watermark", Rules { lists_after: false, ..Rules::right() });
}

/// A publisher that does not know that it was heard brings the copy that was found damaged meanwhile: the record
/// condemns it and names it.
#[test]
fn a_damaged_copy_must_not_replace_itself() {
    let rules = Rules { replaces_by_another: false, ..Rules::right() };
    breaks("replacing by itself", Collect { rules, damages: 1, publishers: 1, ..Collect::small() }, THERE);
}

#[test]
fn what_the_books_are_about_to_name_is_no_orphan() {
    let rules = Rules { takes_turns: false, ..Rules::right() };
    breaks("judging out of turn", Collect { rules, books: 1, publishers: 1, ..Collect::small() }, THERE);
}

#[test]
fn a_key_in_use_must_not_be_condemned() {
    let rules = Rules { condemns_retired: false, ..Rules::right() };
    breaks("condemning what is used", Collect { rules, ..Collect::small() }, "what is published can be read");
}
