//! The hint: where the tail and the newest snapshot were lately. It saves a start some looking around and is never
//! trusted: what it names is checked like everything else.

use serde::{Deserialize, Serialize};

use super::log::{Names, Site};
use crate::storage::calls::CallError;

/// The longest hint that is read, in bytes.
const LIMIT: u64 = 4_096;

/// Where things were.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Hint {
    /// The last record known when it was written.
    pub(super) tail: u64,
    /// The newest snapshot known then; 0 where there was none.
    #[serde(default)]
    pub(super) snapshot: u64,
}

/// Reads the hint. Whatever keeps it from being read, there is none then.
pub(super) async fn read(site: &Site, names: &Names) -> Option<Hint> {
    let read = site.calls.read_small(&names.hint.into(), LIMIT).await;
    serde_json::from_slice(&read.ok()??).ok()
}

/// Writes the hint.
///
/// # Errors
/// When it cannot be written, which harms nothing.
pub(super) async fn write(site: &Site, names: &Names, hint: Hint) -> Result<(), CallError> {
    let bytes = serde_json::to_vec(&hint).unwrap_or_default();
    site.calls.overwrite(&names.hint.into(), bytes.into()).await
}
