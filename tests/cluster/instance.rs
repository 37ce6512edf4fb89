//! One running `run`, and what may be done to it.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use dcos_registry::clock::Clock;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::program::{DEADLINE, Lines, command, pause, processes_left, until, wait_for_end};
use crate::web::{ask_within, get};

/// A directory for everything of a test. Processes carry its path, so that those which are left are found.
pub struct Place(TempDir);

impl Place {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Writes a file; gives its path.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    /// Fails when a process is left that was started here.
    pub fn check_nothing_runs(&self) {
        until("no process is left", DEADLINE, || {
            let left = processes_left(self.path());
            if left.is_empty() { Ok(()) } else { Err(left.join("\n")) }
        });
    }
}

/// A port that is free now. Not one of those that the system gives to clients, so that none of them takes it while
/// an instance is down.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = 20_000 + u16::try_from(std::process::id() % 10_000).unwrap();
    for _ in 0..2000 {
        let port = first + NEXT.fetch_add(1, Ordering::SeqCst);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no port is free");
}

/// How an instance is started, again and again.
#[derive(Clone)]
pub struct Recipe {
    /// Its name in records.
    pub name: String,
    pub config: PathBuf,
    pub port: u16,
    /// `DCOS_REGISTRY_LOG`
    pub log: String,
}

impl Recipe {
    /// An instance with a configuration that may name `PORT`.
    pub fn new(place: &Place, name: &str, config: &str) -> Self {
        let port = free_port();
        let config = config.replace("PORT", &port.to_string());
        let config = place.write(&format!("{name}.yaml"), &config);
        Self { name: name.to_owned(), config, port, log: "warn".to_owned() }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Starts it; it may not listen yet.
    pub fn start(&self) -> Instance {
        let begun = Clock::system().boot();
        let mut child = command()
            .args(["run", "--config"])
            .arg(&self.config)
            .env("MESOS_TASK_ID", &self.name)
            .env("DCOS_REGISTRY_LOG", &self.log)
            .env_remove("MARATHON_APP_ID")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let output = Lines::of(child.stdout.take().unwrap());
        let errors = Lines::of(child.stderr.take().unwrap());
        Instance { name: self.name.clone(), url: self.url(), child, output, errors, begun }
    }
}

/// A process. Dropping it kills it.
pub struct Instance {
    pub name: String,
    pub url: String,
    child: Child,
    output: Lines,
    errors: Lines,
    begun: Duration,
}

impl Instance {
    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Everything that it printed.
    pub fn printed(&self) -> String {
        format!("{}\n{}", self.output.text(), self.errors.text())
    }

    /// What it printed as errors and logged.
    pub fn errors(&self) -> String {
        self.errors.text()
    }

    /// kill -9, without a word.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM, and how it ended.
    pub fn terminate(mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        wait_for_end(&mut self.child)
    }

    /// SIGSTOP; returns once no thread of it runs.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
        let tasks = format!("/proc/{}/task", self.child.id());
        until("it is frozen", DEADLINE, || {
            let stands = |stat: String| stat.rsplit_once(')').is_some_and(|(_, rest)| rest.starts_with(" T"));
            let mut states = std::fs::read_dir(&tasks)
                .unwrap()
                .flatten()
                .map(|task| std::fs::read_to_string(task.path().join("stat")).unwrap_or_default());
            if states.all(stands) { Ok(()) } else { Err("a thread runs".into()) }
        });
    }

    /// SIGCONT
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    /// Waits for the end that it comes to by itself.
    pub fn end(mut self) -> (ExitStatus, String) {
        let status = wait_for_end(&mut self.child);
        // The last lines may still be on their way from the pipe.
        pause(Duration::from_millis(50));
        (status, self.printed())
    }

    fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits until it says that it is ready; the time since it was started.
    pub fn wait_until_ready(&mut self) -> Duration {
        let url = format!("{}/readyz", self.url);
        until("it is ready", DEADLINE, || {
            assert!(!self.has_ended(), "{} has ended:\n{}", self.name, self.printed());
            let answer = ask_within("GET", &url, Vec::new(), Duration::from_secs(5))?;
            if answer.status == 200 { Ok(()) } else { Err(answer.text()) }
        });
        Clock::system().boot().saturating_sub(self.begun)
    }

    /// Lines of its log that tell of a failure.
    pub fn failures(&self) -> Vec<String> {
        let errors = self.errors.text();
        errors.lines().filter(|line| line.contains(" ERROR ")).map(str::to_owned).collect()
    }

    pub fn get(&self, path: &str) -> Result<Value, String> {
        get(&format!("{}{path}", self.url))?.json()
    }

    /// Waits until it knows that it does not lead.
    pub fn wait_until_it_leads_no_more(&self, limit: Duration) {
        until("it knows that it leads no more", limit, || match self.is_leading() {
            Ok(false) => Ok(()),
            other => Err(format!("{other:?}")),
        });
    }

    /// Whether it says that it leads.
    pub fn is_leading(&self) -> Result<bool, String> {
        let metrics = get(&format!("{}/metrics", self.url))?.text();
        let line = metrics.lines().find_map(|line| line.strip_prefix("dcos_registry_leader "));
        line.map(|value| value == "1").ok_or_else(|| "no metric `leader`".into())
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        // It has ended already where the test went well.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- {} had printed:\n{}", self.name, self.printed());
        }
    }
}
