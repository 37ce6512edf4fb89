//! What holds for all definitions.

use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Map, Value, json};

use super::*;

const A: &str = "old.example.com";
const B: &str = "new-old.example.com";

fn one(old: &str, new: &str) -> Renames {
    renames(&[(old, new)])
}

const PIECES: &[&str] = &[
    A,
    A,
    "OLD.example.com",
    "x.old.example.com",
    "old.example.com.x",
    "h.com",
    "https://",
    "http://",
    "//",
    "/",
    ":",
    ":443",
    ":5000",
    "@",
    "=",
    ",",
    ";",
    " ",
    "\"",
    "'",
    "?",
    "#",
    "%2F",
    "$X",
    "{{x}}",
    "(",
    ")",
    "[",
    "]",
    "<",
    ">",
    "|",
    "&",
    ".",
    "-",
    "_",
    "é",
    "\n",
    "a",
    "B",
    "7",
    "path",
    "sha256:00",
    "\\",
    "*",
    "\u{1f600}",
];

const LIKELY: &[&str] = &[
    "https://old.example.com/a/b.tgz",
    "https://u:p@old.example.com:443/x",
    "old.example.com/img:1",
    "old.example.com:5000/img@sha256:00",
    "https://h.com/old.example.com/x",
    "new.old.example.com/x",
];

const NAMES: &[&str] = &["a.b", "c.d", "e", "a.b:1", "c.d:1", "e:1", "a.b:443", "c.d:443"];

const TAILS: &[&str] = &["", "/x", ":1", ":443/x", ":2", ".", ":", ":$P/", ".:1/", ":/x"];

/// Texts with the old host, near misses, and what may stand around them. The new host is in none.
fn texts() -> impl Strategy<Value = String> + Clone {
    let text = prop::collection::vec(select(PIECES), 0..14).prop_map(|pieces| pieces.concat());
    prop_oneof![text, select(LIKELY).prop_map(str::to_owned)].boxed()
}

fn lower() -> impl Strategy<Value = String> + Clone {
    texts().prop_map(|text| text.replace("OLD", "old")).boxed()
}

fn document(text: impl Strategy<Value = String> + 'static) -> impl Strategy<Value = Value> {
    let leaf =
        prop_oneof![text.prop_map(Value::String), any::<i32>().prop_map(Value::from), Just(true.into())];
    leaf.prop_recursive(3, 12, 4, |inner| {
        let key = select(vec!["a", "data", "metadata", "old.example.com", "x/~y"]);
        let members = prop::collection::btree_map(key.prop_map(str::to_owned), inner.clone(), 0..4);
        prop_oneof![
            prop::collection::vec(inner, 0..4).prop_map(Value::Array),
            members.prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn definitions(text: impl Strategy<Value = String> + Clone + 'static) -> impl Strategy<Value = Value> {
    let texts = prop::collection::vec(text.clone(), 6);
    let parts = (texts, document(text.clone()), document(text), 0..10_u32);
    parts.prop_map(|(texts, options, package, level)| {
        let template = BASE64.encode(texts[5].as_bytes());
        let package = json!({"p": package, "marathon": {"v2AppMustacheTemplate": template}});
        json!({
            "id": "/old.example.com", "fetch": [{"uri": texts[0]}], "cmd": texts[3], "note": texts[0],
            "env": {"E": texts[1], "F": {"secret": texts[1]}},
            "container": {"docker": {"image": texts[2]}},
            "labels": {
                "DCOS_PACKAGE_SOURCE": texts[4], "OTHER": texts[4],
                "DCOS_PACKAGE_OPTIONS": base64(&json!({"o": options})),
                "DCOS_PACKAGE_DEFINITION": definition(&package, level),
            },
        })
    })
}

/// Labels decoded, templates too, so that another gzip is no difference.
fn meaning(app: &Value) -> Value {
    let mut app = app.clone();
    let labels: Map<String, Value> = app["labels"].as_object().unwrap().clone();
    for (name, text) in labels {
        let Some(mut value) = text.as_str().and_then(|text| decoded(&name, text)) else { continue };
        if let Some(template) = value.pointer_mut("/data/marathon/v2AppMustacheTemplate") {
            let bytes = BASE64.decode(template.as_str().unwrap().as_bytes()).unwrap();
            *template = String::from_utf8(bytes).unwrap().into();
        }
        app["labels"][name] = value;
    }
    app
}

/// All spellings of both hosts made one, in values.
fn without_hosts(value: &Value) -> Value {
    match value {
        Value::String(text) => text.replace(B, A).replace("OLD.example.com", A).into(),
        Value::Array(items) => items.iter().map(without_hosts).collect(),
        Value::Object(map) => map.iter().map(|(key, value)| (key.clone(), without_hosts(value))).collect(),
        other => other.clone(),
    }
}

/// A slow second opinion: where in a text the host stands with no more of a host around it.
fn hosts_of(text: &str, host: &str) -> Vec<(usize, usize)> {
    let lower = text.to_ascii_lowercase();
    let part = |c: char| c.is_alphanumeric() || "-_.".contains(c);
    let places = lower.match_indices(host).map(|(at, _)| (at, at + host.len()));
    let whole = places.filter(|(start, end)| {
        let before = lower[..*start].chars().next_back().is_none_or(|c| !part(c));
        let after = lower[*end..].trim_start_matches('.');
        before && after.chars().next().is_none_or(|c| !part(c))
    });
    whole.collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn there_and_back_again_is_the_same(app in definitions(lower())) {
        let options = Options { commands: true };
        let there = rewrite(&app, &one(A, B), options);
        let back = rewrite(&there.definition, &one(B, A), options);
        prop_assert_eq!(meaning(&back.definition), meaning(&app));
        let counts = |findings: &[Finding]| findings.iter().map(|finding| finding.count).sum::<usize>();
        prop_assert_eq!(counts(&there.findings), counts(&back.findings));
    }

    #[test]
    fn twice_is_the_same_as_once(
        app in definitions(texts()),
        port in select(vec!["", ":443"]),
        to in select(vec!["", ":443"]),
    ) {
        let renames = one(&format!("{A}{port}"), &format!("{B}{to}"));
        let once = rewrite(&app, &renames, Options { commands: true });
        let twice = rewrite(&once.definition, &renames, Options { commands: true });
        prop_assert_eq!(&twice.findings, &vec![]);
        prop_assert_eq!(twice.definition, once.definition);
    }

    #[test]
    fn renames_that_are_taken_settle_at_once(
        pairs in prop::collection::vec((select(NAMES), select(NAMES)), 1..4),
        hosts in prop::collection::vec((select(&["", "https://", "x,"][..]), select(NAMES), select(TAILS)), 1..4),
    ) {
        let name = |text| Name::new(text).unwrap();
        let pairs = pairs.iter().map(|(old, new)| Rename { old: name(*old), new: name(*new) });
        let Ok(renames) = Renames::new(pairs.collect()) else { return Ok(()) };
        let texts: Vec<_> = hosts.iter().map(|(before, host, after)| format!("{before}{host}{after}")).collect();
        for (reading, text) in [(Reading::Free, texts.join(" ")), (Reading::Uri, texts[0].clone()), (Reading::Image, texts[0].clone())] {
            let Some(once) = replace(&text, reading, &renames) else { continue };
            prop_assert_eq!(replace(&once.text, reading, &renames), None, "{} by {:?}", text, renames);
        }
    }

    #[test]
    fn only_hosts_change(app in definitions(texts())) {
        let after = rewrite(&app, &one(A, B), Options::default());
        prop_assert_eq!(without_hosts(&meaning(&after.definition)), without_hosts(&meaning(&app)));
        for place in ["/id", "/cmd", "/note", "/env/F"] {
            prop_assert_eq!(after.definition.pointer(place), app.pointer(place));
        }
        for (name, text) in app["labels"].as_object().unwrap() {
            let pointer = format!("/labels/{name}");
            if !after.findings.iter().any(|finding| finding.pointer == pointer) {
                prop_assert_eq!(&after.definition["labels"][name], text);
            }
        }
        if after.findings.is_empty() {
            prop_assert_eq!(after.definition, app);
        }
    }

    #[test]
    fn no_part_of_a_longer_host_is_taken(text in texts()) {
        for reading in [Reading::Uri, Reading::Image, Reading::Free] {
            let Some(replaced) = replace(&text, reading, &one(A, B)) else { continue };
            prop_assert!(replaced.swaps.len() <= hosts_of(&text, A).len(), "{text:?} -> {replaced:?}");
            // Undone at whole hosts only, the text is the old one.
            let spots = hosts_of(&replaced.text, B);
            prop_assert_eq!(spots.len(), replaced.swaps.len());
            let mut undone = replaced.text.clone();
            for (start, end) in spots.into_iter().rev() {
                undone.replace_range(start..end, A);
            }
            prop_assert_eq!(undone.replace("OLD", "old"), text.replace("OLD", "old"));
        }
    }

    #[test]
    fn a_path_never_changes(path in "/[a-z/]{0,8}", rest in texts()) {
        // Without what ends a path in a free text.
        let rest: String = rest.chars().filter(|c| !" \n\"'<>,;|([{?#".contains(*c)).collect();
        let text = format!("https://h.com{path}{rest}");
        for reading in [Reading::Uri, Reading::Free] {
            prop_assert_eq!(replace(&text, reading, &one(A, B)), None);
        }
    }

    #[test]
    fn any_text_is_taken(text in "\\PC{0,60}", label in "[A-Za-z0-9+/=]{0,40}") {
        let labels = json!({"DCOS_PACKAGE_OPTIONS": label, "DCOS_PACKAGE_X": text});
        let app = json!({"env": {"A": text}, "labels": labels});
        let after = rewrite(&app, &one(A, B), Options::default());
        prop_assert!(after.findings.is_empty());
        prop_assert_eq!(after.definition, app);
    }
}
