//! Tables of texts and places, and what a label may do to us.

mod laws;

use data_encoding::BASE64;
use serde_json::json;

use super::*;
use crate::marathon::labels::decoded;
use crate::marathon::labels::tests::definition;

const OLD: &str = "registry.marathon.l4lb.thisdcos.directory";
const NEW: &str = "dcos-registry.marathon.l4lb.thisdcos.directory";

fn renames(pairs: &[(&str, &str)]) -> Renames {
    let name = |text| Name::new(text).unwrap();
    let pairs = pairs.iter().map(|(old, new)| Rename { old: name(*old), new: name(*new) });
    Renames::new(pairs.collect()).unwrap()
}

fn usual() -> Renames {
    renames(&[(OLD, NEW), ("registry.component.thisdcos.directory", NEW)])
}

/// A text before and after.
type Row<'a> = (&'a str, &'a str);

/// `O` stands for the old host in the text, `N` for the new one in what is expected.
fn check(reading: Reading, renames: &Renames, rows: &[Row]) {
    for (before, after) in rows {
        let spelled = |text: &str| text.replace('O', OLD).replace('N', NEW);
        let (before, after) = (spelled(before), spelled(after));
        let replaced = replace(&before, reading, renames).map_or(before.clone(), |replaced| replaced.text);
        assert_eq!(replaced, after, "{before} as {reading:?}");
        assert_eq!(replace(&after, reading, renames), None, "again: {after} as {reading:?}");
    }
}

#[test]
fn uris_change_in_their_host_only() {
    let rows = [
        ("https://O/x", "https://N/x"),
        ("https://O", "https://N"),
        ("https://O:443/x?y=https://O/", "https://N:443/x?y=https://O/"),
        ("http://O?q", "http://N?q"),
        ("https://me:p@ss@O:8443/x", "https://me:p@ss@N:8443/x"),
        ("hdfs+x://O./x", "hdfs+x://N./x"),
        ("https://O:/x", "https://N:/x"),
        ("https://REGISTRY.Marathon.l4lb.thisdcos.directory/X", "https://N/X"),
        ("https://registry.component.thisdcos.directory/x", "https://N/x"),
        // Longer hosts, other places, no URIs.
        ("https://dcos-O/x", "https://dcos-O/x"),
        ("https://a.O/x", "https://a.O/x"),
        ("https://O.example.com/x", "https://O.example.com/x"),
        ("https://O-2/x", "https://O-2/x"),
        ("https://_O/x", "https://_O/x"),
        ("https://éO/x", "https://éO/x"),
        ("https://h/O/x", "https://h/O/x"),
        ("https://h/https://O/x", "https://h/https://O/x"),
        ("https://O:pass@h/x", "https://O:pass@h/x"),
        ("https://O:80a/x", "https://O:80a/x"),
        ("https://O:99999/x", "https://O:99999/x"),
        ("file:///O/x", "file:///O/x"),
        ("O/x", "O/x"),
        ("://O/x", "://O/x"),
        ("/mnt/O/x", "/mnt/O/x"),
        ("", ""),
    ];
    check(Reading::Uri, &usual(), &rows);
}

#[test]
fn images_change_only_if_they_begin_with_a_host() {
    let rows = [
        ("O/a/b:1", "N/a/b:1"),
        ("O:443/a@sha256:00", "N:443/a@sha256:00"),
        ("docker://O:443/a:1@sha256:00", "docker://N:443/a:1@sha256:00"),
        ("O", "O"),
        ("O:1", "O:1"),
        ("a/O:1", "a/O:1"),
        ("dcos-O/a", "dcos-O/a"),
        ("O.x/a", "O.x/a"),
        ("O:x/a", "O:x/a"),
    ];
    check(Reading::Image, &usual(), &rows);
    let short = renames(&[("registry", "N.x")]);
    let rows = [
        // A repository on Docker Hub, and a user there.
        ("registry:2", "registry:2"),
        ("registry/a", "registry/a"),
        ("registry:5000/a", "n.x:5000/a"),
    ];
    for (before, after) in rows {
        let replaced = replace(before, Reading::Image, &short).map_or(before.into(), |r| r.text);
        assert_eq!(replaced, after);
    }
}

#[test]
fn free_texts_change_where_a_host_can_stand() {
    let rows = [
        ("O", "N"),
        ("O:443", "N:443"),
        (" O ", " N "),
        ("O/a/b:1", "N/a/b:1"),
        ("https://O/a,https://O/b O:1;O:2/c", "https://N/a,https://N/b N:1;N:2/c"),
        ("--image=O/a --uri=\"https://u:p@O/b\" 'O'", "--image=N/a --uri=\"https://u:p@N/b\" 'N'"),
        ("{\"a\":\"O/b\",\"c\":[\"//O/d\"]}", "{\"a\":\"N/b\",\"c\":[\"//N/d\"]}"),
        ("docker:O/a jar:https://O/b!/c", "docker:N/a jar:https://N/b!/c"),
        ("http://h/?from=O/a&to=https://O/b", "http://h/?from=N/a&to=https://N/b"),
        (
            "https://O:$PORT/a https://${USER}:${PASS}@O:{{port}}/b",
            "https://N:$PORT/a https://${USER}:${PASS}@N:{{port}}/b",
        ),
        ("See O. Or O: or (O).", "See N. Or N: or (N)."),
        ("zk://a:2181,O:2181/p", "zk://a:2181,N:2181/p"),
        ("export A=O\nexport B=O", "export A=N\nexport B=N"),
        ("[O]|<O>", "[N]|<N>"),
    ];
    check(Reading::Free, &usual(), &rows);
    let same = [
        "dcos-O",
        "a.O",
        "O.a",
        "O-",
        "xO",
        "Ox",
        "/O",
        "/mnt/O/a",
        "h/O",
        "https://h/a/O/b",
        "https://h/O",
        "https://h/https://O",
        "https://h/a//O",
        "file:///O",
        "https://h/a,O/b",
        "https://h/a=O",
        "a/b=O",
        "me@O",
        "me@O:a",
        "ssh me@O",
        "O@h",
        "https://O@h",
        "https://O:1@h",
        "O:latest",
        "$O",
        "%2FO",
        "O%2F",
        "O$X",
        "O{{x}}",
        "*.O",
        "O:99999",
        "O:1x",
        "O://x",
        "https://h:O/",
        "x@O/",
        "git@h:O/a",
    ];
    let same = same.map(|text| (text, text));
    check(Reading::Free, &usual(), &same);
}

#[test]
fn names_without_a_dot_are_hosts_behind_a_scheme_only() {
    let short = renames(&[("registry", "n.x"), ("hub:5000", "n.x:443")]);
    let text = "registry registry:2 registry/a https://registry/b hub:5000 hub hub:5001";
    let replaced = replace(text, Reading::Free, &short).unwrap();
    assert_eq!(replaced.text, "registry registry:2 registry/a https://n.x/b n.x:443 hub hub:5001");
}

#[test]
fn ports_are_matched_kept_added_and_dropped() {
    let table: [(&str, &str, &[Row]); 4] = [
        ("a.b", "c.d", &[("a.b", "c.d"), ("a.b:1", "c.d:1"), ("a.b:", "c.d:")]),
        ("a.b", "c.d:443", &[("a.b", "c.d:443"), ("a.b:1", "c.d:443"), ("a.b:", "a.b:")]),
        ("a.b:1", "c.d", &[("a.b", "a.b"), ("a.b:1", "c.d"), ("a.b:12", "a.b:12")]),
        ("a.b:1", "c.d:443", &[("a.b", "a.b"), ("a.b:1", "c.d:443")]),
    ];
    for (old, new, rows) in table {
        check(Reading::Free, &renames(&[(old, new)]), rows);
        let uris: Vec<_> =
            rows.iter().map(|(a, b)| (format!("https://{a}/"), format!("https://{b}/"))).collect();
        let uris: Vec<_> = uris.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
        check(Reading::Uri, &renames(&[(old, new)]), &uris);
    }
    let both = renames(&[("a.b", "c.d"), ("a.b:5000", "e.f:443")]);
    check(Reading::Free, &both, &[("a.b a.b:5000 a.b:1", "c.d e.f:443 c.d:1")]);
    let port = renames(&[("a.b", "a.b:443")]);
    check(Reading::Free, &port, &[("a.b a.b:443 A.b:1", "a.b:443 a.b:443 a.b:443")]);
}

#[test]
fn renames_that_contradict_are_refused() {
    let make = |pairs: &[(&str, &str)]| {
        let name = |text| Name::new(text).unwrap();
        let pairs = pairs.iter().map(|(old, new)| Rename { old: name(*old), new: name(*new) });
        Renames::new(pairs.collect()).map_err(|error| error.to_string())
    };
    let refused = [
        (&[("a.b", "A.b")][..], "itself"),
        (&[("a.b", "c.d"), ("a.b", "e.f")], "twice"),
        (&[("a.b", "c.d"), ("c.d", "e.f")], "last successor"),
        (&[("a.b", "c.d"), ("c.d:1", "e.f")], "last successor"),
        (&[("a.b:1", "c.d:1"), ("c.d", "e.f")], "last successor"),
        (&[("a.b", "c.d"), ("c.d", "a.b")], "last successor"),
    ];
    for (pairs, word) in refused {
        let error = make(pairs).unwrap_err();
        assert!(error.contains(word), "{error}");
    }
    for fine in [&[("a.b:1", "c.d"), ("c.d:1", "c.d")][..], &[("a.b", "a.b:1")], &[("a.b:1", "a.b")], &[]] {
        assert!(make(fine).is_ok(), "{fine:?}");
    }
    for bad in [
        "",
        "a b",
        "https://a.b",
        "a.b/c",
        "a..b",
        "-a.b",
        "a.b:",
        "a.b:0",
        "a.b:70000",
        "a.b:+1",
        "[::1]",
        "a_b",
    ] {
        assert!(Name::new(bad).is_err(), "{bad}");
    }
    assert_eq!(Name::new("A.b:0443").unwrap().to_string(), "a.b:443");
}

fn base64(value: &Value) -> String {
    BASE64.encode(value.to_string().as_bytes())
}

/// An app with a reference in every place.
fn app() -> Value {
    let uri = format!("https://{OLD}/a.tgz");
    let template = BASE64.encode(format!("{{\"image\": \"{OLD}/x\"}}").as_bytes());
    let package = json!({
        "name": "p", "marathon": {"v2AppMustacheTemplate": template},
        "resource": {"assets": {"uris": {"jre": uri, "path": format!("https://h/{OLD}")}}},
    });
    json!({
        "id": format!("/{OLD}"), "instances": 1, "role": null,
        "fetch": [{"uri": "https://h/b"}, {"uri": uri, "extract": true}], "uris": [uri],
        "container": {"type": "DOCKER", "docker": {"image": format!("{OLD}:443/x:1")}},
        "env": {"JAVA_URI": format!("{uri},{uri}"), "SECRET": {"secret": OLD}, "A/B": OLD},
        "secrets": {"s": {"source": OLD}},
        "cmd": format!("curl {uri}"), "args": ["-u", uri],
        "healthChecks": [{"protocol": "COMMAND", "command": {"value": format!("curl {uri}")}}],
        "labels": {
            "DCOS_PACKAGE_SOURCE": format!("https://{OLD}/repo"),
            "DCOS_PACKAGE_DEFINITION": definition(&package, 9),
            "DCOS_PACKAGE_METADATA": base64(&package),
            "DCOS_PACKAGE_OPTIONS": base64(&json!({"service": {"uri": uri}})),
            "DCOS_PACKAGE_NAME": "registry",
            "HAPROXY_0_VHOST": OLD,
            "SPARK_URI": uri,
        },
    })
}

#[test]
fn an_app_changes_in_every_place_and_nowhere_else() {
    let before = app();
    let Rewritten { definition: after, findings, left } = rewrite(&before, &usual(), Options::default());
    let found: Vec<_> = findings.iter().map(ToString::to_string).collect();
    let swap = format!("{OLD} -> {NEW}");
    let wanted = [
        format!("/fetch/1/uri: {swap}"),
        format!("/uris/0: {swap}"),
        format!("/container/docker/image: {OLD}:443 -> {NEW}:443"),
        format!("/env/A~1B: {swap}"),
        format!("/env/JAVA_URI: {swap} (2 times)"),
        format!("/labels/DCOS_PACKAGE_DEFINITION at /data/marathon/v2AppMustacheTemplate: {swap}"),
        format!("/labels/DCOS_PACKAGE_DEFINITION at /data/resource/assets/uris/jre: {swap}"),
        format!("/labels/DCOS_PACKAGE_METADATA at /marathon/v2AppMustacheTemplate: {swap}"),
        format!("/labels/DCOS_PACKAGE_METADATA at /resource/assets/uris/jre: {swap}"),
        format!("/labels/DCOS_PACKAGE_OPTIONS at /service/uri: {swap}"),
        format!("/labels/DCOS_PACKAGE_SOURCE: {swap}"),
        format!("/labels/SPARK_URI: {swap}"),
    ];
    assert_eq!(found, wanted);
    let forms: Vec<_> = findings[5..11].iter().map(|finding| finding.form).collect();
    assert_eq!(forms, [Form::Gzip, Form::Gzip, Form::Base64, Form::Base64, Form::Base64, Form::Plain]);
    let asked: Vec<_> = left.iter().map(|left| (left.pointer.as_str(), &left.reason)).collect();
    assert_eq!(asked, [("/cmd", &LeftReason::NotAsked), ("/args/1", &LeftReason::NotAsked)]);
    for path in
        ["/id", "/secrets", "/healthChecks", "/env/SECRET", "/cmd", "/args", "/labels/HAPROXY_0_VHOST"]
    {
        assert_eq!(after.pointer(path), before.pointer(path), "{path}");
    }
    let again = rewrite(&after, &usual(), Options::default());
    assert_eq!((again.findings.len(), again.definition), (0, after));
}

#[test]
fn labels_mean_the_same_but_for_the_host() {
    let before = app();
    let after = rewrite(&before, &usual(), Options::default()).definition;
    for label in ["DCOS_PACKAGE_DEFINITION", "DCOS_PACKAGE_METADATA", "DCOS_PACKAGE_OPTIONS"] {
        let read = |app: &Value| decoded(label, app["labels"][label].as_str().unwrap()).unwrap();
        let (was, is) = (read(&before), read(&after));
        assert_eq!(is.get("type"), was.get("type"));
        let uri = |value: &Value| {
            let data = value.get("data").unwrap_or(value);
            ["/resource/assets/uris/jre", "/service/uri"].iter().find_map(|p| data.pointer(p).cloned())
        };
        assert_eq!(uri(&is), Some(format!("https://{NEW}/a.tgz").into()), "{label}");
        assert_eq!(uri(&was), Some(format!("https://{OLD}/a.tgz").into()), "{label}");
        let data = is.get("data").unwrap_or(&is);
        if let Some(template) = data.pointer("/marathon/v2AppMustacheTemplate").and_then(Value::as_str) {
            let template = String::from_utf8(BASE64.decode(template.as_bytes()).unwrap()).unwrap();
            assert_eq!(template, format!("{{\"image\": \"{NEW}/x\"}}"));
        }
    }
}

#[test]
fn commands_change_on_request() {
    let after = rewrite(&app(), &usual(), Options { commands: true });
    assert_eq!(after.definition["cmd"], format!("curl https://{NEW}/a.tgz"));
    assert_eq!(after.definition["args"][1], format!("https://{NEW}/a.tgz"));
    assert_eq!(after.left, []);
}

#[test]
fn pods_groups_and_listings_are_gone_through() {
    let uri = format!("https://{OLD}/a");
    let pod = json!({
        "id": "/p", "environment": {"A": uri, "B": {"secret": "x"}}, "secrets": {"x": {"source": OLD}},
        "containers": [{
            "name": "c", "image": {"kind": "DOCKER", "id": format!("{OLD}/i:1")},
            "artifacts": [{"uri": uri, "destPath": "a"}], "environment": {"C": uri},
            "exec": {"command": {"shell": format!("curl {uri}")}},
            "labels": {"DCOS_PACKAGE_SOURCE": uri},
        }],
    });
    let group = json!({"id": "/", "apps": [{"id": "/a", "uris": [uri]}],
        "groups": [{"id": "/g", "apps": [], "pods": [pod]}]});
    let after = rewrite(&group, &usual(), Options { commands: true });
    let places: Vec<_> = after.findings.iter().map(|finding| finding.pointer.as_str()).collect();
    let pod = "/groups/0/pods/0";
    let wanted = [
        "/apps/0/uris/0".to_owned(),
        format!("{pod}/environment/A"),
        format!("{pod}/containers/0/image/id"),
        format!("{pod}/containers/0/artifacts/0/uri"),
        format!("{pod}/containers/0/environment/C"),
        format!("{pod}/containers/0/exec/command/shell"),
        format!("{pod}/containers/0/labels/DCOS_PACKAGE_SOURCE"),
    ];
    assert_eq!(places, wanted);
    for finding in &after.findings {
        let text = after.definition.pointer(&finding.pointer).and_then(Value::as_str).unwrap();
        assert!(text.contains(NEW), "{finding}");
    }
}

#[test]
fn the_text_of_a_label_stays_where_nothing_is_found_or_understood() {
    let odd = "eyAiYSI6IDEuMTAgfQ=="; // { "a": 1.10 }
    let bomb = Value::String(" ".repeat(usize::try_from(crate::marathon::labels::LONGEST_JSON).unwrap()));
    let plain = format!("{{\"uri\": \"https://{OLD}/\"}}");
    let br = json!({"metadata": {"Content-Encoding": "br"}, "data": "e30="});
    let cut = json!({"metadata": {"Content-Encoding": "gzip"}, "data": "H4sIAAAA"});
    let template = json!({"marathon": {"v2AppMustacheTemplate": "?"}, "x": format!("https://{OLD}")});
    let rows: [(&str, String, Option<&str>); 10] = [
        ("DCOS_PACKAGE_OPTIONS", odd.into(), None),
        ("DCOS_PACKAGE_OPTIONS", String::new(), None),
        ("DCOS_PACKAGE_OPTIONS", "not base64".into(), Some("no base64")),
        ("DCOS_PACKAGE_OPTIONS", BASE64.encode(b"{"), Some("no JSON")),
        ("DCOS_PACKAGE_OPTIONS", BASE64.encode(b"\"\xff\""), Some("no UTF-8")),
        ("DCOS_PACKAGE_METADATA", "e30=".repeat(600_000), Some("too large")),
        ("DCOS_PACKAGE_DEFINITION", definition(&bomb, 9), Some("too large")),
        ("DCOS_PACKAGE_DEFINITION", base64(&br), Some("not gzip")),
        ("DCOS_PACKAGE_DEFINITION", base64(&cut), Some("damaged gzip")),
        ("DCOS_PACKAGE_NAME", "registry".into(), None),
    ];
    for (label, text, why) in rows {
        let app = json!({"labels": {label: text}});
        let after = rewrite(&app, &usual(), Options::default());
        assert_eq!((after.definition, after.findings), (app, vec![]), "{label}");
        let left: Vec<_> = after.left.iter().map(ToString::to_string).collect();
        match why {
            None => assert_eq!(left, [""; 0]),
            Some(why) => assert!(left.len() == 1 && left[0].contains(why), "{left:?} for {why}"),
        }
    }
    let after = rewrite(&json!({"labels": {"DCOS_PACKAGE_OPTIONS": plain}}), &usual(), Options::default());
    assert_eq!(after.findings[0].form, Form::Plain);
    let after = rewrite(
        &json!({"labels": {"DCOS_PACKAGE_METADATA": base64(&template)}}),
        &usual(),
        Options::default(),
    );
    assert_eq!(
        (after.findings.len(), after.left[0].inside.as_deref()),
        (1, Some("/marathon/v2AppMustacheTemplate"))
    );
}

#[test]
fn numbers_and_order_in_a_label_stay() {
    let text = format!("{{ \"z\": 1.10, \"a\": \"https://{OLD}/\", \"n\": null }}");
    let app = json!({"labels": {"DCOS_PACKAGE_OPTIONS": BASE64.encode(text.as_bytes())}});
    let after = rewrite(&app, &usual(), Options::default()).definition;
    let label = after["labels"]["DCOS_PACKAGE_OPTIONS"].as_str().unwrap();
    let read = String::from_utf8(BASE64.decode(label.as_bytes()).unwrap()).unwrap();
    assert_eq!(read, text.replace(OLD, NEW));
}
