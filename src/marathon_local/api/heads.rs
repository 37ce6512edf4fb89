//! The deadline of requests' heads: it runs from the first byte of a head, so that a connection may rest between
//! requests as long as its client likes.
//!
//! That is also for tests whose time is the runtime's paused one while their connections are real: there hours pass
//! between two requests. hyper asks for a deadline as soon as it waits for a head; this one lets it run only once
//! something is there. A head that comes in behind another request counts from its next byte.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper::rt::{Sleep, Timer};
use hyper_util::rt::TokioTimer;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::io::InspectReader;

/// How long a head may take.
pub const HEAD: Duration = Duration::from_secs(30);

/// The timer of one connection.
#[derive(Clone, Default)]
pub struct Heads {
    /// How many bytes came in.
    read: Arc<AtomicUsize>,
}

impl Heads {
    /// The connection, whose bytes are counted.
    pub fn watching<S: AsyncRead + AsyncWrite>(&self, stream: S) -> impl AsyncRead + AsyncWrite + use<S> {
        let read = Arc::clone(&self.read);
        InspectReader::new(stream, move |bytes: &[u8]| {
            read.fetch_add(bytes.len(), Ordering::Relaxed);
        })
    }
}

/// The wait for one head.
struct Waiting {
    heads: Heads,
    /// How many bytes had come in before it.
    before: usize,
    limit: Duration,
    running: Option<Pin<Box<dyn Sleep>>>,
}

impl Timer for Heads {
    fn sleep(&self, limit: Duration) -> Pin<Box<dyn Sleep>> {
        let before = self.read.load(Ordering::Relaxed);
        Box::pin(Waiting { heads: self.clone(), before, limit, running: None })
    }

    fn sleep_until(&self, until: Instant) -> Pin<Box<dyn Sleep>> {
        self.sleep(until.saturating_duration_since(self.now()))
    }

    fn now(&self) -> Instant {
        TokioTimer::new().now()
    }
}

impl Sleep for Waiting {}

impl Future for Waiting {
    type Output = ();

    /// Whoever waits for a head is woken by its bytes, and asks this then.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.heads.read.load(Ordering::Relaxed) == self.before {
            return Poll::Pending;
        }
        let limit = self.limit;
        self.running.get_or_insert_with(|| TokioTimer::new().sleep(limit)).as_mut().poll(cx)
    }
}
