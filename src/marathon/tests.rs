//! The canonical form and the rewriting of hosts, held against real definitions.

use serde_json::Value;

use super::normalize::{normalize, normalize_dropping, normalize_observed};
use super::rewrite::{Name, Options, Rename, Renames, rewrite};
use crate::model::App;

/// The rendered templates of the public Universe, where they lie beside the repository.
fn corpus() -> Vec<(String, App)> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/corpus/universe-3.x.tar.xz");
    let Ok(file) = std::fs::File::open(path) else {
        eprintln!("skipped: {path} is absent");
        return Vec::new();
    };
    let mut archive = tar::Archive::new(lzma_rust2::XzReader::new(std::io::BufReader::new(file), true));
    let mut lines = String::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        if entry.path().unwrap().ends_with("rendered-with-defaults.jsonl") {
            std::io::Read::read_to_string(&mut entry, &mut lines).unwrap();
        }
    }
    let lines = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let apps = lines.filter_map(|line| {
        let mut app = App::from_value(line.get("json")?.clone())?;
        if app.id().is_none_or(str::is_empty) {
            app.0.insert("id".into(), "/filled".into());
        }
        Some((line["id"].as_str()?.to_owned(), app))
    });
    apps.collect()
}

#[test]
fn the_universes_apps_have_a_canonical_form_that_is_stable() {
    let mut refused = Vec::new();
    for (name, app) in corpus() {
        match normalize_dropping(&app) {
            Ok((form, _)) => {
                assert_eq!(normalize(&form).as_ref(), Ok(&form), "{name}");
                assert_eq!(normalize_observed(&form), form, "{name}");
            }
            Err(errors) => refused.push((name, errors)),
        }
    }
    // Some templates cannot be installed with their defaults, or never could be: Marathon refuses them too.
    assert!(refused.len() < 10, "{refused:#?}");
}

#[test]
fn the_universes_apps_move_to_another_host_and_back() {
    let (old, new) = ("downloads.mesosphere.com", "dcos-registry.downloads.mesosphere.com");
    let renames = |old, new| {
        Renames::new(vec![Rename { old: Name::new(old).unwrap(), new: Name::new(new).unwrap() }]).unwrap()
    };
    let (there, back) = (renames(old, new), renames(new, old));
    let mut found = 0;
    for (name, app) in corpus() {
        let app = app.into_value();
        let moved = rewrite(&app, &there, Options { commands: true });
        // In these templates the host stands nowhere but as a whole host of a URL.
        let text = app.to_string();
        let wanted = text.replace(&format!("//{old}/"), &format!("//{new}/"));
        assert_eq!(moved.definition.to_string(), wanted, "{name}");
        assert_eq!(moved.findings.is_empty(), wanted == text, "{name}");
        assert_eq!(rewrite(&moved.definition, &there, Options { commands: true }).findings, [], "{name}");
        assert_eq!(rewrite(&moved.definition, &back, Options { commands: true }).definition, app, "{name}");
        found += moved.findings.len();
    }
    assert!(found > 500 || corpus().is_empty(), "{found} found");
}
