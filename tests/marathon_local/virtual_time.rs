//! A local Marathon with simulated tasks in virtual time, asked without a connection.

use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::http::Request;
use dcos_registry::clock::Clock;
use dcos_registry::marathon_local::{Cut, MarathonLocal, Profile};
use dcos_registry::workers::Workers;
use futures::{FutureExt as _, StreamExt as _};
use serde_json::{Value, json};

use crate::simulated_marathon;

/// A local Marathon whose time is the runtime's paused one.
pub struct Virtual {
    pub marathon: MarathonLocal,
    pub clock: Clock,
    workers: Workers,
}

impl Virtual {
    pub async fn start() -> Self {
        Self::start_as(Profile::default(), "*").await
    }

    pub async fn start_as(profile: Profile, role: &str) -> Self {
        let (marathon, clock, workers) = simulated_marathon::start(profile, role, 7).await;
        Self { marathon, clock, workers }
    }

    pub async fn try_to_send(&self, method: &str, path: &str, body: &Value) -> Result<(u16, Value), Cut> {
        simulated_marathon::ask(&self.marathon, method, path, body).await
    }

    pub async fn expect(&self, status: u16, method: &str, path: &str, body: Value) -> Value {
        let (got, body) = self.try_to_send(method, path, &body).await.unwrap();
        assert_eq!(got, status, "{method} {path}: {body}");
        body
    }

    pub async fn app(&self, id: &str) -> Value {
        self.expect(200, "GET", &format!("/v2/apps{id}"), Value::Null).await["app"].clone()
    }

    pub async fn pass(&self, seconds: u64) {
        self.clock.sleep(Duration::from_secs(seconds)).await;
    }

    pub async fn stop(self) {
        assert!(self.marathon.shutdown(Duration::from_secs(20)).await);
        assert!(self.workers.drain(&self.clock, Duration::from_secs(20)).await.is_empty());
    }

    /// How many deployments there are.
    pub async fn deployments(&self) -> usize {
        let deployments = self.expect(200, "GET", "/v2/deployments", Value::Null).await;
        deployments.as_array().unwrap().len()
    }

    /// The ids of an app's tasks.
    pub async fn tasks(&self, id: &str) -> Vec<String> {
        let app = self.app(id).await;
        let tasks = app["tasks"].as_array().unwrap().iter();
        tasks.map(|task| task["id"].as_str().unwrap().to_owned()).collect()
    }

    /// Listens to the event stream from now on.
    pub async fn listen(&self) -> Heard {
        let request = Request::builder().uri("/v2/events").header("host", "localhost");
        let request = request.header("accept", "text/event-stream").body(Body::empty()).unwrap();
        let mut heard = Heard(self.marathon.answer(request).await.unwrap().into_body().into_data_stream());
        assert_eq!(heard.told(&["event_stream_attached"]).len(), 1);
        heard
    }

    /// Another one leads; whoever asks just then gets no answer.
    pub async fn another_leader(&self) {
        let fault = json!({"kind": "leaderChange", "milliseconds": 100, "times": 1, "methods": ["GET"]});
        self.expect(201, "POST", "/local/faults", fault).await;
        assert!(self.try_to_send("GET", "/v2/apps", &Value::Null).await.is_err());
        self.pass(1).await;
    }
}

/// An open event stream.
pub struct Heard(BodyDataStream);

impl Heard {
    /// The data of the events of some types that were told since the last time.
    pub fn told(&mut self, kinds: &[&str]) -> Vec<Value> {
        let frames = std::iter::from_fn(|| self.0.next().now_or_never().flatten());
        let frames = frames.map(|frame| String::from_utf8(frame.unwrap().to_vec()).unwrap());
        // Between events there are signs of life.
        let data = frames.filter_map(|frame| {
            let (_, data) = frame.trim_end().split_once("\r\ndata: ")?;
            Some(serde_json::from_str::<Value>(data).unwrap())
        });
        data.filter(|data| kinds.contains(&data["eventType"].as_str().unwrap())).collect()
    }
}
