//! `marathon-local`: the local Marathon alone, in the foreground.
//!
//! For whoever wants to see a Marathon app run on one machine, such as several instances of this registry
//! that share one bucket, and for whoever wants to see what a client does when a cluster misbehaves. It runs
//! whatever it is asked to, so that it listens on loopback only.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use super::up::tell;
use super::{CommandResult, runtime};
use crate::clock::{Clock, Entropy};
use crate::config;
use crate::marathon_local::{LocalConfig, MarathonLocal, Profile, Tasks};
use crate::workers::Workers;

/// How long tasks may take to end; those that take longer are killed. Longer than an instance of ours needs.
const DRAIN_TASKS: Duration = Duration::from_secs(10);
/// How long the rest may take.
const DRAIN_WORKERS: Duration = Duration::from_secs(2);

/// Run the small local Marathon alone on this machine, in the foreground
#[derive(clap::Args)]
pub struct MarathonLocalArguments {
    /// The port on 127.0.0.1 where its API listens; 0 takes a free one
    #[arg(long, value_name = "PORT", default_value_t = 8080)]
    port: u16,
    /// Where its API listens, in full, such as [::1]:8080
    #[arg(long, value_name = "ADDRESS", conflicts_with = "port")]
    listen: Option<SocketAddr>,
    /// The directory that holds its state and the sandboxes of its tasks
    #[arg(long, value_name = "DIR", default_value = ".dcos-registry/marathon")]
    dir: PathBuf,
    /// Which version of Marathon to behave like: 1.7, 1.8 or 1.11
    #[arg(long, value_name = "VERSION", default_value_t = Profile::default())]
    profile: Profile,
    /// The role of apps that name none; DC/OS starts its Marathon with slave_public
    #[arg(long, value_name = "ROLE", default_value = "*", value_parser = role)]
    role: String,
    /// The name of container networks that name none; without it such apps are refused
    #[arg(long, value_name = "NAME", value_parser = network)]
    default_network_name: Option<String>,
    /// Whether new top-level groups enforce their name as the role of what lies in them: off or top; DC/OS 2 has top
    #[arg(long, value_name = "WHICH", value_enum, default_value_t = NewGroups::Off)]
    new_group_enforce_role: NewGroups,
    /// What tasks are: processes of this machine, or simulated, which takes everything and runs nothing
    #[arg(long, value_name = "KIND", value_enum, default_value_t = ExecutorKind::Processes)]
    executor: ExecutorKind,
    /// The directory that holds the secrets that apps name, a file for each source
    #[arg(long, value_name = "DIR")]
    secrets: Option<PathBuf>,
    /// Open the endpoints below /local that make things go wrong on demand
    #[arg(long)]
    faults: bool,
    /// The seed of the faults' dice
    #[arg(long, value_name = "NUMBER", default_value_t = 0, requires = "faults")]
    seed: u64,
}

/// What tasks are.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum ExecutorKind {
    Processes,
    Simulated,
}

/// Which new groups enforce their name as role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum NewGroups {
    Off,
    Top,
}

/// The name of a network, in the form that a definition may have (`stringTypes.raml` of mesosphere/marathon).
fn network(text: &str) -> Result<String, String> {
    let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if text.is_empty() || !text.chars().all(inner) {
        return Err("write letters, digits, '.', '_' and '-' only".to_owned());
    }
    Ok(text.to_owned())
}

/// A role of Mesos: one word without slashes that begins with no dash.
fn role(text: &str) -> Result<String, String> {
    let bad = text.is_empty() || matches!(text, "." | "..") || text.starts_with('-');
    if bad || text.contains(|c: char| c.is_whitespace() || c == '/' || c.is_control()) {
        return Err("write one word without slashes that does not begin with a dash".to_owned());
    }
    Ok(text.to_owned())
}

/// Runs the command.
pub fn run(arguments: &MarathonLocalArguments) -> CommandResult {
    let listen = arguments.listen.unwrap_or((Ipv4Addr::LOCALHOST, arguments.port).into());
    let listen = config::loopback_only(listen)?;
    if arguments.new_group_enforce_role == NewGroups::Top && arguments.profile < Profile::V1_11 {
        let profile = arguments.profile;
        return Err(format!(
            "--new-group-enforce-role top: Marathon {profile} has no roles for groups; leave it out, or \
                            choose --profile 1.11"
        )
        .into());
    }
    let runtime = runtime()?;
    let result = runtime.block_on(serve(listen, arguments));
    runtime.shutdown_timeout(Duration::from_millis(500));
    result
}

async fn serve(listen: SocketAddr, arguments: &MarathonLocalArguments) -> CommandResult {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let (clock, workers) = (Clock::system(), Workers::new());
    let marathon = MarathonLocal::start(LocalConfig {
        dir: arguments.dir.clone(),
        listen,
        profile: arguments.profile,
        role: arguments.role.clone(),
        default_network: arguments.default_network_name.clone(),
        new_groups_enforce: arguments.new_group_enforce_role == NewGroups::Top,
        tasks: match arguments.executor {
            // Not the program's path: the file may be replaced by a newer build while this one runs.
            ExecutorKind::Processes => Tasks::Processes {
                agent: PathBuf::from("/proc/self/exe"),
                secrets: arguments.secrets.clone(),
            },
            ExecutorKind::Simulated => Tasks::Simulated,
        },
        faults: arguments.faults.then_some(arguments.seed),
        clock: clock.clone(),
        entropy: Entropy::system(),
        workers: workers.clone(),
    })
    .await?;
    let url = format!("http://{}", marathon.address());
    match arguments.executor {
        ExecutorKind::Processes => {
            tell(&format!("Marathon   {url}  (local: tasks are processes of this machine)"));
            tell(&format!("Sandboxes  {}", arguments.dir.join("sandboxes").display()));
        }
        ExecutorKind::Simulated => {
            tell(&format!("Marathon   {url}  (local: tasks are simulated, nothing is run and nothing kept)"));
        }
    }
    if arguments.faults {
        tell(&format!("Faults     {url}/local/faults"));
    }
    tell(&format!(
        "Start an app with `curl -H 'Content-Type: application/json' -d @app.json {url}/v2/apps`."
    ));
    match arguments.executor {
        ExecutorKind::Processes => {
            tell("Apps are kept, and started again by the next run on this directory. Ctrl-C stops.");
        }
        ExecutorKind::Simulated => tell("Ctrl-C stops."),
    }
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    tell("Stopping: tasks are told to end.");
    let left = tokio::select! {
        left = drain(marathon, &workers, &clock) => left,
        _ = interrupt.recv() => vec!["everything, at your second word"],
    };
    if !left.is_empty() {
        return Err(format!("stopped without waiting for: {}", left.join(", ")).into());
    }
    tell("Stopped.");
    Ok(ExitCode::SUCCESS)
}

/// Ends the tasks, then the API. Returns what did not end in time.
async fn drain(marathon: MarathonLocal, workers: &Workers, clock: &Clock) -> Vec<&'static str> {
    let mut left = Vec::new();
    if !marathon.shutdown(DRAIN_TASKS).await {
        left.push("tasks");
    }
    left.extend(workers.drain(clock, DRAIN_WORKERS).await);
    left
}
