//! What a scrub found.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::model::Digest;
use crate::storage::collect::Tally;

/// A copy that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// Digest of the bytes.
    pub digest: Digest,
    /// Which copy.
    pub key: String,
    /// Their length in bytes.
    pub size: u64,
    /// What is wrong.
    pub what: String,
    /// Whether it is damaged or missing; otherwise it only could not be read now.
    pub damaged: bool,
    /// Whether the catalog says so, so that it is not served.
    pub marked: bool,
    /// The package versions that need it; none do where it is retired.
    pub packages: Vec<String>,
}

/// What a scrub found.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ScrubReport {
    /// Whether nothing was marked.
    pub dry_run: bool,
    /// What was read.
    pub checked: Tally,
    /// Copies that are damaged or missing.
    pub damaged: Tally,
    /// Copies that could not be read now.
    pub unreadable: Tally,
    /// Copies that were marked as damaged and are whole.
    pub cleared: Tally,
    /// Copies that were replaced or collected while they were read.
    pub gone: u64,
    /// The first of what is damaged or unreadable, one by one.
    pub findings: Vec<Finding>,
    /// All objects of blobs and uploads in the store.
    pub stored: Tally,
    /// Those that packages or the controller's books name.
    pub live: Tally,
    /// Those that wait for collection.
    pub retired: Tally,
    /// Those that nothing names: of publications and uploads under way, or for collection to delete.
    pub unnamed: Tally,
    /// How long it took, in milliseconds.
    pub took_milliseconds: u64,
}

impl ScrubReport {
    /// Whether everything that was read is as it should be.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.damaged.count == 0 && self.unreadable.count == 0
    }

    pub(super) fn note(&mut self, finding: Finding, most: usize) {
        if self.findings.len() < most {
            self.findings.push(finding);
        }
    }
}

impl fmt::Display for ScrubReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "read                          {}", self.checked)?;
        writeln!(f, "damaged or missing            {}", self.damaged)?;
        writeln!(f, "not readable now              {}", self.unreadable)?;
        let cleared = if self.dry_run { "marked, but whole" } else { "whole again, cleared" };
        writeln!(f, "{cleared:<30}{}", self.cleared)?;
        for finding in &self.findings {
            let Finding { digest, key, what, packages, marked, .. } = finding;
            writeln!(f, "  {digest} ({key}): {what}")?;
            for package in packages {
                writeln!(f, "    needed by {package}; publish it again to bring a new copy")?;
            }
            if finding.damaged && !marked && !self.dry_run {
                writeln!(f, "    it could not be marked and is still tried by readers")?;
            }
        }
        let listed = self.findings.len() as u64;
        let more = (self.damaged.count + self.unreadable.count).saturating_sub(listed);
        if more > 0 {
            writeln!(f, "  and {more} more")?;
        }
        writeln!(f, "in the store                  {}", self.stored)?;
        writeln!(f, "  named                       {}", self.live)?;
        writeln!(f, "  waiting for collection      {}", self.retired)?;
        writeln!(f, "  named by nothing            {}", self.unnamed)?;
        writeln!(f, "took {} ms", self.took_milliseconds)
    }
}
