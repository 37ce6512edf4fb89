//! Creating one object exactly once through a store whose answers may lie.
//!
//! Only two answers prove anything: Ok, and the bytes that stand at the key. "Already exists" may be our
//! own success whose reply was lost, or a conflict without any winner (S3's 409); an error may have been
//! applied, or be applied later. So every answer but Ok is settled by reading the key back, and as long as
//! it is absent the *identical* bytes are sent again: bytes that land late are then still ours.

use std::time::Duration;

use bytes::Bytes;
use object_store::path::Path;

use super::RECORD_LIMIT;
use super::log::Site;
use crate::retry::Delays;
use crate::storage::calls::CallError;

/// How often the bytes are sent before the outcome is given up as unknown.
const SENDS: u32 = 6;

/// What stands at the key.
pub(super) enum Placed {
    /// Our bytes.
    Own,
    /// These, of somebody else.
    Foreign(Bytes),
}

/// Creates the object. The bytes must hold a nonce.
///
/// # Errors
/// The last error met, when it could not be found out what stands at the key.
pub(super) async fn place(site: &Site, key: &Path, bytes: &Bytes) -> Result<Placed, CallError> {
    let mut delays = Delays::new(Duration::from_millis(20), Duration::from_secs(1), site.entropy.clone());
    let mut sends = 0;
    loop {
        let created = site.calls.create(key, bytes.clone()).await;
        let mut error = match created {
            Ok(()) if !site.gate.reads_back() => return Ok(Placed::Own),
            // Only what stands there counts: this store does not decide who was first.
            Ok(()) => CallError::Vanished { key: key.to_string() },
            Err(error) => error,
        };
        match site.calls.read_small(key, RECORD_LIMIT as u64).await {
            Ok(Some(found)) if found == *bytes => return Ok(Placed::Own),
            Ok(Some(found)) => return Ok(Placed::Foreign(found)),
            Ok(None) => {}
            Err(read) => error = read,
        }
        sends += 1;
        if sends == SENDS {
            return Err(error);
        }
        tracing::debug!(%key, sends, %error, "outcome of a create not known yet, sending again");
        site.calls.clock.sleep(delays.next_delay()).await;
    }
}
