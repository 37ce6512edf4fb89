//! What must not be published, since it could never be changed again.

use std::collections::BTreeMap;

use dcos_registry::controller::stage::accept;
use dcos_registry::model::{SnapshotFile, SnapshotPath};

use crate::world::snapshot;

#[test]
fn a_template_that_no_options_can_cure_is_refused_though_no_service_uses_it_yet() {
    let unit = "apiVersion: dcos-registry/v1\nkind: Package\nmetadata: {name: pack}\n\
                spec: {version: 0.1.0, source: {directory: p}}\n";
    let package = r#"{"packagingVersion": "4.0", "name": "pack", "version": "0.1.0", "maintainer": "a@example.org",
                      "description": "d", "tags": []}"#;
    let problems = |template: &str| {
        let files = [("all.yaml", unit), ("p/package.json", package), ("p/marathon.json.mustache", template)];
        let files = files.map(|(path, text)| {
            (SnapshotPath::root().join(path).unwrap(), SnapshotFile::inline(text.as_bytes()))
        });
        accept(&snapshot(BTreeMap::from(files))).err().unwrap_or_default()
    };
    assert_eq!(problems(r#"{"id": "/p", "cmd": "{{needed}}"}"#), []);
    let found = problems("{\"id\": \"/p\"}\n{{#open}}");
    let text = found[0].to_string();
    assert!(text.starts_with("all.yaml:4: spec.source.directory: pack 0.1.0 cannot be published"), "{text}");
    assert!(text.contains("line 2"), "{text}");
}
