//! Typed settings, and the one place where the environment is read.
//!
//! `up` has built-in values. `run` takes a file ([`RunSettings::load`]): YAML or JSON in our own format
//! ([`run`]), or the install options that the documents of DC/OS describe, as they stand ([`options`]). Both
//! become the same plain data ([`settings`]). All that is wrong with a file is reported together, each with line,
//! place and what to write; unknown keys are faults.
//!
//! In our own format every value may stand elsewhere, as `{file: path}` or `{env: NAME}`, and relative paths go from
//! the folder of the file.
//!
//! ```yaml
//! name: dcos-registry                  # the service's id; its host inside the cluster follows from it
//! aliases: [registry]                  # older names, accepted and not given out
//! publicUrl: https://packages.example  # given out instead of that host
//! listen: 0.0.0.0:8443                 # left out: the port from Marathon (PORT0), else 5080; with tls or allowPlain
//!                                      # and a port from Marathon for all, else on loopback
//! tls: {certificate: tls.pem, key: tls.key}
//! allowPlain: false                    # the word that is needed to listen beyond loopback without tls
//! auth: {tokens: {file: tokens}}       # one per line, at least 16 characters; the file may change
//! storage:                             # exactly one of local, mountVolume and s3
//!   local: {path: /var/lib/dcos-registry}
//!   mountVolume: {containerPath: package-registry, pinnedHostname: agent1}   # in the sandbox of the Mesos task
//!   s3:
//!     bucket: my-bucket
//!     path: my-path
//!     endpoint: https://s3.example     # left out: Amazon's
//!     region: us-east-1                # left out: that of the endpoint or of AWS_REGION, else us-east-1
//!     pathStyle: true                  # left out: true except with Amazon
//!     credentials: {file: credentials, profile: default}   # or environment, or instanceRole; left out:
//!                                      # environment where AWS_ACCESS_KEY_ID is set, else instanceRole
//!     ca: ca.pem
//!   unsafeSingleWriter: false          # the word that nobody else writes to a bucket that cannot order writers
//!   spool: /var/spool                  # where uploads are gathered; left out: beside local storage, else $TMPDIR
//! marathon:
//!   url: https://leader.mesos/service/marathon   # or a list of the same cluster's: the next is asked where one is away
//!   adminRouter: https://leader.mesos  # asked how far SDK services are; left out: the server of a url that ends with
//!                                      # /marathon; without either no SDK service is removed
//!   ca: ca.pem                         # certificates to trust besides the system's
//!   auth:                              # left out or none: nobody asks who we are; else one of these, each from a file
//!     basic: {user: registry, password: {file: password}}    # that may change while we run
//!     token: {file: token}             # a token of DC/OS
//!     serviceAccount: {file: account}  # JSON with uid, private_key, login_endpoint and scheme RS256
//! sources:
//!   - name: platform
//!     directory: manifests
//!     interval: 60s
//!     prune: false
//!     allowEmpty: false
//!     limits: {maxDeletions: 5, maxDeletionsPercent: 20}
//!     allow: {appIds: [/]}
//! ha:                                  # what is left out follows the ttl in proportion
//!   ttl: 12s                           # longer than the deadline; below 1.4 x deadline is a warning
//!   deadline: 8s                       # at least renew + 2 x leaseCallTimeout + margin
//!   renew: 4s
//!   poll: 2s
//!   leaseCallTimeout: 1.5s
//!   marathonWriteTimeout: 3s           # at most deadline - renew - margin
//!   margin: 1s
//! ```

mod environment;
mod file;
mod ha;
mod json;
mod marathon;
mod options;
mod run;
mod s3;
mod settings;
mod sources;
mod stamp;
mod storage;
mod target;
mod tokens;
mod values;

pub use environment::Environment;
pub use ha::HaSettings;
pub use settings::{
    Backend, MarathonAuth, MarathonSettings, RunSettings, S3Credentials, S3Keys, S3Settings, SourceSettings,
    StorageSettings, TlsSettings,
};
pub use stamp::Stamp;
pub use target::{BackendOptions, storage_from_cli};
pub use tokens::{TokenSet, Tokens, TokensError};

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::controller::guard::Limits;
use crate::model::{ErrorClass, Problem};

/// Where `up` finds its manifests when nobody says.
pub const QUICKSTART: &str = "manifests/quickstart";

/// What `up` runs with.
#[derive(Debug, Clone)]
pub struct UpSettings {
    /// Where the registry listens.
    pub listen: SocketAddr,
    /// Where the local Marathon listens.
    pub marathon_listen: SocketAddr,
    /// The directory that holds everything that is kept.
    pub dir: PathBuf,
    /// The folder of manifests.
    pub manifests: PathBuf,
    /// How often everything is looked at when nothing moves.
    pub interval: Duration,
}

/// Settings that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// No folder of manifests was named, and the quickstart is not to be found.
    #[error("no {QUICKSTART} here or beside the program; name a folder of manifests with --manifests")]
    NoQuickstart,
    /// What is written for every revision must be no part of the revision.
    #[error("{dir} lies in the folder of manifests {manifests}; choose another directory with --dir", dir = .dir.display(), manifests = .manifests.display())]
    DirInManifests {
        /// The directory that holds everything that is kept.
        dir: PathBuf,
        /// The folder of manifests.
        manifests: PathBuf,
    },
    /// An address that others can reach.
    #[error("{0} is reachable from outside, and there is no TLS here; listen on 127.0.0.1 or [::1]")]
    NotLoopback(SocketAddr),
    /// The operating system refused.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// A file that is no configuration.
    #[error("{} is larger than {} bytes, which no configuration is", path.display(), file::LARGEST)]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// Binary data.
    #[error("{} is no UTF-8 text; save it as UTF-8", path.display())]
    NotText {
        /// The file.
        path: PathBuf,
    },
    /// All that is wrong with a file.
    #[error("{} cannot be used:{}", path.display(), listed(problems))]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong, at least one, in the order of the lines.
        problems: Vec<Problem>,
    },
    /// A back end that the command line names and that cannot be one.
    #[error("{target}: {message} ({suggestion})")]
    Backend {
        /// The name.
        target: String,
        /// What is wrong.
        message: String,
        /// What to write.
        suggestion: String,
    },
    /// Two places that say the same.
    #[error("{option} is given beside {}; write it in there", path.display())]
    OptionBesideFile {
        /// The option.
        option: &'static str,
        /// The daemon's file.
        path: PathBuf,
    },
    /// No storage, or two.
    #[error("name one storage: s3://bucket/path, the path of a directory, or --config and the daemon's file")]
    WhichStorage,
}

impl ConfigError {
    /// What to do about it: a person must change something.
    #[must_use]
    pub fn class(&self) -> ErrorClass {
        ErrorClass::Stall
    }

    /// A stable word for metric labels and conditions.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::NoQuickstart => "NoQuickstart",
            Self::DirInManifests { .. } => "DirInManifests",
            Self::NotLoopback(_) => "NotLoopback",
            Self::Read { .. } => "Read",
            Self::TooLarge { .. } => "TooLarge",
            Self::NotText { .. } => "NotText",
            Self::Invalid { .. } => "Invalid",
            Self::Backend { .. } => "Backend",
            Self::OptionBesideFile { .. } => "OptionBesideFile",
            Self::WhichStorage => "WhichStorage",
        }
    }
}

fn listed(problems: &[Problem]) -> String {
    let lines: Vec<String> = problems.iter().map(|problem| format!("\n  {problem}")).collect();
    lines.concat()
}

/// What the command line of `run` says besides the file. It goes before what the file says.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// `--listen`.
    pub listen: Option<SocketAddr>,
    /// `--allow-plain`: listen beyond loopback without TLS.
    pub allow_plain: bool,
    /// `--tls-certificate` and `--tls-key`.
    pub tls: Option<TlsSettings>,
}

impl RunSettings {
    /// Reads the daemon's file, in either format.
    ///
    /// # Errors
    /// When it cannot be read, or with all that is wrong with it.
    pub fn load(path: &Path, environment: &Environment, overrides: &Overrides) -> Result<Self, ConfigError> {
        file::load(path, environment, overrides)
    }
}

/// The limits of the source that `up` watches: its manifests are the user's own folder on the user's own
/// machine, so what is removed there is removed here.
#[must_use]
pub fn up_limits() -> Limits {
    Limits { prune: true, max_deletions_percent: 100, ..Limits::default() }
}

/// Finds the quickstart: below the working directory, else beside the program, whose build folder lies inside
/// the repository.
///
/// # Errors
/// When it is at neither place.
pub fn find_quickstart(program: &Path) -> Result<PathBuf, ConfigError> {
    let beside_program = program.ancestors().skip(1).map(|folder| folder.join(QUICKSTART));
    let mut candidates = std::iter::once(PathBuf::from(QUICKSTART)).chain(beside_program);
    candidates.find(|folder| folder.is_dir()).ok_or(ConfigError::NoQuickstart)
}

/// Refuses an address that others can reach: nothing listens beyond loopback without TLS.
///
/// # Errors
/// When the address is no loopback address.
pub fn loopback_only(address: SocketAddr) -> Result<SocketAddr, ConfigError> {
    if address.ip().is_loopback() { Ok(address) } else { Err(ConfigError::NotLoopback(address)) }
}

/// Refuses a directory that the source would read as a part of its manifests. Hidden folders are not read.
///
/// # Errors
/// When the directory lies among the manifests.
pub fn outside_manifests(dir: &Path, manifests: &Path) -> Result<(), ConfigError> {
    // The directory itself may not be there yet; what exists of its path tells where it will be.
    let absolute = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
    let there = absolute.ancestors().find_map(|folder| Some((folder.canonicalize().ok()?, folder)));
    let real = there.map(|(real, folder)| real.join(absolute.strip_prefix(folder).unwrap_or(Path::new(""))));
    let (Some(real), Ok(root)) = (real, manifests.canonicalize()) else { return Ok(()) };
    let Ok(below) = real.strip_prefix(&root) else { return Ok(()) };
    let mut segments = below.components();
    if segments.any(|segment| segment.as_os_str().as_encoded_bytes().starts_with(b".")) {
        return Ok(());
    }
    Err(ConfigError::DirInManifests { dir: dir.to_owned(), manifests: manifests.to_owned() })
}

/// The log filter from `DCOS_REGISTRY_LOG`, in the syntax of tracing's `EnvFilter`; warnings by default.
#[must_use]
pub fn log_filter() -> String {
    Environment::process().get("DCOS_REGISTRY_LOG").unwrap_or_else(|| "warn".to_owned())
}

/// A variable of the environment; none where it is not set or no text.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the module that the ban list points to")]
pub fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_is_listened_on() {
        assert!(loopback_only("127.0.0.1:80".parse().unwrap()).is_ok());
        assert!(loopback_only("[::1]:80".parse().unwrap()).is_ok());
        for open in ["0.0.0.0:80", "[::]:80", "10.0.0.1:80"] {
            assert!(loopback_only(open.parse().unwrap()).is_err(), "{open}");
        }
    }

    #[test]
    fn the_directory_may_not_lie_among_the_manifests() {
        let root = tempfile::tempdir().unwrap();
        let manifests = root.path().join("m");
        std::fs::create_dir_all(manifests.join("sub")).unwrap();
        for inside in ["m", "m/state", "m/sub/a/b", "m/sub/../state"] {
            assert!(outside_manifests(&root.path().join(inside), &manifests).is_err(), "{inside}");
        }
        for outside in ["state", "mm", "m/.dcos-registry", "m/sub/.state/x", "m/../state"] {
            assert!(outside_manifests(&root.path().join(outside), &manifests).is_ok(), "{outside}");
        }
    }

    #[test]
    fn the_quickstart_is_found_beside_the_program() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join(QUICKSTART)).unwrap();
        let program = root.path().join("target/release/dcos-registry");
        let found = find_quickstart(&program).unwrap();
        assert!(found.ends_with(QUICKSTART));
    }
}
