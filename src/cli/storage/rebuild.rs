//! `storage rebuild`: proves the records and writes anew what is derived from them.

use super::target::TargetArguments;
use super::{Desk, Result, Told};
use crate::storage::rebuild::{RebuildOptions, rebuild};

/// Prove the records and write anew what is derived from them
///
/// Records are never changed. Exits with 2 when their chain is broken; the report says where, and what is left.
#[derive(clap::Args)]
pub struct RebuildArguments {
    #[command(flatten)]
    target: TargetArguments,
    /// Only report
    #[arg(long)]
    dry_run: bool,
    /// Report what would be left if the catalog ended before this record; writes nothing
    #[arg(long, value_name = "RECORD")]
    truncate_at: Option<u64>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn tell(arguments: &RebuildArguments, desk: &Desk) -> Result<Told> {
    let settings = arguments.target.settings(&desk.environment)?;
    let options = RebuildOptions { dry_run: arguments.dry_run, truncate_at: arguments.truncate_at };
    let report = rebuild(&settings, &desk.opening, &options, &desk.watch()).await?;
    Told::new(&report, arguments.json, !report.is_whole())
}
