//! From a call to a checked run on a machine.
//!
//! Refuses machines that the configuration does not name.

use stepwell_types::{Failure, MachineCall};

use super::MachinesOptions;
use crate::job::program::{self, Ceilings, Kind, Program};

const KIND: Kind = Kind::Machine;

/// A checked run.
#[derive(Debug, Clone)]
pub(super) struct Checked {
    pub(super) program: Program,
    pub(super) machine: String,
    pub(super) command: Vec<String>,
}

/// Checks a call against what is granted.
/// # Errors
/// `Stepwell.MachineInvalidRequest`, `Stepwell.MachineNotGranted`, `Stepwell.MachinePathRefused`.
pub(super) fn check(call: MachineCall, options: &MachinesOptions) -> Result<Checked, Failure> {
    if !options.machines.contains_key(&call.machine) {
        let shown: String = call.machine.chars().take(100).collect();
        return Err(KIND.failure(
            "NotGranted",
            format!("machine `{shown}` is not granted: the server's configuration has no [machines.NAME] of that name"),
        ));
    }
    program::arguments(KIND, &call.command)?;
    match call.command.first() {
        None => return Err(KIND.invalid("command must name a program")),
        // The shell's `exec` would take it for an option.
        Some(program) if program.is_empty() || program.starts_with('-') => {
            return Err(KIND.invalid("command must begin with a program's name or path"));
        }
        Some(_) => {}
    }
    let ceilings = Ceilings {
        timeout_ms: options.timeout_ms_max,
        stdout_bytes: options.stdout_bytes_max,
    };
    Ok(Checked {
        program: Program::check(KIND, call.program, ceilings, true)?,
        machine: call.machine,
        command: call.command,
    })
}
