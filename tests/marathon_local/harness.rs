//! A local Marathon on a free port with its own directory, and a plain HTTP client against it.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use dcos_registry::clock::{Clock, Entropy};
use dcos_registry::marathon_local::{LocalConfig, LocalError, MarathonLocal, Profile, Tasks};
use dcos_registry::workers::Workers;
use serde_json::Value;
use tempfile::TempDir;

/// How long a condition may take to come true. Far more than it needs, so that only a hang fails.
const PATIENCE: Duration = Duration::from_secs(30);

/// The program that is run again as the supervisor.
pub const AGENT: &str = env!("CARGO_BIN_EXE_dcos-registry");

pub struct Local {
    pub marathon: MarathonLocal,
    pub clock: Clock,
    pub dir: Arc<TempDir>,
    http: reqwest::Client,
}

/// An answer: status, body (null when empty), headers.
pub struct Reply {
    pub status: u16,
    pub body: Value,
    pub headers: reqwest::header::HeaderMap,
}

impl Local {
    pub async fn start() -> Self {
        Self::start_in(Arc::new(TempDir::new().unwrap())).await
    }

    pub async fn start_in(dir: Arc<TempDir>) -> Self {
        let marathon = start_at(dir.path(), "127.0.0.1:0").await.unwrap();
        Self::with(marathon, dir)
    }

    /// One whose tasks are simulated and in which things can be made to go wrong.
    pub async fn simulated(profile: Profile) -> Self {
        let dir = Arc::new(TempDir::new().unwrap());
        let config = LocalConfig { profile, tasks: Tasks::Simulated, faults: Some(1), ..config(dir.path()) };
        Self::with(MarathonLocal::start(config).await.unwrap(), dir)
    }

    /// One with a directory of secrets beside its own and with switches for faults.
    pub async fn with_secrets(dir: Arc<TempDir>) -> Self {
        std::fs::create_dir_all(dir.path().join("secrets")).unwrap();
        let secrets = Some(dir.path().join("secrets"));
        let tasks = Tasks::Processes { agent: AGENT.into(), secrets };
        let config = LocalConfig { tasks, faults: Some(1), ..config(dir.path()) };
        Self::with(MarathonLocal::start(config).await.unwrap(), dir)
    }

    fn with(marathon: MarathonLocal, dir: Arc<TempDir>) -> Self {
        // Whichever test runs first: a Marathon with simulated tasks needs no client of its own.
        dcos_registry::marathon::install_tls_provider();
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { marathon, clock: Clock::system(), dir, http }
    }

    pub async fn stop(self) -> Arc<TempDir> {
        assert!(self.marathon.shutdown(Duration::from_secs(20)).await, "tasks did not end");
        self.dir
    }

    pub async fn send(&self, method: &str, path: &str, body: &str) -> Reply {
        self.try_to_send(method, path, body).await.unwrap()
    }

    pub async fn try_to_send(&self, method: &str, path: &str, body: &str) -> Result<Reply, reqwest::Error> {
        let url = format!("http://{}{path}", self.marathon.address());
        let request = self.http.request(method.parse().unwrap(), url).body(body.to_owned());
        let request = request.header("content-type", "application/json");
        let response = request.send().await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = serde_json::from_str(&response.text().await?).unwrap_or(Value::Null);
        Ok(Reply { status, body, headers })
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.send("GET", path, "").await
    }

    /// Status and text of an answer to somebody who accepts one kind only.
    pub async fn text(&self, path: &str, accept: &str) -> (u16, String) {
        let url = format!("http://{}{path}", self.marathon.address());
        let response = self.http.get(url).header("accept", accept).send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }

    /// The status of a listing with a token of DC/OS.
    pub async fn with_token(&self, token: &str) -> u16 {
        let url = format!("http://{}/v2/apps", self.marathon.address());
        let request = self.http.get(url).header("authorization", format!("token={token}"));
        request.send().await.unwrap().status().as_u16()
    }

    /// Sends a JSON body; the status must be the expected one.
    pub async fn expect(&self, status: u16, method: &str, path: &str, body: &Value) -> Value {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let reply = self.send(method, path, &body).await;
        assert_eq!(reply.status, status, "{method} {path}: {}", reply.body);
        reply.body
    }

    pub async fn app(&self, id: &str) -> Value {
        self.get(&format!("/v2/apps{id}")).await.body["app"].clone()
    }

    /// Turns a fault on.
    pub async fn fault(&self, fault: Value) -> Value {
        self.expect(201, "POST", "/local/faults", &fault).await
    }

    /// Turns all faults off.
    pub async fn no_faults(&self) {
        self.expect(204, "DELETE", "/local/faults", &Value::Null).await;
    }

    /// Sets what becomes of the tasks of an app or a group.
    pub async fn outcome(&self, app: &str, outcome: Value) {
        self.expect(204, "PUT", &format!("/local/outcomes{app}"), &outcome).await;
    }

    /// Waits until there are no deployments.
    pub async fn calm(&self) {
        self.wait("the end of all deployments", async || {
            let deployments = self.get("/v2/deployments").await.body;
            if deployments == Value::Array(Vec::new()) { Ok(()) } else { Err(deployments.to_string()) }
        })
        .await;
    }

    /// Creates an app and waits for the end of its deployment.
    pub async fn run(&self, app: Value) -> Value {
        let created = self.expect(201, "POST", "/v2/apps", &app).await;
        let id = created["id"].as_str().unwrap().to_owned();
        self.deployed(&id).await
    }

    /// Waits until no deployment holds the app; returns the app.
    pub async fn deployed(&self, id: &str) -> Value {
        self.until(id, |app| app["deployments"] == serde_json::json!([])).await
    }

    /// Waits until the app is as wanted; returns it.
    pub async fn until(&self, id: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        self.wait(&format!("app {id}"), async || {
            let app = self.app(id).await;
            if wanted(&app) { Ok(app) } else { Err(app.to_string()) }
        })
        .await
    }

    /// Waits until the condition gives a value; what it saw instead is shown when it never does.
    pub async fn wait<T, F: Future<Output = Result<T, String>>>(
        &self,
        what: &str,
        look: impl Fn() -> F,
    ) -> T {
        wait(&self.clock, what, look).await
    }

    pub fn sandbox(&self, task: &Value) -> PathBuf {
        self.dir.path().join("marathon/sandboxes").join(task["id"].as_str().unwrap())
    }

    /// Waits for a file of a task's sandbox that is not empty.
    pub async fn file(&self, task: &Value, name: &str) -> String {
        let path = self.sandbox(task).join(name);
        self.wait(&path.display().to_string(), async || match std::fs::read_to_string(&path) {
            Ok(text) if text.ends_with('\n') => Ok(text),
            other => Err(format!("{other:?}")),
        })
        .await
    }
}

pub async fn start_at(dir: &Path, listen: &str) -> Result<MarathonLocal, LocalError> {
    MarathonLocal::start(LocalConfig { listen: listen.parse().unwrap(), ..config(dir) }).await
}

fn config(dir: &Path) -> LocalConfig {
    LocalConfig {
        dir: dir.join("marathon"),
        listen: ([127, 0, 0, 1], 0).into(),
        profile: Profile::default(),
        role: "*".to_owned(),
        default_network: None,
        new_groups_enforce: false,
        tasks: Tasks::Processes { agent: AGENT.into(), secrets: None },
        faults: None,
        clock: Clock::system(),
        entropy: Entropy::system(),
        workers: Workers::new(),
    }
}

pub async fn wait<T, F: Future<Output = Result<T, String>>>(
    clock: &Clock,
    what: &str,
    look: impl Fn() -> F,
) -> T {
    let end = clock.boot() + PATIENCE;
    loop {
        match look().await {
            Ok(found) => return found,
            Err(seen) => assert!(clock.boot() < end, "waiting for {what}, last seen: {seen}"),
        }
        clock.sleep(Duration::from_millis(20)).await;
    }
}

/// Whether a process is there and no zombie.
pub fn is_alive(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z'))
}

/// The process id of the parent.
pub fn parent(pid: i32) -> i32 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit_once(')').unwrap().1.split_whitespace().nth(1).unwrap().parse().unwrap()
}
