//! Opening files under names that a definition gives, without ever waiting for somebody else.
//!
//! To open a named pipe waits for whoever opens its other end, and to read from a device may wait for ever. A thread that
//! waits there cannot be called back. So only regular files are opened, and in a way that would not wait should one be
//! replaced between the look and the opening.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rustix::fs::OFlags;

/// Opens a regular file to read it.
///
/// # Errors
/// When it cannot be opened or is anything else.
pub fn open(path: &Path) -> io::Result<File> {
    // Opening a device alone may do something.
    if fs::metadata(path)?.is_file() { opened(File::options().read(true), path) } else { Err(irregular()) }
}

/// Opens a regular file to write it anew. It is made when it is not there.
///
/// # Errors
/// When it cannot be made or opened, or something else is there.
pub fn create(path: &Path) -> io::Result<File> {
    if fs::metadata(path).is_ok_and(|found| !found.is_file()) {
        return Err(irregular());
    }
    opened(File::options().write(true).create(true).truncate(true), path)
}

fn opened(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    let file = options.custom_flags(OFlags::NONBLOCK.bits().cast_signed()).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(irregular()) }
}

fn irregular() -> io::Error {
    io::Error::other("it is no regular file")
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn only_regular_files_are_opened_and_nobody_waits_for_others() {
        let folder = tempfile::tempdir().unwrap();
        let (pipe, file) = (folder.path().join("pipe"), folder.path().join("file"));
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RWXU).unwrap();
        for path in [&pipe, Path::new("/dev/null"), folder.path()] {
            for error in [open(path).unwrap_err(), create(path).unwrap_err()] {
                assert_eq!(error.to_string(), "it is no regular file", "{}", path.display());
            }
        }
        // As if it had become a pipe after the look.
        assert!(opened(File::options().read(true), &pipe).is_err());
        assert!(opened(File::options().write(true), &pipe).is_err());
        assert_eq!(open(&file).unwrap_err().kind(), io::ErrorKind::NotFound);
        create(&file).unwrap().write_all(b"long").unwrap();
        create(&file).unwrap().write_all(b"new").unwrap();
        assert_eq!(io::read_to_string(open(&file).unwrap()).unwrap(), "new");
    }
}
