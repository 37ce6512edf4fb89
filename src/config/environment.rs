//! The environment of the process, as a parameter.

#![expect(clippy::disallowed_methods, reason = "this is the module that the ban list points to")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The variables of the process, or those that a test gives. Cheap to clone.
#[derive(Clone)]
pub struct Environment(Source);

#[derive(Clone)]
enum Source {
    Process,
    Fixed(Arc<BTreeMap<String, String>>),
}

impl Environment {
    /// The variables that this process was started with.
    #[must_use]
    pub fn process() -> Self {
        Self(Source::Process)
    }

    /// These variables and no others.
    #[must_use]
    pub fn fixed<const N: usize>(variables: [(&str, &str); N]) -> Self {
        let owned = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
        Self(Source::Fixed(Arc::new(owned.into())))
    }

    /// The value of a variable; none where it is not set or no UTF-8.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<String> {
        match &self.0 {
            Source::Process => std::env::var(name).ok(),
            Source::Fixed(variables) => variables.get(name).cloned(),
        }
    }

    /// The value of a variable; none where it is not set or empty.
    #[must_use]
    pub fn filled(&self, name: &str) -> Option<String> {
        self.get(name).filter(|value| !value.is_empty())
    }

    /// The first port that Marathon gave to the task.
    #[must_use]
    pub fn marathon_port(&self) -> Option<u16> {
        ["PORT0", "PORT_0"].into_iter().find_map(|name| self.get(name)?.parse().ok())
    }

    /// A path inside the sandbox of the Mesos task, which is where files of secrets and persistent volumes are
    /// mounted; outside of Mesos, inside the working directory. An absolute path stays what it is.
    #[must_use]
    pub fn in_sandbox(&self, path: &str) -> PathBuf {
        let inside = match self.filled("MESOS_SANDBOX") {
            Some(sandbox) => Path::new(&sandbox).join(path),
            None => PathBuf::from(path),
        };
        std::path::absolute(&inside).unwrap_or(inside)
    }

    /// The system's directory for temporary files.
    #[must_use]
    pub fn temporary(&self) -> PathBuf {
        self.filled("TMPDIR").unwrap_or_else(|| "/tmp".to_owned()).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sandbox_holds_relative_paths_only() {
        let mesos = Environment::fixed([("MESOS_SANDBOX", "/mnt/mesos/sandbox")]);
        assert_eq!(mesos.in_sandbox("a/b"), Path::new("/mnt/mesos/sandbox/a/b"));
        assert_eq!(mesos.in_sandbox("/a/b"), Path::new("/a/b"));
        let plain = Environment::fixed([("MESOS_SANDBOX", "")]);
        assert_eq!(plain.in_sandbox("a"), std::env::current_dir().unwrap().join("a"));
    }

    #[test]
    fn both_spellings_of_the_first_port_are_known() {
        assert_eq!(Environment::fixed([("PORT0", "31000"), ("PORT_0", "1")]).marathon_port(), Some(31000));
        assert_eq!(Environment::fixed([("PORT_0", "31001")]).marathon_port(), Some(31001));
        assert_eq!(Environment::fixed([("PORT0", "many")]).marathon_port(), None);
    }
}
