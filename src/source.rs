//! Where manifests come from: a source yields verified, complete snapshots or an error, never a part.
//!
//! An empty snapshot means that the source was read in full and holds nothing. Everything that keeps a
//! source from being read in full is a [`SourceError`]; the caller then stays with the last good snapshot.
//! What the documents say is not known here, except for what they refer to (`manifest::referenced_paths`).

mod directory;

pub use directory::DirectorySource;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use futures::future::BoxFuture;

use crate::model::{ErrorClass, Snapshot, SourceName};

/// A place that manifests are read from.
pub trait Source: Send {
    /// Its name in the configuration.
    fn name(&self) -> &SourceName;

    /// Its state now. Where nothing changed since the last call, the same snapshot is returned again.
    fn snapshot(&mut self) -> BoxFuture<'_, Result<Arc<Snapshot>, SourceError>>;
}

/// Why a source could not be read.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The folder of the manifests is not there.
    #[error("there is no folder {}", .path.display())]
    Missing {
        /// The folder.
        path: PathBuf,
    },
    /// The operating system refused.
    #[error("cannot read {}", .path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// A link, or a folder on the way, leads out of the source's root.
    #[error("{} leads out of the source's root, to {}", .path.display(), .target.display())]
    LeavesRoot {
        /// The link.
        path: PathBuf,
        /// Where it leads.
        target: PathBuf,
    },
    /// A device, socket or pipe.
    #[error("{} is neither a file nor a folder", .path.display())]
    NotAFile {
        /// The thing.
        path: PathBuf,
    },
    /// A file name that is no UTF-8.
    #[error("the name of {} is not UTF-8", .path.display())]
    NotUnicode {
        /// The file.
        path: PathBuf,
    },
    /// More files and folders than a source may hold.
    #[error("{} holds more than {limit} files and folders with what its documents refer to", .root.display())]
    TooManyFiles {
        /// The source's root.
        root: PathBuf,
        /// How many there may be.
        limit: usize,
    },
    /// Folders nested too deep, or a link that leads back to a folder around it.
    #[error("{} lies deeper than {limit} folders; does a link lead back to a folder around it?", .path.display())]
    TooDeep {
        /// The folder.
        path: PathBuf,
        /// How deep folders may lie.
        limit: usize,
    },
    /// Documents that would not fit into memory.
    #[error("the documents in {} exceed {limit} bytes together", .root.display())]
    TooMuchText {
        /// The source's root.
        root: PathBuf,
        /// How many bytes there may be.
        limit: u64,
    },
    /// A file that changed while it was read.
    #[error("{} is being written", .path.display())]
    Changing {
        /// The file.
        path: PathBuf,
    },
    /// The source looked different each time it was read.
    #[error("the files in {} keep changing", .root.display())]
    Unsettled {
        /// The source's root.
        root: PathBuf,
    },
    /// The thread that reads ended early.
    #[error("reading {} was interrupted", .root.display())]
    Interrupted {
        /// The source's root.
        root: PathBuf,
    },
}

impl SourceError {
    /// What to do about it. A stalled source is read again at the next interval like any other; stalled
    /// means that a person must change something first.
    #[must_use]
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Read { .. } | Self::Interrupted { .. } => ErrorClass::Retry,
            Self::Changing { .. } | Self::Unsettled { .. } => ErrorClass::Wait,
            Self::Missing { .. }
            | Self::LeavesRoot { .. }
            | Self::NotAFile { .. }
            | Self::NotUnicode { .. }
            | Self::TooManyFiles { .. }
            | Self::TooDeep { .. }
            | Self::TooMuchText { .. } => ErrorClass::Stall,
        }
    }

    /// A stable word for metric labels and conditions.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::Missing { .. } => "Missing",
            Self::Read { .. } => "Read",
            Self::LeavesRoot { .. } => "LeavesRoot",
            Self::NotAFile { .. } => "NotAFile",
            Self::NotUnicode { .. } => "NotUnicode",
            Self::TooManyFiles { .. } => "TooManyFiles",
            Self::TooDeep { .. } => "TooDeep",
            Self::TooMuchText { .. } => "TooMuchText",
            Self::Changing { .. } => "Changing",
            Self::Unsettled { .. } => "Unsettled",
            Self::Interrupted { .. } => "Interrupted",
        }
    }
}
