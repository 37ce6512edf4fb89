//! Where the bytes of a bundle go while they come in: its structure into the spool; long members, where the storage is
//! a disk of this machine, at once to where they stay.
//!
//! So most bytes are written once and read never. A member that arrives is not believed to be one: the bundle is
//! judged as a whole afterwards, on a spooled file that has a hole where the member was, and its bytes become an
//! object only when that was done and the digest fits.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::IntakeError;
use crate::bundle::file::{Arrival, Part};
use crate::model::Digest;
use crate::storage::Storage;
use crate::storage::blobs::Arriving;
use crate::storage::spool::SpoolFile;

/// The shortest member that is worth a place of its own, in bytes. Tests use short ones.
const SHORTEST: u64 = if cfg!(test) { 4096 } else { 1024 * 1024 };

/// How many members of one bundle are kept apart: each keeps files open until the bundle is published.
const MOST: usize = 8;

/// A bundle that is coming in.
pub(super) struct Gathering<'a> {
    storage: &'a Storage,
    file: SpoolFile,
    arrival: Arrival,
    /// The longest member that can be in it, in bytes.
    longest: u64,
    /// The last record when this began.
    start: u64,
    seen: BTreeSet<Digest>,
    current: Option<Arriving>,
    arrived: Vec<Arriving>,
}

impl<'a> Gathering<'a> {
    /// Begins with nothing of a bundle that has no more than `longest` bytes.
    pub(super) fn new(storage: &'a Storage, file: SpoolFile, longest: u64) -> Self {
        let (arrival, start) = (Arrival::default(), storage.catalog.seq());
        let (seen, arrived) = (BTreeSet::new(), Vec::new());
        Self { storage, file, arrival, longest, start, seen, current: None, arrived }
    }

    /// Adds what came.
    pub(super) async fn write(&mut self, mut piece: Bytes) -> Result<(), IntakeError> {
        while let Some(part) = self.arrival.next(&mut piece) {
            match (part, &mut self.current) {
                (Part::Structure(bytes), _) | (Part::Member(bytes), None) => self.file.write(bytes).await?,
                (Part::Begins(digest, size), _) => self.begin(digest, size).await?,
                (Part::Member(bytes), Some(current)) => {
                    current.write(bytes).await?;
                }
                (Part::Ends, _) => self.arrived.extend(self.current.take()),
            }
        }
        Ok(())
    }

    /// The spooled file, and what is not in it.
    pub(super) fn finish(self) -> (SpoolFile, Vec<Arriving>) {
        // A member that is cut off leaves a hole all the same, and the bundle will be refused for it.
        (self.file, self.arrived)
    }

    async fn begin(&mut self, digest: Digest, size: u64) -> Result<(), IntakeError> {
        // A digest that stands twice is for the judge of the whole, and so is a length that cannot be true.
        let fits = (SHORTEST..=self.longest).contains(&size);
        let fits = fits && self.arrived.len() < MOST && self.seen.insert(digest);
        if !fits || self.storage.catalog.state().has(&digest) {
            return Ok(());
        }
        self.current = self.storage.blobs.arrive(digest, size, self.start).await?;
        if self.current.is_some() {
            self.file.skip(size).await?;
        }
        Ok(())
    }
}
