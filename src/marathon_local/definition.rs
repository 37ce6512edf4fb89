//! What the fields of an app or pod definition mean to this Marathon. Pure.
//!
//! Definitions are kept in canonical form, so that fields are there with their defaults; where one is
//! absent all the same the default of Marathon 1.8+ is taken (`docs/docs/rest-api/public/api/v2/types` of
//! mesosphere/marathon).

use std::time::Duration;

use serde_json::Value;

use super::pod;
use crate::model::App;

/// How tasks are replaced.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct UpgradeStrategy {
    /// The share of instances that must stay healthy.
    pub minimum_health_capacity: f64,
    /// The share of instances that may run besides.
    pub maximum_over_capacity: f64,
}

/// How long to wait before a failed task is started again.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Backoff {
    /// After the first failure.
    pub first: Duration,
    /// By how much it grows with each failure.
    pub factor: f64,
    /// Where it stops to grow.
    pub longest: Duration,
}

/// Which tasks go first where there are too many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KillSelection {
    /// Those that were launched last.
    #[default]
    YoungestFirst,
    /// Those that were launched first.
    OldestFirst,
}

/// A port that the definition asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// The number in the definition: the service port.
    pub number: u16,
    /// Its name.
    pub name: Option<String>,
}

/// Which port a health check goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckedPort {
    /// The task's port at this index.
    Index(usize),
    /// This very port.
    Number(u16),
}

/// What a health check does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// A GET that must be answered with a status from 200 to 399.
    Http {
        /// Whether over TLS (the certificate is not verified, as in Mesos).
        tls: bool,
        /// The path.
        path: String,
        /// The port.
        port: CheckedPort,
    },
    /// A connection that must be accepted.
    Tcp(CheckedPort),
    /// A shell command that must exit with 0.
    Command(String),
}

/// A health check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthCheck {
    /// What is done.
    pub probe: Probe,
    /// For how long after the start failures do not count, unless the task has been healthy before.
    pub grace: Duration,
    /// Before the first check.
    pub delay: Duration,
    /// Between two checks.
    pub interval: Duration,
    /// For one check.
    pub timeout: Duration,
    /// After how many failures in a row the task is killed; none: never.
    pub failures_to_kill: Option<u32>,
    /// Whether Mesos makes it: only then its result is known where tasks are replaced.
    pub of_mesos: bool,
}

/// A check that a task of a deployment must pass once before it counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadinessCheck {
    /// Its name.
    pub name: String,
    /// Whether over TLS.
    pub tls: bool,
    /// The path.
    pub path: String,
    /// The position of its port.
    pub port: usize,
    /// Between two checks.
    pub interval: Duration,
    /// For one check.
    pub timeout: Duration,
    /// The HTTP status codes that say that the task is ready.
    pub ready: Vec<u16>,
    /// Whether the last answer is shown.
    pub keeps_response: bool,
}

/// What becomes of tasks whose agent cannot be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnreachableStrategy {
    /// When another task is started in their place.
    pub inactive_after: Duration,
    /// When they are given up.
    pub expunge_after: Duration,
}

/// How many instances the definition asks for.
pub fn instances(app: &App) -> u64 {
    if pod::is_pod(app) { pod::instances(app) } else { app.instances() }
}

/// The upgrade strategy.
pub fn upgrade_strategy(app: &App) -> UpgradeStrategy {
    let strategy =
        if pod::is_pod(app) { pod::scheduling(app, "upgrade") } else { app.get("upgradeStrategy") };
    let share =
        |key: &str| strategy.and_then(|s| s.get(key)).and_then(Value::as_f64).unwrap_or(1.0).clamp(0.0, 1.0);
    UpgradeStrategy {
        minimum_health_capacity: share("minimumHealthCapacity"),
        maximum_over_capacity: share("maximumOverCapacity"),
    }
}

/// The delays after failures.
pub fn backoff(app: &App) -> Backoff {
    if let Some(backoff) = pod::scheduling(app, "backoff") {
        return Backoff {
            first: seconds(backoff.get("backoff"), 1.0),
            factor: backoff.get("backoffFactor").and_then(Value::as_f64).unwrap_or(1.15).max(1.0),
            longest: seconds(backoff.get("maxLaunchDelay"), 300.0),
        };
    }
    Backoff {
        first: seconds(app.get("backoffSeconds"), 1.0),
        factor: app.get("backoffFactor").and_then(Value::as_f64).unwrap_or(1.15).max(1.0),
        longest: seconds(app.get("maxLaunchDelaySeconds"), 300.0),
    }
}

/// From SIGTERM to SIGKILL.
pub fn kill_grace(app: &App) -> Duration {
    seconds(app.get("taskKillGracePeriodSeconds"), 3.0)
}

/// Which tasks go first where there are too many.
pub fn kill_selection(app: &App) -> KillSelection {
    let selection = app.get("killSelection").or_else(|| pod::scheduling(app, "killSelection"));
    match selection.and_then(Value::as_str) {
        Some("OLDEST_FIRST") => KillSelection::OldestFirst,
        _ => KillSelection::YoungestFirst,
    }
}

/// What becomes of unreachable tasks; none: they are waited for, for ever.
pub fn unreachable_strategy(app: &App) -> Option<UnreachableStrategy> {
    let strategy = app.get("unreachableStrategy").or_else(|| pod::scheduling(app, "unreachableStrategy"));
    if strategy.is_some_and(Value::is_string) || (strategy.is_none() && is_resident(app)) {
        return None;
    }
    let after = |key: &str| seconds(strategy.and_then(|s| s.get(key)), 0.0);
    Some(UnreachableStrategy {
        inactive_after: after("inactiveAfterSeconds"),
        expunge_after: after("expungeAfterSeconds"),
    })
}

/// The readiness check, of which there may be one.
pub fn readiness_check(app: &App) -> Option<ReadinessCheck> {
    let check = app.get("readinessChecks").and_then(Value::as_array)?.first()?;
    let text =
        |key: &str, default: &str| check.get(key).and_then(Value::as_str).unwrap_or(default).to_owned();
    let port = text("portName", "http-api");
    let codes = check.get("httpStatusCodesForReady").and_then(Value::as_array);
    let codes = codes.into_iter().flatten().filter_map(|c| c.as_u64().and_then(|c| c.try_into().ok()));
    let ready: Vec<u16> = codes.collect();
    Some(ReadinessCheck {
        name: text("name", "readinessCheck"),
        tls: text("protocol", "HTTP") == "HTTPS",
        path: text("path", "/"),
        port: ports(app).iter().position(|p| p.name.as_deref() == Some(&port)).unwrap_or(usize::MAX),
        interval: seconds(check.get("intervalSeconds"), 30.0),
        timeout: seconds(check.get("timeoutSeconds"), 10.0),
        ready: if ready.is_empty() { vec![200] } else { ready },
        keeps_response: check.get("preserveLastResponse").and_then(Value::as_bool).unwrap_or(false),
    })
}

/// Whether the app has a persistent volume.
pub fn is_resident(app: &App) -> bool {
    volumes(app).any(|v| v.get("persistent").is_some())
}

/// The volumes.
pub fn volumes(app: &App) -> impl Iterator<Item = &Value> {
    let list = if pod::is_pod(app) {
        app.get("volumes")
    } else {
        app.get("container").and_then(|c| c.get("volumes"))
    };
    list.and_then(Value::as_array).into_iter().flatten()
}

/// Whether the task must get the very ports of the definition.
pub fn requires_ports(app: &App) -> bool {
    app.get("requirePorts").and_then(Value::as_bool).unwrap_or(false)
}

/// Whether the app shares the network of its host.
pub fn is_on_host_network(app: &App) -> bool {
    let networks = app.get("networks").and_then(Value::as_array);
    networks.into_iter().flatten().all(|n| n.get("mode").and_then(Value::as_str) == Some("host"))
}

/// The ports that the definition asks for: port definitions on the host network, mappings elsewhere, and
/// the endpoints of pods that want a port of the host.
pub fn ports(app: &App) -> Vec<Port> {
    if pod::is_pod(app) {
        let port = |(_, endpoint): (&Value, &Value)| Port {
            number: endpoint
                .get("hostPort")
                .and_then(Value::as_u64)
                .and_then(|n| n.try_into().ok())
                .unwrap_or(0),
            name: endpoint.get("name").and_then(Value::as_str).map(str::to_owned),
        };
        return pod::host_endpoints(app).map(port).collect();
    }
    let (list, key) = if is_on_host_network(app) {
        (app.get("portDefinitions"), "port")
    } else {
        (app.get("container").and_then(|c| c.get("portMappings")), "servicePort")
    };
    let port = |port: &Value| Port {
        number: port.get(key).and_then(Value::as_u64).and_then(|n| n.try_into().ok()).unwrap_or(0),
        name: port.get("name").and_then(Value::as_str).map(str::to_owned),
    };
    list.and_then(Value::as_array).into_iter().flatten().map(port).collect()
}

/// Writes the numbers of the ports of an app, in the order of [`ports`]. Pods have no service ports.
pub fn set_ports(app: &mut App, numbers: &[u16]) {
    let (list, key) = if is_on_host_network(app) {
        (app.0.get_mut("portDefinitions"), "port")
    } else {
        (app.0.get_mut("container").and_then(|c| c.get_mut("portMappings")), "servicePort")
    };
    let ports = list.and_then(Value::as_array_mut).into_iter().flatten();
    for (port, number) in ports.zip(numbers) {
        if let Value::Object(port) = port {
            port.insert(key.to_owned(), Value::from(*number));
        }
    }
}

/// The health checks. One of a kind that is not known is left out: canonical definitions hold none.
pub fn health_checks(app: &App) -> Vec<HealthCheck> {
    if pod::is_pod(app) {
        return pod::containers(app).filter_map(|c| pod_check(c.get("healthCheck")?)).collect();
    }
    let checks = app.get("healthChecks").and_then(Value::as_array);
    checks.into_iter().flatten().filter_map(health_check).collect()
}

/// Whether more is asked of tasks than that they run (`Instance.hasConfiguredHealthChecks`).
pub fn has_checks(app: &App) -> bool {
    let is_check = |check: &Value| check.as_object().is_some_and(|check| !check.is_empty());
    !health_checks(app).is_empty() || readiness_check(app).is_some() || app.get("check").is_some_and(is_check)
}

fn health_check(check: &Value) -> Option<HealthCheck> {
    let protocol = check.get("protocol").and_then(Value::as_str).unwrap_or("HTTP");
    let of_mesos = protocol.starts_with("MESOS_") || protocol == "COMMAND";
    let most = check.get("maxConsecutiveFailures").and_then(Value::as_u64).unwrap_or(3);
    let most = u32::try_from(most).unwrap_or(u32::MAX);
    // 0 means "never" to Marathon and "at once" to Mesos (docs/docs/health-checks.md). Marathon compares before it
    // counts the failure at hand (`HealthCheckActor.scala`), so that it takes one more.
    let failures_to_kill =
        if of_mesos { Some(most.max(1)) } else { Some(most.saturating_add(1)).filter(|_| most > 0) };
    Some(HealthCheck {
        probe: probe(protocol, check)?,
        grace: seconds(check.get("gracePeriodSeconds"), 300.0),
        // Checks that Marathon itself does know no delay.
        delay: if of_mesos { seconds(check.get("delaySeconds"), 15.0) } else { Duration::ZERO },
        interval: seconds(check.get("intervalSeconds"), 60.0),
        timeout: seconds(check.get("timeoutSeconds"), 20.0),
        failures_to_kill,
        of_mesos,
    })
}

/// The check of a pod's container. Its endpoint is not looked up: pods run in virtual time only.
fn pod_check(check: &Value) -> Option<HealthCheck> {
    let probe = match (check.get("exec"), check.get("http")) {
        (Some(exec), _) => Probe::Command(
            exec.pointer("/command/shell").and_then(Value::as_str).unwrap_or("true").to_owned(),
        ),
        (None, Some(_)) => Probe::Http { tls: false, path: "/".to_owned(), port: CheckedPort::Index(0) },
        (None, None) => check.get("tcp").map(|_| Probe::Tcp(CheckedPort::Index(0)))?,
    };
    let most = check.get("maxConsecutiveFailures").and_then(Value::as_u64).unwrap_or(3);
    Some(HealthCheck {
        probe,
        grace: seconds(check.get("gracePeriodSeconds"), 300.0),
        delay: seconds(check.get("delaySeconds"), 15.0),
        interval: seconds(check.get("intervalSeconds"), 60.0),
        timeout: seconds(check.get("timeoutSeconds"), 20.0),
        failures_to_kill: Some(u32::try_from(most).unwrap_or(u32::MAX).max(1)),
        of_mesos: true,
    })
}

fn probe(protocol: &str, check: &Value) -> Option<Probe> {
    let number = check.get("port").and_then(Value::as_u64).and_then(|n| n.try_into().ok()).filter(|n| *n > 0);
    let index = check.get("portIndex").and_then(Value::as_u64).and_then(|n| n.try_into().ok()).unwrap_or(0);
    let port = number.map_or(CheckedPort::Index(index), CheckedPort::Number);
    let path = || check.get("path").and_then(Value::as_str).unwrap_or("/").to_owned();
    match protocol.trim_start_matches("MESOS_") {
        "HTTP" => Some(Probe::Http { tls: false, path: path(), port }),
        "HTTPS" => Some(Probe::Http { tls: true, path: path(), port }),
        "TCP" => Some(Probe::Tcp(port)),
        "COMMAND" => Some(Probe::Command(check.get("command")?.get("value")?.as_str()?.to_owned())),
        _ => None,
    }
}

/// A number of seconds, whole or not; unreadable ones count as the default, endless ones as a year.
fn seconds(value: Option<&Value>, default: f64) -> Duration {
    const YEAR: f64 = 365.0 * 86_400.0;
    let seconds = value.and_then(Value::as_f64).unwrap_or(default);
    Duration::from_secs_f64(seconds.clamp(0.0, YEAR))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn app(value: Value) -> App {
        App::from_value(value).unwrap()
    }

    #[test]
    fn health_checks_are_read_with_the_defaults_of_their_kind() {
        let checks = health_checks(&app(json!({"healthChecks": [
            {"protocol": "HTTP", "path": "/x", "portIndex": 1, "delaySeconds": 9, "maxConsecutiveFailures": 0},
            {"protocol": "MESOS_TCP", "port": 80, "maxConsecutiveFailures": 0},
            {"protocol": "COMMAND", "command": {"value": "true"}, "delaySeconds": 0, "intervalSeconds": 0.5},
            {"protocol": "PIGEON"},
        ]})));
        assert_eq!(checks.len(), 3);
        assert_eq!(
            checks[0].probe,
            Probe::Http { tls: false, path: "/x".into(), port: CheckedPort::Index(1) }
        );
        assert_eq!((checks[0].delay, checks[0].failures_to_kill), (Duration::ZERO, None));
        assert_eq!(checks[1].probe, Probe::Tcp(CheckedPort::Number(80)));
        assert_eq!((checks[1].delay, checks[1].failures_to_kill), (Duration::from_secs(15), Some(1)));
        assert_eq!((checks[2].delay, checks[2].interval), (Duration::ZERO, Duration::from_millis(500)));
        assert_eq!(checks[2].timeout, Duration::from_secs(20));
    }

    #[test]
    fn ports_stand_in_one_of_two_places() {
        let host = app(json!({"portDefinitions": [{"port": 10_000, "name": "web"}, {}]}));
        assert_eq!(ports(&host).len(), 2);
        assert_eq!(ports(&host)[0], Port { number: 10_000, name: Some("web".into()) });
        let bridge = app(json!({"networks": [{"mode": "container/bridge"}],
            "container": {"portMappings": [{"containerPort": 80, "servicePort": 10_001}]}}));
        assert_eq!(ports(&bridge)[0].number, 10_001);
        let mut written = host;
        set_ports(&mut written, &[1, 2]);
        assert_eq!(ports(&written).iter().map(|p| p.number).collect::<Vec<_>>(), [1, 2]);
    }

    #[test]
    fn absurd_numbers_do_not_hurt() {
        let backoff = backoff(&app(json!({"backoffSeconds": -1, "maxLaunchDelaySeconds": 1e300})));
        assert_eq!(backoff.first, Duration::ZERO);
        assert!(backoff.longest > Duration::from_secs(86_400));
    }
}
