//! The sandbox: takes a step, gives its outcome.
//!
//! Refuses to stall its caller: the first poll runs the guest for at most one
//! tick, and anything slow makes it pending first.

use std::ffi::OsString;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use stepwell_host_api::keyvalue::{Conflict, conflict};
use stepwell_host_api::wasi::Directories;
use stepwell_host_api::{Bridges, Gate, Surroundings};
use stepwell_types::{
    Data, Effects, Failure, LogLine, Spent, StepOutcome, StepRequest, StepTarget,
};
use tokio::sync::Semaphore;
use wasmtime::Engine;
use wasmtime::component::Linker;

use crate::attempt::{self, Bench, Called};
use crate::engine::{self, Pool};
use crate::error::Error;
use crate::limits::{CompileLimits, Limits};
use crate::modules::{Loaded, Modules, Setup};
use crate::offload::StepAside;
use crate::outcome;
use crate::ticker::{Bounded, Clock, Ticker};

/// What a sandbox is made from: plain fields, filled by `cli`.
pub struct Options {
    /// The folder of modules, made if missing; this sandbox owns it.
    pub modules_dir: PathBuf,
    /// Program and first arguments of the compiling process; it must call
    /// [`crate::compile_main`] with the arguments that follow.
    pub compiler: Vec<OsString>,
    /// Largest upload in bytes.
    pub module_bytes_max: u64,
    /// Bounds of an attempt.
    pub limits: Limits,
    /// Bounds of a compilation.
    pub compile_limits: CompileLimits,
    /// How many attempts at once; see [`Pool::sized`].
    pub pool: Pool,
    /// Directories that modules see; none by default.
    pub directories: Directories,
    /// What modules call through, where they were granted it.
    pub bridges: Bridges,
    /// The clock port.
    pub clock: Arc<dyn Clock>,
}

/// Runs of one attempt, when what it read from namespaces changes again and again.
const RUNS_MAX: usize = 100;

/// Runs attempts. One per process.
pub struct Sandbox {
    engine: Engine,
    modules: Modules,
    limits: Limits,
    around: Arc<Surroundings>,
    ticker: Arc<Ticker>,
    clock: Arc<dyn Clock>,
    slots: Semaphore,
}

impl Sandbox {
    /// Makes the engine, reserves the pool and starts the ticker.
    /// # Errors
    /// `BOX0010`, `BOX0011`.
    pub fn open(options: Options) -> Result<Arc<Sandbox>, Error> {
        let mut pool = options.pool;
        pool.memory_bytes = pool.memory_bytes.max(options.limits.memory_bytes);
        pool.table_elements = pool.table_elements.max(options.limits.table_elements);
        let engine = engine::running(&pool)?;
        let failed = |detail: String| Error::Engine { detail };
        let mut linker = Linker::new(&engine);
        stepwell_host_api::link(&mut linker).map_err(|e| failed(e.to_string()))?;
        options
            .directories
            .check()
            .map_err(|e| failed(e.to_string()))?;
        let modules = Modules::open(Setup {
            dir: options.modules_dir,
            engine: engine.clone(),
            linker,
            compiler: options.compiler,
            limits: options.compile_limits,
            bytes_max: options.module_bytes_max,
            clock: options.clock.clone(),
        })?;
        let ticker = Ticker::start(engine.clone(), options.clock.clone())
            .map_err(|e| failed(format!("no thread for the ticker: {e}")))?;
        Ok(Arc::new(Sandbox {
            engine,
            modules,
            limits: options.limits,
            around: Arc::new(Surroundings {
                bridges: options.bridges,
                directories: options.directories,
                steady: ticker.clone(),
            }),
            ticker,
            clock: options.clock,
            slots: Semaphore::new(pool.slots.clamp(1, 1_000) as usize),
        }))
    }

    /// The modules that it can run.
    #[must_use]
    pub fn modules(&self) -> &Modules {
        &self.modules
    }

    /// Whether the request's module is loaded, so that its first poll runs the guest.
    #[must_use]
    pub fn is_warm(&self, request: &StepRequest) -> bool {
        match &request.target {
            StepTarget::Wasm { digest, .. } => self.modules.ready(digest).is_some(),
            StepTarget::Http
            | StepTarget::Container
            | StepTarget::Machine
            | StepTarget::Flow(_)
            | StepTarget::SendSignal
            | StepTarget::WaitSignal
            | StepTarget::Callback
            | StepTarget::Activity { .. }
            | StepTarget::ReadItems(_)
            | StepTarget::WriteResults(_)
            | StepTarget::CollectResults
            | StepTarget::Chosen => false,
        }
    }

    /// Runs one attempt of a `wasm:` step.
    ///
    /// The first poll may be made with any waker, outside of any runtime; it takes
    /// at most about a millisecond. A future that is pending then may be polled
    /// on another thread. Dropping it stops the guest.
    ///
    /// Failures of its own: `Stepwell.FuelExhausted`, `Stepwell.MemoryExceeded`,
    /// `Stepwell.TableExceeded`, `Stepwell.HostMemoryExceeded`, `Stepwell.StackOverflow`, `Stepwell.Trap` (with the Wasm
    /// backtrace), `Stepwell.InputTooLarge`, `Stepwell.OutputTooLarge`, `Stepwell.InvalidOutput`,
    /// `Stepwell.ModuleMissing`, `Stepwell.ModuleUnusable`, `Stepwell.FunctionMissing`,
    /// `Stepwell.SandboxFailed`, `Stepwell.ReplayDiverged`, `Stepwell.JournalFull`,
    /// `Stepwell.Stopped`, `Stepwell.SecretUnreadable`, `Stepwell.SecretGone`,
    /// `Stepwell.TooManySecrets`, `Stepwell.SecretInOutput`, `Stepwell.KeyValueConflict`,
    /// `Stepwell.KeyValueFailed`, `Stepwell.NamespaceFull`, `Stepwell.ObjectChanged`,
    /// `Stepwell.ObjectRefused`, `Stepwell.ObjectFailed` and `States.Timeout`. The step's own failures pass as they are.
    pub fn run(
        self: &Arc<Sandbox>,
        request: StepRequest,
        gate: Arc<dyn Gate>,
    ) -> Pin<Box<dyn Future<Output = StepOutcome> + Send>> {
        let this = self.clone();
        Box::pin(async move { this.attempt(request, gate).await })
    }

    async fn attempt(&self, request: StepRequest, gate: Arc<dyn Gate>) -> StepOutcome {
        let began_us = self.clock.monotonic_us();
        let request = Arc::new(request);
        let mut fuel = 0;
        let mut logs = Vec::new();
        let mut effects = None;
        let mut notes = None;
        let made = Made {
            fuel: &mut fuel,
            logs: &mut logs,
            effects: &mut effects,
            notes: &mut notes,
        };
        let result = self.result(&request, gate, made).await;
        let output_bytes = result.as_ref().map_or(0, Data::len_bytes);
        StepOutcome {
            spent: Spent {
                fuel,
                time_us: self.clock.monotonic_us().saturating_sub(began_us),
                bytes: (request.input.len_bytes() + output_bytes) as u64,
            },
            result,
            logs,
            effects,
            notes,
        }
    }

    async fn result(
        &self,
        request: &Arc<StepRequest>,
        gate: Arc<dyn Gate>,
        made: Made<'_>,
    ) -> Result<Data, Failure> {
        if request.input.len_bytes() > self.limits.input_bytes {
            return Err(Failure::new(
                "Stepwell.InputTooLarge",
                format!(
                    "the input has {} bytes, the limit is {}",
                    request.input.len_bytes(),
                    self.limits.input_bytes
                ),
            ));
        }
        let StepTarget::Wasm {
            name,
            digest,
            function,
        } = &request.target
        else {
            return Err(Failure::new(
                "Stepwell.SandboxFailed",
                "only steps of modules run in the sandbox",
            ));
        };
        let loaded = match self.modules.ready(digest) {
            Some(loaded) => loaded,
            None => {
                StepAside::new().await;
                let loaded = self.modules.load(digest).await;
                loaded.map_err(|e| outcome::not_loaded(name, &e))?
            }
        };
        let function = pick(&loaded, name, function.as_deref())?;
        let bench = Bench {
            engine: &self.engine,
            ticker: &self.ticker,
            limits: &self.limits,
            around: &self.around,
        };
        // All runs of the attempt have one budget.
        let mut budget = bench.budget(request);
        let mut turn = None;
        for run in 1..=RUNS_MAX {
            let slot = self.slot().await?;
            let ended = attempt::run(&bench, &loaded, function, request, gate.clone(), budget);
            let ended = ended.await?;
            drop(slot);
            *made.fuel += ended.fuel;
            budget.fuel = budget.fuel.saturating_sub(ended.fuel);
            *made.logs = ended.logs;
            let over = !matches!(ended.call, Some(Called::Back(_)));
            let result = match ended.call {
                Some(Called::Back(call)) => {
                    let call = outcome::without_secrets(call, &ended.journal);
                    outcome::judge(call, ended.refused, request.deadline, &self.limits)
                }
                Some(Called::Broken(failure)) => Err(failure),
                None => Err(outcome::timed_out(request.deadline, &self.limits)),
            };
            let result = ended.journal.keep_secrets(result, made.logs);
            // Nothing comes of an attempt that is only looked at again.
            if request.again().is_some() {
                return ended.journal.failed().map_or(result, Err);
            }
            let Some(mut touched) = ended.touched else {
                *made.notes = ended.journal.last_notes();
                return result;
            };
            let called = ended.journal.has_called();
            if result.is_err() {
                // It may have failed because what it read did not fit together.
                if over || called && !touched.is_stale() {
                    *made.notes = ended.journal.last_notes();
                    return result;
                }
                touched.give_up_writes();
            }
            let wanted = self.around.bridges.keyvalue.turn(&touched);
            let end = self.around.bridges.end(touched, &mut turn);
            let mut failure = match end {
                Ok(effects) => {
                    *made.effects = effects;
                    *made.notes = ended.journal.last_notes();
                    return result;
                }
                Err(Conflict::Failed(failure)) => Some(failure),
                // What was asked outside was asked for what is so no more: its flow says what to do.
                Err(Conflict::Lost(why)) => (called || run == RUNS_MAX).then_some(why),
            };
            if failure.is_none() && turn.is_none() {
                // Without a slot: others can use it meanwhile.
                turn = Bounded::new(std::pin::pin!(wanted), &self.ticker, budget.due_us).await;
                let late = || outcome::timed_out(request.deadline, &self.limits);
                failure = turn.is_none().then(late);
            }
            // What it fails with is noted, and not what it might have gone on from.
            if let Some(failure) = failure {
                ended.journal.fails(&failure);
                *made.notes = ended.journal.last_notes();
                return Err(failure);
            }
        }
        Err(conflict())
    }

    /// The pool has a slot for each permit, so that it never overflows.
    async fn slot(&self) -> Result<tokio::sync::SemaphorePermit<'_>, Failure> {
        if let Ok(slot) = self.slots.try_acquire() {
            return Ok(slot);
        }
        let slot = self.slots.acquire().await;
        slot.map_err(|_| Failure::new("Stepwell.SandboxFailed", "the sandbox is closed"))
    }
}

/// What an attempt leaves beside its result.
struct Made<'a> {
    fuel: &'a mut u64,
    logs: &'a mut Vec<LogLine>,
    effects: &'a mut Option<Effects>,
    notes: &'a mut Option<Vec<u8>>,
}

fn pick<'a>(
    loaded: &'a Loaded,
    module: &str,
    function: Option<&str>,
) -> Result<&'a wasmtime::component::ComponentExportIndex, Failure> {
    let found = match function {
        None => loaded.run.as_ref(),
        Some(name) => loaded.functions.get(name),
    };
    found.ok_or_else(|| {
        let mut names: Vec<&str> = loaded.functions.keys().map(String::as_str).collect();
        names.sort_unstable();
        Failure::new(
            "Stepwell.FunctionMissing",
            format!(
                "module `{module}` has no step function `{}`, only {}",
                function.unwrap_or("run of stepwell:step/handler"),
                names.join(", ")
            ),
        )
    })
}
