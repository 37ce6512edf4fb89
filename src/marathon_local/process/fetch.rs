//! Fetches what a task's `fetch` list names into its sandbox, as the Mesos fetcher would.
//!
//! Over HTTP and HTTPS, and from this machine's files. What another scheme names is an error that says so.
//!
//! Files are read, written and unpacked on threads that may block. Such a thread cannot be called back, however long the disk
//! makes it wait, so it holds the turn of its task until it ends: all of them together never are more than there are turns.

use std::io::{Read, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio_util::sync::CancellationToken;

use super::cache::FetchCache;
use super::room::Room;
use super::turns::{Turn, Turns};
use super::{archive, files};
use crate::clock::Clock;
use crate::model::{App, AppId};

/// How many tasks may fetch at the same time.
const FETCHING: usize = 32;

/// How many of them may be of one app.
const FETCHING_OF_ONE: usize = 4;

/// How long all fetching of a task may take.
const DEADLINE: Duration = Duration::from_secs(15 * 60);

/// How long a server may be silent.
const SILENCE: Duration = Duration::from_secs(30);

/// The largest file that is fetched, in bytes, where the disk has room for it.
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
    turns: Turns,
}

/// The work for one task.
struct Work<'a> {
    sandbox: &'a Path,
    /// Tells its threads that the task is given up.
    stop: CancellationToken,
    turn: Arc<Turn>,
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
        Ok(Self { http, clock, cache, turns: Turns::new(FETCHING, FETCHING_OF_ONE) })
    }

    /// Fetches everything that the app names, when it is its turn.
    ///
    /// # Errors
    /// The first failure, in words that name the URI.
    pub async fn fetch(&self, id: &AppId, app: &App, sandbox: &Path) -> Result<(), String> {
        let items = items(app)?;
        if items.is_empty() {
            return Ok(());
        }
        let work = Work { sandbox, stop: CancellationToken::new(), turn: self.turns.take(id).await? };
        let _guard = work.stop.clone().drop_guard();
        let all = async {
            for item in items {
                let fetched = self.item(&item, &work).await;
                fetched.map_err(|error| format!("Failed to fetch {}: {error}", item.uri))?;
            }
            Ok(())
        };
        self.clock.timeout(DEADLINE, all).await.unwrap_or_else(|late| Err(format!("Failed to fetch: {late}")))
    }

    async fn item(&self, item: &Item, work: &Work<'_>) -> Result<(), String> {
        let path = work.sandbox.join(&item.destination);
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
                let kept = slot.filled(self.obtain(&item.uri, slot.place(), work)).await?;
                match there {
                    Some(kind) => work.unpack(kind, kept).await,
                    None => work.copy(kept, &path).await,
                }
            };
            let placed = placed.await;
            drop(slot);
            self.cache.trim().await;
            placed?;
        } else {
            self.obtain(&item.uri, &path, work).await?;
        }
        if let Some(kind) = kind {
            work.unpack(kind, &path).await?;
        }
        if item.executable {
            make_executable(&path).await.map_err(|e| e.to_string())?;
        }
        Ok(())
    }

    async fn obtain(&self, uri: &str, path: &Path, work: &Work<'_>) -> Result<(), String> {
        if uri.starts_with("http://") || uri.starts_with("https://") {
            return self.download(uri, path, work).await;
        }
        let local = uri.strip_prefix("file://").unwrap_or(uri);
        if !local.starts_with('/') {
            return Err("only http, https and absolute paths of this machine can be fetched".to_owned());
        }
        work.copy(Path::new(local), path).await
    }

    async fn download(&self, uri: &str, path: &Path, work: &Work<'_>) -> Result<(), String> {
        let mut response = self.http.get(uri).send().await.map_err(|e| chain(&e))?;
        if !response.status().is_success() {
            return Err(format!("the server answered {}", response.status()));
        }
        let place = path.to_owned();
        let file = work.on_thread(move |_| files::create(&place).map_err(|e| e.to_string())).await?;
        let mut file = tokio::fs::File::from_std(file);
        let mut room = room_for(path);
        while let Some(piece) = response.chunk().await.map_err(|e| chain(&e))? {
            take(&mut room, piece.len())?;
            file.write_all(&piece).await.map_err(|e| e.to_string())?;
        }
        file.flush().await.map_err(|e| e.to_string())
    }
}

impl Work<'_> {
    /// Does something on a thread that may block, which holds the turn until it ends.
    async fn on_thread<T: Send + 'static>(
        &self,
        work: impl FnOnce(&CancellationToken) -> Result<T, String> + Send + 'static,
    ) -> Result<T, String> {
        let (stop, turn) = (self.stop.clone(), Arc::clone(&self.turn));
        let done = tokio::task::spawn_blocking(move || {
            let done = work(&stop);
            drop(turn);
            done
        });
        done.await.map_err(|e| e.to_string())?
    }

    async fn unpack(&self, kind: archive::Kind, path: &Path) -> Result<(), String> {
        let (path, sandbox) = (path.to_owned(), self.sandbox.to_owned());
        self.on_thread(move |stop| {
            let room = Room::new(&sandbox, archive::SIZE_LIMIT);
            archive::extract(kind, &path, &sandbox, room, stop)
        })
        .await
    }

    async fn copy(&self, from: &Path, to: &Path) -> Result<(), String> {
        let (from, to) = (from.to_owned(), to.to_owned());
        self.on_thread(move |stop| copy(&from, &to, stop)).await
    }
}

/// Copies a regular file of this machine. Blocks.
fn copy(from: &Path, to: &Path, stop: &CancellationToken) -> Result<(), String> {
    let mut source = files::open(from).map_err(|e| e.to_string())?;
    let mut file = files::create(to).map_err(|e| e.to_string())?;
    let mut room = room_for(to);
    let mut piece = vec![0; 128 * 1024];
    loop {
        if stop.is_cancelled() {
            return Err("given up".to_owned());
        }
        let length = source.read(&mut piece).map_err(|e| e.to_string())?;
        let Some(bytes) = piece.get(..length).filter(|bytes| !bytes.is_empty()) else { return Ok(()) };
        take(&mut room, length)?;
        file.write_all(bytes).map_err(|e| e.to_string())?;
    }
}

/// The room for a file.
fn room_for(path: &Path) -> Room {
    Room::new(path.parent().unwrap_or(path), SIZE_LIMIT)
}

fn take(room: &mut Room, bytes: usize) -> Result<(), String> {
    room.take(bytes as u64).map_err(|more| format!("it has {more}"))
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
