//! `up`: everything in one process, in the foreground, on one machine.
//!
//! The registry, the local Marathon and the controller are joined here and nowhere else; they speak HTTP with
//! each other as they would across a cluster.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::{CommandResult, runtime, serving};
use crate::clock::{Clock, Entropy};
use crate::config::{self, UpSettings};
use crate::controller::leader::Leader;
use crate::controller::plan::PlanSettings;
use crate::controller::{Controller, Parts, View, report};
use crate::http::{self, Door, Site};
use crate::marathon::{Client, Timeouts};
use crate::marathon_local::{LocalConfig, MarathonLocal, Profile, Tasks};
use crate::model::SourceName;
use crate::registry::intake::Intake;
use crate::registry::repo::Repo;
use crate::source::DirectorySource;
use crate::storage::Storage;
use crate::storage::lease::LeaseTimes;
use crate::storage::spool::Spool;
use crate::telemetry::Metrics;
use crate::workers::Workers;

/// Where everything is kept when nobody says.
pub const DEFAULT_DIR: &str = ".dcos-registry";
/// Where the registry listens when nobody says.
pub const DEFAULT_LISTEN: &str = "127.0.0.1:5080";
/// How often everything is looked at.
const INTERVAL: Duration = Duration::from_secs(2);
/// How long another process may still hold the directory: one that was just killed is gone at once.
const LOCK_WAIT: Duration = Duration::from_secs(2);
/// How long stopping may take in all; each stage gets a part.
const DRAIN_CONTROLLER: Duration = Duration::from_secs(4);
const DRAIN_TASKS: Duration = Duration::from_secs(4);
const DRAIN_WORKERS: Duration = Duration::from_millis(1500);

/// Run registry, controller and a small local Marathon on this machine, in the foreground
#[derive(clap::Args)]
pub struct UpArguments {
    /// Where the registry listens
    #[arg(long, value_name = "ADDRESS", default_value = DEFAULT_LISTEN)]
    listen: SocketAddr,
    /// Where the local Marathon listens
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    marathon_listen: SocketAddr,
    /// The directory that holds packages, state and sandboxes
    #[arg(long, value_name = "DIR", default_value = DEFAULT_DIR)]
    dir: PathBuf,
    /// The folder of manifests; manifests/quickstart of this repository if left out
    #[arg(long, value_name = "DIR")]
    manifests: Option<PathBuf>,
}

/// Runs the command.
pub fn run(arguments: &UpArguments) -> CommandResult {
    let manifests = match &arguments.manifests {
        Some(folder) => folder.clone(),
        None => config::find_quickstart(&std::env::current_exe()?)?,
    };
    config::outside_manifests(&arguments.dir, &manifests)?;
    let settings = UpSettings {
        listen: config::loopback_only(arguments.listen)?,
        marathon_listen: config::loopback_only(arguments.marathon_listen)?,
        dir: arguments.dir.clone(),
        manifests,
        interval: INTERVAL,
    };
    let runtime = runtime()?;
    let result = runtime.block_on(up(&settings));
    runtime.shutdown_timeout(Duration::from_millis(500));
    result
}

/// The folder of manifests as a source; it may refer to what lies beside it.
///
/// # Errors
/// When there is no such folder.
pub fn directory_source(manifests: &Path) -> Result<DirectorySource, Box<dyn std::error::Error>> {
    Ok(DirectorySource::of_folder(SourceName::new("up")?, manifests, Clock::system())?)
}

/// Everything that runs, in the order in which it must end.
struct Running {
    controller: Arc<Controller>,
    controller_workers: Workers,
    marathon: MarathonLocal,
    workers: Workers,
    clock: Clock,
    /// Why the controller ended by itself, should it do so.
    failure: oneshot::Receiver<String>,
}

async fn up(settings: &UpSettings) -> CommandResult {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut running = start(settings).await?;
    let stop = CancellationToken::new();
    let printing = follow(running.controller.view(), stop.clone(), running.clock.clone());
    let failure = tokio::select! {
        () = printing => None,
        _ = interrupt.recv() => None,
        _ = terminate.recv() => None,
        Ok(failure) = &mut running.failure => Some(failure),
    };
    stop.cancel();
    tell("Stopping: no new action is begun, tasks are told to end.");
    let stopped = tokio::select! {
        left = drain(running) => left,
        _ = interrupt.recv() => vec!["everything, at your second word"],
    };
    if !stopped.is_empty() {
        return Err(format!("stopped without waiting for: {}", stopped.join(", ")).into());
    }
    tell("Stopped.");
    match failure {
        Some(failure) => Err(format!("the controller could not go on: {failure}").into()),
        None => Ok(ExitCode::SUCCESS),
    }
}

async fn start(settings: &UpSettings) -> Result<Running, Box<dyn std::error::Error>> {
    let (clock, entropy) = (Clock::system(), Entropy::system());
    // Ports and manifests first: when one of them cannot be had, nothing has been changed yet.
    let source = directory_source(&settings.manifests)?;
    let listener = http::listen(settings.listen, "--listen").await?;
    let address = listener.local_addr()?;
    drop(http::listen(settings.marathon_listen, "--marathon-listen").await?);
    let storage = Storage::open_local(&settings.dir, LOCK_WAIT, clock.clone(), entropy.clone()).await?;
    let storage = Arc::new(storage);
    let spool = Spool::open(&settings.dir.join("spool"), Some(&settings.dir), clock.clone()).await?;

    let (workers, controller_workers) = (Workers::new(), Workers::new());
    let metrics = Metrics::new()?;
    let public_url = format!("http://{address}");
    let marathon = MarathonLocal::start(LocalConfig {
        dir: settings.dir.join("marathon"),
        listen: settings.marathon_listen,
        profile: Profile::default(),
        // As DC/OS starts its Marathon; apps of the role `*` may not have persistent volumes.
        role: "slave_public".to_owned(),
        default_network: None,
        new_groups_enforce: false,
        // Not the program's path: the file may be replaced by a newer build while this one runs.
        tasks: Tasks::Processes { agent: PathBuf::from("/proc/self/exe"), secrets: None },
        faults: None,
        clock: clock.clone(),
        entropy: entropy.clone(),
        workers: workers.clone(),
    })
    .await?;
    let marathon_url = format!("http://{}", marathon.address());
    let controller = Arc::new(Controller::new(Parts {
        source: Box::new(source),
        marathon: Client::new(&marathon_url, Timeouts::default(), clock.clone(), metrics.clone())?,
        storage: Arc::clone(&storage),
        settings: PlanSettings { public_url: public_url.clone(), limits: config::up_limits(), own_app: None },
        interval: settings.interval,
        metrics: metrics.clone(),
        clock: clock.clone(),
        entropy: entropy.clone(),
        write_limit: Timeouts::default().write,
    }));
    let parts = (clock.clone(), entropy);
    let leader =
        Leader::new(&storage, Some(Arc::clone(&controller)), LeaseTimes::default(), metrics.clone(), parts);
    let leader = Arc::new(leader);
    let site = Arc::new(Site {
        repo: Repo::new(Arc::clone(&storage), &public_url, clock.clone(), workers.clone()),
        storage: Arc::clone(&storage),
        controller: Some(Arc::clone(&controller)),
        leader: Some(Arc::clone(&leader)),
        intake: Intake::new(Arc::clone(&storage), spool, clock.clone()),
        hot: crate::http::Hot::default(),
        metrics,
        clock: clock.clone(),
        entropy: Entropy::system(),
    });
    http::serve(Door::plain(listener), site, &workers);
    serving::tend(&storage, LeaseTimes::default().poll, &clock, &workers);
    let failure = serving::lead(&leader, &controller_workers);
    tell(&format!("Registry   {public_url}  (Cosmos: {public_url}/repo)"));
    tell(&format!("Marathon   {marathon_url}  (local: tasks are processes of this machine)"));
    tell(&format!("Manifests  {}", settings.manifests.display()));
    tell(&format!("Storage    {}", settings.dir.display()));
    Ok(Running { controller, controller_workers, marathon, workers, clock, failure })
}

/// One line on stdout. Whoever read them may be gone; what runs goes on.
pub fn tell(line: &str) {
    let _ = super::print(&format!("{line}\n"));
}

/// Prints what happens until told to stop; and the state of all units when they are first ready.
async fn follow(mut view: watch::Receiver<View>, stop: CancellationToken, clock: Clock) {
    let begun = clock.boot();
    let (mut printed, mut announced) = (0, false);
    loop {
        let now = view.borrow_and_update().clone();
        for entry in now.log.iter().filter(|entry| entry.number > printed) {
            tell(&entry.text);
        }
        printed = now.log.back().map_or(printed, |last| last.number);
        let ready = !now.units.is_empty() && now.units.iter().all(crate::model::UnitStatus::is_ready);
        if ready && !announced {
            announced = true;
            let took = clock.boot().saturating_sub(begun).as_secs_f32();
            tell(&format!("All {} units are ready after {took:.1} s:", now.units.len()));
            tell(report::status_text(now.revision.as_ref(), &now.units, &now.kept).trim_end());
            tell("Edit the manifests and watch; `dcos-registry plan` and `status` ask. Ctrl-C stops.");
        }
        tokio::select! {
            () = stop.cancelled() => return,
            changed = view.changed() => if changed.is_err() { return },
        }
    }
}

/// Ends everything in order: who acts, then the tasks, then who serves. Returns what did not end in time.
async fn drain(running: Running) -> Vec<&'static str> {
    let mut left = running.controller_workers.drain(&running.clock, DRAIN_CONTROLLER).await;
    if !running.marathon.shutdown(DRAIN_TASKS).await {
        left.push("tasks");
    }
    left.extend(running.workers.drain(&running.clock, DRAIN_WORKERS).await);
    left
}
