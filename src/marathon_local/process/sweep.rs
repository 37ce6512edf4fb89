//! Kills what a supervisor left behind that was killed itself.
//!
//! A supervisor cannot clean up after SIGKILL. The processes of its task are then found by the one mark
//! that they inherit: `MESOS_SANDBOX` in their environment.

use std::path::Path;

use rustix::process::{Pid, Signal, kill_process};

/// How often to look again: processes may be born while we look.
const LOOKS: usize = 20;

/// Kills all processes whose sandbox is this directory or lies below it.
pub fn sweep(directory: &Path) {
    let own = rustix::process::getpid();
    for _ in 0..LOOKS {
        let found: Vec<Pid> = marked(directory).filter(|pid| *pid != own).collect();
        if found.is_empty() {
            return;
        }
        for pid in found {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

fn marked(directory: &Path) -> impl Iterator<Item = Pid> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(move |entry| {
        let pid = entry.file_name().to_str()?.parse().ok().and_then(Pid::from_raw)?;
        let environment = std::fs::read(entry.path().join("environ")).ok()?;
        is_below(&environment, directory).then_some(pid)
    })
}

fn is_below(environment: &[u8], directory: &Path) -> bool {
    let mut variables = environment.split(|byte| *byte == 0);
    let sandbox = variables.find_map(|v| v.strip_prefix(b"MESOS_SANDBOX="));
    sandbox.and_then(|s| std::str::from_utf8(s).ok()).is_some_and(|s| Path::new(s).starts_with(directory))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_paths_match() {
        let at = |text: &[u8]| is_below(text, Path::new("/x/sandboxes"));
        assert!(at(b"A=b\0MESOS_SANDBOX=/x/sandboxes/a\0"));
        assert!(!at(b"A=b\0MESOS_SANDBOX=/x/sandboxes-of-others/a\0"));
        assert!(!at(b"NOT_MESOS_SANDBOX=/x/sandboxes/a\0"));
        assert!(!at(b""));
    }
}
