//! A task's output, kept in the sandbox and bounded: a full file becomes `<name>.1` and a new one is begun.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// How large `stdout` or `stderr` may become before it is put aside.
const FILE_LIMIT: u64 = 10 * 1024 * 1024;

/// Copies until the pipe's last writer is gone. What cannot be written is dropped: a full disk must not
/// block the task.
pub async fn keep(mut pipe: impl AsyncRead + Unpin, path: PathBuf) {
    let mut log = Log::new(path, FILE_LIMIT);
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(length @ 1..) = pipe.read(&mut buffer).await {
        log.append(buffer.get(..length).unwrap_or_default());
    }
}

struct Log {
    path: PathBuf,
    file: Option<File>,
    written: u64,
    limit: u64,
}

impl Log {
    fn new(path: PathBuf, limit: u64) -> Self {
        let file = create(&path);
        Self { path, file, written: 0, limit }
    }

    fn append(&mut self, bytes: &[u8]) {
        if self.written + bytes.len() as u64 > self.limit {
            self.turn_over();
        }
        if let Some(file) = &mut self.file
            && file.write_all(bytes).is_ok()
        {
            self.written += bytes.len() as u64;
        }
    }

    fn turn_over(&mut self) {
        let mut old = self.path.clone().into_os_string();
        old.push(".1");
        // If it cannot be put aside it is overwritten: bounded comes first.
        let _ = std::fs::rename(&self.path, old);
        self.file = create(&self.path);
        self.written = 0;
    }
}

/// A new file. None where it cannot be made, or where the task has put something else in its place: the supervisor must
/// not wait for whoever would read from a pipe.
fn create(path: &Path) -> Option<File> {
    let mut options = File::options();
    let options = options.write(true).create(true).truncate(true);
    let file = options.custom_flags(OFlags::NONBLOCK.bits().cast_signed()).open(path).ok()?;
    file.metadata().is_ok_and(|found| found.is_file()).then_some(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipe_in_the_place_of_a_file_holds_nobody_up() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("stdout");
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RWXU).unwrap();
        let mut log = Log::new(path, 10);
        log.append(b"lost");
        assert_eq!(log.written, 0);
    }

    #[test]
    fn a_full_file_is_put_aside_and_only_one_old_one_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("stdout");
        let mut log = Log::new(path.clone(), 10);
        for text in ["aaaaaa", "bbbbbb", "cccccc", "dd"] {
            log.append(text.as_bytes());
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "ccccccdd");
        assert_eq!(std::fs::read_to_string(folder.path().join("stdout.1")).unwrap(), "bbbbbb");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
    }
}
