//! The dice behind faults: the same seed, the same falls.

use crate::clock::Entropy;

/// How fine the dice are.
const SIDES: u64 = 1_000_000;

/// A sequence of throws.
pub(super) struct Dice(Entropy);

impl Dice {
    /// The sequence of a seed.
    pub(super) fn of(seed: u64) -> Self {
        Self(Entropy::seeded(seed))
    }

    /// One throw, which succeeds at a rate from 0 to 1. Certain things need no throw.
    #[expect(clippy::cast_precision_loss, reason = "a millionth is exact enough for a rate")]
    pub(super) fn fall(&self, rate: f64) -> bool {
        rate >= 1.0 || ((self.0.next() % SIDES) as f64) < rate * SIDES as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_kept_and_seeds_repeat() {
        let falls = |seed: u64, rate: f64| {
            let dice = Dice::of(seed);
            (0..10_000).map(|_| dice.fall(rate)).collect::<Vec<_>>()
        };
        let count = |rate: f64| falls(1, rate).into_iter().filter(|fell| *fell).count();
        assert!((2_700..3_300).contains(&count(0.3)), "{}", count(0.3));
        assert_eq!((count(0.0), count(1.0)), (0, 10_000));
        assert_eq!(falls(7, 0.5), falls(7, 0.5));
        assert_ne!(falls(7, 0.5), falls(8, 0.5));
    }
}
