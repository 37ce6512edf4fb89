//! The directories that tasks run in: made, and thrown away when they are old.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// How many sandboxes of ended tasks are kept per app, for whoever wants to know what went wrong.
const KEPT_PER_APP: usize = 5;

/// How many are kept over all apps, those that are gone included.
const KEPT_AT_ALL: usize = 500;

/// All sandboxes of this Marathon.
pub struct Sandboxes {
    root: PathBuf,
    in_use: Mutex<BTreeSet<String>>,
}

impl Sandboxes {
    /// The sandboxes below a directory, which is made when it is missing.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn new(root: PathBuf) -> io::Result<Self> {
        std::fs::create_dir_all(&root)?;
        Ok(Self { root, in_use: Mutex::default() })
    }

    /// The directory that holds them.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where the task's sandbox is.
    pub fn path(&self, task: &str) -> PathBuf {
        self.root.join(task)
    }

    /// Makes a task's sandbox.
    ///
    /// # Errors
    /// When it cannot be made, or exists.
    pub fn open(&self, task: &str) -> io::Result<PathBuf> {
        self.in_use.lock().unwrap_or_else(PoisonError::into_inner).insert(task.to_owned());
        let path = self.path(task);
        std::fs::create_dir(&path)?;
        Ok(path)
    }

    /// From now on the sandbox may be thrown away.
    pub fn close(&self, task: &str) {
        self.in_use.lock().unwrap_or_else(PoisonError::into_inner).remove(task);
    }

    /// Empties the sandbox of a task that never came to run, and leaves the reason in `stderr`: the parts of what could not
    /// be brought are of use to nobody, and they are brought anew with every try. It removes files, so it may take long.
    pub fn give_up(&self, task: &str, reason: &str) {
        let path = self.path(task);
        // It is not there where the task failed before it was made.
        for entry in std::fs::read_dir(&path).into_iter().flatten().flatten() {
            let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
            let remove = if is_directory { std::fs::remove_dir_all } else { std::fs::remove_file::<PathBuf> };
            if let Err(error) = remove(entry.path()) {
                tracing::warn!(path = %entry.path().display(), %error, "cannot remove a part of a sandbox");
            }
        }
        if path.is_dir()
            && let Err(error) = std::fs::write(path.join("stderr"), format!("{reason}\n"))
        {
            tracing::warn!(path = %path.display(), %error, "cannot write why a task did not start");
        }
    }

    /// Throws away what is old. It removes files, so it may take long.
    pub fn prune(&self) {
        for name in self.superfluous() {
            let path = self.root.join(name);
            // Gone already: another call was at it.
            if let Err(error) = std::fs::remove_dir_all(&path)
                && error.kind() != std::io::ErrorKind::NotFound
            {
                tracing::warn!(path = %path.display(), %error, "cannot remove an old sandbox");
            }
        }
    }

    fn superfluous(&self) -> Vec<String> {
        let in_use = self.in_use.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let entries = std::fs::read_dir(&self.root).into_iter().flatten().flatten();
        let mut ended: Vec<_> = entries
            .filter_map(|entry| {
                let name = entry.file_name().into_string().ok().filter(|name| !in_use.contains(name))?;
                Some((entry.metadata().ok()?.modified().ok()?, name))
            })
            .collect();
        ended.sort();
        let mut seen: BTreeMap<String, usize> = BTreeMap::new();
        let newest_first = ended.into_iter().rev().enumerate();
        newest_first
            .filter_map(|(age, (_, name))| {
                let of_app = seen.entry(app_part(&name).to_owned()).or_default();
                *of_app += 1;
                (*of_app > KEPT_PER_APP || age >= KEPT_AT_ALL).then_some(name)
            })
            .collect()
    }
}

/// What names the app in a task's id.
fn app_part(task: &str) -> &str {
    task.split_once(".instance-").map_or(task, |(app, _)| app)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_what_never_ran_only_the_reason_stays() {
        let folder = tempfile::tempdir().unwrap();
        let (sandboxes, volume) = (Sandboxes::new(folder.path().join("s")).unwrap(), folder.path().join("v"));
        std::fs::create_dir(&volume).unwrap();
        std::fs::write(volume.join("data"), "x").unwrap();
        let sandbox = sandboxes.open("a.instance-0").unwrap();
        std::fs::create_dir(sandbox.join("bin")).unwrap();
        std::fs::write(sandbox.join("bin/part"), "x").unwrap();
        std::fs::write(sandbox.join("app.tgz"), "x").unwrap();
        std::os::unix::fs::symlink(&volume, sandbox.join("disk")).unwrap();
        sandboxes.give_up("a.instance-0", "it is too large");
        let left: Vec<_> = std::fs::read_dir(&sandbox).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(left, ["stderr"]);
        assert_eq!(std::fs::read_to_string(sandbox.join("stderr")).unwrap(), "it is too large\n");
        assert!(volume.join("data").exists(), "what a link leads to stays");
        sandboxes.give_up("a.instance-1", "it was never made");
        assert!(!sandboxes.path("a.instance-1").exists());
    }

    #[test]
    fn old_sandboxes_go_and_those_in_use_stay() {
        let folder = tempfile::tempdir().unwrap();
        let sandboxes = Sandboxes::new(folder.path().join("s")).unwrap();
        sandboxes.open("a.instance-in-use").unwrap();
        for task in 0..8 {
            sandboxes.open(&format!("a.instance-{task}")).unwrap();
            sandboxes.close(&format!("a.instance-{task}"));
        }
        sandboxes.open("b.instance-0").unwrap();
        sandboxes.close("b.instance-0");
        sandboxes.prune();
        let left = std::fs::read_dir(sandboxes.root()).unwrap().count();
        assert_eq!(left, KEPT_PER_APP + 2);
        assert!(sandboxes.path("a.instance-in-use").exists() && sandboxes.path("b.instance-0").exists());
    }
}
