//! The rules of `package.json`, `resource.json` and `command.json` per packaging version, as tables.
//!
//! Source: `package-schema.json`, `v2-resource-schema.json`, `v3-resource-schema.json` and `command-schema.json`
//! of mesosphere/universe. Asset URIs, icons and screenshots are plain strings in every public schema, so they
//! are here; a path beside the package is as good as a web address.

use serde_json::{Map, Value};

use super::PackagingVersion::{self, V2, V3, V4, V5};
use super::check::{Checker, Fault, Field, Rule, Shape};

const fn required(name: &'static str, rule: Rule) -> Field {
    Field { name, required: true, since: V2, rule }
}

const fn optional(name: &'static str, rule: Rule) -> Field {
    Field { name, required: false, since: V2, rule }
}

const fn since(name: &'static str, since: PackagingVersion, rule: Rule) -> Field {
    Field { name, required: false, since, rule }
}

const fn closed(fields: &'static [Field]) -> Shape {
    Shape { fields, open: false, some: false }
}

static PACKAGE: Shape = closed(&[
    required("packagingVersion", Rule::OneOf(&["2.0", "3.0", "4.0", "5.0"])),
    required(
        "name",
        Rule::Matching(is_name, "lower-case letters, digits and '-', a letter first, no '-' last"),
    ),
    required("version", Rule::Matching(is_version, "letters, digits, '-' and '.' only")),
    required("maintainer", Rule::Text),
    required("description", Rule::Text),
    required("tags", Rule::List(&Rule::Matching(is_tag, "a tag is one word without white space"), 0)),
    optional("scm", Rule::Text),
    optional("website", Rule::Text),
    optional("framework", Rule::Bool),
    optional("preInstallNotes", Rule::Text),
    optional("postInstallNotes", Rule::Text),
    optional("postUninstallNotes", Rule::Text),
    optional("selected", Rule::Bool),
    optional("licenses", Rule::List(&Rule::Object(&LICENSE), 0)),
    since("minDcosReleaseVersion", V3, Rule::Matching(is_dcos_version, "numbers with dots, such as 1.13")),
    since("hasKnownIssues", V3, Rule::Bool),
    since("lastUpdated", V3, Rule::Integer),
    since("upgradesFrom", V4, Rule::List(&Rule::Text, 0)),
    since("downgradesTo", V4, Rule::List(&Rule::Text, 0)),
    since("manager", V5, Rule::Object(&MANAGER)),
]);

static LICENSE: Shape = closed(&[required("name", Rule::Text), required("url", Rule::Link)]);

static MANAGER: Shape = Shape {
    fields: &[required("packageName", Rule::Text), optional("minPackageVersion", Rule::Text)],
    open: true,
    some: false,
};

static RESOURCE: Shape = closed(&[
    optional("assets", Rule::Object(&ASSETS)),
    optional("images", Rule::Object(&IMAGES)),
    since("cli", V3, Rule::Object(&CLI)),
]);

static ASSETS: Shape =
    closed(&[optional("uris", Rule::MapOf(&Rule::Text)), optional("container", Rule::Object(&CONTAINER))]);

static CONTAINER: Shape = closed(&[optional("docker", Rule::MapOf(&Rule::Text))]);

static IMAGES: Shape = closed(&[
    optional("icon-small", Rule::Text),
    optional("icon-medium", Rule::Text),
    optional("icon-large", Rule::Text),
    optional("screenshots", Rule::List(&Rule::Text, 0)),
]);

static CLI: Shape = closed(&[required("binaries", Rule::Object(&BINARIES))]);

static BINARIES: Shape = Shape {
    fields: &[
        optional("linux", Rule::Object(&PLATFORM)),
        optional("darwin", Rule::Object(&PLATFORM)),
        optional("windows", Rule::Object(&PLATFORM)),
    ],
    open: false,
    some: true,
};

static PLATFORM: Shape = closed(&[required("x86-64", Rule::Object(&BINARY))]);

static BINARY: Shape = closed(&[
    required("url", Rule::Text),
    required("kind", Rule::OneOf(&["executable", "zip"])),
    required("contentHash", Rule::List(&Rule::Object(&HASH), 1)),
]);

static HASH: Shape = closed(&[required("algo", Rule::OneOf(&["sha256"])), required("value", Rule::Text)]);

static COMMAND: Shape = closed(&[required("pip", Rule::List(&Rule::Text, 0))]);

/// Which document is checked.
#[derive(Clone, Copy)]
pub(super) enum Document {
    /// `package.json`.
    Package,
    /// `resource.json`.
    Resource,
    /// `command.json`.
    Command,
}

/// All faults of one document. `web_links` is false for metadata, where links may be paths inside the package.
pub(super) fn check(
    document: Document,
    map: &Map<String, Value>,
    version: PackagingVersion,
    web_links: bool,
) -> Vec<Fault> {
    let shape = match document {
        Document::Package => &PACKAGE,
        Document::Resource => &RESOURCE,
        Document::Command => &COMMAND,
    };
    let mut checker = Checker { version, web_links, faults: Vec::new() };
    checker.object(map, shape, "");
    checker.faults
}

fn is_name(text: &str) -> bool {
    crate::model::PackageName::new(text).is_ok()
}

fn is_version(text: &str) -> bool {
    crate::model::PackageVersion::new(text).is_ok()
}

fn is_tag(text: &str) -> bool {
    !text.is_empty() && !text.contains(char::is_whitespace)
}

/// Cosmos parses each number as a 32-bit integer and throws where it is none.
fn is_dcos_version(text: &str) -> bool {
    text.split('.').all(|part| {
        let canonical = part == "0" || !part.starts_with('0');
        canonical && part.bytes().all(|b| b.is_ascii_digit()) && part.parse::<i32>().is_ok()
    })
}
