//! Snapshots: the state after a record as one object, so that a start need not read all records.
//!
//! One line of JSON says what follows; then come the state's bytes as [`State::save`] made them. A snapshot is
//! created once and derived from records alone: one that does not hold what its first line says, or that the next
//! record does not follow, is passed over.

use std::sync::Arc;

use bytes::Bytes;
use object_store::PutPayload;
use serde::{Deserialize, Serialize};

use super::log::View;
use super::{FORMAT, State};
use crate::model::Digest;

/// The most that a snapshot may take, in bytes. Above it there is none, and starts are slow.
pub(super) const LIMIT: u64 = 256 * 1024 * 1024;

/// The first line.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    format: u32,
    registry: String,
    /// The record after which the state is this.
    seq: u64,
    /// The digest of that record.
    record: Digest,
    /// The digest of the state's bytes.
    state: Digest,
}

/// A snapshot's bytes; none where the state has no such form or is too long.
pub(super) fn encode<S: State>(registry: &str, point: &Point<S>) -> Option<PutPayload> {
    let state = match point.state.save() {
        Ok(state) if state.len() as u64 <= LIMIT / 2 => state,
        Ok(state) => {
            tracing::warn!(bytes = state.len(), "the state is too long for a snapshot");
            return None;
        }
        Err(error) => {
            tracing::warn!(error, "the state cannot be written as a snapshot");
            return None;
        }
    };
    let head = Head {
        format: FORMAT,
        registry: registry.to_owned(),
        seq: point.seq,
        record: point.digest,
        state: Digest::of(&state),
    };
    let mut head = serde_json::to_vec(&head).ok()?;
    head.push(b'\n');
    Some([head, state].into_iter().map(Bytes::from).collect())
}

/// A state and the record after which it is that.
pub(super) struct Point<S> {
    pub(super) state: Arc<S>,
    pub(super) seq: u64,
    pub(super) digest: Digest,
}

/// Reads a snapshot.
///
/// # Errors
/// In words, why it is none that can be used.
pub(super) fn decode<S: State>(bytes: &[u8], registry: &str, seq: u64) -> Result<View<S>, String> {
    let end = bytes.iter().take(4_096).position(|byte| *byte == b'\n').ok_or("it has no first line")?;
    let (head, state) = bytes.split_at(end);
    let state = state.get(1..).unwrap_or_default();
    let head: Head = serde_json::from_slice(head).map_err(|error| format!("its first line: {error}"))?;
    if head.format > FORMAT {
        return Err(format!("format {}, this program knows {FORMAT}", head.format));
    }
    if head.registry != registry || head.seq != seq {
        return Err(format!("it is that of record {} of registry {}", head.seq, head.registry));
    }
    if Digest::of(state) != head.state {
        return Err("its bytes were altered".to_owned());
    }
    Ok(View { state: Arc::new(S::load(state)?), seq, digest: head.record, newer: None, anchor: None })
}
