//! What the orchestrator needs from outside. `cli` plugs these in; the simulation plugs in its own.

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use stepwell_flow::Program;
use stepwell_interpreter::{Command, Event, Observer, State};
use stepwell_store::{Quota, Reader, Writer};
use stepwell_types::{
    Digest, Effects, EntryId, ExecutionId, FlowRef, Secret, StepOutcome, StepRequest, TargetStatus,
    Timestamp, Waiting,
};

use crate::Error;
use crate::api::{ModuleAbout, SecretVersion};
use crate::gate::GateHandle;

/// A step that runs. Dropping it stops it.
pub type StepFuture = Pin<Box<dyn Future<Output = StepOutcome> + Send>>;

/// Runs steps: the sandbox for modules, the bridges for the rest.
pub trait StepRunner: Send + Sync {
    /// Prepares one attempt. For `StepTarget::Wasm` the future is polled once on the
    /// loop's own thread, outside any runtime's reactor, and must give way within a
    /// millisecond; after that, and for every other target, it runs on the worker pool.
    fn run(&self, request: StepRequest, gate: GateHandle) -> StepFuture;
}

/// Reads time. Only `cli` has a real one.
pub trait Clock: Send + Sync {
    /// Wall time; may step in either direction.
    fn now(&self) -> Timestamp;
    /// Microseconds since some fixed moment; never steps back.
    fn monotonic_us(&self) -> u64;
}

/// Draws randomness. Only `cli` has a real one.
pub trait Entropy: Send + Sync {
    /// 16 unpredictable bytes.
    fn draw(&self) -> [u8; 16];
}

/// Finds the compiled program of a published flow version, and walks it.
pub trait Programs: Send + Sync {
    /// The program of exactly this version.
    /// # Errors
    /// `RUN0002`, or `RUN0012` when the store failed.
    fn program(&self, flow: &FlowRef) -> Result<Arc<Program>, Error>;
    /// Whether [`Programs::program`] has it at hand; else it takes as long as a flow takes to
    /// compile.
    fn is_ready(&self, _flow: &FlowRef) -> bool {
        true
    }
    /// Whether an execution of this version may begin, or go on after its end, now.
    /// # Errors
    /// `RUN0002`: it is deleted, or never was; `RUN0005`: it is being deleted.
    fn may_begin(&self, _flow: &FlowRef) -> Result<(), Error> {
        Ok(())
    }
    /// The version that a flow's name without a version means now.
    /// # Errors
    /// `RUN0002`.
    fn newest(&self, flow: &str) -> Result<u32, Error>;
    /// One turn: the interpreter's. May panic, which costs the execution and nothing else; a
    /// simulation lets it.
    /// # Errors
    /// `RUN0101` to `RUN0103`.
    fn step(
        &self,
        program: &Program,
        state: &mut State,
        event: &Event,
        at: Timestamp,
        seen: &mut dyn Observer,
        out: &mut Vec<Command>,
    ) -> Result<(), stepwell_interpreter::Error> {
        stepwell_interpreter::step(program, state, event, at, seen, out)
    }
}

/// One attempt of one entry of one execution; its turns have an entry of no step
/// ([`crate::suspects::WALK`]).
pub type StepKey = (ExecutionId, EntryId, u32);

/// What the black box holds of a process that is gone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LastLife {
    /// Its number; 0: there was none.
    pub life: u64,
    /// The steps that were on a processor when it died; none after a stop in good order.
    pub steps: Vec<StepKey>,
}

/// Remembers, past the end of the process, which steps are on a processor. What it
/// holds need not survive the machine: a power cut is no step's fault.
pub trait BlackBox: Send + Sync {
    /// What the last process left.
    fn last(&self) -> LastLife;
    /// Forgets that; from now on this process records, under its number, not 0.
    fn begin(&self, life: u64);
    /// The calling thread runs this step from now on.
    fn enter(&self, step: StepKey);
    /// The calling thread runs no step.
    fn leave(&self);
}

/// A boxed future of a port's answer.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'a>>;

/// Takes uploads in, compiles them apart, and keeps them by digest.
pub trait ModuleStore: Send + Sync {
    /// Opens a place for one upload's bytes.
    fn begin(&self) -> Answer<'_, Box<dyn ModuleUpload>>;
    /// Removes a module's files; missing ones are no error.
    fn remove(&self, digest: Digest) -> Answer<'_, ()>;
    /// Removes the files of all modules but these.
    /// # Errors
    /// `BOX0010`.
    fn keep_only(&self, _named: &BTreeSet<Digest>) -> Result<(), Error> {
        Ok(())
    }
    /// The `.wasm` as it was uploaded; `None`: it is not here.
    fn wasm(&self, digest: Digest) -> Answer<'_, Option<Vec<u8>>>;
    /// Whether the module exports this step function (`None`: the generic world's `run`).
    fn exports(&self, digest: Digest, function: Option<&str>) -> bool;
}

/// One upload in flight. Dropping it discards what was written.
pub trait ModuleUpload: Send {
    /// Takes the next bytes.
    fn write<'a>(&'a mut self, chunk: &'a [u8]) -> Answer<'a, ()>;
    /// Checks and compiles; when it returns, the module is on disk and can run.
    fn finish(self: Box<Self>) -> Answer<'static, (Digest, ModuleAbout)>;
}

/// Seals secrets. What is in a secret's row is the vault's; that it is there, the catalog's.
/// Its errors are [`Error::Vault`].
pub trait Vault: Send + Sync {
    /// The row with one version more, and that version's number; `None`: there is no row yet.
    /// `others`: how many secrets there are beside it.
    /// # Errors
    /// `HOST0006` to `HOST0009`.
    fn add(
        &self,
        name: &str,
        row: Option<&[u8]>,
        value: &Secret,
        others: usize,
        now: Timestamp,
    ) -> Result<(Vec<u8>, u32), Error>;
    /// The row without its versions.
    /// # Errors
    /// `HOST0008`.
    fn clear(&self, name: &str, row: &[u8]) -> Result<Vec<u8>, Error>;
    /// The versions in a row, oldest first; none: the secret was deleted.
    /// # Errors
    /// `HOST0008`.
    fn versions(&self, name: &str, row: &[u8]) -> Result<Vec<SecretVersion>, Error>;
    /// Makes a new master key; the others open rows still.
    /// # Errors
    /// `HOST0006` to `HOST0008`.
    fn begin_rotation(&self) -> Result<(), Error>;
    /// The row sealed anew with the newest key.
    /// # Errors
    /// `HOST0007`, `HOST0008`.
    fn reseal(&self, name: &str, row: &[u8]) -> Result<Vec<u8>, Error>;
    /// Drops the older keys: every row is durably sealed with the newest.
    /// # Errors
    /// `HOST0006`, `HOST0007`.
    fn end_rotation(&self) -> Result<(), Error>;
}

/// What steps keep. What the edges look at they read from the store; what they remove passes here, so
/// that it does not come between what a step reads and what it writes.
pub trait Keeper: Send + Sync {
    /// What a namespace may hold.
    fn quota(&self, namespace: &str) -> Quota;
    /// The removal of keys, to be committed; `None`: there was nothing to commit. Waits for writes to
    /// them that are on their way, however long they come; given up, it leaves nothing.
    /// # Errors
    /// `RUN0012`.
    fn remove(&self, namespace: Arc<str>, keys: Vec<Arc<str>>) -> Answer<'_, Option<Effects>>;
}

/// What limits the ways outside: shown by the edges, asked before a worker gets a task.
pub trait Outward: Send + Sync {
    /// Every target that was called lately.
    fn targets(&self) -> Vec<TargetStatus>;
    /// The calls of an execution that wait for their turn.
    fn waiting(&self, execution: ExecutionId) -> Vec<Waiting>;
    /// Takes one of the tasks that workers of an activity may get a second.
    /// # Errors
    /// How long there is none.
    fn reserve(&self, activity: &Arc<str>) -> Result<(), Duration>;
    /// There was no task for what was reserved.
    fn give_back(&self, activity: &Arc<str>);
    /// How many tasks of an activity workers may have at once; `None`: as many as come.
    fn concurrency(&self, activity: &str) -> Option<u32>;
}

/// No limits, and nothing outside.
#[derive(Debug, Clone, Copy, Default)]
pub struct Boundless;

impl Outward for Boundless {
    fn targets(&self) -> Vec<TargetStatus> {
        Vec::new()
    }

    fn waiting(&self, _execution: ExecutionId) -> Vec<Waiting> {
        Vec::new()
    }

    fn reserve(&self, _activity: &Arc<str>) -> Result<(), Duration> {
        Ok(())
    }

    fn give_back(&self, _activity: &Arc<str>) {}

    fn concurrency(&self, _activity: &str) -> Option<u32> {
        None
    }
}

/// All ports together.
pub struct Ports {
    /// Reads what is durable.
    pub reader: Arc<dyn Reader>,
    /// The one way in.
    pub writer: Box<dyn Writer>,
    /// Runs steps.
    pub runner: Arc<dyn StepRunner>,
    /// Limits the ways outside.
    pub outward: Arc<dyn Outward>,
    /// Keeps modules.
    pub modules: Arc<dyn ModuleStore>,
    /// Seals secrets.
    pub vault: Arc<dyn Vault>,
    /// What steps keep.
    pub keeper: Arc<dyn Keeper>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// Survives this process.
    pub black_box: Arc<dyn BlackBox>,
    /// Called once when a commit failed: must end the process, recovery decides.
    pub fatal: Arc<dyn Fn(Error) + Send + Sync>,
    /// Called at the start of each worker-pool thread (to lower its priority, say).
    pub worker_started: Arc<dyn Fn() + Send + Sync>,
}
