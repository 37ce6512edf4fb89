//! The command line: one file per command. Prints results on stdout, errors and logs on stderr.
//!
//! Exit codes: 0 done, 1 error, 2 changes (`plan --detailed-exitcode`) or something found (`storage`), 64 wrong usage.

mod daemon;
mod lead;
mod marathon_local;
mod plan;
mod render;
mod run;
mod serving;
mod status;
mod storage;
mod up;

use std::ffi::OsString;
use std::io::Write as _;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::marathon_local::supervisor;
use crate::telemetry;

/// Wrong usage (`EX_USAGE` of sysexits.h).
const USAGE: u8 = 64;
/// `plan --detailed-exitcode` found something to do.
const CHANGES: u8 = 2;

/// Where a daemon is looked for when nobody says.
const DEFAULT_SERVER: &str = "http://127.0.0.1:5080";

/// Package registry, GitOps controller and command line for DC/OS and plain Mesos + Marathon.
#[derive(Parser)]
#[command(name = "dcos-registry", version, disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run registry, controller and a small local Marathon on this machine, in the foreground
    Up(up::UpArguments),
    /// Run one instance of the registry, as Marathon or a supervisor starts it, in the foreground
    Run(run::RunArguments),
    /// Run the small local Marathon alone on this machine, in the foreground
    MarathonLocal(marathon_local::MarathonLocalArguments),
    /// Show what would change, and why; changes nothing
    Plan(plan::PlanArguments),
    /// Show the state of every unit
    Status(status::StatusArguments),
    /// Look at everything now
    Reconcile(lead::ReconcileArguments),
    /// Let the controller do nothing until it is resumed
    Suspend(lead::SuspendArguments),
    /// Let the controller act again
    Resume(lead::ResumeArguments),
    /// Check, scrub, clean up, rebuild or copy a registry's storage
    Storage(Box<storage::StorageArguments>),
    /// Print the Marathon app that a service of a package would be
    Render(render::RenderArguments),
}

/// What a command hands to the shell.
type CommandResult = Result<ExitCode, Box<dyn std::error::Error>>;

/// Runs the command line and gives the exit code.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    // The supervisor of a task is this program too; it must start before anything else does.
    if arguments.get(1).is_some_and(|word| word == supervisor::SUBCOMMAND) {
        return supervisor::main(arguments.into_iter().skip(2));
    }
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => return usage(&error),
    };
    if let Err(error) = telemetry::init(telemetry::LogFormat::Text, &crate::config::log_filter()) {
        eprintln!("dcos-registry: {}", telemetry::chain(&error));
        return ExitCode::from(USAGE);
    }
    let result = match arguments.command {
        Command::Up(arguments) => up::run(&arguments),
        Command::Run(arguments) => run::run(&arguments),
        Command::MarathonLocal(arguments) => marathon_local::run(&arguments),
        Command::Plan(arguments) => plan::run(&arguments),
        Command::Status(arguments) => status::run(&arguments),
        Command::Reconcile(arguments) => lead::reconcile(&arguments),
        Command::Suspend(arguments) => lead::suspend(&arguments),
        Command::Resume(arguments) => lead::resume(&arguments),
        Command::Storage(arguments) => storage::run(&arguments),
        Command::Render(arguments) => render::run(&arguments),
    };
    result.unwrap_or_else(|error| {
        eprintln!("dcos-registry: {}", telemetry::chain(error.as_ref()));
        ExitCode::FAILURE
    })
}

fn usage(error: &clap::Error) -> ExitCode {
    // Nothing can be done about a terminal that does not take the help.
    let _ = error.print();
    if error.use_stderr() { ExitCode::from(USAGE) } else { ExitCode::SUCCESS }
}

/// Prints on stdout. A reader that has gone away (`plan | head`) is no error.
///
/// # Errors
/// When stdout takes nothing for another reason, such as a full disk.
fn print(text: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// A runtime for one command.
fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()
}
