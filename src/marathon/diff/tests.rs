//! Differences, effects and bodies; the laws that a PUT must keep, against a server of a few lines.

use std::ops::RangeInclusive;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::marathon::labels::tests::definition;
use crate::marathon::normalize::normalize;

fn app(value: Value) -> App {
    App::from_value(value).unwrap()
}

fn with(base: &Value, more: &Value) -> App {
    let mut base = base.as_object().unwrap().clone();
    base.extend(more.as_object().unwrap().clone());
    App(base)
}

fn base() -> Value {
    json!({"id": "/a", "cmd": "true", "env": {"WHO": "x"}})
}

/// What a server makes of a body: canonical form, a role, assigned ports, status.
fn served(body: &App) -> App {
    let mut app = normalize(body).unwrap().into_app();
    app.0.entry("role").or_insert("*".into());
    let mut next = 10_000;
    let mut assign = |port: &mut Value, key: &str| {
        if port[key] == 0 {
            port[key] = next.into();
        }
        next += 1;
    };
    for port in app.0.get_mut("portDefinitions").and_then(Value::as_array_mut).into_iter().flatten() {
        assign(port, "port");
    }
    let mappings = app.0.get_mut("container").and_then(|c| c.get_mut("portMappings"));
    for port in mappings.and_then(Value::as_array_mut).into_iter().flatten() {
        assign(port, "servicePort");
    }
    app.0.insert("version".into(), "2020-01-01T00:00:00.000Z".into());
    app.0.insert("tasksRunning".into(), 1.into());
    app
}

fn applied(desired: &App) -> App {
    condense(&normalize(desired).unwrap())
}

fn paths(difference: &Difference) -> Vec<&str> {
    difference.changes.iter().map(|change| change.path.as_str()).collect()
}

fn diff(
    desired: &App,
    observed: &App,
    applied: Option<&App>,
    ignore: &[String],
) -> Result<Difference, Vec<FieldError>> {
    super::diff(&normalize(desired).unwrap(), observed, applied, ignore)
}

fn to_send(
    desired: &App,
    observed: &App,
    applied: Option<&App>,
    ignore: &[String],
) -> Result<App, Vec<FieldError>> {
    super::to_send(&normalize(desired).unwrap(), observed, applied, ignore)
}

fn compare_apps(desired: &App, observed: &App) -> Difference {
    diff(desired, observed, None, &[]).unwrap()
}

#[test]
fn what_the_server_adds_is_no_difference() {
    let desired = app(base());
    let difference = compare_apps(&desired, &served(&desired));
    assert_eq!(difference, Difference { changes: vec![], effect: Effect::None });
}

#[test]
fn changes_name_path_and_both_values() {
    let observed = served(&with(&base(), &json!({"env": {"WHO": "y", "MORE": "z"}, "cpus": 2})));
    let difference = compare_apps(&app(base()), &observed);
    let change = |path: &str, from: Option<Value>, to: Option<Value>| Change { path: path.into(), from, to };
    let expected = [
        change("/cpus", Some(2.into()), Some(1.into())),
        change("/env/MORE", Some("z".into()), None),
        change("/env/WHO", Some("y".into()), Some("x".into())),
    ];
    assert_eq!(difference.changes, expected);
    assert_eq!(difference.effect, Effect::Restart);
}

#[test]
fn instances_alone_are_a_scaling() {
    let observed = served(&with(&base(), &json!({"instances": 3})));
    assert_eq!(compare_apps(&app(base()), &observed).effect, Effect::Scale);
    let both = served(&with(&base(), &json!({"instances": 3, "labels": {"a": "b"}})));
    assert_eq!(compare_apps(&app(base()), &both).effect, Effect::Restart);
}

#[test]
fn an_open_field_is_the_servers_unless_we_had_set_it() {
    let desired = app(base());
    let observed = served(&with(&base(), &json!({"taskKillGracePeriodSeconds": 9, "user": "me"})));
    assert_eq!(paths(&compare_apps(&desired, &observed)), [""; 0]);
    let body = to_send(&desired, &observed, None, &[]).unwrap();
    assert_eq!(body.get("user"), Some(&"me".into()));
    let had = applied(&with(&base(), &json!({"user": "me"})));
    let difference = diff(&desired, &observed, Some(&had), &[]).unwrap();
    assert_eq!(paths(&difference), ["/user"]);
    let body = to_send(&desired, &observed, Some(&had), &[]).unwrap();
    assert_eq!((body.get("user"), body.get("taskKillGracePeriodSeconds")), (None, Some(&9.into())));
}

#[test]
fn collections_and_what_runs_are_never_open() {
    let desired = app(json!({"id": "/a", "args": ["x"]}));
    let observed = served(&app(json!({
        "id": "/a", "cmd": "true", "env": {"A": "b"}, "constraints": [["hostname", "UNIQUE"]],
        "container": {"type": "MESOS", "docker": {"image": "x"}}, "labels": {"a": "b"},
    })));
    let difference = compare_apps(&desired, &observed);
    assert_eq!(paths(&difference), ["/args", "/cmd", "/constraints", "/container", "/env", "/labels/a"]);
    let body = to_send(&desired, &observed, None, &[]).unwrap();
    assert!(body.get("cmd").is_none() && body.get("container").is_none());
}

#[test]
fn what_only_another_version_knows_is_sent_back() {
    let mut observed = served(&app(base()));
    observed.0.insert("novelty".into(), json!({"x": 1}));
    assert_eq!(compare_apps(&app(base()), &observed).changes, []);
    let body = to_send(&app(base()), &observed, None, &[]).unwrap();
    assert_eq!(body.get("novelty"), Some(&json!({"x": 1})));
}

#[test]
fn role_and_executor_resources_belong_to_the_server() {
    let mut observed = served(&app(base()));
    observed.0.insert("role".into(), "slave_public".into());
    observed.0.insert("executorResources".into(), json!({"cpus": 0.2, "mem": 32, "disk": 10}));
    let had = applied(&with(&base(), &json!({"role": "slave_public"})));
    assert_eq!(diff(&app(base()), &observed, Some(&had), &[]).unwrap().changes, []);
    assert_eq!(
        to_send(&app(base()), &observed, Some(&had), &[]).unwrap().get("role"),
        Some(&"slave_public".into())
    );
    let wanted = with(&base(), &json!({"role": "*", "executorResources": {"cpus": 1}}));
    assert_eq!(paths(&compare_apps(&wanted, &observed)), ["/role"]);
    assert_eq!(to_send(&wanted, &observed, None, &[]).unwrap().0["executorResources"]["cpus"], 1);
}

#[test]
fn a_launch_delay_that_is_not_said_any_more_is_that_of_the_server() {
    let desired = normalize(&app(base())).unwrap();
    for (version, said, changes) in [
        ("1.11.24", 300, 0),
        ("1.8.244", 300, 0),
        ("1.7.216", 300, 1),
        ("1.7.216", 3600, 0),
        ("1.11.24", 60, 1),
    ] {
        let before = with(&base(), &json!({"maxLaunchDelaySeconds": said}));
        let (observed, had) = (served(&before), applied(&before));
        let found = diff_for(&desired, &observed, Some(&had), &[], Profile::of(version)).unwrap();
        assert_eq!(found.changes.len(), changes, "{version} {said}: {:?}", found.changes);
    }
}

#[test]
fn accepted_roles_are_compared_as_the_server_leaves_them() {
    let desired = with(&base(), &json!({"acceptedResourceRoles": ["other"]}));
    let mut observed = served(&app(base()));
    observed.0.insert("acceptedResourceRoles".into(), json!(["*"]));
    assert_eq!(compare_apps(&desired, &observed).changes, []);
    observed.0.insert("role".into(), "mine".into());
    let desired = with(&base(), &json!({"acceptedResourceRoles": ["mine"]}));
    assert_eq!(paths(&compare_apps(&desired, &observed)), ["/acceptedResourceRoles"]);
}

#[test]
fn ports_desired_as_zero_take_the_servers_by_name() {
    let ports = |ports: Value| with(&base(), &json!({"portDefinitions": ports}));
    let observed =
        ports(json!([{"name": "a", "port": 10_001}, {"name": "b", "port": 10_002}, {"port": 10_003}]));
    let same = ports(json!([{"name": "a"}, {"name": "b"}, {}]));
    assert_eq!(compare_apps(&same, &served(&observed)).changes, []);
    let fewer = to_send(&ports(json!([{"name": "b"}])), &observed, None, &[]).unwrap();
    assert_eq!(fewer.0["portDefinitions"][0]["port"], 10_002);
    let explicit = compare_apps(&ports(json!([{"name": "a", "port": 80}, {"name": "b"}, {}])), &observed);
    assert_eq!(paths(&explicit), ["/portDefinitions/0/port"]);
    let swapped =
        to_send(&ports(json!([{"name": "c", "port": 10_002}, {"name": "b"}])), &observed, None, &[]);
    assert_eq!(swapped.unwrap().0["portDefinitions"][1]["port"], 0, "no number twice");
}

#[test]
fn service_ports_and_network_names_are_the_servers() {
    let desired = app(
        json!({"id": "/a", "container": {"docker": {"image": "x"}}, "networks": [{"mode": "container"}]}),
    );
    let mut observed = served(&desired);
    observed.0["networks"][0]["name"] = "dcos".into();
    assert_eq!(compare_apps(&desired, &observed).changes, []);
    let body = to_send(&desired, &observed, None, &[]).unwrap();
    assert_eq!(body.0["container"]["portMappings"][0]["servicePort"], 10_000);
    assert_eq!(body.0["networks"][0]["name"], "dcos");
}

#[test]
fn package_labels_with_the_same_content_are_sent_back_as_observed() {
    let content = json!({"name": "x", "text": "abc".repeat(400)});
    let labels =
        |level| with(&base(), &json!({"labels": {"DCOS_PACKAGE_DEFINITION": definition(&content, level)}}));
    let observed = served(&labels(0));
    assert_eq!(compare_apps(&labels(9), &observed).changes, []);
    assert_eq!(to_send(&labels(9), &observed, None, &[]).unwrap().0["labels"], observed.0["labels"]);
}

#[test]
fn ignored_places_are_not_compared_and_are_sent_as_observed() {
    let observed = served(&with(&base(), &json!({"instances": 7, "env": {"WHO": "y", "B": "b"}})));
    let ignore: Vec<String> = ["/instances", "/env/WHO", "/fetch/0/uri"].map(Into::into).into();
    let difference = diff(&app(base()), &observed, None, &ignore).unwrap();
    assert_eq!(paths(&difference), ["/env/B"]);
    let body = to_send(&app(base()), &observed, None, &ignore).unwrap();
    assert_eq!((body.instances(), &body.0["env"]), (7, &json!({"WHO": "y"})));
    let bare = app(json!({"id": "/a", "cmd": "true"}));
    assert_eq!(to_send(&bare, &observed, None, &ignore).unwrap().0["env"], json!({"WHO": "y"}));
    let gone = served(&bare);
    assert_eq!(diff(&app(base()), &gone, None, &ignore).unwrap().changes, []);
    let error = diff(&app(base()), &observed, None, &["instances".into()]).unwrap_err();
    assert_eq!(error[0].path, "instances");
}

#[test]
fn accepted_roles_fit_the_role_that_is_wanted() {
    let before = served(&with(&base(), &json!({"acceptedResourceRoles": ["*"]})));
    let desired = with(&base(), &json!({"role": "r", "acceptedResourceRoles": ["r"]}));
    let body = to_send(&desired, &before, None, &[]).unwrap();
    assert_eq!(body.get("acceptedResourceRoles"), Some(&json!(["r"])));
}

#[test]
fn resident_apps_would_have_to_be_recreated() {
    let volume = |size: u64| {
        let volume = json!({"containerPath": "d", "mode": "RW", "persistent": {"size": size}});
        json!({"container": {"type": "MESOS", "volumes": [volume]}})
    };
    let resident = |more: Value| with(&with(&base(), &volume(10)).into_value(), &more);
    let observed = served(&resident(json!({})));
    let effect = |desired: &App| compare_apps(desired, &observed).effect;
    assert_eq!(effect(&resident(json!({}))), Effect::None);
    assert_eq!(effect(&resident(json!({"cpus": 2}))), Effect::Recreate);
    assert_eq!(effect(&resident(volume(11))), Effect::Recreate);
    assert_eq!(effect(&app(base())), Effect::Recreate);
    assert_eq!(effect(&resident(json!({"portDefinitions": [{"port": 80}]}))), Effect::Recreate);
    assert_eq!(effect(&resident(json!({"role": "other"}))), Effect::Recreate);
    // A port of another name takes the number of the one that goes.
    let renamed = json!({"portDefinitions": [{"port": 0, "name": "other"}]});
    assert_eq!(effect(&resident(renamed)), Effect::Restart);
    let more = json!({"portDefinitions": [{"port": 0, "name": "default"}, {"port": 0}]});
    assert_eq!(effect(&resident(more)), Effect::Recreate);
    assert_eq!(effect(&resident(json!({"instances": 2}))), Effect::Scale);
    assert_eq!(effect(&resident(json!({"env": {}}))), Effect::Restart);
}

#[test]
fn a_number_that_the_server_gave_out_is_given_out_again() {
    let volume = json!({"containerPath": "d", "mode": "RW", "persistent": {"size": 10}});
    let resident = |port: Value| {
        let more = json!({"container": {"type": "MESOS", "volumes": [volume]}, "portDefinitions": [port]});
        with(&base(), &more)
    };
    let observed = served(&resident(json!({"port": 30_001, "name": "old"})));
    let desired = resident(json!({"port": 0, "name": "new"}));
    let effect = |told: Option<RangeInclusive<u16>>| {
        let profile = Profile::default().with_service_ports(told.as_ref());
        diff_for(&normalize(&desired).unwrap(), &observed, None, &[], profile).unwrap().effect
    };
    assert_eq!(effect(Some(30_000..=30_001)), Effect::Restart);
    assert_eq!(effect(Some(30_002..=31_000)), Effect::Recreate);
    assert_eq!(effect(None), Effect::Recreate, "it is none of the default's");
}

#[test]
fn long_texts_are_condensed_to_digests() {
    let long = "x".repeat(257);
    let app = condense(&app(json!({"id": "/a", "labels": {"long": long, "short": "y"}, "args": [long]})));
    let digest = Digest::of(long.as_bytes()).to_string();
    assert_eq!(
        app.into_value(),
        json!({"id": "/a", "labels": {"long": digest, "short": "y"}, "args": [digest]})
    );
}

#[test]
fn package_labels_are_remembered_by_what_they_say() {
    let content = json!({"name": "x", "text": "abc".repeat(400)});
    let labelled = |content: &Value, level| {
        let labels = json!({"DCOS_PACKAGE_DEFINITION": definition(content, level), "OTHER": definition(content, level)});
        normalize(&with(&base(), &json!({"labels": labels}))).unwrap()
    };
    let (one, other) = (labelled(&content, 0), labelled(&content, 9));
    let changed = |remembered: &App, observed: &App| {
        let difference = diff_remembered(&condense(remembered), observed, None, &[]).unwrap();
        paths(&difference).into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(changed(&one, &one), [""; 0]);
    assert_eq!(changed(&one, &other), ["/labels/OTHER"], "only package labels are decoded");
    let another = labelled(&json!({"name": "y", "text": "abc".repeat(400)}), 0);
    assert_eq!(changed(&one, &another), ["/labels/DCOS_PACKAGE_DEFINITION", "/labels/OTHER"]);
}

/// Some member with some value, or nothing.
fn member(key: &'static str, values: Vec<Value>) -> impl Strategy<Value = Option<(String, Value)>> {
    proptest::option::of(proptest::sample::select(values).prop_map(move |value| (key.to_owned(), value)))
}

fn random_app() -> impl Strategy<Value = App> {
    let container = json!({"docker": {"image": "x"}, "portMappings": [{"containerPort": 80}, {"name": "m"}]});
    let mesos = json!({"type": "MESOS", "volumes": [{"containerPath": "a", "hostPath": "/h", "mode": "RO"}]});
    let members = (
        member("instances", vec![0.into(), 2.into()]),
        member("cpus", vec![json!(0.5), json!(1.0), json!(2)]),
        member("env", vec![json!({}), json!({"A": "1"}), json!({"A": "2", "B": "3"})]),
        member("labels", vec![json!({"l": "1"}), json!({"DCOS_PACKAGE_OPTIONS": "e30="})]),
        member("user", vec!["me".into(), "you".into()]),
        member("uris", vec![json!([]), json!(["http://h/a.zip", "http://h/b"])]),
        member("networks", vec![json!([{"mode": "container/bridge"}]), json!([{"name": "n"}])]),
        member("container", vec![container, mesos]),
        member(
            "healthChecks",
            vec![json!([{"protocol": "MESOS_HTTP"}, {}]), json!([{"protocol": "TCP", "port": 9}])],
        ),
        member("constraints", vec![json!([["b", "UNIQUE"], ["a", "CLUSTER", "x"]])]),
    );
    let more = (
        member("taskKillGracePeriodSeconds", vec![5.into()]),
        member("role", vec!["*".into()]),
        member("ports", vec![json!([]), json!([0, 0]), json!([8080])]),
    );
    (members, more).prop_map(|(m, n)| {
        let all = [m.0, m.1, m.2, m.3, m.4, m.5, m.6, m.7, m.8, m.9, n.0, n.1, n.2];
        let mut app = app(json!({"id": "/a", "cmd": "true"}));
        app.0.extend(all.into_iter().flatten());
        // With an explicit empty list of ports a check has nothing to point to.
        if normalize(&app).is_err() {
            app.0.remove("healthChecks");
        }
        app
    })
}

/// An app with the ports that a server assigned set back.
fn portless(app: &App) -> App {
    let mut app = normalize_observed(app).into_app();
    for port in app.0.get_mut("portDefinitions").and_then(Value::as_array_mut).into_iter().flatten() {
        port["port"] = 0.into();
    }
    let mappings = app.0.get_mut("container").and_then(|c| c.get_mut("portMappings"));
    for port in mappings.and_then(Value::as_array_mut).into_iter().flatten() {
        port["servicePort"] = 0.into();
    }
    app
}

proptest! {
    #[test]
    fn the_canonical_form_is_its_own_canonical_form(app in random_app()) {
        let form = normalize(&app).unwrap();
        prop_assert_eq!(normalize(&form).unwrap(), form.clone());
        prop_assert_eq!(normalize_observed(&form), form);
    }

    #[test]
    fn an_app_does_not_differ_from_itself(app in random_app()) {
        prop_assert_eq!(compare_apps(&app, &served(&app)).changes, vec![]);
    }

    #[test]
    fn after_applying_nothing_differs_and_history_leaves_no_trace(before in random_app(), after in random_app()) {
        let (there, had) = (served(&before), applied(&before));
        let difference = diff(&after, &there, Some(&had), &[]).unwrap();
        let body = to_send(&after, &there, Some(&had), &[]).unwrap();
        let result = served(&body);
        prop_assert_eq!(diff(&after, &result, Some(&applied(&after)), &[]).unwrap().changes, vec![]);
        prop_assert_eq!(portless(&result), portless(&served(&after)));
        if difference.effect == Effect::None {
            prop_assert_eq!(normalize_observed(&result), normalize_observed(&there));
        }
        if difference.effect == Effect::Scale {
            prop_assert_ne!(there.instances(), result.instances());
        }
    }
}
