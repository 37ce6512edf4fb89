//! Names as the outside world constrains them: packages, versions, units, sources.
//!
//! The package rules are those of the Universe package schema (`package-schema.json` of
//! mesosphere/universe); the length caps are ours, because names become parts of URLs and labels.

/// A text that is no valid name of its kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{value:?} is not a valid {what}: {rule}")]
pub struct InvalidName {
    /// What it should have been ("package name").
    pub what: &'static str,
    /// The text as given, cut to 80 characters.
    pub value: String,
    /// The rule in words.
    pub rule: &'static str,
}

/// Declares a string newtype that can only be built by its checked constructor.
macro_rules! checked_string {
    ($(#[$doc:meta])* $name:ident, $what:literal, $rule:literal, $check:path) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        #[serde(into = "String", try_from = "String")]
        pub struct $name(Box<str>);

        impl $name {
            /// Checks the text against the rule of its kind.
            ///
            /// # Errors
            /// [`InvalidName`](crate::model::InvalidName), which states the rule.
            pub fn new(text: &str) -> Result<Self, $crate::model::InvalidName> {
                if $check(text) {
                    Ok(Self(text.into()))
                } else {
                    Err($crate::model::InvalidName {
                        what: $what,
                        value: text.chars().take(80).collect(),
                        rule: $rule,
                    })
                }
            }

            /// The text itself.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::model::InvalidName;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::new(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = $crate::model::InvalidName;
            fn try_from(text: String) -> Result<Self, Self::Error> {
                Self::new(&text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0.into()
            }
        }
    };
}
pub(crate) use checked_string;

checked_string!(
    /// The name of a package, such as `marathon-lb`.
    PackageName,
    "package name",
    "two to 128 characters, lower-case letters, digits and '-', a letter first, no '-' last",
    is_package_name
);

checked_string!(
    /// The version of a package as its author writes it, such as `2.1.0-0.5`; not ordered by meaning.
    PackageVersion,
    "package version",
    "one to 128 letters, digits, '-' and '.', and not only dots",
    is_package_version
);

checked_string!(
    /// The name of a unit (`metadata.name`), unique per source and kind.
    UnitName,
    "unit name",
    "one to 128 lower-case letters, digits, '-' and '.', a letter or digit first and last",
    is_unit_name
);

checked_string!(
    /// The name of a source of manifests in the daemon's configuration.
    SourceName,
    "source name",
    "one to 128 lower-case letters, digits, '-' and '.', a letter or digit first and last",
    is_unit_name
);

const LONGEST: usize = 128;

fn is_lower_or_digit(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit()
}

fn is_package_name(text: &str) -> bool {
    (2..=LONGEST).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.ends_with(is_lower_or_digit)
        && text.chars().all(|c| is_lower_or_digit(c) || c == '-')
}

fn is_package_version(text: &str) -> bool {
    (1..=LONGEST).contains(&text.len())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '.')
        && text.chars().any(|c| c != '.')
}

fn is_unit_name(text: &str) -> bool {
    (1..=LONGEST).contains(&text.len())
        && text.starts_with(is_lower_or_digit)
        && text.ends_with(is_lower_or_digit)
        && text.chars().all(|c| is_lower_or_digit(c) || c == '-' || c == '.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn package_names_follow_the_universe_schema() {
        for good in ["ab", "marathon-lb", "a1", "x-9"] {
            assert!(PackageName::new(good).is_ok(), "{good}");
        }
        for bad in ["", "a", "1a", "-a", "a-", "A-b", "a_b", "a.b", "ä-b", &"a".repeat(129)] {
            assert!(PackageName::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn versions_cannot_be_path_segments_that_mean_something_else() {
        for bad in ["", ".", "..", "1/2", "1_0", "1 0", "1+b"] {
            assert!(PackageVersion::new(bad).is_err(), "{bad}");
        }
        for good in ["1.0", "v1", "latest", "3.1.x", "8688ecd-1.2.9"] {
            assert!(PackageVersion::new(good).is_ok(), "{good}");
        }
    }

    #[test]
    fn names_survive_json_and_refuse_bad_json() {
        let name: PackageName = serde_json::from_str("\"hello\"").unwrap();
        assert_eq!(serde_json::to_string(&name).unwrap(), "\"hello\"");
        let error = serde_json::from_str::<PackageName>("\"Hello\"").unwrap_err();
        assert!(error.to_string().contains("package name"), "{error}");
    }
}
