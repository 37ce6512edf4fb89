//! What is kept is what the route answers, and is given only while the route would.

use axum::http::{Method, Uri};

use super::*;
use crate::clock::Clock;
use crate::http::files::quick;
use crate::http::packages::tests::{Answer, Door, door};
use crate::model::{Coordinate, Digest};
use crate::registry::intake::tests::bundle;
use crate::storage::blobs::BlobKey;
use crate::storage::catalog::{CatalogOperation, Copy};

/// A registry with a package one member of which was asked for once, and the path of that.
async fn asked() -> (Door, Blob, Coordinate, String, Answer) {
    let door = door().await;
    let (content, bytes) = bundle("0.1.0", 1).await;
    door.post(&bytes).await;
    let (coordinate, member) = (content.coordinate, &content.members[1]);
    let path = format!("/resource/{}/{}/{}", coordinate.encode(), member.digest, member.name);
    assert!(at_once(&door, &path).is_none(), "it was never read");
    let answer = door.get(&path).await;
    assert_eq!((answer.0, Digest::of(&answer.2)), (200, member.digest));
    let blob = door.site.storage.whole(&member.digest).unwrap();
    (door, blob, coordinate, path, answer)
}

fn ask(door: &Door, method: &Method, path: &str, headers: &HeaderMap) -> Option<Response> {
    quick(Arc::clone(&door.site))(method, &path.parse::<Uri>().unwrap(), headers)
}

fn at_once(door: &Door, path: &str) -> Option<Response> {
    ask(door, &Method::GET, path, &HeaderMap::new())
}

async fn opened(response: Response) -> Answer {
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    (status, headers, axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap())
}

#[tokio::test]
async fn the_second_answer_is_the_first_and_needs_no_file() {
    let (door, blob, _, path, first) = asked().await;
    let folder = door.folder.path().join("storage/v1/blobs/sha256");
    std::fs::remove_dir_all(folder).unwrap();
    let before = door.site.metrics.render();
    assert_eq!(opened(at_once(&door, &path).unwrap()).await, first);
    assert_ne!(door.site.metrics.render(), before, "it is counted");
    assert_eq!(blob.size, first.2.len() as u64);
    for name in ["range", "if-range", "if-none-match"] {
        let headers = [(name.parse().unwrap(), "bytes=0-0".parse().unwrap())].into_iter().collect();
        assert!(ask(&door, &Method::GET, &path, &headers).is_none(), "{name}");
    }
    for method in [Method::HEAD, Method::POST, Method::DELETE] {
        assert!(ask(&door, &method, &path, &HeaderMap::new()).is_none(), "{method}");
    }
    assert!(at_once(&door, "/repo").is_none() && at_once(&door, &format!("{path}x")).is_none());
}

#[tokio::test]
async fn what_is_not_published_any_more_is_not_given() {
    let (door, _, coordinate, path, first) = asked().await;
    let (content, bytes) = bundle("0.2.0", 1).await;
    door.post(&bytes).await;
    assert_eq!(opened(at_once(&door, &path).unwrap()).await, first, "another package changes nothing");
    // The bytes stay referenced, only not there.
    assert!(content.members.iter().any(|member| path.contains(&member.digest.to_string())));
    door.site.storage.catalog.unpublish(coordinate).await.unwrap();
    assert!(at_once(&door, &path).is_none());
    assert_eq!(door.get(&path).await.0, 404);
}

#[tokio::test]
async fn a_copy_that_was_found_damaged_is_not_given() {
    let (door, Blob { digest, key, .. }, _, path, _) = asked().await;
    let found = CatalogOperation::Quarantined { blob: Copy { digest, key } };
    door.site.storage.catalog.commit(found).await.unwrap();
    assert!(at_once(&door, &path).is_none());
    assert_eq!(door.get(&path).await.0, door.ask(Method::HEAD, &path).await.0);
    assert!(at_once(&door, &path).is_none(), "and not kept again");
    let (_, bytes) = bundle("0.1.0", 1).await;
    door.post(&bytes).await;
    assert_ne!(door.site.storage.whole(&digest).unwrap().key, key);
    assert!(at_once(&door, &path).is_none(), "the new copy was not read yet");
    assert_eq!(door.get(&path).await.0, 200);
    assert!(at_once(&door, &path).is_some());
}

#[tokio::test]
async fn it_is_read_again_after_a_day() {
    let (door, _, _, path, _) = asked().await;
    let (hot, catalog, now) = (&door.site.hot, &door.site.storage.catalog, Clock::system().boot());
    assert!(hot.answer(&path, catalog, now + TRUST / 2).is_some());
    assert!(hot.answer(&path, catalog, now + TRUST).is_none());
}

fn kept(number: u64, length: usize) -> (String, Kept) {
    let digest = Digest::of(&number.to_le_bytes());
    let coordinate = Coordinate::new("hello".parse().unwrap(), "1".parse().unwrap());
    let key = BlobKey { start: 0, random: number };
    let kept = Kept {
        path: ResourcePath { coordinate, digest, name: "name".into() },
        blob: Blob { digest, key, size: length as u64, chunks: None },
        media_type: "text/plain".into(),
        headers: HeaderMap::new(),
        bytes: Bytes::from(vec![0; length]),
        since: Duration::ZERO,
        seq: AtomicU64::new(0),
        used: AtomicBool::new(false),
    };
    (format!("/resource/{number}"), kept)
}

#[test]
fn what_is_kept_is_bounded_and_what_is_asked_for_stays_longest() {
    let hot = Hot::default();
    let largest = usize::try_from(LARGEST).unwrap();
    let keep = |number, length| {
        let (path, kept) = kept(number, length);
        hot.keep(&path, kept);
    };
    for number in 0..2_000 {
        // Small ones count with what surrounds them.
        keep(number, if number % 2 == 0 { largest } else { 0 });
        let held = hot.0.read().unwrap();
        assert!(held.bytes <= HELD);
        held.answers["/resource/0"].used.store(true, Ordering::Relaxed);
    }
    for _ in 0..2_000 {
        keep(5_000, 100);
    }
    let held = hot.0.read().unwrap();
    let sum: usize = held.answers.iter().map(|(path, kept)| cost(path, kept)).sum();
    assert_eq!((sum, held.answers.len()), (held.bytes, held.order.len()));
    assert!(held.bytes > HELD / 2 && held.answers.len() > 200, "{} {}", held.bytes, held.answers.len());
    assert!(held.answers.contains_key("/resource/0") && !held.answers.contains_key("/resource/2"));
}
