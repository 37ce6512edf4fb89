//! One secret in a file that may change while we run.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::AuthError;
use crate::config::Stamp;
use crate::model::Secret;

/// The largest file that is read, in bytes.
const LARGEST: u64 = 64 << 10;

/// A file with a password, a token or an account in it.
pub(in crate::marathon::client) struct SecretFile {
    path: PathBuf,
    last: Mutex<Option<(Stamp, Secret)>>,
}

impl SecretFile {
    /// Nothing is read yet.
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, last: Mutex::new(None) }
    }

    /// The file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Reads it next time whether it changed or not: a file system may be too coarse to tell.
    pub(super) fn forget(&self) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// What stands in it now, without the space around. It is read again when it changed, so that this may be asked
    /// for every request; it blocks for as long as the file system does.
    pub(super) fn read(&self) -> Result<Secret, AuthError> {
        let failed = |source| AuthError::Read { path: self.path.clone(), source };
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let now = std::fs::metadata(&self.path).map(|metadata| Stamp::of(&metadata)).map_err(failed)?;
        if let Some((stamp, secret)) = &*last
            && *stamp == now
        {
            return Ok(secret.clone());
        }
        let file = std::fs::File::open(&self.path).map_err(failed)?;
        let opened = file.metadata().map(|metadata| Stamp::of(&metadata)).map_err(failed)?;
        let mut text = String::new();
        let read = file.take(LARGEST + 1).read_to_string(&mut text).map_err(failed)?;
        let trimmed = text.trim();
        if trimmed.is_empty() || read as u64 > LARGEST {
            return Err(AuthError::NotSecret(self.path.clone()));
        }
        let secret = Secret::new(trimmed);
        *last = Some((opened, secret.clone()));
        Ok(secret)
    }
}
