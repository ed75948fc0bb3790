//! The bare wasmtime loop: the least that a fresh instance and a call can cost.
//!
//! The settings are those of `runtime/sandbox/src/engine.rs` and its guards: fuel,
//! epochs, limiter, pool, canonical NaNs. Refuses everything else: no WASI
//! behind the imports, no clock, no checks of what comes back.

use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context as TaskContext, Poll, Waker};
use std::time::Duration;

use anyhow::{Context as _, Result};
use stepwell_host_api::bindings::exports::stepwell::step::handler::{Context, Failure};
use wasmtime::component::{Component, ComponentExportIndex, InstancePre, Linker};
use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, ResourceLimiter,
    Store, UpdateDeadline,
};

/// The interface that a step module exports.
const HANDLER: &str = "stepwell:step/handler@1.0.0";

/// One guest, ready to be called over and over.
pub struct Bare {
    engine: Engine,
    pre: InstancePre<Left>,
    run: ComponentExportIndex,
    stopped: Arc<AtomicBool>,
}

/// What the limiter still gives.
struct Left {
    memory: usize,
    table: usize,
}

impl ResourceLimiter for Left {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let more = desired.saturating_sub(current);
        let fits = more <= self.memory;
        self.memory -= if fits { more } else { 0 };
        Ok(fits)
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        _: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let more = desired.saturating_sub(current);
        let fits = more <= self.table;
        self.table -= if fits { more } else { 0 };
        Ok(fits)
    }
}

impl Bare {
    /// Compiles the component at `wasm` and starts a ticker of its own.
    ///
    /// # Errors
    /// It doesn't compile, or is no step.
    pub fn open(wasm: &Path) -> Result<Bare> {
        let limits = stepwell_sandbox::Limits::default();
        let engine = Engine::new(&config(48, &limits)).map_err(plain)?;
        let component = Component::from_file(&engine, wasm).map_err(plain)?;
        let mut linker = Linker::new(&engine);
        linker
            .define_unknown_imports_as_traps(&component)
            .map_err(plain)?;
        let pre = linker.instantiate_pre(&component).map_err(plain)?;
        let handler = component
            .get_export_index(None, HANDLER)
            .context("the guest is no step")?;
        let run = component
            .get_export_index(Some(&handler), "run")
            .context("the guest is no step")?;
        let stopped = Arc::new(AtomicBool::new(false));
        let (ticking, stop) = (engine.clone(), stopped.clone());
        std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(1));
                ticking.increment_epoch();
            }
        });
        Ok(Bare {
            engine,
            pre,
            run,
            stopped,
        })
    }

    /// A fresh instance and one call.
    ///
    /// # Errors
    /// The guest trapped.
    pub fn call(&self, input: &str) -> Result<String> {
        let mut store = self.store()?;
        let call = async {
            let instance = self.pre.instantiate_async(&mut store).await?;
            let run = instance.get_typed_func::<(Context<'_>, &str), (Result<String, Failure>,)>(
                &mut store, self.run,
            )?;
            run.call_async(&mut store, (context(), input)).await
        };
        let (answer,) = drive(call).map_err(plain)?;
        answer.map_err(|failure| anyhow::anyhow!("the guest failed: {}", failure.error))
    }

    fn store(&self) -> Result<Store<Left>> {
        let limits = stepwell_sandbox::Limits::default();
        let mut store = Store::new(
            &self.engine,
            Left {
                memory: usize::try_from(limits.memory_bytes)?,
                table: usize::try_from(limits.table_elements)?,
            },
        );
        store.set_fuel(limits.fuel).map_err(plain)?;
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(|_| Ok(UpdateDeadline::Yield(1)));
        store.limiter(|left| left);
        store.set_hostcall_fuel(limits.output_bytes);
        Ok(store)
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
    }
}

/// Polls until ready on this thread: a step that yields is simply resumed.
pub fn drive<F: Future>(work: F) -> F::Output {
    let mut work = pin!(work);
    let mut context = TaskContext::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(output) = work.as_mut().poll(&mut context) {
            return output;
        }
    }
}

/// wasmtime's errors are of a type of their own.
fn plain(error: wasmtime::Error) -> anyhow::Error {
    anyhow::anyhow!("{error:#}")
}

fn context() -> Context<'static> {
    Context {
        execution_id: "01J00000000000000000000000",
        execution_name: "01J00000000000000000000000",
        flow: "ten",
        state: "S1",
        attempt: 0,
        idempotency_key: "01J00000000000000000000000-1-0",
        deadline_ms: None,
    }
}

fn config(slots: u32, limits: &stepwell_sandbox::Limits) -> Config {
    let size = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(slots)
        .total_core_instances(slots * 32)
        .total_memories(slots * 2)
        .total_tables(slots * 16)
        .total_stacks(slots)
        .max_core_instances_per_component(32)
        .max_memories_per_component(2)
        .max_tables_per_component(16)
        .max_tables_per_module(16)
        .max_memories_per_module(2)
        .max_memory_size(size(limits.memory_bytes))
        .table_elements(size(limits.table_elements))
        .max_unused_warm_slots(slots)
        .linear_memory_keep_resident(1 << 20)
        .table_keep_resident(64 << 10)
        .async_stack_keep_resident(64 << 10)
        .pagemap_scan(Enabled::Auto);
    let mut config = Config::new();
    config
        .concurrency_support(false)
        .memory_init_cow(true)
        .consume_fuel(true)
        .epoch_interruption(true)
        .cranelift_nan_canonicalization(true)
        .relaxed_simd_deterministic(true)
        .max_wasm_stack(512 << 10)
        .async_stack_size(2 << 20)
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    config
}
