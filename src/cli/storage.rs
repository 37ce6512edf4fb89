//! `storage`: what operators do with the storage itself: check, scrub, gc, rebuild, copy.
//!
//! The storage is named as a daemon's file (`--config`), or as a back end: the path of a directory, or
//! `s3://bucket/path` with options. Results go to stdout, how far the work has come to stderr. Exit codes beside the
//! usual ones: 2 where something was found that a person should look at.

mod check;
mod copy;
mod gc;
mod rebuild;
mod remote;
mod scrub;
mod target;
mod watch;

#[cfg(test)]
mod tests;

use std::process::ExitCode;

use clap::Subcommand;
use serde::Serialize;

use super::{CommandResult, USAGE, print, runtime};
use crate::clock::{Clock, Entropy};
use crate::config::{ConfigError, Environment};
use crate::storage::local::LocalError;
use crate::storage::{Opening, StorageError};

/// Something was found that a person should look at.
const FOUND: u8 = 2;

/// Check, scrub, clean up, rebuild or copy a registry's storage
#[derive(clap::Args)]
pub struct StorageArguments {
    #[command(subcommand)]
    command: StorageCommand,
}

#[derive(Subcommand)]
enum StorageCommand {
    /// Find out by trying whether a back end keeps what a registry needs of it
    Check(check::CheckArguments),
    /// Read everything that is stored and compare it with what was stored
    Scrub(scrub::ScrubArguments),
    /// Delete what no package needs any more
    Gc(gc::GcArguments),
    /// Prove the records and write anew what is derived from them
    Rebuild(rebuild::RebuildArguments),
    /// Copy a registry to another back end; with --cutover the copy takes its place
    Copy(copy::CopyArguments),
}

/// What a command found, ready to be printed.
#[derive(Debug, PartialEq, Eq)]
struct Told {
    text: String,
    code: u8,
}

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

impl Told {
    /// A report as text or as JSON. `found` says whether a person should look at it.
    fn new<R: Serialize + std::fmt::Display>(report: &R, json: bool, found: bool) -> Result<Self> {
        let text = if json { serde_json::to_string_pretty(report)? } else { report.to_string() };
        Ok(Self { text: format!("{}\n", text.trim_end()), code: if found { FOUND } else { 0 } })
    }
}

/// What every command needs of the process.
struct Desk {
    environment: Environment,
    opening: Opening,
}

impl Desk {
    fn new(environment: Environment) -> Self {
        Self { environment, opening: Opening::once(Clock::system(), Entropy::system()) }
    }

    fn watch(&self) -> watch::Watch {
        watch::Watch::new(self.opening.clock.clone())
    }
}

/// Runs the command.
pub fn run(arguments: &StorageArguments) -> CommandResult {
    let runtime = runtime()?;
    let told = runtime.block_on(tell(&arguments.command, &Desk::new(Environment::process())));
    runtime.shutdown_timeout(std::time::Duration::from_millis(500));
    let Told { text, code } = match told {
        Err(error) if is_usage(&*error) => {
            eprintln!("dcos-registry: {}", crate::telemetry::chain(&*error));
            return Ok(ExitCode::from(USAGE));
        }
        told => told?,
    };
    print(&text)?;
    Ok(ExitCode::from(code))
}

/// Whether the command line is what is wrong.
fn is_usage(error: &(dyn std::error::Error + 'static)) -> bool {
    let named = |error: &ConfigError| {
        matches!(
            error,
            ConfigError::Backend { .. } | ConfigError::WhichStorage | ConfigError::OptionBesideFile { .. }
        )
    };
    error.downcast_ref().is_some_and(named) || error.is::<copy::NoTarget>()
}

async fn tell(command: &StorageCommand, desk: &Desk) -> Result<Told> {
    match command {
        StorageCommand::Check(arguments) => Box::pin(check::tell(arguments, desk)).await,
        StorageCommand::Scrub(arguments) => Box::pin(scrub::tell(arguments, desk)).await,
        StorageCommand::Gc(arguments) => Box::pin(gc::tell(arguments, desk)).await,
        StorageCommand::Rebuild(arguments) => Box::pin(rebuild::tell(arguments, desk)).await,
        StorageCommand::Copy(arguments) => Box::pin(copy::tell(arguments, desk)).await,
    }
}

/// A directory that a daemon holds, who can perhaps do it himself.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Held(String);

/// Tells a directory that a daemon holds from other trouble.
fn held(error: StorageError) -> Box<dyn std::error::Error> {
    match error {
        StorageError::Local(error @ LocalError::Locked { .. }) => Held(error.to_string()).into(),
        error => error.into(),
    }
}
