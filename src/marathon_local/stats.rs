//! Statistics of an app's tasks, `embed=apps.taskStats`. Pure.
//!
//! Source: `core/appinfo/{TaskStats,TaskStatsByVersion,TaskCounts}.scala` and `impl/TaskForStatistics.scala` of
//! mesosphere/marathon.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::task::{Task, TaskState};
use crate::model::App;

/// How many tasks there are of each kind. A starting one is of none, and one that ends or cannot be reached keeps its
/// health.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Not yet started.
    pub staged: usize,
    /// Running, and not about to end.
    pub running: usize,
    /// With results of checks, and all good.
    pub healthy: usize,
    /// With a bad result.
    pub unhealthy: usize,
}

impl Counts {
    /// Counts tasks.
    pub fn of<'a>(tasks: impl Iterator<Item = &'a Task>) -> Self {
        tasks.fold(Self::default(), |counts, task| Self {
            staged: counts.staged + usize::from(task.state == TaskState::Staging),
            running: counts.running + usize::from(task.state == TaskState::Running),
            healthy: counts.healthy + usize::from(task.counts_as_healthy()),
            unhealthy: counts.unhealthy + usize::from(task.is_unhealthy()),
        })
    }
}

/// The statistics by version; a part without tasks is left out.
pub fn json(tasks: &[&Task], app: &App, now: Timestamp) -> Value {
    let info = |key: &str| app.get("versionInfo").and_then(|i| i.get(key)).and_then(Value::as_str);
    let scaling = info("lastScalingAt").unwrap_or_default();
    let config = info("lastConfigChangeAt").unwrap_or_default();
    let part = |fits: &dyn Fn(&str) -> bool| {
        let chosen: Vec<_> = tasks.iter().filter(|task| fits(task.spec.app.version())).copied().collect();
        stats(&chosen, now)
    };
    let parts = [
        ("startedAfterLastScaling", part(&|version| version >= scaling)),
        ("withLatestConfig", part(&|version| version >= config)),
        ("withOutdatedConfig", part(&|version| version < config)),
        ("totalSummary", part(&|_| true)),
    ];
    parts
        .into_iter()
        .filter_map(|(key, stats)| Some((key.to_owned(), stats?)))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

fn stats(tasks: &[&Task], now: Timestamp) -> Option<Value> {
    if tasks.is_empty() {
        return None;
    }
    let counts = Counts::of(tasks.iter().copied());
    let mut stats = json!({"counts": {"staged": counts.staged, "running": counts.running,
        "healthy": counts.healthy, "unhealthy": counts.unhealthy}});
    let ages = tasks.iter().filter_map(|task| task.running_since);
    let mut ages: Vec<f64> = ages.map(|(since, _)| now.duration_since(since).as_secs_f64()).collect();
    ages.sort_by(f64::total_cmp);
    if let Some(median) = ages.get(ages.len() / 2) {
        let number = u32::try_from(ages.len()).unwrap_or(u32::MAX);
        let average = ages.iter().sum::<f64>() / f64::from(number);
        stats["lifeTime"] = json!({"averageSeconds": average, "medianSeconds": median});
    }
    Some(json!({ "stats": stats }))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::marathon_local::executor::{TaskSpec, kill_switch};
    use crate::model::AppId;

    fn task(version: &str, running_since: Option<i64>) -> Task {
        let spec = TaskSpec {
            id: format!("a.instance-{version}._app.1"),
            app_id: AppId::new("/a").unwrap(),
            app: App::from_value(json!({"version": version})).unwrap(),
            host: [127, 0, 0, 1].into(),
            ports: Vec::new(),
        };
        let mut task = Task::new(Arc::new(spec), kill_switch().0, Timestamp::UNIX_EPOCH);
        if let Some(second) = running_since {
            task.state = TaskState::Running;
            task.running_since = Some((Timestamp::from_second(second).unwrap(), Duration::ZERO));
        }
        task
    }

    #[test]
    fn who_starts_is_neither_staged_nor_running() {
        let mut tasks = [task("v1", None), task("v1", None), task("v1", Some(0))];
        tasks[0].state = TaskState::Starting;
        let counts = Counts::of(tasks.iter());
        assert_eq!(counts, Counts { staged: 1, running: 1, healthy: 0, unhealthy: 0 });
    }

    #[test]
    fn tasks_are_counted_by_version() {
        let app = json!({"versionInfo": {"lastScalingAt": "v3", "lastConfigChangeAt": "v2"}});
        let tasks = [task("v1", Some(0)), task("v2", Some(8)), task("v2", None)];
        let tasks: Vec<_> = tasks.iter().collect();
        let stats = json(&tasks, &App::from_value(app).unwrap(), Timestamp::from_second(10).unwrap());
        assert!(stats.get("startedAfterLastScaling").is_none());
        assert_eq!(stats["withLatestConfig"]["stats"]["counts"]["staged"], 1);
        assert_eq!(stats["withLatestConfig"]["stats"]["lifeTime"]["averageSeconds"], 2.0);
        assert_eq!(stats["withOutdatedConfig"]["stats"]["counts"]["running"], 1);
        assert_eq!(
            stats["totalSummary"]["stats"]["lifeTime"],
            json!({"averageSeconds": 6.0, "medianSeconds": 10.0})
        );
    }
}
