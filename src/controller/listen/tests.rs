//! The listener against a server that streams what a script says, in the runtime's paused time where time matters.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use futures::StreamExt as _;

use super::*;
use crate::config::{MarathonAuth, MarathonSettings};
use crate::marathon::Timeouts;
use crate::workers::Workers;

/// What a connection gets: a status, and frames after which it is closed or left open.
#[derive(Clone)]
struct Stream {
    status: u16,
    frames: Vec<String>,
    stays: bool,
}

#[derive(Clone, Default)]
struct Server {
    streams: Arc<Mutex<VecDeque<Stream>>>,
    asked: Arc<Mutex<Vec<String>>>,
    came: Arc<Notify>,
}

impl Server {
    fn stream(self, frames: &[&str], stays: bool) -> Self {
        let frames = frames.iter().map(|frame| (*frame).to_owned()).collect();
        self.streams.lock().unwrap().push_back(Stream { status: 200, frames, stays });
        self
    }

    async fn serve(&self, workers: &Workers) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let router = axum::Router::new().fallback(answer).with_state(self.clone());
        workers.spawn("scripted-events", async { axum::serve(listener, router).await.unwrap() });
        base
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

async fn answer(State(server): State<Server>, request: Request) -> Response {
    let accept = request.headers()["accept"].to_str().unwrap().to_owned();
    server.asked.lock().unwrap().push(format!("{} {accept}", request.uri()));
    server.came.notify_one();
    let next = server.streams.lock().unwrap().pop_front();
    let Some(Stream { status, frames, stays }) = next else { return std::future::pending().await };
    let frames = futures::stream::iter(frames.into_iter().map(Ok::<_, std::io::Error>));
    let body = if stays {
        Body::from_stream(frames.chain(futures::stream::pending()))
    } else {
        Body::from_stream(frames)
    };
    let status = axum::http::StatusCode::from_u16(status).unwrap();
    (status, [("content-type", "text/event-stream;charset=UTF-8")], body).into_response()
}

/// Everything that a listener needs, and what it asks for.
struct Rig {
    marathon: Client,
    nudge: Notify,
    metrics: Metrics,
    clock: Clock,
    entropy: Entropy,
    workers: Workers,
}

impl Rig {
    async fn new(server: &Server) -> Self {
        Self::with_clock(server, Clock::system()).await
    }

    async fn with_clock(server: &Server, clock: Clock) -> Self {
        let (workers, metrics) = (Workers::new(), Metrics::new().unwrap());
        let urls = vec![server.serve(&workers).await];
        let settings = MarathonSettings { urls, admin_router: None, ca: None, auth: MarathonAuth::None };
        let parts = (clock.clone(), Entropy::seeded(1));
        let marathon = Client::connect(&settings, Timeouts::default(), parts, metrics.clone()).unwrap();
        Self { marathon, nudge: Notify::new(), metrics, clock, entropy: Entropy::seeded(2), workers }
    }

    async fn listen(&self, stop: &CancellationToken) {
        let Self { marathon, nudge, metrics, clock, entropy, .. } = self;
        let ours = AppId::new("/ours").unwrap();
        let listener = Listener { marathon, nudge, metrics, clock, entropy };
        listener.run(&|id| *id == ours, stop).await;
    }

    /// How many events were counted as that.
    fn counted(&self, outcome: &str) -> u64 {
        let begin = format!("dcos_registry_marathon_event_total{{outcome=\"{outcome}\"}} ");
        let text = self.metrics.render();
        text.lines().find_map(|line| line.strip_prefix(&begin)?.parse().ok()).unwrap_or_default()
    }
}

/// What does not come within half a minute does not come.
async fn within<T>(work: impl Future<Output = T>) -> T {
    Clock::system().timeout(Duration::from_secs(30), work).await.unwrap()
}

const OURS: &str = "event: status_update_event\ndata: {\"appId\": \"/ours\"}\n\n";
const OTHERS: &str = "event: status_update_event\ndata: {\"appId\": \"/others\"}\n\n";
const DEPLOYED: &str = "event: deployment_success\ndata: {\"id\": \"d\"}\n\n";

#[tokio::test]
async fn an_open_stream_and_our_events_ask_for_a_look_and_strangers_do_not() {
    let server = Server::default().stream(&[OTHERS, OTHERS, OURS, OURS, DEPLOYED], true);
    let rig = Rig::new(&server).await;
    let stop = CancellationToken::new();
    let heard = async {
        rig.nudge.notified().await;
        // Which of ours are merged depends on when the look is passed on for which the open stream asks.
        while rig.counted("foreign") < 2 || rig.counted("hint") + rig.counted("merged") < 3 {
            rig.clock.sleep(Duration::from_millis(5)).await;
        }
        stop.cancel();
    };
    within(futures::future::join(rig.listen(&stop), heard)).await;
    let asked = server.asked();
    assert_eq!(asked.len(), 1);
    assert!(asked[0].starts_with("/v2/events?event_type=api_post_event&event_type="), "{asked:?}");
    assert!(asked[0].ends_with("&plan-format=light text/event-stream"), "{asked:?}");
}

#[tokio::test]
async fn a_stream_that_ends_is_opened_again_and_asks_for_a_look() {
    let server = Server::default().stream(&[], false).stream(&[OURS], false).stream(&[], true);
    let rig = Rig::new(&server).await;
    let stop = CancellationToken::new();
    let looks = async {
        for _ in 0..3 {
            rig.nudge.notified().await;
        }
        while server.asked().len() < 3 {
            server.came.notified().await;
        }
        stop.cancel();
    };
    within(futures::future::join(rig.listen(&stop), looks)).await;
}

#[tokio::test]
async fn a_silent_stream_is_given_up() {
    let server = Server::default().stream(&[], true).stream(&[], true);
    // A hundred seconds of this clock are one.
    let rig = Rig::with_clock(&server, Clock::simulated(100.0, Duration::ZERO)).await;
    let stop = CancellationToken::new();
    let end = async {
        while server.asked().len() < 2 {
            server.came.notified().await;
        }
        stop.cancel();
    };
    within(futures::future::join(rig.listen(&stop), end)).await;
}

#[tokio::test]
async fn whoever_is_not_let_in_does_not_come_back_soon() {
    let refused = |status, error: &MarathonError| {
        let mut delays = Delays::new(PAUSES.0, PAUSES.1, Entropy::seeded(1));
        let pause = pause(error, false, &mut delays, &mut Trouble::new("x"));
        assert_eq!(pause == LONG_PAUSE, status, "{error}");
    };
    refused(true, &MarathonError::Forbidden { message: String::new() });
    refused(true, &MarathonError::UnknownRoute { path: String::new() });
    refused(true, &MarathonError::WrongPath { message: String::new() });
    refused(false, &MarathonError::StreamEnded);
    refused(false, &MarathonError::Unauthorized { message: String::new() });
    refused(false, &MarathonError::Unavailable { status: 503, message: String::new() });
    let server = Server::default();
    let stream = Stream { status: 403, frames: vec!["{}".into()], stays: false };
    server.streams.lock().unwrap().push_back(stream);
    let rig = Rig::new(&server).await;
    let stop = CancellationToken::new();
    let end = async {
        server.came.notified().await;
        stop.cancel();
    };
    within(futures::future::join(rig.listen(&stop), end)).await;
    let left = rig.workers.drain(&rig.clock, Duration::ZERO).await;
    assert_eq!(left, ["scripted-events"], "the listener itself starts no workers");
}
