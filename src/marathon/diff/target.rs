//! Completes the desired app with what is the server's.

use serde_json::{Map, Value};

use super::{FieldError, Object, ports};
use crate::marathon::labels;

/// Fields whose absence is a value: empty collections, and what together says what runs and where it listens.
/// All others that can be absent are open.
const CLOSED: &[&str] = &[
    "args",
    "cmd",
    "constraints",
    "container",
    "dependencies",
    "env",
    "fetch",
    "healthChecks",
    "portDefinitions",
    "readinessChecks",
    "secrets",
];
const CLOSED_CONTAINER: &[&str] = &["docker", "portMappings"];

/// Fields that the server sets when nobody does; it is useless to ask it to take them away.
const SERVER_OWNED: &[&str] = &["role", "executorResources"];

/// Completes a canonical desired app.
pub(super) fn complete(target: &mut Object, observed: &Object, applied: Option<&Object>) {
    for key in SERVER_OWNED {
        if let (false, Some(value)) = (target.contains_key(*key), observed.get(*key)) {
            target.insert((*key).into(), value.clone());
        }
    }
    take_open(target, observed, applied, CLOSED);
    if let (Some(Value::Object(container)), Some(observed)) =
        (target.get_mut("container"), inner(observed, "container"))
    {
        let applied = applied.and_then(|app| inner(app, "container"));
        take_open(container, observed, applied, CLOSED_CONTAINER);
        if let (Some(Value::Object(docker)), Some(observed)) =
            (container.get_mut("docker"), inner(observed, "docker"))
        {
            take_open(docker, observed, applied.and_then(|container| inner(container, "docker")), &[]);
        }
    }
    ports::take_assigned(target, observed);
    take_network_names(target, observed);
    take_sanitised_roles(target, observed);
    take_equal_labels(target, observed);
}

fn inner<'a>(object: &'a Object, key: &str) -> Option<&'a Object> {
    object.get(key).and_then(Value::as_object)
}

/// Takes what is observed and neither desired nor applied by us.
fn take_open(target: &mut Object, observed: &Object, applied: Option<&Object>, closed: &[&str]) {
    for (key, value) in observed {
        let ours = applied.is_some_and(|applied| applied.contains_key(key));
        if !target.contains_key(key) && !ours && !closed.contains(&key.as_str()) {
            target.insert(key.clone(), value.clone());
        }
    }
}

/// A container network without a name gets the server's default name.
fn take_network_names(target: &mut Object, observed: &Object) {
    let observed = observed.get("networks").and_then(Value::as_array);
    let Some(target) = target.get_mut("networks").and_then(Value::as_array_mut) else { return };
    for (network, observed) in target.iter_mut().zip(observed.into_iter().flatten()) {
        let same_mode = network.get("mode") == observed.get("mode");
        if let (Value::Object(network), Some(name), true) = (network, observed.get("name"), same_mode) {
            network.entry("name").or_insert_with(|| name.clone());
        }
    }
}

/// Marathon 1.9 strikes all roles but the app's own and `*`, and makes `*` of an empty rest. The app's own is the one that
/// it is to have.
fn take_sanitised_roles(target: &mut Object, observed: &Object) {
    let Some(own) = target.get("role") else { return };
    let (Some(desired), Some(there)) =
        (target.get("acceptedResourceRoles"), observed.get("acceptedResourceRoles"))
    else {
        return;
    };
    let any = Value::from("*");
    let kept = desired.as_array().into_iter().flatten().filter(|role| *role == own || **role == any);
    let mut kept: Vec<_> = kept.cloned().collect();
    if kept.is_empty() {
        kept.push(any);
    }
    if there.as_array() == Some(&kept) {
        target.insert("acceptedResourceRoles".into(), there.clone());
    }
}

fn take_equal_labels(target: &mut Object, observed: &Object) {
    let observed = observed.get("labels").and_then(Value::as_object);
    let Some(target) = target.get_mut("labels").and_then(Value::as_object_mut) else { return };
    for (name, text) in target {
        let there = observed.and_then(|labels| labels.get(name)).and_then(Value::as_str);
        if let (Some(there), Some(desired)) = (there, text.as_str())
            && labels::same(name, desired, there)
        {
            *text = there.into();
        }
    }
}

/// Takes the observed value, or its absence, at each pointer.
pub(super) fn take_ignored(
    target: &mut Object,
    observed: &Object,
    ignore: &[String],
) -> Result<(), Vec<FieldError>> {
    let mut errors = Vec::new();
    for pointer in ignore {
        let Some(path) = pointer.strip_prefix('/') else {
            let message = "is no JSON pointer: begin with '/', as in /instances";
            errors.push(FieldError { path: pointer.clone(), message: message.into() });
            continue;
        };
        let keys: Vec<_> = path.split('/').map(|key| key.replace("~1", "/").replace("~0", "~")).collect();
        take_at(target, observed, &keys);
    }
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

fn take_at(target: &mut Object, observed: &Object, keys: &[String]) {
    let Some((key, rest)) = keys.split_first() else { return };
    let there = observed.get(key);
    if rest.is_empty() {
        match there {
            Some(value) => target.insert(key.clone(), value.clone()),
            None => target.remove(key),
        };
        return;
    }
    if let Some(Value::Object(observed)) = there {
        // What is ignored may lie in a collection that the desired app does not have.
        let inner = target.entry(key.as_str()).or_insert_with(|| Value::Object(Map::new()));
        if let Value::Object(inner) = inner {
            take_at(inner, observed, rest);
        }
    } else if let (None, Some(Value::Object(inner))) = (there, target.get_mut(key)) {
        take_at(inner, &Map::new(), rest);
        if inner.is_empty() {
            target.remove(key);
        }
    } else if let (Some(Value::Array(observed)), Some(Value::Array(items))) = (there, target.get_mut(key)) {
        let Some(i) = rest.first().and_then(|index| index.parse::<usize>().ok()) else { return };
        match (items.get_mut(i), observed.get(i)) {
            (Some(item), Some(value)) if rest.len() == 1 => *item = value.clone(),
            (Some(Value::Object(item)), Some(Value::Object(value))) => take_at(item, value, &rest[1..]),
            _ => {}
        }
    }
}
