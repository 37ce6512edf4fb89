//! Directories: ours, not ours, held by others, and left by a crash.

use std::os::unix::fs::{PermissionsExt as _, symlink};

use super::*;
use crate::clock::Entropy;
use crate::storage::Storage;

const NO_WAIT: Duration = Duration::ZERO;

async fn start(path: &Path, wait: Duration) -> Result<Storage, LocalError> {
    match Storage::open_local(path, wait, Clock::system(), Entropy::seeded(1)).await {
        Err(crate::storage::StorageError::Local(error)) => Err(error),
        other => Ok(other.unwrap()),
    }
}

/// Every file below with its bytes.
fn content(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.is_symlink() {
            all.push((path.clone(), Vec::new()));
            all.extend(content(&path));
        } else {
            all.push((path.clone(), std::fs::read(&path).unwrap_or_default()));
        }
    }
    all.sort();
    all
}

#[tokio::test]
async fn a_new_directory_is_private_and_can_be_opened_again() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a/b");
    let registry = start(&path, NO_WAIT).await.unwrap().catalog.registry().to_owned();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
    std::fs::create_dir(path.join("marathon")).unwrap();
    std::fs::write(path.join("notes.txt"), "ours by its marker").unwrap();
    assert_eq!(start(&path, NO_WAIT).await.unwrap().catalog.registry(), registry);
    // A power cut cannot be staged here; that every write is flushed can be read off the store.
    assert!(format!("{:?}", store(&path).unwrap()).contains("fsync: true"));
}

#[tokio::test]
async fn what_is_not_ours_is_refused_and_not_touched() {
    for file in ["thesis.tex", ".git", "v1/thesis.tex", "v1x"] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        std::fs::create_dir(path.join("v1")).unwrap();
        std::fs::write(path.join(file), "mine").unwrap();
        let before = content(path);
        let error = start(path, NO_WAIT).await.err().unwrap();
        let named = matches!(&error, LocalError::NotOurs { found, .. } if found == file);
        assert!(named && error.to_string().contains("choose an empty or a new directory"), "{error}");
        assert_eq!(content(path), before);
        assert_eq!(open_read_only(path).await.err().unwrap().label(), "NotOurs");
    }
}

#[tokio::test]
async fn what_a_start_cut_short_leaves_is_ours() {
    let directory = tempfile::tempdir().unwrap();
    for name in ["lost+found", "marathon", "v1/catalog/log", "v1/blobs"] {
        std::fs::create_dir_all(directory.path().join(name)).unwrap();
    }
    std::fs::write(directory.path().join("lock"), "").unwrap();
    start(directory.path(), NO_WAIT).await.unwrap();
}

#[tokio::test]
async fn links_files_and_newer_layouts_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let (real, link) = (directory.path().join("real"), directory.path().join("link"));
    drop(start(&real, NO_WAIT).await.unwrap());
    symlink(&real, &link).unwrap();
    assert_eq!(start(&link, NO_WAIT).await.err().unwrap().label(), "Symlink");
    assert_eq!(start(&real.join("lock"), NO_WAIT).await.err().unwrap().label(), "NotADirectory");
    assert_eq!(start(&real.join("lock/x"), NO_WAIT).await.err().unwrap().label(), "NotADirectory");
    symlink("/etc", real.join("v1/blobs")).unwrap();
    assert_eq!(start(&real, NO_WAIT).await.err().unwrap().label(), "Symlink");
    std::fs::remove_file(real.join("v1/blobs")).unwrap();
    std::fs::create_dir(real.join("v2")).unwrap();
    assert_eq!(start(&real, NO_WAIT).await.err().unwrap().label(), "NewerFormat");
}

#[tokio::test]
async fn a_directory_that_may_not_be_written_is_refused() {
    let path = Path::new("/sys/kernel");
    if rustix::process::geteuid().is_root() && !path.is_dir() {
        println!("skipped: as root only a file system that takes no files shows this");
        return;
    }
    let error = start(&path.join("dcos-registry-test"), NO_WAIT).await.err().unwrap();
    assert!(["NotWritable", "DirectoryUnusable"].contains(&error.label()), "{error}");
}

#[tokio::test]
async fn reading_needs_storage_and_no_lock() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("x");
    let read = || Storage::open_local_read_only(&path, Clock::system(), Entropy::seeded(2));
    assert_eq!(read().await.err().unwrap().label(), "StorageAbsent");
    assert!(!path.exists());
    let writer = start(&path, NO_WAIT).await.unwrap();
    writer.control.acquire().await.unwrap();
    let before = content(&path);
    let reader = read().await.unwrap();
    assert_eq!(reader.control.state(), writer.control.state());
    assert_eq!(reader.control.acquire().await.unwrap_err().label(), "ReadOnly");
    let sample = crate::storage::tests::Sample::new("hello", "1", 1);
    assert_eq!(sample.publish(&reader).await.unwrap_err().label(), "ReadOnly");
    assert_eq!(content(&path), before);
}

#[tokio::test(start_paused = true)]
async fn a_second_writer_waits_and_is_refused_with_the_pid_of_the_first() {
    let directory = tempfile::tempdir().unwrap();
    let first = start(directory.path(), NO_WAIT).await.unwrap();
    let before = content(directory.path());
    let error = start(directory.path(), Duration::from_secs(30)).await.err().unwrap();
    let own = std::process::id();
    assert!(matches!(error, LocalError::Locked { pid: Some(pid), .. } if pid == own), "{error}");
    assert!(error.to_string().contains(&format!("(pid {own})")), "{error}");
    assert_eq!(content(directory.path()), before);
    let later = async {
        Clock::system().sleep(Duration::from_secs(5)).await;
        drop(first);
    };
    let (second, ()) = futures::join!(start(directory.path(), Duration::from_secs(30)), later);
    second.unwrap();
}

#[tokio::test]
async fn what_a_crash_left_half_written_is_swept_by_the_holder_only() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    drop(start(path, NO_WAIT).await.unwrap());
    let folder = path.join("v1/blobs/sha256/aa/bb");
    std::fs::create_dir_all(&folder).unwrap();
    let staging = folder.join("00000000000000000000-0000000000000001#1");
    let kept = [folder.join("00000000000000000000-0000000000000001"), folder.join("x#y"), path.join("z#1")];
    let record = path.join("v1/catalog/log/00000000000000000001#1");
    for file in kept.iter().chain([&staging, &record]) {
        std::fs::write(file, "x").unwrap();
    }
    open_read_only(path).await.unwrap();
    assert!(staging.exists() && record.exists());
    let_age(path);
    let holder = start(path, NO_WAIT).await.unwrap();
    assert!(!record.exists());
    let own = folder.join("00000000000000000000-0000000000000002#1");
    std::fs::write(&own, "x").unwrap();
    holder.sweep().await.unwrap();
    assert!(!staging.exists());
    assert!(own.exists() && kept.iter().all(|file| file.exists()));
    symlink("/etc", folder.join("link")).unwrap();
    assert_eq!(holder.sweep().await.unwrap_err().label(), "Symlink");
}

/// Run by the next test in a process of its own: holds the lock on its working directory until it is killed.
#[tokio::test]
#[ignore = "it never ends; the test below starts and kills it"]
async fn hold_the_lock_until_killed() {
    let _storage = start(Path::new("."), NO_WAIT).await.unwrap();
    std::future::pending::<()>().await;
}

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "a lock that a dead process leaves takes a process to die")]
async fn a_killed_holder_frees_the_directory() {
    let directory = tempfile::tempdir().unwrap();
    let mut holder = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--ignored", "storage::local::tests::hold_the_lock_until_killed"])
        .current_dir(directory.path())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    // The control log is what it makes last.
    let made = directory.path().join("v1/control/log/00000000000000000000");
    for _ in 0..600 {
        if made.exists() {
            break;
        }
        Clock::system().sleep(Duration::from_millis(100)).await;
    }
    let refused = start(directory.path(), NO_WAIT).await.err();
    holder.kill().unwrap();
    holder.wait().unwrap();
    let refused = refused.unwrap();
    assert!(matches!(refused, LocalError::Locked { pid: Some(pid), .. } if pid == holder.id()), "{refused}");
    start(directory.path(), NO_WAIT).await.unwrap();
}
