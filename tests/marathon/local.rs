//! Rows that talk to a local Marathon, which each has for itself.

use std::collections::BTreeMap;
use std::time::Duration;

use dcos_registry::clock::{Clock, Entropy};
use dcos_registry::marathon_local::{LocalConfig, MarathonLocal, Profile, Tasks};
use dcos_registry::workers::Workers;
use serde_json::Value;

use crate::row::{Expected, Row, Step};

/// How long a step may be sent again, and a shutdown take. Far more than is needed, so that only a hang fails.
const PATIENCE: Duration = Duration::from_secs(30);

/// Between two tries of a step.
const PAUSE: Duration = Duration::from_millis(10);

struct Session {
    url: String,
    clock: Clock,
    http: reqwest::Client,
    /// What steps kept, by name.
    kept: BTreeMap<String, String>,
}

struct Reply {
    status: u16,
    headers: reqwest::header::HeaderMap,
    text: String,
    body: Value,
}

/// Carries out the steps of a row.
///
/// # Errors
/// What is different, with the request.
pub async fn run(row: &Row, steps: &[Step], http: &reqwest::Client) -> Result<(), String> {
    let dir = tempfile::TempDir::new().unwrap();
    let clock = Clock::system();
    let config = LocalConfig {
        dir: dir.path().join("marathon"),
        listen: "127.0.0.1:0".parse().unwrap(),
        profile: row.profile.as_deref().map_or_else(Profile::default, |version| version.parse().unwrap()),
        role: row.role.clone().unwrap_or_else(|| "*".to_owned()),
        default_network: row.network.clone(),
        new_groups_enforce: row.new_groups_enforce,
        // Simulated tasks may use secrets; what there is without them is seen at the other kind.
        tasks: if row.secrets {
            Tasks::Simulated
        } else {
            Tasks::Processes { agent: env!("CARGO_BIN_EXE_dcos-registry").into(), secrets: None }
        },
        faults: Some(1),
        clock: clock.clone(),
        entropy: Entropy::system(),
        workers: Workers::new(),
    };
    let marathon = MarathonLocal::start(config).await.unwrap();
    let url = format!("http://{}", marathon.address());
    let mut session = Session { url, clock, http: http.clone(), kept: BTreeMap::new() };
    let ended = session.all(&row.apps, steps).await;
    assert!(marathon.shutdown(PATIENCE).await, "the tasks of {} did not end", row.says);
    ended
}

impl Session {
    async fn all(&mut self, apps: &[Value], steps: &[Step]) -> Result<(), String> {
        for app in apps {
            let created = Expected { status: Some(201), ..Expected::default() };
            self.step(&Step::new("POST /v2/apps", app.clone(), created)).await?;
            let settled =
                Expected { has: [(String::new(), Value::Array(Vec::new()))].into(), ..Expected::default() };
            let wait = Step { until: true, ..Step::new("GET /v2/deployments", Value::Null, settled) };
            self.step(&wait).await?;
        }
        for step in steps {
            self.step(step).await?;
        }
        Ok(())
    }

    async fn step(&mut self, step: &Step) -> Result<(), String> {
        let end = self.clock.boot() + PATIENCE;
        loop {
            let reply = self.send(step).await;
            let checked = self.keep(step, &reply).and_then(|()| self.check(step, &reply));
            if checked.is_ok() || !step.until || self.clock.boot() > end {
                return checked.map_err(|wrong| format!("{}: {wrong}", step.send));
            }
            self.clock.sleep(PAUSE).await;
        }
    }

    fn keep(&mut self, step: &Step, reply: &Reply) -> Result<(), String> {
        for (name, place) in &step.keep {
            let kept = reply.body.pointer(place).and_then(Value::as_str);
            let kept =
                kept.ok_or_else(|| format!("no text at {place} of {} {}", reply.status, reply.text))?;
            self.kept.insert(name.clone(), kept.to_owned());
        }
        Ok(())
    }

    async fn send(&self, step: &Step) -> Reply {
        let (method, path) = step.send.split_once(' ').unwrap();
        let url = format!("{}{}", self.url, self.filled(path));
        let mut request = self.http.request(method.parse().unwrap(), url);
        if !step.headers.contains_key("content-type") {
            request = request.header("content-type", "application/json");
        }
        for (name, value) in &step.headers {
            request = request.header(name, value);
        }
        let body = match (&step.text, &step.body) {
            (Some(text), _) => text.clone(),
            (None, Value::Null) => String::new(),
            (None, body) => self.filled_value(body).to_string(),
        };
        let response = request.body(body).send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().await.unwrap();
        let body = serde_json::from_str(&text).unwrap_or(Value::Null);
        Reply { status, headers, text, body }
    }

    fn check(&self, step: &Step, reply: &Reply) -> Result<(), String> {
        let expected = &step.then;
        if reply.status != expected.status() {
            return Err(format!("the status is {}, not {}: {}", reply.status, expected.status(), reply.text));
        }
        if let Some(place) = &expected.refused {
            return expected.of_faults(place, &faults(&reply.body));
        }
        if let Some(part) = &expected.message
            && !reply.body["message"].as_str().is_some_and(|message| message.contains(part.as_str()))
        {
            return Err(format!("does not say {part:?}: {}", reply.text));
        }
        if expected.text.as_ref().is_some_and(|text| *text != reply.text) {
            return Err(format!("the body is {:?}", reply.text));
        }
        for (name, value) in &expected.headers {
            let found = reply.headers.get(name).and_then(|value| value.to_str().ok());
            if found != Some(self.filled(value).as_str()) {
                return Err(format!("the header {name} is {found:?}, not {value}"));
            }
        }
        let has = expected.has.iter().map(|(place, value)| (place.clone(), self.filled_value(value)));
        Expected { has: has.collect(), ..expected.clone() }.of_value(&reply.body)
    }

    /// The text with what was kept in the place of `{name}`.
    fn filled(&self, text: &str) -> String {
        let filled =
            |text: String, (name, value): (&String, &String)| text.replace(&format!("{{{name}}}"), value);
        self.kept.iter().fold(text.to_owned(), filled)
    }

    fn filled_value(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => self.filled(text).into(),
            Value::Array(items) => items.iter().map(|item| self.filled_value(item)).collect(),
            Value::Object(map) => {
                map.iter().map(|(key, value)| (key.clone(), self.filled_value(value))).collect()
            }
            value => value.clone(),
        }
    }
}

/// The faults that an answer tells, by place.
fn faults(body: &Value) -> Vec<(String, String)> {
    let details = body["details"].as_array().into_iter().flatten();
    let faults = details.flat_map(|detail| {
        let path = detail["path"].as_str().unwrap_or_default();
        let errors = detail["errors"].as_array().into_iter().flatten().filter_map(Value::as_str);
        errors.map(|error| (path.to_owned(), error.to_owned()))
    });
    faults.collect()
}
