//! `storage gc`: deletes what no package needs any more, if nobody leads; else whoever leads is asked to.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::remote::{DaemonArguments, Order};
use super::target::{LeaseArguments, TargetArguments, open, open_read_only};
use super::{Desk, FOUND, Result, Told};
use crate::storage::Storage;
use crate::storage::collect::{CollectError, CollectOptions, CollectReport, collect, would_collect};
use crate::storage::control::{Answer, Request};
use crate::storage::gate::Writing;
use crate::storage::lease::{Candidate, LeaseTimes, Tenure};
use crate::telemetry::chain;

/// How often the log is looked at for an answer.
const LOOK: Duration = Duration::from_secs(1);

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

/// Whoever leads has not done it.
#[derive(Debug, thiserror::Error)]
enum GcError {
    /// He said so.
    #[error("the instance that leads refused: {0}")]
    Refused(String),
    /// He said nothing.
    #[error("the instance that leads ({holder}) did not answer within {waited} s; it may still do it")]
    Silent {
        /// Who.
        holder: String,
        /// How long.
        waited: u64,
    },
    /// He said something strange.
    #[error("the instance that leads answered: {0}")]
    Strange(String),
}

pub(super) async fn tell(arguments: &GcArguments, desk: &Desk) -> Result<Told> {
    let GcArguments { target, daemon, dry_run, yes_delete: allow, json, .. } = arguments;
    let options = CollectOptions { allow: *allow, ..CollectOptions::default() };
    let order = Order { dry_run: *dry_run, allow: *allow };
    if let Some(server) = daemon.instead_of(target) {
        return told(&daemon.order(server, "gc", &order).await?, *json);
    }
    let settings = target.settings(&desk.environment)?;
    if *dry_run {
        let storage = open_read_only(&settings, desk).await?;
        return told(&would_collect(&storage, &options, &desk.watch()).await?, *json);
    }
    let storage = match open(&settings, &desk.opening).await {
        Ok(storage) => Arc::new(storage),
        Err(error) => return told(&daemon.order(daemon.when_held(error)?, "gc", &order).await?, *json),
    };
    let times = target.times(&arguments.lease, &desk.environment)?;
    let collected = match lead(&storage, times, desk).await? {
        Some(tenure) => Box::pin(own(&storage, &tenure, &options, desk)).await,
        None => return told(&ask(&storage, *allow, arguments.wait, desk).await?, *json),
    };
    match collected {
        Ok(report) => told(&report, *json),
        Err(error @ CollectError::TooMany { going, .. }) => {
            let message = format!("{error}: --yes-delete {going}");
            let as_json =
                serde_json::json!({"reason": error.label(), "message": &message, "needsAllow": going});
            let text = if *json { serde_json::to_string_pretty(&as_json)? } else { message };
            Ok(Told { text: format!("{text}\n"), code: FOUND })
        }
        Err(error) => Err(error.into()),
    }
}

fn told(report: &CollectReport, json: bool) -> Result<Told> {
    let found = report.missing > 0 || (report.dry_run && report.needs_allow.is_some());
    Told::new(report, json, found)
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

/// Has it done by whoever leads, through the log.
async fn ask(storage: &Storage, allow: Option<u64>, wait: u64, desk: &Desk) -> Result<CollectReport> {
    let id = desk.opening.entropy.nonce();
    storage.control.request(&id, Request::Collect { dry_run: false, allow }).await?;
    let clock = &desk.opening.clock;
    let answered = clock.timeout(Duration::from_secs(wait), async {
        loop {
            if let Some(answer) = storage.control.state().answer(&id) {
                return answer.clone();
            }
            if let Err(error) = storage.control.follow().await {
                tracing::warn!(error = chain(&error), "the control log cannot be read");
            }
            clock.sleep(LOOK).await;
        }
    });
    if let Ok(answer) = answered.await {
        return Ok(read(&answer)?);
    }
    let holder = storage.control.state().holder.clone().unwrap_or_default();
    Err(GcError::Silent { holder, waited: wait }.into())
}

/// What an answer says: a report, where it was done.
fn read(answer: &Answer) -> std::result::Result<CollectReport, GcError> {
    if !answer.done {
        return Err(GcError::Refused(answer.message.clone()));
    }
    let report = answer.detail.clone().and_then(|detail| serde_json::from_value(detail).ok());
    report.ok_or_else(|| GcError::Strange(answer.message.clone()))
}
