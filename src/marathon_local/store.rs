//! The state on disk: one JSON file, replaced as a whole, so that after a kill at any moment either the old
//! or the new one is there.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use serde_json::Value;

use super::LocalError;
use super::state::State;

/// The format that this program writes; it reads all older ones. A newer one is refused, never overwritten.
const FORMAT: u64 = 2;

const FILE: &str = "state.json";
const NEW_FILE: &str = "state.json.new";
const LOCK: &str = "lock";

#[derive(serde::Serialize, serde::Deserialize)]
struct Document<S> {
    format: u64,
    state: S,
}

/// The directory with the state, held by one process at a time; or nothing, where nothing is to be kept.
#[derive(Debug)]
pub struct Store(Option<Held>);

#[derive(Debug)]
struct Held {
    directory: PathBuf,
    /// The kernel frees the lock with the file, also when the process is killed.
    _lock: File,
}

impl Store {
    /// Makes the directory if need be and takes its lock.
    ///
    /// # Errors
    /// [`LocalError::Directory`], [`LocalError::Locked`].
    pub fn open(directory: &Path) -> Result<Self, LocalError> {
        let failed = |source| LocalError::Directory { path: directory.to_owned(), source };
        std::fs::create_dir_all(directory).map_err(failed)?;
        let lock = File::options().create(true).truncate(false).write(true).open(directory.join(LOCK));
        let lock = lock.map_err(failed)?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self(Some(Held { directory: directory.to_owned(), _lock: lock }))),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(LocalError::Locked { path: directory.to_owned() }),
            Err(error) => Err(failed(error.into())),
        }
    }

    /// A store that keeps nothing.
    pub fn nowhere() -> Self {
        Self(None)
    }

    /// What was stored last; nothing when nothing ever was.
    ///
    /// # Errors
    /// As [`read`].
    pub fn load(&self) -> Result<Option<State>, LocalError> {
        self.0.as_ref().map_or(Ok(None), |held| read(&held.directory))
    }

    /// Whether there is anything to be written at all.
    pub fn keeps(&self) -> bool {
        self.0.is_some()
    }

    /// Replaces what is stored. Blocks until it is safe on disk.
    ///
    /// # Errors
    /// [`LocalError::Write`].
    pub fn save(&self, bytes: &[u8]) -> Result<(), LocalError> {
        let Some(held) = &self.0 else { return Ok(()) };
        held.replace(bytes).map_err(|source| LocalError::Write { path: held.directory.join(FILE), source })
    }
}

impl Held {
    fn replace(&self, bytes: &[u8]) -> io::Result<()> {
        let new = self.directory.join(NEW_FILE);
        let mut file = File::create(&new)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&new, self.directory.join(FILE))?;
        File::open(&self.directory)?.sync_all()
    }
}

/// The bytes of the file for a state.
///
/// # Errors
/// Never for a state that was built by this program.
pub fn encode(state: &State) -> Result<Vec<u8>, serde_json::Error> {
    serde_json::to_vec(&Document { format: FORMAT, state })
}

/// Reads the state of a directory without taking its lock.
///
/// # Errors
/// [`LocalError::Read`], [`LocalError::Broken`], [`LocalError::Newer`].
pub fn read(directory: &Path) -> Result<Option<State>, LocalError> {
    let path = directory.join(FILE);
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(LocalError::Read { path, source }),
    };
    // The format is read first: the rest of a newer one need not have our shape.
    let document: Result<Document<Value>, _> = serde_json::from_slice(&bytes);
    match document {
        Ok(document) if document.format > FORMAT => {
            Err(LocalError::Newer { path, found: document.format, known: FORMAT })
        }
        Ok(document) => serde_json::from_value(document.state).map(Some).map_err(|e| broken(path, e)),
        Err(error) => Err(broken(path, error)),
    }
}

fn broken(path: PathBuf, source: serde_json::Error) -> LocalError {
    LocalError::Broken { path, source }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::marathon_local::state::AppRecord;
    use crate::model::{App, AppId};

    #[test]
    fn what_is_saved_is_loaded() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("marathon")).unwrap();
        assert_eq!(store.load().unwrap(), None);
        let app = App::from_value(json!({"id": "/a"})).unwrap();
        let mut state = State { framework_id: "f".into(), ..State::default() };
        state.apps.insert(AppId::new("/a").unwrap(), AppRecord::new(app, "v1"));
        store.save(&encode(&state).unwrap()).unwrap();
        assert_eq!(store.load().unwrap(), Some(state));
    }

    #[test]
    fn one_process_holds_the_directory() {
        let folder = tempfile::tempdir().unwrap();
        let held = Store::open(folder.path()).unwrap();
        assert!(matches!(Store::open(folder.path()), Err(LocalError::Locked { .. })));
        drop(held);
        Store::open(folder.path()).unwrap();
    }

    #[test]
    fn broken_and_newer_files_are_refused_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        for (text, newer) in [
            ("{", false),
            (r#"{"format":1,"state":{}}"#, false),
            (r#"{"format":3,"state":{"shape":"unknown"}}"#, true),
        ] {
            std::fs::write(folder.path().join(FILE), text).unwrap();
            let error = read(folder.path()).unwrap_err();
            assert_eq!(matches!(error, LocalError::Newer { .. }), newer, "{error}");
            assert_eq!(std::fs::read_to_string(folder.path().join(FILE)).unwrap(), text);
        }
    }
}
