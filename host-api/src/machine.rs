//! The bridge `vm:run`: one program on a machine over SSH as a Task, through the gate.
//!
//! Refuses machines whose key is not known, and to begin a program twice for one attempt:
//! the far side keeps it in a directory that a crash of ours does not touch.

mod connection;
mod request;
mod run;
mod script;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use stepwell_types::{
    AttemptId, BridgeCall, Data, Digest, EntryId, Failure, MachineCall, Spent, StepOutcome,
    StepRequest,
};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub use connection::{KeySource, MachineOptions, private_key, public_key, secret_key};

use crate::gate::Gate;
use crate::http::WallClock;
use crate::job::program::Kind;
use crate::job::{self, Fault};
use crate::objects::Objects;
use connection::Connections;
use run::Run;

/// How often what nobody wants is looked for.
const SWEEP: Duration = Duration::from_secs(600);
/// Most bytes of a list of runs.
const LIST_BYTES: usize = 1 << 20;

/// Settings of the bridge. No machine by default.
#[derive(Clone)]
pub struct MachinesOptions {
    /// By name.
    pub machines: BTreeMap<String, MachineOptions>,
    /// Longest run in milliseconds. Default a day.
    pub timeout_ms_max: u64,
    /// Largest standard output that a call may ask for, in bytes. Default 8 MiB.
    pub stdout_bytes_max: u64,
    /// Names this server there: it touches no other's runs. Letters, digits and `-`.
    pub instance: String,
}

impl Default for MachinesOptions {
    fn default() -> MachinesOptions {
        MachinesOptions {
            machines: BTreeMap::new(),
            timeout_ms_max: 86_400_000,
            stdout_bytes_max: 8 << 20,
            instance: String::new(),
        }
    }
}

/// Runs programs on machines. Runs on tokio; cheap to clone.
#[derive(Clone)]
pub struct MachineBridge(Arc<Inner>);

struct Inner {
    options: MachinesOptions,
    places: BTreeMap<String, Arc<Place>>,
    objects: Arc<dyn Objects>,
    clock: WallClock,
    stopping: CancellationToken,
}

/// One machine.
struct Place {
    ways: Connections,
    runs: Semaphore,
}

impl MachineBridge {
    /// A bridge with these settings. `stopping` is cancelled when the server begins to stop:
    /// what runs then goes on and is found by the next process.
    #[must_use]
    pub fn new(
        options: MachinesOptions,
        objects: Arc<dyn Objects>,
        clock: WallClock,
        stopping: CancellationToken,
    ) -> MachineBridge {
        let places = options.machines.iter().map(|(name, machine)| {
            let runs_max = machine.runs_max.clamp(1, Semaphore::MAX_PERMITS);
            let place = Place {
                ways: Connections::new(name, machine.clone()),
                runs: Semaphore::new(runs_max),
            };
            (name.clone(), Arc::new(place))
        });
        MachineBridge(Arc::new(Inner {
            places: places.collect(),
            options,
            objects,
            clock,
            stopping,
        }))
    }

    /// Runs one attempt of a `vm:run` task.
    ///
    /// Output `{"exit_code", "stdout", "stderr"}`: standard output as text (base 64 where it
    /// is none, said by `"stdout_encoding"`) or as the JSON value that was asked for, and
    /// the end of standard error, whose lines are in the execution's log.
    /// Fails with `Stepwell.MachineExitCode` (the same object is the cause),
    /// `States.Timeout`, `Stepwell.MachineNotGranted`, `Stepwell.MachineInvalidRequest`,
    /// `Stepwell.MachinePathRefused`, `Stepwell.MachineHostUnknown`,
    /// `Stepwell.MachineHostKeyMismatch`, `Stepwell.MachineAuthenticationFailed`,
    /// `Stepwell.MachineUnreachable`, `Stepwell.MachineRefused`, `Stepwell.MachineLost`,
    /// `Stepwell.MachineOutputTooLarge`, `Stepwell.MachineBadOutput`,
    /// `Stepwell.FileTransferFailed`, `Stepwell.ReplayDiverged` or `Stepwell.Stopped`.
    ///
    /// Dropping the future kills the program once it is durable that nobody wants it.
    pub async fn run(&self, gate: Arc<dyn Gate>, request: StepRequest) -> StepOutcome {
        let started = Instant::now();
        let mut bytes = request.input.len_bytes() as u64;
        let result = self.attempt(gate, &request).await;
        if let Ok(data) = &result {
            bytes += data.len_bytes() as u64;
        }
        StepOutcome {
            result,
            spent: Spent {
                fuel: 0,
                time_us: u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX),
                bytes,
            },
            logs: Vec::new(),
            effects: None,
        }
    }

    async fn attempt(&self, gate: Arc<dyn Gate>, request: &StepRequest) -> Result<Data, Failure> {
        let call: MachineCall = serde_json::from_str(request.input.text())
            .map_err(|e| Kind::Machine.invalid(format!("the input is no run on a machine: {e}")))?;
        let inner = &self.0;
        let checked = request::check(call, &inner.options)?;
        if let Some(grants) = &request.grants
            && !grants
                .machines
                .iter()
                .any(|grant| **grant == *checked.machine)
        {
            return Err(Failure::new(
                "Stepwell.NotGranted",
                format!(
                    "the manifest does not grant machine `{}`; add it under `machines` and publish again",
                    checked.machine
                ),
            ));
        }
        let place = inner.places.get(&checked.machine);
        let place = Arc::clone(place.ok_or_else(|| Kind::Machine.failure("NotGranted", "gone"))?);
        let call = BridgeCall {
            by: request.id(),
            call: 0,
            request: Digest::of(request.input.text().as_bytes()),
            notes: None,
        };
        let run = Run::new(inner, place, &gate, call.clone(), checked);
        job::run(gate, inner.stopping.clone(), call, Arc::new(run)).await
    }

    /// Removes, until the server stops, runs of this server that nobody wants: what a dead
    /// process left, and what could not be removed when its attempt ended.
    pub async fn sweep(&self, gate: Arc<dyn Gate>) {
        let inner = &self.0;
        loop {
            for (name, place) in &inner.places {
                if let Err(fault) = sweep_one(inner, place, &*gate).await {
                    tracing::warn!(machine = %name, reason = ?fault, "runs that nobody wants may be left there");
                }
            }
            tokio::select! {
                () = inner.stopping.cancelled() => return,
                () = tokio::time::sleep(SWEEP) => {}
            }
        }
    }
}

async fn sweep_one(inner: &Inner, place: &Place, gate: &dyn Gate) -> Result<(), Fault> {
    for call in list(inner, place).await? {
        let key = job::key(&call);
        if job::unwanted(gate, call, &inner.stopping).await {
            tracing::info!(run = %key, "a run that nobody wants is removed");
            clear(inner, place, &key).await?;
        }
    }
    Ok(())
}

/// The runs of this server on a machine.
async fn list(inner: &Inner, place: &Place) -> Result<Vec<BridgeCall>, Fault> {
    let command = script::command("list", &inner.options.instance, "", 0);
    let answer = place
        .ways
        .exec(&command, run::nothing(), LIST_BYTES)
        .await?;
    let text = String::from_utf8_lossy(&answer.stdout);
    Ok(text.lines().filter_map(call_of).collect())
}

/// `EXECUTION-ENTRY-ATTEMPT-CALL DIGEST`
fn call_of(line: &str) -> Option<BridgeCall> {
    let (key, request) = line.split_once(' ')?;
    let mut parts = key.split('-');
    let call = BridgeCall {
        by: AttemptId {
            execution: parts.next()?.parse().ok()?,
            entry: EntryId(parts.next()?.parse().ok()?),
            attempt: parts.next()?.parse().ok()?,
        },
        call: parts.next()?.parse().ok()?,
        request: request.parse().ok()?,
        notes: None,
    };
    parts.next().is_none().then_some(call)
}

/// Ends a run and removes all of it; none there is as good.
async fn clear(inner: &Inner, place: &Place, key: &str) -> Result<(), Fault> {
    let command = script::command("clear", &inner.options.instance, key, 0);
    let answer = place.ways.exec(&command, run::nothing(), 0).await?;
    match answer.status {
        Some(0) => Ok(()),
        _ => {
            let stderr = String::from_utf8_lossy(&answer.stderr);
            let cause = format!("a run could not be removed: {}", stderr.trim());
            Err(Kind::Machine.failure("Refused", cause).into())
        }
    }
}
