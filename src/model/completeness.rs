//! Absence of data is a type: what was read in full can be told from what was not.

/// Whether a reading covers everything it claims to cover. Removals need [`Completeness::Complete`].
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase", tag = "state", content = "reason")]
pub enum Completeness {
    /// Everything was read.
    Complete,
    /// Something was not read, and why. What is missing may exist.
    Partial(String),
    /// Nothing has been read yet.
    #[default]
    Unknown,
}

impl Completeness {
    /// Whether everything was read.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        *self == Self::Complete
    }

    /// Why it is not complete, for a person.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Complete => None,
            Self::Partial(reason) => Some(reason),
            Self::Unknown => Some("nothing has been read yet"),
        }
    }
}
