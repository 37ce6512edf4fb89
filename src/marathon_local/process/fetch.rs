//! Fetches what a task's `fetch` list names into its sandbox, as the Mesos fetcher would.
//!
//! Over HTTP and HTTPS, and from this machine's files. What another scheme names is an error that says so.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use futures::StreamExt as _;
use serde_json::Value;
use tokio::fs::File;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio_util::io::StreamReader;
use tokio_util::sync::CancellationToken;

use super::archive;
use crate::clock::Clock;
use crate::model::App;

/// How long all fetching of a task may take.
const DEADLINE: Duration = Duration::from_secs(15 * 60);

/// How long a server may be silent.
const SILENCE: Duration = Duration::from_secs(30);

/// The largest file that is fetched.
const SIZE_LIMIT: u64 = 16 << 30;

/// One item of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Item {
    uri: String,
    /// Where it goes, relative to the sandbox.
    destination: PathBuf,
    extract: bool,
    executable: bool,
}

/// Fetches files for tasks. Cheap to clone.
#[derive(Clone)]
pub struct Fetcher {
    http: reqwest::Client,
    clock: Clock,
}

impl Fetcher {
    /// A fetcher. The environment's proxies are not used: what a task fetches is decided by its definition.
    ///
    /// # Errors
    /// When no HTTP client can be made.
    pub fn new(clock: Clock) -> Result<Self, reqwest::Error> {
        let builder = || {
            let builder = reqwest::Client::builder().no_proxy().tcp_nodelay(true);
            builder.connect_timeout(SILENCE).read_timeout(SILENCE)
        };
        // A machine without any CA certificates can still fetch over plain HTTP.
        let http = builder().build().or_else(|_| builder().tls_certs_only([]).build())?;
        Ok(Self { http, clock })
    }

    /// Fetches everything that the app names.
    ///
    /// # Errors
    /// The first failure, in words that name the URI.
    pub async fn fetch(&self, app: &App, sandbox: &Path) -> Result<(), String> {
        // Unpacking runs on a thread of its own and stops by this signal when the task is given up.
        let stop = CancellationToken::new();
        let _guard = stop.clone().drop_guard();
        let all = async {
            for item in items(app)? {
                let fetched = self.item(&item, sandbox, &stop).await;
                fetched.map_err(|error| format!("Failed to fetch {}: {error}", item.uri))?;
            }
            Ok(())
        };
        self.clock.timeout(DEADLINE, all).await.unwrap_or_else(|late| Err(format!("Failed to fetch: {late}")))
    }

    async fn item(&self, item: &Item, sandbox: &Path, stop: &CancellationToken) -> Result<(), String> {
        let path = sandbox.join(&item.destination);
        if let Some(parent) = path.parent() {
            tokio::fs::create_dir_all(parent).await.map_err(|e| e.to_string())?;
        }
        if item.uri.starts_with("http://") || item.uri.starts_with("https://") {
            self.download(&item.uri, &path).await?;
        } else {
            copy_local(&item.uri, &path).await?;
        }
        if item.executable {
            make_executable(&path).await.map_err(|e| e.to_string())?;
        } else if item.extract
            && let Some(kind) = archive::Kind::of(&path)
        {
            let (sandbox, stop) = (sandbox.to_owned(), stop.clone());
            let unpacked =
                tokio::task::spawn_blocking(move || archive::extract(kind, &path, &sandbox, &stop));
            unpacked.await.map_err(|e| e.to_string())??;
        }
        Ok(())
    }

    async fn download(&self, uri: &str, path: &Path) -> Result<(), String> {
        let response = self.http.get(uri).send().await.map_err(|e| chain(&e))?;
        if !response.status().is_success() {
            return Err(format!("the server answered {}", response.status()));
        }
        let body = response.bytes_stream().map(|piece| piece.map_err(std::io::Error::other));
        store(StreamReader::new(body), path).await
    }
}

async fn copy_local(uri: &str, path: &Path) -> Result<(), String> {
    let local = uri.strip_prefix("file://").unwrap_or(uri);
    if !local.starts_with('/') {
        return Err("only http, https and absolute paths of this machine can be fetched".to_owned());
    }
    let file = File::open(local).await.map_err(|e| e.to_string())?;
    if !file.metadata().await.is_ok_and(|m| m.is_file()) {
        return Err("it is no regular file".to_owned());
    }
    store(file, path).await
}

/// Writes a stream into a new file.
async fn store(source: impl AsyncRead, path: &Path) -> Result<(), String> {
    let mut file = File::create(path).await.map_err(|e| e.to_string())?;
    let mut source = std::pin::pin!(source.take(SIZE_LIMIT + 1));
    let copied = tokio::io::copy(&mut source, &mut file).await.map_err(|e| chain(&e))?;
    file.flush().await.map_err(|e| e.to_string())?;
    if copied > SIZE_LIMIT { Err(format!("it is larger than {SIZE_LIMIT} bytes")) } else { Ok(()) }
}

async fn make_executable(path: &Path) -> std::io::Result<()> {
    tokio::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).await
}

/// The items of the list, checked.
fn items(app: &App) -> Result<Vec<Item>, String> {
    let list = app.get("fetch").and_then(Value::as_array);
    list.into_iter().flatten().map(item).collect()
}

fn item(value: &Value) -> Result<Item, String> {
    let uri = value.get("uri").and_then(Value::as_str).unwrap_or_default().to_owned();
    let flag = |key: &str, default: bool| value.get(key).and_then(Value::as_bool).unwrap_or(default);
    let named = value.get("destPath").and_then(Value::as_str).map(PathBuf::from);
    let destination = named.or_else(|| base_name(&uri)).filter(|path| is_inside(path));
    let Some(destination) = destination else {
        return Err(format!("Failed to fetch {uri}: no place in the sandbox for it"));
    };
    Ok(Item { uri, destination, extract: flag("extract", true), executable: flag("executable", false) })
}

/// The last segment of the URI's path.
fn base_name(uri: &str) -> Option<PathBuf> {
    let path = uri.split(['?', '#']).next()?;
    let path = path.split_once("://").map_or(path, |(_, rest)| rest);
    let (_, name) = path.rsplit_once('/')?;
    (!name.is_empty()).then(|| PathBuf::from(name))
}

/// Whether a relative path cannot leave the directory that it starts in.
pub fn is_inside(path: &Path) -> bool {
    let plain = |c: Component<'_>| matches!(c, Component::Normal(_));
    path.components().next().is_some() && path.components().all(plain)
}

/// An error with its causes, on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |e| e.source());
    let mut texts: Vec<String> = causes.map(ToString::to_string).collect();
    texts.dedup();
    texts.join(": ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn items_know_their_place() {
        let place = |value: Value| item(&value).map(|i| i.destination.display().to_string());
        assert_eq!(place(json!({"uri": "http://h/a/b.tgz?x=/y"})).unwrap(), "b.tgz");
        assert_eq!(place(json!({"uri": "http://h/a", "destPath": "d/e"})).unwrap(), "d/e");
        assert_eq!(place(json!({"uri": "/etc/hosts"})).unwrap(), "hosts");
        for bad in [
            json!({"uri": "http://h/"}),
            json!({"uri": "http://h/.."}),
            json!({"uri": "http://h/a", "destPath": "../a"}),
            json!({"uri": "http://h/a", "destPath": "/a"}),
            json!({"uri": "http://h/a", "destPath": ""}),
        ] {
            assert!(place(bad.clone()).is_err(), "{bad}");
        }
    }

    #[tokio::test]
    async fn files_of_this_machine_are_copied_and_other_schemes_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (source, sandbox) = (folder.path().join("tool"), folder.path().join("sandbox"));
        std::fs::write(&source, "#!/bin/sh\n").unwrap();
        std::fs::create_dir(&sandbox).unwrap();
        let _ = rustls::crypto::ring::default_provider().install_default();
        let fetcher = Fetcher::new(Clock::system()).unwrap();
        let app = |uri: &str| App::from_value(json!({"fetch": [{"uri": uri, "executable": true}]})).unwrap();
        fetcher.fetch(&app(&format!("file://{}", source.display())), &sandbox).await.unwrap();
        assert_eq!(std::fs::metadata(sandbox.join("tool")).unwrap().permissions().mode() & 0o777, 0o755);
        let error = fetcher.fetch(&app("hdfs://h/x"), &sandbox).await.unwrap_err();
        assert!(error.contains("hdfs://h/x") && error.contains("only http"), "{error}");
    }
}
