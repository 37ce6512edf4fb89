//! The accept loop: one bounded set of connections, each with deadlines, with or without TLS.
//!
//! axum's own loop has neither a limit of connections nor deadlines, and speaks HTTP/2 to whoever begins
//! with it, where a head has no deadline either. So hyper's HTTP/1 is driven here.
//!
//! | what | limit |
//! |---|---|
//! | connections at a time | [`CONNECTIONS`]; more wait in the kernel's queue |
//! | a TLS handshake | [`HANDSHAKE`] |
//! | a request's head, also while a connection is idle | [`HEAD`], [`HEAD_BYTES`] |
//! | a request's body | what its route says ([`super::body`]) |
//! | an answer that nobody takes | [`UNREAD`] |
//! | what is running when the server stops | [`GRACE`] |

use std::future::{poll_fn, ready};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::http::{HeaderMap, Method, Uri};
use axum::response::Response;
use axum::serve::Listener;
use futures::future::Either;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::heads::Heads;
use super::stall::Stalling;
use super::tls::Tls;
use crate::clock::Clock;
use crate::workers::Workers;

/// How many connections are served at a time.
const CONNECTIONS: usize = 1024;
/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long the next request's head may take to arrive, counted from the end of the last answer.
const HEAD: Duration = Duration::from_secs(30);
/// How large a request's head may be.
const HEAD_BYTES: usize = 64 * 1024;
/// How long a client may take nothing of an answer.
const UNREAD: Duration = Duration::from_secs(60);
/// How much of an answer may wait to be sent before more of it is read; one more piece comes on top of it.
const UNSENT: usize = 256 * 1024;
/// How long a client that was answered early may go on sending before it is cut off.
const LINGER: Duration = Duration::from_secs(5);
/// How long requests that run may take to end once the server stops. Less than what `up` waits for its workers.
const GRACE: Duration = Duration::from_secs(1);

/// What can be answered at once, before any route is looked for.
pub(super) type Quick = dyn Fn(&Method, &Uri, &HeaderMap) -> Option<Response> + Send + Sync;

/// What all connections share.
struct Server {
    router: Router,
    quick: Arc<Quick>,
    tls: Option<Arc<Tls>>,
    clock: Clock,
    stop: CancellationToken,
}

/// Serves a router until the workers are told to stop; requests that run are finished, unless that takes long:
/// a slow download must not keep the process, and its client asks for the rest by a range.
pub(super) fn spawn(
    listener: TcpListener,
    tls: Option<Arc<Tls>>,
    (router, quick): (Router, Arc<Quick>),
    clock: Clock,
    workers: &Workers,
) {
    let server = Arc::new(Server { router, quick, tls, clock, stop: workers.stop_signal() });
    workers.spawn("http", accept(listener, server, CONNECTIONS, workers.clone()));
}

async fn accept(mut listener: TcpListener, server: Arc<Server>, most: usize, workers: Workers) {
    let places = Arc::new(Semaphore::new(most));
    loop {
        let next = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (place, Listener::accept(&mut listener).await)
        };
        let (place, (stream, peer)) = tokio::select! {
            () = server.stop.cancelled() => return,
            next = next => next,
        };
        if places.available_permits() == 0 {
            warn!(most, "no more connections are taken until one ends");
        }
        let server = Arc::clone(&server);
        workers.spawn("http-connection", async move {
            let _place = place;
            server.connection(stream, peer).await;
        });
    }
}

impl Server {
    async fn connection(&self, stream: TcpStream, peer: SocketAddr) {
        // Without TCP_NODELAY small files are eleven times slower (measured with 4 KiB assets).
        if let Err(error) = stream.set_nodelay(true) {
            debug!(%error, "TCP_NODELAY could not be set");
        }
        let stream = Stalling::new(stream, UNREAD, self.clock.clone());
        let Some(tls) = &self.tls else { return self.speak(stream, peer).await };
        let shaken = tokio::select! {
            () = self.stop.cancelled() => return,
            shaken = self.clock.timeout(HANDSHAKE, tls.accept(stream, &self.clock)) => shaken,
        };
        match shaken {
            Ok(Ok(stream)) => self.speak(stream, peer).await,
            Ok(Err(error)) => debug!(%peer, %error, "a TLS handshake failed"),
            Err(error) => debug!(%peer, %error, "a TLS handshake was given up"),
        }
    }

    /// HTTP over one connection, until one of both sides has enough.
    async fn speak<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: S, peer: SocketAddr) {
        let router = TowerToHyperService::new(self.router.clone());
        let quick = Arc::clone(&self.quick);
        let service = service_fn(move |mut request: hyper::Request<Incoming>| {
            if let Some(response) = quick(request.method(), request.uri(), request.headers()) {
                return Either::Left(ready(Ok(response)));
            }
            request.extensions_mut().insert(ConnectInfo(peer));
            // Boxed, because only what can be moved can be taken apart at its end.
            Either::Right(Box::pin(router.call(request)))
        });
        // Of its own, so that asking it does not bring all connections together at one lock.
        let stop = self.stop.child_token();
        let mut builder = http1::Builder::new();
        builder.timer(Heads::default()).header_read_timeout(HEAD).max_header_size(HEAD_BYTES);
        builder.max_buf_size(UNSENT);
        let mut connection = builder.serve_connection(TokioIo::new(stream), service);
        tokio::select! {
            ended = poll_fn(|cx| connection.poll_without_shutdown(cx)) => match ended {
                Err(error) if !error.is_parse() => debug!(%peer, %error, "a connection broke"),
                // A head that cannot be read was answered, too.
                _ => self.part(connection.into_parts().io.into_inner()).await,
            },
            () = stop.cancelled() => {
                std::pin::Pin::new(&mut connection).graceful_shutdown();
                if self.clock.timeout(GRACE, connection).await.is_err() {
                    info!(%peer, "a request that was still running is cut off");
                }
            }
        }
    }

    /// Closes our side and hears the other one out for a while. A client that is still sending a body when it
    /// is refused would else be reset by the kernel, and could lose the answer that says why.
    async fn part<S: AsyncRead + AsyncWrite + Unpin>(&self, mut stream: S) {
        let heard = async {
            stream.shutdown().await?;
            let mut ignored = vec![0; 16 * 1024];
            while stream.read(&mut ignored).await? > 0 {}
            std::io::Result::Ok(())
        };
        tokio::select! {
            () = self.stop.cancelled() => {}
            // However it ends, the connection is over.
            _ = self.clock.timeout(LINGER, heard) => {}
        }
    }
}

#[cfg(test)]
mod tests;
