//! The bytes of one record.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{FORMAT, Newer};
use crate::model::{Digest, Epoch};

/// One record as it stands in its object: compact JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Record<O> {
    /// The version of this shape.
    pub(super) format: u32,
    /// The record's own number, so that a record copied to another place is noticed.
    pub(super) seq: u64,
    /// Digest of the bytes of the record before it; none for record 0.
    pub(super) previous: Option<Digest>,
    /// The id of the registry; in record 0 only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) registry: Option<String>,
    /// The instance that wrote it, for people.
    pub(super) author: String,
    /// 128 random bits: how a writer knows its own record again.
    pub(super) nonce: String,
    /// The lease under which it was written; 0 where none is needed.
    pub(super) epoch: Epoch,
    /// What it says.
    pub(super) operations: Vec<O>,
}

/// The one field that every format has.
#[derive(Deserialize)]
struct AnyFormat {
    format: u32,
}

/// Bytes that are no record of ours.
pub(super) enum Unreadable {
    /// A newer program wrote them.
    Newer(Newer),
    /// They are damaged, or somebody else's.
    Broken(String),
}

/// Reads record `seq`, which must follow `previous`.
///
/// An operation that is not understood counts as newer, not as broken: the chain around it is whole, and
/// to stop writing is right in both cases.
pub(super) fn decode<O: DeserializeOwned>(
    bytes: &[u8],
    seq: u64,
    previous: Option<Digest>,
) -> Result<Record<O>, Unreadable> {
    let broken = |error: serde_json::Error| Unreadable::Broken(error.to_string());
    let newer = |what| Unreadable::Newer(Newer { seq, what });
    let AnyFormat { format } = serde_json::from_slice(bytes).map_err(broken)?;
    if format > FORMAT {
        return Err(newer(format!("format {format}, this program knows {FORMAT}")));
    }
    let record: Record<Value> = serde_json::from_slice(bytes).map_err(broken)?;
    if record.seq != seq {
        return Err(Unreadable::Broken(format!("it says that it is record {}", record.seq)));
    }
    if record.previous != previous {
        return Err(Unreadable::Broken("it does not follow the record before it".into()));
    }
    let operations = record.operations.into_iter().map(serde_json::from_value).collect::<Result<_, _>>();
    let operations = operations.map_err(|error| newer(format!("an unknown operation: {error}")))?;
    Ok(Record {
        operations,
        format,
        seq,
        previous,
        registry: record.registry,
        author: record.author,
        nonce: record.nonce,
        epoch: record.epoch,
    })
}
