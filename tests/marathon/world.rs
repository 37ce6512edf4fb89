//! A local Marathon with simulated tasks whose time is the runtime's paused one, asked without a connection.

use std::future::Future;
use std::time::Duration;

use dcos_registry::clock::Clock;
use dcos_registry::marathon_local::{Cut, MarathonLocal, Profile};
use dcos_registry::model::App;
use dcos_registry::workers::Workers;
use serde_json::Value;

use crate::simulated_marathon;

/// How long a change of an app whose tasks all run may take, in virtual time.
const SETTLED_WITHIN: Duration = Duration::from_secs(4 * 3600);

pub struct World {
    pub marathon: MarathonLocal,
    pub clock: Clock,
    pub workers: Workers,
}

/// Runs one case on a runtime of its own, whose time passes only while nothing can go on.
pub fn in_virtual_time<T>(case: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    runtime.unwrap().block_on(case)
}

impl World {
    pub async fn start(seed: u64) -> Self {
        let (marathon, clock, workers) = simulated_marathon::start(Profile::default(), "*", seed).await;
        Self { marathon, clock, workers }
    }

    /// Status and body of an answer.
    ///
    /// # Errors
    /// [`Cut`] where a fault cuts the connection.
    pub async fn try_to_send(&self, method: &str, path: &str, body: &Value) -> Result<(u16, Value), Cut> {
        simulated_marathon::ask(&self.marathon, method, path, body).await
    }

    /// As [`World::try_to_send`], where nothing cuts connections.
    pub async fn send(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        self.try_to_send(method, path, body).await.unwrap()
    }

    /// Asks for what must be answered.
    pub async fn get(&self, path: &str) -> Value {
        let (status, body) = self.send("GET", path, &Value::Null).await;
        assert_eq!(status, 200, "GET {path}: {body}");
        body
    }

    /// Sets what becomes of the tasks that an app launches.
    pub async fn outcome(&self, id: &str, outcome: &Value) {
        let (status, answer) = self.send("PUT", &format!("/local/outcomes{id}"), outcome).await;
        assert_eq!(status, 204, "{answer}");
    }

    /// The app as it is shown.
    pub async fn app(&self, id: &str) -> App {
        let mut body = self.get(&format!("/v2/apps{id}")).await;
        App::from_value(body["app"].take()).unwrap()
    }

    pub async fn pass(&self, time: Duration) {
        self.clock.sleep(time).await;
    }

    /// The app once nothing holds it and as many tasks run as it wants; what is in the way where that does not come.
    ///
    /// # Errors
    /// The app as it was last.
    pub async fn settled(&self, id: &str) -> Result<App, String> {
        let end = self.clock.boot() + SETTLED_WITHIN;
        loop {
            let app = self.app(id).await;
            let count = |key: &str| app.get(key).and_then(Value::as_u64);
            let tasks = app.get("tasks").and_then(Value::as_array).map_or(0, Vec::len);
            let runs = count("tasksRunning") == Some(app.instances()) && tasks as u64 == app.instances();
            if app.deployments().next().is_none() && runs {
                return Ok(app);
            }
            if self.clock.boot() > end {
                return Err(format!("it does not settle: {}", app.into_value()));
            }
            self.pass(Duration::from_secs(5)).await;
        }
    }

    pub async fn stop(self) {
        assert!(self.marathon.shutdown(Duration::from_secs(3_600)).await, "tasks do not end");
        assert!(self.workers.drain(&self.clock, Duration::from_secs(20)).await.is_empty());
    }
}
