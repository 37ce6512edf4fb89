//! From a package directory to what the registry publishes: metadata plus members with their digests.
//!
//! Everything that a package needs must travel with it. So each file that `resource.json` names becomes a
//! member, and its URI a reference by digest, which the registry turns into a URL of its own. What would
//! have to be fetched from elsewhere is refused with its line: this source allows no hosts.
//!
//! Nothing is copied here; the registry reads each member once and checks its digest on the way.

pub mod file;
mod members;

pub use members::refer;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Cursor};
use std::path::PathBuf;
use std::sync::Arc;

use tokio::io::AsyncRead;

use crate::manifest::{PackageSpec, UnitDocument};
use crate::model::{
    Coordinate, Digest, ErrorClass, FileContent, Member, PackageContent, Problem, Snapshot, SnapshotFile,
    SnapshotPath,
};
use crate::universe::{read_directory, select_version};

/// Problems listed per package; who has more reads these first.
const MOST_PROBLEMS: usize = 100;

/// A package version with the places of its bytes.
#[derive(Debug, Clone, PartialEq)]
pub struct DescribedPackage {
    /// What is published.
    pub content: PackageContent,
    /// Where the bytes of each member are.
    pub files: MemberFiles,
}

/// Where the bytes of each member are.
pub type MemberFiles = BTreeMap<Digest, SnapshotFile>;

/// The bytes of a member as a stream.
pub type MemberReader = Box<dyn AsyncRead + Send + Unpin>;

/// Why a member cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// The package has no such member.
    #[error("the package has no member {name} with digest {digest}")]
    NoSuchMember {
        /// The file's name.
        name: String,
        /// Its digest.
        digest: Digest,
    },
    /// The file cannot be opened.
    #[error("cannot open {}", .path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The file is not the one that was described.
    #[error("{} has changed since the manifest was read", .path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
}

impl BundleError {
    /// What to do about it. A changed file is described anew with the next snapshot.
    #[must_use]
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::NoSuchMember { .. } => ErrorClass::Stall,
            Self::Open { .. } => ErrorClass::Retry,
            Self::Changed { .. } => ErrorClass::Wait,
        }
    }

    /// A stable word for metric labels and conditions.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::NoSuchMember { .. } => "NoSuchMember",
            Self::Open { .. } => "Open",
            Self::Changed { .. } => "Changed",
        }
    }
}

/// Describes the package version that a Package unit wants.
///
/// # Errors
/// All problems of the package's files, or of the unit where it names what the directory does not hold.
pub fn describe(
    snapshot: &Snapshot,
    unit: &UnitDocument,
    package: &PackageSpec,
) -> Result<DescribedPackage, Vec<Problem>> {
    let directory = select_version(snapshot, &package.directory, Some(&package.version))
        .map_err(|problems| explain_missing(snapshot, unit, package, problems))?;
    let definition = read_directory(snapshot, &directory)?;
    if definition.name != package.name {
        let message =
            format!("the package in {directory} is named {}, not {}", definition.name, package.name);
        let suggestion = format!("write spec: {{name: {}}}", definition.name);
        return Err(vec![unit.problem("spec.name", message).suggest(suggestion)]);
    }
    let mut metadata = definition.metadata();
    let (members, files) = members::embed(snapshot, &directory, &mut metadata)?;
    let coordinate = Coordinate::new(definition.name, definition.version);
    let release_version = definition.release_version;
    Ok(DescribedPackage { content: PackageContent { coordinate, release_version, metadata, members }, files })
}

/// Why the version was not found: the unit's place, and the faults of package directories that could not
/// be read, since the version may be in one of them.
fn explain_missing(
    snapshot: &Snapshot,
    unit: &UnitDocument,
    package: &PackageSpec,
    missing: Vec<Problem>,
) -> Vec<Problem> {
    let folders: BTreeSet<SnapshotPath> = snapshot
        .below(&package.directory)
        .filter(|(path, _)| path.file_name() == "package.json")
        .map(|(path, _)| path.parent())
        .filter(|folder| *folder == package.directory || folder.parent() == package.directory)
        .collect();
    let faults = folders.iter().filter_map(|folder| read_directory(snapshot, folder).err()).flatten();
    let at_unit = missing.into_iter().map(|problem| {
        let message = format!("{} {}", problem.file, problem.message);
        unit.problem("spec.version", message).suggest(problem.suggestion)
    });
    at_unit.chain(faults).take(MOST_PROBLEMS).collect()
}

/// Opens the bytes of a member. The reader does not check the digest; who stores the bytes does.
///
/// # Errors
/// [`BundleError`] where the file cannot be opened, or is not the one that was described.
pub async fn open_member(package: &DescribedPackage, member: &Member) -> Result<MemberReader, BundleError> {
    let Member { name, digest, .. } = member;
    let file = package.files.get(digest);
    let file = file.ok_or_else(|| BundleError::NoSuchMember { name: name.clone(), digest: *digest })?;
    match &file.content {
        FileContent::Inline(bytes) => Ok(Box::new(Cursor::new(Arc::clone(bytes)))),
        FileContent::OnDisk(path) => {
            let failed = |source| BundleError::Open { path: path.clone(), source };
            let open = tokio::fs::File::open(path).await.map_err(failed)?;
            let metadata = open.metadata().await.map_err(failed)?;
            if !metadata.is_file() || metadata.len() != file.size {
                return Err(BundleError::Changed { path: path.clone() });
            }
            Ok(Box::new(open))
        }
    }
}

#[cfg(test)]
mod tests;
