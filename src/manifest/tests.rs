//! Tests of whole manifests: what is read, and every kind of fault with its file, line, path and advice.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::model::{
    Completeness, Revision, SnapshotFile, SnapshotPath, SourceName, UnitId, UnitKind, UnitName,
};

fn path(text: &str) -> SnapshotPath {
    SnapshotPath::root().join(text).unwrap()
}

/// A snapshot of some files; manifests lie below `m`.
fn snapshot(files: &[(&str, &str)]) -> Snapshot {
    let files = files.iter().map(|(name, text)| (path(name), SnapshotFile::inline(text.as_bytes())));
    Snapshot {
        source: SourceName::new("test").unwrap(),
        revision: Revision("r".into()),
        completeness: Completeness::Complete,
        manifests: path("m"),
        files: files.collect(),
    }
}

const PACKAGE: &str = "\
apiVersion: dcos-registry/v1
kind: Package
metadata: {name: hello}
spec:
  version: 0.1.0
  source: {directory: packages/hello}
";

const SERVICE: &str = "\
apiVersion: dcos-registry/v1
kind: Service
metadata:
  name: world
spec:
  package: hello
  appId: /demo/world
  options:
    name: World
    cpus: 0.1
";

const PACKAGE_FILE: (&str, &str) = ("m/packages/hello/0/package.json", "{}");

fn id(kind: UnitKind, name: &str) -> UnitId {
    UnitId { source: SourceName::new("test").unwrap(), kind, name: UnitName::new(name).unwrap() }
}

/// The problems of a manifest, as a person reads them.
fn faults(files: &[(&str, &str)]) -> Vec<String> {
    let mut files = files.to_vec();
    files.push(PACKAGE_FILE);
    parse(&snapshot(&files)).expect_err("no problem was found").iter().map(ToString::to_string).collect()
}

/// The problems of a document beside a good package.
fn faults_of(text: &str) -> Vec<String> {
    faults(&[("m/0.yaml", PACKAGE), ("m/a.yaml", text)])
}

/// A Service whose spec has more lines; the first of them is line 11.
fn service_with(lines: &str) -> Vec<String> {
    faults_of(&format!("{SERVICE}{lines}"))
}

/// A Package whose spec consists of these lines; the first of them is line 5.
fn package_with(lines: &str) -> Vec<String> {
    let head = "apiVersion: dcos-registry/v1\nkind: Package\nmetadata: {name: other}\nspec:\n";
    faults_of(&format!("{head}{lines}"))
}

#[test]
fn a_good_manifest_is_read_in_full() {
    let text = format!(
        "{PACKAGE}  digest: sha256:{}\n  keep: all\n  state: present\n---\n{SERVICE}  dependsOn: [App/raw]\n  \
         drift: warn\n  ignore: [/instances, /env/A~1B]\n  protect: true\n  wait: {{timeout: 1h30m}}\n  onFailure: rollback\n  \
         foreignDeployments: cancel\n  recreate: allowed\n  state: absent\n---\n",
        "0".repeat(64)
    );
    let app = r#"{"apiVersion": "dcos-registry/v1", "kind": "App", "metadata": {"name": "raw"},
        "spec": {"app": {"id": "/raw", "cmd": "sleep 1", "env": {"A": {"secret": "x"}}}, "wait": null}}"#;
    let manifest = parse(&snapshot(&[("m/a.yml", &text), ("m/sub/b.json", app), PACKAGE_FILE])).unwrap();
    assert_eq!(manifest.units.len(), 3);

    let package = manifest.unit(&id(UnitKind::Package, "hello")).unwrap();
    let Spec::Package(spec) = &package.spec else { panic!() };
    assert_eq!((spec.name.as_str(), spec.version.as_str()), ("hello", "0.1.0"));
    assert_eq!(spec.directory.as_str(), "m/packages/hello");
    assert!(spec.digest.is_some());

    let service = manifest.unit(&id(UnitKind::Service, "world")).unwrap();
    assert_eq!(service.place.to_string(), "m/a.yml:11");
    assert_eq!(service.place.document, 1);
    assert_eq!(service.depends_on(), [id(UnitKind::Package, "hello"), id(UnitKind::App, "raw")]);
    let Spec::Service(spec) = &service.spec else { panic!() };
    assert_eq!(spec.app_id.as_ref().unwrap().as_str(), "/demo/world");
    assert_eq!(json!(spec.options), json!({"name": "World", "cpus": 0.1}));
    assert_eq!(spec.upkeep.drift, DriftPolicy::Warn);
    assert_eq!(spec.upkeep.ignore, ["/env/A~1B", "/instances"]);
    assert!(spec.upkeep.protect);
    assert_eq!(spec.upkeep.wait, Duration::from_secs(5400));
    assert_eq!(spec.upkeep.on_failure, OnFailure::Rollback);
    assert_eq!(spec.upkeep.foreign_deployments, ForeignDeployments::Cancel);
    assert_eq!(spec.upkeep.recreate, Recreate::Allowed);
    assert_eq!(spec.upkeep.state, Presence::Absent);

    let Spec::App(spec) = &manifest.unit(&id(UnitKind::App, "raw")).unwrap().spec else { panic!() };
    assert_eq!(spec.app.get("env"), Some(&json!({"A": {"secret": "x"}})));
    assert_eq!(spec.upkeep.wait, Duration::from_secs(600));
    assert_eq!(spec.upkeep.drift, DriftPolicy::Enforce);
    assert_eq!(spec.upkeep.on_failure, OnFailure::Hold);
    assert_eq!(spec.upkeep.foreign_deployments, ForeignDeployments::Wait);
    assert_eq!(spec.upkeep.recreate, Recreate::Never);

    let order: Vec<String> = manifest.in_order().iter().map(|unit| unit.id.to_string()).collect();
    assert_eq!(order, ["Package/hello", "App/raw", "Service/world"]);
}

#[test]
fn nothing_is_a_manifest_too() {
    let manifest = parse(&snapshot(&[("m/empty.yaml", ""), ("m/note.txt", "x: [")])).unwrap();
    assert_eq!(manifest, Manifest::default());
}

#[test]
fn later_stages_find_the_lines_of_options() {
    let manifest =
        parse(&snapshot(&[("m/a.yaml", &format!("{PACKAGE}---\n{SERVICE}")), PACKAGE_FILE])).unwrap();
    let service = manifest.unit(&id(UnitKind::Service, "world")).unwrap();
    assert_eq!(service.place_of("spec.options.cpus"), Some(17));
    assert_eq!(service.place_of("spec.options.mem.deep[3]"), Some(15), "the nearest thing around it");
    assert_eq!(service.place_of("nonsense"), None);
    let problem = service.option_problem("/cpus", "too few");
    assert_eq!(problem.to_string(), "m/a.yaml:17: spec.options.cpus: too few");
    assert_eq!(service.option_problem("", "no").line, Some(15));
}

#[test]
fn package_directories_hold_no_manifests() {
    let files = [
        ("m/a.yaml", PACKAGE),
        PACKAGE_FILE,
        ("m/packages/hello/0/config.json", "{\"properties\": {}}"),
        ("m/packages/hello/0/sub/x.yaml", "nonsense: true"),
        ("outside/x.yaml", "nonsense: true"),
    ];
    assert_eq!(parse(&snapshot(&files)).unwrap().units.len(), 1);
    assert_eq!(
        faults(&[("m/package.json", "{}"), ("m/a.yaml", PACKAGE)]),
        ["m: this folder is a package directory, so no manifest is read from it \
          (move package.json and its files into a folder of their own)"]
    );
}

#[test]
fn all_faults_of_all_files_come_at_once() {
    let bad_service = SERVICE.replace("options:", "optoins:").replace("package: hello", "package: helo");
    let bad_package = PACKAGE.replace("0.1.0", "[1]").replace("packages/hello", "../../etc");
    let found = faults(&[
        ("m/z.yaml", &bad_package),
        ("m/b/c.yaml", &format!("# c\n{bad_service}")),
        ("m/d.json", "{\"a\": "),
    ]);
    assert_eq!(
        found,
        [
            "m/b/c.yaml:9: spec.optoins: unknown key (did you mean options?)",
            "m/d.json:1: a: syntax error: while parsing a node, did not find expected node content",
            "m/z.yaml:5: spec.version: expected text, found a list",
            "m/z.yaml:6: spec.source.directory: ../../etc leaves the source's root folder \
             (write a path relative to this file that stays inside the source)",
        ],
        "the package that b/c.yaml names may be in d.json, so that is not reported"
    );
}

#[test]
fn heads_of_documents_are_checked() {
    for (text, expected) in [
        (
            "kind: Package\nmetadata: {name: x1}\nspec: {version: 1, source: 2}\n",
            vec![
                "m/a.yaml:1: apiVersion: is missing (write apiVersion: dcos-registry/v1)",
                "m/a.yaml:3: spec.source: expected a mapping, found a number (keys: directory, bundle, universe)",
                "m/a.yaml:3: spec.version: expected text, found a number (write \"1\")",
            ],
        ),
        (
            "apiVersion: dcos-registry/v2\nkind: Servise\nmetadata: {name: Hello}\n",
            vec![
                "m/a.yaml:1: apiVersion: \"dcos-registry/v2\" is not known (write dcos-registry/v1)",
                "m/a.yaml:1: spec: is missing (write spec: and what is desired below it)",
                "m/a.yaml:2: kind: unknown kind \"Servise\" (did you mean Service?)",
                "m/a.yaml:3: metadata.name: \"Hello\" is not a valid unit name (one to 128 lower-case letters, \
                 digits, '-' and '.', a letter or digit first and last)",
            ],
        ),
        (
            "apiVersion: dcos-registry/v1\nkind: Rename\nmetadata: {nam: x}\nspec:\n",
            vec![
                "m/a.yaml:2: kind: Rename is not supported yet (remove the document)",
                "m/a.yaml:3: metadata.nam: unknown key (did you mean name?)",
                "m/a.yaml:4: spec: is missing (write spec: and what is desired below it)",
            ],
        ),
        (
            "\n- a\n",
            vec![
                "m/a.yaml:2: not a manifest document: apiVersion and kind are missing (write apiVersion: \
                 dcos-registry/v1, kind, metadata and spec; a file of a package needs a package.json beside it)",
            ],
        ),
    ] {
        assert_eq!(faults_of(text), expected);
    }
}

#[test]
fn specs_of_packages_are_checked() {
    let source = "  source: {directory: packages/hello}\n";
    for (lines, expected) in [
        (
            "  source: {bundle: x.dcos}\n",
            vec![
                "m/a.yaml:4: spec.version: is missing (write version: 0.1.0)",
                "m/a.yaml:5: spec.source.bundle: bundle is not supported yet \
                 (write directory: and a package directory)",
            ],
        ),
        (
            "  version: \">=1\"\n  source: {directory: a, universe: {url: b}}\n",
            vec![
                "m/a.yaml:5: spec.version: version ranges are not supported yet for this source \
                 (write one exact version, such as 0.1.0)",
                "m/a.yaml:6: spec.source: directory and universe are given (write exactly one source)",
            ],
        ),
        (
            "  version: 1_0\n  source: {}\n",
            vec![
                "m/a.yaml:5: spec.version: \"1_0\" is not a valid package version (one to 128 letters, digits, \
                 '-' and '.', and not only dots)",
                "m/a.yaml:6: spec.source: names no source (write directory: ./packages/hello)",
            ],
        ),
        (
            "  version: 1.10\n  source: {directory: /etc}\n",
            vec![
                "m/a.yaml:5: spec.version: expected text, found a number (write \"1.10\")",
                "m/a.yaml:6: spec.source.directory: the path is absolute \
                 (write a path relative to this file, such as ./packages/hello)",
            ],
        ),
        (
            &format!(
                "{source}  version: v1\n  digest: sha256:12\n  keep: {{last: 3}}\n  state: absent\n  name: A\n"
            ),
            vec![
                "m/a.yaml:10: spec.name: \"A\" is not a valid package name (two to 128 characters, lower-case \
                 letters, digits and '-', a letter first, no '-' last)",
                "m/a.yaml:7: spec.digest: not a digest (write sha256: and 64 lower-case hex digits)",
                "m/a.yaml:8: spec.keep: removing older versions is not supported yet (write keep: all)",
                "m/a.yaml:9: spec.state: absent is not supported yet for packages \
                 (write present, or remove the document)",
            ],
        ),
    ] {
        let mut expected = expected;
        expected.sort_by_key(|text| text.split(':').nth(1).unwrap().parse::<usize>().unwrap());
        assert_eq!(package_with(lines), expected);
    }
}

#[test]
fn directories_must_be_in_the_source() {
    let wrong = PACKAGE.replace("packages/hello", "./packages/helo");
    assert_eq!(
        faults(&[("m/a.yaml", &wrong)]),
        [
            "m/a.yaml:6: spec.source.directory: there is no folder m/packages/helo in the source, or it is empty \
          (did you mean ./packages/hello?)"
        ]
    );
    let file = PACKAGE.replace("packages/hello", "packages/hello/0/package.json");
    assert_eq!(
        faults(&[("m/a.yaml", &file)]),
        ["m/a.yaml:6: spec.source.directory: m/packages/hello/0/package.json is a file \
          (write the folder that holds package.json)"]
    );
}

#[test]
fn specs_of_services_are_checked() {
    for (lines, expected) in [
        (
            "  protect: yes\n",
            "m/a.yaml:11: spec.protect: expected true or false, found text (write true or false without quotes)",
        ),
        (
            "  drift: enforced\n",
            "m/a.yaml:11: spec.drift: \"enforced\" is not known here (did you mean enforce?)",
        ),
        ("  state: gone\n", "m/a.yaml:11: spec.state: \"gone\" is not known here (write present or absent)"),
        (
            "  onFailure: roleback\n",
            "m/a.yaml:11: spec.onFailure: \"roleback\" is not known here (did you mean rollback?)",
        ),
        (
            "  foreignDeployments: force\n",
            "m/a.yaml:11: spec.foreignDeployments: \"force\" is not known here (write wait or cancel)",
        ),
        (
            "  recreate: alowed\n",
            "m/a.yaml:11: spec.recreate: \"alowed\" is not known here (did you mean allowed?)",
        ),
        ("  wait: 10m\n", "m/a.yaml:11: spec.wait: expected a mapping, found text (keys: timeout)"),
        (
            "  wait: {timeout: 10}\n",
            "m/a.yaml:11: spec.wait.timeout: not a duration (write a duration such as 90s, 10m or 1h)",
        ),
        (
            "  wait: {timeout: 0s}\n",
            "m/a.yaml:11: spec.wait.timeout: out of range (write a duration between 1s and 168h)",
        ),
        (
            "  wait: {timeout: -5m}\n",
            "m/a.yaml:11: spec.wait.timeout: not a duration (write a duration such as 90s, 10m or 1h)",
        ),
        (
            "  ignore:\n  - instances\n",
            "m/a.yaml:12: spec.ignore[0]: \"instances\" is no JSON pointer (write a pointer such as /instances or /env/WHO)",
        ),
        (
            "  ignore: [/a~2]\n",
            "m/a.yaml:11: spec.ignore[0]: \"/a~2\" is no JSON pointer (write a pointer such as /instances or /env/WHO)",
        ),
        (
            "  dependsOn: Service/x\n",
            "m/a.yaml:11: spec.dependsOn: expected a list, found text (write [a, b], or one line for each item with - before it)",
        ),
        (
            "  dependsOn: [hello]\n",
            "m/a.yaml:11: spec.dependsOn[0]: \"hello\" names no unit (write Kind/name, such as Service/database; kinds: Package, Service, App)",
        ),
        (
            "  dependsOn:\n  - Package/hello\n  - Service/wrld\n",
            "m/a.yaml:13: spec.dependsOn[1]: there is no unit Service/wrld (did you mean Service/world?)",
        ),
        (
            "  dependsOn: [Service/world]\n",
            "m/a.yaml:11: spec.dependsOn[0]: dependency cycle: Service/world (m/a.yaml:1) -> Service/world (remove one of these dependencies)",
        ),
        (
            "  instances: 2\n",
            "m/a.yaml:11: spec.instances: unknown key (known: package, appId, options, dependsOn, drift, ignore, protect, wait, onFailure, foreignDeployments, recreate, state)",
        ),
    ] {
        assert_eq!(service_with(lines), [expected], "{lines}");
    }
    let text = SERVICE
        .replace("/demo/world", "demo/world")
        .replace("  options:\n    name: World\n    cpus: 0.1\n", "  options: [a]\n");
    assert_eq!(
        faults_of(&text),
        [
            "m/a.yaml:7: spec.appId: \"demo/world\" is not a valid app id (write /demo/world)",
            "m/a.yaml:8: spec.options: expected a mapping, found a list (write key: value lines, indented)",
        ]
    );
}

#[test]
fn raw_apps_are_checked() {
    let head = "apiVersion: dcos-registry/v1\nkind: App\nmetadata: {name: raw}\nspec:\n";
    for (lines, expected) in [
        ("  app: {cmd: x}\n", "m/a.yaml:5: spec.app.id: is missing (write id: /group/app)"),
        ("  app:\n    id: raw app\n", "m/a.yaml:6: spec.app.id: \"raw app\" is not a valid app id"),
        ("  app: text\n", "m/a.yaml:5: spec.app: expected a mapping, found text"),
        ("  ap: {}\n", "m/a.yaml:5: spec.ap: unknown key (did you mean app?)"),
        ("  app: {id: /raw}\n  options: {}\n", "m/a.yaml:6: spec.options: unknown key"),
    ] {
        let found = faults_of(&format!("{head}{lines}"));
        assert!(found.iter().any(|fault| fault.starts_with(expected)), "{found:?}");
    }
}

#[test]
fn things_given_twice_name_both_places() {
    let other = PACKAGE.replace("{name: hello}", "{name: again}").replace("spec:", "spec:\n  name: hello");
    let raw = "apiVersion: dcos-registry/v1\nkind: App\nmetadata: {name: raw}\nspec:\n  app:\n    id: /demo/world\n";
    let found = faults(&[
        ("m/a.yaml", PACKAGE),
        ("m/b.yaml", &format!("{SERVICE}---\n{PACKAGE}")),
        ("m/c.yaml", &other),
        ("m/d.yaml", raw),
    ]);
    assert_eq!(
        found,
        [
            "m/b.yaml:14: metadata.name: the unit Package/hello is given twice, first at m/a.yaml:1 (rename or remove one of them)",
            "m/b.yaml:16: spec.version: the package version hello 0.1.0 is given twice, first at m/a.yaml:1 (rename or remove one of them)",
            "m/c.yaml:6: spec.version: the package version hello 0.1.0 is given twice, first at m/a.yaml:1 (rename or remove one of them)",
            "m/d.yaml:6: spec.app.id: the app id /demo/world is given twice, first at m/b.yaml:1 (rename or remove one of them)",
        ]
    );
}

#[test]
fn what_is_faulty_is_no_unit_and_the_rest_is() {
    let missing = PACKAGE.replace("{name: hello}", "{name: other}").replace("packages/hello", "nowhere");
    let again = SERVICE.replace("name: world", "name: again");
    let files = [
        ("m/a.yaml", PACKAGE),
        ("m/b.yaml", SERVICE),
        ("m/c.yaml", &again),
        ("m/d.yaml", &missing),
        PACKAGE_FILE,
    ];
    let (manifest, problems) = read(&snapshot(&files));
    assert_eq!(problems.len(), 2, "{problems:?}");
    let units: Vec<String> = manifest.units.iter().map(|unit| unit.id.to_string()).collect();
    assert_eq!(units, ["Package/hello", "Service/world"]);
}

#[test]
fn a_service_needs_its_package() {
    let missing = SERVICE.replace("package: hello", "package: tomcat");
    assert_eq!(
        faults_of(&missing),
        ["m/a.yaml:6: spec.package: no Package unit is named tomcat (known: hello)"]
    );
    assert_eq!(
        faults(&[("m/a.yaml", SERVICE)]),
        ["m/a.yaml:6: spec.package: no Package unit is named hello \
          (add a document of kind Package with metadata: {name: hello})"]
    );
    let broken = PACKAGE.replace("0.1.0", "0 1");
    assert_eq!(
        faults(&[("m/a.yaml", &broken), ("m/b.yaml", SERVICE)]).len(),
        1,
        "the package is there, though faulty"
    );
}

#[test]
fn a_cycle_is_printed_whole() {
    let service = |name: &str, on: &str| {
        format!(
            "apiVersion: dcos-registry/v1\nkind: Service\nmetadata: {{name: {name}}}\nspec:\n  package: hello\n  dependsOn: [{on}]\n"
        )
    };
    let found = faults(&[
        ("m/0.yaml", PACKAGE),
        ("m/1.yaml", &service("a", "Service/b")),
        ("m/2.yaml", &service("b", "Service/c")),
        ("m/3.yaml", &service("c", "Service/a")),
        ("m/4.yaml", &service("d", "Service/a")),
    ]);
    assert_eq!(
        found,
        [
            "m/1.yaml:6: spec.dependsOn[0]: dependency cycle: Service/a (m/1.yaml:1) -> Service/b (m/2.yaml:1) -> \
          Service/c (m/3.yaml:1) -> Service/a (remove one of these dependencies)"
        ]
    );
}

#[test]
fn files_too_large_or_not_text_are_refused() {
    let mut files = snapshot(&[("m/a.yaml", "x"), ("m/b.yaml", "x")]);
    files.files.insert(path("m/a.yaml"), SnapshotFile::inline(&vec![b'#'; (1 << 20) + 1]));
    files.files.insert(path("m/b.yaml"), SnapshotFile::inline(b"a: 1\nb: \xff\n"));
    let found: Vec<_> = parse(&files).unwrap_err().iter().map(ToString::to_string).collect();
    assert_eq!(
        found,
        [
            "m/a.yaml: a manifest of 1048577 bytes; at most 1048576 are read (split it into several files)",
            "m/b.yaml:2: the text is not UTF-8 (save the file as UTF-8)",
        ]
    );
}

#[test]
fn a_flood_of_problems_is_cut() {
    let mut files = Vec::new();
    let names: Vec<String> = (0..20).map(|i| format!("m/{i:02}.yaml")).collect();
    let text = "kind: x\n---\n".repeat(200);
    files.extend(names.iter().map(|name| (name.as_str(), text.as_str())));
    let found = faults(&files);
    assert_eq!(found.len(), 201);
    assert_eq!(found[200], "m: there are more problems than are listed here");
}

#[test]
fn references_are_found_even_in_faulty_manifests() {
    let text = format!(
        "{PACKAGE}---\nspec: {{source: {{directory: ../b}}}}\n---\nspec: [\n---\nspec: {{source: {{directory: ../../c}}}}\n"
    );
    let files = snapshot(&[
        ("m/a.yaml", &text),
        ("m/p/package.json", ""),
        ("m/p/x.yaml", "spec: {source: {directory: d}}"),
    ]);
    let found = referenced_paths(&files.files, &files.manifests);
    assert_eq!(found.into_iter().collect::<Vec<_>>(), [path("b"), path("m/packages/hello")]);
}

/// Documents that make a good manifest in any order and any files.
fn documents() -> Vec<String> {
    let mut documents = vec![PACKAGE.to_owned(), SERVICE.to_owned()];
    for i in 0..6 {
        documents.push(
            SERVICE
                .replace("name: world", &format!("name: s{i}"))
                .replace("/demo/world", &format!("/demo/s{i}"))
                .replace(
                    "spec:",
                    &format!(
                        "spec:\n  dependsOn: [{}]",
                        if i == 0 { "Service/world".into() } else { format!("Service/s{}", i - 1) }
                    ),
                ),
        );
    }
    documents
}

proptest! {
    #[test]
    fn permuting_documents_and_files_changes_nothing(
        order in Just((0..8usize).collect::<Vec<_>>()).prop_shuffle(),
        files in proptest::collection::vec(0..4usize, 8),
    ) {
        let documents = documents();
        let mut by_file: BTreeMap<usize, String> = BTreeMap::new();
        for index in order {
            let text = by_file.entry(files[index]).or_default();
            text.push_str("---\n");
            text.push_str(&documents[index]);
        }
        let texts: Vec<_> = by_file.into_iter().map(|(file, text)| (format!("m/{file}.yaml"), text)).collect();
        let mut list: Vec<(&str, &str)> = texts.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        list.push(PACKAGE_FILE);
        let all = documents.join("---\n");
        let one = parse(&snapshot(&[("m/all.yaml", &all), PACKAGE_FILE])).unwrap();
        let many = parse(&snapshot(&list)).unwrap();
        let view = |manifest: &Manifest| -> Vec<_> {
            manifest.in_order().into_iter().map(|unit| (unit.id.clone(), unit.spec.clone(), unit.depends_on().to_vec())).collect()
        };
        prop_assert_eq!(view(&one), view(&many));
    }

    #[test]
    fn mutated_manifests_never_panic(
        cuts in proptest::collection::vec((0..2000usize, 0..6usize, "[-:{}\\[\\]&*!|>'\" \t\na0<~,#]{0,4}"), 1..6),
    ) {
        let mut text = documents().join("---\n");
        for (at, length, insert) in cuts {
            let at = at % text.len();
            let end = (at + length).min(text.len());
            text.replace_range(at..end, &insert);
        }
        let files = snapshot(&[("m/a.yaml", &text), PACKAGE_FILE]);
        let _ = referenced_paths(&files.files, &files.manifests);
        if let Err(problems) = parse(&files) {
            prop_assert!(!problems.is_empty());
            prop_assert!(problems.iter().all(|problem| !problem.message.is_empty()));
        }
    }
}
