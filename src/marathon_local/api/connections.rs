//! Connections: accepted, bounded, and cut where a fault wants it.
//!
//! axum's own loop always sends an answer; a fault may want that none is sent.
//!
//! | what | limit |
//! |---|---|
//! | connections at a time | [`CONNECTIONS`]; for more, those that rest longest are closed ([`super::places`]) |
//! | a request's head | [`HEAD`] |
//! | a request's body | [`BODY`](super::body::LIMIT) |
//! | an answer that nobody takes | [`UNREAD`] |
//!
//! An event stream is an answer that has no end: its connection does not rest.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::response::Response;
use axum::serve::Listener;
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::body::Timed;
use super::heads::{HEAD, Heads};
use super::places::{Busy, Place, Places};
use super::struck::Cut;
use crate::clock::Clock;
use crate::http::stall::Stalling;
use crate::workers::Workers;

/// How many connections are served at a time; more wait in the kernel's queue.
const CONNECTIONS: usize = 1024;

/// How long a client may take nothing of its answer.
const UNREAD: Duration = Duration::from_secs(60);

/// What serves each connection.
#[derive(Clone)]
pub struct Server {
    /// The routes.
    pub router: Router,
    /// Time.
    pub clock: Clock,
    /// Where background work is started.
    pub workers: Workers,
    /// Ends it.
    pub stop: CancellationToken,
}

impl Server {
    /// Serves until the signal; requests that are being answered are finished.
    pub async fn serve(self, mut listener: TcpListener) {
        let places = Places::new(CONNECTIONS);
        loop {
            let next = async {
                let (stream, peer): (TcpStream, SocketAddr) = Listener::accept(&mut listener).await;
                Some((places.take(&self.clock).await?, stream, peer))
            };
            let (place, stream, peer) = tokio::select! {
                () = self.stop.cancelled() => return,
                Some(next) = next => next,
                else => return,
            };
            let server = self.clone();
            // Without it small answers wait for acknowledgements. Failing costs speed only.
            let _ = stream.set_nodelay(true);
            self.workers.spawn("marathon-connection", async move {
                server.speak(stream, peer, place).await;
            });
        }
    }

    async fn speak<S>(self, stream: S, peer: SocketAddr, place: Arc<Place>)
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let router = TowerToHyperService::new(self.router);
        let (clock, asked) = (self.clock.clone(), Arc::clone(&place));
        let service = service_fn(move |request: hyper::Request<Incoming>| {
            let busy = asked.work();
            let clock = clock.clone();
            let answered = router.call(request.map(|body| Timed::new(body, clock)));
            async move {
                let Ok(response): Result<Response, _> = answered.await;
                // An error of the service is what closes a connection without a word.
                if response.extensions().get::<Cut>().is_some() {
                    return Err(Cut);
                }
                Ok(response.map(|body| Answer { body, _busy: busy }))
            }
        });
        let heads = Heads::default();
        let stream = heads.watching(Stalling::new(stream, UNREAD, self.clock));
        let mut builder = http1::Builder::new();
        builder.timer(heads).header_read_timeout(HEAD);
        let connection = builder.serve_connection(TokioIo::new(Box::pin(stream)), service);
        let mut connection = std::pin::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = leave(&self.stop, &place) => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%peer, %error, "a connection broke");
        }
    }
}

/// Waits until the connection is to end after what it does.
async fn leave(stop: &CancellationToken, place: &Place) {
    tokio::select! {
        () = stop.cancelled() => {}
        () = place.recalled() => {}
    }
}

/// The body of an answer. The connection works until it is gone.
struct Answer {
    body: Body,
    _busy: Busy,
}

impl hyper::body::Body for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

    use super::super::body;
    use super::*;

    /// Of the paused clock: what takes longer has no end.
    const HOUR: Duration = Duration::from_secs(3_600);

    const REQUEST: &[u8] = b"GET /ping HTTP/1.1\r\nHost: localhost\r\n\r\n";

    fn server() -> Server {
        let endless = async || Body::from_stream(futures::stream::pending::<Result<Bytes, Cut>>());
        let length = async |body: Result<Bytes, axum::extract::rejection::BytesRejection>| match body {
            Ok(body) => (200, body.len().to_string()),
            Err(rejection) => {
                let refusal = body::unread(&rejection);
                (refusal.status(), refusal.to_string())
            }
        };
        let answer = async move |body| {
            let (status, text): (u16, String) = length(body).await;
            (axum::http::StatusCode::from_u16(status).unwrap(), text)
        };
        let router = Router::new()
            .route("/ping", axum::routing::get(async || "pong"))
            .route("/length", axum::routing::post(answer))
            .route("/large", axum::routing::get(async || "x".repeat(1 << 20)))
            .route("/endless", axum::routing::get(endless));
        let (clock, stop) = (Clock::system(), CancellationToken::new());
        Server { router, clock, workers: Workers::new(), stop }
    }

    /// The client's end of a connection.
    async fn connected(server: &Server, places: &Arc<Places>) -> DuplexStream {
        let (ours, theirs) = tokio::io::duplex(4096);
        let place = server.clock.timeout(HOUR, places.take(&server.clock)).await.unwrap().unwrap();
        let peer = ([127, 0, 0, 1], 1).into();
        server.workers.spawn("test-connection", server.clone().speak(theirs, peer, place));
        ours
    }

    /// What is still sent until the other side closes.
    async fn rest(stream: &mut DuplexStream) -> String {
        let mut rest = String::new();
        Clock::system().timeout(HOUR, stream.read_to_string(&mut rest)).await.unwrap().unwrap();
        rest
    }

    async fn answered(stream: &mut DuplexStream) {
        let mut answer = Vec::new();
        while !answer.ends_with(b"pong") {
            let mut piece = [0; 512];
            let length = stream.read(&mut piece).await.unwrap();
            assert!(length > 0, "it was closed after {:?}", String::from_utf8_lossy(&answer));
            answer.extend(&piece[..length]);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_rests_as_long_as_it_likes() {
        let mut stream = connected(&server(), &Places::new(1)).await;
        for _ in 0..3 {
            tokio::time::advance(HOUR).await;
            tokio::task::yield_now().await;
            stream.write_all(REQUEST).await.unwrap();
            answered(&mut stream).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_needs_a_place_gets_that_of_the_one_that_rests_longest() {
        let (server, places) = (server(), Places::new(3));
        let mut stream = connected(&server, &places).await;
        stream.write_all(b"GET /endless HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
        let mut head = [0; 15];
        stream.read_exact(&mut head).await.unwrap();
        let mut silent = connected(&server, &places).await;
        let mut resting = connected(&server, &places).await;
        resting.write_all(REQUEST).await.unwrap();
        answered(&mut resting).await;
        let mut next = connected(&server, &places).await;
        assert_eq!(rest(&mut silent).await, "", "it never sent anything");
        next.write_all(REQUEST).await.unwrap();
        answered(&mut next).await;
        let mut last = connected(&server, &places).await;
        assert_eq!(rest(&mut resting).await, "");
        last.write_all(REQUEST).await.unwrap();
        answered(&mut last).await;
        drop(next);
        drop(last);
        let more = async {
            // The stream goes on, however many come.
            for _ in 0..5 {
                connected(&server, &places).await.write_all(REQUEST).await.unwrap();
            }
        };
        more.await;
        let mut byte = [0; 512];
        let ended = async { while stream.read(&mut byte).await.unwrap() > 0 {} };
        assert!(server.clock.timeout(HOUR, ended).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_does_not_take_longer_than_it_may() {
        let server = server();
        let mut stream = connected(&server, &Places::new(1)).await;
        let head = b"POST /length HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n";
        let clock = Clock::simulated(1.0, Duration::ZERO);
        stream.write_all(head).await.unwrap();
        clock.sleep(body::LIMIT / 2).await;
        stream.write_all(&[b'x'; 100]).await.unwrap();
        let mut answer = String::new();
        while !answer.ends_with("100") {
            let mut piece = [0; 512];
            let length = stream.read(&mut piece).await.unwrap();
            assert!(length > 0, "{answer}");
            answer.push_str(std::str::from_utf8(&piece[..length]).unwrap());
        }
        let begun = clock.boot();
        stream.write_all(head).await.unwrap();
        stream.write_all(b"x").await.unwrap();
        let answer = rest(&mut stream).await;
        assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("within 30 s"), "{answer}");
        let took = clock.boot().saturating_sub(begun);
        assert!(
            took >= body::LIMIT && took <= body::LIMIT + Duration::from_secs(2),
            "{took:?} of the paused clock"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_nobody_takes_is_given_up() {
        let server = server();
        let mut stream = connected(&server, &Places::new(1)).await;
        stream.write_all(b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
        server.clock.sleep(UNREAD + Duration::from_secs(2)).await;
        assert!(server.workers.running().is_empty());
        assert!(rest(&mut stream).await.len() <= 4096);
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_does_not_take_longer_than_it_may() {
        let mut stream = connected(&server(), &Places::new(1)).await;
        stream.write_all(REQUEST).await.unwrap();
        answered(&mut stream).await;
        tokio::time::advance(HOUR).await;
        let clock = Clock::simulated(1.0, Duration::ZERO);
        let (mut reader, mut writer) = tokio::io::split(stream);
        let slow = async {
            // A byte a second is never silent, and never done.
            for byte in REQUEST.iter().cycle() {
                if writer.write_all(&[byte.to_ascii_lowercase().max(b'a')]).await.is_err() {
                    return;
                }
                clock.sleep(Duration::from_secs(1)).await;
            }
        };
        let mut rest = Vec::new();
        let ((), end) = futures::join!(slow, reader.read_to_end(&mut rest));
        end.unwrap();
        let took = clock.boot();
        assert!(took >= HEAD && took <= HEAD + Duration::from_secs(2), "{took:?} of the paused clock");
    }
}
