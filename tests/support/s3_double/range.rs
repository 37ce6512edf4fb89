//! An object, or the part of it that `Range` asks for.

use std::ops::Range;

use axum::http::header;

use super::ask::Ask;
use super::reply::Reply;
use super::world::Object;

pub fn part(object: &Object, ask: &Ask) -> Reply {
    let size = object.body.len();
    let reply = match ask.header(header::RANGE).map(|text| range(text, size)) {
        None => Reply::new(200, object.body.clone()),
        Some(None) => {
            let refusal =
                Reply::error(416, "InvalidRange", "The requested range is not satisfiable", ask.key());
            return refusal.with(header::CONTENT_RANGE, format!("bytes */{size}"));
        }
        Some(Some(part)) => {
            let words = format!("bytes {}-{}/{size}", part.start, part.end - 1);
            Reply::new(206, object.body.slice(part)).with(header::CONTENT_RANGE, words)
        }
    };
    let reply = object.headers.iter().fold(reply, |reply, (name, value)| reply.with(name.clone(), value));
    let reply = reply.with(header::ETAG, object.etag.clone()).with(header::ACCEPT_RANGES, "bytes");
    reply.with(header::LAST_MODIFIED, object.last_modified())
}

/// `bytes=a-b`, `bytes=a-` and `bytes=-n`; none when nothing of the object lies in it.
fn range(text: &str, size: usize) -> Option<Range<usize>> {
    let (first, last) = text.strip_prefix("bytes=")?.split_once('-')?;
    let part = match (first.parse::<usize>(), last.parse::<usize>()) {
        (Ok(first), Ok(last)) if first <= last => first..size.min(last.saturating_add(1)),
        (Ok(first), Err(_)) if last.is_empty() => first..size,
        (Err(_), Ok(count)) if first.is_empty() => size.saturating_sub(count)..size,
        _ => return None,
    };
    (part.start < part.end).then_some(part)
}
