//! The bridge to machines against a real virtual machine, with a kernel, a disk and an end of its own.
//!
//! `cargo xtask test vm` builds its image first. Emulation is slow, so it is no part of a run of all suites.

use std::time::Duration;

use anyhow::Result;
use serde_json::json;
use stepwell_tests::bridges::ask::failed;
use stepwell_tests::bridges::machine::Machine as _;
use stepwell_tests::bridges::vm::Vm;
use stepwell_tests::machines::House;
use stepwell_tests::wait::until;

stepwell_tests::machine_cases!(Vm);

#[test]
fn a_machine_that_says_nothing_for_a_while_is_waited_for() -> Result<()> {
    let house = House::<Vm>::new("")?;
    let line = format!("echo \"$$\" >> {}; sleep 40; echo done", house.ledger());
    let run = json!({"machine": "worker", "command": ["sh", "-c", line]});
    let id = house.api.start("run", run.to_string())?;
    house.until_begun(1)?;
    // Longer than a connection lives without an answer, and more than a minute after the beginning.
    std::thread::sleep(Duration::from_secs(15));
    house.machine.freeze()?;
    std::thread::sleep(Duration::from_secs(80));
    house.machine.thaw()?;
    let run = house.api.ended(&id)?;
    assert_eq!(run["output"]["stdout"], "done\n", "{run}");
    assert_eq!(house.begun()?.len(), 1);
    house.no_run_left()
}

#[test]
fn a_dead_machine_is_named_and_its_circuit_opens_until_it_is_back() -> Result<()> {
    let limits = "[limits.breaker]\nfailures = 1\nopen_ms = 15000\n";
    let mut house = House::<Vm>::new(limits)?;
    let input = json!({"machine": "worker", "command": ["true"]});
    // Nobody says that it is dead: packets go there, and nothing comes back.
    house.machine.freeze()?;
    let id = house.api.start("run", input.to_string())?;
    failed(&house.api.ended(&id)?, "Stepwell.MachineUnreachable");
    let run = house.api.run("run", &input.to_string())?;
    failed(&run, "Stepwell.CircuitOpen");
    house.machine.kill()?;
    house.machine.boot()?;
    until("a run on the machine", || {
        let run = house.api.run("run", &input.to_string())?;
        Ok((run["status"] == "SUCCEEDED").then_some(()))
    })?;
    house.no_run_left()
}

#[test]
fn a_machine_whose_power_goes_takes_its_programs_with_it_and_says_so() -> Result<()> {
    let mut house = House::<Vm>::new("")?;
    let line = format!("echo \"$$\" >> {}; sync; sleep 600", house.ledger());
    let run = json!({"machine": "worker", "command": ["sh", "-c", line]});
    let id = house.api.start("run", run.to_string())?;
    house.until_begun(1)?;
    house.machine.shell("sync")?;
    // Both die, and the machine is back first: what is on its disk is of another life.
    house.server.kill()?;
    house.machine.kill()?;
    house.machine.boot()?;
    house.server.start()?;
    failed(&house.api.ended(&id)?, "Stepwell.MachineLost");
    assert_eq!(house.begun()?.len(), 1);
    house.no_run_left()
}
