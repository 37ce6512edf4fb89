//! Connections that can be cut at any moment, and answers as HTTP bodies that drip, break off or lie.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use axum::extract::connect_info::Connected;
use axum::http::{StatusCode, header};
use axum::response::Response;
use axum::serve::{IncomingStream, Listener};
use dcos_registry::clock::Clock;
use futures::stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

use super::reply::Reply;
use super::script::{Cut, Fault, Plan, pick};

/// Cuts the connection that a request came by.
#[derive(Clone, Default)]
pub struct Switch(Arc<AtomicU8>);

impl Switch {
    /// From now on nothing is written to the connection any more, which ends it.
    pub fn cut(&self, how: Cut) {
        self.0.store(if how == Cut::Close { 1 } else { 2 }, Ordering::SeqCst);
    }

    fn is_cut(&self) -> Option<Cut> {
        match self.0.load(Ordering::SeqCst) {
            0 => None,
            1 => Some(Cut::Close),
            _ => Some(Cut::Reset),
        }
    }
}

/// A connection with its switch.
pub struct Line {
    stream: TcpStream,
    switch: Switch,
}

impl Line {
    fn check(&self) -> io::Result<()> {
        let Some(how) = self.switch.is_cut() else { return Ok(()) };
        if how == Cut::Reset {
            self.stream.set_zero_linger()?;
        }
        Err(io::ErrorKind::BrokenPipe.into())
    }
}

impl AsyncRead for Line {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Line {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check()?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// Accepts connections that can be cut.
pub struct Exchange(pub TcpListener);

impl Listener for Exchange {
    type Io = Line;
    type Addr = std::net::SocketAddr;

    async fn accept(&mut self) -> (Line, Self::Addr) {
        let (stream, address) = Listener::accept(&mut self.0).await;
        stream.set_nodelay(true).unwrap();
        (Line { stream, switch: Switch::default() }, address)
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.0.local_addr()
    }
}

impl Connected<IncomingStream<'_, Exchange>> for Switch {
    fn connect_info(stream: IncomingStream<'_, Exchange>) -> Self {
        stream.io().switch.clone()
    }
}

/// What the faults of a body make of an answer to GET.
pub fn distort(mut reply: Reply, plan: &Plan) -> Reply {
    if let Some(by) = pick!(plan, Resize) {
        let mut body = reply.body.to_vec();
        body.resize(body.len().saturating_add_signed(by), 0);
        reply.length = body.len();
        reply.body = body.into();
    }
    if let Some(at) = pick!(plan, Flip) {
        let mut body = reply.body.to_vec();
        if let Some(byte) = body.get_mut(at) {
            *byte ^= 1;
        }
        reply.body = body.into();
    }
    if let Some(at) = pick!(plan, Truncate) {
        reply.body = reply.body.slice(..at.min(reply.body.len()));
    }
    reply
}

/// An answer as HTTP. A body that is shorter than declared ends the connection.
pub fn response(reply: Reply, plan: &Plan, clock: &Clock, date: String) -> Response {
    let mut response = Response::builder()
        .status(StatusCode::from_u16(reply.status).unwrap())
        .header(header::DATE, date)
        .header(header::SERVER, "s3-double");
    if !matches!(reply.status, 204 | 304) {
        response = response.header(header::CONTENT_LENGTH, reply.length);
    }
    for (name, value) in &reply.headers {
        response = response.header(name, value);
    }
    // A stream, so that the server cannot see beforehand that the body is shorter than its declared length.
    let body = match plan
        .find(|fault| if let Fault::Drip(size, pause) = fault { Some((*size, *pause)) } else { None })
    {
        None => Body::from_stream(pieces(reply.body, usize::MAX, None)),
        Some((size, pause)) => {
            Body::from_stream(pieces(reply.body, size.max(1), Some((clock.clone(), pause))))
        }
    };
    response.body(body).unwrap()
}

fn pieces(
    body: Bytes,
    size: usize,
    pause: Option<(Clock, std::time::Duration)>,
) -> impl futures::Stream<Item = io::Result<Bytes>> {
    stream::try_unfold((body, pause), move |(mut rest, pause)| async move {
        if rest.is_empty() {
            // What was written goes out before the server finds that the body ended early and hangs up.
            tokio::task::yield_now().await;
            return Ok(None);
        }
        if let Some((clock, length)) = &pause {
            clock.sleep(*length).await;
        }
        let piece = rest.split_to(size.min(rest.len()));
        Ok(Some((piece, (rest, pause))))
    })
}
