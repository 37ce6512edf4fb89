//! Finds hosts in a text and puts others in their place.
//!
//! A host is taken only whole and only where a host stands: behind `scheme://` and user info, at the beginning of
//! an image reference, or in free text where a reference can begin. What follows a `/` of a URI is its path and
//! stays, whatever it looks like.

use super::name::{Renames, Tail, port_of};

/// What kind of text it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    /// One URI. Without a scheme it is a path on the agent.
    Uri,
    /// One image reference, `[host[:port]/]name[:tag][@digest]`.
    Image,
    /// Anything, with any number of hosts.
    Free,
}

/// A text after replacement.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Replaced {
    /// The new text.
    pub(super) text: String,
    /// What was replaced by what, in order.
    pub(super) swaps: Vec<(String, String)>,
}

/// How far back the context of a host is looked at; URLs are not that long.
const LONGEST_CONTEXT: usize = 2048;

/// One place where a host stands.
struct Spot {
    start: usize,
    end: usize,
    new: String,
}

/// The text with all hosts replaced; none if there is nothing to replace.
pub(super) fn replace(text: &str, reading: Reading, renames: &Renames) -> Option<Replaced> {
    let spots = match reading {
        Reading::Uri => uri(text, renames).into_iter().collect(),
        Reading::Image => image(text, renames).into_iter().collect(),
        Reading::Free => free(text, renames),
    };
    let mut replaced = Replaced { text: String::with_capacity(text.len()), swaps: Vec::new() };
    let mut done = 0;
    // Where the spelling does not change there is nothing to tell.
    for Spot { start, end, new } in spots.into_iter().filter(|spot| text[spot.start..spot.end] != spot.new) {
        replaced.text.push_str(&text[done..start]);
        replaced.text.push_str(&new);
        replaced.swaps.push((text[start..end].to_owned(), new));
        done = end;
    }
    replaced.text.push_str(&text[done..]);
    (!replaced.swaps.is_empty()).then_some(replaced)
}

fn uri(text: &str, renames: &Renames) -> Option<Spot> {
    let scheme = text.find("://")?;
    if !is_scheme(&text[..scheme]) {
        return None;
    }
    let start = scheme + 3;
    let authority = text[start..].split(['/', '?', '#']).next()?;
    let host = authority.rfind('@').map_or(0, |at| at + 1);
    whole(text, start + host, start + authority.len(), renames)
}

/// The first component is a host only if it looks like one, else a name on the default registry
/// (distribution/reference, `splitDockerDomain`).
fn image(text: &str, renames: &Renames) -> Option<Spot> {
    if text.contains("://") {
        return uri(text, renames);
    }
    let host = &text[..text.find('/')?];
    let looks = host.contains(['.', ':']) || host == "localhost";
    if looks { whole(text, 0, host.len(), renames) } else { None }
}

/// A host that, with its port, fills the range.
fn whole(text: &str, start: usize, end: usize, renames: &Renames) -> Option<Spot> {
    let range = &text[start..end];
    let (host, rest) = range.split_at(range.find(|c| !is_run(c)).unwrap_or(range.len()));
    let (host, tail) = match (host.trim_end_matches('.'), rest) {
        (trimmed, _) if trimmed.len() < host.len() => (trimmed, Tail::Odd),
        (host, "") => (host, Tail::Bare),
        (host, ":") => (host, Tail::Odd),
        (host, rest) => (host, Tail::Port(port_of(rest.strip_prefix(':')?)?)),
    };
    let new = renames.replacement(host, tail, true)?;
    let length = if tail == Tail::Odd { host.len() } else { range.len() };
    Some(Spot { start, end: start + length, new })
}

fn free(text: &str, renames: &Renames) -> Vec<Spot> {
    let mut spots = Vec::new();
    let mut at = 0;
    while let Some(begin) = text[at..].find(is_run) {
        let start = at + begin;
        let end = text[start..].find(|c| !is_run(c)).map_or(text.len(), |length| start + length);
        at = end;
        if let Some(spot) = spot(text, start, end, renames) {
            at = at.max(spot.end);
            spots.push(spot);
        }
    }
    spots
}

/// The host that a maximal run of its characters is, if it is one.
fn spot(text: &str, start: usize, end: usize, renames: &Renames) -> Option<Spot> {
    let run = &text[start..end];
    let host = run.trim_end_matches('.');
    let (tail, length) = tail(&text[end..])?;
    let (tail, length) = if host.len() < run.len() { (Tail::Odd, 0) } else { (tail, length) };
    // Most runs are no old host at all; what stands before is looked at for the others only.
    let new = renames.replacement(host, tail, true)?;
    let before = &text[..start];
    let bare = || begins_reference(before, true) && renames.replacement(host, tail, false).is_some();
    if !follows_authority(before) && !bare() {
        return None;
    }
    Some(Spot { start, end: start + host.len() + length, new })
}

/// What stands behind a host and how long it is; none if the host goes on, or may go on.
fn tail(rest: &str) -> Option<(Tail, usize)> {
    let Some(after) = rest.strip_prefix(':') else { return ends(rest).then_some((Tail::Bare, 0)) };
    let digits = after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len());
    if digits > 0 {
        let port = port_of(&after[..digits])?;
        return ends(&after[digits..]).then_some((Tail::Port(port), digits + 1));
    }
    // A tag or a path of scp goes on in letters, a scheme in slashes: then the word was no host.
    (!after.starts_with(is_run) && !after.starts_with("//")).then_some((Tail::Odd, 0))
}

/// Whether a host, or its port, is over here. After `@` it was user info, after `%`, `$` and `{` it may go on.
fn ends(rest: &str) -> bool {
    let mut rest = rest.chars();
    match rest.next() {
        None => true,
        Some('.' | ':') => rest.next().is_none_or(|c| !is_run(c)),
        Some('@' | '%' | '$' | '{' | '*' | '+' | '~' | '^') => false,
        Some(c) => !is_run(c),
    }
}

/// What a host may consist of; letters of all scripts, so that no part of a longer name is taken.
fn is_run(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '-' | '_' | '.')
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic()) && text.chars().all(is_of_scheme)
}

fn is_of_scheme(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.')
}

/// What ends a text within a text for sure.
fn is_hard(c: char) -> bool {
    c.is_whitespace() || c.is_control() || matches!(c, '"' | '\'' | '`' | '<' | '>')
}

/// What parts the items of a list, but may also stand in a path.
fn is_soft(c: char) -> bool {
    matches!(c, ',' | ';' | '|' | '(' | '[' | '{')
}

/// The end of the text, no longer than the context that is looked at; none where even that does not tell.
fn context(before: &str) -> Option<&str> {
    if before.len() <= LONGEST_CONTEXT {
        return Some(before);
    }
    let from = (before.len() - LONGEST_CONTEXT..before.len()).find(|at| before.is_char_boundary(*at))?;
    let near = &before[from..];
    near.contains(is_hard).then_some(near)
}

/// Whether the host of a URI follows here: `scheme://`, `scheme://user:password@`, or `//` alone.
fn follows_authority(before: &str) -> bool {
    let Some(before) = context(before) else { return false };
    let before = match before.strip_suffix('@') {
        None => before,
        Some(user) => {
            let Some(slashes) = user.rfind("//") else { return false };
            let (head, user) = user.split_at(slashes + 2);
            if user.contains(|c| is_hard(c) || matches!(c, '/' | '?' | '#')) {
                return false;
            }
            head
        }
    };
    let Some(head) = before.strip_suffix("//") else { return false };
    let Some(head) = head.strip_suffix(':') else { return begins_reference(head, true) };
    let start = head.trim_end_matches(is_of_scheme).len();
    is_scheme(&head[start..]) && begins_reference(&head[..start], false)
}

/// Whether a reference can begin here; one without a scheme (`bare`) begins in less places.
fn begins_reference(before: &str, bare: bool) -> bool {
    let Some(before) = context(before) else { return false };
    let Some(last) = before.chars().next_back() else { return true };
    let chunk = before.rsplit(is_hard).next().unwrap_or_default();
    match last {
        c if is_hard(c) => true,
        // A list of URIs, or a comma in the path of one.
        c if is_soft(c) => {
            !bare || chunk.rsplit_once("://").is_none_or(|(_, rest)| !rest.contains('/') || in_query(rest))
        }
        // A value, or an equals sign in a path.
        '=' | ':' => {
            let item = chunk.rsplit(is_soft).next().unwrap_or_default();
            !item.contains(['/', '@']) || (last == '=' && in_query(item))
        }
        _ => false,
    }
}

fn in_query(text: &str) -> bool {
    text.contains(['?', '#'])
}
