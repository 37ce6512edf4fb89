//! What two registries are to each other, and whether one may be copied to the other.

use super::CopyError;
use crate::storage::Storage;

/// What the target is to the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Relation {
    /// It is empty.
    New,
    /// It is a copy that has not taken over.
    Copy,
    /// It is a copy that took over from this very source, and was perhaps not resumed.
    TookOver,
}

/// Why a copy's controller does nothing, for people.
pub(super) fn reason(original: &str) -> String {
    format!("this is a copy of registry {original}; it acts once it has taken over (storage copy --cutover)")
}

/// Reads the original to its end.
pub(super) async fn follow_original(from: &Storage) -> Result<(), CopyError> {
    follow(from, "original").await
}

/// Reads the copy to its end.
pub(super) async fn follow_copy(to: &Storage) -> Result<(), CopyError> {
    follow(to, "copy").await
}

async fn follow(storage: &Storage, which: &'static str) -> Result<(), CopyError> {
    for followed in [storage.catalog.follow().await, storage.control.follow().await] {
        followed.map_err(|source| CopyError::Follow { which, source: source.into() })?;
    }
    match storage.catalog.newer().or_else(|| storage.control.newer()) {
        Some(newer) => Err(CopyError::Newer { which, newer }),
        None => Ok(()),
    }
}

/// What the target is, as far as both were read; an error where it may not become a copy.
pub(super) fn relation(from: &Storage, to: Option<&Storage>, cutover: bool) -> Result<Relation, CopyError> {
    let source = from.catalog.state();
    if cutover && let Some(of) = source.copy_of() {
        return Err(CopyError::OfCopy { of: of.to_owned() });
    }
    let successor = source.successor();
    let elsewhere = || CopyError::MovedElsewhere { to: source.moved().unwrap_or_default().to_owned() };
    let Some(to) = to else {
        return if cutover && successor.is_some() { Err(elsewhere()) } else { Ok(Relation::New) };
    };
    let (registry, target) = (from.catalog.registry(), to.catalog.registry());
    if registry == target {
        return Err(CopyError::Same { registry: registry.to_owned() });
    }
    if cutover && successor.is_some_and(|successor| successor != target) {
        return Err(elsewhere());
    }
    let catalog = to.catalog.state();
    match catalog.origin() {
        Some(origin) if origin.registry != registry => {
            Err(CopyError::Foreign { what: format!("it is a copy of registry {}", origin.registry) })
        }
        Some(origin) if !origin.took_over => Ok(Relation::Copy),
        Some(_) if cutover && successor == Some(target) => Ok(Relation::TookOver),
        Some(_) => Err(CopyError::TookOver),
        None => match contents(to) {
            Some(what) => Err(CopyError::Foreign { what }),
            None => Ok(Relation::New),
        },
    }
}

/// What a registry holds; none where it holds nothing.
fn contents(storage: &Storage) -> Option<String> {
    let (catalog, control) = (storage.catalog.state(), storage.control.state());
    let (versions, apps) = (catalog.version_count(), control.inventory.apps.len());
    if let Some(to) = catalog.moved() {
        return Some(format!("it was moved to {to}"));
    }
    if versions > 0 {
        return Some(format!("it holds {versions} package versions of its own"));
    }
    if catalog.blob_count() > 0 {
        return Some("it holds what is left of packages that were unpublished".to_owned());
    }
    let books = apps + control.inventory.intents.len() + control.inventory.accepted.len();
    (books > 0).then(|| format!("its controller has books of its own ({apps} apps)"))
}
