//! Connections: accepted, bounded, and cut where a fault wants it.
//!
//! axum's own loop always sends an answer; a fault may want that none is sent.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::response::Response;
use axum::serve::Listener;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::heads::{HEAD, Heads};
use super::struck::Cut;
use crate::workers::Workers;

/// How many connections are served at a time; more wait in the kernel's queue.
const CONNECTIONS: usize = 1024;

/// Serves until the signal; requests that are being answered are finished.
pub async fn serve(mut listener: TcpListener, router: Router, workers: Workers, stop: CancellationToken) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let next = async {
            let place = Arc::clone(&places).acquire_owned().await;
            let (stream, peer): (TcpStream, SocketAddr) = Listener::accept(&mut listener).await;
            (place, stream, peer)
        };
        let (place, stream, peer) = tokio::select! {
            () = stop.cancelled() => return,
            next = next => next,
        };
        let (router, stop) = (router.clone(), stop.clone());
        // Without it small answers wait for acknowledgements. Failing costs speed only.
        let _ = stream.set_nodelay(true);
        workers.spawn("marathon-connection", async move {
            let _place = place;
            speak(stream, peer, router, stop).await;
        });
    }
}

async fn speak<S>(stream: S, peer: SocketAddr, router: Router, stop: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let answered = router.call(request);
        async move {
            let Ok(response): Result<Response, _> = answered.await;
            // An error of the service is what closes a connection without a word.
            if response.extensions().get::<Cut>().is_some() { Err(Cut) } else { Ok(response) }
        }
    });
    let heads = Heads::default();
    let io = TokioIo::new(Box::pin(heads.watching(stream)));
    let mut builder = http1::Builder::new();
    builder.timer(heads).header_read_timeout(HEAD);
    let mut connection = std::pin::pin!(builder.serve_connection(io, service));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, %error, "a connection broke");
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

    use super::*;
    use crate::clock::Clock;

    const REQUEST: &[u8] = b"GET /ping HTTP/1.1\r\nHost: localhost\r\n\r\n";

    /// The client's end of a connection.
    fn connected(workers: &Workers) -> DuplexStream {
        let (ours, theirs) = tokio::io::duplex(4096);
        let router = Router::new().route("/ping", axum::routing::get(async || "pong"));
        let peer = ([127, 0, 0, 1], 1).into();
        workers.spawn("test-connection", speak(theirs, peer, router, CancellationToken::new()));
        ours
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
        let workers = Workers::new();
        let mut stream = connected(&workers);
        for _ in 0..3 {
            tokio::time::advance(Duration::from_secs(3_600)).await;
            tokio::task::yield_now().await;
            stream.write_all(REQUEST).await.unwrap();
            answered(&mut stream).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_does_not_take_longer_than_it_may() {
        let workers = Workers::new();
        let mut stream = connected(&workers);
        stream.write_all(REQUEST).await.unwrap();
        answered(&mut stream).await;
        tokio::time::advance(Duration::from_secs(3_600)).await;
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
