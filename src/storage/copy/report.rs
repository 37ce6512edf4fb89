//! What was copied, or would be.

use std::fmt;

use serde::Serialize;

use crate::storage::Storage;

/// A package version that could not be copied, because its bytes are damaged in the original.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Lost {
    /// Name and version.
    pub package: String,
    /// What is wrong.
    pub what: String,
}

/// Whether the copy took the original's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum CutOver {
    /// It did not.
    #[default]
    No,
    /// It did so now.
    Now,
    /// It had done so before.
    Before,
}

/// What was copied, or would be.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CopyReport {
    /// Whether nothing was changed.
    pub dry_run: bool,
    /// The original's id.
    pub original: String,
    /// The copy's id; none where there is none yet.
    pub copy: Option<String>,
    /// Package versions of the original.
    pub versions: u64,
    /// Those that the copy had before.
    pub present: u64,
    /// Those that were copied now.
    pub copied: u64,
    /// Those that the copy had and the original has no longer, or has with other content.
    pub removed: u64,
    /// Blobs that were copied now.
    pub blobs: u64,
    /// Their length together, in bytes.
    pub bytes: u64,
    /// Entries of the controller's books that were carried over now.
    pub books: u64,
    /// Manifests of the controller's books that could not be read; their sources are read anew.
    pub snapshots_lost: Vec<String>,
    /// What could not be copied.
    pub lost: Vec<Lost>,
    /// Package versions in the copy now.
    pub total: u64,
    /// Whether the copy took the original's place.
    pub cut_over: CutOver,
    /// Why the copy's controller does nothing; none where it acts.
    pub standstill: Option<String>,
}

impl CopyReport {
    pub(super) fn new(from: &Storage, to: Option<&Storage>) -> Self {
        let original = from.catalog.registry().to_owned();
        let copy = to.map(|to| to.catalog.registry().to_owned());
        Self { original, copy, ..Self::default() }
    }

    /// Notes how the copy stands.
    pub(super) fn count(&mut self, to: &Storage) {
        self.total = to.catalog.state().version_count() as u64;
        self.standstill = to.standstill();
    }

    /// Whether the copy has everything that the original has.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.lost.is_empty()
    }
}

impl fmt::Display for CopyReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { original, versions, present, copied, removed, blobs, bytes, books, .. } = self;
        writeln!(f, "original                      {original}")?;
        writeln!(f, "copy                          {}", self.copy.as_deref().unwrap_or("is not there yet"))?;
        if self.cut_over == CutOver::Before {
            return self.end(f);
        }
        let (done, gone, carried) = if self.dry_run {
            ("would be copied", "would be removed", "books, would be carried over")
        } else {
            ("copied", "removed", "books, carried over")
        };
        writeln!(f, "package versions              {versions:>9}")?;
        writeln!(f, "  were there                  {present:>9}")?;
        writeln!(f, "  {done:<28}{copied:>9}")?;
        if *removed > 0 {
            writeln!(f, "  {gone:<28}{removed:>9}  (the original has them no longer)")?;
        }
        writeln!(f, "blobs, {done:<23}{blobs:>9}  {bytes:>16} bytes")?;
        writeln!(f, "{carried:<30}{books:>9}")?;
        for Lost { package, what } in &self.lost {
            writeln!(f, "NOT COPIED {package}: {what}; publish it again at the original")?;
        }
        for source in &self.snapshots_lost {
            writeln!(
                f,
                "the last manifest of {source} cannot be read and was left out; its source is read anew"
            )?;
        }
        if self.dry_run {
            return writeln!(f, "nothing was changed");
        }
        self.end(f)
    }
}

impl CopyReport {
    /// How the copy stands now.
    fn end(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "package versions in the copy  {:>9}", self.total)?;
        match self.cut_over {
            CutOver::No => {}
            CutOver::Now => writeln!(f, "The copy has taken over. The original only reads from now on.")?,
            CutOver::Before => writeln!(f, "The copy had taken over before.")?,
        }
        match &self.standstill {
            Some(why) => writeln!(f, "Its controller does nothing: {why}."),
            None => writeln!(f, "Its controller acts as soon as an instance runs there."),
        }
    }
}
