//! Advice for an unknown word.

use crate::model::nearest;

/// More known words than these are not listed.
const MOST: usize = 12;

/// The known word that was probably meant, else the known words.
pub fn suggest(word: &str, known: &[&str]) -> String {
    match nearest(word, known.iter().copied()) {
        Some(near) => format!("did you mean {near}?"),
        None if known.is_empty() => String::new(),
        None if known.len() > MOST => {
            format!("known: {} and {} more", known[..MOST].join(", "), known.len() - MOST)
        }
        None => format!("known: {}", known.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_named_and_otherwise_what_is_known() {
        assert_eq!(suggest("optoins", &["package", "options"]), "did you mean options?");
        assert_eq!(suggest("banana", &["package", "options"]), "known: package, options");
        assert_eq!(suggest("banana", &[]), "");
        assert!(suggest("banana", &["x"; 20]).ends_with("x and 8 more"));
    }
}
