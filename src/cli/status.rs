//! `status`: the conditions of every unit, from the daemon.

use std::process::ExitCode;

use super::daemon::{ServerArgument, ask};
use super::{CommandResult, print, runtime};
use crate::controller::report;
use crate::http::{LeadDocument, StatusDocument};

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
    let mut text = lead_text(&document.lead);
    if !document.problems.is_empty() {
        text.push_str(&report::problems_text(&document.problems));
        text.push('\n');
    }
    text.push_str(&report::status_text(document.revision.as_ref(), &document.units, &document.kept));
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// Who acts, where that is not simply the one who answers, and why nobody does.
fn lead_text(lead: &LeadDocument) -> String {
    let mut lines = Vec::new();
    match &lead.holder {
        Some(holder) if !lead.here => lines.push(format!("Led by {holder} (lease {}).", lead.epoch)),
        None => lines.push("Nobody leads at the moment.".to_owned()),
        Some(_) => {}
    }
    if let Some(reason) = &lead.suspended {
        lines.push(format!("Suspended: {reason}. `dcos-registry resume` ends that."));
    }
    lines.extend(lead.writing.clone());
    lines.into_iter().map(|line| line + "\n").collect()
}
