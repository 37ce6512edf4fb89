//! Health checks against a running task: over HTTP, by a connection, or by a command.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::agent::{Supervised, shell};
use super::environment;
use super::secrets::Secrets;
use crate::clock::Clock;
use crate::marathon_local::definition::{CheckedPort, HealthCheck, Probe, ReadinessCheck};
use crate::marathon_local::executor::{ReadinessAnswer, TaskSpec};
use crate::marathon_local::supervisor::{Order, Report};

/// How much of the answer to a readiness check is kept.
const LONGEST_ANSWER: usize = 16 * 1024;

/// Does health checks. Cheap to clone.
#[derive(Clone)]
pub struct Prober {
    http: reqwest::Client,
    clock: Clock,
    agent: PathBuf,
    secrets: Secrets,
}

impl Prober {
    /// A prober that runs commands under the given supervisor program.
    ///
    /// # Errors
    /// When no HTTP client can be made.
    pub fn new(clock: Clock, agent: PathBuf, secrets: Secrets) -> Result<Self, reqwest::Error> {
        // As Mesos does: certificates are not verified, redirects not followed, nothing is kept open
        // between checks, so that each one proves that the task accepts connections.
        let http = reqwest::Client::builder()
            .no_proxy()
            .tls_danger_accept_invalid_certs(true)
            .redirect(reqwest::redirect::Policy::none())
            .pool_max_idle_per_host(0)
            .build()?;
        Ok(Self { http, clock, agent, secrets })
    }

    /// One check, within its time limit.
    ///
    /// # Errors
    /// Why the task is not healthy.
    pub async fn probe(&self, task: &TaskSpec, check: &HealthCheck, sandbox: &Path) -> Result<(), String> {
        let probed = async {
            match &check.probe {
                Probe::Http { tls, path, port } => self.http(address(task, *port)?, *tls, path).await,
                Probe::Tcp(port) => connect(address(task, *port)?).await,
                Probe::Command(command) => self.command(task, command, sandbox).await,
            }
        };
        // Dropping a command's supervisor kills the command.
        let limit = check.timeout.max(Duration::from_millis(1));
        self.clock.timeout(limit, probed).await.unwrap_or_else(|late| Err(late.to_string()))
    }

    /// Asks whether a task is ready, within the check's time limit; none where it does not answer.
    pub async fn ready(&self, task: &TaskSpec, check: &ReadinessCheck) -> Option<ReadinessAnswer> {
        let asked = async {
            let address = address(task, CheckedPort::Index(check.port)).ok()?;
            let scheme = if check.tls { "https" } else { "http" };
            let url = format!("{scheme}://{address}/{}", check.path.trim_start_matches('/'));
            let mut response = self.http.get(url).send().await.ok()?;
            let status = response.status().as_u16();
            let kind = response.headers().get(reqwest::header::CONTENT_TYPE);
            let content_type = kind.and_then(|k| k.to_str().ok()).unwrap_or_default().to_owned();
            let mut body = Vec::new();
            while body.len() < LONGEST_ANSWER
                && let Ok(Some(piece)) = response.chunk().await
            {
                body.extend_from_slice(&piece);
            }
            body.truncate(LONGEST_ANSWER);
            Some(ReadinessAnswer { status, content_type, body: String::from_utf8_lossy(&body).into_owned() })
        };
        self.clock.timeout(check.timeout.max(Duration::from_millis(1)), asked).await.ok().flatten()
    }

    async fn http(&self, address: SocketAddr, tls: bool, path: &str) -> Result<(), String> {
        let scheme = if tls { "https" } else { "http" };
        let url = format!("{scheme}://{address}/{}", path.trim_start_matches('/'));
        let response = self.http.get(url).send().await.map_err(|e| e.without_url().to_string())?;
        let status = response.status();
        if status.is_success() || status.is_redirection() {
            Ok(())
        } else {
            Err(format!("answered {status}"))
        }
    }

    async fn command(&self, task: &TaskSpec, command: &str, sandbox: &Path) -> Result<(), String> {
        let env = environment::of(task, sandbox, &self.secrets)?;
        let order = Order { argv: shell(command), env, directory: sandbox.to_owned(), keep_output: false };
        let mut supervised = Supervised::start(&self.agent, order).await?;
        loop {
            match supervised.report().await {
                Some(Report::Started { .. }) => {}
                Some(Report::Ended { code: Some(0), .. }) => return Ok(()),
                Some(Report::Ended { code, signal }) => return Err(ending(code, signal)),
                Some(Report::Refused { message }) => return Err(message),
                None => return Err("the command's supervisor died".to_owned()),
            }
        }
    }
}

/// How a command ended, in the words of Mesos.
pub fn ending(code: Option<i32>, signal: Option<i32>) -> String {
    match (code, signal) {
        (Some(code), _) => format!("Command exited with status {code}"),
        (None, Some(signal)) => format!("Command terminated with signal {signal}"),
        (None, None) => "Command ended in an unknown way".to_owned(),
    }
}

async fn connect(address: SocketAddr) -> Result<(), String> {
    tokio::net::TcpStream::connect(address).await.map(drop).map_err(|e| e.to_string())
}

fn address(task: &TaskSpec, port: CheckedPort) -> Result<SocketAddr, String> {
    let port = match port {
        CheckedPort::Number(port) => port,
        CheckedPort::Index(index) => {
            *task.ports.get(index).ok_or_else(|| format!("the task has no port at index {index}"))?
        }
    };
    Ok(SocketAddr::new(task.host, port))
}
