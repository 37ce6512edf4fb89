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
use super::cache::FetchCache;
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
    /// Whether a file that was fetched before will do.
    cache: bool,
}

/// Fetches files for tasks.
pub struct Fetcher {
    http: reqwest::Client,
    clock: Clock,
    cache: FetchCache,
}

impl Fetcher {
    /// A fetcher that keeps files in a cache. The environment's proxies are not used: what a task fetches is decided by its definition.
    ///
    /// # Errors
    /// When no HTTP client can be made.
    pub fn new(clock: Clock, cache: FetchCache) -> Result<Self, reqwest::Error> {
        let builder = || {
            let builder = reqwest::Client::builder().no_proxy().tcp_nodelay(true);
            builder.connect_timeout(SILENCE).read_timeout(SILENCE)
        };
        // A machine without any CA certificates can still fetch over plain HTTP.
        let http = builder().build().or_else(|_| builder().tls_certs_only([]).build())?;
        Ok(Self { http, clock, cache })
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
        let mut kind = archive::Kind::of(&path).filter(|_| item.extract && !item.executable);
        if item.cache {
            // What is cached is unpacked from there, and the archive itself does not come into the sandbox. A single
            // file that is compressed has no other name than its own.
            let there = kind.take_if(|kind| *kind != archive::Kind::Gz);
            let slot = self.cache.slot(&item.uri);
            let placed = async {
                let kept = slot.filled(self.obtain(&item.uri, slot.place())).await?;
                match there {
                    Some(kind) => unpack(kind, kept, sandbox, stop).await,
                    None => tokio::fs::copy(kept, &path).await.map(drop).map_err(|e| e.to_string()),
                }
            };
            let placed = placed.await;
            drop(slot);
            self.cache.trim().await;
            placed?;
        } else {
            self.obtain(&item.uri, &path).await?;
        }
        if let Some(kind) = kind {
            unpack(kind, &path, sandbox, stop).await?;
        }
        if item.executable {
            make_executable(&path).await.map_err(|e| e.to_string())?;
        }
        Ok(())
    }

    async fn obtain(&self, uri: &str, path: &Path) -> Result<(), String> {
        if uri.starts_with("http://") || uri.starts_with("https://") {
            self.download(uri, path).await
        } else {
            copy_local(uri, path).await
        }
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

async fn unpack(
    kind: archive::Kind,
    path: &Path,
    sandbox: &Path,
    stop: &CancellationToken,
) -> Result<(), String> {
    let (path, sandbox, stop) = (path.to_owned(), sandbox.to_owned(), stop.clone());
    let unpacked = tokio::task::spawn_blocking(move || archive::extract(kind, &path, &sandbox, &stop));
    unpacked.await.map_err(|e| e.to_string())?
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
    let (extract, executable, cache) =
        (flag("extract", true), flag("executable", false), flag("cache", false));
    Ok(Item { uri, destination, extract, executable, cache })
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
mod tests;
