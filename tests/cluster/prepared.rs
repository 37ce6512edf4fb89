//! Storage that is there before the program starts, made by the library, and configurations that name it.

use std::path::{Path, PathBuf};

use dcos_registry::clock::{Clock, Entropy};
use dcos_registry::config::{Backend, Environment, S3Credentials, S3Keys, S3Settings, StorageSettings};
use dcos_registry::model::{Digest, Member, Secret};
use dcos_registry::storage::publish::{ReleaseVersion, publish};
use dcos_registry::storage::{Opening, Storage};
use futures::FutureExt as _;
use serde_json::json;

use crate::bundle::Sample;
use crate::instance::{Place, Recipe};
use crate::s3_double::S3Double;

/// Publishes samples into a directory, which nobody may be using.
pub fn fill_directory(path: &Path, samples: &[Sample]) {
    fill(Backend::Local { path: path.to_owned() }, samples);
}

/// Publishes samples into the bucket of a double.
pub fn fill_bucket(double: &S3Double, samples: &[Sample]) {
    let keys = S3Keys { id: "test".into(), secret: Secret::new("secret".to_owned()), token: None };
    fill(
        Backend::S3(S3Settings {
            bucket: double.bucket().to_owned(),
            path: String::new(),
            endpoint: Some(double.endpoint()),
            region: "us-east-1".into(),
            path_style: true,
            credentials: S3Credentials::Static(keys),
            ca: None,
            allow_http: true,
        }),
        samples,
    );
}

fn fill(backend: Backend, samples: &[Sample]) {
    let settings = StorageSettings::of(backend, &Environment::fixed([]));
    dcos_registry::marathon::install_tls_provider();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let opening = Opening::once(Clock::system(), Entropy::system());
        let storage = Storage::open_settings(&settings, &opening).await.unwrap();
        storage.admit().await;
        for (number, sample) in (1..).zip(samples) {
            let open = |member: &Member| {
                let reader = sample.reader(member);
                async move { Ok(reader) }.boxed()
            };
            publish(&storage, &sample.content(), open, ReleaseVersion::Exactly(number)).await.unwrap();
        }
    });
}

/// An instance on a directory.
pub fn on_directory(place: &Place, path: &Path) -> Recipe {
    let config = format!("listen: 127.0.0.1:PORT\nstorage: {{local: {{path: {}}}}}\n", path.display());
    Recipe::new(place, "one", &config)
}

/// An instance on a bucket, with more lines below `storage`.
pub fn on_bucket(place: &Place, endpoint: &str, bucket: &str, key: &str, more: &str) -> Recipe {
    let keys = format!("[default]\naws_access_key_id = {key}\naws_secret_access_key = secret\n");
    let keys = place.write("keys", &keys).display().to_string();
    let s3 = format!("{{bucket: {bucket}, endpoint: '{endpoint}', credentials: {{file: {keys}}}}}");
    let spool = place.path().join("spool").display().to_string();
    let storage = format!("storage:\n  s3: {s3}\n  spool: {spool}\n{more}");
    Recipe::new(place, "one", &format!("listen: 127.0.0.1:PORT\nha: {{ttl: 1200ms}}\n{storage}"))
}

/// A folder that is a package version with one file, for a manifest to name.
pub fn write_package(place: &Place, folder: &str, name: &str, version: &str) {
    let package = json!({
        "packagingVersion": "4.0", "name": name, "version": version, "maintainer": "test@example.org",
        "description": "Published from a manifest.", "tags": [],
    });
    place.write(&format!("{folder}/package.json"), &package.to_string());
    place.write(&format!("{folder}/resource.json"), r#"{"assets": {"uris": {"data": "data.txt"}}}"#);
    place.write(&format!("{folder}/data.txt"), &format!("{name} {version}"));
}

/// The one stored copy of a digest in a directory.
pub fn blob(store: &Path, digest: Digest) -> PathBuf {
    let hex = digest.hex();
    let folder = store.join("v1/blobs/sha256").join(&hex[..2]).join(&hex);
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_none_or(|extension| extension != "chunks"));
    assert_eq!(files.len(), 1, "{files:?}");
    files.remove(0)
}

/// The path of a record.
pub fn record(store: &Path, log: &str, seq: u64) -> PathBuf {
    store.join("v1").join(log).join("log").join(format!("{seq:020}"))
}
