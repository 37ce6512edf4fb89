//! The canonical form held against real definitions.

use serde_json::Value;

use super::normalize::{normalize, normalize_dropping, normalize_observed};
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
