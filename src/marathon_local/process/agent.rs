//! The daemon's end of a supervisor: starts it, gives it orders, hears its reports.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout};

use crate::marathon_local::supervisor::{Instruction, Order, Report, SUBCOMMAND};

/// A running supervisor. Dropping it closes the supervisor's standard input, upon which it kills its task.
pub struct Supervised {
    child: Child,
    orders: Option<ChildStdin>,
    reports: Lines<BufReader<ChildStdout>>,
}

impl Supervised {
    /// Starts a supervisor and gives it its order.
    ///
    /// # Errors
    /// Why it could not be started.
    pub async fn start(program: &Path, order: Order) -> Result<Self, String> {
        let mut child = spawn(program).map_err(|e| format!("cannot start the task supervisor: {e}"))?;
        let (Some(orders), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("the task supervisor has no pipes".to_owned());
        };
        let mut supervised = Self { child, orders: Some(orders), reports: BufReader::new(stdout).lines() };
        supervised.tell(&Instruction::Run(order)).await?;
        Ok(supervised)
    }

    /// SIGTERM to the task, SIGKILL after the grace period.
    ///
    /// # Errors
    /// When the supervisor is gone.
    pub async fn kill(&mut self, grace: Duration) -> Result<(), String> {
        let grace_milliseconds = grace.as_millis().try_into().unwrap_or(u64::MAX);
        self.tell(&Instruction::Kill { grace_milliseconds }).await
    }

    /// The next report; none when the supervisor is gone. Safe to cancel.
    pub async fn report(&mut self) -> Option<Report> {
        loop {
            let line = self.reports.next_line().await.ok().flatten()?;
            if let Ok(report) = serde_json::from_str(&line) {
                return Some(report);
            }
        }
    }

    /// SIGKILL to the task and all that it started, now.
    pub fn kill_now(&mut self) {
        self.orders = None;
    }

    /// Waits until the supervisor's process is gone.
    pub async fn gone(mut self) {
        self.kill_now();
        // An error here means that it is gone already.
        let _ = self.child.wait().await;
    }

    async fn tell(&mut self, instruction: &Instruction) -> Result<(), String> {
        let mut line = serde_json::to_string(instruction).map_err(|e| e.to_string())?;
        line.push('\n');
        let Some(orders) = &mut self.orders else { return Ok(()) };
        orders.write_all(line.as_bytes()).await.map_err(|e| format!("the task supervisor is gone: {e}"))
    }
}

#[expect(clippy::disallowed_methods, reason = "the process executor starts programs")]
fn spawn(program: &Path) -> std::io::Result<Child> {
    let mut command = tokio::process::Command::new(program);
    command.arg(SUBCOMMAND).env_clear().process_group(0);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    command.spawn()
}

/// A command line for the shell that Mesos uses.
pub fn shell(command: &str) -> Vec<String> {
    vec!["/bin/sh".to_owned(), "-c".to_owned(), command.to_owned()]
}
