//! The small process that every task runs under: a re-execution of our own binary.
//!
//! Why a process of its own: when the daemon is killed, somebody must be left to kill the task. A
//! parent-death signal would follow the *thread* that spawned the task and would not reach grandchildren.
//! The supervisor learns of the daemon's end by the end of its standard input, which no signal can
//! suppress; and it is the "child subreaper", so that whatever a task started stays its descendant and is
//! found in `/proc`, also after a change of process group or session.
//!
//! Supervisor and task have a process group each: a task that signals its own group (`kill 0` in a shell)
//! must not hit the one who cleans up, and a Ctrl-C at the terminal reaches neither.
//!
//! The daemon writes one [`Instruction`] per line to standard input and reads one [`Report`] per line from
//! standard output. The first instruction must be `Run`.

mod descendants;
mod output;
mod run;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

/// The subcommand under which `main` hands over to [`main`].
pub const SUBCOMMAND: &str = "task-supervisor";

/// What the daemon tells its supervisor.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Instruction {
    /// Start this.
    Run(Order),
    /// SIGTERM to the task, SIGKILL to what is left of it after the grace period.
    Kill {
        /// The grace period.
        grace_milliseconds: u64,
    },
}

/// A program to run.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Order {
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// The whole environment.
    pub env: BTreeMap<String, String>,
    /// The working directory.
    pub directory: PathBuf,
    /// Whether standard output and error are kept in the files `stdout` and `stderr` of the directory.
    pub keep_output: bool,
}

/// What the supervisor tells the daemon.
#[derive(Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Report {
    /// The program runs.
    Started {
        /// Its process id, which is also its process group's.
        pid: i32,
    },
    /// The program could not be started.
    Refused {
        /// Why.
        message: String,
    },
    /// The program and everything it started are gone.
    Ended {
        /// The exit code, unless a signal ended it.
        code: Option<i32>,
        /// The signal that ended it.
        signal: Option<i32>,
    },
}

/// Runs one task and cleans up behind it. Called by `main` for the hidden subcommand [`SUBCOMMAND`].
///
/// Exits with the task's own code, with 128 + the signal's number where a signal ended it, and with 64 when
/// a person called it.
#[must_use]
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    if args.into_iter().next().is_some() {
        return failed("the task supervisor takes no arguments");
    }
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error.to_string()),
    };
    match runtime.block_on(run::supervise()) {
        Ok(code) => ExitCode::from(code),
        Err(error) => failed(&error.to_string()),
    }
}

fn failed(message: &str) -> ExitCode {
    let line = format!("dcos-registry {SUBCOMMAND}: {message} (the local Marathon starts it, nobody else)\n");
    // Nobody may be listening any more; there is nothing left to be told.
    let _ = std::io::stderr().write_all(line.as_bytes());
    ExitCode::from(64)
}
