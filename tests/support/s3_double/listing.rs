//! ListObjectsV2: prefix, delimiter, start-after, and pages.

use data_encoding::HEXLOWER;

use super::ask::Ask;
use super::reply::Reply;
use super::world::{Object, Objects};
use super::xml::Xml;

/// A line of a listing.
enum Line<'a> {
    Object(&'a str, &'a Object),
    Prefix(String),
}

pub fn list(objects: &Objects, ask: &Ask, page: usize) -> Reply {
    let wanted = ask.query("max-keys").parse().unwrap_or(1000);
    let limit = page.min(wanted);
    let token = ask.query("continuation-token");
    let after = if token.is_empty() {
        ask.query("start-after").to_owned()
    } else {
        let Some(after) = decoded(token) else {
            let message = "The continuation token provided is incorrect";
            return Reply::error(400, "InvalidArgument", message, ask.key());
        };
        after
    };
    let mut lines = lines(objects, ask.key(), ask.query("delimiter"), &after, limit + 1);
    let truncated = lines.len() > limit;
    lines.truncate(limit);
    let document = Xml::default().text("Name", &ask.bucket).text("Prefix", ask.key());
    let document =
        document.text("KeyCount", lines.len()).text("MaxKeys", limit).text("IsTruncated", truncated);
    let document = match lines.last() {
        Some(last) if truncated => {
            document.text("NextContinuationToken", HEXLOWER.encode(last.end().as_bytes()))
        }
        _ => document,
    };
    let document = lines.iter().fold(document, |document, line| line.write(document));
    Reply::xml(200, document.document("ListBucketResult"))
}

fn decoded(token: &str) -> Option<String> {
    String::from_utf8(HEXLOWER.decode(token.as_bytes()).ok()?).ok()
}

fn lines<'a>(
    objects: &'a Objects,
    prefix: &str,
    delimiter: &str,
    after: &str,
    limit: usize,
) -> Vec<Line<'a>> {
    let mut lines: Vec<Line<'a>> = Vec::new();
    let start = prefix.max(after).to_owned();
    for (key, object) in objects.range(start..) {
        let Some(rest) = key.strip_prefix(prefix) else { break };
        if lines.len() == limit {
            break;
        }
        let folder = rest.split_once(delimiter).filter(|_| !delimiter.is_empty());
        let Some((folder, _)) = folder else {
            if key.as_str() > after {
                lines.push(Line::Object(key, object));
            }
            continue;
        };
        let folder = format!("{prefix}{folder}{delimiter}");
        let known = matches!(lines.last(), Some(Line::Prefix(last)) if *last == folder);
        // What stands under a folder that an earlier page named is not named again.
        if !known && key.as_str() > after && !after.starts_with(&folder) {
            lines.push(Line::Prefix(folder));
        }
    }
    lines
}

impl Line<'_> {
    /// Where the next page begins after.
    fn end(&self) -> &str {
        match self {
            Self::Object(key, _) => key,
            Self::Prefix(prefix) => prefix,
        }
    }

    fn write(&self, document: Xml) -> Xml {
        match self {
            Self::Object(key, object) => {
                let modified = format!("{}", object.modified.strftime("%Y-%m-%dT%H:%M:%S.000Z"));
                let entry = Xml::default().text("Key", key).text("LastModified", modified);
                let entry = entry.text("ETag", &object.etag).text("Size", object.body.len());
                document.element("Contents", &entry.text("StorageClass", "STANDARD"))
            }
            Self::Prefix(prefix) => {
                document.element("CommonPrefixes", &Xml::default().text("Prefix", prefix))
            }
        }
    }
}
