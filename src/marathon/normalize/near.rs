//! Advice for an unknown field.

use crate::model::nearest;

/// ` (did you mean x?)`, where a known word is near.
pub(super) fn closest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> String {
    nearest(word, known).map_or_else(String::new, |near| format!(" (did you mean {near}?)"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_words_are_offered_and_far_ones_are_not() {
        assert_eq!(closest("instnaces", ["instances", "id"].into_iter()), " (did you mean instances?)");
        assert_eq!(
            closest("healthCheck", ["healthChecks", "check"].into_iter()),
            " (did you mean healthChecks?)"
        );
        assert_eq!(closest("volumes", ["uris", "user"].into_iter()), "");
        assert_eq!(closest("x", ["id"].into_iter()), "");
    }
}
