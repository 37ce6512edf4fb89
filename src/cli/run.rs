//! `run`: one instance of the registry, as Marathon or a supervisor starts it, in the foreground.
//!
//! Several may share a bucket: all serve, one leads. It prints where it serves and what is worth a warning, and
//! leaves the rest to its log, its status and its metrics.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use super::serving;
use super::up::tell;
use super::{CommandResult, runtime};
use crate::clock::{Clock, Entropy};
use crate::config::{Environment, HaSettings, Overrides, RunSettings, TlsSettings, Tokens};
use crate::controller::leader::Leader;
use crate::controller::plan::PlanSettings;
use crate::controller::{Controller, Parts};
use crate::http::{self, Access, Door, Site, Tls};
use crate::marathon::{Client, Timeouts};
use crate::registry::intake::Intake;
use crate::registry::repo::Repo;
use crate::source::DirectorySource;
use crate::storage::gate::Writing;
use crate::storage::lease::LeaseTimes;
use crate::storage::spool::Spool;
use crate::storage::{Opening, Storage};
use crate::telemetry::Metrics;
use crate::workers::Workers;

/// How long another process may still hold the directory: long enough for a task that Marathon replaces.
const LOCK_WAIT: Duration = Duration::from_secs(30);
/// How long stopping may take; Marathon kills after its own time.
const DRAIN_LEADER: Duration = Duration::from_secs(3);
const DRAIN_WORKERS: Duration = Duration::from_millis(1500);

/// Run one instance of the registry, in the foreground
#[derive(clap::Args)]
pub struct RunArguments {
    /// The configuration: our own format, or the install options of the DC/OS documents
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Where the registry listens, whatever the file says
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Listen beyond this machine without TLS
    #[arg(long)]
    allow_plain: bool,
    /// The certificate, with --tls-key
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_certificate: Option<PathBuf>,
    /// The private key of the certificate
    #[arg(long, value_name = "FILE", requires = "tls_certificate")]
    tls_key: Option<PathBuf>,
}

impl RunArguments {
    fn overrides(&self) -> Overrides {
        let tls = self.tls_certificate.clone().zip(self.tls_key.clone());
        Overrides {
            listen: self.listen,
            allow_plain: self.allow_plain,
            tls: tls.map(|(certificate, key)| TlsSettings { certificate, key }),
        }
    }
}

/// Runs the command.
pub fn run(arguments: &RunArguments) -> CommandResult {
    let environment = Environment::process();
    let settings = RunSettings::load(&arguments.config, &environment, &arguments.overrides())?;
    for warning in &settings.warnings {
        eprintln!("dcos-registry: warning: {warning}");
    }
    let runtime = runtime()?;
    let result = runtime.block_on(serve(&settings, &environment));
    runtime.shutdown_timeout(Duration::from_millis(500));
    result
}

/// Everything that runs, in the order in which it must end.
struct Running {
    leader_workers: Workers,
    workers: Workers,
    clock: Clock,
    /// Why the leader ended by itself, should it do so.
    failure: oneshot::Receiver<String>,
}

async fn serve(settings: &RunSettings, environment: &Environment) -> CommandResult {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let stopping = async {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    };
    tokio::pin!(stopping);
    // A start may wait long for a lock or a slow store, and nothing runs yet that would have to end in order.
    let mut running = tokio::select! {
        biased;
        () = &mut stopping => {
            tell("Stopped before the start was done.");
            return Ok(ExitCode::SUCCESS);
        }
        started = start(settings, environment) => started?,
    };
    tokio::select! {
        () = &mut stopping => {}
        Ok(failure) = &mut running.failure => {
            // Reading goes on: what is there can still be served.
            tracing::error!(failure, "this instance can never lead; it goes on serving");
            stopping.await;
        }
    }
    tell("Stopping.");
    let mut left = running.leader_workers.drain(&running.clock, DRAIN_LEADER).await;
    left.extend(running.workers.drain(&running.clock, DRAIN_WORKERS).await);
    if !left.is_empty() {
        return Err(format!("stopped without waiting for: {}", left.join(", ")).into());
    }
    tell("Stopped.");
    Ok(ExitCode::SUCCESS)
}

async fn start(
    settings: &RunSettings,
    environment: &Environment,
) -> Result<Running, Box<dyn std::error::Error>> {
    let (clock, entropy) = (Clock::system(), Entropy::system());
    // Ports, files and manifests first: when one of them cannot be had, nothing has been changed yet.
    let door = door(settings, &clock).await?;
    // Port 0 stands for one that is known only now; what is given out must name that one.
    let settings = &RunSettings { listen: door.listener.local_addr()?, ..settings.clone() };
    let opening = Opening {
        instance: environment.filled("MESOS_TASK_ID").unwrap_or_else(|| entropy.nonce()),
        lock_wait: LOCK_WAIT,
        call_timeout: settings.ha.lease_call_timeout,
        clock: clock.clone(),
        entropy: entropy.clone(),
    };
    let storage = Arc::new(Storage::open_settings(&settings.storage, &opening).await?);
    let spool = match storage.writing() {
        Writing::ReadOnly(_) => Spool::idle(&settings.storage.spool, clock.clone()),
        _ => Spool::open(&settings.storage.spool, storage.directory(), clock.clone()).await?,
    };
    let metrics = Metrics::new()?;
    let controller = controller(settings, &storage, &metrics, (&clock, &entropy))?;
    let parts = (clock.clone(), entropy);
    let leader = Leader::new(&storage, controller.clone(), times(&settings.ha), metrics.clone(), parts);
    let leader = Arc::new(leader);
    let (address, public_url) = (door.listener.local_addr()?, settings.public_url());
    let (workers, leader_workers) = (Workers::new(), Workers::new());
    let site = Arc::new(Site {
        repo: Repo::new(Arc::clone(&storage), &public_url, clock.clone(), workers.clone()),
        storage: Arc::clone(&storage),
        controller,
        leader: Some(Arc::clone(&leader)),
        intake: Intake::new(Arc::clone(&storage), spool, clock.clone()),
        hot: crate::http::Hot::default(),
        metrics,
        clock: clock.clone(),
        entropy: Entropy::system(),
    });
    http::serve(door, site, &workers);
    serving::tend(&storage, settings.ha.poll, &clock, &workers);
    let failure = serving::lead(&leader, &leader_workers);
    tell(&format!("Registry   {address}  (Cosmos: {public_url}/repo)"));
    tell(&format!("Storage    {}", settings.storage.backend));
    tell(&format!("Instance   {}", opening.instance));
    Ok(Running { leader_workers, workers, clock, failure })
}

async fn door(settings: &RunSettings, clock: &Clock) -> Result<Door, Box<dyn std::error::Error>> {
    let tls = match settings.tls.clone() {
        Some(TlsSettings { certificate, key }) => {
            let clock = clock.clone();
            let loaded = tokio::task::spawn_blocking(move || Tls::load(&certificate, &key, &clock)).await?;
            Some(Arc::new(loaded?))
        }
        None => None,
    };
    let access = match settings.tokens.clone() {
        Some(path) => {
            let tokens = Tokens::new(path);
            tokens.load()?;
            Access::with_tokens(move |token| match tokens.load() {
                Ok(known) => known.accepts(token),
                Err(error) => {
                    tracing::error!(%error, "nobody is let in by token");
                    false
                }
            })
        }
        None => Access::loopback_only(),
    };
    let listener = http::listen(settings.listen, "--listen").await?;
    Ok(Door { listener, tls, access })
}

/// The controller, where there is something to control.
fn controller(
    settings: &RunSettings,
    storage: &Arc<Storage>,
    metrics: &Metrics,
    (clock, entropy): (&Clock, &Entropy),
) -> Result<Option<Arc<Controller>>, Box<dyn std::error::Error>> {
    let (source, marathon) = match (settings.sources.as_slice(), &settings.marathon) {
        ([], _) => return Ok(None),
        ([source], Some(marathon)) => (source, marathon),
        ([_], None) => return Err("sources need a Marathon; name one under `marathon`".into()),
        _ => return Err("several sources are not supported yet; put the folders below one source".into()),
    };
    let write_limit = settings.ha.marathon_write_timeout;
    let timeouts = Timeouts { write: write_limit, ..Timeouts::default() };
    let directory = DirectorySource::of_folder(source.name.clone(), &source.directory, clock.clone())?;
    Ok(Some(Arc::new(Controller::new(Parts {
        source: Box::new(directory),
        marathon: Client::connect(marathon, timeouts, (clock.clone(), entropy.clone()), metrics.clone())?,
        storage: Arc::clone(storage),
        settings: PlanSettings {
            public_url: settings.public_url(),
            limits: source.limits.clone(),
            own_app: settings.own_app.clone(),
        },
        interval: source.interval,
        metrics: metrics.clone(),
        clock: clock.clone(),
        entropy: entropy.clone(),
        write_limit,
    }))))
}

fn times(ha: &HaSettings) -> LeaseTimes {
    LeaseTimes { ttl: ha.ttl, deadline: ha.deadline, renew: ha.renew, poll: ha.poll }
}
