//! What Marathon tells about what is under way, typed as far as it is read.
//!
//! Pure. Reading is tolerant: unknown members are skipped, and one that is missing, null or of another type is
//! taken as empty, because versions and plugins differ and none of this decides what is written. Shapes:
//! `types/queue.raml`, `types/deployment.raml`, `types/readinessCheck.raml` and `types/appInfo.raml` of
//! mesosphere/marathon. Apps stay JSON (see `model::App`).

mod group;
mod server;

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

pub use group::{Group, GroupPlan, Pod};
pub use server::{Info, ServerConfig};

/// A deployment that is under way, from `GET /v2/deployments`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Deployment {
    /// Its id.
    pub id: String,
    /// The version that it leads to.
    #[serde(default, deserialize_with = "lenient")]
    pub version: String,
    /// The apps that it holds.
    #[serde(default, deserialize_with = "each")]
    pub affected_apps: Vec<String>,
    /// The pods that it holds.
    #[serde(default, deserialize_with = "each")]
    pub affected_pods: Vec<String>,
    /// Everything that it does, one step after the other.
    #[serde(default, deserialize_with = "each")]
    pub steps: Vec<Step>,
    /// What it does just now.
    #[serde(default, deserialize_with = "each")]
    pub current_actions: Vec<CurrentAction>,
    /// The step it is at, from 1.
    #[serde(default, deserialize_with = "lenient")]
    pub current_step: u64,
    /// How many steps it has.
    #[serde(default, deserialize_with = "lenient")]
    pub total_steps: u64,
}

/// What a deployment does at once.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Step {
    /// With one app or pod each.
    #[serde(deserialize_with = "each")]
    pub actions: Vec<StepAction>,
}

/// What a step does with one app or pod.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct StepAction {
    /// `StartApplication`, `StopApplication`, `ScaleApplication`, `RestartApplication` and so on.
    #[serde(deserialize_with = "lenient")]
    pub action: String,
    /// The app.
    #[serde(deserialize_with = "lenient")]
    pub app: Option<String>,
    /// The pod.
    #[serde(deserialize_with = "lenient")]
    pub pod: Option<String>,
}

/// What a deployment does with one app or pod just now.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CurrentAction {
    /// `StartApplication`, `ScaleApplication`, `RestartApplication` and so on.
    #[serde(deserialize_with = "lenient")]
    pub action: String,
    /// The app.
    #[serde(deserialize_with = "lenient")]
    pub app: Option<String>,
    /// The pod.
    #[serde(deserialize_with = "lenient")]
    pub pod: Option<String>,
    /// What its readiness check told of each task.
    #[serde(deserialize_with = "each")]
    pub readiness_check_results: Vec<ReadinessResult>,
}

/// What a readiness check told of a task. Such checks run only while a deployment does.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ReadinessResult {
    /// The check's name.
    #[serde(deserialize_with = "lenient")]
    pub name: String,
    /// The task.
    #[serde(deserialize_with = "lenient")]
    pub task_id: String,
    /// Whether the task is ready.
    #[serde(deserialize_with = "lenient")]
    pub ready: bool,
    /// The answer, kept only where the check asks for that (`preserveLastResponse`).
    #[serde(deserialize_with = "lenient")]
    pub last_response: Option<ReadinessResponse>,
}

/// What a task answered to its readiness check.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ReadinessResponse {
    /// The HTTP status.
    #[serde(deserialize_with = "lenient")]
    pub status: u64,
    /// The body.
    #[serde(deserialize_with = "lenient")]
    pub body: String,
}

/// The launch queue, from `GET /v2/queue`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Queue {
    /// Its items, one for each app or pod with instances to launch.
    #[serde(default, deserialize_with = "each")]
    pub queue: Vec<QueueItem>,
}

/// What is to be launched and why it is not yet.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct QueueItem {
    /// The app.
    #[serde(deserialize_with = "lenient")]
    pub app: Option<Spec>,
    /// The pod.
    #[serde(deserialize_with = "lenient")]
    pub pod: Option<Spec>,
    /// How many instances are left to launch.
    #[serde(deserialize_with = "lenient")]
    pub count: u64,
    /// The backoff after failures.
    #[serde(deserialize_with = "lenient")]
    pub delay: Option<Delay>,
    /// Since when it is tried.
    #[serde(deserialize_with = "lenient")]
    pub since: Option<Timestamp>,
    /// The Mesos role whose offers serve (1.9 and later).
    #[serde(deserialize_with = "lenient")]
    pub role: Option<String>,
    /// What became of the offers.
    #[serde(deserialize_with = "lenient")]
    pub processed_offers_summary: OffersSummary,
    /// The last offers that did not fit, only where they were asked for.
    #[serde(deserialize_with = "each")]
    pub last_unused_offers: Vec<UnusedOffer>,
}

impl QueueItem {
    /// The id of the app or pod.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        self.app.as_ref().or(self.pod.as_ref()).map(|spec| spec.id.as_str())
    }
}

/// The definition in a queue item, as far as it is read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Spec {
    /// Its id.
    pub id: String,
    /// Its version.
    #[serde(default, deserialize_with = "lenient")]
    pub version: String,
}

/// The backoff of a queue item.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Delay {
    /// Seconds until the next launch.
    #[serde(deserialize_with = "lenient")]
    pub time_left_seconds: u64,
    /// Whether the time is over and only offers are missing. So in the code (`QueueInfoConversion.scala`); the
    /// text in `queue.raml` says the opposite.
    #[serde(deserialize_with = "lenient")]
    pub overdue: bool,
}

/// What became of the offers for a queue item.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OffersSummary {
    /// Offers since the launch is tried.
    #[serde(deserialize_with = "lenient")]
    pub processed_offers_count: u64,
    /// Those of them that did not fit.
    #[serde(deserialize_with = "lenient")]
    pub unused_offers_count: u64,
    /// When the last one did not fit.
    #[serde(deserialize_with = "lenient")]
    pub last_unused_offer_at: Option<Timestamp>,
    /// When the last one was used.
    #[serde(deserialize_with = "lenient")]
    pub last_used_offer_at: Option<Timestamp>,
    /// Why the last offer of each agent was declined.
    #[serde(deserialize_with = "each")]
    pub reject_summary_last_offers: Vec<Rejection>,
    /// Why offers were declined since the launch is tried.
    #[serde(deserialize_with = "each")]
    pub reject_summary_launch_attempt: Vec<Rejection>,
}

/// One reason to decline offers. Marathon lists all reasons it knows, and counts each offer under the first
/// that applies.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Rejection {
    /// Its name (`NoOfferMatchReason.scala`).
    #[serde(deserialize_with = "lenient")]
    pub reason: String,
    /// How many offers were declined for it.
    #[serde(deserialize_with = "lenient")]
    pub declined: u64,
    /// How many came so far that it was asked.
    #[serde(deserialize_with = "lenient")]
    pub processed: u64,
}

/// An offer that did not fit (`types/offer.raml`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct UnusedOffer {
    /// Of which agent.
    #[serde(deserialize_with = "lenient")]
    pub offer: Offer,
    /// Why not.
    #[serde(deserialize_with = "each")]
    pub reason: Vec<String>,
    /// When it came.
    #[serde(deserialize_with = "lenient")]
    pub timestamp: Option<Timestamp>,
}

/// An offer of resources, as far as it is read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Offer {
    /// The agent's host.
    #[serde(deserialize_with = "lenient")]
    pub hostname: String,
    /// The agent.
    #[serde(deserialize_with = "lenient")]
    pub agent_id: String,
}

/// The last failure of a task, `lastTaskFailure` of an app.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TaskFailure {
    /// The app.
    #[serde(deserialize_with = "lenient")]
    pub app_id: String,
    /// The task.
    #[serde(deserialize_with = "lenient")]
    pub task_id: String,
    /// Where it ran.
    #[serde(deserialize_with = "lenient")]
    pub host: String,
    /// The Mesos state it ended in, such as `TASK_FAILED`.
    #[serde(deserialize_with = "lenient")]
    pub state: String,
    /// What Mesos or the executor said.
    #[serde(deserialize_with = "lenient")]
    pub message: String,
    /// When.
    #[serde(deserialize_with = "lenient")]
    pub timestamp: Option<Timestamp>,
    /// The version of the app that the task had.
    #[serde(deserialize_with = "lenient")]
    pub version: Option<Timestamp>,
}

impl TaskFailure {
    /// The failure that is embedded in an app, where there is one.
    #[must_use]
    pub fn of(app: &super::App) -> Option<Self> {
        let failure = app.get("lastTaskFailure").filter(|failure| failure.is_object())?;
        Self::deserialize(failure).ok()
    }
}

/// The value, or its default where it is null or something else.
fn lenient<'de, D: Deserializer<'de>, T: DeserializeOwned + Default>(value: D) -> Result<T, D::Error> {
    Ok(T::deserialize(Value::deserialize(value)?).unwrap_or_default())
}

/// The items that can be read; none where there is no list.
fn each<'de, D: Deserializer<'de>, T: DeserializeOwned>(value: D) -> Result<Vec<T>, D::Error> {
    let items = match Value::deserialize(value)? {
        Value::Array(items) => items,
        _ => Vec::new(),
    };
    Ok(items.into_iter().filter_map(|item| T::deserialize(item).ok()).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn items_are_read_as_marathon_writes_them() {
        let queue = json!({"queue": [
            {"app": {"id": "/a", "version": "2020-01-02T00:00:00.000Z", "cpus": 4}, "count": 2, "role": "*",
             "delay": {"timeLeftSeconds": 10, "overdue": false}, "since": "2020-01-02T00:00:00.000Z",
             "processedOffersSummary": {"processedOffersCount": 3, "unusedOffersCount": 3,
                "lastUnusedOfferAt": "2020-01-02T00:01:00.000Z",
                "rejectSummaryLastOffers": [{"reason": "InsufficientCpus", "declined": 2, "processed": 3}]}},
            {"pod": {"id": "/p"}},
        ]});
        let queue: Queue = serde_json::from_value(queue).unwrap();
        let item = &queue.queue[0];
        assert_eq!((item.id(), item.count, item.role.as_deref()), (Some("/a"), 2, Some("*")));
        assert_eq!(item.delay, Some(Delay { time_left_seconds: 10, overdue: false }));
        let rejection = Rejection { reason: "InsufficientCpus".into(), declined: 2, processed: 3 };
        assert_eq!(item.processed_offers_summary.reject_summary_last_offers, [rejection]);
        assert_eq!(queue.queue[1].id(), Some("/p"));
    }

    #[test]
    fn nothing_that_is_odd_spoils_the_rest() {
        let item = json!({"app": {"id": "/a"}, "count": -1, "delay": null, "since": "soon", "new": {},
            "processedOffersSummary": {"rejectSummaryLastOffers": {}, "unusedOffersCount": 1}});
        let item: QueueItem = serde_json::from_value(item).unwrap();
        assert_eq!((item.id(), item.count, item.delay, item.since), (Some("/a"), 0, None, None));
        assert_eq!(item.processed_offers_summary.unused_offers_count, 1);
        assert_eq!(serde_json::from_value::<Queue>(json!({})).unwrap().queue, []);
        let queue = json!({"queue": [{"app": {"id": "/a"}}, 7, {"app": {"id": 1}}, null]});
        let queue: Queue = serde_json::from_value(queue).unwrap();
        assert_eq!(queue.queue.iter().map(QueueItem::id).collect::<Vec<_>>(), [Some("/a"), None]);
        let deployment = json!({"id": "d", "steps": [[], {"actions": [{"action": "StopPod", "pod": "/p"}, 5]}], "currentActions": [{"action": "RestartApplication", "app": "/a",
            "readinessCheckResults": [{"name": "r", "taskId": "t", "ready": false, "lastResponse": {"status": 503}}]}]});
        let deployment: Deployment = serde_json::from_value(deployment).unwrap();
        let steps: Vec<_> = deployment.steps.iter().map(|step| step.actions.len()).collect();
        assert_eq!(steps.iter().sum::<usize>(), 1, "{steps:?}");
        let result = &deployment.current_actions[0].readiness_check_results[0];
        assert_eq!(result.last_response.as_ref().map(|response| response.status), Some(503));
        assert!(serde_json::from_value::<Deployment>(json!({"version": "v"})).is_err());
    }
}
