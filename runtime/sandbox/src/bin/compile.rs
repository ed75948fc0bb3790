//! The compiling process alone, for tests and for programs that embed the sandbox.
//! The server uses its own hidden subcommand with the same body.

use std::process::ExitCode;

fn main() -> ExitCode {
    stepwell_sandbox::compile_main(std::env::args_os().skip(1))
}
