//! Every metric of the program, declared once: name, help, labels.
//!
//! The macro makes the struct, its registration and the public list of declarations out of one table, so
//! that documentation and tests speak of what really exists. Names carry the prefix `dcos_registry_`; counters end
//! in `_total`, times in `_seconds`. Label values come from fixed sets of the program, never from input.

use std::time::Duration;

use prometheus::{
    GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGaugeVec, Opts, Registry,
    TextEncoder,
};

use super::TelemetryError;
use crate::model::{ConditionStatus, OutcomeResult, Plan, UnitKind, UnitStatus};

/// What stands before every name.
pub const PREFIX: &str = "dcos_registry_";

/// One metric as it is declared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Declared {
    /// The name without the prefix.
    pub name: &'static str,
    /// What it says, in one sentence.
    pub help: &'static str,
    /// Its labels.
    pub labels: &'static [&'static str],
    /// `IntCounterVec`, `IntGaugeVec`, `GaugeVec` or `HistogramVec`.
    pub kind: &'static str,
}

macro_rules! metrics {
    ($($name:ident: $kind:ident [$($label:literal),*] $help:literal;)+) => {
        /// All metrics. Cheap to clone; clones count together.
        #[derive(Clone)]
        pub struct Metrics {
            registry: Registry,
            $($name: $kind,)+
        }

        /// The declarations, in the order of the table.
        pub const DECLARED: &[Declared] = &[
            $(Declared { name: stringify!($name), help: $help, labels: &[$($label),*], kind: stringify!($kind) },)+
        ];

        impl Metrics {
            fn registered() -> Result<Self, prometheus::Error> {
                let registry = Registry::new();
                $(
                    let $name = <$kind as Make>::make(stringify!($name), $help, &[$($label),*])?;
                    registry.register(Box::new($name.clone()))?;
                )+
                Ok(Self { registry, $($name,)+ })
            }
        }
    };
}

metrics! {
    action_total: IntCounterVec ["kind", "outcome"] "Actions of plans by kind and by how they ended (done, skipped, failed).";
    blocked: IntGaugeVec ["reason"] "Things that are due and that a guard holds back, in the newest plan.";
    build_info: IntGaugeVec ["version"] "Always 1; the label says what runs.";
    http_request_duration_seconds: HistogramVec ["route"] "Time from a request to the end of its answer's head.";
    http_request_total: IntCounterVec ["route", "code"] "Requests answered, by route and status code.";
    leader: IntGaugeVec [] "1 while this instance acts, else 0.";
    marathon_event_total: IntCounterVec ["outcome"] "Events of Marathon by what came of them (hint: a look was asked for; merged: one was due already; foreign: of an app that is not ours; tooLong).";
    marathon_login_total: IntCounterVec ["result"] "Logins with a service account by how they ended (done, refused, failed).";
    marathon_request_total: IntCounterVec ["verb", "code"] "Requests to Marathon by verb and class of the answer (2xx, 3xx, 4xx, 5xx, or none).";
    plan_actions: IntGaugeVec ["action"] "Actions in the newest plan.";
    reconcile_duration_seconds: HistogramVec [] "Time of one pass from reading to status.";
    reconcile_total: IntCounterVec ["result"] "Passes by result.";
    registry_bytes: IntGaugeVec [] "Bytes of all live blobs.";
    registry_packages: IntGaugeVec [] "Published package versions.";
    storage_writing: IntGaugeVec ["state"] "1 for whether this instance may write to the store (open, unproven, refused, singleWriter).";
    source_last_success_timestamp_seconds: GaugeVec ["source"] "When the source was last read in full, in seconds since 1970.";
    units: IntGaugeVec ["kind", "condition", "status"] "Units by kind, condition (Ready, Reconciling, Stalled) and its status (True, False, Unknown).";
}

/// The counters of one route and one code.
pub struct RouteMetrics {
    total: IntCounter,
    took: Histogram,
}

impl RouteMetrics {
    /// Counts a request that was answered.
    pub fn answered(&self, took: Duration) {
        self.total.inc();
        self.took.observe(took.as_secs_f64());
    }
}

/// How a metric of a kind is made.
trait Make: Sized {
    fn make(name: &str, help: &str, labels: &[&str]) -> Result<Self, prometheus::Error>;
}

macro_rules! make {
    ($($kind:ident),+) => {$(
        impl Make for $kind {
            fn make(name: &str, help: &str, labels: &[&str]) -> Result<Self, prometheus::Error> {
                Self::new(Opts::new(format!("{PREFIX}{name}"), help), labels)
            }
        }
    )+};
}
make!(GaugeVec, IntCounterVec, IntGaugeVec);

/// From 1 ms, what a small answer takes, to a minute, what nobody waits for any more.
const BUCKETS: [f64; 14] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0];

impl Make for HistogramVec {
    fn make(name: &str, help: &str, labels: &[&str]) -> Result<Self, prometheus::Error> {
        let options = HistogramOpts::new(format!("{PREFIX}{name}"), help).buckets(BUCKETS.to_vec());
        Self::new(options, labels)
    }
}

const ACTIONS: [&str; 6] = ["publish", "create", "update", "delete", "adopt", "forget"];
const CONDITIONS: [&str; 3] = ["Ready", "Reconciling", "Stalled"];
const STATUSES: [(ConditionStatus, &str); 3] = [
    (ConditionStatus::True, "True"),
    (ConditionStatus::False, "False"),
    (ConditionStatus::Unknown, "Unknown"),
];

impl Metrics {
    /// All metrics at zero.
    ///
    /// # Errors
    /// When two metrics share a name; a test excludes it.
    pub fn new() -> Result<Self, TelemetryError> {
        let metrics = Self::registered().map_err(TelemetryError::Metric)?;
        metrics.build_info.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        metrics.set_leader(false);
        metrics.set_registry(0, 0);
        metrics.set_writing("unproven");
        metrics.set_units(&[]);
        metrics.set_plan(&Plan::default());
        Ok(metrics)
    }

    /// The text format 0.0.4.
    #[must_use]
    pub fn render(&self) -> String {
        TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap_or_else(|error| {
            tracing::error!(%error, "the metrics cannot be written");
            String::new()
        })
    }

    /// Counts all units anew. A condition that a unit does not have is False.
    pub fn set_units(&self, units: &[UnitStatus]) {
        for kind in UnitKind::ALL {
            for condition in CONDITIONS {
                for (status, word) in STATUSES {
                    let count = units.iter().filter(|unit| {
                        let held = unit.condition(condition).map_or(ConditionStatus::False, |c| c.status);
                        unit.unit.kind == kind && held == status
                    });
                    let labels = [kind.as_str(), condition, word];
                    self.units.with_label_values(&labels).set(int(count.count()));
                }
            }
        }
    }

    /// Counts what the newest plan does and holds back.
    pub fn set_plan(&self, plan: &Plan) {
        for action in ACTIONS {
            let count = plan.actions.iter().filter(|a| a.operation.label() == action).count();
            self.plan_actions.with_label_values(&[action]).set(int(count));
        }
        self.blocked.reset();
        for blocked in &plan.blocked {
            self.blocked.with_label_values(&[blocked.reason.as_str()]).inc();
        }
    }

    /// Counts an action that ended; the kind is [`Operation::label`](crate::model::Operation::label).
    pub fn action(&self, kind: &'static str, result: &OutcomeResult) {
        self.action_total.with_label_values(&[kind, result.label()]).inc();
    }

    /// Counts a pass; the result is a word from a fixed set.
    pub fn reconciled(&self, result: &'static str, took: Duration) {
        self.reconcile_total.with_label_values(&[result]).inc();
        self.reconcile_duration_seconds.with_label_values::<&str>(&[]).observe(took.as_secs_f64());
    }

    /// Says how much the registry holds.
    pub fn set_registry(&self, packages: usize, bytes: u64) {
        self.registry_packages.with_label_values::<&str>(&[]).set(int(packages));
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        self.registry_bytes.with_label_values::<&str>(&[]).set(bytes);
    }

    /// Whether the store may be written to: one of the states that the metric's help lists.
    pub fn set_writing(&self, now: &str) {
        for state in ["open", "unproven", "refused", "singleWriter"] {
            self.storage_writing.with_label_values(&[state]).set(i64::from(state == now));
        }
    }

    /// Counts a request that was answered; the route is a pattern, not a path.
    pub fn http_request(&self, route: &str, code: u16, took: Duration) {
        self.http_request_total.with_label_values(&[route, &code.to_string()]).inc();
        self.http_request_duration_seconds.with_label_values(&[route]).observe(took.as_secs_f64());
    }

    /// What [`Metrics::http_request`] counts with, looked up once for a route and a code that come often.
    #[must_use]
    pub fn http_route(&self, route: &str, code: u16) -> RouteMetrics {
        RouteMetrics {
            total: self.http_request_total.with_label_values(&[route, &code.to_string()]),
            took: self.http_request_duration_seconds.with_label_values(&[route]),
        }
    }

    /// Counts a request to Marathon; no code where no answer came.
    pub fn marathon_request(&self, verb: &str, code: Option<u16>) {
        let class = match code.map(|code| code / 100) {
            Some(2) => "2xx",
            Some(3) => "3xx",
            Some(4) => "4xx",
            Some(5) => "5xx",
            _ => "none",
        };
        self.marathon_request_total.with_label_values(&[verb, class]).inc();
    }

    /// Counts an event of Marathon; the outcome is one of the words that the metric's help lists.
    pub fn marathon_event(&self, outcome: &'static str) {
        self.marathon_event_total.with_label_values(&[outcome]).inc();
    }

    /// Counts a login; the result is one of the words that the metric's help lists.
    pub fn marathon_login(&self, result: &'static str) {
        self.marathon_login_total.with_label_values(&[result]).inc();
    }

    /// Says when a source was last read in full.
    pub fn set_source_success(&self, source: &str, at: jiff::Timestamp) {
        let seconds = at.as_duration().as_secs_f64();
        self.source_last_success_timestamp_seconds.with_label_values(&[source]).set(seconds);
    }

    /// Says whether this instance acts.
    pub fn set_leader(&self, leads: bool) {
        self.leader.with_label_values::<&str>(&[]).set(i64::from(leads));
    }
}

fn int(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::model::{Blocked, BlockedReason, Condition, SourceName, UnitId, UnitName};

    fn unit(name: &str) -> UnitId {
        let source = SourceName::new("s").unwrap();
        UnitId { source, kind: UnitKind::Service, name: UnitName::new(name).unwrap() }
    }

    #[test]
    fn names_follow_the_convention() {
        let mut names = BTreeSet::new();
        for metric in DECLARED {
            let Declared { name, help, labels, kind } = *metric;
            assert!(names.insert(name), "{name} is there twice");
            assert!(name.chars().all(|c| c.is_ascii_lowercase() || c == '_'), "{name}");
            assert!(help.len() > 10 && help.ends_with('.'), "{name}: {help}");
            assert_eq!(name.ends_with("_total"), kind == "IntCounterVec", "{name}: counters end in _total");
            assert!(kind != "HistogramVec" || name.ends_with("_seconds"), "{name}: base unit seconds");
            assert!(!name.contains("_ms") && !name.contains("millis"), "{name}: base unit seconds");
            assert!(!labels.iter().any(|l| ["le", "quantile", "job", "instance"].contains(l)), "{name}");
        }
    }

    #[test]
    fn every_declared_metric_is_written_with_prefix_and_help() {
        let metrics = Metrics::new().unwrap();
        metrics.action("create", &OutcomeResult::Done);
        metrics.reconciled("ok", Duration::from_millis(3));
        metrics.http_request("/repo", 200, Duration::from_millis(1));
        metrics.marathon_request("GET", None);
        metrics.marathon_login("done");
        metrics.marathon_event("hint");
        metrics.set_source_success("main", jiff::Timestamp::UNIX_EPOCH);
        let reason = BlockedReason::Protected;
        let blocked = Blocked { unit: unit("a"), target: "/a".into(), reason, message: String::new() };
        metrics.set_plan(&Plan { blocked: vec![blocked], ..Plan::default() });
        let text = metrics.render();
        for metric in DECLARED {
            let line = format!("# HELP {PREFIX}{} {}", metric.name, metric.help);
            assert!(text.contains(&line), "{line} is not in\n{text}");
        }
        for line in [
            "dcos_registry_action_total{kind=\"create\",outcome=\"done\"} 1",
            "dcos_registry_blocked{reason=\"Protected\"} 1",
            "dcos_registry_http_request_total{code=\"200\",route=\"/repo\"} 1",
            "dcos_registry_marathon_request_total{code=\"none\",verb=\"GET\"} 1",
            "dcos_registry_leader 0",
            "dcos_registry_reconcile_duration_seconds_bucket{le=\"0.005\"} 1",
            "dcos_registry_source_last_success_timestamp_seconds{source=\"main\"} 0",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn a_missing_condition_counts_as_false() {
        let metrics = Metrics::new().unwrap();
        let ready = Condition {
            kind: "Ready".into(),
            status: ConditionStatus::True,
            reason: "Healthy".into(),
            message: String::new(),
            since: jiff::Timestamp::UNIX_EPOCH,
        };
        let status = |conditions| UnitStatus {
            unit: unit("a"),
            target: "/a".into(),
            observed_revision: None,
            conditions,
            warnings: Vec::new(),
        };
        metrics.set_units(&[status(vec![ready]), status(vec![])]);
        let text = metrics.render();
        let line = |condition: &str, status: &str, n: u8| {
            format!(
                "dcos_registry_units{{condition=\"{condition}\",kind=\"Service\",status=\"{status}\"}} {n}"
            )
        };
        for line in [line("Ready", "True", 1), line("Ready", "False", 1), line("Stalled", "False", 2)] {
            assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
        }
    }
}
