//! `storage check`: a table of what was tried on a back end, and the verdict.

use super::target::TargetArguments;
use super::{Desk, Result, Told};
use crate::config::Backend;
use crate::storage::probe::Verdict;
use crate::storage::{Storage, directory};

/// Find out by trying whether a back end keeps what a registry needs of it
///
/// Exits with 2 when it does not.
#[derive(clap::Args)]
pub struct CheckArguments {
    #[command(flatten)]
    target: TargetArguments,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn tell(arguments: &CheckArguments, desk: &Desk) -> Result<Told> {
    let settings = arguments.target.settings(&desk.environment)?;
    match &settings.backend {
        Backend::Local { path } | Backend::MountVolume { path, .. } => {
            let report = directory::check(path, &desk.opening).await?;
            Told::new(&report, arguments.json, !report.is_fit())
        }
        Backend::S3(s3) => {
            let report = Storage::examine(s3, &desk.opening).await?;
            Told::new(&report, arguments.json, report.verdict() != Verdict::Shared)
        }
    }
}
