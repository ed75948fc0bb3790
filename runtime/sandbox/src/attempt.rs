//! One attempt: a fresh instance, one call, nothing left behind.
//!
//! Refuses, for a step that ends in its first slice, everything that costs: no
//! timer, no channel, no span, no WASI context.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use stepwell_host_api::bindings::exports::stepwell::step::handler::{Context, Failure as Guest};
use stepwell_host_api::keyvalue::Touched;
use stepwell_host_api::log::LogLimits;
use stepwell_host_api::{Gate, Host, HostView, Journal, Outside, Surroundings};
use stepwell_types::{Failure, LogLine, StepRequest, Timestamp};
use wasmtime::component::ComponentExportIndex;
use wasmtime::{Engine, ResourceLimiter, Store, StoreContextMut, UpdateDeadline};
use wasmtime_wasi::{WasiCtxView, WasiView};

use crate::limits::Limits;
use crate::modules::Loaded;
use crate::outcome;
use crate::ticker::{Bounded, Ticker};

/// Bytes that a step may hand over beside its output: error name, cause, a log line.
const HOSTCALL_SLACK: usize = 256 << 10;

/// A store's data.
pub(crate) struct Ctx {
    host: Host,
    due_us: u64,
    memory_left: u64,
    table_left: u64,
    pub(crate) refused: Refused,
}

/// Which growth was refused to the guest: it explains a trap that follows.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Refused {
    pub(crate) memory: bool,
    pub(crate) table: bool,
}

impl WasiView for Ctx {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        self.host.wasi()
    }
}

impl HostView for Ctx {
    fn host(&mut self) -> &mut Host {
        &mut self.host
    }
}

impl ResourceLimiter for Ctx {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(grow(
            &mut self.memory_left,
            &mut self.refused.memory,
            current,
            desired,
        ))
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(grow(
            &mut self.table_left,
            &mut self.refused.table,
            current,
            desired,
        ))
    }
}

/// Takes the growth out of what is left, over all memories or tables of the component.
fn grow(left: &mut u64, refused: &mut bool, current: usize, desired: usize) -> bool {
    let more = desired.saturating_sub(current) as u64;
    if more > *left {
        *refused = true;
        return false;
    }
    *left -= more;
    true
}

/// What an attempt runs on.
pub(crate) struct Bench<'a> {
    pub(crate) engine: &'a Engine,
    pub(crate) ticker: &'a Ticker,
    pub(crate) limits: &'a Limits,
    pub(crate) around: &'a Arc<Surroundings>,
}

/// Milliseconds beyond its state's time after which an attempt is ended here. Until then the
/// state's own timer has done so, and the history tells of a time-out; this is the net under it.
/// It is wide: a busy machine hears its timers late.
const NET_MS: i64 = 30_000;

/// What an attempt may use, over all its runs.
#[derive(Clone, Copy)]
pub(crate) struct Budget {
    pub(crate) fuel: u64,
    /// On the clock that nobody sets.
    pub(crate) due_us: u64,
}

impl Bench<'_> {
    /// What an attempt that begins now may use.
    pub(crate) fn budget(&self, request: &StepRequest) -> Budget {
        // A deadline is wall time; what is left of it is counted on the clock that
        // nobody sets. Who looks at an attempt again gives it what it had, and not too little.
        let left_ms = match (request.deadline, request.again()) {
            (Some(deadline), None) => {
                Timestamp(deadline.0.saturating_add(NET_MS)).since_ms(self.ticker.now())
            }
            (Some(deadline), Some(began)) => deadline.since_ms(began).max(self.limits.wall_ms),
            (None, _) => self.limits.wall_ms,
        };
        let now_us = self.ticker.monotonic_us();
        Budget {
            fuel: self.limits.fuel,
            due_us: now_us.saturating_add(left_ms.saturating_mul(1_000)),
        }
    }
}

/// How the call ended, before it is judged.
pub(crate) struct Ended {
    /// `None`: the deadline passed.
    pub(crate) call: Option<Called>,
    pub(crate) refused: Refused,
    pub(crate) fuel: u64,
    pub(crate) logs: Vec<LogLine>,
    /// What of the namespaces it touched.
    pub(crate) touched: Option<Touched>,
    /// What it saw, and what must not leave with it.
    pub(crate) journal: Arc<Journal>,
}

/// How a call came back.
pub(crate) enum Called {
    /// By itself: it returned, or trapped.
    Back(wasmtime::Result<Result<String, Guest>>),
    /// Its journal ended it.
    Broken(Failure),
}

/// Runs `function` of a module once.
///
/// # Errors
/// The step's failure, when the store cannot even be set up.
pub(crate) async fn run(
    bench: &Bench<'_>,
    loaded: &Loaded,
    function: &ComponentExportIndex,
    request: &Arc<StepRequest>,
    gate: Arc<dyn Gate>,
    Budget { fuel, due_us }: Budget,
) -> Result<Ended, Failure> {
    let limits = bench.limits;
    let now = bench.ticker.now();
    let logs = LogLimits {
        lines: limits.log_lines,
        bytes: limits.log_bytes,
    };
    let outside = Outside::new(request.clone(), gate, bench.around.clone(), now);
    let journal = outside.journal.clone();
    let ctx = Ctx {
        host: Host::new(request.seed, logs, outside),
        due_us,
        memory_left: limits.memory_bytes,
        table_left: limits.table_elements,
        refused: Refused::default(),
    };
    let mut store = Store::new(bench.engine, ctx);
    store.set_fuel(fuel).map_err(|e| outcome::internal(&e))?;
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(on_tick);
    store.limiter(|ctx| ctx);
    store.set_hostcall_fuel(limits.output_bytes.saturating_add(HOSTCALL_SLACK));

    let execution_id = request.execution.to_string();
    let idempotency_key = request.idempotency_key(0);
    let context = Context {
        execution_id: &execution_id,
        execution_name: &request.execution_name,
        flow: &request.flow,
        state: &request.state,
        attempt: request.attempt,
        idempotency_key: &idempotency_key,
        deadline_ms: told(request, &journal, limits),
    };
    let call = {
        let call = pin!(call(
            &mut store,
            loaded,
            function,
            context,
            request.input.text()
        ));
        let call = pin!(unless_broken(call, &journal));
        Bounded::new(call, bench.ticker, due_us).await
    };
    let left = store.get_fuel().unwrap_or(0);
    let ctx = store.data_mut();
    Ok(Ended {
        call,
        refused: ctx.refused,
        fuel: fuel.saturating_sub(left),
        logs: ctx.host.take_logs(),
        touched: ctx.host.take_touched(),
        journal,
    })
}

/// The deadline that the guest is told: its flow's, or that of the server's own limit, counted
/// from when the attempt's clock began. After a crash that is the same moment as before, so that
/// the guest asks the same again, and it has longer.
fn told(request: &StepRequest, journal: &Journal, limits: &Limits) -> Option<u64> {
    let deadline = match request.deadline {
        Some(Timestamp::MAX) => return None,
        Some(deadline) => deadline,
        None => journal.began().plus_ms(limits.wall_ms),
    };
    Some(u64::try_from(deadline.0).unwrap_or(0))
}

/// The guest's call, as long as its journal lets it go on.
async fn unless_broken(
    mut call: std::pin::Pin<&mut impl Future<Output = wasmtime::Result<Result<String, Guest>>>>,
    journal: &Journal,
) -> Called {
    poll_fn(|cx| {
        // A step that ends in its first slice never asks.
        let back = call.as_mut().poll(cx).map(Called::Back);
        match journal.broken() {
            Some(failure) => Poll::Ready(Called::Broken(failure)),
            None if back.is_ready() => back,
            None => journal.poll_broken(cx).map(Called::Broken),
        }
    })
    .await
}

async fn call(
    store: &mut Store<Ctx>,
    loaded: &Loaded,
    function: &ComponentExportIndex,
    context: Context<'_>,
    input: &str,
) -> wasmtime::Result<Result<String, Guest>> {
    let instance = loaded.pre.instantiate_async(&mut *store).await?;
    let run = instance
        .get_typed_func::<(Context<'_>, &str), (Result<String, Guest>,)>(&mut *store, function)?;
    let (result,) = run.call_async(&mut *store, (context, input)).await?;
    Ok(result)
}

/// Every tick: the guest lets others run, or ends when its time is over.
#[allow(
    clippy::needless_pass_by_value,
    reason = "wasmtime hands the store over by value"
)]
fn on_tick(store: StoreContextMut<'_, Ctx>) -> wasmtime::Result<UpdateDeadline> {
    let ctx = store.data();
    Ok(if ctx.host.monotonic_us() >= ctx.due_us {
        UpdateDeadline::Interrupt
    } else {
        UpdateDeadline::Yield(1)
    })
}
