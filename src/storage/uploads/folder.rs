//! What lies in the folder of an upload.

use std::collections::BTreeMap;

use futures::TryStreamExt as _;

use super::{HEADER, PIECE, SMALL_LIMIT, TRIES, UploadError, UploadId, Uploads};
use crate::model::ErrorClass;
use crate::storage::calls::CallError;

/// A listing.
#[derive(Debug, Default)]
pub(super) struct Folder {
    pub(super) has_info: bool,
    pub(super) has_length: bool,
    pub(super) has_outcome: bool,
    /// The lengths of the pieces in bytes, by offset.
    pieces: BTreeMap<u64, u64>,
}

impl Folder {
    /// Takes in an object; what is none of ours is passed over.
    fn add(&mut self, name: &str, size: u64) {
        match name {
            "info" => self.has_info = true,
            "length" => self.has_length = true,
            "outcome" => self.has_outcome = true,
            _ => {
                let offset = name.parse().ok().filter(|offset: &u64| format!("{offset:020}") == name);
                if let (Some(offset), 1..=PIECE) = (offset, size.saturating_sub(HEADER)) {
                    self.pieces.insert(offset, size - HEADER);
                }
            }
        }
    }

    /// The end of the pieces that join up from 0 on.
    pub(super) fn offset(&self) -> u64 {
        let mut at: u64 = 0;
        while let Some(length) = self.pieces.get(&at) {
            at = at.saturating_add(*length);
        }
        at
    }

    /// The length of the piece at an offset.
    pub(super) fn piece(&self, offset: u64) -> Option<u64> {
        self.pieces.get(&offset).copied()
    }

    /// The offsets of all pieces.
    pub(super) fn pieces(&self) -> impl ExactSizeIterator<Item = u64> {
        self.pieces.keys().copied()
    }
}

impl Uploads {
    /// Lists the folder of an upload that is there. A listing may be old: that there is no such upload is said only
    /// when the upload itself says so too.
    pub(super) async fn find(&self, id: UploadId) -> Result<Folder, UploadError> {
        let (mut delays, mut tries) = (self.delays(), 1);
        loop {
            let folder = self.list(id).await?;
            if folder.has_info {
                return Ok(folder);
            }
            let there = self.read_bytes(&id.object("info"), SMALL_LIMIT).await.map_err(UploadError::Read)?;
            if there.is_none() || tries >= TRIES {
                return Err(if there.is_none() { UploadError::Unknown } else { UploadError::Unlisted });
            }
            tries += 1;
            self.storage.calls.clock.sleep(delays.next_delay()).await;
        }
    }

    /// Lists the folder of an upload, whatever is in it.
    pub(super) async fn list(&self, id: UploadId) -> Result<Folder, UploadError> {
        let (mut delays, mut tries) = (self.delays(), 1);
        loop {
            match self.list_once(id).await {
                Err(error) if tries < TRIES && error.class() == ErrorClass::Retry => {
                    tracing::debug!(%id, %error, tries, "trying again");
                    tries += 1;
                    self.storage.calls.clock.sleep(delays.next_delay()).await;
                }
                listed => return listed.map_err(UploadError::Read),
            }
        }
    }

    async fn list_once(&self, id: UploadId) -> Result<Folder, CallError> {
        let (mut folder, prefix) = (Folder::default(), id.folder());
        let mut objects = std::pin::pin!(self.storage.calls.list(&prefix, None));
        while let Some(object) = objects.try_next().await? {
            if let Some(name) = object.key.filename() {
                folder.add(name, object.size);
            }
        }
        Ok(folder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_offset_is_the_end_of_what_joins_up() {
        let mut folder = Folder::default();
        assert_eq!(folder.offset(), 0);
        for (offset, length) in [(0, 10), (10, 5), (20, 5), (15, 1), (7, 3)] {
            folder.add(&format!("{offset:020}"), length + HEADER);
        }
        for (name, size) in [("16", 36), ("00000000000000000016", HEADER), ("info#1", 40), ("x", 40)] {
            folder.add(name, size);
        }
        assert_eq!((folder.offset(), folder.pieces().len()), (16, 5));
        folder.add("00000000000000000016", HEADER + 4);
        assert_eq!(folder.offset(), 25);
    }
}
