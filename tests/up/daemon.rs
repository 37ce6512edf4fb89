//! Starts the program on a directory of its own, asks it, and makes sure that nothing of it is left.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use serde_json::Value;

/// No wait is longer than this; a wait that reaches it fails the test.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// The program under test.
#[expect(clippy::disallowed_methods, reason = "a test is told which build to run")]
pub fn program() -> PathBuf {
    std::env::var_os("DCOS_REGISTRY_PROGRAM")
        .map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_dcos-registry")), PathBuf::from)
}

#[expect(clippy::disallowed_methods, reason = "a process test starts processes")]
pub fn command() -> Command {
    Command::new(program())
}

/// Runs the program to its end; one that does not end is killed and so has no exit code.
#[expect(clippy::disallowed_methods, reason = "somebody must watch while the output is read")]
pub fn run(arguments: &[&str]) -> Output {
    let mut command = command();
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    let pid = rustix::process::Pid::from_child(&child);
    let (ended, end) = mpsc::channel::<()>();
    let watch = std::thread::spawn(move || {
        if end.recv_timeout(DEADLINE) == Err(mpsc::RecvTimeoutError::Timeout) {
            // It may have ended just now.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    });
    let output = child.wait_with_output().unwrap();
    drop(ended);
    watch.join().unwrap();
    output
}

/// A directory with a copy of the quickstart, and a place for the storage.
pub struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let original = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests/quickstart");
        copy(&original, &folder.path().join("manifests/quickstart"));
        Self { folder }
    }

    pub fn manifests(&self) -> PathBuf {
        self.folder.path().join("manifests/quickstart")
    }

    pub fn dir(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    /// The file of the manifests that holds a text.
    pub fn file_with(&self, text: &str) -> PathBuf {
        let mut files: Vec<_> =
            std::fs::read_dir(self.manifests()).unwrap().map(|e| e.unwrap().path()).collect();
        files.sort();
        let holds =
            |path: &PathBuf| std::fs::read_to_string(path).is_ok_and(|content| content.contains(text));
        files.into_iter().find(holds).unwrap_or_else(|| panic!("no manifest holds {text:?}"))
    }

    /// Replaces a text in the manifest that holds it.
    pub fn edit(&self, from: &str, to: &str) {
        let file = self.file_with(from);
        let content = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, content.replace(from, to)).unwrap();
    }

    /// Processes that carry this place in their environment or arguments.
    pub fn processes(&self) -> Vec<String> {
        let mark = self.folder.path().to_string_lossy().into_owned();
        let mut found = Vec::new();
        for entry in std::fs::read_dir("/proc").unwrap().flatten() {
            let folder = entry.path();
            let read = |name: &str| std::fs::read(folder.join(name)).unwrap_or_default();
            let (environment, arguments) = (read("environ"), read("cmdline"));
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            if text(&environment).contains(&mark) || text(&arguments).contains(&mark) {
                found.push(format!("{}: {}", folder.display(), text(&arguments).replace('\0', " ")));
            }
        }
        found
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            std::fs::copy(&path, &target).unwrap();
        }
    }
}

/// A running `up`.
pub struct Daemon {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
    pub registry: String,
    pub marathon: String,
}

/// Starts `up`; whoever calls reads its output and ends it.
pub fn spawn_up(place: &Place, listen: &str, marathon_listen: &str) -> Child {
    command()
        .args(["up", "--listen", listen, "--marathon-listen", marathon_listen, "--dir"])
        .arg(place.dir())
        .arg("--manifests")
        .arg(place.manifests())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap()
}

/// Ctrl-C, and the exit code; kills what does not end in time.
pub fn interrupt(child: &mut Child) -> ExitStatus {
    rustix::process::kill_process(rustix::process::Pid::from_child(child), rustix::process::Signal::INT)
        .unwrap();
    wait_for_end(child)
}

/// The exit code of a process that is about to end; kills what does not.
#[expect(clippy::disallowed_methods, reason = "a process test waits in real time, for a condition")]
pub fn wait_for_end(child: &mut Child) -> ExitStatus {
    let begun = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if begun.elapsed() > DEADLINE {
            child.kill().unwrap();
            panic!("it did not end");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

impl Daemon {
    /// Starts `up` on any free ports and waits until it has said where it listens.
    pub fn start(place: &Place) -> Self {
        Self::start_at(place, "127.0.0.1:0", "127.0.0.1:0")
    }

    /// Starts `up` on these ports.
    pub fn start_at(place: &Place, listen: &str, marathon_listen: &str) -> Self {
        let mut child = spawn_up(place, listen, marathon_listen);
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (output, kept) = (child.stdout.take().unwrap(), Arc::clone(&lines));
        #[expect(clippy::disallowed_methods, reason = "the output must be read while the test runs")]
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                kept.lock().unwrap().push(line);
            }
        });
        let mut daemon = Self { child, lines, registry: String::new(), marathon: String::new() };
        daemon.registry = daemon.address("Registry ");
        daemon.marathon = daemon.address("Marathon ");
        daemon
    }

    fn address(&self, word: &str) -> String {
        let mut found = String::new();
        eventually("the addresses are printed", || {
            let lines = self.lines.lock().unwrap();
            let line = lines.iter().find(|line| line.starts_with(word)).ok_or("not yet")?;
            line.split_whitespace().nth(1).unwrap().clone_into(&mut found);
            Ok(())
        });
        found
    }

    /// What was printed so far.
    pub fn printed(&self) -> String {
        self.lines.lock().unwrap().join("\n")
    }

    /// Waits until all units are ready.
    pub fn wait_until_ready(&self) {
        eventually("all units are ready", || {
            let status = self.get("/api/v1/status")?;
            let units = status["units"].as_array().ok_or("no units yet")?;
            let ready = |unit: &Value| unit["conditions"][0]["status"] == "True";
            if !units.is_empty() && units.iter().all(ready) { Ok(()) } else { Err(format!("{status}")) }
        });
    }

    /// GETs JSON from the registry.
    pub fn get(&self, path: &str) -> Result<Value, String> {
        Self::get_json(&format!("{}{path}", self.registry))
    }

    fn get_json(url: &str) -> Result<Value, String> {
        let (status, body) = request("GET", url, None)?;
        if status == 200 { serde_json::from_str(&body).map_err(|e| e.to_string()) } else { Err(body) }
    }

    /// An app as the local Marathon shows it.
    pub fn app(&self, id: &str) -> Result<Value, String> {
        Ok(Self::get_json(&format!("{}/v2/apps{id}", self.marathon))?["app"].clone())
    }

    /// Sends a change to the local Marathon, as somebody else would.
    pub fn marathon(&self, method: &str, path: &str, body: Option<&Value>) -> (u16, String) {
        let body = body.map(ToString::to_string);
        request(method, &format!("{}{path}", self.marathon), body.as_deref()).unwrap()
    }

    /// The plan in words, as the command line prints it.
    pub fn plan(&self) -> String {
        let output = run(&["plan", "--server", &self.registry]);
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// kill -9, without a word.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Ctrl-C, and the exit code.
    pub fn interrupt(mut self) -> ExitStatus {
        interrupt(&mut self.child)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Already ended where the test went well.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- the daemon had printed:\n{}", self.printed());
        }
    }
}

/// Tries until it succeeds; fails with the last reason when the deadline passes.
#[expect(clippy::disallowed_methods, reason = "a process test waits in real time, for a condition")]
pub fn eventually(what: &str, mut condition: impl FnMut() -> Result<(), String>) {
    let begun = Instant::now();
    loop {
        match condition() {
            Ok(()) => return,
            Err(reason) if begun.elapsed() > DEADLINE => panic!("{what}: {reason}"),
            Err(_) => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}

/// One HTTP request; the status and the body as text.
pub fn request(method: &str, url: &str, body: Option<&str>) -> Result<(u16, String), String> {
    let response = exchange(method, url, &[("content-type", "application/json")], body)?;
    Ok((response.status, String::from_utf8_lossy(&response.body).into_owned()))
}

/// An answer with its headers.
pub struct Answer {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

/// One HTTP request with headers.
pub fn exchange(
    method: &str,
    url: &str,
    headers: &[(&str, &str)],
    body: Option<&str>,
) -> Result<Answer, String> {
    dcos_registry::marathon::install_tls_provider();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let client = reqwest::Client::builder().no_proxy().timeout(DEADLINE).build().unwrap();
        let mut request = client.request(method.parse().unwrap(), url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.body(body.to_owned());
        }
        let response = request.send().await.map_err(|e| format!("{e:?}"))?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = response.bytes().await.map_err(|e| format!("{e:?}"))?.to_vec();
        Ok(Answer { status, headers, body })
    })
}
