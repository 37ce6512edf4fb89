//! The last good state, and all problems at once.

use std::collections::VecDeque;
use std::path::PathBuf;

use futures::FutureExt as _;
use futures::future::BoxFuture;

use super::*;
use crate::model::{Completeness, SnapshotFile};
use crate::source::SourceError;

/// A source that gives what a test put there, in order; then what it gave last.
struct Scripted {
    name: SourceName,
    answers: VecDeque<Result<Arc<Snapshot>, PathBuf>>,
}

impl Source for Scripted {
    fn name(&self) -> &SourceName {
        &self.name
    }

    fn snapshot(&mut self) -> BoxFuture<'_, Result<Arc<Snapshot>, SourceError>> {
        let answer = self.answers.pop_front().unwrap();
        async move { answer.map_err(|path| SourceError::Missing { path }) }.boxed()
    }
}

fn stage(answers: Vec<Result<Snapshot, &str>>) -> Stage {
    let answers = answers.into_iter().map(|answer| answer.map(Arc::new).map_err(PathBuf::from));
    let name = SourceName::new("test").unwrap();
    Stage::new(Box::new(Scripted { name, answers: answers.collect() }))
}

fn snapshot(revision: &str, files: &[(&str, &str)]) -> Snapshot {
    let file = |(path, text): &(&str, &str)| {
        (SnapshotPath::root().join(path).unwrap(), SnapshotFile::inline(text.as_bytes()))
    };
    Snapshot {
        source: SourceName::new("test").unwrap(),
        revision: Revision(revision.into()),
        completeness: Completeness::Complete,
        manifests: SnapshotPath::root(),
        files: files.iter().map(file).collect(),
    }
}

const GOOD: &str = "apiVersion: dcos-registry/v1
kind: App
metadata: {name: a}
spec: {app: {id: /a, cmd: run}}
";

/// The revision in force and the problems' texts.
async fn after_refresh(stage: &mut Stage) -> (Option<String>, Vec<String>) {
    stage.refresh().await;
    let revision = stage.accepted().map(|accepted| accepted.desired.revision.to_string());
    (revision, stage.problems().iter().map(ToString::to_string).collect())
}

fn good(revision: &str) -> Snapshot {
    snapshot(revision, &[("a.yaml", GOOD)])
}

fn bad(revision: &str) -> Snapshot {
    snapshot(revision, &[("a.yaml", &GOOD.replace("kind: App", "kind: Ape"))])
}

#[tokio::test]
async fn the_last_good_state_stays_in_force() {
    let mut partial = good("r5");
    partial.completeness = Completeness::Partial("a folder was left out".into());
    let mut stage = stage(vec![
        Err("/gone"),
        Ok(bad("r1")),
        Ok(good("r2")),
        Ok(good("r2")),
        Ok(bad("r3")),
        Ok(bad("r3")),
        Err("/gone"),
        Ok(bad("r3")),
        Ok(good("r4")),
        Err("/gone"),
        Ok(good("r4")),
        Ok(partial),
        Ok(good("r5")),
    ]);
    let wrong = |problems: &[String], words: &[&str]| {
        assert_eq!(problems.len(), words.len(), "{problems:?}");
        assert!(problems.iter().zip(words).all(|(p, word)| p.contains(word)), "{problems:?}");
    };
    let expected: [(Option<&str>, &[&str]); 13] = [
        (None, &["/gone"]),
        (None, &["a.yaml:2: kind"]),
        (Some("r2"), &[]),
        (Some("r2"), &[]),
        (Some("r2"), &["a.yaml:2: kind"]),
        (Some("r2"), &["a.yaml:2: kind"]),
        (Some("r2"), &["/gone", "a.yaml:2: kind"]),
        (Some("r2"), &["a.yaml:2: kind"]),
        (Some("r4"), &[]),
        (Some("r4"), &["/gone"]),
        (Some("r4"), &[]),
        (Some("r4"), &["not read in full: a folder was left out"]),
        (Some("r5"), &[]),
    ];
    for (revision, words) in expected {
        let (in_force, problems) = after_refresh(&mut stage).await;
        assert_eq!(in_force.as_deref(), revision);
        wrong(&problems, words);
    }
}

#[tokio::test]
async fn a_bad_revision_that_is_taken_back_leaves_nothing_behind() {
    let mut stage = stage(vec![Ok(good("r1")), Ok(bad("r2")), Ok(good("r1"))]);
    for problems in [0, 1, 0] {
        let (in_force, found) = after_refresh(&mut stage).await;
        assert_eq!((in_force.as_deref(), found.len()), (Some("r1"), problems));
    }
}

#[tokio::test]
async fn a_revision_is_read_once() {
    let mut stage = stage(vec![Ok(good("r1")), Ok(good("r1"))]);
    stage.refresh().await;
    let first = stage.accepted().unwrap();
    stage.refresh().await;
    assert!(Arc::ptr_eq(&first, &stage.accepted().unwrap()));
}

#[tokio::test]
async fn what_was_in_force_before_a_restart_is_until_there_is_better() {
    let mut stage = stage(vec![Err("/gone"), Ok(bad("r2")), Ok(good("r3"))]);
    stage.restore(&bad("r0"));
    assert!(stage.accepted().is_none() && stage.problems().is_empty());
    stage.restore(&good("r1"));
    for (revision, problems) in [("r1", 1), ("r1", 1), ("r3", 0)] {
        let (in_force, found) = after_refresh(&mut stage).await;
        assert_eq!((in_force.as_deref(), found.len()), (Some(revision), problems));
    }
}

#[tokio::test]
async fn problems_of_documents_packages_and_options_come_together() {
    let documents = "apiVersion: dcos-registry/v1
kind: Package
metadata: {name: broken}
spec: {version: '1', source: {directory: broken}}
---
apiVersion: dcos-registry/v1
kind: Package
metadata: {name: fine}
spec: {version: '1', source: {directory: fine}}
---
apiVersion: dcos-registry/v1
kind: Service
metadata: {name: one}
spec: {package: fine, options: {cpus: many, colour: red}}
---
apiVersion: dcos-registry/v1
kind: Service
metadata: {name: two}
spec: {package: fine, appId: /two, option: {}}
---
apiVersion: dcos-registry/v1
kind: App
metadata: {name: three}
spec: {app: {id: /three, cmd: run, instances: -1}}
";
    let package = |name: &str| {
        let rest = r#""maintainer": "m@example.com", "description": "d", "tags": ["t"], "version": "1""#;
        format!(r#"{{"packagingVersion": "4.0", "name": "{name}", {rest}}}"#)
    };
    let config = r#"{"type": "object", "properties": {"cpus": {"type": "number", "default": 1}},
        "additionalProperties": false}"#;
    let template = r#"{"id": "/one", "cmd": "run", "cpus": {{cpus}}}"#;
    let (fine, broken) = (package("fine"), package("broken").replace("4.0", "1.7"));
    let mut stage = stage(vec![Ok(snapshot(
        "r1",
        &[
            ("all.yaml", documents),
            ("broken/package.json", &broken),
            ("fine/config.json", config),
            ("fine/marathon.json.mustache", template),
            ("fine/package.json", &fine),
        ],
    ))]);
    let (in_force, problems) = after_refresh(&mut stage).await;
    assert_eq!(in_force, None);
    let places = [
        "all.yaml:14: spec.options.cpus",
        "all.yaml:14: spec.options",
        "all.yaml:19: spec.option",
        "all.yaml:24: spec.app.instances",
        "broken/package.json:1: packagingVersion",
    ];
    for place in places {
        assert!(problems.iter().any(|problem| problem.starts_with(place)), "{place} is not in {problems:#?}");
    }
}
