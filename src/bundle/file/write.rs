//! Writing a bundle: the same package gives the same bytes.
//!
//! Files are stored, not deflated: packages hold archives and images, which do not become smaller, and the
//! output of a deflater changes with its version. Memory stays bounded by one piece.

use std::collections::BTreeMap;
use std::io::{self, SeekFrom};

use futures::future::BoxFuture;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncSeek, AsyncSeekExt as _, AsyncWrite, AsyncWriteExt as _};

use super::content::{FORMAT_VERSION, LAYOUT_VERSION};
use super::format::{
    CENTRAL, DATE, END, END64, END64_LENGTH, EXTRA_ZIP64, FULL, LOCAL, LOCATOR, MADE_BY, REGULAR_FILE,
    STORED, VERSION,
};
use super::names::{BLOBS, INDEX, LAYOUT, MANIFEST, METADATA};
use crate::bundle::MemberReader;
use crate::model::{Digest, DigestHasher, ErrorClass, Member, PackageContent};

/// How much is read at a time, in bytes.
const PIECE: usize = 256 * 1024;

/// From which number on a 32-bit field is full.
const FULL_FROM: u64 = FULL as u64;

/// The version of the format that plain entries need: 2.0.
const PLAIN_VERSION: u16 = 20;

/// Where the checksum stands in a local header.
const CRC_OFFSET: u64 = 14;

/// Why a bundle was not written.
#[derive(Debug, thiserror::Error)]
pub enum WriteBundleError {
    /// A member could not be opened or read.
    #[error("cannot read {role}")]
    Member {
        /// Which member.
        role: String,
        /// Why not.
        source: io::Error,
    },
    /// A member's bytes are not those that the package names.
    #[error("the bytes of {role} are not those that were described; describe the package again")]
    Changed {
        /// Which member.
        role: String,
    },
    /// The bundle could not be written.
    #[error("cannot write the bundle")]
    Write(#[from] io::Error),
}

impl WriteBundleError {
    /// What to do about it.
    #[must_use]
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Member { .. } | Self::Write(_) => ErrorClass::Retry,
            Self::Changed { .. } => ErrorClass::Wait,
        }
    }

    /// A stable word for metric labels.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::Member { .. } => "MemberUnreadable",
            Self::Changed { .. } => "MemberChanged",
            Self::Write(_) => "BundleNotWritten",
        }
    }
}

/// Writes a package as a bundle into an empty file; returns the bundle's length in bytes.
///
/// `open` gives the bytes of a member, once for each digest. The release version is not written: who takes in
/// a bundle decides it.
///
/// # Errors
/// [`WriteBundleError`]; what was written until then is no bundle.
pub async fn write<'a, F, W>(content: &PackageContent, open: F, out: &mut W) -> Result<u64, WriteBundleError>
where
    F: Fn(&Member) -> BoxFuture<'a, io::Result<MemberReader>> + Sync,
    W: AsyncWrite + AsyncSeek + Send + Unpin,
{
    write_with(content, open, out, FULL_FROM).await
}

/// Writes with zip64 fields from this number on.
pub(super) async fn write_with<'a, F, W>(
    content: &PackageContent,
    open: F,
    out: &mut W,
    full_from: u64,
) -> Result<u64, WriteBundleError>
where
    F: Fn(&Member) -> BoxFuture<'a, io::Result<MemberReader>> + Sync,
    W: AsyncWrite + AsyncSeek + Send + Unpin,
{
    let mut writer = Writer { out, full_from, at: 0, directory: Vec::new(), count: 0 };
    let mut members: Vec<_> = content.members.iter().collect();
    members.sort();
    let manifest = json!({"formatVersion": FORMAT_VERSION, "members": members});
    writer.document(METADATA, &format!("{:#}\n", content.metadata)).await?;
    writer.document(MANIFEST, &format!("{manifest:#}\n")).await?;
    let blobs: BTreeMap<Digest, &Member> = members.into_iter().map(|m| (m.digest, m)).collect();
    for member in blobs.into_values() {
        let failed = |source| WriteBundleError::Member { role: member.role.clone(), source };
        writer.member(member, open(member).await.map_err(failed)?).await?;
    }
    let index = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [],
    });
    writer.document(INDEX, &format!("{index:#}\n")).await?;
    writer.document(LAYOUT, &format!("{:#}\n", json!({"imageLayoutVersion": LAYOUT_VERSION}))).await?;
    Ok(writer.finish().await?)
}

/// A zip that is being written.
struct Writer<'w, W> {
    out: &'w mut W,
    full_from: u64,
    /// How many bytes were written.
    at: u64,
    /// The directory so far.
    directory: Vec<u8>,
    count: u64,
}

impl<W: AsyncWrite + AsyncSeek + Send + Unpin> Writer<'_, W> {
    async fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.at += bytes.len() as u64;
        self.out.write_all(bytes).await
    }

    /// A short file whose bytes are at hand.
    async fn document(&mut self, name: &str, text: &str) -> io::Result<()> {
        let mut crc = flate2::Crc::new();
        crc.update(text.as_bytes());
        let (header, size) = (self.at, text.len() as u64);
        self.bytes(&local_header(name, crc.sum(), size, self.is_full(size))).await?;
        self.bytes(text.as_bytes()).await?;
        self.list(name, crc.sum(), size, header);
        Ok(())
    }

    /// A member, whose checksum is known only behind its last byte and then written into its header.
    async fn member(&mut self, member: &Member, reader: MemberReader) -> Result<(), WriteBundleError> {
        let name = format!("{BLOBS}{}", member.digest.hex());
        let header = self.at;
        self.bytes(&local_header(&name, 0, member.size, self.is_full(member.size))).await?;
        let crc = self.copy(member, reader).await?;
        self.out.seek(SeekFrom::Start(header + CRC_OFFSET)).await?;
        self.out.write_all(&crc.to_le_bytes()).await?;
        self.out.seek(SeekFrom::Start(self.at)).await?;
        self.list(&name, crc, member.size, header);
        Ok(())
    }

    /// Copies the bytes, checks digest and length on the way, and returns the checksum.
    async fn copy(&mut self, member: &Member, mut reader: MemberReader) -> Result<u32, WriteBundleError> {
        let failed = |source| WriteBundleError::Member { role: member.role.clone(), source };
        let changed = || WriteBundleError::Changed { role: member.role.clone() };
        let (mut crc, mut hasher) = (flate2::Crc::new(), DigestHasher::default());
        let mut left = member.size;
        let mut piece = vec![0; PIECE];
        loop {
            let length = reader.read(&mut piece).await.map_err(failed)?;
            let Some(bytes) = piece.get(..length).filter(|bytes| !bytes.is_empty()) else { break };
            left = left.checked_sub(length as u64).ok_or_else(changed)?;
            crc.update(bytes);
            hasher.update(bytes);
            self.bytes(bytes).await?;
        }
        if left == 0 && hasher.finish() == member.digest { Ok(crc.sum()) } else { Err(changed()) }
    }

    fn is_full(&self, number: u64) -> bool {
        number >= self.full_from
    }

    /// The number for a 32-bit field.
    fn short(&self, number: u64) -> u32 {
        if self.is_full(number) { FULL } else { u32::try_from(number).unwrap_or(FULL) }
    }

    /// Adds an entry to the directory.
    fn list(&mut self, name: &str, crc: u32, size: u64, header: u64) {
        let mut extra = Vec::new();
        if self.is_full(size) {
            extra.extend([size, size].map(u64::to_le_bytes).concat());
        }
        if self.is_full(header) {
            extra.extend(header.to_le_bytes());
        }
        let extra = zip64_field(&extra);
        let (size, header) = (self.short(size), self.short(header));
        let version = if extra.is_empty() { PLAIN_VERSION } else { VERSION };
        let mut list = Fields(&mut self.directory);
        list.u32(CENTRAL).u16(MADE_BY).u16(version).u16(0).u16(STORED).u16(0).u16(DATE);
        list.u32(crc).u32(size).u32(size).length(name.as_bytes()).length(&extra);
        list.u16(0).u16(0).u16(0).u32(REGULAR_FILE).u32(header);
        self.directory.extend(name.as_bytes());
        self.directory.extend(extra);
        self.count += 1;
    }

    /// Writes the directory and the end records; returns the length of the whole.
    async fn finish(mut self) -> io::Result<u64> {
        let (start, directory) = (self.at, std::mem::take(&mut self.directory));
        let (size, count) = (directory.len() as u64, self.count);
        self.bytes(&directory).await?;
        let mut end = Vec::new();
        if self.is_full(start) || self.is_full(size) || count >= u64::from(u16::MAX) {
            let at = self.at;
            let mut long = Fields(&mut end);
            long.u32(END64).u64(END64_LENGTH - 12).u16(MADE_BY).u16(VERSION).u32(0).u32(0);
            long.u64(count).u64(count).u64(size).u64(start);
            long.u32(LOCATOR).u32(0).u64(at).u32(1);
        }
        let short_count = u16::try_from(count).unwrap_or(u16::MAX);
        let (size, start) = (self.short(size), self.short(start));
        Fields(&mut end).u32(END).u16(0).u16(0).u16(short_count).u16(short_count);
        Fields(&mut end).u32(size).u32(start).u16(0);
        self.bytes(&end).await?;
        self.out.flush().await?;
        Ok(self.at)
    }
}

fn local_header(name: &str, crc: u32, size: u64, long: bool) -> Vec<u8> {
    let extra = if long { zip64_field(&[size, size].map(u64::to_le_bytes).concat()) } else { Vec::new() };
    let short = if long { FULL } else { u32::try_from(size).unwrap_or(FULL) };
    let version = if long { VERSION } else { PLAIN_VERSION };
    let mut header = Vec::new();
    let mut fields = Fields(&mut header);
    fields.u32(LOCAL).u16(version).u16(0).u16(STORED).u16(0).u16(DATE);
    fields.u32(crc).u32(short).u32(short).length(name.as_bytes()).length(&extra);
    header.extend(name.as_bytes());
    header.extend(extra);
    header
}

/// The zip64 field with these values; nothing where there are none.
fn zip64_field(values: &[u8]) -> Vec<u8> {
    let mut field = Vec::new();
    if !values.is_empty() {
        Fields(&mut field).u16(EXTRA_ZIP64).length(values);
        field.extend(values);
    }
    field
}

/// Puts little-endian numbers behind some bytes.
struct Fields<'a>(&'a mut Vec<u8>);

impl Fields<'_> {
    fn u16(&mut self, number: u16) -> &mut Self {
        self.0.extend(number.to_le_bytes());
        self
    }

    fn u32(&mut self, number: u32) -> &mut Self {
        self.0.extend(number.to_le_bytes());
        self
    }

    fn u64(&mut self, number: u64) -> &mut Self {
        self.0.extend(number.to_le_bytes());
        self
    }

    /// The length of a name or an extra field; all of ours are short.
    fn length(&mut self, bytes: &[u8]) -> &mut Self {
        self.u16(u16::try_from(bytes.len()).unwrap_or(u16::MAX))
    }
}
