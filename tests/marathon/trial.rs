//! One combination: the write with the client, the follow-up to a verdict, and what is true at that moment.

use std::future::Future;
use std::time::Duration;

use dcos_registry::clock::Entropy;
use dcos_registry::config::{MarathonAuth, MarathonSettings};
use dcos_registry::marathon::diff::diff;
use dcos_registry::marathon::follow::{Before, Ending, Followed, Verdict, follow};
use dcos_registry::marathon::health::Evidence;
use dcos_registry::marathon::normalize::{Canonical, normalize, normalize_observed};
use dcos_registry::marathon::{Client, MarathonError, Timeouts, Written};
use dcos_registry::model::{App, AppId, ErrorClass};
use dcos_registry::telemetry::Metrics;
use serde_json::{Value, json};

use crate::script::{ID, Meddling, Script};
use crate::world::World;

/// How long a change may take, more than any that goes well.
const DEADLINE: Duration = Duration::from_secs(300);

/// How long it is tried to read what became of it after that.
const LAST_TRIES: Duration = Duration::from_secs(200);

/// How long a write is tried.
const PATIENCE: Duration = Duration::from_secs(120);

/// Between two looks.
const PAUSE: Duration = Duration::from_secs(10);

/// When others meddle, after our write.
const MEDDLED_AT: Duration = Duration::from_secs(20);

/// What we come to believe.
#[derive(Debug, Clone, PartialEq)]
pub enum Seen {
    /// The follow-up's verdict.
    Ended(Ending),
    /// The follow-up's verdict, too.
    Stuck,
    /// The app that we deleted is gone.
    Gone,
    /// The write was never accepted.
    Refused,
    /// The app could not be read when its time was over.
    Unreadable,
}

impl Seen {
    pub fn word(&self) -> &'static str {
        match self {
            Self::Ended(ending) => ending.as_str(),
            Self::Stuck => "Stuck",
            Self::Gone => "Gone",
            Self::Refused => "Refused",
            Self::Unreadable => "Unreadable",
        }
    }
}

/// Carries a combination out. What we believe, and what is wrong with it.
pub async fn tried(script: &Script) -> (Seen, Option<String>) {
    let trial = Trial::start(script).await;
    let seen = if script.fault.listens {
        tokio::select! {
            seen = trial.carried_out() => seen,
            never = trial.listen() => match never {},
        }
    } else {
        trial.carried_out().await
    };
    let wrong = trial.check(&seen).await;
    drop(trial.client);
    trial.world.stop().await;
    (seen, wrong)
}

struct Trial<'a> {
    script: &'a Script,
    world: World,
    client: Client,
    id: AppId,
    /// What was there before our write, as it was observed.
    before: Option<App>,
    /// What is wanted.
    wanted: Canonical,
    token: tempfile::NamedTempFile,
    /// The ids of the faults.
    switches: Vec<(String, u64)>,
    began: Duration,
    /// Whether an event said that something happened.
    hint: tokio::sync::Notify,
}

fn app(script: &Script, command: &str, instances: u64) -> Canonical {
    let asked = json!([{"portName": "web", "intervalSeconds": 5, "timeoutSeconds": 2}]);
    let app = json!({
        "id": ID, "cmd": command, "instances": instances, "env": if command == "new" { json!({"WHO": "us"}) } else { json!({}) },
        "healthChecks": [{"protocol": "MESOS_TCP", "gracePeriodSeconds": 30, "intervalSeconds": 5, "delaySeconds": 5}],
        "portDefinitions": [{"port": 0, "name": "web"}],
        "readinessChecks": if script.outcome.asks { asked } else { json!([]) },
        "upgradeStrategy": {"minimumHealthCapacity": 0.5, "maximumOverCapacity": 0.5},
    });
    normalize(&App::from_value(app).unwrap()).unwrap()
}

/// Lets no time pass while we wait for an answer: it comes over a real connection, and virtual time would run away
/// meanwhile. Tokio keeps paused time from advancing while blocking work is under way.
pub async fn at_once<T>(work: impl Future<Output = T>) -> T {
    let (release, held) = std::sync::mpsc::channel::<()>();
    let blocking = tokio::task::spawn_blocking(move || held.recv().is_err());
    let result = work.await;
    drop(release);
    blocking.await.unwrap();
    result
}

impl<'a> Trial<'a> {
    async fn start(script: &'a Script) -> Self {
        let world = World::start(script.seed).await;
        let mut before = None;
        if script.action != "create" {
            let (status, answer) =
                world.send("POST", "/v2/apps", &app(script, "old", 2).into_app().into_value()).await;
            assert_eq!(status, 201, "{answer}");
            before = Some(world.settled(ID).await.unwrap());
        }
        if script.fault.forced && before.is_some() {
            // A change of ours that does not end, over which the next one is forced.
            world.outcome(ID, &json!({"outcome": "neverStarts"})).await;
            let path = format!("/v2/apps{ID}?partialUpdate=false");
            let (status, answer) =
                world.send("PUT", &path, &app(script, "between", 2).into_app().into_value()).await;
            assert_eq!(status, 200, "{answer}");
            world.pass(Duration::from_secs(10)).await;
            before = Some(world.app(ID).await);
        }
        world.outcome(ID, &script.outcome.told).await;
        let wanted = match script.action {
            "scale" if script.fault.forced => app(script, "between", 4),
            "scale" => app(script, "old", 4),
            _ => app(script, "new", 2),
        };
        let token = tempfile::NamedTempFile::new().unwrap();
        let auth = if script.fault.needs_token {
            std::fs::write(token.path(), "none").unwrap();
            MarathonAuth::Token(token.path().to_owned())
        } else {
            MarathonAuth::None
        };
        let settings = MarathonSettings {
            auth,
            ..MarathonSettings::plain(&format!("http://{}", world.marathon.address()))
        };
        // A second try waits, and time stands still while we ask; the looks are the tries.
        let timeouts = Timeouts { read_tries: 1, ..Timeouts::default() };
        let parts = (world.clock.clone(), Entropy::seeded(script.seed));
        let client = Client::connect(&settings, timeouts, parts, Metrics::new().unwrap()).unwrap();
        let mut trial = Self {
            script,
            began: world.clock.boot(),
            world,
            client,
            id: AppId::new(ID).unwrap(),
            before,
            wanted,
            token,
            switches: Vec::new(),
            hint: tokio::sync::Notify::new(),
        };
        for switch in &script.fault.switches {
            let (status, on) = trial.world.send("POST", "/local/faults", switch).await;
            assert_eq!(status, 201, "{on}");
            trial.switches.push((on["kind"].as_str().unwrap().to_owned(), on["id"].as_u64().unwrap()));
        }
        trial
    }

    /// Events, again and again: all of them only mean that it is time for a look.
    async fn listen(&self) -> std::convert::Infallible {
        loop {
            self.client.listen(&mut |_| self.hint.notify_one()).await;
            self.world.pass(Duration::from_secs(1)).await;
        }
    }

    async fn pause(&self) {
        if let Some(end) = self.script.fault.ends_after
            && self.world.clock.boot() >= self.began + Duration::from_secs(end)
        {
            self.faults_off(&[]).await;
        }
        tokio::select! {
            () = self.world.pass(PAUSE) => {}
            () = self.hint.notified() => {}
        }
    }

    /// Turns all faults off but those of some kinds.
    async fn faults_off(&self, kept: &[&str]) {
        for (kind, id) in &self.switches {
            if !kept.contains(&kind.as_str()) {
                self.world.send("DELETE", &format!("/local/faults/{id}"), &Value::Null).await;
            }
        }
    }

    /// Somebody keeps the token fresh, and is late.
    async fn refresh(&self) {
        let (_, login) = self.world.send("POST", "/acs/api/v1/auth/login", &json!({})).await;
        std::fs::write(self.token.path(), login["token"].as_str().unwrap()).unwrap();
    }

    async fn asked<T>(
        &self,
        call: impl Future<Output = Result<T, MarathonError>>,
    ) -> Result<T, MarathonError> {
        let result = at_once(call).await;
        if self.script.fault.needs_token && result.is_err() {
            self.refresh().await;
        }
        result
    }

    async fn write_once(&self) -> Result<Written, MarathonError> {
        let force = self.script.fault.forced;
        let mut body = self.wanted.clone().into_app();
        if let Some(role) = self.before.as_ref().and_then(|before| before.get("role")) {
            body.0.insert("role".into(), role.clone());
        }
        match self.script.action {
            "create" => self.asked(self.client.create(&self.wanted)).await,
            "delete" => self.asked(self.client.delete(&self.id, force)).await,
            _ => self.asked(self.client.replace(&self.id, &body, force)).await,
        }
    }

    /// Whether an app that is there is not what was there before our write.
    fn is_changed(&self, app: Option<&App>) -> bool {
        match (app, &self.before) {
            (None, None) => false,
            (Some(app), Some(before)) => normalize_observed(app) != normalize_observed(before),
            _ => true,
        }
    }

    /// Writes until it is accepted. A lost answer is followed by a look, and by another write only where nothing was
    /// changed. None where it was never accepted.
    async fn written(&self) -> Option<Written> {
        let end = self.world.clock.boot() + PATIENCE;
        loop {
            let error = match self.write_once().await {
                Ok(written) => return Some(written),
                Err(error) => error,
            };
            assert_ne!(error.class(), ErrorClass::Fatal, "{error}");
            // Also what certainly was not applied now may have been before, by a write whose answer was lost.
            loop {
                if self.world.clock.boot() > end {
                    return None;
                }
                self.pause().await;
                let Ok(app) = self.asked(self.client.app(&self.id)).await else { continue };
                if self.is_changed(app.as_ref()) {
                    // Whose it is is for the follow-up to say.
                    let version =
                        self.before.as_ref().map_or(String::new(), |before| before.version().to_owned());
                    return Some(Written { version, deployment: None });
                }
                break;
            }
        }
    }

    async fn carried_out(&self) -> Seen {
        let Some(written) = self.written().await else { return Seen::Refused };
        let accepted = self.world.clock.boot();
        let (mut earlier, mut meddled) = (None, false);
        loop {
            let age = self.world.clock.boot().saturating_sub(accepted);
            if age >= MEDDLED_AT && !meddled {
                meddled = true;
                self.meddle(&written).await;
            }
            let Some(seen) = self.looked(&written, age, &mut earlier).await else {
                self.pause().await;
                continue;
            };
            return seen;
        }
    }

    /// One look; none where it is not decided.
    async fn looked(&self, written: &Written, age: Duration, earlier: &mut Option<Verdict>) -> Option<Seen> {
        let app = self.asked(self.client.app(&self.id)).await;
        let deployments = self.asked(self.client.deployments()).await;
        let (Ok(app), Ok(deployments)) = (app, deployments) else {
            return (age > DEADLINE + LAST_TRIES).then_some(Seen::Unreadable);
        };
        if self.script.action == "delete" {
            let ours = deployments.iter().any(|listed| Some(&listed.id) == written.deployment.as_ref());
            let held = deployments.iter().any(|listed| listed.affected_apps.iter().any(|app| app == ID));
            return match app {
                None if !ours && !held => Some(Seen::Gone),
                _ => (age > DEADLINE).then_some(Seen::Stuck),
            };
        }
        let before_app = self.before.as_ref().map(|before| {
            // Only what was asked for is remembered; this the server filled in.
            let mut app = normalize_observed(before).into_app();
            app.0.remove("maxLaunchDelaySeconds");
            app
        });
        let before =
            self.before.as_ref().map(|before| Before { version: before.version(), app: before_app.as_ref() });
        let change = Followed {
            deployment: written.deployment.as_deref(),
            version: &written.version,
            wanted: &self.wanted,
            ignore: &[],
            before,
            forced: self.script.fault.forced,
            age,
            deadline: DEADLINE,
            now: self.world.clock.wall(),
        };
        let evidence = Evidence { deployments: &deployments, ..Evidence::default() };
        let verdict = follow(&change, app.as_ref(), &evidence, *earlier).verdict;
        *earlier = Some(verdict);
        match verdict {
            Verdict::UnderWay { .. } => None,
            Verdict::Ended(ending) => Some(Seen::Ended(ending)),
            Verdict::Stuck => Some(Seen::Stuck),
        }
    }

    /// Somebody else does something; that it cannot be done any more is no fault.
    async fn meddle(&self, written: &Written) {
        let Some(meddling) = self.script.fault.meddling else { return };
        let deployment = written.deployment.as_deref().unwrap_or_default();
        let (method, path, body) = match meddling {
            Meddling::Undo => ("DELETE", format!("/v2/deployments/{deployment}"), Value::Null),
            Meddling::Cancel => ("DELETE", format!("/v2/deployments/{deployment}?force=true"), Value::Null),
            Meddling::Remove => ("DELETE", format!("/v2/apps{ID}?force=true"), Value::Null),
            Meddling::Restart => ("POST", format!("/v2/apps{ID}/restart?force=true"), Value::Null),
            Meddling::Overwrite => ("PUT", format!("/v2/apps{ID}?force=true"), json!({"cmd": "theirs"})),
        };
        self.world.send(method, &path, &body).await;
    }
}

/// What is true of the app, asked past the faults.
struct Truth {
    app: Option<App>,
    /// Whether a deployment holds it that can be seen.
    held: bool,
    /// Its tasks by all that there are, also where there is no app any more.
    tasks: Vec<Value>,
}

impl Trial<'_> {
    /// Whether tasks are not ready and somebody is there to whom that matters: Marathon asks for it while a deployment
    /// runs, and with one that is cancelled the question is gone.
    fn is_unready(&self) -> bool {
        self.script.outcome.asks
            && self.script.fault.meddling != Some(Meddling::Cancel)
            && !self.script.may_forget_readiness()
    }

    async fn truth(&self) -> Truth {
        // What holds deployments stays, or they would go on before we look.
        self.faults_off(&["stuck"]).await;
        let (status, mut body) = self.world.send("GET", &format!("/v2/apps{ID}"), &Value::Null).await;
        let app = match status {
            200 => Some(App::from_value(body["app"].take()).unwrap()),
            404 => None,
            other => panic!("{other}: {body}"),
        };
        let deployments = self.world.get("/v2/deployments").await;
        let affects = |listed: &Value| listed["affectedApps"].as_array().unwrap().contains(&json!(ID));
        let held = deployments.as_array().unwrap().iter().any(affects);
        let tasks = self.world.get("/v2/tasks").await["tasks"].as_array().unwrap().clone();
        Truth { app, held, tasks }
    }

    /// What is wrong with what we believe.
    async fn check(&self, seen: &Seen) -> Option<String> {
        if *seen == Seen::Unreadable {
            // Nobody can say more; that it is not called success is all.
            return None;
        }
        let until = self.world.clock.boot() + Duration::from_secs(60);
        while *seen == Seen::Refused && self.world.clock.boot() < until {
            // Nobody may lead just now.
            self.world.pass(PAUSE).await;
        }
        let truth = self.truth().await;
        let is = |app: &Canonical| truth.app.as_ref().is_some_and(|there| same(app, there));
        let former = self.before.as_ref().map(normalize_observed);
        let right = match seen {
            Seen::Ended(Ending::Done) => is(&self.wanted) && truth.all_run() && !self.is_unready(),
            Seen::Stuck if self.script.action == "delete" => truth.app.is_some() || truth.held,
            Seen::Stuck => is(&self.wanted) && !truth.all_run(),
            Seen::Ended(Ending::Superseded) => {
                truth.app.is_some() && !is(&self.wanted) && !former.as_ref().is_some_and(is)
            }
            Seen::Ended(Ending::RolledBack) => match &former {
                Some(former) => is(former) && !is(&self.wanted),
                None => truth.app.is_none(),
            },
            Seen::Ended(Ending::Halted) => is(&self.wanted) && !truth.held && truth.is_mixed(),
            Seen::Ended(Ending::Removed) => truth.app.is_none() && self.before.is_some(),
            Seen::Gone => truth.app.is_none() && truth.tasks.is_empty() && !truth.held,
            Seen::Refused => match &former {
                Some(former) => is(former),
                None => truth.app.is_none(),
            },
            Seen::Unreadable => true,
        };
        (!right).then(|| {
            let app = truth.app.map(App::into_value);
            format!("it is not so: held: {}, app: {app:?}, tasks: {:?}", truth.held, truth.tasks)
        })
    }
}

/// Whether an app that is there is that canonical one, but for what the server chose.
fn same(canonical: &Canonical, there: &App) -> bool {
    diff(canonical, there, None, &[]).is_ok_and(|difference| difference.changes.is_empty())
        && canonical.get("env") == normalize_observed(there).get("env")
}

impl Truth {
    /// Whether a task belongs to the configuration that is in force.
    fn is_current(&self, task: &Value) -> bool {
        let since = self.app.as_ref().and_then(|app| app.get("versionInfo")?.get("lastConfigChangeAt"));
        task["version"].as_str() >= since.and_then(Value::as_str)
    }

    /// Whether just as many tasks as are wanted run, all of the present configuration and found alive.
    fn all_run(&self) -> bool {
        let Some(app) = &self.app else { return false };
        let alive = |task: &Value| {
            let results = task["healthCheckResults"].as_array().map(Vec::as_slice).unwrap_or_default();
            !results.is_empty() && results.iter().all(|result| result["alive"] == true)
        };
        let good = |task: &Value| task["state"] == "TASK_RUNNING" && self.is_current(task) && alive(task);
        !self.held && self.tasks.len() as u64 == app.instances() && self.tasks.iter().all(good)
    }

    fn is_mixed(&self) -> bool {
        self.tasks.iter().any(|task| !self.is_current(task))
    }
}
