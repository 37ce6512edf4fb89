//! The stores that every check runs against, each with what keeps it alive. A new back end is one more function.

use std::any::Any;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dcos_registry::clock::Entropy;
use object_store::ObjectStore;
use object_store::aws::AmazonS3Builder;
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::prefix::PrefixStore;
use serde::Deserialize;
use tempfile::TempDir;

use crate::s3_double::{S3Double, Setup};

/// What may be asked of a store beyond what all must do.
#[derive(Debug, Clone, Copy)]
pub struct Caps {
    /// Replaces an object only if it is still the one that was read (`If-Match`).
    pub update: bool,
    /// Says a time of last change that is good for comparing objects of one store.
    pub last_modified: bool,
}

/// A store under test.
pub struct Subject {
    pub name: &'static str,
    pub store: Arc<dyn ObjectStore>,
    pub caps: Caps,
    _alive: Box<dyn Any>,
}

impl Subject {
    fn new(name: &'static str, store: impl ObjectStore, caps: Caps, alive: impl Any) -> Self {
        Self { name, store: Arc::new(store), caps, _alive: Box::new(alive) }
    }
}

const ALL: Caps = Caps { update: true, last_modified: true };

pub fn memory() -> Subject {
    Subject::new("memory", InMemory::new(), ALL, ())
}

pub fn directory() -> Subject {
    let folder = TempDir::new().unwrap();
    let path = folder.path().to_owned();
    local("directory", &path, folder)
}

fn local(name: &'static str, path: &Path, alive: impl Any) -> Subject {
    let store = LocalFileSystem::new_with_prefix(path).unwrap().with_fsync(true);
    // The local store has no conditional update.
    let subject = Subject::new(name, store, Caps { update: false, ..ALL }, ());
    Subject { _alive: Box::new(alive), ..subject }
}

/// A file system of its own; none where mounting is not allowed.
pub fn mounted() -> Option<Subject> {
    let folder = TempDir::new().unwrap();
    let mount = Mount::tmpfs(folder)?;
    Some(local("mounted volume", &mount.path(), mount))
}

/// A mounted tmpfs, which goes with its value.
struct Mount(TempDir);

impl Mount {
    fn tmpfs(folder: TempDir) -> Option<Self> {
        let target = folder.path().to_str().unwrap();
        let output = run("mount", &["-t", "tmpfs", "-o", "size=256m", "dcos-registry-test", target]);
        match output {
            Ok(output) if output.status.success() => Some(Self(folder)),
            refused => {
                eprintln!("skipped: a tmpfs cannot be mounted here: {refused:?}");
                None
            }
        }
    }

    fn path(&self) -> PathBuf {
        self.0.path().to_owned()
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let unmounted = run("umount", &["--lazy", self.0.path().to_str().unwrap_or_default()]);
        if !unmounted.is_ok_and(|output| output.status.success()) {
            eprintln!("{} stays mounted", self.0.path().display());
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "mounting is a program's work")]
fn run(program: &str, arguments: &[&str]) -> std::io::Result<std::process::Output> {
    std::process::Command::new(program).args(arguments).output()
}

/// The double with small pages, so that every listing has several.
pub fn double() -> Subject {
    let double = S3Double::start_with(Setup { page: 100, ..Setup::default() });
    Subject::new("S3 double", double.store(), ALL, double)
}

/// Where a real server is, as JSON in `DCOS_REGISTRY_TEST_S3` or in the file that it names.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RealServer {
    pub endpoint: String,
    pub bucket: String,
    pub access_key: String,
    pub secret_key: String,
    #[serde(default = "usual_region")]
    pub region: String,
    /// Whether it is known to do conditional updates right; not asked of it otherwise.
    #[serde(default)]
    pub update: bool,
}

fn usual_region() -> String {
    "us-east-1".to_owned()
}

/// A real server that somebody else started; none where the environment names none.
#[expect(clippy::disallowed_methods, reason = "a test is told which server to use")]
pub fn named_server() -> Option<RealServer> {
    let Ok(words) = std::env::var("DCOS_REGISTRY_TEST_S3") else {
        eprintln!("skipped: DCOS_REGISTRY_TEST_S3 names no S3 server");
        return None;
    };
    let text = if words.trim_start().starts_with('{') {
        words
    } else {
        std::fs::read_to_string(&words).unwrap_or_else(|error| panic!("cannot read {words}: {error}"))
    };
    let server = serde_json::from_str(&text);
    Some(server.unwrap_or_else(|error| panic!("DCOS_REGISTRY_TEST_S3 is not understood: {error}")))
}

/// Whether the probe must find that server out.
#[expect(clippy::disallowed_methods, reason = "a test is told what to expect")]
pub fn is_to_be_refused() -> bool {
    std::env::var("DCOS_REGISTRY_TEST_S3_EXPECT").is_ok_and(|word| word == "refused")
}

/// That server, for the checks that all stores must pass; none where it is one that does not.
pub fn real_server() -> Option<Subject> {
    let server = named_server()?;
    if is_to_be_refused() {
        println!("the server is one that must be found out; it is not asked for what it cannot do");
        return None;
    }
    dcos_registry::marathon::install_tls_provider();
    let store = AmazonS3Builder::new()
        .with_endpoint(server.endpoint)
        .with_allow_http(true)
        .with_region(server.region)
        .with_bucket_name(server.bucket)
        .with_access_key_id(server.access_key)
        .with_secret_access_key(server.secret_key)
        .build()
        .unwrap();
    // A run does not meet what another one left.
    let store = PrefixStore::new(store, format!("conformance-{}", Entropy::system().nonce()));
    Some(Subject::new("real S3 server", store, Caps { update: server.update, ..ALL }, ()))
}
