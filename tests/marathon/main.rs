//! What Marathon's own tests say of it, held against our normalization and the local Marathon.
//!
//! `table/` has one file for each test file of mesosphere/marathon, named like it. A file names the test under
//! `upstream` and has a list of rows, each a behaviour in our words: what is sent or called, and what comes of it
//! (see [`row`]). A row is true of the real Marathon, whatever our code does: where our code does something else
//! the row says so under `unmet`. Such a row must fail, so that whoever mends the code takes the mark away.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod apps;
mod expect;
mod faults;
mod laws;
mod life;
mod local;
mod pure;
mod recreate;
mod row;
mod script;
mod sdk;
#[path = "../support/simulated_marathon.rs"]
mod simulated_marathon;
mod trial;
mod world;
mod yaml;

use std::path::{Path, PathBuf};

use futures::StreamExt as _;

use crate::row::{Action, Row, Table};

/// How many rows there must be at least, not counting unmet ones.
const FEWEST: usize = 250;

/// How many rows run at the same time.
const TOGETHER: usize = 8;

fn tables() -> Vec<(String, Table)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/marathon/table");
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let read = |path: PathBuf| {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path).unwrap();
        let value = yaml::parse(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let table = Table::of(value).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let upstream = Path::new(&table.upstream).file_stem().unwrap().to_string_lossy().into_owned();
        // Two tests have the same name; the folder stands before that of one.
        let named = name.rsplit('.').next().unwrap();
        assert_eq!(upstream, named, "{} is named after another test", path.display());
        (name, table)
    };
    paths.into_iter().map(read).collect()
}

async fn run(row: &Row, http: &reqwest::Client) -> Result<(), String> {
    match row.action()? {
        Action::Normalize(app) => pure::normalize(app, &row.expected),
        Action::Diff(diff) => pure::diff(diff),
        Action::Steps(steps) => local::run(row, &steps, http).await,
    }
}

/// What is to be said of a row that did not end as it should.
async fn fault(http: &reqwest::Client, name: &str, number: usize, row: &Row) -> Option<String> {
    let wrong = match (run(row, http).await, &row.unmet) {
        (Ok(()), None) | (Err(_), Some(_)) => return None,
        (Err(wrong), None) => wrong,
        (Ok(()), Some(_)) => "is met now: take the mark `unmet` away".to_owned(),
    };
    Some(format!("{name}, row {number} ({}):\n    {wrong}", row.says))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_row_is_true_here() {
    let tables = tables();
    dcos_registry::marathon::install_tls_provider();
    let http = &reqwest::Client::builder().no_proxy().build().unwrap();
    let rows = tables.iter().flat_map(|(name, table)| {
        table.rows.iter().enumerate().map(move |(index, row)| fault(http, name, index + 1, row))
    });
    let faults: Vec<_> =
        futures::stream::iter(rows).buffered(TOGETHER).filter_map(async |fault| fault).collect().await;
    let (mut met, mut unmet) = (0, 0);
    for (name, table) in &tables {
        let marked = table.rows.iter().filter(|row| row.unmet.is_some()).count();
        println!("{name:40} {:3} rows, {marked} unmet", table.rows.len() - marked);
        (met, unmet) = (met + table.rows.len() - marked, unmet + marked);
        assert!(table.rows.len() > marked, "{name} has no row that is met");
    }
    println!("{:40} {met:3} rows, {unmet} unmet", "all");
    assert!(faults.is_empty(), "{} rows fail:\n{}", faults.len(), faults.join("\n"));
    assert!(met >= FEWEST, "{met} rows are fewer than {FEWEST}");
}
