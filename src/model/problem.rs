//! A fault in somebody's input: where it is, what it is, what to do.

use std::fmt;

use super::SnapshotPath;

/// One fault. Faults are collected, never thrown one by one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// The file, relative to the source's root.
    pub file: SnapshotPath,
    /// The line, counted from 1; none where the file as a whole is meant.
    pub line: Option<usize>,
    /// The place inside the document, such as `spec.options.cpus`; empty for the document itself.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// What to write instead; empty where the message says it already.
    pub suggestion: String,
}

impl Problem {
    /// A fault of a whole file.
    #[must_use]
    pub fn of_file(file: &SnapshotPath, message: impl Into<String>) -> Self {
        Self {
            file: file.clone(),
            line: None,
            path: String::new(),
            message: message.into(),
            suggestion: String::new(),
        }
    }

    /// The same fault with its line.
    #[must_use]
    pub fn at_line(mut self, line: usize) -> Self {
        self.line = Some(line);
        self
    }

    /// The same fault with its place inside the document.
    #[must_use]
    pub fn at_path(mut self, path: impl Into<String>) -> Self {
        self.path = path.into();
        self
    }

    /// The same fault with a word on what to do.
    #[must_use]
    pub fn suggest(mut self, suggestion: impl Into<String>) -> Self {
        self.suggestion = suggestion.into();
        self
    }
}

impl fmt::Display for Problem {
    /// `hello.yaml:7: spec.optoins: unknown key (did you mean options?)`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        f.write_str(": ")?;
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)?;
        if !self.suggestion.is_empty() {
            write!(f, " ({})", self.suggestion)?;
        }
        Ok(())
    }
}
