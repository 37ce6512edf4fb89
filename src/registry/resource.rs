//! Resources: the members of packages (`GET /resource/<coordinate>/sha256:<hex>/<file name>`).
//!
//! The path is that of the original, so that URIs in running apps stay valid. A digest is served only under
//! a coordinate that references it, with the file name under which it does.

use std::ops::Range;

use data_encoding::BASE64;

use crate::model::{Coordinate, Digest};

/// A resource as a URL names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResourcePath {
    /// The package version.
    pub coordinate: Coordinate,
    /// The member's digest.
    pub digest: Digest,
    /// The member's file name.
    pub name: String,
}

impl ResourcePath {
    /// Reads the three segments (already percent-decoded). None where no such resource can exist.
    #[must_use]
    pub fn parse(coordinate: &str, digest: &str, name: &str) -> Option<Self> {
        Some(Self {
            coordinate: Coordinate::decode(coordinate).ok()?,
            digest: digest.parse().ok()?,
            name: name.to_owned(),
        })
    }
}

/// What part of a resource a request wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// All of it.
    Whole,
    /// These bytes.
    Part(Range<u64>),
    /// Bytes that it does not have (416).
    Unsatisfiable,
}

/// The strong entity tag: the digest itself, since equal digests mean equal bytes.
#[must_use]
pub fn entity_tag(digest: Digest) -> String {
    format!("\"{digest}\"")
}

/// The value of `Repr-Digest` (RFC 9530).
#[must_use]
pub fn repr_digest(digest: Digest) -> String {
    format!("sha-256=:{}:", BASE64.encode(digest.as_bytes()))
}

/// Whether an `If-None-Match` header names the tag.
#[must_use]
pub fn matches_none(header: Option<&str>, tag: &str) -> bool {
    let tags = header.unwrap_or_default().split(',').map(str::trim);
    tags.map(|given| given.strip_prefix("W/").unwrap_or(given)).any(|given| given == tag || given == "*")
}

/// Reads a `Range` header (RFC 9110, 14.2). Several ranges, and anything that is no byte range, mean the whole:
/// a server may ignore the header, and no client of ours asks for several.
#[must_use]
pub fn wanted(range: Option<&str>, if_range: Option<&str>, tag: &str, size: u64) -> Wanted {
    if if_range.is_some_and(|given| given.trim() != tag) {
        return Wanted::Whole;
    }
    let Some(spec) = range.and_then(|range| range.trim().strip_prefix("bytes=")) else {
        return Wanted::Whole;
    };
    let Some((first, last)) = spec.split_once('-') else { return Wanted::Whole };
    let (first, last) = (first.trim(), last.trim());
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if !digits(first) || !digits(last) || (first.is_empty() && last.is_empty()) {
        return Wanted::Whole;
    }
    // A number too large for 64 bits lies beyond every end.
    let number = |text: &str| text.parse::<u64>().unwrap_or(u64::MAX);
    if first.is_empty() {
        let length = number(last).min(size);
        return if length == 0 { Wanted::Unsatisfiable } else { Wanted::Part(size - length..size) };
    }
    let start = number(first);
    if !last.is_empty() && number(last) < start {
        return Wanted::Whole;
    }
    if start >= size {
        return Wanted::Unsatisfiable;
    }
    let end = if last.is_empty() { size } else { number(last).saturating_add(1).min(size) };
    Wanted::Part(start..end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_follow_the_rfc() {
        let tag = "\"t\"";
        let ask = |range| wanted(Some(range), None, tag, 100);
        assert_eq!(ask("bytes=0-9"), Wanted::Part(0..10));
        assert_eq!(ask("bytes=90-"), Wanted::Part(90..100));
        assert_eq!(ask("bytes=-5"), Wanted::Part(95..100));
        assert_eq!(ask("bytes=-500"), Wanted::Part(0..100));
        assert_eq!(ask("bytes=0-18446744073709551615"), Wanted::Part(0..100));
        assert_eq!(ask("bytes=99-200"), Wanted::Part(99..100));
        for none in ["bytes=100-", "bytes=-0", "bytes=99999999999999999999-"] {
            assert_eq!(ask(none), Wanted::Unsatisfiable, "{none}");
        }
        for whole in ["bytes=5-2", "bytes=-", "bytes=a-b", "lines=1-2", "bytes=0-1,3-4", "bytes=+1-2"] {
            assert_eq!(ask(whole), Wanted::Whole, "{whole}");
        }
        assert_eq!(wanted(Some("bytes=0-9"), Some("\"other\""), tag, 100), Wanted::Whole);
        assert_eq!(wanted(Some("bytes=0-9"), Some(tag), tag, 100), Wanted::Part(0..10));
        assert_eq!(wanted(Some("bytes=0-"), None, tag, 0), Wanted::Unsatisfiable);
    }

    #[test]
    fn entity_tags_are_compared_one_by_one() {
        let tag = entity_tag(Digest::of(b""));
        assert!(matches_none(Some(&format!("\"x\", {tag}")), &tag));
        assert!(matches_none(Some("*"), &tag));
        assert!(!matches_none(Some("\"x\""), &tag) && !matches_none(None, &tag));
    }
}
