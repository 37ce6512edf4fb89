//! The accept loop with real sockets. Where time matters it is paused: sockets of this machine need none.

use axum::http::StatusCode;
use axum::routing::{get, post};
use futures::StreamExt as _;
use tokio::sync::Notify;

use super::*;
use crate::http::tls::tests::made;

struct Running {
    address: SocketAddr,
    workers: Workers,
}

async fn start(router: Router, tls: Option<Arc<Tls>>, most: usize) -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, workers) = (listener.local_addr().unwrap(), Workers::new());
    let server = Server {
        router,
        quick: Arc::new(|_, _, _| None),
        tls,
        clock: Clock::system(),
        stop: workers.stop_signal(),
    };
    workers.spawn("http", accept(listener, Arc::new(server), most, workers.clone()));
    Running { address, workers }
}

async fn whole(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    stream.read_to_end(&mut text).await.unwrap();
    String::from_utf8(text).unwrap()
}

fn peer_route() -> Router {
    Router::new().route("/", get(async |ConnectInfo(peer): ConnectInfo<SocketAddr>| peer.to_string()))
}

#[tokio::test(start_paused = true)]
async fn a_head_that_does_not_end_ends_the_connection() {
    let running = start(peer_route(), None, 8).await;
    let mut slow = TcpStream::connect(running.address).await.unwrap();
    slow.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n").await.unwrap();
    assert_eq!(whole(&mut slow).await, "");
    let mut silent = TcpStream::connect(running.address).await.unwrap();
    assert_eq!(whole(&mut silent).await, "");
    let mut idle = TcpStream::connect(running.address).await.unwrap();
    idle.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let answer = whole(&mut idle).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.ends_with(&idle.local_addr().unwrap().to_string()), "it knows who asked: {answer}");
}

#[tokio::test]
async fn a_head_without_measure_is_refused() {
    let running = start(peer_route(), None, 8).await;
    let mut client = TcpStream::connect(running.address).await.unwrap();
    let line = format!("X: {}\r\n", "x".repeat(HEAD_BYTES));
    client.write_all(format!("GET / HTTP/1.1\r\n{line}{line}\r\n").as_bytes()).await.unwrap();
    assert!(whole(&mut client).await.starts_with("HTTP/1.1 431"));
}

#[tokio::test]
async fn http_2_is_not_spoken() {
    let running = start(peer_route(), None, 8).await;
    let mut client = TcpStream::connect(running.address).await.unwrap();
    client.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    let answer = whole(&mut client).await;
    assert!(answer.starts_with("HTTP/1.1 400") || answer.is_empty(), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn connections_beyond_the_limit_wait_for_a_place() {
    let (gate, arrived) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (waits, tells) = (Arc::clone(&gate), Arc::clone(&arrived));
    let router = Router::new().route(
        "/",
        get(async move || {
            tells.notify_one();
            waits.notified().await;
        }),
    );
    let running = start(router, None, 1).await;
    let request = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let mut first = TcpStream::connect(running.address).await.unwrap();
    first.write_all(request).await.unwrap();
    arrived.notified().await;
    let mut second = TcpStream::connect(running.address).await.unwrap();
    second.write_all(request).await.unwrap();
    let early = Clock::system().timeout(HEAD / 2, arrived.notified()).await;
    assert!(early.is_err(), "the second one is served beside the first one");
    gate.notify_one();
    assert!(whole(&mut first).await.starts_with("HTTP/1.1 200"));
    drop(first);
    // Only now is the second one read.
    arrived.notified().await;
    gate.notify_one();
    assert!(whole(&mut second).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn an_early_answer_reaches_a_client_that_is_still_sending() {
    let refuse = async || (StatusCode::FORBIDDEN, "because");
    let running = start(Router::new().route("/", post(refuse)), None, 8).await;
    let mut client = TcpStream::connect(running.address).await.unwrap();
    let size: usize = 64 << 20;
    client
        .write_all(format!("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n").as_bytes())
        .await
        .unwrap();
    let piece = vec![0; 1 << 20];
    for _ in 0..size / piece.len() {
        client.write_all(&piece).await.unwrap();
    }
    let answer = whole(&mut client).await;
    assert!(answer.starts_with("HTTP/1.1 403") && answer.ends_with("because"), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_nobody_takes_is_given_up() {
    let endless = || futures::stream::repeat(vec![0_u8; 64 * 1024]).map(Ok::<_, std::io::Error>);
    let body = async move || axum::body::Body::from_stream(endless());
    let running = start(Router::new().route("/", get(body)), None, 8).await;
    let mut client = TcpStream::connect(running.address).await.unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let clock = Clock::system();
    let ended = async {
        while running.workers.running().contains_key("http-connection") {
            clock.sleep(UNREAD / 10).await;
        }
    };
    client.readable().await.unwrap();
    clock.timeout(UNREAD * 3, ended).await.expect("the connection is still there");
}

#[tokio::test(start_paused = true)]
async fn what_runs_is_finished_when_it_stops_and_what_hangs_is_cut() {
    let (gate, arrived) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (waits, tells) = (Arc::clone(&gate), Arc::clone(&arrived));
    let soon = async move || {
        tells.notify_one();
        waits.notified().await;
        "done"
    };
    let running = start(Router::new().route("/", get(soon)), None, 8).await;
    let mut client = TcpStream::connect(running.address).await.unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    arrived.notified().await;
    let mut hanging = TcpStream::connect(running.address).await.unwrap();
    hanging.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    arrived.notified().await;
    let stop = running.workers.stop_signal();
    stop.cancel();
    Clock::system().sleep(GRACE / 2).await;
    assert!(!running.workers.running().contains_key("http"), "nobody is let in any more");
    gate.notify_one();
    let answer = whole(&mut client).await;
    assert!(answer.ends_with("done"), "{answer}");
    assert_eq!(whole(&mut hanging).await, "");
    let left = running.workers.drain(&Clock::system(), GRACE * 10).await;
    assert_eq!(left, Vec::<&str>::new());
}

#[tokio::test]
async fn tls_is_spoken_and_who_hangs_in_the_handshake_stops_nobody() {
    let made = made();
    let tls = Arc::new(Tls::load(&made.certificate, &made.key, &Clock::system()).unwrap());
    let running = start(peer_route(), Some(tls), 8).await;
    let _silent = TcpStream::connect(running.address).await.unwrap();
    let mut plain = TcpStream::connect(running.address).await.unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();

    crate::marathon::install_tls_provider();
    let trusted = reqwest::Certificate::from_pem(&std::fs::read(&made.certificate).unwrap()).unwrap();
    let client = reqwest::Client::builder().no_proxy().tls_certs_only([trusted]).build().unwrap();
    let url = format!("https://{}/", running.address);
    let response = client.get(&url).send().await.unwrap();
    assert_eq!(response.version(), reqwest::Version::HTTP_11);
    assert!(response.text().await.unwrap().starts_with("127.0.0.1:"), "the peer is known behind TLS, too");
    assert!(!whole(&mut plain).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test(start_paused = true)]
async fn a_handshake_that_does_not_end_is_given_up() {
    let made = made();
    let tls = Arc::new(Tls::load(&made.certificate, &made.key, &Clock::system()).unwrap());
    let running = start(peer_route(), Some(tls), 8).await;
    let mut silent = TcpStream::connect(running.address).await.unwrap();
    assert_eq!(whole(&mut silent).await, "");
}
