//! The quickstart that lies in the repository is what the README promises.

use std::path::Path;

use super::*;
use crate::clock::Clock;
use crate::manifest::Manifest;
use crate::render::{RenderRequest, render};
use crate::source::{DirectorySource, Source as _};
use crate::universe::PackageDefinition;

async fn quickstart() -> Snapshot {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests/quickstart");
    let name = SourceName::new("quickstart").unwrap();
    let mut source = DirectorySource::of_folder(name, &folder, Clock::fixed(0)).unwrap();
    Snapshot::clone(&*source.snapshot().await.unwrap())
}

/// The package that the manifest wants.
fn package(snapshot: &Snapshot, manifest: &Manifest) -> DescribedPackage {
    let unit = manifest.units.iter().find(|unit| matches!(unit.spec, Spec::Package(_))).unwrap();
    let Spec::Package(package) = &unit.spec else { panic!() };
    describe(snapshot, unit, package).unwrap()
}

/// The apps of the manifest's services, as Marathon gets them.
fn apps(manifest: &Manifest, package: &DescribedPackage) -> Vec<serde_json::Value> {
    let content = &package.content;
    let metadata = resolve_references(&content.metadata, &content.coordinate, "http://127.0.0.1:5080");
    let definition = PackageDefinition::from_metadata(&metadata, content.release_version).unwrap();
    let mut apps = Vec::new();
    for unit in &manifest.units {
        let Spec::Service(service) = &unit.spec else { continue };
        let request = RenderRequest {
            definition: &definition,
            release_version: content.release_version.unwrap(),
            options: &service.options,
            app_id: service.app_id.as_ref(),
            repository: "http://127.0.0.1:5080/repo",
            validate: true,
        };
        apps.push(render(&request).unwrap().into_value());
    }
    apps
}

#[tokio::test(start_paused = true)]
async fn the_quickstart_becomes_two_apps_that_fetch_their_script_from_the_registry() {
    let snapshot = quickstart().await;
    let manifest = manifest::parse(&snapshot).unwrap();
    let package = package(&snapshot, &manifest);
    assert_eq!(package.content.coordinate.to_string(), "hello 0.1.0");
    let [script] = &package.content.members[..] else { panic!("{:?}", package.content.members) };
    assert_eq!((script.role.as_str(), script.name.as_str()), ("asset/script", "hello.sh"));

    let apps = apps(&manifest, &package);
    let facts: Vec<_> =
        apps.iter().map(|app| (&app["id"], &app["instances"], &app["env"]["HELLO_NAME"])).collect();
    assert_eq!(
        facts,
        [
            (&json!("/quickstart/hello-moon"), &json!(1), &json!("Moon")),
            (&json!("/quickstart/hello-world"), &json!(2), &json!("World")),
        ]
    );
    let coordinate = package.content.coordinate.encode();
    let uri = format!("http://127.0.0.1:5080/resource/{coordinate}/{}/hello.sh", script.digest);
    assert_eq!(apps[0]["fetch"][0]["uri"], json!(uri));
}

#[tokio::test(start_paused = true)]
async fn raising_the_version_gives_another_script_and_the_same_services() {
    let mut snapshot = quickstart().await;
    let before = package(&snapshot, &manifest::parse(&snapshot).unwrap());
    let file = path("quickstart/quickstart.yaml");
    let text = String::from_utf8(snapshot.files[&file].bytes().unwrap().to_vec()).unwrap();
    let raised = text.replace("version: 0.1.0", "version: 0.2.0");
    snapshot.files.insert(file, SnapshotFile::inline(raised.as_bytes()));
    let manifest = manifest::parse(&snapshot).unwrap();
    let after = package(&snapshot, &manifest);
    assert_eq!(after.content.coordinate.to_string(), "hello 0.2.0");
    assert!(after.content.release_version > before.content.release_version);
    assert_ne!(after.content.members[0].digest, before.content.members[0].digest);
    assert_eq!(apps(&manifest, &after).len(), 2);
}

#[tokio::test]
async fn the_quickstart_is_the_same_package_in_a_bundle() {
    let snapshot = quickstart().await;
    let package = package(&snapshot, &manifest::parse(&snapshot).unwrap());
    let open = |member: &Member| {
        let (package, member) = (package.clone(), member.clone());
        let opened = async move { open_member(&package, &member).await.map_err(io::Error::other) };
        Box::pin(opened) as futures::future::BoxFuture<'_, _>
    };
    let path = tempfile::NamedTempFile::new().unwrap();
    let mut out = tokio::fs::File::from_std(path.reopen().unwrap());
    file::write(&package.content, open, &mut out).await.unwrap();
    let bundle = file::BundleFile::open(path.reopen().unwrap(), &file::BundleLimits::default()).unwrap();
    let content = PackageContent { release_version: None, ..package.content.clone() };
    assert_eq!(*bundle.content(), content);
    assert_eq!(bundle.content().digest(), package.content.digest());
}
