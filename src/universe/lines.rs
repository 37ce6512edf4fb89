//! On which line each key of a JSON text stands.
//!
//! serde_json knows lines for syntax errors only. This walks a text that serde_json has already accepted and is
//! used only once a fault was found, so it costs nothing in the good case.

use std::collections::BTreeMap;

/// Where keys are longer than anybody can read, lines are not worth their memory.
const LONGEST_PATH: usize = 1024;

/// The line of a place in a JSON text, or of the nearest place around it.
pub fn line_of(text: &str, path: &str) -> Option<usize> {
    Lines::of(text).line(path)
}

/// Lines by path (`licenses[0].url`), counted from 1.
pub(super) struct Lines(BTreeMap<String, usize>);

impl Lines {
    /// Walks a text. A text that is no JSON gives what could be found up to the first error.
    pub(super) fn of(text: &str) -> Self {
        let mut walker = Walker { bytes: text.as_bytes(), at: 0, line: 1, found: BTreeMap::new() };
        // Bounded by serde_json's own depth of 128, which the text has passed.
        walker.value("", 0);
        Self(walker.found)
    }

    /// The line of a place, or of the nearest place around it.
    pub(super) fn line(&self, path: &str) -> Option<usize> {
        let mut path = path;
        loop {
            if let Some(line) = self.0.get(path) {
                return Some(*line);
            }
            path = &path[..path.rfind(['.', '['])?];
        }
    }
}

struct Walker<'a> {
    bytes: &'a [u8],
    at: usize,
    line: usize,
    found: BTreeMap<String, usize>,
}

impl Walker<'_> {
    fn value(&mut self, path: &str, depth: usize) -> Option<()> {
        if depth > 128 || path.len() > LONGEST_PATH {
            return None;
        }
        match self.peek()? {
            b'{' => self.members(path, depth),
            b'[' => self.items(path, depth),
            b'"' => self.string().map(drop),
            _ => {
                while self.bytes.get(self.at).is_some_and(|b| !b",]} \t\r\n".contains(b)) {
                    self.at += 1;
                }
                Some(())
            }
        }
    }

    fn members(&mut self, path: &str, depth: usize) -> Option<()> {
        self.at += 1;
        loop {
            match self.peek()? {
                b'}' => break,
                b',' => self.at += 1,
                _ => {
                    let line = self.line;
                    let key = self.string()?;
                    let place = if path.is_empty() { key } else { format!("{path}.{key}") };
                    self.found.insert(place.clone(), line);
                    self.peek()?;
                    self.at += 1;
                    self.value(&place, depth + 1)?;
                }
            }
        }
        self.at += 1;
        Some(())
    }

    fn items(&mut self, path: &str, depth: usize) -> Option<()> {
        self.at += 1;
        let mut index = 0;
        loop {
            match self.peek()? {
                b']' => break,
                b',' => self.at += 1,
                _ => {
                    let place = format!("{path}[{index}]");
                    self.found.insert(place.clone(), self.line);
                    self.value(&place, depth + 1)?;
                    index += 1;
                }
            }
        }
        self.at += 1;
        Some(())
    }

    /// The next byte that is no white space, without taking it.
    fn peek(&mut self) -> Option<u8> {
        loop {
            let byte = *self.bytes.get(self.at)?;
            match byte {
                b'\n' => self.line += 1,
                b' ' | b'\t' | b'\r' => {}
                _ => return Some(byte),
            }
            self.at += 1;
        }
    }

    fn string(&mut self) -> Option<String> {
        let start = self.at;
        self.at += 1;
        loop {
            match *self.bytes.get(self.at)? {
                b'"' => break,
                b'\\' => self.at += 2,
                _ => self.at += 1,
            }
        }
        self.at += 1;
        serde_json::from_slice(self.bytes.get(start..self.at)?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_elements_have_their_lines() {
        let lines = Lines::of("{\n \"a\": [1,\n  {\"b\\\"c\": \"}\"}],\n\n \"d\": {}, \"a\":\n 2}");
        assert_eq!(lines.line("a[1]"), Some(3));
        assert_eq!(lines.line("a[1].b\"c"), Some(3));
        assert_eq!(lines.line("d.missing"), Some(5));
        assert_eq!(lines.line("a"), Some(5), "the last of two equal keys counts, as it does for the value");
        assert_eq!(lines.line("nothing"), None);
        assert_eq!(lines.line(""), None);
    }

    #[test]
    fn a_broken_text_ends_the_walk() {
        for text in ["", "{", "{\"a", "{\"a\\", "[1,[", &"[".repeat(100_000)] {
            assert_eq!(Lines::of(text).line("x"), None);
        }
    }
}
