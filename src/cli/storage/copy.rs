//! `storage copy`: a registry in another back end.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::target::{BucketArguments, LeaseArguments, open, times};
use super::{Desk, Result, Told};
use crate::config::{Backend, BackendOptions, Overrides, RunSettings, StorageSettings, storage_from_cli};
use crate::storage::copy::{CopyOptions, copy, promote, would_copy};
use crate::storage::local::LocalError;
use crate::storage::records::LogError;
use crate::storage::{Storage, StorageError};

/// Copy a registry to another back end; with --cutover the copy takes its place
///
/// The copy is a registry of its own whose controller does nothing. The original may be in use; copying again catches
/// up. With --cutover the original only reads from then on, and the copy's controller acts; stop the instances of the
/// original and start them on the copy. What is interrupted goes on when it is run again. Exits with 2 when something
/// could not be copied because it is damaged.
#[derive(clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "they are flags of a command line")]
pub struct CopyArguments {
    /// Where from: /path, ./path or s3://bucket/path. With --config, where to
    #[arg(value_name = "FROM", required = true)]
    first: String,
    /// Where to, the same way
    #[arg(value_name = "TO")]
    second: Option<String>,
    /// Copy from the storage of a daemon's configuration
    #[arg(long, value_name = "FILE", conflicts_with = "second")]
    config: Option<PathBuf>,
    /// For both sides, as far as they are buckets
    #[command(flatten)]
    bucket: BucketArguments,
    #[command(flatten)]
    to: ToArguments,
    #[command(flatten)]
    lease: LeaseArguments,
    /// Let the copy take the original's place
    #[arg(long)]
    cutover: bool,
    /// With --cutover: go on although exactly so many versions are damaged in the original and not copied
    #[arg(long, value_name = "VERSIONS", requires = "cutover", default_value_t = 0)]
    leave_out: u64,
    /// Let the copy (the only storage named) take over without its original, which must be lost or stopped for good
    #[arg(long, conflicts_with_all = ["second", "config", "cutover", "dry_run"])]
    promote: bool,
    /// Only say what would be copied
    #[arg(long)]
    dry_run: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Options of the bucket that is copied to, where they differ.
#[derive(clap::Args, Debug, Clone, Default, PartialEq, Eq)]
#[expect(clippy::struct_field_names, reason = "they are the names of the options")]
struct ToArguments {
    /// --endpoint of the bucket that is copied to
    #[arg(long, value_name = "URL")]
    to_endpoint: Option<String>,
    /// --region of it
    #[arg(long, value_name = "REGION")]
    to_region: Option<String>,
    /// --path-style of it
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    to_path_style: Option<bool>,
    /// --credentials of it
    #[arg(long, value_name = "FILE")]
    to_credentials: Option<PathBuf>,
    /// --profile of it
    #[arg(long, value_name = "NAME")]
    to_profile: Option<String>,
    /// --ca of it
    #[arg(long, value_name = "FILE")]
    to_ca: Option<PathBuf>,
}

/// What does not name two storages.
#[derive(Debug, thiserror::Error)]
#[error("name where to copy to: storage copy FROM TO, or storage copy --config FILE TO")]
pub(super) struct NoTarget;

impl CopyArguments {
    /// Both sides.
    fn sides(&self, desk: &Desk) -> Result<(StorageSettings, StorageSettings)> {
        let (from, to) = match (&self.config, &self.second) {
            (Some(_), _) => (None, self.first.as_str()),
            (None, Some(second)) => (Some(self.first.as_str()), second.as_str()),
            (None, None) => return Err(NoTarget.into()),
        };
        let given = self.bucket.options();
        let of_bucket = |text: &str| text.starts_with("s3://");
        let from_options = match from {
            // The options are then for the other side, which is one.
            Some(from) if !of_bucket(from) && of_bucket(to) => only_trust(&given),
            None if of_bucket(to) => only_trust(&given),
            _ => given.clone(),
        };
        let from = storage_from_cli(from, self.config.as_deref(), &from_options, &desk.environment)?;
        let to_options = self.to.over(if of_bucket(to) { given } else { only_trust(&given) });
        let to = storage_from_cli(Some(to), None, &to_options, &desk.environment)?;
        Ok((from, to))
    }
}

/// What is no matter of buckets alone.
fn only_trust(given: &BackendOptions) -> BackendOptions {
    BackendOptions { unsafe_single_writer: given.unsafe_single_writer, ..BackendOptions::default() }
}

impl ToArguments {
    fn over(&self, given: BackendOptions) -> BackendOptions {
        let own = self.clone();
        // A profile belongs to its file.
        let profile =
            if own.to_credentials.is_some() { own.to_profile } else { own.to_profile.or(given.profile) };
        BackendOptions {
            endpoint: own.to_endpoint.or(given.endpoint),
            region: own.to_region.or(given.region),
            path_style: own.to_path_style.or(given.path_style),
            credentials: own.to_credentials.or(given.credentials),
            profile,
            ca: own.to_ca.or(given.ca),
            ..given
        }
    }
}

pub(super) async fn tell(arguments: &CopyArguments, desk: &Desk) -> Result<Told> {
    let configured = match &arguments.config {
        Some(path) => Some(RunSettings::load(path, &desk.environment, &Overrides::default())?.ha.ttl),
        None => None,
    };
    let times = times(configured, &arguments.lease);
    if arguments.promote {
        let options = arguments.bucket.options();
        let settings = storage_from_cli(Some(&arguments.first), None, &options, &desk.environment)?;
        let storage = Arc::new(open(&settings, &desk.opening).await?);
        promote(&storage, times).await?;
        let text = format!("{} has taken over; its original must never run again.\n", settings.backend);
        return Ok(Told { text, code: 0 });
    }
    let (from, to) = arguments.sides(desk)?;
    let (cutover, leave_out) = (arguments.cutover, arguments.leave_out);
    let options = CopyOptions { cutover, to: to.backend.to_string(), leave_out, times };
    if arguments.dry_run {
        let from = Storage::open_settings_read_only(&from, &desk.opening).await?;
        let to = there(&to, desk).await?;
        let report = would_copy(&from, to.as_ref(), &options).await?;
        return Told::new(&report, arguments.json, !report.is_complete());
    }
    // Whatever forbids it is found before anything is made at the target.
    would_copy(
        &Storage::open_settings_read_only(&from, &desk.opening).await?,
        there(&to, desk).await?.as_ref(),
        &options,
    )
    .await?;
    let from = if cutover {
        open_original(&from, desk).await?
    } else {
        Storage::open_settings_read_only(&from, &desk.opening).await?
    };
    let (from, to) = (Arc::new(from), Arc::new(open(&to, &desk.opening).await?));
    let report = copy(&from, &to, &options, &desk.watch()).await?;
    Told::new(&report, arguments.json, !report.is_complete())
}

/// The original, which a daemon may hold that is to be stopped now.
async fn open_original(settings: &StorageSettings, desk: &Desk) -> Result<Storage> {
    // One that was just told to stop is waited for.
    let opening = crate::storage::Opening { lock_wait: Duration::from_secs(10), ..desk.opening.clone() };
    match open(settings, &opening).await {
        Err(error) if matches!(settings.backend, Backend::S3(_)) => Err(error),
        Err(error) if error.is::<super::Held>() => {
            Err(format!("{error}; the copy can only take over when the daemon has stopped").into())
        }
        opened => opened,
    }
}

/// The copy, if there is one already.
async fn there(settings: &StorageSettings, desk: &Desk) -> Result<Option<Storage>> {
    match Storage::open_settings_read_only(settings, &desk.opening).await {
        Ok(storage) => Ok(Some(storage)),
        Err(StorageError::Local(LocalError::Absent { .. }) | StorageError::Open(LogError::Absent { .. })) => {
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}
