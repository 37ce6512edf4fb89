//! Rules that need more than one field, made on the migrated and filled app.
//!
//! Source: `api/v2/validation/{AppValidation,SchedulingValidation,NetworkValidation}.scala` of
//! mesosphere/marathon, and `state/LinuxInfo.scala`. Faults are placed where its own tests expect them, and finer
//! where those say nothing. Left to the server: what depends on its features and roles.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::fill::is_single_instance;
use super::{FieldError, expression, has_volume};
use crate::model::AppId;

type Object = Map<String, Value>;

/// Reports every rule that the app breaks.
pub(super) fn check(app: &Object, errors: &mut Vec<FieldError>) {
    ids(app, errors);
    what_runs(app, errors);
    executor(app, errors);
    fetch(app, errors);
    container(app, errors);
    volumes(app, errors);
    external_volumes(app, errors);
    networks(app, errors);
    ports(app, errors);
    health_checks(app, errors);
    checks(app, errors);
    constraints(app, errors);
    strategies(app, errors);
    secrets(app, errors);
    resources(app, errors);
}

fn list<'a>(app: &'a Object, key: &str) -> impl Iterator<Item = (usize, &'a Value)> + use<'a> {
    app.get(key).and_then(Value::as_array).into_iter().flatten().enumerate()
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn ids(app: &Object, errors: &mut Vec<FieldError>) {
    let mut check = |path: String, value: &Value| {
        if let Some(Err(error)) = value.as_str().map(AppId::new) {
            errors.push(FieldError::new(path, error.to_string()));
        }
    };
    if let Some(id) = app.get("id") {
        check("/id".into(), id);
    }
    for (i, dependency) in list(app, "dependencies") {
        check(format!("/dependencies/{i}"), dependency);
    }
}

fn what_runs(app: &Object, errors: &mut Vec<FieldError>) {
    let (cmd, args, container) = (app.contains_key("cmd"), app.contains_key("args"), app.get("container"));
    if cmd && args {
        errors.push(FieldError::new("", "args may not stand beside cmd; write one of the two"));
    }
    let image = container.is_some_and(|c| c.get("docker").is_some());
    if !cmd && !args && !image {
        errors.push(FieldError::new(
            "",
            "needs cmd, args, or a container with an image: there is nothing to run",
        ));
    }
}

fn executor(app: &Object, errors: &mut Vec<FieldError>) {
    let executor = app.get("executor").and_then(Value::as_str).unwrap_or_default();
    let path = executor.strip_prefix('/').unwrap_or(executor);
    if !matches!(executor, "" | "//cmd") && path.split('/').any(str::is_empty) {
        errors.push(FieldError::new("/executor", "must be empty, //cmd, or a path without empty segments"));
    }
}

fn fetch(app: &Object, errors: &mut Vec<FieldError>) {
    for (i, item) in list(app, "fetch") {
        if !is_uri(text(item, "uri")) {
            let message =
                "is no URI: blanks and characters such as { } | \\ must be written as %20 and so on";
            errors.push(FieldError::new(format!("/fetch/{i}/uri"), message));
        }
    }
}

/// Whether Java's `URI` takes the text, as far as single characters decide it.
fn is_uri(text: &str) -> bool {
    let is_hex = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_hexdigit);
    let bytes = text.as_bytes();
    text.bytes().enumerate().all(|(i, byte)| match byte {
        b'%' => is_hex(bytes.get(i + 1)) && is_hex(bytes.get(i + 2)),
        byte => !byte.is_ascii_control() && !b" \"<>\\^`{|}".contains(&byte),
    })
}

fn container(app: &Object, errors: &mut Vec<FieldError>) {
    let Some(container) = app.get("container").filter(|c| c.is_object()) else { return };
    let docker = container.get("docker");
    let engine = text(container, "type");
    let mut error = |path: &str, message: &str| errors.push(FieldError::new(path, message));
    if engine == "DOCKER" && docker.is_none() {
        error("/container/docker", "is missing: a container of type DOCKER needs docker.image");
    }
    if docker.is_some_and(|d| d.get("credential").is_some()) {
        error("/container/docker/credential", "is no longer supported; write pullConfig");
    }
    if engine == "DOCKER" && docker.is_some_and(|d| d.get("pullConfig").is_some()) {
        error("/container/docker/pullConfig", "is supported by containers of type MESOS only");
    }
    if engine == "DOCKER" && app.get("gpus").and_then(Value::as_i64).is_some_and(|gpus| gpus > 0) {
        error("", "gpus are supported by containers of type MESOS only");
    }
    if engine == "DOCKER" && app.contains_key("check") {
        error("", "check is not supported by containers of type DOCKER");
    }
    let seccomp = container.pointer("/linuxInfo/seccomp");
    let unconfined = seccomp.and_then(|s| s.get("unconfined")).and_then(Value::as_bool);
    match (seccomp.is_some_and(|s| s.get("profileName").is_some()), unconfined) {
        (true, Some(true)) => {
            error("/container/linuxInfo/seccomp", "unconfined must be false where a profile is named");
        }
        (false, Some(false)) => {
            error("/container/linuxInfo/seccomp", "unconfined must be true where no profile is named");
        }
        _ => {}
    }
    let ipc = container.pointer("/linuxInfo/ipcInfo");
    if ipc.is_some_and(|ipc| text(ipc, "mode") == "SHARE_PARENT" && ipc.get("shmSize").is_some()) {
        error("/container/linuxInfo/ipcInfo", "shmSize is supported in mode PRIVATE only");
    }
}

fn volumes(app: &Object, errors: &mut Vec<FieldError>) {
    let volumes = app.get("container").and_then(|c| c.get("volumes")).and_then(Value::as_array);
    for (i, volume) in volumes.into_iter().flatten().enumerate() {
        let Some(disk) = volume.get("persistent") else { continue };
        let mut error = |part: &str, message: &str| {
            errors.push(FieldError::new(format!("/container/volumes/{i}{part}"), message));
        };
        let path = text(volume, "containerPath");
        if path.contains('/') || matches!(path, "." | "..") {
            error("/containerPath", "of a persistent volume must be one path segment");
        }
        if text(volume, "mode") == "RO" {
            error("/mode", "of a persistent volume must be RW");
        }
        let kind = text(disk, "type");
        let maximum = disk.get("maxSize").and_then(Value::as_i64);
        if kind == "root" && disk.get("constraints").and_then(Value::as_array).is_some_and(|c| !c.is_empty())
        {
            error("/persistent/constraints", "are not supported on root volumes");
        }
        if kind != "mount" && maximum.is_some() {
            error("/persistent/maxSize", "is supported by mount volumes only");
        }
        if maximum.is_some_and(|m| disk.get("size").and_then(Value::as_i64).is_some_and(|size| m <= size)) {
            error("/persistent/maxSize", "must be larger than size");
        }
    }
}

/// Volumes of other providers than CSI: dvdi is the only one (`core/externalvolume/impl/providers/DVDIProvider.scala`).
fn external_volumes(app: &Object, errors: &mut Vec<FieldError>) {
    let Some(container) = app.get("container") else { return };
    let docker = text(container, "type") == "DOCKER";
    for (i, volume) in container.get("volumes").and_then(Value::as_array).into_iter().flatten().enumerate() {
        let Some(external) = volume.get("external").filter(|e| text(e, "provider") != "csi") else {
            continue;
        };
        let mut error = |part: &str, message: &str| {
            errors.push(FieldError::new(format!("/container/volumes/{i}{part}"), message));
        };
        if external.get("provider").is_some() && text(external, "provider") != "dvdi" {
            error("/external/provider", "must be dvdi or csi");
            continue;
        }
        if matches!(text(volume, "containerPath"), "." | "..") {
            error("/containerPath", "of an external volume must be a folder of its own");
        }
        let options = external.get("options").and_then(Value::as_object);
        if options.is_none_or(|options| !options.contains_key(DVDI_DRIVER)) {
            error("/external/options", "must name the driver, under dvdi/driver");
        }
        if docker && options.is_some_and(|options| options.keys().any(|key| key != DVDI_DRIVER)) {
            error("/external/options", "may hold dvdi/driver only in a container of type DOCKER");
        }
        if docker && external.get("size").is_some() {
            error("/external/size", "is not supported in a container of type DOCKER");
        }
        let option = |key: &str| options.and_then(|options| options.get(key)).and_then(Value::as_str);
        if option(DVDI_DRIVER) == Some("rexray") {
            if option("dvdi/iops").is_some_and(|iops| !iops.parse::<i64>().is_ok_and(|iops| iops > 0)) {
                error("/external/options/dvdi~1iops", "must be a whole number above 0");
            }
            if option("dvdi/overwritefs").is_some_and(|overwrite| overwrite != "true") {
                error("/external/options/dvdi~1overwritefs", "can be true only; leave it out otherwise");
            }
        }
    }
}

const DVDI_DRIVER: &str = "dvdi/driver";

fn networks(app: &Object, errors: &mut Vec<FieldError>) {
    let networks: Vec<_> = list(app, "networks").map(|(_, network)| network).collect();
    let mut names = BTreeSet::new();
    for (i, network) in networks.iter().enumerate() {
        let (mode, name) = (text(network, "mode"), text(network, "name"));
        if mode != "container" && (!name.is_empty() || (mode == "host" && network.get("labels").is_some())) {
            errors.push(FieldError::new(
                format!("/networks/{i}"),
                format!("mode {mode} takes no name or labels"),
            ));
        }
        if mode == "container" && !names.insert(name) {
            errors.push(FieldError::new(format!("/networks/{i}"), "is there twice"));
        }
    }
    if networks.len() > 1 && networks.iter().any(|n| text(n, "mode") != "container") {
        let message = "must be one host network, one bridge network, or container networks only";
        errors.push(FieldError::new("/networks", message));
    }
    if networks.len() > 1 && app.get("container").is_some_and(|c| text(c, "type") == "DOCKER") {
        errors.push(FieldError::new("", "a container of type DOCKER joins one network only"));
    }
    mapped_networks(app, &networks, errors);
}

/// Which networks the port mappings name.
fn mapped_networks(app: &Object, networks: &[&Value], errors: &mut Vec<FieldError>) {
    let mappings = app.get("container").and_then(|c| c.get("portMappings")).and_then(Value::as_array);
    let known: Vec<_> = networks.iter().map(|n| text(n, "name")).filter(|name| !name.is_empty()).collect();
    let several = networks.iter().filter(|n| text(n, "mode") == "container").count() > 1;
    for (i, mapping) in mappings.into_iter().flatten().enumerate() {
        let names = mapping.get("networkNames").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        if several && mapping.get("hostPort").is_some() && names.len() != 1 {
            let message = "a host port needs one name in networkNames where there are several networks";
            errors.push(FieldError::new(format!("/container/portMappings/{i}"), message));
        }
        for (j, name) in names.iter().enumerate() {
            if name.as_str().is_some_and(|name| !known.contains(&name)) {
                let path = format!("/container/portMappings/{i}/networkNames/{j}");
                errors.push(FieldError::new(path, format!("{name} is not one of {}", known.join(", "))));
            }
        }
    }
}

fn ports(app: &Object, errors: &mut Vec<FieldError>) {
    let (base, number) = match app.get("portDefinitions") {
        Some(_) => ("/portDefinitions", Some("port")),
        None => ("/container/portMappings", None),
    };
    let (mut names, mut numbers) = (BTreeSet::new(), BTreeSet::new());
    for (i, port) in super::ports(app).iter().enumerate() {
        let name = text(port, "name");
        if !name.is_empty() && !is_port_name(name) {
            let message = "must be lower-case letters, digits and '-', and neither begin nor end with '-'";
            errors.push(FieldError::new(format!("{base}/{i}/name"), message));
        }
        if !name.is_empty() && !names.insert(name) {
            errors.push(FieldError::new(base, format!("the name {name:?} is there twice")));
        }
        let value = number.and_then(|key| port.get(key)).and_then(Value::as_i64).filter(|n| *n != 0);
        if let Some(value) = value.filter(|value| !numbers.insert(*value)) {
            errors.push(FieldError::new(base, format!("the port {value} is there twice")));
        }
    }
}

fn is_port_name(name: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    name.starts_with(inner) && name.ends_with(inner) && name.chars().all(|c| inner(c) || c == '-')
}

fn health_checks(app: &Object, errors: &mut Vec<FieldError>) {
    let ports = super::ports(app).len();
    let docker = app.get("container").is_some_and(|c| text(c, "type") == "DOCKER");
    let mut of_mesos = 0;
    for (i, check) in list(app, "healthChecks") {
        let protocol = text(check, "protocol");
        let mut error = |part: &str, message: String| {
            errors.push(FieldError::new(format!("/healthChecks/{i}{part}"), message));
        };
        of_mesos += usize::from(protocol.starts_with("MESOS_"));
        match (protocol == "COMMAND", check.get("command").is_some()) {
            (true, false) => error("/command/value", "is missing: a COMMAND check needs it".into()),
            (false, true) => error("/protocol", "must be COMMAND where a command is given".into()),
            _ => {}
        }
        let index = check.get("portIndex").and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok());
        if matches!(protocol, "HTTP" | "HTTPS" | "TCP") {
            if index.is_some_and(|index| index >= ports) {
                error("", format!("portIndex must be below the number of ports, {ports}"));
            } else if index.is_none() && check.get("port").is_none() {
                error("", "portIndex is missing, and the app has no port".into());
            }
        }
        if text(check, "ipProtocol") == "IPv6" && !(docker && protocol.starts_with("MESOS_")) {
            let message = "IPv6 is supported by MESOS_ checks of containers of type DOCKER only";
            error("", message.into());
        }
    }
    if of_mesos > 1 {
        errors.push(FieldError::new("/healthChecks", "may hold one MESOS_ check at most"));
    }
}

fn checks(app: &Object, errors: &mut Vec<FieldError>) {
    if let Some(check) = app.get("check")
        && ["http", "tcp", "exec"].iter().filter(|kind| check.get(kind).is_some()).count() != 1
    {
        errors.push(FieldError::new("/check", "needs exactly one of http, tcp and exec"));
    }
    let names: BTreeSet<_> = super::ports(app).iter().map(|port| text(port, "name")).collect();
    for (i, check) in list(app, "readinessChecks") {
        let seconds = |key: &str| check.get(key).and_then(Value::as_i64);
        let mut error = |part: &str, message: String| {
            errors.push(FieldError::new(format!("/readinessChecks/{i}{part}"), message));
        };
        if i > 0 {
            error("", "there may be one readiness check at most".into());
        }
        if !names.contains(text(check, "portName")) {
            error("/portName", format!("no port has the name {:?}", text(check, "portName")));
        }
        if seconds("timeoutSeconds") >= seconds("intervalSeconds") {
            error("/timeoutSeconds", "must be smaller than intervalSeconds".into());
        }
    }
}

const OPERATORS: &[&str] = &["UNIQUE", "CLUSTER", "GROUP_BY", "LIKE", "UNLIKE", "MAX_PER", "IS"];

/// Whether the text of an attribute of Mesos may hold it.
fn is_attribute(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_/.-".contains(&byte)
}

fn constraints(app: &Object, errors: &mut Vec<FieldError>) {
    for (i, constraint) in list(app, "constraints") {
        let parts: Vec<_> = constraint.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let whole = |value: &str| value.parse::<i32>().is_ok();
        let message = match parts[..] {
            ["", ..] => "needs a field name first".into(),
            [_, operator] | [_, operator, _] if !OPERATORS.contains(&operator) => {
                "the operator must be one of UNIQUE, CLUSTER, GROUP_BY, LIKE, UNLIKE, MAX_PER, IS".into()
            }
            [_, "UNIQUE", _] => "UNIQUE takes no value".into(),
            [_, "LIKE" | "UNLIKE"] => "LIKE and UNLIKE need a regular expression".into(),
            [_, "LIKE" | "UNLIKE", value] => match expression::fault(value) {
                Some(fault) => format!("{value:?} is not a valid regular expression: {fault}"),
                None => continue,
            },
            [_, "MAX_PER"] => "MAX_PER needs a whole number".into(),
            [_, "MAX_PER" | "GROUP_BY", value] if !whole(value) => "the value must be a whole number".into(),
            [_, "IS", value] if !value.bytes().all(is_attribute) => {
                "IS compares with a text of letters, digits, _ / . and -, or with a number".into()
            }
            [_, _] | [_, _, _] => continue,
            _ => "must be [field, operator] or [field, operator, value]".to_owned(),
        };
        errors.push(FieldError::new(format!("/constraints/{i}"), message));
    }
    if app.get("acceptedResourceRoles").and_then(Value::as_array).is_some_and(Vec::is_empty) {
        errors.push(FieldError::new("/acceptedResourceRoles", "must not be empty; leave it out"));
    }
}

fn strategies(app: &Object, errors: &mut Vec<FieldError>) {
    let resident = has_volume(app, "persistent");
    let part = |key: &str, part: &str| app.get(key).and_then(|s| s.get(part)).and_then(Value::as_f64);
    let healthy = part("upgradeStrategy", "minimumHealthCapacity").unwrap_or_default();
    let over = part("upgradeStrategy", "maximumOverCapacity").unwrap_or_default();
    let mut error = |path: &str, message: &str| errors.push(FieldError::new(path, message));
    if is_single_instance(app) {
        if app.get("instances").and_then(Value::as_i64).is_some_and(|n| n > 1) {
            error("/instances", "must be 0 or 1 with the label MARATHON_SINGLE_INSTANCE_APP");
        }
        if healthy != 0.0 || over != 0.0 {
            let message = "must be 0 and 0 with the label MARATHON_SINGLE_INSTANCE_APP";
            error("/upgradeStrategy", message);
        }
    }
    let accepted = app.get("acceptedResourceRoles").and_then(Value::as_array);
    if resident && accepted.is_some_and(|roles| roles.iter().any(|role| role != "*")) {
        error("/acceptedResourceRoles", "must be [\"*\"] with a persistent volume; leave it out");
    }
    if resident && over != 0.0 {
        error("/upgradeStrategy/maximumOverCapacity", "must be 0 with a persistent volume");
    }
    if resident && app.get("unreachableStrategy").is_some_and(Value::is_object) {
        error("/unreachableStrategy", "must be \"disabled\" with a persistent volume");
    }
    let inactive = part("unreachableStrategy", "inactiveAfterSeconds");
    if inactive > part("unreachableStrategy", "expungeAfterSeconds") {
        error("/unreachableStrategy/inactiveAfterSeconds", "must not be more than expungeAfterSeconds");
    }
}

fn secrets(app: &Object, errors: &mut Vec<FieldError>) {
    let declared = |name: &str| app.get("secrets").is_some_and(|s| s.get(name).is_some());
    let check = |path: String, name: Option<&Value>, errors: &mut Vec<FieldError>| {
        if let Some(name) = name.and_then(Value::as_str).filter(|name| !declared(name)) {
            errors.push(FieldError::new(
                path,
                format!("names the secret {name:?}, which secrets does not hold"),
            ));
        }
    };
    for (key, value) in app.get("env").and_then(Value::as_object).into_iter().flatten() {
        if key.is_empty() {
            errors.push(FieldError::new("/env", "a variable needs a name"));
            continue;
        }
        check(
            format!("/env/{}/secret", key.replace('~', "~0").replace('/', "~1")),
            value.get("secret"),
            errors,
        );
    }
    let Some(container) = app.get("container") else { return };
    for (i, volume) in container.get("volumes").and_then(Value::as_array).into_iter().flatten().enumerate() {
        check(format!("/container/volumes/{i}"), volume.get("secret"), errors);
    }
    check("/container/docker/pullConfig".into(), container.pointer("/docker/pullConfig/secret"), errors);
}

fn resources(app: &Object, errors: &mut Vec<FieldError>) {
    for key in ["cpus", "mem"] {
        let limit = app.get("resourceLimits").and_then(|l| l.get(key)).and_then(Value::as_f64);
        let request = app.get(key).and_then(Value::as_f64);
        if limit.is_some() && limit < request {
            errors
                .push(FieldError::new(format!("/resourceLimits/{key}"), format!("must not be below {key}")));
        }
    }
}
