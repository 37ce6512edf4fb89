//! What the registry takes in and answers, apart from HTTP: bundles, packages, the repository document, resources,
//! health.
//!
//! Only what is in the catalog is served, and only under the coordinate that references it.

pub mod intake;
pub mod packages;
pub mod repo;
pub mod resource;

use std::sync::Arc;

use crate::clock::DeadlinePassed;
use crate::model::ErrorClass;
use crate::storage::StorageError;
use crate::storage::gate::Writing;
use crate::universe::UniverseError;

/// Why the registry has no answer.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The storage could not be read.
    #[error("the storage could not be read")]
    Storage(#[source] Box<StorageError>),
    /// A stored document is not what was stored; nothing of it is served.
    #[error("the stored definition of {coordinate} is damaged")]
    Document {
        /// Whose definition.
        coordinate: crate::model::Coordinate,
        /// What is wrong with it.
        source: UniverseError,
    },
    /// The catalog names a document that is not there.
    #[error("the stored definition of {coordinate} is missing")]
    Missing {
        /// Whose definition.
        coordinate: crate::model::Coordinate,
    },
    /// Compressing the repository document failed.
    #[error("the repository document could not be packed")]
    Pack(#[source] Arc<std::io::Error>),
    /// There is no repository document yet, and the store does not bring what belongs into it.
    #[error("the repository document cannot be built now, because the store does not answer; ask again")]
    NotBuilt(#[source] DeadlinePassed),
}

impl From<StorageError> for RegistryError {
    fn from(error: StorageError) -> Self {
        Self::Storage(Box::new(error))
    }
}

impl RegistryError {
    /// What the error asks for.
    #[must_use]
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Storage(error) => error.class(),
            Self::Document { .. } | Self::Missing { .. } => ErrorClass::Stall,
            Self::Pack(_) | Self::NotBuilt(_) => ErrorClass::Retry,
        }
    }

    /// The error as a label.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::Storage(error) => error.label(),
            Self::Document { .. } => "DamagedDocument",
            Self::Missing { .. } => "MissingDocument",
            Self::Pack(_) => "PackFailed",
            Self::NotBuilt(_) => "RepositoryNotBuilt",
        }
    }
}

/// The health document that the original answered on `/`, and a word on the storage where not everything is well.
///
/// Source: DC/OS documentation of Package Registry, quickstart.
#[must_use]
pub fn health(packages: usize, writing: &Writing) -> serde_json::Value {
    let message = format!("Able to find {packages} package(s).");
    let mut health = serde_json::json!({"checks": {"/repo": {"Healthy": {"message": message}}}});
    let unhealthy = match writing {
        Writing::Open | Writing::Unproven => None,
        Writing::Refused(reason) => {
            Some(format!("nothing can be written, the store cannot be shared: {reason}"))
        }
        Writing::ReadOnly(reason) => {
            Some(format!("nothing can be written, the storage is read-only: {reason}"))
        }
        Writing::SingleWriter { reason, .. } => {
            Some(format!("unsafeSingleWriter is set, and the store cannot be shared: {reason}"))
        }
    };
    if let (Some(message), Some(checks)) = (unhealthy, health["checks"].as_object_mut()) {
        checks.insert("/storage".to_owned(), serde_json::json!({"Unhealthy": {"message": message}}));
    }
    health
}
