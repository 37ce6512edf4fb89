//! `storage gc`: deletes what no package needs any more, if nobody leads; else whoever leads is asked to.

mod asked;

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::remote::{DaemonArguments, Order};
use super::target::{LeaseArguments, TargetArguments, open, open_read_only};
use super::{Desk, FOUND, Result, Told};
use crate::storage::Storage;
use crate::storage::collect::{CollectError, CollectOptions, CollectReport, collect, would_collect};
use crate::storage::gate::Writing;
use crate::storage::lease::{Candidate, LeaseTimes, Tenure};
use crate::telemetry::chain;

/// Delete what no package needs any more
///
/// A copy is deleted a day after it was condemned, so the first run condemns and a later one deletes. Exits with 2 when
/// more would go than is plausible; nothing is deleted then.
#[derive(clap::Args)]
pub struct GcArguments {
    #[command(flatten)]
    target: TargetArguments,
    #[command(flatten)]
    daemon: DaemonArguments,
    #[command(flatten)]
    lease: LeaseArguments,
    /// Only say what would be deleted; a running daemon is not disturbed
    #[arg(long)]
    dry_run: bool,
    /// Delete although it is more than one in ten copies: exactly this many
    #[arg(long, value_name = "COPIES")]
    yes_delete: Option<u64>,
    /// How long whoever leads may take
    #[arg(long, value_name = "SECONDS", default_value_t = 600,
        value_parser = clap::value_parser!(u64).range(1..=86_400))]
    wait: u64,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn tell(arguments: &GcArguments, desk: &Desk) -> Result<Told> {
    let GcArguments { target, daemon, dry_run, yes_delete: allow, json, .. } = arguments;
    let options = CollectOptions { allow: *allow, ..CollectOptions::default() };
    let order = Order { dry_run: *dry_run, allow: *allow };
    let wait = Duration::from_secs(arguments.wait);
    if let Some(server) = daemon.instead_of(target) {
        return told(asked::of_daemon(daemon, server, &order, wait, desk).await?, *json);
    }
    let settings = target.settings(&desk.environment)?;
    if *dry_run {
        let storage = open_read_only(&settings, desk).await?;
        return told(Ok(would_collect(&storage, &options, &desk.watch()).await?), *json);
    }
    let storage = match open(&settings, &desk.opening).await {
        Ok(storage) => Arc::new(storage),
        Err(error) => {
            let server = daemon.when_held(error)?;
            return told(asked::of_daemon(daemon, server, &order, wait, desk).await?, *json);
        }
    };
    let times = target.times(&arguments.lease, &desk.environment)?;
    let Some(tenure) = lead(&storage, times, desk).await? else {
        return told(asked::of_leader(&storage, *allow, wait, desk).await?, *json);
    };
    match Box::pin(own(&storage, &tenure, &options, desk)).await {
        Ok(report) => told(Ok(report), *json),
        Err(error @ CollectError::TooMany { going, .. }) => {
            told(Err(Guarded { message: error.to_string(), going }), *json)
        }
        Err(error) => Err(error.into()),
    }
}

/// More would go than is plausible, so nothing went.
#[derive(Debug, PartialEq, Eq)]
struct Guarded {
    message: String,
    /// How many copies an operator must allow to go.
    going: u64,
}

type Collected = std::result::Result<CollectReport, Guarded>;

fn told(collected: Collected, json: bool) -> Result<Told> {
    match collected {
        Ok(report) => {
            let found = report.missing > 0 || (report.dry_run && report.needs_allow.is_some());
            Told::new(&report, json, found)
        }
        Err(Guarded { message, going }) => {
            let message = format!("{message}: --yes-delete {going}");
            let as_json = serde_json::json!({"message": &message, "needsAllow": going});
            let text = if json { serde_json::to_string_pretty(&as_json)? } else { message };
            Ok(Told { text: format!("{text}\n"), code: FOUND })
        }
    }
}

/// The lease, where nobody holds it.
async fn lead(storage: &Arc<Storage>, times: LeaseTimes, desk: &Desk) -> Result<Option<Tenure>> {
    let (clock, entropy) = (desk.opening.clock.clone(), desk.opening.entropy.clone());
    // Whoever holds it shows himself within the ttl; under the operator's word silence must last twice as long.
    let silences = if matches!(storage.writing(), Writing::SingleWriter { .. }) { 2 } else { 1 };
    let patience = silences * times.ttl + 3 * times.poll;
    let candidate = Candidate { storage: Arc::clone(storage), times, clock: clock.clone(), entropy };
    let stop = CancellationToken::new();
    match clock.timeout(patience, candidate.campaign(&stop)).await {
        Ok(tenure) => Ok(tenure?),
        Err(_) => Ok(None),
    }
}

/// Collects under our own lease.
async fn own(
    storage: &Storage,
    tenure: &Tenure,
    options: &CollectOptions,
    desk: &Desk,
) -> std::result::Result<CollectReport, CollectError> {
    let watch = desk.watch();
    let collected = tokio::select! {
        biased;
        collected = collect(storage, tenure, options, &watch) => collected,
        () = tenure.keep() => match tenure.check(Duration::ZERO) {
            Err(expired) => Err(CollectError::Lease(expired)),
            // Only a lease that is over is not kept.
            Ok(()) => collect(storage, tenure, options, &watch).await,
        },
    };
    if let Err(error) = tenure.release().await {
        tracing::warn!(
            error = chain(&error),
            "the lease was not given back; the next leader waits for its end"
        );
    }
    collected
}
