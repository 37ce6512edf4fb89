//! Puts a new registry host in the place of an old one in a definition of an app, a pod or a group.
//!
//! Pure. References to a registry sit in more places than `fetch` and the image: in environment variables
//! (SDK services keep the URIs of their tasks there) and in the package labels, from which Cosmos renders the
//! old host again at the next update if they are left. Only whole hosts are replaced: the old name is the end
//! of the new one. A second run over the result finds nothing.
//!
//! Not touched: secrets, health check commands, paths of URIs, names of labels and variables, labels other than those
//! of Cosmos unless they are one URI. Fields as in Marathon's RAML (`types/app.raml`, `types/pod.raml`, `types/podContainer.raml`
//! of mesosphere/marathon); labels as Cosmos writes them.

mod json;
mod label;
mod name;
mod text;

use std::fmt;

use serde_json::Value;

use json::escaped;
pub use name::{Name, Rename, RenameError, Renames};
use text::{Reading, Replaced, replace};

/// Which places are rewritten.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Options {
    /// `cmd` and `args` of apps, commands of pods, too. They are program text, so only on request.
    pub commands: bool,
}

/// How a reference was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Form {
    /// As it is.
    Plain,
    /// Base64.
    Base64,
    /// Gzip in base64, mostly in an envelope of base64.
    Gzip,
}

/// What was found in one place.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// The place in the definition, as a JSON pointer.
    pub pointer: String,
    /// The place in the decoded document, as a JSON pointer; none for plain texts.
    pub inside: Option<String>,
    /// How it was written there.
    pub form: Form,
    /// The host that stood there, with its port.
    pub old: String,
    /// What stands there now.
    pub new: String,
    /// How many times.
    pub count: usize,
}

/// What was not looked at, or found but not touched.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Left {
    /// The place in the definition, as a JSON pointer.
    pub pointer: String,
    /// The place in the decoded document, as a JSON pointer.
    pub inside: Option<String>,
    /// Why.
    pub reason: LeftReason,
}

/// Why something was left.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub enum LeftReason {
    /// A command names the old host, and commands are not to be rewritten.
    NotAsked,
    /// It should be encoded and is not, or in another way than known; with the fault.
    NotDecodable(String),
    /// It is too long, or inflates to more than is taken.
    TooLarge,
}

/// A definition after rewriting.
#[derive(Debug, Clone, PartialEq)]
pub struct Rewritten {
    /// The definition; the same as before where nothing was found.
    pub definition: Value,
    /// What was replaced.
    pub findings: Vec<Finding>,
    /// What may still hold the old host.
    pub left: Vec<Left>,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.pointer)?;
        if let Some(inside) = &self.inside {
            write!(f, " at {inside}")?;
        }
        write!(f, ": {} -> {}", self.old, self.new)?;
        if self.count > 1 { write!(f, " ({} times)", self.count) } else { Ok(()) }
    }
}

impl fmt::Display for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.pointer)?;
        if let Some(inside) = &self.inside {
            write!(f, " at {inside}")?;
        }
        match &self.reason {
            LeftReason::NotAsked => {
                f.write_str(": names the old host; ask for commands to have it rewritten")
            }
            LeftReason::NotDecodable(why) => write!(f, ": left as it is, it cannot be decoded ({why})"),
            LeftReason::TooLarge => f.write_str(": left as it is, it is too large"),
        }
    }
}

/// The most bytes that the labels of one app or pod may inflate to together.
const BUDGET: u64 = 32 * 1024 * 1024;

/// What stands at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text(Reading),
    Command,
    Label,
}

/// Where references stand; `*` is every member or item.
const PLACES: &[(&[&str], Kind)] = &[
    (&["fetch", "*", "uri"], Kind::Text(Reading::Uri)),
    (&["uris", "*"], Kind::Text(Reading::Uri)),
    (&["container", "docker", "image"], Kind::Text(Reading::Image)),
    (&["env", "*"], Kind::Text(Reading::Free)),
    (&["cmd"], Kind::Command),
    (&["args", "*"], Kind::Command),
    (&["labels", "*"], Kind::Label),
    (&["environment", "*"], Kind::Text(Reading::Free)),
    (&["containers", "*", "image", "id"], Kind::Text(Reading::Image)),
    (&["containers", "*", "artifacts", "*", "uri"], Kind::Text(Reading::Uri)),
    (&["containers", "*", "environment", "*"], Kind::Text(Reading::Free)),
    (&["containers", "*", "exec", "command", "shell"], Kind::Command),
    (&["containers", "*", "exec", "command", "argv", "*"], Kind::Command),
    (&["containers", "*", "labels", "*"], Kind::Label),
];

/// The members of a group that hold definitions.
const PARTS: [&str; 3] = ["apps", "pods", "groups"];

/// Rewrites a definition as Marathon gives or takes it: an app, a pod, a group with all below it, or a listing
/// such as that of `GET /v2/apps`.
#[must_use]
pub fn rewrite(definition: &Value, renames: &Renames, options: Options) -> Rewritten {
    let mut rewriter = Rewriter {
        renames,
        options,
        budget: BUDGET,
        pointer: String::new(),
        findings: Vec::new(),
        left: Vec::new(),
    };
    let mut definition = definition.clone();
    rewriter.definition(&mut definition);
    Rewritten { definition, findings: rewriter.findings, left: rewriter.left }
}

/// One run over a definition.
struct Rewriter<'a> {
    renames: &'a Renames,
    options: Options,
    /// How many bytes the labels of the present definition may still inflate to.
    budget: u64,
    /// The place that is worked on.
    pointer: String,
    findings: Vec<Finding>,
    left: Vec<Left>,
}

impl Rewriter<'_> {
    fn definition(&mut self, definition: &mut Value) {
        self.budget = BUDGET;
        for (steps, kind) in PLACES {
            self.place(definition, steps, *kind);
        }
        for part in PARTS {
            let Some(Value::Array(items)) = definition.get_mut(part) else { continue };
            for (index, item) in items.iter_mut().enumerate() {
                self.within(part, |here| here.within(&index.to_string(), |here| here.definition(item)));
            }
        }
    }

    /// Goes on to everything that the steps lead to.
    fn place(&mut self, value: &mut Value, steps: &[&str], kind: Kind) {
        let Some((step, rest)) = steps.split_first() else { return self.string(value, kind) };
        match value {
            Value::Object(map) if *step == "*" => {
                for (key, value) in map {
                    self.within(key, |here| here.place(value, rest, kind));
                }
            }
            Value::Array(items) if *step == "*" => {
                for (index, value) in items.iter_mut().enumerate() {
                    self.within(&index.to_string(), |here| here.place(value, rest, kind));
                }
            }
            Value::Object(map) => {
                if let Some(value) = map.get_mut(*step) {
                    self.within(step, |here| here.place(value, rest, kind));
                }
            }
            _ => {}
        }
    }

    fn within(&mut self, step: &str, work: impl FnOnce(&mut Self)) {
        let length = self.pointer.len();
        self.pointer.push('/');
        self.pointer.push_str(&escaped(step));
        work(self);
        self.pointer.truncate(length);
    }

    /// Rewrites what is a string; a reference to a secret is none.
    fn string(&mut self, value: &mut Value, kind: Kind) {
        let Value::String(text) = value else { return };
        let new = match kind {
            Kind::Text(reading) => self.plain(text, reading),
            Kind::Command if self.options.commands => self.plain(text, Reading::Free),
            Kind::Command => {
                if replace(text, Reading::Free, self.renames).is_some() {
                    self.leave(None, LeftReason::NotAsked);
                }
                None
            }
            Kind::Label => {
                let name = self.pointer.rsplit('/').next().unwrap_or_default().to_owned();
                if name.starts_with("DCOS_PACKAGE_") {
                    label::rewrite(self, &name, text)
                } else {
                    // Templates put URIs of their artefacts into labels of their own (SPARK_URI). A bare host
                    // there is a name that the app answers to (HAPROXY_0_VHOST).
                    self.plain(text, Reading::Uri)
                }
            }
        };
        if let Some(new) = new {
            *text = new;
        }
    }

    fn plain(&mut self, text: &str, reading: Reading) -> Option<String> {
        let replaced = replace(text, reading, self.renames)?;
        Some(self.found(None, Form::Plain, replaced))
    }

    /// Notes what was replaced at the present place and gives the new text back.
    fn found(&mut self, inside: Option<&str>, form: Form, replaced: Replaced) -> String {
        let begun = self.findings.len();
        for (old, new) in replaced.swaps {
            let same = self.findings[begun..].iter_mut().find(|finding| finding.old == old);
            if let Some(finding) = same {
                finding.count += 1;
                continue;
            }
            let (pointer, inside) = (self.pointer.clone(), inside.map(str::to_owned));
            self.findings.push(Finding { pointer, inside, form, old, new, count: 1 });
        }
        replaced.text
    }

    fn leave(&mut self, inside: Option<String>, reason: LeftReason) {
        self.left.push(Left { pointer: self.pointer.clone(), inside, reason });
    }
}

#[cfg(test)]
mod tests;
