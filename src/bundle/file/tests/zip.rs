//! A zip builder that can lie about everything.

use serde_json::{Value, json};

use super::super::format::{CENTRAL, END, END64, END64_LENGTH, LOCAL, LOCATOR, REGULAR_FILE};
use crate::model::Digest;

pub fn crc(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
}

pub fn deflate(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// What both headers of an entry have.
#[derive(Clone)]
pub struct Head {
    pub name: Vec<u8>,
    pub flags: u16,
    pub method: u16,
    pub crc: u32,
    pub packed: u32,
    pub size: u32,
    pub extra: Vec<u8>,
}

impl Head {
    fn write(&self, out: &mut Vec<u8>) {
        let Self { flags, method, crc, packed, size, .. } = *self;
        for number in [20, flags, method, 0, 0x21] {
            out.extend(number.to_le_bytes());
        }
        for number in [crc, packed, size] {
            out.extend(number.to_le_bytes());
        }
        for length in [self.name.len(), self.extra.len()] {
            out.extend(u16::try_from(length).unwrap().to_le_bytes());
        }
    }
}

#[derive(Clone)]
pub struct Item {
    pub local: Head,
    pub central: Head,
    pub data: Vec<u8>,
    pub descriptor: Vec<u8>,
    /// Bytes before the local header.
    pub before: Vec<u8>,
    pub attributes: u32,
    pub comment: Vec<u8>,
    pub disk: u16,
    /// Where the directory says that the local header is.
    pub offset: Option<u32>,
    /// Whether only the directory has it.
    pub ghost: bool,
}

impl Item {
    pub fn new(name: &str, bytes: &[u8]) -> Self {
        let length = u32::try_from(bytes.len()).unwrap();
        let head = Head {
            name: name.into(),
            flags: 0,
            method: 0,
            crc: crc(bytes),
            packed: length,
            size: length,
            extra: Vec::new(),
        };
        Self {
            local: head.clone(),
            central: head,
            data: bytes.into(),
            descriptor: Vec::new(),
            before: Vec::new(),
            attributes: REGULAR_FILE,
            comment: Vec::new(),
            disk: 0,
            offset: None,
            ghost: false,
        }
    }

    /// Changes both headers.
    pub fn both(&mut self, change: impl Fn(&mut Head)) -> &mut Self {
        change(&mut self.local);
        change(&mut self.central);
        self
    }

    pub fn rename(&mut self, name: &[u8]) {
        self.both(|head| head.name = name.into());
    }

    pub fn deflated(&mut self) -> &mut Self {
        self.data = deflate(&self.data);
        let length = u32::try_from(self.data.len()).unwrap();
        self.both(|head| (head.method, head.packed) = (8, length))
    }

    /// Moves checksum and sizes behind the data.
    pub fn described(&mut self, signed: bool, long: bool) -> &mut Self {
        self.both(|head| head.flags |= 8);
        (self.local.crc, self.local.packed, self.local.size) = (0, 0, 0);
        self.descriptor = if signed { b"PK\x07\x08".to_vec() } else { Vec::new() };
        self.descriptor.extend(self.central.crc.to_le_bytes());
        for size in [self.central.packed, self.central.size] {
            let wide = u64::from(size).to_le_bytes();
            self.descriptor.extend(&wide[..if long { 8 } else { 4 }]);
        }
        self
    }

    /// Puts the sizes into zip64 fields.
    pub fn long(&mut self) -> &mut Self {
        let (size, packed) = (u64::from(self.local.size), u64::from(self.local.packed));
        let extra = zip64(&[size, packed]);
        self.both(|head| (head.packed, head.size, head.extra) = (u32::MAX, u32::MAX, extra.clone()))
    }
}

/// A zip64 extra field.
pub fn zip64(values: &[u64]) -> Vec<u8> {
    let mut field = vec![1, 0, u8::try_from(values.len() * 8).unwrap(), 0];
    field.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    field
}

/// The numbers of the end records.
#[derive(Clone)]
pub struct Ends {
    pub disks: [u16; 2],
    pub counts: [u16; 2],
    pub size: u32,
    pub offset: u32,
    /// Length, counts, size, offset of the zip64 record, its place, and the number of disks.
    pub long: Option<[u64; 7]>,
    pub locator: bool,
}

#[derive(Clone, Default)]
pub struct Zip {
    pub items: Vec<Item>,
    pub before_directory: Vec<u8>,
    pub behind_directory: Vec<u8>,
    pub comment: Vec<u8>,
    pub tail: Vec<u8>,
    /// Whether to write zip64 end records.
    pub long: bool,
}

impl Zip {
    pub fn item(&mut self, name: &str) -> &mut Item {
        self.items.iter_mut().find(|item| item.central.name == name.as_bytes()).unwrap()
    }

    /// The first blob.
    pub fn blob(&mut self) -> &mut Item {
        self.items.iter_mut().find(|item| item.central.name.starts_with(b"blobs/")).unwrap()
    }

    pub fn build(&self) -> Vec<u8> {
        self.build_with(|_| {})
    }

    pub fn build_with(&self, change: impl Fn(&mut Ends)) -> Vec<u8> {
        let (mut out, mut directory) = (Vec::new(), Vec::new());
        for item in &self.items {
            out.extend(&item.before);
            let offset = item.offset.unwrap_or(u32::try_from(out.len()).unwrap());
            if !item.ghost {
                out.extend(LOCAL.to_le_bytes());
                item.local.write(&mut out);
                for bytes in [&item.local.name, &item.local.extra, &item.data, &item.descriptor] {
                    out.extend(bytes);
                }
            }
            directory.extend(CENTRAL.to_le_bytes());
            directory.extend([0x14, 3]);
            item.central.write(&mut directory);
            directory.extend(u16::try_from(item.comment.len()).unwrap().to_le_bytes());
            directory.extend(item.disk.to_le_bytes());
            directory.extend([0, 0]);
            directory.extend(item.attributes.to_le_bytes());
            directory.extend(offset.to_le_bytes());
            for bytes in [&item.central.name, &item.central.extra, &item.comment] {
                directory.extend(bytes);
            }
        }
        out.extend(&self.before_directory);
        let (count, offset) = (u16::try_from(self.items.len()).unwrap(), out.len() as u64);
        out.extend(&directory);
        let size = directory.len() as u64;
        out.extend(&self.behind_directory);
        let long = [END64_LENGTH - 12, count.into(), count.into(), size, offset, out.len() as u64, 1];
        let mut ends = Ends {
            disks: [0; 2],
            counts: [count; 2],
            size: u32::try_from(size).unwrap(),
            offset: u32::try_from(offset).unwrap(),
            long: self.long.then_some(long),
            locator: self.long,
        };
        change(&mut ends);
        self.write_ends(&ends, &mut out);
        out
    }

    fn write_ends(&self, ends: &Ends, out: &mut Vec<u8>) {
        if let Some([length, here, count, size, offset, at, disks]) = ends.long {
            out.extend(END64.to_le_bytes());
            out.extend(length.to_le_bytes());
            out.extend([45, 0, 45, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
            out.extend([here, count, size, offset].iter().flat_map(|number| number.to_le_bytes()));
            if ends.locator {
                out.extend(LOCATOR.to_le_bytes());
                out.extend([0; 4]);
                out.extend(at.to_le_bytes());
                out.extend(u32::try_from(disks).unwrap().to_le_bytes());
            }
        }
        out.extend(END.to_le_bytes());
        out.extend(ends.disks.iter().chain(&ends.counts).flat_map(|number| number.to_le_bytes()));
        out.extend([ends.size, ends.offset].iter().flat_map(|number| number.to_le_bytes()));
        out.extend(u16::try_from(self.comment.len()).unwrap().to_le_bytes());
        out.extend(&self.comment);
        out.extend(&self.tail);
    }
}

/// The files of a bundle, to be changed before they are packed.
#[derive(Clone)]
pub struct Parts {
    pub metadata: Value,
    pub manifest: Value,
    pub index: Value,
    pub layout: Value,
    pub blobs: Vec<Vec<u8>>,
}

impl Parts {
    /// A good package: an asset, an icon, and a binary with the bytes of the asset.
    pub fn good() -> Self {
        let (script, icon) = (b"#!/bin/sh\n".to_vec(), (0..=255).cycle().take(5_000).collect::<Vec<u8>>());
        let (run, small) = (Digest::of(&script), Digest::of(&icon));
        let member = |role: &str, name: &str, digest: Digest, size: usize, media_type: &str| json!({"role": role, "name": name, "digest": digest, "size": size, "mediaType": media_type});
        let hash = json!([{"algo": "sha256", "value": run.hex()}]);
        let binary = json!({"url": format!("{run}/hello"), "kind": "executable", "contentHash": hash});
        let metadata = json!({
            "packagingVersion": "4.0", "name": "hello", "version": "0.1.0", "maintainer": "a@b.example",
            "description": "x", "tags": [],
            "marathon": {"v2AppMustacheTemplate": "e30="},
            "config": {"type": "object", "properties": {"n": {"type": "integer", "default": 1}}},
            "resource": {
                "assets": {"uris": {"script": format!("{run}/run.sh")}},
                "images": {"icon-small": format!("{small}/icon.png")},
                "cli": {"binaries": {"linux": {"x86-64": binary}}},
            },
        });
        let members = [
            member("asset/script", "run.sh", run, script.len(), "application/x-sh"),
            member("cli/linux/x86-64", "hello", run, script.len(), "application/octet-stream"),
            member("image/icon-small", "icon.png", small, icon.len(), "image/png"),
        ];
        Self {
            metadata,
            manifest: json!({"formatVersion": 1, "members": members}),
            index: json!({"schemaVersion": 2, "manifests": []}),
            layout: json!({"imageLayoutVersion": "1.0.0"}),
            blobs: vec![script, icon],
        }
    }

    pub fn zip(&self) -> Zip {
        let mut items = vec![
            Item::new("metadata.json", self.metadata.to_string().as_bytes()),
            Item::new("manifest.json", self.manifest.to_string().as_bytes()),
        ];
        for blob in &self.blobs {
            items.push(Item::new(&format!("blobs/sha256/{}", Digest::of(blob).hex()), blob));
        }
        items.push(Item::new("index.json", self.index.to_string().as_bytes()));
        items.push(Item::new("oci-layout", self.layout.to_string().as_bytes()));
        Zip { items, ..Zip::default() }
    }
}
