//! The program under test as a process: which build it is, its output, its end, and what is left of it.
//!
//! Use from a test crate: `#[path = "../support/program.rs"] mod program;`.

#![allow(dead_code, reason = "every test crate uses its own part of it")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

use std::io::{BufRead as _, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use dcos_registry::clock::Clock;

/// No wait is longer than this; a wait that reaches it fails the test.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// A variable of the environment of the test; none where it is not set.
#[expect(clippy::disallowed_methods, reason = "a test is told by its environment how much to do")]
pub fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The program of this build, or the one that `DCOS_REGISTRY_PROGRAM` names, such as the release build.
pub fn program() -> PathBuf {
    variable("DCOS_REGISTRY_PROGRAM")
        .map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_dcos-registry")), PathBuf::from)
}

#[expect(clippy::disallowed_methods, reason = "a process test starts processes")]
pub fn command() -> Command {
    Command::new(program())
}

/// Another program, such as `mount`.
#[expect(clippy::disallowed_methods, reason = "mounting is a program's work")]
pub fn tool(program: &str, arguments: &[&str]) -> std::io::Result<Output> {
    Command::new(program).args(arguments).output()
}

/// Runs the program to its end; one that does not end is killed and so has no exit code.
pub fn run(arguments: &[&str]) -> Output {
    let mut command = command();
    command.args(arguments);
    run_to_end(command, DEADLINE)
}

/// Runs a command to its end; one that does not end in time is killed and so has no exit code.
#[expect(clippy::disallowed_methods, reason = "somebody must watch while the output is read")]
pub fn run_to_end(mut command: Command, limit: Duration) -> Output {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    let pid = rustix::process::Pid::from_child(&child);
    let (ended, end) = mpsc::channel::<()>();
    let watch = std::thread::spawn(move || {
        if end.recv_timeout(limit) == Err(mpsc::RecvTimeoutError::Timeout) {
            // It may have ended just now.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    });
    let output = child.wait_with_output().unwrap();
    drop(ended);
    watch.join().unwrap();
    output
}

/// Lines that a process printed so far, read while it runs.
#[derive(Clone, Default)]
pub struct Lines(Arc<Mutex<Vec<String>>>);

impl Lines {
    #[expect(clippy::disallowed_methods, reason = "the output must be read while the test runs")]
    pub fn of(output: impl Read + Send + 'static) -> Self {
        let lines = Self::default();
        let kept = lines.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                kept.0.lock().unwrap().push(line);
            }
        });
        lines
    }

    /// All of them.
    pub fn text(&self) -> String {
        self.0.lock().unwrap().join("\n")
    }

    /// The word after the first of a line that begins so.
    pub fn word_after(&self, begin: &str) -> Option<String> {
        let lines = self.0.lock().unwrap();
        let line = lines.iter().find(|line| line.starts_with(begin))?;
        line.split_whitespace().nth(1).map(str::to_owned)
    }
}

/// The exit code of a process that is about to end; kills what does not.
pub fn wait_for_end(child: &mut Child) -> ExitStatus {
    let clock = Clock::system();
    let end = clock.boot() + DEADLINE;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if clock.boot() > end {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("it did not end");
        }
        pause(Duration::from_millis(5));
    }
}

/// Lets time pass, because a process works meanwhile.
#[expect(clippy::disallowed_methods, reason = "a process test waits in real time")]
pub fn pause(time: Duration) {
    std::thread::sleep(time);
}

/// Tries until it succeeds, and gives what it found; fails with the last reason when the deadline passes.
pub fn until<T>(what: &str, limit: Duration, mut look: impl FnMut() -> Result<T, String>) -> T {
    let clock = Clock::system();
    let end = clock.boot() + limit;
    loop {
        match look() {
            Ok(found) => return found,
            Err(reason) if clock.boot() > end => panic!("{what}: {reason}"),
            Err(_) => pause(Duration::from_millis(5)),
        }
    }
}

/// As [`until`] with the deadline that all waits have.
pub fn eventually(what: &str, condition: impl FnMut() -> Result<(), String>) {
    until(what, DEADLINE, condition);
}

/// A process as `/proc` shows it.
pub struct Process {
    pub pid: i32,
    pub arguments: Vec<String>,
    pub environment: Vec<String>,
}

/// Processes that carry a path in their environment or arguments.
pub fn processes_with(path: &Path) -> Vec<Process> {
    let mark = path.to_string_lossy().into_owned();
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let processes = entries.filter_map(|entry| {
        let read = |name: &str| {
            let bytes = std::fs::read(entry.path().join(name)).unwrap_or_default();
            let words = bytes.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned());
            words.collect::<Vec<_>>()
        };
        let pid = entry.file_name().to_str()?.parse().ok()?;
        Some(Process { pid, arguments: read("cmdline"), environment: read("environ") })
    });
    let carries = |process: &Process| {
        process.environment.iter().chain(&process.arguments).any(|word| word.contains(&mark))
    };
    processes.filter(carries).collect()
}

/// The same in words, for messages.
pub fn processes_left(path: &Path) -> Vec<String> {
    let words = |process: &Process| format!("{}: {}", process.pid, process.arguments.join(" "));
    processes_with(path).iter().map(words).collect()
}
