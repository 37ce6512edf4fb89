//! `status`: the conditions of every unit, from the daemon.

use std::process::ExitCode;

use super::daemon::{ServerArgument, ask};
use super::{CommandResult, print, runtime};
use crate::controller::report;
use crate::http::StatusDocument;

/// Show the state of every unit
#[derive(clap::Args)]
pub struct StatusArguments {
    #[command(flatten)]
    server: ServerArgument,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub fn run(arguments: &StatusArguments) -> CommandResult {
    let asked = ask::<StatusDocument>(&arguments.server.server, "/api/v1/status");
    let document = runtime()?.block_on(asked)?;
    if arguments.json {
        print(&format!("{}\n", serde_json::to_string_pretty(&document)?))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut text = String::new();
    if !document.problems.is_empty() {
        text = format!("{}\n", report::problems_text(&document.problems));
    }
    text.push_str(&report::status_text(document.revision.as_ref(), &document.units, &document.kept));
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}
