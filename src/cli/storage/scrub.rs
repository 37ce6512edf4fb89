//! `storage scrub`: reads everything that is stored, and marks what is damaged.

use super::remote::{DaemonArguments, Order};
use super::target::{TargetArguments, open, open_read_only};
use super::{Desk, Result, Told};
use crate::storage::scrub::{ScrubOptions, ScrubReport, scrub};

/// Read everything that is stored and compare it with what was stored
///
/// What is damaged is marked in the catalog and is not served any more; publish it again to bring a new copy. Exits
/// with 2 when something is damaged or cannot be read.
#[derive(clap::Args)]
pub struct ScrubArguments {
    #[command(flatten)]
    target: TargetArguments,
    #[command(flatten)]
    daemon: DaemonArguments,
    /// Only report; a running daemon is not disturbed
    #[arg(long)]
    dry_run: bool,
    /// Read at most so many megabytes a second
    #[arg(long, value_name = "MB",
        value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    rate: Option<u64>,
    /// Read only so many of 100 blobs, chosen at random
    #[arg(long, value_name = "PERCENT",
        value_parser = clap::value_parser!(u8).range(1..=100), default_value_t = 100)]
    sample: u8,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn tell(arguments: &ScrubArguments, desk: &Desk) -> Result<Told> {
    let ScrubArguments { target, daemon, dry_run, rate, sample, json } = arguments;
    let told = |report: &ScrubReport| Told::new(report, *json, !report.is_clean());
    let order = Order { dry_run: *dry_run, allow: None };
    if let Some(server) = daemon.instead_of(target) {
        return told(&daemon.order(server, "scrub", &order).await?);
    }
    let settings = target.settings(&desk.environment)?;
    let opened =
        if *dry_run { open_read_only(&settings, desk).await } else { open(&settings, &desk.opening).await };
    let storage = match opened {
        Ok(storage) => storage,
        Err(error) => return told(&daemon.order(daemon.when_held(error)?, "scrub", &order).await?),
    };
    let options = ScrubOptions {
        rate: rate.map(|megabytes| megabytes * 1_000_000),
        fraction: f64::from(*sample) / 100.0,
        dry_run: *dry_run,
    };
    told(&scrub(&storage, &options, &desk.opening.entropy, &desk.watch()).await?)
}
