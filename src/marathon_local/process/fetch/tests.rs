//! Items, local files, and what the cache changes.

use futures::FutureExt as _;
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

fn id() -> AppId {
    AppId::new("/a").unwrap()
}

#[tokio::test]
async fn a_pipe_or_a_device_is_refused_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let (pipe, sandbox) = (folder.path().join("pipe"), folder.path().join("sandbox"));
    std::fs::create_dir(&sandbox).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RWXU).unwrap();
    let (fetcher, clock) = (fetcher(folder.path()), Clock::system());
    for (source, cache) in [(pipe.as_path(), false), (&pipe, true), (Path::new("/dev/zero"), false)] {
        let app = App::from_value(json!({"fetch": [{"uri": source, "cache": cache}]})).unwrap();
        let ended = clock.timeout(Duration::from_secs(10), fetcher.fetch(&id(), &app, &sandbox)).await;
        if ended.is_err() {
            // A thread waits for a writer: it must end, or the test would not.
            drop(std::fs::File::options().write(true).open(&pipe));
        }
        let error = ended.unwrap().unwrap_err();
        assert!(error.contains("it is no regular file"), "{}: {error}", source.display());
    }
    // The same where something is to be written.
    std::fs::write(folder.path().join("file"), "x").unwrap();
    std::fs::rename(&pipe, sandbox.join("file")).unwrap();
    let app = json!({"fetch": [{"uri": folder.path().join("file")}]});
    let error = fetcher.fetch(&id(), &App::from_value(app).unwrap(), &sandbox).await.unwrap_err();
    assert!(error.contains("it is no regular file"), "{error}");
}

#[tokio::test]
async fn a_thread_that_is_held_up_keeps_the_turn_of_its_task() {
    let turns = Turns::new(1, 1);
    let turn = turns.take(&id()).await.unwrap();
    let work = Work { sandbox: Path::new("/"), stop: CancellationToken::new(), turn };
    let (started, has_started) = std::sync::mpsc::channel();
    let (held_up, release) = std::sync::mpsc::channel::<()>();
    let mut waiting = Box::pin(work.on_thread(move |_| {
        started.send(()).map_err(|e| e.to_string())?;
        release.recv().map_err(|e| e.to_string())
    }));
    assert!((&mut waiting).now_or_never().is_none());
    has_started.recv().unwrap();
    drop(waiting);
    drop(work);
    assert!(turns.take(&id()).now_or_never().is_none(), "its task was given up, the thread goes on");
    held_up.send(()).unwrap();
    turns.take(&id()).await.unwrap();
}

fn fetcher(folder: &Path) -> Fetcher {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let cache = FetchCache::new(folder.join("fetched"), 1 << 20).unwrap();
    Fetcher::new(Clock::system(), cache).unwrap()
}

#[tokio::test]
async fn files_of_this_machine_are_copied_and_other_schemes_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (source, sandbox) = (folder.path().join("tool"), folder.path().join("sandbox"));
    std::fs::write(&source, "#!/bin/sh\n").unwrap();
    std::fs::create_dir(&sandbox).unwrap();
    let fetcher = fetcher(folder.path());
    let app = |uri: &str| App::from_value(json!({"fetch": [{"uri": uri, "executable": true}]})).unwrap();
    fetcher.fetch(&id(), &app(&format!("file://{}", source.display())), &sandbox).await.unwrap();
    assert_eq!(std::fs::metadata(sandbox.join("tool")).unwrap().permissions().mode() & 0o777, 0o755);
    let error = fetcher.fetch(&id(), &app("hdfs://h/x"), &sandbox).await.unwrap_err();
    assert!(error.contains("hdfs://h/x") && error.contains("only http"), "{error}");
}

#[tokio::test]
async fn what_is_cached_is_not_fetched_again_and_what_is_not_is() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("data.json");
    let fetcher = fetcher(folder.path());
    let mut number = 0;
    let mut text_of = async |cache: bool, more: Value| {
        number += 1;
        let sandbox = folder.path().join(number.to_string());
        std::fs::create_dir(&sandbox).unwrap();
        let mut item = json!({"uri": source, "cache": cache, "destPath": "to"});
        item.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        fetcher.fetch(&id(), &App::from_value(json!({"fetch": [item]})).unwrap(), &sandbox).await.unwrap();
        (std::fs::read_to_string(sandbox.join("to")).unwrap(), sandbox)
    };
    std::fs::write(&source, "old").unwrap();
    assert_eq!(text_of(true, json!({})).await.0, "old");
    std::fs::write(&source, "new").unwrap();
    let (text, sandbox) = text_of(true, json!({"executable": true})).await;
    assert_eq!(text, "old");
    let mode = std::fs::metadata(sandbox.join("to")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o755);
    assert_eq!(text_of(false, json!({})).await.0, "new");
    assert_eq!(text_of(true, json!({})).await.0, "old");
}

#[tokio::test]
async fn an_archive_is_unpacked_from_the_cache() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("files.tar");
    let mut archive = tar::Builder::new(std::fs::File::create(&source).unwrap());
    let mut header = tar::Header::new_gnu();
    header.set_size(2);
    header.set_mode(0o644);
    archive.append_data(&mut header, "inner", &b"hi"[..]).unwrap();
    archive.finish().unwrap();
    let fetcher = fetcher(folder.path());
    for (name, cache, kept) in [("a", true, false), ("b", true, false), ("c", false, true)] {
        let sandbox = folder.path().join(name);
        std::fs::create_dir(&sandbox).unwrap();
        let app = json!({"fetch": [{"uri": source, "cache": cache}]});
        fetcher.fetch(&id(), &App::from_value(app).unwrap(), &sandbox).await.unwrap();
        assert_eq!(std::fs::read_to_string(sandbox.join("inner")).unwrap(), "hi");
        assert_eq!(sandbox.join("files.tar").exists(), kept, "{name}");
    }
    assert_eq!(std::fs::read_dir(folder.path().join("fetched")).unwrap().count(), 1);
}
