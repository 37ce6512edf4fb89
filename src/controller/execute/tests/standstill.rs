//! When the controller does nothing: a registry that was moved, a copy, and one that somebody suspended.

use std::sync::Arc;

use serde_json::json;

use super::rig::{Rig, manifest};
use super::{app, results};
use crate::clock::Entropy;
use crate::controller::plan::PlanSettings;
use crate::controller::status::StatusBook;
use crate::controller::{Controller, Parts};
use crate::model::AppId;
use crate::source::DirectorySource;
use crate::storage::Storage;
use crate::storage::catalog::CatalogOperation;
use crate::storage::control::ControlOperation;
use crate::telemetry::Metrics;

/// A controller over a folder with one app.
fn controller(rig: &Rig, folder: &std::path::Path) -> Controller {
    let spec = json!({"app": app("a", "run a")});
    let unit = json!({
        "apiVersion": "dcos-registry/v1", "kind": "App", "metadata": {"name": "a"}, "spec": spec,
    });
    std::fs::write(folder.join("all.yaml"), unit.to_string()).unwrap();
    let source = DirectorySource::of_folder("test".parse().unwrap(), folder, rig.clock.clone()).unwrap();
    Controller::new(Parts {
        source: Box::new(source),
        marathon: rig.executor.marathon.clone(),
        storage: Arc::clone(&rig.executor.storage),
        settings: PlanSettings {
            public_url: "http://registry.test".to_owned(),
            limits: crate::controller::guard::Limits::default(),
            own_app: None::<AppId>,
        },
        interval: std::time::Duration::from_secs(60),
        metrics: Metrics::new().unwrap(),
        clock: rig.clock.clone(),
        entropy: Entropy::seeded(5),
        write_limit: rig.executor.write_limit,
    })
}

#[tokio::test]
async fn whoever_is_moved_or_a_copy_or_suspended_does_nothing_and_says_nothing_in_its_books() {
    for (reason, acts) in [("none", true), ("moved", false), ("copy", false), ("suspended", false)] {
        let mut rig = Rig::new(&[]).await;
        let folder = tempfile::tempdir().unwrap();
        let controller = controller(&rig, folder.path());
        // Another instance says so, after this one looked.
        let look = controller.look().await;
        let other = Storage::open(Arc::new(rig.store.clone()), rig.clock.clone(), Entropy::seeded(8));
        let other = other.await.unwrap();
        match reason {
            "moved" => {
                let moved = CatalogOperation::Moved { to: "there".into(), registry: "other".into() };
                other.catalog.commit(moved).await.unwrap();
            }
            "copy" => {
                let copied = CatalogOperation::CopiedFrom { registry: "other".into() };
                other.catalog.commit(copied).await.unwrap();
            }
            "suspended" => {
                let suspended = ControlOperation::Suspended { reason: "asked".into() };
                rig.executor.tenure.commit(vec![suspended]).await.unwrap();
            }
            _ => {}
        }
        let before = rig.executor.storage.control.seq();
        let mut book = StatusBook::default();
        controller.pass(look, rig.clock.boot(), &rig.executor, &mut rig.holds, &mut book).await;
        assert_eq!(rig.writes().len(), usize::from(acts), "{reason}");
        if matches!(reason, "moved" | "copy") {
            assert_eq!(rig.executor.storage.control.seq(), before, "{reason}: the books stand still");
        }
    }
}

#[tokio::test]
async fn a_pass_that_is_under_way_begins_no_write_once_it_is_known_that_the_registry_moved() {
    let mut rig = Rig::new(&[]).await;
    let accepted = manifest(&[app("a", "run a")]);
    let plan = rig.plan(&accepted).await;
    let moved = CatalogOperation::Moved { to: "there".into(), registry: "other".into() };
    rig.executor.storage.catalog.commit(moved).await.unwrap();
    let outcomes = rig.execute(&plan).await;
    assert_eq!((results(&outcomes), rig.writes().len()), (vec!["skipped"], 0));
    assert!(rig.inventory().intents.is_empty());
}
