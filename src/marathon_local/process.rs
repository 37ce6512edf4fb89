//! The executor that runs real processes on this machine.
//!
//! It isolates nothing: no limits on CPU or memory, no image, no network of its own. An app that needs one
//! of them fails with a message that says so, which is what a person then sees as its last failure.

mod agent;
mod archive;
mod cache;
mod environment;
mod fetch;
mod files;
mod probe;
mod room;
mod sandbox;
mod secrets;
mod sweep;
mod turns;
mod volumes;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::future::BoxFuture;
use serde_json::Value;
use tokio::sync::Semaphore;

use super::definition::{self, HealthCheck, ReadinessCheck};
use super::executor::{Executor, KillSignal, Progress, ProgressSink, ReadinessAnswer, TaskEnd, TaskSpec};
use super::placement::{self, Expressions, Placement};
use super::pod;
use super::supervisor::{Order, Report};
use crate::clock::Clock;
use crate::model::{App, AppId};
use agent::Supervised;
use cache::FetchCache;
use fetch::Fetcher;
use probe::Prober;
use sandbox::Sandboxes;
use secrets::Secrets;
use volumes::Volumes;

/// How many sandboxes may be made at the same time; each first has old ones removed.
const MADE_AT_ONCE: usize = 16;

/// How many tasks may exist: each is at least two processes.
const MOST_TASKS: usize = 4_000;

/// Runs tasks as processes.
pub struct ProcessExecutor {
    agent: PathBuf,
    sandboxes: Arc<Sandboxes>,
    volumes: Volumes,
    secrets: Secrets,
    fetcher: Fetcher,
    prober: Prober,
    /// How many sandboxes may be made at the same time.
    making: Arc<Semaphore>,
    expressions: Expressions,
}

/// Why the executor could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The directory of the sandboxes, or that of what is fetched.
    #[error("cannot make {0}")]
    Directory(PathBuf, #[source] std::io::Error),
    /// The directory of the secrets.
    #[error("cannot use the secrets in {0}")]
    Secrets(PathBuf, #[source] std::io::Error),
    /// The client for fetching and for health checks.
    #[error("cannot make an HTTP client")]
    Client(#[from] reqwest::Error),
}

impl ProcessExecutor {
    /// An executor with its sandboxes and volumes below a directory, whose supervisors are re-executions of `agent`
    /// and whose secrets lie in a directory, where there is one. Whatever an earlier one left running there is killed.
    ///
    /// # Errors
    /// [`SetupError`].
    pub fn new(
        dir: &Path,
        agent: PathBuf,
        secrets: Option<PathBuf>,
        clock: &Clock,
    ) -> Result<Self, SetupError> {
        // The one TLS provider of the process; that it is set already is fine.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let secrets = match secrets {
            Some(path) => Secrets::open(path.clone()).map_err(|e| SetupError::Secrets(path, e))?,
            None => Secrets::none(),
        };
        let sandboxes = dir.join("sandboxes");
        let made = Sandboxes::new(sandboxes.clone()).map_err(|e| SetupError::Directory(sandboxes, e))?;
        sweep::sweep(made.root());
        let prober = Prober::new(clock.clone(), agent.clone(), secrets.clone())?;
        let kept = dir.join("fetched");
        let cache =
            FetchCache::new(kept.clone(), cache::LIMIT).map_err(|e| SetupError::Directory(kept, e))?;
        let fetcher = Fetcher::new(clock.clone(), cache)?;
        Ok(Self {
            agent,
            sandboxes: Arc::new(made),
            volumes: Volumes::new(dir.join("volumes")),
            secrets,
            fetcher,
            prober,
            making: Arc::new(Semaphore::new(MADE_AT_ONCE)),
            expressions: Expressions::default(),
        })
    }

    async fn run_task(&self, task: &TaskSpec, mut kill: KillSignal, progress: &ProgressSink) -> TaskEnd {
        let order = tokio::select! {
            _ = kill.next() => Err(TaskEnd::Killed("Killed before it was started".to_owned())),
            order = self.prepare(task) => order.map_err(TaskEnd::Failed),
        };
        let order = match order {
            Ok(order) => order,
            Err(end) => {
                self.give_up(task, &end).await;
                return end;
            }
        };
        progress.tell(Progress::Starting).await;
        match Supervised::start(&self.agent, order).await {
            Ok(supervised) => self.follow(task, supervised, kill, progress).await,
            Err(message) => TaskEnd::Failed(message),
        }
    }

    /// Makes the sandbox, fetches, and says what is to be run.
    async fn prepare(&self, task: &TaskSpec) -> Result<Order, String> {
        let argv = command_line(&task.app)?;
        let (sandbox, env) = self.make_sandbox(task).await?;
        self.fetcher.fetch(&task.app_id, &task.app, &sandbox).await?;
        Ok(Order { argv, env, directory: sandbox, keep_output: true })
    }

    /// The sandbox with all that is mounted there, and the environment.
    async fn make_sandbox(&self, task: &TaskSpec) -> Result<(PathBuf, BTreeMap<String, String>), String> {
        let turn = Arc::clone(&self.making).acquire_owned().await.map_err(|e| e.to_string())?;
        let sandboxes = Arc::clone(&self.sandboxes);
        // Files of old sandboxes are removed on a thread that may block; it keeps the turn, also when the task is given up.
        // Its failure is only untidy.
        let pruned = tokio::task::spawn_blocking(move || {
            sandboxes.prune();
            turn
        });
        let _turn = pruned.await;
        let sandbox = self.sandboxes.open(&task.id).map_err(|e| format!("cannot make the sandbox: {e}"))?;
        self.volumes.mount(task, &sandbox, &self.secrets)?;
        let env = environment::of(task, &sandbox, &self.secrets)?;
        Ok((sandbox, env))
    }

    /// Cleans up behind a task that did not come to run.
    async fn give_up(&self, task: &TaskSpec, end: &TaskEnd) {
        let (TaskEnd::Killed(reason) | TaskEnd::Failed(reason) | TaskEnd::Finished(reason)) = end;
        let (sandboxes, id, reason) = (Arc::clone(&self.sandboxes), task.id.clone(), reason.clone());
        // Its failure is only untidy.
        let _ = tokio::task::spawn_blocking(move || sandboxes.give_up(&id, &reason)).await;
    }

    async fn follow(
        &self,
        task: &TaskSpec,
        mut supervised: Supervised,
        mut kill: KillSignal,
        progress: &ProgressSink,
    ) -> TaskEnd {
        let (mut told, mut abandoned) = (false, false);
        let end = loop {
            tokio::select! {
                report = supervised.report() => match report {
                    Some(Report::Started { .. }) => progress.tell(Progress::Running).await,
                    Some(Report::Refused { message }) => break TaskEnd::Failed(message),
                    Some(Report::Ended { code, signal }) => break end_of(told, code, signal),
                    None => {
                        sweep::sweep(&self.sandboxes.path(&task.id));
                        break TaskEnd::Failed("the task's supervisor died".to_owned());
                    }
                },
                grace = kill.next(), if !abandoned => {
                    told = true;
                    if let Some(grace) = grace {
                        // If the supervisor is gone, the end of its reports says so.
                        drop(supervised.kill(grace).await);
                    } else {
                        abandoned = true;
                        supervised.kill_now();
                    }
                }
            }
        };
        supervised.gone().await;
        end
    }
}

impl Executor for ProcessExecutor {
    fn run(
        self: Arc<Self>,
        task: Arc<TaskSpec>,
        kill: KillSignal,
        progress: ProgressSink,
    ) -> BoxFuture<'static, TaskEnd> {
        Box::pin(async move {
            let end = self.run_task(&task, kill, &progress).await;
            self.volumes.release(&task.id);
            self.sandboxes.close(&task.id);
            end
        })
    }

    fn probe<'a>(&'a self, task: &'a TaskSpec, check: &'a HealthCheck) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async move { self.prober.probe(task, check, &self.sandboxes.path(&task.id)).await })
    }

    fn ready<'a>(
        &'a self,
        task: &'a TaskSpec,
        check: &'a ReadinessCheck,
    ) -> BoxFuture<'a, Option<ReadinessAnswer>> {
        Box::pin(self.prober.ready(task, check))
    }

    fn declines(&self, task: &Placement<'_>) -> Option<&'static str> {
        placement::misfit(task, &self.expressions)
    }

    fn capacity(&self) -> usize {
        MOST_TASKS
    }

    fn forget(&self, app: &AppId) {
        self.volumes.forget(app);
    }

    fn wipe(&self, task: &TaskSpec) {
        self.volumes.wipe(&task.id);
    }
}

/// What to run, or why this executor cannot run it.
fn command_line(app: &App) -> Result<Vec<String>, String> {
    if pod::is_pod(app) {
        return Err("pods cannot be run: the local Marathon starts plain processes only".to_owned());
    }
    let container = app.get("container");
    let text = |key: &str| container.and_then(|c| c.get(key)).and_then(Value::as_str);
    let image = container.and_then(|c| c.get("docker")).and_then(|d| d.get("image")).is_some();
    if text("type") == Some("DOCKER") || image {
        return Err("container images cannot be run: the local Marathon starts plain processes only \
                    (container type DOCKER or an image needs a real cluster)"
            .to_owned());
    }
    if !definition::is_on_host_network(app) {
        return Err(
            "container networks cannot be provided: the local Marathon runs tasks on the host network only"
                .to_owned(),
        );
    }
    if let Some(user) = app.get("user").and_then(Value::as_str) {
        return Err(format!("the task cannot run as {user}: the local Marathon runs tasks as itself only"));
    }
    if let Some(command) = app.get("cmd").and_then(Value::as_str) {
        return Ok(agent::shell(command));
    }
    let args = app.get("args").and_then(Value::as_array).into_iter().flatten();
    let args: Vec<_> = args.filter_map(Value::as_str).map(str::to_owned).collect();
    if args.is_empty() { Err("the app has neither cmd nor args".to_owned()) } else { Ok(args) }
}

fn end_of(told: bool, code: Option<i32>, signal: Option<i32>) -> TaskEnd {
    let message = probe::ending(code, signal);
    match (told, code) {
        (true, _) => TaskEnd::Killed(message),
        (false, Some(0)) => TaskEnd::Finished(message),
        (false, _) => TaskEnd::Failed(message),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_cannot_be_run_is_refused_in_words() {
        let line = |app: Value| command_line(&App::from_value(app).unwrap());
        assert_eq!(line(json!({"cmd": "true"})).unwrap(), ["/bin/sh", "-c", "true"]);
        assert_eq!(line(json!({"args": ["sleep", "1"]})).unwrap(), ["sleep", "1"]);
        assert!(line(json!({"cmd": "x", "container": {"type": "MESOS"}})).is_ok());
        for (app, word) in [
            (json!({"cmd": "x", "container": {"type": "DOCKER", "docker": {"image": "i"}}}), "DOCKER"),
            (json!({"cmd": "x", "container": {"type": "MESOS", "docker": {"image": "i"}}}), "image"),
            (json!({"cmd": "x", "networks": [{"mode": "container/bridge"}]}), "network"),
            (json!({"cmd": "x", "user": "nobody"}), "nobody"),
            (json!({"containers": []}), "pods"),
            (json!({}), "neither"),
        ] {
            let error = line(app).unwrap_err();
            assert!(error.contains(word), "{error}");
        }
    }
}
