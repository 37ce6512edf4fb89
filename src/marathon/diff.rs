//! What differs between a desired app and the one that Marathon has, and what putting it right does to tasks.
//!
//! Pure. The desired app is canonical, the observed one is brought into that form, then the desired one is completed to a
//! *target*: the app that would be there after our PUT. The changes are what lies between the target and the observed app, and
//! [`to_send`] is the target itself, so a PUT never changes what the plan did not show.
//!
//! What the target takes from the server:
//!
//! - what the server alone decides: `role` where none is desired, `executorResources`, port numbers desired as
//!   0, the name of the default network, roles that it strikes from `acceptedResourceRoles`;
//! - fields that the desired app leaves open (no default exists, or we do not know them), unless what we
//!   applied last had set them: then they were removed from the manifest and must go. An empty collection
//!   (`env`, `constraints`, ...) is a value and not an open field, and so is what says what runs;
//! - package labels that mean the same in another encoding, because any change of a label is a restart;
//! - what the unit ignores.
//!
//! Effects follow `isUpgrade` and `residentUpdateIsValid` in `state/AppDefinition.scala` of
//! mesosphere/marathon.

mod ports;
mod target;

use serde_json::{Map, Value};

use super::labels;
use super::normalize::{Canonical, FieldError, has_volume, normalize_observed};
use super::profile::Profile;
use crate::model::{App, Change, Digest, Effect};

type Object = Map<String, Value>;

/// How an app differs from what is desired.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// The fields, ordered by path; empty where nothing differs.
    pub changes: Vec<Change>,
    /// What a PUT does to the tasks; `None` if and only if there are no changes.
    pub effect: Effect,
}

/// Compares. `desired` is the canonical form for that server's version. `applied` is what we applied last: [`condense`] of the canonical *desired* app, not of the body
/// sent, which also holds what was the server's. `ignore` holds JSON pointers into the canonical app.
///
/// # Errors
/// The faults of the pointers.
pub fn diff(
    desired: &Canonical,
    observed: &App,
    applied: Option<&App>,
    ignore: &[String],
) -> Result<Difference, Vec<FieldError>> {
    diff_for(desired, observed, applied, ignore, Profile::default())
}

/// As [`diff`], for a server of which more is known: which service ports it gives out decides whether it refuses a
/// change of a resident app.
///
/// # Errors
/// As [`diff`].
pub fn diff_for(
    desired: &Canonical,
    observed: &App,
    applied: Option<&App>,
    ignore: &[String],
    profile: Profile,
) -> Result<Difference, Vec<FieldError>> {
    let observed = normalize_observed(observed);
    let target = target_of(desired, &observed, applied, ignore)?;
    let mut changes = Vec::new();
    if *observed != target {
        compare_objects(&mut String::new(), &observed.0, &target.0, &mut changes);
    }
    // A full PUT cannot set it, and no task notices a change: comparing it would never end.
    changes.retain(|change| !is_below(&change.path, "/executorResources"));
    // What is not said any more, and is what the server says for itself.
    changes.retain(|change| {
        change.path != "/maxLaunchDelaySeconds"
            || change.to.is_some()
            || change.from != Some(profile.launch_delay().into())
    });
    let effect = effect_of(&changes, &observed.0, &target.0, profile);
    Ok(Difference { changes, effect })
}

/// As [`diff`], for a desired app that is only remembered: written down [`condense`]d, perhaps by an earlier version of
/// this program. Long texts are compared by their digests.
///
/// # Errors
/// As [`diff`].
pub fn diff_remembered(
    remembered: &App,
    observed: &App,
    applied: Option<&App>,
    ignore: &[String],
) -> Result<Difference, Vec<FieldError>> {
    let desired = normalize_observed(&condense(remembered));
    diff(&desired, &condense(observed), applied.map(condense).as_ref(), ignore)
}

/// The full body for a PUT over the observed app: the desired app, completed with what is the server's.
/// For a POST send the canonical app itself.
///
/// # Errors
/// The faults of the pointers.
pub fn to_send(
    desired: &Canonical,
    observed: &App,
    applied: Option<&App>,
    ignore: &[String],
) -> Result<App, Vec<FieldError>> {
    target_of(desired, &normalize_observed(observed), applied, ignore)
}

fn target_of(
    desired: &Canonical,
    observed: &App,
    applied: Option<&App>,
    ignore: &[String],
) -> Result<App, Vec<FieldError>> {
    let mut target = App::clone(desired);
    target::complete(&mut target.0, &observed.0, applied.map(|app| &app.0));
    target::take_ignored(&mut target.0, &observed.0, ignore)?;
    Ok(target)
}

/// Texts longer than this are replaced by [`condense`].
const LONGEST_KEPT: usize = 256;

/// The app with long texts replaced by their digests, small enough to be remembered. A package label,
/// long or short, becomes the digest of what it says, decoded: the server may have it in another encoding than we do.
#[must_use]
pub fn condense(app: &App) -> App {
    let of = |(key, value): (&String, &Value)| match value {
        Value::Object(labels) if key == "labels" => {
            (key.clone(), labels.iter().map(condensed_label).collect())
        }
        value => (key.clone(), condensed(value)),
    };
    App(app.0.iter().map(of).collect())
}

fn condensed_label((name, value): (&String, &Value)) -> (String, Value) {
    // Whatever its length: what says the same may be longer or shorter.
    let said = value.as_str().and_then(|text| labels::decoded(name, text));
    let said = said.map(|said| Digest::of(said.to_string().as_bytes()).to_string().into());
    (name.clone(), said.unwrap_or_else(|| condensed(value)))
}

fn condensed(value: &Value) -> Value {
    match value {
        Value::String(text) if text.chars().nth(LONGEST_KEPT).is_some() => {
            Digest::of(text.as_bytes()).to_string().into()
        }
        Value::Array(items) => items.iter().map(condensed).collect(),
        Value::Object(map) => map.iter().map(|(k, v)| (k.clone(), condensed(v))).collect(),
        value => value.clone(),
    }
}

fn compare_objects(path: &mut String, from: &Object, to: &Object, changes: &mut Vec<Change>) {
    let mut keys: Vec<_> = from.keys().chain(to.keys()).collect();
    keys.sort();
    keys.dedup();
    for key in keys {
        let length = path.len();
        path.push('/');
        path.push_str(&key.replace('~', "~0").replace('/', "~1"));
        compare(path, from.get(key), to.get(key), changes);
        path.truncate(length);
    }
}

fn compare(path: &mut String, from: Option<&Value>, to: Option<&Value>, changes: &mut Vec<Change>) {
    match (from, to) {
        (from, to) if from == to => {}
        (Some(Value::Object(from)), Some(Value::Object(to))) => compare_objects(path, from, to, changes),
        (Some(Value::Array(from)), Some(Value::Array(to))) if same_length_objects(from, to) => {
            for (i, (from, to)) in from.iter().zip(to).enumerate() {
                let length = path.len();
                path.push('/');
                path.push_str(&i.to_string());
                compare(path, Some(from), Some(to), changes);
                path.truncate(length);
            }
        }
        (from, to) => changes.push(Change { path: path.clone(), from: from.cloned(), to: to.cloned() }),
    }
}

/// Whether two lists can be compared item by item; others are shown as a whole.
fn same_length_objects(from: &[Value], to: &[Value]) -> bool {
    from.len() == to.len() && from.iter().chain(to).all(Value::is_object)
}

/// Whether a pointer is that one or lies below it.
fn is_below(path: &str, parent: &str) -> bool {
    path.strip_prefix(parent).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn effect_of(changes: &[Change], observed: &Object, target: &Object, profile: Profile) -> Effect {
    let resident = has_volume(observed, "persistent") || has_volume(target, "persistent");
    if changes.is_empty() {
        Effect::None
    } else if resident && is_forbidden(changes, observed, target, profile) {
        Effect::Recreate
    } else if changes.iter().all(|change| change.path == "/instances") {
        Effect::Scale
    } else {
        Effect::Restart
    }
}

/// Whether Marathon refuses the change because the app has local volumes. It takes another role by force, but the
/// reservations keep the old one.
fn is_forbidden(changes: &[Change], observed: &Object, target: &Object, profile: Profile) -> bool {
    let fixed = ["/cpus", "/mem", "/disk", "/gpus", "/requirePorts", "/role"];
    changes.iter().any(|change| fixed.contains(&change.path.as_str()))
        || local_volumes(observed) != local_volumes(target)
        || ports::moves_on_hosts(observed, target, profile)
}

fn local_volumes(app: &Object) -> Vec<String> {
    let volumes = app.get("container").and_then(|c| c.get("volumes")).and_then(Value::as_array);
    let local = volumes.into_iter().flatten().filter(|v| v.get("persistent").is_some());
    let mut local: Vec<_> = local.map(Value::to_string).collect();
    local.sort();
    local
}

#[cfg(test)]
mod tests;
