//! Volumes as directories, and secrets as files, linked into the sandbox.
//!
//! A persistent volume belongs to an app, not to a task: the next task finds what the last one wrote. Each instance has
//! its own; whoever starts takes the first that is free. They go with the app, or when a task is wiped.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde_json::Value;

use super::fetch::is_inside;
use super::secrets::Secrets;
use crate::marathon_local::definition;
use crate::marathon_local::executor::TaskSpec;
use crate::model::AppId;

/// All persistent volumes of this Marathon.
pub struct Volumes {
    root: PathBuf,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The directory of each running task that has one.
    held: BTreeMap<String, PathBuf>,
    /// Directories that go when their task ends.
    doomed: BTreeSet<PathBuf>,
}

impl Volumes {
    /// The volumes below a directory, which is made when the first one is needed.
    pub fn new(root: PathBuf) -> Self {
        Self { root, state: Mutex::default() }
    }

    /// Puts everything that a task mounts into its sandbox.
    ///
    /// # Errors
    /// What cannot be mounted, and why.
    pub fn mount(&self, task: &TaskSpec, sandbox: &Path, secrets: &Secrets) -> Result<(), String> {
        let mut own = None;
        for volume in definition::volumes(&task.app) {
            let text = |key: &str| volume.get(key).and_then(Value::as_str);
            let path = text("containerPath").unwrap_or_default();
            let failed = |e: std::io::Error| format!("cannot mount the volume {path}: {e}");
            if volume.get("persistent").is_some() {
                let own = match &own {
                    Some(own) => own,
                    None => own.insert(self.take(task).map_err(failed)?),
                };
                let place = place(sandbox, path)?;
                let directory = own.join(path);
                std::fs::create_dir_all(&directory)
                    .and_then(|()| symlink(directory, place))
                    .map_err(failed)?;
            } else if let Some(name) = text("secret") {
                let content = secrets.of(&task.app, name)?;
                let mut file = std::fs::File::options();
                let file = file.write(true).create_new(true).mode(0o600).open(place(sandbox, path)?);
                file.and_then(|mut file| file.write_all(content.as_bytes())).map_err(failed)?;
            } else if let Some(host) = text("hostPath") {
                mount_host(host, path, sandbox)?;
            } else {
                return Err(format!("the volume {path} is external, which needs a real cluster"));
            }
        }
        Ok(())
    }

    /// The directory with the volumes of one instance: the first of the app that no task holds.
    fn take(&self, task: &TaskSpec) -> std::io::Result<PathBuf> {
        let mut state = self.lock();
        let app = self.of_app(&task.app_id);
        let free = (0..).map(|slot: u32| app.join(slot.to_string()));
        let free = free.into_iter().find(|slot| !state.held.values().any(|held| held == slot));
        let directory = free.unwrap_or(app);
        std::fs::create_dir_all(&directory)?;
        state.held.insert(task.id.clone(), directory.clone());
        Ok(directory)
    }

    fn of_app(&self, app: &AppId) -> PathBuf {
        // No id holds an underscore, so that no two apps meet.
        self.root.join(app.as_str().trim_start_matches('/').replace('/', "_"))
    }

    /// The task has ended: another one may have what it held.
    pub fn release(&self, task: &str) {
        let mut state = self.lock();
        if let Some(directory) = state.held.remove(task)
            && state.doomed.remove(&directory)
        {
            remove(&directory);
        }
    }

    /// What the task holds goes when it ends.
    pub fn wipe(&self, task: &str) {
        let mut state = self.lock();
        if let Some(directory) = state.held.get(task).cloned() {
            state.doomed.insert(directory);
        }
    }

    /// Everything of an app goes.
    pub fn forget(&self, app: &AppId) {
        let state = self.lock();
        let directory = self.of_app(app);
        // What a task still holds goes with a later removal: a resident app's deletion waits for its tasks.
        if !state.held.values().any(|held| held.starts_with(&directory)) {
            remove(&directory);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn remove(directory: &Path) {
    if let Err(error) = std::fs::remove_dir_all(directory)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!(path = %directory.display(), %error, "cannot remove a volume");
    }
}

/// Where in the sandbox a volume goes.
fn place(sandbox: &Path, path: &str) -> Result<PathBuf, String> {
    if !is_inside(Path::new(path)) {
        return Err(format!(
            "the volume {path} lies outside of the sandbox, which needs a container with a file system of its own"
        ));
    }
    let place = sandbox.join(path);
    let parent = place.parent().map_or(Ok(()), std::fs::create_dir_all);
    parent.map_err(|e| format!("cannot mount the volume {path}: {e}"))?;
    Ok(place)
}

/// A directory of this machine: tasks see it anyway, under its own path; elsewhere by a link in the sandbox.
fn mount_host(host: &str, path: &str, sandbox: &Path) -> Result<(), String> {
    let source = if host.starts_with('/') { PathBuf::from(host) } else { sandbox.join(host) };
    if host == path && source.exists() {
        return Ok(());
    }
    if !source.exists() {
        return Err(format!("the path {host} of the volume {path} does not exist on this machine"));
    }
    symlink(source, place(sandbox, path)?).map_err(|e| format!("cannot mount the volume {path}: {e}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::App;

    fn task(id: &str, volumes: &Value) -> TaskSpec {
        TaskSpec {
            id: id.to_owned(),
            app_id: AppId::new("/g/a").unwrap(),
            app: App::from_value(
                json!({"secrets": {"k": {"source": "path/key"}}, "container": {"volumes": volumes}}),
            )
            .unwrap(),
            host: [127, 0, 0, 1].into(),
            ports: Vec::new(),
        }
    }

    struct World {
        folder: tempfile::TempDir,
        volumes: Volumes,
    }

    impl World {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let volumes = Volumes::new(folder.path().join("volumes"));
            std::fs::create_dir(folder.path().join("secrets")).unwrap();
            Self { folder, volumes }
        }

        fn mount(&self, task: &TaskSpec) -> Result<PathBuf, String> {
            let sandbox = self.folder.path().join(&task.id);
            std::fs::create_dir_all(&sandbox).unwrap();
            let secrets = Secrets::open(self.folder.path().join("secrets")).unwrap();
            self.volumes.mount(task, &sandbox, &secrets).map(|()| sandbox)
        }
    }

    #[test]
    fn what_is_written_stays_for_the_next_task_and_goes_with_the_app() {
        let world = World::new();
        let persistent = json!([{"containerPath": "data", "mode": "RW", "persistent": {"size": 1}}]);
        let (first, second) = (task("t1", &persistent), task("t2", &persistent));
        let sandbox = world.mount(&first).unwrap();
        std::fs::write(sandbox.join("data/x"), "1").unwrap();
        assert!(!world.mount(&second).unwrap().join("data/x").exists(), "each instance has its own");
        world.volumes.release("t1");
        let sandbox = world.mount(&task("t3", &persistent)).unwrap();
        assert_eq!(std::fs::read_to_string(sandbox.join("data/x")).unwrap(), "1");
        world.volumes.wipe("t3");
        world.volumes.release("t3");
        assert!(!world.mount(&task("t4", &persistent)).unwrap().join("data/x").exists(), "it was wiped");
        world.volumes.release("t2");
        world.volumes.release("t4");
        world.volumes.forget(&first.app_id);
        assert_eq!(std::fs::read_dir(world.folder.path().join("volumes")).unwrap().count(), 0);
    }

    #[test]
    fn secrets_are_files_that_only_the_owner_reads() {
        use std::os::unix::fs::PermissionsExt as _;
        let world = World::new();
        std::fs::create_dir_all(world.folder.path().join("secrets/path")).unwrap();
        std::fs::write(world.folder.path().join("secrets/path/key"), "s3cret").unwrap();
        let secret = json!([{"containerPath": "etc/key", "secret": "k"}]);
        let file = world.mount(&task("t", &secret)).unwrap().join("etc/key");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "s3cret");
        assert_eq!(std::fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn paths_of_this_machine_are_linked_and_what_cannot_be_mounted_is_told() {
        let world = World::new();
        let host = world.folder.path().join("host");
        std::fs::create_dir(&host).unwrap();
        std::fs::write(host.join("f"), "x").unwrap();
        let host = host.display().to_string();
        let linked = json!([{"containerPath": "in/side", "hostPath": host, "mode": "RO"}]);
        assert!(world.mount(&task("t1", &linked)).unwrap().join("in/side/f").exists());
        let same = json!([{"containerPath": host, "hostPath": host, "mode": "RO"}]);
        world.mount(&task("t2", &same)).unwrap();
        for (volume, word) in [
            (json!({"containerPath": "/else/where", "hostPath": host}), "outside of the sandbox"),
            (json!({"containerPath": "x", "hostPath": "/no/such/path"}), "does not exist"),
            (json!({"containerPath": "../x", "persistent": {"size": 1}}), "outside of the sandbox"),
            (json!({"containerPath": "x", "external": {"name": "n"}}), "real cluster"),
            (json!({"containerPath": "x", "secret": "unknown"}), "unknown"),
        ] {
            let error = world.mount(&task("t3", &json!([volume]))).unwrap_err();
            assert!(error.contains(word), "{error}");
        }
    }
}
