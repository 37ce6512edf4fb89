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
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

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
        workers.spawn("marathon-connection", async move {
            let _place = place;
            speak(stream, peer, router, stop).await;
        });
    }
}

async fn speak(stream: TcpStream, peer: SocketAddr, router: Router, stop: CancellationToken) {
    // Without it small answers wait for acknowledgements. Failing costs speed only.
    let _ = stream.set_nodelay(true);
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let answered = router.call(request);
        async move {
            let Ok(response): Result<Response, _> = answered.await;
            // An error of the service is what closes a connection without a word.
            if response.extensions().get::<Cut>().is_some() { Err(Cut) } else { Ok(response) }
        }
    });
    let mut connection =
        std::pin::pin!(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
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
