//! The canonical form of an app definition: what Marathon answers on GET, without the status; Marathon 1.11 unless a
//! [`Profile`] says otherwise.
//!
//! Pure. Two definitions mean the same to Marathon if and only if their canonical forms are equal, apart
//! from what the server alone decides (`diff` knows that). So a manifest may be written the old or the new
//! way, and a form that left us once compares equal when it comes back.
//!
//! Marathon ignores fields that it does not know (facts: Marathon 1.5 and later), so a typo is never
//! reported by it. [`normalize`] therefore is strict; [`normalize_dropping`] is as lenient as Marathon, and
//! [`normalize_observed`] takes whatever a server of any version says.
//!
//! Not filled: `role`, which only the server knows; port numbers given as 0; the name of the default network;
//! `maxLaunchDelaySeconds`, whose default depends on the server's version: another Marathon must not make another app of
//! the same manifest.
//! `residency` is left out: it has no effect, and a persistent volume implies it.

mod expression;
mod fill;
mod migrate;
mod near;
mod rules;
mod schema;
mod shape;

use std::fmt;
use std::ops::Deref;

use serde_json::{Map, Value};

use super::profile::Profile;
use crate::model::App;
use shape::Walk;

/// One fault of an app definition.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct FieldError {
    /// JSON pointer to the place, such as `/healthChecks/0/protocol`; empty for the app as a whole.
    pub path: String,
    /// What is wrong, and where it is near at hand what to write instead.
    pub message: String,
}

impl FieldError {
    fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { path: path.into(), message: message.into() }
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() {
            f.write_str(&self.message)
        } else {
            write!(f, "{}: {}", self.path, self.message)
        }
    }
}

/// An app in canonical form. Only this module makes one, so who takes one need not bring it there again.
#[derive(Debug, Clone, PartialEq)]
pub struct Canonical(App);

impl Canonical {
    /// The app, to be changed or kept.
    #[must_use]
    pub fn into_app(self) -> App {
        self.0
    }
}

impl Deref for Canonical {
    type Target = App;

    fn deref(&self) -> &App {
        &self.0
    }
}

/// The canonical form of a definition that we are going to send. Status fields are dropped, so that what
/// came from a GET is accepted.
///
/// # Errors
/// All faults at once: unknown fields, wrong types and ranges, broken rules.
pub fn normalize(app: &App) -> Result<Canonical, Vec<FieldError>> {
    normalize_for(app, Profile::default())
}

/// As [`normalize`], for a server of that profile: fields that it does not know are
/// unknown fields.
///
/// # Errors
/// As with [`normalize`].
pub fn normalize_for(app: &App, profile: Profile) -> Result<Canonical, Vec<FieldError>> {
    match normalize_dropping_for(app, profile) {
        Ok((app, unknown)) if unknown.is_empty() => Ok(app),
        Ok((_, unknown)) => Err(unknown),
        Err(errors) => Err(errors),
    }
}

/// As [`normalize`], but fields that Marathon does not know are dropped, as it drops them, and reported
/// beside the result.
///
/// # Errors
/// All faults at once, unknown fields among them where there are others.
pub fn normalize_dropping(app: &App) -> Result<(Canonical, Vec<FieldError>), Vec<FieldError>> {
    normalize_dropping_for(app, Profile::default())
}

/// As [`normalize_dropping`], for a server of that profile.
///
/// # Errors
/// As with [`normalize_dropping`].
pub fn normalize_dropping_for(
    app: &App,
    profile: Profile,
) -> Result<(Canonical, Vec<FieldError>), Vec<FieldError>> {
    let mut walk = Walk::default();
    let mut app = strip_status(app);
    adapt(&mut app.0, profile, &mut walk.unknown);
    let app = canonical(app, &mut walk);
    let Walk { mut errors, mut unknown, .. } = walk;
    if errors.is_empty() {
        return Ok((app, unknown));
    }
    errors.append(&mut unknown);
    errors.sort();
    Err(errors)
}

/// The canonical form of what a server answered. Nothing is refused: fields of other versions are kept, and
/// values that do not fit are kept as they are.
#[must_use]
pub fn normalize_observed(app: &App) -> Canonical {
    canonical(strip_status(app), &mut Walk::keeping_unknown())
}

/// Takes away what a server of that profile does not know.
fn adapt(app: &mut Map<String, Value>, profile: Profile, unknown: &mut Vec<FieldError>) {
    for (field, since) in profile.lacks() {
        if app.remove(field).is_some_and(|value| !value.is_null()) {
            let message = format!("needs {since} or later, and the cluster has {profile}; leave it out");
            unknown.push(FieldError::new(format!("/{field}"), message));
        }
    }
}

fn canonical(app: App, walk: &mut Walk) -> Canonical {
    let mut app = app.into_value();
    walk.canonical(&schema::APP, &mut app);
    let mut app = App::from_value(app).unwrap_or_default();
    migrate::migrate(&mut app.0, &mut walk.errors);
    fill::fill(&mut app.0);
    if walk.is_strict() {
        rules::check(&app.0, &mut walk.errors);
    }
    fill::sort_sets(&mut app.0);
    Canonical(app)
}

/// What only describes the running app; never compared, never sent.
const STATUS: &[&str] = &[
    "version",
    "versionInfo",
    "tasks",
    "tasksStaged",
    "tasksRunning",
    "tasksHealthy",
    "tasksUnhealthy",
    "deployments",
    "lastTaskFailure",
    "readinessCheckResults",
    "taskStats",
    "tasksStats",
];

/// The app without status fields.
#[must_use]
pub fn strip_status(app: &App) -> App {
    let kept = app.0.iter().filter(|(key, _)| !STATUS.contains(&key.as_str()));
    App(kept.map(|(key, value)| (key.clone(), value.clone())).collect())
}

/// Whether a volume of that kind (`persistent`, `external`) is there.
pub(crate) fn has_volume(app: &Map<String, Value>, kind: &str) -> bool {
    let volumes = app.get("container").and_then(|c| c.get("volumes")).and_then(Value::as_array);
    volumes.into_iter().flatten().any(|v| v.get(kind).is_some())
}

/// The list that `portIndex` counts: port definitions on the host network, port mappings elsewhere.
pub(super) fn ports(app: &Map<String, Value>) -> &[Value] {
    let mappings = app.get("container").and_then(|c| c.get("portMappings"));
    app.get("portDefinitions").or(mappings).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests;
