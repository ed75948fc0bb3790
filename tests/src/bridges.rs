//! Real systems for the suites of bridges: a Podman, an sshd and a virtual machine of the test's own.
//!
//! Refuses to stand in for them: where one cannot run, its tests fail and say what is missing.
#![allow(
    clippy::disallowed_methods,
    reason = "tests read the clock and the environment; the rule is for the runtime"
)]

pub mod ask;
pub mod https;
pub mod machine;
pub mod place;
pub mod plain;
pub mod podman;
pub mod receiver;
pub mod registry;
pub mod sshd;
pub mod vm;

use std::process::Command;

use anyhow::{Result, ensure};

/// Runs a program to its end and gives what it printed.
///
/// # Errors
/// It cannot be run, or ends with another status than 0.
pub fn output(command: &mut Command) -> Result<String> {
    let done = command.output();
    let done = done.map_err(|e| {
        anyhow::anyhow!(
            "{command:?}: {e}; `cargo xtask test bridges` (for a virtual machine `vm`) installs it"
        )
    })?;
    let stderr = String::from_utf8_lossy(&done.stderr);
    ensure!(
        done.status.success(),
        "{command:?}: {}: {stderr}",
        done.status
    );
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}
