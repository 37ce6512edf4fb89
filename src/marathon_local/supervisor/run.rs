//! The supervisor's loop: start, wait, kill, reap, report.

use std::io::Write as _;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, WaitOptions, WaitStatus};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::net::unix::pipe;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{Instruction, Order, Report, descendants, output};
use crate::clock::Clock;
use crate::workers::Workers;

/// The grace period when the supervisor itself is told to end by a signal.
const OWN_GRACE: Duration = Duration::from_secs(3);

/// How long the output of a task whose processes are all gone may take to be written.
const OUTPUT_LIMIT: Duration = Duration::from_secs(2);

/// Between two looks at processes that were sent SIGKILL.
const SHORTEST_LOOK: Duration = Duration::from_millis(2);
const LONGEST_LOOK: Duration = Duration::from_millis(100);

#[derive(Debug, thiserror::Error)]
pub enum SupervisorError {
    #[error("cannot prepare for supervision: {0}")]
    Prepare(#[from] std::io::Error),
    #[error("the first line must be an order to run a program")]
    NoOrder,
}

/// What ended the wait for the task.
enum End {
    /// The program ended by itself or was terminated in time, with this status.
    Program(WaitStatus),
    /// Time to kill: the grace period is over, or the daemon is gone.
    Kill,
}

struct Supervisor {
    instructions: Lines<BufReader<pipe::Receiver>>,
    children: Signal,
    terminate: Signal,
    interrupt: Signal,
    clock: Clock,
    /// The task's first process, whose id is that of its group.
    program: Pid,
    status: Option<WaitStatus>,
    /// Boot time at which SIGKILL is due, once the task was told to end.
    kill_at: Option<Duration>,
}

/// Runs the order that stands on standard input; returns the exit code.
pub async fn supervise() -> Result<u8, SupervisorError> {
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).map_err(std::io::Error::from)?;
    // The handlers stand before the child exists, so that no signal is lost.
    let (children, terminate, interrupt) =
        (signal(SignalKind::child())?, signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let stdin = std::io::stdin().as_fd().try_clone_to_owned()?;
    let mut instructions = BufReader::new(pipe::Receiver::from_owned_fd(stdin)?).lines();
    let Some(first) = instructions.next_line().await? else { return Ok(0) };
    let Ok(Instruction::Run(order)) = serde_json::from_str(&first) else {
        return Err(SupervisorError::NoOrder);
    };
    let (clock, copiers) = (Clock::system(), Workers::new());
    let program = match start(&order, &copiers) {
        Ok(program) => program,
        Err(message) => {
            report(&Report::Refused { message });
            return Ok(127);
        }
    };
    report(&Report::Started { pid: program.as_raw_pid() });
    let supervisor = Supervisor {
        instructions,
        children,
        terminate,
        interrupt,
        clock,
        program,
        status: None,
        kill_at: None,
    };
    Ok(supervisor.run(copiers).await)
}

impl Supervisor {
    async fn run(mut self, copiers: Workers) -> u8 {
        if let End::Program(status) = self.wait().await {
            self.status = Some(status);
        }
        self.kill_all().await;
        // All writers are gone, so the copiers are at their end, unless a pipe was handed to a stranger.
        copiers.drain(&self.clock, OUTPUT_LIMIT).await;
        let (code, signal) =
            self.status.map_or((None, Some(9)), |s| (s.exit_status(), s.terminating_signal()));
        report(&Report::Ended { code, signal });
        let code = code.unwrap_or_else(|| 128 + signal.unwrap_or_default());
        u8::try_from(code).unwrap_or(255)
    }

    /// Waits for the end of the program, or for a reason to kill.
    async fn wait(&mut self) -> End {
        loop {
            let all_gone = self.reap();
            if let Some(status) = self.status
                && (self.kill_at.is_none() || all_gone)
            {
                return End::Program(status);
            }
            let now = self.clock.boot();
            if self.kill_at.is_some_and(|at| at <= now) {
                return End::Kill;
            }
            let left = self.kill_at.map(|at| at.saturating_sub(now));
            tokio::select! {
                line = self.instructions.next_line() => match line.ok().flatten() {
                    None => return End::Kill,
                    Some(line) => self.follow(&line),
                },
                _ = self.children.recv() => {}
                _ = self.terminate.recv() => self.ask_to_end(OWN_GRACE),
                _ = self.interrupt.recv() => self.ask_to_end(OWN_GRACE),
                () = self.clock.sleep(left.unwrap_or_default()), if left.is_some() => {}
            }
        }
    }

    fn follow(&mut self, line: &str) {
        if let Ok(Instruction::Kill { grace_milliseconds }) = serde_json::from_str(line) {
            self.ask_to_end(Duration::from_millis(grace_milliseconds));
        }
    }

    /// SIGTERM, and an appointment for SIGKILL. A second call can only bring it forward.
    fn ask_to_end(&mut self, grace: Duration) {
        let at = self.clock.boot() + grace;
        if self.kill_at.is_none() {
            descendants::terminate(self.program);
        }
        self.kill_at = Some(self.kill_at.map_or(at, |before| before.min(at)));
    }

    /// SIGKILL until nobody is left.
    async fn kill_all(&mut self) {
        let mut look = SHORTEST_LOOK;
        while !self.reap() {
            descendants::kill();
            self.clock.sleep(look).await;
            look = (look * 2).min(LONGEST_LOOK);
        }
    }

    /// Collects the children that ended. True when there are no more children, and so no more descendants:
    /// whoever loses its parent becomes our child.
    fn reap(&mut self) -> bool {
        loop {
            match rustix::process::wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) if pid == self.program => self.status = Some(status),
                Ok(Some(_)) | Err(Errno::INTR) => {}
                Ok(None) => return false,
                Err(_) => return true,
            }
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the supervisor is the part of the process executor that starts programs"
)]
fn start(order: &Order, copiers: &Workers) -> Result<Pid, String> {
    let Some((program, arguments)) = order.argv.split_first() else {
        return Err("there is no command".to_owned());
    };
    let output = || if order.keep_output { Stdio::piped() } else { Stdio::null() };
    let mut command = Command::new(program);
    command.args(arguments).env_clear().envs(&order.env).current_dir(&order.directory);
    command.stdin(Stdio::null()).stdout(output()).stderr(output()).process_group(0);
    let mut child = command.spawn().map_err(|error| format!("cannot start {program}: {error}"))?;
    let copied = copy_output(&mut child, &order.directory, copiers);
    // The child is reaped by number, with all the others; its handle is not needed any more.
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    if let Err(error) = copied {
        let _ = child.kill();
        return Err(format!("cannot read the task's output: {error}"));
    }
    pid.ok_or_else(|| "the task has no process id".to_owned())
}

fn copy_output(child: &mut Child, directory: &Path, copiers: &Workers) -> std::io::Result<()> {
    let pipes = [
        ("stdout", child.stdout.take().map(OwnedFd::from)),
        ("stderr", child.stderr.take().map(OwnedFd::from)),
    ];
    for (name, pipe) in pipes {
        if let Some(pipe) = pipe {
            copiers.spawn(name, output::keep(pipe::Receiver::from_owned_fd(pipe)?, directory.join(name)));
        }
    }
    Ok(())
}

/// One line to the daemon. If it is gone, the end of standard input says so; nothing else is to be done.
fn report(report: &Report) {
    if let Ok(mut line) = serde_json::to_string(report) {
        line.push('\n');
        let mut stdout = std::io::stdout().lock();
        let _ = stdout.write_all(line.as_bytes()).and_then(|()| stdout.flush());
    }
}
