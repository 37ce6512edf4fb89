//! What a rebuild found and did.

use std::fmt;

use serde::Serialize;
use serde_json::Value;

use crate::model::Digest;

/// What a rebuild found and did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RebuildReport {
    /// Whether nothing was written.
    pub dry_run: bool,
    /// The id of the registry.
    pub registry: String,
    /// How many package versions the proved records add up to.
    pub packages: u64,
    /// The catalog.
    pub catalog: LogReport,
    /// The control log.
    pub control: LogReport,
    /// Documents of packages in the store that the proved records do not name; only looked for when the catalog is
    /// broken.
    pub documents: Vec<FoundDocument>,
}

impl RebuildReport {
    /// Whether both chains are whole.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        !self.catalog.is_broken() && !self.control.is_broken()
    }
}

/// What is known of one log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LogReport {
    /// Where its records lie.
    pub folder: String,
    /// The record, or the snapshot of a trimmed log, that the chain was followed from.
    pub from: u64,
    /// The last record that is proved.
    pub proved: u64,
    /// The last record that is there.
    pub last: u64,
    /// The first record that is not proved.
    pub broken_at: Option<u64>,
    /// What is wrong with it.
    pub broken: Option<String>,
    /// What only a newer program understands.
    pub newer: Option<String>,
    /// All snapshots that were there.
    pub snapshots: Vec<SnapshotReport>,
    /// What the records from the break on say, unproved, one line each.
    pub claims: Vec<String>,
    /// Whether snapshot and hint were written anew.
    pub rewritten: bool,
}

impl LogReport {
    /// Whether nothing may be written anew, because not all records are proved and understood.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.broken_at.is_some() || self.newer.is_some()
    }
}

/// A snapshot that was there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SnapshotReport {
    /// The record after which the state should be this.
    pub seq: u64,
    /// What is wrong with it; none where the records add up to it.
    pub wrong: Option<String>,
}

/// A document of a package that lies in the store.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FoundDocument {
    /// The name in it.
    pub name: String,
    /// The version in it.
    pub version: String,
    /// Its digest.
    pub digest: Digest,
}

/// One line about an unproved operation.
pub(super) fn claim(seq: u64, operation: Option<&Value>) -> String {
    let Some(operation) = operation else { return format!("record {seq} cannot be read") };
    let (kind, body) = match operation {
        Value::Object(fields) => {
            fields.iter().next().map_or(("nothing", &Value::Null), |(kind, body)| (&**kind, body))
        }
        Value::String(kind) => (&**kind, &Value::Null),
        _ => ("nothing", &Value::Null),
    };
    let text = |field: &str| body.pointer(&format!("/coordinate/{field}")).and_then(Value::as_str);
    match (text("name"), text("version")) {
        (Some(name), Some(version)) => format!("record {seq} says: {kind} {name} {version}"),
        _ => format!("record {seq} says: {kind}"),
    }
}

impl fmt::Display for LogReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { folder, from, proved, last, .. } = self;
        writeln!(f, "{folder}: proved from {from} to {proved}, the last record is {last}")?;
        if let (Some(at), Some(what)) = (self.broken_at, &self.broken) {
            writeln!(f, "  BROKEN at record {at}: {what}; restore that object from a backup")?;
        }
        if let Some(newer) = &self.newer {
            writeln!(f, "  {newer}")?;
        }
        for SnapshotReport { seq, wrong } in &self.snapshots {
            if let Some(wrong) = wrong {
                writeln!(f, "  snapshot {seq}: {wrong}")?;
            }
        }
        for claim in &self.claims {
            writeln!(f, "  {claim}")?;
        }
        if self.rewritten {
            writeln!(f, "  snapshot and hint were written anew")?;
        }
        Ok(())
    }
}

impl fmt::Display for RebuildReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { registry, packages, catalog, control, documents, .. } = self;
        writeln!(f, "registry {registry}: {packages} package versions are proved")?;
        write!(f, "{catalog}{control}")?;
        if !documents.is_empty() {
            writeln!(f, "documents of packages that still lie in the store and are not proved:")?;
        }
        for FoundDocument { name, version, digest } in documents {
            writeln!(f, "  {name} {version} ({digest})")?;
        }
        if self.dry_run {
            writeln!(f, "nothing was written")?;
        }
        Ok(())
    }
}
