//! Which storage: the arguments that name one.

use std::path::PathBuf;
use std::time::Duration;

use super::{Desk, Result};
use crate::config::{BackendOptions, Environment, Overrides, RunSettings, StorageSettings, storage_from_cli};
use crate::storage::gate::{Shut, Writing};
use crate::storage::lease::LeaseTimes;
use crate::storage::{Opening, Storage};

/// How long finding out whether a bucket may be written to may take.
const ADMISSION: Duration = Duration::from_secs(90);

/// The options of a bucket.
#[derive(clap::Args, Debug, Clone, Default, PartialEq, Eq)]
pub struct BucketArguments {
    /// URL of the S3 server; left out: Amazon's
    #[arg(long, value_name = "URL")]
    endpoint: Option<String>,
    /// Region of the bucket
    #[arg(long, value_name = "REGION")]
    region: Option<String>,
    /// Whether the bucket stands in the path of URLs; left out: yes, except with Amazon
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    path_style: Option<bool>,
    /// File of access keys as the AWS command line has it; left out: the environment, else the machine's role
    #[arg(long, value_name = "FILE")]
    credentials: Option<PathBuf>,
    /// Profile in that file
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,
    /// PEM file of certificates to trust besides the system's
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Your word that nobody else writes to a bucket that cannot order writers
    #[arg(long)]
    unsafe_single_writer: bool,
}

impl BucketArguments {
    /// As the configuration has them.
    pub fn options(&self) -> BackendOptions {
        let Self { endpoint, region, path_style, credentials, profile, ca, unsafe_single_writer } =
            self.clone();
        let spool = None;
        BackendOptions { endpoint, region, path_style, credentials, profile, ca, spool, unsafe_single_writer }
    }
}

/// How long leases of the instances last.
#[derive(clap::Args, Debug, Clone, Default, PartialEq, Eq)]
pub struct LeaseArguments {
    /// The longest ha.ttl of the instances' files, where it is more than 12 s and --config does not name one
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3_600))]
    ttl: Option<u64>,
}

/// One storage.
#[derive(clap::Args, Debug, Clone, Default, PartialEq, Eq)]
pub struct TargetArguments {
    /// A directory (/path, ./path) or a bucket (s3://bucket/path)
    #[arg(value_name = "STORAGE")]
    storage: Option<String>,
    /// The storage of a daemon's configuration
    #[arg(long, value_name = "FILE", conflicts_with = "storage")]
    config: Option<PathBuf>,
    #[command(flatten)]
    bucket: BucketArguments,
}

impl TargetArguments {
    /// Whether a storage is named at all.
    pub fn is_given(&self) -> bool {
        self.storage.is_some() || self.config.is_some()
    }

    /// Where it is.
    ///
    /// # Errors
    /// When nothing usable is named.
    pub fn settings(&self, environment: &Environment) -> Result<StorageSettings> {
        let options = self.bucket.options();
        Ok(storage_from_cli(self.storage.as_deref(), self.config.as_deref(), &options, environment)?)
    }

    /// The times of its leases.
    ///
    /// # Errors
    /// When the daemon's file cannot be used.
    pub fn times(&self, lease: &LeaseArguments, environment: &Environment) -> Result<LeaseTimes> {
        let configured = match &self.config {
            Some(path) => Some(RunSettings::load(path, environment, &Overrides::default())?.ha.ttl),
            None => None,
        };
        Ok(times(configured, lease))
    }
}

/// Our own times, with a patience that suits the instances: whoever took a lease too soon would act beside its holder.
pub fn times(configured: Option<Duration>, lease: &LeaseArguments) -> LeaseTimes {
    let usual = LeaseTimes::default();
    let given = lease.ttl.map(Duration::from_secs);
    let ttl = [configured, given].into_iter().flatten().fold(usual.ttl, Duration::max);
    LeaseTimes { ttl, ..usual }
}

/// Opens a storage for writing, removes what a crash left in it, and finds out whether it may be written to.
///
/// # Errors
/// When it cannot be opened, or must not be written to.
pub async fn open(settings: &StorageSettings, opening: &Opening) -> Result<Storage> {
    let storage = Storage::open_settings(settings, opening).await.map_err(super::held)?;
    storage.sweep().await?;
    opening.clock.timeout(ADMISSION, storage.admit()).await?;
    match storage.writing() {
        Writing::Open | Writing::SingleWriter { .. } => Ok(storage),
        Writing::Unproven => Err(Box::new(Shut::Unproven)),
        Writing::Refused(reason) => Err(Box::new(Shut::Refused(reason))),
        Writing::ReadOnly(reason) => Err(Box::new(Shut::ReadOnly(reason))),
    }
}

/// Opens a storage for reading; whoever writes to it goes on.
///
/// # Errors
/// When there is none, or it cannot be read.
pub async fn open_read_only(settings: &StorageSettings, desk: &Desk) -> Result<Storage> {
    Ok(Storage::open_settings_read_only(settings, &desk.opening).await?)
}
