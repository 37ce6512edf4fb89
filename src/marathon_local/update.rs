//! What a body of POST or PUT makes of an app, and what follows from the difference. Pure.
//!
//! Sources: `AppsResource.scala`, `raml/AppConversion.scala` (partial updates) and `AppDefinition.scala`
//! (`isUpgrade`) of mesosphere/marathon.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::definition;
use super::plan::Fate;
use super::ports;
use super::profile::Rules;
use super::refusal::Refusal;
use crate::marathon::normalize::{FieldError, normalize_dropping, strip_status};
use crate::model::{App, AppId};

/// How a PUT treats what its body leaves out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// It stays as it is (`partialUpdate=true`).
    Partial,
    /// As before, and what is not there is not created (PATCH).
    Existing,
    /// It becomes its default.
    Full,
}

/// The canonical definition of a full body. Fields that Marathon does not know are dropped.
///
/// # Errors
/// [`Refusal::Invalid`] with all faults.
pub fn full(mut body: App, id: &AppId, rules: &Rules) -> Result<App, Refusal> {
    body.0.insert("id".to_owned(), Value::from(id.as_str()));
    rules.prepare(&mut body);
    let (app, _unknown) = normalize_dropping(&body).map_err(Refusal::Invalid)?;
    let mut app = app.into_app();
    let errors = rules.complete(&mut app);
    if errors.is_empty() { Ok(app) } else { Err(Refusal::Invalid(errors)) }
}

/// As [`full`], for the body of a PUT, which cannot say anything of `executorResources`: it is lost on the way
/// (`AppsResource.scala` makes an update of the app first).
///
/// # Errors
/// As [`full`].
pub fn replacing(mut body: App, id: &AppId, rules: &Rules) -> Result<App, Refusal> {
    body.0.remove("executorResources");
    full(body, id, rules)
}

/// The canonical definition that a partial body makes of the one in force. What is null is as if it were
/// not there; objects and maps are replaced as a whole.
///
/// # Errors
/// [`Refusal::Invalid`], also where a version stands beside other fields.
pub fn partial(body: App, old: &App, id: &AppId, rules: &Rules) -> Result<App, Refusal> {
    let body: Map<_, _> = body.0.into_iter().filter(|(_, value)| !value.is_null()).collect();
    if body.contains_key("version") {
        let message = "The 'version' field may only be combined with the 'id' field.".to_owned();
        return Err(Refusal::Invalid(vec![FieldError { path: String::new(), message }]));
    }
    let mut merged = strip_status(old);
    for key in replaced_by_old_spelling(&body) {
        merged.0.remove(key);
    }
    // Holes of the real one: what is not sent again is lost.
    merged.0.remove("executorResources");
    merged.0.remove("resourceLimits");
    merged.0.extend(body);
    full(merged, id, rules)
}

/// What may not change of an app that owns volumes, and the role that may change by force only.
///
/// # Errors
/// [`Refusal::Invalid`] with all faults (`AppDefinition.scala`, `residentUpdateIsValid`).
pub fn check_resident(old: &App, new: &App, force: bool) -> Result<(), Refusal> {
    if !definition::is_resident(old) && !definition::is_resident(new) {
        return Ok(());
    }
    let mut errors = Vec::new();
    let mut fault = |path: &str, message: String| errors.push(FieldError { path: path.to_owned(), message });
    for key in ["cpus", "mem", "disk", "gpus"] {
        let number = |app: &App| app.get(key).and_then(Value::as_f64);
        if number(old) != number(new) {
            fault(&format!("/{key}"), RESOURCES_CHANGED.to_owned());
        }
    }
    if definition::requires_ports(old) != definition::requires_ports(new) {
        fault("/requirePorts", RESOURCES_CHANGED.to_owned());
    }
    let persistent = |app: &App| {
        let volumes = definition::volumes(app).filter(|v| v.get("persistent").is_some());
        // Their order does not matter.
        volumes.map(Value::to_string).collect::<BTreeSet<_>>()
    };
    if persistent(old) != persistent(new) {
        fault("/", "Persistent volumes can not be changed!".to_owned());
    }
    // Marathon gives numbers first (`GroupManagerImpl.scala`).
    if host_ports(old) != host_ports(&numbered(old, new)) {
        fault("/", PORTS_CHANGED.to_owned());
    }
    let role = |app: &App| app.get("role").and_then(Value::as_str).unwrap_or_default().to_owned();
    if role(old) != role(new) && !force {
        let (old, new) = (role(old), role(new));
        fault(
            "/role",
            format!(
                "It is not possible to change the role for existing reservations. If you proceed with this change, \
                 all existing instances will continue to run under the previous role, {old}. Only new instances \
                 will be allocated with the new role, {new}. In order to continue, retry your request with \
                 ?force=true"
            ),
        );
    }
    if errors.is_empty() { Ok(()) } else { Err(Refusal::Invalid(errors)) }
}

const RESOURCES_CHANGED: &str = "Services with persistent volumes configured may not change resource \
                                 requirements. If you need to make this change, please create a new service.";

const PORTS_CHANGED: &str = "Services with persistent volumes configured may not change host ports. If you need to \
                             make this change, please create a new service.";

/// The ports of hosts: all port definitions, required or not, or the host ports of mappings.
fn host_ports(app: &App) -> BTreeSet<u64> {
    let mappings = app.get("container").and_then(|c| c.get("portMappings")).and_then(Value::as_array);
    let (list, key) = match mappings.filter(|mappings| !mappings.is_empty()) {
        Some(mappings) => (Some(mappings), "hostPort"),
        None => (app.get("portDefinitions").and_then(Value::as_array), "port"),
    };
    list.into_iter().flatten().filter_map(|port| port.get(key)?.as_u64()).collect()
}

/// The definition with numbers for ports given as 0. Which free ones it gets does not matter: none of them is an old
/// one.
fn numbered(old: &App, new: &App) -> App {
    let mut new = new.clone();
    ports::assign_service_ports(&mut new, Some(old), &BTreeSet::new());
    new
}

/// The version that a body asks to go back to: it says nothing else.
pub fn version_to_restore(body: &App) -> Option<&str> {
    let mut said = body.0.iter().filter(|(key, value)| *key != "id" && !value.is_null());
    match (said.next(), said.next()) {
        (Some((key, Value::String(version))), None) if key == "version" => Some(version),
        _ => None,
    }
}

/// Fields in force that an old-fashioned field of the body stands for.
fn replaced_by_old_spelling(body: &Map<String, Value>) -> Vec<&'static str> {
    let docker = body.get("container").and_then(|c| c.get("docker"));
    let mut replaced = Vec::new();
    if body.contains_key("uris") {
        replaced.push("fetch");
    }
    let network = docker.and_then(|d| d.get("network"));
    if body.contains_key("ipAddress") || network.is_some() {
        replaced.push("networks");
    }
    if body.contains_key("ports") || leaves_host_network(body, network) {
        replaced.push("portDefinitions");
    }
    replaced
}

/// Whether a body moves the app off the network of its host, where its port definitions mean nothing.
fn leaves_host_network(body: &Map<String, Value>, docker_network: Option<&Value>) -> bool {
    let networks = body.get("networks").and_then(Value::as_array);
    let is_other = |network: &Value| network.get("mode").and_then(Value::as_str) != Some("host");
    match docker_network.and_then(Value::as_str) {
        Some(network) => network != "HOST",
        None => body.contains_key("ipAddress") || networks.is_some_and(|list| list.iter().any(is_other)),
    }
}

/// What follows for its tasks from putting `new` in the place of `old`, both canonical and with all ports
/// assigned; none where nothing does.
pub fn fate(old: &App, new: &App) -> Option<Fate> {
    if compared(old) != compared(new) {
        Some(Fate::Restart)
    } else if definition::instances(old) != definition::instances(new) {
        Some(Fate::Scale)
    } else {
        None
    }
}

/// What decides whether tasks are replaced: everything but the number of them and `executorResources`, which
/// Marathon does not look at.
fn compared(app: &App) -> App {
    let mut app = strip_status(app);
    for key in ["instances", "executorResources", "scaling"] {
        app.0.remove(key);
    }
    app
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::marathon_local::profile::{Installation, Profile};

    fn app(value: Value) -> App {
        App::from_value(value).unwrap()
    }

    fn id() -> AppId {
        AppId::new("/a").unwrap()
    }

    fn rules() -> Rules {
        let installation = Installation {
            profile: Profile::V1_11,
            secrets: false,
            role: "dev".to_owned(),
            network: None,
            new_groups_enforce: false,
        };
        Rules::of(&installation, &id(), None, None)
    }

    fn canonical(value: Value) -> App {
        full(app(value), &id(), &rules()).unwrap()
    }

    #[test]
    fn labels_restart_instances_scale_and_nothing_does_nothing() {
        let old = canonical(json!({"cmd": "sleep 1", "labels": {"a": "b"}}));
        let with = |key: &str, value: Value| {
            let mut new = old.clone();
            new.0.insert(key.to_owned(), value);
            fate(&old, &canonical(new.into_value()))
        };
        assert_eq!(fate(&old, &old), None);
        assert_eq!(with("instances", json!(3)), Some(Fate::Scale));
        assert_eq!(with("labels", json!({"a": "c"})), Some(Fate::Restart));
        assert_eq!(with("unknownField", json!(1)), None);
        assert_eq!(with("version", json!("2020-01-01T00:00:00.000Z")), None);
        for (key, value) in [
            ("env", json!({"A": "b"})),
            ("cpus", json!(2)),
            ("upgradeStrategy", json!({"minimumHealthCapacity": 0.5, "maximumOverCapacity": 0.5})),
            ("backoffSeconds", json!(2)),
            ("taskKillGracePeriodSeconds", json!(9)),
        ] {
            assert_eq!(with(key, value), Some(Fate::Restart), "{key}");
        }
    }

    #[test]
    fn partial_updates_keep_what_they_leave_out_and_replace_maps_whole() {
        let old =
            canonical(json!({"cmd": "sleep 1", "env": {"A": "1", "B": "2"}, "uris": ["http://h/a.tgz"]}));
        let new = partial(app(json!({"env": {"A": "3"}, "cmd": null})), &old, &id(), &rules()).unwrap();
        assert_eq!(new.get("cmd"), Some(&json!("sleep 1")), "null is as if absent");
        assert_eq!(new.get("env"), Some(&json!({"A": "3"})));
        assert_eq!(new.get("fetch"), old.get("fetch"));
        let new = partial(app(json!({"uris": ["http://h/b.tgz"]})), &old, &id(), &rules()).unwrap();
        assert_eq!(new.get("fetch").unwrap()[0]["uri"], "http://h/b.tgz");
        let full = full(app(json!({"cmd": "sleep 1"})), &id(), &rules()).unwrap();
        assert_eq!(full.get("env"), None, "a full update forgets it");
    }

    #[test]
    fn a_version_stands_alone() {
        let version = json!({"id": "/a", "version": "v1"});
        assert_eq!(version_to_restore(&app(version)), Some("v1"));
        let mixed = app(json!({"version": "v1", "cmd": "sleep 1"}));
        assert_eq!(version_to_restore(&mixed), None);
        let old = canonical(json!({"cmd": "sleep 2"}));
        assert!(matches!(partial(mixed, &old, &id(), &rules()), Err(Refusal::Invalid(_))));
    }

    #[test]
    fn what_a_put_cannot_say_is_lost() {
        let body =
            json!({"cmd": "sleep 1", "executorResources": {"cpus": 0.2}, "resourceLimits": {"cpus": 2}});
        let created = canonical(body.clone());
        assert!(created.get("executorResources").is_some());
        assert!(replacing(app(body), &id(), &rules()).unwrap().get("executorResources").is_none());
        let patched = partial(app(json!({"instances": 2})), &created, &id(), &rules()).unwrap();
        assert!(patched.get("executorResources").is_none() && patched.get("resourceLimits").is_none());
    }

    #[test]
    fn apps_with_volumes_change_little() {
        let volume = |size: u64| json!({"volumes": [{"containerPath": "d", "mode": "RW", "persistent": {"size": size}}], "type": "MESOS"});
        let mut old = canonical(json!({"cmd": "sleep 1", "container": volume(10)}));
        assert!(ports::assign_service_ports(&mut old, None, &BTreeSet::new()));
        let places = |body: Value, force: bool| match check_resident(&old, &app(body), force) {
            Ok(()) => Vec::new(),
            Err(Refusal::Invalid(errors)) => errors.into_iter().map(|e| e.path).collect(),
            Err(other) => panic!("{other}"),
        };
        let with = |key: &str, value: Value| {
            let mut new = old.clone();
            new.0.insert(key.to_owned(), value);
            new.into_value()
        };
        assert!(places(with("env", json!({"A": "b"})), false).is_empty());
        let port = |number: u16| {
            with("portDefinitions", json!([{"port": number, "name": "other", "protocol": "tcp"}]))
        };
        assert!(places(port(0), false).is_empty(), "the number stays");
        assert_eq!(places(port(80), false), ["/"], "required or not");
        assert_eq!(places(with("mem", json!(64)), false), ["/mem"]);
        assert_eq!(places(with("requirePorts", json!(true)), false)[0], "/requirePorts");
        let ported = |port: u64| {
            let mut app = old.clone();
            app.0.insert("requirePorts".to_owned(), true.into());
            app.0.insert("portDefinitions".to_owned(), json!([{"port": port, "protocol": "tcp"}]));
            app
        };
        let moved = |port: u64| check_resident(&ported(10_001), &ported(port), false).is_err();
        assert!(!moved(0) && !moved(10_001) && moved(10_002), "0 is the old port");
        assert_eq!(places(with("container", volume(11)), false), ["/"]);
        assert_eq!(places(with("role", json!("x")), false), ["/role"]);
        assert!(places(with("role", json!("x")), true).is_empty());
    }
}
