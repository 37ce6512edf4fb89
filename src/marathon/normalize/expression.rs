//! Whether the regular expression of a constraint is one.
//!
//! Marathon lets Java compile it (`api/v2/validation/SchedulingValidation.scala` of mesosphere/marathon) and refuses what
//! Java does not compile. `fancy_regex` reads nearly the same language. Only what is broken in both is a fault here: an
//! expression that Java knows and it does not must get through.

use fancy_regex::{Error, ParseError, Regex};

/// What is broken in an expression; none where it is sound, or only Java can tell.
pub(super) fn fault(expression: &str) -> Option<&'static str> {
    let Err(Error::ParseError(position, error)) = Regex::new(expression) else { return None };
    match error {
        ParseError::UnclosedOpenParen => Some("a parenthesis is not closed"),
        // The parser stopped before the end, which only a closing parenthesis too many makes it do.
        ParseError::GeneralParseError(_) if expression.get(position..)?.starts_with(')') => {
            Some("a closing parenthesis has no opening one")
        }
        ParseError::InvalidClass => Some("a bracket is not closed"),
        ParseError::TrailingBackslash => Some("nothing follows the last backslash"),
        // Java repeats what has no width, such as `^*`, and the library does not.
        ParseError::TargetNotRepeatable if stands_first(expression.get(..position)?) => {
            Some("nothing stands before a sign of repetition; write .* for any text")
        }
        _ => None,
    }
}

/// Whether what follows this is the first of its alternative.
fn stands_first(before: &str) -> bool {
    before.is_empty() || before.ends_with(['(', '|'])
}

#[cfg(test)]
mod tests {
    use super::fault;

    #[test]
    fn what_java_does_not_compile_is_broken() {
        for text in ["(", "(?:", "a)", "[", "10\\.0\\.[0-9", "[]", "*", "+a", "a|*", "(*)", "a\\"] {
            assert!(fault(text).is_some(), "{text}");
        }
    }

    /// Java compiles all of these; some of them the library does not.
    #[test]
    fn what_java_compiles_is_sound() {
        for text in [
            "",
            "]",
            "10.0.0.(1|2)",
            "^(?!agent).*$",
            "rack-[1-3]",
            "[]a]",
            "[a-z&&[^b]]",
            "\\(*",
            "^*",
            "(?=a)*",
            "\\Q(\\E",
            "\\Qa.b\\E",
            "\\p{javaLowerCase}",
            "(?<=a+)b",
            "\\X",
            "\\cA",
            "\\0101",
            "\\8",
            "(a)\\2",
            "\\b{g}",
            "(?d)x(",
            "(?x) a # (",
        ] {
            // The last but one is broken to Java, which cannot be told from the flag that the library does not know.
            assert_eq!(fault(text), None, "{text}");
        }
    }
}
