//! Somebody between an instance and Marathon who passes everything on and notes what it was.

use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::response::Response;
use dcos_registry::clock::Clock;
use tokio_util::sync::CancellationToken;

/// More than any app of a test.
const LARGEST_BODY: usize = 1 << 20;

/// What an instance asked of Marathon.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// How often it looked at a single app, which it does before it changes one.
    pub looks: usize,
    /// Method and path of every write that was begun.
    pub writes: Vec<String>,
}

/// Between one instance and Marathon. Dropping it ends it.
pub struct Witness {
    pub url: String,
    seen: Arc<Mutex<Seen>>,
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

#[derive(Clone)]
struct Desk {
    marathon: String,
    client: reqwest::Client,
    /// How long each look at a single app is held up.
    pause: Duration,
    seen: Arc<Mutex<Seen>>,
}

impl Witness {
    pub fn start(marathon: &str, pause: Duration) -> Self {
        dcos_registry::marathon::install_tls_provider();
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (seen, stop) = (Arc::<Mutex<Seen>>::default(), CancellationToken::new());
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let desk = Desk { marathon: marathon.to_owned(), client, pause, seen: Arc::clone(&seen) };
        let ends = stop.clone();
        #[expect(clippy::disallowed_methods, reason = "what a test needs ends with its value")]
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let router = Router::new().fallback(pass_on).with_state(desk);
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                tokio::select! {
                    ended = axum::serve(listener, router) => ended.unwrap(),
                    () = ends.cancelled() => {}
                }
            });
        });
        Self { url, seen, stop, thread: Some(thread) }
    }

    /// What passed so far.
    pub fn seen(&self) -> Seen {
        self.seen.lock().unwrap().clone()
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.stop.cancel();
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(std::thread::panicking() || ended.is_some_and(|ended| ended.is_ok()));
    }
}

async fn pass_on(State(desk): State<Desk>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let what = format!("{} {}", head.method, head.uri.path());
    if head.method != Method::GET {
        desk.seen.lock().unwrap().writes.push(what);
    } else if what.starts_with("GET /v2/apps/") {
        desk.seen.lock().unwrap().looks += 1;
        Clock::system().sleep(desk.pause).await;
    }
    let Ok(body) = axum::body::to_bytes(body, LARGEST_BODY).await else {
        return status(StatusCode::BAD_REQUEST);
    };
    let url = format!("{}{}", desk.marathon, head.uri);
    let mut passed = desk.client.request(head.method, url).body(body);
    for name in ["content-type", "accept"] {
        if let Some(value) = head.headers.get(name) {
            passed = passed.header(name, value);
        }
    }
    let Ok(answer) = passed.send().await else { return status(StatusCode::BAD_GATEWAY) };
    let response = Response::builder().status(answer.status());
    let kind = answer.headers().get("content-type").cloned();
    let response = kind.into_iter().fold(response, |response, kind| response.header("content-type", kind));
    // As it comes, since events have no end.
    response.body(Body::from_stream(answer.bytes_stream())).unwrap()
}

fn status(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}
