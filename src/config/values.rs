//! Values as the configuration writes them: durations, numbers, paths, URLs, and those that stand elsewhere.

use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::SignedDuration;
use reqwest::Url;

use super::{Environment, Overrides};
use crate::manifest::fields::{Faults, Fields, Located};
use crate::manifest::path::{child_path, item_path};
use crate::manifest::tree::{Data, Node};
use crate::model::Problem;

/// The longest time that makes sense anywhere.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);
/// The largest file that a value may come from, in bytes.
const LARGEST: u64 = 64 << 10;
/// Where `{file: …}` is a setting of its own and not the place of a value.
const OWN_FILES: [&str; 5] = [
    "auth.tokens",
    "storage.s3.credentials",
    "marathon.auth.basic.password",
    "marathon.auth.token",
    "marathon.auth.serviceAccount",
];

/// What reading needs besides the text.
pub struct Context<'a> {
    /// What is wrong so far.
    pub faults: Faults<'a>,
    /// What is allowed and yet worth a word.
    pub warnings: Vec<Problem>,
    /// The environment.
    pub environment: &'a Environment,
    /// The folder of the file, from which relative paths go.
    pub folder: &'a Path,
    /// What the command line says.
    pub overrides: &'a Overrides,
}

impl Context<'_> {
    /// A path relative to the file's folder.
    pub fn beside(&self, path: &str) -> PathBuf {
        self.folder.join(path)
    }

    /// Adds a word to the operator.
    pub fn warn(&mut self, at: &Located<'_>, message: impl Into<String>, suggestion: impl Into<String>) {
        let problem = Problem::of_file(self.faults.file, message).at_line(at.line).at_path(at.path.as_str());
        self.warnings.push(problem.suggest(suggestion));
    }
}

/// What is wrong with a text, and what to write.
#[derive(Debug, PartialEq, Eq)]
pub struct Advice {
    /// What is wrong.
    pub message: String,
    /// What to write.
    pub suggestion: String,
}

impl Advice {
    /// A pair of both.
    pub fn new(message: impl Into<String>, suggestion: impl Into<String>) -> Self {
        Self { message: message.into(), suggestion: suggestion.into() }
    }
}

/// Puts the values in place of `{file: path}` and `{env: NAME}`, everywhere below a node.
pub fn resolve(node: &mut Node, path: &str, context: &mut Context<'_>) {
    if !OWN_FILES.contains(&path)
        && let Some(found) = elsewhere(node, path, context)
    {
        node.data = found;
        return;
    }
    match &mut node.data {
        Data::Map(entries) => {
            for entry in entries {
                resolve(&mut entry.value, &child_path(path, &entry.key), context);
            }
        }
        Data::List(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                resolve(item, &item_path(path, index), context);
            }
        }
        _ => {}
    }
}

/// The value that a node points to; none where it is no pointer.
fn elsewhere(node: &Node, path: &str, context: &mut Context<'_>) -> Option<Data> {
    let Data::Map(entries) = &node.data else { return None };
    let [entry] = &entries[..] else { return None };
    let text = entry.value.text()?;
    let value = match &*entry.key {
        "env" => context.environment.get(text).ok_or_else(|| {
            Advice::new(format!("the environment variable {text} is not set"), "set it, or write the value")
        }),
        "file" => read_value(&context.beside(text)),
        _ => return None,
    };
    Some(match value {
        Ok(value) => Data::Text(value.into()),
        Err(advice) => {
            let at = Located { node, line: entry.line, path: path.to_owned() };
            report(&at, advice, context);
            Data::Invalid
        }
    })
}

fn read_value(path: &Path) -> Result<String, Advice> {
    use std::io::Read as _;
    let shown = path.display();
    let mut bytes = Vec::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(LARGEST + 1).read_to_end(&mut bytes));
    read.map_err(|error| {
        Advice::new(format!("cannot read {shown}: {error}"), "name a file that is there, or write the value")
    })?;
    if bytes.len() as u64 > LARGEST {
        return Err(Advice::new(
            format!("{shown} is larger than {LARGEST} bytes"),
            "name a file with one value",
        ));
    }
    let text = String::from_utf8(bytes)
        .map_err(|_| Advice::new(format!("{shown} is no UTF-8 text"), "name a file with one value"))?;
    Ok(text.trim().to_owned())
}

/// Reports at a node.
pub fn report(at: &Located<'_>, advice: Advice, context: &mut Context<'_>) {
    at.fault(&mut context.faults, advice.message, advice.suggestion);
}

/// The value of a check, the advice reported.
pub fn checked<T>(at: &Located<'_>, value: Result<T, Advice>, context: &mut Context<'_>) -> Option<T> {
    value.map_err(|advice| report(at, advice, context)).ok()
}

/// Reports keys of a mapping that mean something, but not here.
pub fn misplaced(
    fields: &Fields<'_>,
    keys: &[&str],
    message: &str,
    suggestion: &str,
    context: &mut Context<'_>,
) {
    for at in keys.iter().filter_map(|key| fields.optional(key)) {
        at.fault(&mut context.faults, message, suggestion);
    }
}

/// Text that is not empty.
pub fn filled<'n>(at: &Located<'n>, example: &str, context: &mut Context<'_>) -> Option<&'n str> {
    let text = at.text(&mut context.faults)?;
    if text.trim().is_empty() {
        at.fault(&mut context.faults, "is empty", format!("write {example}"));
        return None;
    }
    Some(text)
}

/// A path, from the file's folder where it is relative.
pub fn path(at: &Located<'_>, context: &mut Context<'_>) -> Option<PathBuf> {
    let text = filled(at, "a path", context)?;
    Some(context.beside(text))
}

/// `true` or `false`, or text that says so, as it comes from a file or the environment.
pub fn flag(at: &Located<'_>, context: &mut Context<'_>) -> Option<bool> {
    match at.node.text() {
        Some("true") => Some(true),
        Some("false") => Some(false),
        _ => at.flag(&mut context.faults),
    }
}

/// A whole number that is not negative.
pub fn count(at: &Located<'_>, context: &mut Context<'_>) -> Option<usize> {
    let number = match &at.node.data {
        Data::Number(number, _) => number.as_u64().and_then(|number| number.try_into().ok()),
        Data::Text(text) => text.parse().ok(),
        _ => None,
    };
    if number.is_none() && at.node.data != Data::Invalid {
        at.fault(&mut context.faults, "not a whole number", "write a number such as 5");
    }
    number
}

/// A time longer than nothing, such as `90s`, `1m30s`, `1.2s` or `800ms`.
pub fn duration(at: &Located<'_>, context: &mut Context<'_>) -> Option<Duration> {
    let parsed = match &at.node.data {
        Data::Text(text) => text.trim().parse::<SignedDuration>().ok(),
        Data::Number(_, written) => {
            at.fault(&mut context.faults, "a duration needs a unit", format!("write {written}s"));
            return None;
        }
        Data::Invalid => return None,
        _ => None,
    };
    let Some(duration) = parsed else {
        at.fault(&mut context.faults, "not a duration", "write a duration such as 90s, 1m30s or 800ms");
        return None;
    };
    let found = Duration::try_from(duration).ok().filter(|time| !time.is_zero() && *time <= LONGEST);
    if found.is_none() {
        at.fault(&mut context.faults, "out of range", "write a duration above 0s, up to 168h");
    }
    found
}

/// The URL of a server, without a slash at the end. It goes into logs, so it may hold no password.
pub fn server_url(text: &str, example: &str) -> Result<String, Advice> {
    if text.trim().is_empty() {
        return Err(Advice::new("is empty", format!("write {example}")));
    }
    let url = match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") => url,
        _ if text.contains("://") => {
            return Err(Advice::new("is not the URL of an HTTP server", format!("write {example}")));
        }
        _ => {
            let suggestion = match Url::parse(&format!("https://{text}")) {
                Ok(url) if url.username().is_empty() && url.password().is_none() => {
                    format!("write https://{text}")
                }
                _ => format!("write {example}"),
            };
            return Err(Advice::new("the URL has no scheme", suggestion));
        }
    };
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Advice::new("the URL holds a user or password", format!("write {example} without them")));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(Advice::new("the URL holds more than a server", "leave out what follows ? or #"));
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_name_a_server_and_hold_no_secret() {
        let refused = |text| server_url(text, "https://x").unwrap_err();
        assert_eq!(server_url("https://s3.example.com/", ""), Ok("https://s3.example.com".into()));
        assert_eq!(server_url("http://127.0.0.1:9000", ""), Ok("http://127.0.0.1:9000".into()));
        assert_eq!(refused("s3.example.com").suggestion, "write https://s3.example.com");
        assert_eq!(refused("s3.example.com:9000").suggestion, "write https://s3.example.com:9000");
        assert_eq!(refused("").message, "is empty");
        assert_eq!(refused("ftp://x").suggestion, "write https://x");
        assert_eq!(refused("https://").suggestion, "write https://x");
        for secret in ["https://user:hunter2@x", "https://hunter2@x", "user:hunter2@x"] {
            let advice = refused(secret);
            assert!(!format!("{advice:?}").contains("hunter2"), "{advice:?}");
        }
        assert!(refused("https://x/?a=b").message.contains("more than a server"));
    }
}
