//! Random apps that Marathon takes.
//!
//! An app is drawn in parts, so that a second one can share most of them with the first: what is interesting about a
//! change is that most of the app stays. What parts ask of each other is seen to where they are put together.

use std::collections::BTreeMap;

use dcos_registry::model::App;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Map, Value, json};

/// The only app of a world. Its group lets it have two roles.
pub const ID: &str = "/law/app";

/// What an app is made of.
#[derive(Debug, Clone)]
pub struct Parts {
    runs: Runs,
    engine: Engine,
    network: Network,
    /// None: what Marathon gives an app that does not say.
    ports: Option<Vec<Port>>,
    require_ports: bool,
    health: Vec<Value>,
    readiness: Option<Value>,
    volumes: Vec<Value>,
    instances: u64,
    single: bool,
    /// Written as of old, where there is an old way.
    old: bool,
    /// Fields that ask nothing of others.
    fields: BTreeMap<&'static str, Value>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Runs {
    Cmd(&'static str),
    Args(&'static str),
    Image,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Engine {
    None,
    Mesos,
    MesosImage,
    Docker(&'static str),
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Network {
    Unsaid,
    Host,
    Bridge,
    Container(&'static str),
}

#[derive(Debug, Clone)]
struct Port {
    /// The number of a port definition, the service port of a mapping.
    number: u64,
    inner: u64,
    host: Option<u64>,
    named: bool,
    protocol: Option<&'static str>,
    labels: Option<Value>,
}

fn port() -> impl Strategy<Value = Port> {
    (
        prop_oneof![3 => Just(0_u64), 2 => select(vec![80, 8080, 9090, 10_001, 10_002, 10_003, 20_000])],
        select(vec![0_u64, 80, 443]),
        prop::option::of(select(vec![0_u64, 31_100, 31_200])),
        any::<bool>(),
        prop::option::of(select(vec!["tcp", "udp", "udp,tcp"])),
        prop::option::weighted(0.2, select(vec![json!({}), json!({"VIP_0": "/law:80"}), json!({"a": "b"})])),
    )
        .prop_map(|(number, inner, host, named, protocol, labels)| Port {
            number,
            inner,
            host,
            named,
            protocol,
            labels,
        })
}

/// Up to three ports, none of whose numbers is there twice.
fn ports() -> impl Strategy<Value = Vec<Port>> {
    prop::collection::vec(port(), 0..4).prop_map(|mut ports| {
        let (mut numbers, mut hosts) = (Vec::new(), Vec::new());
        for port in &mut ports {
            if numbers.contains(&port.number) {
                port.number = 0;
            }
            if port.host.is_some_and(|host| hosts.contains(&host)) {
                port.host = Some(0);
            }
            numbers.push(port.number);
            hosts.extend(port.host);
        }
        ports
    })
}

/// One of these, or nothing.
fn maybe(values: Vec<Value>) -> BoxedStrategy<Option<Value>> {
    prop::option::weighted(0.35, select(values)).boxed()
}

/// Fields that ask nothing of others.
fn fields() -> impl Strategy<Value = BTreeMap<&'static str, Value>> {
    let fields: Vec<(&'static str, Vec<Value>)> = vec![
        ("labels", vec![json!({}), json!({"a": "b"}), json!({"a": "c", "d": ""})]),
        (
            "env",
            vec![json!({}), json!({"A": "1"}), json!({"A": "2", "B": ""}), json!({"A": {"secret": "key"}})],
        ),
        ("secrets", vec![json!({}), json!({"key": {"source": "other"}}), json!({"spare": {"source": "s"}})]),
        (
            "constraints",
            vec![
                json!([]),
                json!([["hostname", "UNIQUE"]]),
                json!([["rack", "GROUP_BY", "2"], ["zone", "LIKE", "a.*"]]),
                json!([["zone", "LIKE", "a.*"], ["rack", "GROUP_BY", "2"]]),
                json!([["hostname", "MAX_PER", "3"]]),
            ],
        ),
        (
            "upgradeStrategy",
            vec![
                json!({"minimumHealthCapacity": 0.5, "maximumOverCapacity": 0}),
                json!({"minimumHealthCapacity": 0, "maximumOverCapacity": 0}),
                json!({"minimumHealthCapacity": 1, "maximumOverCapacity": 0.34}),
                json!({"minimumHealthCapacity": 1.0, "maximumOverCapacity": 1.0}),
            ],
        ),
        ("killSelection", vec![json!("YOUNGEST_FIRST"), json!("OLDEST_FIRST")]),
        ("backoffSeconds", vec![json!(0), json!(1), json!(30)]),
        ("backoffFactor", vec![json!(1), json!(1.15), json!(2.0)]),
        ("maxLaunchDelaySeconds", vec![json!(300), json!(60), json!(3600)]),
        (
            "unreachableStrategy",
            vec![
                json!("disabled"),
                json!({}),
                json!({"inactiveAfterSeconds": 60, "expungeAfterSeconds": 120}),
                json!({"inactiveAfterSeconds": 0, "expungeAfterSeconds": 0}),
            ],
        ),
        ("cpus", vec![json!(1), json!(0.1), json!(2.0)]),
        ("mem", vec![json!(128), json!(64.5), json!(32)]),
        ("disk", vec![json!(0), json!(100)]),
        ("gpus", vec![json!(0), json!(1)]),
        ("role", vec![json!("law"), json!("*")]),
        ("acceptedResourceRoles", vec![json!(["*"]), json!(["law"]), json!(["law", "*"])]),
        ("taskKillGracePeriodSeconds", vec![json!(3), json!(10)]),
        ("user", vec![json!("root"), json!("nobody")]),
        ("executor", vec![json!(""), json!("//cmd")]),
        ("tty", vec![json!(true), json!(false)]),
        ("executorResources", vec![json!({}), json!({"cpus": 0.2, "mem": 64})]),
        ("resourceLimits", vec![json!({"cpus": "unlimited"}), json!({"cpus": 4, "mem": 256})]),
        (
            "fetch",
            vec![
                json!([]),
                json!([{"uri": "http://h/a.tgz"}]),
                json!([{"uri": "http://h/a.tgz", "extract": true, "cache": false}]),
                json!([{"uri": "http://h/b", "executable": true, "extract": false, "destPath": "c"},
                    {"uri": "http://h/a.tgz", "cache": true}]),
            ],
        ),
        (
            "check",
            vec![
                json!({"exec": {"command": {"shell": "true"}}}),
                json!({"tcp": {"port": 80}, "intervalSeconds": 5}),
            ],
        ),
    ];
    let (names, values): (Vec<_>, Vec<_>) = fields.into_iter().unzip();
    let drawn: Vec<_> = values.into_iter().map(maybe).collect();
    drawn.prop_map(move |drawn| {
        names.iter().zip(drawn).filter_map(|(name, value)| Some((*name, value?))).collect()
    })
}

fn health_checks() -> impl Strategy<Value = Vec<Value>> {
    let checks = vec![
        json!({"protocol": "HTTP", "path": "/health", "portIndex": 0}),
        json!({"protocol": "HTTP", "path": "/", "port": 8080, "ignoreHttp1xx": true}),
        json!({"protocol": "HTTPS", "portIndex": 0, "gracePeriodSeconds": 10}),
        json!({"protocol": "TCP", "portIndex": 0, "intervalSeconds": 5, "delaySeconds": 1}),
        json!({"protocol": "TCP"}),
        json!({"protocol": "COMMAND", "command": {"value": "true"}, "maxConsecutiveFailures": 0}),
        json!({"protocol": "COMMAND", "command": {"value": "test -e x"}, "portIndex": 0}),
        json!({"protocol": "MESOS_HTTP", "path": "/m", "portIndex": 0, "delaySeconds": 1}),
        json!({"protocol": "MESOS_TCP", "port": 80}),
        json!({}),
    ];
    prop_oneof![2 => Just(Vec::new()), 1 => prop::sample::subsequence(checks, 1..=2)]
}

/// Volumes that no task owns.
fn volumes() -> impl Strategy<Value = Vec<Value>> {
    let volumes = vec![
        json!({"containerPath": "/etc/h", "hostPath": "/etc", "mode": "RO"}),
        json!({"containerPath": "/data", "hostPath": "/data", "mode": "RW"}),
        json!({"containerPath": "key", "secret": "key"}),
    ];
    prop_oneof![2 => Just(Vec::new()), 1 => prop::sample::subsequence(volumes, 1..=2)]
}

fn persistent_volumes() -> impl Strategy<Value = Vec<Value>> {
    let volumes = vec![
        json!({"containerPath": "data", "mode": "RW", "persistent": {"size": 10}}),
        json!({"containerPath": "data", "mode": "RW", "persistent": {"size": 20, "type": "root"}}),
        json!({"containerPath": "more", "mode": "RW",
            "persistent": {"size": 10, "type": "mount", "maxSize": 50, "constraints": [["path", "LIKE", "/mnt/.*"]]}}),
        json!({"containerPath": "most", "mode": "RW", "persistent": {"size": 30, "profileName": "fast"}}),
    ];
    prop_oneof![4 => Just(vec![volumes[0].clone()]), 1 => prop::sample::subsequence(volumes, 1..=2)]
}

/// Any app; one with persistent volumes where that is asked for.
pub fn parts(resident: bool) -> impl Strategy<Value = Parts> {
    let runs = select(vec![Runs::Cmd("run"), Runs::Cmd("other"), Runs::Args("run"), Runs::Image]);
    let engine = select(vec![
        Engine::None,
        Engine::Mesos,
        Engine::MesosImage,
        Engine::Docker("busybox"),
        Engine::Docker("busybox:1"),
    ]);
    let network = select(vec![
        Network::Unsaid,
        Network::Host,
        Network::Bridge,
        Network::Container("dcos"),
        Network::Container("other"),
    ]);
    let readiness = maybe(vec![
        json!({"portName": "p0", "intervalSeconds": 5, "timeoutSeconds": 1}),
        json!({"portName": "p0", "name": "r", "path": "/ready", "protocol": "HTTPS", "preserveLastResponse": true,
            "httpStatusCodesForReady": [204, 200]}),
    ]);
    let volumes = if resident { persistent_volumes().boxed() } else { volumes().boxed() };
    let flags = (prop::bool::weighted(0.2), prop::bool::weighted(0.1), prop::bool::weighted(0.3));
    let shape = (runs, engine, network, prop::option::weighted(0.8, ports()));
    (shape, flags, health_checks(), readiness, volumes, 0..4_u64, fields()).prop_map(
        |(
            (runs, engine, network, ports),
            (require_ports, single, old),
            health,
            readiness,
            volumes,
            instances,
            fields,
        )| {
            Parts {
                runs,
                engine,
                network,
                ports,
                require_ports,
                health,
                readiness,
                volumes,
                instances,
                single,
                old,
                fields,
            }
        },
    )
}

/// Two apps. As a rule the second one has only few parts of its own, now and then only its number of instances.
pub fn pair(resident: bool) -> impl Strategy<Value = (Parts, Parts)> {
    let share = select(vec![0.0, 0.02, 0.05, 0.1, 0.3, 1.0]);
    share
        .prop_flat_map(move |share| {
            let own = prop::collection::vec(prop::bool::weighted(share), 60);
            (parts(resident), parts(resident), own, any::<bool>())
        })
        .prop_map(|(first, other, own, scaled)| {
            let second = first.with(&other, &own, scaled);
            (first, second)
        })
}

impl Parts {
    /// These, with some of others.
    fn with(&self, other: &Self, own: &[bool], scaled: bool) -> Self {
        let mut mixed = self.clone();
        let mut own = own.iter().copied();
        let mut takes = || own.next().unwrap_or_default();
        macro_rules! take {
            ($($part:ident),*) => { $(if takes() { mixed.$part = other.$part.clone(); })* };
        }
        take!(runs, engine, network, ports, require_ports, health, readiness, volumes, single, old);
        if scaled {
            mixed.instances = other.instances;
        }
        let names: Vec<_> = self.fields.keys().chain(other.fields.keys()).copied().collect();
        for name in names {
            if takes() {
                match other.fields.get(name) {
                    Some(value) => mixed.fields.insert(name, value.clone()),
                    None => mixed.fields.remove(name),
                };
            }
        }
        mixed
    }

    fn is_resident(&self) -> bool {
        self.volumes.iter().any(|volume| volume.get("persistent").is_some())
    }

    fn is_on_host(&self) -> bool {
        matches!(self.network, Network::Unsaid | Network::Host)
    }

    /// The app as somebody would write it.
    pub fn app(&self) -> App {
        let mut app = Map::new();
        app.insert("id".into(), ID.into());
        app.insert("instances".into(), self.instances.into());
        for (name, value) in &self.fields {
            app.insert((*name).into(), value.clone());
        }
        self.runs_into(&mut app);
        self.ports_into(&mut app);
        self.checks_into(&mut app);
        self.needs_into(&mut app);
        if self.old {
            write_as_of_old(&mut app);
        }
        App(app)
    }

    fn runs_into(&self, app: &mut Map<String, Value>) {
        let image = matches!(self.engine, Engine::MesosImage | Engine::Docker(_));
        match self.runs {
            Runs::Cmd(command) => app.insert("cmd".into(), command.into()),
            Runs::Args(argument) => app.insert("args".into(), json!([argument, "-v"])),
            Runs::Image if image => None,
            Runs::Image => app.insert("cmd".into(), "sleep 1".into()),
        };
        let container = match self.engine {
            Engine::None if self.volumes.is_empty() => return,
            Engine::None | Engine::Mesos => json!({"type": "MESOS"}),
            Engine::MesosImage => {
                json!({"type": "MESOS", "docker": {"image": "busybox", "forcePullImage": true}})
            }
            Engine::Docker(image) => json!({"type": "DOCKER", "docker":
                {"image": image, "parameters": [{"key": "hostname", "value": "h"}]}}),
        };
        app.insert("container".into(), container);
        if !self.volumes.is_empty() {
            app["container"]["volumes"] = self.volumes.clone().into();
        }
    }

    fn ports_into(&self, app: &mut Map<String, Value>) {
        match self.network {
            Network::Unsaid => {}
            Network::Host => drop(app.insert("networks".into(), json!([{"mode": "host"}]))),
            Network::Bridge => drop(app.insert("networks".into(), json!([{"mode": "container/bridge"}]))),
            Network::Container(name) => {
                app.insert("networks".into(), json!([{"mode": "container", "name": name}]));
            }
        }
        let Some(ports) = &self.ports else { return };
        let ports: Vec<_> =
            ports.iter().enumerate().map(|(i, port)| port.json(i, self.is_on_host())).collect();
        if self.is_on_host() {
            app.insert("portDefinitions".into(), ports.into());
            if self.require_ports {
                app.insert("requirePorts".into(), true.into());
            }
        } else {
            let container = app.entry("container").or_insert_with(|| json!({"type": "MESOS"}));
            container["portMappings"] = ports.into();
        }
    }

    fn checks_into(&self, app: &mut Map<String, Value>) {
        // Without a word of ports there is one.
        let has_port = self.ports.as_ref().is_none_or(|ports| !ports.is_empty());
        let needs_port = |check: &Value| check["protocol"] != "COMMAND" && check.get("port").is_none();
        let mut of_mesos = 0;
        let checks = self.health.iter().filter(|check| {
            of_mesos += usize::from(check["protocol"].as_str().is_some_and(|p| p.starts_with("MESOS_")));
            (has_port || !needs_port(check))
                && (of_mesos < 2 || !check["protocol"].as_str().is_some_and(|p| p.starts_with("MESOS_")))
        });
        let checks: Vec<_> = checks.cloned().collect();
        if !checks.is_empty() {
            app.insert("healthChecks".into(), checks.into());
        }
        let named = self.ports.as_ref().and_then(|ports| ports.first()).is_some_and(|port| port.named);
        if let Some(check) = self.readiness.clone().filter(|_| named) {
            app.insert("readinessChecks".into(), json!([check]));
        }
        if matches!(self.engine, Engine::Docker(_)) {
            app.remove("check");
            app.remove("gpus");
        }
    }

    /// What some parts ask of others.
    fn needs_into(&self, app: &mut Map<String, Value>) {
        let refers = |value: &Value| value.to_string().contains(r#""secret":"key""#);
        if app.values().any(refers) {
            let secrets = app.entry("secrets").or_insert_with(|| json!({}));
            if secrets.get("key").is_none() {
                secrets["key"] = json!({"source": "path/to/key"});
            }
        }
        let accepted = app.get("acceptedResourceRoles").map(Value::to_string).unwrap_or_default();
        if accepted.contains("law") {
            app.insert("role".into(), "law".into());
        }
        if self.is_resident() {
            // The default role may not reserve anything; see the table of AppsResourceTest.
            app.insert("role".into(), "law".into());
            app.remove("acceptedResourceRoles");
            app.remove("unreachableStrategy");
            let over = app.get("upgradeStrategy").is_some_and(|s| s["maximumOverCapacity"] != 0);
            if over {
                app.remove("upgradeStrategy");
            }
        }
        // On one machine a port can be had once, so the old task has to go first.
        let alone = app.get("requirePorts").is_some();
        if alone || self.single {
            app.insert("instances".into(), self.instances.min(1).into());
            app.insert(
                "upgradeStrategy".into(),
                json!({"minimumHealthCapacity": 0, "maximumOverCapacity": 0}),
            );
        }
        if self.single {
            let labels = app.entry("labels").or_insert_with(|| json!({}));
            labels["MARATHON_SINGLE_INSTANCE_APP"] = "true".into();
        }
    }
}

impl Port {
    fn json(&self, index: usize, on_host: bool) -> Value {
        let mut port = if on_host {
            json!({"port": self.number})
        } else {
            json!({"containerPort": self.inner, "servicePort": self.number})
        };
        if let Some(host) = self.host.filter(|_| !on_host) {
            port["hostPort"] = host.into();
        }
        if self.named {
            port["name"] = format!("p{index}").into();
        }
        if let Some(protocol) = self.protocol {
            port["protocol"] = protocol.into();
        }
        if let Some(labels) = &self.labels {
            port["labels"] = labels.clone();
        }
        port
    }
}

/// Writes in the way of Marathon before 1.5 what can be written so without loss.
fn write_as_of_old(app: &mut Map<String, Value>) {
    if let Some(fetch) = app.get("fetch").and_then(Value::as_array)
        && fetch.iter().all(|item| item.as_object().is_some_and(|item| item.len() == 1))
    {
        let uris: Value = fetch.iter().map(|item| item["uri"].clone()).collect();
        app.remove("fetch");
        app.insert("uris".into(), uris);
    }
    if let Some(ports) = app.get("portDefinitions").and_then(Value::as_array)
        && !ports.is_empty()
        && ports.iter().all(|port| port.as_object().is_some_and(|port| port.len() == 1))
    {
        let ports: Value = ports.iter().map(|port| port["port"].clone()).collect();
        app.remove("portDefinitions");
        app.insert("ports".into(), ports);
    }
    let docker = app.get("container").is_some_and(|container| container["type"] == "DOCKER");
    let mode = app.get("networks").map(|networks| networks[0]["mode"].clone());
    if docker && mode == Some(json!("container/bridge")) {
        app.remove("networks");
        app["container"]["docker"]["network"] = "BRIDGE".into();
        if let Some(container) = app["container"].as_object_mut()
            && let Some(mappings) = container.remove("portMappings")
        {
            container["docker"]["portMappings"] = mappings;
        }
    }
}
