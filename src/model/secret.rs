//! Text that must not be seen.

/// A password, key or token. It has no `Debug`, `Display`, `Serialize` or comparison, so that it gets into no
/// log, message, record or timing by accident; who needs the text says so with [`Secret::expose`].
#[derive(Clone)]
pub struct Secret(Box<str>);

impl Secret {
    /// Takes a text in custody.
    pub fn new(text: impl Into<Box<str>>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the one place that sends it or signs with it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}
