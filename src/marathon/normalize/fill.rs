//! Defaults that depend on other fields, and what the server forces.
//!
//! Rules: `api/v2/AppNormalization.scala`, `raml/AppConversion.scala` and `raml/HealthCheckConversion.scala`
//! of mesosphere/marathon.

use serde_json::{Map, Value, json};

use super::has_volume;
use super::shape::sort_set;

type Object = Map<String, Value>;

/// Fills a migrated app whose types are right; leaves alone what is not.
pub(super) fn fill(app: &mut Object) {
    absolute_ids(app);
    let networks = app.entry("networks").or_insert_with(|| json!([{"mode": "host"}]));
    let modes: Vec<_> =
        networks.as_array().into_iter().flatten().filter_map(|n| n.get("mode")?.as_str()).collect();
    let (host, bridge) = (modes.contains(&"host"), modes.contains(&"container/bridge"));
    if host {
        host_ports(app);
    } else {
        mapped_ports(app, bridge);
    }
    disks(app);
    strategies(app);
    health_checks(app);
    readiness_checks(app);
}

/// Brings the lists that Marathon takes as sets into one order.
pub(super) fn sort_sets(app: &mut Object) {
    for key in ["constraints", "dependencies", "healthChecks"] {
        if let Some(Value::Array(items)) = app.get_mut(key) {
            sort_set(items);
        }
    }
}

fn absolute_ids(app: &mut Object) {
    let absolute = |value: &mut Value| {
        if let Value::String(id) = value
            && !id.starts_with('/')
        {
            id.insert(0, '/');
        }
    };
    if let Some(id) = app.get_mut("id") {
        absolute(id);
    }
    if let Some(Value::Array(dependencies)) = app.get_mut("dependencies") {
        dependencies.iter_mut().for_each(absolute);
    }
}

fn host_ports(app: &mut Object) {
    app.entry("portDefinitions")
        .or_insert_with(|| json!([{"port": 0, "name": "default", "protocol": "tcp"}]));
    if let Some(container) = app.get_mut("container").and_then(Value::as_object_mut) {
        container.remove("portMappings");
    }
}

fn mapped_ports(app: &mut Object, bridge: bool) {
    let wanted = app.remove("portDefinitions").and_then(|d| d.as_array().map(Vec::len)).unwrap_or_default();
    app.insert("requirePorts".into(), false.into());
    let container = app.entry("container").or_insert_with(|| json!({"type": "MESOS", "volumes": []}));
    let Some(container) = container.as_object_mut() else { return };
    let mappings = container.entry("portMappings").or_insert_with(|| {
        json!([{"containerPort": 0, "labels": {}, "name": "default", "protocol": "tcp", "servicePort": 0}])
    });
    let Value::Array(mappings) = mappings else { return };
    while mappings.len() < wanted {
        mappings.push(json!({"containerPort": 0, "labels": {}, "protocol": "tcp", "servicePort": 0}));
    }
    for mapping in mappings.iter_mut().filter_map(Value::as_object_mut).filter(|_| bridge) {
        mapping.entry("hostPort").or_insert(0.into());
    }
}

/// `persistent.type`: root, or mount where a profile is named.
fn disks(app: &mut Object) {
    let volumes = app.get_mut("container").and_then(|c| c.get_mut("volumes")).and_then(Value::as_array_mut);
    for volume in volumes.into_iter().flatten() {
        if let Some(disk) = volume.get_mut("persistent").and_then(Value::as_object_mut) {
            let kind = if disk.contains_key("profileName") { "mount" } else { "root" };
            disk.entry("type").or_insert(kind.into());
        }
    }
}

fn strategies(app: &mut Object) {
    let resident = has_volume(app, "persistent");
    let unreachable = if resident {
        "disabled".into()
    } else {
        json!({"inactiveAfterSeconds": 0, "expungeAfterSeconds": 0})
    };
    app.entry("unreachableStrategy").or_insert(unreachable);
    let (healthy, over): (Value, Value) = if is_single_instance(app) {
        // Marathon refuses anything else for these as soon as it is written out.
        (0.into(), 0.into())
    } else if resident || has_volume(app, "external") {
        (0.5.into(), 0.into())
    } else {
        (1.into(), 1.into())
    };
    app.entry("upgradeStrategy")
        .or_insert_with(|| json!({"minimumHealthCapacity": healthy, "maximumOverCapacity": over}));
}

/// Whether Marathon treats the app as one that may never run twice.
pub(super) fn is_single_instance(app: &Object) -> bool {
    let labels = app.get("labels");
    labels.and_then(|l| l.get("MARATHON_SINGLE_INSTANCE_APP")).and_then(Value::as_str) == Some("true")
}

fn health_checks(app: &mut Object) {
    let has_ports = !super::ports(app).is_empty();
    let Some(Value::Array(checks)) = app.get_mut("healthChecks") else { return };
    for check in checks.iter_mut().filter_map(Value::as_object_mut) {
        health_check(check, has_ports);
    }
}

fn health_check(check: &mut Object, has_ports: bool) {
    let protocol = check.get("protocol").and_then(Value::as_str).unwrap_or_default().to_owned();
    if protocol == "COMMAND" {
        // Old definitions carry an index here; Marathon drops it.
        check.remove("portIndex");
    } else if has_ports && !check.contains_key("port") {
        check.entry("portIndex").or_insert(0.into());
    }
    if !protocol.contains("HTTP") {
        check.remove("path");
    }
    if matches!(protocol.as_str(), "HTTP" | "HTTPS") {
        // Marathon's own checks forget what was asked for.
        check.insert("ignoreHttp1xx".into(), false.into());
    } else {
        check.remove("ignoreHttp1xx");
    }
    if matches!(protocol.as_str(), "HTTP" | "HTTPS" | "TCP") {
        check.insert("delaySeconds".into(), 15.into());
    }
}

fn readiness_checks(app: &mut Object) {
    let Some(Value::Array(checks)) = app.get_mut("readinessChecks") else { return };
    for check in checks.iter_mut().filter_map(Value::as_object_mut) {
        check.entry("httpStatusCodesForReady").or_insert_with(|| json!([200]));
    }
}
