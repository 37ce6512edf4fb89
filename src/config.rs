//! Typed settings, and the one place where the environment is read.
//!
//! `up` has built-in values; the file of `run --config` maps onto the same types.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::controller::guard::Limits;

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
#[expect(clippy::disallowed_methods, reason = "this is the module that the ban list points to")]
pub fn log_filter() -> String {
    std::env::var("DCOS_REGISTRY_LOG").unwrap_or_else(|_| "warn".to_owned())
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
