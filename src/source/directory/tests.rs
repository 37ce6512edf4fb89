//! Tests of directories as sources, on real folders.

use std::fs;
use std::os::unix::fs::symlink;

use tempfile::TempDir;

use super::*;
use crate::model::{Digest, ErrorClass, FileContent, SnapshotFile};

const PACKAGE: &str = "\
apiVersion: dcos-registry/v1
kind: Package
metadata: {name: hello}
spec:
  version: 0.1.0
  source: {directory: ../packages/hello}
";

struct Folder {
    dir: TempDir,
    clock: Clock,
}

impl Folder {
    fn new(files: &[(&str, &str)]) -> Self {
        let folder = Self { dir: TempDir::new().unwrap(), clock: Clock::fixed(0) };
        for (path, text) in files {
            folder.write(path, text);
        }
        folder
    }

    fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    fn write(&self, path: &str, text: &str) {
        fs::create_dir_all(self.path(path).parent().unwrap()).unwrap();
        fs::write(self.path(path), text).unwrap();
    }

    fn source(&self) -> DirectorySource {
        let name = SourceName::new("test").unwrap();
        let manifests = SnapshotPath::root().join("m").unwrap();
        DirectorySource::new(name, self.dir.path().to_owned(), manifests, self.clock.clone())
    }
}

fn names(snapshot: &Snapshot) -> Vec<&str> {
    snapshot.files.keys().map(SnapshotPath::as_str).collect()
}

#[tokio::test(start_paused = true)]
async fn manifests_and_what_they_refer_to_are_read_and_nothing_else() {
    let folder = Folder::new(&[
        ("m/a.yaml", PACKAGE),
        ("m/sub/note.txt", "text"),
        ("m/.git/config", "hidden"),
        ("m/.a.yaml.swp", "hidden"),
        ("packages/hello/0/package.json", "{}"),
        ("packages/hello/0/.keep", "hidden"),
        ("packages/other/package.json", "{}"),
        ("private.key", "secret"),
    ]);
    let snapshot = folder.source().snapshot().await.unwrap();
    assert_eq!(names(&snapshot), ["m/a.yaml", "m/sub/note.txt", "packages/hello/0/package.json"]);
    assert!(snapshot.completeness.is_complete());
    let file = &snapshot.files[&SnapshotPath::root().join("m/sub/note.txt").unwrap()];
    assert_eq!((file.size, file.digest, file.bytes()), (4, Digest::of(b"text"), Some(&b"text"[..])));
}

#[tokio::test(start_paused = true)]
async fn the_revision_moves_with_every_byte_and_only_then() {
    let folder = Folder::new(&[("m/a.yaml", PACKAGE), ("packages/hello/0/package.json", "{}"), ("x", "1")]);
    let mut source = folder.source();
    let first = source.snapshot().await.unwrap();
    folder.write("x", "2");
    folder.write("m/a.yaml", PACKAGE);
    assert!(Arc::ptr_eq(&first, &source.snapshot().await.unwrap()), "nothing that counts has changed");
    folder.write("packages/hello/0/package.json", "[]");
    let second = source.snapshot().await.unwrap();
    assert_ne!(first.revision, second.revision);
    fs::rename(folder.path("m/a.yaml"), folder.path("m/b.yaml")).unwrap();
    let third = source.snapshot().await.unwrap();
    assert_ne!(second.revision, third.revision);
    assert_eq!(third.revision, folder.source().snapshot().await.unwrap().revision);
}

#[tokio::test(start_paused = true)]
async fn a_change_of_equal_size_is_seen_and_a_trusted_file_is_not_read_again() {
    let folder = Folder::new(&[("m/a.txt", "one")]);
    let mut source = folder.source();
    let first = source.snapshot().await.unwrap();
    folder.write("m/a.txt", "two");
    let second = source.snapshot().await.unwrap();
    assert_ne!(first.revision, second.revision);

    let real = folder.path("m/a.txt").canonicalize().unwrap();
    assert!(!source.cache.0[&real].trusted);
    folder.clock.advance(Duration::from_secs(3));
    source.snapshot().await.unwrap();
    assert!(source.cache.0[&real].trusted);
    // What the cache says now counts: the bytes are not read while the stamp stays.
    source.cache.0.get_mut(&real).unwrap().file = SnapshotFile::inline(b"cached");
    assert_ne!(source.snapshot().await.unwrap().revision, second.revision);
    fs::remove_file(real).unwrap();
    source.snapshot().await.unwrap();
    assert!(source.cache.0.is_empty(), "what is gone is forgotten");
}

#[tokio::test(start_paused = true)]
async fn a_file_that_is_being_rewritten_is_waited_for() {
    let folder = Folder::new(&[("m/a.yaml", PACKAGE)]);
    let mut source = folder.source();
    source.snapshot().await.unwrap();
    folder.write("m/a.yaml", "");
    let writer = async {
        folder.clock.sleep(Duration::from_millis(50)).await;
        folder.write("m/a.yaml", "a: 1\n");
        folder.clock.sleep(Duration::from_millis(100)).await;
        folder.write("m/a.yaml", "a: 1\nb: 2\n");
    };
    let (snapshot, ()) = futures::join!(source.snapshot(), writer);
    let snapshot = snapshot.unwrap();
    assert_eq!(snapshot.files.values().next().unwrap().bytes(), Some(&b"a: 1\nb: 2\n"[..]));
}

#[tokio::test(start_paused = true)]
async fn a_source_that_never_rests_is_an_error() {
    let folder = Folder::new(&[("m/a.yaml", "0")]);
    let mut source = folder.source();
    let writer = async {
        for i in 0..40 {
            // Renamed into place, as a scan at the same moment must see one number or the next.
            folder.write("m/.next", &i.to_string());
            fs::rename(folder.path("m/.next"), folder.path("m/a.yaml")).unwrap();
            folder.clock.sleep(Duration::from_millis(30)).await;
        }
    };
    let (snapshot, ()) = futures::join!(source.snapshot(), writer);
    let error = snapshot.unwrap_err();
    assert_eq!((error.label(), error.class()), ("Unsettled", ErrorClass::Wait));
}

#[tokio::test(start_paused = true)]
async fn a_missing_folder_is_an_error_and_not_an_empty_manifest() {
    let folder = Folder::new(&[("other/a.yaml", "")]);
    let error = folder.source().snapshot().await.unwrap_err();
    assert_eq!((error.label(), error.class()), ("Missing", ErrorClass::Stall));
    assert_eq!(error.to_string(), format!("there is no folder {}", folder.path("m").display()));
    let name = SourceName::new("test").unwrap();
    let error = DirectorySource::of_folder(name, &folder.path("m"), Clock::system()).err().unwrap();
    assert_eq!(error.label(), "Missing");
}

#[tokio::test(start_paused = true)]
async fn a_folder_that_cannot_be_read_is_an_error() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = Folder::new(&[("m/a.yaml", ""), ("m/closed/b.yaml", "")]);
    let closed = folder.path("m/closed");
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o0)).unwrap();
    if fs::read_dir(&closed).is_ok() {
        println!("skipped: this user reads everything");
        return;
    }
    let error = folder.source().snapshot().await.unwrap_err();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!((error.label(), error.class()), ("read", ErrorClass::Retry));
}

#[tokio::test(start_paused = true)]
async fn links_stay_below_the_root() {
    let folder = Folder::new(&[("m/..data/a.yaml", "a: 1"), ("shared/b.yaml", "b: 1")]);
    symlink("..data/a.yaml", folder.path("m/a.yaml")).unwrap();
    symlink("../shared", folder.path("m/shared")).unwrap();
    let snapshot = folder.source().snapshot().await.unwrap();
    assert_eq!(names(&snapshot), ["m/a.yaml", "m/shared/b.yaml"]);

    symlink("/etc/hostname", folder.path("m/host.yaml")).unwrap();
    let error = folder.source().snapshot().await.unwrap_err();
    assert_eq!((error.label(), error.class()), ("LeavesRoot", ErrorClass::Stall));
    fs::remove_file(folder.path("m/host.yaml")).unwrap();

    symlink("nothing", folder.path("m/broken.yaml")).unwrap();
    assert_eq!(folder.source().snapshot().await.unwrap_err().label(), "Read");
    fs::remove_file(folder.path("m/broken.yaml")).unwrap();

    symlink(".", folder.path("m/loop")).unwrap();
    assert_eq!(folder.source().snapshot().await.unwrap_err().label(), "TooDeep");
}

#[tokio::test(start_paused = true)]
async fn references_cannot_lead_out_through_links() {
    let folder = Folder::new(&[("m/a.yaml", PACKAGE)]);
    let outside = Folder::new(&[("hello/package.json", "{}")]);
    symlink(outside.dir.path(), folder.path("packages")).unwrap();
    assert_eq!(folder.source().snapshot().await.unwrap_err().label(), "LeavesRoot");
}

#[tokio::test(start_paused = true)]
async fn pipes_are_not_opened() {
    let folder = Folder::new(&[("m/a.yaml", "")]);
    let mode = rustix::fs::Mode::RUSR;
    rustix::fs::mknodat(rustix::fs::CWD, folder.path("m/pipe.yaml"), rustix::fs::FileType::Fifo, mode, 0)
        .unwrap();
    assert_eq!(folder.source().snapshot().await.unwrap_err().label(), "NotAFile");
}

#[tokio::test(start_paused = true)]
async fn large_files_stay_on_disk() {
    let folder = Folder::new(&[("m/small.bin", "x")]);
    let bytes = vec![7; (1 << 20) + 1];
    fs::write(folder.path("m/large.bin"), &bytes).unwrap();
    let snapshot = folder.source().snapshot().await.unwrap();
    let large = &snapshot.files[&SnapshotPath::root().join("m/large.bin").unwrap()];
    assert_eq!((large.size, large.digest), (bytes.len() as u64, Digest::of(&bytes)));
    assert_eq!(large.content, FileContent::OnDisk(folder.path("m/large.bin").canonicalize().unwrap()));
}

#[tokio::test(start_paused = true)]
async fn what_does_not_fit_into_memory_stays_on_disk_unless_it_is_text() {
    let folder = Folder::new(&[("m/z.yaml", "1234"), ("m/a.bin", "1234"), ("m/b.bin", "1234")]);
    let mut source = folder.source();
    source.folder.bounds.inline = 16;
    let snapshot = source.snapshot().await.unwrap();
    let on_disk = snapshot.files.iter().filter(|(_, file)| file.bytes().is_none());
    assert_eq!(on_disk.map(|(path, _)| path.as_str()).collect::<Vec<_>>(), ["m/b.bin"]);

    folder.write("m/y.json", "1234567890123");
    assert_eq!(source.snapshot().await.unwrap_err().label(), "TooMuchText");
}

#[tokio::test(start_paused = true)]
async fn too_many_files_are_an_error() {
    let folder = Folder::new(&[("m/a.yaml", PACKAGE), ("packages/hello/0/package.json", "{}")]);
    let mut source = folder.source();
    source.folder.bounds.entries = 3;
    assert_eq!(source.snapshot().await.unwrap().files.len(), 2);
    folder.write("packages/hello/0/x", "");
    let error = source.snapshot().await.unwrap_err();
    assert_eq!((error.label(), error.class()), ("TooManyFiles", ErrorClass::Stall));
}

#[tokio::test(start_paused = true)]
async fn a_folder_alone_takes_the_folder_above_as_its_root() {
    let folder = Folder::new(&[("m/a.yaml", PACKAGE), ("packages/hello/package.json", "{}")]);
    symlink("m", folder.path("link")).unwrap();
    let name = SourceName::new("test").unwrap();
    let mut source = DirectorySource::of_folder(name, &folder.path("link/../m/."), Clock::fixed(0)).unwrap();
    let snapshot = source.snapshot().await.unwrap();
    assert_eq!(names(&snapshot), ["m/a.yaml", "packages/hello/package.json"]);
    assert_eq!(source.name().as_str(), "test");
}
