//! The embedded Marathon for one machine: the same HTTP API, with real processes behind it.
//!
//! It exists so that the whole program can be seen at work without a cluster, and so that code which holds
//! against it holds against the real one. The controller talks to it over HTTP like to any other Marathon.
//! What the API answers follows the sources of mesosphere/marathon; each file names those that it rests on.
//!
//! It schedules nothing (there is one machine), isolates nothing (tasks are plain processes, or exist in name only),
//! and speaks to nobody but its clients. Which version of Marathon it behaves like, what its tasks are, and
//! whether things may be made to go wrong on demand is chosen at its start.
//!
//! ```text
//!  api -> Request -> engine (owns the state; decide, update, health are pure) -> store
//!                      |  ^
//!              TaskSpec|  |TaskEvent
//!                      v  |
//!                    executor: process -> supervisor (a process of its own) -> the task
//!                              simulated: in the time of the clock, as it was told to
//! ```

mod api;
mod decide;
mod definition;
mod delays;
mod engine;
mod events;
mod executor;
mod faults;
mod group;
mod health;
mod labels;
mod placement;
mod plan;
mod pod;
mod ports;
mod process;
mod profile;
mod refusal;
mod saver;
mod sdk;
mod simulated;
mod state;
mod stats;
mod store;
pub mod supervisor;
mod task;
mod update;
mod vips;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use jiff::Timestamp;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::{Clock, Entropy};
use crate::model::{App, ErrorClass};
use crate::workers::Workers;
pub use api::Cut;
use engine::{Context, Engine};
use events::Hub;
use executor::Executor;
use faults::Faults;
use process::{ProcessExecutor, SetupError};
use profile::Installation;
pub use profile::{Profile, UnknownProfile};
use saver::Saver;
use simulated::{Outcomes, SimulatedExecutor};
use store::Store;

/// How many requests may wait for the engine.
const WAITING_CALLS: usize = 1024;

/// How long SIGKILL may take to work after the deadline of a shutdown.
const LAST_WAIT: Duration = Duration::from_secs(2);

/// What a local Marathon needs.
pub struct LocalConfig {
    /// Where its state and the sandboxes of its tasks are kept; made when it is missing.
    pub dir: PathBuf,
    /// Where its API listens; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Which version of Marathon to be.
    pub profile: Profile,
    /// The role of apps that name none (`mesos_role`): `*` as a rule, on DC/OS `slave_public`.
    pub role: String,
    /// The name of container networks that name none (`default_network_name`); none: they are refused.
    pub default_network: Option<String>,
    /// Whether new top-level groups enforce their name as role (`new_group_enforce_role=top`).
    pub new_groups_enforce: bool,
    /// What tasks are.
    pub tasks: Tasks,
    /// The seed of faults on demand; none: there is no way to them.
    pub faults: Option<u64>,
    /// Time.
    pub clock: Clock,
    /// Randomness.
    pub entropy: Entropy,
    /// Where background work is started. Their stop signal ends the tasks, too.
    pub workers: Workers,
}

/// What tasks are.
#[derive(Debug, Clone)]
pub enum Tasks {
    /// Processes of this machine.
    Processes {
        /// Our own executable, which is run again as the supervisor of each task. `/proc/self/exe` stays right
        /// when the file is replaced meanwhile.
        agent: PathBuf,
        /// The directory that holds the secrets that apps name, which must be there; none: apps with secrets are refused.
        secrets: Option<PathBuf>,
    },
    /// Nothing: they live in the time of the clock. No state is kept either.
    Simulated,
}

/// A running local Marathon. Its tasks live no longer than the process, and no longer than [`Self::shutdown`].
pub struct MarathonLocal {
    address: SocketAddr,
    router: Router,
    clock: Clock,
    stop: CancellationToken,
    drop_all: CancellationToken,
    running: TaskTracker,
}

/// Why the local Marathon cannot start, or its state cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// The address cannot be listened on.
    #[error("the local Marathon cannot listen on {address}{}", hint(.source))]
    Listen {
        /// Which address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The directory cannot be used.
    #[error("the local Marathon cannot use the directory {path}")]
    Directory {
        /// Which directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another process uses the directory.
    #[error("another local Marathon is running on the directory {path}")]
    Locked {
        /// Which directory.
        path: PathBuf,
    },
    /// The stored state cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The stored state makes no sense.
    #[error("{path} is not a state of the local Marathon; repair it, or move it away to begin anew")]
    Broken {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// The stored state is of a newer program.
    #[error("{path} was written by a newer dcos-registry (format {found}; this one knows {known})")]
    Newer {
        /// Which file.
        path: PathBuf,
        /// Its format.
        found: u64,
        /// The newest known one.
        known: u64,
    },
    /// The state cannot be written.
    #[error("cannot write {path}")]
    Write {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The directory of the secrets cannot be used.
    #[error("cannot use {path} as the directory of secrets{}", secrets_hint(.source))]
    Secrets {
        /// Which directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The thread that stores the state cannot be started.
    #[error("the local Marathon cannot start a thread")]
    Thread(#[source] io::Error),
    /// The HTTP client for fetching and health checks cannot be made.
    #[error("the local Marathon cannot make an HTTP client")]
    Client(#[source] reqwest::Error),
}

impl LocalError {
    /// What the error asks for: all of them need somebody to change something.
    #[must_use]
    pub fn class(&self) -> ErrorClass {
        ErrorClass::Fatal
    }

    /// A stable word for labels.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::Listen { .. } => "Listen",
            Self::Directory { .. } => "Directory",
            Self::Locked { .. } => "Locked",
            Self::Read { .. } => "Read",
            Self::Broken { .. } => "Broken",
            Self::Newer { .. } => "Newer",
            Self::Write { .. } => "Write",
            Self::Secrets { .. } => "Secrets",
            Self::Thread(_) => "Thread",
            Self::Client(_) => "Client",
        }
    }
}

fn hint(error: &io::Error) -> &'static str {
    if error.kind() == io::ErrorKind::AddrInUse {
        ": the port is in use; end the program that uses it or choose another port"
    } else {
        ""
    }
}

fn secrets_hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => ": it is not there; make it, or name another one with --secrets",
        io::ErrorKind::NotADirectory => {
            ": it is none; name with --secrets a directory that holds a file for each secret"
        }
        io::ErrorKind::PermissionDenied => {
            ": this user may not read it; allow that (chmod u+rx), or name another one with --secrets"
        }
        _ => "; name another one with --secrets",
    }
}

impl MarathonLocal {
    /// Starts to listen, and launches what the stored state asks for.
    ///
    /// # Errors
    /// [`LocalError`]; nothing was changed then.
    pub async fn start(config: LocalConfig) -> Result<Self, LocalError> {
        let LocalConfig { dir, listen, profile, tasks, faults, clock, entropy, workers, .. } = config;
        // Tasks run elsewhere: their sandboxes need names that hold everywhere.
        let dir = std::path::absolute(&dir).map_err(|source| LocalError::Directory { path: dir, source })?;
        let unable = |source| LocalError::Listen { address: listen, source };
        let listener = TcpListener::bind(listen).await.map_err(unable)?;
        let address = listener.local_addr().map_err(unable)?;
        let store = if matches!(tasks, Tasks::Simulated) { Store::nowhere() } else { Store::open(&dir)? };
        let state = store.load()?.unwrap_or_default();
        let executor = ExecutorParts::new(tasks, &dir, &clock)?;
        let (stop, drop_all) = (workers.stop_signal().child_token(), CancellationToken::new());
        let running = TaskTracker::new();
        let faults = faults.map_or_else(Faults::off, |seed| Faults::ready(clock.clone(), seed));
        let events = Arc::new(Hub::new(clock.clone(), entropy.clone(), faults.clone(), profile));
        let context = Context {
            saver: Saver::start(store, &workers, running.token()).map_err(LocalError::Thread)?,
            executor: executor.executor,
            clock: clock.clone(),
            entropy: entropy.clone(),
            workers: workers.clone(),
            running: running.clone(),
            host: reachable(address.ip()),
            address,
            installation: Installation {
                profile,
                secrets: executor.secrets,
                role: config.role,
                network: config.default_network,
                new_groups_enforce: config.new_groups_enforce,
            },
            events: Arc::clone(&events),
            faults: faults.clone(),
        };
        let (engine, happenings) = Engine::new(context, state);
        let (calls, waiting) = mpsc::channel(WAITING_CALLS);
        let (counted, engine_stop, engine_drop) = (running.token(), stop.clone(), drop_all.clone());
        workers.spawn("marathon-engine", async move {
            engine.run(waiting, happenings, engine_stop, engine_drop).await;
            drop(counted);
        });
        let router = api::router(api::Api {
            calls,
            clock: clock.clone(),
            entropy,
            address,
            profile,
            events,
            faults,
            outcomes: executor.outcomes,
            stop: stop.clone(),
        });
        let server = api::Server {
            router: router.clone(),
            clock: clock.clone(),
            workers: workers.clone(),
            stop: stop.clone(),
        };
        workers.spawn("marathon-api", server.serve(listener));
        tracing::info!(%address, %profile, dir = %dir.display(), "the local Marathon runs");
        Ok(Self { address, router, clock, stop, drop_all, running })
    }

    /// Answers a request without a connection, as a simulation needs it whose time does not pass in the kernel.
    ///
    /// # Errors
    /// [`Cut`] where a fault cuts the connection before the answer.
    pub async fn answer(&self, request: axum::http::Request<Body>) -> Result<Response, Cut> {
        let Ok(response): Result<Response, _> =
            TowerToHyperService::new(self.router.clone()).call(request).await;
        if response.extensions().get::<Cut>().is_some() { Err(Cut) } else { Ok(response) }
    }

    /// Where the API listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends all tasks, by SIGTERM and after their grace period by SIGKILL, at the deadline at once. App
    /// definitions stay stored: the next start launches them again. Returns whether no task is left.
    pub async fn shutdown(self, deadline: Duration) -> bool {
        self.stop.cancel();
        self.running.close();
        if self.clock.timeout(deadline, self.running.wait()).await.is_ok() {
            return true;
        }
        self.drop_all.cancel();
        self.clock.timeout(LAST_WAIT, self.running.wait()).await.is_ok()
    }
}

/// What runs tasks, and what comes with it.
struct ExecutorParts {
    executor: Arc<dyn Executor>,
    /// What becomes of simulated tasks.
    outcomes: Option<Outcomes>,
    /// Whether secrets can be used.
    secrets: bool,
}

impl ExecutorParts {
    fn new(tasks: Tasks, dir: &Path, clock: &Clock) -> Result<Self, LocalError> {
        match tasks {
            Tasks::Simulated => {
                let outcomes = Outcomes::default();
                let executor = Arc::new(SimulatedExecutor::new(clock.clone(), outcomes.clone()));
                Ok(Self { executor, outcomes: Some(outcomes), secrets: true })
            }
            Tasks::Processes { agent, secrets } => {
                let with_secrets = secrets.is_some();
                let made = ProcessExecutor::new(dir, agent, secrets, clock).map_err(|e| match e {
                    SetupError::Directory(path, source) => LocalError::Directory { path, source },
                    SetupError::Secrets(path, source) => LocalError::Secrets { path, source },
                    SetupError::Client(source) => LocalError::Client(source),
                })?;
                Ok(Self { executor: Arc::new(made), outcomes: None, secrets: with_secrets })
            }
        }
    }
}

/// A time as Marathon writes it: UTC with milliseconds.
fn time(time: Timestamp) -> String {
    format!("{time:.3}")
}

/// The address under which tasks of this machine are reached: loopback where we listen on all addresses.
fn reachable(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    }
}

/// The app definitions that a local Marathon keeps in a directory, in the order of their ids, without
/// starting anything. Empty when none was ever there.
///
/// # Errors
/// [`LocalError::Read`], [`LocalError::Broken`] and [`LocalError::Newer`].
pub fn stored_apps(dir: &Path) -> Result<Vec<App>, LocalError> {
    let state = store::read(dir)?.unwrap_or_default();
    let apps = state.apps.into_values().map(|record| record.app);
    Ok(apps.filter(|app| !pod::is_pod(app)).collect())
}
