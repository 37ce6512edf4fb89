//! A Marathon of a few lines that fails where a script says.
//!
//! Apps are kept as JSON, every write gives a version and a deployment, and a deployment ends after one
//! listing has shown it. Requests are counted from 0, so that a test can hurt each in turn. Statuses and
//! bodies are those of Marathon 1.11 (`api/MarathonExceptionMapper.scala`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::marathon::Client;
use crate::marathon::client::Timeouts;
use crate::marathon::normalize::{has_volume, normalize_observed};
use crate::model::{App, AppId, Intent};
use crate::storage::Storage;
use crate::telemetry::Metrics;
use crate::workers::Workers;

/// What happens to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// Not applied, and the connection is dropped.
    DroppedBefore,
    /// Applied, and the connection is dropped.
    DroppedAfter,
    /// Not applied and never answered.
    Hangs,
    /// Never answered, and applied just before that many requests later.
    Late(usize),
    /// 409 with deployments.
    Locked,
    /// 409 without deployments.
    Exists,
    /// 422.
    Invalid,
    /// 403 for what we may not do.
    Forbidden,
    /// 403 for the number of deployments.
    TooMany,
    /// 500, not applied.
    Broken,
    /// 503, not applied.
    Busy,
    /// 503, applied.
    BusyAfter,
    /// The answer shows another version of the app than it has.
    OtherVersion,
    /// Not applied, and whoever asked dies.
    DiesBefore,
    /// Applied, and whoever asked dies.
    DiesAfter,
}

impl Fault {
    /// What can happen to a listing, to a reading of one app, and to a write.
    pub(super) fn of(asked: &Asked) -> Vec<Self> {
        use Fault::{
            Broken, Busy, BusyAfter, DroppedAfter, DroppedBefore, Exists, Hangs, Invalid, Late, Locked,
            OtherVersion, TooMany,
        };
        let mut faults = vec![DroppedBefore, Hangs, Broken, Busy];
        match (asked.verb.as_str(), &asked.app) {
            ("GET", None) => {}
            ("GET", Some(_)) => faults.push(OtherVersion),
            _ => {
                faults.extend([DroppedAfter, BusyAfter, Locked, Invalid, TooMany, Late(1), Late(2), Late(3)]);
            }
        }
        if asked.verb == Method::POST {
            faults.push(Exists);
        }
        faults
    }
}

/// A request, and what was known when it came.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) verb: Method,
    pub(super) query: String,
    /// The app it is about; none for a listing.
    pub(super) app: Option<AppId>,
    pub(super) body: Value,
    /// Before a write: what the committed books announce.
    pub(super) announced: BTreeMap<AppId, Intent>,
    /// The status of the answer, where one was given.
    pub(super) status: Option<u16>,
}

impl Asked {
    pub(super) fn is_write(&self) -> bool {
        self.verb != Method::GET
    }

    /// What was announced for the app that it is about.
    pub(super) fn intent(&self) -> Option<&Intent> {
        self.announced.get(self.app.as_ref()?)
    }

    /// `VERB /app?query`
    pub(super) fn line(&self) -> String {
        let app = self.app.as_ref().map_or("", AppId::as_str);
        format!("{} {app}?{}", self.verb, self.query)
    }
}

/// An app with what Marathon adds to its definition.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Running {
    pub(super) definition: App,
    pub(super) version: String,
    pub(super) deployment: Option<String>,
}

impl Running {
    /// The app as the API shows it.
    fn shown(&self) -> Value {
        let mut shown = self.definition.clone();
        let up = if self.deployment.is_none() { shown.instances() } else { 0 };
        let deployments: Vec<_> = self.deployment.iter().map(|id| json!({"id": id})).collect();
        let status = json!({
            "version": self.version, "deployments": deployments, "tasksStaged": 0, "tasksRunning": up,
            "tasksHealthy": up, "tasksUnhealthy": 0,
            "versionInfo": {"lastScalingAt": self.version, "lastConfigChangeAt": self.version},
        });
        shown.0.extend(status.as_object().unwrap().clone());
        shown.into_value()
    }
}

/// The state of the cluster and its script.
#[derive(Default)]
pub(super) struct Inner {
    pub(super) apps: BTreeMap<AppId, Running>,
    pub(super) asked: Vec<Asked>,
    pub(super) faults: BTreeMap<usize, Fault>,
    /// What happens to the next request with that verb that is about an app; `CREATE` is a POST where there is none.
    pub(super) next_of: Option<(&'static str, Fault)>,
    /// How often each app was made where there was none.
    pub(super) created: BTreeMap<AppId, usize>,
    /// Writes that were applied.
    pub(super) applied: usize,
    /// Whether it takes every PUT and changes nothing.
    pub(super) stubborn: bool,
    /// Whether it changes in place what Marathon refuses to for the sake of volumes.
    pub(super) lenient: bool,
    /// Whether deployments never end; what is deleted meanwhile stays until they may.
    pub(super) slow: bool,
    leaving: BTreeSet<AppId>,
    /// What was asked besides: routes that only explain.
    pub(super) asides: Vec<String>,
    /// Commands that never come to run; the deployment that brings one never ends.
    pub(super) sick: BTreeSet<&'static str>,
    /// What each app was at each of its versions.
    history: BTreeMap<(AppId, String), App>,
    /// Apps that the listing leaves out, as it does for a caller who may not see them.
    pub(super) hidden: BTreeSet<AppId>,
    /// Called after each write that was applied.
    pub(super) after_write: Option<Box<dyn FnMut() + Send>>,
    /// Cancelled when whoever asks dies.
    pub(super) death: CancellationToken,
    late: Vec<(usize, Asked)>,
    count: usize,
    ticks: u64,
}

enum Reaction {
    Answer(u16, Value),
    Drop,
    Hang,
}

/// The server; clones share one state.
#[derive(Clone, Default)]
pub(super) struct Cluster {
    inner: Arc<Mutex<Inner>>,
    books: Arc<Mutex<Option<Arc<Storage>>>>,
}

impl Cluster {
    /// Serves at a free port for as long as the test runs.
    pub(super) async fn serve(&self) -> Client {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let router = axum::Router::new().fallback(answer).with_state(self.clone());
        Workers::new().spawn("scripted-marathon", async { axum::serve(listener, router).await.unwrap() });
        let limit = Duration::from_millis(400);
        let timeouts = Timeouts { read: limit, write: limit, ..Timeouts::default() };
        Client::new(&base, timeouts, Clock::system(), Metrics::new().unwrap()).unwrap()
    }

    /// Begins anew, with these faults. `books` reads the control log beside its writer.
    pub(super) fn reset(&self, books: Storage, faults: &[(usize, Fault)]) {
        *self.books.lock().unwrap() = Some(Arc::new(books));
        let faults = faults.iter().copied().collect();
        self.with(|inner| *inner = Inner { faults, ..Inner::default() });
    }

    /// Looks at the state or changes it.
    pub(super) fn with<T>(&self, work: impl FnOnce(&mut Inner) -> T) -> T {
        work(&mut self.inner.lock().unwrap())
    }

    /// What the books announce, as anybody could read it just now.
    async fn announced(&self) -> BTreeMap<AppId, Intent> {
        let Some(books) = self.books.lock().unwrap().clone() else { return BTreeMap::new() };
        books.control.follow().await.unwrap();
        books.control.state().inventory.intents.clone()
    }
}

async fn answer(State(cluster): State<Cluster>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    // What only explains is no part of the script: whether it comes or not decides nothing.
    let aside = parts.uri.path().to_owned();
    if ["/v2/info", "/v2/queue", "/v2/deployments"].contains(&aside.as_str()) {
        cluster.with(|inner| inner.asides.push(aside.clone()));
    }
    match aside.as_str() {
        "/v2/info" => return (StatusCode::FORBIDDEN, "{}").into_response(),
        "/v2/queue" => return json!({"queue": []}).to_string().into_response(),
        "/v2/deployments" => return "[]".into_response(),
        path => {
            if let Some(answer) = cluster.with(|inner| inner.version(path)) {
                return answer;
            }
        }
    }
    let named = parts.uri.path().strip_prefix("/v2/apps").filter(|id| !id.is_empty());
    let app = named.or(body["id"].as_str()).map(|id| AppId::new(id).unwrap());
    let query = parts.uri.query().unwrap_or_default().to_owned();
    let mut asked = Asked { verb: parts.method, query, app, body, announced: BTreeMap::new(), status: None };
    if asked.is_write() {
        asked.announced = cluster.announced().await;
    }
    match cluster.with(|inner| inner.take(asked)) {
        Reaction::Answer(status, body) => {
            (StatusCode::from_u16(status).unwrap(), body.to_string()).into_response()
        }
        // Ends the task of the connection, and so the connection, without a word on either side.
        Reaction::Drop => std::panic::resume_unwind(Box::new("dropped as the script says")),
        Reaction::Hang => std::future::pending().await,
    }
}

impl Inner {
    /// Puts an app there as somebody else would.
    pub(super) fn put_there(&mut self, app: &Value) {
        let app = App::from_value(app.clone()).unwrap();
        let (id, version) = (AppId::new(app.id().unwrap()).unwrap(), self.tick());
        let running = Running { definition: normalize_observed(&app).into_app(), version, deployment: None };
        self.apps.insert(id, running);
    }

    /// Loses what the apps were before.
    pub(super) fn forget_versions(&mut self) {
        self.history.clear();
    }

    /// Scales an app as somebody else would, so often that Marathon forgets what was before.
    pub(super) fn scale(&mut self, id: &AppId, instances: u64) {
        let version = self.tick();
        let app = self.apps.get_mut(id).unwrap();
        app.definition.0.insert("instances".into(), instances.into());
        app.version.clone_from(&version);
        self.history = BTreeMap::from([((id.clone(), version), app.definition.clone())]);
    }

    /// Makes the past of all apps another than it was.
    pub(super) fn forge_versions(&mut self, fields: &Value) {
        for app in self.history.values_mut() {
            app.0.extend(fields.as_object().unwrap().clone());
        }
    }

    /// Answers what an app was, where that is asked.
    fn version(&self, path: &str) -> Option<Response> {
        let (app, version) = path.strip_prefix("/v2/apps")?.split_once("/versions/")?;
        let former = self.history.get(&(AppId::new(app).unwrap(), version.to_owned()));
        let missing = || (StatusCode::NOT_FOUND, json!({"message": "no such version"}).to_string());
        Some(former.map_or_else(
            || missing().into_response(),
            |app| Value::from(app.0.clone()).to_string().into_response(),
        ))
    }

    fn is_sick(&self, app: &App) -> bool {
        app.get("cmd").and_then(Value::as_str).is_some_and(|command| self.sick.contains(command))
    }

    fn tick(&mut self) -> String {
        self.ticks += 1;
        format!("2026-01-01T00:{:02}:{:02}.000Z", self.ticks / 60, self.ticks % 60)
    }

    fn take(&mut self, asked: Asked) -> Reaction {
        let number = self.count;
        self.count += 1;
        let (due, later) = std::mem::take(&mut self.late).into_iter().partition(|(at, _)| *at <= number);
        self.late = later;
        for (_, write) in due as Vec<(usize, Asked)> {
            self.do_as_asked(&write);
        }
        let reaction = self.react(number, &asked);
        let status = if let Reaction::Answer(status, _) = &reaction { Some(*status) } else { None };
        self.asked.push(Asked { status, ..asked });
        reaction
    }

    fn react(&mut self, number: usize, asked: &Asked) -> Reaction {
        let words = |status, message: &str| Reaction::Answer(status, json!({"message": message}));
        let creates =
            asked.verb == Method::POST && asked.app.as_ref().is_some_and(|id| !self.apps.contains_key(id));
        let next = self.next_of.take_if(|(verb, _)| {
            asked.app.is_some() && (asked.verb == *verb || (creates && *verb == "CREATE"))
        });
        match next.map(|(_, fault)| fault).or(self.faults.get(&number).copied()) {
            None => self.normal(asked),
            Some(Fault::DroppedBefore) => Reaction::Drop,
            Some(Fault::DroppedAfter) => {
                self.do_as_asked(asked);
                Reaction::Drop
            }
            Some(Fault::Hangs) => Reaction::Hang,
            Some(Fault::Late(requests)) => {
                self.late.push((number + requests, asked.clone()));
                Reaction::Hang
            }
            Some(Fault::DiesBefore) => {
                self.death.cancel();
                Reaction::Hang
            }
            Some(Fault::DiesAfter) => {
                self.do_as_asked(asked);
                self.death.cancel();
                Reaction::Hang
            }
            Some(Fault::Locked) => locked("somebodys"),
            Some(Fault::Exists) => words(409, "An app with id [/x] already exists."),
            Some(Fault::Invalid) => {
                let details = json!([{"path": "/cmd", "errors": ["as the script says"]}]);
                Reaction::Answer(422, json!({"message": "Object is not valid", "details": details}))
            }
            Some(Fault::Forbidden) => words(403, "Not Authorized to perform this action!"),
            Some(Fault::TooMany) => words(403, "Max number (1) of running deployments is achieved. Wait."),
            Some(Fault::Broken) => words(500, "as the script says"),
            Some(Fault::Busy) => words(503, "as the script says"),
            Some(Fault::BusyAfter) => {
                self.do_as_asked(asked);
                words(503, "as the script says")
            }
            Some(Fault::OtherVersion) => match self.normal(asked) {
                Reaction::Answer(200, mut body) => {
                    body["app"]["version"] = "2027-01-01T00:00:00.000Z".into();
                    Reaction::Answer(200, body)
                }
                other => other,
            },
        }
    }

    fn normal(&mut self, asked: &Asked) -> Reaction {
        let (status, body) = self.do_as_asked(asked);
        Reaction::Answer(status, body)
    }

    fn do_as_asked(&mut self, asked: &Asked) -> (u16, Value) {
        let before = self.applied;
        let answer = match (asked.verb.as_str(), &asked.app) {
            ("GET", None) => self.list(),
            ("GET", Some(id)) => match self.apps.get(id) {
                Some(app) => (200, json!({"app": app.shown()})),
                None => (404, json!({"message": format!("App '{id}' does not exist")})),
            },
            ("POST", Some(id)) if self.apps.contains_key(id) => {
                (409, json!({"message": format!("An app with id [{id}] already exists.")}))
            }
            ("POST" | "PUT", Some(id)) => self.put(id, asked),
            ("DELETE", Some(id)) => self.delete(id, asked),
            _ => (500, json!({"message": "URI not found"})),
        };
        if let (true, Some(after_write)) = (self.applied > before, &mut self.after_write) {
            after_write();
        }
        answer
    }

    fn list(&mut self) -> (u16, Value) {
        if !self.slow {
            let gone = std::mem::take(&mut self.leaving);
            self.apps.retain(|id, _| !gone.contains(id));
        }
        let visible = self.apps.iter().filter(|(id, _)| !self.hidden.contains(*id));
        let shown: Vec<_> = visible.map(|(_, app)| app.shown()).collect();
        let done = |app: &Running| !self.slow && !self.is_sick(&app.definition);
        let done: Vec<_> = self.apps.iter().filter(|(_, app)| done(app)).map(|(id, _)| id.clone()).collect();
        for app in self.apps.iter_mut().filter_map(|(id, app)| done.contains(id).then_some(app)) {
            app.deployment = None;
        }
        (200, json!({"apps": shown}))
    }

    fn put(&mut self, id: &AppId, asked: &Asked) -> (u16, Value) {
        if let Some(there) =
            self.apps.get(id).filter(|there| !self.lenient && moves_volumes(&there.definition, &asked.body))
        {
            let error = "Services with persistent volumes configured may not change resource requirements.";
            let details = json!([{"path": format!("/app({})/cpus", there.version), "errors": [error]}]);
            return (422, json!({"message": "Object is not valid", "details": details}));
        }
        if let Some(lock) = self.lock(id, asked) {
            return lock;
        }
        self.applied += 1;
        let mut definition = App::from_value(asked.body.clone()).unwrap();
        definition.0.insert("id".into(), id.as_str().into());
        let (definition, version) = (normalize_observed(&definition).into_app(), self.tick());
        let deployment = format!("d{}", self.ticks);
        let result = json!({"version": version, "deploymentId": deployment});
        match self.apps.get(id) {
            None => *self.created.entry(id.clone()).or_default() += 1,
            Some(there) if self.stubborn || there.definition == definition => return (200, result),
            Some(_) => {}
        }
        self.history.insert((id.clone(), version.clone()), definition.clone());
        let running = Running { definition, version, deployment: Some(deployment) };
        let shown = running.shown();
        self.apps.insert(id.clone(), running);
        if asked.verb == Method::POST { (201, shown) } else { (200, result) }
    }

    fn delete(&mut self, id: &AppId, asked: &Asked) -> (u16, Value) {
        if !self.apps.contains_key(id) {
            return (404, json!({"message": format!("App '{id}' does not exist")}));
        }
        if let Some(lock) = self.lock(id, asked) {
            return lock;
        }
        self.applied += 1;
        let version = self.tick();
        let deployment = format!("d{}", self.ticks);
        if self.slow {
            self.leaving.insert(id.clone());
            self.apps.entry(id.clone()).and_modify(|app| app.deployment = Some(deployment.clone()));
        } else {
            self.apps.remove(id);
        }
        (200, json!({"version": version, "deploymentId": deployment}))
    }

    fn lock(&self, id: &AppId, asked: &Asked) -> Option<(u16, Value)> {
        let holder = self.apps.get(id)?.deployment.as_ref()?;
        let Reaction::Answer(status, body) = locked(holder) else { return None };
        (!asked.query.contains("force=true")).then_some((status, body))
    }
}

/// Whether Marathon refuses to put that over an app because it has volumes; only of `cpus` it is asked here.
fn moves_volumes(there: &App, body: &Value) -> bool {
    let cpus = there.get("cpus").and_then(Value::as_f64);
    has_volume(&there.0, "persistent") && cpus != body["cpus"].as_f64()
}

fn locked(holder: &str) -> Reaction {
    let message = "App is locked by one or more deployments. Override with the option '?force=true'.";
    Reaction::Answer(409, json!({"message": message, "deployments": [{"id": holder}]}))
}
