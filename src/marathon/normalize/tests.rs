//! The canonical form: defaults, migration, faults and their places.

use serde_json::json;

use super::*;

fn app(value: Value) -> App {
    App::from_value(value).unwrap()
}

fn canonical_of(value: Value) -> Value {
    normalize(&app(value)).unwrap().into_app().into_value()
}

fn faults(value: Value) -> Vec<String> {
    let errors = normalize(&app(value)).expect_err("the definition must be refused");
    errors.iter().map(ToString::to_string).collect()
}

#[test]
fn the_smallest_app_gets_every_default_that_all_versions_share() {
    let expected = json!({
        "id": "/sleep", "cmd": "sleep 1", "backoffFactor": 1.15, "backoffSeconds": 1, "cpus": 1, "disk": 0,
        "executor": "", "gpus": 0, "instances": 1, "killSelection": "YOUNGEST_FIRST", "labels": {},
        "mem": 128, "networks": [{"mode": "host"}],
        "portDefinitions": [{"port": 0, "name": "default", "protocol": "tcp"}], "requirePorts": false,
        "unreachableStrategy": {"inactiveAfterSeconds": 0, "expungeAfterSeconds": 0},
        "upgradeStrategy": {"minimumHealthCapacity": 1, "maximumOverCapacity": 1},
    });
    assert_eq!(canonical_of(json!({"id": "sleep", "cmd": "sleep 1"})), expected);
}

#[test]
fn status_is_dropped_and_null_is_the_same_as_missing() {
    let plain = json!({"id": "/a", "cmd": "true"});
    let full = json!({
        "id": "/a", "cmd": "true", "container": null, "version": "2020-01-01T00:00:00.000Z", "versionInfo": {},
        "tasks": [], "tasksStaged": 0, "tasksRunning": 1, "tasksHealthy": 0, "tasksUnhealthy": 0,
        "deployments": [{"id": "x"}], "lastTaskFailure": {}, "readinessCheckResults": [], "tasksStats": {},
    });
    assert_eq!(canonical_of(full), canonical_of(plain));
}

#[test]
fn uris_become_fetch_and_extract_follows_the_extension() {
    let got =
        canonical_of(json!({"id": "/a", "cmd": "true", "uris": ["http://h/a.tgz", "http://h/a.jar?x=.zip"]}));
    let item = |uri: &str, extract: bool| json!({"uri": uri, "extract": extract, "executable": false, "cache": false});
    assert_eq!(got["fetch"], json!([item("http://h/a.tgz", true), item("http://h/a.jar?x=.zip", false)]));
    assert!(got.get("uris").is_none());
    let explicit = canonical_of(json!({"id": "/a", "cmd": "true", "fetch": [{"uri": "http://h/a.jar"}]}));
    assert_eq!(explicit["fetch"], json!([item("http://h/a.jar", true)]));
}

#[test]
fn old_docker_networking_becomes_networks_and_mappings() {
    let got = canonical_of(json!({
        "id": "/a",
        "container": {"docker": {"image": "x", "network": "BRIDGE", "portMappings": [{"containerPort": 80}]}},
        "ports": [0, 0],
        "healthChecks": [{"protocol": "MESOS_HTTP"}],
    }));
    assert_eq!(got["networks"], json!([{"mode": "container/bridge"}]));
    let mapping = |port: u16| json!({"containerPort": port, "hostPort": 0, "labels": {}, "protocol": "tcp", "servicePort": 0});
    assert_eq!(got["container"]["portMappings"], json!([mapping(80), mapping(0)]));
    let docker = json!({"image": "x", "forcePullImage": false, "parameters": [], "privileged": false});
    assert_eq!(got["container"]["docker"], docker);
    assert!(got.get("portDefinitions").is_none() && got.get("ports").is_none());
    assert_eq!(got["healthChecks"][0]["portIndex"], 0);
}

#[test]
fn an_ip_address_becomes_a_network_and_an_empty_container() {
    let got = canonical_of(json!({
        "id": "/a", "cmd": "true",
        "ipAddress": {"networkName": "dcos", "labels": {"k": "v"}, "discovery": {"ports": [{"number": 80, "name": "web"}]}},
        "container": {"type": "MESOS"},
    }));
    assert_eq!(got["networks"], json!([{"mode": "container", "name": "dcos", "labels": {"k": "v"}}]));
    let mapping =
        json!({"containerPort": 80, "labels": {}, "name": "web", "protocol": "tcp", "servicePort": 0});
    assert_eq!(got["container"]["portMappings"], json!([mapping]));
    let bare = canonical_of(json!({"id": "/a", "cmd": "true", "ipAddress": {}}));
    assert_eq!(bare["container"]["type"], "MESOS");
    assert_eq!(bare["container"]["portMappings"][0]["name"], "default");
}

#[test]
fn host_networking_drops_mappings_and_keeps_an_empty_list_of_ports() {
    let got = canonical_of(json!({
        "id": "/a", "container": {"docker": {"image": "x"}, "portMappings": [{"containerPort": 80}]}, "ports": [],
    }));
    assert!(got["container"].get("portMappings").is_none());
    assert_eq!(got["portDefinitions"], json!([]));
    let off =
        canonical_of(json!({"id": "/a", "cmd": "true", "networks": [{"name": "n"}], "requirePorts": true}));
    assert_eq!(off["requirePorts"], false);
}

#[test]
fn persistent_volumes_change_the_strategies() {
    let got = canonical_of(json!({
        "id": "/a", "cmd": "true", "residency": {"taskLostBehavior": "WAIT_FOREVER"},
        "container": {"type": "MESOS", "volumes": [{"containerPath": "d", "mode": "RW", "persistent": {"size": 10}}]},
    }));
    assert_eq!(got["upgradeStrategy"], json!({"minimumHealthCapacity": 0.5, "maximumOverCapacity": 0}));
    assert_eq!(got["unreachableStrategy"], "disabled");
    assert_eq!(
        got["container"]["volumes"][0]["persistent"],
        json!({"type": "root", "size": 10, "constraints": []})
    );
    assert!(got.get("residency").is_none());
    let single = json!({"id": "/a", "cmd": "true", "labels": {"MARATHON_SINGLE_INSTANCE_APP": "true"}});
    let zero = json!({"minimumHealthCapacity": 0, "maximumOverCapacity": 0});
    assert_eq!(canonical_of(single)["upgradeStrategy"], zero);
}

#[test]
fn health_checks_get_the_defaults_of_their_kind() {
    let got = canonical_of(json!({
        "id": "/a", "cmd": "true",
        "healthChecks": [{"protocol": "COMMAND", "command": {"value": "x"}, "portIndex": 0}, {"delaySeconds": 3}],
    }));
    let common = json!({"gracePeriodSeconds": 300, "intervalSeconds": 60, "maxConsecutiveFailures": 3,
        "ipProtocol": "IPv4", "timeoutSeconds": 20, "delaySeconds": 15});
    let with = |more: Value| {
        let mut all = common.as_object().unwrap().clone();
        all.extend(more.as_object().unwrap().clone());
        Value::Object(all)
    };
    let command = with(json!({"protocol": "COMMAND", "command": {"value": "x"}}));
    let http = with(json!({"protocol": "HTTP", "portIndex": 0, "ignoreHttp1xx": false}));
    assert_eq!(got["healthChecks"], json!([command, http]));
}

#[test]
fn sets_have_one_order() {
    let one = json!({"id": "/a", "cmd": "true", "dependencies": ["b", "/c", "/b"],
        "constraints": [["rack", "UNIQUE"], ["hostname", "UNIQUE"]], "acceptedResourceRoles": ["b", "a"]});
    let other = json!({"id": "/a", "cmd": "true", "dependencies": ["/c", "/b"],
        "constraints": [["hostname", "UNIQUE"], ["rack", "UNIQUE"]], "acceptedResourceRoles": ["a", "b"]});
    assert_eq!(canonical_of(one), canonical_of(other));
}

#[test]
fn unknown_fields_are_named_with_their_place_and_the_near_word() {
    let bad = json!({"id": "/a", "cmd": "true", "instnaces": 2, "fetch": [{"uri": "u", "extrakt": true}], "x-y": 1});
    let expected = [
        "/fetch/0/extrakt: unknown field (did you mean extract?)",
        "/instnaces: unknown field (did you mean instances?)",
        "/x-y: unknown field",
    ];
    assert_eq!(faults(bad.clone()), expected);
    let (dropped, unknown) = normalize_dropping(&app(bad)).unwrap();
    assert_eq!(unknown.len(), 3);
    assert!(dropped.get("instnaces").is_none());
}

#[test]
fn wrong_types_and_ranges_are_all_reported_at_once() {
    let got = faults(json!({
        "id": "/a", "cmd": "true", "cpus": "1", "instances": -1, "mem": -1, "portDefinitions": [{"port": 65536}],
        "labels": {"n": 1}, "env": {"A": 1}, "upgradeStrategy": {"minimumHealthCapacity": 1.5},
        "healthChecks": [{"protocol": "MESOS_HTPP"}], "typo": 1,
    }));
    let expected = [
        "/cpus: must be a number, is a text",
        "/env/A: must be a text, is a number",
        "/healthChecks/0/protocol: must be one of HTTP, HTTPS, TCP, COMMAND, MESOS_TCP, MESOS_HTTP, MESOS_HTTPS, is \"MESOS_HTPP\" (did you mean MESOS_HTTP?)",
        "/instances: must be 0 or more, is -1",
        "/labels/n: must be a text, is a number",
        "/mem: must be 0 or more, is -1",
        "/portDefinitions/0/port: must be 0 to 65535, is 65536",
        "/typo: unknown field",
        "/upgradeStrategy/maximumOverCapacity: is missing",
        "/upgradeStrategy/minimumHealthCapacity: must be 0 to 1, is 1.5",
    ];
    assert_eq!(got, expected);
}

/// Each row: what is added to `{"id": "/a", "cmd": "true"}`, and the place of the one fault.
fn broken_rules() -> Vec<(Value, &'static str)> {
    let volume = |v: Value| json!({"container": {"type": "MESOS", "volumes": [v]}});
    vec![
        (json!({"cmd": null}), ""),
        (json!({"cmd": "x"}), "/cmd"),
        (json!({"id": "/A"}), "/id"),
        (json!({"id": "/a/restart"}), "/id"),
        (json!({"args": ["x"]}), ""),
        (json!({"dependencies": ["/b", "/C"]}), "/dependencies/1"),
        (json!({"uris": ["u"], "fetch": [{"uri": "u"}]}), "/uris"),
        (json!({"ports": [1], "portDefinitions": [{"port": 2}]}), ""),
        (json!({"ipAddress": {}, "networks": [{"mode": "container", "name": "n"}]}), "/ipAddress"),
        (
            json!({"container": {"docker": {"image": "x", "network": "HOST"}}, "networks": [{"mode": "host"}]}),
            "/container/docker/network",
        ),
        (json!({"container": {"docker": {"image": "x", "network": "NONE"}}}), "/container/docker/network"),
        (json!({"container": {}}), "/container/docker"),
        (json!({"container": {"docker": {}}}), "/container/docker/image"),
        (json!({"container": {"docker": {"image": "x"}}, "gpus": 1}), ""),
        (json!({"networks": [{"mode": "host", "name": "n"}]}), "/networks/0"),
        (json!({"networks": [{"mode": "host"}, {"mode": "container", "name": "n"}]}), "/networks"),
        (json!({"portDefinitions": [{"name": "x"}, {"name": "x"}]}), "/portDefinitions"),
        (json!({"portDefinitions": [{"port": 7}, {"port": 7}]}), "/portDefinitions"),
        (json!({"portDefinitions": [{"name": "X"}]}), "/portDefinitions/0/name"),
        (json!({"healthChecks": [{"protocol": "COMMAND"}]}), "/healthChecks/0/command/value"),
        (json!({"healthChecks": [{"command": {"value": "x"}}]}), "/healthChecks/0/protocol"),
        (json!({"healthChecks": [{}, {"portIndex": 1}]}), "/healthChecks/1"),
        (json!({"healthChecks": [{"protocol": "MESOS_TCP"}, {"protocol": "MESOS_HTTP"}]}), "/healthChecks"),
        (json!({"healthChecks": [{"protocol": "MESOS_TCP", "ipProtocol": "IPv6"}]}), "/healthChecks/0"),
        (json!({"check": {}}), "/check"),
        (json!({"readinessChecks": [{}]}), "/readinessChecks/0/portName"),
        (
            json!({"readinessChecks": [{"portName": "default", "timeoutSeconds": 30}]}),
            "/readinessChecks/0/timeoutSeconds",
        ),
        (json!({"constraints": [["hostname", "UNIQUE", "x"]]}), "/constraints/0"),
        (json!({"constraints": [["hostname", "NEAR"]]}), "/constraints/0"),
        (json!({"constraints": [["hostname"]]}), "/constraints/0"),
        (json!({"constraints": [["rack", "MAX_PER", "x"]]}), "/constraints/0"),
        (json!({"acceptedResourceRoles": []}), "/acceptedResourceRoles"),
        (json!({"labels": {"MARATHON_SINGLE_INSTANCE_APP": "true"}, "instances": 2}), "/instances"),
        (
            json!({"unreachableStrategy": {"inactiveAfterSeconds": 1}}),
            "/unreachableStrategy/inactiveAfterSeconds",
        ),
        (json!({"unreachableStrategy": "off"}), "/unreachableStrategy"),
        (json!({"env": {"P": {"secret": "s"}}}), "/env/P/secret"),
        (json!({"resourceLimits": {"cpus": 0.5}}), "/resourceLimits/cpus"),
        (json!({"resourceLimits": {"mem": "lots"}}), "/resourceLimits/mem"),
        (json!({"backoffFactor": 0.9}), "/backoffFactor"),
        (json!({"instances": 1.5}), "/instances"),
        (
            volume(json!({"containerPath": "a/b", "mode": "RW", "persistent": {"size": 1}})),
            "/container/volumes/0/containerPath",
        ),
        (
            volume(json!({"containerPath": "a", "mode": "RO", "persistent": {"size": 1}})),
            "/container/volumes/0/mode",
        ),
        (
            volume(json!({"containerPath": "a", "mode": "RW", "persistent": {"size": 0}})),
            "/container/volumes/0/persistent/size",
        ),
        (volume(json!({"containerPath": "a", "secret": "s"})), "/container/volumes/0"),
        (volume(json!({"containerPath": "a", "hostPath": "/x"})), "/container/volumes/0/mode"),
    ]
}

/// As before, for containers and what is fetched for them.
fn broken_container_rules() -> Vec<(Value, &'static str)> {
    let mesos = |part: Value| {
        let mut container = json!({"type": "MESOS"});
        container.as_object_mut().unwrap().extend(part.as_object().unwrap().clone());
        json!({ "container": container })
    };
    let dvdi = |engine: &str, external: Value| {
        let volume = json!({"containerPath": "a", "mode": "RW", "external": external});
        json!({"container": {"type": engine, "docker": {"image": "x"}, "volumes": [volume]}})
    };
    let driver = json!({"dvdi/driver": "rexray"});
    vec![
        (json!({"executor": "/a/"}), "/executor"),
        (json!({"fetch": [{"uri": "http://h/a b"}]}), "/fetch/0/uri"),
        (json!({"fetch": [{"uri": "http://h/%4"}]}), "/fetch/0/uri"),
        (json!({"env": {"": "x"}}), "/env"),
        (json!({"ipAddress": {"networkName": "n"}, "ports": [0]}), ""),
        (json!({"container": {"docker": {"image": "x"}}, "check": {"tcp": {}}}), ""),
        (mesos(json!({"docker": {"image": "x", "network": "HOST"}})), "/container/docker/network"),
        (mesos(json!({"docker": {"image": "x", "portMappings": [{}]}})), "/container/docker/portMappings"),
        (
            mesos(json!({"docker": {"image": "x", "parameters": [{"key": "k", "value": "v"}]}})),
            "/container/docker/parameters",
        ),
        (
            mesos(json!({"linuxInfo": {"seccomp": {"profileName": "p", "unconfined": true}}})),
            "/container/linuxInfo/seccomp",
        ),
        (mesos(json!({"linuxInfo": {"seccomp": {}}})), "/container/linuxInfo/seccomp"),
        (
            mesos(json!({"linuxInfo": {"ipcInfo": {"mode": "SHARE_PARENT", "shmSize": 1}}})),
            "/container/linuxInfo/ipcInfo",
        ),
        (dvdi("MESOS", json!({"name": "n", "provider": "acme"})), "/container/volumes/0/external/provider"),
        (dvdi("MESOS", json!({"name": "n", "provider": "dvdi"})), "/container/volumes/0/external/options"),
        (
            dvdi(
                "MESOS",
                json!({"name": "n", "provider": "dvdi", "options": {"dvdi/driver": "rexray", "dvdi/iops": "0"}}),
            ),
            "/container/volumes/0/external/options/dvdi~1iops",
        ),
        (
            dvdi("DOCKER", json!({"name": "n", "provider": "dvdi", "size": 1, "options": driver})),
            "/container/volumes/0/external/size",
        ),
        (
            json!({"networks": [{"mode": "container", "name": "n"}, {"mode": "container", "name": "m"}],
                "container": {"type": "MESOS", "portMappings": [{"hostPort": 0}]}}),
            "/container/portMappings/0",
        ),
        (
            json!({"networks": [{"mode": "container", "name": "n"}],
                "container": {"type": "MESOS", "portMappings": [{"networkNames": ["m"]}]}}),
            "/container/portMappings/0/networkNames/0",
        ),
    ]
}

#[test]
fn each_rule_names_the_place_that_breaks_it() {
    for (part, place) in broken_rules().into_iter().chain(broken_container_rules()) {
        let mut value = json!({"id": "/a", "cmd": "true"});
        value.as_object_mut().unwrap().extend(part.as_object().unwrap().clone());
        let errors = normalize(&app(value)).expect_err(&part.to_string());
        assert_eq!(errors.iter().map(|e| e.path.as_str()).collect::<Vec<_>>(), [place], "{part}: {errors:?}");
    }
}

#[test]
fn an_observed_app_is_never_refused_and_keeps_what_we_do_not_know() {
    let observed = normalize_observed(&app(json!({
        "id": "/a", "cmd": "true", "cpus": "many", "fromTheFuture": {"x": 1}, "version": "v",
        "container": {"type": "MESOS", "novel": 1},
    })));
    assert_eq!(observed.get("fromTheFuture"), Some(&json!({"x": 1})));
    assert_eq!(observed.get("cpus"), Some(&json!("many")));
    assert_eq!(observed.get("container").unwrap()["novel"], 1);
    assert_eq!(observed.version(), "");
}

#[test]
fn older_servers_do_not_know_newer_fields_and_their_defaults_are_left_to_them() {
    let written = app(json!({
        "id": "/a", "cmd": "true", "role": "dev", "resourceLimits": {"cpus": 2}, "executorResources": null,
        "maxLaunchDelaySeconds": null,
    }));
    let newest = normalize_for(&written, Profile::default()).unwrap();
    assert_eq!(newest, normalize(&written).unwrap());
    assert_eq!(newest.get("maxLaunchDelaySeconds"), None, "five minutes since 1.8, an hour before");
    let faults = |version| {
        let faults = normalize_for(&written, Profile::of(version)).unwrap_err();
        faults.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let role = "/role: needs Marathon 1.9 or later, and the cluster has Marathon 1.7; leave it out";
    let limits =
        "/resourceLimits: needs Marathon 1.10 or later, and the cluster has Marathon 1.7; leave it out";
    assert_eq!(faults("1.7.189"), [role, limits]);
    assert_eq!(faults("1.9.100").len(), 1);
    let (dropped, told) = normalize_dropping_for(&written, Profile::of("1.7.189")).unwrap();
    assert_eq!((dropped.get("role"), dropped.get("resourceLimits"), told.len()), (None, None, 2));
    assert_eq!(dropped.get("maxLaunchDelaySeconds"), None);
    // What was canonical stays as it is, also where it is looked at as if for another server.
    assert_eq!(normalize(&dropped).unwrap(), dropped);
}
