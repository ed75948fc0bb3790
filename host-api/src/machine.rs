//! The bridge to machines over SSH: `vm:run` for Tasks, `stepwell:machine` for guests.
//!
//! Refuses machines whose key is not known, and to begin a program twice for one attempt:
//! the far side keeps it in a directory that a crash of ours does not touch.

mod connection;
mod guest;
mod known;
mod request;
mod run;
mod script;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use stepwell_types::{BridgeCall, Data, Digest, Failure, Grants, MachineCall, StepOutcome};
use tokio_util::sync::CancellationToken;

pub use connection::{KeySource, MachineOptions, private_key, public_key, secret_key};

use crate::gate::Gate;
use crate::http::WallClock;
use crate::job::guest::Carried;
use crate::job::program::Kind;
use crate::job::returned::Returned;
use crate::job::{self, Fault, Order};
use crate::journal::Call;
use crate::limit::Limiter;
use crate::objects::Objects;
use crate::{Journal, task};
use connection::Connections;
use request::Checked;
use run::Run;

const KIND: Kind = Kind::Machine;
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
    places: BTreeMap<String, Place>,
    limiter: Limiter,
    objects: Arc<dyn Objects>,
    clock: WallClock,
    stopping: CancellationToken,
}

/// One machine.
#[derive(Clone)]
struct Place {
    connections: Arc<Connections>,
    returned: Arc<Returned>,
}

impl MachineBridge {
    /// A bridge with these settings. `stopping` is cancelled when the server begins to stop:
    /// what runs then goes on and is found by the next process.
    #[must_use]
    pub fn new(
        options: MachinesOptions,
        objects: Arc<dyn Objects>,
        clock: WallClock,
        limiter: Limiter,
        stopping: CancellationToken,
    ) -> MachineBridge {
        let places = options.machines.iter().map(|(name, machine)| {
            let place = Place {
                connections: Arc::new(Connections::new(name, machine.clone())),
                returned: Arc::default(),
            };
            (name.clone(), place)
        });
        MachineBridge(Arc::new(Inner {
            places: places.collect(),
            limiter,
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
    /// `Stepwell.FileTransferFailed`, `Stepwell.CircuitOpen`, `Stepwell.TooManyWaiting`,
    /// `Stepwell.ReplayDiverged` or `Stepwell.Stopped`.
    ///
    /// Dropping the future kills the program once it is durable that nobody wants it.
    pub async fn run(&self, journal: &Arc<Journal>) -> StepOutcome {
        task::measured(journal.request(), self.attempt(journal)).await
    }

    async fn attempt(&self, journal: &Arc<Journal>) -> Result<Data, Failure> {
        let request = journal.request();
        let call: MachineCall = serde_json::from_str(request.input.text())
            .map_err(|e| KIND.invalid(format!("the input is no run on a machine: {e}")))?;
        let checked = request::check(call, &self.0.options)?;
        if let Some(grants) = &request.grants {
            KIND.granted(grants, &checked.machine)?;
            checked.program.granted(grants)?;
        }
        let digest = Digest::of(request.input.text().as_bytes());
        self.carry_out(journal.call(), checked, digest, false).await
    }

    /// A guest's call. Its exit code is for the guest to judge.
    pub(crate) async fn call(
        &self,
        call: Call,
        grants: Option<&Grants>,
        wanted: MachineCall,
        carried: Carried,
    ) -> Result<Data, Failure> {
        let digest = carried.digest(&wanted);
        KIND.granted(grants.unwrap_or(&Grants::default()), &wanted.machine)?;
        let name = wanted.machine.clone();
        let checked = call.allowed(|| request::check(wanted, &self.0.options))?;
        let Some(mut checked) = checked else {
            return job::answered(call, KIND, &name, digest).await;
        };
        carried.fill(&mut checked.program);
        self.carry_out(call, checked, digest, true).await
    }

    async fn carry_out(
        &self,
        call: Call,
        checked: Checked,
        request: Digest,
        recorded: bool,
    ) -> Result<Data, Failure> {
        let inner = &self.0;
        let place = inner.places.get(&checked.machine);
        let place = place.ok_or_else(|| KIND.failure("NotGranted", "gone"))?;
        let order = Order {
            kind: KIND,
            name: checked.machine.clone(),
            request,
            recorded,
            limiter: inner.limiter.clone(),
            returned: Arc::clone(&place.returned),
            stopping: inner.stopping.clone(),
        };
        let connections = Arc::clone(&place.connections);
        let run = Run::new(inner, connections, &call, request, checked);
        job::run(order, call, Arc::new(run)).await
    }

    /// How many connections are open to a machine; `None`: there is none of this name.
    #[must_use]
    pub fn connections(&self, machine: &str) -> Option<usize> {
        let place = self.0.places.get(machine)?;
        Some(place.connections.count())
    }

    /// [`MachineBridge::sweep`] will be called: until it has looked once, no program begins.
    pub fn will_sweep(&self) {
        for place in self.0.places.values() {
            place.returned.expect();
        }
    }

    /// Removes, until the server stops, runs of this server that nobody wants: what a dead
    /// process left, and what could not be removed when its attempt ended.
    pub async fn sweep(&self, gate: Arc<dyn Gate>) {
        let inner = &self.0;
        loop {
            let gate = &*gate;
            // At once: one that is away keeps nobody waiting for another.
            join_all(inner.places.iter().map(|(name, place)| async move {
                let swept = sweep_one(inner, name, place, gate).await;
                // Whatever came of it.
                place.returned.over();
                if let Err(fault) = swept {
                    tracing::warn!(machine = %name, reason = ?fault, "runs that nobody wants may be left there");
                }
            }))
            .await;
            tokio::select! {
                () = inner.stopping.cancelled() => return,
                () = tokio::time::sleep(SWEEP) => {}
            }
        }
    }
}

async fn sweep_one(inner: &Inner, name: &str, place: &Place, gate: &dyn Gate) -> Result<(), Fault> {
    let (mut unwanted, mut there) = (Vec::new(), HashSet::new());
    for call in list(inner, &place.connections).await? {
        let key = job::key(&call);
        if job::unwanted(gate, call, &inner.stopping).await {
            unwanted.push(key);
            continue;
        }
        let resume = || inner.limiter.resume(&KIND.target(name));
        place.returned.found(&key, resume);
        there.insert(key);
    }
    // Nobody has to wait until the others are gone.
    place.returned.keep(&there);
    place.returned.over();
    for key in unwanted {
        tracing::info!(run = %key, "a run that nobody wants is removed");
        clear(inner, &place.connections, &key).await?;
    }
    Ok(())
}

/// The runs of this server on a machine.
async fn list(inner: &Inner, place: &Connections) -> Result<Vec<BridgeCall>, Fault> {
    let command = script::command("list", &inner.options.instance, "", 0);
    let answer = place.exec(&command, run::nothing(), LIST_BYTES).await?;
    let text = String::from_utf8_lossy(&answer.stdout);
    // `EXECUTION-ENTRY-ATTEMPT-CALL DIGEST`; what has no digest was being brought when somebody died.
    // To the gate it is another request than any: it says so where the call is wanted.
    let none = Digest([0; 32]).to_string();
    let calls = text.lines().filter_map(|line| line.split_once(' '));
    Ok(calls
        .filter_map(|(key, request)| {
            job::call_of(key, request).or_else(|| job::call_of(key, &none))
        })
        .collect())
}

/// Ends a run and removes all of it; none there is as good.
async fn clear(inner: &Inner, place: &Connections, key: &str) -> Result<(), Fault> {
    let command = script::command("clear", &inner.options.instance, key, 0);
    let answer = place.exec(&command, run::nothing(), 0).await?;
    match answer.status {
        Some(0) => Ok(()),
        _ => {
            let stderr = String::from_utf8_lossy(&answer.stderr);
            let cause = format!("a run could not be removed: {}", stderr.trim());
            Err(KIND.failure("Refused", cause).into())
        }
    }
}
