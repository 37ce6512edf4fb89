//! `reconcile`, `suspend`, `resume`: what operators want of whoever leads, through any instance.

use std::process::ExitCode;

use serde::Deserialize;
use serde_json::json;

use super::daemon::{ServerArgument, order};
use super::{CommandResult, print, runtime};

/// Look at everything now
#[derive(clap::Args)]
pub struct ReconcileArguments {
    #[command(flatten)]
    server: ServerArgument,
}

/// Let the controller do nothing until it is resumed
#[derive(clap::Args)]
pub struct SuspendArguments {
    #[command(flatten)]
    server: ServerArgument,
    /// Why, for those who look at the status
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

/// Let the controller act again
#[derive(clap::Args)]
pub struct ResumeArguments {
    #[command(flatten)]
    server: ServerArgument,
}

#[derive(Deserialize)]
struct Answer {
    message: String,
}

/// Runs `reconcile`.
pub fn reconcile(arguments: &ReconcileArguments) -> CommandResult {
    send(&arguments.server, "/api/v1/reconcile", &json!({}))
}

/// Runs `suspend`.
pub fn suspend(arguments: &SuspendArguments) -> CommandResult {
    send(&arguments.server, "/api/v1/suspend", &json!({"reason": arguments.reason}))
}

/// Runs `resume`.
pub fn resume(arguments: &ResumeArguments) -> CommandResult {
    send(&arguments.server, "/api/v1/resume", &json!({}))
}

fn send(server: &ServerArgument, path: &str, body: &serde_json::Value) -> CommandResult {
    let answer: Answer = runtime()?.block_on(order(&server.server, path, body, None))?;
    print(&format!("{}\n", answer.message))?;
    Ok(ExitCode::SUCCESS)
}
