//! As users run it: an app with three instances under Marathon, all on one bucket, controlling that same Marathon.

use std::path::PathBuf;
use std::process::{Child, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::instance::Place;
use crate::ledger::shown;
use crate::prepared::write_package;
use crate::program::{DEADLINE, Lines, command, processes_with, program, until, wait_for_end};
use crate::s3_double::S3Double;
use crate::web::{ask, get};

const OWN: &str = "/dcos-registry";

/// `dcos-registry marathon-local`. Dropping it kills it, and its tasks end with it.
pub struct LocalMarathon {
    child: Child,
    pub url: String,
}

impl LocalMarathon {
    pub fn start(place: &Place) -> Self {
        let mut child = command()
            .args(["marathon-local", "--port", "0", "--dir"])
            .arg(place.path().join("marathon"))
            .env_remove("MARATHON_APP_ID")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = Lines::of(child.stdout.take().unwrap());
        let url =
            until("it says where it is", DEADLINE, || lines.word_after("Marathon ").ok_or("not yet".into()));
        Self { child, url }
    }

    /// All apps.
    pub fn apps(&self) -> Result<Vec<Value>, String> {
        let apps = get(&format!("{}/v2/apps", self.url))?.json()?;
        apps["apps"].as_array().cloned().ok_or_else(|| apps.to_string())
    }

    fn stop(mut self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        assert_eq!(wait_for_end(&mut self.child).code(), Some(0));
    }
}

impl Drop for LocalMarathon {
    fn drop(&mut self) {
        // It has ended already where the test went well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A local Marathon, the bucket, and the manifests of its registry.
struct Site {
    place: Place,
    marathon: LocalMarathon,
    double: S3Double,
}

/// A task of ours.
#[derive(Debug)]
struct Task {
    id: String,
    url: String,
}

impl Site {
    fn start() -> Self {
        let (place, double) = (Place::new(), S3Double::start());
        let marathon = LocalMarathon::start(&place);
        Self { place, marathon, double }
    }

    /// The configuration of all instances, which learn their port from Marathon.
    fn config(&self) -> PathBuf {
        let keys = "[default]\naws_access_key_id = own\naws_secret_access_key = secret\n";
        let keys = self.place.write("keys", keys).display().to_string();
        let manifests = self.place.path().join("manifests").display().to_string();
        let (endpoint, spool) =
            (self.double.endpoint(), self.place.path().join("spool").display().to_string());
        self.place.write(
            "registry.yaml",
            &format!(
                "storage:\n  s3: {{bucket: registry, endpoint: '{endpoint}', credentials: {{file: {keys}}}}}\n  \
                 spool: {spool}\n\
                 marathon: {{url: '{}'}}\n\
                 sources: [{{name: here, directory: {manifests}, interval: 1s, prune: true, allowEmpty: true}}]\n\
                 ha: {{ttl: 2400ms}}\n",
                self.marathon.url
            ),
        )
    }

    /// A manifest: a package, an app, and a document that would change our own app if it could.
    fn manifest(&self, instances: u64, with_own: bool) {
        write_package(&self.place, "manifests/hello", "hello", "1.0");
        let package =
            "kind: Package\nmetadata: {name: hello}\nspec: {version: '1.0', source: {directory: hello}}\n";
        let app = |name: &str, id: &str, instances| {
            format!(
                "kind: App\nmetadata: {{name: {name}}}\nspec:\n  app: {{id: {id}, cmd: sleep 1000, cpus: 0.01, mem: 4, \
                 instances: {instances}}}\n"
            )
        };
        let mut documents = vec![package.to_owned(), app("sleeper", "/demo/sleeper", instances)];
        if with_own {
            documents.push(app("own", OWN, 1));
        }
        let head = "apiVersion: dcos-registry/v1\n";
        let text: Vec<String> = documents.iter().map(|document| format!("{head}{document}")).collect();
        self.place.write("manifests/demo.yaml", &text.join("---\n"));
    }

    fn send(&self, method: &str, path: &str, body: &Value) {
        let answer =
            ask(method, &format!("{}{path}", self.marathon.url), body.to_string().into_bytes()).unwrap();
        assert!(answer.status < 300, "{method} {path}: {} {}", answer.status, answer.text());
    }

    fn app(&self, id: &str) -> Result<Value, String> {
        Ok(get(&format!("{}/v2/apps{id}", self.marathon.url))?.json()?["app"].clone())
    }

    /// Waits until an app has settled with so many tasks.
    fn settled(&self, id: &str, count: &str, wanted: u64) -> Value {
        until(&format!("{wanted} tasks of {id}"), DEADLINE, || {
            let app = self.app(id)?;
            let settled =
                app[count] == wanted && app["deployments"] == json!([]) && app["instances"] == wanted;
            if settled { Ok(app) } else { Err(app.to_string()) }
        })
    }

    /// Our tasks, all healthy.
    fn own_tasks(&self, wanted: u64) -> Vec<Task> {
        let app = self.settled(OWN, "tasksHealthy", wanted);
        let tasks = app["tasks"].as_array().unwrap().iter();
        tasks
            .map(|task| Task {
                id: task["id"].as_str().unwrap().to_owned(),
                url: format!("http://127.0.0.1:{}", task["ports"][0]),
            })
            .collect()
    }

    /// Everything of our app that a write to it would change.
    fn own_version(&self) -> (Value, Value, Value) {
        let app = self.app(OWN).unwrap();
        (app["version"].clone(), app["cmd"].clone(), app["instances"].clone())
    }

    /// kill -9 to the process of a task.
    fn kill(&self, task: &Task) {
        let name = format!("MESOS_TASK_ID={}", task.id);
        let processes = processes_with(self.place.path());
        let of_task = processes.iter().filter(|process| {
            process.environment.contains(&name) && process.arguments.get(1).is_some_and(|word| word == "run")
        });
        let pids: Vec<i32> = of_task.map(|process| process.pid).collect();
        assert_eq!(pids.len(), 1, "{task:?}");
        kill_process(Pid::from_raw(pids[0]).unwrap(), Signal::KILL).unwrap();
    }

    /// The one task that says that it leads.
    fn leading(tasks: &[Task]) -> &Task {
        until("one task leads", DEADLINE, || {
            let leads = |task: &&Task| {
                get(&format!("{}/metrics", task.url))
                    .is_ok_and(|text| text.text().contains("dcos_registry_leader 1\n"))
            };
            let leading: Vec<&Task> = tasks.iter().filter(leads).collect();
            if let [one] = leading[..] { Ok(one) } else { Err(format!("{leading:?}")) }
        })
    }

    /// Every task shows the package, and its file is there.
    fn check_served(tasks: &[Task]) {
        for task in tasks {
            until("the package is served", DEADLINE, || {
                let shown = shown(&task.url)?;
                let uri =
                    shown.get("hello/1.0").and_then(|uris| uris.get("data")).ok_or("it is not shown")?;
                let answer = get(uri)?;
                if answer.body == b"hello 1.0" { Ok(()) } else { Err(answer.text()) }
            });
        }
    }

    /// The leader says why our own app is left alone.
    fn check_own_is_spared(leader: &Task) {
        until("our own app is spared by name", DEADLINE, || {
            let status = get(&format!("{}/api/v1/status", leader.url))?.text();
            let spared = status.contains("the app that runs this very controller");
            if spared { Ok(()) } else { Err(status) }
        });
    }

    fn stop(self) {
        self.marathon.stop();
        self.place.check_nothing_runs();
    }
}

fn own_app(config: &std::path::Path) -> Value {
    json!({
        "id": OWN,
        "cmd": format!("exec {} run --config {}", program().display(), config.display()),
        "instances": 3,
        "cpus": 0.1,
        "mem": 64,
        "portDefinitions": [{"port": 0, "protocol": "tcp", "name": "http"}],
        "healthChecks": [{
            "protocol": "HTTP", "path": "/health", "portIndex": 0,
            "gracePeriodSeconds": 30, "intervalSeconds": 1, "timeoutSeconds": 5, "maxConsecutiveFailures": 5,
        }],
    })
}

#[test]
fn three_instances_under_marathon_share_a_bucket_and_control_that_marathon() {
    let site = Site::start();
    site.manifest(1, true);
    site.send("POST", "/v2/apps", &own_app(&site.config()));
    let tasks = site.own_tasks(3);
    let before = site.own_version();
    site.settled("/demo/sleeper", "tasksRunning", 1);
    Site::check_served(&tasks);

    let leader = Site::leading(&tasks);
    Site::check_own_is_spared(leader);
    site.kill(leader);
    let tasks = until("another task came for the one that was killed", DEADLINE, || {
        let now = site.own_tasks(3);
        if now.iter().any(|task| task.id == leader.id) { Err(format!("{now:?}")) } else { Ok(now) }
    });
    assert_ne!(Site::leading(&tasks).id, leader.id);
    site.manifest(2, true);
    site.settled("/demo/sleeper", "tasksRunning", 2);
    assert_eq!(site.own_version(), before, "our own app was touched");

    site.send("PUT", &format!("/v2/apps{OWN}"), &json!({"instances": 2}));
    let tasks = site.own_tasks(2);
    let before = site.own_version();
    Site::check_served(&tasks);
    // Without the document that names our own app; nor is the app taken for one that must go.
    site.manifest(1, false);
    site.settled("/demo/sleeper", "tasksRunning", 1);
    Site::check_served(&tasks);
    assert_eq!(site.own_version(), before, "our own app was touched");
    Site::leading(&tasks);
    site.stop();
}
