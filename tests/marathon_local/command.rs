//! `marathon-local` as a user runs it: the real program in the foreground, real tasks, signals.

use std::process::Stdio;
use std::time::Duration;

use dcos_registry::clock::Clock;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Child;

use super::harness::{AGENT, wait};

/// Everything that ends ends within this; else the test fails.
const LIMIT: Duration = Duration::from_secs(30);

struct Running {
    child: Child,
    url: String,
    folder: TempDir,
    clock: Clock,
    http: reqwest::Client,
}

impl Running {
    #[expect(clippy::disallowed_methods, reason = "a process test starts processes")]
    async fn start() -> Self {
        let (clock, folder) = (Clock::system(), TempDir::new().unwrap());
        let mut child = tokio::process::Command::new(AGENT)
            .args(["marathon-local", "--port", "0", "--dir"])
            .arg(folder.path().join("state"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let first = clock.timeout(LIMIT, lines.next_line()).await.unwrap().unwrap().unwrap();
        let url = first.split_whitespace().nth(1).unwrap().to_owned();
        dcos_registry::marathon::install_tls_provider();
        let http = reqwest::Client::builder().no_proxy().timeout(LIMIT).build().unwrap();
        Self { child, url, folder, clock, http }
    }

    async fn send(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let request = self.http.request(method.parse().unwrap(), format!("{}{path}", self.url));
        let response = request.json(body).send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap())
    }

    /// Waits until an app has settled with as many running tasks as wanted; gives their ids.
    async fn tasks(&self, id: &str, count: &str, wanted: u64) -> Vec<String> {
        wait(&self.clock, &format!("{wanted} tasks"), async || {
            let (_, answer) = self.send("GET", &format!("/v2/apps{id}"), &json!(null)).await;
            let app = &answer["app"];
            if app[count] != wanted || app["deployments"] != json!([]) {
                return Err(answer.to_string());
            }
            let tasks = app["tasks"].as_array().unwrap();
            Ok(tasks.iter().map(|task| task["id"].as_str().unwrap().to_owned()).collect())
        })
        .await
    }

    /// Processes with this folder in their environment or arguments: the program, its supervisors, its tasks.
    fn processes(&self) -> Vec<(i32, String)> {
        let mark = self.folder.path().to_string_lossy().into_owned();
        let entries = std::fs::read_dir("/proc").unwrap().flatten();
        let found = entries.filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            let read = |name: &str| std::fs::read(entry.path().join(name)).unwrap_or_default();
            let text = String::from_utf8_lossy(&[read("cmdline"), read("environ")].concat()).into_owned();
            text.contains(&mark).then_some((pid, text))
        });
        found.collect()
    }

    /// kill -9 to the processes of a task that have a word in their arguments.
    fn kill(&self, task: &str, word: &str) {
        let mark = format!("MESOS_TASK_ID={task}");
        let of_task = self.processes().into_iter().filter(|(_, text)| text.contains(&mark));
        let pids: Vec<_> = of_task.filter(|(_, text)| text.contains(word)).map(|(pid, _)| pid).collect();
        assert!(!pids.is_empty(), "no process of {task}");
        for pid in pids {
            kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
        }
    }

    async fn stop(mut self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().unwrap().try_into().unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
        let status = self.clock.timeout(LIMIT, self.child.wait()).await.unwrap().unwrap();
        assert_eq!(status.code(), Some(0));
        assert_eq!(self.processes(), []);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn three_tasks_run_come_back_and_end_with_it() {
    let running = Running::start().await;
    let app = json!({"id": "/three", "cmd": "exec sleep 1000", "instances": 3, "backoffSeconds": 0});
    let (status, answer) = running.send("POST", "/v2/apps", &app).await;
    assert_eq!(status, 201, "{answer}");
    let first = running.tasks("/three", "tasksRunning", 3).await;
    running.kill(&first[0], "sleep");
    let second = wait(&running.clock, "another task", async || {
        let tasks = running.tasks("/three", "tasksRunning", 3).await;
        if tasks.contains(&first[0]) { Err(format!("{tasks:?}")) } else { Ok(tasks) }
    })
    .await;
    assert!(second.contains(&first[1]) && second.contains(&first[2]), "the others stay: {second:?}");
    running.stop(Signal::TERM).await;
}

/// The way in which this program itself is run: one app, several instances, each on the port that it is given,
/// looked after by HTTP.
#[tokio::test(flavor = "multi_thread")]
async fn instances_of_this_program_are_one_app() {
    let running = Running::start().await;
    let app = json!({
        "id": "/self", "instances": 3, "backoffSeconds": 0, "taskKillGracePeriodSeconds": 10,
        "cmd": format!("exec {AGENT} marathon-local --port $PORT0 --dir state"),
        "portDefinitions": [{"port": 0}],
        "healthChecks": [{"protocol": "HTTP", "path": "/ping", "portIndex": 0, "intervalSeconds": 1,
            "gracePeriodSeconds": 20, "timeoutSeconds": 5}],
    });
    let (status, answer) = running.send("POST", "/v2/apps", &app).await;
    assert_eq!(status, 201, "{answer}");
    let first = running.tasks("/self", "tasksHealthy", 3).await;
    running.kill(&first[1], "--port");
    wait(&running.clock, "another healthy task", async || {
        let tasks = running.tasks("/self", "tasksHealthy", 3).await;
        if tasks.contains(&first[1]) { Err(format!("{tasks:?}")) } else { Ok(()) }
    })
    .await;
    let (status, answer) = running.send("PUT", "/v2/apps/self", &json!({"instances": 1})).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(running.tasks("/self", "tasksHealthy", 1).await.len(), 1);
    running.stop(Signal::INT).await;
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::disallowed_methods, reason = "a process test starts processes")]
async fn secrets_that_cannot_be_had_are_refused_at_the_start() {
    let (clock, folder) = (Clock::system(), TempDir::new().unwrap());
    let (missing, file) = (folder.path().join("missing"), folder.path().join("file"));
    std::fs::write(&file, "").unwrap();
    for (secrets, reason) in [(missing, "it is not there"), (file, "it is none")] {
        let mut command = tokio::process::Command::new(AGENT);
        command.args(["marathon-local", "--port", "0", "--dir"]).arg(folder.path().join("state"));
        command.arg("--secrets").arg(&secrets).stdin(Stdio::null()).kill_on_drop(true);
        let output = clock.timeout(LIMIT, command.output()).await.expect("it runs").unwrap();
        assert!(!output.status.success());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains(&secrets.display().to_string()), "{said}");
        assert!(said.contains(reason) && said.contains("--secrets"), "{said}");
    }
}
