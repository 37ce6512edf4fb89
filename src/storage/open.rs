//! From settings to storage: which back end, whether it is ours, whether several may write to it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::backend::{BackendError, Bucket, Waits};
use super::gate::{Gate, Writing};
use super::local::LocalError;
use super::probe::{Probe, ProbeReport, Verdict};
use super::records::Access;
use super::{Storage, StorageError, local};
use crate::clock::{Clock, Entropy};
use crate::config::{Backend, S3Settings, StorageSettings};
use crate::model::ErrorClass;
use crate::retry::Delays;
use crate::telemetry::chain;

/// How long a probe that could not be carried out waits for its next try.
const PROBE_PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// How often reading the logs of a bucket is tried before a start is given up, and the pauses between.
const OPEN_TRIES: u32 = 8;
const OPEN_PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// What opening needs to know besides where.
#[derive(Clone)]
pub struct Opening {
    /// What this instance is called in records.
    pub instance: String,
    /// How long another process may still hold a local directory.
    pub lock_wait: Duration,
    /// How long one call for a small object may take on a bucket.
    pub call_timeout: Duration,
    /// Time.
    pub clock: Clock,
    /// Randomness.
    pub entropy: Entropy,
}

impl Opening {
    /// As a command opens storage: under a name of its own, without waiting long.
    #[must_use]
    pub fn once(clock: Clock, entropy: Entropy) -> Self {
        let (lock_wait, call_timeout) = (Duration::ZERO, Duration::from_secs(5));
        Self { instance: format!("command-{:016x}", entropy.next()), lock_wait, call_timeout, clock, entropy }
    }
}

/// A probe that decides whether the gate opens.
pub(super) struct Admission {
    probe: Probe,
    unsafe_single_writer: bool,
}

impl Admission {
    /// Opens the gate, or says why not.
    fn decide(&self, report: &ProbeReport) -> Writing {
        match report.verdict() {
            Verdict::Shared => Writing::Open,
            Verdict::Refused(reasons) if self.unsafe_single_writer => {
                Writing::SingleWriter { reason: reasons.join("; "), leading: false }
            }
            Verdict::Refused(reasons) => Writing::Refused(reasons.join("; ")),
        }
    }
}

impl Storage {
    /// Opens storage for writing, creating it where there is none. On a bucket that holds a registry already,
    /// writing is possible once [`Storage::admit`] has found that several may. A directory that cannot be written to
    /// and holds a registry is opened all the same; [`Storage::writing`] says so.
    ///
    /// # Errors
    /// When the back end cannot be used; nothing in it was changed.
    pub async fn open_settings(settings: &StorageSettings, opening: &Opening) -> Result<Self, StorageError> {
        match &settings.backend {
            Backend::Local { path } | Backend::MountVolume { path, .. } => {
                let (store, lock) = match local::open(path, opening.lock_wait, &opening.clock).await {
                    Err(LocalError::NotWritable { source, .. }) if local::is_storage(path).await => {
                        return Self::open_unwritable(path, &source, opening).await;
                    }
                    other => other?,
                };
                let calls = super::Calls::new(Arc::new(store), opening.clock.clone());
                let mut storage = Self::assemble(calls, Access::ReadWrite, Gate::default(), opening).await?;
                storage.lock = Some(lock);
                storage.directory = Some(path.clone());
                Ok(storage)
            }
            Backend::S3(s3) => Self::open_bucket(s3, settings.unsafe_single_writer, opening).await,
        }
    }

    /// Opens storage for reading, beside whoever writes to it.
    ///
    /// # Errors
    /// When there is no storage, or it cannot be read.
    pub async fn open_settings_read_only(
        settings: &StorageSettings,
        opening: &Opening,
    ) -> Result<Self, StorageError> {
        let calls = match &settings.backend {
            Backend::Local { path } | Backend::MountVolume { path, .. } => {
                super::Calls::new(Arc::new(local::open_read_only(path).await?), opening.clock.clone())
            }
            Backend::S3(s3) => {
                let bucket = bucket(s3, opening)?;
                bucket.inspect(&opening.clock).await?;
                bucket.calls(opening.clock.clone())
            }
        };
        Self::assemble(calls, Access::ReadOnly, Gate::default(), opening).await
    }

    /// Opens a directory that cannot be written to, for what it holds.
    async fn open_unwritable(
        path: &Path,
        reason: &std::io::Error,
        opening: &Opening,
    ) -> Result<Self, StorageError> {
        let store = local::open_read_only(path).await?;
        let writing = Writing::ReadOnly(reason.to_string());
        announce(&writing);
        let calls = super::Calls::new(Arc::new(store), opening.clock.clone());
        let mut storage = Self::assemble(calls, Access::ReadOnly, Gate::new(writing), opening).await?;
        storage.directory = Some(path.to_owned());
        Ok(storage)
    }

    async fn open_bucket(
        s3: &S3Settings,
        unsafe_single_writer: bool,
        opening: &Opening,
    ) -> Result<Self, StorageError> {
        let bucket = bucket(s3, opening)?;
        let begun = bucket.inspect(&opening.clock).await?;
        let probe = Probe::new(&bucket, opening.clock.clone(), &opening.entropy);
        let admission = Admission { probe, unsafe_single_writer };
        let gate = Gate::new(Writing::Unproven);
        if !begun {
            // The first record is a write like any other.
            let probed = admission.probe.at_start().await.map_err(StorageError::Probe)?;
            let writing = admission.decide(&probed.report);
            if let Writing::Refused(reason) = writing {
                return Err(StorageError::Unfit { reason });
            }
            announce(&writing);
            gate.set(writing);
        }
        let mut storage = Self::assemble_patiently(&bucket, gate, opening).await?;
        storage.admission = Some(admission);
        Ok(storage)
    }

    /// Reads the logs of a bucket that answered a moment ago. Opening takes many requests, and one that is slow must
    /// not end a process that would go on serving if the same happened a second later.
    async fn assemble_patiently(
        bucket: &Bucket,
        gate: Gate,
        opening: &Opening,
    ) -> Result<Self, StorageError> {
        let mut delays = Delays::new(OPEN_PAUSES.0, OPEN_PAUSES.1, opening.entropy.clone());
        let mut tries = 0;
        loop {
            let calls = bucket.calls(opening.clock.clone());
            tries += 1;
            match Self::assemble(calls, Access::ReadWrite, gate.clone(), opening).await {
                Err(error) if error.class() == ErrorClass::Retry && tries < OPEN_TRIES => {
                    tracing::warn!(error = chain(&error), tries, "the store could not be read, trying again");
                    opening.clock.sleep(delays.next_delay()).await;
                }
                ended => return ended,
            }
        }
    }

    /// Finds out whether writing is possible, where that is not known yet. Tries until it knows.
    pub async fn admit(&self) {
        let Some(admission) = self.admission.as_ref().filter(|_| self.writing() == Writing::Unproven) else {
            return;
        };
        let mut delays = Delays::new(PROBE_PAUSES.0, PROBE_PAUSES.1, self.entropy.clone());
        loop {
            match admission.probe.at_start().await {
                Ok(probed) => {
                    let writing = admission.decide(&probed.report);
                    announce(&writing);
                    return self.gate.set(writing);
                }
                Err(error) => {
                    let fatal = matches!(error.class(), ErrorClass::Fatal | ErrorClass::Stall);
                    tracing::warn!(error = chain(&error), fatal, "the store could not be probed yet");
                    self.clock.sleep(delays.next_delay()).await;
                }
            }
        }
    }

    /// Whether this instance may write, and why not.
    #[must_use]
    pub fn writing(&self) -> Writing {
        self.gate.get()
    }

    /// The directory that the storage lies in, where it is one of this machine.
    #[must_use]
    pub fn directory(&self) -> Option<&Path> {
        self.directory.as_deref()
    }

    /// Probes the back end thoroughly; a directory has nothing to be probed.
    ///
    /// # Errors
    /// When the bucket cannot be used, or the probe not be carried out.
    pub async fn examine(s3: &S3Settings, opening: &Opening) -> Result<ProbeReport, StorageError> {
        let bucket = bucket(s3, opening)?;
        bucket.inspect(&opening.clock).await?;
        let probe = Probe::new(&bucket, opening.clock.clone(), &opening.entropy);
        probe.long().await.map_err(StorageError::Probe)
    }
}

/// Says in the log what nobody may overlook.
fn announce(writing: &Writing) {
    match writing {
        Writing::Refused(reason) => {
            tracing::error!(reason, "the store cannot be shared; nothing is written");
        }
        Writing::ReadOnly(reason) => {
            tracing::error!(reason, "the storage is read-only; what is there is served, nothing is written");
        }
        Writing::SingleWriter { reason, .. } => {
            tracing::error!(reason, "the store cannot be shared; written to on the operator's word");
        }
        Writing::Open | Writing::Unproven => {}
    }
}

fn bucket(s3: &S3Settings, opening: &Opening) -> Result<Bucket, BackendError> {
    let waits = Waits { control: opening.call_timeout, ..Waits::default() };
    Bucket::new(s3, waits)
}

/// Reaches a back end without looking at its logs, which may be broken. A directory is locked for as long as the
/// lock is held.
pub(super) async fn reach(
    settings: &StorageSettings,
    opening: &Opening,
) -> Result<(super::Calls, Option<super::DirectoryLock>), StorageError> {
    match &settings.backend {
        Backend::Local { path } | Backend::MountVolume { path, .. } => {
            let (store, lock) = local::open(path, opening.lock_wait, &opening.clock).await?;
            Ok((super::Calls::new(Arc::new(store), opening.clock.clone()), Some(lock)))
        }
        Backend::S3(s3) => {
            let bucket = bucket(s3, opening)?;
            bucket.inspect(&opening.clock).await?;
            Ok((bucket.calls(opening.clock.clone()), None))
        }
    }
}
