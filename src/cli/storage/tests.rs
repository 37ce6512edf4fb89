//! The commands on directories, from their arguments to text and exit code.

use std::path::Path;

use clap::Parser;

use super::*;
use crate::model::{Coordinate, PackageContent};
use crate::storage::Storage;
use crate::storage::publish::{MemberReader, ReleaseVersion, publish, unpublish};

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    storage: StorageArguments,
}

fn desk() -> Desk {
    Desk::new(Environment::fixed([]))
}

async fn try_run(line: &[&str]) -> std::result::Result<Told, String> {
    let line = Line::try_parse_from([&["storage"], line].concat()).map_err(|error| error.to_string())?;
    tell(&line.storage.command, &desk()).await.map_err(|error| crate::telemetry::chain(&*error))
}

async fn run(line: &[&str]) -> Told {
    try_run(line).await.unwrap_or_else(|error| panic!("{line:?}: {error}"))
}

async fn refused(line: &[&str]) -> String {
    try_run(line).await.unwrap_err()
}

/// Ids are what differs between two runs.
fn plain(text: &str) -> String {
    let mut plain = String::new();
    for word in text.split_inclusive([' ', '\n']) {
        let bare = word.trim_end().trim_end_matches(';');
        let is_id = bare.len() == 32 && bare.bytes().all(|b| b.is_ascii_hexdigit());
        let length = bare.len();
        let bare = if is_id { "<id>" } else { bare };
        plain.push_str(bare);
        plain.push_str(&word[length..]);
    }
    plain
}

async fn open(path: &Path) -> Storage {
    let Opening { clock, entropy, .. } = desk().opening;
    Storage::open_local(path, std::time::Duration::ZERO, clock, entropy).await.unwrap()
}

fn content(name: &str, n: u64) -> PackageContent {
    PackageContent {
        coordinate: Coordinate::new(name.parse().unwrap(), n.to_string().parse().unwrap()),
        release_version: None,
        metadata: serde_json::json!({"name": name, "n": n}),
        members: Vec::new(),
    }
}

async fn fill(path: &Path, versions: u64) {
    let storage = open(path).await;
    for n in 0..versions {
        let open =
            |_: &crate::model::Member| -> futures::future::BoxFuture<'_, std::io::Result<MemberReader>> {
                unreachable!("it has no members")
            };
        publish(&storage, &content("hello", n), open, ReleaseVersion::NextFree).await.unwrap();
    }
}

#[tokio::test]
async fn a_directory_is_copied_caught_up_with_and_cut_over() {
    let folder = tempfile::tempdir().unwrap();
    let (from, to) = (folder.path().join("from"), folder.path().join("to"));
    fill(&from, 2).await;
    let (from_text, to_text) = (from.to_str().unwrap(), to.to_str().unwrap());
    let would = run(&["copy", from_text, to_text, "--dry-run"]).await;
    assert!(
        would.text.contains("is not there yet") && would.text.contains("nothing was changed"),
        "{}",
        would.text
    );
    assert!(!to.exists());
    let copied = run(&["copy", from_text, to_text]).await;
    let golden = "\
original                      <id>
copy                          <id>
package versions                      2
  were there                          0
  copied                              2
blobs, copied                         2                44 bytes
books, carried over                   0
package versions in the copy          2
Its controller does nothing: this is a copy of registry <id>; it acts once it has taken over (storage copy --cutover).
";
    assert_eq!((&*plain(&copied.text), copied.code), (golden, 0));
    let moved = run(&["copy", from_text, to_text, "--cutover", "--json"]).await;
    let json: serde_json::Value = serde_json::from_str(&moved.text).unwrap();
    assert_eq!(
        (&json["cutOver"], &json["present"], &json["standstill"]),
        (&"now".into(), &2.into(), &().into())
    );
    assert_eq!(open(&from).await.catalog.state().moved(), Some(to_text));
    let again = run(&["copy", from_text, to_text, "--cutover"]).await;
    assert!(again.text.contains("The copy had taken over before."), "{}", again.text);
    let late = refused(&["copy", from_text, to_text]).await;
    assert!(late.contains("took over before"), "{late}");
    let third = folder.path().join("third");
    let second = refused(&["copy", from_text, third.to_str().unwrap(), "--cutover"]).await;
    assert!(second.contains("was moved to") && !third.exists(), "{second}");
}

#[tokio::test]
async fn what_a_daemon_holds_is_read_beside_it_and_written_to_by_it_only() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    fill(folder.path(), 1).await;
    let _daemon = open(folder.path()).await;
    for line in [&["gc", path, "--dry-run"][..], &["scrub", path, "--dry-run"], &["check", path]] {
        assert_eq!(run(line).await.code, 0, "{line:?}");
    }
    let to = folder.path().join("elsewhere");
    // A copy can be made while the original is in use; taking over needs it stopped.
    for line in [&["gc", path][..], &["scrub", path]] {
        let message = refused(line).await;
        assert!(message.contains("pid") && message.contains("--server URL"), "{message}");
        let message = refused(&[line, &["--server", "http://127.0.0.1:9"]].concat()).await;
        assert!(message.contains("no daemon answers at http://127.0.0.1:9"), "{message}");
    }
    assert!(!to.exists());
}

#[tokio::test]
async fn collection_condemns_and_stops_at_the_guard() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    fill(folder.path(), 40).await;
    let storage = open(folder.path()).await;
    for n in 0..3 {
        unpublish(&storage, &content("hello", n).coordinate).await.unwrap();
    }
    drop(storage);
    let done = run(&["gc", path]).await;
    assert!(done.text.contains("condemned now"), "{}", done.text);
    assert_eq!(done.code, 0);
    let storage = open(folder.path()).await;
    for n in 3..30 {
        unpublish(&storage, &content("hello", n).coordinate).await.unwrap();
    }
    drop(storage);
    assert_eq!(run(&["gc", path, "--dry-run"]).await.code, FOUND);
    let stopped = run(&["gc", path]).await;
    assert_eq!(stopped.code, FOUND);
    assert!(
        stopped.text.contains("27 of") && stopped.text.ends_with("--yes-delete 27\n"),
        "{}",
        stopped.text
    );
    let stopped: serde_json::Value = serde_json::from_str(&run(&["gc", path, "--json"]).await.text).unwrap();
    assert_eq!(stopped["needsAllow"], 27);
    assert_eq!(run(&["gc", path, "--yes-delete", "26"]).await.code, FOUND, "exactly that many");
    assert_eq!(run(&["gc", path, "--yes-delete", "27"]).await.code, 0);
}

#[tokio::test]
async fn damage_is_found_marked_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    fill(folder.path(), 2).await;
    let clean = run(&["scrub", path]).await;
    assert!(
        clean.code == 0 && clean.text.contains("damaged or missing                    0"),
        "{}",
        clean.text
    );
    let state = open(folder.path()).await.catalog.state();
    let (digest, _) = state.blobs().next().unwrap();
    let hex = digest.hex();
    let blob = folder.path().join(format!("v1/blobs/sha256/{}/{hex}", &hex[..2]));
    let file = std::fs::read_dir(blob).unwrap().next().unwrap().unwrap().path();
    std::fs::write(file, b"altered").unwrap();
    for (line, marked) in
        [(&["scrub", path, "--dry-run", "--json"][..], false), (&["scrub", path, "--json"], true)]
    {
        let found = run(line).await;
        let json: serde_json::Value = serde_json::from_str(&found.text).unwrap();
        assert_eq!((found.code, &json["findings"][0]["marked"]), (FOUND, &marked.into()), "{json}");
    }
    assert_eq!(run(&["copy", path, folder.path().join("x").to_str().unwrap()]).await.code, FOUND);
}

#[tokio::test]
async fn records_are_proved_and_what_is_derived_is_written_anew() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    fill(folder.path(), 2).await;
    let dry = run(&["rebuild", path, "--dry-run"]).await;
    assert!(dry.code == 0 && dry.text.ends_with("nothing was written\n"), "{}", dry.text);
    let told = run(&["rebuild", path]).await;
    assert!(told.text.contains("v1/catalog/log: proved from 0 to 2, the last record is 2"), "{}", told.text);
    let record = folder.path().join("v1/catalog/log/00000000000000000001");
    std::fs::write(record, b"{}").unwrap();
    let broken = run(&["rebuild", path]).await;
    assert!(broken.code == FOUND && broken.text.contains("BROKEN at record 1"), "{}", broken.text);
}

#[tokio::test]
async fn a_check_says_what_was_tried() {
    let folder = tempfile::tempdir().unwrap();
    let told = run(&["check", folder.path().to_str().unwrap()]).await;
    let names: Vec<_> = told.text.lines().map(|line| line.split("  ").next().unwrap_or_default()).collect();
    let golden = [
        "directory",
        "file system",
        "lock",
        "leftovers",
        "free space",
        "write through to the disk",
        "race of creates",
        "create over existing",
        "read after write",
        "absence is not remembered",
        "list after write",
        "A registry can be kept here; one instance at a time writes.",
    ];
    assert_eq!(names, golden, "{}", told.text);
    std::fs::write(folder.path().join("notes"), b"x").unwrap();
    assert!(refused(&["check", folder.path().to_str().unwrap()]).await.contains("not a registry's storage"));
}

#[tokio::test]
async fn a_wrong_command_line_is_told_from_trouble() {
    for (line, usage) in [
        (&["check", "bucket"][..], true),
        (&["scrub"], true),
        (&["copy", "./x"], true),
        (&["scrub", "./absent-here", "--dry-run"], false),
        (&["gc", "--config", "./absent-here"], false),
    ] {
        let line = Line::try_parse_from([&["storage"], line].concat()).unwrap();
        let error = tell(&line.storage.command, &desk()).await.unwrap_err();
        assert_eq!(is_usage(&*error), usage, "{error}");
    }
}

#[tokio::test]
async fn arguments_that_name_no_storage_are_told_what_would() {
    assert!(refused(&["check"]).await.contains("--config"));
    assert!(refused(&["check", "bucket"]).await.contains("write ./bucket for a directory or s3://bucket"));
    assert!(refused(&["check", "./x", "--endpoint", "http://x"]).await.contains("--endpoint is for buckets"));
    assert!(refused(&["copy", "./x"]).await.contains("storage copy FROM TO"));
    assert!(refused(&["copy", "./x", "./y", "--leave-out", "1"]).await.contains("--cutover"));
    assert!(refused(&["copy", "./x", "./y", "--promote"]).await.contains("cannot be used with"));
    assert!(refused(&["copy", "./x", "./y", "--endpoint", "http://x"]).await.contains("for buckets"));
    assert!(refused(&["gc", "./x", "--config", "y"]).await.contains("cannot be used with"));
    assert!(refused(&["gc", "./x", "--token-file", "y"]).await.contains("--server"));
    assert!(refused(&["scrub", "./absent-here", "--dry-run"]).await.contains("no registry's storage"));
}
