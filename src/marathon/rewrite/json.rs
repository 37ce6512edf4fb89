//! Changes strings in a JSON text and leaves every other byte as it is.
//!
//! Reading and writing the document anew would change the order of members, numbers such as 1.10 and the
//! layout, and then a label would differ in more than the hosts.

use serde::de::IgnoredAny;

/// An object or array that is open, with the length of the pointer that leads to it.
enum Frame {
    /// An object; `named` from a member's name to the end of its value.
    Object { base: usize, named: bool },
    /// An array, at this index.
    Array { base: usize, index: usize },
}

/// The way to the place that is read.
#[derive(Default)]
struct Way {
    frames: Vec<Frame>,
    pointer: String,
}

impl Way {
    fn enter_object(&mut self) {
        self.frames.push(Frame::Object { base: self.pointer.len(), named: false });
    }

    fn enter_array(&mut self) {
        self.frames.push(Frame::Array { base: self.pointer.len(), index: 0 });
        self.pointer.push_str("/0");
    }

    fn leave(&mut self) {
        if let Some(Frame::Object { base, .. } | Frame::Array { base, .. }) = self.frames.pop() {
            self.pointer.truncate(base);
        }
    }

    fn next(&mut self) {
        match self.frames.last_mut() {
            Some(Frame::Object { named, .. }) => *named = false,
            Some(Frame::Array { base, index }) => {
                *index += 1;
                self.pointer.truncate(*base);
                self.pointer.push('/');
                self.pointer.push_str(&index.to_string());
            }
            None => {}
        }
    }

    fn expects_name(&self) -> bool {
        matches!(self.frames.last(), Some(Frame::Object { named: false, .. }))
    }

    fn name(&mut self, name: &str) {
        if let Some(Frame::Object { base, named }) = self.frames.last_mut() {
            *named = true;
            self.pointer.truncate(*base);
            self.pointer.push('/');
            self.pointer.push_str(&escaped(name));
        }
    }
}

/// Gives every string value with its JSON pointer to `change`, which may return another. Names of members are
/// left alone. None if nothing was changed.
///
/// # Errors
/// When the text is no JSON, and the first error that `change` returns.
pub(super) fn change_strings<E: From<serde_json::Error>>(
    text: &str,
    mut change: impl FnMut(&str, &str) -> Result<Option<String>, E>,
) -> Result<Option<String>, E> {
    serde_json::from_str::<IgnoredAny>(text)?;
    let mut way = Way::default();
    let (mut out, mut copied, mut at) = (String::new(), 0, 0);
    while let Some(&byte) = text.as_bytes().get(at) {
        let start = at;
        at += 1;
        match byte {
            b'{' => way.enter_object(),
            b'[' => way.enter_array(),
            b'}' | b']' => way.leave(),
            b',' => way.next(),
            b'"' => {
                at = end_of_string(text, start);
                let string: String = serde_json::from_str(&text[start..at])?;
                if way.expects_name() {
                    way.name(&string);
                } else if let Some(new) = change(&way.pointer, &string)? {
                    out.push_str(&text[copied..start]);
                    out.push_str(&serde_json::to_string(&new)?);
                    copied = at;
                }
            }
            _ => {}
        }
    }
    if copied == 0 {
        return Ok(None);
    }
    out.push_str(&text[copied..]);
    Ok(Some(out))
}

/// The end of the string that begins at a quote, in a text that is known to be JSON.
fn end_of_string(text: &str, start: usize) -> usize {
    let mut at = start + 1;
    loop {
        match text.as_bytes().get(at) {
            Some(b'"') => return at + 1,
            Some(b'\\') => at += 2,
            Some(_) => at += 1,
            None => return text.len(),
        }
    }
}

/// A member's name as it stands in a JSON pointer (RFC 6901).
pub(super) fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marked(text: &str) -> (Option<String>, Vec<String>) {
        let mut seen = Vec::new();
        let changed = change_strings(text, |pointer, string| {
            seen.push(format!("{pointer}={string}"));
            Ok::<_, serde_json::Error>(string.contains("old").then(|| string.replace("old", "n\"w")))
        });
        (changed.unwrap(), seen)
    }

    #[test]
    fn only_the_changed_strings_differ() {
        let text =
            r#" { "b" : [ 1.10, "old", {"a/~":"x\"old"} ], "old": 1e400, "c":"\u0041" , "b":[[],["y"]]}"#;
        let (changed, seen) = marked(text);
        let wanted =
            r#" { "b" : [ 1.10, "n\"w", {"a/~":"x\"n\"w"} ], "old": 1e400, "c":"\u0041" , "b":[[],["y"]]}"#;
        assert_eq!(changed.as_deref(), Some(wanted));
        assert_eq!(seen, ["/b/1=old", "/b/2/a~1~0=x\"old", "/c=A", "/b/1/0=y"]);
        assert_eq!(marked(wanted).0, None);
        assert_eq!(marked("\"old\"").0.as_deref(), Some("\"n\\\"w\""));
    }

    #[test]
    fn what_is_no_json_is_an_error() {
        for bad in ["", "{", "{\"a\":}", "[\"a\",]", "x", "\"\\ud800\"", &"[".repeat(500)] {
            let changed = change_strings(bad, |_, _| Ok::<_, serde_json::Error>(None));
            assert!(changed.is_err(), "{bad}");
        }
    }
}
