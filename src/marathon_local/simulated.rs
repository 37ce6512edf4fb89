//! The executor that runs nothing: tasks live in the time of the clock, and end as they are told to.
//!
//! It takes everything that Marathon takes: containers of any kind, volumes, pods. What becomes of the tasks of an
//! app or of all apps of a group is set beforehand; without that they run for ever and are healthy.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use serde::Deserialize as _;
use serde_json::Value;

use super::definition::{HealthCheck, ReadinessCheck};
use super::executor::{
    Executor, KillSignal, Progress, ProgressSink, REASONS, ReadinessAnswer, TaskEnd, TaskSpec,
};
use super::placement::Placement;
use crate::clock::Clock;
use crate::model::AppId;

/// How many tasks may exist.
const MOST_TASKS: usize = 20_000;

/// For how many apps and groups an outcome may be set.
const MOST_OUTCOMES: usize = 10_000;

/// What becomes of tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
enum What {
    /// They run, and are healthy and ready.
    Runs,
    /// They fail.
    Fails,
    /// They end well.
    Finishes,
    /// They stay in preparation.
    NeverStarts,
    /// They run, and no health check succeeds.
    NeverHealthy,
    /// They run, and no readiness check does.
    NeverReady,
    /// Nothing is heard of their agent any more.
    Unreachable,
    /// No offer fits them.
    NoOffers,
}

/// What becomes of the tasks of an app, or of a group.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Outcome {
    /// What.
    #[serde(rename = "outcome")]
    what: What,
    /// Seconds before a task runs.
    startup: f64,
    /// Seconds that a task runs before it happens.
    after: f64,
    /// Seconds that a task takes to end when it is told to; not more than its grace period.
    stopping: f64,
    /// Seconds until something is heard of an unreachable agent again; none: never.
    back: Option<f64>,
    /// Why no offer fits.
    reason: String,
    /// To how many launches it applies; none: to all.
    times: Option<u64>,
}

impl Default for Outcome {
    fn default() -> Self {
        let reason = "InsufficientCpus".to_owned();
        Self { what: What::Runs, startup: 0.0, after: 0.0, stopping: 0.0, back: None, reason, times: None }
    }
}

/// What is set for all apps. Cheap to clone; clones share it.
#[derive(Clone, Default)]
pub struct Outcomes(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    by_app: BTreeMap<String, Outcome>,
    /// What was decided for each task at its launch.
    by_task: BTreeMap<String, Outcome>,
}

impl Outcomes {
    /// Sets what becomes of the tasks that an app or a group launches from now on.
    ///
    /// # Errors
    /// What is wrong with the description.
    pub fn set(&self, app: &str, body: &Value) -> Result<(), String> {
        let outcome = Outcome::deserialize(body).map_err(|e| e.to_string())?;
        for (key, seconds) in
            [("startup", outcome.startup), ("after", outcome.after), ("stopping", outcome.stopping)]
        {
            if !(0.0..=86_400.0).contains(&seconds) {
                return Err(format!("{key} must be 0 to 86400 seconds, is {seconds}"));
            }
        }
        if !REASONS.contains(&outcome.reason.as_str()) {
            return Err(format!("reason must be one of {}, is {:?}", REASONS.join(", "), outcome.reason));
        }
        let mut state = self.lock();
        if state.by_app.len() >= MOST_OUTCOMES && !state.by_app.contains_key(app) {
            return Err(format!("outcomes are set for {MOST_OUTCOMES} apps already"));
        }
        state.by_app.insert(app.to_owned(), outcome);
        Ok(())
    }

    /// All that is set.
    pub fn list(&self) -> Value {
        serde_json::to_value(&self.lock().by_app).unwrap_or_default()
    }

    /// From now on tasks run and are healthy.
    pub fn reset(&self) {
        self.lock().by_app.clear();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Decides what becomes of a task.
    fn launch(&self, task: &TaskSpec) -> Outcome {
        let mut state = self.lock();
        let outcome = match state.find(&task.app_id) {
            Some(found) => {
                let decided = found.clone();
                if let Some(times) = &mut found.times {
                    *times -= 1;
                }
                decided
            }
            None => Outcome::default(),
        };
        state.by_task.insert(task.id.clone(), outcome.clone());
        outcome
    }

    fn end(&self, task: &str) {
        self.lock().by_task.remove(task);
    }

    fn of_task(&self, task: &str) -> What {
        self.lock().by_task.get(task).map_or(What::Runs, |outcome| outcome.what)
    }
}

impl State {
    /// What is set for an app, or for the nearest group that it lies in, and not used up.
    fn find(&mut self, app: &AppId) -> Option<&mut Outcome> {
        let fits = |name: &str| app.as_str() == name || app.is_below(name);
        let fitting = self.by_app.iter_mut().filter(|(name, outcome)| fits(name) && outcome.times != Some(0));
        fitting.max_by_key(|(name, _)| name.len()).map(|(_, outcome)| outcome)
    }
}

/// Runs tasks in name only.
pub struct SimulatedExecutor {
    clock: Clock,
    outcomes: Outcomes,
}

impl SimulatedExecutor {
    /// An executor whose tasks live in the time of a clock.
    pub fn new(clock: Clock, outcomes: Outcomes) -> Self {
        Self { clock, outcomes }
    }

    async fn run_task(&self, task: &TaskSpec, mut kill: KillSignal, progress: &ProgressSink) -> TaskEnd {
        let outcome = self.outcomes.launch(task);
        let lived = tokio::select! {
            end = self.live(&outcome, progress) => Some(end),
            grace = kill.next() => {
                let stopping = seconds(outcome.stopping).min(grace.unwrap_or_default());
                self.clock.sleep(stopping).await;
                None
            }
        };
        lived.unwrap_or_else(|| TaskEnd::Killed("Command terminated with signal Terminated".to_owned()))
    }

    /// The life of a task that nobody kills.
    async fn live(&self, outcome: &Outcome, progress: &ProgressSink) -> TaskEnd {
        if outcome.what == What::NeverStarts {
            return std::future::pending().await;
        }
        self.clock.sleep(seconds(outcome.startup)).await;
        progress.tell(Progress::Starting).await;
        progress.tell(Progress::Running).await;
        let after = seconds(outcome.after);
        match outcome.what {
            What::Fails => {
                self.clock.sleep(after).await;
                TaskEnd::Failed("Command exited with status 1".to_owned())
            }
            What::Finishes => {
                self.clock.sleep(after).await;
                TaskEnd::Finished("Command exited with status 0".to_owned())
            }
            What::Unreachable => {
                self.clock.sleep(after).await;
                progress.tell(Progress::Lost).await;
                if let Some(back) = outcome.back {
                    self.clock.sleep(seconds(back)).await;
                    progress.tell(Progress::Found).await;
                }
                std::future::pending().await
            }
            _ => std::future::pending().await,
        }
    }
}

fn seconds(number: f64) -> Duration {
    Duration::from_secs_f64(number.clamp(0.0, 86_400.0))
}

impl Executor for SimulatedExecutor {
    fn run(
        self: Arc<Self>,
        task: Arc<TaskSpec>,
        kill: KillSignal,
        progress: ProgressSink,
    ) -> BoxFuture<'static, TaskEnd> {
        Box::pin(async move {
            let end = self.run_task(&task, kill, &progress).await;
            self.outcomes.end(&task.id);
            end
        })
    }

    fn probe<'a>(&'a self, task: &'a TaskSpec, _: &'a HealthCheck) -> BoxFuture<'a, Result<(), String>> {
        let sick = self.outcomes.of_task(&task.id) == What::NeverHealthy;
        let result =
            if sick { Err("ConnectionAttemptFailed: Connection refused".to_owned()) } else { Ok(()) };
        Box::pin(std::future::ready(result))
    }

    fn ready<'a>(
        &'a self,
        task: &'a TaskSpec,
        check: &'a ReadinessCheck,
    ) -> BoxFuture<'a, Option<ReadinessAnswer>> {
        let refuses = self.outcomes.of_task(&task.id) == What::NeverReady;
        let status = if refuses { 503 } else { check.ready.first().copied().unwrap_or(200) };
        let answer = ReadinessAnswer { status, content_type: "text/plain".to_owned(), body: String::new() };
        Box::pin(std::future::ready(Some(answer)))
    }

    fn declines(&self, task: &Placement<'_>) -> Option<&'static str> {
        let mut state = self.outcomes.lock();
        let outcome = state.find(task.app).filter(|outcome| outcome.what == What::NoOffers)?;
        if let Some(times) = &mut outcome.times {
            *times -= 1;
        }
        REASONS.iter().find(|reason| **reason == outcome.reason).copied()
    }

    fn uses_ports(&self) -> bool {
        false
    }

    fn capacity(&self) -> usize {
        MOST_TASKS
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::marathon_local::executor::{Happening, TaskEvent, kill_switch};
    use crate::marathon_local::profile::Profile;
    use crate::model::App;

    fn task(id: &str) -> Arc<TaskSpec> {
        Arc::new(TaskSpec {
            id: id.to_owned(),
            app_id: AppId::new("/g/a").unwrap(),
            app: App::default(),
            host: [127, 0, 0, 1].into(),
            ports: Vec::new(),
        })
    }

    /// Runs one task under an outcome; what it told, how it ended, and after how many seconds.
    async fn lived(outcome: Value, kill_after: Option<u64>) -> (Vec<Progress>, TaskEnd, u64) {
        let clock = Clock::simulated(1.0, Duration::ZERO);
        let outcomes = Outcomes::default();
        outcomes.set("/g", &outcome).unwrap();
        let executor = Arc::new(SimulatedExecutor::new(clock.clone(), outcomes));
        let (switch, signal) = kill_switch();
        let (sender, mut events) = tokio::sync::mpsc::channel::<TaskEvent>(16);
        let task = task("t");
        let run = executor.run(Arc::clone(&task), signal, ProgressSink::new(task, sender));
        let killed = async {
            match kill_after {
                Some(after) => {
                    clock.sleep(Duration::from_secs(after)).await;
                    switch.kill(Duration::from_secs(5));
                    std::future::pending::<()>().await;
                }
                None => std::future::pending().await,
            }
        };
        let end = tokio::select! {
            end = run => end,
            () = killed => unreachable!("it never ends"),
        };
        let told = std::iter::from_fn(|| events.try_recv().ok()).filter_map(|event| match event.what {
            Happening::Progress(progress) => Some(progress),
            _ => None,
        });
        (told.collect(), end, clock.boot().as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn tasks_end_as_they_are_told_to_in_virtual_time() {
        let runs = [Progress::Starting, Progress::Running];
        let (told, end, at) = lived(json!({"outcome": "fails", "startup": 100, "after": 3600}), None).await;
        assert!(told == runs && matches!(end, TaskEnd::Failed(_)) && at == 3700);
        let (_, end, at) = lived(json!({"outcome": "finishes", "after": 60}), None).await;
        assert!(matches!(end, TaskEnd::Finished(_)) && at == 60);
        let (told, end, at) = lived(json!({"outcome": "neverStarts", "stopping": 2}), Some(10)).await;
        assert!(told.is_empty() && matches!(end, TaskEnd::Killed(_)) && at == 12);
        let (_, _, at) = lived(json!({"stopping": 1000}), Some(10)).await;
        assert_eq!(at, 15, "the grace period is over");
        let (told, ..) = lived(json!({"outcome": "unreachable", "after": 5, "back": 10}), Some(60)).await;
        assert_eq!(told[2..], [Progress::Lost, Progress::Found]);
    }

    #[tokio::test]
    async fn outcomes_apply_to_the_nearest_and_are_used_up() {
        let outcomes = Outcomes::default();
        let executor = SimulatedExecutor::new(Clock::system(), outcomes.clone());
        outcomes.set("/g", &json!({"outcome": "neverHealthy"})).unwrap();
        outcomes.set("/g/a", &json!({"outcome": "fails", "times": 1})).unwrap();
        let whats: Vec<_> = ["1", "2"].iter().map(|id| outcomes.launch(&task(id)).what).collect();
        assert_eq!(whats, [What::Fails, What::NeverHealthy]);
        outcomes
            .set("/g/a", &json!({"outcome": "noOffers", "reason": "UnfulfilledRole", "times": 1}))
            .unwrap();
        let (app, definition) = (AppId::new("/g/a").unwrap(), App::default());
        let task = Placement {
            app: &app,
            definition: &definition,
            profile: Profile::default(),
            host: [127, 0, 0, 1].into(),
            placed: 0,
        };
        assert_eq!((executor.declines(&task), executor.declines(&task)), (Some("UnfulfilledRole"), None));
        assert_eq!(outcomes.list()["/g"]["outcome"], "neverHealthy");
        outcomes.reset();
        assert_eq!(outcomes.list(), json!({}));
        for (body, word) in [
            (json!({"outcome": "explodes"}), "explodes"),
            (json!({"outcome": "runs", "afer": 1}), "afer"),
            (json!({"after": -1}), "after"),
            (json!({"reason": "Bad"}), "UnfulfilledRole"),
        ] {
            let error = outcomes.set("/g", &body).unwrap_err();
            assert!(error.contains(word), "{error}");
        }
    }
}
