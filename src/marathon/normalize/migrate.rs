//! Deprecated fields become canonical ones, as Marathon does before it validates.
//!
//! Rules: `api/v2/AppNormalization.scala` of mesosphere/marathon. What is written in an old and a new way
//! side by side is an error, as it is there. Values of a wrong type were reported before and are passed by.

use serde_json::{Map, Value, json};

use super::FieldError;

type Object = Map<String, Value>;

/// Replaces `uris`, `ports`, `ipAddress`, `residency`, `container.docker.network` and
/// `container.docker.portMappings`.
pub(super) fn migrate(app: &mut Object, errors: &mut Vec<FieldError>) {
    old_docker_of_mesos(app, errors);
    address_with_ports(app, errors);
    migrate_uris(app, errors);
    migrate_ports(app, errors);
    migrate_networks(app, errors);
    migrate_mappings(app, errors);
    migrate_discovery(app, errors);
    app.remove("ipAddress");
    // Without effect since Marathon 1.5: a persistent volume implies all of it.
    app.remove("residency");
}

/// Containers of type MESOS came after these fields and never had them.
fn old_docker_of_mesos(app: &Object, errors: &mut Vec<FieldError>) {
    let Some(container) = app.get("container") else { return };
    let is_mesos = container.get("type").and_then(Value::as_str) == Some("MESOS");
    let Some(docker) = container.get("docker").filter(|_| is_mesos) else { return };
    let is_filled =
        |key: &str| docker.get(key).and_then(Value::as_array).is_some_and(|list| !list.is_empty());
    for (key, is_there, instead) in [
        ("network", docker.get("network").is_some(), "write networks"),
        ("parameters", is_filled("parameters"), "leave it out"),
        ("portMappings", is_filled("portMappings"), "write container.portMappings"),
    ] {
        if is_there {
            let message = format!("is supported by containers of type DOCKER only; {instead}");
            errors.push(FieldError::new(format!("/container/docker/{key}"), message));
        }
    }
}

/// An app with an address of its own had no ports of its host.
fn address_with_ports(app: &Object, errors: &mut Vec<FieldError>) {
    let is_filled = |key: &str| app.get(key).and_then(Value::as_array).is_some_and(|list| !list.is_empty());
    if app.contains_key("ipAddress") && (is_filled("ports") || is_filled("portDefinitions")) {
        let message = "ipAddress may not stand beside ports; write container.portMappings";
        errors.push(FieldError::new("", message));
    }
}

fn migrate_uris(app: &mut Object, errors: &mut Vec<FieldError>) {
    let Some(Value::Array(uris)) = app.remove("uris") else { return };
    if uris.is_empty() {
        return;
    }
    if app.contains_key("fetch") {
        errors.push(FieldError::new("/uris", "may not stand beside fetch; write all of them under fetch"));
        return;
    }
    let items = uris.into_iter().map(|uri| {
        let extract = uri.as_str().is_some_and(is_archive);
        json!({"uri": uri, "extract": extract, "executable": false, "cache": false})
    });
    let items = items.collect();
    app.insert("fetch".into(), Value::Array(items));
}

/// Whether the old `uris` field extracts what this URI names: by the extension of its path.
fn is_archive(uri: &str) -> bool {
    let path = uri.split(['?', '#']).next().unwrap_or_default();
    [".tar", ".tar.gz", ".tar.bz2", ".tar.xz", ".gz", ".tgz", ".tbz2", ".txz", ".zip"]
        .iter()
        .any(|extension| path.ends_with(extension))
}

fn migrate_ports(app: &mut Object, errors: &mut Vec<FieldError>) {
    let Some(Value::Array(ports)) = app.remove("ports") else { return };
    let Some(definitions) = app.get("portDefinitions").and_then(Value::as_array) else {
        let definitions = ports.into_iter().map(|port| json!({"port": port, "protocol": "tcp"})).collect();
        app.insert("portDefinitions".into(), Value::Array(definitions));
        return;
    };
    if !definitions.iter().map(|d| d.get("port")).eq(ports.iter().map(Some)) {
        errors.push(FieldError::new("", "ports may not stand beside other portDefinitions; leave ports out"));
    }
}

fn migrate_networks(app: &mut Object, errors: &mut Vec<FieldError>) {
    let address = app.get("ipAddress").and_then(Value::as_object).cloned();
    let docker = app.get_mut("container").and_then(|c| c.get_mut("docker")).and_then(Value::as_object_mut);
    let network = docker.and_then(|d| d.remove("network"));
    if address.is_none() && network.is_none() {
        return;
    }
    if app.contains_key("networks") {
        let (path, old) = match network {
            Some(_) => ("/container/docker/network", "container.docker.network"),
            None => ("/ipAddress", "ipAddress"),
        };
        errors.push(FieldError::new(path, format!("may not stand beside networks; leave {old} out")));
        return;
    }
    let mode = match network.as_ref().and_then(Value::as_str) {
        Some("HOST") => "host",
        Some("BRIDGE") => "container/bridge",
        Some("NONE") => {
            let message =
                "NONE is no longer supported; write networks with one of host, container, container/bridge";
            errors.push(FieldError::new("/container/docker/network", message));
            return;
        }
        None if named(address.as_ref()) == Some(MESOS_BRIDGE) => "container/bridge",
        Some(_) | None => "container",
    };
    app.insert("networks".into(), json!([network_of(mode, address.as_ref())]));
}

/// The name under which Marathon's bridge network went before it had a mode (`--mesos_bridge_name`).
const MESOS_BRIDGE: &str = "mesos-bridge";

fn named(address: Option<&Object>) -> Option<&str> {
    address?.get("networkName")?.as_str()
}

fn network_of(mode: &str, address: Option<&Object>) -> Value {
    let mut network = Object::new();
    network.insert("mode".into(), mode.into());
    if mode == "container"
        && let Some(name) = named(address)
    {
        network.insert("name".into(), name.into());
    }
    if mode != "host"
        && let Some(labels) = address.and_then(|a| a.get("labels"))
    {
        network.insert("labels".into(), labels.clone());
    }
    Value::Object(network)
}

fn migrate_mappings(app: &mut Object, errors: &mut Vec<FieldError>) {
    let Some(container) = app.get_mut("container").and_then(Value::as_object_mut) else { return };
    let docker = container.get_mut("docker").and_then(Value::as_object_mut);
    let Some(old) = docker.and_then(|d| d.remove("portMappings")) else { return };
    let is_filled = |v: &Value| v.as_array().is_some_and(|a| !a.is_empty());
    match container.get("portMappings") {
        Some(Value::Array(_)) if is_filled(&old) => {
            let message = "may not stand beside container.portMappings; leave the one under docker out";
            errors.push(FieldError::new("/container/docker/portMappings", message));
        }
        Some(Value::Array(_)) => {}
        _ => {
            container.insert("portMappings".into(), old);
        }
    }
}

fn migrate_discovery(app: &mut Object, errors: &mut Vec<FieldError>) {
    let Some(address) = app.get("ipAddress").and_then(Value::as_object) else { return };
    let ports = address.get("discovery").and_then(|d| d.get("ports")).and_then(Value::as_array);
    let ports = ports.cloned().unwrap_or_default();
    let container = app.entry("container").or_insert_with(|| json!({"type": "MESOS", "volumes": []}));
    let Some(container) = container.as_object_mut().filter(|_| !ports.is_empty()) else { return };
    let mut error = |path, message| errors.push(FieldError::new(path, message));
    if container.get("type").and_then(Value::as_str) != Some("MESOS") {
        error(
            "/ipAddress",
            "discovery applies to containers of type MESOS only; write container.portMappings",
        );
    } else if container.contains_key("portMappings") {
        let message = "may not stand beside container.portMappings; leave ipAddress.discovery out";
        error("/ipAddress/discovery/ports", message);
    } else {
        let mappings = ports.iter().map(discovered).collect();
        container.insert("portMappings".into(), Value::Array(mappings));
    }
}

fn discovered(port: &Value) -> Value {
    let member = |key: &str, other: Value| port.get(key).cloned().unwrap_or(other);
    json!({
        "containerPort": member("number", 0.into()),
        "labels": member("labels", json!({})),
        "name": member("name", Value::Null),
        "protocol": member("protocol", "tcp".into()),
        "servicePort": 0,
    })
}
