//! Starts the program on a directory of its own, asks it, and makes sure that nothing of it is left.

use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};

use serde_json::Value;

pub use crate::program::{DEADLINE, command, eventually, run, wait_for_end};
use crate::program::{Lines, processes_left, until};

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
        processes_left(self.folder.path())
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
    lines: Lines,
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

impl Daemon {
    /// Starts `up` on any free ports and waits until it has said where it listens.
    pub fn start(place: &Place) -> Self {
        Self::start_at(place, "127.0.0.1:0", "127.0.0.1:0")
    }

    /// Starts `up` on these ports.
    pub fn start_at(place: &Place, listen: &str, marathon_listen: &str) -> Self {
        let mut child = spawn_up(place, listen, marathon_listen);
        let lines = Lines::of(child.stdout.take().unwrap());
        let mut daemon = Self { child, lines, registry: String::new(), marathon: String::new() };
        daemon.registry = daemon.address("Registry ");
        daemon.marathon = daemon.address("Marathon ");
        daemon
    }

    fn address(&self, word: &str) -> String {
        until("the addresses are printed", DEADLINE, || self.lines.word_after(word).ok_or("not yet".into()))
    }

    /// What was printed so far.
    pub fn printed(&self) -> String {
        self.lines.text()
    }

    /// Waits until a text is printed; what the API tells comes before the lines that say it.
    pub fn wait_until_printed(&self, text: &str) {
        eventually(&format!("{text:?} is printed"), || {
            let printed = self.printed();
            if printed.contains(text) { Ok(()) } else { Err(printed) }
        });
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
