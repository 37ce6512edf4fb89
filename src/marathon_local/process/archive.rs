//! Unpacks fetched archives into a sandbox. Nothing in an archive is trusted.
//!
//! Nothing is written outside the sandbox: names must be plain relative paths, no entry is written through
//! a link, and links may only point to places inside. For a link that means: some `..` first, no more than
//! it lies deep, and plain segments after them. Since no entry lies below a link, leading `..` mean what
//! they seem to mean, and each plain segment that is a link itself was held to the same rule.

use std::cell::Cell;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::{OpenOptionsExt as _, symlink};
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;

use tokio_util::sync::CancellationToken;

use super::files;
use super::room::Room;

/// How many bytes one archive may become where the disk has room for them.
pub const SIZE_LIMIT: u64 = 64 << 30;

/// How many bytes of the disk are counted for an entry without content.
const ENTRY_SIZE: u64 = 4 << 10;

/// How many entries one archive may hold.
const ENTRY_LIMIT: usize = 500_000;

/// How long names and other extensions before an entry of a tar archive may be, in bytes.
const HEADS_LIMIT: u64 = 1 << 20;

/// How much memory unpacking of xz may take, in KiB.
const XZ_MEMORY: u32 = 256 * 1024;

/// What is unpacked, told by the file's name as the Mesos fetcher does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `.tar`
    Tar,
    /// `.tar.gz`, `.tgz`
    TarGz,
    /// `.tar.bz2`, `.tbz2`
    TarBz2,
    /// `.tar.xz`, `.txz`
    TarXz,
    /// `.gz`
    Gz,
    /// `.zip`
    Zip,
}

impl Kind {
    /// The kind of a file; none for what is left as it is.
    pub fn of(path: &Path) -> Option<Self> {
        const KINDS: [(&str, Kind); 9] = [
            (".tar", Kind::Tar),
            (".tar.gz", Kind::TarGz),
            (".tgz", Kind::TarGz),
            (".tar.bz2", Kind::TarBz2),
            (".tbz2", Kind::TarBz2),
            (".tar.xz", Kind::TarXz),
            (".txz", Kind::TarXz),
            (".gz", Kind::Gz),
            (".zip", Kind::Zip),
        ];
        let name = path.file_name()?.to_str()?;
        KINDS.iter().find(|(end, _)| name.ends_with(end)).map(|(_, kind)| *kind)
    }
}

/// Unpacks an archive into a directory, as far as there is room. Blocks.
///
/// # Errors
/// What is wrong, naming the entry.
pub fn extract(
    kind: Kind,
    archive: &Path,
    target: &Path,
    room: Room,
    stop: &CancellationToken,
) -> Result<(), String> {
    let open = || files::open(archive).map(io::BufReader::new).map_err(|e| e.to_string());
    let mut target = Target { root: target.to_owned(), room, entries: 0, stop: stop.clone() };
    match kind {
        Kind::Tar => untar(open()?, &mut target),
        Kind::TarGz => untar(flate2::read::MultiGzDecoder::new(open()?), &mut target),
        Kind::TarBz2 => untar(bzip2::read::MultiBzDecoder::new(open()?), &mut target),
        Kind::TarXz => untar(lzma_rust2::XzReader::new_mem_limit(open()?, true, XZ_MEMORY), &mut target),
        Kind::Gz => {
            let name = archive.file_stem().map(PathBuf::from).unwrap_or_default();
            target.file(&name, 0o644, &mut flate2::read::MultiGzDecoder::new(open()?))
        }
        Kind::Zip => unzip(open()?, &mut target),
    }
}

fn untar(reader: impl Read, target: &mut Target) -> Result<(), String> {
    let allowance = Rc::new(Cell::new(HEADS_LIMIT));
    let mut archive = tar::Archive::new(Metered { reader, allowance: Rc::clone(&allowance) });
    let mut entries = archive.entries().map_err(|e| e.to_string())?;
    loop {
        // What comes before an entry's content is taken into memory.
        allowance.set(HEADS_LIMIT);
        let Some(entry) = entries.next() else { return Ok(()) };
        let mut entry = entry.map_err(|e| format!("the archive is broken: {e}"))?;
        allowance.set(u64::MAX);
        let path = entry.path().map_err(|e| e.to_string())?.into_owned();
        let mode = entry.header().mode().unwrap_or(0o644);
        let link = entry.link_name().map_err(|e| e.to_string())?.map(std::borrow::Cow::into_owned);
        match (entry.header().entry_type(), link) {
            (tar::EntryType::Regular | tar::EntryType::Continuous | tar::EntryType::GNUSparse, _) => {
                target.file(&path, mode, &mut entry)?;
            }
            (tar::EntryType::Directory, _) => target.directory(&path)?,
            (tar::EntryType::Symlink, Some(link)) => target.symlink(&path, &link)?,
            (tar::EntryType::Link, Some(link)) => target.hard_link(&path, &link)?,
            (tar::EntryType::XGlobalHeader, _) => {}
            _ => return Err(format!("{}: neither file, directory nor link", path.display())),
        }
    }
}

/// A reader of which no more is read than is allowed at the time.
struct Metered<R> {
    reader: R,
    allowance: Rc<Cell<u64>>,
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.allowance.get();
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        if most == 0 && !buffer.is_empty() {
            return Err(io::Error::other(format!("the head of an entry has more than {HEADS_LIMIT} bytes")));
        }
        let length = self.reader.read(buffer.get_mut(..most).unwrap_or_default())?;
        self.allowance.set(left - length as u64);
        Ok(length)
    }
}

fn unzip(reader: impl Read + io::Seek, target: &mut Target) -> Result<(), String> {
    let mut archive = zip::ZipArchive::new(reader).map_err(|e| e.to_string())?;
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).map_err(|e| e.to_string())?;
        let path = PathBuf::from(entry.name().map_err(|e| e.to_string())?.as_ref());
        let mode = entry.unix_mode().unwrap_or(0o644);
        if entry.is_dir() {
            target.directory(&path)?;
        } else if entry.is_symlink() {
            let mut link = String::new();
            let read = entry.by_ref().take(4096).read_to_string(&mut link);
            read.map_err(|e| format!("{}: {e}", path.display()))?;
            target.symlink(&path, Path::new(&link))?;
        } else {
            target.file(&path, mode, &mut entry)?;
        }
    }
    Ok(())
}

/// Where an archive goes, and how much more it may write.
struct Target {
    root: PathBuf,
    room: Room,
    entries: usize,
    stop: CancellationToken,
}

impl Target {
    fn file(&mut self, path: &Path, mode: u32, content: &mut dyn Read) -> Result<(), String> {
        let place = self.place(path)?;
        let failed = |e: io::Error| format!("{}: {e}", path.display());
        let mut options = File::options();
        options.write(true).create_new(true).mode(mode & 0o777 | 0o200);
        let mut file = options.open(place).map_err(failed)?;
        let mut piece = vec![0; 128 * 1024];
        loop {
            if self.stop.is_cancelled() {
                return Err("given up".to_owned());
            }
            let length = content.read(&mut piece).map_err(failed)?;
            let Some(bytes) = piece.get(..length).filter(|b| !b.is_empty()) else { return Ok(()) };
            self.take(length as u64, path)?;
            io::Write::write_all(&mut file, bytes).map_err(failed)?;
        }
    }

    fn directory(&mut self, path: &Path) -> Result<(), String> {
        self.count(path)?;
        let mut at = self.root.clone();
        for segment in segments(path)? {
            at.push(segment);
            make_directory(&at).map_err(|e| format!("{}: {e}", path.display()))?;
        }
        Ok(())
    }

    fn symlink(&mut self, path: &Path, to: &Path) -> Result<(), String> {
        let place = self.place(path)?;
        let depth = segments(path)?.len().saturating_sub(1);
        if !stays_inside(to, depth) {
            return Err(format!("{}: the link leads outside, to {}", path.display(), to.display()));
        }
        symlink(to, place).map_err(|e| format!("{}: {e}", path.display()))
    }

    fn hard_link(&mut self, path: &Path, to: &Path) -> Result<(), String> {
        let place = self.place(path)?;
        let mut target = self.root.clone();
        let mut plain = true;
        for segment in segments(to)? {
            target.push(segment);
            plain = plain && fs::symlink_metadata(&target).is_ok_and(|m| !m.is_symlink());
        }
        if !plain {
            return Err(format!("{}: the link does not lead to an unpacked file", path.display()));
        }
        fs::hard_link(target, place).map_err(|e| format!("{}: {e}", path.display()))
    }

    /// The place of an entry: its directories made, an older entry of that name removed.
    fn place(&mut self, path: &Path) -> Result<PathBuf, String> {
        let segments = segments(path)?;
        let Some((name, parents)) = segments.split_last() else {
            return Err(format!("{:?}: no name", path.display().to_string()));
        };
        self.directory(&parents.iter().collect::<PathBuf>())?;
        let mut place = self.root.clone();
        place.extend(parents);
        place.push(name);
        match fs::symlink_metadata(&place) {
            Ok(old) if old.is_dir() => Err(format!("{}: a directory stands in its place", path.display())),
            Ok(_) => fs::remove_file(&place).map(|()| place).map_err(|e| format!("{}: {e}", path.display())),
            Err(_) => Ok(place),
        }
    }

    fn take(&mut self, bytes: u64, path: &Path) -> Result<(), String> {
        let taken = self.room.take(bytes);
        taken.map_err(|more| format!("{}: unpacked, the archive has {more}", path.display()))
    }

    fn count(&mut self, path: &Path) -> Result<(), String> {
        self.entries += 1;
        self.take(ENTRY_SIZE, path)?;
        if self.stop.is_cancelled() {
            return Err("given up".to_owned());
        }
        if self.entries > ENTRY_LIMIT {
            return Err(format!("{}: the archive has more than {ENTRY_LIMIT} entries", path.display()));
        }
        Ok(())
    }
}

/// A directory that is there afterwards and is no link.
fn make_directory(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => Ok(()),
        Ok(_) => Err(io::Error::other("a file or link stands where a directory is needed")),
        Err(_) => fs::create_dir(path),
    }
}

/// The segments of an entry's name.
fn segments(path: &Path) -> Result<Vec<PathBuf>, String> {
    let kept = path.components().filter(|c| *c != Component::CurDir);
    kept.map(|c| match c {
        Component::Normal(name) => Ok(PathBuf::from(name)),
        _ => Err(format!("{}: the path leads outside", path.display())),
    })
    .collect()
}

/// Whether a link that lies that deep points to a place inside, by the rule in the module's head.
fn stays_inside(to: &Path, depth: usize) -> bool {
    let mut plain_seen = false;
    let mut up = 0;
    for component in to.components() {
        match component {
            Component::ParentDir if !plain_seen => up += 1,
            Component::Normal(_) => plain_seen = true,
            Component::CurDir => {}
            _ => return false,
        }
    }
    up <= depth && to.components().next().is_some()
}

#[cfg(test)]
mod tests;
