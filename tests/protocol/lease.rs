//! The lease: taking it, renewing it, giving it back, taking it over.
//!
//! Time is counted in ticks of real time, and everything that happens between two ticks happens at the first of
//! them. An instance counts with its own clock, which may run faster or slower; what the model needs to know of
//! that is in two numbers. [`Times::hold`] is the most real time that a holder's deadline can last, on the slowest
//! clock; [`Times::ttl`] the least that an observer's ttl can, on the fastest. A clock of the first kind and one
//! of the second may be anywhere in between and change their rates as they like; the model lets a holder be inside
//! as long as it could be, and an observer take over as early as it could. Both bounds are whole ticks, so
//! rounding every moment of a real run down to its tick gives a run of this model: of two moments the order stays,
//! a distance of at most n ticks stays at most n, one of at least n stays at least n. A pause is an instance that
//! takes no step while ticks go by.
//!
//! A take-over is bound to the silence that it rests on: it names the last record under a lease that its writer had
//! read. When another one stands before it, it is refused, so a leader that has just renewed keeps its lease, although
//! a renewal leaves the epoch as it is. What others asked for is no sign of life; a take-over goes in behind it.
//!
//! The control log is a list here; that its numbers are taken once each is shown by the model of the commit.

mod model;

use crate::run::{breaks, full, holds_everywhere};
use model::Rules;
pub use model::{Action, Lease, State, Times};

const EXCLUSIVE: &str = "no two are inside";

fn wrong(name: &str, rules: Rules, property: &'static str) {
    breaks(name, Lease { rules, ..Lease::small() }, property);
}

/// The settings as designed, in seconds, in ticks of a length that makes both bounds whole.
#[test]
fn the_bounds_are_those_of_the_settings() {
    let (deadline, ttl, ratio) = (8.0_f64, 12.0_f64, 1.4_f64);
    let tick = 0.8;
    assert!(deadline * ratio <= f64::from(Times::DESIGNED.hold) * tick + 1e-9);
    assert!(ttl >= f64::from(Times::DESIGNED.ttl) * tick - 1e-9);
}

#[test]
fn one_instance_acts_at_a_time() {
    holds_everywhere("lease", Lease::small());
    if full() {
        let small = Lease::small();
        holds_everywhere("lease, designed times", Lease { times: Times::DESIGNED, ..small });
        holds_everywhere("lease, late copies", Lease { records: 4, late: 1, ..small });
        holds_everywhere("lease, crashes", Lease { crashes: 1, late: 1, unheard: 0, ..small });
        holds_everywhere("lease, unknown outcomes", Lease { unknown: 1, ..small });
        holds_everywhere("lease, requests", Lease { requests: 1, unheard: 0, records: 4, ..small });
        holds_everywhere("lease, books", Lease { books: true, ..small });
        holds_everywhere("lease, three", Lease { instances: 3, ..small });
    }
}

#[test]
fn clocks_beyond_the_tolerance_let_two_act() {
    let times = Times { hold: 2, ttl: 2 };
    breaks("clocks beyond the tolerance", Lease { times, ..Lease::small() }, EXCLUSIVE);
}

#[test]
fn a_deadline_counted_from_the_answer_lets_two_act() {
    wrong("deadline from the answer", Rules { from_first_send: false, ..Rules::right() }, EXCLUSIVE);
}

/// What a commit that replays, validates the epoch alone and tries the next number would do with a take-over.
#[test]
fn a_take_over_that_outlives_a_sign_of_life_lets_two_act() {
    wrong("insisting", Rules { bound: false, ..Rules::right() }, EXCLUSIVE);
}

#[test]
fn a_lease_that_is_renewed_by_what_is_no_sign_of_life_lets_two_act() {
    let rules = Rules { all_are_signs: false, ..Rules::right() };
    breaks("deaf to books", Lease { rules, books: true, ..Lease::small() }, EXCLUSIVE);
}

#[test]
fn acting_until_the_release_is_answered_lets_two_act() {
    wrong("acting on", Rules { stops_first: false, ..Rules::right() }, EXCLUSIVE);
}

#[test]
fn a_stale_leader_may_not_renew_over_a_take_over() {
    wrong("renewing after a take-over", Rules { validates: false, ..Rules::right() }, "epochs only grow");
}

#[test]
fn without_a_nonce_an_old_record_counts_as_new() {
    let rules = Rules { nonce: false, ..Rules::right() };
    breaks("no nonce", Lease { rules, unknown: 1, ..Lease::small() }, EXCLUSIVE);
}
