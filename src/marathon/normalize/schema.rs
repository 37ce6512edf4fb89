//! The fields of a Marathon app, their types, bounds and defaults, as tables.
//!
//! Source: the RAML of Marathon 1.11 (mesosphere/marathon, docs/docs/rest-api/public/api/v2/types), checked
//! against `raml/AppConversion.scala` and its siblings. Deprecated fields are here so that their types are
//! checked; `migrate.rs` replaces them afterwards. Defaults that depend on other fields are in `fill.rs`.

use serde_json::Value;

use super::shape::Literal::{
    Bool as IsBool, EmptyList, EmptyMap, Int as IsInt, Number as IsNumber, Text as IsText,
};
use super::shape::Shape::{Bool, Choice, Int, List, Map, Number, Object, Set, Text, Word};
use super::shape::{Field, Shape, default, omit_empty, optional, required};

const ANY: usize = usize::MAX;
const INT32: i64 = i32::MAX as i64;
const INT64: i64 = i64::MAX;
const PORT: Shape = Int(0, 65_535);
const TEXT: Shape = Text(0, ANY);
const FILLED: Shape = Text(1, ANY);
const SECONDS: Shape = Int(0, INT32);
const URI: Shape = Text(1, 1024);
const PATH: Shape = Text(1, 1024);
const LABELS: Shape = Map(&TEXT);

/// A whole app. The lists that are really sets are sorted last, so that faults name the place as written.
pub(super) const APP: Shape = Object(APP_FIELDS);

const APP_FIELDS: &[Field] = &[
    required("id", FILLED),
    optional("acceptedResourceRoles", Set(&TEXT)),
    omit_empty("args", List(&TEXT)),
    default("backoffFactor", Number(1.0, f64::INFINITY), IsNumber(1.15)),
    default("backoffSeconds", SECONDS, IsInt(1)),
    optional("check", Object(CHECK)),
    optional("cmd", Text(2, ANY)),
    omit_empty("constraints", List(&List(&TEXT))),
    optional("container", Object(CONTAINER)),
    default("cpus", Number(0.0, f64::INFINITY), IsInt(1)),
    omit_empty("dependencies", List(&FILLED)),
    default("disk", Number(0.0, f64::INFINITY), IsInt(0)),
    omit_empty("env", Map(&Choice(env_value))),
    default("executor", TEXT, IsText("")),
    optional("executorResources", Object(EXECUTOR_RESOURCES)),
    omit_empty("fetch", List(&Object(FETCH))),
    default("gpus", Int(0, INT32), IsInt(0)),
    omit_empty("healthChecks", List(&Object(HEALTH_CHECK))),
    default("instances", Int(0, INT32), IsInt(1)),
    optional("ipAddress", Object(IP_ADDRESS)),
    default("killSelection", Word(&["YOUNGEST_FIRST", "OLDEST_FIRST"]), IsText("YOUNGEST_FIRST")),
    default("labels", LABELS, EmptyMap),
    optional("maxLaunchDelaySeconds", SECONDS),
    default("mem", Number(0.0, f64::INFINITY), IsInt(128)),
    omit_empty("networks", List(&Object(NETWORK))),
    optional("portDefinitions", List(&Object(PORT_DEFINITION))),
    optional("ports", List(&PORT)),
    omit_empty("readinessChecks", List(&Object(READINESS_CHECK))),
    default("requirePorts", Bool, IsBool(false)),
    optional("residency", Object(RESIDENCY)),
    optional("resourceLimits", Object(RESOURCE_LIMITS)),
    optional("role", FILLED),
    omit_empty("secrets", Map(&Object(SECRET))),
    optional("taskKillGracePeriodSeconds", SECONDS),
    optional("tty", Bool),
    optional("unreachableStrategy", Choice(unreachable_strategy)),
    optional("upgradeStrategy", Object(UPGRADE_STRATEGY)),
    optional("uris", List(&URI)),
    optional("user", TEXT),
];

const FETCH: &[Field] = &[
    required("uri", URI),
    default("extract", Bool, IsBool(true)),
    default("executable", Bool, IsBool(false)),
    default("cache", Bool, IsBool(false)),
    optional("destPath", PATH),
];

const UPGRADE_STRATEGY: &[Field] =
    &[required("minimumHealthCapacity", Number(0.0, 1.0)), required("maximumOverCapacity", Number(0.0, 1.0))];

const RESIDENCY: &[Field] = &[
    optional("relaunchEscalationTimeoutSeconds", Int(0, INT64)),
    optional("taskLostBehavior", Word(&["WAIT_FOREVER", "RELAUNCH_AFTER_TIMEOUT"])),
];

const SECRET: &[Field] = &[required("source", FILLED)];
const SECRET_REFERENCE: Shape = Object(&[required("secret", FILLED)]);

fn env_value(value: &Value) -> &'static Shape {
    if value.is_object() { &SECRET_REFERENCE } else { &TEXT }
}

const DISABLED: Shape = Word(&["disabled"]);
const UNREACHABLE: Shape = Object(&[
    default("inactiveAfterSeconds", Int(0, INT64), IsInt(0)),
    default("expungeAfterSeconds", Int(0, INT64), IsInt(0)),
]);

fn unreachable_strategy(value: &Value) -> &'static Shape {
    if value.is_string() { &DISABLED } else { &UNREACHABLE }
}

const EXECUTOR_RESOURCES: &[Field] = &[
    default("cpus", Number(0.0, f64::INFINITY), IsNumber(0.1)),
    default("mem", Number(32.0, f64::INFINITY), IsInt(32)),
    default("disk", Number(10.0, f64::INFINITY), IsInt(10)),
];

const RESOURCE_LIMITS: &[Field] =
    &[optional("cpus", Choice(resource_limit)), optional("mem", Choice(resource_limit))];
const UNLIMITED: Shape = Word(&["unlimited"]);
const LIMIT: Shape = Number(0.0, f64::INFINITY);

fn resource_limit(value: &Value) -> &'static Shape {
    if value.is_string() { &UNLIMITED } else { &LIMIT }
}

const NETWORK_PROTOCOL: Shape = Word(&["tcp", "udp", "udp,tcp"]);

const NETWORK: &[Field] = &[
    optional("name", FILLED),
    default("mode", Word(&["host", "container", "container/bridge"]), IsText("container")),
    omit_empty("labels", LABELS),
];

const PORT_DEFINITION: &[Field] = &[
    default("port", PORT, IsInt(0)),
    omit_empty("labels", LABELS),
    optional("name", FILLED),
    default("protocol", NETWORK_PROTOCOL, IsText("tcp")),
];

const PORT_MAPPING: &[Field] = &[
    default("containerPort", PORT, IsInt(0)),
    optional("hostPort", PORT),
    default("labels", LABELS, EmptyMap),
    optional("name", FILLED),
    default("protocol", NETWORK_PROTOCOL, IsText("tcp")),
    default("servicePort", PORT, IsInt(0)),
    omit_empty("networkNames", List(&FILLED)),
];

const IP_ADDRESS: &[Field] = &[
    optional("discovery", Object(&[omit_empty("ports", List(&Object(DISCOVERY_PORT)))])),
    omit_empty("groups", Set(&TEXT)),
    omit_empty("labels", LABELS),
    optional("networkName", FILLED),
];

const DISCOVERY_PORT: &[Field] = &[
    default("number", PORT, IsInt(0)),
    required("name", FILLED),
    default("protocol", NETWORK_PROTOCOL, IsText("tcp")),
    omit_empty("labels", LABELS),
];

const CONTAINER: &[Field] = &[
    default("type", Word(&["DOCKER", "MESOS"]), IsText("DOCKER")),
    optional("docker", Object(DOCKER)),
    optional("linuxInfo", Object(LINUX_INFO)),
    optional("portMappings", List(&Object(PORT_MAPPING))),
    default("volumes", List(&Choice(volume)), EmptyList),
];

const DOCKER: &[Field] = &[
    optional("credential", Object(&[required("principal", TEXT), optional("secret", TEXT)])),
    optional("pullConfig", SECRET_REFERENCE),
    default("forcePullImage", Bool, IsBool(false)),
    required("image", FILLED),
    optional("network", Word(&["BRIDGE", "HOST", "NONE", "USER"])),
    default("parameters", List(&Object(&[required("key", FILLED), required("value", TEXT)])), EmptyList),
    optional("portMappings", List(&Object(PORT_MAPPING))),
    default("privileged", Bool, IsBool(false)),
];

const LINUX_INFO: &[Field] = &[
    optional("seccomp", Object(&[optional("profileName", TEXT), default("unconfined", Bool, IsBool(false))])),
    optional(
        "ipcInfo",
        Object(&[
            required("mode", Word(&["PRIVATE", "SHARE_PARENT"])),
            optional("shmSize", Number(0.0, f64::INFINITY)),
        ]),
    ),
];

const MODE: Field = required("mode", Word(&["RO", "RW"]));
const CONTAINER_PATH: Field = required("containerPath", FILLED);
const HOST_VOLUME: Shape = Object(&[CONTAINER_PATH, required("hostPath", FILLED), MODE]);
const SECRET_VOLUME: Shape = Object(&[CONTAINER_PATH, required("secret", FILLED)]);
const PERSISTENT_VOLUME: Shape = Object(&[
    CONTAINER_PATH,
    MODE,
    required(
        "persistent",
        Object(&[
            optional("type", Word(&["root", "path", "mount"])),
            required("size", Int(1, INT64)),
            optional("maxSize", Int(0, INT64)),
            optional("profileName", TEXT),
            default("constraints", Set(&List(&TEXT)), EmptyList),
        ]),
    ),
]);
const DVDI_VOLUME: Shape = Object(&[
    CONTAINER_PATH,
    MODE,
    required(
        "external",
        Object(&[
            optional("size", Int(0, INT64)),
            required("name", FILLED),
            required("provider", FILLED),
            omit_empty("options", LABELS),
            default("shared", Bool, IsBool(false)),
        ]),
    ),
]);
const CSI_VOLUME: Shape = Object(&[
    CONTAINER_PATH,
    MODE,
    required(
        "external",
        Object(&[
            required("name", FILLED),
            required("provider", Word(&["csi"])),
            required("options", Object(CSI_OPTIONS)),
        ]),
    ),
]);

const CSI_OPTIONS: &[Field] = &[
    required("pluginName", FILLED),
    required("capability", Object(CSI_CAPABILITY)),
    omit_empty("nodeStageSecret", LABELS),
    omit_empty("nodePublishSecret", LABELS),
    omit_empty("volumeContext", LABELS),
];

const CSI_CAPABILITY: &[Field] = &[
    required(
        "accessMode",
        Word(&[
            "SINGLE_NODE_WRITER",
            "SINGLE_NODE_READER_ONLY",
            "MULTI_NODE_READER_ONLY",
            "MULTI_NODE_SINGLE_WRITER",
            "MULTI_NODE_MULTI_WRITER",
        ]),
    ),
    required("accessType", Word(&["block", "mount"])),
    optional("fsType", TEXT),
    omit_empty("mountFlags", List(&TEXT)),
];

fn volume(value: &Value) -> &'static Shape {
    let has = |key: &str| value.get(key).is_some_and(|v| !v.is_null());
    match value.pointer("/external/provider").and_then(Value::as_str) {
        Some("csi") => &CSI_VOLUME,
        _ if has("external") => &DVDI_VOLUME,
        _ if has("persistent") => &PERSISTENT_VOLUME,
        _ if has("secret") => &SECRET_VOLUME,
        _ => &HOST_VOLUME,
    }
}

const HEALTH_CHECK: &[Field] = &[
    optional("command", Object(&[required("value", FILLED)])),
    default("gracePeriodSeconds", SECONDS, IsInt(300)),
    optional("ignoreHttp1xx", Bool),
    default("intervalSeconds", SECONDS, IsInt(60)),
    default("maxConsecutiveFailures", Int(0, INT32), IsInt(3)),
    optional("path", TEXT),
    optional("port", PORT),
    optional("portIndex", PORT),
    default("protocol", Word(HEALTH_PROTOCOLS), IsText("HTTP")),
    default("ipProtocol", Word(&["IPv4", "IPv6"]), IsText("IPv4")),
    default("timeoutSeconds", SECONDS, IsInt(20)),
    default("delaySeconds", SECONDS, IsInt(15)),
];

const HEALTH_PROTOCOLS: &[&str] =
    &["HTTP", "HTTPS", "TCP", "COMMAND", "MESOS_TCP", "MESOS_HTTP", "MESOS_HTTPS"];

const CHECK: &[Field] = &[
    optional(
        "http",
        Object(&[
            optional("portIndex", PORT),
            optional("port", PORT),
            optional("path", PATH),
            default("scheme", HTTP_SCHEME, IsText("HTTP")),
        ]),
    ),
    optional("tcp", Object(&[optional("portIndex", PORT), optional("port", PORT)])),
    optional("exec", Object(&[required("command", Choice(mesos_command))])),
    default("intervalSeconds", SECONDS, IsInt(60)),
    default("timeoutSeconds", SECONDS, IsInt(20)),
    default("delaySeconds", SECONDS, IsInt(15)),
];

const HTTP_SCHEME: Shape = Word(&["HTTP", "HTTPS"]);
const SHELL: Shape = Object(&[required("shell", FILLED)]);
const ARGV: Shape = Object(&[required("argv", List(&TEXT))]);

fn mesos_command(value: &Value) -> &'static Shape {
    if value.get("argv").is_some() { &ARGV } else { &SHELL }
}

const READINESS_CHECK: &[Field] = &[
    default("name", FILLED, IsText("readinessCheck")),
    default("protocol", HTTP_SCHEME, IsText("HTTP")),
    default("path", PATH, IsText("/")),
    default("portName", FILLED, IsText("http-api")),
    default("intervalSeconds", SECONDS, IsInt(30)),
    default("timeoutSeconds", Int(1, INT32), IsInt(10)),
    omit_empty("httpStatusCodesForReady", Set(&Int(100, 999))),
    default("preserveLastResponse", Bool, IsBool(false)),
];
