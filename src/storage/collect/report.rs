//! What a collection did, or would do.

use std::fmt;
use std::ops::AddAssign;

use serde::{Deserialize, Serialize};

/// So many things of so many bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tally {
    /// How many.
    pub count: u64,
    /// Their length together, in bytes; that of the lists of chunk digests counts with the copies.
    pub bytes: u64,
}

impl Tally {
    pub(in crate::storage) fn add(&mut self, count: u64, bytes: u64) {
        self.count += count;
        self.bytes += bytes;
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.add(other.count, other.bytes);
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>9}  {:>16} bytes", self.count, self.bytes)
    }
}

/// What a collection did, or would do.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CollectReport {
    /// Whether nothing was changed.
    pub dry_run: bool,
    /// Sessions that began before this record are over.
    pub watermark: u64,
    /// All copies that there are, or should be.
    pub copies: u64,
    /// Copies that packages or the controller's books name, as found in the store.
    pub live: Tally,
    /// Copies that the catalog names and the store does not have; scrubbing says which.
    pub missing: u64,
    /// Copies that no package names any more and that were not condemned before.
    pub retired: Tally,
    /// Those of them that are condemned now.
    pub condemned: Tally,
    /// Condemned copies that stay for their readers.
    pub waiting: Tally,
    /// Condemned copies that were deleted.
    pub deleted: Tally,
    /// Deleted copies that the catalog forgets.
    pub purged: u64,
    /// Copies that nothing names and nothing can name any more; they were deleted.
    pub orphans: Tally,
    /// Objects of uploads whose time is over; they were deleted.
    pub uploads: Tally,
    /// Objects that nothing names yet and that a publication or an upload may still be working with.
    pub young: Tally,
    /// Objects whose names mean nothing here; they were not touched.
    pub skipped: Tally,
    /// What the next run will delete, because one run has a limit.
    pub postponed: Tally,
    /// The bytes that were freed.
    pub freed: u64,
    /// How many copies an operator must allow to go, where it is more than may go without asking.
    pub needs_allow: Option<u64>,
    /// How long comparing the store with the catalog took, in milliseconds.
    pub mark_milliseconds: u64,
}

impl fmt::Display for CollectReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (condemned, deleted, freed) = if self.dry_run {
            ("would be condemned", "would be deleted", "would be freed")
        } else {
            ("condemned now", "deleted", "freed")
        };
        writeln!(f, "live                          {}", self.live)?;
        writeln!(f, "retired                       {}", self.retired)?;
        writeln!(f, "  {condemned:<28}{}", self.condemned)?;
        writeln!(f, "condemned, wait for readers   {}", self.waiting)?;
        writeln!(f, "condemned, {deleted:<19}{}", self.deleted)?;
        writeln!(f, "named by nothing, {deleted:<12}{}", self.orphans)?;
        writeln!(f, "over uploads, {deleted:<16}{}", self.uploads)?;
        writeln!(f, "not named yet, kept           {}", self.young)?;
        for (what, tally) in [("not ours, kept", self.skipped), ("left for the next run", self.postponed)] {
            if tally.count > 0 {
                writeln!(f, "{what:<30}{tally}")?;
            }
        }
        if self.missing > 0 {
            writeln!(f, "MISSING                       {:>9}  (scrub says which)", self.missing)?;
        }
        writeln!(f, "forgotten by the catalog      {:>9}", self.purged)?;
        if let Some(going) = self.needs_allow {
            writeln!(f, "{going} copies are more than may go without asking; allow exactly {going}")?;
        }
        let Self { freed: bytes, mark_milliseconds: took, watermark, .. } = self;
        writeln!(f, "{freed} {bytes} bytes; marked in {took} ms; watermark {watermark}")
    }
}
