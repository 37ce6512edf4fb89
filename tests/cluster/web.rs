//! HTTP as a client of the program speaks it, from any thread.

use std::sync::OnceLock;
use std::time::Duration;

use serde_json::Value;
use tokio::runtime::Runtime;

/// How long a client waits for an answer.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// An answer, read to its end.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: Vec<u8>,
    /// Whether the registry says that it could not ask the store.
    pub stale: bool,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Result<Value, String> {
        serde_json::from_slice(&self.body).map_err(|error| format!("{error}: {}", self.text()))
    }
}

struct Web {
    runtime: Runtime,
    client: reqwest::Client,
}

fn web() -> &'static Web {
    static WEB: OnceLock<Web> = OnceLock::new();
    WEB.get_or_init(|| {
        dcos_registry::marathon::install_tls_provider();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        // A connection that is kept from before a kill tells nothing of the instance after it.
        let client = reqwest::Client::builder().no_proxy().pool_max_idle_per_host(0).build();
        Web { runtime: runtime.unwrap(), client: client.unwrap() }
    })
}

/// One request; the error in words when there was no whole answer.
pub fn ask(method: &str, url: &str, body: Vec<u8>) -> Result<Answer, String> {
    ask_within(method, url, body, PATIENCE)
}

/// One request whose answer must be there in time.
pub fn ask_within(method: &str, url: &str, body: Vec<u8>, limit: Duration) -> Result<Answer, String> {
    let Web { runtime, client } = web();
    let mut request = client.request(method.parse().unwrap(), url).timeout(limit);
    if !body.is_empty() {
        request = request.header("content-type", media_type(&body)).body(body);
    }
    runtime.block_on(async {
        let response = request.send().await.map_err(|error| format!("{error:?}"))?;
        let status = response.status().as_u16();
        let stale = response.headers().contains_key("x-dcos-registry-stale");
        let body = response.bytes().await.map_err(|error| format!("{error:?}"))?.to_vec();
        Ok(Answer { status, body, stale })
    })
}

/// Marathon takes JSON, the registry zips.
fn media_type(body: &[u8]) -> &'static str {
    if body.starts_with(b"PK") { "application/zip" } else { "application/json" }
}

/// GETs something that must be there.
pub fn get(url: &str) -> Result<Answer, String> {
    let answer = ask("GET", url, Vec::new())?;
    if answer.status == 200 { Ok(answer) } else { Err(format!("{}: {}", answer.status, answer.text())) }
}
