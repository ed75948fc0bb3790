//! The bridge to containers: `container:run` for Tasks, `stepwell:container` for guests.
//!
//! Refuses what the configuration does not grant by name, and to start a container twice
//! for one attempt: after a crash it is found by its name and labels.

mod engine;
mod guest;
mod request;
mod run;

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use stepwell_types::{BridgeCall, ContainerCall, Data, Digest, Failure, Grants, StepOutcome};
use tokio_util::sync::CancellationToken;

use crate::gate::Gate;
use crate::http::WallClock;
use crate::job::guest::Carried;
use crate::job::program::Kind;
use crate::job::returned::Returned;
use crate::job::{self, Order};
use crate::journal::Call;
use crate::limit::Limiter;
use crate::objects::Objects;
use crate::{Journal, task};
use engine::{Engine, Listed};
use request::Checked;
use run::Run;

const KIND: Kind = Kind::Container;
/// How often what nobody wants is looked for.
const SWEEP: Duration = Duration::from_secs(60);

/// Settings of the bridge. Nothing is granted by default.
#[derive(Debug, Clone)]
pub struct ContainerOptions {
    /// The engine's Unix socket; without one no container runs.
    pub socket: Option<PathBuf>,
    /// Images that may run, spelt as calls spell them; a final `*` stands for any rest.
    pub images: Vec<String>,
    /// Networks that a call may ask for, likewise.
    pub networks: Vec<String>,
    /// Capabilities that every container keeps; all others are dropped.
    pub capabilities: Vec<String>,
    /// Most memory of one container in MiB. Default 2,048.
    pub memory_mib_max: u64,
    /// Most processors of one container. Default 2.
    pub cpus_max: f64,
    /// Most processes and threads of one container. Default 1,024.
    pub pids_max: u64,
    /// Longest run in milliseconds. Default a day.
    pub timeout_ms_max: u64,
    /// How long an image may take to be fetched, in milliseconds. Default 15 minutes.
    pub pull_timeout_ms: u64,
    /// Largest standard output that a call may ask for, in bytes. Default 8 MiB.
    pub stdout_bytes_max: u64,
    /// Names this server for its engine: it touches no other's containers.
    pub instance: String,
}

impl Default for ContainerOptions {
    fn default() -> ContainerOptions {
        ContainerOptions {
            socket: None,
            images: Vec::new(),
            networks: Vec::new(),
            capabilities: Vec::new(),
            memory_mib_max: 2_048,
            cpus_max: 2.0,
            pids_max: 1_024,
            timeout_ms_max: 86_400_000,
            pull_timeout_ms: 900_000,
            stdout_bytes_max: 8 << 20,
            instance: String::new(),
        }
    }
}

/// Runs containers. Runs on tokio; cheap to clone.
#[derive(Clone)]
pub struct ContainerBridge(Arc<Inner>);

struct Inner {
    options: ContainerOptions,
    objects: Arc<dyn Objects>,
    clock: WallClock,
    stopping: CancellationToken,
    limiter: Limiter,
    returned: Arc<Returned>,
}

impl ContainerBridge {
    /// A bridge with these settings. `stopping` is cancelled when the server begins to stop:
    /// what runs then goes on and is found by the next process.
    #[must_use]
    pub fn new(
        options: ContainerOptions,
        objects: Arc<dyn Objects>,
        clock: WallClock,
        limiter: Limiter,
        stopping: CancellationToken,
    ) -> ContainerBridge {
        ContainerBridge(Arc::new(Inner {
            options,
            limiter,
            returned: Arc::default(),
            objects,
            clock,
            stopping,
        }))
    }

    /// Runs one attempt of a `container:run` task.
    ///
    /// Output `{"exit_code", "stdout", "stderr"}`: standard output as text (base 64 where it
    /// is none, said by `"stdout_encoding"`) or as the JSON value that was asked for, and
    /// the end of standard error, whose lines are in the execution's log.
    /// Fails with `Stepwell.ContainerExitCode` (the same object is the cause),
    /// `Stepwell.ContainerOutOfMemory`, `States.Timeout`, `Stepwell.ContainerNotGranted`,
    /// `Stepwell.ContainerInvalidRequest`, `Stepwell.ContainerPathRefused`,
    /// `Stepwell.ContainerImageMissing`, `Stepwell.ContainerPullFailed`,
    /// `Stepwell.ContainerStartFailed`, `Stepwell.ContainerOutputTooLarge`,
    /// `Stepwell.ContainerBadOutput`, `Stepwell.ContainerLost`,
    /// `Stepwell.ContainerEngineUnavailable`, `Stepwell.FileTransferFailed`,
    /// `Stepwell.CircuitOpen`, `Stepwell.TooManyWaiting`, `Stepwell.ReplayDiverged` or
    /// `Stepwell.Stopped`.
    ///
    /// Dropping the future kills the container once it is durable that nobody wants it.
    pub async fn run(&self, journal: &Arc<Journal>) -> StepOutcome {
        task::measured(journal.request(), self.attempt(journal)).await
    }

    async fn attempt(&self, journal: &Arc<Journal>) -> Result<Data, Failure> {
        let request = journal.request();
        let call: ContainerCall = serde_json::from_str(request.input.text())
            .map_err(|e| KIND.invalid(format!("the input is no container run: {e}")))?;
        let checked = request::check(call, &self.0.options)?;
        if let Some(grants) = &request.grants {
            KIND.granted(grants, &checked.image)?;
            KIND.network_granted(grants, checked.network.as_deref())?;
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
        wanted: ContainerCall,
        carried: Carried,
    ) -> Result<Data, Failure> {
        let digest = carried.digest(&wanted);
        let nothing = Grants::default();
        let grants = grants.unwrap_or(&nothing);
        KIND.granted(grants, &wanted.image)?;
        KIND.network_granted(grants, wanted.network.as_deref())?;
        let name = wanted.image.clone();
        let checked = call.allowed(|| {
            self.engine()?;
            request::check(wanted, &self.0.options)
        })?;
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
        let engine = self.engine()?;
        let order = Order {
            kind: KIND,
            name: checked.image.clone(),
            request,
            recorded,
            limiter: inner.limiter.clone(),
            returned: Arc::clone(&inner.returned),
            stopping: inner.stopping.clone(),
        };
        let run = Run::new(inner, engine, &call, request, checked);
        job::run(order, call, Arc::new(run)).await
    }

    fn engine(&self) -> Result<Engine, Failure> {
        let socket = self.0.options.socket.clone().ok_or_else(|| {
            KIND.failure(
                "NotGranted",
                "this server runs no containers: its configuration names no engine ([containers] socket)",
            )
        })?;
        Ok(Engine::new(socket))
    }

    /// [`ContainerBridge::sweep`] will be called: until it has looked once, no container begins.
    pub fn will_sweep(&self) {
        if self.0.options.socket.is_some() {
            self.0.returned.expect();
        }
    }

    /// Removes, until the server stops, containers of this server that nobody wants: what a
    /// dead process left, and what could not be removed when its attempt ended.
    pub async fn sweep(&self, gate: Arc<dyn Gate>) {
        let Ok(engine) = self.engine() else { return };
        let mut told = false;
        loop {
            let swept = self.sweep_once(&engine, &*gate).await;
            // Whatever came of it.
            self.0.returned.over();
            match swept {
                Ok(()) => told = false,
                Err(failure) if !told => {
                    told = true;
                    tracing::warn!(reason = %failure.cause, "containers that nobody wants may be left");
                }
                Err(_) => {}
            }
            tokio::select! {
                () = self.0.stopping.cancelled() => return,
                () = tokio::time::sleep(SWEEP) => {}
            }
        }
    }

    async fn sweep_once(&self, engine: &Engine, gate: &dyn Gate) -> Result<(), Failure> {
        let stopping = &self.0.stopping;
        let own = vec![format!("{}={}", run::INSTANCE, self.0.options.instance)];
        let all = engine.list(&own).await;
        let (mut unwanted, mut there) = (Vec::new(), HashSet::new());
        for listed in all.map_err(|e| e.into_failure(KIND, "Swept"))? {
            let Some(call) = call_of(&listed) else {
                continue;
            };
            let key = job::key(&call);
            if job::unwanted(gate, call, stopping).await {
                unwanted.push(listed.id);
                continue;
            }
            if let Some(image) = listed.labels.get(run::IMAGE) {
                let resume = || self.0.limiter.resume(&KIND.target(image));
                self.0.returned.found(&key, resume);
            }
            there.insert(key);
        }
        // Nobody has to wait until the others are gone.
        self.0.returned.keep(&there);
        self.0.returned.over();
        for id in unwanted {
            tracing::info!(container = %id, "a container that nobody wants is removed");
            let removed = engine.remove(&id).await;
            removed.map_err(|e| e.into_failure(KIND, "Swept"))?;
        }
        Ok(())
    }
}

/// The call that a container's labels name.
fn call_of(listed: &Listed) -> Option<BridgeCall> {
    let label = |name: &str| listed.labels.get(name).map(String::as_str);
    let key = [run::EXECUTION, run::ENTRY, run::ATTEMPT, run::CALL];
    let key: Option<Vec<&str>> = key.into_iter().map(label).collect();
    job::call_of(&key?.join("-"), label(run::REQUEST)?)
}
