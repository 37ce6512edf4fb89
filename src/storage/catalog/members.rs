//! The files of a package version, packed: a catalog holds those of ten thousand versions, and reads them all at a
//! start.

use std::fmt;

use crate::model::{Digest, Member};

/// The files of a package version, in their order.
///
/// Of each there are the digest, the size, and the texts behind their lengths, numbers having seven bits to a byte.
#[derive(Clone, PartialEq, Eq)]
pub struct Members(Box<[u8]>);

/// A [`Member`] that lies in [`Members`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemberRef<'a> {
    /// See [`Member::role`].
    pub role: &'a str,
    /// See [`Member::name`].
    pub name: &'a str,
    /// See [`Member::digest`].
    pub digest: Digest,
    /// See [`Member::size`].
    pub size: u64,
    /// See [`Member::media_type`].
    pub media_type: &'a str,
}

impl Members {
    /// Packs the files of a package version.
    pub(super) fn pack(members: &[Member]) -> Self {
        let mut bytes = Vec::with_capacity(96 * members.len());
        for Member { role, name, digest, size, media_type } in members {
            bytes.extend_from_slice(digest.as_bytes());
            put_number(&mut bytes, *size);
            for text in [role, name, media_type] {
                put_number(&mut bytes, text.len() as u64);
                bytes.extend_from_slice(text.as_bytes());
            }
        }
        Self(bytes.into())
    }

    /// What [`Members::as_bytes`] gave; none where the bytes are anything else.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes;
        while !rest.is_empty() {
            rest = take(rest)?.1;
        }
        Some(Self(bytes.into()))
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The files.
    pub fn iter(&self) -> impl Iterator<Item = MemberRef<'_>> {
        let mut rest = &*self.0;
        std::iter::from_fn(move || {
            let (member, after) = take(rest)?;
            rest = after;
            Some(member)
        })
    }

    /// The files, each for itself.
    #[must_use]
    pub fn unpack(&self) -> Vec<Member> {
        self.iter().map(MemberRef::to_member).collect()
    }
}

impl fmt::Debug for Members {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl MemberRef<'_> {
    /// The same, for itself.
    #[must_use]
    pub fn to_member(self) -> Member {
        let Self { role, name, digest, size, media_type } = self;
        Member {
            role: role.to_owned(),
            name: name.to_owned(),
            digest,
            size,
            media_type: media_type.to_owned(),
        }
    }
}

/// The first of some packed files, and those after it; none where there is no more.
fn take(bytes: &[u8]) -> Option<(MemberRef<'_>, &[u8])> {
    let (digest, rest) = bytes.split_first_chunk()?;
    let (size, rest) = take_number(rest)?;
    let (role, rest) = take_text(rest)?;
    let (name, rest) = take_text(rest)?;
    let (media_type, rest) = take_text(rest)?;
    Some((MemberRef { role, name, digest: Digest::from_bytes(*digest), size, media_type }, rest))
}

fn take_text(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let (length, rest) = take_number(bytes)?;
    let (text, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
    Some((std::str::from_utf8(text).ok()?, rest))
}

fn put_number(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    bytes.push(number.to_le_bytes()[0]);
}

fn take_number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut number = 0;
    for (at, byte) in bytes.iter().enumerate() {
        let bits = u64::from(byte & 0x7f);
        let shifted = bits.checked_shl(7 * u32::try_from(at).ok()?)?;
        if shifted >> (7 * at) != bits {
            return None;
        }
        number |= shifted;
        if byte & 0x80 == 0 {
            return Some((number, bytes.get(at + 1..)?));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(n: u64) -> Member {
        Member {
            role: format!("asset/{n}"),
            name: "ä".repeat(usize::try_from(n).unwrap()),
            digest: Digest::of(&n.to_le_bytes()),
            size: u64::MAX / (n + 1),
            media_type: "text/plain".to_owned(),
        }
    }

    #[test]
    fn what_was_packed_comes_out_again() {
        for count in [0, 1, 7] {
            let members: Vec<_> = (0..count).map(member).collect();
            let packed = Members::pack(&members);
            assert_eq!(packed.unpack(), members);
            assert_eq!(Members::from_bytes(packed.as_bytes()), Some(packed));
        }
    }

    #[test]
    fn what_was_cut_off_or_altered_is_refused() {
        let packed = Members::pack(&[member(0), member(1)]);
        let first = Members::pack(&[member(0)]).as_bytes().len();
        for length in (1..packed.as_bytes().len()).filter(|length| *length != first) {
            assert_eq!(Members::from_bytes(&packed.as_bytes()[..length]), None, "{length}");
        }
        let size_of_first = 32;
        let role_of_first = size_of_first + 11;
        for (at, byte) in [(size_of_first + 9, 2), (role_of_first, 0xff)] {
            let mut altered = packed.as_bytes().to_vec();
            altered[at] = byte;
            assert_eq!(Members::from_bytes(&altered), None, "{at}");
        }
    }
}
