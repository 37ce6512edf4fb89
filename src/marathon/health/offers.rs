//! Why nothing is launched, from the launch queue.
//!
//! Reasons: `NoOfferMatchReason.scala` of mesosphere/marathon. Each offer is counted under the first reason that
//! applies, in the order of role, constraints, reservation, resources, ports.

use serde_json::Value;

use super::{Cause, Obstacle};
use crate::marathon::model::{QueueItem, Rejection};
use crate::model::App;

/// The reason of offers without the reservation of the app's volume.
const NO_RESERVATION: &str = "NoCorrespondingReservationFound";

/// How many reasons are told.
const MOST_REASONS: usize = 3;

/// What holds the launch up, if anything.
pub(super) fn obstacle(app: &App, item: &QueueItem) -> Option<Obstacle> {
    if item.count == 0 {
        return None;
    }
    let delay = item.delay.unwrap_or_default();
    if delay.time_left_seconds > 0 && !delay.overdue {
        let words = format!("backs off after failures, next launch in {} s", delay.time_left_seconds);
        return Some(Obstacle::grave(Cause::Backoff, words));
    }
    let summary = &item.processed_offers_summary;
    let declined = |rejections: &[Rejection]| rejections.iter().map(|r| r.declined).sum::<u64>();
    let mut rejections = summary.reject_summary_last_offers.clone();
    if declined(&rejections) == 0 {
        rejections.clone_from(&summary.reject_summary_launch_attempt);
    }
    let all = declined(&rejections);
    rejections.retain(|rejection| rejection.declined > 0);
    // Stable, so that of equal ones the first in Marathon's order stays first.
    rejections.sort_by_key(|rejection| std::cmp::Reverse(rejection.declined));
    let Some(first) = rejections.first() else { return Some(no_offers(item, delay.overdue)) };
    let cause = if first.reason == NO_RESERVATION { Cause::WaitsForVolume } else { Cause::NoOffers };
    let reasons = rejections.iter().take(MOST_REASONS);
    let reasons: Vec<_> =
        reasons.map(|r| format!("{} of {all} {}", r.declined, words(&r.reason, app))).collect();
    Some(Obstacle::grave(cause, format!("no offer fits {} to launch: {}", item.count, reasons.join(", "))))
}

/// None came, or all that came were used.
fn no_offers(item: &QueueItem, overdue: bool) -> Obstacle {
    let since = item.since.map(|since| format!(" since {since:.3}")).unwrap_or_default();
    let role = item.role.as_deref().filter(|role| *role != "*");
    let role = role.map(|role| format!(" for role {role}")).unwrap_or_default();
    let overdue = if overdue { "overdue, " } else { "" };
    let words = format!("{} to launch, {overdue}waiting for offers{role}{since}", item.count);
    Obstacle { cause: Cause::WaitsForOffers, words, grave: false }
}

/// What an offer lacked.
fn words(reason: &str, app: &App) -> String {
    let asked = |key: &str, unit: &str| app.get(key).map(|value| format!(" (it asks for {value}{unit})"));
    let listed = |key: &str| app.get(key).map(|value| format!(" ({value})"));
    let (words, detail) = match reason {
        "InsufficientCpus" => ("with too few CPUs", asked("cpus", "")),
        "InsufficientMemory" => ("with too little memory", asked("mem", " MiB")),
        "InsufficientDisk" => ("with too little disk", asked("disk", " MiB")),
        "InsufficientGpus" => ("with too few GPUs", asked("gpus", "")),
        "InsufficientPorts" => ("without its ports", ports(app)),
        "UnfulfilledRole" => ("of roles that it does not accept", listed("acceptedResourceRoles")),
        "UnfulfilledConstraint" | "UnmatchedConstraint" => {
            ("of agents that its constraints exclude", listed("constraints"))
        }
        NO_RESERVATION => ("without the reservation of its volume", Some("; its agent may be away".into())),
        "AgentMaintenance" => ("of agents in maintenance", None),
        "AgentUnavailable" => ("of agents that are not available", None),
        "DeclinedScarceResources" => ("of agents with GPUs, which are kept for apps that ask for them", None),
        other => return format!("declined as {}", super::short(other)),
    };
    format!("{words}{}", detail.unwrap_or_default())
}

/// The numbers that the app asks for on the agent.
fn ports(app: &App) -> Option<String> {
    let fixed = app.get("requirePorts").and_then(Value::as_bool) == Some(true);
    let of = |list: Option<&Value>, key: &str| -> Vec<u64> {
        let list = list.and_then(Value::as_array).into_iter().flatten();
        list.filter_map(|port| port.get(key)?.as_u64()).filter(|port| *port > 0).collect()
    };
    let container = app.get("container").and_then(|container| container.get("portMappings"));
    let mut numbers = of(container, "hostPort");
    if fixed {
        numbers.extend(of(app.get("portDefinitions"), "port"));
    }
    let numbers: Vec<_> = numbers.iter().map(ToString::to_string).collect();
    (!numbers.is_empty()).then(|| format!(" ({})", numbers.join(", ")))
}
