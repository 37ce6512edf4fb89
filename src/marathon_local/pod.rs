//! Pods: their canonical form and what their fields mean. Pure.
//!
//! As far as listing, deploying and rewriting need it. Source: `types/{pod,podContainer,resources}.raml` and
//! `api/v2/validation/PodsValidation.scala` of mesosphere/marathon.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::profile::Rules;
use super::refusal::Refusal;
use crate::marathon::normalize::FieldError;
use crate::model::{App, AppId};

/// Whether a definition is that of a pod: no app has containers.
pub fn is_pod(definition: &App) -> bool {
    definition.get("containers").is_some()
}

/// How many instances it asks for.
pub fn instances(pod: &App) -> u64 {
    pod.get("scaling").and_then(|s| s.get("instances")).and_then(Value::as_u64).unwrap_or(1)
}

/// A part of its scheduling.
pub fn scheduling<'a>(pod: &'a App, key: &str) -> Option<&'a Value> {
    pod.get("scheduling").and_then(|s| s.get(key))
}

/// Its containers.
pub fn containers(pod: &App) -> impl Iterator<Item = &Value> {
    pod.get("containers").and_then(Value::as_array).into_iter().flatten()
}

/// The endpoints that get a port of the host: container, endpoint.
pub fn host_endpoints(pod: &App) -> impl Iterator<Item = (&Value, &Value)> {
    let endpoints = containers(pod).flat_map(|container| {
        let list = container.get("endpoints").and_then(Value::as_array).into_iter().flatten();
        list.map(move |endpoint| (container, endpoint))
    });
    endpoints.filter(|(_, endpoint)| endpoint.get("hostPort").is_some_and(Value::is_u64))
}

/// The canonical definition of a body: with all defaults, without what Marathon does not know of it.
///
/// # Errors
/// [`Refusal::Invalid`] with all faults.
pub fn canonical(body: App, id: &AppId, rules: &Rules) -> Result<App, Refusal> {
    let known = |(key, value): &(String, Value)| KNOWN.contains(&key.as_str()) && !value.is_null();
    let mut pod: Map<_, _> = body.0.into_iter().filter(known).collect();
    pod.insert("id".to_owned(), id.as_str().into());
    let mut errors = Vec::new();
    check(&pod, &mut errors);
    if !errors.is_empty() {
        return Err(Refusal::Invalid(errors));
    }
    fill(&mut pod, rules);
    for key in ["labels", "environment", "secrets", "volumes"] {
        pod.retain(|name, value| name != key || !is_empty(value));
    }
    let mut pod = App(pod);
    if !rules.profile.has_roles() {
        pod.0.remove("role");
    }
    let errors = rules.complete(&mut pod);
    if errors.is_empty() { Ok(pod) } else { Err(Refusal::Invalid(errors)) }
}

/// The fields of a pod; `version` is the server's.
const KNOWN: &[&str] = &[
    "containers",
    "environment",
    "executorResources",
    "labels",
    "legacySharedCgroups",
    "linuxInfo",
    "networks",
    "role",
    "scaling",
    "scheduling",
    "secrets",
    "user",
    "volumes",
];

fn is_empty(value: &Value) -> bool {
    value.as_array().is_some_and(Vec::is_empty) || value.as_object().is_some_and(Map::is_empty)
}

fn check(pod: &Map<String, Value>, errors: &mut Vec<FieldError>) {
    let mut fault = |path: &str, message: &str| {
        errors.push(FieldError { path: path.to_owned(), message: message.to_owned() });
    };
    for (key, is_right, expected) in [
        ("labels", Value::is_object as fn(&Value) -> bool, "error.expected.jsobject"),
        ("environment", Value::is_object, "error.expected.jsobject"),
        ("secrets", Value::is_object, "error.expected.jsobject"),
        ("scaling", Value::is_object, "error.expected.jsobject"),
        ("scheduling", Value::is_object, "error.expected.jsobject"),
        ("networks", Value::is_array, "error.expected.jsarray"),
        ("volumes", Value::is_array, "error.expected.jsarray"),
        ("role", Value::is_string, "error.expected.jsstring"),
    ] {
        if pod.get(key).is_some_and(|value| !is_right(value)) {
            fault(&format!("/{key}"), expected);
        }
    }
    let scaling = pod.get("scaling");
    if scaling.and_then(|s| s.get("instances")).is_some_and(|n| n.as_u64().is_none()) {
        fault("/scaling/instances", "must be a whole number, 0 or more");
    }
    if scaling.and_then(|s| s.get("kind")).is_some_and(|kind| kind != "fixed") {
        fault("/scaling/kind", "must be fixed");
    }
    let Some(list) = pod.get("containers").and_then(Value::as_array).filter(|list| !list.is_empty()) else {
        return fault("/containers", "must hold at least one container");
    };
    let mut names = BTreeSet::new();
    for (position, container) in list.iter().enumerate() {
        let path = format!("/containers/{position}");
        match container.get("name").and_then(Value::as_str) {
            Some(name) if !is_name(name) => {
                fault(&format!("{path}/name"), "must be lower-case letters, digits and '-'");
            }
            Some(name) if !names.insert(name) => fault(&format!("{path}/name"), "is there twice"),
            Some(_) => {}
            None => fault(&format!("{path}/name"), "is required"),
        }
        for resource in ["cpus", "mem"] {
            let number = container.get("resources").and_then(|r| r.get(resource)).and_then(Value::as_f64);
            if number.is_none_or(|number| number < 0.001) {
                fault(&format!("{path}/resources/{resource}"), "must be a number, 0.001 or more");
            }
        }
        if container.get("image").is_some_and(|image| image.get("id").and_then(Value::as_str).is_none()) {
            fault(&format!("{path}/image/id"), "is required");
        }
    }
}

fn is_name(name: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    name.starts_with(inner) && name.ends_with(inner) && name.chars().all(|c| inner(c) || c == '-')
}

fn fill(pod: &mut Map<String, Value>, rules: &Rules) {
    let resident = pod.get("volumes").and_then(Value::as_array).into_iter().flatten();
    let resident = resident.into_iter().any(|volume| volume.get("persistent").is_some());
    let networks = pod.entry("networks").or_insert_with(|| json!([]));
    if is_empty(networks) {
        *networks = json!([{"mode": "host"}]);
    }
    let (healthy, over) = if resident { (0.5, 0.0) } else { (1.0, 1.0) };
    let unreachable: Value = if resident {
        "disabled".into()
    } else {
        json!({"inactiveAfterSeconds": 0, "expungeAfterSeconds": 0})
    };
    for (key, defaults) in [
        ("executorResources", json!({"cpus": 0.1, "mem": 32, "disk": 10})),
        ("scaling", json!({"kind": "fixed", "instances": 1})),
        (
            "scheduling",
            json!({
                "backoff": {"backoff": 1, "backoffFactor": 1.15, "maxLaunchDelay": rules.profile.launch_delay()},
                "killSelection": "YOUNGEST_FIRST",
                "unreachableStrategy": unreachable,
                "upgrade": {"maximumOverCapacity": over, "minimumHealthCapacity": healthy},
            }),
        ),
    ] {
        fill_in(pod.entry(key).or_insert_with(|| json!({})), &defaults);
    }
    for container in pod.get_mut("containers").and_then(Value::as_array_mut).into_iter().flatten() {
        fill_in(&mut container["resources"], &json!({"disk": 0, "gpus": 0}));
        for artifact in container.get_mut("artifacts").and_then(Value::as_array_mut).into_iter().flatten() {
            fill_in(artifact, &json!({"extract": true, "executable": false, "cache": false}));
        }
    }
}

/// Fills in what an object lacks, at any depth.
fn fill_in(value: &mut Value, defaults: &Value) {
    match (value, defaults) {
        (Value::Object(map), Value::Object(defaults)) => {
            for (key, default) in defaults {
                match map.get_mut(key).filter(|value| !value.is_null()) {
                    Some(value) => fill_in(value, default),
                    None => drop(map.insert(key.clone(), default.clone())),
                }
            }
        }
        (value @ Value::Null, defaults) => *value = defaults.clone(),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::marathon_local::profile::{Installation, Profile};

    fn read(body: Value) -> Result<App, Refusal> {
        let id = AppId::new("/p").unwrap();
        let installation = Installation {
            profile: Profile::V1_11,
            secrets: true,
            role: "*".to_owned(),
            network: None,
            new_groups_enforce: false,
        };
        canonical(App::from_value(body).unwrap(), &id, &Rules::of(&installation, &id, None, None))
    }

    #[test]
    fn defaults_are_filled_and_what_comes_back_is_the_same() {
        let pod =
            read(json!({"id": "p", "labels": {}, "unknown": 1, "scaling": {"instances": 2, "kind": "fixed"},
            "containers": [{"name": "c", "resources": {"cpus": 0.1, "mem": 32}}]}));
        let pod = pod.unwrap();
        assert!(is_pod(&pod));
        assert_eq!((instances(&pod), pod.get("role")), (2, Some(&json!("*"))));
        assert_eq!(pod.get("networks"), Some(&json!([{"mode": "host"}])));
        assert!(pod.get("unknown").is_none() && pod.get("labels").is_none());
        assert_eq!(scheduling(&pod, "killSelection"), Some(&json!("YOUNGEST_FIRST")));
        assert_eq!(read(pod.clone().into_value()).unwrap(), pod);
    }

    #[test]
    fn faults_have_their_places() {
        let places = |body: Value| match read(body) {
            Err(Refusal::Invalid(errors)) => errors.into_iter().map(|e| e.path).collect::<Vec<_>>(),
            other => panic!("{other:?}"),
        };
        assert_eq!(places(json!({})), ["/containers"]);
        assert_eq!(
            places(json!({"labels": [], "scaling": {"instances": -1}, "containers": [
                {"name": "A", "resources": {"cpus": 1, "mem": 1}}, {"resources": {"mem": 1}, "image": {}},
                {"name": "b", "resources": {"cpus": 1, "mem": 1}}, {"name": "b", "resources": {"cpus": 1, "mem": 1}},
            ]})),
            [
                "/labels",
                "/scaling/instances",
                "/containers/0/name",
                "/containers/1/name",
                "/containers/1/resources/cpus",
                "/containers/1/image/id",
                "/containers/3/name"
            ]
        );
        let mut secret = json!({"containers": [{"name": "c", "resources": {"cpus": 1, "mem": 1}}]});
        secret["role"] = json!("other");
        assert_eq!(places(secret), ["/role"]);
    }

    #[test]
    fn only_endpoints_with_a_host_port_get_one() {
        let pod = read(json!({"containers": [
            {"name": "a", "resources": {"cpus": 1, "mem": 1}, "endpoints": [{"name": "x", "hostPort": 0}, {"name": "y"}]},
            {"name": "b", "resources": {"cpus": 1, "mem": 1}, "endpoints": [{"name": "z", "hostPort": 80}]}]}));
        let pod = pod.unwrap();
        let found: Vec<_> =
            host_endpoints(&pod).map(|(c, e)| (c["name"].clone(), e["name"].clone())).collect();
        assert_eq!(found, [(json!("a"), json!("x")), (json!("b"), json!("z"))]);
    }
}
