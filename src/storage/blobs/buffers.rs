//! The buffers of one reader, used again and again.
//!
//! A fresh buffer of this size comes from the kernel, which clears every page of it when it is first touched; that
//! takes longer than filling it from a file that is in memory.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

/// How many idle buffers are kept: one is being written to the socket while the next is filled.
const IDLE: usize = 2;

/// Where buffers of one length come from and go to. Cheap to clone; clones share the buffers.
#[derive(Clone)]
pub(super) struct Buffers {
    idle: Arc<Mutex<Vec<Vec<u8>>>>,
    length: usize,
}

impl Buffers {
    /// Buffers of a length in bytes.
    pub(super) fn new(length: usize) -> Self {
        Self { idle: Arc::default(), length }
    }

    /// A buffer with anything in it.
    pub(super) fn take(&self) -> Buffer {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        Buffer { bytes: idle.unwrap_or_else(|| vec![0; self.length]), home: Arc::clone(&self.idle) }
    }
}

/// A buffer that goes back when nobody needs it any more.
pub(super) struct Buffer {
    bytes: Vec<u8>,
    home: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Buffer {
    /// The first bytes, to be written to.
    pub(super) fn first(&mut self, length: usize) -> &mut [u8] {
        let end = length.min(self.bytes.len());
        &mut self.bytes[..end]
    }

    /// The first bytes, to be read and shared.
    pub(super) fn freeze(self, length: usize) -> Bytes {
        let end = length.min(self.bytes.len());
        Bytes::from_owner(self).slice(..end)
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let mut idle = self.home.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE {
            idle.push(std::mem::take(&mut self.bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_used_again_only_when_nobody_sees_it_any_more() {
        let buffers = Buffers::new(8);
        let mut buffer = buffers.take();
        buffer.first(3).copy_from_slice(b"abc");
        let piece = buffer.freeze(3);
        let (head, place) = (piece.slice(..1), piece.as_ptr());
        drop(piece);
        assert_ne!(buffers.take().bytes.as_ptr(), place, "a slice is still there");
        assert_eq!(&head[..], b"a");
        drop(head);
        assert_eq!(buffers.take().bytes.as_ptr(), place);
        drop((0..5).map(|_| buffers.take().freeze(9)).collect::<Vec<_>>());
        assert_eq!(buffers.idle.lock().unwrap().len(), IDLE, "no more are kept");
    }
}
