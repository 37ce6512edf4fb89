//! What a unit's state looks like from outside: conditions in the field's terms.

use super::{Revision, UnitId, Warning};

/// The truth of a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub enum ConditionStatus {
    /// It holds.
    True,
    /// It does not hold.
    False,
    /// It could not be found out.
    Unknown,
}

/// One condition of a unit: `Ready`, `Reconciling` or `Stalled`.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// `Ready`, `Reconciling` or `Stalled`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Whether it holds.
    pub status: ConditionStatus,
    /// A stable word in CamelCase, also used as a label value.
    pub reason: String,
    /// A sentence for a person.
    pub message: String,
    /// When the status last changed.
    pub since: jiff::Timestamp,
}

/// All that is known about one unit at the end of a pass.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UnitStatus {
    /// Which unit.
    pub unit: UnitId,
    /// What it stands for: a coordinate or an app id.
    pub target: String,
    /// The revision of the manifest that this speaks of.
    pub observed_revision: Option<Revision>,
    /// `Ready` always; `Reconciling` and `Stalled` only while they hold.
    pub conditions: Vec<Condition>,
    /// What its author should know, wherever it stands; few, and left out where there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Warning>,
}

impl UnitStatus {
    /// The condition of that type, where there is one.
    #[must_use]
    pub fn condition(&self, kind: &str) -> Option<&Condition> {
        self.conditions.iter().find(|c| c.kind == kind)
    }

    /// Whether `Ready` is true.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.condition("Ready").is_some_and(|c| c.status == ConditionStatus::True)
    }
}
