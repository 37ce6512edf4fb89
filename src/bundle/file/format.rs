//! The numbers of the zip format that bundles use, and little-endian fields.
//!
//! Source: PKWARE's APPNOTE.TXT 6.3.10, sections 4.3 to 4.5.

/// Signature of a local header.
pub const LOCAL: u32 = 0x0403_4b50;
/// Length of a local header without name and extra field.
pub const LOCAL_LENGTH: u64 = 30;
/// Signature of a central header.
pub const CENTRAL: u32 = 0x0201_4b50;
/// Signature of the end record.
pub const END: u32 = 0x0605_4b50;
/// Length of the end record without its comment.
pub const END_LENGTH: u64 = 22;
/// Signature of the zip64 end record.
pub const END64: u32 = 0x0606_4b50;
/// Length of a zip64 end record without extensible data.
pub const END64_LENGTH: u64 = 56;
/// Signature of the zip64 locator.
pub const LOCATOR: u32 = 0x0706_4b50;
/// Length of the zip64 locator.
pub const LOCATOR_LENGTH: u64 = 20;
/// Signature that may stand before a data descriptor.
pub const DESCRIPTOR: u32 = 0x0807_4b50;

/// Method: the bytes as they are.
pub const STORED: u16 = 0;
/// Method: deflate.
pub const DEFLATED: u16 = 8;

/// Flag: encrypted.
pub const FLAG_ENCRYPTED: u16 = 1;
/// Flag: checksum and sizes stand behind the data, in a data descriptor.
pub const FLAG_DESCRIPTOR: u16 = 1 << 3;
/// Flags: strong encryption, masked headers.
pub const FLAGS_STRONG: u16 = 1 << 6 | 1 << 13;
/// Flags that change nothing for us: how hard the packer tried (1, 2), names are UTF-8 (11).
pub const FLAGS_HARMLESS: u16 = 1 << 1 | 1 << 2 | 1 << 11;

/// Extra field: zip64 sizes and offset.
pub const EXTRA_ZIP64: u16 = 1;
/// Extra fields that give an entry another name, or say how it is encrypted.
pub const EXTRAS_REFUSED: [u16; 4] = [0x7075, 0x9901, 0x0017, 0x6375];

/// What stands in a 32-bit field whose value is in the zip64 field.
pub const FULL: u32 = u32::MAX;

/// 1980-01-01, the first day that MS-DOS knows; every entry that we write has it.
pub const DATE: u16 = 0x0021;
/// Version 4.5 of the format, the first with zip64.
pub const VERSION: u16 = 45;
/// Made on Unix by a packer of [`VERSION`].
pub const MADE_BY: u16 = 3 << 8 | VERSION;
/// A regular file with mode 0644, as Unix packers write it.
pub const REGULAR_FILE: u32 = 0o100_644 << 16;

/// Takes little-endian numbers off the front of some bytes.
pub struct Fields<'a>(pub &'a [u8]);

impl<'a> Fields<'a> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*first)
    }

    /// Two bytes.
    pub fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    /// Four bytes.
    pub fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    /// Eight bytes.
    pub fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// So many bytes.
    pub fn bytes(&mut self, length: usize) -> Option<&'a [u8]> {
        let (first, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(first)
    }
}
