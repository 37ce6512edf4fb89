//! The life of one instance as a future that can be frozen or killed whenever it is polled.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::future::BoxFuture;

use super::world::{Blow, World};

/// How a life ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// By itself, after it was told to stop.
    Stopped,
    Killed,
    /// Something is not as it must be, and the run is over.
    Broken,
}

/// A frozen instance is not polled; what wakes it meanwhile is remembered by its parts. A killed one is dropped.
pub(super) struct Life {
    world: Arc<World>,
    who: usize,
    inner: Option<BoxFuture<'static, ()>>,
    frozen: Option<BoxFuture<'static, ()>>,
}

impl Life {
    pub(super) fn new(world: Arc<World>, who: usize, inner: BoxFuture<'static, ()>) -> Self {
        Self { world, who, inner: Some(inner), frozen: None }
    }

    fn end(&mut self, end: End) -> Poll<End> {
        self.inner = None;
        Poll::Ready(end)
    }
}

impl Future for Life {
    type Output = End;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<End> {
        loop {
            if let Some(frozen) = &mut self.frozen {
                if frozen.as_mut().poll(context).is_pending() {
                    return Poll::Pending;
                }
                self.frozen = None;
            }
            match self.world.blow(self.who) {
                Blow::None => break,
                Blow::Dead => return self.end(End::Killed),
                Blow::Frozen(span) => {
                    let world = Arc::clone(&self.world);
                    let until = world.now() + span;
                    self.frozen = Some(Box::pin(async move { world.until(until).await }));
                }
            }
        }
        let Some(inner) = &mut self.inner else { return Poll::Ready(End::Stopped) };
        let polled = inner.as_mut().poll(context);
        self.world.watch();
        match polled {
            _ if self.world.is_broken() => self.end(End::Broken),
            Poll::Ready(()) => self.end(End::Stopped),
            Poll::Pending => Poll::Pending,
        }
    }
}
