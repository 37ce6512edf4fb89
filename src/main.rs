//! The program: arguments, telemetry, run, drain, exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    dcos_registry::cli::main(std::env::args_os())
}
